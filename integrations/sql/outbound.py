"""The outbox's hand-written SQL: slots, attempts and their lines, and what is due to be looked up or read back.

The rule here: one statement per question whatever the number of rows, and every moment is the database's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from integrations.drafts import Drafted, Line
from integrations.postings import Booked
from integrations.protocol import Beside
from integrations.publications import Owed
from portal import sql


def clock() -> datetime:
    """The database's clock, also within a transaction that has been open for a while."""
    return cast("datetime", sql.rows("SELECT clock_timestamp()")[0][0])


# Slots


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


# Attempts


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


# What is due


@dataclass(frozen=True, slots=True)
class Standing:
    """One entry that the target is asked about. `age` is seconds since its last move, `receipt` the number it was given."""

    entry_id: int
    fence: int
    entity_id: int
    key: str
    look_ups: int
    attempts: int
    age: float
    receipt: str
    state: str
    target_id: int
    is_reversal: bool


_STANDING = """
    SELECT s.entry_id, s.fence, s.entity_id, replace(e.idempotency_key::text, '-', ''), s.look_ups, s.attempts,
           extract(epoch FROM clock_timestamp() - s.moved_at)::float, s.receipt_number, s.state, s.target_id,
           e.reverses_id IS NOT NULL"""


def due_in(state: str, target_id: int, limit: int) -> list[Standing]:
    """Lock entries in doubt or accepted whose next look is due; locked rows are passed by."""
    return [
        Standing(*row)
        for row in sql.rows(
            f"{_STANDING} FROM portal_ledgerstate s JOIN portal_ledgerentry e ON e.id = s.entry_id"
            " WHERE s.target_id = %s AND s.state = %s AND s.next_attempt_at <= clock_timestamp()"
            " ORDER BY s.next_attempt_at LIMIT %s FOR UPDATE OF s SKIP LOCKED",
            [target_id, state, limit],
        )
    ]


def named(entry_ids: Sequence[int], states: Sequence[str], target_id: int, limit: int) -> list[Standing]:
    """Lock given entries that stand in one of these states, due or not; locked rows are passed by."""
    return [
        Standing(*row)
        for row in sql.rows(
            f"{_STANDING} FROM portal_ledgerstate s JOIN portal_ledgerentry e ON e.id = s.entry_id"
            " WHERE s.target_id = %s AND s.state = ANY(%s) AND s.entry_id = ANY(%s)"
            " ORDER BY s.entry_id LIMIT %s FOR UPDATE OF s SKIP LOCKED",
            [target_id, list(states), list(entry_ids), limit],
        )
    ]


def asked_for(target_id: int, limit: int, again_after: float) -> list[Standing]:
    """Lock posted entries that a person wants looked at now, and set when they are asked for again if no answer comes."""
    found = [
        Standing(*row)
        for row in sql.rows(
            f"{_STANDING} FROM reconciliation_targetquestion q"
            " JOIN portal_ledgerstate s ON s.entry_id = q.entry_id JOIN portal_ledgerentry e ON e.id = s.entry_id"
            " WHERE q.answered_at IS NULL AND q.next_ask_at <= clock_timestamp() AND s.target_id = %s"
            " AND s.state IN ('posted', 'reconciled') ORDER BY q.next_ask_at LIMIT %s FOR UPDATE OF s SKIP LOCKED",
            [target_id, limit],
        )
    ]
    if found:
        sql.execute(
            "UPDATE reconciliation_targetquestion SET next_ask_at = clock_timestamp() + make_interval(secs => %s)"
            " WHERE answered_at IS NULL AND entry_id = ANY(%s)",
            [again_after, [entry.entry_id for entry in found]],
        )
    return found


def stopped_for_their_key(entry_ids: Sequence[int], rule: str) -> list[tuple[int, int]]:
    """Entries with an open hold of the rule that says their key was used otherwise: (id, fence)."""
    return [
        (row[0], row[1])
        for row in sql.rows(
            "SELECT s.entry_id, s.fence FROM portal_ledgerstate s JOIN reconciliation_hold h ON h.entry_id = s.entry_id"
            " AND h.rule = %s AND h.closed_at IS NULL WHERE s.entry_id = ANY(%s)",
            [rule, list(entry_ids)],
        )
    ]


