"""The hole detector: what should have arrived and did not. Silence is an exception too.

The rule here: whoever is engaged is expected on every working day of the entity's calendar, up to yesterday. A day of which a
source says nothing at all is a hole; time that nobody approved yet, work that is not owed, and work for another entity was told
of. A source with holes is one cause, whose page names people and days.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from itertools import groupby

from django.utils.timezone import localdate

from portal.models import AccountingPeriod
from reconciliation import cases
from reconciliation.facts.workdays import calendar_of
from reconciliation.models import ExceptionCase
from reconciliation.sql.holes import PersonDays, person_days
from reconciliation.sql.matching import open_keys

RULE = "nothing-arrived"
_NAMED = 3  # people in the sentence of a cause
_STILL_LOOKED_AT = 62  # days after a period that stays open
OPEN = (AccountingPeriod.State.OPEN, AccountingPeriod.State.CLOSING)


def of_period(period: AccountingPeriod) -> list[PersonDays]:
    """Everybody's expected, arrived, posted and invoiced hours of a period, up to yesterday."""
    until = min(period.ends_on, localdate() - timedelta(days=1))
    if until < period.starts_on:
        return []
    calendar = calendar_of(period.entity.calendar or {})
    return person_days(
        period.entity_id, period.starts_on, until, weekend=sorted(calendar.weekend), holidays=sorted(calendar.holidays),
        full_day=calendar.hours_per_day,
    )  # fmt: skip


def look() -> int:
    """For every period that is not closed: one cause per source that is silent of somebody; how many causes stand."""
    today = localdate()
    _let_go()
    begun = AccountingPeriod.objects.filter(state__in=OPEN, starts_on__lt=today).select_related("entity")
    return sum(tell(period) for period in begun.filter(ends_on__gte=today - timedelta(days=_STILL_LOOKED_AT)))


def _let_go() -> None:
    """Of a period that was closed, nothing is expected any more: its causes end."""
    open_ones = ExceptionCase.objects.filter(rule=RULE, state=ExceptionCase.State.OPEN)
    standing = {case.subject_key: int(case.subject_key.partition(":")[0]) for case in open_ones}
    over = AccountingPeriod.objects.filter(pk__in=set(standing.values())).exclude(state__in=OPEN).in_bulk()
    for key, period_id in standing.items():
        if period_id in over:
            cases.resolve(RULE, "silence", key, entity_id=over[period_id].entity_id, reason="the period is closed")


def tell(period: AccountingPeriod) -> int:
    """Open, renew or close the causes of one period; how many stand."""
    prefix = f"{period.pk}:"
    found = sorted((row for row in of_period(period) if row.silent), key=lambda row: row.source_id)
    keys = set()
    for source_id, rows in groupby(found, key=lambda row: row.source_id):
        people = sorted(rows, key=lambda row: (-len(row.silent), row.person))
        days = sum(len(row.silent) for row in people)
        hours = sum((row.expected / row.days * len(row.silent) for row in people), Decimal(0))
        named = ", ".join(f"{row.person} ({len(row.silent)})" for row in people[:_NAMED])
        more = f" and {len(people) - _NAMED} more" if len(people) > _NAMED else ""
        who = people[0].source or "No source"
        keys.add(f"{prefix}{source_id}")
        cases.raise_case(
            RULE, period.entity_id, "silence", f"{prefix}{source_id}",
            f"{who}, {period.entity} {period.code}: nothing arrived for {days} working days of {len(people)} people, "
            f"{hours:,.1f} h expected: {named}{more}.",
            detail={"period_id": period.pk, "days": days, "people": len(people)}, connection_id=source_id or None,
        )  # fmt: skip
    for key in set(open_keys(RULE, prefix)) - keys:
        cases.resolve(RULE, "silence", key, entity_id=period.entity_id, reason="everything has arrived")
    return len(keys)
