"""Numbers that prove entries, and what was read back."""

from __future__ import annotations

from collections.abc import Sequence

from integrations.protocol import Beside
from integrations.sql.clock import clock
from portal import sql


def taken_numbers(connection_id: int, numbers: Sequence[str]) -> dict[str, int]:
    """Receipt numbers that already prove an entry, and which."""
    return dict(
        sql.rows_bound(
            "SELECT number, entry_id FROM portal_receipt WHERE connection_id = %b::bigint AND number = ANY(%b::text[])",
            [connection_id, list(numbers)],
        )
    )


def numbers_alike(entry_ids: Sequence[int]) -> list[str]:
    """Receipt numbers of everything else that went for the same people's work on the same days to the same targets."""
    found = sql.rows(
        "SELECT DISTINCT r.number FROM portal_ledgerentry e JOIN portal_ledgerentry o"
        " ON o.target_id = e.target_id AND o.resource_id = e.resource_id AND o.work_date = e.work_date AND o.id <> e.id"
        " JOIN portal_receipt r ON r.entry_id = o.id AND r.connection_id = o.target_id WHERE e.id = ANY(%s)",
        [list(entry_ids)],
    )
    return [row[0] for row in found]


def beside(entry_ids: Sequence[int]) -> dict[int, Beside]:
    """Of each entry what else went for the same person's work on the same day to the same target."""
    return {
        row[0]: Beside(frozenset(row[1]), row[2])
        for row in sql.rows(
            """
            SELECT e.id, coalesce(array_agg(r.number) FILTER (WHERE r.number IS NOT NULL), '{}'),
                   bool_or(r.number IS NULL AND s.state IN ('sending', 'in_doubt'))
              FROM portal_ledgerentry e
              JOIN portal_ledgerentry o ON o.target_id = e.target_id AND o.resource_id = e.resource_id
               AND o.work_date = e.work_date AND o.id <> e.id
              JOIN portal_ledgerstate s ON s.entry_id = o.id
              LEFT JOIN portal_receipt r ON r.entry_id = o.id AND r.connection_id = o.target_id
             WHERE e.id = ANY(%s) GROUP BY e.id""",
            [list(entry_ids)],
        )
    }


def write_read_backs(rows: Sequence[tuple[int, bool, str, str]]) -> None:
    """Keep what the target said: (entry id, equal, found as JSON, differences as JSON)."""
    moment = clock()
    sql.copy_in(
        "portal_readback",
        ("entry_id", "at", "is_equal", "found", "differences"),
        ([entry_id, moment, equal, found, differing] for entry_id, equal, found, differing in rows),
    )
