"""What waits because a connection or a route is missing: counted with its money, so that its cause stands where it belongs.

The rule here: such a cause holds no entry, since nothing is wrong with what waits; it goes by itself once the cause is gone.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction

from portal import figures
from reconciliation import cash
from reconciliation.sql import cases as cases_sql
from reconciliation.sql import opening
from reconciliation.sql import waiting as sql
from reconciliation.sql.waiting import RULES

__all__ = ["RULES", "count"]


def count(case_ids: Sequence[int] | None = None) -> int:
    """Count anew what waits because of open causes, all or some, and let them say it; how many of them it changed for."""
    if not (moved := sql.moved(case_ids)):
        return 0
    ids = [one.case_id for one in moved]
    with transaction.atomic():
        sql.keep(ids)
        cash.weigh(ids)
        said = opening.reword(
            [(one.case_id, _sentence(one)) for one in moved if one.rule == sql.NO_ROUTE and one.first]
        )
        cases_sql.remember(said, "~", "What it says has changed")
    return len(ids)


def _sentence(one: sql.Moved) -> str:
    what = "Time entries" if one.kind == "time" else "Expenses"
    return f"{what} of {one.connection} have no target {span(one)}; add a route."


def span(one: sql.Moved) -> str:
    """Which days it is about, in words."""
    if one.first is None or one.last is None or one.first == one.last:
        return f"on {figures.day(one.first)}"
    return f"from {figures.day(one.first)} to {figures.day(one.last)}"
