"""Proposals, drafts, milestones and the bills of nothing but milestones lead to their line, from either end."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from integrations import outbox, registry, thread
from portal import tokens
from portal.models import GrantRole, InvoiceDraft, InvoiceProposal, LedgerEntry, LedgerState, Milestone
from portal.records import BillLine, BillStatus
from reconciliation import invoicing
from reconciliation.models import Route
from tests import world
from tests.bills import Erp, posted, read
from tests.integrations.memory_biller import BILLS, biller
from tests.reconciliation import firm as firms

pytestmark = pytest.mark.django_db
END = date(2026, 9, 30)


@pytest.fixture
def firm(monkeypatch: pytest.MonkeyPatch) -> firms.Firm:
    """A firm whose bills are made by a system in memory."""
    monkeypatch.setitem(registry.CONNECTORS, "memory-biller", "tests.integrations.memory_biller.MemoryBiller")
    found = firms.build()
    billing = biller(found.entity)
    Route.objects.create(
        entity=found.entity, source=found.source, target=billing, kind="invoice", valid_from=firms.SINCE
    )
    for kind, pk, theirs in (
        ("customer", found.customer.pk, "C1"), ("project", found.project.pk, "J1"), ("entity", found.entity.pk, "E1")
    ):  # fmt: skip
        firms.key(billing, kind, pk, theirs)
    found.project.manager = world.user("mia", GrantRole.PROJECT_MANAGER, found.entity)
    found.project.save()
    return found


class Bills(Erp):
    """The system that bills, as a source of bills."""

    def __init__(self, firm: firms.Firm) -> None:
        super().__init__(firm)
        self.connection = Route.objects.get(kind="invoice").target
        self.connection.is_source = True
        self.connection.save()


def handed_over(firm: firms.Firm) -> InvoiceProposal:
    """Prepared, released, approved and made as a draft."""
    [proposal] = invoicing.prepare(firm.project, END, by=None)
    assert firm.project.manager is not None
    released = invoicing.release(proposal, by=firm.project.manager, seen=proposal.content_hash, accepts=read(proposal))
    controller = world.user("cora", GrantRole.CONTROLLER, firm.entity)
    invoicing.approve(released, by=controller, seen=released.content_hash, accepts=read(released))
    target = Route.objects.get(kind="invoice").target
    for _ in range(3):
        LedgerState.objects.filter(target=target).update(next_attempt_at="2020-01-01T00:00:00Z")
        outbox.deliver(target.pk)
    return InvoiceProposal.objects.get(pk=proposal.pk)


def milestone(firm: firms.Firm, signed_on: date | None = date(2026, 9, 25)) -> Milestone:
    """A project that is billed by one milestone."""
    firm.contract.billing_model = "milestone"
    firm.contract.save()
    return Milestone.objects.create(
        project=firm.project, code="M1", name="Design", due_on=date(2026, 9, 20), amount=Decimal(5000), currency="USD",
        signed_on=signed_on,
    )  # fmt: skip


def lines_there() -> list[BillLine]:
    _, draft, _ = BILLS["billing"].made[-1]
    return [
        BillLine(
            key=f"item:{n}", posting_key=line.key, quantity=line.quantity, unit_price=line.unit_price, net=line.net
        )
        for n, line in enumerate(draft.lines, start=1)
    ]


def signed_in(firm: firms.Firm, name: str = "fay", role: str = "analyst", entity: Any = None) -> Client:
    client = Client()
    client.force_login(world.user(name, role, entity or firm.entity))
    return client


def test_a_proposal_and_its_draft_lead_to_every_hour_and_the_box_to_the_proposal(
    firm: firms.Firm, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = posted(firm, 2)
    proposal = handed_over(firm)
    draft = InvoiceDraft.objects.get(proposal=proposal)
    hours = set(LedgerEntry.objects.filter(pk__in=entries).values_list("document", flat=True))
    fay = signed_in(firm)
    for name in (str(proposal), str(proposal).lower(), f"P-{proposal.pk}", draft.number):
        assert {document.pk for document in thread.find(name)} == hours, name
        answer = fay.get("/search/", {"q": name})
        assert answer["Location"] == reverse("invoice_proposal", args=[proposal.pk]), name
    call_command("explain", str(proposal))
    told = capsys.readouterr().out
    assert f"It is on {proposal}".lower() in told.lower()
    entry = LedgerEntry.objects.get(document=draft.document_id)
    assert (
        f"Draft 1 of 1: Billing {draft.number}; entry {entry.pk}, key {entry.idempotency_key.hex}, posted since" in told
    )
    theirs = signed_in(firm, "gil", "analyst", world.entity("GB", "GBP"))
    assert str(proposal) not in theirs.get("/search/", {"q": str(proposal)}).content.decode().split("</h1>")[1]


def test_a_milestone_is_followed_from_its_signature_to_the_payment_and_back(
    firm: firms.Firm, capsys: pytest.CaptureFixture[str]
) -> None:
    one = milestone(firm)
    fay = signed_in(firm)
    address = reverse("milestone_thread", args=[one.pk])
    assert "signed and proposed at the next invoice run" in fay.get(address).content.decode()
    proposal = handed_over(firm)
    assert "has not come back as an invoice" in fay.get(address).content.decode()
    erp = Bills(firm)
    erp.says(erp.bill("501", *lines_there(), status=BillStatus.PART_PAID), erp.payment("9", "2000", ("501", "2000")))
    text = fay.get(address).content.decode()
    for words in (
        "signed on 25 Sep 2026",
        f"{proposal}, billed",
        "INV-501: 5,000.00 USD",
        "2,000.00 of 5,000.00 USD paid",
    ):
        assert words in text, words
    for name in (str(proposal), "INV-501", "501", "PAY-9", "M1"):
        assert list(thread.milestones_named(name)) == [one], name
        call_command("explain", name)
        assert "Invoice: INV-501: 5,000.00 USD" in capsys.readouterr().out
    assert fay.get("/search/", {"q": "M1"})["Location"] == address
    assert signed_in(firm, "gil", "analyst", world.entity("GB", "GBP")).get(address).status_code == 404


def test_a_milestone_that_nobody_signed_says_so(firm: firms.Firm) -> None:
    one = milestone(firm, None)
    text = signed_in(firm).get(reverse("milestone_thread", args=[one.pk])).content.decode()
    assert "not signed; due on 20 Sep 2026" in text
    assert "none: it is not signed" in text


def test_a_program_asks_for_the_thread_by_any_id_and_gets_what_it_may_see(firm: firms.Firm) -> None:
    entries = posted(firm, 25)
    proposal = handed_over(firm)
    reader = world.user("warehouse", GrantRole.AUDITOR, firm.entity)
    client = Client(headers={"authorization": f"Bearer {tokens.issue(reader, 'lake')}"})

    def ask(**said: Any) -> Any:
        answer = client.get("/api/v1/thread/", said)
        assert answer.status_code == 200, answer.content
        return answer.json()

    first = ask(id=str(proposal))
    second = ask(id=str(proposal), after=first["next"])
    rows = first["documents"] + second["documents"]
    assert (len(first["documents"]), second["next"]) == (20, None)
    assert [entry["entry"] for row in rows for entry in row["entries"]] == sorted(entries)
    stations = {one["key"]: one for one in rows[0]["entries"][0]["stations"]}
    assert (stations["ledger"]["light"], stations["invoice"]["words"]) == (
        "lit", f"none: it is on {proposal}, which was handed over as a draft; its invoice has not come back yet",
    )  # fmt: skip
    nothing: dict[str, Any] = {"documents": [], "milestones": [], "named": [], "next": None, "next_milestone": None}
    assert ask(id="nobody has this") == nothing
    for wrong in ({}, {"id": "x", "after": "y"}, {"id": "x", "colour": "red"}):
        assert client.get("/api/v1/thread/", wrong).status_code == 400
    assert Client().get("/api/v1/thread/", {"id": "x"}).status_code == 401
    stranger = world.user("other", GrantRole.AUDITOR, world.entity("GB", "GBP"))
    theirs = Client(headers={"authorization": f"Bearer {tokens.issue(stranger, 'lake')}"})
    assert theirs.get("/api/v1/thread/", {"id": str(proposal)}).json()["documents"] == []


def test_a_milestone_is_told_by_the_api_and_costs_as_much_for_many(firm: firms.Firm) -> None:
    one = milestone(firm)
    reader = world.user("warehouse", GrantRole.AUDITOR, firm.entity)
    client = Client(headers={"authorization": f"Bearer {tokens.issue(reader, 'lake')}"})
    [told] = client.get("/api/v1/thread/", {"id": "M1"}).json()["milestones"]
    assert (told["id"], told["amount"], told["stations"][0]["words"]) == (one.pk, "5000.0000", "signed on 25 Sep 2026")

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            client.get("/api/v1/thread/", {"id": "M1"})
        return len(queries)

    few = cost()
    for n in range(21):
        other = firms.project(f"ACM-{n + 10}", firm.entity, firm.customer, firm.contract)
        Milestone.objects.create(project=other, code="M1", name="Design", due_on=END, amount=Decimal(1), currency="USD")
    assert cost() == few
    first = client.get("/api/v1/thread/", {"id": "M1"}).json()
    second = client.get("/api/v1/thread/", {"id": "M1", "after_milestone": first["next_milestone"]}).json()
    found = [row["id"] for row in (*first["milestones"], *second["milestones"])]
    assert (len(first["milestones"]), second["next_milestone"], second["documents"]) == (20, None, [])
    assert found == list(Milestone.objects.order_by("pk").values_list("pk", flat=True))
    assert client.get("/api/v1/thread/", {"id": "M1", "after_milestone": "x"}).status_code == 400
