"""Records in our words, as a file would have them: codes instead of ids, days and decimals as text. The reverse of reading."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from django.db import models

from portal.importing.domains import KNOWN, TABLES
from portal.importing.tables import Column, Key, Table

Cells = dict[str, Any]


class _Names(Mapping[str, Any]):
    """Column names in place of values, but for what is known: so a reference tells which columns its key comes from."""

    def __init__(self, known: Mapping[str, Any]) -> None:
        self.known = known

    def __getitem__(self, name: str) -> Any:
        return self.known.get(name, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.known)

    def __len__(self) -> int:
        return len(self.known)


def cells_of(table: Table, rows: Sequence[models.Model]) -> list[Cells]:
    """Each row as the cells of a line of its table; a fixed number of statements for all of them."""
    pointers = [column for column in table.columns if column.refers is not None and column.sets]
    plain = [column for column in table.columns if column.refers is None and column.sets]
    codes = _codes(_pointed_at(rows, pointers))
    found = []
    for row in rows:
        cells: Cells = {column.name: plainly(getattr(row, column.sets)) for column in plain}
        for column in pointers:
            name, parts = _reference(column, row)
            key = codes.get((name, getattr(row, column.sets)))
            if key is None:  # the rest of its key may be told by another column
                cells[column.name] = ""
                cells = {**dict.fromkeys(parts, ""), **cells}
            else:
                cells.update({part: plainly(value) for part, value in zip(parts, key, strict=True)})
        found.append({column.name: cells[column.name] for column in table.columns if column.name in cells})
    return found


def plainly(value: Any) -> Any:
    """A value as text that reads back to it; tables and lists stay what they are."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, date):
        return value.isoformat()
    return value if isinstance(value, (dict, list)) else str(value)


def _reference(column: Column, row: models.Model) -> tuple[str, tuple[str, ...]]:
    """The table that a column of a record points at, and the columns that make up the key there."""
    return reference_of(column, {"kind": getattr(row, "kind")} if hasattr(row, "kind") else {})  # noqa: B009  some have one


def reference_of(column: Column, said: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """The same where only the kind is said that may decide it."""
    if column.refers is None:
        raise ValueError(f"{column.name} points at nothing.")
    name, parts = column.refers(_Names({"kind": said["kind"]} if "kind" in said else {}))
    return name, tuple(str(part) for part in parts)


def _pointed_at(rows: Sequence[models.Model], pointers: Sequence[Column]) -> dict[str, set[int]]:
    found: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        for column in pointers:
            pk = getattr(row, column.sets)
            if pk is not None:
                found[_reference(column, row)[0]].add(pk)
    return found


def _codes(wanted: Mapping[str, set[int]]) -> dict[tuple[str, int | None], Key]:
    tables = {table.name: table for table in (*TABLES, *KNOWN)}
    found: dict[tuple[str, int | None], Key] = {}
    for name, ids in wanted.items():
        rows = tables[name].model._base_manager.filter(pk__in=ids).values_list("pk", *tables[name].lookup)
        found.update({(name, pk): tuple(key) for pk, *key in rows})
    return found
