"""What the rows of a page are told with: the source's own words, the way, the trend and the first way out of a cause.

The rule here: each is one query for the whole page, whatever the number of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils import timezone

from portal.models import Expense, LedgerEntry, TimeEntry
from portal.screens.leaf import PartLeaf
from portal.screens.paging import Summary
from portal.screens.tables import Table
from reconciliation import suggestions
from reconciliation.models import CaseDay, ExceptionCase, Hold
from reconciliation.views import reach, standing

TREND_DAYS = 14


def paged(
    request: HttpRequest, table_class: type[Table], queryset: QuerySet[Any], *, count: int, per_page: int = 50
) -> dict[str, Any]:
    """The context of a table inside a page, with the order and the page that the address says."""
    table = table_class(queryset, order_by=request.GET.get("sort") or None)
    rows = table.data.data
    table.data.data = rows.order_by(*(rows.query.order_by or ("pk",)), "pk")
    leaf = PartLeaf(request, table, count=count, per_page=per_page)
    return {
        "table": table,
        "leaf": leaf,
        "summary": Summary(count),
        "sizes": leaf.sizes,
        "size": leaf.size,
        "here": request.get_full_path(),
    }


def records_of(table: Table) -> list[Any]:
    """The records of the table's page; what is set on them is seen by its columns."""
    return list(table.page.object_list.data)


def tell_words(rows: Sequence[Any], entry_of: Callable[[Any], LedgerEntry]) -> None:
    """Give rows the source's own words for person and project (`said_person`, `said_project`)."""
    wanted = {(entry.document_id, entry.version) for entry in map(entry_of, rows)}
    said: dict[tuple[int, int], tuple[str, str]] = {}
    for model in (TimeEntry, Expense):
        versions = model._default_manager.filter(document__in={document for document, _ in wanted})
        for document, version, *words in versions.values_list(
            "document_id", "version", "resource_name", "resource_code", "project_code", "project_name", "project_key"
        ):
            said[document, version] = (words[0] or words[1], words[2] or words[3] or words[4])
    for row in rows:
        entry = entry_of(row)
        row.said_person, row.said_project = said.get((entry.document_id, entry.version), ("", ""))


def tell_holds(rows: Iterable[Any], case_id: int | None) -> None:
    """Give operation rows the sentence that held their entry (`before`)."""
    rows = list(rows)
    holds = Hold.objects.filter(entry__in=[row.entry_id for row in rows])
    if case_id is not None:
        holds = holds.filter(case_id=case_id)
    sentences = dict(holds.order_by("pk").values_list("entry_id", "sentence"))
    for row in rows:
        row.before = sentences.get(row.entry_id, "")


def tell_causes(found: Sequence[ExceptionCase], user: Any, *, deeply: bool = False) -> None:
    """Give causes what their rows show: way, trend over 14 days, projects, next invoice runs, and the first way out.

    `deeply` asks for the suggestions of a cause's own page.
    """
    ids = [case.pk for case in found]
    ways = _ways(ids)
    trends = _trends(ids)
    reached = reach.of(ids)
    standing.tell(found, user)
    offered = suggestions.of(found, deeply=deeply)
    for case in found:
        row: Any = case
        row.source_name, row.target_name = ways.get(case.pk, ("", ""))
        row.trend = trends.get(case.pk, [0] * TREND_DAYS)
        row.reached = reached.get(case.pk, reach.NOTHING)
        row.suggestions = offered[case.pk]
        row.suggestion = next(iter(row.suggestions), None)


def tell_reach(found: Sequence[ExceptionCase]) -> None:
    """Give causes only their projects and next invoice runs, for a file."""
    reached = reach.of([case.pk for case in found])
    for case in found:
        case.reached = reached.get(case.pk, reach.NOTHING)  # type: ignore[attr-defined]


def _ways(ids: Sequence[int]) -> dict[int, tuple[str, str]]:
    one = Hold.objects.filter(case=OuterRef("pk"), closed_at=None).order_by("entry_id")
    rows = ExceptionCase.objects.filter(pk__in=ids).annotate(
        source_name=Subquery(one.values("entry__source__name")[:1]),
        target_name=Subquery(one.values("entry__target__name")[:1]),
    )
    return {
        pk: (source or "", target or "") for pk, source, target in rows.values_list("pk", "source_name", "target_name")
    }


def _trends(ids: Sequence[int]) -> dict[int, list[int]]:
    since = timezone.localdate() - timedelta(days=TREND_DAYS - 1)
    trends: dict[int, list[int]] = {}
    days = CaseDay.objects.filter(case__in=ids, day__gte=since).values_list("case_id", "day", "opened")
    for case_id, day, opened in days:
        at = (day - since).days
        if at < TREND_DAYS:
            trends.setdefault(case_id, [0] * TREND_DAYS)[at] = opened
    return trends
