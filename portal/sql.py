"""The hand-written SQL of what is true, behind functions named in the business's words.

The rule here: set-based from end to end. New rows go in by COPY with ids drawn beforehand, moves are one statement each, and
every moment is the database's. Nothing outside `portal` writes these tables.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, cast

from django.db import connection


def rows(statement: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[tuple[Any, ...]]:
    """The rows of one query."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cast("list[tuple[Any, ...]]", cursor.fetchall())


def execute(statement: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> int:
    """Run one statement; how many rows it touched."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return int(cursor.rowcount)


def now() -> datetime:
    """The database's clock: the moment at which the open transaction began."""
    return cast("datetime", rows("SELECT now()")[0][0])


def draw_ids(table: str, count: int) -> list[int]:
    """Ids for rows about to be copied in, drawn from the table's own sequence."""
    if not count:
        return []
    return [
        row[0]
        for row in rows(
            "SELECT nextval(s.name) FROM (SELECT pg_get_serial_sequence(%s, 'id')::regclass AS name OFFSET 0) s,"
            " generate_series(1, %s)",
            [table, count],
        )
    ]


def copy_in(table: str, columns: Sequence[str], values: Iterable[Sequence[Any]]) -> None:
    """Write rows by COPY. Lists and dictionaries must be passed through `as_json` first."""
    names = ", ".join(f'"{column}"' for column in columns)
    statement = f'COPY "{table}" ({names}) FROM STDIN'
    with connection.cursor() as cursor, connection.wrap_database_errors, cursor.copy(statement) as copy:
        for value in values:
            copy.write_row(value)


def overwrite(
    table: str, columns: Sequence[tuple[str, str]], ids: Sequence[int], values: Sequence[Sequence[Any]]
) -> int:
    """Write some columns (name and type) of the rows with these ids in one statement; how many rows it touched.

    `values` holds one list per column, each as long as `ids`. JSON must be passed through `as_json` first.
    """
    names = ", ".join(f'"{name}"' for name, _ in columns)
    sets = ", ".join(f'"{name}" = new."{name}"' for name, _ in columns)
    arrays = ", ".join(f"%s::text[]::{kind}[]" for _, kind in columns)
    return execute(
        f'UPDATE "{table}" SET {sets} FROM unnest(%s::bigint[], {arrays}) AS new("id", {names})'  # noqa: S608
        f' WHERE "{table}"."id" = new."id"',
        [list(ids), *([None if value is None else str(value) for value in column] for column in values)],
    )


_ENCODER = json.JSONEncoder(default=str, ensure_ascii=False)  # made once: a COPY asks for thousands of texts


def as_json(value: Any) -> str:
    """JSON text for a COPY or a json parameter; decimals and dates as strings."""
    return _ENCODER.encode(value)