def to_read_again(target_id: int, older_than: float, limit: int) -> list[Standing]:
    """Posted entries of open periods that were last read back more than some seconds ago."""
    return [
        Standing(*row)
        for row in sql.rows(
            f"{_STANDING} FROM portal_ledgerstate s JOIN portal_ledgerentry e ON e.id = s.entry_id"  # noqa: S608
            " JOIN portal_accountingperiod p ON p.id = e.period_id AND p.state IN ('open', 'closing')"
            " WHERE s.target_id = %s AND s.state IN ('posted', 'reconciled')"
            " AND s.proved_at < clock_timestamp() - make_interval(secs => %s)"
            " AND NOT EXISTS (SELECT 1 FROM portal_readback r WHERE r.entry_id = s.entry_id"
            " AND r.at > clock_timestamp() - make_interval(secs => %s))"
            " ORDER BY s.proved_at LIMIT %s FOR UPDATE OF s SKIP LOCKED",
            [target_id, older_than, older_than, limit],
        )
    ]


def published_to_read_again(target_id: int, older_than: float, limit: int) -> list[Standing]:
    """Publications that stand at a system and were last read more than some seconds ago; locked rows are passed by."""
    return [
        Standing(*row)
        for row in sql.rows(
            f"{_STANDING} FROM portal_published b JOIN portal_document d ON d.id = b.document_id"
            " JOIN portal_ledgerentry e ON e.document_id = d.id AND e.version = d.current_version"
            " JOIN portal_ledgerstate s ON s.entry_id = e.id AND s.state = 'posted'"
            " WHERE b.connection_id = %s AND s.proved_at < clock_timestamp() - make_interval(secs => %s)"
            " AND (b.read_at IS NULL OR b.read_at < clock_timestamp() - make_interval(secs => %s))"
            " ORDER BY s.proved_at LIMIT %s FOR UPDATE OF s SKIP LOCKED",
            [target_id, older_than, older_than, limit],
        )
    ]


def drafts_to_read_again(target_id: int, older_than: float, limit: int) -> list[Standing]:
    """Invoice drafts that stand at a system, of which no bill has come yet, last read more than some seconds ago."""
    return [
        Standing(*row)
        for row in sql.rows(
            f"{_STANDING} FROM portal_invoicedraft b JOIN portal_ledgerentry e ON e.document_id = b.document_id"
            " JOIN portal_ledgerstate s ON s.entry_id = e.id AND s.state = 'posted'"
            " WHERE b.connection_id = %s AND b.invoice_id IS NULL"
            " AND s.proved_at < clock_timestamp() - make_interval(secs => %s)"
            " AND (b.read_at IS NULL OR b.read_at < clock_timestamp() - make_interval(secs => %s))"
            " ORDER BY s.proved_at LIMIT %s FOR UPDATE OF s SKIP LOCKED",
            [target_id, older_than, older_than, limit],
        )
    ]


def expired(target_id: int, limit: int) -> list[Standing]:
    """Lock entries whose worker did not come back within their lease."""
    return [
        Standing(*row)
        for row in sql.rows(
            f"{_STANDING} FROM portal_ledgerstate s JOIN portal_ledgerentry e ON e.id = s.entry_id"
            " WHERE s.target_id = %s AND s.state = 'sending' AND s.lease_until < clock_timestamp()"
            " ORDER BY s.lease_until LIMIT %s FOR UPDATE OF s SKIP LOCKED",
            [target_id, limit],
        )
    ]


def old_doubts(target_id: int, seconds: float, rule: str, limit: int) -> list[Standing]:
    """Entries in doubt for longer than some seconds that no open hold of a rule tells of."""
    return [
        Standing(*row)
        for row in sql.rows(
            f"{_STANDING} FROM portal_ledgerstate s JOIN portal_ledgerentry e ON e.id = s.entry_id"  # noqa: S608
            " WHERE s.target_id = %s AND s.state = 'in_doubt'"
            " AND s.moved_at < clock_timestamp() - make_interval(secs => %s)"
            " AND NOT EXISTS (SELECT 1 FROM reconciliation_hold h"
            " WHERE h.entry_id = s.entry_id AND h.rule = %s AND h.closed_at IS NULL) ORDER BY s.moved_at LIMIT %s",
            [target_id, seconds, rule, limit],
        )
    ]


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


