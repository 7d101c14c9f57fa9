"""The hand-written SQL of rehearsals: what is replayed, what was booked, and the lease of the worker that does it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import Any, cast

from portal.sql import execute, rows
from reconciliation.sql import numbers


def rates_and_mappings(entity_id: int, connection_ids: Collection[int]) -> list[str]:
    """Digests of what prices and names the work of an entity: its cards and rates, the keys of these systems, the aliases."""
    found = rows(
        """
        WITH cards AS (SELECT c.* FROM portal_ratecard c LEFT JOIN portal_contract k ON k.id = c.contract_id
                         LEFT JOIN portal_customer u ON u.id = c.customer_id
                        WHERE %(entity)s IN (k.entity_id, u.entity_id, c.entity_id)
                           OR coalesce(k.entity_id, u.entity_id, c.entity_id) IS NULL)
        SELECT 'cards ' || md5(string_agg(c::text, chr(10) ORDER BY c.id)) FROM cards c
        UNION ALL SELECT 'rates ' || md5(string_agg(r::text, chr(10) ORDER BY r.id)) FROM portal_rate r
         WHERE r.card_id IN (SELECT id FROM cards)
        UNION ALL SELECT 'keys ' || md5(string_agg(w::text, chr(10) ORDER BY w.id)) FROM portal_crosswalk w
         WHERE (w.system, w.realm) IN (SELECT connector, realm FROM portal_connection WHERE id = ANY(%(connections)s::bigint[]))
        UNION ALL SELECT 'aliases ' || md5(string_agg(a::text, chr(10) ORDER BY a.id)) FROM portal_alias a
         WHERE a.connection_id IS NULL OR a.connection_id = ANY(%(connections)s::bigint[])
        ORDER BY 1""",
        {"entity": entity_id, "connections": list(connection_ids)},
    )
    return [str(row[0]) for row in found]


def documents_between(entity_id: int, source_id: int | None, start: date, end: date) -> list[tuple[int, date]]:
    """(document, work date) of what is approved in a closed range of days, in the order of the days."""
    return cast(
        "list[tuple[int, date]]",
        rows(
            "SELECT d.id, v.work_date FROM portal_document d JOIN LATERAL ("
            " SELECT t.work_date, t.status FROM portal_timeentry t WHERE d.kind = 'time' AND t.document_id = d.id"
            " AND t.version = d.current_version UNION ALL"
            " SELECT x.work_date, x.status FROM portal_expense x WHERE d.kind = 'expense' AND x.document_id = d.id"
            " AND x.version = d.current_version) v ON true"
            " WHERE d.entity_id = %(entity)s AND (%(source)s::bigint IS NULL OR d.connection_id = %(source)s)"
            " AND v.status = 'approved' AND v.work_date BETWEEN %(start)s AND %(end)s ORDER BY v.work_date, d.id",
            {"entity": entity_id, "source": source_id, "start": start, "end": end},
        ),
    )


def booked_between(
    entity_id: int, target_ids: Collection[int], source_id: int | None, start: date, end: date
) -> list[tuple[Any, ...]]:
    """What targets say they hold: (target, number, kind, day, person key, project key, hours, amount, rate, currency).

    What was booked by us for what is brought in is left out; what another of our sources brought is not.
    """
    return rows(
        "SELECT l.connection_id, l.number, l.kind, l.work_date, l.resource_key, l.project_key, l.hours, l.amount, l.rate,"
        " l.currency FROM portal_statementline l WHERE l.entity_id = %(entity)s AND l.connection_id = ANY(%(targets)s::bigint[])"
        " AND l.gone_at IS NULL AND l.work_date BETWEEN %(start)s AND %(end)s AND NOT EXISTS ("
        " SELECT 1 FROM portal_receipt r JOIN portal_ledgerentry e ON e.id = r.entry_id"
        " WHERE r.connection_id = l.connection_id AND r.number = l.number AND e.entity_id = %(entity)s"
        " AND (%(source)s::bigint IS NULL OR e.source_id = %(source)s)) ORDER BY l.work_date, l.id",
        {"entity": entity_id, "targets": numbers(target_ids), "source": source_id, "start": start, "end": end},
    )


def lent_between(entity_id: int, since: date) -> list[tuple[int, int]]:
    """(engagement, project) of people who worked on a project of another entity since a day, in documents of this entity."""
    return cast(
        "list[tuple[int, int]]",
        rows(
            """
            WITH said AS (
                SELECT c.connector, c.realm, t.resource_key, t.resource_code, t.project_key, t.project_code,
                       max(t.work_date) AS day
                  FROM portal_document d JOIN portal_timeentry t ON t.document_id = d.id AND t.version = d.current_version
                  JOIN portal_connection c ON c.id = d.connection_id
                 WHERE d.entity_id = %(entity)s AND d.kind = 'time' AND t.work_date >= %(since)s AND t.status = 'approved'
                 GROUP BY 1, 2, 3, 4, 5, 6)
            SELECT DISTINCT g.id, p.id FROM said s
              JOIN portal_project p ON p.code = s.project_code OR p.id = (SELECT w.internal_id FROM portal_crosswalk w
                   WHERE w.system = s.connector AND w.realm = s.realm AND w.kind = 'project' AND w.external_id = s.project_key
                     AND s.day BETWEEN w.valid_from AND coalesce(w.valid_to, s.day) LIMIT 1)
              JOIN portal_resource r ON r.code = s.resource_code OR r.id = (SELECT w.internal_id FROM portal_crosswalk w
                   WHERE w.system = s.connector AND w.realm = s.realm AND w.kind = 'resource' AND w.external_id = s.resource_key
                     AND s.day BETWEEN w.valid_from AND coalesce(w.valid_to, s.day) LIMIT 1)
              JOIN portal_engagement g ON g.resource_id = r.id AND s.day BETWEEN g.valid_from AND coalesce(g.valid_to, s.day)
             WHERE g.entity_id <> p.entity_id ORDER BY 1, 2""",
            {"entity": entity_id, "since": since},
        ),
    )


def due() -> list[int]:
    """Rehearsals that have not ended, that no worker holds, and that do not wait any longer; the oldest first."""
    return [
        row[0]
        for row in rows(
            "SELECT id FROM reconciliation_rehearsal WHERE state = 'running'"
            " AND (lease_until IS NULL OR lease_until < clock_timestamp())"
            " AND (next_try_at IS NULL OR next_try_at <= clock_timestamp()) ORDER BY id"
        )
    ]


def take(rehearsal_id: int, seconds: float) -> bool:
    """Lease a rehearsal that nobody holds; whether it was free. A lease that was over is a worker that died."""
    return bool(
        execute(
            "UPDATE reconciliation_rehearsal SET fence = fence + 1, next_try_at = NULL, waits_for = '', judged = 0,"
            " deaths = deaths + (lease_until IS NOT NULL)::int,"
            " lease_until = clock_timestamp() + make_interval(secs => %s)"
            " WHERE id = %s AND state = 'running' AND (lease_until IS NULL OR lease_until < clock_timestamp())",
            [seconds, rehearsal_id],
        )
    )


def go_on(rehearsal_id: int, fence: int, *, step: str, documents: int, judged: int, seconds: float) -> bool:
    """Say how far it is and renew the lease; whether it was still the holder's."""
    return bool(
        execute(
            "UPDATE reconciliation_rehearsal SET step = %s, documents = %s, judged = %s,"
            " lease_until = clock_timestamp() + make_interval(secs => %s) WHERE id = %s AND fence = %s AND state = 'running'",
            [step, documents, judged, seconds, rehearsal_id, fence],
        )
    )


