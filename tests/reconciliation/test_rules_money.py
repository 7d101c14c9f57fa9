"""Rules about rates, currencies, caps, purchase orders, periods and expenses."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from portal.models import AccountingPeriod, PurchaseOrder, Rate, RateCard, Task
from portal.records import Reference
from tests import world
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm, case, entry, hold, rules_of, state

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    return firms.build()


def _held(firm: Firm, rule: str, **changes: Any) -> int:
    admitted = firm.admit(firm.time(**changes))
    assert admitted.ready == []
    assert rules_of(admitted.held[0]) == {rule}
    return admitted.held[0]


def _ready(firm: Firm, **changes: Any) -> int:
    admitted = firm.admit(firm.time(**changes))
    assert admitted.held == [], rules_of(admitted.held[0])
    return admitted.ready[0]


@pytest.mark.case(33)
def test_hours_without_an_agreed_rate_are_held_without_an_amount_and_with_an_estimate(firm: Firm) -> None:
    Rate.objects.all().delete()
    held = _held(firm, "rate-missing", rate=Decimal(110))
    made = entry(held)
    assert (made.rate, made.amount, made.is_billable) == (None, None, True)
    found = hold(held, "rate-missing")
    assert (
        "no agreed rate for Ana Consultant as Senior consultant under contract ACME-2026 on 2026-10-01"
        in found.sentence
    )
    assert (found.detail["estimate"], found.detail["estimate_basis"]) == ("880.00", "the source's rate")
    total = found.case.totals.get()
    assert (total.currency, total.amount, total.estimate) == ("USD", 0, Decimal("880.00"))


@pytest.mark.case(33)
def test_a_zero_from_the_source_is_no_agreed_rate(firm: Firm) -> None:
    Rate.objects.all().delete()
    held = _held(firm, "rate-missing", rate=Decimal(0))
    assert entry(held).amount is None


@pytest.mark.case(33)
def test_a_list_price_that_may_not_price_gives_the_estimate(firm: Firm) -> None:
    Rate.objects.all().delete()
    prices = RateCard.objects.create(code="LIST", version=1, valid_from=firms.SINCE)
    Rate.objects.create(card=prices, role=firm.role, currency="USD", amount=Decimal(150), valid_from=firms.SINCE)
    firm.policy(rate_scopes=["contract", "customer"])
    found = hold(_held(firm, "rate-missing"), "rate-missing")
    assert (found.detail["estimate"], found.detail["estimate_basis"]) == ("1200.00", "list price of LIST v1")


@pytest.mark.case(34)
def test_an_explicit_zero_rate_posts_at_zero_and_is_tagged(firm: Firm) -> None:
    firm.rate.amount = Decimal(0)
    firm.rate.save()
    made = entry(_ready(firm, rate=None))
    assert (made.rate, made.amount, made.is_billable) == (Decimal(0), Decimal(0), True)
    assert made.tags == ["zero-by-contract"]


@pytest.mark.case(35)
def test_another_rate_than_the_agreed_one_is_held_and_both_are_named(firm: Firm) -> None:
    held = _held(firm, "rate-mismatch", rate=Decimal("110.00"))
    assert hold(held, "rate-mismatch").sentence == (
        "Rate 110.00 USD differs from the agreed 120.00 USD (rate card ACME-2026 v3, senior consultant)."
    )
    assert (entry(held).rate, entry(held).amount) == (Decimal(120), Decimal(960))


@pytest.mark.case(35)
def test_a_difference_within_the_contract_s_tolerance_passes_at_the_agreed_rate(firm: Firm) -> None:
    firm.contract.rate_tolerance = Decimal("0.50")
    firm.contract.save()
    assert entry(_ready(firm, external_id="1", rate=Decimal("119.50"))).rate == Decimal(120)
    _held(firm, "rate-mismatch", external_id="2", rate=Decimal("119.49"), work_date=date(2026, 10, 2))


@pytest.mark.case(35)
def test_a_policy_gives_the_tolerance_where_the_contract_states_none(firm: Firm) -> None:
    firm.policy(rate_tolerance="1")
    _ready(firm, rate=Decimal(121))


@pytest.mark.case(42)
def test_a_rate_in_another_currency_is_never_compared(firm: Firm) -> None:
    held = _held(firm, "currency-mismatch", rate=Decimal(100), currency="EUR")
    assert (
        "The source's rate is in EUR, and contract ACME-2026 is billed in USD"
        in hold(held, "currency-mismatch").sentence
    )
    firm.rate.currency = "EUR"
    firm.rate.save()
    held = _held(firm, "currency-mismatch", external_id="2", rate=None, currency="", work_date=date(2026, 10, 2))
    assert entry(held).amount is None


@pytest.mark.case(85)
@pytest.mark.parametrize("model", ["fixed_fee", "retainer", "milestone"])
def test_hours_that_are_not_billed_by_the_hour_post_as_cost_only(firm: Firm, model: str) -> None:
    firm.contract.billing_model = model
    firm.contract.save()
    made = entry(_ready(firm, rate=Decimal(999)))
    assert (made.is_cost_only, made.is_billable) == (True, False)
    assert (made.rate, made.amount, made.hours) == (None, None, Decimal(8))


def test_a_project_s_own_billing_model_wins_over_its_contract_s(firm: Firm) -> None:
    firm.project.billing_model = "fixed_fee"
    firm.project.save()
    assert entry(_ready(firm)).is_cost_only


def test_hours_on_a_task_that_is_not_billed_are_cost_only(firm: Firm) -> None:
    Task.objects.create(project=firm.project, code="TRV", name="Travel", is_billable=False)
    assert entry(_ready(firm, task=Reference("", "TRV"))).is_cost_only


@pytest.mark.case(43)
def test_a_closed_period_holds_and_says_where_it_could_go(firm: Firm) -> None:
    AccountingPeriod.objects.filter(code="2026-10").update(state="closed")
    held = _held(firm, "period-closed")
    found = hold(held, "period-closed")
    assert found.sentence == (
        "Period 2026-10 of US is closed for 2026-10-01; post it on 2026-11-01 in 2026-11, or re-open the period."
    )
    assert found.detail["next_open_on"] == "2026-11-01"


@pytest.mark.case(43, 48)
def test_a_policy_books_late_time_in_the_next_open_period_and_keeps_the_work_date(firm: Firm) -> None:
    firm.policy(closed_period="next_open")
    AccountingPeriod.objects.filter(code__in=["2026-10", "2026-11"]).update(state="closed")
    made = entry(_ready(firm))
    assert (made.work_date, made.post_on) == (date(2026, 10, 1), date(2026, 12, 1))
    assert made.period is not None
    assert made.period.code == "2026-12"
    assert "late" in made.tags


@pytest.mark.case(43)
def test_a_period_being_closed_takes_postings_unless_the_policy_says_no(firm: Firm) -> None:
    AccountingPeriod.objects.filter(code="2026-10").update(state="closing")
    _ready(firm, external_id="1")
    firm.policy(post_in_closing=False)
    _held(firm, "period-closed", external_id="2", work_date=date(2026, 10, 2))


@pytest.mark.case(44, 113)
def test_both_legs_of_intercompany_work_are_checked_before_either_goes(firm: Firm) -> None:
    gb = world.entity("GB", "GBP")
    firms.periods(gb, p202610="closed")
    firms.lends(gb, firm)
    bob = firms.person("bob", "Bob", gb, firm.role)
    firms.key(firm.target, "resource", bob.pk)
    held = _held(firm, "period-closed", resource=Reference("", "bob"))
    assert "Period 2026-10 of GB" in hold(held, "period-closed").sentence


@pytest.mark.case(45)
def test_a_missing_period_names_the_owner_of_the_calendar(firm: Firm) -> None:
    firm.policy(calendar_owner="Carla Controller")
    held = _held(firm, "period-missing", work_date=date(2027, 2, 3))
    assert hold(held, "period-missing").sentence == (
        "No accounting period of US covers 2027-02-03; Carla Controller keeps the calendar and must open it."
    )
    AccountingPeriod.objects.filter(code="2027-01").update(state="future")
    held = _held(firm, "period-missing", external_id="2", work_date=date(2027, 1, 4))
    assert "is not open yet" in hold(held, "period-missing").sentence


@pytest.mark.case(47)
def test_a_week_across_two_months_falls_into_both_periods(firm: Firm) -> None:
    first = entry(_ready(firm, external_id="1", work_date=date(2026, 9, 30)))
    second = entry(_ready(firm, external_id="2", work_date=date(2026, 10, 1)))
    assert (first.period.code, second.period.code) == ("2026-09", "2026-10")  # type: ignore[union-attr]


@pytest.mark.case(83)
def test_hours_that_pass_the_cap_are_split_and_only_the_rest_is_held(firm: Firm) -> None:
    firm.contract.cap_amount = Decimal(1500)
    firm.contract.save()
    admitted = firm.admit(firm.time("1"), firm.time("2", work_date=date(2026, 10, 2)))
    assert (len(admitted.ready), len(admitted.held)) == (2, 1)
    parts = [entry(admitted.ready[1]), entry(admitted.held[0])]
    assert [part.part for part in parts] == [0, 1]
    assert [part.hours for part in parts] == [Decimal("4.5"), Decimal("3.5")]
    assert [part.amount for part in parts] == [Decimal(540), Decimal(420)]
    assert rules_of(parts[1].pk) == {"cap-exceeded"}
    assert "0.00 of 1500.00 USD are left" in hold(parts[1].pk, "cap-exceeded").sentence
    assert all("split-at-cap" in part.tags for part in parts)


@pytest.mark.case(83)
def test_the_parts_of_a_split_add_up_to_the_cent(firm: Firm) -> None:
    firm.rate.amount = Decimal("133.33")
    firm.rate.save()
    firm.contract.cap_amount = Decimal("500.01")
    firm.contract.save()
    admitted = firm.admit(firm.time(hours=Decimal("7.77"), rate=None))
    parts = [entry(admitted.ready[0]), entry(admitted.held[0])]
    assert parts[0].amount is not None
    assert parts[1].amount is not None
    assert parts[0].amount <= Decimal("500.01")
    assert parts[0].amount + parts[1].amount == Decimal("1035.97")
    assert parts[0].hours + parts[1].hours == Decimal("7.77")  # type: ignore[operator]


@pytest.mark.case(83)
def test_what_stands_on_the_ledger_counts_against_the_cap(firm: Firm) -> None:
    firm.contract.cap_amount = Decimal(1000)
    firm.contract.save()
    _ready(firm, external_id="1")
    admitted = firm.admit(firm.time("2", work_date=date(2026, 10, 2), hours=Decimal(2)))
    assert [entry(i).amount for i in (*admitted.ready, *admitted.held)] == [Decimal("39.60"), Decimal("200.40")]


@pytest.mark.case(83)
def test_an_entry_that_is_held_for_another_reason_takes_nothing_of_the_cap(firm: Firm) -> None:
    firm.contract.cap_amount = Decimal(960)
    firm.contract.save()
    firm.admit(firm.time("1", approved_by=Reference("", "ana")))
    _ready(firm, external_id="2", work_date=date(2026, 10, 2))


@pytest.mark.case(83)
def test_a_policy_may_hold_the_whole_entry_at_the_cap(firm: Firm) -> None:
    firm.policy(split_at_cap=False)
    firm.contract.cap_amount = Decimal(500)
    firm.contract.save()
    assert entry(_held(firm, "cap-exceeded")).hours == 8


@pytest.mark.case(82)
def test_a_contract_that_needs_a_purchase_order_holds_until_there_is_one(firm: Firm) -> None:
    firm.contract.requires_purchase_order = True
    firm.contract.save()
    held = _held(firm, "purchase-order-missing", external_id="1")
    assert "needs a purchase order and has none" in hold(held, "purchase-order-missing").sentence
    order = PurchaseOrder.objects.create(
        contract=firm.contract, number="PO-1", amount=Decimal(5000), currency="USD", valid_from=firms.SINCE,
        valid_to=date(2026, 9, 30),
    )  # fmt: skip
    held = _held(firm, "purchase-order-missing", external_id="2", work_date=date(2026, 10, 2))
    assert (
        "Purchase order PO-1 of contract ACME-2026 expired on 2026-09-30"
        in hold(held, "purchase-order-missing").sentence
    )
    order.valid_to = None
    order.save()
    assert entry(_ready(firm, external_id="3", work_date=date(2026, 10, 5))).purchase_order == order


@pytest.mark.case(82, 83)
def test_a_purchase_order_that_is_used_up_splits_like_a_cap(firm: Firm) -> None:
    PurchaseOrder.objects.create(
        contract=firm.contract, number="PO-1", amount=Decimal(600), currency="USD", valid_from=firms.SINCE
    )
    admitted = firm.admit(firm.time())
    assert [entry(i).hours for i in (*admitted.ready, *admitted.held)] == [5, 3]
    assert rules_of(admitted.held[0]) == {"purchase-order-exceeded"}


def _expense_held(firm: Firm, rule: str, **changes: Any) -> int:
    admitted = firm.admit(firm.expense(**changes))
    assert admitted.ready == []
    assert rules_of(admitted.held[0]) == {rule}
    return admitted.held[0]


def _expense_policy(firm: Firm, **settings: Any) -> None:
    firm.entity.policy = settings
    firm.entity.save()


def test_a_proper_expense_is_ready_with_its_gross_amount(firm: Firm) -> None:
    made = entry(firm.admit(firm.expense()).ready[0])
    assert (made.amount, made.currency, made.hours, made.category) == (Decimal(119), "USD", None, "Travel")
    assert (made.is_billable, made.receipt_reference) == (True, "receipts/1.pdf")


def test_an_expense_without_a_receipt_is_held_above_the_policy_s_amount(firm: Firm) -> None:
    held = _expense_held(firm, "expense-receipt-missing", receipt_reference="")
    assert "The Travel expense of 119.00 USD of Ana Consultant" in hold(held, "expense-receipt-missing").sentence
    _expense_policy(firm, receipt_above="150")
    assert firm.admit(firm.expense("x2", receipt_reference="")).held == []


def test_an_expense_above_its_category_s_limit_is_held(firm: Firm) -> None:
    _expense_policy(firm, expense_limits={"Travel": "100", "*": "200"})
    held = _expense_held(firm, "expense-over-policy")
    assert "above the limit of 100.00 USD" in hold(held, "expense-over-policy").sentence
    assert firm.admit(firm.expense("x2", category="Meals")).held == []


def test_a_tax_that_its_code_does_not_make_is_held(firm: Firm) -> None:
    _expense_policy(firm, tax_codes={"VAT19": "19", "VAT0": "0"})
    assert firm.admit(firm.expense("x1", tax_code="VAT19", tax_amount=Decimal("19.00"))).held == []
    held = _expense_held(firm, "expense-tax-wrong", external_id="x2", tax_code="VAT19", tax_amount=Decimal("20.00"))
    assert "Tax 20.00 USD differs from 19.00 USD" in hold(held, "expense-tax-wrong").sentence
    _expense_held(firm, "expense-tax-wrong", external_id="x3", tax_code="VAT7", tax_amount=Decimal(1))


def test_a_tax_is_within_its_expense_even_without_codes(firm: Firm) -> None:
    _expense_held(firm, "expense-tax-wrong", tax_amount=Decimal(120))


@pytest.mark.case(9)
def test_an_expense_of_nothing_is_held(firm: Firm) -> None:
    _expense_held(firm, "expense-amount-invalid", amount=Decimal(0))


@pytest.mark.case(42)
def test_a_rebillable_expense_in_a_foreign_currency_is_held_unless_the_policy_allows_it(firm: Firm) -> None:
    _expense_held(firm, "currency-mismatch", external_id="x1", currency="EUR")
    assert firm.admit(firm.expense("x2", currency="EUR", billable=False)).held == []
    _expense_policy(firm, expense_foreign_currency=True)
    assert firm.admit(firm.expense("x3", currency="EUR")).held == []
    _expense_held(firm, "currency-mismatch", external_id="x4", currency="XXQ")


def test_money_waits_under_its_case_by_currency(firm: Firm) -> None:
    firm.admit(firm.time("1", rate=Decimal(110)), firm.time("2", rate=Decimal(110), work_date=date(2026, 10, 2)))
    found = case("rate-mismatch")
    assert (found.open_holds, found.open_hours, found.open_people) == (2, Decimal(16), 1)
    assert found.oldest_work_date == date(2026, 10, 1)
    assert list(found.totals.values_list("currency", "amount", "holds")) == [("USD", Decimal(1920), 2)]
    assert state(found.holds.first().entry_id) == "held"  # type: ignore[union-attr]
