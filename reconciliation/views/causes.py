"""Exceptions by cause: the queue of finance, and the page of one cause with what it holds and the ways out."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, cast

from django.db.models import F
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse

from portal import access, keys
from portal.models import User
from portal.screens import Action, DetailScreen
from portal.screens.base import layout
from reconciliation import triage
from reconciliation.models import ExceptionCase, Hold
from reconciliation.sql import waiting
from reconciliation.tables import BriefHeld, SelectableHeld, estimates_of, title_of, tone_of, totals_of, way_of
from reconciliation.views import remedies, rows
from reconciliation.views.history import happened
from reconciliation.views.standing import strip_of
from reconciliation.views.triage import ON_PAGE, offered_on

WAITING = 100  # rows of what waits that the page shows

CAUSES = (
    ExceptionCase.objects.select_related("entity", "connection", "owner", "team", "merged_into")
    .prefetch_related("totals")
    .order_by("is_apart", "compared_in", "-compared_risk", F("oldest_work_date").asc(nulls_last=True))
)


class CausePage(DetailScreen):
    """One cause: what it blocks, since when, the ways out in order, the entries that it holds, and what was done."""

    queryset = CAUSES
    template_name = "reconciliation/cause.html"
    actions = ON_PAGE
    refused: dict[str, str] | None = None  # a comment that was not kept, and why

    def permitted(self, roles: frozenset[str]) -> list[type[Action]]:
        """The actions that make sense for the cause as it stands."""
        return offered_on(self.object, cast("User", self.request.user), super().permitted(roles))

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """The page; or only its rows when pages and order change."""
        htmx = getattr(request, "htmx", None)
        if htmx and htmx.target == "results":
            return self.page(self.context(title=str(self.object), **self.held()), template="reconciliation/held.html")
        if htmx and "drawn" in request.GET:
            return self.show_news(request.GET["drawn"])
        return self.show()

    def show_news(self, drawn: str) -> HttpResponse:
        """What changed since the page was drawn, in a sentence; its rows and figures stand as they are until it is refreshed."""
        case, moved = self.object, ""
        if case.state != ExceptionCase.State.OPEN:
            moved = f"This cause is {case.get_state_display().lower()} now."
        elif self.drawn() != drawn:
            was, now = keys.key(drawn.partition(".")[0]) or 0, case.entries
            more = (
                f"{now - was:,} new"
                if now > was
                else f"{was - now:,} fewer"
                if now < was
                else "Other entries than before"
            )
            moved = f"{more}; it holds {now:,} {'entry' if now == 1 else 'entries'} now."
        return self.page(
            self.context(title=str(case), form=None, case=case, moved=moved), template="reconciliation/cause_news.html"
        )

    def drawn(self) -> str:
        """How many entries it holds, and when that last changed."""
        counted = self.object.counted_at
        return f"{self.object.entries}.{int(counted.timestamp() * 1_000_000) if counted else 0}"

    def heading(self) -> str:
        """The sentence of the cause."""
        return str(self.object.sentence)

    def back(self) -> str:
        """The page itself."""
        return reverse("cause", args=[self.object.pk])

    def context(self, **more: Any) -> dict[str, Any]:
        """What the page shows."""
        found = super().context(**more)
        if "table" in found or "form" in found:
            return found
        case = self.object
        rows.tell_causes([case], self.request.user, deeply=True)
        held = access.roles_in(self.request.user, case.entity_id)
        is_open = case.state == ExceptionCase.State.OPEN
        return {
            **found,
            **self.held(),
            **(self.refused or {}),
            "case": case,
            "tone": tone_of(case),
            "rule_title": title_of(case.rule),
            "way": way_of(case),
            "totals": totals_of(case),
            "estimates": estimates_of(case),
            "blocked": case.reached.blocked,
            **remedies.card_of(case, self.request.user, may=bool(held & access.FIXERS) and is_open),
            "drawn": self.drawn() if is_open and layout(self.request) == "base.html" else "",
            "can_comment": bool(held & triage.COMMENTERS),
            "people_url": reverse("cause_people", args=[case.pk]),
            "vendor": case.detail.get("vendor_text", "") if held & access.PAYLOAD_READERS else "",
            "vendor_code": case.detail.get("vendor_code", ""),
            "waiting": waiting.waiting_for(case.pk, WAITING) if case.waiting else [],
            "timeline": happened(case),
            "strip": strip_of(case, self.request.user),
            "is_page": layout(self.request) == "base.html",
        }

    def held(self) -> dict[str, Any]:
        """The entries: those held now, or for a resolved cause those that were."""
        case = self.object
        holds = Hold.objects.filter(case=case).select_related(
            "entry__resource", "entry__project", "entry__document", "entry__state_row"
        )
        if case.state == ExceptionCase.State.OPEN:
            holds, count = holds.filter(closed_at=None), case.open_holds
        else:
            count = holds.count()
        in_part = layout(self.request) != "base.html" and getattr(self.request.htmx, "target", "") != "results"  # type: ignore[attr-defined]
        found = rows.paged(
            self.request, BriefHeld if in_part else SelectableHeld,
            holds.order_by("entry__work_date", "entry_id"), count=count, per_page=5 if in_part else 50,
        )  # fmt: skip
        rows.tell_words(rows.records_of(found["table"]), lambda hold: hold.entry)
        return found


class CommentScreen(CausePage):
    """Writes a comment under a cause. A person named after @ is told."""

    roles = triage.COMMENTERS

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """The cause, where comments are written."""
        return HttpResponseRedirect(f"{reverse('cause', args=[self.object.pk])}#timeline", status=HTTPStatus.SEE_OTHER)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Keep what was said, and go back to the cause; or say beside the words why not."""
        pk, text = self.object.pk, request.POST.get("text", "")
        try:
            triage.comment(pk, text, by=cast("User", request.user))
        except triage.NotPossible as reason:
            self.refused = {"comment_text": text, "comment_refusal": str(reason)}
            return self.show(HTTPStatus.UNPROCESSABLE_ENTITY)
        return HttpResponseRedirect(f"{reverse('cause', args=[pk])}#timeline", status=HTTPStatus.SEE_OTHER)
