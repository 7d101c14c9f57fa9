"""What entries say about the record that was meant, for suggestions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from portal.sql import execute, rows

SEEN = 500  # entries of one cause that are looked at; more say the same again


def held(case_ids: Sequence[int]) -> list[tuple[Any, ...]]:
    """Of each cause: (case, first day, last day, people, clients' names, approvers' codes and names) of what it holds."""
    return rows(
        """SELECT c.id, min(f.work_date), max(f.work_date), array_agg(DISTINCT f.resource_id) FILTER (WHERE f.resource_id > 0),
                  array_agg(DISTINCT f.customer_name), array_agg(DISTINCT f.approver_code) || array_agg(DISTINCT f.approver_name)
             FROM unnest(%s::bigint[]) AS c(id) CROSS JOIN LATERAL (
               SELECT e.work_date, e.resource_id, t.customer_name, t.approver_code, t.approver_name
                 FROM reconciliation_hold h JOIN portal_ledgerentry e ON e.id = h.entry_id
                 LEFT JOIN portal_timeentry t ON t.document_id = e.document_id AND t.version = e.version
                WHERE h.case_id = c.id AND h.closed_at IS NULL LIMIT %s) f
            GROUP BY c.id""",
        [list(case_ids), SEEN],
    )


def booked(people: Sequence[int], since: date, until: date) -> list[tuple[int, int, int]]:
    """(person, project, entries) of what these people had on known projects between two days."""
    found = rows(
        "SELECT resource_id, project_id, count(*) FROM portal_ledgerentry WHERE resource_id = ANY(%s::bigint[])"
        " AND work_date BETWEEN %s AND %s AND project_id IS NOT NULL AND reverses_id IS NULL GROUP BY 1, 2",
        [list(people), since, until],
    )
    return [(row[0], row[1], row[2]) for row in found]


def keep_scores(scores: Sequence[tuple[int, int, datetime | None]], records_at: datetime | None) -> None:
    """Keep the score of each cause, with what it is about: (case, score, when its counts last changed).

    Causes that somebody is changing are passed by.
    """
    ids, values, counted = [list(column) for column in zip(*scores, strict=True)]
    execute(
        """UPDATE reconciliation_exceptioncase c SET best_score = w.score, scored_for = w.counted_at, scored_with = %s
             FROM unnest(%s::bigint[], %s::int[], %s::timestamptz[]) AS w(id, score, counted_at)
            WHERE c.id = w.id AND c.id IN (SELECT id FROM reconciliation_exceptioncase
                                            WHERE id = ANY(%s::bigint[]) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)""",
        [records_at, ids, values, counted, ids],
    )
