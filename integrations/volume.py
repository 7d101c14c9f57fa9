"""The guard against silence: a source that suddenly sends little or nothing is not believed at once.

The rule here: the cursor moves only once what came reaches a tenth of what usually comes in the time that has passed, so a
source that answers "nothing" by mistake costs a second reading and no record. Quiet nights and days off are normal; a
silence over a working day is worth a person's look.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

FLOOR = 0.1  # of what usually comes
WORTH_GUARDING = 20.0  # records a run; below this, nothing is nothing unusual
_NEWEST_COUNTS = 0.2
_LARGEST_STEP = 4.0  # a catch-up after an outage is not the new normal
_SURPRISING_AFTER = timedelta(hours=20)
_LAST_HOURS = timedelta(hours=12)


def expected(usual: float, every_seconds: int, seconds_since_success: float | None) -> float:
    """How many records at least should have come since the stream was last read well; 0 where nothing can be said."""
    if not every_seconds or seconds_since_success is None or usual < WORTH_GUARDING:
        return 0.0
    least = FLOOR * usual * min(1.0, seconds_since_success / every_seconds)
    return least if least >= 1 else 0.0


def learn(usual: float, read: int, every_seconds: int, seconds_since_success: float | None) -> float:
    """The moving average of records a run after one more. First readings and readings between schedules teach nothing."""
    if not every_seconds or seconds_since_success is None or seconds_since_success < every_seconds / 2:
        return usual
    if not usual:
        return float(read)
    return (1 - _NEWEST_COUNTS) * usual + _NEWEST_COUNTS * min(float(read), _LARGEST_STEP * max(usual, 1.0))


def is_surprising(now: datetime, seconds_since_success: float, zone: str, calendar: Mapping[str, Any]) -> bool:
    """Whether a silence has lasted into a working day of the entity, so that somebody should look."""
    if timedelta(seconds=seconds_since_success) < _SURPRISING_AFTER:
        return False
    return _is_working_day((now - _LAST_HOURS).astimezone(ZoneInfo(zone)).date(), calendar)


def _is_working_day(day: date, calendar: Mapping[str, Any]) -> bool:
    return day.isoweekday() not in calendar.get("weekend", (6, 7)) and day.isoformat() not in calendar.get(
        "holidays", ()
    )
