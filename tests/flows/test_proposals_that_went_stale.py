"""A proposal whose work changed is prepared anew on its page, withdrawn when nothing is left, or when its bill is gone."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from integrations import outbox, registry
from portal.models import Connection, GrantRole, InvoiceProposal, LedgerState, ProposalState, User
from portal.records import BillLine, BillStatus
from reconciliation import billing, corrections, invoicing
from reconciliation.models import Route
from tests import world
from tests.bills import Erp, find, open_hours, posted
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


def test_a_proposal_whose_invoice_is_deleted_is_withdrawn_once_two_people_agreed_and_says_why(firm: firms.Firm) -> None:
    entries = posted(firm, 2)
    [proposal] = invoicing.prepare(firm.project, END, by=None)
    released = invoicing.release(proposal, by=of("mia"), seen=proposal.content_hash)
    invoicing.approve(released, by=of("cora"), seen=released.content_hash)
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
    proposal.refresh_from_db()
    assert proposal.state == ProposalState.BILLED
    bills.says(bills.gone(said))
    decision = billing.adopt(find("501"), by=of("fay"), reason="it was a duplicate")
    proposal.refresh_from_db()
    assert proposal.state == ProposalState.BILLED
    billing.approve(decision, by=of("cora"))
    proposal.refresh_from_db()
    assert proposal.state == ProposalState.WITHDRAWN
    assert "Invoice INV-501 was deleted; its hours are open to be proposed again." in page("mia", proposal)
    assert open_hours(entries) == dict.fromkeys(entries, Decimal(8))
