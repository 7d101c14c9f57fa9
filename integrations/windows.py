"""When a vendor is not to be called: maintenance windows, once or every week at the same local time.

The rule here: inside a window nothing is sent and no attempt is burnt. A weekly window follows its zone's clock; in the
nights in which that clock is moved it ends when both its length has passed and the clock shows its end.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from integrations.models import MaintenanceWindow


def closed_until(connection_id: int, at: datetime) -> tuple[datetime, str] | None:
    """When the window that holds at this moment ends, and why it is there; None outside of every window."""
    return until(list(MaintenanceWindow.objects.filter(connection_id=connection_id)), at)


def until(windows: Iterable[MaintenanceWindow], at: datetime) -> tuple[datetime, str] | None:
    """The same for given windows. Windows that overlap or touch count as one, with the reason of the first."""
    windows = list(windows)
    end, reason = at, ""
    moved = True
    while moved:
        moved = False
        for window in windows:
            closes = _end(window, end)
            if closes is not None and closes > end:
                end, moved = closes, True
                reason = reason or window.reason
    return (end, reason) if end > at else None


def since(windows: Iterable[MaintenanceWindow], at: datetime) -> datetime | None:
    """When what holds at this moment began; None outside of every window."""
    held = [pair for window in windows for pair in _occurrences(window, at, days=1)]
    start, moved = at, any(begins <= at < ends for begins, ends in held)
    found = moved
    while moved:
        earlier = min((begins for begins, ends in held if begins < start <= ends), default=start)
        start, moved = earlier, earlier < start
    return start if found else None


def next_start(windows: Iterable[MaintenanceWindow], at: datetime) -> datetime | None:
    """When the next window opens after a moment; None when none is planned."""
    starts = [start for window in windows for start, _ in _occurrences(window, at, days=8) if start > at]
    return min(starts, default=None)


def _end(window: MaintenanceWindow, at: datetime) -> datetime | None:
    ends = [end for start, end in _occurrences(window, at, days=1) if start <= at < end]
    return max(ends, default=None)


def _occurrences(window: MaintenanceWindow, at: datetime, *, days: int) -> list[tuple[datetime, datetime]]:
    """Start and end of a window's occurrences that can hold at a moment, or start within some days after it."""
    if window.starts_at is not None and window.ends_at is not None:
        return [(window.starts_at, window.ends_at)]
    if window.weekday is None or window.start_time is None or window.minutes is None:
        return []
    zone = ZoneInfo(window.zone)
    today = at.astimezone(zone).date()
    found = []
    for offset in range(-(window.minutes // 1440) - 2, days + 1):
        day = today + timedelta(days=offset)
        if day.isoweekday() != window.weekday:
            continue
        wall = datetime.combine(day, window.start_time)
        start = wall.replace(tzinfo=zone).astimezone(UTC)
        length = timedelta(minutes=window.minutes)
        wall_end = (wall + length).replace(tzinfo=zone, fold=1).astimezone(UTC)
        found.append((start, max(start + length, wall_end)))
    return found
