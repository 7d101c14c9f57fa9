"""Reading what systems are to be told: records of the projects in reach, keys there, and the entries that owe them.

An end of a range that is open comes back empty. Every function asks once for everybody.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date
from typing import Any

from portal.sql import execute, rows
from reconciliation.sql import numbers, texts

Row = tuple[Any, ...]


def lock(connection_id: int) -> None:
    """One worker at a time decides what a system is owed."""
    rows("SELECT pg_advisory_xact_lock(%s, %s)", [0x7075626C, connection_id])


def entities_of(connection_id: int) -> list[int]:
    """The entities whose records a connection is told: its own, or where it is shared those whose routes name it today."""
    return [
        row[0]
        for row in rows(
            "SELECT entity_id FROM portal_connection WHERE id = %(id)s AND entity_id IS NOT NULL"
            " UNION SELECT r.entity_id FROM reconciliation_route r JOIN portal_connection c ON c.id = %(id)s"
            " WHERE c.entity_id IS NULL AND (r.source_id = c.id OR r.target_id = c.id)"
            " AND (r.valid_to IS NULL OR r.valid_to >= current_date) ORDER BY 1",
            {"id": connection_id},
        )
    ]


def projects(connection_id: int, day: date, only: Collection[int] | None) -> list[Row]:
    """(id, code, name, entity, customer, contract, billing model, status) of the projects that a system is told.

    Those that are not over, and those that it was told before. Customers that were merged are their survivors.
    """
    return rows(
        """
        WITH RECURSIVE survivor(id, last) AS (
            SELECT id, id FROM portal_customer WHERE merged_into_id IS NULL
            UNION ALL SELECT c.id, s.last FROM portal_customer c JOIN survivor s ON c.merged_into_id = s.id)
        SELECT p.id, p.code, p.name, p.entity_id, s.last, p.contract_id,
               coalesce(nullif(p.billing_model, ''), k.billing_model, 'time_and_material'), coalesce(t.status, '')
          FROM portal_project p
          JOIN survivor s ON s.id = p.customer_id
          LEFT JOIN portal_contract k ON k.id = p.contract_id
          LEFT JOIN portal_projectstatus t ON t.project_id = p.id AND t.valid_from <= %(day)s
               AND (t.valid_to IS NULL OR t.valid_to >= %(day)s)
         WHERE p.entity_id = ANY(%(entities)s) AND (%(only)s::bigint[] IS NULL OR p.id = ANY(%(only)s::bigint[]))
           AND (t.status IN ('planned', 'open', 'on_hold')
                OR EXISTS (SELECT 1 FROM portal_published b WHERE b.connection_id = %(id)s AND b.internal_id = p.id
                              AND b.kind IN ('project', 'contract', 'assignment')))
         ORDER BY p.id""",
        {
            "id": connection_id,
            "day": day,
            "entities": entities_of(connection_id),
            "only": None if only is None else sorted(only),
        },
    )


def customers(ids: Collection[int], day: date) -> list[Row]:
    """(id, code, name, currency, active)."""
    return rows(
        "SELECT id, code, name, currency, coalesce(active_from <= %s, true) AND coalesce(active_to >= %s, true)"
        " FROM portal_customer WHERE id = ANY(%s::bigint[]) ORDER BY id",
        [day, day, numbers(ids)],
    )


def contracts(ids: Collection[int]) -> list[Row]:
    """(id, code, currency, cap, from, to)."""
    return rows(
        "SELECT id, code, currency, cap_amount, starts_on, ends_on FROM portal_contract WHERE id = ANY(%s::bigint[])",
        [numbers(ids)],
    )


def people(project_ids: Collection[int], connection_id: int, day: date) -> list[Row]:
    """(project, resource, code, name, assigned today, approves) of everybody who records or approves time on a project.

    Also those who did, as far as the system was told of them.
    """
    return rows(
        """
        SELECT w.project_id, r.id, r.code, r.name, bool_or(w.assigned OR w.approves), bool_or(w.approves) FROM (
            SELECT project_id, resource_id, true AS assigned, false AS approves FROM portal_assignment
             WHERE project_id = ANY(%(ids)s::bigint[]) AND valid_from <= %(day)s AND (valid_to IS NULL OR valid_to >= %(day)s)
            UNION ALL SELECT project_id, approver_id, false, true FROM portal_approvalstep
             WHERE project_id = ANY(%(ids)s::bigint[])
            UNION ALL SELECT internal_id, resource_id, false, false FROM portal_published
             WHERE connection_id = %(id)s AND kind = 'assignment' AND internal_id = ANY(%(ids)s::bigint[])) w
          JOIN portal_resource r ON r.id = w.resource_id
         GROUP BY w.project_id, r.id ORDER BY w.project_id, r.id""",
        {"ids": numbers(project_ids), "id": connection_id, "day": day},
    )


def projects_of(kind: str, ids: Collection[int]) -> list[int] | None:
    """The projects that a changed record of master data concerns; None for all of them."""
    query = _PROJECTS_OF.get(kind)
    if query is None:
        return None if kind in EVERYTHING else []
    return [row[0] for row in rows(query, {"ids": list(ids)})]


EVERYTHING = frozenset({"entity", "role"})
_PROJECTS_OF = {
    "project": "SELECT unnest(%(ids)s::bigint[])",
    "customer": (
        "WITH RECURSIVE family(id) AS (SELECT unnest(%(ids)s::bigint[]) UNION SELECT c.id FROM portal_customer c"
        " JOIN family f ON c.merged_into_id = f.id)"
        " SELECT id FROM portal_project WHERE customer_id IN (SELECT id FROM family)"
    ),
    "contract": "SELECT id FROM portal_project WHERE contract_id = ANY(%(ids)s)",
    "resource": (
        "SELECT project_id FROM portal_assignment WHERE resource_id = ANY(%(ids)s)"
        " UNION SELECT project_id FROM portal_approvalstep WHERE approver_id = ANY(%(ids)s)"
    ),
    "rate_card": (
        "SELECT p.id FROM portal_project p JOIN portal_ratecard r ON r.id = ANY(%(ids)s) AND (r.contract_id = p.contract_id"
        " OR r.customer_id = p.customer_id OR r.entity_id = p.entity_id"
        " OR (r.contract_id IS NULL AND r.customer_id IS NULL AND r.entity_id IS NULL))"
    ),
    "crosswalk": (
        "SELECT p.id FROM portal_crosswalk w JOIN portal_project p ON (w.kind = 'project' AND p.id = w.internal_id)"
        " OR (w.kind = 'customer' AND p.customer_id = w.internal_id) WHERE w.id = ANY(%(ids)s)"
        " UNION SELECT t.project_id FROM portal_crosswalk w JOIN portal_task t ON w.kind = 'task' AND t.id = w.internal_id"
        " WHERE w.id = ANY(%(ids)s)"
        " UNION SELECT a.project_id FROM portal_crosswalk w JOIN portal_assignment a ON a.resource_id = w.internal_id"
        " WHERE w.kind = 'resource' AND w.id = ANY(%(ids)s)"
        " UNION SELECT s.project_id FROM portal_crosswalk w JOIN portal_approvalstep s ON s.approver_id = w.internal_id"
        " WHERE w.kind = 'resource' AND w.id = ANY(%(ids)s)"
    ),
}


def keys_there(system: str, realm: str, day: date, wanted: Collection[tuple[str, int]]) -> dict[str, str]:
    """The system's own keys of customers, projects, tasks and people on a day, by record as `project:17`."""
    pairs = sorted(set(wanted))
    return dict(
        rows(
            "SELECT c.kind || ':' || c.internal_id, c.external_id FROM unnest(%s::text[], %s::bigint[]) AS w(kind, id)"
            " JOIN portal_crosswalk c ON c.system = %s AND c.realm = %s AND c.kind = w.kind AND c.internal_id = w.id"
            " WHERE NOT c.allows_many AND c.valid_from <= %s AND (c.valid_to IS NULL OR c.valid_to >= %s)",
            [texts([p[0] for p in pairs]), numbers([p[1] for p in pairs]), system, realm, day, day],
        )
    )


