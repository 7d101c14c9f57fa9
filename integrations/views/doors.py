"""Why nothing goes to a target now, told for the pages of whoever waits: since when, until when, and what ends it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from django.urls import reverse
from django.utils import timezone

from integrations import windows
from integrations.models import Breaker
from portal.models import Connection
from portal.screens.doors import ClosedDoor


def closed(target_ids: Collection[int]) -> dict[int, ClosedDoor]:
    """The closed doors among some targets, by id; three statements."""
    targets = Connection.objects.filter(pk__in=target_ids).select_related("breaker")
    moment = timezone.now()
    doors = {one.pk: _door(one, moment) for one in targets.prefetch_related("maintenance_windows")}
    return {number: door for number, door in doors.items() if door is not None}


def _door(target: Connection, moment: datetime) -> ClosedDoor | None:
    url = reverse("connection", args=[target.code])
    if not target.is_active:
        return ClosedDoor(
            target=target.name, sentence="is switched off", ends="It goes on when an admin switches it on.", url=url
        )
    if target.paused_at is not None:
        return ClosedDoor(
            target=target.name, sentence=f"is paused: {target.pause_reason or 'no reason was given'}",
            since=target.paused_at, ends="It goes on when somebody resumes it.", url=url,
        )  # fmt: skip
    planned = list(target.maintenance_windows.all())
    window = windows.until(planned, moment)
    if window is not None:
        return ClosedDoor(
            target=target.name, sentence=f"is in a maintenance window: {window[1] or 'planned'}", until=window[0],
            since=windows.since(planned, moment), ends="It goes on by itself when the window ends.", tone="info", url=url,
        )  # fmt: skip
    row: Breaker | None = getattr(target, "breaker", None)
    return _broken(target.name, row, moment, url) if row is not None else None


def _broken(name: str, row: Breaker, moment: datetime, url: str) -> ClosedDoor | None:
    if row.unauthorised_at is not None:
        return ClosedDoor(
            target=name, sentence="refuses our credentials", since=row.unauthorised_at, until=row.probe_at, tone="bad",
            ends="An admin has to renew them; they are tried again by themselves.", url=url,
        )  # fmt: skip
    if row.state == Breaker.State.OPEN:
        return ClosedDoor(
            target=name, sentence=f"is failing: {row.reason or 'its breaker is open'}", since=row.changed_at,
            until=row.probe_at, tone="bad", ends="It goes on by itself after a good probe.", url=url,
        )  # fmt: skip
    if row.probe_at is not None and row.probe_at > moment:
        return ClosedDoor(
            target=name, sentence="told us to slow down", until=row.probe_at, ends="It goes on by itself.", url=url
        )
    return None
