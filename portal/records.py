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
from typing import Any, ClassVar, NamedTuple


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
    """One line of what the target says it has booked. A None figure is one that the target does not state.

    A target that books later shows under our key what it took and has not booked yet (`is_booked` is false); `waits` is its own
    word for why, where it says one. A statement holds what is booked alone.
    """

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
    is_booked: bool = True
    waits: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict)


class BillKind(StrEnum):
    """What a bill is: money asked for, or money given back."""

    INVOICE = "invoice"
    CREDIT_NOTE = "credit_note"


class BillStatus(StrEnum):
    """Where a bill stands in the system that keeps it."""

    DRAFT = "draft"  # not sent, or not approved: its lines may still move
    OPEN = "open"
    PART_PAID = "part_paid"
    PAID = "paid"  # settled in full; of a credit note: applied in full
    WRITTEN_OFF = "written_off"  # nobody will pay it; not the same as paid
    VOIDED = "voided"
    DELETED = "deleted"  # gone from the system


class PaymentKind(StrEnum):
    """What settles a bill: money that came, or the decision that it will not come."""

    PAYMENT = "payment"
    WRITE_OFF = "write_off"


class PaymentStatus(StrEnum):
    """Where a payment stands in the system that keeps it."""

    RECEIVED = "received"
    BOUNCED = "bounced"  # the bank took it back
    VOIDED = "voided"
    DELETED = "deleted"


class SettledBy(StrEnum):
    """Which part of a settlement an amount is. Only CASH is money that came."""

    CASH = "cash"
    CREDIT = "credit"  # a credit note applied to the invoice
    DISCOUNT = "discount"
    BANK_FEE = "bank_fee"
    WITHHOLDING = "withholding"  # tax or retention that the customer keeps back
    FX = "fx"  # what a rate made of it between invoice and payment
    WRITE_OFF = "write_off"


