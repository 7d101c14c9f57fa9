"""A proposal whose work changed is prepared anew on its page, withdrawn when nothing is left, or when its bill is gone."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from integrations import outbox, registry
from portal.models import (
    Connection,
    GrantRole,
    InvoiceProposal,
    LedgerEntry,
    LedgerState,
    Notification,
    ProposalState,
    User,
)
from portal.records import BillLine, BillRecord, BillStatus, PaymentStatus
from reconciliation import billing, corrections, invoicing
from reconciliation.invoicing import NotProposable
from reconciliation.models import Route
from reconciliation.readiness import why_not_billed
from tests import world
from tests.bills import Erp, find, open_hours, posted, read
from tests.integrations.memory_biller import BILLS, biller
from tests.reconciliation import firm as firms

pytestmark = pytest.mark.django_db
END = date(2026, 9, 30)


class Bills(Erp):
    """The system that bills, as it states bills."""

    def says(self, *records: Any) -> None:
        target, self.firm.target = self.firm.target, Connection.objects.get(code="billing")
        super().says(*records)
        self.firm.target = target


@pytest.fixture
def firm(monkeypatch: pytest.MonkeyPatch) -> firms.Firm:
    monkeypatch.setitem(registry.CONNECTORS, "memory-biller", "tests.integrations.memory_biller.MemoryBiller")
    found = firms.build()
    system = biller(found.entity)
    Route.objects.create(
        entity=found.entity, source=found.source, target=system, kind="invoice", valid_from=firms.SINCE
    )
    for kind, pk, theirs in (("customer", found.customer.pk, "C1"), ("project", found.project.pk, "J1")):
        firms.key(system, kind, pk, theirs)
    found.project.manager = world.user("mia", GrantRole.PROJECT_MANAGER, found.entity)
    found.project.save()
    world.user("cora", GrantRole.CONTROLLER, found.entity)
    world.user("fay", GrantRole.ANALYST, found.entity)
    return found


def of(name: str) -> User:
    return User.objects.get(username=name)


def page(name: str, proposal: InvoiceProposal, **does: str) -> str:
    """The page of a proposal; after an action where one is named."""
    client, here = Client(), reverse("invoice_proposal", args=[proposal.pk])
    client.force_login(of(name))
    if not does:
        return str(client.get(here).content.decode())
    asked = client.post(here, does)
    return str(client.post(here, {**does, "confirmed": asked.context["confirmed"]}, follow=True).content.decode())


def test_a_stale_proposal_is_prepared_anew_on_its_page_by_name_and_withdrawn_when_nothing_is_left(
    firm: firms.Firm,
) -> None:
    first, second = posted(firm, 2)
    [proposal] = invoicing.prepare(firm.project, END, by=None)
    assert "the invoice run" in page("mia", proposal)
    corrections.reverse([first], by=of("cora"), reason="wrong project")
    stale = page("mia", proposal)
    assert "Hours of Ana Consultant on 2 Sep 2026: its posting is being reversed" in stale
    assert "Prepare anew" in stale
    anew = page("mia", proposal, action="prepare-anew")
    for words in ("Prepared anew from what is left to bill.", "<dt>Prepared</dt><dd>mia"):
        assert words in anew, words
    assert "is being reversed" not in anew
    proposal.refresh_from_db()
    assert (proposal.net, proposal.state) == (Decimal(960), ProposalState.OPEN)
    corrections.reverse([second], by=of("cora"), reason="wrong project")
    assert "Nothing of it is left to bill, so it is withdrawn." in page("mia", proposal, action="prepare-anew")
    proposal.refresh_from_db()
    assert (proposal.net, proposal.state) == (Decimal(0), ProposalState.WITHDRAWN)


def billed(firm: firms.Firm) -> tuple[list[int], InvoiceProposal, Bills, BillRecord]:
    """Two days that were proposed, handed over and came back as the open invoice INV-501."""
    entries = posted(firm, 2)
    [proposal] = invoicing.prepare(firm.project, END, by=None)
    released = invoicing.release(proposal, by=of("mia"), seen=proposal.content_hash, accepts=read(proposal))
    invoicing.approve(released, by=of("cora"), seen=released.content_hash, accepts=read(released))
    system = Connection.objects.get(code="billing")
    for _ in range(2):
        LedgerState.objects.filter(target=system).update(next_attempt_at="2020-01-01T00:00:00Z")
        outbox.deliver(system.pk)
    bills = Bills(firm)
    draft = BILLS["billing"].made[0][1]
    lines = [
        BillLine(key=f"item:{n}", posting_key=line.key, quantity=line.quantity, unit_price=line.unit_price, net=line.net)
        for n, line in enumerate(draft.lines, start=1)
    ]  # fmt: skip
    said = bills.bill("501", *lines, status=BillStatus.OPEN)
    bills.says(said)
    assert stands(proposal) == ProposalState.BILLED
    return entries, proposal, bills, said


def stands(proposal: InvoiceProposal) -> str:
    proposal.refresh_from_db()
    return str(proposal.state)


def why(entry: int) -> str:
    found = LedgerEntry.objects.select_related("state_row", "project__customer", "project__contract", "billing_balance")
    return why_not_billed(found.get(pk=entry)).words


def told(name: str) -> list[str]:
    notices = Notification.objects.filter(person__username=name, kind="billing").order_by("pk")
    return list(notices.values_list("subject", flat=True))


def listed(which: str) -> str:
    client = Client()
    client.force_login(of("mia"))
    return str(client.get(reverse("invoice_proposals"), {"tab": which}).content.decode())


def test_a_proposal_whose_invoice_is_deleted_says_so_once_two_people_agreed(firm: firms.Firm) -> None:
    entries, proposal, bills, said = billed(firm)
    bills.says(bills.gone(said))
    decision = billing.adopt(find("501"), by=of("fay"), reason="it was a duplicate")
    assert stands(proposal) == ProposalState.BILLED
    assert "INV-501 is gone from its system: 1,920.00 USD stay billed on it" in page("mia", proposal)
    assert told("mia")[-1].endswith("is gone from its system; its hours stay billed until somebody decides about it.")
    billing.approve(decision, by=of("cora"))
    assert stands(proposal) == ProposalState.DELETED
    shown = page("mia", proposal)
    assert "INV-501 is deleted. Its work is open to be proposed again" in shown
    assert "Bill deleted" in shown
    assert open_hours(entries) == dict.fromkeys(entries, Decimal(8))
    assert why(entries[0]).endswith("Its invoice INV-501 was deleted, so it is to be billed again.")


@pytest.mark.case(77)
@pytest.mark.case(78)
def test_a_proposal_whose_invoice_is_void_says_so_everywhere_and_whether_its_hours_are_open(
    firm: firms.Firm, capsys: pytest.CaptureFixture[str]
) -> None:
    entries, proposal, bills, said = billed(firm)
    paid = bills.payment("P1", "500", ("501", "500"))
    bills.says(paid)
    bills.says(bills.again(said, status=BillStatus.VOIDED))
    assert stands(proposal) == ProposalState.VOIDED
    assert told("mia")[-1] == (
        "Invoice INV-501 over 1,920.00 USD was voided while a payment stands on it; its hours are not open again."
    )
    shown = page("mia", proposal)
    assert "was voided while a payment stands on it: 1,920.00 USD stay billed on it until that is taken off" in shown
    assert open_hours(entries) == dict.fromkeys(entries, Decimal(0))
    assert str(proposal) not in listed("billed")
    assert str(proposal) in listed("gone")

    bills.says(bills.again(paid, status=PaymentStatus.BOUNCED))
    assert told("mia")[-2:] == [
        "Invoice INV-501 over 1,920.00 USD was voided; work worth 1,920.00 USD is to be billed again.",
        "Payment PAY-P1 bounced: 500.00 USD no longer settle Invoice INV-501, which is voided.",
    ]
    assert "INV-501 was voided. Its work is open to be proposed again" in page("mia", proposal)
    assert why(entries[0]).endswith("Its invoice INV-501 was voided, so it is to be billed again.")
    call_command("explain", str(LedgerEntry.objects.get(pk=entries[0]).document.external_id))
    thread = capsys.readouterr().out
    assert "INV-501 was voided: 8.00 h, 960.00 USD open again" in thread
    assert "gave back" not in thread
    [again] = invoicing.prepare(firm.project, END, by=of("cora"))
    assert (again.net, stands(proposal)) == (Decimal(1920), ProposalState.VOIDED)
    with pytest.raises(NotProposable, match="It stays as it is: bill voided"):
        invoicing.withdraw(proposal, by=of("cora"), reason="it is of no use")
    bills.says(bills.again(said, status=BillStatus.OPEN))
    assert stands(proposal) == ProposalState.BILLED, "its system says that it counts again"
