"""Whether it is right: routes and policies, exception cases and holds, triage, bulk operations, proposals, comparisons."""

from reconciliation.models.cases import (
    CaseComment,
    CaseDay,
    CaseReach,
    CaseTotal,
    EntryComment,
    ExceptionCase,
    HandBack,
    Hold,
)
from reconciliation.models.comparison import ReconciliationResult, ReconciliationRun
from reconciliation.models.operations import Operation, OperationRow
from reconciliation.models.proposals import Proposal
from reconciliation.models.questions import TargetQuestion
from reconciliation.models.routes import Route
from reconciliation.models.teams import OwnershipRule, Team, TeamMember
from reconciliation.models.triage import (
    Decision,
    DecisionCase,
    Ignore,
    Lease,
    Snooze,
)

__all__ = [
    "CaseComment",
    "CaseDay",
    "CaseReach",
    "CaseTotal",
    "Decision",
    "DecisionCase",
    "EntryComment",
    "ExceptionCase",
    "HandBack",
    "Hold",
    "Ignore",
    "Lease",
    "Operation",
    "OperationRow",
    "OwnershipRule",
    "Proposal",
    "ReconciliationResult",
    "ReconciliationRun",
    "Route",
    "Snooze",
    "TargetQuestion",
    "Team",
    "TeamMember",
]
