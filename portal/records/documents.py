"""What a source says of work: approved hours and expenses, and how anything else is named."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple


class DocumentKind(StrEnum):
    """What a document is: hours worked, or money spent."""

    TIME = "time"
    EXPENSE = "expense"


class SourceStatus(StrEnum):
    """How far a document has come in its source. Only APPROVED may reach the ledger."""

    DRAFT = "draft"  # running or unsubmitted: seen, not final
    SUBMITTED = "submitted"
    APPROVED = "approved"
    REJECTED = "rejected"  # somebody looked at it and said no: a word that may stand against another tool's approval
    WITHDRAWN = "withdrawn"  # was approved, and the approval was taken back
    DELETED = "deleted"  # gone at the source


class Reference(NamedTuple):
    """How a source names one of our master records: its own key first, then the code and the name people see.

    Any part may be empty; an empty reference (all three) means the source named nothing.
    """

    key: str = ""
    code: str = ""
    name: str = ""

    def __bool__(self) -> bool:
        return bool(self.key or self.code or self.name)


NOTHING = Reference()


@dataclass(frozen=True, slots=True, kw_only=True)
class CanonicalRecord:
    """One business fact in our words, with the source's identity kept.

    `revision` orders two copies of the same fact within its source by plain string comparison; the greater one is later.
    """

    external_id: str
    revision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRecord(CanonicalRecord):
    """What time entries and expenses have in common."""

    status: SourceStatus
    resource: Reference
    project: Reference
    task: Reference = NOTHING
    customer: Reference = NOTHING
    work_date: date
    zone: str = ""  # IANA name captured at the source; empty when the source has none
    billable: bool
    currency: str = ""  # ISO 4217; empty when the source states none
    description: str = ""
    approved_by: Reference = NOTHING
    approved_at: datetime | None = None
    provenance: str = ""  # identity in the tool where the work was first recorded, e.g. "jira:10001/37"
    link: str = ""  # where a person can see it at the source


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeEntryRecord(DocumentRecord):
    """Hours of one person on one project and day. `hours` comes from the source's own duration, never end minus start."""

    hours: Decimal
    rate: Decimal | None = None  # the source's own hourly rate; None when it states none, zero only when it states zero
    starts_at: datetime | None = None  # only to find overlaps
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpenseRecord(DocumentRecord):
    """Money one person spent for one project. `amount` is gross, in `currency`."""

    amount: Decimal
    category: str
    tax_code: str = ""
    tax_amount: Decimal | None = None
    receipt_reference: str = ""
