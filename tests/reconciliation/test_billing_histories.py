"""Random histories of billing: whatever is delivered, invoiced, credited, voided, paid, bounced or edited, in whichever order.

Invoices are proposed, held, handed over and withdrawn among it. At every step the database's balance holds, no hour can be
billed twice or sit in two proposals, none is lost, and totals tie to the cent. `BILLING_HISTORIES=3000` in the environment makes
other histories than those of every run; a failing one is printed with the blob that brings it back.
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, field, replace
from decimal import ROUND_DOWN, Decimal
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from portal import sql
from portal.models import (
    Allocation,
    BillingBalance,
    Customer,
    GrantRole,
    Invoice,
    InvoiceLine,
    InvoiceProposal,
    LedgerEntry,
    PaymentAllocation,
    ProposalLine,
    ProposalPart,
    ProposalState,
    User,
)
from portal.records import Application, BillLine, BillRecord, BillStatus, PaymentRecord, PaymentStatus
from reconciliation import billing, corrections, invoicing
from reconciliation.billing.planning import Part
from reconciliation.models import Route
from reconciliation.readiness import why_not_billed
from reconciliation.sql import billing as billing_sql
from reconciliation.sql import readiness as readiness_sql
from tests import world
from tests.bills import Erp, allocate, bill, causes, find, line_of, open_hours, posted, read
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import entry

ZERO = Decimal(0)
QUARTERS = st.integers(1, 32).map(lambda n: Decimal(n) / 4)
ANY = st.integers(0, 10_000)
SEED = os.environ.get("BILLING_HISTORIES", "")


@dataclass
class Story:
    """What the ERP has said so far, as the history made it up."""

    entries: list[int] = field(default_factory=list)
    replaced: list[int] = field(default_factory=list)  # reversed, and booked anew as one of the entries
    bills: dict[str, BillRecord] = field(default_factory=dict)
    notes: dict[str, BillRecord] = field(default_factory=dict)
    payments: dict[str, PaymentRecord] = field(default_factory=dict)
    let_go: set[str] = field(
        default_factory=set
    )  # void bills whose hours are open again, whatever is paid on them later
    refused: set[str] = field(default_factory=set)  # bills of which a line was not taken, at any time
    stood: dict[str, Decimal] = field(default_factory=dict)  # what stood billed on a bill the last time that it counted
    numbers: int = 500

    def number(self) -> str:
        self.numbers += 1
        return str(self.numbers)


def chosen(items: Any, index: int) -> Any:
    """One of some things; every history is the same for the same numbers."""
    found = sorted(items)
    return found[index % len(found)]


def waits_for_a_credit(day: int) -> bool:
    """Whether a day is open and may not be billed: what it replaces stands on a bill, and why it waits says on which."""
    others = readiness_sql.billed_as_another(day)
    if others:
        words = why_not_billed(entry(day)).words
        assert words.startswith("It waits for a credit")
        assert all(number in words for _, number in others)
    return bool(others)


def proposed(by: str) -> dict[int, Decimal]:
    """What proposals hold, by entry or by its document: a draft of what was booked anew since then holds what it replaces."""
    taken: dict[int, Decimal] = defaultdict(lambda: ZERO)
    for key, quantity in ProposalPart.objects.filter(released_at=None).values_list(by, "quantity"):
        taken[key] += quantity
    return taken


def live_proposals() -> Any:
    """Proposals of the project that are neither billed nor withdrawn."""
    return InvoiceProposal.objects.filter(project__code="ACM-1").filter(
        state__in=["open", "released", "approved", "handed_over"]
    )


def chosen_of(rows: Any, index: int) -> Any:
    """One of some rows, in the order of their keys."""
    return sorted(rows, key=lambda row: row.pk)[index % len(rows)]


class Histories(RuleBasedStateMachine):
    """One firm with two customers who share its bills, one ERP, and whatever may happen between an hour and its payment."""

    firm: firms.Firm  # made once; what a history does to it is rolled back
    worked: list[int]
    bob: User
    probe: Invoice
    spare: ProposalLine  # of a proposal that holds nothing
    ana: User
    mia: User

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
    def two_days_of_work(self) -> None:
        self.story.entries += self.worked[:2]

    @precondition(lambda self: len(self.story.entries) < len(self.worked))
    @rule()
    def deliver(self) -> None:
        self.story.entries.append(self.worked[len(self.story.entries)])

    @rule(first=ANY, second=ANY, hours=QUARTERS)
    def invoice(self, first: int, second: int, hours: Decimal) -> None:
        """A bill over one or two days; it may well ask for more than is open."""
        days = {chosen(self.story.entries, first), chosen(self.story.entries, second)}
        said = self.erp.bill(self.story.number(), *(line_of(day, str(min(hours, Decimal(8)))) for day in sorted(days)))
        self.story.bills[said.external_id] = said
        self.erp.says(said)

    @rule(first=ANY, hours=QUARTERS, euros=st.integers(1, 900))
    def invoice_with_something_else(self, first: int, hours: Decimal, euros: int) -> None:
        """A bill over a day and over something that is no work of ours, a licence."""
        licence = BillLine(key="free", quantity=Decimal(1), net=Decimal(euros), description="Licence")
        day = chosen(self.story.entries, first)
        said = self.erp.bill(self.story.number(), line_of(day, str(min(hours, Decimal(8)))), licence)
        self.story.bills[said.external_id] = said
        self.erp.says(said)

    @precondition(lambda self: self.story.bills)
    @rule(which=ANY, line=ANY, hours=QUARTERS)
    def credit(self, which: int, line: int, hours: Decimal) -> None:
        """A credit of some hours of one line; it may well ask for more than was billed."""
        of = self.story.bills[chosen(self.story.bills, which)]
        ours = self.ours(of)
        if not ours:
            return
        day = self.day_of(ours[line % len(ours)])
        note = self.erp.credit(self.story.number(), of.external_id, line_of(day, str(min(hours, Decimal(8)))))
        self.story.notes[note.external_id] = note
        self.erp.says(note)

    @precondition(lambda self: self.story.bills)
    @rule(which=ANY, lines=st.integers(2, 3), euros=st.integers(1, 400))
    def credit_in_silence(self, which: int, lines: int, euros: int) -> None:
        """A credit note of several lines that name no hours."""
        parts = [
            BillLine(key=f"s{n}", quantity=Decimal(1), net=Decimal(euros), description="Credit") for n in range(lines)
        ]
        note = self.erp.credit(self.story.number(), chosen(self.story.bills, which), *parts)
        self.story.notes[note.external_id] = note
        self.erp.says(note)

    @precondition(lambda self: self.story.notes)
    @rule(which=ANY)
    def lower_the_price(self, which: int) -> None:
        """Somebody says of a silent note that it lowers the price alone: its money comes off, and no hour is open."""
        note = find(chosen(self.story.notes, which), "credit_note")
        if "credit-without-hours" not in causes(note.external_id):
            return
        left = (note.agreed or note.current).net + sum((row.amount for row in billing_sql.credited([note.pk])), ZERO)
        stands = sum((row.amount for row in billing_sql.billed([note.credits_id or 0])), ZERO)
        before = open_hours(self.story.entries)
        if left > stands:
            with pytest.raises(billing.NotCreditable):
                billing.credit_price(note, by=self.ana, reason="a discount")
        else:
            billing.credit_price(note, by=self.ana, reason="a discount")
            assert "credit-without-hours" not in causes(note.external_id)
            assert sum((row.amount for row in billing_sql.billed([note.credits_id or 0])), ZERO) == stands - left
        assert open_hours(self.story.entries) == before

    @precondition(lambda self: self.story.notes)
    @rule(which=ANY)
    def name_the_hours(self, which: int) -> None:
        """Somebody says which hours a silent note gives back: these are open, however often the note is followed."""
        note = find(chosen(self.story.notes, which), "credit_note")
        if "credit-without-hours" not in causes(note.external_id):
            return
        wanted = (note.agreed or note.current).net + sum((row.amount for row in billing_sql.credited([note.pk])), ZERO)
        picks: dict[int, Part] = {}
        hours = ZERO
        for row in billing_sql.billed([note.credits_id or 0]):
            amount = min(row.amount, wanted)
            if amount > 0:
                picks[row.id] = Part((row.quantity * amount / row.amount).quantize(Decimal("0.01"), ROUND_DOWN), amount)
                hours, wanted = hours + picks[row.id].quantity, wanted - amount
        if wanted:
            return
        every = [*self.story.entries, *self.story.replaced]
        before = sum(open_hours(every).values(), ZERO)
        billing.credit_hours(note, picks, by=self.ana, reason="the customer says so")
        billing.follow([note.pk], actor="test")
        after = sum(open_hours(every).values(), ZERO)
        assert after <= before + hours
        assert after == before + hours or self.story.refused, "only a line that was refused before takes of it at once"
        assert "credit-without-hours" not in causes(note.external_id)

    @precondition(lambda self: self.story.bills)
    @rule(which=ANY)
    def void(self, which: int) -> None:
        key = chosen(self.story.bills, which)
        self._bill(key, status=BillStatus.VOIDED)

    @precondition(lambda self: self.story.notes)
    @rule(which=ANY)
    def void_a_credit(self, which: int) -> None:
        key = chosen(self.story.notes, which)
        note = self.story.notes[key] = self.erp.again(self.story.notes[key], status=BillStatus.VOIDED)
        self.erp.says(note)

    @rule(which=ANY)
    def bill_what_is_open(self, which: int) -> None:
        """The re-bill: all that is open of a day, on a bill of its own; it is taken whole, or told why it is not."""
        day = chosen(self.story.entries, which)
        left = open_hours([day])[day]
        if left <= 0:
            return
        said = self.erp.bill(self.story.number(), line_of(day, str(left)))
        self.story.bills[said.external_id] = said
        waits = waits_for_a_credit(day)
        self.erp.says(said)
        assert open_hours([day])[day] == (left if waits else 0)
        assert causes(said.external_id) == ({"hour-billed-twice"} if waits else set())

    @precondition(lambda self: self.story.bills)
    @rule(which=ANY, other=ANY, euros=st.integers(1, 1200))
    def pay(self, which: int, other: int, euros: int) -> None:
        bills = sorted({chosen(self.story.bills, which), chosen(self.story.bills, other)})
        parts = [(key, str(Decimal(euros) / len(bills))) for key in bills]
        paid = self.erp.payment(self.story.number(), str(euros), *parts)
        self.story.payments[paid.external_id] = paid
        self.erp.says(paid)

    @precondition(lambda self: self.story.payments)
    @rule(which=ANY, status=st.sampled_from([PaymentStatus.BOUNCED, PaymentStatus.RECEIVED, PaymentStatus.VOIDED]))
    def bounce_or_come_back(self, which: int, status: PaymentStatus) -> None:
        key = chosen(self.story.payments, which)
        paid = self.story.payments[key] = self.erp.again(self.story.payments[key], status=status)
        self.erp.says(paid)

    @precondition(lambda self: self.story.payments and self.story.bills)
    @rule(which=ANY, other=ANY, another=ANY)
    def apply_elsewhere(self, which: int, other: int, another: int) -> None:
        """A payment is taken off its bills and put on one or two others."""
        key = chosen(self.story.payments, which)
        paid = self.story.payments[key]
        bills = sorted({chosen(self.story.bills, other), chosen(self.story.bills, another)})
        parts = tuple(Application(bill=bill, amount=paid.amount / len(bills)) for bill in bills if paid.amount)
        paid = self.story.payments[key] = self.erp.again(paid, applications=parts)
        self.erp.says(paid)

    @precondition(lambda self: self.story.payments)
    @rule(which=ANY, euros=st.integers(1, 1200))
    def refund(self, which: int, euros: int) -> None:
        """Money goes back: so much less was received, and all parts of it settle so much less; all of it is taken back."""
        key = chosen(self.story.payments, which)
        paid = self.story.payments[key]
        if paid.amount <= 0:
            return
        kept = max(paid.amount - euros, ZERO)
        parts = tuple(replace(part, amount=part.amount * kept / paid.amount) for part in paid.applications if kept)
        parts = tuple(replace(part, amount=part.amount.quantize(Decimal("0.01"), ROUND_DOWN)) for part in parts)
        status = paid.status if kept else PaymentStatus.VOIDED
        paid = self.story.payments[key] = self.erp.again(
            paid, amount=kept, applications=tuple(part for part in parts if part.amount), status=status
        )
        self.erp.says(paid)

    @rule(which=ANY)
    def correct_what_is_not_billed(self, which: int) -> None:
        """An hour is reversed and booked anew with another text: what bills it bills the new one, and nothing is credited."""
        day = chosen(self.story.entries, which)
        was = LedgerEntry.objects.select_related("document").get(pk=day)
        [anew] = self.firm.admit(
            self.firm.time(was.document.external_id, work_date=was.work_date, description=f"version {was.version + 1}")
        ).held
        before = {key: causes(key) & {"hour-billed-twice", "billed-line-unknown"} for key in self.story.bills}
        reversal = corrections.reverse([day], by=self.ana, reason="another text").reversals[day]
        firms.post([reversal])
        corrections.settle([reversal])
        firms.post([anew])
        billing.booked_anew([anew])
        self.story.replaced.append(day)
        self.story.entries[self.story.entries.index(day)] = anew
        for key, were in before.items():
            assert "billed-work-taken-back" not in causes(key)
            assert causes(key) & {"hour-billed-twice", "billed-line-unknown"} <= were

    @precondition(lambda self: self.story.bills)
    @rule(which=ANY, hours=QUARTERS)
    def edit_in_the_erp(self, which: int, hours: Decimal) -> None:
        """Somebody changes the first line's hours and takes the others out."""
        key = chosen(self.story.bills, which)
        said = self.story.bills[key]
        ours = self.ours(said)
        if not ours:
            return
        line = line_of(self.day_of(ours[0]), str(min(hours, Decimal(8))), key=ours[0].key)
        self._bill(key, lines=(line,), net=line.net, total=line.net)

    @precondition(lambda self: self.story.bills)
    @rule(which=ANY)
    def delete_in_the_erp(self, which: int) -> None:
        self.erp.says(self.erp.gone(self.story.bills[chosen(self.story.bills, which)]))

    @precondition(lambda self: self.story.bills)
    @rule(
        which=ANY,
        choice=st.sampled_from(["adopt", "restore", "recreate", "correct"]),
        then=st.sampled_from(["agreed", "refused", "withdrawn", ""]),
    )
    def decide(self, which: int, choice: str, then: str) -> None:
        found = find(chosen(self.story.bills, which))
        if choice in billing.choices(found):
            steps = {
                "adopt": billing.adopt,
                "restore": billing.restore,
                "recreate": billing.recreate,
                "correct": billing.correct,
            }
            decision = steps[choice](found, by=self.ana, reason="so it was agreed")
            if decision.needs_approval and then == "agreed":
                billing.approve(decision, by=self.bob)
            elif decision.needs_approval and then == "refused":
                billing.refuse(decision, by=self.bob, reason="not without the customer")
            elif then == "withdrawn" and billing.may_be_withdrawn(find(found.external_id), decision):
                billing.withdraw(decision, by=self.ana, reason="chosen by mistake")

    @rule(hold=st.booleans(), which=ANY)
    def propose(self, hold: bool, which: int) -> None:
        """What is left to bill is proposed to both customers, once, or says which bill it waits for; perhaps a line is held."""
        through = LedgerEntry.objects.get(pk=self.story.entries[-1]).work_date
        made = invoicing.prepare(self.firm.project, through, by=None, how="entry")
        taken = proposed("entry__document")
        documents = dict(LedgerEntry.objects.filter(pk__in=self.story.entries).values_list("pk", "document"))
        for entry_id, left in open_hours(self.story.entries).items():
            assert taken[documents[entry_id]] >= left or waits_for_a_credit(entry_id), (
                "what is open is proposed, or waits"
            )
        for proposal in made:
            lines = list(proposal.lines.filter(held_by=None))
            if hold and lines:
                invoicing.hold(chosen_of(lines, which), by=self.mia, reason="disputed")

    @precondition(lambda self: InvoiceProposal.objects.filter(state=ProposalState.OPEN, net__gt=0).exists())
    @rule()
    def hand_over(self) -> None:
        """Released by one person and approved by another; what was billed or reversed since is refused and made anew."""
        proposal = InvoiceProposal.objects.filter(state=ProposalState.OPEN, net__gt=0).earliest("pk")
        if invoicing.blockers(proposal):
            with pytest.raises(invoicing.NotProposable):
                invoicing.release(proposal, by=self.mia, seen=proposal.content_hash, accepts=read(proposal))
            return
        released = invoicing.release(proposal, by=self.mia, seen=proposal.content_hash, accepts=read(proposal))
        assert (
            invoicing.approve(released, by=self.ana, seen=released.content_hash, accepts=read(released)).state
            == ProposalState.HANDED_OVER
        )

    @precondition(lambda self: InvoiceProposal.objects.filter(state=ProposalState.HANDED_OVER).exists())
    @rule(together=st.booleans())
    def the_bill_of_a_draft_comes(self, together: bool) -> None:
        """The ERP states the invoice that it made of a draft, or of all at once; its lines bear our keys alone."""
        proposals = list(InvoiceProposal.objects.filter(state=ProposalState.HANDED_OVER).order_by("pk"))
        found = ProposalLine.objects.filter(draft__proposal__in=proposals if together else proposals[:1])
        lines = [
            BillLine(
                key=f"t{line.parts.get().entry_id}" if line.proposal_id == proposals[0].pk else f"x{line.pk}",
                posting_key=line.key.hex, quantity=line.quantity, net=line.net, unit_price=line.unit_price,
                description=line.description,
            )
            for line in found.order_by("draft", "position")
        ]  # fmt: skip
        said = self.erp.bill(self.story.number(), *lines)
        self.story.bills[said.external_id] = said
        self.erp.says(said)
        proposals[0].refresh_from_db()
        assert proposals[0].state == ProposalState.BILLED

    @precondition(lambda self: live_proposals().exists())
    @rule(which=ANY)
    def withdraw(self, which: int) -> None:
        proposal = chosen_of(list(live_proposals()), which)
        invoicing.withdraw(proposal, by=self.ana, reason="the customer asks for another one")

    def ours(self, said: BillRecord) -> list[BillLine]:
        """The lines of a bill that bill work of ours."""
        return [line for line in said.lines if line.key != "free"]

    def day_of(self, line: BillLine) -> int:
        """The entry that a line was made of."""
        if line.key.startswith("t"):
            return int(line.key.removeprefix("t"))
        return int(ProposalLine.objects.get(pk=line.key.removeprefix("x")).parts.get().entry_id or 0)

    def _bill(self, key: str, **changes: Any) -> None:
        said = self.story.bills[key] = self.erp.again(self.story.bills[key], **changes)
        self.erp.says(said)

    @invariant()
    def the_database_holds_the_balance(self) -> None:
        """Open is delivered, less invoiced, plus credited, and never below nothing; no hour is lost between open and billed."""
        quantities: dict[int, Decimal] = defaultdict(lambda: ZERO)
        for entry_id, quantity in Allocation.objects.values_list("entry", "quantity"):
            quantities[entry_id] += quantity
        every = [*self.story.entries, *self.story.replaced]
        delivered = dict(LedgerEntry.objects.filter(pk__in=every).values_list("pk", "hours"))
        by_day: dict[int | None, Decimal] = defaultdict(lambda: ZERO)
        for balance in BillingBalance.objects.all():
            assert balance.entry_id is not None
            assert balance.delivered == delivered[balance.entry_id]
            assert 0 <= balance.invoiced - balance.credited <= balance.delivered
            assert balance.invoiced - balance.credited == quantities[balance.entry_id]
            by_day[balance.document_id] += balance.invoiced - balance.credited
        assert all(billed <= 8 for billed in by_day.values()), "no day is billed twice under two versions"
        for entry_id, left in open_hours(self.story.entries).items():
            assert left + quantities[entry_id] == delivered[entry_id]

    @invariant()
    def no_hour_can_be_billed_twice(self) -> None:
        """Whoever tries to bill a quarter of an hour more than is open is refused by the database itself."""
        if not self.story.entries:
            return
        entry_id = self.story.entries[-1]
        with pytest.raises(IntegrityError, match="nothing_is_billed_twice"), transaction.atomic():
            allocate(self.probe, entry_id, str(open_hours([entry_id])[entry_id] + Decimal("0.25")), "1.00")

    @invariant()
    def no_hour_sits_in_two_proposals(self) -> None:
        """What proposals hold of an hour is never more than it is, and whoever would take more is refused by the database."""
        taken = proposed("entry")
        assert all(quantity <= 8 for quantity in proposed("entry__document").values()), "nor under two versions"
        if not self.story.entries:
            return
        entry_id = self.story.entries[-1]
        more = max(open_hours([entry_id])[entry_id] - taken[entry_id], ZERO) + Decimal("0.25")
        with pytest.raises(IntegrityError, match="more is proposed of entry"), transaction.atomic():
            ProposalPart.objects.create(
                line=self.spare, entity=self.firm.entity, entry_id=entry_id, quantity=more, amount=1
            )

    @invariant()
    def totals_tie_to_the_cent(self) -> None:
        """What stands billed on a bill that is in order is its lines, less its live credits; what settles it is what was paid."""
        settled: dict[str, Decimal] = defaultdict(lambda: ZERO)
        for paid in self.story.payments.values():
            if paid.status == PaymentStatus.RECEIVED:
                for part in paid.applications:
                    settled[part.bill] += part.amount
        for external_id in self.story.bills:
            found = Invoice.objects.select_related("current", "agreed").get(external_id=external_id, kind="invoice")
            rows = PaymentAllocation.objects.filter(invoice=found).values_list("amount", flat=True)
            assert sum(rows, ZERO) == settled[external_id]
            if causes(external_id) & {"hour-billed-twice", "billed-line-unknown"}:
                self.story.refused.add(external_id)
            billed = sum(Allocation.objects.filter(line__version__invoice=found).values_list("amount", flat=True), ZERO)
            dead = found.current.status == "voided" or (
                found.current.status == "deleted" and found.agreed_id == found.current_id
            )
            if not dead:
                self.story.let_go.discard(external_id)
                self.story.stood[external_id] = billed
            elif "void-with-payments" not in causes(external_id):
                self.story.let_go.add(external_id)
            released = external_id in self.story.let_go
            credited = sum(
                Allocation.objects.filter(line__version__invoice__credits=found).values_list("amount", flat=True), ZERO
            )
            says = InvoiceLine.objects.filter(version=found.agreed_id or found.current_id).exclude(key="free")
            agreed = sum(says.values_list("net", flat=True), ZERO)
            assert billed + credited >= ZERO
            if released:
                assert billed + credited == ZERO
            elif dead:
                assert billed == self.story.stood[external_id], "what is void and paid stays as it stood"
            elif external_id in self.story.refused:
                assert billed <= agreed
            else:
                assert billed == agreed


