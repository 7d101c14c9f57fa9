"""What stands billed on one line, brought in line with what it bills now: its objection is heard before a release.

The rule here: a line that cannot be billed as it says keeps what it bills of the same work. Nothing of it is open again, since
its bill still asks for it; only work that the line no longer bills is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from portal import figures
from reconciliation.billing.planning import ZERO, Held, Part, Plan, Problem
from reconciliation.sql import billing as sql

_Work = tuple[int | None, int | None]  # a document, or a milestone
UNKNOWN, TWICE, ABOVE = "billed-line-unknown", "hour-billed-twice", "credit-above-billed"
SOMETHING_ELSE = "the line says something else now"
IN_BOOKS = ("posted", "reconciled")


class Wanted(NamedTuple):
    """One thing that a line bills: an entry or a milestone, how much of it and for how much."""

    entry_id: int | None
    milestone_id: int | None
    part: Part


@dataclass(frozen=True, slots=True)
class Known:
    """What lines may bill, locked: entries and milestones by their ids."""

    entries: Mapping[int, sql.Entry]
    milestones: Mapping[int, sql.Milestone] = field(default_factory=dict)


def bring_in_line(  # noqa: PLR0917 -- what stands, what is wanted, and where
    plan: Plan, bill: sql.Bill, line: sql.Line, held: Sequence[Held], wanted: Sequence[Wanted], known: Known
) -> None:
    """Leave what is equal, and bill what is new in the place of what is not; all of what a line wants, or nothing of it."""
    standing = {(one.entry_id, one.milestone_id): one for one in sorted(held, key=lambda one: one.id)}
    fresh = [one for one in wanted if not _is_as_it_was(standing.get(one[:2]), one, bill)]
    equal = {one[:2] for one in wanted} - {one[:2] for one in fresh}
    going = [row for row in held if (key := (row.entry_id, row.milestone_id)) not in equal or row is not standing[key]]
    works = [_work(plan, row.entry_id, row.milestone_id) for row in going]
    credited: dict[_Work, list[sql.Standing]] = defaultdict(list)
    for row, work in zip(going, works, strict=True):
        credited[work] += plan.credits_of(row)
    wrong: Problem | None = None
    for one in fresh:
        again = plan.credited_of(credited.get(_work(plan, *one[:2]), ()), one.part, bill.agreed_currency)
        wrong = wrong or _objection(plan, bill, line, one, known, going, again)
    if wrong is not None:
        plan.problems.append(wrong)
        if line.net > 0 and set(works) <= {_work(plan, *one[:2]) for one in wanted}:
            return
    moved: dict[_Work, list[sql.Standing]] = defaultdict(list)
    for row, work in zip(going, works, strict=True):
        moved[work] += plan.replace(bill, row, SOMETHING_ELSE)
    if wrong is not None:
        return
    for one in fresh:
        plan.bill(bill, line, one.entry_id, one.milestone_id, one.part)
        plan.carry(bill, moved.pop(_work(plan, *one[:2]), ()), SOMETHING_ELSE)


def _is_as_it_was(held: Held | None, one: Wanted, bill: sql.Bill) -> bool:
    """Whether it was billed so; what was credited since then stays credited."""
    return held is not None and (Part(held.was_quantity, held.was_amount), held.currency) == (
        one.part,
        bill.agreed_currency,
    )


def _work(plan: Plan, entry_id: int | None, milestone_id: int | None) -> _Work:
    """What is billed, whichever version of it: a document or a milestone."""
    return plan.documents.get(entry_id or 0), milestone_id


def _objection(  # noqa: PLR0917 -- what a line is judged by
    plan: Plan, bill: sql.Bill, line: sql.Line, one: Wanted, known: Known, going: Sequence[Held], again: Decimal
) -> Problem | None:
    """Why a line may not bill this once what is `going` from it is open, of which credit notes take so much `again` at once."""
    if one.milestone_id is not None:
        milestone = known.milestones[one.milestone_id]
        left = plan.open_milestones.setdefault(milestone.id, milestone.delivered - milestone.billed)
        what, unit = f"milestone {milestone.code}", bill.agreed_currency
        refused = _of_milestone(bill, line, one, milestone)
    else:
        entry = known.entries[one.entry_id or 0]
        left = plan.open.setdefault(entry.id, entry.open)
        what, unit = f"entry {entry.id}", "h" if entry.kind == "time" else bill.agreed_currency
        refused = _of_entry(plan, bill, line, one, entry, going)
    left += sum((row.quantity for row in going if (row.entry_id, row.milestone_id) == one[:2]), ZERO)
    if refused is None and one.part.quantity > left + again:
        return Problem(
            bill.id, TWICE,
            f"Line {line.position} bills {what} with {figures.exact(one.part.quantity)} {unit}, of which {figures.exact(left)} "
            f"{unit} are open; credit one of the bills.",
            line,
        )  # fmt: skip
    return refused


def _of_milestone(bill: sql.Bill, line: sql.Line, one: Wanted, milestone: sql.Milestone) -> Problem | None:
    if (
        milestone.entity_id != bill.entity_id
        or milestone.currency != bill.agreed_currency
        or one.part.quantity <= 0
        or line.net < 0
    ):
        said = f"Line {line.position} bills milestone {milestone.code} otherwise than it was agreed."
        return Problem(bill.id, UNKNOWN, said, line)
    return None


def _of_entry(  # noqa: PLR0917 -- what a line is judged by
    plan: Plan, bill: sql.Bill, line: sql.Line, one: Wanted, entry: sql.Entry, going: Sequence[Held]
) -> Problem | None:
    where = f"Line {line.position} bills entry {entry.id}"
    if entry.entity_id != bill.entity_id:
        return Problem(bill.id, UNKNOWN, f"Line {line.position} bills an entry of another entity.", line)
    if one.part.quantity <= 0 or line.net < 0:
        amount = f"{figures.exact(one.part.quantity)} and {figures.exact(line.net)}"
        return Problem(bill.id, UNKNOWN, f"{where} with {amount}; a credit note gives back.", line)
    if not entry.may_be_billed:
        return Problem(bill.id, UNKNOWN, f"{where}, which is cost only, not billable or a reversal.", line)
    if entry.state not in IN_BOOKS or entry.is_being_reversed:
        word = "being reversed" if entry.is_being_reversed else entry.state.replace("_", " ")
        return Problem(bill.id, UNKNOWN, f"{where}, which is {word} and not proved to stand in the books.", line)
    if plan.stands_otherwise(entry, going):
        return Problem(bill.id, TWICE, f"{where}, while another version of its document stands billed.", line)
    return None
