"""Exceptions by cause: the queue of finance, and the page of one cause with what it holds and the ways out."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import cached_property
from http import HTTPStatus
from typing import Any, cast

from django.contrib import messages
from django.db.models import Count, F, Min, Q, QuerySet, Sum
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join

from portal import access, export, figures
from portal.models import Document, LedgerState, State, User
from portal.screens import Action, Content, DetailScreen, Empty, ListScreen, Screen, Tile, within
from portal.screens.base import layout
from portal.screens.paging import Summary
from reconciliation import triage
from reconciliation.filters import CaseFilter
from reconciliation.fixes import ADVICE, FIXES
from reconciliation.models import CaseTotal, ExceptionCase, Hold
from reconciliation.rules import BY_CODE
from reconciliation.sheets import HeldSheet, held_under
from reconciliation.tables import BriefHeld, CaseExport, CaseTable, SelectableHeld, title_of, tone_of, totals_of, way_of
from reconciliation.views import rows
from reconciliation.views.history import happened
from reconciliation.views.standing import strip_of
from reconciliation.views.tabs import EMPTY, TABS
from reconciliation.views.triage import IN_LIST, ON_PAGE, counted, offered_in, offered_on

ENTRIES = Content("entries", "Their entries")

CAUSES = (
    ExceptionCase.objects.select_related("entity", "connection", "owner", "team", "merged_into")
    .prefetch_related("totals")
    .order_by("held_currency", "-cash_at_risk", F("oldest_work_date").asc(nulls_last=True))
)


class QueueFilter(CaseFilter):
    """What causes are found by; their state is in the tabs."""

    state = None


class CauseList(ListScreen):
    """Open causes, the most money first."""

    title = "Exceptions"
    caption = "Causes that stop entries, the most money first"
    queryset = CAUSES
    filterset = QueueFilter
    table = CaseTable
    export_table = CaseExport
    contents = (Content("", "Causes"), ENTRIES)
    actions = IN_LIST
    tabs = TABS

    def permitted(self, roles: frozenset[str]) -> list[type[Action]]:
        """The actions that make sense in the tab."""
        return offered_in(self.tab.slug if self.tab else "", super().permitted(roles))

    @cached_property
    def standing(self) -> dict[str, Any]:
        """Count, entries, oldest and new of today over every open cause that the person looks at."""
        today = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
        return self.base.filter(state=ExceptionCase.State.OPEN).order_by().aggregate(
            causes=Count("pk"), entries=Sum("open_holds", default=0), oldest=Min("oldest_work_date"),
            new=Count("pk", filter=Q(opened_at__gte=today)), hours=Sum("open_hours", default=Decimal(0)),
        )  # fmt: skip

    @cached_property
    def sums(self) -> list[tuple[str, Decimal]]:
        """(currency, amount) that the open causes hold, the largest first; an entry with two holds counts in both causes."""
        open_cases = self.base.filter(state=ExceptionCase.State.OPEN).order_by().values("pk")
        found = CaseTotal.objects.filter(case__in=open_cases).values("currency").annotate(held=Sum("amount"))
        return sorted(((row["currency"], row["held"]) for row in found if row["held"]), key=lambda pair: -pair[1])

    def headline(self) -> str:
        """What is stopped in all, in one sentence."""
        if not self.standing["causes"]:
            return ""
        sums = format_html_join(
            "", ' · <b class="figure">{}</b> <span class="cur">{}</span>',
            ((figures.amount(amount, code), code) for code, amount in self.sums),
        )  # fmt: skip
        causes = "1 cause holds" if self.standing["causes"] == 1 else f"{self.standing['causes']:,} causes hold"
        entries = "1 entry" if self.standing["entries"] == 1 else f"{self.standing['entries']:,} entries"
        return format_html("{} <b>{}</b>{}", causes, entries, sums)

    def tiles(self) -> list[Tile]:
        """Money, age, what is new, and what nobody knows yet; each leads to its rows."""
        if not self.standing["causes"]:
            return []
        oldest = self.standing["oldest"]
        days = (timezone.localdate() - oldest).days if oldest else None
        waiting = within(LedgerState.objects.visible_to(self.request.user), self.request)
        doubtful = waiting.filter(state=State.IN_DOUBT).count()
        first = self.sums[0] if self.sums else ("", None)
        others = " · ".join(f"{figures.amount(amount, code)} {code}" for code, amount in self.sums[1:])
        today = timezone.localdate().isoformat()
        return [
            Tile(
                "Held",
                figures.amount(first[1], first[0]),
                first[0],
                self.query(tab="open"),
                f"and {others}" if others else "",
            ),
            Tile(
                "Oldest",
                figures.UNKNOWN if days is None else ("1 day" if days == 1 else f"{days} days"),
                url=self.query(tab="open", sort="oldest"),
                tone="bad" if days and days > 30 else "",
            ),
            Tile("New today", counted(self.standing["new"]), url=self.query(tab="open", opened_since=today)),
            Tile(
                "In doubt",
                "1 entry" if doubtful == 1 else f"{doubtful:,} entries",
                url=f"{reverse('ledger')}?state={State.IN_DOUBT}",
                note="looked up before anything is sent again" if doubtful else "",
            ),
        ]

    def nothing(self) -> Empty:
        """All done, or nothing begun: two different things."""
        if self.tab and self.tab.slug in EMPTY and (self.standing["causes"] or self.tab.slug in ("mine", "resolved")):
            return Empty(*EMPTY[self.tab.slug], "?tab=open", "Open causes")
        last = self.base.filter(state=ExceptionCase.State.RESOLVED).order_by("-closed_at").first()
        if last is not None:
            when = timezone.localtime(last.closed_at)
            return Empty(
                "No open exceptions",
                f"Last cleared {when:%d %b %H:%M}: {last.sentence}",
                "?tab=resolved",
                "See what was resolved",
            )
        if within(Document.objects.visible_to(self.request.user), self.request).exists():
            return Empty("No open exceptions", "Nothing has been stopped so far.", reverse("ledger"), "See the ledger")
        return Empty("Nothing has been taken in yet", "Once a source has been read, what cannot be posted waits here.")

    def summary_of(self, queryset: QuerySet[Any]) -> Summary:
        """Count of causes, and what they hold per currency."""
        plain = queryset.order_by()
        count = plain[: self.count_limit + 1].count()
        if count > self.count_limit:
            return Summary(self.count_limit, exact=False)
        held = CaseTotal.objects.filter(case__in=plain.values("pk")).values("currency")
        sums = held.annotate(amount=Sum("amount"), entries=Sum("holds")).order_by("currency")
        return Summary(
            count, totals={row["currency"]: {"entries": row["entries"], "amount": row["amount"]} for row in sums}
        )

    def sheet(self, of: str = "", *, columns: Sequence[str] = ()) -> export.Sheet:
        """Every cause of the filter, or every entry that they hold."""
        if of != ENTRIES.slug:
            return super().sheet(of, columns=columns)
        held, summary = held_under(self.filtered)
        return export.Sheet(
            table=HeldSheet,
            queryset=held,
            columns=columns,
            heading=self.heading_of(f"{self.title}: entries", summary),
            prepare=lambda records: rows.tell_words(records, lambda hold: hold.entry),
        )

    def list_context(self) -> dict[str, Any]:
        """The list, with what the rows of its page show beside their own columns."""
        context = super().list_context()
        rows.tell_causes(rows.records_of(context["table"]))
        return context


class CausePage(DetailScreen):
    """One cause: what it blocks, since when, the ways out in order, the entries that it holds, and what was done."""

    queryset = CAUSES
    template_name = "reconciliation/cause.html"
    actions = ON_PAGE

    def permitted(self, roles: frozenset[str]) -> list[type[Action]]:
        """The actions that make sense for the cause as it stands."""
        return offered_on(self.object, cast("User", self.request.user), super().permitted(roles))

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """The page; or only its rows when pages and order change."""
        htmx = getattr(request, "htmx", None)
        if htmx and htmx.target == "results":
            return self.page(self.context(title=str(self.object), **self.held()), template="reconciliation/held.html")
        return self.show()

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
        rows.tell_causes([case])
        held = access.roles_in(self.request.user, case.entity_id)
        is_open = case.state == ExceptionCase.State.OPEN
        return {
            **found,
            **self.held(),
            "case": case,
            "tone": tone_of(case),
            "rule_title": title_of(case.rule),
            "way": way_of(case),
            "totals": totals_of(case),
            "remedies": remedies_of(case, may=bool(held & access.FIXERS) and is_open),
            "can_comment": bool(held & triage.COMMENTERS),
            "vendor": case.detail.get("vendor_text", ""),
            "vendor_code": case.detail.get("vendor_code", ""),
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


def remedies_of(case: Any, *, may: bool) -> list[dict[str, Any]]:
    """The ways out of a cause in their order: fixes done here, and what has to be put right elsewhere."""
    rule = BY_CODE.get(case.rule)
    codes = list(rule.remedies) if rule is not None else []
    if rule is not None and rule.waivable and "waive" not in codes:
        codes.append("waive")
    if case.open_holds and "recheck" not in codes:
        codes.append("recheck")
    found: list[dict[str, Any]] = []
    offered = getattr(case, "suggestions", ())
    for code in codes:
        if code in ADVICE:
            found.append({"advice": ADVICE[code]})
        elif code in FIXES:
            fix = FIXES[code]
            near = [one for one in offered if one.remedy == code and one.label != fix.label]
            url = reverse("fix", args=[case.pk, code]) if may and case.open_holds else ""
            found.append({"code": code, "label": fix.label, "help": fix.help, "url": url, "near": near})
    for remedy in found:
        if remedy.get("url"):
            remedy["is_first"] = True
            break
    return found


class CommentScreen(Screen):
    """Writes a comment under a cause. A person named after @ is told."""

    roles = triage.COMMENTERS

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Keep what was said, and go back to the cause."""
        get_object_or_404(ExceptionCase.objects.visible_to(request.user), pk=pk)
        try:
            triage.comment(pk, request.POST.get("text", ""), by=cast("User", request.user))
        except triage.NotPossible as reason:
            messages.error(request, str(reason))
        return HttpResponseRedirect(f"{reverse('cause', args=[pk])}#timeline", status=HTTPStatus.SEE_OTHER)
