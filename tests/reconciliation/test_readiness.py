"""Billing readiness: how far a project's month is on its way to the invoice, what stops it first, and who has to act."""

from __future__ import annotations

import csv
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from portal.models import (
    AccountingPeriod,
    ApprovalStep,
    AuditEvent,
    Contract,
    Customer,
    LedgerEntry,
    Milestone,
    Notification,
    Project,
    SubmittedTime,
    User,
)
from portal.records import BillKind, BillLine, SourceStatus
from reconciliation import cases, invoicing, readiness
from reconciliation.models import ExceptionCase, Hold, ProjectMonth
from reconciliation.readiness import CHECKS, Check, Verdict
from reconciliation.rules import theme_of
from tests import world
from tests.bills import Erp, adopt, allocate, bill, find, line_of
from tests.reconciliation.firm import Firm, build, document_of, post, project

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    found = build()
    Customer.objects.filter(pk=found.customer.pk).update(
        invoice_schedule="monthly", invoice_day=31, payment_terms_days=30
    )
    return found


def month(firm: Firm, code: str = "2026-10", **of: Any) -> ProjectMonth:
    return ProjectMonth.objects.get(period__code=code, **{"project": firm.project, **of})


def entries(*names: str) -> list[int]:
    return list(LedgerEntry.objects.filter(document__external_id__in=names).order_by("pk").values_list("pk", flat=True))


def answers(firm: Firm) -> dict[str, Check]:
    return {check.code: check for check in readiness.checklist(month(firm))}


def test_a_hold_of_a_rule_that_there_is_no_more_is_an_open_exception(firm: Firm) -> None:
    firm.admit(firm.time("1", hours=Decimal(30)))
    ExceptionCase.objects.update(rule="a-rule-of-old")
    Hold.objects.update(rule="a-rule-of-old")
    assert (answers(firm)["exceptions"].verdict, theme_of("a-rule-of-old")) == (Verdict.FAIL, "outside")


def test_every_amount_of_a_month_stands_in_exactly_one_place(firm: Firm) -> None:
    firm.admit(*(firm.time(str(n), work_date=date(2026, 10, n)) for n in range(1, 6)))
    firm.admit(firm.time("6", work_date=date(2026, 10, 6), rate=Decimal("99.00")))  # held: not the agreed rate
    firm.admit(firm.time("7", work_date=date(2026, 9, 30)))  # the month before
    firm.admit(firm.time("8", work_date=date(2026, 10, 8), billable=False))
    post(entries("1", "2", "3"))
    allocate(bill(firm), entries("1")[0])
    found = month(firm)
    assert (found.amount, found.blocked, found.under_way, found.ready, found.invoiced) == (
        Decimal(5760), Decimal(960), Decimal(1920), Decimal(1920), Decimal(960),
    )  # fmt: skip
    assert (found.entries, found.hours, found.stopped) == (7, Decimal(56), 1)


@pytest.mark.case(103)
def test_what_a_credit_gives_back_is_ready_again(firm: Firm) -> None:
    firm.admit(firm.time("1"))
    post(entries("1"))
    billed = allocate(bill(firm), entries("1")[0])
    assert month(firm).ready == 0
    allocate(bill(firm, "601", BillKind.CREDIT_NOTE), entries("1")[0], "-3", "-360.00", takes_back=billed)
    assert (month(firm).ready, month(firm).invoiced) == (Decimal(360), Decimal(600))


def test_a_month_of_which_nothing_is_stopped_has_no_blocker_and_passes_every_question(firm: Firm) -> None:
    firm.admit(firm.time("1"))
    post(entries("1"))
    assert readiness.first_blockers([month(firm)]) == {}
    found = answers(firm)
    assert tuple(found) == CHECKS
    assert len(CHECKS) == 12
    assert {code for code, check in found.items() if check.verdict is Verdict.FAIL} == set()
    assert found["terms"].says.endswith("30 days to pay.")


def test_the_first_blocker_is_the_cause_with_the_most_money_and_says_who_has_to_act(firm: Firm) -> None:
    firm.admit(
        firm.time("1", rate=Decimal("99.00")), firm.time("2", work_date=date(2026, 10, 2), rate=Decimal("99.00"))
    )
    firm.admit(firm.time("3", work_date=date(2026, 10, 3), hours=Decimal(30)))
    [blocker] = readiness.first_blockers([month(firm)]).values()
    assert "above 24.00" in blocker.words  # 3,600.00 against 1,920.00 at another rate than agreed
    assert (blocker.who, blocker.more) == ("nobody yet", 1)
    assert blocker.url.startswith("/exceptions/")


