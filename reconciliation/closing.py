"""The close of a period: how long it is until its end, what money is not through, and when it will be at the pace that was seen.

The rule here: a finish is predicted only where something got through in the last hour and nothing else is in its way; what is
held or in doubt waits for people, and no pace says when they act.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta

from django.utils import timezone

from portal.models import AccountingPeriod
from reconciliation.sql import closing as sql


@dataclass(slots=True)
class Close:
    """One period on the board."""

    period: AccountingPeriod
    hours_left: int  # until its last day is over; below zero when it is
    stands: list[sql.Stand] = field(default_factory=list)

    @property
    def waiting(self) -> int:
        """Entries that go by themselves."""
        return sum(stand.waiting for stand in self.stands)

    @property
    def stopped(self) -> int:
        """Entries that wait for people."""
        return sum(stand.held + stand.in_doubt for stand in self.stands)

    @property
    def finish(self) -> datetime | None:
        """When what goes by itself is through, at the pace of the last hour; None where no pace was seen."""
        pace = sum(stand.last_hour for stand in self.stands)
        if not self.waiting or not pace:
            return None
        return timezone.now() + timedelta(hours=self.waiting / pace)

    @property
    def says(self) -> str:
        """The finish in words."""
        if not self.waiting and not self.stopped:
            return "Everything is through" if self.stands else "Nothing was worked"
        if self.stopped and not self.waiting:
            return "Waits for people"
        if self.finish is None:
            return "No pace was seen in the last hour"
        return "At the pace of the last hour" + ("; the rest waits for people" if self.stopped else "")


def board(periods: Sequence[AccountingPeriod]) -> list[Close]:
    """Every one of some periods, in one statement."""
    now = timezone.now()
    found = {}
    for period in periods:
        end = timezone.make_aware(datetime.combine(period.ends_on + timedelta(days=1), time()))
        found[period.pk] = Close(period, int((end - now).total_seconds() // 3600))
    for stand in sql.board(list(found)):
        found[stand.period_id].stands.append(stand)
    return list(found.values())
