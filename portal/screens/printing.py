"""A list on paper: every row of the filter up to a limit, the filter and the totals on top, and what each entity holds.

The rule here: paper says what it leaves out. Beyond the limit the head says how many rows are left out, and where they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.db.models import Count, QuerySet
from django.db.models.expressions import Combinable
from django.http import HttpRequest
from django.utils import timezone

from portal import figures

if TYPE_CHECKING:
    from portal.screens.lists import ListScreen

PAPER_ROWS = 2_000
PARAMETER = "print"


@dataclass(frozen=True, slots=True)
class EntityTotal:
    """What one entity holds of a list, in one currency."""

    entity: str
    currency: str
    rows: int
    figures: Mapping[str, Decimal | int | None]

    def shown(self) -> list[str]:
        """The figures as they are written: amounts in their currency's units."""
        return [
            figures.amount(Decimal(value), self.currency)
            if name == "amount" and value is not None
            else figures.number(value, _places(value))
            for name, value in self.figures.items()
        ]


@dataclass(frozen=True, slots=True)
class Paper:
    """The head of a printed list."""

    person: str
    at: Any
    totals: list[EntityTotal]
    heads: list[str]
    left_out: int


def asked(request: HttpRequest) -> bool:
    """Whether the address asks for the list as it goes on paper."""
    return PARAMETER in request.GET


def paper(screen: ListScreen) -> Paper | None:
    """What is on top of the printed list; None where nobody prints."""
    if not asked(screen.request):
        return None
    totals = screen.entity_totals()
    heads = [name.replace("_", " ").capitalize() for name in totals[0].figures] if totals else []
    left_out = max(0, screen.summary.count - PAPER_ROWS)
    return Paper(screen.request.user.get_username(), timezone.now(), totals, heads, left_out)


def totals_by(
    queryset: QuerySet[Any], totals: Mapping[str, Combinable], *, entity: str, currency: str, counted: str = "pk"
) -> list[EntityTotal]:
    """Count and totals per entity and currency, in one statement. `entity` and `currency` are the paths to their codes."""
    found = queryset.order_by().values(entity, currency).annotate(rows_counted=Count(counted, distinct=True), **totals)
    return [
        EntityTotal(row[entity] or "", row[currency] or "", row["rows_counted"], {name: row[name] for name in totals})
        for row in found.order_by(entity, currency)
    ]


def _places(value: Decimal | int | None) -> int | None:
    return 2 if isinstance(value, Decimal) else None
