"""The calendar of an entity: which days of the week and which holidays are off, and how many hours a day has there.

The rule here: what a calendar does not say is the common case (Saturday and Sunday off, no holidays, eight hours).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

WEEKEND = (6, 7)  # as ISO numbers them: Monday is 1
FULL_DAY = Decimal(8)


@dataclass(frozen=True, slots=True)
class WorkCalendar:
    """One entity's days off."""

    weekend: frozenset[int]
    holidays: frozenset[date]
    hours_per_day: Decimal

    def day_off(self, day: date) -> str:
        """Why nobody works on a day, in a word: weekend or holiday; empty for a working day."""
        if day in self.holidays:
            return "holiday"
        return "weekend" if day.isoweekday() in self.weekend else ""

    def working_days(self, start: date, end: date) -> int:
        """How many days of a closed range are worked."""
        days = (start + timedelta(days=number) for number in range((end - start).days + 1))
        return sum(1 for day in days if not self.day_off(day))


def calendar_of(settings: Mapping[str, Any]) -> WorkCalendar:
    """The calendar that an entity was configured with."""
    return WorkCalendar(
        frozenset(settings.get("weekend", WEEKEND)),
        frozenset(date.fromisoformat(str(day)) for day in settings.get("holidays", ())),
        Decimal(str(settings.get("hours_per_day", FULL_DAY))),
    )
