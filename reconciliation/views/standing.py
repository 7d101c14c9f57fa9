"""How causes stand beside their figures: who is on them, until when they are set aside, whether they were escalated or merged.

The rule here: a page of causes costs a fixed number of queries, whatever their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Count, Min
from django.utils import timezone

from portal import figures
from reconciliation import triage
from reconciliation.models import ExceptionCase, HandBack, Hold, Ignore, Snooze

NAMED = 5  # messages to the source that are told one by one


def tell(found: Sequence[ExceptionCase], user: Any = None) -> None:
    """Give causes `present` (who is on them) and `marks` (words for what stands about them, and for others that are on them)."""
    ids = [case.pk for case in found]
    present = triage.present(ids)
    aside = _aside([case.pk for case in found if case.aside])
    for case in found:
        row: Any = case
        row.present = present.get(case.pk, [])
        others = [one for one in row.present if user is None or one.user_id != user.pk or one.is_running]
        row.marks = [
            *(["nobody is on it, the period ends soon"] if case.escalated_at else []),
            *([aside[case.pk]] if case.pk in aside else []),
            *(f"{one.words} since {timezone.localtime(one.since):%H:%M}" for one in others[:1]),
        ]


def _aside(ids: Sequence[int]) -> dict[int, str]:
    """Until when causes are set aside, in words."""
    if not ids:
        return {}
    words = {}
    for one in Snooze.objects.filter(case__in=ids, ended_at=None).select_related("period", "connection"):
        words[one.case_id] = f"snoozed until {_until(one)}"
    for left in Ignore.objects.filter(case__in=ids, ended_at=None).select_related("by"):
        words[left.case_id] = f"ignored by {left.by.get_username()} until {figures.day(left.expires_on)}"
    return words


def _until(snooze: Snooze) -> str:
    if snooze.period is not None:
        return f"{snooze.period.code} opens"
    if snooze.connection is not None:
        return f"{snooze.connection.name} was read again"
    return figures.day(snooze.date)


def strip_of(case: ExceptionCase, user: Any) -> dict[str, Any]:
    """What the page of one cause says above its figures."""
    tell([case])
    row: Any = case
    return {
        "present": [one for one in row.present if one.user_id != user.pk or one.operation_id],
        "snooze": Snooze.objects.filter(case=case, ended_at=None).select_related("by", "period", "connection").first(),
        "ignore": Ignore.objects.filter(case=case, ended_at=None).select_related("by").first(),
        "merged": list(case.merged.filter(state=ExceptionCase.State.MERGED).order_by("pk")),
        "aside_words": next(iter(_aside([case.pk]).values()), "") if case.aside else "",
        "asked": _asked(case),
    }


def _asked(case: ExceptionCase) -> list[dict[str, Any]]:
    """What was handed back to the source and waits for its answer: each message once, with by whom, since when, for how many."""
    held = Hold.objects.filter(case=case, closed_at=None).values("entry")
    waiting = HandBack.objects.filter(entry__in=held, answered_at=None).order_by()
    found = waiting.values("message", "by__username").annotate(entries=Count("pk"), since=Min("at"))
    return [dict(one) for one in found.order_by("since", "message")[:NAMED]]
