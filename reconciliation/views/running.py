"""The chip in the top bar: what is under way where the person may look, their own first.

What a worker plans for them, and what they asked a second person for, stands beneath. The rule here: it comes with the page and
asks again only while something is under way; one query over two partial indexes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Case, IntegerField, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString
from django_htmx.http import trigger_client_event

from portal import keys
from portal.screens import Screen
from reconciliation.models import Operation
from reconciliation.operations.following import FOLLOWED
from reconciliation.views import telling

SHOWN = 8
NOT_YET = (Operation.State.PLANNING, Operation.State.AWAITING)  # before anything is changed
STOP_POLLING = 286  # what htmx takes as the end of polling


@dataclass(frozen=True, slots=True)
class Line:
    """One operation in the chip's menu."""

    operation: Operation
    standing: telling.Standing
    words: str


def under_way(user: Any) -> QuerySet[Operation]:
    """Operations that have something left to do or on its way, in the entities where the person holds a grant."""
    seen: QuerySet[Operation] = Operation.objects.visible_to(user)
    return seen.filter(state__in=FOLLOWED, settled_at=None)


def _asked_for(user: Any) -> QuerySet[Operation]:
    """The person's own operations that are being planned, or wait for a second person."""
    seen: QuerySet[Operation] = Operation.objects.visible_to(user)
    return seen.filter(state__in=NOT_YET, created_by_id=user.pk)


def _lines(found: list[Operation]) -> list[Line]:
    return [Line(one, telling.counted(one), telling.in_short(one)) for one in found]


def _context(user: Any) -> dict[str, Any]:
    own = Case(When(created_by_id=user.pk, then=Value(0)), default=Value(1), output_field=IntegerField())
    both = (under_way(user) | _asked_for(user)).select_related("created_by").order_by(own, "-pk")
    every = list(both[: 2 * SHOWN + 1])
    found = [one for one in every if one.state not in NOT_YET]
    lines = _lines(found[:SHOWN])
    return {
        "asked_for": _lines([one for one in every if one.state in NOT_YET][:SHOWN]),
        "lines": lines, "first": lines[0] if lines else None, "more": len(found) > SHOWN, "count": len(lines),
        "watched": ",".join(str(line.operation.pk) for line in lines),
    }  # fmt: skip


def chip(request: HttpRequest) -> SafeString:
    """The chip as it stands on a page; empty when nothing is under way and nothing of theirs waits for approval."""
    context = _context(request.user)
    if not context["lines"] and not context["asked_for"]:
        return SafeString()
    return render_to_string("reconciliation/running.html", context, request)


class RunningPart(Screen):
    """What the chip asks for while something is under way."""

    def get(self, request: HttpRequest) -> HttpResponse:
        """Its words and its menu; when nothing is left it stops asking. Whose own operation ended is told."""
        context = _context(request.user)
        watched = set(keys.keys(request.GET.get("watched", "").split(",")))
        gone = watched - {line.operation.pk for line in context["lines"]}
        seen = Operation.objects.visible_to(request.user).filter(pk__in=gone, settled_at__isnull=False)
        context["ended"] = _lines(list(seen.select_related("created_by").order_by("-pk")[:SHOWN])) if gone else []
        answer = render(request, "reconciliation/running_part.html", context)
        if not context["lines"]:
            answer.status_code = STOP_POLLING
        self.tell(answer, [line.operation for line in context["ended"]])
        return answer

    def tell(self, answer: HttpResponse, ended: list[Operation]) -> None:
        """Say which of the person's own ended, unless they look at its own page, which says it itself."""
        looked_at = self.request.headers.get("HX-Current-URL", "")
        own = [one for one in reversed(ended) if one.created_by_id == self.request.user.pk]
        told = [one for one in own if reverse("operation", args=[one.pk]) not in looked_at]
        if told:
            worst = "good" if all(telling.counted(one).tone == "good" for one in told) else "warn"
            words = [f"{one.title}: {telling.counted(one).label.lower()}, {telling.in_short(one)}." for one in told]
            trigger_client_event(answer, "tieout:notice", {"text": " ".join(words), "tone": worst})
