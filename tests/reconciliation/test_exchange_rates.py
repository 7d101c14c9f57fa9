"""Causes of several currencies in one order: compared at the master data's rates, never at one that somebody made up."""

from __future__ import annotations

import re
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from portal import changes_watch
from portal.models import ExchangeRate, GrantRole, LedgerEntry, LegalEntity
from reconciliation import cash, schedules, validation
from reconciliation.models import CaseReach, ExceptionCase
from tests import world
from tests.reconciliation import desk
from tests.reconciliation.firm import Firm, build, case

pytestmark = pytest.mark.django_db
QUEUE = "/exceptions/"
LAST_MONTH = date(2026, 10, 1)


@pytest.fixture
def firm() -> Firm:
    """The firm, which compares in dollars."""
    made = build()
    LegalEntity.objects.filter(pk=made.entity.pk).update(policy={"group_currency": "USD"})
    return made


@pytest.fixture
def page(client: Client, firm: Firm) -> Any:
    """The text of the queue, as somebody sees it who holds a grant in every entity."""
    client.force_login(world.user("everybody", GrantRole.ANALYST, everywhere=True))
    return lambda query="": client.get(QUEUE + query).content.decode()


def rate(currency: str, to_currency: str, value: str, day: date = LAST_MONTH, source: str = "ECB") -> ExchangeRate:
    """A rate, with word of it."""
    made = ExchangeRate.objects.create(
        currency=currency, to_currency=to_currency, rate=Decimal(value), valid_from=day, source=source
    )
    changes_watch.note("exchange_rate", [made.pk])
    return made


def cause(entity: LegalEntity, name: str, **held: int) -> ExceptionCase:
    """A cause that holds so much in each currency."""
    found = ExceptionCase.objects.create(
        rule="period-closed", entity=entity, subject_type="period", subject_key=name, sentence=f"{name} is closed.",
        opened_at=timezone.now(), seen_at=timezone.now(), open_holds=1,
    )  # fmt: skip
    for code, amount in held.items():
        CaseReach.objects.create(
            case=found, currency=code, holds=1, hours=8, amount=amount, estimate=0, billable=amount
        )
    cash.weigh([found.pk])
    return found


def in_order(text: str) -> list[str]:
    """The causes of a page, as they stand."""
    return re.findall(r">(\w+) is closed\.<", text)


def british(firm: Firm) -> LegalEntity:
    """Another entity of the group."""
    made = world.entity("GB", "GBP")
    LegalEntity.objects.filter(pk=made.pk).update(policy={"group_currency": "USD"})
    return made


def of(found: ExceptionCase) -> tuple[str, Decimal, bool]:
    """In what a cause is compared, with what amount, and whether it stands apart."""
    found.refresh_from_db()
    return found.compared_in, found.compared_amount, found.is_apart


def test_causes_of_several_currencies_stand_in_one_order_once_their_rates_are_known(firm: Firm, page: Any) -> None:
    gb = british(firm)
    small, large = cause(firm.entity, "Small", EUR=3600), cause(gb, "Large", GBP=12_180)
    own = cause(firm.entity, "Own", USD=9000)
    assert in_order(page()) == ["Own", "Small", "Large"]
    assert (of(small)[2], of(large)[2], of(own)[2]) == (True, True, False)
    rate("EUR", "USD", "1.16")
    rate("GBP", "USD", "1.32", date(2026, 11, 2), "ERP")
    validation.follow_changes()
    assert in_order(page()) == ["Large", "Own", "Small"]
    assert (of(small), of(large)) == (("USD", Decimal(4176), False), ("USD", Decimal("16077.6"), False))
    text = page()
    assert "in USD at rates of 1 Oct 2026 to 2 Nov 2026, ECB and ERP." in text
    tile = text.split("Open amount")[1].split("</li>")[0]
    assert "≈ 29,254" in tile
    assert "at rates of 1 Oct 2026 to 2 Nov 2026, ECB and ERP" in tile
    assert "≈ 29.3k USD<" in text
    assert not LedgerEntry.objects.exists()


def test_a_rate_that_is_told_the_other_way_round_holds_as_well_and_the_later_day_decides(firm: Firm) -> None:
    rate("USD", "EUR", "0.8")
    found = cause(firm.entity, "Euro", EUR=1000)
    assert of(found) == ("USD", Decimal(1250), False)
    rate("EUR", "USD", "1.1", date(2026, 9, 1))
    validation.follow_changes()
    assert of(found)[1] == 1250
    rate("EUR", "USD", "1.2", date(2026, 11, 1))
    validation.follow_changes()
    assert of(found)[1] == 1200
    rate("EUR", "USD", "9", timezone.localdate() + timedelta(days=1))
    validation.follow_changes()
    assert of(found)[1] == 1200


def test_what_has_no_rate_comes_last_and_the_page_says_why(firm: Firm, page: Any) -> None:
    rate("EUR", "USD", "1.16")
    cause(firm.entity, "Swiss", CHF=900_000)
    cause(firm.entity, "Mixed", USD=500_000, CHF=1)
    cause(firm.entity, "Euro", EUR=10)
    text = page()
    assert in_order(text) == ["Euro", "Swiss", "Mixed"]
    assert "What holds CHF comes last: no rate to USD is kept." in text
    assert re.sub(r"title=\"[^\"]*\"", "", text).count("no exchange rate") == 2
    tile = text.split("Open amount")[1].split("</li>")[0]
    assert "≈ 500,012" in tile
    assert "and 900,001.00 CHF without a rate" in tile


