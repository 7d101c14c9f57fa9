"""Allocations about to be written: what stands, what of each entry is open, and the rows that change it.

The rule here: nothing is written before everything is planned; one statement writes it all, and the database judges the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from portal import money
from portal import sql as portal_sql
from reconciliation.sql import billing as sql

ZERO = Decimal(0)


@dataclass(slots=True)
class Held:
    """Part of an entry that stands billed on a line, as far as the plan has come."""

    id: int
    bill_id: int
    line_id: int
    line_key: str
    entry_id: int | None
    milestone_id: int | None
    quantity: Decimal
    amount: Decimal
    currency: str
    was_quantity: Decimal  # as it was billed, before credits
    was_amount: Decimal


@dataclass(frozen=True, slots=True)
class Problem:
    """One line that cannot be allocated, and why, in words."""

    bill_id: int
    rule: str
    sentence: str
    line: sql.Line | None = None


class Part(NamedTuple):
    """How much of something: hours (or money, of an expense), and the money on the line."""

    quantity: Decimal
    amount: Decimal


@dataclass(slots=True)
class Plan:
    """What is billed and credited once the plan is written."""

    actor: str
    held: list[Held] = field(default_factory=list)
    open: dict[int, Decimal] = field(default_factory=dict)  # entry → what is left to bill
    open_milestones: dict[int, Decimal] = field(default_factory=dict)
    documents: dict[int, int] = field(default_factory=dict)  # entry → its document
    rows: list[list[Any]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    credits: dict[int, list[sql.Standing]] = field(
        default_factory=dict
    )  # what credit notes took, by what they took it from
    rewritten: set[int] = field(
        default_factory=set
    )  # notes that say something else now: what they give back is asked anew
    moves: dict[int, Decimal] = field(default_factory=dict)  # entry → how much more of it is open by this plan
    undone: set[int] = field(default_factory=set)  # credits that were taken back, so that their notes give back anew
    made_up: dict[tuple[int, str], Decimal] = field(
        default_factory=dict
    )  # of lines that were refused, by bill and line → what notes credit of them
    beside: set[int] = field(default_factory=set)  # notes of which somebody said that they give back none of our work
    opened: dict[int, Decimal] = field(default_factory=dict)  # bill that no longer counts → the money that stood on it
    _ids: list[int] = field(default_factory=list)

    @property
    def opens_hours(self) -> bool:
        """Whether something is given back."""
        return any(row[7] < 0 for row in self.rows)

    def of_bill(self, bill_id: int) -> list[Held]:
        """What was billed on an invoice and not released, also where it is credited in full by now."""
        return [held for held in self.held if held.bill_id == bill_id]

    def standing(self, bill_id: int) -> list[Held]:
        """What stands billed on an invoice."""
        return [held for held in self.of_bill(bill_id) if held.quantity or held.amount]

    def bill(self, bill: sql.Bill, line: sql.Line, entry_id: int | None, milestone_id: int | None, part: Part) -> None:
        """Bill part of an entry, or of a milestone, on a line."""
        number = self._id()
        self.rows.append(
            self._row(
                number,
                bill,
                entry_id,
                milestone_id,
                line.id,
                None,
                *part,
                bill.agreed_currency,
                f"line {line.position}",
            )
        )
        self.held.append(
            Held(number, bill.id, line.id, line.key, entry_id, milestone_id, *part, bill.agreed_currency, *part)
        )
        self._move(entry_id, milestone_id, -part.quantity)

    def _move(self, entry_id: int | None, milestone_id: int | None, quantity: Decimal) -> None:
        """What is left to bill of something is so much more, or less."""
        if entry_id is not None:
            self.moves[entry_id] = self.moves.get(entry_id, ZERO) + quantity
            self.open[entry_id] = self.open.get(entry_id, ZERO) + quantity
        elif milestone_id is not None and milestone_id in self.open_milestones:
            self.open_milestones[milestone_id] += quantity

    def release(self, bill: sql.Bill, held: Held, reason: str) -> None:
        """Take back all that is left of what stands billed; the hours are open again."""
        if held.quantity or held.amount:
            self._take(bill, held, held.line_id, Part(held.quantity, held.amount), reason)
        self.held.remove(held)

    def replace(self, bill: sql.Bill, held: Held, reason: str) -> list[sql.Standing]:
        """Release what stands billed because something else is billed in its place; what credit notes took of it goes over.

        The credits are taken back with it and returned: `carry` takes them from what comes instead, or else their notes do anew.
        """
        moved = self.credits_of(held)
        self.credits.pop(held.id, None)
        for row in moved:
            self.undo_credit(bill, row, held, reason)
            self.undone.add(row.id)
        self.release(bill, held, reason)
        return moved

    def credits_of(self, held: Held) -> list[sql.Standing]:
        """What credit notes took of what stands billed."""
        return [row for row in self.credits.get(held.id, ()) if row.quantity or row.amount]

    def stands_otherwise(self, entry: sql.Entry, going: Sequence[Held] = ()) -> bool:
        """Whether another version of an entry's document still stands billed once the plan is written and this is gone."""
        freed = dict(self.moves)
        for held in going:
            freed[held.entry_id or 0] = freed.get(held.entry_id or 0, ZERO) + held.quantity
        return any(
            billed > freed.get(other, ZERO) for other, billed in zip(entry.other_ids, entry.other_billed, strict=True)
        )

    def left_behind(self, known: Iterable[sql.Entry]) -> set[int]:
        """Documents of which the plan bills what was booked anew while something still stands billed in whose place that is."""
        fresh = {row[2] for row in self.rows if row[2] is not None and row[7] > 0}
        return {
            entry.document_id
            for entry in known
            if entry.id in fresh
            and entry.billed > self.moves.get(entry.id, ZERO)
            and any(
                billed > self.moves.get(was, ZERO) for was, billed in zip(entry.was_ids, entry.was_billed, strict=True)
            )
        }

    def credited_of(self, moved: Sequence[sql.Standing], part: Part, currency: str) -> Decimal:
        """How much of it credit notes take at once from what is billed in the place of something else; zero where it is less."""
        taken = self._taken(moved)
        fits = taken.quantity <= part.quantity and taken.amount <= part.amount
        return taken.quantity if fits and all(row.currency == currency for row in moved) else ZERO

    def carry(self, bill: sql.Bill, moved: Sequence[sql.Standing], reason: str) -> None:
        """Take what credit notes had taken from what was billed last; nothing where it is less than that."""
        held, taken = self.held[-1], self._taken(moved)
        if taken.quantity > held.quantity or taken.amount > held.amount:
            return
        for row in moved:
            if row.bill_id in self.rewritten or row.currency != held.currency:
                continue
            self._take(bill, held, row.line_id, Part(-row.quantity, -row.amount), reason, row.version_id)
            self.undone.discard(row.id)

    def _taken(self, moved: Sequence[sql.Standing]) -> Part:
        """What some credits gave back together, of notes that say the same as before."""
        kept = [row for row in moved if row.bill_id not in self.rewritten]
        return Part(-sum((row.quantity for row in kept), ZERO), -sum((row.amount for row in kept), ZERO))

    def credit(self, bill: sql.Bill, line_id: int, found: Sequence[Held], part: Part, reason: str) -> None:
        """Take back a quantity and an amount from what stands billed, the oldest first; the amount by quantity, to the cent."""
        taken: list[tuple[Held, Decimal]] = []
        left = part.quantity
        for held in found:
            hours = min(left, held.quantity)
            if hours > 0 or not part.quantity:
                taken.append((held, hours))
            left -= hours
        weights = [hours if part.quantity else held.amount for held, hours in taken]
        shares = _shares(part.amount, weights, [held.amount for held, _ in taken], bill.agreed_currency)
        for (held, hours), share in zip(taken, shares, strict=True):
            if hours or share:
                self._take(bill, held, line_id, Part(hours, share), reason)

    def credited_from(self, credited: sql.Standing) -> Held | None:
        """What a credit took from; None where its bill is dead or its line released, so that the hours are open anyway."""
        return next((held for held in self.held if held.id == credited.takes_back_id), None)

    def room(self, credited: sql.Standing) -> Decimal:
        """What is left to bill of that which was credited."""
        if credited.entry_id is not None:
            return self.open.get(credited.entry_id, ZERO)
        return self.open_milestones.get(credited.milestone_id or 0, ZERO)

    def undo_credit(self, bill: sql.Bill, credited: sql.Standing, held: Held, reason: str) -> None:
        """Take a credit back, because its note is void or another: what it gave back of `held` is billed again."""
        held.quantity -= credited.quantity
        held.amount -= credited.amount
        self.rows.append(
            self._row(self._id(), bill, credited.entry_id, credited.milestone_id, credited.line_id, credited.id,
                      -credited.quantity, -credited.amount, credited.currency, reason)
        )  # fmt: skip
        self._move(credited.entry_id, credited.milestone_id, credited.quantity)

    def write(self) -> None:
        """Write every row at once."""
        sql.allocate(self.rows)

    def _take(  # noqa: PLR0917 -- `cause_id` is the version that gives it back, where that is not the bill's own
        self, bill: sql.Bill, held: Held, line_id: int, part: Part, reason: str, cause_id: int | None = None,
    ) -> None:  # fmt: skip
        self.rows.append(
            self._row(
                self._id(),
                bill if cause_id is None else bill._replace(current_id=cause_id),
                held.entry_id,
                held.milestone_id,
                line_id,
                held.id,
                -part.quantity,
                -part.amount,
                held.currency,
                reason,
            )
        )
        held.quantity -= part.quantity
        held.amount -= part.amount
        self._move(held.entry_id, held.milestone_id, part.quantity)

    def _id(self) -> int:
        if not self._ids:
            self._ids = portal_sql.draw_ids("portal_allocation", 200)
        return self._ids.pop(0)

    def _row(  # noqa: PLR0917 -- the columns of an allocation, in their order
        self, number: int, bill: sql.Bill, entry_id: int | None, milestone_id: int | None, line_id: int,
        takes_back_id: int | None, quantity: Decimal, amount: Decimal, currency: str, reason: str,
    ) -> list[Any]:  # fmt: skip
        return [
            number, bill.entity_id, entry_id, milestone_id, line_id, bill.current_id, takes_back_id, quantity, amount,
            currency, self.actor, reason[:500],
        ]  # fmt: skip


