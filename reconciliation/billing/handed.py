"""Lines of bills that stand for more than one hour, or for a milestone: what we handed over under their key says for which.

The rule here: a line that bears the key of a proposal's line bills exactly the parts of that line, at the amount that its
system booked. Where its hours are others than were handed over, nobody knows which of them it bills, and nothing is guessed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from portal import figures, money
from reconciliation.billing.planning import ZERO, Held, Part, Plan, Problem
from reconciliation.billing.standing import ABOVE, UNKNOWN, Known, Wanted, bring_in_line
from reconciliation.sql import billing as sql
from reconciliation.sql import invoicing as invoicing_sql


@dataclass(slots=True)
class HandedOver:
    """What the lines of some bills stand for, and the entries and milestones behind it, locked."""

    lines: dict[str, list[invoicing_sql.Handed]] = field(default_factory=dict)  # by our line key
    entries: dict[int, sql.Entry] = field(default_factory=dict)
    milestones: dict[int, sql.Milestone] = field(default_factory=dict)
    by_code: dict[tuple[int, str], list[int]] = field(default_factory=dict)  # (entity, code) → milestones

    def of(self, bill: sql.Bill, line: sql.Line) -> list[invoicing_sql.Handed]:
        """The parts that a line names by its key; none where it names none of ours."""
        del bill
        return self.lines.get(line.posting_key.lower(), [])

    def milestone_of(self, bill: sql.Bill, line: sql.Line) -> list[int]:
        """The milestones that a line may mean by its code; several where the code is ambiguous."""
        return self.by_code.get((bill.entity_id, line.milestone_key), []) if line.milestone_key else []


def load(
    bills: Sequence[sql.Bill], lines: Mapping[int, Sequence[sql.Line]], keys: Iterable[str], staying: Collection[int]
) -> HandedOver:
    """What was handed over under these keys, and the milestones that lines name; their documents are locked."""
    found = HandedOver()
    for part in invoicing_sql.handed(sorted(keys)):
        found.lines.setdefault(part.key, []).append(part)
    codes = sorted({
        (bill.entity_id, line.milestone_key) for bill in bills for line in lines.get(bill.agreed_id, ()) if line.milestone_key
    })  # fmt: skip
    parts = [part for group in found.lines.values() for part in group]
    found.entries = sql.entries_by_id(
        {part.entry_id for part in parts if part.entry_id is not None}, is_anew=True, staying=staying
    )
    for key, group in found.lines.items():
        found.lines[key] = [
            part._replace(entry_id=found.entries[part.entry_id].id) if part.entry_id in found.entries else part
            for part in group
        ]
    found.entries = {entry.id: entry for entry in found.entries.values()}
    found.milestones = sql.milestones({part.milestone_id for part in parts if part.milestone_id is not None}, codes)
    by_code: dict[tuple[int, str], list[int]] = defaultdict(list)
    for milestone in found.milestones.values():
        by_code[milestone.entity_id, milestone.code].append(milestone.id)
    found.by_code = by_code
    return found


def bill_line(plan: Plan, bill: sql.Bill, line: sql.Line, held: Sequence[Held], over: HandedOver) -> bool:
    """Bring what stands billed on one line in line with what it stands for; False where it stands for nothing known here."""
    parts = over.of(bill, line)
    if not parts:
        named = over.milestone_of(bill, line)
        if not named:
            return False
        if len(named) > 1:
            said = f"Line {line.position} bills milestone {line.milestone_key}, which several projects have."
            plan.problems.append(Problem(bill.id, UNKNOWN, said, line))
            return True
        amount = over.milestones[named[0]].delivered
        wanted = [Wanted(None, named[0], Part(min(line.net, amount) if line.net > 0 else ZERO, line.net))]
    else:
        if line.quantity is not None and not says_which(line, parts):
            tied = Part(sum((one.was_quantity for one in held), ZERO), sum((one.was_amount for one in held), ZERO))
            if tied != Part(line.quantity, line.net):  # else somebody said by hand which hours it bills
                plan.problems.append(
                    Problem(
                        bill.id, UNKNOWN,
                        f"Line {line.position} bills {figures.exact(line.quantity)} h where "
                        f"{figures.exact(parts[0].line_quantity or ZERO)} h were handed over, and does not say which.",
                        line,
                    )
                )  # fmt: skip
            return True
        amounts = _amounts(line.net, [part.amount for part in parts], bill.agreed_currency)
        wanted = [
            Wanted(part.entry_id, part.milestone_id, Part(part.quantity, amount))
            for part, amount in zip(parts, amounts, strict=True)
        ]
    bring_in_line(plan, bill, line, held, wanted, Known(over.entries, over.milestones))
    return True


def says_which(line: sql.Line, parts: Sequence[invoicing_sql.Handed]) -> bool:
    """Whether a line bills as many hours as were handed over under its key, so that it bills exactly those."""
    expected = parts[0].line_quantity if parts else None
    return bool(parts) and (line.quantity is None or expected is None or line.quantity == expected)


def _amounts(net: Decimal, ours: Sequence[Decimal], currency: str) -> list[Decimal]:
    """What the system booked on a line over its parts: ours where it is the same, else by the largest remainder."""
    if net == sum(ours, ZERO) or net < 0:
        return list(ours)
    if sum(ours, ZERO) <= 0 or net != money.round_money(net, currency):
        return [net, *(ZERO for _ in ours[1:])]
    return money.split(net, ours, currency)


def credit_line(plan: Plan, bill: sql.Bill, line: sql.Line, over: HandedOver) -> bool | None:
    """Take back what a credit note's line gives back of a line that was handed over, or of a milestone; None where it names none.

    Of several hours only a line that gives back all of them says which; False asks a person.
    """
    parts = over.of(bill, line)
    if not parts:
        named = over.milestone_of(bill, line)
        return _credit_milestone(plan, bill, line, over.milestones[named[0]]) if len(named) == 1 else None
    about = {(part.entry_id, part.milestone_id) for part in parts}
    found = [
        held
        for held in plan.held
        if (held.entry_id, held.milestone_id) in about
        and held.bill_id == bill.credits_id
        and (held.quantity or held.amount)
    ]
    hours = sum((held.quantity for held in found), ZERO)
    whole = line.net == sum((held.amount for held in found), ZERO) and line.quantity in (None, hours)
    if not found or not whole:
        return False
    for held in found:
        plan.credit(bill, line.id, [held], Part(held.quantity, held.amount), f"{bill.name}, line {line.position}")
    return True


def _credit_milestone(plan: Plan, bill: sql.Bill, line: sql.Line, milestone: sql.Milestone) -> bool:
    """Take back so much of a milestone as a line says; False where nothing says which bill it credits."""
    if bill.credits_id is None:
        return False
    found = [held for held in plan.standing(bill.credits_id) if held.milestone_id == milestone.id]
    left = Part(sum((held.quantity for held in found), ZERO), sum((held.amount for held in found), ZERO))
    if line.net > left.amount:
        said = f"{figures.exact(line.net)} {bill.agreed_currency} of milestone {milestone.code}, of which "
        said = f"Line {line.position} credits {said}{figures.exact(left.amount)} {bill.agreed_currency} stand billed."
        plan.problems.append(Problem(bill.id, ABOVE, said, line))
        return True
    quantity = max(line.net - (left.amount - left.quantity), ZERO)  # what was billed above its amount goes first
    plan.credit(bill, line.id, found, Part(quantity, line.net), f"{bill.name}, line {line.position}")
    return True


def keep(
    over: HandedOver,
    plan: Plan,
    bills: Sequence[sql.Bill],
    lines: Mapping[int, Sequence[sql.Line]],
    invoices: Collection[int],
) -> None:
    """Let proposals know that the bills of their drafts came, and give back what stands billed now or never will on a dead one.

    Of all `invoices` that are followed, their proposals say whether these still count. Joins the transaction.
    """
    wrong = {(problem.bill_id, problem.line.key) for problem in plan.problems if problem.line is not None}
    drafts: dict[
        int, list[int]
    ] = {}  # of bills, in the order of their lines; people may put several drafts on one bill
    billed: list[int] = []
    for bill in bills:
        for line in lines.get(bill.agreed_id, ()):
            parts = over.of(bill, line)
            if parts and parts[0].draft_id is not None:
                drafts.setdefault(bill.id, []).append(parts[0].draft_id)
                if (bill.id, line.key) not in wrong:
                    billed.append(parts[0].line_id)
    named = {draft for of in drafts.values() for draft in of}
    invoicing_sql.lock_proposals(draft_ids=named, bill_ids=invoices)
    if named:
        invoicing_sql.give_back(line_ids=billed)
        invoicing_sql.came([(draft, bill) for bill, of in drafts.items() for draft in dict.fromkeys(of)])
    invoicing_sql.became(invoices, named)
