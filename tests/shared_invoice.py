"""A contract with one invoice for its two projects, each with its manager, and the system that bills, in memory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import pytest

from integrations import outbox, registry
from integrations.protocol import Drafting
from portal.models import Connection, GrantRole, InvoiceProposal, LedgerState, Milestone, Project, User
from portal.records import BillLine
from reconciliation import invoicing
from reconciliation.models import Route
from tests import world
from tests.bills import Erp, read
from tests.integrations.memory_biller import BILLS, biller
from tests.reconciliation.firm import SINCE, Firm, build, key

END = date(2026, 9, 30)


@dataclass
class Shared:
    """What is shared, and who decides about it."""

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
        released = invoicing.release(proposal, by=by, seen=proposal.content_hash, accepts=read(proposal))
        invoicing.approve(released, by=self.cora, seen=released.content_hash, accepts=read(released))

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


def shared_by_two(monkeypatch: pytest.MonkeyPatch) -> Shared:
    """The contract, its projects and people; the system that bills takes two lines a draft."""
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