def lock(rehearsal_id: int, fence: int) -> bool:
    """Lock a rehearsal until the transaction ends; whether it is still the holder's."""
    return bool(
        rows(
            "SELECT 1 FROM reconciliation_rehearsal WHERE id = %s AND fence = %s AND state = 'running' FOR UPDATE",
            [rehearsal_id, fence],
        )
    )


def put_off(rehearsal_id: int, fence: int, sentence: str, seconds: float) -> bool:
    """Give the lease back and wait; whether it was still the holder's."""
    return bool(
        execute(
            "UPDATE reconciliation_rehearsal SET lease_until = NULL, waits_for = %s,"
            " next_try_at = clock_timestamp() + make_interval(secs => %s)"
            " WHERE id = %s AND fence = %s AND state = 'running'",
            [sentence, seconds, rehearsal_id, fence],
        )
    )


def fail(rehearsal_id: int, fence: int, reason: str) -> bool:
    """End a rehearsal that could not be made; whether it was still the holder's."""
    return bool(
        execute(
            "UPDATE reconciliation_rehearsal SET state = 'failed', failure = %s, finished_at = clock_timestamp(),"
            " lease_until = NULL, next_try_at = NULL, waits_for = '' WHERE id = %s AND fence = %s AND state = 'running'",
            [reason, rehearsal_id, fence],
        )
    )