@pytest.mark.slow
@pytest.mark.django_db
def test_whatever_happens_no_hour_is_billed_twice_and_none_is_lost() -> None:
    Histories.firm = firms.build()
    Histories.worked = posted(Histories.firm, 5)
    Histories.probe = bill(Histories.firm, "probe")
    Histories.ana = world.user("ana", "analyst", Histories.firm.entity)
    Histories.bob = world.user("bob", "controller", Histories.firm.entity)
    Histories.mia = world.user("mia", GrantRole.PROJECT_MANAGER, Histories.firm.entity)
    firm = Histories.firm
    Route.objects.create(
        entity=firm.entity, source=firm.source, target=firm.target, kind="invoice", valid_from=firms.SINCE
    )
    firms.key(firm.target, "customer", firm.customer.pk, "C1")
    beta = Customer.objects.create(code="BETA", name="Beta Ltd", currency="USD")
    firms.key(firm.target, "customer", beta.pk, "C2")
    firm.contract.shares = {"ACME": "60", "BETA": "40"}
    firm.contract.save()
    spare = InvoiceProposal.objects.create(
        entity=firm.entity, project=firms.project("SPARE", firm.entity, firm.customer, None), customer=firm.customer,
        currency="USD", through="2026-09-30", prepared_at=sql.now(), state=ProposalState.OPEN,
    )  # fmt: skip
    Histories.spare = ProposalLine.objects.create(proposal=spare, position=1, description="spare", net=0)
    run_state_machine_as_test(
        seed(int(SEED))(Histories) if SEED else Histories,
        settings=settings(
            max_examples=10, stateful_step_count=18, deadline=None, derandomize=not SEED, database=None,
            suppress_health_check=list(HealthCheck), print_blob=True,
        ),
    )  # fmt: skip
