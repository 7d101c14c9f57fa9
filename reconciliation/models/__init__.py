"""Whether it is right: routes, exception cases and holds, triage, bulk operations, change sets, proposals, comparisons."""

from reconciliation.models.approvals import Approval
from reconciliation.models.billing import BillingDecision
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
from reconciliation.models.certificates import Certificate
from reconciliation.models.changes import ChangeEditor, ChangeFile, ChangeLine, ChangeReach, ChangeSet
from reconciliation.models.comparison import MatchedBucket, ReconciliationResult, ReconciliationRun
from reconciliation.models.imports import ColumnChoice, MasterImport
from reconciliation.models.mappings import DismissedMatch, Mapping, MappingsKept
from reconciliation.models.onboarding import BookedBefore, Booking, CutOver, Onboarding, Rehearsal, RehearsedLine
from reconciliation.models.operations import Operation, OperationRow
from reconciliation.models.pairing import Match, MatchingRule
from reconciliation.models.proposals import Proposal
from reconciliation.models.questions import TargetQuestion
from reconciliation.models.rates import BillDifference, BundleRow, RateBundle, RateLook
from reconciliation.models.readiness import ProjectMonth
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
    "Approval",
    "BillDifference",
    "BillingDecision",
    "BookedBefore",
    "Booking",
    "BundleRow",
    "CaseComment",
    "CaseDay",
    "CaseReach",
    "CaseTotal",
    "Certificate",
    "ChangeEditor",
    "ChangeFile",
    "ChangeLine",
    "ChangeReach",
    "ChangeSet",
    "ColumnChoice",
    "CutOver",
    "Decision",
    "DecisionCase",
    "DismissedMatch",
    "EntryComment",
    "ExceptionCase",
    "HandBack",
    "Hold",
    "Ignore",
    "Lease",
    "Mapping",
    "MappingsKept",
    "MasterImport",
    "Match",
    "MatchedBucket",
    "MatchingRule",
    "Onboarding",
    "Operation",
    "OperationRow",
    "OwnershipRule",
    "ProjectMonth",
    "Proposal",
    "RateBundle",
    "RateLook",
    "ReconciliationResult",
    "ReconciliationRun",
    "Rehearsal",
    "RehearsedLine",
    "Route",
    "Snooze",
    "TargetQuestion",
    "Team",
    "TeamMember",
]
