"""What waits for a worker, and the locks by which one worker has it to itself.

The rule here: one statement per question, answered from partial indexes, because it is asked every few seconds.
"""

from __future__ import annotations

from portal.sql import execute, rows

_LOCKS = 0x74696F  # the space of our advisory locks, beside a number for the connection


def try_lock(task: int, number: int) -> bool:
    """Take a lock of this session for one task and one connection, if nobody holds it."""
    return bool(rows("SELECT pg_try_advisory_lock(%s, %s)", [_LOCKS + task, number])[0][0])


def unlock(task: int, number: int) -> None:
    """Give a lock of this session back."""
    execute("SELECT pg_advisory_unlock(%s, %s)", [_LOCKS + task, number])


def has_messages(connection_id: int, kind: str) -> bool:
    """Whether messages of a kind are to be handled now."""
    return bool(
        rows(
            """
            SELECT EXISTS (SELECT 1 FROM integrations_inboxmessage WHERE connection_id = %s AND state = 'new' AND kind = %s
                              AND (next_attempt_at IS NULL OR next_attempt_at <= now()))""",
            [connection_id, kind],
        )[0][0]
    )


def waiting_connections(kind: str) -> list[tuple[int, float]]:
    """Connections with messages of a kind to be handled now: (id, seconds that the oldest has been due)."""
    return [
        (row[0], row[1])
        for row in rows(
            """
            SELECT connection_id, extract(epoch FROM now() - min(coalesce(next_attempt_at, received_at)))::float8
              FROM integrations_inboxmessage
             WHERE state = 'new' AND kind = %s AND (next_attempt_at IS NULL OR next_attempt_at <= now())
             GROUP BY connection_id""",
            [kind],
        )
    ]


def has_ready(target_id: int) -> bool:
    """Whether entries are due at a target and wait on nothing but a worker."""
    return bool(
        rows(
            "SELECT EXISTS (SELECT 1 FROM portal_ledgerstate WHERE target_id = %s AND state = 'ready' AND waits_on = ''"
            " AND next_attempt_at <= now())",
            [target_id],
        )[0][0]
    )


def due_targets() -> list[tuple[int, float]]:
    """Targets with entries to be posted, looked up, read back, or released from a closed door: (id, seconds overdue)."""
    return [
        (row[0], row[1])
        for row in rows(
            """
            SELECT c.id, coalesce(extract(epoch FROM now() - least(r.at, d.at, a.at))::float8, 0)
              FROM portal_connection c
             CROSS JOIN LATERAL (SELECT min(next_attempt_at) AS at FROM portal_ledgerstate
                                  WHERE target_id = c.id AND state = 'ready' AND waits_on = '') r
             CROSS JOIN LATERAL (SELECT min(next_attempt_at) AS at FROM portal_ledgerstate
                                  WHERE target_id = c.id AND state = 'in_doubt') d
             CROSS JOIN LATERAL (SELECT min(next_attempt_at) AS at FROM portal_ledgerstate
                                  WHERE target_id = c.id AND state = 'accepted') a
             WHERE (c.is_target OR c.is_recipient OR c.is_biller) AND c.is_active
               AND (least(r.at, d.at, a.at) <= now()
                    OR EXISTS (SELECT 1 FROM portal_ledgerstate WHERE state = 'ready' AND target_id = c.id
                                  AND waits_on IN ('connection', 'paused', 'maintenance', 'unauthorised', 'breaker'))
                    OR EXISTS (SELECT 1 FROM reconciliation_targetquestion q
                                 JOIN portal_ledgerstate s ON s.entry_id = q.entry_id AND s.target_id = c.id
                                  AND s.state IN ('posted', 'reconciled')
                                WHERE q.answered_at IS NULL AND q.next_ask_at <= now()))"""
        )
    ]


def active_targets() -> list[int]:
    """Targets that may be called at all."""
    return [
        row[0]
        for row in rows(
            "SELECT id FROM portal_connection WHERE (is_target OR is_recipient OR is_biller) AND is_active"
            " AND paused_at IS NULL ORDER BY id"
        )
    ]


def active_sources() -> list[int]:
    """Sources that may be called at all."""
    return [
        row[0]
        for row in rows(
            "SELECT id FROM portal_connection WHERE is_source AND is_active AND paused_at IS NULL ORDER BY id"
        )
    ]
