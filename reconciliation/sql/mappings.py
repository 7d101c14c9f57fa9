"""How the keys of systems stand to our records: written from the function `reconciliation_mappings`, and read as rows."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from typing import Any

from portal.sql import rows
from reconciliation.sql import numbers


def keep() -> datetime:
    """Write the rows anew if they may say something else by now; from when they are. One statement either way."""
    moment: datetime = rows("SELECT keep_mappings()")[0][0]
    return moment


def coverage(entities: Collection[int], everywhere: bool) -> list[tuple[Any, ...]]:
    """(connection, kind, records mapped, records without a key, their records without ours) where these entities are served."""
    return rows(
        """SELECT connection_id, kind, count(DISTINCT internal_id) FILTER (WHERE state = 'mapped' AND NOT is_inactive),
                  count(DISTINCT internal_id) FILTER (WHERE state = 'unmapped'),
                  count(DISTINCT foreign_id) FILTER (WHERE state = 'theirs')
             FROM reconciliation_mapping WHERE entity_id = ANY(%s::bigint[]) OR (%s AND entity_id IS NULL)
            GROUP BY 1, 2""",
        [numbers(entities), everywhere],
    )


def worth_of_unmapped(entities: Collection[int]) -> list[tuple[int, str, str, Decimal]]:
    """(connection, kind, currency, amount) of the open entries of records without a key."""
    found = rows(
        """SELECT m.connection_id, m.kind, w.key, sum(w.value::numeric) FROM reconciliation_mapping m
            CROSS JOIN LATERAL jsonb_each_text(m.money) w
            WHERE m.state = 'unmapped' AND m.entity_id = ANY(%s::bigint[]) GROUP BY 1, 2, 3 ORDER BY 4 DESC""",
        [numbers(entities)],
    )
    return [(row[0], row[1], row[2], row[3]) for row in found]
