"""What is true: people and their grants, master data, documents, the ledger and the audit trail."""

from portal.models.access import ApiToken, EntityGrant, GrantRole, User
from portal.models.allocations import Allocation, BillingBalance
from portal.models.assignments import Assignment
from portal.models.audit import AuditEvent, Heartbeat
from portal.models.billing import (
    CreditNote,
    Invoice,
    InvoiceLine,
    InvoiceVersion,
    Payment,
    PaymentAllocation,
    PaymentVersion,
    WriteOff,
)
from portal.models.changes import MasterChange
from portal.models.connections import Connection
from portal.models.currencies import ExchangeRate
from portal.models.documents import Document, Expense, TimeEntry
from portal.models.exports import Export
from portal.models.governance import ForeignRecord, RejectedValue
from portal.models.ledger import (
    Attempt,
    AttemptLine,
    LedgerEntry,
    LedgerState,
    LedgerTransition,
    ReadBack,
    Receipt,
    State,
    StatementLine,
)
from portal.models.master_data import (
    AccountingPeriod,
    Alias,
    ApprovalStep,
    BillingModel,
    Contract,
    CostCentre,
    Crosswalk,
    Customer,
    Engagement,
    IntercompanyRelation,
    InvoiceSchedule,
    LegalEntity,
    Milestone,
    Project,
    ProjectStatus,
    PurchaseOrder,
    Rate,
    RateCard,
    Resource,
    Role,
    Task,
)
from portal.models.notifications import Digest, Notification, NotificationKind
from portal.models.published import Published, PublishedVersion
from portal.models.saved_views import SavedView

__all__ = [
    "AccountingPeriod",
    "Alias",
    "Allocation",
    "ApiToken",
    "ApprovalStep",
    "Assignment",
    "Attempt",
    "AttemptLine",
    "AuditEvent",
    "BillingBalance",
    "BillingModel",
    "Connection",
    "Contract",
    "CostCentre",
    "CreditNote",
    "Crosswalk",
    "Customer",
    "Digest",
    "Document",
    "Engagement",
    "EntityGrant",
    "ExchangeRate",
    "Expense",
    "Export",
    "ForeignRecord",
    "GrantRole",
    "Heartbeat",
    "IntercompanyRelation",
    "Invoice",
    "InvoiceLine",
    "InvoiceSchedule",
    "InvoiceVersion",
    "LedgerEntry",
    "LedgerState",
    "LedgerTransition",
    "LegalEntity",
    "MasterChange",
    "Milestone",
    "Notification",
    "NotificationKind",
    "Payment",
    "PaymentAllocation",
    "PaymentVersion",
    "Project",
    "ProjectStatus",
    "Published",
    "PublishedVersion",
    "PurchaseOrder",
    "Rate",
    "RateCard",
    "ReadBack",
    "Receipt",
    "RejectedValue",
    "Resource",
    "Role",
    "SavedView",
    "State",
    "StatementLine",
    "Task",
    "TimeEntry",
    "User",
    "WriteOff",
]
