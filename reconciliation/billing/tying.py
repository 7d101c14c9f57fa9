"""Matching by hand of what was booked with what was invoiced: lines of bills that name no work are tied to what is open.

The rule here: what is still open to be billed is explained by nothing but a line that bills it, so a match of the third leg
writes allocations, in parts where one line is for several things or one thing stands on several lines. The database keeps every
hour from being billed twice. What is left over is zero, or within the entity's rest with a reason, and then lies in the price of
what is tied; or what fits is tied at its own price, and the rest of it stays open by itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from portal import access, audit, money
from portal.models import AccountingPeriod, Invoice, User
from portal.sql import now
from reconciliation import matching, pairing
from reconciliation.billing import allocating, handed
from reconciliation.billing.following import follow
from reconciliation.billing.planning import ZERO, Held, Part, Plan, started
from reconciliation.billing.refusals import in_words
from reconciliation.billing.standing import Known, Wanted, bring_in_line
from reconciliation.models import Match, ReconciliationResult
from reconciliation.sql import billing as sql

NotMatchable = pairing.NotMatchable
Leg = ReconciliationResult.Leg
_LEAST = Decimal("0.0001")  # of a quantity, as the database keeps it
_DEAD = ("draft", "voided", "deleted")


@dataclass(slots=True)
class Work:
    """One thing that was delivered, what of it is open, and the money that is to be billed for that."""

    item: ReconciliationResult
    quantity: Decimal
    amount: Decimal

    @property
    def key(self) -> tuple[int | None, int | None]:
        """The entry, or the milestone."""
        return self.item.entry_id, self.item.milestone_id


@dataclass(slots=True)
class Loose:
    """One line of a bill, and what of it bills nothing that is known here."""

    bill: sql.Bill
    line: sql.Line
    amount: Decimal


def match(
    items: Sequence[ReconciliationResult], user: User, *, code: str = "", reason: str = "", in_part: bool = False
) -> Match:
    """Say that items of one leg belong together, on whichever leg. Raises NotMatchable or PermissionDenied.

    With `in_part` what is open is tied to lines of bills as far as it goes, and what is left of either stays an open item.
    """
    work = pairing.open_to_bill(items)
    if not work:
        return pairing.match(items, user, code=code, reason=reason)
    first = pairing.may_decide(items, user)
    if {item.pk for item in items} != {item.pk for item in items if item in work or item.bill_line_id is not None}:
        raise NotMatchable("What is open to be billed is matched with lines of bills alone; leave the rest out of it.")
    if len(work) == len(items):
        raise NotMatchable("What is open to be billed is matched with the line of a bill that bills it; choose one.")
    sides = pairing.sides_of(items)
    if not in_part:
        code = pairing.rest_of(first.run.entity, sides, code, reason)
    elif not reason.strip():
        raise NotMatchable("Say why a part of it belongs together, for whoever looks at the rest.")
    bill = Invoice.objects.get(pk=next(item.bill_id for item in items if item.bill_id is not None))
    with in_words(NotMatchable, bill):
        _lock(items)
        made, bill_ids = _tie(items, {item.pk for item in work}, sides, user, in_part=in_part)
        made.code, made.reason = code or Match.Code.EXACT, reason.strip()
        made.save()
        audit.record(
            user, "match.tie", made, entity=first.run.entity_id, reason=made.reason,
            after={"items": [item.pk for item in items], "allocations": made.allocations, "hours": str(sides.hours),
                   "amount": str(sides.amount)},
        )  # fmt: skip
        follow(bill_ids, actor=user.get_username())
        _compare(first.run.entity_id, {item.period_id for item in items}, user)
        if not in_part:
            pairing.explain(made, [item.subject for item in work])
    return made


def take_apart(found: Match, user: User, reason: str) -> Match:
    """Refuse a suggestion, or break a match; what was tied by it is open to be billed again."""
    if not found.allocations:
        return pairing.take_apart(found, user, reason)
    access.require(user, access.FIXERS, found.period.entity_id)
    rows = sql.bills_of(found.allocations)
    bill = Invoice.objects.get(pk=rows[0])
    periods = pairing.periods_of_subjects(found)
    with in_words(NotMatchable, bill):
        _lock_periods(periods)
        bills = {one.id: one for one in sql.bills(sql.touched_by(rows, []), lock=True)}
        broken = pairing.take_apart(found, user, reason)
        plan = started(user.get_username(), rows, [])
        for held in [held for held in plan.held if held.id in set(found.allocations)]:
            if (held.quantity, held.amount) != (held.was_quantity, held.was_amount):
                raise NotMatchable("A credit note gave back some of it; take that back first, on the page of the note.")
            plan.release(bills[held.bill_id], held, f"taken apart: {reason.strip()}")
        plan.write()
        follow(rows, actor=user.get_username())
        _compare(found.period.entity_id, periods, user)
    return broken


def _lock(items: Sequence[ReconciliationResult]) -> None:
    """Nobody else decides about these items or compares their periods meanwhile."""
    _lock_periods({item.period_id for item in items})
    pairing.lock(items)


def _lock_periods(period_ids: Iterable[int]) -> None:
    list(AccountingPeriod.objects.select_for_update(of=("self",)).filter(pk__in=list(period_ids)).order_by("pk"))


def _compare(entity_id: int, period_ids: Iterable[int], user: User) -> None:
    """What was tied shows at once, by a comparison with the statements as last read."""
    for period in AccountingPeriod.objects.select_related("entity").filter(pk__in=list(period_ids)).order_by("pk"):
        matching.run(period.entity, period, user)


def _tie(
    items: Sequence[ReconciliationResult], open_ids: set[int], sides: pairing.Sides, user: User, *, in_part: bool
) -> tuple[Match, list[int]]:
    """Write the allocations, and the match that stands for them; it and the bills that it is about."""
    lines = [item for item in items if item.pk not in open_ids]
    bill_ids = sorted({item.bill_id for item in lines if item.bill_id is not None})
    bills = {bill.id: bill for bill in sql.bills(sql.touched_by(bill_ids, []), lock=True)}
    work_items = sorted(
        (item for item in items if item.pk in open_ids), key=lambda item: (item.dated is None, item.dated, item.pk)
    )
    entries = sql.entries_by_id({item.entry_id for item in work_items if item.entry_id is not None})
    stones = sql.milestones({item.milestone_id for item in work_items if item.milestone_id is not None}, ())
    plan = started(user.get_username(), bill_ids, entries.values(), stones.values())
    plan.documents = sql.documents_of({held.entry_id for held in plan.held if held.entry_id is not None})
    plan.documents |= {entry.id: entry.document_id for entry in entries.values()}
    loose = _loose(lines, bills, plan)
    work = _work(work_items, plan)
    wanted = _parts(work, loose, sides.currency, in_part=in_part)
    for one in loose:
        held = [each for each in plan.of_bill(one.bill.id) if each.line_key == one.line.key]
        bring_in_line(plan, one.bill, one.line, held, _with(held, wanted[one.line.id]), Known(entries, stones))
    for problem in plan.problems:
        raise NotMatchable(problem.sentence)
    plan.write()
    made = Match(
        period_id=work_items[0].period_id, leg=Leg.TARGET_INVOICE, state=Match.State.CONFIRMED, items=len(items),
        subjects=sorted(item.subject for item in items), hours_left=sides.hours_left, hours_right=sides.hours_right,
        amount_left=sides.amount_left, amount_right=sides.amount_right, currency=sides.currency, made_at=now(), decided_by=user,
        decided_at=now(), allocations=[row[0] for row in plan.rows if row[6] is None],
    )  # fmt: skip
    return made, bill_ids


def _loose(items: Sequence[ReconciliationResult], bills: dict[int, sql.Bill], plan: Plan) -> list[Loose]:
    """The chosen lines as they stand, the first bill's first; only those that name nothing of ours."""
    chosen = [bills[item.bill_id] for item in items if item.bill_id is not None]
    lines = sql.lines(sorted({bill.agreed_id for bill in chosen}))
    named = allocating.named(chosen, lines)
    over = allocating.handed_over(chosen, lines)
    found = []
    for bill, item in zip(chosen, items, strict=True):
        line = next((one for one in lines[bill.agreed_id] if one.id == item.bill_line_id), None)
        if line is None or bill.status in _DEAD:
            raise NotMatchable("Some of it changed meanwhile; look at it again.")
        if bill.is_credit or line.net <= 0:
            raise NotMatchable("A credit gives back; say on its own page which hours.")
        says = handed.says_which(line, over.of(bill, line))
        if allocating.entry_of(bill, line, named) or says or over.milestone_of(bill, line):
            raise NotMatchable(
                f"Line {line.position} of {bill.name} names its work itself; have it put right in its system."
            )
        tied = sum((each.was_amount for each in plan.of_bill(bill.id) if each.line_key == line.key), ZERO)
        found.append(Loose(bill, line, line.net - tied))
    return sorted(found, key=lambda one: (one.bill.id, one.line.position, one.line.id))


