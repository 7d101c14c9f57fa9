"""What bears a name itself, whether hours hang on it or not: bills, payments, proposals and causes, each in one sentence.

The rule here: what the search box finds under a number is found in the terminal and by the API as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import Sum

from portal import figures, keys
from portal.models import InvoiceProposal, PaymentAllocation
from reconciliation import naming
from reconciliation.models import ExceptionCase

MOST = 20  # of each kind
Seen = Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """One thing that bears a name: what it is, where it stands, and what is known of it in words."""

    kind: str
    id: int
    entity: str
    title: str
    state: str
    words: str

    def __str__(self) -> str:
        return f"{self.title} ({self.entity}), {self.state}: {self.words}"


def bears(name: str, seen: Seen = lambda rows: rows) -> Iterator[Named]:
    """Everything that bears a name, at most twenty of a kind; `seen` narrows rows to those that somebody may see."""
    name = name.strip()
    yield from _bills(name, seen)
    yield from _payments(name, seen)
    for proposal in seen(naming.proposals(name)).select_related("entity", "project", "customer").order_by("pk")[:MOST]:
        yield _proposal(proposal)
    number = keys.key(name[3:]) if name[:3].upper() == "EX-" else None
    for case in seen(ExceptionCase.objects.filter(pk=number or 0)).select_related("entity"):
        yield Named(
            kind="cause", id=case.pk, entity=case.entity.code, title=f"Cause EX-{case.pk}",
            state=case.get_state_display().lower(), words=case.sentence,
        )  # fmt: skip


def _bills(name: str, seen: Seen) -> Iterator[Named]:
    rows = seen(naming.bills(name)).select_related("entity", "current", "credits__current").order_by("pk")[:MOST]
    bills = list(rows)
    settled = _sums("invoice", [bill.pk for bill in bills])
    for bill in bills:
        now = bill.current
        of = f", a credit of {bill.credits}" if bill.credits is not None else ""
        paid = settled.get(bill.pk, Decimal(0))
        asked = f"{_money(now.total, now.currency)} of {now.customer_name or 'nobody named'}{of}"
        is_settled = f", of which {_money(paid, now.currency)} are settled" if bill.kind == "invoice" else ""
        yield Named(
            kind=bill.kind, id=bill.pk, entity=bill.entity.code, title=str(bill), state=now.get_status_display().lower(),
            words=f"{asked}{is_settled}",
        )  # fmt: skip


def _payments(name: str, seen: Seen) -> Iterator[Named]:
    payments = list(seen(naming.payments(name)).select_related("entity", "current").order_by("pk")[:MOST])
    settles = _sums("payment_version__payment", [payment.pk for payment in payments])
    for payment in payments:
        now, applied = payment.current, settles.get(payment.pk, Decimal(0))
        settled = f"settles bills for {figures.amount(applied, now.currency)}" if applied else "settles nothing yet"
        yield Named(
            kind=payment.kind, id=payment.pk, entity=payment.entity.code, title=str(payment),
            state=now.get_status_display().lower(),
            words=f"{_money(now.amount, now.currency)} of {now.customer_name or 'nobody named'}, {settled}",
        )  # fmt: skip


def _proposal(proposal: InvoiceProposal) -> Named:
    return Named(
        kind="proposal", id=proposal.pk, entity=proposal.entity.code, title=f"Proposal {proposal}",
        state=proposal.get_state_display().lower(),
        words=f"{_money(proposal.net, proposal.currency)} of {proposal.project.code} for {proposal.customer.name}, through "
        f"{figures.day(proposal.through)}",
    )  # fmt: skip


def _sums(of: str, ids: list[int]) -> dict[int, Decimal]:
    rows = PaymentAllocation.objects.filter(**{f"{of}__in": ids}).order_by().values_list(of)
    return dict(rows.annotate(total=Sum("amount")))


def _money(value: Decimal, currency: str) -> str:
    return f"{figures.amount(value, currency)} {currency}"
