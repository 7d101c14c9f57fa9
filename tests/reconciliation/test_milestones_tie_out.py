"""Milestones are work that is owed a bill: they stand in the third leg, and where they are asked about their bill, in words."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from portal.models import AccountingPeriod, GrantRole, Milestone
from portal.records import BillLine, Reference
from reconciliation import billing, invoicing, matching, readiness
from reconciliation.models import MatchedBucket, ProjectMonth, ReconciliationResult, ReconciliationRun
from reconciliation.sql import certifying, closing
from reconciliation.sql import readiness as readiness_sql
from reconciliation.views import plots
from tests import world
from tests.bills import Erp, find, line_of, posted
from tests.reconciliation.firm import Firm, build

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    return build()


@pytest.fixture
def period(firm: Firm) -> AccountingPeriod:
    return AccountingPeriod.objects.get(entity=firm.entity, code="2026-09")


def stone(firm: Firm, code: str, amount: str, **more: Any) -> Milestone:
    return Milestone.objects.create(
        project=firm.project, code=code, name=f"Part {code}", due_on=date(2026, 9, 20), amount=Decimal(amount), currency="USD",
        **more,
    )  # fmt: skip


def bills(erp: Erp, number: str, code: str, net: str, **more: Any) -> None:
    erp.says(erp.bill(number, BillLine(key="1", milestone=Reference(code), net=Decimal(net)), **more))


def third_leg(firm: Firm, period: AccountingPeriod) -> list[tuple[str, str, str]]:
    """What stands of the leg after a comparison of what was touched, which one of everything comes to as well."""
    run = matching.run(firm.entity, period)
    again = matching.run(firm.entity, period, whole=True)
    assert run.totals == again.totals
    rows = ReconciliationResult.objects.standing().filter(period=period, leg="target_invoice").order_by("pk")
    return [(row.outcome, row.standing, row.reason) for row in rows]


def matched(period: AccountingPeriod) -> Decimal:
    return sum(
        (one.amount_right for one in MatchedBucket.objects.filter(period=period, leg="target_invoice")), Decimal(0)
    )


def test_a_signed_milestone_waits_for_its_bill_and_a_schedule_that_changes_is_asked_again(
    firm: Firm, period: AccountingPeriod
) -> None:
    erp = Erp(firm)
    bills(erp, "100", "M0", "1")  # bills nothing: its line is told apart
    firm.customer.invoice_schedule, firm.customer.invoice_day = "none", None
    firm.customer.save()
    signed = stone(firm, "M1", "5000", signed_on=date(2026, 9, 25))
    other = stone(firm, "M2", "700")  # due, and nobody signed it: nothing is owed
    says = "Milestone M1 is delivered since 25 Sep 2026 and not invoiced yet; its contract says no day."
    assert third_leg(firm, period) == [("open", "timing", says)]
    row = ReconciliationResult.objects.standing().get(period=period, leg="target_invoice")
    assert (row.milestone, row.amount_left, row.amount_right, row.dated) == (
        signed, Decimal(5000), Decimal(0), date(2026, 9, 25),
    )  # fmt: skip
    # Nothing of it was touched but the day on which its customer is invoiced.
    firm.customer.invoice_schedule, firm.customer.invoice_day = "monthly", 5
    firm.customer.save()
    says = "Milestone M1 is not invoiced, and the bill was expected by 5 Oct 2026."
    assert third_leg(firm, period) == [("missing_right", "unmatched", says)]
    assert matching.run(firm.entity, period).compared is not None  # only what was touched
    client = Client()
    client.force_login(world.user("ada", GrantRole.AUDITOR, firm.entity))
    run = ReconciliationRun.objects.filter(period=period).latest("pk")
    page = client.get(reverse("reconciliation_run", args=[run.pk]))
    assert page.status_code == 200
    assert f"Milestone M1 of {firm.project.code}" in page.content.decode()
    bills(erp, "501", "M1", "5000")
    assert third_leg(firm, period) == []
    assert matched(period) == Decimal(5000)
    other.signed_on = date(2026, 9, 30)
    other.save()
    assert [one[0] for one in third_leg(firm, period)] == ["missing_right"]
    bills(erp, "502", "M2", "700")
    assert third_leg(firm, period) == []
    # A signature that is taken back, and one that moves to another month.
    other.signed_on = None
    other.save()
    says = "Milestone M2 is invoiced, while it is not delivered: nobody signed it."
    assert third_leg(firm, period) == [("missing_left", "unmatched", says)]
    since = ReconciliationRun.objects.filter(period=period).latest("pk").seen_until
    assert since is not None
    signed.signed_on = date(2026, 10, 2)
    signed.save()
    assert certifying.is_touched(firm.entity.pk, period.starts_on, period.ends_on, since)
    assert [one[0] for one in third_leg(firm, period)] == ["missing_left"]
    assert matched(period) == 0
    october = AccountingPeriod.objects.get(entity=firm.entity, code="2026-10")
    matching.run(firm.entity, october)
    assert matched(october) == Decimal(5000)


def test_what_an_instalment_of_a_retainer_comes_to_is_owed_from_its_day_without_a_signature(
    firm: Firm, period: AccountingPeriod
) -> None:
    firm.contract.billing_model = "retainer"
    firm.contract.save()
    bills(Erp(firm), "100", "M0", "1")
    stone(firm, "RET-9", "3000")
    assert [one[:2] for one in third_leg(firm, period)] == [("missing_right", "unmatched")]
    bills(Erp(firm, 10), "101", "RET-9", "3000")
    ahead = AccountingPeriod.objects.create(
        entity=firm.entity, code="2099-01", starts_on="2099-01-01", ends_on="2099-01-31"
    )
    instalment = Milestone.objects.get(code="RET-9")
    instalment.due_on = date(2099, 1, 15)
    instalment.save()
    says = "Milestone RET-9 is invoiced ahead of its day, 15 Jan 2099."
    assert third_leg(firm, AccountingPeriod.objects.get(pk=ahead.pk)) == [("missing_left", "unmatched", says)]


def test_what_a_line_bills_beside_what_was_delivered_is_surplus_to_the_cent(
    firm: Firm, period: AccountingPeriod
) -> None:
    erp = Erp(firm)
    [entry] = posted(firm, 1)
    day = period.ends_on
    erp.says(erp.bill("501", line_of(entry), booked_on=day))
    assert third_leg(firm, period) == []
    # The system says twice as much of the same line, and somebody goes by it: the hours stay billed, and no more than them.
    erp.says(erp.bill("501", line_of(entry, "16"), booked_on=day))
    billing.adopt(find("501"), by=world.user("ana", GrantRole.ANALYST, firm.entity), reason="it was agreed")
    [found] = third_leg(firm, period)
    assert (found[0], found[2]) == (
        "missing_left",
        "Line 1 of invoice INV-501 bills 960.00 USD beside what was delivered.",
    )
    [row] = ReconciliationResult.objects.standing().filter(period=period, leg="target_invoice", outcome="missing_left")
    assert (row.hours_right, row.amount_right) == (Decimal(8), Decimal(960))


def test_the_waterfall_loses_no_hour_for_its_currency_and_adds_up_no_two(firm: Firm, period: AccountingPeriod) -> None:
    first, second = posted(firm, 2)
    firm.rate.currency = "EUR"
    firm.rate.save()
    firm.contract.currency = "EUR"
    firm.contract.save()
    posted(firm, 1, first=3, currency="EUR")
    erp = Erp(firm)
    bill = erp.bill("501", line_of(first), line_of(second))
    erp.says(bill)
    erp.says(erp.payment("700", "960", ("501", "960")))
    found = closing.waterfall(firm.entity.pk, period.starts_on, period.ends_on)
    assert (found.worked, found.on_ledger, found.posted, found.billable) == (24, 24, 24, 24)
    assert [(one.currency, one.priced, one.posted_amount, one.invoiced, one.paid) for one in found.amounts] == [
        ("EUR", 960, 960, 0, 0), ("USD", 1920, 1920, 1920, 960)
    ]  # fmt: skip
    assert [title for title, _ in plots.of_period(period)][:3] == [
        "Hours, from the tracker to the ERP", "Amounts, from the priced hour to the payment, USD",
        "Amounts, from the priced hour to the payment, EUR",
    ]  # fmt: skip


def test_the_page_of_a_project_month_says_of_each_milestone_why_it_is_not_billed(
    firm: Firm, period: AccountingPeriod
) -> None:
    mia = world.user("mia", GrantRole.PROJECT_MANAGER, firm.entity)
    firm.project.manager = mia
    firm.project.save()
    firm.contract.billing_model = "milestone"
    firm.contract.save()
    posted(firm, 1)
    erp = Erp(firm)
    stone(firm, "M1", "5000", signed_on=date(2026, 9, 25))
    stone(firm, "M2", "700", signed_on=date(2026, 9, 25))
    stone(firm, "M3", "300")
    stone(firm, "M4", "900", signed_on=date(2026, 10, 2))  # due in the month, and signed in the next
    bills(erp, "501", "M1", "5000")
    month = ProjectMonth.objects.get(project=firm.project, period=period)
    assert (month.milestones, month.milestones_ready, month.milestones_invoiced, month.unsigned) == (
        Decimal(6000), Decimal(700), Decimal(5000), 1,
    )  # fmt: skip
    found = {one.milestone.code: (one.left, one.why.words, one.why.who) for one in readiness.milestones_of(month)}
    ready = "It is delivered and ready, and nobody said when the customer is invoiced."
    assert found == {
        "M1": (Decimal(0), "It is on invoice INV-501.", ""),
        "M2": (Decimal(700), ready, "finance"),
        "M3": (Decimal(300), "It is due on 20 Sep 2026 and nobody signed it.", "mia"),
        "M4": (Decimal(900), ready, "finance"),
    }
    [proposal] = invoicing.prepare(firm.project, period.ends_on, by=None)
    [line] = proposal.lines.all()
    words = {one.milestone.code: one.why for one in readiness.milestones_of(month)}["M2"]
    assert (words.words, words.who) == (f"It is on {proposal}, which its project manager has to release.", "mia")
    invoicing.hold(line, by=mia, reason="the customer counts again")
    words = {one.milestone.code: one.why for one in readiness.milestones_of(month)}["M2"]
    assert words.words == f"It is on hold on {proposal}: the customer counts again"
    client = Client()
    client.force_login(mia)
    page = client.get(reverse("readiness_project", args=[month.pk])).content.decode()
    assert "Milestones, and why they are not billed" in page
    assert "nobody signed it." in page
    assert "Delivered and not invoiced, by age in days, USD" in page
    aged = readiness_sql.unbilled([firm.project.pk], date(2026, 10, 10))
    assert aged == [("USD", 0, 900), ("USD", 15, 700)]  # M4 and M2; the hours are cost, and M3 is not delivered
    # An instalment of a retainer needs no signature.
    firm.contract.billing_model = "retainer"
    firm.contract.save()
    month = ProjectMonth.objects.select_related("project__contract", "project__customer").get(pk=month.pk)
    assert (month.unsigned, month.milestones) == (0, Decimal(6900))
    [check] = [one for one in readiness.checklist(month) if one.code == "milestones"]
    assert check.says == "4 instalments are due; they need no signature."


def test_the_match_rates_of_a_leg_are_drawn_run_by_run(firm: Firm, period: AccountingPeriod) -> None:
    entries = posted(firm, 2)
    erp = Erp(firm)
    erp.says(erp.bill("501", line_of(entries[0])))
    first = matching.run(firm.entity, period)
    erp.says(erp.bill("502", line_of(entries[1])))
    second = matching.run(firm.entity, period)
    drawn = {title: str(plot) for title, plot in plots.match_rates([first, second])}
    leg = f"{ReconciliationResult.Leg('target_invoice').label}: matched run by run, in percent"
    rows = drawn[leg].partition("<tbody>")[2]
    assert [share in rows for share in ("50.0", "100.0")] == [True, True]
    assert rows.count("<tr>") == 2
    ReconciliationRun.objects.filter(pk=first.pk).update(totals={})  # one that never ended draws nothing
    first.refresh_from_db()
    assert str(dict(plots.match_rates([first, second]))[leg]).partition("<tbody>")[2].count("<tr>") == 1
