"""Billing readiness: what stands between the work of a project in a period and the customer's invoice, in plain words.

The rule here: a project is never just “not ready”. The first thing that stops it is named, with its money, who has to act, and
what is done about it. Twelve questions are asked, and each answer is computed from what stands now.
"""

from reconciliation.readiness.agreements import billing_model_of, manager_of, terms_of, with_whom
from reconciliation.readiness.blockers import first_blockers
from reconciliation.readiness.checks import CHECKS, Check, Verdict, checklist
from reconciliation.readiness.explaining import Why, why_not_billed
from reconciliation.readiness.left_out import OFF_BILL
from reconciliation.readiness.lost import lost
from reconciliation.readiness.milestones import Stone, milestones_of
from reconciliation.readiness.months import added_up, of_key
from reconciliation.readiness.words import Blocker

__all__ = [
    "CHECKS",
    "OFF_BILL",
    "Blocker",
    "Check",
    "Stone",
    "Verdict",
    "Why",
    "added_up",
    "billing_model_of",
    "checklist",
    "first_blockers",
    "lost",
    "manager_of",
    "milestones_of",
    "of_key",
    "terms_of",
    "why_not_billed",
    "with_whom",
]