def waiting_on(target_id: int, events: Sequence[str]) -> list[str]:
    """Which of these events READY entries of the target wait on."""
    return [
        row[0]
        for row in sql.rows(
            "SELECT DISTINCT waits_on FROM portal_ledgerstate"
            " WHERE state = 'ready' AND waits_on = ANY(%s) AND waits_on <> '' AND target_id = %s",
            [list(events), target_id],
        )
    ]


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


def queue_of(target_id: int) -> dict[str, int]:
    """How many entries of one target are waiting, due, on their way, in doubt, or still to be read back."""
    row = sql.rows(
        """
        SELECT count(*) FILTER (WHERE state = 'ready' AND waits_on = ''),
               count(*) FILTER (WHERE state = 'ready' AND waits_on <> ''),
               count(*) FILTER (WHERE state = 'sending'), count(*) FILTER (WHERE state = 'in_doubt'),
               count(*) FILTER (WHERE state = 'accepted')
          FROM portal_ledgerstate WHERE target_id = %s AND state IN ('ready', 'sending', 'in_doubt', 'accepted')""",
        [target_id],
    )[0]
    return dict(zip(("due", "waiting", "sending", "in_doubt", "accepted"), row, strict=True))


def accepted_lately(target_id: int, seconds: float) -> int:
    """How many postings the target took in the last seconds."""
    return int(
        sql.rows(
            "SELECT count(*) FROM portal_attempt a JOIN portal_attemptline l ON l.attempt_id = a.id"
            " WHERE a.connection_id = %s AND a.started_at > clock_timestamp() - make_interval(secs => %s)"
            " AND a.purpose = 'push' AND l.outcome = 'accepted'",
            [target_id, seconds],
        )[0][0]
    )


def documents_of(entry_ids: Sequence[int]) -> list[int]:
    """The documents of entries."""
    return [
        row[0]
        for row in sql.rows("SELECT DISTINCT document_id FROM portal_ledgerentry WHERE id = ANY(%s)", [list(entry_ids)])
    ]


def standing_of(entry_ids: Sequence[int]) -> dict[int, Standing]:
    """Where entries stand, by id."""
    return {
        row[0]: Standing(*row)
        for row in sql.rows(
            f"{_STANDING} FROM portal_ledgerstate s JOIN portal_ledgerentry e ON e.id = s.entry_id"
            " WHERE s.entry_id = ANY(%s)",
            [list(entry_ids)],
        )
    }


def booked_by(entry_ids: Sequence[int]) -> list[Booked]:
    """What entries book."""
    return [
        Booked(*row)
        for row in sql.rows(
            """
            SELECT e.id, replace(e.idempotency_key::text, '-', ''), e.kind, e.post_on, e.hours, e.rate, e.amount, e.currency,
                   e.is_billable, e.is_cost_only, e.memo, e.tax_code, e.receipt_reference, e.target_keys::text,
                   coalesce(r.receipt_number, '')
              FROM portal_ledgerentry e LEFT JOIN portal_ledgerstate r ON r.entry_id = e.reverses_id
             WHERE e.id = ANY(%s)""",
            [list(entry_ids)],
        )
    ]


def owed_by(entry_ids: Sequence[int]) -> list[Owed]:
    """What publications say: each entry's version of its record."""
    return [
        Owed(*row)
        for row in sql.rows(
            """
            SELECT e.id, replace(e.idempotency_key::text, '-', ''), p.kind, e.version, e.entity_id, e.target_keys::text,
                   v.figures::text, p.number, d.external_id
              FROM portal_ledgerentry e
              JOIN portal_published p ON p.document_id = e.document_id
              JOIN portal_document d ON d.id = e.document_id
              JOIN portal_publishedversion v ON v.document_id = e.document_id AND v.version = e.version
             WHERE e.id = ANY(%s)""",
            [list(entry_ids)],
        )
    ]


def drafted_by(entry_ids: Sequence[int]) -> list[Drafted]:
    """What invoice drafts say above their lines, by the entry that owes each."""
    return [
        Drafted(*row)
        for row in sql.rows(
            """
            SELECT e.id, replace(e.idempotency_key::text, '-', ''), e.target_keys::text, d.proposal_id, d.part, d.parts,
                   p.currency, d.dated_on, d.due_on, coalesce(o.number, ''), coalesce((
                       SELECT string_agg(m.memo, E'\\n' ORDER BY j.code) FROM portal_invoiceproposal m
                         JOIN portal_project j ON j.id = m.project_id
                        WHERE m.memo <> '' AND m.id IN (SELECT l.proposal_id FROM portal_proposalline l
                                                         WHERE l.draft_id = d.document_id)
                   ), '')
              FROM portal_ledgerentry e JOIN portal_invoicedraft d ON d.document_id = e.document_id
              JOIN portal_invoiceproposal p ON p.id = d.proposal_id
              LEFT JOIN portal_purchaseorder o ON o.id = p.purchase_order_id
             WHERE e.id = ANY(%s)""",
            [list(entry_ids)],
        )
    ]


