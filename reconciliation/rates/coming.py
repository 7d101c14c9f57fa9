"""What coming work loses by a change of rates: hours of the people who work now that would have no rate any more.

The rule here: it is asked by the finder of gaps, before the lines are written and after, and nothing of it stays.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from reconciliation import changes
from reconciliation.changes import measuring
from reconciliation.changes.writing import write
from reconciliation.models import ChangeSet
from reconciliation.rates import gaps
from reconciliation.rates.gaps import Gap

KINDS = frozenset({"rate", "rate_card"})  # by whose lines coming work may lose its rate
State = ChangeSet.State
_Who = tuple[int, int, int, str, str]  # entity, project, person, role, task


@dataclass(frozen=True, slots=True)
class Lost:
    """Work of one person on one project that comes and would have no rate; the amount is an estimate, where one is known."""

    gap: Gap
    hours: Decimal
    amount: Decimal | None


def may_lose(change_set: ChangeSet) -> bool:
    """Whether it is still to be applied and is about rates."""
    return change_set.state in (State.DRAFT, State.SUBMITTED, State.SCHEDULED) and any(
        line.model in KINDS for line in change_set.lines.all()
    )


def lost(change_set: ChangeSet, entity_ids: Collection[int], today: date) -> list[Lost]:
    """What the people of some entities would work in the days ahead without a rate, because of this change; the dearest first.

    Raises Refused where its lines cannot be written.
    """
    before = _known(gaps.expected(entity_ids, today))
    with measuring.rolled_back():
        write(changes.frozen_lines(change_set), reason="dry-run", actor=None, starts_on=change_set.effective_on)
        after = gaps.expected(entity_ids, today)
    found: dict[_Who, Lost] = {}
    for gap in after:
        hours, amount = before.pop(_who(gap), (Decimal(0), Decimal(0)))
        there = found.get(_who(gap))
        more = gap.hours - hours + (there.hours if there else 0)
        worth = None if gap.amount is None else gap.amount - amount + ((there.amount or Decimal(0)) if there else 0)
        found[_who(gap)] = Lost(there.gap if there else gap, more, worth)
    some = [one for one in found.values() if one.hours > 0]
    return sorted(some, key=lambda one: (-(one.amount or Decimal(0)), one.gap.project, one.gap.person))


def _known(found: Sequence[Gap]) -> dict[_Who, tuple[Decimal, Decimal]]:
    """Hours and amounts that lack a rate already, by who works on what."""
    sums: dict[_Who, tuple[Decimal, Decimal]] = {}
    for gap in found:
        hours, amount = sums.get(_who(gap), (Decimal(0), Decimal(0)))
        sums[_who(gap)] = (hours + gap.hours, amount + (gap.amount or Decimal(0)))
    return sums


def _who(gap: Gap) -> _Who:
    return (gap.entity_id, gap.project_id, gap.person_id, gap.role, gap.task)
