"""What an approver decides on, in one hash: whoever approves names it, so that nothing else can be approved than was seen."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from portal import sql as portal_sql
from portal.models import InvoiceProposal, ProposalLine


def content_hash(proposal: InvoiceProposal, lines: Sequence[ProposalLine]) -> str:
    """SHA-256 of everything that the customer would read, line by line."""
    said = [
        proposal.customer_id, proposal.currency, proposal.purchase_order_id, proposal.through, proposal.memo,
        [
            [str(line.key), line.description, _figure(line.quantity), _figure(line.unit_price), _figure(line.net),
             line.tax_code, line.held_by_id is not None]
            for line in lines
        ],
    ]  # fmt: skip
    return hashlib.sha256(portal_sql.as_json(said).encode()).hexdigest()


def _figure(value: object) -> str:
    text = "" if value is None else f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