def test_each_hold_answers_one_question_and_its_money_is_said(firm: Firm) -> None:
    firm.admit(firm.time("1", rate=Decimal("99.00")))
    found = answers(firm)
    assert found["rates"].verdict is Verdict.FAIL
    assert (found["rates"].count, found["rates"].currency, found["rates"].owner) == (1, "USD", "nobody yet")
    assert found["exceptions"].verdict is Verdict.PASS


def test_an_entry_that_two_causes_stop_is_one_entry_with_its_money_once(firm: Firm) -> None:
    firm.admit(firm.time("1"), firm.time("2", work_date=date(2026, 10, 2)))
    post(entries("1", "2"))
    for rule, subject, stopped in (
        ("out-of-balance", "comparison", ["1"]), ("approval-withdrawn-after-posting", "project", ["1", "2"]),
    ):  # fmt: skip
        cases.raise_case(
            rule, firm.entity.pk, subject, "1:of", "It does not tie out.",
            entries=entries(*stopped),
        )  # fmt: skip
    check = answers(firm)["exceptions"]
    assert (check.verdict, check.count, check.amount) == (Verdict.FAIL, 2, Decimal("1920.00"))
    assert check.says == "It does not tie out and 1 more."


def test_what_nobody_approved_yet_waits_with_its_approver(firm: Firm) -> None:
    firm.admit(firm.time("1"))
    firm.take(firm.time("2", status=SourceStatus.SUBMITTED, work_date=date(2026, 10, 2), hours=Decimal("5.5")))
    found = answers(firm)["approved"]
    assert found.verdict is Verdict.FAIL
    assert (found.count, found.owner, found.amount, found.currency) == (1, "Pat Manager", Decimal(660), "USD")
    assert found.says.startswith(
        "1 entry with 5.50 h wait for approval at the source, about 660.00 USD at the average rate"
    )
    assert found.url
    firm.admit(firm.time("2", work_date=date(2026, 10, 2), hours=Decimal("5.5")))
    assert answers(firm)["approved"].verdict is Verdict.PASS


@pytest.mark.parametrize("ends", [SourceStatus.REJECTED, SourceStatus.DELETED, SourceStatus.DRAFT])
def test_what_somebody_decided_or_took_back_waits_no_more(firm: Firm, ends: SourceStatus) -> None:
    firm.take(firm.time("1", status=SourceStatus.SUBMITTED))
    firm.take(firm.time("1", status=SourceStatus.SUBMITTED, hours=Decimal(6)))
    assert SubmittedTime.objects.get().hours == Decimal(6)
    firm.take(firm.time("1", status=ends))
    assert not SubmittedTime.objects.exists()


def test_a_fixed_fee_without_any_milestone_is_not_called_ready(firm: Firm) -> None:
    Contract.objects.filter(pk=firm.contract.pk).update(billing_model="fixed_fee")
    firm.admit(firm.time("1"))
    assert answers(firm)["milestones"].verdict is Verdict.FAIL
    [blocker] = readiness.first_blockers([month(firm)]).values()
    assert blocker.words == "The fee is billed by milestones, and the project has none."


def test_a_due_milestone_that_nobody_signed_stops_a_fixed_fee(firm: Firm) -> None:
    Contract.objects.filter(pk=firm.contract.pk).update(billing_model="fixed_fee")
    Milestone.objects.create(
        project=firm.project, code="M1", name="Design accepted", due_on=date(2026, 10, 15), amount=Decimal(5000),
        currency="USD",
    )  # fmt: skip
    found = answers(firm)["milestones"]
    assert (found.verdict, found.count, found.amount) == (Verdict.FAIL, 1, Decimal(5000))
    assert readiness.first_blockers([month(firm)])[month(firm).pk].words == "1 milestone is due and not signed."
    Milestone.objects.update(signed_on=date(2026, 10, 20))
    assert answers(firm)["milestones"].verdict is Verdict.PASS


