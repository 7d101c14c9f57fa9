"""The hand-written SQL of statements: lines staged by COPY, merged by number, and marked when they are gone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from integrations.sql.clock import clock
from portal import sql

__all__ = ["clock", "keep_lines", "mark_gone"]

_COLUMNS = (
    "kind", "number", "key", "work_date", "resource_key", "project_key", "hours", "rate", "amount", "currency", "memo",
)  # fmt: skip


def keep_lines(connection_id: int, entity_id: int, read_at: datetime, rows: Sequence[Sequence[Any]]) -> None:
    """Merge lines into the statement by connection, kind and number; joins the caller's transaction."""
    if not rows:
        return
    names = ", ".join(_COLUMNS)
    sql.execute(
        "CREATE TEMPORARY TABLE IF NOT EXISTS staged_line (kind text, number text, key text, work_date date,"
        " resource_key text, project_key text, hours numeric, rate numeric, amount numeric, currency text, memo text)"
        " ON COMMIT DELETE ROWS"
    )
    sql.execute("TRUNCATE staged_line")
    sql.copy_in("staged_line", _COLUMNS, rows)
    said = (*_COLUMNS[2:], "entity_id")
    updates = ", ".join(f"{name} = EXCLUDED.{name}" for name in (*said, "read_at"))
    before, after = (", ".join(f"{table}.{name}" for name in said) for table in ("was", "EXCLUDED"))
    sql.execute(
        f"INSERT INTO portal_statementline AS was (connection_id, entity_id, read_at, gone_at, {names})"  # noqa: S608
        f" SELECT %s, %s, %s, NULL, {names} FROM staged_line"
        f" ON CONFLICT (connection_id, kind, number) DO UPDATE SET {updates}, gone_at = NULL,"
        f" changed_at = CASE WHEN was.gone_at IS NULL AND ({before}) IS NOT DISTINCT FROM ({after})"
        " THEN was.changed_at ELSE now() END",
        [connection_id, entity_id, read_at],
    )


def mark_gone(connection_id: int, entity_id: int, start: date, end: date, read_at: datetime) -> int:
    """Mark lines dated in the closed range that the reading of `read_at` did not hold; how many."""
    return sql.execute(
        "UPDATE portal_statementline SET gone_at = clock_timestamp(), changed_at = now()"
        " WHERE connection_id = %s AND entity_id = %s AND work_date BETWEEN %s AND %s AND read_at < %s AND gone_at IS NULL",
        [connection_id, entity_id, start, end, read_at],
    )