def draft_lines(entry_ids: Sequence[int]) -> dict[int, list[Line]]:
    """The lines of invoice drafts in their order, by the entry that owes each draft, with the receipts of what they bill.

    On an invoice over several projects each line says its project.
    """
    found: dict[int, list[Line]] = {}
    for row in sql.rows(
        """
        SELECT e.id, replace(l.key::text, '-', ''),
               CASE WHEN EXISTS (SELECT 1 FROM portal_proposalline x
                                  WHERE x.draft_id = l.draft_id AND x.proposal_id <> l.proposal_id)
                    THEN j.name || ': ' ELSE '' END || l.description, l.quantity, l.unit_price, l.net, l.tax_code,
               coalesce(max(m.code), ''), coalesce(array_agg(s.receipt_number ORDER BY p.id)
                                                   FILTER (WHERE s.receipt_number <> ''), '{}')
          FROM portal_ledgerentry e JOIN portal_proposalline l ON l.draft_id = e.document_id
          JOIN portal_invoiceproposal i ON i.id = l.proposal_id JOIN portal_project j ON j.id = i.project_id
          JOIN portal_proposalpart p ON p.line_id = l.id
          LEFT JOIN portal_milestone m ON m.id = p.milestone_id
          LEFT JOIN portal_ledgerstate s ON s.entry_id = p.entry_id
         WHERE e.id = ANY(%s) GROUP BY e.id, l.id, j.id ORDER BY e.id, j.code, l.proposal_id, l.position""",
        [list(entry_ids)],
    ):
        found.setdefault(row[0], []).append(Line(*row[1:]))
    return found


def publications_among(entry_ids: Sequence[int]) -> list[int]:
    """Which of these entries owe master data."""
    return [
        row[0]
        for row in sql.rows(
            "SELECT id FROM portal_ledgerentry WHERE id = ANY(%s) AND kind = 'master' ORDER BY id", [list(entry_ids)]
        )
    ]


@dataclass(frozen=True, slots=True)
class About:
    """What sentences about one entry name: codes of its records, empty where it has none."""

    entry_id: int
    entity_id: int
    entity: str
    period_id: int | None
    period: str
    project: str
    task: str
    resource: str
    cost_centre: str


def about(entry_ids: Sequence[int]) -> dict[int, About]:
    """What sentences about entries name, by id."""
    return {
        row[0]: About(*row)
        for row in sql.rows(
            """
            SELECT e.id, e.entity_id, x.code, e.period_id, coalesce(p.code, ''), coalesce(j.code, ''), coalesce(t.code, ''),
                   coalesce(r.code, ''), coalesce(c.code, '')
              FROM portal_ledgerentry e
              JOIN portal_legalentity x ON x.id = e.entity_id
              LEFT JOIN portal_accountingperiod p ON p.id = e.period_id
              LEFT JOIN portal_project j ON j.id = e.project_id
              LEFT JOIN portal_task t ON t.id = e.task_id
              LEFT JOIN portal_resource r ON r.id = e.resource_id
              LEFT JOIN portal_costcentre c ON c.id = e.cost_centre_id
             WHERE e.id = ANY(%s)""",
            [list(entry_ids)],
        )
    }


def entities_over(connection_id: int) -> list[int]:
    """The entities whose documents go over a connection: by a route of today or later, or by entries still on their way."""
    return [
        row[0]
        for row in sql.rows(
            "SELECT entity_id FROM reconciliation_route WHERE (source_id = %(id)s OR target_id = %(id)s)"
            " AND (valid_to IS NULL OR valid_to >= current_date)"
            " UNION SELECT e.id FROM portal_legalentity e WHERE EXISTS (SELECT 1 FROM portal_ledgerstate s"
            " WHERE s.target_id = %(id)s AND s.entity_id = e.id AND s.state IN ('ready', 'sending', 'in_doubt', 'accepted'))"
            " ORDER BY 1",
            {"id": connection_id},
        )
    ]