def test_a_customer_who_owes_the_tax_needs_a_number(firm: Firm) -> None:
    firm.admit(firm.time("1"))
    Customer.objects.filter(pk=firm.customer.pk).update(tax_treatment="reverse_charge")
    found = answers(firm)["tax"]
    assert (found.verdict, found.count, found.amount) == (Verdict.FAIL, 1, Decimal(960))
    Customer.objects.filter(pk=firm.customer.pk).update(tax_number="DE136695976")
    assert answers(firm)["tax"].verdict is Verdict.PASS
    Customer.objects.create(code="BETA", name="Beta", currency="USD", tax_treatment="reverse_charge")
    Contract.objects.filter(pk=firm.contract.pk).update(shares={"ACME": "60", "BETA": "40"})
    found = answers(firm)["tax"]
    assert (found.verdict, found.count, found.amount) == (Verdict.FAIL, 1, Decimal(384))
    assert (found.says, found.url[-4:]) == ("Beta is treated as reverse charge and has no tax number.", "BETA")


def test_terms_that_nobody_agreed_are_named(firm: Firm) -> None:
    firm.admit(firm.time("1"))
    Customer.objects.filter(pk=firm.customer.pk).update(invoice_schedule="", invoice_day=None, payment_terms_days=None)
    found = answers(firm)["terms"]
    assert found.says == "Nobody said when it is invoiced and its payment terms."
    assert (found.count, found.amount, found.currency) == (2, Decimal(960), "USD")


def test_a_closed_period_stops_only_what_still_has_to_be_booked_in_it(firm: Firm) -> None:
    firm.admit(firm.time("1"))
    AccountingPeriod.objects.filter(code="2026-10").update(state="closed")
    found = answers(firm)["period"]
    assert (found.verdict, found.count, found.amount, bool(found.url)) == (Verdict.FAIL, 1, Decimal(960), True)
    post(entries("1"))
    assert answers(firm)["period"].verdict is Verdict.PASS


def test_a_customer_who_pays_in_another_currency_needs_a_rate(firm: Firm) -> None:
    firm.admit(firm.time("1"))
    Contract.objects.filter(pk=firm.contract.pk).update(currency="EUR")
    assert answers(firm)["fx"].says == "No rate from EUR into USD by 31 Oct 2026."


@pytest.mark.case(103, 105)
def test_a_credit_that_names_no_hours_stops_the_next_bill(firm: Firm) -> None:
    firm.admit(firm.time("1"), firm.time("2", work_date=date(2026, 10, 2)))
    post(entries("1", "2"))
    erp, silent = Erp(firm), BillLine(key="x", net=Decimal(500), description="Credit")
    erp.says(erp.bill("501", line_of(entries("1")[0])))
    credit = erp.credit("601", "501", silent)
    erp.says(credit)
    found = answers(firm)["credits"]
    assert (found.verdict, found.count, found.amount) == (Verdict.FAIL, 1, Decimal(500))
    assert found.url == reverse("bill", args=[find("601", BillKind.CREDIT_NOTE).pk])
    erp.says(erp.again(credit, lines=(line_of(entries("1")[0]),)))
    ana, con = world.user("ana", "analyst", firm.entity), world.user("con", "controller", firm.entity)
    adopt("601", BillKind.CREDIT_NOTE, by=ana, agreed_by=con)
    assert answers(firm)["credits"].verdict is Verdict.PASS


# Why is this not billed?
def why(name: str) -> readiness.Why:
    entry = LedgerEntry.objects.select_related(
        "state_row", "target", "project__contract", "project__customer", "project__manager"
    ).get(document__external_id=name)
    return readiness.why_not_billed(entry, date(2026, 11, 27))


def test_every_hour_says_in_words_why_it_is_not_billed(firm: Firm) -> None:
    firm.admit(firm.time("held", rate=Decimal("99.00")))
    assert "99.00 USD" in why("held").words
    assert why("held").who == "nobody yet"
    firm.admit(firm.time("sent", work_date=date(2026, 10, 2)))
    assert why("sent").words.startswith("It is on its way to Netsuite")
    post(entries("sent"))
    assert why("sent").words == "It is posted and ready: the next invoice run of Acme Inc. is 30 Nov 2026."
    allocate(bill(firm), entries("sent")[0])
    assert (why("sent").words, why("sent").is_billed) == ("It is on invoice INV-501.", True)
    firm.admit(firm.time("free", work_date=date(2026, 10, 4), billable=False))
    assert why("free").words == "It is not billable: the hours are posted as cost."


