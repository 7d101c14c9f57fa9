"""The hand-written SQL of the inbox: records filed, messages claimed and settled, absences looked for.

The rule here: a fixed number of statements whatever the size of the batch, and every moment is the database's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from integrations import payloads
from integrations.protocol import Hint, SourceRecord
from portal.sql import execute, execute_bound, rows


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
    written = [encode(record.payload) for record in records]
    named = _told_apart(connection_id, records, written)
    return execute_bound(
        """
        INSERT INTO integrations_inboxmessage (connection_id, kind, stream, external_id, revision, payload, headers,
               run_id, state, attempts, failure, received_at)
        SELECT %s, 'record', r.stream, r.external_id, r.revision, r.payload::jsonb, %s::jsonb, %s::bigint, 'new', 0, '',
               now()
          FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[]) WITH ORDINALITY
               AS r(stream, external_id, revision, payload, place)
         ORDER BY r.place
        ON CONFLICT DO NOTHING""",
        [
            connection_id, '{"by": "tieout"}' if ours else "{}", run_id,
            [record.stream for record in records],
            [external_id for external_id, _ in named],
            [revision for _, revision in named],
            written,
        ],
    )  # fmt: skip


def _told_apart(connection_id: int, records: Sequence[SourceRecord], written: Sequence[str]) -> list[tuple[str, str]]:
    """External id and revision of records; of two that differ under one coarse stamp the later bears a number: `… #002`.

    Several of one batch are told apart in their order. Where the last of them is the copy that is held, all were filed before.
    """
    named = [payloads.identity(record) for record in records]
    coarse = [place for place, record in enumerate(records) if record.is_coarse]
    if not coarse:
        return named
    latest = rows(
        """
        SELECT r.place, m.revision, m.payload IS NOT DISTINCT FROM r.payload::jsonb
          FROM unnest(%s::int[], %s::text[], %s::text[], %s::text[], %s::text[])
               AS r(place, stream, external_id, revision, payload)
          JOIN LATERAL (SELECT revision, payload FROM integrations_inboxmessage
                         WHERE connection_id = %s AND stream = r.stream AND external_id = r.external_id AND kind = 'record'
                           AND (revision = r.revision OR starts_with(revision, r.revision || ' #'))
                         ORDER BY revision DESC LIMIT 1) AS m ON true""",
        [
            coarse, [records[place].stream for place in coarse], [named[place][0] for place in coarse],
            [named[place][1] for place in coarse], [written[place] for place in coarse], connection_id,
        ],
    )  # fmt: skip
    held = {place: (revision, is_same) for place, revision, is_same in latest}
    groups: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for place in coarse:
        groups[records[place].stream, *named[place]].append(place)
    for (_, external_id, stamp), places in groups.items():
        revision, is_known = held.get(places[-1], ("", False))
        before: str | None = None
        for place in places:
            is_same = is_known or written[place] == before or (before is None and held.get(place, ("", False))[1])
            revision = revision if is_same else _after(revision, stamp)
            named[place], before = (external_id, revision), written[place]
    return named


def _after(revision: str, stamp: str) -> str:
    """The name of the next copy under a stamp; the first one's where none is held."""
    if not revision:
        return stamp
    number = int(revision.removeprefix(f"{stamp} #")) if revision != stamp else 1
    return f"{stamp} #{number + 1:03}"


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


def ask_named(connection_id: int, hints: Sequence[Hint], *, run_id: int | None) -> int:
    """File what a reading names as moved or gone, each mark once; how many were not known yet."""
    if not hints:
        return 0
    return execute(
        """
        INSERT INTO integrations_inboxmessage (connection_id, kind, stream, external_id, revision, payload, headers,
               run_id, state, attempts, failure, received_at)
        SELECT %s, 'hint', h.stream, h.external_id, h.because, jsonb_build_object('named', h.because), '{}', %s, 'new', 0,
               '', now()
          FROM unnest(%s::text[], %s::text[], %s::text[]) AS h(stream, external_id, because)
        ON CONFLICT DO NOTHING""",
        [
            connection_id, run_id, [hint.stream for hint in hints],
            [payloads.within(hint.external_id, payloads.EXTERNAL_ID_LIMIT) for hint in hints],
            [payloads.within(f"named {hint.because}", payloads.REVISION_LIMIT) for hint in hints],
        ],
    )  # fmt: skip


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
    if not outcomes:
        return
    done = ("done", "")  # what nearly all of them are
    execute_bound(
        """
        UPDATE integrations_inboxmessage m SET state = o.state, failure = o.failure, handled_at = now(),
               attempts = least(m.attempts + 1, 32767), next_attempt_at = NULL
          FROM (SELECT id, 'done', '' FROM unnest(%b::bigint[]) AS id UNION ALL
                SELECT * FROM unnest(%b::bigint[], %b::text[], %b::text[])) AS o(id, state, failure)
         WHERE m.id = o.id AND m.state = 'new'""",
        [[o[0] for o in outcomes if o[1:] == done], *([o[n] for o in outcomes if o[1:] != done] for n in range(3))],
    )


def settle_failed(connection_id: int, ids: Sequence[int]) -> int:
    """Let go of messages that could not be read where a later revision of the record was read now; they stay to be seen."""
    return execute(
        """
        UPDATE integrations_inboxmessage f SET state = 'superseded', handled_at = now()
         WHERE f.connection_id = %s AND f.state = 'failed' AND f.kind = 'record'
           AND EXISTS (SELECT 1 FROM integrations_inboxmessage m
                        WHERE m.id = ANY(%s) AND m.connection_id = f.connection_id AND m.stream = f.stream
                          AND m.external_id = f.external_id AND m.revision > f.revision AND m.state IN ('done', 'ignored'))""",
        [connection_id, list(ids)],
    )


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


def forget_submitted(connection_id: int, stream: str, start: date, end: date, present: Collection[str]) -> int:
    """Let go of time that waited for approval and is no longer at its source; how much there was."""
    return execute_bound(
        """DELETE FROM portal_submittedtime s USING integrations_inboxmessage m
            WHERE m.id = s.message_id AND m.stream = %s::text AND s.connection_id = %s::bigint
              AND s.work_date BETWEEN %s::date AND %s::date AND NOT s.external_id = ANY(%b::text[])""",
        [stream, connection_id, start, end, list(present)],
    )
