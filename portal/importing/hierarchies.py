"""Hierarchies without cycles: nothing stands below itself, whichever rows of the load and of the database the way leads over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from portal.importing.tables import Row, Table

if TYPE_CHECKING:
    from portal.importing.load import Load


def check(load: Load, table: Table, rows: Sequence[Row]) -> None:
    """Note every row of the load from which a way leads back to it."""
    for attribute in table.hierarchies:
        above = dict(table.model._base_manager.exclude(**{attribute: None}).values_list("pk", attribute))
        column = next(column.name for column in table.columns if column.sets == attribute)
        told = [row for row in rows if row.means_something and column not in row.wrong]
        above |= {row.pk: row.sets[attribute] for row in told if attribute in row.sets}
        names = {pk: str(key[-1]) for key, pk in load.ids_of(table.name).items()}
        for row in told:
            if way := _way_back(row.pk, above):
                load.problem(
                    row,
                    column,
                    row.values.get(column),
                    f"closes a circle: {' → '.join(names[pk] for pk in way)}.",
                )


def _way_back(start: int, above: dict[int, int | None]) -> list[int]:
    way, seen = [start], {start}
    while (following := above.get(way[-1])) is not None:
        way.append(following)
        if following == start:
            return way
        if following in seen:
            return []
        seen.add(following)
    return []
