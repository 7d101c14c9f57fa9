"""Billing readiness on screen: the portfolio with the first blocker of each project, and one project with its twelve questions.

The rule here: a period is always chosen (the latest with work unless the address says another), so that figures of different
months are never added up, and a page asks the ledger for the days of one period only.
"""

from reconciliation.views.readiness.portfolio import Portfolio
from reconciliation.views.readiness.project import ReadinessScreen

__all__ = ["Portfolio", "ReadinessScreen"]
