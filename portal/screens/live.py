"""A list that never jumps: it asks what is new, says how many, and waits to be refreshed by whoever reads it.

The rule here: an answer to a poll moves no row. Counts and tiles follow; of the rows on the page only those are drawn again, in
their places, whose figures changed since they were drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from portal import keys

MOST_SHOWN = 250  # rows that one page can hold
LATE = timedelta(minutes=15)  # how long after it began a batch may commit its rows and still have them told
MOST_NEW = 1000  # counted; more says no more


def moment(text: str) -> datetime | None:
    """The moment that a poll names, in microseconds; None where it names none."""
    microseconds = keys.key(text)
    if microseconds is None:
        return None
    try:
        return datetime.fromtimestamp(microseconds / 1_000_000, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def stamp() -> str:
    """Now, as a poll names it."""
    return str(int(timezone.now().timestamp() * 1_000_000))


def shown(text: str) -> list[int]:
    """The keys of the rows that the page shows."""
    return keys.keys(text.split(",")[:MOST_SHOWN])


def lately(queryset: QuerySet[Any], field: str, at: datetime) -> int:
    """How many rows came since a while before that moment: a batch commits rows that are older than its end."""
    return queryset.order_by().filter(**{f"{field}__gt": at - LATE})[: MOST_NEW * 10].count()


def newer(queryset: QuerySet[Any], field: str, since: datetime, drawn: str) -> int:
    """How many rows came since the list was drawn; `drawn` is how many had come `lately` by then."""
    known = keys.key(drawn) or 0
    return min(max(0, lately(queryset, field, since) - known), MOST_NEW)


def changed(queryset: QuerySet[Any], field: str, since: datetime, shown_keys: Sequence[int]) -> QuerySet[Any]:
    """The shown rows whose figures changed since then."""
    return queryset.filter(pk__in=shown_keys, **{f"{field}__gt": since})
