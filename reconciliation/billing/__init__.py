"""Who is billed for how much: bills and payments followed to the hours that they are about, and what does not tie.

The rule here: the ERP's figures win and are never forced; what they mean for our hours is decided here, by the keys and receipt
numbers on their lines and by nothing else. What cannot be allocated, or changed behind our back, is a case; what is gone is
never brought back by itself; hours are open again only when a bill was voided, or a credit says which of them.
"""

from __future__ import annotations

from reconciliation.billing.deciding import Choice, NotDecidable, adopt, approve, choices, correct, opens_hours, restore
from reconciliation.billing.explaining import explained
from reconciliation.billing.following import (
    Followed,
    booked_anew,
    follow,
    review,
    review_every,
    review_short,
    tell_of_rates,
)
from reconciliation.billing.picking import NotCreditable, credit_hours, credit_price
from reconciliation.billing.planning import Part
from reconciliation.billing.shortness import short_of

__all__ = [
    "Choice",
    "Followed",
    "NotCreditable",
    "NotDecidable",
    "Part",
    "adopt",
    "approve",
    "booked_anew",
    "choices",
    "correct",
    "credit_hours",
    "credit_price",
    "explained",
    "follow",
    "opens_hours",
    "restore",
    "review",
    "review_every",
    "review_short",
    "short_of",
    "tell_of_rates",
]
