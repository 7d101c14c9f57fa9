"""The plots of a period: from the worked hour to the paid amount, what is open by its age, and how much matched run by run."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from django.utils import timezone
from django.utils.safestring import SafeString

from portal import charts
from portal.models import AccountingPeriod
from reconciliation.models import ReconciliationResult, ReconciliationRun
from reconciliation.sql import closing as sql
from reconciliation.views.legs import legs_of

AGES = ("0 to 14 days", "15 to 29 days", "30 to 59 days", "60 to 89 days", "90 days and more")
Leg = ReconciliationResult.Leg


def of_period(period: AccountingPeriod) -> list[tuple[str, SafeString]]:
    """The waterfalls, in hours and in each currency, and the ages of what is open; nothing where nothing was worked."""
    found = sql.waterfall(period.entity_id, period.starts_on, period.ends_on)
    drawn: list[tuple[str, SafeString]] = []
    if found.worked or found.on_ledger:
        title = "Hours, from the tracker to the ERP"
        chart = (
            charts.waterfall(
                [
                    charts.Bar("Approved", found.worked), charts.Bar("On the ledger", found.on_ledger),
                    charts.Bar("In the ERP", found.posted), charts.Bar("To be billed", found.billable),
                ],
                title=title, unit="hours", places=2,
            )
        )  # fmt: skip
        drawn.append((title, chart))
    own = period.entity.currency
    for one in sorted(found.amounts, key=lambda each: (each.currency != own, each.currency)):
        if not one.priced:
            continue
        title = f"Amounts, from the priced hour to the payment, {one.currency}"
        chart = (
            charts.waterfall(
                [
                    charts.Bar("Priced", one.priced), charts.Bar("In the ERP", one.posted_amount),
                    charts.Bar("Invoiced", one.invoiced), charts.Bar("Paid", one.paid),
                ],
                title=title, unit=one.currency, places=2,
            )
        )  # fmt: skip
        drawn.append((title, chart))
    return drawn + ages(period)


def ages(period: AccountingPeriod) -> list[tuple[str, SafeString]]:
    """What differs or waits, by leg and age."""
    rows: dict[str, list[int]] = {}
    for leg, _, bucket, count, _ in sql.ages([period.pk], timezone.localdate()):
        rows.setdefault(leg, [0] * len(AGES))[bucket] += count
    if not rows:
        return []
    data = [(str(Leg(leg).label), rows[leg]) for leg in Leg.values if leg in rows]
    title = "What is open or waits, by its age"
    return [(title, charts.stacked(data, AGES, title=title, unit="items"))]


def match_rates(runs: Sequence[ReconciliationRun]) -> list[tuple[str, SafeString]]:
    """How much of each leg matched, a plot for each leg and in it run by run; the oldest run first, as `runs` are given."""
    by_leg: dict[str, list[charts.Bar]] = {}
    for run in runs:
        when = f"{timezone.localtime(run.started_at):%d %b %H:%M}"
        for leg in legs_of(run.totals) if run.totals else ():
            if leg.total:
                by_leg.setdefault(leg.label, []).append(charts.Bar(when, Decimal(100 * leg.matched) / leg.total))
    drawn = []
    for label, shares in by_leg.items():
        title = f"{label}: matched run by run, in percent"
        drawn.append((title, charts.bars(shares, title=title, unit="%", places=1)))
    return drawn
