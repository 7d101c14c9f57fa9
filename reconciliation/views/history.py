"""What happened to a cause, in one line of time: its own history, comments, and the operations that tried to mend it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any

from django.urls import reverse
from django.utils import timezone

from reconciliation.models import CaseComment, CaseDay, ExceptionCase, Operation, Proposal

DAYS = 14  # days on which it stopped something that are told one by one

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
    """Everything about one cause, the latest first; five queries."""
    found = [*_changes(case), *_comments(case), *_operations(case), *_proposals(case), *_held(case)]
    return sorted(found, key=lambda event: event.at, reverse=True)


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
    operations = Operation.objects.filter(case=case).exclude(state=Operation.State.PLANNED)
    for operation in operations.select_related("created_by", "decided_by"):
        missed = f", {operation.failed:,} failed" if operation.failed else ""
        far = f"{operation.done:,} done{missed}"
        if operation.state in (Operation.State.AWAITING, Operation.State.REFUSED):
            far = operation.get_state_display().lower()
        if operation.decided_by is not None and operation.decided_at is not None:
            word = "Refused" if operation.state == Operation.State.REFUSED else "Approved"
            said = f": {operation.decision}" if operation.decision else ""
            yield Event(operation.decided_at, f"{word}{said}", operation.decided_by.get_username(), "info")
        yield Event(
            operation.confirmed_at or operation.created_at,
            f"{operation.title} · {far}",
            operation.created_by.get_username(),
            "warn" if operation.failed else TONES.get(Operation.State(operation.state), ""),
            reverse("operation", args=[operation.pk]),
        )


def _proposals(case: ExceptionCase) -> Iterator[Event]:
    for proposal in Proposal.objects.filter(case=case).select_related("proposed_by", "decided_by"):
        url = reverse("proposal", args=[proposal.pk])
        yield Event(proposal.proposed_at, f"Proposed: {proposal}", proposal.proposed_by.get_username(), "info", url)
        if proposal.decided_by is not None and proposal.decided_at is not None:
            words = f"{proposal.get_state_display()}: {proposal}"
            yield Event(proposal.decided_at, words, proposal.decided_by.get_username(), "info", url)


def _held(case: ExceptionCase) -> Iterator[Event]:
    """How many entries it stopped on each of the last days on which it did; the moment of the last one is not kept."""
    for day, opened in CaseDay.objects.filter(case=case).order_by("-day").values_list("day", "opened")[:DAYS]:
        ended = timezone.make_aware(datetime.combine(day, time.max))
        stopped = "1 entry" if opened == 1 else f"{opened:,} entries"
        yield Event(min(ended, case.seen_at), f"Stopped {stopped}", "Tieout", "warn")
