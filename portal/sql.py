"""The hand-written SQL of what is true, behind functions named in the business's words.

The rule here: set-based from end to end. New rows go in by COPY with ids drawn beforehand, moves are one statement each, and
every moment is the database's. Nothing outside `portal` writes these tables.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, cast

import psycopg
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


def rows_bound(statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The rows of one query whose parameters go beside it and not into its text: `%b::text[]` is a list in binary form.

    For long lists of texts, which cost over ten times as much to spell as literals. Every parameter needs a type.
    """
    with _bound(statement, parameters) as cursor:
        return cursor.fetchall()


def execute_bound(statement: str, parameters: Sequence[Any]) -> int:
    """The same for one statement; how many rows it touched."""
    with _bound(statement, parameters) as cursor:
        return cursor.rowcount


@contextmanager
def _bound(statement: str, parameters: Sequence[Any]) -> Iterator[psycopg.Cursor[tuple[Any, ...]]]:
    connection.ensure_connection()
    raw: psycopg.Connection[tuple[Any, ...]] = connection.connection
    with connection.wrap_database_errors, psycopg.Cursor(raw) as cursor:
        cursor.execute(statement, parameters)
        yield cursor


@contextmanager
def patience(seconds: int) -> Iterator[None]:
    """Let statements inside run longer than this process's own limit; the limit stands again afterwards."""
    [(before,)] = rows("SHOW statement_timeout")
    execute("SELECT set_config('statement_timeout', %s, false)", [f"{seconds}s"])
    try:
        yield
    finally:
        execute("SELECT set_config('statement_timeout', %s, false)", [before])


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
    arrays = ", ".join(f"%s::{kind}[]" for _, kind in columns)
    keys = as_array(ids)
    return execute(
        f'UPDATE "{table}" SET {sets} FROM unnest(%s::bigint[], {arrays}) AS new("id", {names})'  # noqa: S608
        f' WHERE "{table}"."id" = new."id" AND "{table}"."id" = ANY(%s::bigint[])',
        [keys, *(as_array(column) for column in values), keys],
    )


_QUOTED = re.compile(r'[{}",\\\s]|^$|^null$', re.IGNORECASE)


def as_array(values: Iterable[Any]) -> str:
    """The literal of an array, to be cast to its type; many times faster than a list of thousands as a parameter."""
    return "{" + ",".join([_element(value) for value in values]) + "}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    text = str(value)
    if isinstance(value, str) and _QUOTED.search(text):
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return text


_ENCODER = json.JSONEncoder(default=str, ensure_ascii=False)  # made once: a COPY asks for thousands of texts


def as_json(value: Any) -> str:
    """JSON text for a COPY or a json parameter; decimals and dates as strings."""
    return _ENCODER.encode(value)
