"""What happened around one entry: versions, holds, fixes, hand-backs, decisions, and master data that it rests on.

The rule here: only what the reader may see, the latest first, and a fixed number of queries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.urls import reverse

from integrations import thread
from portal.models import AuditEvent, LedgerEntry, User
from reconciliation.models import HandBack, Operation, OperationRow
from reconciliation.tables import title_of

SHOWN = 20  # changes of one record
_CHANGED = {"+": "recorded", "~": "changed", "-": "deleted"}
_RECORDS = (
    "project",
    "contract",
    "customer",
    "task",
    "resource",
    "role",
    "cost_centre",
    "purchase_order",
    "period",
    "rate_used",
)


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened: what, when, by whom, in which colour; `url` leads to more."""

    at: datetime
    kind: str
    words: str
    who: str
    tone: str = ""
    url: str = ""


def happened(told: thread.Thread, mine: thread.EntryThread, user: User | AnonymousUser) -> list[Event]:
    """Everything that touched the entry, the latest first."""
    entry = mine.entry
    events = [
        *_versions(told),
        *_holds(mine),
        *_fixes(entry),
        *_hand_backs(entry),
        *_decisions(entry, user),
        *_master_data(entry, told.document.created_at),
    ]
    return sorted(events, key=lambda event: event.at, reverse=True)


def _versions(told: thread.Thread) -> Iterator[Event]:
    changed = thread.changes(told.versions)
    for version in told.versions:
        who = version.author.get_username() if version.author else str(told.document.connection)
        words = f"Version {version.version}"
        if version.author:
            words += f", a correction by finance: {version.reason}"
        elif version.version in changed:
            fields = [
                f"{label.lower()} {before or 'nothing'} → {after or 'nothing'}"
                for label, before, after in changed[version.version]
            ]
            words += f" came: {'; '.join(fields)}" if fields else " came"
        else:
            words += " came"
        yield Event(version.recorded_at, "Document", words, who)


def _holds(mine: thread.EntryThread) -> Iterator[Event]:
    for hold in mine.holds:
        url = reverse("cause", args=[hold.case_id])
        yield Event(hold.opened_at, "Hold", f"{title_of(hold.rule)}: {hold.sentence}", "rules", "warn", url)
        if hold.closed_at is not None:
            why = f": {hold.reason}" if hold.reason else ""
            who = hold.closed_by.get_username() if hold.closed_by else "rules"
            tone = "warn" if hold.outcome == hold.Outcome.WAIVED else "good"
            yield Event(
                hold.closed_at,
                "Hold",
                f"{title_of(hold.rule)}: {hold.get_outcome_display().lower()}{why}",
                who,
                tone,
                url,
            )


def _fixes(entry: LedgerEntry) -> Iterator[Event]:
    rows = OperationRow.objects.filter(entry__document=entry.document_id).exclude(
        operation__state=Operation.State.PLANNED
    )
    for row in rows.select_related("operation__created_by").order_by("pk"):
        operation = row.operation
        about = "" if row.entry_id == entry.pk else f" (entry {row.entry_id})"
        came = f": {row.get_result_display().lower()}{f', {row.message}' if row.message else ''}"
        tone = {OperationRow.Result.DONE: "good", OperationRow.Result.FAILED: "bad"}.get(
            OperationRow.Result(row.result), ""
        )
        yield Event(
            row.finished_at or operation.confirmed_at or operation.created_at, "Fix", f"{operation.title}{about}{came}",
            operation.created_by.get_username(), tone, reverse("operation", args=[operation.pk]),
        )  # fmt: skip


def _hand_backs(entry: LedgerEntry) -> Iterator[Event]:
    for one in HandBack.objects.filter(entry__document=entry.document_id).select_related("by").order_by("pk"):
        yield Event(one.at, "Hand-back", f"Handed back to the source: “{one.message}”", one.by.get_username(), "info")
        if one.answered_at is not None:
            yield Event(
                one.answered_at, "Hand-back", "The source answered with a new version", str(entry.source), "good"
            )


def _decisions(entry: LedgerEntry, user: User | AnonymousUser) -> Iterator[Event]:
    events = AuditEvent.objects.visible_to(user).filter(object_type="ledgerentry", object_id=str(entry.pk))
    for event in events.order_by("pk"):
        why = f": {event.reason}" if event.reason else ""
        words = f"{event.action.replace('-', ' ').replace('.', ' ').capitalize()}{why}"
        yield Event(event.at, "Decision", words, event.actor_name, "info", reverse("audit_event", args=[event.pk]))


def _master_data(entry: LedgerEntry, since: datetime) -> Iterator[Event]:
    """Changes of the records that the entry names, since its document was taken in."""
    records: dict[tuple[str, int], Any] = {}
    for name in _RECORDS:
        record: Any = getattr(entry, name)
        if record is not None:
            records[record._meta.model_name, record.pk] = record
    if entry.rate_used is not None:
        records["ratecard", entry.rate_used.card_id] = entry.rate_used.card
    for (kind, pk), record in records.items():
        history = getattr(type(record), "history", None)
        if history is None:
            continue
        rows = record.history.filter(history_date__gte=since).select_related("history_user").order_by("-history_id")
        for row in rows[:SHOWN]:
            why = f": {row.history_change_reason}" if row.history_change_reason else ""
            what = str(record._meta.verbose_name).capitalize()
            who = row.history_user.get_username() if row.history_user else "system"
            words = f"{what} {record} {_CHANGED[row.history_type]}{why}"
            yield Event(row.history_date, "Master data", words, who, "", reverse("history", args=[kind, pk]))
