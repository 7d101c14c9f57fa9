"""Cash at risk: how many days later money comes when its hours miss the next invoice run, and how that orders causes."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from portal import changes_watch
from portal.models import Customer
from portal.records import Reference
from reconciliation import cases, cash, schedules, validation
from reconciliation.models import CaseDay, CaseReach, ExceptionCase
from reconciliation.schedules import Terms, agreed
from tests import world
from tests.bills import Erp, line_of, posted
from tests.reconciliation import desk
from tests.reconciliation.firm import Firm, build, case, key

TODAY = date(2026, 11, 27)  # a Friday


@pytest.mark.parametrize(
    ("terms", "runs", "days"),
    [
        (Terms("monthly", 31, 30), (date(2026, 11, 30), date(2026, 12, 31)), 61),
        (Terms("monthly", 27, 0), (date(2026, 11, 27), date(2026, 12, 27)), 30),
        (Terms("monthly", 1, 14), (date(2026, 12, 1), date(2027, 1, 1)), 45),
        (Terms("weekly", 5, 14), (date(2026, 11, 27), date(2026, 12, 4)), 21),
        (Terms("weekly", 1, None), (date(2026, 11, 30), date(2026, 12, 7)), 7),
        (Terms("milestone", None, 45), None, 75),
        (Terms("", None, 10), None, 40),
        (Terms("none", None, 30), None, 0),
    ],
)
def test_money_comes_later_by_the_days_between_two_runs_and_the_payment_terms(
    terms: Terms, runs: tuple[date, date] | None, days: int
) -> None:
    assert terms.runs(TODAY) == runs
    assert terms.delay(TODAY) == days


def test_a_month_that_is_too_short_is_invoiced_on_its_last_day() -> None:
    assert Terms("monthly", 30).runs(date(2027, 1, 31)) == (date(2027, 2, 28), date(2027, 3, 30))
    assert Terms("monthly", 31).runs(date(2028, 2, 1)) == (date(2028, 2, 29), date(2028, 3, 31))


def test_a_contract_that_says_when_counts_before_its_customer_and_each_word_by_itself() -> None:
    customer = Terms("monthly", 5, 30)
    assert agreed(Terms("weekly", 1, None), customer) == Terms("weekly", 1, 30)
    assert agreed(Terms("", None, 60), customer) == Terms("monthly", 5, 60)
    assert agreed(Terms(), Terms()) == Terms()


@pytest.fixture
def firm(db: None) -> Firm:
    """The firm."""
    return build()


def changed(record: Any) -> None:
    record.save()
    changes_watch.note(str(record._meta.model_name), [record.pk])


def risk(rule: str) -> tuple[str, Decimal]:
    found = case(rule)
    return found.held_currency, found.cash_at_risk


@pytest.mark.parametrize(
    ("schedule", "day"), [("monthly", 1), ("monthly", 15), ("monthly", 31), ("weekly", 3), ("milestone", None),
     ("none", None), ("", None)]
)  # fmt: skip
def test_the_database_weighs_by_the_same_days(firm: Firm, schedule: str, day: int | None) -> None:
    desk.off_rate(firm, 2)
    firm.customer.invoice_schedule, firm.customer.invoice_day, firm.customer.payment_terms_days = schedule, day, 30
    changed(firm.customer)
    cash.weigh([case("rate-mismatch").pk])
    days = Terms(schedule, day, 30).delay(timezone.localdate())
    assert risk("rate-mismatch") == ("USD", Decimal(1920) * days)


def test_a_changed_schedule_weighs_what_waits_again_by_itself(firm: Firm) -> None:
    desk.off_rate(firm, 1)
    validation.follow_changes()
    assert risk("rate-mismatch")[1] == Decimal(960) * schedules.UNKNOWN_DAYS
    firm.contract.invoice_schedule, firm.contract.invoice_day = "weekly", 5
    changed(firm.contract)
    validation.follow_changes()
    assert risk("rate-mismatch")[1] == Decimal(960) * 7


def test_a_new_day_weighs_again_what_was_weighed_on_another(firm: Firm) -> None:
    desk.off_rate(firm, 1)
    ExceptionCase.objects.filter(rule="rate-mismatch").update(weighed_on=date(2026, 1, 1), cash_at_risk=1)
    validation.follow_changes()
    found = case("rate-mismatch")
    assert (found.weighed_on, found.cash_at_risk) == (timezone.localdate(), Decimal(960) * 30)
    assert cash.weigh_again() == 0


def test_hours_without_a_price_count_at_their_estimate_and_unbilled_ones_do_not(firm: Firm) -> None:
    desk.mistyped(firm, 1)
    assert risk("project-unknown") == ("USD", Decimal(480) * schedules.UNKNOWN_DAYS)
    total = case("project-unknown").totals.get()
    assert (total.amount, total.estimate) == (0, 480)
    held = firm.admit(firm.time("9", rate=Decimal(110), billable=False)).held
    assert CaseReach.objects.filter(case__holds__entry__in=held).exclude(billable=0).count() == 0


def test_a_case_is_weighed_in_the_currency_of_its_entitys_books_where_it_holds_any(firm: Firm) -> None:
    desk.off_rate(firm, 1)
    found = case("rate-mismatch")
    reach = CaseReach.objects.get(case=found)
    CaseReach.objects.create(
        case=found, project=reach.project, contract=reach.contract, customer=reach.customer, currency="GBP", holds=1,
        hours=8, amount=50_000, estimate=0, billable=50_000,
    )  # fmt: skip
    cash.weigh([found.pk])
    assert risk("rate-mismatch") == ("USD", Decimal(960) * 30)
    reach.delete()
    cash.weigh([found.pk])
    assert risk("rate-mismatch") == ("GBP", Decimal(50_000) * 30)


def test_reach_and_days_follow_the_holds(firm: Firm) -> None:
    held = desk.off_rate(firm, 3)
    found = case("rate-mismatch")
    reach = CaseReach.objects.get(case=found)
    assert (reach.project, reach.customer, reach.holds, reach.amount) == (firm.project, firm.customer, 3, 2880)
    assert list(CaseDay.objects.filter(case=found).values_list("day", "opened")) == [(timezone.localdate(), 3)]
    validation.recheck(held, actor="test", reason="again")
    assert CaseDay.objects.get(case=found).opened == 3
    firm.rate.amount = Decimal(110)
    firm.rate.save()
    validation.recheck(held, actor="test", reason="again")
    found.refresh_from_db()
    assert (found.state, found.cash_at_risk, found.held_currency) == ("resolved", 0, "USD")
    assert not CaseReach.objects.filter(case=found).exists()
    assert CaseDay.objects.get(case=found).opened == 3


def test_a_case_without_entries_stands_in_its_entitys_currency(firm: Firm) -> None:
    found = cases.raise_case("no-route", firm.entity.pk, "connection", f"{firm.source.pk}:time", "No route.")
    assert ExceptionCase.objects.get(pk=found).held_currency == "USD"


@pytest.mark.parametrize(("schedule", "day"), [("monthly", None), ("monthly", 32), ("weekly", 8), ("", 3), ("none", 1)])
def test_a_day_that_does_not_fit_its_schedule_is_refused_by_the_database(
    db: None, schedule: str, day: int | None
) -> None:
    world.entity()
    with pytest.raises(IntegrityError, match="fits_its_schedule"), transaction.atomic():
        Customer.objects.create(code="C", name="C", currency="USD", invoice_schedule=schedule, invoice_day=day)


def test_a_cause_about_a_bill_or_a_payment_counts_the_money_that_is_at_stake_and_stands_by_it_in_the_queue(
    firm: Firm,
) -> None:
    key(firm.target, "customer", firm.customer.pk, "C1")
    erp, [small] = Erp(firm), posted(firm)
    large = posted(firm, 2, 2)
    firm.admit(firm.time("9", project=Reference("", "NOPE")))  # one day of an unknown project, in the same queue
    first, second = erp.bill("501", line_of(small)), erp.bill("502", *(line_of(one) for one in large))
    erp.says(first, second)
    erp.says(
        erp.again(first, lines=(line_of(small, "5", key=first.lines[0].key),), net=Decimal(600), total=Decimal(600)),
        erp.gone(second),
        erp.payment("P1", "700", ("999", "300")),
    )
    stake = {
        case.rule: (case.held_amount, case.cash_at_risk, case.reach.get().customer_id == firm.customer.pk)
        for case in ExceptionCase.objects.filter(subject_type__in=["bill", "payment"])
    }
    days = ExceptionCase.objects.get(rule="bill-deleted").cash_at_risk / Decimal(1920)
    assert days >= 30
    assert stake == {
        "bill-deleted": (Decimal(1920), 1920 * days, True),
        "bill-changed": (Decimal(360), 360 * days, True),
        "payment-of-unknown-bill": (Decimal(300), Decimal(0), True),  # it came in: told, and no risk
        "cash-unapplied": (Decimal(400), Decimal(0), True),
    }
    client = Client()
    client.force_login(world.user("ana", "analyst", firm.entity))
    shown = client.get(reverse("exceptions")).context["table"].rows
    assert [row.record.rule for row in shown][:3] == ["bill-deleted", "project-unknown", "bill-changed"]
    assert ("1,920.00" in shown[0].get_cell("amount"), shown[0].record.held_currency) == (True, "USD")
    erp.says(erp.again(first), erp.again(second))
    assert not ExceptionCase.objects.filter(subject_type="bill", state="open").exists()
