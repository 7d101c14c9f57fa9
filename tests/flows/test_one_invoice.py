"""Where a contract has one invoice for its projects: several drafts, one withdrawn, one billed, and who waits for whom."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from integrations import outbox, registry
from integrations.errors import Rejected
from integrations.protocol import Drafting
from portal.models import (
    Connection,
    GrantRole,
    InvoiceProposal,
    LedgerState,
    Milestone,
    Project,
    ProposalState,
    State,
    User,
)
from portal.records import BillLine
from reconciliation import corrections, invoicing
from reconciliation.invoicing import NotProposable
from reconciliation.models import Route
from tests import world
from tests.bills import Erp, posted
from tests.integrations.memory_biller import BILLS, biller, loses
from tests.reconciliation.firm import SINCE, Firm, build, key

pytestmark = pytest.mark.django_db
END = date(2026, 9, 30)


@dataclass
class Shared:
    """A contract with one invoice for its two projects, each with its manager, and the system that bills, in memory."""

    firm: Firm
    other: Project
    mia: User
    max: User
    cora: User
    system: Connection

    def first(self) -> InvoiceProposal:
        """Of the firm's project: a line for each hour that is posted."""
        [proposal] = invoicing.prepare(self.firm.project, END, by=None, how="entry")
        return proposal

    def second(self, *codes: str) -> InvoiceProposal:
        """Of the other project: a line for each signed milestone."""
        for code in codes:
            Milestone.objects.create(
                project=self.other, code=code, name=code, due_on=date(2026, 9, 20), amount=Decimal(5000), currency="USD",
                signed_on=date(2026, 9, 25),
            )  # fmt: skip
        [proposal] = invoicing.prepare(self.other, END, by=None)
        return proposal

    def approve(self, proposal: InvoiceProposal) -> None:
        """Released by its own manager and approved by finance."""
        by = self.mia if proposal.project_id == self.firm.project.pk else self.max
        released = invoicing.release(proposal, by=by, seen=proposal.content_hash)
        invoicing.approve(released, by=self.cora, seen=released.content_hash)

    def deliver(self) -> None:
        """A worker comes by until everything is through."""
        for _ in range(3):
            LedgerState.objects.filter(target=self.system).update(next_attempt_at="2020-01-01T00:00:00Z")
            outbox.deliver(self.system.pk)

    def bill(self, number: str) -> None:
        """The bill that came of a draft comes back."""
        draft = next(draft for _, draft, held in BILLS["billing"].made if held.number == number)
        lines = [
            BillLine(key=f"item:{n}", posting_key=line.key, quantity=line.quantity, unit_price=line.unit_price, net=line.net,
                     description=line.description)
            for n, line in enumerate(draft.lines, start=1)
        ]  # fmt: skip
        bills = Erp(Firm(**{**vars(self.firm), "target": self.system}))
        bills.says(bills.bill(number, *lines))


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Shared:
    monkeypatch.setitem(registry.CONNECTORS, "memory-biller", "tests.integrations.memory_biller.MemoryBiller")
    monkeypatch.setattr("tests.integrations.memory_biller.MemoryBiller.drafting", Drafting(lines=2))
    firm = build()
    system = biller(firm.entity)
    Route.objects.create(entity=firm.entity, source=firm.source, target=system, kind="invoice", valid_from=SINCE)
    for kind, pk, theirs in (
        ("customer", firm.customer.pk, "C1"), ("project", firm.project.pk, "J1"), ("entity", firm.entity.pk, "E1")
    ):  # fmt: skip
        key(system, kind, pk, theirs)
    mia, max_ = (world.user(name, GrantRole.PROJECT_MANAGER, firm.entity) for name in ("mia", "max"))
    firm.contract.one_invoice = True
    firm.contract.save()
    firm.project.manager = mia
    firm.project.save()
    other = Project.objects.create(
        code="ACM-2", name="Phase two", entity=firm.entity, customer=firm.customer, contract=firm.contract, manager=max_
    )
    return Shared(firm, other, mia, max_, world.user("cora", GrantRole.CONTROLLER, firm.entity), system)


def states(*proposals: InvoiceProposal) -> list[str]:
    return [InvoiceProposal.objects.get(pk=one.pk).state for one in proposals]


