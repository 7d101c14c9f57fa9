"""Agreed rates: which one wins, as of which day, and what hours are worth to the cent."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from portal.models import LedgerEntry, Rate, RateCard, Task
from portal.records import Reference
from reconciliation import pricing, validation
from reconciliation.pricing import figure
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm, entry

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    return firms.build()


def _rate(card: RateCard, amount: str, **more: Any) -> Rate:
    values: dict[str, Any] = {"currency": "USD", "valid_from": firms.SINCE, **more}
    return Rate.objects.create(card=card, amount=Decimal(amount), **values)


def _card(code: str, **scope: Any) -> RateCard:
    return RateCard.objects.create(code=code, version=1, valid_from=firms.SINCE, **scope)


def _priced(firm: Firm, **changes: Any) -> LedgerEntry:
    admitted = firm.admit(firm.time(rate=None, **changes))
    return entry((admitted.ready or admitted.held)[0])


def test_cards_are_asked_from_the_contract_to_everybody_s(firm: Firm) -> None:
    scopes: list[dict[str, Any]] = [{}, {"entity": firm.entity}, {"customer": firm.customer}]
    Rate.objects.all().delete()
    prices = []
    for number, scope in enumerate(scopes):
        _rate(_card(f"CARD-{number}", **scope), str(100 + number), role=firm.role)
        prices.append(_priced(firm, external_id=str(number), hours=Decimal(1)).rate)
    _rate(firm.card, "120", role=firm.role)
    prices.append(_priced(firm, external_id="9", hours=Decimal(1)).rate)
    assert prices == [Decimal(100), Decimal(101), Decimal(102), Decimal(120)]


def test_within_a_card_a_person_wins_over_a_role_and_a_task_over_none(firm: Firm) -> None:
    Rate.objects.all().delete()
    task = Task.objects.create(project=firm.project, code="DEV", name="Development")
    prices = []
    levels: list[dict[str, Any]] = [
        {}, {"task": task}, {"role": firm.role}, {"role": firm.role, "task": task}, {"resource": firm.ana},
         {"resource": firm.ana, "task": task},
    ]  # fmt: skip
    for number, level in enumerate(levels):
        _rate(firm.card, str(100 + number), **level)
        prices.append(_priced(firm, external_id=str(number), hours=Decimal(1), task=Reference("", "DEV")).rate)
    assert prices == [Decimal(100 + number) for number in range(6)]


def test_a_rate_holds_as_of_the_work_date(firm: Firm) -> None:
    firm.rate.valid_to = date(2026, 10, 6)
    firm.rate.save()
    _rate(firm.card, "125", role=firm.role, valid_from=date(2026, 10, 7))
    assert _priced(firm, external_id="1", work_date=date(2026, 10, 6)).rate == Decimal(120)
    assert _priced(firm, external_id="2", work_date=date(2026, 10, 7)).rate == Decimal(125)


def test_the_contract_s_currency_is_asked_first(firm: Firm) -> None:
    _rate(firm.card, "90", role=firm.role, currency="EUR")
    assert _priced(firm).rate == Decimal(120)


@pytest.mark.case(40)
def test_a_rate_per_day_is_divided_by_the_contract_s_day_and_says_so(firm: Firm) -> None:
    Rate.objects.all().delete()
    firm.contract.hours_per_day = Decimal("7.5")
    firm.contract.save()
    _rate(firm.card, "1000", role=firm.role, unit="day")
    made = _priced(firm, hours=Decimal("7.5"))
    assert (made.rate, made.amount) == (Decimal("133.3333"), Decimal("1000.00"))
    assert made.rate_version == "ACME-2026 v3 (7.50 h a day)"


@pytest.mark.case(39)
@pytest.mark.parametrize(("rounding", "amount"), [("entry", "44.43"), ("line", "44.4322"), ("invoice", "44.4322")])
def test_amounts_are_rounded_once_where_the_contract_says(firm: Firm, rounding: str, amount: str) -> None:
    firm.contract.rounding = rounding
    firm.contract.save()
    firm.rate.amount = Decimal("133.31")
    firm.rate.save()
    made = _priced(firm, hours=Decimal("0.3333"))
    assert made.amount == Decimal(amount)


@pytest.mark.case(39)
def test_half_a_cent_goes_up(firm: Firm) -> None:
    firm.rate.amount = Decimal("100.10")
    firm.rate.save()
    assert _priced(firm, hours=Decimal("0.05")).amount == Decimal("5.01")


@pytest.mark.case(39)
def test_a_currency_without_cents_has_none() -> None:
    firm = firms.build("JP", "JPY")
    firm.rate.amount = Decimal(15001)
    firm.rate.save()
    assert _priced(firm, hours=Decimal("0.5"), currency="JPY").amount == Decimal(7501)


def test_every_candidate_is_explained_and_the_winner_named(firm: Firm) -> None:
    _rate(_card("LIST"), "150", role=firm.role)
    _rate(firm.card, "110")
    _rate(firm.card, "90", role=firm.role, currency="EUR")
    document = firm.take(firm.time())[0]
    explained = validation.explain(document)
    assert explained is not None
    found = [(c.agreed.version, figure(c.agreed.hourly), c.agreed.match, c.wins) for c in explained.rates]
    assert found == [
        ("ACME-2026 v3", "120.00", "role", True),
        ("ACME-2026 v3", "110.00", "everybody", False),
        ("ACME-2026 v3", "90.00", "role", False),
        ("LIST v1", "150.00", "role", False),
    ]
    assert explained.rates[2].reason == "It is in EUR; the hours are billed in USD."
    assert explained.findings == []


@pytest.mark.parametrize(
    ("value", "text"),
    [("120", "120.00"), ("120.5", "120.50"), ("0.3333", "0.3333"), ("1000.00", "1000.00"), ("0", "0.00")],
)
def test_figures_read_as_people_write_them(value: str, text: str) -> None:
    assert figure(Decimal(value)) == text


def test_a_tolerance_of_the_contract_wins_over_the_policy_s(firm: Firm) -> None:
    firm.contract.rate_tolerance = Decimal(2)
    firm.contract.save()
    firm.policy(rate_tolerance="5")
    document = firm.take(firm.time(rate=Decimal(124)))[0]
    explained = validation.explain(document)
    assert explained is not None
    assert pricing.tolerance(explained.draft) == Decimal(2)
    assert [rule.code for rule, _ in explained.findings] == ["rate-mismatch"]
