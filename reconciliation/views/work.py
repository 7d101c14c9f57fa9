"""What finance's desk puts on a person's first page: causes, operations, projects with held money, and what changed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Count, F, Max, Q, QuerySet, Sum
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from portal import figures
from portal.models import GrantRole, Project
from portal.screens import within
from portal.screens.base import roles_of
from portal.screens.panels import Line, Panel
from reconciliation.models import ExceptionCase, Operation, ReconciliationRun

SHOWN = 8
DAY = timedelta(days=1)


def _causes(request: HttpRequest) -> QuerySet[ExceptionCase]:
    """The causes of the entities that the person looks at."""
    return within(ExceptionCase.objects.visible_to(request.user), request)


def _open_by_money(causes: QuerySet[ExceptionCase]) -> list[ExceptionCase]:
    ranked = causes.filter(state=ExceptionCase.State.OPEN).annotate(most=Max("totals__amount"))
    found = ranked.select_related("entity", "owner").prefetch_related("totals")
    return list(found.order_by(F("most").desc(nulls_last=True), "-open_holds", "opened_at")[:SHOWN])


def _line(case: ExceptionCase) -> Line:
    sums = [f"{figures.amount(one.amount, one.currency)} {one.currency}" for one in case.totals.all() if one.amount]
    under = [case.entity.code, _many(case.open_holds, "entry", "entries"), f"open for {figures.age(case.opened_at)}"]
    if case.owner is not None:
        under.append(case.owner.get_username())
    if case.regressions:
        under.append("came back")
    return Line(text=case.sentence, url=reverse("cause", args=[case.pk]), note=" · ".join(under), figures=sums)


def mine(request: HttpRequest) -> Panel | None:
    """Causes that the person has taken."""
    own = _causes(request).filter(owner_id=request.user.pk)
    lines = [_line(case) for case in _open_by_money(own)]
    return Panel(
        key="mine", title="Assigned to me", position=10, lines=lines, is_wide=True,
        nothing="No cause is assigned to you. Take one from the list below.",
        url=f"{reverse('exceptions')}?tab=mine",
    )  # fmt: skip


def causes(request: HttpRequest) -> Panel | None:
    """What holds the most money."""
    lines = [_line(case) for case in _open_by_money(_causes(request))]
    return Panel(
        key="causes", title="Open causes, most money first", position=20, lines=lines, is_wide=True,
        nothing="Nothing is held. Every approved hour is on its way or booked.",
        url=reverse("exceptions"),
    )  # fmt: skip


def projects(request: HttpRequest) -> Panel | None:
    """For project managers: their projects with what is held on each, most money first."""
    if GrantRole.PROJECT_MANAGER not in roles_of(request):
        return None
    held = Q(entries__holds__closed_at=None, entries__holds__isnull=False)
    own = within(Project.objects.visible_to(request.user), request).filter(manager_id=request.user.pk)
    rows = (
        own.filter(held)
        .values("pk", "code", "name", "entries__currency")
        .annotate(
            amount=Sum("entries__amount"), hours=Sum("entries__hours"), entries_held=Count("entries", distinct=True)
        )
        .order_by("-amount")[:SHOWN]
    )
    return Panel(
        key="projects", title="My projects with held money", position=15, is_wide=True,
        lines=[_project(row) for row in rows], nothing="Nothing is held on your projects.",
    )  # fmt: skip


def _project(row: dict[str, Any]) -> Line:
    amount, currency = row["amount"], row["entries__currency"]
    sums = [f"{figures.amount(amount, currency)} {currency}"] if amount is not None and currency else []
    count = row["entries_held"]
    return Line(
        text=f"{row['code']} {row['name']}",
        url=f"{reverse('ledger')}?project={row['code']}&state=held",
        note=f"{count:,} held · {figures.hours(row['hours'] or Decimal(0))} h",
        figures=sums,
    )


def running(request: HttpRequest) -> Panel | None:
    """Bulk operations under way, everybody's."""
    under_way = within(Operation.objects.visible_to(request.user), request).filter(state=Operation.State.RUNNING)
    lines = [
        Line(
            text=one.title, url=reverse("operation", args=[one.pk]), state="Running", tone="info",
            note=f"{one.done + one.failed:,} of {one.total:,} · {one.created_by}",
        )
        for one in under_way.select_related("created_by").order_by("-pk")[:SHOWN]
    ]  # fmt: skip
    return Panel(
        key="running", title="Running operations", position=30, lines=lines, nothing="No operation is running.",
        url=reverse("operations"),
    )  # fmt: skip


def news(request: HttpRequest) -> Panel | None:
    """What changed since yesterday at the desk."""
    since = timezone.now() - DAY
    counted = _causes(request).aggregate(
        opened=Count("pk", filter=Q(opened_at__gte=since)),
        back=Count("pk", filter=Q(opened_at__gte=since, regressions__gt=0)),
        closed=Count("pk", filter=Q(closed_at__gte=since, state=ExceptionCase.State.RESOLVED)),
    )
    done = within(Operation.objects.visible_to(request.user), request).filter(finished_at__gte=since)
    fixed = done.aggregate(operations=Count("pk"), rows=Sum("done", default=0))
    runs = within(ReconciliationRun.objects.visible_to(request.user), request).filter(finished_at__gte=since)
    tied = runs.aggregate(runs=Count("pk"), balanced=Count("pk", filter=Q(state=ReconciliationRun.State.BALANCED)))
    return Panel(key="news", title="", position=10, lines=list(_news(counted, fixed, tied)))


def _news(counted: dict[str, int], fixed: dict[str, int], tied: dict[str, int]) -> Iterable[Line]:
    back = f", {counted['back']:,} of them back again" if counted["back"] else ""
    yield Line(text=f"{_many(counted['opened'], 'cause')} opened{back}", url=reverse("exceptions"))
    yield Line(text=f"{_many(counted['closed'], 'cause')} closed", url=f"{reverse('exceptions')}?tab=resolved")
    ended = f"{_many(fixed['operations'], 'operation')} ended, {_many(fixed['rows'], 'entry', 'entries')} fixed"
    yield Line(text=ended, url=reverse("operations"))
    compared = f"{_many(tied['runs'], 'period')} compared, {tied['balanced']:,} balanced"
    yield Line(text=compared, url=reverse("reconciliation"))


def _many(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
