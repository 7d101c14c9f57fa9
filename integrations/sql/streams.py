"""The hand-written SQL of reading: streams leased to one reader, moved on with what was filed, and their runs.

The rule here: what is written on behalf of a lease carries its fence, and every moment is the database's.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from portal.sql import execute, rows


class StreamClaim(NamedTuple):
    """Leave to read one stream, and where reading stands."""

    id: int
    connection_id: int
    name: str
    cursor: str
    fence: int
    every_seconds: int
    usual_volume: float
    seconds_since_success: float | None  # None: never read well
    due_at: datetime | None = None  # when it was due as it was leased


def claim_stream(stream_id: int, seconds: float) -> StreamClaim | None:
    """Lease a stream to one reader; None while another one holds it."""
    found = rows(
        """
        UPDATE integrations_stream SET lease_until = now() + make_interval(secs => %s), fence = fence + 1
         WHERE id = %s AND (lease_until IS NULL OR lease_until < now())
        RETURNING id, connection_id, name, cursor, fence, every_seconds, usual_volume,
                  extract(epoch FROM now() - succeeded_at)::float8, next_due_at""",
        [seconds, stream_id],
    )
    return StreamClaim(*found[0]) if found else None


def advance_stream(claim: StreamClaim, cursor: str | None, seconds: float) -> bool:
    """Move the cursor (None: leave it) and hold on to the lease; False when another reader has taken over."""
    return bool(
        execute(
            "UPDATE integrations_stream SET cursor = coalesce(%s, cursor), lease_until = now() + make_interval(secs => %s)"
            " WHERE id = %s AND fence = %s",
            [cursor, seconds, claim.id, claim.fence],
        )
    )


def leave_stream(
    claim: StreamClaim,
    *,
    due_in: float | None,
    cursor: str | None = None,
    held_reason: str | None = None,
    usual_volume: float | None = None,
    succeeded: bool = False,
) -> bool:
    """Give the lease back; what is None stays as it is, but `due_in` (seconds), where None means never by itself.

    What was asked for while a stream without a schedule was read comes after it. False when another reader has taken over.
    """
    return bool(
        execute(
            """
            UPDATE integrations_stream SET lease_until = NULL,
                   next_due_at = coalesce(now() + make_interval(secs => %s), nullif(next_due_at, %s)),
                   cursor = coalesce(%s, cursor), held_reason = left(coalesce(%s, held_reason), 300),
                   usual_volume = coalesce(%s, usual_volume),
                   succeeded_at = CASE WHEN %s THEN now() ELSE succeeded_at END
             WHERE id = %s AND fence = %s""",
            [due_in, claim.due_at, cursor, held_reason, usual_volume, succeeded, claim.id, claim.fence],
        )
    )


def leave_swept(claim: StreamClaim, *, is_swept: bool) -> None:
    """Give the lease back after a sweep, which changes nothing about when the stream is due."""
    execute(
        "UPDATE integrations_stream SET lease_until = NULL, swept_on = CASE WHEN %s THEN current_date ELSE swept_on END"
        " WHERE id = %s AND fence = %s",
        [is_swept, claim.id, claim.fence],
    )


def begin_run(claim: StreamClaim, trigger: str, user_id: int | None) -> int:
    """Write down that a stream is being read."""
    return int(
        rows(
            """
            INSERT INTO integrations_run (connection_id, stream, trigger, state, cursor_from, cursor_to, started_at,
                   heartbeat_at, pages, read, filed, repeated, gone, failure, requested_by_id)
            VALUES (%s, %s, %s, 'running', %s, '', now(), now(), 0, 0, 0, 0, 0, '', %s) RETURNING id""",
            [claim.connection_id, claim.name, trigger, claim.cursor, user_id],
        )[0][0]
    )


def read_at_once(connection_id: int, names: Sequence[str]) -> None:
    """Make streams of a connection due now; one that is being read just then keeps its schedule, or is read again."""
    if names:
        execute(
            "UPDATE integrations_stream SET next_due_at = now() WHERE connection_id = %s AND name = ANY(%s::text[])",
            [connection_id, list(names)],
        )


def note_page(run_id: int, *, read: int, filed: int, cursor: str | None) -> None:
    """Count a page, and show that the reader lives."""
    execute(
        "UPDATE integrations_run SET heartbeat_at = now(), pages = pages + 1, read = read + %s, filed = filed + %s,"
        " repeated = repeated + %s, cursor_to = coalesce(%s, cursor_to) WHERE id = %s",
        [read, filed, read - filed, cursor, run_id],
    )


def end_run(run_id: int, state: str, failure: str, *, gone: int = 0) -> None:
    """Say how a reading ended."""
    execute(
        "UPDATE integrations_run SET state = %s, failure = %s, gone = %s, finished_at = now(), heartbeat_at = now()"
        " WHERE id = %s",
        [state, failure, gone, run_id],
    )


def failures_in_a_row(connection_id: int, stream: str) -> int:
    """How often the stream has failed since it was last read to an end."""
    return int(
        rows(
            """
            SELECT count(*) FROM integrations_run WHERE connection_id = %(c)s AND stream = %(s)s AND state = 'failed'
               AND id > coalesce((SELECT max(id) FROM integrations_run WHERE connection_id = %(c)s AND stream = %(s)s
                                     AND state IN ('done', 'truncated', 'held')), 0)""",
            {"c": connection_id, "s": stream},
        )[0][0]
    )


def due_streams() -> list[tuple[int, int, float]]:
    """Streams to be read now: (id, connection, seconds overdue), the longest overdue first."""
    return [
        (row[0], row[1], row[2])
        for row in rows(
            """
            SELECT s.id, s.connection_id, extract(epoch FROM now() - s.next_due_at)::float8
              FROM integrations_stream s JOIN portal_connection c ON c.id = s.connection_id
             WHERE s.next_due_at <= now() AND (s.lease_until IS NULL OR s.lease_until < now())
               AND c.is_active AND c.is_source AND c.paused_at IS NULL
             ORDER BY s.next_due_at"""
        )
    ]


def read_well(connection_ids: Sequence[int]) -> dict[int, datetime]:
    """When the last reading of each of these connections began that came to its end."""
    return dict(
        rows(
            "SELECT connection_id, max(started_at) FROM integrations_run"
            " WHERE connection_id = ANY(%s::bigint[]) AND state = 'done' GROUP BY 1",
            [list(connection_ids)],
        )
    )


def unswept_streams() -> list[int]:
    """Streams of active sources that were read well, whose ids were not compared today nor tried in the last hour."""
    return [
        row[0]
        for row in rows(
            """
            SELECT s.id FROM integrations_stream s JOIN portal_connection c ON c.id = s.connection_id
             WHERE c.is_active AND c.is_source AND c.paused_at IS NULL AND c.entity_id IS NOT NULL
               AND s.succeeded_at IS NOT NULL
               AND (s.swept_on IS NULL OR s.swept_on < current_date)
               AND NOT EXISTS (SELECT 1 FROM integrations_run r WHERE r.connection_id = s.connection_id
                                  AND r.stream = s.name AND r.trigger = 'sweep' AND r.started_at > now() - interval '1 hour')
             ORDER BY s.id"""
        )
    ]


def recover_streams() -> int:
    """End the runs of readers that went silent, and make their streams due; how many."""
    execute(
        """
        UPDATE integrations_run r SET state = 'failed', finished_at = now(),
               failure = 'The reader ended without a word; what it filed stays, and reading goes on from the cursor.'
          FROM integrations_stream s
         WHERE s.connection_id = r.connection_id AND s.name = r.stream AND r.state = 'running'
           AND (s.lease_until IS NULL OR s.lease_until < now()) AND r.heartbeat_at < now() - interval '10 seconds'"""
    )
    return execute(
        "UPDATE integrations_stream SET lease_until = NULL, next_due_at = least(next_due_at, now())"
        " WHERE lease_until < now()"
    )
