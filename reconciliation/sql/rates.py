"""Reading what work is to be priced: open entries without a rate, work being corrected at its source, and how people work now."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date
from typing import Any

from portal.sql import rows
from reconciliation.sql import numbers

Row = tuple[Any, ...]


def open_without_rate(entity_ids: Collection[int], limit: int) -> list[int]:
    """Documents of open time that is to be billed and has no agreed rate, the oldest work first."""
    found = rows(
        "SELECT e.document_id FROM portal_ledgerstate s JOIN portal_ledgerentry e ON e.id = s.entry_id"
        " WHERE s.state IN ('held', 'ready', 'rejected') AND s.entity_id = ANY(%s::bigint[]) AND e.kind = 'time'"
        " AND e.reverses_id IS NULL AND e.is_billable AND e.rate IS NULL AND e.project_id IS NOT NULL"
        " GROUP BY e.document_id ORDER BY min(e.work_date), e.document_id LIMIT %s",
        [numbers(entity_ids), limit],
    )
    return [row[0] for row in found]


def reopened(entity_ids: Collection[int], since: date, limit: int) -> list[int]:
    """Documents of billable time since a day that was approved once and is open at its source again, the oldest work first."""
    found = rows(
        "SELECT d.id FROM portal_timeentry t JOIN portal_document d ON d.id = t.document_id AND d.current_version = t.version"
        " WHERE t.work_date >= %s AND t.status IN ('draft', 'submitted') AND t.is_billable"
        " AND d.entity_id = ANY(%s::bigint[]) ORDER BY t.work_date, d.id LIMIT %s",
        [since, numbers(entity_ids), limit],
    )
    return [row[0] for row in found]


def assignments(entity_ids: Collection[int], since: date) -> list[Row]:
    """Who works on what since a day, with how many hours, and the latest rate that those had.

    (source, entity, person, project, task or empty, hours, latest rate, its currency); people, projects and tasks by code.
    """
    return rows(
        """
        SELECT e.source_id, e.entity_id, r.code, p.code, coalesce(t.code, ''), sum(e.hours),
               (array_agg(e.rate ORDER BY e.work_date DESC) FILTER (WHERE e.rate IS NOT NULL))[1],
               (array_agg(e.currency ORDER BY e.work_date DESC) FILTER (WHERE e.rate IS NOT NULL))[1]
          FROM portal_ledgerentry e
          JOIN portal_ledgerstate s ON s.entry_id = e.id AND s.state NOT IN ('cancelled', 'reversed')
          JOIN portal_resource r ON r.id = e.resource_id
          JOIN portal_project p ON p.id = e.project_id
          LEFT JOIN portal_task t ON t.id = e.task_id
         WHERE e.entity_id = ANY(%s::bigint[]) AND e.work_date >= %s AND e.kind = 'time' AND e.is_billable
           AND e.reverses_id IS NULL
         GROUP BY 1, 2, 3, 4, 5 ORDER BY 4, 3, 5, 1""",
        [numbers(entity_ids), since],
    )


def days_of_change(projects: Sequence[str], people: Sequence[str], first: date, last: date) -> list[date]:
    """The days of a range on which a rate, a card, an engagement or a status of these projects and people begins or ended.

    What is for everybody counts for all of them.
    """
    return [
        row[0]
        for row in rows(
            """
            WITH p AS (SELECT id, contract_id, customer_id, entity_id FROM portal_project WHERE code = ANY(%(projects)s)),
                 c AS (SELECT k.id, k.valid_from, k.valid_to FROM portal_ratecard k
                        WHERE k.contract_id IN (SELECT contract_id FROM p) OR k.customer_id IN (SELECT customer_id FROM p)
                           OR k.entity_id IN (SELECT entity_id FROM p)
                           OR (k.contract_id IS NULL AND k.customer_id IS NULL AND k.entity_id IS NULL)),
                 spans AS (SELECT valid_from, valid_to FROM c
                           UNION SELECT r.valid_from, r.valid_to FROM portal_rate r WHERE r.card_id IN (SELECT id FROM c)
                           UNION SELECT g.valid_from, g.valid_to FROM portal_engagement g
                                   JOIN portal_resource o ON o.id = g.resource_id WHERE o.code = ANY(%(people)s)
                           UNION SELECT s.valid_from, s.valid_to FROM portal_projectstatus s
                                  WHERE s.project_id IN (SELECT id FROM p))
            SELECT day FROM (SELECT valid_from AS day FROM spans UNION SELECT valid_to + 1 FROM spans) AS days
             WHERE day BETWEEN %(first)s AND %(last)s ORDER BY day""",
            {"projects": list(projects), "people": list(people), "first": first, "last": last},
        )
    ]


def agreements_of_open_work(entity_ids: Collection[int]) -> tuple[list[int], list[int], list[int]]:
    """The contracts, customers and project entities of the open time of some entities."""
    found = rows(
        "SELECT DISTINCT p.contract_id, p.customer_id, p.entity_id FROM portal_ledgerstate s"
        " JOIN portal_ledgerentry e ON e.id = s.entry_id JOIN portal_project p ON p.id = e.project_id"
        " WHERE s.state IN ('held', 'ready', 'rejected') AND s.entity_id = ANY(%s::bigint[]) AND e.kind = 'time'",
        [numbers(entity_ids)],
    )
    columns = (sorted({row[place] for row in found if row[place] is not None}) for place in range(3))
    contracts, customers, entities = columns
    return contracts, customers, entities
