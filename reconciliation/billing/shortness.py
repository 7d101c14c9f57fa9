"""Bills that were paid with less than their total: what is held back as agreed, and what is so little that it is written off.

The rule here: nothing is forgiven by itself. Within the tolerance of a reason a write-off is asked for, by that reason and to
its account; what a customer holds back as agreed is expected until its day and asked for from then on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

from django.utils import timezone

from portal import money
from portal.models import Invoice
from reconciliation.policies import Policy, merged

ZERO = Decimal(0)


class Open(NamedTuple):
    """What of a bill is open, and whose it is."""

    total: Decimal
    settled: Decimal
    currency: str
    booked_on: date | None
    customer: str  # our code


@dataclass(frozen=True, slots=True)
class Short:
    """Why a bill is short: what is held back and until when, and which reasons the rest fits."""

    held_back: Decimal
    due_on: date | None
    is_due: bool
    rest: Decimal
    reasons: tuple[tuple[str, str], ...]  # (reason, account)


def of(bill: Open, policy: Policy, today: date | None = None) -> Short | None:
    """Why a bill is short of its total; None where it is not."""
    left = bill.total - bill.settled
    if left <= 0:
        return None
    held_back, due_on = ZERO, None
    agreed = policy.held_back.get(bill.customer)
    if agreed is not None:
        held_back = min(left, money.round_money(agreed.of(bill.total), bill.currency))
        due_on = bill.booked_on + timedelta(days=agreed.days) if agreed.days and bill.booked_on else None
    rest = left - held_back
    reasons = tuple(
        (reason, one.account)
        for reason, one in sorted(policy.short_payment.items())
        if rest > 0 and rest <= money.round_money(one.of(bill.total), bill.currency)
    )
    is_due = held_back > 0 and due_on is not None and due_on <= (today or timezone.localdate())
    return Short(held_back, due_on, is_due, rest, reasons)


def short_of(bill: Invoice, settled: Decimal) -> Short | None:
    """Why a bill is short, as its entity's policy says; None where nothing was paid or nothing is open."""
    version = bill.current
    if not settled or version.status not in ("open", "part_paid"):
        return None
    code = version.customer.code if version.customer else ""
    return of(Open(version.total, settled, version.currency, version.booked_on, code), merged(bill.entity.policy))
