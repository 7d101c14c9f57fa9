"""The thread of one hour: from the source's record over versions, rules, ledger, attempts and receipt to reconciliation.

The rule here: any id that a person may have in hand leads to the same thread (a document's external id, an entry's id, a
receipt number, an idempotency key), and what is told is only what the rows say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from integrations.models import InboxMessage
from integrations.postings import plain
from portal.models import (
    AttemptLine,
    Document,
    Expense,
    LedgerEntry,
    LedgerTransition,
    ReadBack,
    Receipt,
    StatementLine,
    TimeEntry,
)
from reconciliation.models import Hold, ReconciliationResult

_KEY = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)


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


@dataclass(slots=True, kw_only=True)
class Thread:
    """One document from its source's messages to what the target says of it."""

    document: Document
    messages: Sequence[InboxMessage] = ()
    versions: Sequence[TimeEntry | Expense] = ()
    entries: list[EntryThread] = field(default_factory=list)


def find(name: str) -> list[Document]:
    """The documents that an id leads to: an external id, an entry's id, a receipt number or an idempotency key."""
    name = name.strip()
    documents: dict[int, Document] = {}
    found: list[QuerySet[Document]] = [
        Document.objects.filter(external_id=name),
        Document.objects.filter(entries__receipt__number=name),
    ]
    if name.isdecimal():
        found.append(Document.objects.filter(entries__pk=int(name)))
    if _KEY.fullmatch(name):
        found.append(Document.objects.filter(entries__idempotency_key=UUID(name)))
    for query in found:
        documents |= {document.pk: document for document in query.select_related("connection", "entity").distinct()}
    return list(documents.values())


def of(document: Document) -> Thread:
    """Everything that is known of one document; a fixed number of queries."""
    model: Any = TimeEntry if document.kind == "time" else Expense
    versions = list(model.objects.filter(document=document).select_related("author").order_by("version"))
    messages = InboxMessage.objects.filter(
        pk__in=[version.message_id for version in versions if version.message_id is not None]
    )
    entries = LedgerEntry.objects.filter(document=document).select_related(
        "target", "state_row", "project", "resource", "period", "entity", "reverses"
    )
    thread = Thread(document=document, messages=list(messages.order_by("pk")), versions=versions)
    thread.entries = list(_entries(list(entries.order_by("version", "pk"))))
    return thread


def _entries(entries: Sequence[LedgerEntry]) -> Iterator[EntryThread]:
    ids = [entry.pk for entry in entries]

    def by_entry(query: QuerySet[Any]) -> dict[int, list[Any]]:
        grouped: dict[int, list[Any]] = {entry_id: [] for entry_id in ids}
        for row in query.filter(entry__in=ids):
            grouped[row.entry_id].append(row)
        return grouped

    holds = by_entry(Hold.objects.select_related("case", "closed_by").order_by("pk"))
    transitions = by_entry(LedgerTransition.objects.order_by("entry", "fence"))
    attempts = by_entry(AttemptLine.objects.select_related("attempt").order_by("attempt_id"))
    receipts = by_entry(Receipt.objects.order_by("pk"))
    read_backs = by_entry(ReadBack.objects.order_by("pk"))
    results = by_entry(ReconciliationResult.objects.select_related("run__period").order_by("run_id", "leg"))
    numbers = [receipt.number for rows in receipts.values() for receipt in rows]
    lines: dict[tuple[int, str], list[StatementLine]] = {}
    for line in StatementLine.objects.filter(number__in=numbers):
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
        )


def told(thread: Thread) -> Iterator[str]:
    """The thread in lines for a terminal."""
    document = thread.document
    yield (
        f"{document.get_kind_display()} {document.external_id} of {document.connection} "
        f"({document.entity}), version {document.current_version}"
    )
    for message in thread.messages:
        yield f"  received {message.received_at:%Y-%m-%d %H:%M:%S} as {message.stream} revision {message.revision}"
    for version in thread.versions:
        yield f"  version {version.version}: {_version(version)}"
    for entry in thread.entries:
        yield from _entry(entry)


def _version(version: TimeEntry | Expense) -> str:
    quantity = (
        f"{plain(version.hours)} h" if isinstance(version, TimeEntry) else f"{plain(version.amount)} {version.currency}"
    )
    project = version.project_code or version.project_name or version.project_key or "no project"
    person = version.resource_name or version.resource_code or version.resource_key or "nobody"
    by = f", by {version.author}: {version.reason}" if version.author else ""
    return f"{version.status}, {quantity} on {version.work_date} by {person} on {project}{by}"


def _entry(thread: EntryThread) -> Iterator[str]:
    entry, state = thread.entry, thread.entry.state_row
    quantity = f"{plain(entry.hours)} h" if entry.hours is not None else ""
    money = f"{plain(entry.amount)} {entry.currency}" if entry.amount is not None else "no amount"
    takes_back = f", takes back entry {entry.reverses_id}" if entry.reverses_id else ""
    waits = f", waits on {state.waits_on}" if state.waits_on else ""
    yield (
        f"  entry {entry.pk} (version {entry.version}, key {entry.idempotency_key.hex}) to {entry.target}{takes_back}: "
        f"{state.get_state_display().lower()}{waits}"
    )
    yield f"    figures: {quantity} {money}, {entry.rate_version or 'no rate'}, posted on {entry.post_on}".replace(
        ":  ", ": "
    )
    for hold in thread.holds:
        closed = f" ({hold.get_outcome_display()})" if hold.outcome else ""
        yield f"    held by {hold.rule}{closed}: {hold.sentence}"
    for move in thread.transitions:
        why = f": {move.reason}" if move.reason else ""
        yield f"    {move.at:%Y-%m-%d %H:%M:%S} {move.from_state or 'new'} → {move.to_state} by {move.actor}{why}"
    for line in thread.attempts:
        attempt = line.attempt
        status = f" {attempt.http_status}" if attempt.http_status else ""
        detail = f": {line.detail}" if line.detail else ""
        outcome = line.outcome or "no answer yet"
        yield f"    {attempt.get_purpose_display().lower()} {attempt.started_at:%H:%M:%S}:{status} {outcome}{detail}"
    if thread.receipt:
        yield f"    receipt {thread.receipt.number} of {thread.receipt.received_at:%Y-%m-%d %H:%M:%S}"
    for read in thread.read_backs:
        told = "equal" if read.is_equal else f"differs: {read.differences}" if read.found else "not there"
        yield f"    read back {read.at:%Y-%m-%d %H:%M:%S}: {told}"
    for statement in thread.lines:
        gone = f", gone since {statement.gone_at:%Y-%m-%d}" if statement.gone_at else ""
        yield f"    statement {statement.read_at:%Y-%m-%d %H:%M:%S}: {statement.work_date}, {statement.hours} h{gone}"
    for result in thread.results:
        reason = f": {result.reason}" if result.reason else ""
        yield (
            f"    reconciled in run {result.run_id} ({result.run.period.code}), {result.get_leg_display()}: "
            f"{result.get_outcome_display().lower()}{reason}"
        )
