"""The screens of invoice proposals, used as a project manager and a person of finance use them."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from integrations import registry
from portal import tokens
from portal.models import GrantRole, InvoiceProposal, LedgerEntry, LedgerState, ProposalState, User
from reconciliation import invoicing
from reconciliation import readiness as readiness_of
from reconciliation.models import ProjectMonth, Route
from tests import world
from tests.bills import posted
from tests.integrations.memory_biller import biller
from tests.reconciliation import firm as firms

pytestmark = pytest.mark.django_db
END = date(2026, 9, 30)


@pytest.fixture
def firm(monkeypatch: pytest.MonkeyPatch) -> firms.Firm:
    monkeypatch.setitem(registry.CONNECTORS, "memory-biller", "tests.integrations.memory_biller.MemoryBiller")
    found = firms.build()
    billing = biller(found.entity)
    Route.objects.create(
        entity=found.entity, source=found.source, target=billing, kind="invoice", valid_from=firms.SINCE
    )
    firms.key(billing, "customer", found.customer.pk, "C1")
    found.project.manager = world.user("mia", GrantRole.PROJECT_MANAGER, found.entity)
    found.project.save()
    return found


def signed_in(name: str, role: str = "", entity: Any = None) -> Client:
    client = Client()
    client.force_login(world.user(name, role, entity) if role else User.objects.get(username=name))
    return client


def text(answer: Any, status: int = 200) -> str:
    assert answer.status_code == status, answer.content.decode()[:600]
    return str(answer.content.decode())


def does(client: Client, address: str, action: str, **said: Any) -> Any:
    """Ask for an action and confirm it, as a person does without scripts."""
    asked = client.post(address, {"action": action, **{f"with_{name}": value for name, value in said.items()}})
    confirmed, told = asked.context["confirmed"], asked.context["form"].initial.get("told", "")
    known = {"told": told, "accepts": "on"} if told else {}
    return client.post(address, {"action": action, "confirmed": confirmed, **known, **said}, follow=True)


def why(entry: LedgerEntry) -> str:
    """Why it is not billed, in words."""
    found = LedgerEntry.objects.select_related("state_row", "project__customer", "project__contract").get(pk=entry.pk)
    return readiness_of.why_not_billed(found).words


def test_a_manager_prepares_holds_and_releases_and_finance_approves_what_it_saw(firm: firms.Firm) -> None:
    posted(firm, 3)
    mia, fay = signed_in("mia"), signed_in("fay", "analyst", firm.entity)
    month = ProjectMonth.objects.get(period__code="2026-09")
    readiness = reverse("readiness_project", args=[month.pk])
    assert "Prepare invoice" in text(mia.get(readiness))
    page = text(does(mia, readiness, "prepare", through="2026-09-30", grouping="entry"))
    for words in (
        "Invoice of Acm-1",
        "What the customer reads",
        "2,880.00",
        "Release for billing",
        "its project manager",
    ):
        assert words in page, words
    proposal = InvoiceProposal.objects.get()
    here = reverse("invoice_proposal", args=[proposal.pk])
    line = proposal.lines.order_by("position")[0]
    of_line = reverse("invoice_proposal_line", args=[proposal.pk, line.pk])
    assert "8.00 × 120.00 = 960.00" in text(mia.get(of_line))  # noqa: RUF001
    assert "This field is required" in text(mia.post(of_line, {"action": "hold", "reason": ""}), 422)
    held = text(mia.post(of_line, {"action": "hold", "reason": "disputed", "until": "2026-12-24"}, follow=True))
    for words in ("On hold", "disputed", "until 24 Dec 2026", "1,920.00"):
        assert words in held, words
    assert "Put it on the invoice" in text(mia.get(of_line))
    months = text(mia.get(reverse("readiness"), {"period": "2026-09"}))
    assert f"A line of {proposal} is on hold: disputed." in months
    assert "with mia" in months
    here_too = text(mia.get(readiness))
    assert here in here_too
    assert "to be released" in here_too
    entries = [LedgerEntry.objects.get(proposed__line=one) for one in proposal.lines.order_by("position")]
    assert why(entries[0]) == f"It is on hold on {proposal}: disputed"
    assert why(entries[1]) == f"It is on {proposal}, which its project manager has to release."
    stale = does(mia, here, "release", seen="something else")
    assert "It was changed meanwhile" in text(stale, 422)
    proposal.refresh_from_db()
    assert "Released. Finance approves it" in text(does(mia, here, "release", seen=proposal.content_hash))
    assert f"{proposal} of ACM-1" in text(fay.get(reverse("approvals")))
    assert "Approve" in text(fay.get(here))
    assert "Approve and hand over" not in text(mia.get(here))
    said = text(does(fay, here, "approve", seen=proposal.content_hash))
    assert "In the system that bills" in said
    assert LedgerState.objects.get(entry__kind="invoice").state == "ready"
    assert why(entries[1]).startswith(f"It is on {proposal}, which was handed over as a draft")
    assert "Ready" in text(fay.get(here))
    assert f"{proposal} of ACM-1" not in text(fay.get(reverse("approvals")))


def test_the_portfolio_lists_what_waits_for_whom_and_its_breakdown_adds_up_and_goes_out_as_a_file(
    firm: firms.Firm,
) -> None:
    posted(firm, 2)
    [proposal] = invoicing.prepare(firm.project, END, by=None, how="entry")
    fay = signed_in("fay", "analyst", firm.entity)
    listed = text(fay.get(reverse("invoice_proposals")))
    for words in (str(proposal), "Acme Inc.", "its project manager, to release it", "To approve"):
        assert words in listed, words
    assert listed.count("1,920.00") == 2  # the proposal and the total, whatever the number of its lines
    assert "No invoice is proposed here" in text(fay.get(reverse("invoice_proposals"), {"tab": "billed"}))
    parts = reverse("invoice_parts", args=[proposal.pk])
    page = text(fay.get(parts))
    assert page.count("Ana Consultant on ACM-1") == 2
    assert "1,920.00" in page
    file = fay.get(parts, {"export": "csv"}, follow=True)
    assert file.status_code == 200
    stranger = signed_in("sam", "analyst", world.entity("DE", "EUR"))
    assert stranger.get(parts).status_code == 404
    assert "1,920.00" not in text(stranger.get(reverse("invoice_proposals")))


def test_a_page_asks_the_same_questions_whatever_the_number_of_lines(firm: firms.Firm) -> None:
    fay = signed_in("fay", "analyst", firm.entity)
    counts = []
    for count in (2, 9):
        posted(firm, count, first=count)
        [proposal] = invoicing.prepare(firm.project, END, by=None, how="entry")
        addresses = (
            reverse("invoice_proposal", args=[proposal.pk]), reverse("invoice_parts", args=[proposal.pk]),
            reverse("invoice_proposals"),
        )  # fmt: skip
        for address in addresses:
            fay.get(address)
        asked = []
        for address in addresses:
            with CaptureQueriesContext(connection) as queries:
                text(fay.get(address))
            asked.append(len(queries))
        counts.append(asked)
    assert counts[0] == counts[1]


def test_the_api_tells_proposals_with_lines_and_parts(firm: firms.Firm, client: Client) -> None:
    [entry] = posted(firm)
    [proposal] = invoicing.prepare(firm.project, END, by=None)
    token = tokens.issue(world.user("robot", "auditor", firm.entity), "test")
    answer = client.get("/api/v1/invoice-proposals/", headers={"Authorization": f"Bearer {token}"})
    [row] = answer.json()["results"]
    assert (row["reference"], row["state"], row["net"]) == (str(proposal), ProposalState.OPEN, "960.0000")
    assert row["lines"][0]["parts"] == [
        {"entry": entry, "milestone": None, "quantity": "8.0000", "amount": "960.0000"}
    ]  # fmt: skip


def test_the_page_itself_follows_what_was_done_in_its_dialog_and_a_drawer_leaves_the_page_beneath(
    firm: firms.Firm,
) -> None:
    posted(firm)
    [proposal] = invoicing.prepare(firm.project, END, by=None)
    mia, here = signed_in("mia"), reverse("invoice_proposal", args=[proposal.pk])
    asked = mia.post(here, {"action": "word"})
    said = {"action": "word", "confirmed": asked.context["confirmed"], "memo": "Thank you"}
    beside = mia.post(here, said, headers={"HX-Request": "true", "HX-Current-URL": "http://testserver/invoicing/"})
    assert (beside.status_code, "HX-Refresh" in beside) == (204, False)
    on_it = mia.post(here, said, headers={"HX-Request": "true", "HX-Current-URL": f"http://testserver{here}"})
    assert on_it["HX-Refresh"] == "true"
    assert "The text is kept." in text(mia.get(here))