def _work(items: Sequence[ReconciliationResult], plan: Plan) -> list[Work]:
    """What is open of each thing, as it stands, and the money that was booked for it and not billed."""
    found = []
    for item in items:
        open_ = plan.open.get(item.entry_id) if item.entry_id else plan.open_milestones.get(item.milestone_id or 0)
        if not open_ or open_ <= 0:
            raise NotMatchable("Some of it changed or was matched meanwhile; look at it again.")
        found.append(Work(item, open_, max((item.amount_left or ZERO) - (item.amount_right or ZERO), ZERO)))
    return found


def _parts(work: Sequence[Work], loose: Sequence[Loose], currency: str, *, in_part: bool) -> dict[int, list[Wanted]]:
    """What each line bills of each thing: line by line in their order, the hours of a thing by its share of the money."""
    billed = sum((one.amount for one in loose), ZERO)
    owed = sum((one.amount for one in work), ZERO)
    if not in_part and billed != owed:
        for one, amount in zip(work, money.split(billed, [one.amount for one in work], currency), strict=True):
            one.amount = amount
    found: dict[int, list[Wanted]] = defaultdict(list)
    lines = iter(loose)
    line, left = next(lines), loose[0].amount
    for one in work:
        quantity, amount = one.quantity, one.amount
        while quantity:
            if amount and not left:
                following = next(lines, None)
                if following is None:
                    return found
                line, left = following, following.amount
                continue
            taken = min(amount, left)
            share = quantity if taken == amount else _share(quantity, taken, amount)
            found[line.line.id].append(Wanted(*one.key, Part(share, taken)))
            quantity, amount, left = quantity - share, amount - taken, left - taken
    return found


def _share(quantity: Decimal, taken: Decimal, amount: Decimal) -> Decimal:
    share = (quantity * taken / amount).quantize(_LEAST, ROUND_HALF_UP)
    if not 0 < share < quantity:
        raise NotMatchable("A part of it is too small to be kept; choose other lines.")
    return share


def _with(held: Sequence[Held], wanted: Sequence[Wanted]) -> list[Wanted]:
    """What a line bills already, with what it is to bill besides."""
    parts = {(one.entry_id, one.milestone_id): Part(one.was_quantity, one.was_amount) for one in held}
    for one in wanted:
        before = parts.get(one[:2], Part(ZERO, ZERO))
        parts[one[:2]] = Part(before.quantity + one.part.quantity, before.amount + one.part.amount)
    return [Wanted(*key, part) for key, part in parts.items()]
