"""A project month as a person reads it: what is held out is blocked, what is drafted is on its way, and what is gone is said.

The rule here: nothing is called ready that would not be billed, and nothing invoiced that nobody issued; every amount still
stands in exactly one place.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from django.urls import reverse

from portal import figures
from reconciliation.readiness.blockers import Blocker
from reconciliation.sql.beside_months import Beside, beside

ZERO = Decimal(0)
NOTHING = Beside()


def put_right(months: Iterable[Any]) -> None:
    """Move what stands elsewhere than the ledger alone says, in the rows at hand; a fixed number of statements."""
    rows = list(months)
    found = beside({row.project_id for row in rows}) if rows else {}
    for row in rows:
        one = found.get((row.project_id, row.period_id, row.currency), NOTHING)
        row.beside = one
        row.blocked += one.held_out
        row.ready -= one.held_out + one.replaced + one.drafted + one.on_hold
        row.amount -= one.replaced
        row.hours -= one.replaced_hours
        row.invoiced -= one.issued_to_nobody
        row.drafted = one.drafted + one.issued_to_nobody
        row.on_hold = one.on_hold


def moved(months: Iterable[tuple[int, int, str]]) -> dict[str, Beside]:
    """The same of many months, as (project, period, currency), added up by currency."""
    keys = set(months)
    sums: dict[str, Beside] = {}
    for key, one in (beside({project for project, _, _ in keys}) if keys else {}).items():
        if key not in keys:
            continue
        total = sums.setdefault(key[2], Beside())
        for name in ("held_out", "replaced", "drafted", "on_hold", "issued_to_nobody", "gone"):
            setattr(total, name, getattr(total, name) + getattr(one, name))
    return sums


def gone(month: Any, others: Blocker | None) -> Blocker | None:
    """What comes before everything else: an invoice of the month that its system deleted, until somebody decides."""
    one: Beside = month.beside
    if not one.gone_bills:
        return others
    bill, number, system = one.gone_bills[0]
    words = (
        f"Invoice {number} was deleted in {system}: {figures.amount(one.gone, month.currency)} {month.currency} count as "
        "invoiced until somebody decides."
    )
    more = len(one.gone_bills) - 1 + (1 + others.more if others else 0)
    return Blocker(words, "finance", reverse("bill", args=[bill]), more)
