"""What would have been posted against what was really booked, line by line; pure, and the same whatever the order of the lines.

The rule here: a counterpart is looked for from the surest likeness to the weakest, and each line is used once. What agrees to the
cent on person, project and day is confident; what agrees in part is to be looked at by a person; what has no counterpart is
missing or a surplus, and never dropped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from portal import figures
from reconciliation.models import RehearsedLine

Outcome = RehearsedLine.Outcome
Confidence = RehearsedLine.Confidence
NO_ROUTE = "no-route"  # stands where a rule would, of work that no route leads anywhere
FARTHEST = 31  # days between two copies of the same work


@dataclass(slots=True)
class Line:
    """One side of the comparison: work that would be posted, or a booking. `rule` is what would stop the work."""

    kind: str
    work_date: date
    person: Hashable
    project: Hashable
    hours: Decimal | None
    amount: Decimal | None
    rate: Decimal | None
    currency: str
    person_name: str
    project_name: str
    target_id: int | None = None
    document_id: int | None = None
    number: str = ""
    rule: str = ""
    sentence: str = ""

    @property
    def quantity(self) -> Decimal | None:
        """What its size is told in: hours of work, or money spent."""
        return self.hours if self.kind == "time" else self.amount


@dataclass(slots=True)
class Pair:
    """What the comparison says of one piece of work, one booking, or both."""

    outcome: str
    confidence: str
    left: Line | None
    right: Line | None
    sentence: str = ""


@dataclass(slots=True)
class Sides:
    """The lines of both sides that have no counterpart yet, each in the order of its day."""

    left: list[Line]
    right: list[Line]


def compare(left: Iterable[Line], right: Iterable[Line], tolerance: Decimal = Decimal(0)) -> list[Pair]:
    """A verdict on every line of both sides. `tolerance` are the hours that the target cannot tell apart."""
    sides = Sides(sorted(left, key=_order), sorted(right, key=_order))
    pairs = [_equal(*found, tolerance) for found in _each(sides, _exactly, _same_money)]
    pairs += [_equal(*found, tolerance) for found in _each(sides, _exactly)]
    pairs += _sums(sides)
    pairs += [_equal(*found, tolerance) for found in _each(sides, _same_day)]
    pairs += [
        Pair(Outcome.PROJECT, Confidence.REVIEW, one, other, f"It was booked on {other.project_name}.")
        for one, other in _each(sides, _other_project)
    ]
    pairs += [
        Pair(Outcome.PERIOD, Confidence.REVIEW, one, other, f"It was booked on {figures.day(other.work_date)}.")
        for one, other in _each(sides, _other_day, _is_near)
    ]
    pairs += [Pair(Outcome.MISSING, Confidence.NONE, one, None, "No booking is like it.") for one in sides.left]
    pairs += [
        Pair(Outcome.SURPLUS, Confidence.NONE, None, one, f"Booking {one.number} has no document behind it.")
        for one in sides.right
    ]
    return [_stopped(pair) for pair in pairs]


def _order(line: Line) -> tuple[date, str, str, int, str]:
    return (line.work_date, str(line.person), str(line.project), line.document_id or 0, line.number)


def _exactly(line: Line) -> Hashable:
    return (line.kind, line.person, line.project, line.work_date, line.quantity)


def _same_day(line: Line) -> Hashable:
    return (line.kind, line.person, line.project, line.work_date)


def _other_project(line: Line) -> Hashable:
    return (line.kind, line.person, line.work_date, line.quantity)


def _other_day(line: Line) -> Hashable:
    return (line.kind, line.person, line.project, line.quantity)


def _is_near(one: Line, other: Line) -> bool:
    return abs((one.work_date - other.work_date).days) <= FARTHEST


def _same_money(one: Line, other: Line) -> bool:
    return not _money_differs(one, other)


def _money_differs(one: Line, other: Line) -> bool:
    """Whether both sides state money, by amount or else by rate, and it is not the same."""
    if one.currency and other.currency and one.currency != other.currency and (one.amount or other.amount):
        return True
    if one.amount is not None and other.amount is not None:
        return one.amount != other.amount
    return one.rate is not None and other.rate is not None and one.rate != other.rate


def _each(
    sides: Sides, key: Callable[[Line], Hashable], fits: Callable[[Line, Line], bool] | None = None
) -> Iterator[tuple[Line, Line]]:
    """Pairs of lines with the same key that fit, taken off both sides."""
    there: dict[Hashable, list[Line]] = defaultdict(list)
    for line in sides.right:
        there[key(line)].append(line)
    used: set[int] = set()
    found: list[tuple[Line, Line]] = []
    rest: list[Line] = []
    for line in sides.left:
        candidates = there.get(key(line), [])
        other = next((one for one in candidates if fits is None or fits(line, one)), None)
        if other is None:
            rest.append(line)
        else:
            used.add(id(other))
            candidates.remove(other)
            found.append((line, other))
    sides.left = rest
    sides.right = [line for line in sides.right if id(line) not in used]
    yield from found


def _equal(one: Line, other: Line, tolerance: Decimal) -> Pair:
    """Two lines of the same person, project and day: whether hours and money agree too."""
    if one.kind == "time" and abs((one.hours or Decimal(0)) - (other.hours or Decimal(0))) > tolerance:
        said = f"{_hours(one)} would be posted, {_hours(other)} were booked."
        return Pair(Outcome.HOURS, Confidence.REVIEW, one, other, said)
    if _money_differs(one, other):
        said = f"{_money(one, other)} would be posted, {_money(other, one)} was booked."
        return Pair(Outcome.AMOUNT, Confidence.REVIEW, one, other, said)
    return Pair(Outcome.AGREES, Confidence.CONFIDENT, one, other)


def _hours(line: Line) -> str:
    return f"{figures.hours(line.hours)} h"


def _money(line: Line, other: Line) -> str:
    if line.amount is not None and other.amount is not None:
        return f"{figures.amount(line.amount, line.currency)} {line.currency}".strip()
    return (
        f"{figures.amount(line.rate, line.currency)} {line.currency} per hour" if line.rate is not None else "no rate"
    )


def _sums(sides: Sides) -> list[Pair]:
    """Work of one person on one project and month that was booked in fewer lines with the same sums: each piece agrees."""
    left, right = _by_month(sides.left), _by_month(sides.right)
    pairs: list[Pair] = []
    done: set[int] = set()
    for key, works in left.items():
        bookings = right.get(key, [])
        if not bookings or len(bookings) >= len(works) or _total(works) != _total(bookings):
            continue
        said = f"Booked as {len(bookings)} {'line' if len(bookings) == 1 else 'lines'} for {len(works)} entries of the month."
        pairs += [Pair(Outcome.AGREES, Confidence.REVIEW, one, bookings[0], said) for one in works]
        done.update(id(line) for line in (*works, *bookings))
    sides.left = [line for line in sides.left if id(line) not in done]
    sides.right = [line for line in sides.right if id(line) not in done]
    return pairs


def _by_month(lines: Sequence[Line]) -> dict[Hashable, list[Line]]:
    found: dict[Hashable, list[Line]] = defaultdict(list)
    for line in lines:
        found[line.kind, line.person, line.project, line.work_date.year, line.work_date.month].append(line)
    return found


def _total(lines: Sequence[Line]) -> tuple[Decimal, Decimal | None, frozenset[str]]:
    """Hours, money where every line states it, and the currencies."""
    money = [line.amount for line in lines]
    stated = None if any(one is None for one in money) else sum((one for one in money if one is not None), Decimal(0))
    return (
        sum((line.hours or Decimal(0) for line in lines), Decimal(0)),
        stated,
        frozenset(line.currency for line in lines),
    )


def _stopped(pair: Pair) -> Pair:
    """Work that a rule would stop is told so, with what became of it in the books."""
    if pair.left is None or not pair.left.rule:
        return pair
    if pair.right is not None:
        booked = f"It was booked as {pair.right.number}."
    elif pair.left.rule == NO_ROUTE:  # so nobody knows which target's words to look for
        booked = "Whether it was booked is told once a route leads it somewhere."
    else:
        booked = "It was not booked either."
    return Pair(Outcome.HELD, pair.confidence, pair.left, pair.right, f"{pair.left.sentence} {booked}")
