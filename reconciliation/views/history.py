"""What happened to a cause, in one line of time: its own history, comments, and the operations that tried to mend it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.urls import reverse

from reconciliation.models import CaseComment, ExceptionCase, Operation

TONES = {Operation.State.DONE: "good", Operation.State.RUNNING: "info", Operation.State.CANCELLED: "warn"}


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened: what, when, by whom, in which colour; `url` leads to more."""

    at: datetime
    words: str
    who: str
    tone: str = ""
    url: str = ""
    is_comment: bool = False


def happened(case: ExceptionCase) -> list[Event]:
    """Everything about one cause, the latest first; three queries."""
    return sorted([*_changes(case), *_comments(case), *_operations(case)], key=lambda event: event.at, reverse=True)


def _changes(case: Any) -> Iterator[Event]:
    for row in case.history.select_related("history_user").order_by("history_date", "history_id"):
        who = row.history_user.get_username() if row.history_user else "Tieout"
        reason = row.history_change_reason or ""
        if row.history_type == "+":
            yield Event(row.history_date, f"Opened: {reason}" if reason else "Opened", who, "warn")
        elif row.state == ExceptionCase.State.RESOLVED:
            yield Event(row.history_date, f"Resolved: {reason}" if reason else "Resolved", who, "good")
        elif reason:
            yield Event(row.history_date, reason[0].upper() + reason[1:], who, "warn" if "back" in reason else "")


def _comments(case: ExceptionCase) -> Iterator[Event]:
    for comment in CaseComment.objects.filter(case=case).select_related("author"):
        yield Event(comment.at, comment.text, comment.author.get_username(), is_comment=True)


def _operations(case: ExceptionCase) -> Iterator[Event]:
    operations = Operation.objects.filter(case=case).exclude(state=Operation.State.PLANNED).select_related("created_by")
    for operation in operations:
        missed = f", {operation.failed:,} failed" if operation.failed else ""
        yield Event(
            operation.confirmed_at or operation.created_at,
            f"{operation.title} · {operation.done:,} done{missed}",
            operation.created_by.get_username(),
            "warn" if operation.failed else TONES.get(Operation.State(operation.state), ""),
            reverse("operation", args=[operation.pk]),
        )
