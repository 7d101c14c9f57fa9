"""What finance's desk puts on a person's first page: causes, operations, projects with held money, and what changed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Sum
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from portal import figures
from portal.models import GrantRole, LedgerEntry, Project
from portal.screens import within
from portal.screens.base import roles_of
from portal.screens.panels import Line, Panel
from reconciliation.models import ExceptionCase, Hold, Operation, ReconciliationRun, TeamMember
from reconciliation.readiness import with_whom
from reconciliation.views import telling
from reconciliation.views.running import under_way

SHOWN = 8
DAY = timedelta(days=1)


def _causes(request: HttpRequest) -> QuerySet[ExceptionCase]:
    """The causes of the entities that the person looks at."""
    return within(ExceptionCase.objects.visible_to(request.user), request)


def _most_at_risk(causes: QuerySet[ExceptionCase]) -> list[ExceptionCase]:
    """The first open causes of the queue, in its order; what was snoozed or ignored is out of sight here too."""
    open_ones = causes.filter(state=ExceptionCase.State.OPEN, aside=ExceptionCase.Aside.NO)
    found = open_ones.select_related("entity", "owner", "team").prefetch_related("totals")
    return list(found.order_by("is_apart", "compared_in", "-compared_risk", "-open_holds", "opened_at")[:SHOWN])


def _line(case: ExceptionCase) -> Line:
    sums = [f"{figures.amount(one.amount, one.currency)} {one.currency}" for one in case.totals.all() if one.amount]
    under = [case.entity.code, _many(case.entries, "entry", "entries"), f"open for {figures.age(case.opened_at)}"]
    if case.owner is not None or case.team is not None:
        under.append(f"with {with_whom(case)}")
    if case.regressions:
        under.append("came back")
    return Line(text=case.sentence, url=reverse("cause", args=[case.pk]), note=" · ".join(under), figures=sums)


def mine(request: HttpRequest) -> Panel | None:
    """Causes that the person has taken."""
    lines = [_line(case) for case in _most_at_risk(_causes(request).filter(owner_id=request.user.pk))]
    return Panel(
        key="mine", title="Assigned to me", position=10, lines=lines, is_wide=True,
        nothing="No cause is assigned to you. Take one from the list below.",
        url=f"{reverse('exceptions')}?tab=mine",
    )  # fmt: skip


def team(request: HttpRequest) -> Panel | None:
    """What waits for somebody of the person's teams; nothing for a person without one."""
    teams = list(TeamMember.objects.filter(user_id=request.user.pk or 0, team__is_active=True).select_related("team"))
    if not teams:
        return None
    waiting = _causes(request).filter(team__in=[one.team_id for one in teams], owner=None)
    names = " and ".join(str(one.team) for one in teams[:3])
    return Panel(
        key="team", title=f"Nobody of {names} has taken", position=12, is_wide=True,
        lines=[_line(case) for case in _most_at_risk(waiting)],
        nothing="Everything that was given to your team has its person.",
    )  # fmt: skip


def causes(request: HttpRequest) -> Panel | None:
    """What puts the most money at risk."""
    lines = [_line(case) for case in _most_at_risk(_causes(request))]
    return Panel(
        key="causes", title="Open causes, most cash at risk first", position=20, lines=lines, is_wide=True,
        nothing="Nothing is held. Every approved hour is on its way or booked.",
        url=reverse("exceptions"),
    )  # fmt: skip


def projects(request: HttpRequest) -> Panel | None:
    """For project managers: per project of theirs what is held, why, and who has to act; most money first."""
    if GrantRole.PROJECT_MANAGER not in roles_of(request):
        return None
    own = within(Project.objects.visible_to(request.user), request).filter(manager_id=request.user.pk)
    stopped = Exists(Hold.objects.filter(entry=OuterRef("pk"), closed_at=None))
    entries = LedgerEntry.objects.visible_to(request.user).filter(stopped, project__in=own.values("pk"))
    sums = entries.values("project_id", "project__code", "project__name", "currency").annotate(
        amount=Sum("amount", default=Decimal(0)), hours=Sum("hours", default=Decimal(0)), held=Count("pk")
    )  # fmt: skip
    rows: dict[int, list[dict[str, Any]]] = {}
    for row in sums.order_by("-amount", "project__code"):
        if row["project_id"] in rows or len(rows) < SHOWN:
            rows.setdefault(row["project_id"], []).append(dict(row))
    blockers = _blockers(request, list(rows))
    return Panel(
        key="projects", title="What stops my projects", position=15, is_wide=True,
        lines=[_project(found, blockers.get(project_id, [])) for project_id, found in rows.items()],
        nothing="Nothing is held on your projects: every approved hour is on its way or booked.",
    )  # fmt: skip


def _blockers(request: HttpRequest, project_ids: list[int]) -> dict[int, list[ExceptionCase]]:
    """By project, the causes that stop it, the one with the most money first; two statements."""
    holds = Hold.objects.visible_to(request.user).filter(closed_at=None, entry__project__in=project_ids)
    found = holds.order_by().values("entry__project_id", "case_id").annotate(amount=Sum("entry__amount"), n=Count("pk"))
    ordered = list(found.order_by(F("amount").desc(nulls_last=True), "-n"))
    cases = ExceptionCase.objects.select_related("owner", "team").in_bulk({row["case_id"] for row in ordered})
    by_project: dict[int, list[ExceptionCase]] = {}
    for row in ordered:
        by_project.setdefault(row["entry__project_id"], []).append(cases[row["case_id"]])
    return by_project


def _project(rows: list[dict[str, Any]], causes: list[ExceptionCase]) -> Line:
    code, name = rows[0]["project__code"], rows[0]["project__name"]
    held, hours = sum(row["held"] for row in rows), sum((row["hours"] for row in rows), Decimal(0))
    why = ""
    if causes:
        others = f" (and {_many(len(causes) - 1, 'other cause')})" if len(causes) > 1 else ""
        why = f"{causes[0].sentence}{others} · with {with_whom(causes[0])} · "
    return Line(
        text=f"{code} {name}",
        url=f"{reverse('ledger')}?project={code}&state=held",
        note=f"{why}{held:,} held · {figures.hours(hours)} h",
        figures=[
            f"{figures.amount(row['amount'], row['currency'])} {row['currency']}"
            for row in rows
            if row["amount"] and row["currency"]
        ],
    )


def running(request: HttpRequest) -> Panel | None:
    """Bulk operations under way, everybody's, those whose entries are still being posted among them."""
    found = within(under_way(request.user), request).select_related("created_by").order_by("-pk")[:SHOWN]
    lines = []
    for one in found:
        standing = telling.counted(one)
        lines.append(
            Line(
                text=one.title,
                url=reverse("operation", args=[one.pk]),
                state=standing.label,
                tone=standing.tone,
                note=f"{telling.in_short(one)} · {one.created_by}",
            )
        )
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
