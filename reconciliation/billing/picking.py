"""Which hours a credit note gives back, where the note itself does not say it; or that it lowers the price alone.

The rule here: a person names the hours, only these are open again, and together they are exactly what is credited. Until then
every hour of the invoice stays billed.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from portal import access, audit, figures
from portal.models import Invoice, User
from reconciliation.billing.allocating import names_something
from reconciliation.billing.following import follow, undo_credit
from reconciliation.billing.planning import ZERO, Part, Plan, started
from reconciliation.billing.refusals import in_words
from reconciliation.sql import billing as sql

CENT = Decimal("0.01")


class NotCreditable(Exception):
    """A choice of hours that does not fit the credit note; the message says what would."""


def credit_hours(note: Invoice, picks: Mapping[int, Part], *, by: User, reason: str) -> None:
    """Say which of the invoice's hours a credit note gives back, by allocation; together they are what it credits."""
    _credit(note, picks, by, reason)


def credit_price(note: Invoice, *, by: User, reason: str) -> None:
    """Say that a credit note lowers the price and gives no hours back: every line of the invoice bears its share."""
    _credit(note, None, by, reason)


def take_back(note: Invoice, *, by: User, reason: str) -> None:
    """Take back what a person named of a credit note, so that it can be named otherwise; not once the hours are billed anew."""
    if not reason.strip():
        raise NotCreditable("Say why it is named otherwise.")
    if not access.may(by, access.FIXERS, note.entity_id):
        raise NotCreditable("Only finance of this entity says what a credit gives back.")
    with in_words(NotCreditable, note):
        bill = {bill.id: bill for bill in sql.bills(sql.touched_by([note.pk], []), lock=True)}[note.pk]
        rows = named_by_hand(note, bill.agreed_id)
        if bill.credits_id is None or bill.status in ("draft", "voided", "deleted") or not rows:
            raise NotCreditable("Nobody named anything of it.")
        entries = sql.entries_by_id({row.entry_id for row in rows if row.entry_id is not None})
        milestones = sql.milestones({row.milestone_id for row in rows if row.milestone_id is not None}, ())
        plan = started(by.get_username(), [bill.credits_id], entries.values(), milestones.values())
        if not undo_credit(plan, bill, rows, entries, "is named otherwise"):
            raise NotCreditable(" ".join(problem.sentence for problem in plan.problems))
        plan.write()
        audit.record(
            by, "credit.hours-taken-back", note, entity=bill.entity_id, reason=reason,
            before={"allocations": {str(row.takes_back_id): [str(-row.quantity), str(-row.amount)] for row in rows}},
        )  # fmt: skip
        follow([note.pk], actor=by.get_username())


def named_by_hand(note: Invoice, agreed_id: int) -> list[sql.Standing]:
    """What stands credited on lines of a note that name no work of ours: a person named it."""
    silent = {line.id for line in sql.lines([agreed_id])[agreed_id] if not names_something(line)}
    return [row for row in sql.credited([note.pk]) if row.line_id in silent and (row.quantity or row.amount)]


def _credit(note: Invoice, picks: Mapping[int, Part] | None, by: User, reason: str) -> None:
    if not reason.strip():
        raise NotCreditable("Naming the hours of a credit needs a reason.")
    if not access.may(by, access.FIXERS, note.entity_id):
        raise NotCreditable("Only finance of this entity says what a credit gives back.")
    with in_words(NotCreditable, note):
        bills = {bill.id: bill for bill in sql.bills(sql.touched_by([note.pk], []), lock=True)}
        bill = bills[note.pk]
        if not bill.is_credit or bill.credits_id is None or bill.status in ("draft", "voided", "deleted"):
            raise NotCreditable("The note is no live credit of an invoice that is known here.")
        lines = sql.lines([bill.agreed_id])[bill.agreed_id]
        if not lines:
            raise NotCreditable("The note has no line to which the hours could be tied.")
        wanted = sum((line.net for line in lines), ZERO) + sum((row.amount for row in sql.credited([note.pk])), ZERO)
        plan = started(by.get_username(), [bill.credits_id], [])
        _take(
            plan,
            bill,
            next((line for line in lines if not names_something(line)), lines[0]).id,
            picks,
            wanted,
            reason=reason,
        )
        plan.write()
        audit.record(
            by, "credit.hours-named", note, entity=bill.entity_id, reason=reason,
            after={"allocations": {str(k): [str(q), str(a)] for k, (q, a) in (picks or {}).items()}, "price_only": picks is None},
        )  # fmt: skip
        follow([note.pk], actor=by.get_username())


def _take(
    plan: Plan,
    bill: sql.Bill,
    line_id: int,
    picks: Mapping[int, Part] | None,
    wanted: Decimal,
    *,
    reason: str,
) -> None:
    held = {each.id: each for each in plan.standing(bill.credits_id or 0)}
    if wanted <= 0:
        raise NotCreditable("Every amount of the note is tied to hours already.")
    if picks is None:
        found = list(held.values())
        left = sum((each.amount for each in found), ZERO)
        if wanted > left:
            raise NotCreditable(f"Only {figures.exact(left)} {bill.currency} of the invoice stand billed.")
        plan.credit(bill, line_id, found, Part(ZERO, wanted), reason)
        return
    if sum((amount for _, amount in picks.values()), ZERO) != wanted:
        said = sum((amount for _, amount in picks.values()), ZERO)
        raise NotCreditable(
            f"The hours chosen come to {figures.exact(said)} {bill.currency}; the note credits {figures.exact(wanted)}."
        )
    for allocation_id, (quantity, amount) in picks.items():
        chosen = held.get(allocation_id)
        if chosen is None:
            raise NotCreditable("What is chosen stands no longer billed on the invoice; look at it again.")
        if not 0 <= quantity <= chosen.quantity or not 0 <= amount <= chosen.amount:
            raise NotCreditable(
                f"{figures.hours(quantity)} h and {figures.amount(amount)} are chosen where "
                f"{figures.hours(chosen.quantity)} h and {figures.amount(chosen.amount)} {bill.currency} stand billed."
            )
        worth = chosen.amount * quantity / chosen.quantity if chosen.quantity else ZERO
        if worth - amount > CENT:
            raise NotCreditable(
                f"{figures.hours(quantity)} h stand billed at {figures.amount(worth)} {bill.currency} and are credited with "
                f"{figures.amount(amount)}: billed again they would cost more than was given back."
            )
        plan.credit(bill, line_id, [chosen], Part(quantity, amount), reason)
