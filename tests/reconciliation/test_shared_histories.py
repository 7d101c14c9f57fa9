"""Random histories of milestones and of one invoice for several projects: signed, changed, proposed, held, billed, credited.

At every step no milestone can be billed twice or sit in two proposals, none is lost between open and billed, and totals tie to
the cent: of bills, of drafts that several projects share, and of what settles them.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.db.models import Sum
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from portal.models import (
    Allocation,
    BillingBalance,
    GrantRole,
    Invoice,
    InvoiceDraft,
    InvoiceProposal,
    Milestone,
    PaymentAllocation,
    Project,
    ProposalLine,
    ProposalPart,
    ProposalState,
    User,
)
from portal.records import BillLine, BillRecord, BillStatus, PaymentRecord, PaymentStatus, Reference
from reconciliation import billing, invoicing
from reconciliation.models import Route
from tests import world
from tests.bills import Erp, bill, causes, find, posted, read
from tests.reconciliation import firm as firms

ZERO = Decimal(0)
END = date(2026, 9, 30)
ANY = st.integers(0, 10_000)
CENTS = st.integers(1, 600_000).map(lambda cents: Decimal(cents) / 100)
LIVING = ("open", "released", "approved", "handed_over")
OFF = {"hour-billed-twice", "billed-line-unknown"}


@dataclass
class Story:
    """What the ERP has said so far, as the history made it up."""

    bills: dict[str, BillRecord] = field(default_factory=dict)
    notes: dict[str, BillRecord] = field(default_factory=dict)
    payments: dict[str, PaymentRecord] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)  # bills of which a line was not taken, at any time
    numbers: int = 500

    def number(self) -> str:
        self.numbers += 1
        return str(self.numbers)


def chosen(items: Any, index: int) -> Any:
    """One of some things; every history is the same for the same numbers."""
    found = sorted(items, key=str)
    return found[index % len(found)]


class SharedHistories(RuleBasedStateMachine):
    """A contract with one invoice for a project of hours and a project of milestones, each with its manager."""

    firm: firms.Firm
    other: Project
    probe: Invoice
    spare: ProposalLine
    ana: User
    bob: User
    mia: User
    max: User

    def __init__(self) -> None:
        super().__init__()
        self.story = Story()
        self.undo = transaction.atomic()
        self.undo.__enter__()
        self.erp = Erp(self.firm)

    def teardown(self) -> None:
        """Nothing stays of one history for the next."""
        transaction.set_rollback(True)
        self.undo.__exit__(None, None, None)

    @initialize()
    def one_is_signed(self) -> None:
        self.sign(0)

    @rule(which=ANY)
    def sign(self, which: int) -> None:
        stone = self.stone(which)
        stone.signed_on = date(2026, 9, 25)
        stone.save()

    @rule(which=ANY, amount=CENTS)
    def change(self, which: int, amount: Decimal) -> None:
        """Another amount is agreed: more is open by it, and what is billed of it is never taken from under its bill."""
        stone = self.stone(which)
        billed = self.billed().get(stone.pk, ZERO)
        was, stone.amount = stone.amount, amount
        if billed > amount:
            with pytest.raises(IntegrityError, match="does not go below that"), transaction.atomic():
                stone.save()
            stone.amount = was
        else:
            stone.save()

    @rule(which=ANY, other=ANY, amount=CENTS)
    def invoice(self, which: int, other: int, amount: Decimal) -> None:
        """A bill of one or two milestones by their codes, made by hand in the ERP; it may well ask for more than is open."""
        stones = {stone.pk: stone for stone in (self.stone(which), self.stone(other))}
        self.says(self.erp.bill(self.story.number(), *(self.line(stone, amount) for stone in stones.values())))

    @rule(which=ANY)
    def bill_what_is_open(self, which: int) -> None:
        """All that is open of one milestone, on a bill of its own; it is taken whole."""
        stone = self.stone(which)
        left = stone.amount - self.billed().get(stone.pk, ZERO)
        if left > 0:
            self.says(self.erp.bill(self.story.number(), self.line(stone, left)))
            assert self.billed()[stone.pk] == stone.amount

    @precondition(lambda self: self.story.bills)
    @rule(which=ANY, line=ANY, amount=CENTS)
    def credit(self, which: int, line: int, amount: Decimal) -> None:
        """A credit of one line, by what it names; it may well ask for more than was billed."""
        of = self.story.bills[chosen(self.story.bills, which)]
        if not of.lines:
            return
        billed = of.lines[line % len(of.lines)]
        net = min(amount, billed.net) if line % 3 else billed.net
        part = BillLine(
            key="c", milestone=billed.milestone, posting_key=billed.posting_key, net=net, description="Credit",
            quantity=billed.quantity if net == billed.net else None,
        )  # fmt: skip
        note = self.erp.credit(self.story.number(), of.external_id, part)
        self.story.notes[note.external_id] = note
        self.erp.says(note)

    @precondition(lambda self: self.story.notes)
    @rule(which=ANY)
    def void_a_credit(self, which: int) -> None:
        key = chosen(self.story.notes, which)
        note = self.story.notes[key] = self.erp.again(self.story.notes[key], status=BillStatus.VOIDED)
        self.erp.says(note)

    @precondition(lambda self: self.story.bills)
    @rule(which=ANY)
    def void(self, which: int) -> None:
        self.says(self.erp.again(self.story.bills[chosen(self.story.bills, which)], status=BillStatus.VOIDED))

    @precondition(lambda self: self.story.bills)
    @rule(which=ANY, amount=CENTS)
    def edit_in_the_erp(self, which: int, amount: Decimal) -> None:
        """Somebody changes the amount of the last line; it waits for a decision."""
        said = self.story.bills[chosen(self.story.bills, which)]
        if said.lines:
            lines = (*said.lines[:-1], replace(said.lines[-1], net=amount))
            net = sum((line.net for line in lines), ZERO)
            self.says(self.erp.again(said, lines=lines, net=net, total=net))

    @precondition(lambda self: self.story.bills)
    @rule(which=ANY)
    def delete_in_the_erp(self, which: int) -> None:
        self.erp.says(self.erp.gone(self.story.bills[chosen(self.story.bills, which)]))

    @precondition(lambda self: self.story.bills)
    @rule(which=ANY, choice=st.sampled_from(["adopt", "restore", "correct"]))
    def decide(self, which: int, choice: str) -> None:
        found = find(chosen(self.story.bills, which))
        if choice in billing.choices(found):
            step = {"adopt": billing.adopt, "restore": billing.restore, "correct": billing.correct}[choice]
            decision = step(found, by=self.ana, reason="so it was agreed")
            if decision.needs_approval:
                billing.approve(decision, by=self.bob)

    @precondition(lambda self: self.story.bills)
    @rule(which=ANY, amount=CENTS)
    def pay(self, which: int, amount: Decimal) -> None:
        paid = self.erp.payment(self.story.number(), str(amount), (chosen(self.story.bills, which), str(amount)))
        self.story.payments[paid.external_id] = paid
        self.erp.says(paid)

    @precondition(lambda self: self.story.payments)
    @rule(which=ANY)
    def bounce(self, which: int) -> None:
        key = chosen(self.story.payments, which)
        paid = self.story.payments[key] = self.erp.again(self.story.payments[key], status=PaymentStatus.BOUNCED)
        self.erp.says(paid)

    @rule(of_hours=st.booleans(), hold=st.booleans())
    def propose(self, of_hours: bool, hold: bool) -> None:
        """What is left of a project is proposed, all of it and once; perhaps its manager holds a line."""
        project, by = (self.firm.project, self.mia) if of_hours else (self.other, self.max)
        made = invoicing.prepare(project, END, by=None)
        if not of_hours:
            taken, billed = self.taken(), self.billed()
            for stone in Milestone.objects.exclude(signed_on=None):
                assert taken[stone.pk] >= stone.amount - billed.get(stone.pk, ZERO), "what is open sits in a proposal"
        for proposal in made:
            line = proposal.lines.filter(held_by=None).order_by("position").last()
            if hold and line is not None:
                invoicing.hold(line, by=by, reason="disputed")

    @precondition(lambda self: InvoiceProposal.objects.filter(state=ProposalState.OPEN, net__gt=0).exists())
    @rule(which=ANY)
    def release_and_approve(self, which: int) -> None:
        """One project of the invoice is let go; it is handed over once no other one is still to be approved, and with them."""
        rows = InvoiceProposal.objects.filter(state=ProposalState.OPEN, net__gt=0).select_related("project", "contract")
        proposal = sorted(rows, key=lambda one: one.pk)[which % len(rows)]
        by = self.mia if proposal.project_id == self.firm.project.pk else self.max
        if invoicing.blockers(proposal):
            with pytest.raises(invoicing.NotProposable):
                invoicing.release(proposal, by=by, seen=proposal.content_hash, accepts=read(proposal))
            return
        released = invoicing.release(proposal, by=by, seen=proposal.content_hash, accepts=read(proposal))
        approved = invoicing.approve(released, by=self.ana, seen=released.content_hash, accepts=read(released))
        waits = InvoiceProposal.objects.filter(
            contract=proposal.contract, state__in=[ProposalState.OPEN, ProposalState.RELEASED], net__gt=0
        ).exists()  # fmt: skip
        assert (approved.state == ProposalState.APPROVED) == waits

    @precondition(lambda self: self.unbilled())
    @rule(which=ANY)
    def the_bill_of_a_draft_comes(self, which: int) -> None:
        """The ERP states the invoice that it made of a draft; its lines bear our keys alone, whichever project they are of."""
        rows = self.unbilled()
        draft = rows[which % len(rows)]
        lines = [
            BillLine(
                key=f"x{line.pk}", posting_key=line.key.hex, quantity=line.quantity, net=line.net, description=line.description
            )
            for line in draft.lines.order_by("proposal__project__code", "position")
        ]  # fmt: skip
        self.says(self.erp.bill(self.story.number(), *lines))

    @precondition(lambda self: InvoiceProposal.objects.filter(state__in=LIVING).exists())
    @rule(which=ANY)
    def withdraw(self, which: int) -> None:
        """Given back before it went; what shares its drafts goes with it."""
        rows = InvoiceProposal.objects.filter(state__in=LIVING).exclude(pk=self.spare.proposal_id)
        if rows:
            proposal = sorted(rows.select_related("project", "contract"), key=lambda one: one.pk)[which % len(rows)]
            invoicing.withdraw(proposal, by=self.ana, reason="the customer asks for another one")

    def stone(self, which: int) -> Milestone:
        rows = list(Milestone.objects.filter(project=self.other).order_by("pk"))
        return rows[which % len(rows)]

    def line(self, stone: Milestone, amount: Decimal) -> BillLine:
        return BillLine(key=stone.code, milestone=Reference(stone.code), net=amount, description=stone.name)

    def unbilled(self) -> list[InvoiceDraft]:
        handed = InvoiceProposal.objects.filter(state=ProposalState.HANDED_OVER)
        return list(InvoiceDraft.objects.of(*handed).filter(invoice=None))

    def says(self, said: BillRecord) -> None:
        self.story.bills[said.external_id] = said
        self.erp.says(said)

    @staticmethod
    def billed() -> dict[int, Decimal]:
        rows = BillingBalance.objects.exclude(milestone=None)
        return {row.milestone_id or 0: row.invoiced - row.credited for row in rows}

    @staticmethod
    def taken() -> dict[int, Decimal]:
        rows = ProposalPart.objects.filter(released_at=None).exclude(milestone=None)
        found: dict[int, Decimal] = defaultdict(lambda: ZERO)
        for milestone_id, quantity in rows.values_list("milestone", "quantity"):
            found[milestone_id] += quantity
        return found

    @invariant()
    def no_milestone_is_billed_twice_and_none_is_lost(self) -> None:
        """What stands billed is what its allocations come to, never more than is agreed; the rest is open."""
        sums = dict(
            Allocation.objects.exclude(milestone=None).order_by().values_list("milestone").annotate(of=Sum("quantity"))
        )
        for stone in Milestone.objects.filter(project=self.other):
            balance = BillingBalance.objects.filter(milestone=stone).first()
            billed = balance.invoiced - balance.credited if balance else ZERO
            assert ZERO <= billed <= stone.amount
            assert billed == sums.get(stone.pk, ZERO)
            assert balance is None or balance.delivered == stone.amount
        stone = self.stone(0)
        left = stone.amount - self.billed().get(stone.pk, ZERO)
        with pytest.raises(IntegrityError, match="nothing_is_billed_twice"), transaction.atomic():
            self.allocate(stone, left + Decimal("0.01"))

    @invariant()
    def no_milestone_sits_in_two_proposals(self) -> None:
        stone = self.stone(0)
        taken = self.taken()[stone.pk]
        more = max(stone.amount - self.billed().get(stone.pk, ZERO) - taken, ZERO) + Decimal("0.01")
        with pytest.raises(IntegrityError, match="more is proposed of milestone"), transaction.atomic():
            ProposalPart.objects.create(
                line=self.spare, entity=self.firm.entity, milestone=stone, quantity=more, amount=more
            )

    @invariant()
    def drafts_that_are_shared_add_up_to_their_proposals(self) -> None:
        """Every line that goes stands on one draft, what is held on none, and the drafts come to their lines."""
        handed = InvoiceProposal.objects.filter(state__in=[ProposalState.HANDED_OVER, ProposalState.BILLED])
        for proposal in handed:
            assert not proposal.lines.filter(held_by=None, draft=None).exists()
            assert not proposal.lines.exclude(held_by=None).exclude(draft=None).exists()
        for draft in InvoiceDraft.objects.all():
            assert draft.net == (draft.lines.aggregate(of=Sum("net"))["of"] or ZERO)

    @invariant()
    def totals_tie_to_the_cent(self) -> None:
        """What stands billed on a live bill is its net, less its live credits; on a dead one nothing, once no money is on it."""
        settled: dict[str, Decimal] = defaultdict(lambda: ZERO)
        for paid in self.story.payments.values():
            if paid.status == PaymentStatus.RECEIVED:
                for part in paid.applications:
                    settled[part.bill] += part.amount
        for external_id in self.story.bills:
            found = find(external_id)
            of_bill = PaymentAllocation.objects.filter(invoice=found).aggregate(of=Sum("amount"))["of"] or ZERO
            assert of_bill == settled[external_id]
            if causes(external_id) & OFF:
                self.story.refused.add(external_id)
            rows = Allocation.objects.filter(line__version__invoice=found)
            billed = rows.aggregate(of=Sum("amount"))["of"] or ZERO
            notes = Allocation.objects.filter(line__version__invoice__credits=found)
            credited = notes.aggregate(of=Sum("amount"))["of"] or ZERO
            agreed = (found.agreed or found.current).net
            assert billed + credited >= ZERO
            dead = found.current.status == "voided" or (
                found.current.status == "deleted" and found.agreed_id == found.current_id
            )
            if dead and "void-with-payments" not in causes(external_id):
                assert billed + credited == ZERO
            elif external_id in self.story.refused or dead:
                assert billed <= agreed
            else:
                assert billed == agreed

    def allocate(self, stone: Milestone, amount: Decimal) -> None:
        Allocation.objects.create(
            entity=self.firm.entity, milestone=stone, line=self.probe.current.lines.earliest("pk"), cause=self.probe.current,
            quantity=amount, amount=amount, currency="USD", actor="test", recorded_at=self.probe.created_at,
        )  # fmt: skip


@pytest.mark.slow
@pytest.mark.django_db
def test_whatever_happens_no_milestone_is_billed_twice_and_shared_invoices_add_up() -> None:
    firm = firms.build()
    posted(firm, 2)
    entity = firm.entity
    of = SharedHistories
    of.firm, of.probe = firm, bill(firm, "probe")
    of.ana, of.bob = world.user("ana", "analyst", entity), world.user("bob", "controller", entity)
    of.mia, of.max = (world.user(name, GrantRole.PROJECT_MANAGER, entity) for name in ("mia", "max"))
    Route.objects.create(entity=entity, source=firm.source, target=firm.target, kind="invoice", valid_from=firms.SINCE)
    firms.key(firm.target, "customer", firm.customer.pk, "C1")
    firm.contract.one_invoice = True
    firm.contract.save()
    firm.project.manager = of.mia
    firm.project.save()
    of.other = firms.project("ACM-2", entity, firm.customer, firm.contract)
    of.other.manager = of.max
    of.other.save()
    for code, amount in (("M1", "3333.33"), ("M2", "1000.00"), ("M3", "0.01")):
        Milestone.objects.create(
            project=of.other, code=code, name=code, due_on=date(2026, 9, 20), amount=Decimal(amount), currency="USD"
        )
    spare = InvoiceProposal.objects.create(
        entity=entity, project=firms.project("SPARE", entity, firm.customer, None), customer=firm.customer,
        currency="USD", through=END, prepared_at=of.probe.created_at, state=ProposalState.OPEN,
    )  # fmt: skip
    of.spare = ProposalLine.objects.create(proposal=spare, position=1, description="spare", net=0)
    run_state_machine_as_test(
        of,
        settings=settings(
            max_examples=10, stateful_step_count=18, deadline=None, derandomize=True,
            suppress_health_check=list(HealthCheck), print_blob=False,
        ),
    )  # fmt: skip
