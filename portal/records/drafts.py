"""Drafts of invoices that are handed over, and what a system holds of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import ClassVar

from portal.records.bills import BillStatus


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
