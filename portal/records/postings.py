"""What is posted to a target, its proof, and what a target says that it has booked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from portal.records.documents import DocumentKind


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
