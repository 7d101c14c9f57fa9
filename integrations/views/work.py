"""What operations put on a person's first page: messages that cannot be read, connections in trouble, and what was read."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Count, Q, Sum
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from integrations import standing
from integrations.models import InboxMessage, Run
from integrations.views.connections import connections_with_standing
from portal import figures
from portal.screens import within
from portal.screens.panels import Line, Panel

SHOWN = 5
TROUBLE = (Run.State.FAILED, Run.State.TRUNCATED, Run.State.HELD)


def failed(request: HttpRequest) -> Panel | None:
    """Messages that wait for a person because they cannot be read."""
    waiting = within(InboxMessage.objects.visible_to(request.user), request).filter(state=InboxMessage.State.FAILED)
    newest = waiting.select_related("connection").defer("payload", "headers").order_by("-pk")[:SHOWN]
    lines = [
        Line(
            text=one.failure or "It could not be read.",
            url=reverse("inbox_message", args=[one.pk]),
            note=f"{one.connection} · {one.stream} {one.external_id} · {figures.age(one.received_at)}",
        )
        for one in newest
    ]
    return Panel(
        key="failed", title="Messages that cannot be read", position=40, lines=lines,
        nothing="Everything that came could be read.", url=f"{reverse('inbox')}?tab=failed",
    )  # fmt: skip


def unwell(request: HttpRequest) -> Panel | None:
    """Connections that are not healthy, the worst first."""
    rows = within(connections_with_standing().visible_to(request.user), request)  # type: ignore[attr-defined]
    states = [(row, standing.health(row)) for row in rows]
    bad_first = sorted((pair for pair in states if not pair[1].is_well), key=lambda pair: pair[1].tone != "bad")
    lines = [
        Line(
            text=str(row), url=reverse("connection", args=[row.code]), note=health.sentence[:200],
            state=health.label, tone=health.tone,
        )
        for row, health in bad_first[:SHOWN]
    ]  # fmt: skip
    return Panel(
        key="unwell", title="Connections that are not healthy", position=50, lines=lines,
        nothing="Every connection is healthy.", url=reverse("connections"),
    )  # fmt: skip


def news(request: HttpRequest) -> Panel | None:
    """What was read since yesterday."""
    since = timezone.now() - timedelta(days=1)
    runs = within(Run.objects.visible_to(request.user), request).filter(started_at__gte=since)
    read = runs.aggregate(runs=Count("pk"), new=Sum("filed", default=0), bad=Count("pk", filter=Q(state__in=TROUBLE)))
    trouble = f", {read['bad']:,} in trouble" if read["bad"] else ""
    by = "1 run" if read["runs"] == 1 else f"{read['runs']:,} runs"
    words = f"{read['new']:,} new {'record' if read['new'] == 1 else 'records'} by {by}{trouble}"
    return Panel(key="news", title="", position=20, lines=[Line(text=words, url=reverse("runs"))])
