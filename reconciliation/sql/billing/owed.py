"""What bills are off by since rates changed in the past."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from portal.sql import rows


class Owed(NamedTuple):
    """What a bill is off by since rates changed in the past, as somebody agreed to it, and what has moved since."""

    bundle_id: int
    because: str
    entries: int
    currency: str
    net: Decimal  # above zero more is to be invoiced, below it credited
    moved: Decimal  # by which bills of these hours went up or down since

    @property
    def left(self) -> Decimal:
        """What is still to be credited (below zero) or invoiced; zero once it is made up for."""
        left = self.net - self.moved
        return left if left * self.net > 0 else Decimal(0)

    @property
    def short(self) -> Decimal:
        """How much is left, whichever way."""
        return abs(self.left)


def owed_by_rates(bill_ids: Sequence[int]) -> dict[int, list[Owed]]:
    """The latest agreed difference of each bill and currency; a later plan counted what an earlier one left."""
    found: dict[int, list[Owed]] = {}
    for bill_id, *row in rows(
        """
        SELECT d.invoice_id, d.bundle_id, c.title, d.entries, d.currency, d.would_be - d.billed, coalesce(m.amount, 0)
          FROM (SELECT DISTINCT ON (invoice_id, currency) * FROM reconciliation_billdifference
                 WHERE invoice_id = ANY(%s::bigint[]) AND proposed_at IS NOT NULL
                 ORDER BY invoice_id, currency, bundle_id DESC) d
          JOIN reconciliation_ratebundle b ON b.id = d.bundle_id JOIN reconciliation_changeset c ON c.id = b.change_set_id
          LEFT JOIN LATERAL (
               SELECT sum(a.amount) FROM portal_allocation a WHERE a.recorded_at >= d.proposed_at AND a.entry_id IN (
                      SELECT r.entry_id FROM reconciliation_bundlerow r
                       WHERE r.bundle_id = d.bundle_id AND r.invoice_id = d.invoice_id AND r.way = 'bill')) m(amount) ON true
         WHERE d.would_be <> d.billed AND d.over_at IS NULL ORDER BY d.invoice_id, d.currency""",
        [list(bill_ids)],
    ):
        found.setdefault(bill_id, []).append(Owed(*row))
    return found