def drafts_of(proposal: InvoiceProposal) -> list[str]:
    rows = LedgerState.objects.filter(entry__document__invoice_draft__lines__proposal=proposal).distinct()
    return list(rows.order_by("entry_id").values_list("state", flat=True))


def test_a_neighbour_whose_other_draft_may_be_in_the_system_that_bills_is_not_withdrawn_with_a_refused_one(
    shared: Shared,
) -> None:
    posted(shared.firm, 3)
    first, second = shared.first(), shared.second("M1")
    shared.approve(first)
    shared.approve(second)
    BILLS["billing"].faults += [None, loses(Rejected("No.", code="rejected"), kept=False)]
    shared.deliver()
    assert sorted(drafts_of(first)) == [State.POSTED, State.REJECTED]
    assert drafts_of(second) == [State.REJECTED]
    with pytest.raises(
        NotProposable, match=f"one invoice with {first} of ACM-1, and a draft of them may be in the system"
    ):
        invoicing.withdraw(second, by=shared.cora, reason="to be billed apart")
    assert states(first, second) == [ProposalState.HANDED_OVER] * 2
    assert invoicing.prepare(shared.firm.project, END, by=None) == [], (
        "what stands on the first draft is not proposed again"
    )
    invoicing.send_again(second, by=shared.cora, reason="numbered anew there")
    shared.deliver()
    assert drafts_of(first) == [State.POSTED] * 2


def test_all_that_hang_together_by_drafts_that_have_not_gone_are_withdrawn_together(shared: Shared) -> None:
    posted(shared.firm, 3)
    first, second = shared.first(), shared.second("M1")
    shared.approve(first)
    shared.approve(second)
    invoicing.withdraw(second, by=shared.cora, reason="to be billed apart")
    assert states(first, second) == [ProposalState.WITHDRAWN] * 2
    assert set(drafts_of(first)) == {State.CANCELLED}
    assert shared.first().net == Decimal(2880)


def test_the_second_draft_goes_on_when_the_project_on_the_first_one_is_billed(shared: Shared) -> None:
    posted(shared.firm, 2)
    first, second = shared.first(), shared.second("M1")
    shared.approve(first)
    shared.approve(second)
    BILLS["billing"].faults += [None, loses(Rejected("No.", code="rejected"), kept=False)]
    shared.deliver()
    shared.bill("501")
    assert states(first, second) == [ProposalState.BILLED, ProposalState.HANDED_OVER]
    invoicing.send_again(second, by=shared.cora, reason="numbered anew there")
    shared.deliver()
    assert drafts_of(second) == [State.POSTED]
    shared.bill("502")
    assert states(second) == [ProposalState.BILLED]


def test_what_waits_for_another_project_goes_without_it_once_that_is_withdrawn_held_or_bills_nothing_any_more(
    shared: Shared,
) -> None:
    posted(shared.firm, 1)
    first, second = shared.first(), shared.second("M1")
    client = Client()
    client.force_login(shared.cora)
    released = invoicing.release(first, by=shared.mia, seen=first.content_hash)
    address = reverse("invoice_proposal", args=[first.pk])
    said: dict[str, Any] = {"action": "approve", "seen": released.content_hash}
    said["confirmed"] = client.post(address, said).context["confirmed"]
    page = client.post(address, said, follow=True).content.decode()
    assert f"Approved, and not handed over yet: Contract {shared.firm.contract} has one invoice" in page
    invoicing.withdraw(second, by=shared.max, reason="next month")
    assert states(first, second) == [ProposalState.HANDED_OVER, ProposalState.WITHDRAWN]
    posted(shared.firm, 1, first=9)
    first, second = shared.first(), shared.second()
    shared.approve(first)
    invoicing.hold(second.lines.get(), by=shared.max, reason="the customer objects")
    assert states(first, second) == [ProposalState.HANDED_OVER, ProposalState.OPEN]
    [taken_back] = posted(shared.firm, 1, first=10)
    third = shared.first()
    invoicing.unhold(second.lines.get(), by=shared.max)
    shared.approve(InvoiceProposal.objects.get(pk=second.pk))
    assert states(second) == [ProposalState.APPROVED]
    corrections.reverse([taken_back], by=shared.cora, reason="wrong project")
    assert invoicing.prepare(shared.firm.project, END, by=None) == []
    assert states(second, third) == [ProposalState.HANDED_OVER, ProposalState.WITHDRAWN]
