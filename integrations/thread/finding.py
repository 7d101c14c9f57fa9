"""Finding the thread: any id that a person may have in hand leads to its document, and the document to all its rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from integrations.models import InboxMessage
from portal import keys
from portal.models import (
    Allocation,
    AttemptLine,
    Document,
    Expense,
    LedgerEntry,
    LedgerTransition,
    PaymentAllocation,
    ReadBack,
    Receipt,
    State,
    StatementLine,
    TimeEntry,
)
from portal.models.documents import OURS
from reconciliation import naming
from reconciliation.models import Hold, ReconciliationResult

_KEY = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)
_WITH = (
    "entity", "source", "target", "document", "project__manager", "project__contract", "project__customer", "billing_balance",
    "contract", "customer", "task", "resource", "role", "cost_centre", "purchase_order", "period", "rate_used__card", "state_row",
    "reverses",
)  # fmt: skip
LOOKED = ("unbooked", "found", "different", "absent")  # outcomes of a look at the target that it answered


@dataclass(slots=True, kw_only=True)
class EntryThread:
    """One ledger entry and its evidence, oldest first."""

    entry: LedgerEntry
    holds: Sequence[Hold] = ()
    transitions: Sequence[LedgerTransition] = ()
    attempts: Sequence[AttemptLine] = ()
    receipt: Receipt | None = None
    read_backs: Sequence[ReadBack] = ()
    lines: Sequence[StatementLine] = ()
    results: Sequence[ReconciliationResult] = ()
    billed: Sequence[Allocation] = ()
    settled: Sequence[PaymentAllocation] = ()  # of the bills on which it stands

    @property
    def settled_at(self) -> datetime | None:
        """When the figures were settled: at the first sending. None while they may still change."""
        return next((move.at for move in self.transitions if move.to_state == State.SENDING), None)

    @property
    def unbooked(self) -> AttemptLine | None:
        """The last look that found the entry taken by its target and not booked yet; None once it is booked, or not there."""
        answered = [line for line in self.attempts if line.attempt.purpose == "read_back" and line.outcome in LOOKED]
        last = max(answered, key=lambda line: line.attempt_id, default=None)
        is_waiting = self.entry.state_row.state == State.ACCEPTED and last is not None and last.outcome == "unbooked"
        return last if is_waiting else None


@dataclass(slots=True, kw_only=True)
class Thread:
    """One document from its source's messages to what the target says of it."""

    document: Document
    messages: Sequence[InboxMessage] = ()
    versions: Sequence[TimeEntry | Expense] = ()
    entries: list[EntryThread] = field(default_factory=list)


def find(name: str) -> list[Document]:
    """The documents that an id leads to, in the order in which they came."""
    return list(documents_named(name).select_related("connection", "entity").order_by("pk"))


def documents_named(name: str) -> QuerySet[Document]:
    """The documents that an id leads to: their own, an entry's, a receipt's, an idempotency key, a bill's or a payment's.

    A bill is known by its number or its system's id, a payment by these or its reference, a proposal by its number or that of its
    draft; each leads to every hour and expense on it.
    """
    name = name.strip()
    bills, proposals = naming.on_bills(name)
    of_entries: list[QuerySet[LedgerEntry]] = [
        LedgerEntry.objects.filter(pk__in=Receipt.objects.filter(number__in=naming.spelled(name)).values("entry")),
        *([naming.entries_of(bills, proposals)] if bills or proposals else []),
        *([LedgerEntry.objects.filter(pk=number)] if (number := keys.key(name)) is not None else []),
        *([LedgerEntry.objects.filter(idempotency_key=UUID(name))] if _KEY.fullmatch(name) else []),
    ]
    found: list[QuerySet[Any]] = [entries.values("document") for entries in of_entries]
    ids = Document.objects.filter(external_id=name).values("pk").union(*found)
    return Document.objects.filter(pk__in=ids).exclude(kind__in=OURS)


def of(document: Document) -> Thread:
    """Everything that is known of one document; a fixed number of queries."""
    return of_documents([document])[0]


def of_documents(documents: Sequence[Document]) -> list[Thread]:
    """Everything that is known of some documents, in their order; a fixed number of queries."""
    versions: list[Any] = []
    for model in (TimeEntry, Expense):
        kept: Any = model.objects.filter(document__in=documents)
        versions += kept.select_related("author").order_by("version")
    told = {version.message_id: version.document_id for version in versions if version.message_id is not None}
    messages = list(InboxMessage.objects.filter(pk__in=told).order_by("pk"))
    found = LedgerEntry.objects.filter(document__in=documents).select_related(*_WITH).order_by("version", "pk")
    entries = list(_entries(list(found)))
    return [
        Thread(
            document=document, messages=[one for one in messages if told[one.pk] == document.pk],
            versions=[one for one in versions if one.document_id == document.pk],
            entries=[one for one in entries if one.entry.document_id == document.pk],
        )
        for document in documents
    ]  # fmt: skip


def _entries(entries: Sequence[LedgerEntry]) -> Iterator[EntryThread]:
    ids = [entry.pk for entry in entries]

    def by_entry(query: QuerySet[Any]) -> dict[int, list[Any]]:
        grouped: dict[int, list[Any]] = {entry_id: [] for entry_id in ids}
        for row in query.filter(entry__in=ids):
            grouped[row.entry_id].append(row)
        return grouped

    holds = by_entry(Hold.objects.select_related("case", "closed_by").order_by("pk"))
    transitions = by_entry(LedgerTransition.objects.order_by("entry", "fence"))
    attempts = by_entry(
        AttemptLine.objects.select_related("attempt").defer("attempt__exchanges").order_by("attempt_id")
    )
    receipts = by_entry(Receipt.objects.order_by("pk"))
    read_backs = by_entry(ReadBack.objects.order_by("pk"))
    results = by_entry(ReconciliationResult.objects.select_related("run__period").order_by("run_id", "leg"))
    billed = by_entry(
        Allocation.objects.select_related("line__version__invoice__current", "cause__invoice").order_by("pk")
    )
    bills = {one.line.version.invoice_id for rows in billed.values() for one in rows}
    settled = list(
        PaymentAllocation.objects.filter(invoice__in=bills)
        .select_related("payment_version")
        .order_by("recorded_at", "pk")
    )
    numbers = [receipt.number for rows in receipts.values() for receipt in rows]
    lines: dict[tuple[int, str], list[StatementLine]] = {}
    targets = {entry.target_id for entry in entries}
    for line in StatementLine.objects.filter(connection__in=targets, number__in=numbers):
        lines.setdefault((line.connection_id, line.number), []).append(line)
    for entry in entries:
        receipt = next(iter(receipts[entry.pk]), None)
        yield EntryThread(
            entry=entry,
            holds=holds[entry.pk],
            transitions=transitions[entry.pk],
            attempts=attempts[entry.pk],
            receipt=receipt,
            read_backs=read_backs[entry.pk],
            lines=lines.get((entry.target_id, receipt.number), []) if receipt else [],
            results=results[entry.pk],
            billed=billed[entry.pk],
            settled=_of_bills(settled, billed[entry.pk]),
        )


def _of_bills(settled: Sequence[PaymentAllocation], billed: Sequence[Allocation]) -> list[PaymentAllocation]:
    """What settles the bills that some allocations are on."""
    bills = {one.line.version.invoice_id for one in billed}
    return [one for one in settled if one.invoice_id in bills]