def test_a_cause_is_compared_with_all_that_it_holds(firm: Firm) -> None:
    rate("EUR", "USD", "1.5")
    found = cause(firm.entity, "Both", USD=100, EUR=1000)
    found.refresh_from_db()
    assert (found.held_currency, found.held_amount) == ("USD", 100)
    assert of(found) == ("USD", Decimal(1600), False)
    assert found.compared_risk == 1600 * schedules.UNKNOWN_DAYS


def test_without_a_group_currency_each_currency_is_ordered_by_itself_and_a_tab_says_how_many_more(
    firm: Firm, page: Any
) -> None:
    LegalEntity.objects.update(policy={})
    rate("EUR", "USD", "1.16")
    cause(firm.entity, "Dollar", USD=14_200)
    cause(firm.entity, "Euro", EUR=20)
    cause(firm.entity, "Swiss", CHF=30)
    text = page()
    assert in_order(text) == ["Swiss", "Euro", "Dollar"]
    assert "each currency by itself, as no group currency is set." in text
    assert "14.2k USD +2<" in text
    assert "no exchange rate" not in text


def test_a_group_currency_that_is_set_later_weighs_what_waits_by_itself(firm: Firm) -> None:
    LegalEntity.objects.update(policy={})
    rate("EUR", "USD", "1.16")
    found = cause(firm.entity, "Euro", EUR=100)
    assert of(found) == ("EUR", Decimal(100), False)
    LegalEntity.objects.update(policy={"group_currency": "USD"})
    changes_watch.note("entity", [firm.entity.pk])
    validation.follow_changes()
    assert of(found) == ("USD", Decimal(116), False)


def test_a_rate_weighs_again_only_the_causes_that_hold_its_currencies(firm: Firm) -> None:
    euro, dollar = cause(firm.entity, "Euro", EUR=100), cause(firm.entity, "Pound", GBP=100)
    ExceptionCase.objects.update(compared_amount=-1)
    rate("EUR", "USD", "2")
    validation.follow_changes()
    assert (of(euro)[1], of(dollar)[1]) == (200, -1)


def test_even_a_nonsensical_rate_stops_no_batch(firm: Firm) -> None:
    rate("EUR", "USD", "9999999999.9999999999")
    found = cause(firm.entity, "Euro", EUR=10_000_000_000)
    assert of(found)[0] == "USD"


def test_a_rate_is_above_zero_between_two_currencies_and_one_a_day(firm: Firm) -> None:
    rate("EUR", "USD", "1.16")
    for currency, value, sentence in (
        ("EUR", "1.2", "a_pair_of_currencies_has_one_rate_from_a_day"),
        ("GBP", "0", "exchange_rate_is_above_zero"),
        ("USD", "1", "exchange_rate_is_between_two_currencies"),
    ):
        with pytest.raises(IntegrityError, match=sentence), transaction.atomic():
            rate(currency, "USD", value)


def test_weighing_and_the_page_ask_as_often_for_many_causes_and_currencies_as_for_few(firm: Firm, page: Any) -> None:
    def asked(act: Any) -> int:
        act()
        with CaptureQueriesContext(connection) as counted:
            act()
        return len(counted)

    def ids() -> list[int]:
        return list(ExceptionCase.objects.values_list("pk", flat=True))

    rate("EUR", "USD", "1.16")
    cause(firm.entity, "First", EUR=1)
    cause(firm.entity, "Second", EUR=1)  # of one alone nothing can stand under several
    few = asked(lambda: cash.weigh(ids())), asked(page)
    for number, code in enumerate(("GBP", "CHF", "SGD", "JPY", "SEK")):
        rate(code, "USD", "1.5")
        for more in range(4):
            cause(firm.entity, f"More{number}{more}", **{code: 10 + more}, EUR=5)
    assert (asked(lambda: cash.weigh(ids())), asked(page)) == few


def test_rates_are_read_on_the_master_data_screen_as_they_hold_on_a_day(client: Client, firm: Firm) -> None:
    rate("EUR", "USD", "1.1642")
    rate("EUR", "USD", "1.17", date(2026, 11, 1))
    client.force_login(desk.analyst(firm))
    text = client.get("/master/exchangerate/").content.decode()
    assert "1.1642" in text
    assert "1.17" in text
    text = client.get("/master/exchangerate/?on=2026-10-15").content.decode()
    assert "1.1642" in text
    assert "1.17" not in text


# The source that a cause holds from


def test_a_cause_of_rates_is_found_by_the_source_of_its_entries(client: Client, firm: Firm) -> None:
    desk.off_rate(firm, 2)
    found = case("rate-mismatch")
    assert found.connection is None
    assert set(CaseReach.objects.filter(case=found).values_list("source", flat=True)) == {firm.source.pk}
    client.force_login(desk.analyst(firm))
    text = client.get(f"{QUEUE}?connection={firm.source.code}").content.decode()
    assert f'data-key="{found.pk}"' in text
    assert f'data-key="{found.pk}"' not in client.get(f"{QUEUE}?connection=elsewhere").content.decode()
    menu = client.get(f"{QUEUE}?facet=connection").content.decode()
    assert f'value="{firm.source.code}"' in menu
