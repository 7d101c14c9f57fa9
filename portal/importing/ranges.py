"""Dated ranges that must not overlap, found before the database refuses them, so that both rows can be named."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from portal.importing.tables import Ranges, Row, Table, span

if TYPE_CHECKING:
    from portal.importing.load import Load


class _Span(NamedTuple):
    start: date | None
    end: date | None
    row: Row | None  # None: stands in the database and is not in the load


def check(load: Load, table: Table, rows: Sequence[Row]) -> None:
    """Note every range that ends before it starts, and every pair that overlaps in its scope.

    A row takes part where the columns that the rule asks for could be read, whatever else is wrong with it.
    """
    helping = {column.name for column in table.columns if not column.sets}
    for rule in table.ranges:
        asked = {rule.start, rule.end, rule.unless, *rule.scope}
        needed = {"", *helping, *(column.name for column in table.columns if column.sets in asked)}
        good = [row for row in rows if not row.wrong & needed]
        for row in good:
            start, end = (row.will_be(name, table.model) for name in (rule.start, rule.end))
            if start and end and start > end:
                load.problem(row, rule.end, end, f"is before {rule.start} {start}.")
        if rule.scope:
            _check_overlaps(load, table, rule, [row for row in good if not row.wrong & needed])


def _check_overlaps(load: Load, table: Table, rule: Ranges, rows: Sequence[Row]) -> None:
    scopes: dict[tuple[Any, ...], list[_Span]] = defaultdict(list)
    for row in rows:
        if rule.unless and row.will_be(rule.unless, table.model):
            continue
        scope = tuple(row.will_be(name, table.model) for name in rule.scope)
        scopes[scope].append(_Span(row.will_be(rule.start, table.model), row.will_be(rule.end, table.model), row))
    _add_standing(table, rule, {row.pk for row in load.rows[table.name]}, scopes)
    for spans in scopes.values():
        if len(spans) > 1:
            spans.sort(key=lambda span: (span.start or date.min, span.row is not None))
            _compare(load, rule, spans)


def _add_standing(table: Table, rule: Ranges, loaded: set[int], scopes: dict[tuple[Any, ...], list[_Span]]) -> None:
    standing = table.model._base_manager.values_list("pk", rule.start, rule.end, *rule.scope)
    if rule.unless:
        standing = standing.filter(**{rule.unless: False})
    for pk, start, end, *scope in standing:
        if pk not in loaded and tuple(scope) in scopes:
            scopes[tuple(scope)].append(_Span(start, end, None))


def _compare(load: Load, rule: Ranges, spans: Sequence[_Span]) -> None:
    before = spans[0]
    for this in spans[1:]:
        if before.end is None or (this.start or date.min) <= before.end:
            # Named at the later one where it is in the load. Two that both stand do not overlap; the database saw to it.
            if this.row is not None:
                _report(load, rule, this.row, this, before)
            elif before.row is not None:
                _report(load, rule, before.row, before, this)
            if before.end is None or (this.end is not None and this.end <= before.end):
                continue
        before = this


def _report(load: Load, rule: Ranges, row: Row, mine: _Span, other: _Span) -> None:
    where = f"that at {other.row.place.short()}" if other.row else "one that stands already"
    way_out = ""
    earlier, later = sorted((mine, other), key=lambda span: span.start or date.min)
    if later.start and later.start != earlier.start:
        way_out = f" End the earlier one with {rule.end} {later.start - timedelta(days=1)}."
    load.problem(
        row,
        rule.start,
        span(mine.start, mine.end),
        f"overlaps {where} ({span(other.start, other.end)}): {rule.sentence}.{way_out}",
    )
