"""What the readiness of a project says of work that is taken back, drafted, on hold, without a rate, or on a deleted invoice."""

from __future__ import annotations

import csv
import io
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from integrations import registry
from portal import tokens
from portal.models import GrantRole, InvoiceProposal, Milestone, User
from portal.records import BillKind, BillLine, BillStatus, Reference, SourceStatus
from reconciliation import billing, invoicing
from reconciliation.models import ExceptionCase, ProjectMonth, Route
from tests import world
from tests.bills import Erp, causes, find, line_of, posted, read
from tests.integrations.memory_biller import biller
from tests.reconciliation import firm as firms

pytestmark = pytest.mark.django_db
END = date(2026, 9, 30)


@pytest.fixture
def firm(monkeypatch: pytest.MonkeyPatch) -> firms.Firm:
    monkeypatch.setitem(registry.CONNECTORS, "memory-biller", "tests.integrations.memory_biller.MemoryBiller")
    found = firms.build()
    system = biller(found.entity)
    Route.objects.create(
        entity=found.entity, source=found.source, target=system, kind="invoice", valid_from=firms.SINCE
    )
    for connection in (system, found.target):
        firms.key(connection, "customer", found.customer.pk, "C1")
    found.project.manager = world.user("mia", GrantRole.PROJECT_MANAGER, found.entity)
    found.project.save()
    world.user("fay", GrantRole.ANALYST, found.entity)
    return found


def page() -> Any:
    """The page of the month, with its context."""
    client = Client()
    client.force_login(User.objects.get(username="fay"))
    month = ProjectMonth.objects.get(period__code="2026-09")
    return client.get(reverse("readiness_project", args=[month.pk]))


def portfolio(tab: str = "all") -> str:
    client = Client()
    client.force_login(User.objects.get(username="fay"))
    return str(client.get(reverse("readiness"), {"period": "2026-09", "tab": tab}).content.decode())


def is_told_alike_everywhere() -> None:
    """The file and the API say of the month what its page says."""
    client = Client()
    client.force_login(User.objects.get(username="fay"))
    month = page().context["month"]
    bearer = f"Bearer {tokens.issue(User.objects.get(username='fay'), 'lake')}"
    lake = Client(headers={"authorization": bearer})
    [told] = lake.get(reverse("api_readiness-list"), {"period": "2026-09"}).json()["results"]
    for name in ("amount", "blocked", "under_way", "ready", "drafted", "on_hold", "invoiced", "gone", "off_price"):
        assert Decimal(told[name]) == getattr(month, name), name
    where = ("blocked", "under_way", "ready", "drafted", "on_hold", "invoiced", "gone", "off_price")
    assert sum(Decimal(told[name]) for name in where) == month.amount
    file: Any = client.get(reverse("readiness"), {"period": "2026-09", "tab": "all", "export": "csv"})
    written = b"".join(file.streaming_content).decode("utf-8-sig").split("\r\n\r\n", 1)[1]  # below the heading
    [row] = csv.DictReader(io.StringIO(written))
    assert (Decimal(row["Billable"]), Decimal(row["Blocked"])) == (month.amount, month.blocked)


def figures(answer: Any) -> tuple[Decimal, Decimal, Decimal, Decimal, Decimal]:
    """Ready, blocked, drafted, on hold, invoiced."""
    month = answer.context["month"]
    return (month.ready, month.blocked, month.drafted, month.on_hold, month.invoiced)


def test_work_that_is_taken_back_or_changed_is_blocked_and_its_money_counted_once(firm: firms.Firm) -> None:
    posted(firm, 3)
    assert figures(page()) == (2880, 0, 0, 0, 0)
    firm.admit(firm.time("1", work_date=date(2026, 9, 2), status=SourceStatus.WITHDRAWN))
    assert figures(page()) == (1920, 960, 0, 0, 0)
    firm.admit(firm.time("2", work_date=date(2026, 9, 3), hours=Decimal(6)))
    shown = page()
    assert figures(shown) == (960, 960 + 720, 0, 0, 0)
    assert shown.context["month"].amount == 960 + 960 + 720
    assert shown.context["percent"] == 36
    assert "1,680.00" in portfolio("held-up")
    assert "No project is wholly ready" in portfolio("to-bill")
    is_told_alike_everywhere()


def test_what_is_drafted_is_on_its_way_what_is_held_says_why_and_a_draft_that_nobody_issued_is_not_invoiced(
    firm: firms.Firm,
) -> None:
    *_, third = posted(firm, 3)
    [proposal] = invoicing.prepare(firm.project, date(2026, 9, 3), by=None, how="entry")
    lines = list(proposal.lines.order_by("position"))
    mia, fay = User.objects.get(username="mia"), User.objects.get(username="fay")
    invoicing.hold(lines[1], by=mia, reason="the customer disputes it")
    shown = page()
    assert figures(shown) == (1920, 0, 0, 960, 0)
    assert "the customer disputes it" in shown.content.decode()
    assert "No project is wholly ready" in portfolio("to-bill")
    is_told_alike_everywhere()
    released = invoicing.release(
        InvoiceProposal.objects.get(),
        by=mia,
        seen=InvoiceProposal.objects.get().content_hash,
        accepts=read(InvoiceProposal.objects.get()),
    )
    invoicing.approve(released, by=fay, seen=released.content_hash, accepts=read(released))
    shown = page()
    assert shown.context["month"].drafted == 960
    assert "On its way to the customer" in shown.content.decode()
    erp = Erp(firm)
    erp.says(erp.bill("501", line_of(third), status=BillStatus.DRAFT))
    month = page().context["month"]
    assert (month.drafted, month.invoiced) == (1920, 0)
    is_told_alike_everywhere()