def several_keys(system: str, realm: str, records: Collection[str]) -> dict[str, list[str]]:
    """The system's keys of records that are several there, by record as `customer:5`."""
    return dict(
        rows(
            "SELECT c.kind || ':' || c.internal_id, array_agg(c.external_id ORDER BY c.external_id) FROM portal_crosswalk c"
            " WHERE c.system = %s AND c.realm = %s AND c.allows_many AND c.kind || ':' || c.internal_id = ANY(%s::text[])"
            " AND c.valid_from <= current_date AND (c.valid_to IS NULL OR c.valid_to >= current_date) GROUP BY 1",
            [system, realm, texts(sorted(set(records)))],
        )
    )


def open_entries(connection_id: int, document_ids: Collection[int]) -> list[int]:
    """Entries of these documents that have not gone, or were refused."""
    return [
        row[0]
        for row in rows(
            "SELECT s.entry_id FROM portal_ledgerstate s JOIN portal_ledgerentry e ON e.id = s.entry_id"
            " WHERE s.target_id = %s AND s.state IN ('held', 'ready', 'rejected') AND e.document_id = ANY(%s::bigint[])"
            " ORDER BY 1",
            [connection_id, numbers(document_ids)],
        )
    ]


def waiting_for(connection_id: int, events: Collection[str]) -> list[int]:
    """Entries owed to a system that wait for one of these records."""
    return [
        row[0]
        for row in rows(
            "SELECT entry_id FROM portal_ledgerstate WHERE state = 'ready' AND waits_on = ANY(%s::text[]) AND target_id = %s"
            " ORDER BY 1",
            [texts(events), connection_id],
        )
    ]


def stopped_for_want_of(connection_id: int, records: Collection[str]) -> list[int]:
    """Entries that are held because a system has no key for one of these records."""
    return [
        row[0]
        for row in rows(
            "SELECT h.entry_id FROM reconciliation_exceptioncase c JOIN reconciliation_hold h ON h.case_id = c.id"
            " AND h.closed_at IS NULL WHERE c.rule = 'crosswalk-missing' AND c.subject_key = ANY(%s::text[]) ORDER BY 1",
            [texts([f"{connection_id}:{record}" for record in records])],
        )
    ]


def standing_of(document_ids: Collection[int]) -> list[Row]:
    """(document, entry, version, generation, state, fence) of everything that these documents have on the ledger."""
    return rows(
        "SELECT e.document_id, e.id, e.version, e.generation, s.state, s.fence FROM portal_ledgerentry e"
        " JOIN portal_ledgerstate s ON s.entry_id = e.id WHERE e.document_id = ANY(%s::bigint[])"
        " ORDER BY e.id FOR NO KEY UPDATE OF s",
        [numbers(document_ids)],
    )


def address(entries: Sequence[tuple[int, str]]) -> None:
    """Give entries that were never sent the system's keys as of now: (entry, keys as JSON)."""
    if entries:
        execute(
            "UPDATE portal_ledgerentry e SET target_keys = w.keys::jsonb FROM unnest(%s::bigint[], %s::text[]) AS w(id, keys)"
            " WHERE e.id = w.id",
            [[entry_id for entry_id, _ in entries], [keys for _, keys in entries]],
        )