# On screen
def signed_in(firm: Firm, role: str = "project_manager", name: str = "mia") -> tuple[Client, User]:
    person = world.user(name, role, firm.entity)
    client = Client()
    client.force_login(person)
    return client, person


def test_a_project_manager_begins_with_their_own_projects_in_the_latest_period_with_work(firm: Firm) -> None:
    client, person = signed_in(firm)
    Project.objects.filter(pk=firm.project.pk).update(manager=person)
    other = project("OTH-1", firm.entity, firm.customer, firm.contract)
    firm.admit(firm.time("1", rate=Decimal("99.00")))
    text = client.get(reverse("readiness")).content.decode()
    assert "<b>2026-10</b>" in text
    assert "Acm-1" in text
    assert "nobody has it yet" in text
    assert other.name not in text


def test_a_file_of_the_portfolio_says_what_the_screen_says(firm: Firm) -> None:
    client, person = signed_in(firm)
    Project.objects.filter(pk=firm.project.pk).update(manager=person)
    firm.admit(firm.time("1", rate=Decimal("99.00")))
    answer: Any = client.get(reverse("readiness"), {"export": "csv", "period": "2026-10"})
    said = b"".join(answer.streaming_content).decode()
    assert f"{firm.project.code} {firm.project.name}" in said
    assert "nobody has it yet" in said
    assert ",Ready," not in said


def test_a_file_of_the_portfolio_holds_figures_and_no_markup_nor_more_than_cents(firm: Firm) -> None:
    client, person = signed_in(firm)
    Project.objects.filter(pk=firm.project.pk).update(manager=person)
    firm.admit(firm.time("1", rate=Decimal("99.00")), firm.time("2", work_date=date(2026, 10, 2)))
    post(entries("2"))
    allocate(bill(firm), entries("2")[0], "7", "840")  # a share of seven eighths
    for form in ("csv", "xlsx"):
        assert client.get(reverse("readiness"), {"export": form, "period": "2026-10"}).status_code == 200
    answer: Any = client.get(reverse("readiness"), {"export": "csv", "period": "2026-10"})
    heads, row = b"".join(answer.streaming_content).decode().splitlines()[-2:]
    said = dict(zip(heads.split(","), next(csv.reader([row])), strict=True))
    assert (said["Billable"], said["Blocked"]) == ("1920.00", "960.00")


def test_the_page_of_a_project_shows_twelve_answers_and_the_lines_of_the_invoice(firm: Firm) -> None:
    client, _ = signed_in(firm)
    firm.admit(firm.time("1"), firm.time("2", work_date=date(2026, 9, 2)))
    post(entries("1", "2"))
    page = client.get(reverse("readiness_project", args=[month(firm).pk]))
    text = page.content.decode()
    assert text.count('id="check-') == 12
    assert "Ana Consultant" in text
    assert "What the customer would read" in text
    assert "Delivered and not invoiced, by age in days, USD" in text


def test_what_the_customer_would_read_adds_up_to_the_figures_above_it(firm: Firm) -> None:
    client, person = signed_in(firm)
    Project.objects.filter(pk=firm.project.pk).update(manager=person)
    firm.admit(*(firm.time(str(n), work_date=date(2026, 10, n)) for n in range(1, 5)))
    post(entries("1", "2", "3", "4"))
    allocate(bill(firm), entries("1")[0], "6", "720")
    [proposal] = invoicing.prepare(Project.objects.get(pk=firm.project.pk), date(2026, 10, 4), by=None, how="entry")
    held = proposal.lines.get(parts__entry=entries("3")[0])
    invoicing.hold(held, by=person, reason="the customer disputes it")
    firm.admit(firm.time("2", work_date=date(2026, 10, 2), hours=Decimal(6)))  # changed after it was posted
    shown = client.get(reverse("readiness_project", args=[month(firm).pk])).context
    head, parts = shown["month"], shown["parts"]
    assert sum(part.amount for part in parts) == head.amount - head.invoiced == 240 + 720 + 960 + 960
    assert sum(part.ready for part in parts) == head.ready == 240 + 960
    assert sum(part.hours for part in parts) == 2 + 6 + 8 + 8


def test_a_project_of_another_entity_is_not_found_and_in_no_count(firm: Firm) -> None:
    firm.admit(firm.time("1"))
    stranger = world.user("eve", "controller", world.entity("SG", "SGD"))
    client = Client()
    client.force_login(stranger)
    assert client.get(reverse("readiness_project", args=[month(firm).pk])).status_code == 404
    page = client.get(f"{reverse('readiness')}?period=2026-10").content.decode()
    assert "Acm-1" not in page
    assert "No work in this period" in page


