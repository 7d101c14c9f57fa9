"""Which open entries a changed master record touches. Open entries (held, ready, rejected) are few beside the booked ones."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import Any

from portal.models.documents import OURS
from portal.sql import rows

_OPEN = (
    "SELECT e.id FROM portal_ledgerstate s JOIN portal_ledgerentry e ON e.id = s.entry_id"
    " LEFT JOIN portal_project p ON p.id = e.project_id"
    " WHERE s.state IN ('held', 'ready', 'rejected') AND e.reverses_id IS NULL AND "
)
_OPEN_STATES = "s.state IN ('held', 'ready', 'rejected')"
_BOOKED_STATES = (
    "s.state IN ('accepted', 'posted', 'reconciled') AND e.kind <> ALL(%(ours)s) AND e.work_date >= %(since)s"
)
_HELD = (
    "SELECT h.entry_id FROM reconciliation_hold h JOIN reconciliation_exceptioncase c ON c.id = h.case_id"
    " WHERE h.closed_at IS NULL AND "
)
_UNKNOWN = "h.rule IN ('project-unknown', 'resource-unknown', 'task-required')"
_BY = {
    "entity": (_OPEN + "e.entity_id = ANY(%(ids)s)",),
    "period": (
        _OPEN + "EXISTS (SELECT 1 FROM portal_accountingperiod a WHERE a.id = ANY(%(ids)s) AND (e.period_id = a.id OR"  # noqa: S608
        " ((e.entity_id = a.entity_id OR p.entity_id = a.entity_id) AND e.post_on BETWEEN a.starts_on AND a.ends_on)))",
        _HELD + "h.rule IN ('period-closed', 'period-missing')",
    ),
    "cost_centre": (
        _OPEN + "(e.cost_centre_id = ANY(%(ids)s) OR (e.cost_centre_id IS NULL AND e.entity_id IN ("  # noqa: S608
        "SELECT entity_id FROM portal_costcentre WHERE id = ANY(%(ids)s))))",  # the first one of an entity is needed from then on
        _HELD + "h.rule = 'cost-centre-missing'",
    ),
    "customer": (_OPEN + "(e.customer_id = ANY(%(ids)s) OR p.customer_id = ANY(%(ids)s))",),
    "contract": (_OPEN + "(e.contract_id = ANY(%(ids)s) OR p.contract_id = ANY(%(ids)s))",),
    "project": (_OPEN + "e.project_id = ANY(%(ids)s)", _HELD + "h.rule = 'project-unknown'"),
    "role": (_OPEN + "e.role_id = ANY(%(ids)s)",),
    "resource": (
        _OPEN + "e.resource_id = ANY(%(ids)s)",
        _HELD + "h.rule IN ('resource-unknown', 'approver-not-in-chain')",
    ),
    "rate_card": (
        _OPEN + "EXISTS (SELECT 1 FROM portal_ratecard r WHERE r.id = ANY(%(ids)s) AND (r.contract_id = p.contract_id"  # noqa: S608
        " OR r.customer_id IN (p.customer_id, e.customer_id) OR r.entity_id = p.entity_id"
        " OR (r.contract_id IS NULL AND r.customer_id IS NULL AND r.entity_id IS NULL)))",
        _OPEN + "e.rate_used_id IN (SELECT id FROM portal_rate WHERE card_id = ANY(%(ids)s))",  # noqa: S608
        _HELD + "h.rule = 'intercompany-unpriced'",
    ),
    "exchange_rate": (),  # no entry is booked at one: only causes are weighed again
    "intercompany": (
        _OPEN + "p.entity_id IN (SELECT receiver_id FROM portal_intercompanyrelation WHERE id = ANY(%(ids)s))"  # noqa: S608
        " AND EXISTS (SELECT 1 FROM portal_engagement g WHERE g.resource_id = e.resource_id AND g.entity_id <> p.entity_id)",
        _HELD + "h.rule IN ('intercompany-missing', 'intercompany-unpriced')",
    ),
    "crosswalk": (
        _OPEN + "EXISTS (SELECT 1 FROM portal_crosswalk w WHERE w.id = ANY(%(ids)s) AND ("  # noqa: S608
        "(w.kind = 'project' AND e.project_id = w.internal_id) OR (w.kind = 'resource' AND e.resource_id = w.internal_id)"
        " OR (w.kind = 'task' AND e.task_id = w.internal_id) OR (w.kind = 'entity' AND e.entity_id = w.internal_id)"
        " OR (w.kind = 'cost_centre' AND e.cost_centre_id = w.internal_id) OR (w.kind = 'item' AND e.role_id = w.internal_id)))",
        _HELD + _UNKNOWN,
    ),
    "alias": (
        _OPEN + "EXISTS (SELECT 1 FROM portal_alias a WHERE a.id = ANY(%(ids)s) AND ("  # noqa: S608
        " e.tags ?| ARRAY['project-by-alias:' || a.id, 'resource-by-alias:' || a.id]"
        " OR EXISTS (SELECT 1 FROM portal_timeentry t WHERE t.document_id = e.document_id AND t.version = e.version"
        "            AND lower(a.code) IN (lower(t.project_code), lower(t.project_key), lower(t.project_name),"
        "                                  lower(t.resource_code), lower(t.resource_key), lower(t.resource_name)))))",
        _HELD + _UNKNOWN,
    ),
    "connection": (_OPEN + "(e.source_id = ANY(%(ids)s) OR e.target_id = ANY(%(ids)s))",),
    "route": (
        _OPEN + "e.source_id IN (SELECT source_id FROM reconciliation_route WHERE id = ANY(%(ids)s))",  # noqa: S608
        _HELD + "h.rule = 'no-route'",
    ),
    "bill": (),  # what comes in of bills and payments is only told to others
    "payment": (),
}
KINDS = frozenset(_BY)


def open_entries(kind: str, ids: Collection[int]) -> list[int]:
    """Open entries that these records of one kind touch, or that wait for such a record, in order."""
    found: set[int] = set()
    for query in _BY[kind]:
        found.update(row[0] for row in rows(query, {"ids": list(ids)}))
    return sorted(found)


def booked_entries(kind: str, ids: Collection[int], since: date, limit: int) -> list[int]:
    """Booked work from a day on that these records of one kind touch, the latest first; `limit` of each way at most.

    What is told to others is no work and priced by nobody: it is left out.
    """
    found: set[int] = set()
    for query in _BY[kind]:
        if not query.startswith(_OPEN):
            continue  # what waits for a record is not booked
        booked = f"{query.replace(_OPEN_STATES, _BOOKED_STATES)} ORDER BY e.id DESC LIMIT %(limit)s"
        found.update(
            row[0] for row in rows(booked, {"ids": list(ids), "ours": list(OURS), "since": since, "limit": limit})
        )
    return sorted(found, reverse=True)


def sources_of_routes(route_ids: Collection[int]) -> list[int]:
    """The sources whose documents these routes lead."""
    return [
        row[0]
        for row in rows(
            "SELECT DISTINCT source_id FROM reconciliation_route WHERE id = ANY(%s::bigint[])", [list(route_ids)]
        )
    ]


def causes_of_routes(source_ids: Collection[int]) -> list[int]:
    """The open causes that say that documents of these sources have no target."""
    return [
        row[0]
        for row in rows(
            "SELECT id FROM reconciliation_exceptioncase WHERE state = 'open' AND rule = 'no-route'"
            " AND connection_id = ANY(%s::bigint[]) ORDER BY id",
            [list(source_ids)],
        )
    ]


def parents_waited_for(before: Any, limit: int) -> list[int]:
    """Entries that have waited since before a moment for a record to arrive in their target."""
    return [
        row[0]
        for row in rows(
            "SELECT entry_id FROM portal_ledgerstate WHERE state = 'ready' AND waits_on ~ '^(parent|settled):' AND moved_at < %s"
            " ORDER BY entry_id LIMIT %s",
            [before, limit],
        )
    ]