def started(
    actor: str, bill_ids: Iterable[int], entries: Iterable[sql.Entry], milestones: Iterable[sql.Milestone] = ()
) -> Plan:
    """A plan that knows what stands on these bills and of these entries, and what of entries and milestones is open."""
    known = list(entries)
    plan = Plan(
        actor,
        open={entry.id: entry.open for entry in known},
        open_milestones={one.id: one.delivered - one.billed for one in milestones},
    )
    rows = {row.id: row for row in (*sql.billed(list(bill_ids)), *sql.billed_of([entry.id for entry in known]))}
    plan.held = [Held(*row[:-2]) for _, row in sorted(rows.items())]
    return plan


def _shares(amount: Decimal, weights: Sequence[Decimal], limits: Sequence[Decimal], currency: str) -> list[Decimal]:
    """The amount in parts by weight that add up to it exactly, and none above its limit."""
    if not weights:
        return []
    if sum(weights, ZERO) > 0 and amount == money.round_money(amount, currency):
        parts = money.split(amount, weights, currency)
    else:
        parts = [amount, *(ZERO for _ in weights[1:])]
    over = ZERO
    for index, (part, limit) in enumerate(zip(parts, limits, strict=True)):
        wanted = part + over
        parts[index], over = min(wanted, limit), max(wanted - limit, ZERO)
    for index in range(len(parts) - 1, -1, -1):
        room = limits[index] - parts[index]
        step = min(room, over)
        parts[index], over = parts[index] + step, over - step
    return parts
