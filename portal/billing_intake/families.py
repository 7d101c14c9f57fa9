"""The two families of billing documents, bills and payments: their tables, columns and values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from portal.records import BillingRecord, BillRecord, PaymentRecord

SHARED = (
    "number", "customer_id", "customer_key", "customer_name", "currency", "booked_on", "exchange_rate", "memo", "link",
)  # fmt: skip
BILL = ("due_on", "net", "tax", "total", "balance", "purchase_order", "credits_key")
PAYMENT = ("amount", "unapplied", "reference", "refunds")
LINE = (
    "key", "posting_key", "posting_number", "milestone_key", "project_key", "project_name", "description", "quantity",
    "unit_price", "net", "tax_code", "tax_rate", "tax",
)  # fmt: skip


@dataclass(slots=True)
class Taken:
    """What a batch became. Bills and payments have a new version or a new tie; messages are told by what became of them."""

    bills: list[int] = field(default_factory=list)
    payments: list[int] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    superseded: list[int] = field(default_factory=list)
    unchanged: list[int] = field(default_factory=list)
    ignored: list[int] = field(default_factory=list)
    waiting: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Family:
    """Bills or payments: where they stand, and what a version of one says beside what all share."""

    table: str
    versions: str
    owner: str  # the column of a version that names its document
    own: tuple[str, ...]
    values: Callable[[Any], list[Any]]

    @property
    def columns(self) -> tuple[str, ...]:
        """What a version says, in order."""
        return ("status", *SHARED, *self.own)


def _bill(record: BillRecord) -> list[Any]:
    return [
        record.due_on, record.net, record.tax, record.total, record.balance, record.purchase_order, record.credits,
    ]  # fmt: skip


def _payment(record: PaymentRecord) -> list[Any]:
    return [record.amount, record.unapplied, record.reference, list(record.refunds)]


def lines(record: BillingRecord) -> list[list[Any]]:
    """The lines of a bill, in the order of `LINE`."""
    if not isinstance(record, BillRecord):
        return []
    return [
        [
            line.key, line.posting_key, line.posting_number, line.milestone.key or line.milestone.code, line.project.key,
            line.project.name or line.project.code, line.description, line.quantity, line.unit_price, line.net, line.tax_code,
            line.tax_rate, line.tax,
        ]
        for line in record.lines
    ]  # fmt: skip


BILLS = Family("portal_invoice", "portal_invoiceversion", "invoice_id", BILL, _bill)
PAYMENTS = Family("portal_payment", "portal_paymentversion", "payment_id", PAYMENT, _payment)
