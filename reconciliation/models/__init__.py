"""Whether it is right: routes and their policies, exception cases and holds, bulk operations, reconciliation runs."""

from reconciliation.models.cases import CaseComment, CaseTotal, ExceptionCase, HandBack, Hold
from reconciliation.models.comparison import ReconciliationResult, ReconciliationRun
from reconciliation.models.operations import Operation, OperationRow
from reconciliation.models.routes import Route

__all__ = [
    "CaseComment",
    "CaseTotal",
    "ExceptionCase",
    "HandBack",
    "Hold",
    "Operation",
    "OperationRow",
    "ReconciliationResult",
    "ReconciliationRun",
    "Route",
]
