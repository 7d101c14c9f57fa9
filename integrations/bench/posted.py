"""Work that stands in the books of a bench's firm, written by position in as many rows as asked for, with all its evidence.

The checks of references are off meanwhile (which takes a superuser): what is written here holds by construction.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from integrations.bench.firm import Firm
from integrations.bench.work import CURRENCIES
from portal import sql

AT_ONCE = 200_000
OF_A_MONTH = "DATE '2026-10-01' + n %% 28"
_STATES = ("", "ready", "sending", "accepted", "posted", "reconciled")
_TOLD = "FROM generate_series(%(start)s, %(end)s) AS n"
_ENTITY, _SOURCE = "(%(entities)s::bigint[])[n %% 4 + 1]", "(%(sources)s::bigint[])[n %% 4 + 1]"


@contextmanager
def unchecked() -> Iterator[None]:
    """No triggers and no checks of references."""
    sql.execute("SET session_replication_role = replica")
    try:
        yield
    finally:
        sql.execute("SET session_replication_role = DEFAULT")


def chunks(first: int, until: int) -> Iterator[tuple[int, int]]:
    """Numbers of a range, some at once: (first, the one after the last)."""
    for start in range(first, until, AT_ONCE):
        yield start, min(start + AT_ONCE, until)


def enter(firm: Firm, start: int, end: int, *, day: str = OF_A_MONTH) -> None:
    """Documents, entries and their states: hours of one person on one project each; `day` is its work date, as SQL of `n`."""
    told = {
        "start": start, "end": end - 1, "sources": [source.pk for source in firm.sources], "entities": firm.entities,
        "projects": firm.projects, "people": firm.people, "target": firm.target.pk, "currencies": list(CURRENCIES),
    }  # fmt: skip
    sql.execute(
        "INSERT INTO portal_document (id, connection_id, entity_id, kind, external_id, current_version, seen_revision,"
        f" content_digest, created_at) SELECT n + 1, {_SOURCE}, {_ENTITY}, 'time', 'desk-' || n, 1, '1', '', now() {_TOLD}",
        told,
    )
    sql.execute(
        "INSERT INTO portal_ledgerentry (id, document_id, version, part, generation, kind, entity_id, source_id, target_id,"
        " project_id, contract_id, customer_id, resource_id, work_date, post_on, hours, rate, rate_version, amount, currency,"
        " is_billable, is_cost_only, tags, category, tax_code, receipt_reference, memo, target_keys, idempotency_key,"
        f" created_at) SELECT n + 1, n + 1, 1, 0, 0, 'time', {_ENTITY}, {_SOURCE}, %(target)s, p.id, p.contract_id,"
        " p.customer_id, (%(people)s::bigint[])[w.person], d.day, d.day, 1 + n %% 8, 120, 'K v1', (1 + n %% 8) * 120,"
        " (%(currencies)s::text[])[n %% 4 + 1], true, false, '[]', '', '', '', 'Work item ' || n,"
        " jsonb_build_object('project', (500000 + w.project - 1)::text, 'resource', (800000 + w.person - 1)::text,"
        f" 'entity', (n %% 4 + 1)::text), md5('desk-' || n)::uuid, now() {_TOLD}"
        f" CROSS JOIN LATERAL (SELECT {day} AS day) d"
        " CROSS JOIN LATERAL (SELECT (n * 7) %% cardinality(%(people)s::bigint[]) + 1 AS person,"
        " (n * 5) %% (cardinality(%(projects)s::bigint[]) / 4) * 4 + n %% 4 + 1 AS project) w"
        " JOIN portal_project p ON p.id = (%(projects)s::bigint[])[w.project]",
        told,
    )
    sql.execute(
        "INSERT INTO portal_ledgerstate (entry_id, state, fence, target_id, entity_id, attempts, look_ups, waits_on, body_hash,"
        f" receipt_number, proved_at, moved_at) SELECT n + 1, 'posted', 3, %(target)s, {_ENTITY}, 1, 0, '', 'x', 'N' || n,"
        f" now(), now() {_TOLD}",
        told,
    )


def versions(start: int, end: int) -> None:
    """What the sources said of entries: approved hours, as they were worked."""
    sql.execute(
        "INSERT INTO portal_timeentry (document_id, version, revision, status, resource_key, resource_code, resource_name,"
        " project_key, project_code, project_name, task_key, task_code, task_name, customer_key, customer_code, customer_name,"
        " work_date, zone, is_billable, currency, description, approver_key, approver_code, approver_name, provenance, link,"
        " reason, recorded_at, hours, rate_source) SELECT e.document_id, 1, '1', 'approved', 'p', '', '', 'j', '', '',"
        " '', '', '', '', '', '', e.work_date, '', true, '', '', '', '', '', '', '', '', now(), e.hours, ''"
        " FROM portal_ledgerentry e WHERE e.id BETWEEN %s AND %s ORDER BY e.id",
        [start + 1, end],
    )


def evidence(start: int, end: int) -> None:
    """Moves, receipts and read-backs of entries that were compared before."""
    told = {"start": start + 1, "end": end, "states": list(_STATES)}
    sql.execute(
        "INSERT INTO portal_ledgertransition (entry_id, fence, from_state, to_state, actor, reason, at)"
        " SELECT e, f, (%(states)s::text[])[f + 1], (%(states)s::text[])[f + 2], 'bench', 'measured', now()"
        " FROM generate_series(%(start)s, %(end)s) AS e CROSS JOIN generate_series(0, 4) AS f",
        told,
    )
    sql.execute(
        "INSERT INTO portal_receipt (number, received_at, raw, connection_id, entry_id)"
        " SELECT s.receipt_number, now(), '{}', s.target_id, s.entry_id FROM portal_ledgerstate s"
        " WHERE s.entry_id BETWEEN %(start)s AND %(end)s ORDER BY s.entry_id",
        told,
    )
    sql.execute(
        "INSERT INTO portal_readback (entry_id, at, is_equal, found, differences)"
        " SELECT e, now(), true, '{}', '{}' FROM generate_series(%(start)s, %(end)s) AS e",
        told,
    )
    sql.execute(
        "UPDATE portal_ledgerstate SET state = 'reconciled', fence = 4 WHERE entry_id BETWEEN %(start)s AND %(end)s",
        told,
    )
