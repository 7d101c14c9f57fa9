"""Which hours a credit note gives back, where the note itself does not say it; or that it lowers the price alone.

The rule here: a person names the hours, only these are open again, and together they are exactly what is credited. Until then
every hour of the invoice stays billed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal

from portal import access, audit, figures
from portal.models import Invoice, LedgerEntry, User
from portal.sql import now
from reconciliation.billing.allocating import CENT, names_something
from reconciliation.billing.following import follow, undo_credit
from reconciliation.billing.planning import ZERO, Part, Plan, started
from reconciliation.billing.refusals import in_words
from reconciliation.models import BillingDecision
from reconciliation.sql import billing as sql

_NOT_LIVE = ("draft", "voided", "deleted")
_NO_CREDIT = "The note is no live credit of an invoice that is known here."


class NotCreditable(Exception):
    """A choice of hours that does not fit the credit note; the message says what would."""


def credit_hours(
    note: Invoice, picks: Mapping[int, Part], *, by: User, reason: str, rest_is_beside: bool = False
) -> None:
    """Say which of the invoice's hours a credit note gives back, by allocation; together they are what it credits.

    With `rest_is_beside` what it credits above them gives back none of our work, as `credit_beside` says of all of it.
    """
    _credit(note, picks, by, reason, rest_is_beside=rest_is_beside)


def credit_price(note: Invoice, *, by: User, reason: str) -> None:
    """Say that a credit note lowers the price and gives no hours back: every line of the invoice bears its share."""
    _credit(note, None, by, reason)


def credit_beside(note: Invoice, *, by: User, reason: str) -> None:
    """Say that what a credit note credits bills none of our work: a licence, or an hour that was billed before.

    It is never more than the invoice bills beside our work, so that no hour is paid for less without its price being lowered.
    """
    _may(by, note, reason, "Saying what a credit gives back needs a reason.")
    with in_words(NotCreditable, note):
        bills = {bill.id: bill for bill in sql.bills(sql.touched_by([note.pk], []), lock=True)}
        bill = bills[note.pk]
        if not bill.is_credit or bill.credits_id not in bills or bill.status in _NOT_LIVE:
            raise NotCreditable(_NO_CREDIT)
        if bill.agreed_id != bill.current_id:
            raise NotCreditable("Its system changed the note; decide about that first.")
        lines, credited = sql.lines([bill.agreed_id])[bill.agreed_id], sql.credited([note.pk])
        wanted = sum((line.net for line in lines), ZERO) + sum((row.amount for row in credited), ZERO)
        if beside(note) is not None:
            raise NotCreditable("That was said of it already.")
        _say_beside(note, bill, bills, wanted, by=by, reason=reason)
        follow([note.pk], actor=by.get_username())


def _say_beside(
    note: Invoice, bill: sql.Bill, bills: Mapping[int, sql.Bill], amount: Decimal, *, by: User, reason: str
) -> None:
    """Keep that so much of a note gives back none of our work, where the invoice bills so much beside it."""
    of = bills[bill.credits_id or 0]
    notes = [
        one.id
        for one in bills.values()
        if one.credits_id == of.id and one.id != bill.id and one.status not in _NOT_LIVE
    ]
    said = set(
        BillingDecision.objects.filter(bill__in=notes, choice=BillingDecision.Choice.BESIDE, outcome="").values_list(
            "bill", flat=True
        )
    )
    nets = sql.lines(sorted({of.agreed_id, *(bills[each].agreed_id for each in said)}))
    ours = sum((held.was_amount for held in started(by.get_username(), [of.id], []).of_bill(of.id)), ZERO)
    most = sum((line.net for line in nets[of.agreed_id]), ZERO) - ours
    most -= sum((line.net for each in said for line in nets[bills[each].agreed_id]), ZERO)
    most -= sum((row.amount for row in sql.credited(sorted(said))), ZERO)  # below zero: what of these notes is our work
    if amount > max(most, ZERO):
        left, asked = (figures.amount(one, bill.currency) for one in (max(most, ZERO), amount))
        raise NotCreditable(
            f"Only {left} {bill.currency} of the invoice bill none of our work, and the note credits {asked}. Name its "
            "hours, or say that it lowers the price alone."
        )
    BillingDecision.objects.create(
        bill=note,
        version_id=bill.current_id,
        choice=BillingDecision.Choice.BESIDE,
        reason=reason.strip(),
        by=by,
        at=now(),
    )
    audit.record(by, "credit.beside", note, entity=bill.entity_id, reason=reason, after={"amount": str(amount)})


def beside(note: Invoice) -> BillingDecision | None:
    """What somebody said of a note: that it gives back none of our work."""
    return BillingDecision.objects.filter(bill=note, choice=BillingDecision.Choice.BESIDE, outcome="").first()


def _may(by: User, note: Invoice, reason: str, why: str) -> None:
    if not reason.strip():
        raise NotCreditable(why)
    if not access.may(by, access.FIXERS, note.entity_id):
        raise NotCreditable("Only finance of this entity says what a credit gives back.")


def take_back(note: Invoice, *, by: User, reason: str) -> None:
    """Take back what a person named of a credit note, so that it can be named otherwise; not once the hours are billed anew."""
    _may(by, note, reason, "Say why it is named otherwise.")
    with in_words(NotCreditable, note):
        bill = {bill.id: bill for bill in sql.bills(sql.touched_by([note.pk], []), lock=True)}[note.pk]
        rows, said = named_by_hand(note, bill.agreed_id), beside(note)
        if bill.credits_id is None or bill.status in _NOT_LIVE or not (rows or said):
            raise NotCreditable("Nobody named anything of it.")
        entries = sql.entries_by_id({row.entry_id for row in rows if row.entry_id is not None})
        milestones = sql.milestones({row.milestone_id for row in rows if row.milestone_id is not None}, ())
        plan = started(by.get_username(), [bill.credits_id], entries.values(), milestones.values())
        if not undo_credit(plan, bill, rows, entries, "is named otherwise"):
            raise NotCreditable(" ".join(problem.sentence for problem in plan.problems))
        plan.write()
        if said is not None:
            said.outcome, said.ended_by, said.ended_at = BillingDecision.Outcome.WITHDRAWN, by, now()
            said.ended_because = reason.strip()
            said.save(update_fields=["outcome", "ended_by", "ended_at", "ended_because"])
        audit.record(
            by, "credit.hours-taken-back", note, entity=bill.entity_id, reason=reason,
            before={"allocations": {str(row.takes_back_id): [str(-row.quantity), str(-row.amount)] for row in rows}},
        )  # fmt: skip
        follow([note.pk], actor=by.get_username())


def named_by_hand(note: Invoice, agreed_id: int) -> list[sql.Standing]:
    """What a person named of a note: what stands on lines that name no work of ours, or that say more than was given back."""
    lines = {line.id: line for line in sql.lines([agreed_id])[agreed_id]}
    found = [row for row in sql.credited([note.pk]) if row.quantity or row.amount]
    silent = {line.id for line in lines.values() if not names_something(line)}
    fewer = _gives_back_fewer(found, lines)
    return [row for row in found if row.line_id in silent or row.line_id in fewer]


def _gives_back_fewer(found: Sequence[sql.Standing], lines: Mapping[int, sql.Line]) -> set[int]:
    """The lines of which fewer hours were given back than they say: by themselves they would have given back all of them."""
    of_time = LedgerEntry.objects.filter(pk__in={row.entry_id for row in found if row.entry_id}, kind="time")
    times = set(of_time.values_list("pk", flat=True))
    hours: dict[int, Decimal] = defaultdict(lambda: ZERO)
    for row in found:
        if row.entry_id in times and row.line_id in lines:
            hours[row.line_id] -= row.quantity
    return {line_id for line_id, given in hours.items() if given < (lines[line_id].quantity or ZERO)}


def _credit(
    note: Invoice, picks: Mapping[int, Part] | None, by: User, reason: str, *, rest_is_beside: bool = False
) -> None:
    _may(by, note, reason, "Naming the hours of a credit needs a reason.")
    with in_words(NotCreditable, note):
        bills = {bill.id: bill for bill in sql.bills(sql.touched_by([note.pk], []), lock=True)}
        bill = bills[note.pk]
        if not bill.is_credit or bill.credits_id is None or bill.status in _NOT_LIVE:
            raise NotCreditable(_NO_CREDIT)
        lines = sql.lines([bill.agreed_id])[bill.agreed_id]
        if not lines:
            raise NotCreditable("The note has no line to which the hours could be tied.")
        wanted = sum((line.net for line in lines), ZERO) + sum((row.amount for row in sql.credited([note.pk])), ZERO)
        rest = wanted - sum((part.amount for part in (picks or {}).values()), ZERO)
        if picks and rest_is_beside and rest > 0:
            _say_beside(note, bill, bills, rest, by=by, reason=reason)
            wanted -= rest
        plan = started(by.get_username(), [bill.credits_id], [])
        _take(
            plan,
            bill,
            _asked(lines, sql.credited([note.pk])).id,
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


def _asked(lines: Sequence[sql.Line], credited: Sequence[sql.Standing]) -> sql.Line:
    """The line on which stands what a person names: one that names nothing, or else that has given nothing back by itself."""
    done = {row.line_id for row in credited}
    named = [line for line in lines if names_something(line)]
    return next((line for line in lines if line not in named), next((x for x in named if x.id not in done), lines[0]))


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
