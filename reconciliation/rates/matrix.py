"""A rate card as a matrix: who its rates are for, against the ranges of days in which none changes; and two cards side by side.

The rule here: a range without a rate is shown as one. What a wider card or a less exact rate covers is said by the finder of
gaps, which asks the product's own pricing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise

from portal import figures
from portal.models import Rate, RateCard
from reconciliation.facts.records import FOREVER

ONE_DAY = timedelta(days=1)
Key = tuple[int, int, int, str]  # person, role, task (zero for any), currency


@dataclass(frozen=True, slots=True)
class Span:
    """A closed range of days; the last day there is stands for no end."""

    start: date
    end: date

    @property
    def label(self) -> str:
        """From one day to another, in words."""
        if self.end == FOREVER:
            return f"from {figures.day(self.start)}"
        one = figures.day(self.start)
        return one if self.start == self.end else f"{one} to {figures.day(self.end)}"

    def overlap(self, other: Span) -> Span | None:
        """The days of both."""
        start, end = max(self.start, other.start), min(self.end, other.end)
        return Span(start, end) if start <= end else None


@dataclass(frozen=True, slots=True)
class Cell:
    """What holds in some neighbouring ranges: one rate, or none."""

    rate: Rate | None
    width: int
    span: Span
    is_gap: bool  # no rate here, though the row has one elsewhere and is not an exception to other rows


@dataclass(frozen=True, slots=True)
class Row:
    """What rates of one kind hang on, in one currency, and its cells from the first range to the last."""

    key: Key
    kind: str  # everybody, role, person, task
    name: str
    note: str
    currency: str
    cells: tuple[Cell, ...]
    other_currencies: tuple[str, ...]  # in which the same is agreed on some of the same days

    @property
    def has_gap(self) -> bool:
        """Whether some range lacks a rate."""
        return any(cell.is_gap for cell in self.cells)


@dataclass(frozen=True, slots=True)
class Matrix:
    """A whole card."""

    card: RateCard
    spans: tuple[Span, ...]
    rows: tuple[Row, ...]


def span_of(record: Rate | RateCard) -> Span:
    """The days on which a rate or a card says that it holds."""
    return Span(record.valid_from, record.valid_to or FOREVER)


def key_of(rate: Rate) -> Key:
    """What a rate hangs on."""
    return (rate.resource_id or 0, rate.role_id or 0, rate.task_id or 0, rate.currency)


def spans_of(card: RateCard, rates: Iterable[Rate]) -> list[Span]:
    """The card's days, cut wherever a rate begins or ends."""
    whole = span_of(card)
    cuts = {whole.start}
    for rate in rates:
        held = span_of(rate).overlap(whole)
        if held is not None:
            cuts.add(held.start)
            if held.end < whole.end:
                cuts.add(held.end + ONE_DAY)
    starts = sorted(cuts)
    return [Span(start, following - ONE_DAY) for start, following in pairwise(starts)] + [Span(starts[-1], whole.end)]


def of(card: RateCard, rates: Sequence[Rate]) -> Matrix:
    """The matrix of a card; `rates` are those to be shown, with person, role and task at hand."""
    spans = spans_of(card, rates)
    by_key: dict[Key, list[Rate]] = defaultdict(list)
    for rate in rates:
        if span_of(rate).overlap(span_of(card)) is not None:
            by_key[key_of(rate)].append(rate)
    rows = [_row(key, held, spans, by_key) for key, held in by_key.items()]
    rows.sort(key=lambda row: (_ORDER[row.kind], row.name, row.note, row.currency))
    return Matrix(card, tuple(spans), tuple(rows))


_ORDER = {"role": 0, "task": 1, "person": 2, "everybody": 3}


def _row(key: Key, rates: list[Rate], spans: Sequence[Span], every: dict[Key, list[Rate]]) -> Row:
    kind, name, note = said(rates[0])
    on_span = [next((rate for rate in rates if span_of(rate).overlap(span) is not None), None) for span in spans]
    cells: list[Cell] = []
    for span, rate in zip(spans, on_span, strict=True):
        last = cells[-1] if cells else None
        if last is not None and last.rate is rate:
            cells[-1] = Cell(rate, last.width + 1, Span(last.span.start, span.end), last.is_gap)
        else:
            cells.append(Cell(rate, 1, span, is_gap=rate is None and kind in ("role", "everybody")))
    return Row(key, kind, name, note, key[3], tuple(cells), _other_currencies(key, rates, every))


def _other_currencies(key: Key, rates: Iterable[Rate], every: dict[Key, list[Rate]]) -> tuple[str, ...]:
    return tuple(
        sorted(
            other[3]
            for other, theirs in every.items()
            if other[:3] == key[:3] and other[3] != key[3]
            if any(span_of(mine).overlap(span_of(one)) for mine in rates for one in theirs)
        )
    )


def said(rate: Rate) -> tuple[str, str, str]:
    """What a rate hangs on: the kind of row, its name, and what narrows it."""
    task = f"task {rate.task.code} of {rate.task.project.code}" if rate.task else ""
    if rate.resource is not None:
        narrowed = [f"as {rate.role.name.lower()}" if rate.role else "", task]
        return "person", rate.resource.name, ", ".join(word for word in narrowed if word)
    if rate.task is not None:
        return "task", rate.role.name if rate.role else rate.task.name, task
    return ("role", rate.role.name, "") if rate.role is not None else ("everybody", "Everybody", "")


@dataclass(frozen=True, slots=True)
class Compared:
    """What two cards say of the same: the rates of each in order, and how the later begins beside the end of the earlier."""

    name: str
    note: str
    kind: str
    currency: str
    before: tuple[Rate, ...]
    after: tuple[Rate, ...]

    @property
    def standing(self) -> str:
        """Added, ended, the same, or changed."""
        if not self.before:
            return "added"
        if not self.after:
            return "ended"
        was, now = self.before[-1], self.after[0]
        return "same" if (was.amount, was.unit) == (now.amount, now.unit) else "changed"

    @property
    def difference(self) -> Decimal | None:
        """By how much the later begins above the end of the earlier; None where units differ or one is missing."""
        if not self.before or not self.after or self.before[-1].unit != self.after[0].unit:
            return None
        return self.after[0].amount - self.before[-1].amount

    @property
    def percent(self) -> Decimal | None:
        """The same in per cent of the earlier."""
        if self.difference is None or not self.before[-1].amount:
            return None
        return self.difference * 100 / self.before[-1].amount


def _in_order(rates: Iterable[Rate]) -> dict[Key, list[Rate]]:
    found: dict[Key, list[Rate]] = defaultdict(list)
    for rate in sorted(rates, key=lambda rate: rate.valid_from):
        found[key_of(rate)].append(rate)
    return found


def compare(before: Sequence[Rate], after: Sequence[Rate]) -> list[Compared]:
    """Two cards, row by row, what changed before what did not."""
    was, now = _in_order(before), _in_order(after)
    found = []
    for key in dict.fromkeys([*was, *now]):
        earlier, later = tuple(was.get(key, ())), tuple(now.get(key, ()))
        kind, name, note = said((earlier or later)[0])
        found.append(Compared(name, note, kind, key[3], earlier, later))
    found.sort(key=lambda one: (one.standing == "same", _ORDER[one.kind], one.name, one.note, one.currency))
    return found
