"""What a name that a person has in hand stands for: bills, payments and proposals, and by them hours and milestones.

The rule here: a name leads to everything that bears it, by one index each, whoever asks; who shows it
shows only what may be seen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from portal.models import (
    Allocation,
    Invoice,
    InvoiceDraft,
    InvoiceProposal,
    InvoiceVersion,
    LedgerEntry,
    Milestone,
    Payment,
    PaymentAllocation,
    PaymentVersion,
    ProposalLine,
    ProposalPart,
    Published,
    PurchaseOrder,
)
from portal.records import PublishedKind

_PROPOSAL = re.compile(r"p-0*([1-9]\d{0,17})", re.IGNORECASE)


def spelled(name: str) -> list[str]:
    """A number as it was typed, in capitals and without: people type it as they like, and each is found by the index."""
    return list(dict.fromkeys([name, name.upper(), name.lower()]))


def bills(name: str) -> QuerySet[Invoice]:
    """Invoices and credit notes of this number, in any version, or of this id in their system or in one that is told of them."""
    named = Invoice.objects.filter(external_id=name).values("pk")
    numbered = InvoiceVersion.objects.filter(number__in=spelled(name)).values("invoice")
    drafted = _drafts(name).filter(invoice__isnull=False).values("invoice")
    return Invoice.objects.filter(pk__in=named.union(numbered, drafted, _told(PublishedKind.INVOICE, name)))


def payments(name: str) -> QuerySet[Payment]:
    """Payments and write-offs of this number, reference or refund, in any version, or of this id where they are kept or told."""
    named = Payment.objects.filter(external_id=name).values("pk")
    numbered = PaymentVersion.objects.filter(number__in=spelled(name)).values("payment")
    referred = PaymentVersion.objects.filter(reference__in=spelled(name)).values("payment")
    refunded = PaymentVersion.objects.filter(refunds__contains=[name]).values("payment")
    return Payment.objects.filter(pk__in=named.union(numbered, referred, refunded, _told(PublishedKind.PAYMENT, name)))


def proposals(name: str) -> QuerySet[InvoiceProposal]:
    """The proposal of this number (P-000123), those handed over as a draft of this number or id, or on this purchase order.

    The key that a line bears in the system that bills leads to its proposal.
    """
    drafts = _drafts(name)
    on_lines = ProposalLine.objects.filter(draft__in=drafts).values("proposal")
    on_order = PurchaseOrder.objects.filter(number__in=spelled(name)).values("pk")
    named = Q(pk__in=drafts.values("proposal")) | Q(pk__in=on_lines) | Q(purchase_order__in=on_order)
    if (key := key_of(name)) is not None:
        named |= Q(pk__in=ProposalLine.objects.filter(key=key).values("proposal"))
    found = InvoiceProposal.objects.filter(named)
    number = _PROPOSAL.fullmatch(name)
    return found | InvoiceProposal.objects.filter(pk=int(number[1])) if number else found


def milestones(name: str) -> QuerySet[Milestone]:
    """Milestones of this code."""
    return Milestone.objects.filter(code__in=spelled(name))


def on_bills(name: str) -> tuple[list[int], list[int]]:
    """The bills that a name leads to, those that its payments settle among them, and the proposals."""
    settled = PaymentAllocation.objects.filter(
        payment_version__payment__in=list(payments(name).values_list("pk", flat=True))
    )
    found = {*bills(name).values_list("pk", flat=True), *settled.values_list("invoice", flat=True)} - {None}
    return sorted(found), list(proposals(name).values_list("pk", flat=True))


def entries_of(bill_ids: Sequence[int], proposal_ids: Sequence[int]) -> QuerySet[LedgerEntry]:
    """The entries on some bills, those that a credit note gave back among them, and in some proposals."""
    return LedgerEntry.objects.filter(pk__in=_of("entry", bill_ids, proposal_ids))


def milestones_of(bill_ids: Sequence[int], proposal_ids: Sequence[int]) -> QuerySet[Milestone]:
    """The milestones on some bills and in some proposals."""
    return Milestone.objects.filter(pk__in=_of("milestone", bill_ids, proposal_ids))


def _of(what: str, bill_ids: Sequence[int], proposal_ids: Sequence[int]) -> QuerySet[Allocation, dict[str, int]]:
    some = {f"{what}__isnull": False}
    billed = Allocation.objects.filter(line__version__invoice__in=bill_ids, **some).values(what)
    credited = Allocation.objects.filter(cause__invoice__in=bill_ids, **some).values(what)
    proposed = ProposalPart.objects.filter(line__proposal__in=proposal_ids, **some).values(what)
    found: QuerySet[Allocation, dict[str, int]] = billed.union(credited, proposed)
    return found


def key_of(name: str) -> UUID | None:
    """The idempotency key that a name is, with or without its dashes; None where it is none."""
    try:
        return UUID(name)
    except ValueError:
        return None


def _told(kind: PublishedKind, name: str) -> QuerySet[Published, Any]:
    return Published.objects.filter(kind=kind, number=name).values("internal_id")


def _drafts(name: str) -> QuerySet[InvoiceDraft]:
    """Invoice drafts of this number, as a draft or as the bill that became of it, or handed over under this key."""
    named = Q(number=name) | Q(bill_number__in=spelled(name))
    if (key := key_of(name)) is not None:
        named |= Q(pk__in=LedgerEntry.objects.filter(idempotency_key=key).values("document"))
    return InvoiceDraft.objects.filter(named)