def test_an_approver_is_asked_once_in_a_day(firm: Firm) -> None:
    client, person = signed_in(firm)
    firm.admit(firm.time("1"))
    address = reverse("readiness_project", args=[month(firm).pk])

    def nudge() -> str:
        asked = client.post(address, {"action": "nudge"})
        token = asked.context["confirmed"] if "confirmed" in asked.context else asked.context["token"]
        return client.post(address, {"action": "nudge", "confirmed": token}, follow=True).content.decode()

    assert "waits for approval" in nudge()
    firm.take(firm.time("2", status=SourceStatus.SUBMITTED, work_date=date(2026, 10, 2)))
    assert "has no approval chain" in nudge()
    ApprovalStep.objects.create(project=firm.project, approver=firm.pat, sequence=1)
    type(firm.pat).objects.filter(pk=firm.pat.pk).update(email="pat@firm.example")
    assert "cannot be told here" in nudge()
    pat = world.user("pat", "project_manager", firm.entity)
    User.objects.filter(pk=pat.pk).update(email="Pat@firm.example")
    assert "1 approver was asked" in nudge()
    assert Notification.objects.get(person=pat).subject.endswith("waits for your approval")
    assert "once in 24 hours is enough" in nudge()
    assert AuditEvent.objects.filter(action="approver.nudged", actor=person).count() == 1


def test_the_list_and_the_page_ask_as_often_for_many_as_for_few(firm: Firm) -> None:
    client, _ = signed_in(firm, "controller", "cora")
    client.get(reverse("readiness"))

    def asked(address: str) -> tuple[int, int]:
        """How many statements, and how many of them add months up from the ledger."""
        client.get(address)
        with CaptureQueriesContext(connection) as queries:
            assert client.get(address).status_code == 200
        views = ("FROM reconciliation_projectmonth", 'FROM "reconciliation_projectmonth"')
        return len(queries), sum(any(view in query["sql"] for view in views) for query in queries.captured_queries)

    firm.admit(firm.time("1", rate=Decimal("99.00")))
    listed, shown = (
        f"{reverse('readiness')}?period=2026-10&tab=all",
        reverse("readiness_project", args=[month(firm).pk]),
    )
    few = asked(listed), asked(shown)
    for n in range(2, 9):
        found = project(f"P-{n}", firm.entity, firm.customer, firm.contract)
        work = {"project": world.time_record().project._replace(key="", code=found.code), "rate": Decimal("99.00")}
        firm.admit(
            firm.time(f"o{n}", work_date=date(2026, 10, n), **work), firm.time(str(n), work_date=date(2026, 10, n))
        )
    assert document_of("o8").current_version == 1
    assert (asked(listed), asked(shown)) == few
    assert (few[0][1], few[1][1]) == (1, 1)


def test_the_months_that_a_list_reads_once_are_those_of_the_ledger_and_of_no_other_period(firm: Firm) -> None:
    firm.admit(firm.time("1", rate=Decimal("99.00")), firm.time("2", work_date=date(2026, 9, 30)))
    firm.admit(*(firm.time(str(n), work_date=date(2026, 10, n), hours=Decimal("7.3333")) for n in range(3, 6)))
    post(entries("3", "4"))
    allocate(bill(firm), entries("3")[0], "1", "120.00")
    months = ProjectMonth.objects.order_by("pk")
    october = AccountingPeriod.objects.filter(code="2026-10").values_list("pk", flat=True)
    read = readiness.added_up(ProjectMonth.objects.all(), list(october)).order_by("pk")
    assert list(read.values()) == list(months.filter(period__in=october).values()) != []
    assert read.filter(blocked__gt=0, project__code=firm.project.code).count() == 1
    assert not readiness.added_up(ProjectMonth.objects.all(), []).exists()
    key = month(firm).pk
    assert readiness.of_key(ProjectMonth.objects.all(), key).get().pk == key
    client, _ = signed_in(firm, "controller", "cora")
    page = client.get(f"{reverse('readiness')}?period=&tab=all").content.decode()
    assert reverse("readiness_project", args=[key]) in page
    assert reverse("readiness_project", args=[month(firm, "2026-09").pk]) not in page
