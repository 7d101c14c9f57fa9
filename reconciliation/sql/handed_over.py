"""The hand-written SQL of what was handed over as drafts of bills, line by line.

The rule here: one statement for all the bills that are asked about.
"""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from typing import NamedTuple

from portal.sql import rows
from reconciliation.sql import numbers


class DraftedLine(NamedTuple):
    """One line of a draft as it was approved. Its work is taken while it was neither billed nor given back."""

    draft_id: int
    bill_id: int | None  # the bill that came of its draft
    customer_id: int
    survivor_id: int | None  # of its customer, where that was merged
    customer: str
    currency: str
    line_id: int
    key: str
    what: str
    quantity: Decimal | None
    net: Decimal
    is_taken: bool


def lines_of_drafts(bill_ids: Collection[int], keys: Collection[str]) -> list[DraftedLine]:
    """Every line of the drafts of which these bills came, or of which some line bears one of these keys, in their order."""
    found = rows(
        """
        SELECT d.document_id, d.invoice_id, c.id, c.merged_into_id, c.name, i.currency, l.id, replace(l.key::text, '-', ''),
               l.description, l.quantity, l.net,
               EXISTS (SELECT 1 FROM portal_proposalpart p WHERE p.line_id = l.id AND p.released_at IS NULL)
          FROM portal_proposalline l JOIN portal_invoicedraft d ON d.document_id = l.draft_id
          JOIN portal_invoiceproposal i ON i.id = l.proposal_id JOIN portal_customer c ON c.id = i.customer_id
         WHERE l.draft_id IN (SELECT document_id FROM portal_invoicedraft WHERE invoice_id = ANY(%s::bigint[])
                               UNION SELECT draft_id FROM portal_proposalline WHERE key = ANY(%s::uuid[]))
         ORDER BY d.document_id, l.position, l.id""",
        [numbers(bill_ids), sorted(keys)],
    )
    return [DraftedLine(*row) for row in found]
