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
from portal.models import GrantRole, InvoiceProposal, User
from portal.records import BillStatus, SourceStatus
from reconciliation import invoicing
from reconciliation.models import ProjectMonth, Route
from tests import world
from tests.bills import Erp, line_of, posted, read
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