def test_hours_without_a_rate_are_blocked_with_an_unknown_amount(firm: firms.Firm) -> None:
    posted(firm, 1)
    firm.rate.valid_to = date(2026, 9, 20)
    firm.rate.save()
    firm.admit(firm.time("9", work_date=date(2026, 9, 22)))
    assert page().context["percent"] == 50
    listed = portfolio()
    assert "8.00 h without a rate" in listed
    assert "100 %" not in listed


def test_a_deleted_invoice_is_the_first_blocker_and_not_invoiced_without_a_word(firm: firms.Firm) -> None:
    first, _ = posted(firm, 2)
    firm.admit(firm.time("2", work_date=date(2026, 9, 3), status=SourceStatus.WITHDRAWN))
    erp = Erp(firm)
    said = erp.bill("501", line_of(first))
    erp.says(said)
    erp.says(erp.gone(said))
    words = (
        f"Invoice INV-501 was deleted in {firm.target}: 960.00 USD are asked for by no invoice until somebody decides."
    )
    shown = page().content.decode()
    for expected in (words, "On void or deleted invoices"):
        assert expected in shown, expected
    listed = portfolio()
    assert words in listed
    assert "besides 960.00 USD on void or deleted invoices" in listed
    assert "and 1 more" in listed
    assert words in portfolio("held-up")
    is_told_alike_everywhere()


def test_the_period_that_is_shown_first_is_that_of_the_latest_work_that_stands(firm: firms.Firm) -> None:
    posted(firm, 1)
    draft = firm.time("d", work_date=date(2026, 10, 5), status=SourceStatus.APPROVED)
    firm.admit(draft)
    client = Client()
    client.force_login(User.objects.get(username="fay"))
    assert ProjectMonth.objects.filter(period__code="2026-10").exists()
    assert "2026-10" in client.get(reverse("readiness")).content.decode()
    firm.admit(firm.time("d", work_date=date(2026, 10, 5), status=SourceStatus.DRAFT))
    assert not ProjectMonth.objects.filter(period__code="2026-10").exists()
    shown = client.get(reverse("readiness"))
    assert firm.project.name in shown.content.decode()
    assert "No work in this period" not in shown.content.decode()


def test_a_void_invoice_with_payments_is_no_ready_month_and_leads_to_its_cause(firm: firms.Firm) -> None:
    first, _ = posted(firm, 2)
    erp = Erp(firm)
    said = erp.bill("501", line_of(first))
    erp.says(said)
    erp.says(erp.payment("900", "960.00", ("501", "960.00")))
    erp.says(erp.again(said, status=BillStatus.VOIDED))
    case = ExceptionCase.objects.get(rule="void-with-payments", state="open")
    words = f"Invoice INV-501 was voided in {firm.target}: 960.00 USD are asked for by no invoice while payments stand on it."
    answer = page()
    [check] = [one for one in answer.context["failing"] if one.code == "exceptions"]
    assert (check.says, check.url, check.amount) == (words, reverse("cause", args=[case.pk]), 960)
    shown = answer.content.decode()
    assert f'href="{reverse("cause", args=[case.pk])}">Open the cause</a>' in shown
    assert '<span class="state good">Ready</span>' not in shown
    assert words in portfolio("held-up")


def test_a_credit_of_an_invoice_of_milestones_alone_has_to_name_them(firm: firms.Firm) -> None:
    posted(firm)
    Milestone.objects.create(
        project=firm.project, code="M-1", name="Design", amount=Decimal(960), currency="USD", due_on=END, signed_on=END
    )
    erp = Erp(firm)
    erp.says(erp.bill("502", BillLine(key="m", milestone=Reference("M-1"), net=Decimal(960), description="Design")))
    erp.says(erp.credit("602", "502", BillLine(key="x", net=Decimal(100), description="Goodwill")))
    assert causes("602") == {"credit-without-hours"}
    assert credits_check().verdict.value == "fail"


def credits_check() -> Any:
    """What the list of what must hold says of credits."""
    return next(one for one in page().context["checks"] if one.code == "credits")


def test_a_credit_names_its_hours_while_they_stand_credited_and_not_once_that_was_taken_back(firm: firms.Firm) -> None:
    ids = posted(firm, 2)
    erp = Erp(firm)
    erp.says(erp.bill("501", *(line_of(one) for one in ids)))
    erp.says(erp.credit("601", "501", BillLine(key="x", net=Decimal(960), description="Goodwill")))
    note, fay = find("601", BillKind.CREDIT_NOTE), User.objects.get(username="fay")
    check = credits_check()
    assert (check.verdict.value, check.owner, check.url) == ("fail", "nobody yet", reverse("bill", args=[note.pk]))
    assert "CM-601 does not say which hours it credits" in check.says
    billing.credit_price(note, by=fay, reason="goodwill, all hours were worked")
    assert credits_check().verdict.value == "pass"
    billing.take_back(note, by=fay, reason="they are to be named")
    assert credits_check().verdict.value == "fail"
