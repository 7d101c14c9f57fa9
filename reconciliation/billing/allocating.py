"""Lines of bills to entries: by our key or receipt number on the line, never by a sheet, a name or a sum.

The rule here: what does not fit is left out whole and said, line by line; nothing is squeezed in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from uuid import UUID

from portal import figures
from reconciliation.billing import handed
from reconciliation.billing.handed import HandedOver
from reconciliation.billing.planning import ZERO, Held, Part, Plan, Problem
from reconciliation.billing.standing import ABOVE, TWICE, UNKNOWN, Known, Wanted, bring_in_line
from reconciliation.sql import billing as sql

NO_HOURS = "credit-without-hours"
CENT = Decimal("0.01")
_UNIT = Decimal("0.0001")  # of quantities

Entries = Mapping[tuple[int, str], sql.Entry]


def named(
    bills: Sequence[sql.Bill], lines: Mapping[int, Sequence[sql.Line]], staying: Collection[int] = ()
) -> dict[tuple[int, str], sql.Entry]:
    """The entries that the lines of bills name."""
    wanted = [line for bill in bills for line in lines.get(bill.agreed_id, ())]
    keys = sorted({line.posting_key for line in wanted if is_key(line.posting_key)})
    numbers = sorted({line.posting_number for line in wanted if line.posting_number})
    if not keys and not numbers:
        return {}
    return sql.entries(sorted({bill.connection_id for bill in bills}), keys, numbers, staying=staying)


def handed_over(
    bills: Sequence[sql.Bill], lines: Mapping[int, Sequence[sql.Line]], staying: Collection[int] = ()
) -> HandedOver:
    """What the lines of bills stand for that bear keys of handed-over lines, or codes of milestones."""
    wanted = [line for bill in bills for line in lines.get(bill.agreed_id, ())]
    keys = {line.posting_key.lower() for line in wanted if is_key(line.posting_key)}
    return handed.load(bills, lines, keys, staying)


def is_key(text: str) -> bool:
    """Whether a text has the form of our keys."""
    try:
        return UUID(hex=text).hex == text.lower()
    except ValueError:
        return False


def entry_of(bill: sql.Bill, line: sql.Line, entries: Entries) -> sql.Entry | None:
    """The entry that a line names."""
    for word in (line.posting_key.lower(), line.posting_number):
        if word and (found := entries.get((bill.connection_id, word))) is not None:
            return found
    return None


def names_something(line: sql.Line) -> bool:
    """Whether a line claims to be about a record that was posted."""
    return bool(line.posting_key or line.posting_number)


def invoice(plan: Plan, bill: sql.Bill, lines: Sequence[sql.Line], entries: Entries, over: HandedOver) -> None:
    """Bring what stands billed in line with the lines we go by: leave what is equal, release what is gone, bill what is new."""
    standing: dict[str, list[Held]] = defaultdict(list)
    for held in plan.of_bill(bill.id):
        standing[held.line_key].append(held)
    for key in [key for key in standing if key not in {line.key for line in lines}]:
        for held in standing.pop(key):
            plan.release(bill, held, "the line is no longer on the bill")
    for line in lines:
        held_here = standing.get(line.key, [])
        entry = entry_of(bill, line, entries)
        if entry is None:
            _without_entry(plan, bill, line, held_here, over)
            continue
        wanted = [Wanted(entry.id, None, Part(_quantity(line, entry), line.net))]
        bring_in_line(plan, bill, line, held_here, wanted, Known({entry.id: entry}))


def _without_entry(plan: Plan, bill: sql.Bill, line: sql.Line, held: Sequence[Held], over: HandedOver) -> None:
    """A line that names no entry: one that was handed over, a milestone, what a person allocated, or nothing known here."""
    if handed.bill_line(plan, bill, line, held, over) or held:
        return  # several entries on one line, or one that a person allocated: the line itself names none
    if names_something(line) and line.net:
        said = line.posting_number or line.posting_key
        plan.problems.append(
            Problem(bill.id, UNKNOWN, f"Line {line.position} bills {said}, which is no posting of ours.", line)
        )


def _quantity(line: sql.Line, entry: sql.Entry) -> Decimal:
    """How much of an entry a line bills: an expense as a whole, whatever its price, unless the line bills a part of one."""
    if entry.kind == "time":
        return line.quantity if line.quantity is not None else entry.delivered
    part = line.quantity if line.quantity is not None and 0 < line.quantity < 1 else Decimal(1)
    return (entry.delivered * part).quantize(_UNIT)


def credit(  # noqa: PLR0917 -- what a note is judged by
    plan: Plan,
    bill: sql.Bill,
    lines: Sequence[sql.Line],
    entries: Entries,
    standing: Sequence[sql.Standing],
    over: HandedOver,
    *,
    is_whole: bool,
) -> None:
    """Take back what a credit note's lines name; what names nothing is taken back only where the whole bill is (`is_whole`).

    What a person named is tied to the note as a whole, on whichever of its lines it stands. What was refused on the bill, because
    it is billed elsewhere or nothing of ours, is asked for no more once it is credited.
    """
    _lines(plan, bill, lines, entries, standing, over, is_whole=is_whole)
    if bill.id in plan.beside:
        plan.problems = [one for one in plan.problems if (one.bill_id, one.rule) != (bill.id, NO_HOURS)]
    if is_whole and all(problem.bill_id != bill.id for problem in plan.problems):
        plan.problems = [problem for problem in plan.problems if not _is_refused(problem, bill.credits_id)]


def _is_refused(problem: Problem, bill_id: int | None) -> bool:
    """Whether a line of this bill was refused, so that nothing of it is tied to our work."""
    return problem.bill_id == bill_id and problem.line is not None and problem.rule in (TWICE, UNKNOWN)


def _lines(  # noqa: PLR0917 -- what a note is judged by
    plan: Plan,
    bill: sql.Bill,
    lines: Sequence[sql.Line],
    entries: Entries,
    standing: Sequence[sql.Standing],
    over: HandedOver,
    *,
    is_whole: bool,
) -> None:
    net = sum((line.net for line in lines), ZERO)
    if net and net + sum((row.amount for row in standing), ZERO) <= 0:
        return  # every amount of the note is tied to hours already
    done: dict[str, list[sql.Standing]] = defaultdict(list)
    for row in standing:
        done[row.line_key].append(row)
    named = {line.key for line in lines if names_something(line) or len(over.milestone_of(bill, line)) == 1}
    silent = [line for line in lines if line.key not in named and line.net]
    for line in lines:
        if line.key not in named or not (line.net or line.quantity) or done[line.key]:
            continue
        if _credits_refused(plan, bill, line, entries):
            continue
        entry = entry_of(bill, line, entries)
        if entry is None and (whole := handed.credit_line(plan, bill, line, over)) is not None:
            silent += [] if whole or not line.net else [line]
            if not whole and not line.net:
                plan.problems.append(_for_less(bill, line, line.quantity or ZERO))
            continue
        if entry is None:
            said = line.posting_number or line.posting_key
            plan.problems.append(
                Problem(bill.id, UNKNOWN, f"Line {line.position} credits {said}, which is no posting of ours.", line)
            )
            continue
        billed = [held for held in plan.held if held.entry_id == entry.id and (held.quantity or held.amount)]
        own = [held for held in billed if held.bill_id == bill.credits_id]
        _credit_line(plan, bill, line, own or ([] if bill.credits_id else billed), entry)
    by_name = {line.key: line.net for line in lines if line not in silent}
    named_amount = sum((min(net, -sum((row.amount for row in done[key]), ZERO)) for key, net in by_name.items()), ZERO)
    beyond = -sum((row.amount for row in standing), ZERO) - named_amount
    left = sum((line.net for line in silent), ZERO) - beyond
    if silent and left > 0:
        asked = any(problem.bill_id == bill.id for problem in plan.problems)
        _whole_or_ask(plan, bill, silent[0], left, is_whole=is_whole and not asked)


def _credits_refused(plan: Plan, bill: sql.Bill, line: sql.Line, entries: Entries) -> bool:
    """Credit what was refused on the bill under the same name, of which nothing stands billed there; False where there is none.

    Nothing is open again by it: what it names stands billed elsewhere, or is no work of ours. A part leaves the rest refused.
    """
    words = {line.posting_key.lower(), line.posting_number} - {""}
    entry = entry_of(bill, line, entries)
    for problem in plan.problems:
        refused = problem.line
        if not _is_refused(problem, bill.credits_id) or refused is None:
            continue
        of = entry_of(bill, refused, entries)
        if not words & {refused.posting_key.lower(), refused.posting_number} and (entry is None or of != entry):
            continue
        held = [one for one in plan.standing(bill.credits_id or 0) if refused.key == one.line_key or _is_of(one, entry)]
        credited = plan.made_up.get((problem.bill_id, refused.key), ZERO) + line.net
        if held or credited > refused.net:
            continue
        plan.made_up[problem.bill_id, refused.key] = credited
        if credited == refused.net:
            plan.problems.remove(problem)
        return True
    return False


def _is_of(held: Held, entry: sql.Entry | None) -> bool:
    return entry is not None and held.entry_id == entry.id


def _credit_line(plan: Plan, bill: sql.Bill, line: sql.Line, billed: Sequence[Held], entry: sql.Entry) -> None:
    quantity = (line.quantity or ZERO) if entry.kind == "time" else ZERO
    left_quantity = sum((held.quantity for held in billed), ZERO)
    left_amount = sum((held.amount for held in billed), ZERO)
    if entry.kind != "time" and line.net == left_amount:
        quantity = left_quantity
    unit = bill.agreed_currency
    if quantity > left_quantity or line.net > left_amount:
        plan.problems.append(
            Problem(
                bill.id, ABOVE,
                f"Line {line.position} credits {figures.exact(quantity)} and {figures.exact(line.net)} {unit} of entry "
                f"{entry.id}, of which {figures.exact(left_quantity)} and {figures.exact(left_amount)} {unit} stand billed.",
                line,
            )
        )  # fmt: skip
        return
    worth = _worth(billed, quantity)
    if entry.kind == "time" and worth - line.net > CENT:
        plan.problems.append(
            _for_less(bill, line, quantity, f", which stand billed at {figures.amount(worth, unit)} {unit}")
        )
        return
    plan.credit(bill, line.id, billed, Part(quantity, line.net), f"{bill.name}, line {line.position}")


def _for_less(bill: sql.Bill, line: sql.Line, quantity: Decimal, worth: str = "") -> Problem:
    """What a line gives back costs more than it gives: nothing is open by it."""
    unit = bill.agreed_currency
    return Problem(
        bill.id, NO_HOURS,
        f"Line {line.position} gives back {figures.hours(quantity)} h for {figures.amount(line.net, unit)} {unit}{worth}: billed "
        "again they would cost more than was given back. Until somebody says which hours it gives back, or that it lowers the "
        "price alone, all of them stay billed.",
        line,
    )  # fmt: skip


def _worth(billed: Sequence[Held], quantity: Decimal) -> Decimal:
    """The money at which a quantity stands billed, the oldest first."""
    worth, left = ZERO, quantity
    for held in billed:
        hours = min(left, held.quantity)
        worth += held.amount * hours / held.quantity if hours else ZERO
        left -= hours
    return worth


def credits_beside(plan: Plan, note: sql.Bill, of: sql.Bill, lines: Mapping[int, Sequence[sql.Line]]) -> None:
    """What is credited beside our work is of the lines that were refused, where it is all of them and nothing else bills none."""
    refused = [problem.line for problem in plan.problems if _is_refused(problem, of.id) and problem.line is not None]
    ours = {held.line_key for held in plan.of_bill(of.id)} | {line.key for line in refused}
    others = [line for line in lines.get(of.agreed_id, ()) if line.net and line.key not in ours]
    credited = sum((line.net for line in lines.get(note.agreed_id, ())), ZERO)
    if not others and credited == sum((line.net for line in refused), ZERO):
        plan.problems = [problem for problem in plan.problems if not _is_refused(problem, of.id)]


def credits_whole(
    note: sql.Bill, of: sql.Bill | None, lines: Mapping[int, Sequence[sql.Line]], others: Collection[int]
) -> bool:
    """Whether a note credits all of a bill, what bills no hours of ours included, so that it says by itself what is given back.

    Beside `others`, notes that took something off the bill before, what is left is a sum like any other, and a person is asked.
    """
    if (
        of is None
        or of.agreed_id != of.current_id
        or note.agreed_currency != of.agreed_currency
        or set(others) - {note.id}
    ):
        return False
    credited, billed = (sum((line.net for line in lines.get(one.agreed_id, ())), ZERO) for one in (note, of))
    return credited == billed == of.net and (note.agreed_id != note.current_id or note.net == credited)


def _whole_or_ask(plan: Plan, bill: sql.Bill, line: sql.Line, net: Decimal, *, is_whole: bool) -> None:
    billed = plan.standing(bill.credits_id) if bill.credits_id else []
    if billed and is_whole:
        for held in billed:
            plan.credit(bill, line.id, [held], Part(held.quantity, held.amount), f"{bill.name} credits the whole bill")
        return
    if billed:
        plan.problems.append(
            Problem(
                bill.id, NO_HOURS,
                f"{figures.amount(net, bill.agreed_currency)} {bill.agreed_currency} are credited without naming hours; until "
                "somebody says which, all of them stay billed.",
            )
        )  # fmt: skip
