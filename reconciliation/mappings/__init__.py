"""Crosswalks under governance: what is not mapped and what it holds up, what it most likely is, and confirming it.

The rule here: a mapping is suggested and a person confirms it, as a change set that a second person agrees to; nothing is made in
a vendor, and nothing is tied by a name alone.
"""

from reconciliation.mappings.confirming import Choice, confirm
from reconciliation.mappings.conflicting import conflicts_of
from reconciliation.mappings.coverage import Cover, coverage
from reconciliation.mappings.dismissing import NotDismissed, dismiss, dismissed_of, offer_again, still_hidden
from reconciliation.mappings.keeping import bring_up_to_date
from reconciliation.mappings.suggesting import Match, candidates, suggest

__all__ = [
    "Choice",
    "Cover",
    "Match",
    "NotDismissed",
    "bring_up_to_date",
    "candidates",
    "confirm",
    "conflicts_of",
    "coverage",
    "dismiss",
    "dismissed_of",
    "offer_again",
    "still_hidden",
    "suggest",
]
