"""Leave to call: one row for each call that a connection allows at a time."""

from __future__ import annotations

from collections.abc import Sequence

from portal import sql


def lay_out_slots(connection_id: int, count: int) -> None:
    """See to it that the connection has slots 0 to count - 1."""
    sql.execute(
        "INSERT INTO integrations_slot (connection_id, number, holder) SELECT %s, n, '' FROM generate_series(0, %s - 1) n"
        " WHERE NOT EXISTS (SELECT 1 FROM integrations_slot s WHERE s.connection_id = %s AND s.number = n)"
        " ON CONFLICT DO NOTHING",
        [connection_id, count, connection_id],
    )


def take_slots(connection_id: int, allowed: int, wanted: int, holder: str, seconds: float) -> list[int]:
    """Lease up to `wanted` free slots among the first `allowed`; their numbers."""
    return sorted(
        row[0]
        for row in sql.rows(
            """
            UPDATE integrations_slot SET holder = %s, lease_until = clock_timestamp() + make_interval(secs => %s)
             WHERE id IN (SELECT id FROM integrations_slot
                           WHERE connection_id = %s AND number < %s
                             AND (lease_until IS NULL OR lease_until < clock_timestamp())
                           ORDER BY number LIMIT %s FOR UPDATE SKIP LOCKED)
            RETURNING number""",
            [holder, seconds, connection_id, allowed, max(0, wanted)],
        )
    )


def renew_slots(connection_id: int, numbers: Sequence[int], holder: str, seconds: float) -> list[int]:
    """Lease slots for longer; the numbers that are still the holder's."""
    return sorted(
        row[0]
        for row in sql.rows(
            "UPDATE integrations_slot SET lease_until = clock_timestamp() + make_interval(secs => %s)"
            " WHERE connection_id = %s AND number = ANY(%s) AND holder = %s RETURNING number",
            [seconds, connection_id, list(numbers), holder],
        )
    )


def free_slots(connection_id: int, numbers: Sequence[int], holder: str) -> None:
    """Give slots back that are still the holder's."""
    if numbers:
        sql.execute(
            "UPDATE integrations_slot SET holder = '', lease_until = NULL"
            " WHERE connection_id = %s AND number = ANY(%s) AND holder = %s",
            [connection_id, list(numbers), holder],
        )
