"""Whose work the causes of a page hold, and which invoices they block: one query for the whole page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from django.utils import timezone

from reconciliation.models import CaseReach
from reconciliation.schedules import Terms, agreed

SCHEDULES = tuple(
    f"{whose}__{name}"
    for whose in ("contract", "customer")
    for name in ("invoice_schedule", "invoice_day", "payment_terms_days")
)


@dataclass(frozen=True, slots=True)
class Blocked:
    """One customer whose invoice lacks what a cause holds: when it goes out next, None where that is not known."""

    customer: str
    terms: Terms
    run: date | None


@dataclass(slots=True)
class Reached:
    """The projects of one cause, and the invoices that it blocks, the next one first."""

    projects: set[int] = field(default_factory=set)
    blocked: list[Blocked] = field(default_factory=list)

    @property
    def next(self) -> Blocked | None:
        """The invoice that goes out next; one without a known run comes last."""
        return min(self.blocked, key=lambda one: one.run or date.max, default=None)


NOTHING = Reached()


def of(case_ids: Sequence[int]) -> dict[int, Reached]:
    """What each case reaches."""
    today = timezone.localdate()
    found: dict[int, Reached] = {}
    seen: set[tuple[Any, ...]] = set()
    rows = CaseReach.objects.filter(case__in=case_ids).order_by("case", "customer__name", "pk")
    for case_id, project, customer, billable, *told in rows.values_list(
        "case_id", "project_id", "customer__name", "billable", *SCHEDULES
    ):
        reached = found.setdefault(case_id, Reached())
        if project is not None:
            reached.projects.add(project)
        terms = agreed(Terms(told[0] or "", *told[1:3]), Terms(told[3] or "", *told[4:]))
        if not terms.is_invoiced or not billable or customer is None or (case_id, customer, terms) in seen:
            continue
        seen.add((case_id, customer, terms))
        runs = terms.runs(today)
        reached.blocked.append(Blocked(customer, terms, runs[0] if runs else None))
    return found
