"""Pages and totals with a bounded price: the count stops at a limit, and so does how far one may leaf."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.core.paginator import EmptyPage, PageNotAnInteger, Paginator
from django.db.models import Count, Q, QuerySet
from django.db.models.expressions import Combinable

from portal import keys

PAGE_SIZES = (25, 50, 100, 250)
FARTHEST_ROW = 10_000  # a person narrows the filter long before; an export has every row


@dataclass(frozen=True, slots=True)
class Summary:
    """What a filter holds: how many rows, and the totals per currency (under "" when money has none)."""

    count: int
    exact: bool = True
    totals: Mapping[str, Mapping[str, Decimal | int | None]] = field(default_factory=dict)

    @property
    def single(self) -> Mapping[str, Decimal | int | None]:
        """The totals when they are all in one currency; else none, because currencies do not add up."""
        return next(iter(self.totals.values())) if len(self.totals) == 1 else {}


def summarise(
    queryset: QuerySet[Any], totals: Mapping[str, Combinable], *, currency: str = "", limit: int = 200_000
) -> Summary:
    """Count the rows and add up `totals`, per currency when a path to it is given, in at most two statements.

    Beyond `limit` rows the count is a lower bound and there are no totals; the screen says so.
    """
    plain = queryset.order_by()
    found = plain[: limit + 1].count()
    if found > limit:
        return Summary(limit, exact=False)
    if not totals or not found:
        return Summary(found)
    if not currency:
        return Summary(found, totals={"": plain.aggregate(**totals)})
    rows = plain.values(currency).annotate(**totals).order_by(currency)
    return Summary(found, totals={row[currency] or "": {name: row[name] for name in totals} for row in rows})


def tab_counts(queryset: QuerySet[Any], conditions: Mapping[str, Q | None]) -> dict[str, int]:
    """How many rows each tab holds, in one statement."""
    return queryset.order_by().aggregate(**{slug: Count("pk", filter=where) for slug, where in conditions.items()})


class CappedPaginator(Paginator[Any]):
    """Pages over a count known beforehand, up to FARTHEST_ROW."""

    def __init__(self, object_list: Any, per_page: int, *, count: int, **more: Any) -> None:
        super().__init__(object_list, per_page, **more)
        self.__dict__["count"] = min(count, FARTHEST_ROW)
        self.capped = count > FARTHEST_ROW

    def nearest(self, number: str | int) -> int:
        """A page number that exists, for whatever an address says."""
        try:
            return self.validate_number(number)
        except PageNotAnInteger:
            return 1
        except EmptyPage:
            return self.num_pages if str(number).lstrip("-").isdigit() and int(number) > 0 else 1


def page_size(asked: str | None, preferred: int) -> int:
    """A page size from the list of them, whatever an address asks."""
    size = keys.key(asked or "")
    return size if size in PAGE_SIZES else preferred
