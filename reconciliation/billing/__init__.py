"""Who is billed for how much: bills and payments followed to the hours that they are about, and what does not tie.

The rule here: the ERP's figures win and are never forced; what they mean for our hours is decided here, by the keys and receipt
numbers on their lines and by nothing else. What cannot be allocated, or changed behind our back, is a case; what is gone is
never brought back by itself; hours are open again only when a bill was voided, or a credit says which of them.
"""

from __future__ import annotations

from reconciliation.billing.as_approved import strayed
from reconciliation.billing.comparing import Compared, Effect, between, compared, effects_of
from reconciliation.billing.deciding import (
    Choice,
    Decided,
    NotDecidable,
    adopt,
    approve,
    choices,
    correct,
    may_be_withdrawn,
    opens_hours,
    recreate,
    refuse,
    restore,
    standing,
    state_of,
    withdraw,
)
from reconciliation.billing.explaining import explained, settled_by_kind
from reconciliation.billing.following import (
    Followed,
    booked_anew,
    follow,
    review,
    review_every,
    review_lately,
    review_short,
    tell_of_rates,
)
from reconciliation.billing.picking import (
    NotCreditable,
    beside,
    credit_beside,
    credit_hours,
    credit_price,
    named_by_hand,
    take_back,
)
from reconciliation.billing.planning import Part
from reconciliation.billing.shortness import short_of

__all__ = [
    "Choice",
    "Compared",
    "Decided",
    "Effect",
    "Followed",
    "NotCreditable",
    "NotDecidable",
    "Part",
    "adopt",
    "approve",
    "beside",
    "between",
    "booked_anew",
    "choices",
    "compared",
    "correct",
    "credit_beside",
    "credit_hours",
    "credit_price",
    "effects_of",
    "explained",
    "follow",
    "may_be_withdrawn",
    "named_by_hand",
    "opens_hours",
    "recreate",
    "refuse",
    "restore",
    "review",
    "review_every",
    "review_lately",
    "review_short",
    "settled_by_kind",
    "short_of",
    "standing",
    "state_of",
    "strayed",
    "take_back",
    "tell_of_rates",
    "withdraw",
]
