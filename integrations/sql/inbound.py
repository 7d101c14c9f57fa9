"""The hand-written SQL of the way in: streams claimed and moved on, records filed, messages claimed and settled.

The rule here: a fixed number of statements whatever the size of the batch, every moment is the database's, and what is
written on behalf of a lease carries its fence.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from integrations import payloads
from integrations.protocol import Hint, SourceRecord
from portal.sql import execute, rows

_LOCKS = 0x74696F  # the space of our advisory locks, beside a number for the connection


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


class Message(NamedTuple):
    """One message taken from the inbox."""

    id: int
    stream: str
    external_id: str
    revision: str
    payload: Any
    is_ours: bool  # a confirmed absence, which no vendor wrote


class HintMessage(NamedTuple):
    """One webhook, or question of ours, to be answered by reading again."""

    id: int
    stream: str
    external_id: str
    payload: Any
    attempts: int
    received_at: datetime


# Locks


def try_lock(task: int, number: int) -> bool:
    """Take a lock of this session for one task and one connection, if nobody holds it."""
    return bool(rows("SELECT pg_try_advisory_lock(%s, %s)", [_LOCKS + task, number])[0][0])


def unlock(task: int, number: int) -> None:
    """Give a lock of this session back."""
    execute("SELECT pg_advisory_unlock(%s, %s)", [_LOCKS + task, number])


# Streams and runs


def claim_stream(stream_id: int, seconds: float) -> StreamClaim | None:
    """Lease a stream to one reader; None while another one holds it."""
    found = rows(
        """
        UPDATE integrations_stream SET lease_until = now() + make_interval(secs => %s), fence = fence + 1
         WHERE id = %s AND (lease_until IS NULL OR lease_until < now())
        RETURNING id, connection_id, name, cursor, fence, every_seconds, usual_volume,
                  extract(epoch FROM now() - succeeded_at)::float8""",
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

    False when another reader has taken over.
    """
    return bool(
        execute(
            """
            UPDATE integrations_stream SET lease_until = NULL, next_due_at = now() + make_interval(secs => %s),
                   cursor = coalesce(%s, cursor), held_reason = left(coalesce(%s, held_reason), 300),
                   usual_volume = coalesce(%s, usual_volume),
                   succeeded_at = CASE WHEN %s THEN now() ELSE succeeded_at END
             WHERE id = %s AND fence = %s""",
            [due_in, cursor, held_reason, usual_volume, succeeded, claim.id, claim.fence],
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


# Filing


def file_records(
    connection_id: int,
    records: Sequence[SourceRecord],
    *,
    run_id: int | None = None,
    ours: bool = False,
    with_care: bool = False,
) -> int:
    """File records in their order; how many were not known yet. A revision that is filed already is left as it is."""
    if not records:
        return 0
    encode = payloads.as_stored_with_care if with_care else payloads.as_stored
    named = [payloads.identity(record) for record in records]
    return execute(
        """
        INSERT INTO integrations_inboxmessage (connection_id, kind, stream, external_id, revision, payload, headers,
               run_id, state, attempts, failure, received_at)
        SELECT %s, 'record', r.stream, r.external_id, r.revision, r.payload::jsonb, %s::jsonb, %s, 'new', 0, '', now()
          FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[]) WITH ORDINALITY
               AS r(stream, external_id, revision, payload, place)
         ORDER BY r.place
        ON CONFLICT DO NOTHING""",
        [
            connection_id, '{"by": "tieout"}' if ours else "{}", run_id,
            [record.stream for record in records],
            [external_id for external_id, _ in named],
            [revision for _, revision in named],
            [encode(record.payload) for record in records],
        ],
    )  # fmt: skip


def ask(
    connection_id: int, hints: Sequence[Hint], *, question: str, payload: Any, run_id: int | None, after: float
) -> int:
    """File questions of our own, to be answered like webhooks `after` some seconds; how many were not asked yet."""
    return execute(
        """
        INSERT INTO integrations_inboxmessage (connection_id, kind, stream, external_id, revision, payload, headers,
               run_id, state, attempts, failure, received_at, next_attempt_at)
        SELECT %s, 'hint', h.stream, h.external_id, %s, %s::jsonb, '{}', %s, 'new', 0, '', now(),
               now() + make_interval(secs => %s)
          FROM unnest(%s::text[], %s::text[]) AS h(stream, external_id)
        ON CONFLICT DO NOTHING""",
        [
            connection_id, question, payloads.as_stored(payload), run_id, after,
            [hint.stream for hint in hints], [hint.external_id for hint in hints],
        ],
    )  # fmt: skip


# Taking in


def claim_records(connection_id: int, limit: int, ids: Sequence[int] | None = None) -> list[Message]:
    """Lock records that are to be taken in, oldest first; those that another worker holds are skipped."""
    chosen = "AND id = ANY(%s)" if ids is not None else ""
    found = rows(
        f"""
        SELECT id, stream, external_id, revision, payload::text, headers->>'by' = 'tieout'
          FROM integrations_inboxmessage
         WHERE connection_id = %s AND state = 'new' AND kind = 'record' {chosen}
           AND (next_attempt_at IS NULL OR next_attempt_at <= now())
         ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED""",  # noqa: S608 - one of two constants
        [connection_id, *([list(ids)] if ids is not None else []), limit],
    )
    return [Message(row[0], row[1], row[2], row[3], payloads.read(row[4]), bool(row[5])) for row in found]


def outdated(ids: Sequence[int]) -> set[int]:
    """Which of these messages tell an older state of a record than one that was taken in already."""
    found = rows(
        """
        SELECT m.id FROM integrations_inboxmessage m
         WHERE m.id = ANY(%s)
           AND EXISTS (SELECT 1 FROM integrations_inboxmessage n
                        WHERE n.connection_id = m.connection_id AND n.stream = m.stream AND n.external_id = m.external_id
                          AND n.revision > m.revision AND n.kind = 'record' AND n.state = 'done')""",
        [list(ids)],
    )
    return {row[0] for row in found}


def settle(outcomes: Sequence[tuple[int, str, str]]) -> None:
    """Say what became of messages: (id, state, failure)."""
    execute(
        """
        UPDATE integrations_inboxmessage m SET state = o.state, failure = o.failure, handled_at = now(),
               attempts = least(m.attempts + 1, 32767), next_attempt_at = NULL
          FROM unnest(%s::bigint[], %s::text[], %s::text[]) AS o(id, state, failure) WHERE m.id = o.id AND m.state = 'new'""",
        [[o[0] for o in outcomes], [o[1] for o in outcomes], [o[2] for o in outcomes]],
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


# Hints


def claim_hints(connection_id: int, limit: int, seconds: float) -> list[HintMessage]:
    """Lease hints that are due, oldest first, to one worker for some seconds."""
    found = rows(
        """
        UPDATE integrations_inboxmessage m
           SET next_attempt_at = now() + make_interval(secs => %s), attempts = least(m.attempts + 1, 32767)
          FROM (SELECT id FROM integrations_inboxmessage
                 WHERE connection_id = %s AND state = 'new' AND kind = 'hint'
                   AND (next_attempt_at IS NULL OR next_attempt_at <= now())
                 ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED) AS due
         WHERE m.id = due.id
        RETURNING m.id, m.stream, m.external_id, m.payload::text, m.attempts, m.received_at""",
        [seconds, connection_id, limit],
    )
    return sorted(HintMessage(row[0], row[1], row[2], payloads.read(row[3]), row[4], row[5]) for row in found)


def put_off(ids: Sequence[int], seconds: float, reason: str) -> None:
    """Handle messages later."""
    execute(
        "UPDATE integrations_inboxmessage SET next_attempt_at = now() + make_interval(secs => %s), failure = %s"
        " WHERE id = ANY(%s) AND state = 'new'",
        [seconds, reason, list(ids)],
    )


def put_off_until_known(waiting: Sequence[tuple[int, str]], seconds: float, tries: int) -> None:
    """Take messages in later, because what they name is not here yet: (id, sentence). After some tries they fail."""
    execute(
        """
        UPDATE integrations_inboxmessage m SET attempts = m.attempts + 1, failure = w.failure,
               state = CASE WHEN m.attempts + 1 >= %s THEN 'failed' ELSE 'new' END,
               handled_at = CASE WHEN m.attempts + 1 >= %s THEN now() END,
               next_attempt_at = CASE WHEN m.attempts + 1 >= %s THEN NULL ELSE now() + make_interval(secs => %s) END
          FROM unnest(%s::bigint[], %s::text[]) AS w(id, failure) WHERE m.id = w.id AND m.state = 'new'""",
        [tries, tries, tries, seconds, [w[0] for w in waiting], [w[1] for w in waiting]],
    )


# Absences

_CAME_BY = """EXISTS (SELECT 1 FROM (SELECT message_id FROM portal_timeentry WHERE document_id = d.id
                             UNION ALL SELECT message_id FROM portal_expense WHERE document_id = d.id) v
                JOIN integrations_inboxmessage m ON m.id = v.message_id WHERE m.stream = %(stream)s)"""
_CURRENT = """FROM portal_document d
  LEFT JOIN portal_timeentry t ON d.kind = 'time' AND t.document_id = d.id AND t.version = d.current_version
  LEFT JOIN portal_expense x ON d.kind = 'expense' AND x.document_id = d.id AND x.version = d.current_version"""


def standing_between(connection_id: int, stream: str, start: date, end: date) -> set[str]:
    """External ids of documents that came by a stream, are not deleted, and have a work date in the closed range."""
    found = rows(
        f"""
        SELECT d.external_id {_CURRENT}
         WHERE d.connection_id = %(connection)s AND coalesce(t.status, x.status) <> 'deleted'
           AND coalesce(t.work_date, x.work_date) BETWEEN %(start)s AND %(end)s AND {_CAME_BY}""",
        {"connection": connection_id, "stream": stream, "start": start, "end": end},
    )
    return {row[0] for row in found}


def standing_named(connection_id: int, stream: str, external_ids: Sequence[str]) -> dict[str, tuple[str, int, str]]:
    """Documents of these ids that came by a stream and are not deleted: (kind, id, last revision seen) by external id."""
    found = rows(
        f"""
        SELECT d.external_id, d.kind, d.id, d.seen_revision {_CURRENT}
         WHERE d.connection_id = %(connection)s AND d.external_id = ANY(%(ids)s)
           AND coalesce(t.status, x.status) <> 'deleted' AND {_CAME_BY}""",
        {"connection": connection_id, "stream": stream, "ids": list(external_ids)},
    )
    return {row[0]: (row[1], row[2], row[3]) for row in found}


def unknown_ids(connection_id: int, stream: str, external_ids: Sequence[str]) -> list[str]:
    """Which of these ids neither a message of the stream nor a document bears."""
    return [
        row[0]
        for row in rows(
            """
            SELECT w.external_id FROM unnest(%s::text[]) AS w(external_id)
             WHERE NOT EXISTS (SELECT 1 FROM integrations_inboxmessage m
                                WHERE m.connection_id = %s AND m.stream = %s AND m.external_id = w.external_id)
               AND NOT EXISTS (SELECT 1 FROM portal_document d
                                WHERE d.connection_id = %s AND d.external_id = w.external_id)""",
            [list(external_ids), connection_id, stream, connection_id],
        )
    ]


def asked_already(connection_id: int, stream: str) -> set[str]:
    """Ids about which a question is still open."""
    return {
        row[0]
        for row in rows(
            "SELECT external_id FROM integrations_inboxmessage"
            " WHERE connection_id = %s AND stream = %s AND kind = 'hint' AND state = 'new'",
            [connection_id, stream],
        )
    }


# What waits for a worker


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
             WHERE c.is_target AND c.is_active
               AND (least(r.at, d.at, a.at) <= now()
                    OR EXISTS (SELECT 1 FROM portal_ledgerstate WHERE state = 'ready' AND target_id = c.id
                                  AND waits_on IN ('connection', 'paused', 'maintenance', 'unauthorised', 'breaker')))"""
        )
    ]


def unswept_streams() -> list[int]:
    """Streams of active sources whose ids were not compared today, and were not tried in the last hour."""
    return [
        row[0]
        for row in rows(
            """
            SELECT s.id FROM integrations_stream s JOIN portal_connection c ON c.id = s.connection_id
             WHERE c.is_active AND c.is_source AND c.paused_at IS NULL AND c.entity_id IS NOT NULL
               AND (s.swept_on IS NULL OR s.swept_on < current_date)
               AND NOT EXISTS (SELECT 1 FROM integrations_run r WHERE r.connection_id = s.connection_id
                                  AND r.stream = s.name AND r.trigger = 'sweep' AND r.started_at > now() - interval '1 hour')
             ORDER BY s.id"""
        )
    ]


def active_targets() -> list[int]:
    """Targets that may be called at all."""
    return [
        row[0]
        for row in rows(
            "SELECT id FROM portal_connection WHERE is_target AND is_active AND paused_at IS NULL ORDER BY id"
        )
    ]