@dataclass(frozen=True, slots=True, kw_only=True)
class BillLine:
    """One line of a bill, as booked. Net, tax and quantity of a credit note are positive; its kind gives the sign.

    `posting_key` is our idempotency key and `posting_number` the receipt number of the record that the line bills, where the
    system names one: by them, and never by a sheet or a name, a line is told which hours it is about.
    """

    key: str  # the system's own name of the line within its bill; stable over versions
    posting_key: str = ""
    posting_number: str = ""
    milestone: Reference = NOTHING
    project: Reference = NOTHING
    description: str = ""
    quantity: Decimal | None = None  # hours, where it bills hours
    unit_price: Decimal | None = None
    net: Decimal
    tax_code: str = ""
    tax_rate: Decimal | None = None  # per cent
    tax: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """Part of a payment, a write-off or a credit note that settles one bill, in the bill's currency."""

    bill: str  # the bill's external id in the same system
    amount: Decimal
    by: SettledBy = SettledBy.CASH


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingRecord(CanonicalRecord):
    """What bills and payments have in common. A deleted one needs no more than its identity."""

    entity: Reference = NOTHING  # needed where the connection serves several entities
    customer: Reference = NOTHING
    number: str = ""  # as people know it
    currency: str = ""
    booked_on: date | None = None  # the bookkeeping date, never the moment of reading
    exchange_rate: Decimal | None = None  # as booked: one unit in the currency of the entity's books
    memo: str = ""
    link: str = ""
    applications: tuple[Application, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BillRecord(BillingRecord):
    """An invoice or a credit note with its lines. The figures are those that the system has booked."""

    kind: BillKind
    status: BillStatus
    credits: str = ""  # of a credit note: the external id of the invoice that it names
    due_on: date | None = None
    net: Decimal = Decimal(0)
    tax: Decimal = Decimal(0)
    total: Decimal = Decimal(0)
    balance: Decimal | None = None  # what is left to settle, where the system says it
    purchase_order: str = ""
    lines: tuple[BillLine, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRecord(BillingRecord):
    """A payment, or a write-off. `unapplied` is what settles nothing yet, where the system says it."""

    kind: PaymentKind
    status: PaymentStatus
    amount: Decimal = Decimal(0)
    unapplied: Decimal | None = None
    reference: str = ""  # the bank's or the customer's


class PublishedKind(StrEnum):
    """What other systems are told: master data, and how bills and payments stand; each kind after those that it names."""

    CUSTOMER = "customer"
    PROJECT = "project"
    TASK = "task"
    ASSIGNMENT = "assignment"  # a person on a project
    CONTRACT = "contract"  # the terms of its contract on a project
    RATE = "rate"  # the agreed rate of a person on a project
    INVOICE = "invoice"  # how a bill stands in the system that keeps it
    PAYMENT = "payment"  # how a payment or a write-off stands, and what it settles


# What is said of each kind; a system takes some of it, and says why it does not take the rest.
FIGURES: Mapping[PublishedKind, frozenset[str]] = {
    PublishedKind.CUSTOMER: frozenset({"code", "name", "currency", "is_active"}),
    PublishedKind.PROJECT: frozenset({"code", "name", "billing_model", "is_active"}),
    PublishedKind.TASK: frozenset({"code", "name", "is_billable", "is_active"}),
    PublishedKind.ASSIGNMENT: frozenset({"is_active", "is_approver"}),
    PublishedKind.CONTRACT: frozenset({"code", "currency", "cap_amount", "starts_on", "ends_on"}),
    PublishedKind.RATE: frozenset({"amount", "currency", "valid_from", "agreed_in"}),
    PublishedKind.INVOICE: frozenset(
        {
            "number", "kind", "status", "currency", "net", "total", "balance", "booked_on", "due_on", "paid_on", "projects",
            "booked_in",
        }
    ),
    PublishedKind.PAYMENT: frozenset(
        {"number", "kind", "status", "currency", "amount", "settles", "booked_on", "booked_in"}
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """One version of a record addressed to one system: what it is to hold, in our words.

    `key` is the idempotency key of this version; `record` is our own name of the record, such as `invoice:17`, the same in every
    version. `number` is the system's own key of the record; where it is empty the record is made there, and must not be made
    twice. `names` are the system's keys of what the record names, by kind (a payment names several bills, each as
    `invoice:17`). `figures` are as JSON takes them: dates in ISO 8601, decimals as text, None for what is empty.
    """

    reverses: ClassVar[str] = ""  # a version is followed by the next one, never taken back

    key: str
    kind: PublishedKind
    version: int
    record: str = ""
    entity: str = ""
    number: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a system holds of a master record, in our words; a figure that it does not state is left out."""

    number: str
    names: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftLine:
    """One line of an invoice draft as the customer reads it. `net` is what counts; quantity and price are told beside it.

    `key` is ours, 32 hex digits: the line bears it in the system, so that the bill that comes back says by it which hours it
    bills (`BillLine.posting_key`). `postings` are the receipt numbers of the records in the books that the line bills.
    """

    key: str
    description: str
    quantity: Decimal | None = None  # hours, where it bills hours
    unit_price: Decimal | None = None
    net: Decimal
    item: str = ""  # the system's key of the service item
    tax_code: str = ""
    milestone: str = ""  # our code of the milestone that it bills
    postings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BillDraft:
    """One invoice that a system is to make as a draft: neither sent nor numbered by us, its tax left to the system.

    `key` is the idempotency key: under it the system makes one record and no second one. `entity`, `customer` and `project`
    are the system's own keys. A bill that is split because the system takes fewer lines is `part` of `parts`.
    """

    kind: ClassVar[str] = "invoice"
    reverses: ClassVar[str] = ""  # what is billed is taken back by a credit note, never by a reversal

    key: str
    entity: str = ""
    customer: str
    project: str = ""
    reference: str  # what we call it, as P-000017
    part: int = 1
    parts: int = 1
    currency: str
    dated_on: date
    due_on: date | None = None
    purchase_order: str = ""
    memo: str = ""
    lines: tuple[DraftLine, ...]

    @property
    def net(self) -> Decimal:
        """The sum of its lines."""
        return sum((line.net for line in self.lines), Decimal(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldDraft:
    """What a system holds of an invoice draft; a figure that it does not state is None or empty.

    `lines` are net amounts by our line key; empty where its lines bear none. `tax` and `total` are the system's own and are
    told, not compared.
    """

    number: str  # the system's own key of the record: the external id of the bill that comes back
    bill_number: str = ""  # as people know it
    status: BillStatus | None = None
    customer: str = ""
    currency: str = ""
    purchase_order: str = ""
    net: Decimal | None = None
    tax: Decimal | None = None
    total: Decimal | None = None
    count: int | None = None  # how many lines it has
    lines: Mapping[str, Decimal] = field(default_factory=dict)
