"""The tabs of the queue: what a cause waits for, as a condition on its own row or on few rows beside it.

The rule here: a condition joins nothing, so that counts and sums over any of them are right. What is snoozed or ignored is in
no tab of work, but its entries are held and its money counts as held.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Count, F, Q

from portal.models import State
from portal.screens import Tab
from reconciliation.models import ExceptionCase, HandBack, Hold, Operation, OperationRow, TeamMember

OPEN, NO = ExceptionCase.State.OPEN, ExceptionCase.Aside.NO
IN_QUEUE = Q(state=OPEN, aside=NO)


def is_mine(user: Any) -> Q:
    """In the queue and mine: given to me, or to a team of mine and taken by nobody in it yet."""
    teams = TeamMember.objects.filter(user=user.pk).values("team")
    return IN_QUEUE & (Q(owner=user.pk) | Q(owner=None, team__in=teams))


def is_running() -> Q:
    """A fix is at work on it."""
    return Q(
        state=OPEN, pk__in=Operation.objects.filter(state=Operation.State.RUNNING, case__isnull=False).values("case")
    )


def is_waiting() -> Q:
    """Snoozed; handed back whole and not answered; held up by its target; or a fix of it waits for a second person."""
    return Q(state=OPEN) & (
        Q(aside=ExceptionCase.Aside.SNOOZED)
        | Q(pk__in=_handed_back())
        | Q(pk__in=_held_up())
        | Q(pk__in=Operation.objects.filter(state=AWAITING, case__isnull=False).values("case"))
    )


AWAITING = "awaiting"  # an operation that a second person has to approve


def _handed_back() -> Any:
    """Causes of which every entry waits on an answer of its source."""
    asked = HandBack.objects.filter(answered_at=None).values("entry")
    held = Hold.objects.filter(closed_at=None, entry__in=asked)
    return held.values("case").annotate(n=Count("pk")).filter(n__gte=F("case__open_holds")).values("case")


def _held_up() -> Any:
    """Causes with a fix at work whose entries wait for a maintenance window, a breaker or a parent."""
    stuck = OperationRow.objects.filter(
        operation__state=Operation.State.RUNNING, operation__case__isnull=False, entry__state_row__state=State.READY
    ).exclude(entry__state_row__waits_on="")
    return stuck.values("operation__case")


TABS = (
    Tab("open", "Open", lambda _user: IN_QUEUE),
    Tab("mine", "Mine", is_mine),
    Tab("regressed", "Regressed", lambda _user: IN_QUEUE & Q(regressions__gt=0)),
    Tab("waiting", "Waiting", lambda _user: is_waiting()),
    Tab("running", "Running", lambda _user: is_running()),
    Tab("resolved", "Resolved", lambda _user: Q(state=ExceptionCase.State.RESOLVED)),
    Tab("ignored", "Ignored", lambda _user: Q(state=OPEN, aside=ExceptionCase.Aside.IGNORED)),
)
EMPTY = {
    "mine": (
        "Nothing is assigned to you",
        "Nor to a team of yours. Take a cause on with M, or look at all that are open.",
    ),
    "regressed": ("Nothing came back", "No open cause had been resolved before."),
    "waiting": ("Nothing waits", "No cause is snoozed, handed back or waits for a second person."),
    "running": ("No fix is running", "What is being fixed right now is here, with its progress."),
    "resolved": ("Nothing was resolved yet", "A cause resolves by itself when its last entry goes."),
    "ignored": ("Nothing is ignored", "What somebody leaves alone is here until its day comes."),
}  # what an empty tab says while other causes are open
