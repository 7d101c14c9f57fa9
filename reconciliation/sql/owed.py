"""From which work date documents are owed, as one expression that every question asks alike.

The rule here: the first day is `NEVER` while an entity or a source is being brought in, and for a document booked before.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

from portal.sql import rows
from reconciliation.sql import numbers

NEVER = date(9999, 12, 31)
_NEVER = "DATE '9999-12-31'"

# Of a document `d` and its connection `c`; empty where every work date is owed.
FIRST_DAY = f"""CASE
    WHEN EXISTS (SELECT 1 FROM reconciliation_onboarding o WHERE o.state <> 'live' AND o.entity_id = d.entity_id
                    AND (o.source_id IS NULL OR o.source_id = d.connection_id)) THEN {_NEVER}
    WHEN EXISTS (SELECT 1 FROM reconciliation_bookedbefore b WHERE b.document_id = d.id) THEN {_NEVER}
    ELSE coalesce((SELECT k.first_day FROM reconciliation_cutover k
                    WHERE k.entity_id = d.entity_id AND k.source_id = d.connection_id AND k.kind = d.kind), c.cut_over_on)
    END"""  # noqa: S608

# The same of each connection for an entity's time; what a document was booked before is to be asked beside it.
FIRST_DAYS = f"""SELECT c.id, CASE
    WHEN EXISTS (SELECT 1 FROM reconciliation_onboarding o WHERE o.state <> 'live' AND o.entity_id = %(entity)s
                    AND (o.source_id IS NULL OR o.source_id = c.id)) THEN {_NEVER}
    ELSE coalesce((SELECT k.first_day FROM reconciliation_cutover k
                    WHERE k.entity_id = %(entity)s AND k.source_id = c.id AND k.kind = 'time'), c.cut_over_on)
    END AS first_day FROM portal_connection c OFFSET 0"""  # noqa: S608


def first_days(source_ids: Collection[int]) -> list[tuple[int, int, str, date]]:
    """(source, entity, kind, first day) of what has a cut-over of its own or is being brought in; nothing of the others."""
    return [
        (row[0], row[1], row[2], row[3])
        for row in rows(
            f"SELECT s.id, k.entity_id, k.kind, k.first_day FROM unnest(%(ids)s::bigint[]) AS s(id)"  # noqa: S608
            " JOIN reconciliation_cutover k ON k.source_id = s.id"
            " WHERE NOT EXISTS (SELECT 1 FROM reconciliation_onboarding o WHERE o.state <> 'live' AND o.entity_id = k.entity_id"
            " AND (o.source_id IS NULL OR o.source_id = s.id))"
            f" UNION ALL SELECT s.id, o.entity_id, kind.name, {_NEVER} FROM unnest(%(ids)s::bigint[]) AS s(id)"
            " JOIN reconciliation_onboarding o ON o.state <> 'live' AND (o.source_id IS NULL OR o.source_id = s.id)"
            " CROSS JOIN (VALUES ('time'), ('expense')) AS kind(name)",
            {"ids": numbers(source_ids)},
        )
    ]


def booked_before(document_ids: Collection[int]) -> dict[int, str]:
    """Which of these documents were booked before they could be owed, and as what."""
    found = rows(
        "SELECT document_id, number FROM reconciliation_bookedbefore WHERE document_id = ANY(%s::bigint[])",
        [numbers(document_ids)],
    )
    return {row[0]: row[1] for row in found}
