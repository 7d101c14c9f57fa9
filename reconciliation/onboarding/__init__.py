"""Bringing in an entity or a source: begin, check, rehearse the last closed month in shadow, go live with a second person.

The rule here: while it is being brought in nothing is owed, and the database holds that. What a rehearsal finds is compared with
what was really booked; every difference is gone or decided by a person with a reason before anybody may propose to go live.
"""

from reconciliation.onboarding.base import NotYet, begin, set_cut_over, sources_of
from reconciliation.onboarding.checklist import Item, checklist
from reconciliation.onboarding.deciding import decide
from reconciliation.onboarding.going_live import approve, propose, send_back, what_is_missing, why_not
from reconciliation.onboarding.rehearsing import RehearsalLost, request

__all__ = [
    "Item",
    "NotYet",
    "RehearsalLost",
    "approve",
    "begin",
    "checklist",
    "decide",
    "propose",
    "request",
    "send_back",
    "set_cut_over",
    "sources_of",
    "what_is_missing",
    "why_not",
]
