"""Bills and payments as the systems that write them state them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum

from portal.records.documents import NOTHING, CanonicalRecord, Reference


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
    refunds: tuple[str, ...] = ()  # the system's ids of what went back to the customer
