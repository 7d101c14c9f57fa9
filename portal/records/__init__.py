"""The words of the pipeline: what a connector hands in and what it is handed, free of Django and of any vendor.

Canonical records come up from a source; postings go down to a target; statement lines are what a target says it has
booked. Everything here is immutable, and nothing here knows a database.
"""

from __future__ import annotations

from portal.records.bills import (
    Application,
    BillingRecord,
    BillKind,
    BillLine,
    BillRecord,
    BillStatus,
    PaymentKind,
    PaymentRecord,
    PaymentStatus,
    SettledBy,
)
from portal.records.documents import (
    NOTHING,
    CanonicalRecord,
    DocumentKind,
    DocumentRecord,
    ExpenseRecord,
    Reference,
    SourceStatus,
    TimeEntryRecord,
)
from portal.records.drafts import BillDraft, DraftLine, HeldDraft
from portal.records.master import FIGURES, Held, MasterKind, MasterRecord, Publication, PublishedKind
from portal.records.postings import Posting, Receipt, StatementLine

__all__ = [
    "FIGURES",
    "NOTHING",
    "Application",
    "BillDraft",
    "BillKind",
    "BillLine",
    "BillRecord",
    "BillStatus",
    "BillingRecord",
    "CanonicalRecord",
    "DocumentKind",
    "DocumentRecord",
    "DraftLine",
    "ExpenseRecord",
    "Held",
    "HeldDraft",
    "MasterKind",
    "MasterRecord",
    "PaymentKind",
    "PaymentRecord",
    "PaymentStatus",
    "Posting",
    "Publication",
    "PublishedKind",
    "Receipt",
    "Reference",
    "SettledBy",
    "SourceStatus",
    "StatementLine",
    "TimeEntryRecord",
]
