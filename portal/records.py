"""The words of the pipeline: what a connector hands in and what it is handed, free of Django and of any vendor.

Canonical records come up from a source; postings go down to a target; statement lines are what a target says it has
booked. Everything here is immutable, and nothing here knows a database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple


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


class MasterKind(StrEnum):
    """Master data that a system can own."""

    ENTITY = "entity"
    PERIOD = "period"
    COST_CENTRE = "cost_centre"
    CUSTOMER = "customer"
    PROJECT = "project"
    TASK = "task"
    RESOURCE = "resource"


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterRecord(CanonicalRecord):
    """One master record as its owner system states it.

    `attributes` uses our field names (see docs/connectors/adding.md for the names of each kind); unknown ones are refused.
    """

    kind: MasterKind
    code: str
    name: str
    parent: Reference = NOTHING
    is_active: bool = True
    deleted: bool = False
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """One ledger entry addressed to one target, in the target's own keys.

    `key` is the idempotency key (32 hex digits, safe as an external id); the same key must never book twice. A reversal
    has negative hours or amount, and `reverses` holds the receipt number of what it takes back.
    """

    key: str
    kind: DocumentKind
    work_date: date
    entity: str = ""
    resource: str
    project: str
    task: str = ""
    cost_centre: str = ""
    item: str = ""  # service item or expense category
    hours: Decimal | None = None  # time only
    rate: Decimal | None = None  # per hour; None for cost-only time
    amount: Decimal | None = None  # expenses: gross
    currency: str
    billable: bool
    memo: str = ""
    tax_code: str = ""
    receipt_reference: str = ""
    reverses: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The target's proof that it took a posting: its own number for the record it made."""

    key: str
    number: str
    raw: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementLine:
    """One line of what the target says it has booked. A None figure is one that the target does not state."""

    number: str
    key: str = ""  # our idempotency key as the target holds it; empty for what was not booked by us
    kind: DocumentKind
    work_date: date
    entity: str = ""
    resource: str = ""
    project: str = ""
    task: str = ""
    hours: Decimal | None = None
    rate: Decimal | None = None
    amount: Decimal | None = None
    currency: str = ""
    billable: bool | None = None
    memo: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict)
