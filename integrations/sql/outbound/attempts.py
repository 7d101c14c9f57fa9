"""Attempts and their lines: what was to be sent, what came of it, and how it went before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from integrations.sql.clock import clock
from portal import sql


def open_attempts(
    connection_id: int, purpose: str, worker: str, calls: Sequence[Sequence[tuple[int, int, str]]]
) -> list[int]:
    """Write the intent of some calls, each a list of (entry id, fence, body hash); the attempts' ids, in order."""
    ids = sql.draw_ids("portal_attempt", len(calls))
    if not ids:
        return []
    moment = clock()
    sql.copy_in(
        "portal_attempt",
        ("id", "connection_id", "purpose", "worker", "started_at", "outcome", "exchanges"),
        ([i, connection_id, purpose, worker, moment, "", "[]"] for i in ids),
    )
    sql.copy_in(
        "portal_attemptline",
        ("attempt_id", "entry_id", "fence", "body_hash", "outcome", "code", "detail"),
        (
            [i, entry_id, fence, body_hash, "", "", ""]
            for i, lines in zip(ids, calls, strict=True)
            for entry_id, fence, body_hash in lines
        ),
    )
    return ids


def close_attempts(rows: Sequence[tuple[int, str, int | None, int, str]]) -> None:
    """Write once what came of some calls: (attempt id, outcome, HTTP status, milliseconds, exchanges as JSON)."""
    if rows:
        columns: list[Any] = [list(column) for column in zip(*rows, strict=True)]
        sql.execute_bound(
            "UPDATE portal_attempt a SET ended_at = clock_timestamp(), outcome = w.outcome, http_status = w.status,"
            " duration_ms = w.ms, exchanges = w.exchanges::jsonb"
            " FROM unnest(%b::bigint[], %b::text[], %b::smallint[], %b::int[], %b::text[])"
            " AS w(id, outcome, status, ms, exchanges) WHERE a.id = w.id AND a.ended_at IS NULL",
            columns,
        )


def close_lines(rows: Sequence[tuple[int, int, str, str, str]]) -> None:
    """Write once what came of some calls for their entries: (attempt id, entry id, outcome, code, detail)."""
    if rows:
        columns: list[Any] = [list(column) for column in zip(*rows, strict=True)]
        sql.execute_bound(
            "UPDATE portal_attemptline l SET outcome = w.outcome, code = w.code, detail = w.detail"
            " FROM unnest(%b::bigint[], %b::bigint[], %b::text[], %b::text[], %b::text[])"
            " AS w(attempt_id, entry_id, outcome, code, detail)"
            " WHERE l.attempt_id = w.attempt_id AND l.entry_id = w.entry_id AND l.outcome = ''",
            columns,
        )


def abandon_attempts(connection_id: int, seconds: float) -> int:
    """Close attempts whose worker never wrote an answer and whose lease is over, some seconds after they began; how many.

    An attempt of which an entry is still being sent under its lease is not lost, however long its push may take.
    """
    return sql.execute(
        """
        WITH lost AS (
            UPDATE portal_attempt SET ended_at = clock_timestamp(), outcome = 'lost'
             WHERE connection_id = %s AND ended_at IS NULL
               AND started_at < clock_timestamp() - make_interval(secs => %s)
               AND NOT EXISTS (
                   SELECT 1 FROM portal_attemptline n JOIN portal_ledgerstate s ON s.entry_id = n.entry_id
                    WHERE n.attempt_id = portal_attempt.id AND s.state = 'sending' AND s.fence = n.fence
                      AND s.lease_until >= clock_timestamp())
            RETURNING id)
        UPDATE portal_attemptline l SET outcome = 'lost', detail = 'The worker ended before it could write the answer.'
          FROM lost WHERE l.attempt_id = lost.id AND l.outcome = ''""",
        [connection_id, seconds],
    )


def accepted_lately(target_id: int, seconds: float, entity_ids: Sequence[int] | None = None) -> int:
    """How many postings the target took in the last seconds; of some entities."""
    return int(
        sql.rows(
            "SELECT count(*) FROM portal_attempt a JOIN portal_attemptline l ON l.attempt_id = a.id"
            " WHERE a.connection_id = %s AND a.started_at > clock_timestamp() - make_interval(secs => %s)"
            " AND a.purpose = 'push' AND l.outcome = 'accepted' AND (%s::bigint[] IS NULL OR EXISTS ("
            " SELECT 1 FROM portal_ledgerstate s WHERE s.entry_id = l.entry_id AND s.entity_id = ANY(%s)))",
            [target_id, seconds, entity_ids, entity_ids],
        )[0][0]
    )


def deaths(entry_ids: Sequence[int], reason: str) -> dict[int, int]:
    """How often a worker ended while it sent these entries, since a person last released or re-opened them."""
    return dict(
        sql.rows(
            """
            SELECT t.entry_id, count(*)::int FROM portal_ledgertransition t
             WHERE t.entry_id = ANY(%s) AND t.reason = %s
               AND t.fence > coalesce((SELECT max(r.fence) FROM portal_ledgertransition r WHERE r.entry_id = t.entry_id
                                        AND r.from_state IN ('held', 'rejected') AND r.to_state = 'ready'), 0)
             GROUP BY t.entry_id""",
            [list(entry_ids), reason],
        )
    )
