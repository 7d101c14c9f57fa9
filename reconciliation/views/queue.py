"""Exceptions by cause: the queue of finance, ordered by the cash that waits longest if nobody looks at it today.

The rule here: whatever the page says of the queue as a whole (tabs, tiles, headline, totals, facets) is read from what is kept
per cause, never from its holds, so that a hundred thousand of them cost what a thousand do. An entry that several causes stop is
in each of them and once in what the page says of all: only for that the index of open holds is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any

import django_filters as filters
from django.db.models import BooleanField, Count, ExpressionWrapper, F, Func, Min, Q, QuerySet, Sum
from django.db.models.functions import Coalesce
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join

from portal import export, figures, keys
from portal.models import Connection, Customer, Document, LedgerState, Project, State, User
from portal.screens import Action, Content, Empty, ListScreen, Notice, Tile, within
from portal.screens.facets import AnyOf, Facet, Named
from portal.screens.freshness import late
from portal.screens.paging import Summary
from portal.screens.parts import TabLink
from portal.screens.printing import EntityTotal, totals_by
from reconciliation.filters import CaseFilter
from reconciliation.fixes import FIXES
from reconciliation.models import CaseReach, CaseTotal, ExceptionCase
from reconciliation.rules import EVERY
from reconciliation.sheets import HeldSheet, held_under
from reconciliation.sql import held_once
from reconciliation.sql.held_once import Again
from reconciliation.suggestions import NEAR_ENOUGH, SCORED
from reconciliation.tables import CaseExport, CaseTable, title_of
from reconciliation.views import remedies, rows
from reconciliation.views.causes import CAUSES
from reconciliation.views.tabs import EMPTY, IN_QUEUE, TABS, is_mine
from reconciliation.views.together import ExportCsv, ExportXlsx, FixTogether
from reconciliation.views.triage import IN_LIST, counted, offered_in
from reconciliation.views.worth import GROUP, Leading, Worth, folded, in_one, leading, worth_of

ENTRIES = Content("entries", "Their entries")
AGES = ((7, "more than a week"), (14, "more than two weeks"), (30, "more than a month"), (60, "more than two months"))
FIXED_HERE = [rule.code for rule in EVERY if next((code in FIXES for code in rule.remedies), False)]
SUGGESTED = Q(rule__in=[code for code in FIXED_HERE if code not in SCORED]) | NEAR_ENOUGH
UNNEST = Func(F("tags"), function="unnest")


def _by_source(causes: QuerySet[Any]) -> Counter[int]:
    """How many causes hold something of each source, or are about the connection itself; each counts once for each."""
    about = causes.exclude(connection=None).values_list("connection").annotate(n=Count("pk"))
    held = CaseReach.objects.filter(case__in=causes.values("pk"), source__isnull=False)
    others = held.exclude(source=Coalesce("case__connection", 0)).values_list("case", "source").distinct()
    return Counter(dict(about)) + Counter(source for _, source in others)


FACETS: Mapping[str, Facet] = {
    "rule": Facet("rule", words=title_of),
    "entity": Facet("entity__code", "entity__name"),
    "connection": Facet("connection", of=Named(Connection), counted=_by_source),
    "owner": Facet("owner__username"),
    "team": Facet("team__code", "team__name"),
    "project": Facet("reach__project", of=Named(Project), many=True),
    "customer": Facet("reach__customer", of=Named(Customer), many=True),
    "manager": Facet("reach__project__manager", of=Named(User, "username", "username"), many=True),
    "currency": Facet("totals__currency", many=True),
    "tag": Facet("tag", expression=UNNEST),
}


class QueueFilter(CaseFilter):
    """What causes are found by; their state is in the tabs."""

    state = None
    regressed = None
    rule = AnyOf("rule", label="Rule", words={rule.code: rule.title for rule in EVERY}, distinct=False)
    entity = AnyOf("entity__code", label="Entity", distinct=False)
    connection = AnyOf("connection__code", label="Source", method="by_source")
    owner = AnyOf("owner__username", label="Owner", distinct=False)
    team = AnyOf("team__code", label="Team", distinct=False)
    age = filters.ChoiceFilter(choices=AGES, method="by_age", label="Age")
    suggestion = filters.ChoiceFilter(
        choices=[("yes", "there is one"), ("no", "none is near, or it is put right elsewhere")],
        method="by_suggestion",
        label="Suggestion",
    )
    project = AnyOf("reach__project__code", label="Project")
    customer = AnyOf("reach__customer__code", label="Customer")
    manager = AnyOf("reach__project__manager__username", label="Project manager")
    currency = AnyOf("totals__currency", label="Currency")
    worked_from = filters.DateFilter("newest_work_date", lookup_expr="gte", label="Worked from")
    worked_to = filters.DateFilter("oldest_work_date", lookup_expr="lte", label="Worked to")
    amount_from = filters.NumberFilter("held_amount", lookup_expr="gte", label="Amount from")
    amount_to = filters.NumberFilter("held_amount", lookup_expr="lte", label="Amount to")
    tag = AnyOf("tags", label="Tag", method="by_tag")
    only = filters.CharFilter(method="by_number", label="Chosen causes")
    others = filters.ChoiceFilter(choices=[("1", "somebody else has it")], method="by_others", label="Waits on others")

    def by_source(self, queryset: QuerySet[Any], name: str, value: list[str]) -> QuerySet[Any]:
        """Causes with an entry from any of the sources, and those about the connection itself."""
        if not value:
            return queryset
        held = CaseReach.objects.filter(source__code__in=value)
        return queryset.filter(Q(connection__code__in=value) | Q(pk__in=held.values("case")))

    def by_age(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Causes whose oldest hour is that old."""
        return queryset.filter(oldest_work_date__lt=timezone.localdate() - timedelta(days=int(value)))

    def by_suggestion(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Causes with a suggestion: a record that is near enough, or where none is looked for, a fix that the rule names."""
        return queryset.filter(SUGGESTED) if value == "yes" else queryset.exclude(SUGGESTED)

    def by_tag(self, queryset: QuerySet[Any], name: str, value: list[str]) -> QuerySet[Any]:
        """Causes with any of the tags."""
        return queryset.filter(tags__overlap=value) if value else queryset

    def by_number(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """The causes that were ticked, by their numbers."""
        return queryset.filter(pk__in=keys.keys(value.split(",")))

    def by_others(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Causes that somebody else has taken on."""
        return queryset.filter(with_others(self.request.user))


def with_others(user: Any) -> Q:
    """A cause of the queue that waits on somebody else, or on a team that this person is not in."""
    return IN_QUEUE & (Q(owner__isnull=False) | Q(team__isnull=False)) & ~is_mine(user)


class CauseList(ListScreen):
    """Open causes, the most cash at risk first."""

    title = "Exceptions"
    caption = "Causes that stop entries, the most cash at risk first"
    queryset = CAUSES
    filterset = QueueFilter
    facets = FACETS
    primary = ("rule", "entity", "connection", "age", "suggestion", "owner")
    fresh, redrawn = "opened_at", "counted_at"
    table = CaseTable
    export_table = CaseExport
    contents = (Content("", "Causes"), ENTRIES)
    actions = (FixTogether, *IN_LIST, ExportCsv, ExportXlsx)
    tabs = TABS

    def permitted(self, roles: frozenset[str]) -> list[type[Action]]:
        """The actions that make sense in the tab."""
        return offered_in(self.tab.slug if self.tab else "", super().permitted(roles))

    @cached_property
    def by_currency(self) -> list[dict[str, Any]]:
        """What each tab holds in each leading currency, plain and compared, and what the open causes do.

        One statement for tabs and tiles: causes are counted by everything that they are in, and each count is added where it
        belongs.
        """
        user, today = self.request.user, timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
        is_open = Q(state=ExceptionCase.State.OPEN)  # what is set aside holds its entries all the same
        wheres = {tab.slug: (tab.where(user) if tab.where else ~Q(pk=None)) for tab in self.tabs}
        kinds = {"causes": is_open, "new": IN_QUEUE & Q(opened_at__gte=today), "others": with_others(user)}
        asked = {f"in_{name}": ExpressionWrapper(where, BooleanField()) for name, where in (wheres | kinds).items()}
        by = self.base.order_by().values("held_currency", "compared_in", group=GROUP, **asked)
        counted = by.annotate(
            n=Count("pk"), compared=Sum("compared_amount"), own=Sum("held_amount"), held=Sum(F("open_holds") + F("waiting")),
            first=Min("oldest_work_date"),
        )  # fmt: skip
        return folded(counted, wheres, kinds)

    def overall(self, name: str) -> int:
        """One count over all currencies."""
        return sum(row[name] for row in self.by_currency)

    def tab_links(self) -> list[TabLink]:
        """The tabs with their counts, and what they hold in one figure."""
        user_tab = self.tab
        links = []
        for tab in self.tabs:
            words = in_one(self.led(tab.slug), guess=bool(self.worth.guessed))
            count = self.overall(f"count_{tab.slug}")
            links.append(TabLink(tab, self.query(tab=tab.slug), count, tab == user_tab, words))
        return links

    def led(self, tab: str) -> Leading | None:
        """What the causes of a tab hold in one figure; in the tab of what is open, an entry that several stop counts once."""
        leads, rates = leading(self.by_currency, tab, self.worth.groups), self.worth.rates
        if leads is None or tab != "open":
            return leads
        sums = [(one.currency, one.amount) for one in self.again_in_sight]
        is_one = rates is not None and rates.into == leads.currency
        more = rates.sum(sums) if rates is not None and is_one else dict(sums).get(leads.currency, Decimal(0))
        return replace(leads, amount=leads.amount - more)

    @cached_property
    def again(self) -> list[Again]:
        """How much too much the open causes come to together, since an entry stands under each cause that stops it."""
        cases = self.base.filter(state=ExceptionCase.State.OPEN).order_by()
        return held_once.again(list(cases.values_list("pk", flat=True)))

    @cached_property
    def again_in_sight(self) -> list[Again]:
        """The same without what is set aside."""
        if self.overall("causes") == self.overall("count_open"):
            return self.again
        return held_once.again(list(self.base.filter(IN_QUEUE).order_by().values_list("pk", flat=True)))

    @cached_property
    def held(self) -> list[dict[str, Any]]:
        """What the open causes hold per currency, priced and estimated; an entry that several stop counts once."""
        open_cases = self.base.filter(state=ExceptionCase.State.OPEN).order_by().values("pk")
        found = CaseTotal.objects.filter(case__in=open_cases).values("currency")
        summed = found.annotate(amount=Sum("amount"), guess=Sum("estimate")).order_by("-amount", "currency")
        more = {one.currency: one.amount for one in self.again}
        return [{**row, "amount": row["amount"] - more.get(row["currency"], 0)} for row in summed]

    @cached_property
    def worth(self) -> Worth:
        """What the open causes hold, and the rates at which it is compared."""
        return worth_of(self.held, {row["group"] for row in self.by_currency if row["causes"] and row["group"]})

    def headline(self) -> str:
        """What is stopped in all, in one sentence."""
        causes, twice = self.overall("causes"), sum(one.entries for one in self.again)
        entries = self.overall("entries") - twice
        if not causes:
            return ""
        sums = format_html_join(
            "", ' · <b class="figure">{}</b> <span class="cur">{}</span>',
            ((figures.amount(amount, code), code) for code, amount in self.worth.priced),
        )  # fmt: skip
        held = "1 cause holds" if causes == 1 else f"{causes:,} causes hold"
        aside = causes - self.overall("count_open")
        told = format_html(" · {} of them set aside", f"{aside:,}") if aside else ""
        overlap = " · each counted once, though some stand under several causes" if twice else ""
        return format_html(
            "{} <b>{}</b>{}{}{}", held, "1 entry" if entries == 1 else f"{entries:,} entries", sums, told, overlap
        )

    def tiles(self) -> list[Tile]:
        """Money, age, what is new, and what waits on others; each is a filter."""
        if not self.overall("causes"):
            return []
        oldest = min((row["first_open"] for row in self.by_currency if row["first_open"]), default=None)
        days = (timezone.localdate() - oldest).days if oldest else None
        today, on = timezone.localdate().isoformat(), self.params
        return [
            self.worth.tile(self.led("open")),
            Tile(
                "Oldest",
                figures.UNKNOWN if days is None else ("1 day" if days == 1 else f"{days} days"),
                url=self.query(tab="open", sort="" if on.get("sort") == "oldest" else "oldest"),
                tone="bad" if days and days > 30 else "",
                is_on=on.get("sort") == "oldest",
            ),
            Tile(
                "New today",
                counted(self.overall("new")),
                url=self.query(tab="open", opened_since="" if on.get("opened_since") == today else today),
                is_on=on.get("opened_since") == today,
            ),
            Tile(
                "Waiting on others",
                counted(self.overall("others")),
                url=self.query(tab="open", others="" if on.get("others") else "1"),
                is_on=bool(on.get("others")),
            ),
        ]

    def notices(self) -> Sequence[Notice]:
        """Sources whose data is old, and entries of which nobody knows yet whether they were booked."""
        doubtful = within(LedgerState.objects.visible_to(self.request.user), self.request)
        count = doubtful.filter(state=State.IN_DOUBT).count()
        found = list(late(self.request))
        if count:
            words = "1 entry is in doubt" if count == 1 else f"{count:,} entries are in doubt"
            url = f"{reverse('ledger')}?state={State.IN_DOUBT}"
            found.append(
                Notice(f"{words}: looked up at the target before anything is sent again.", "info", url, "See them")
            )
        return found

    def order_note(self) -> str:
        """What the order compares, and what it does not."""
        if self.params.get("sort"):
            return ""
        return self.worth.order(row["held_currency"] for row in self.by_currency if row["causes"])

    def nothing(self) -> Empty:
        """All done, or nothing begun: two different things."""
        if self.tab and self.tab.slug in EMPTY and (self.overall("causes") or self.tab.slug in ("mine", "resolved")):
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
        """Count, entries and hours of the causes that match, and what they hold per currency; an entry of several counts once."""
        plain = queryset.order_by()
        over = held_once.again(list(plain.values_list("pk", flat=True)))
        whole = plain.aggregate(
            n=Count("pk"),
            entries=Sum(F("open_holds") + F("waiting"), default=0),
            hours=Sum("open_hours", default=Decimal(0)),
        )
        whole["entries"] -= sum(one.entries for one in over)
        whole["hours"] -= sum((one.hours for one in over), Decimal(0))
        self.whole, more = whole, {one.currency: one.amount for one in over}
        held = CaseTotal.objects.filter(case__in=plain.values("pk")).values("currency")
        sums: dict[str, dict[str, Any]] = {
            row["currency"]: {"amount": row["amount"] - more.get(row["currency"], 0)}
            for row in held.annotate(amount=Sum("amount")).order_by("currency")
            if row["amount"]
        }
        if len(sums) == 1:
            next(iter(sums.values())).update(entries=whole["entries"], hours=whole["hours"])
        return Summary(whole["n"], totals=sums)

    def total_lines(self, table: Any) -> list[str]:
        """Entries and hours of the whole filter, then its money, one line a currency."""
        if not self.summary.count:
            return []
        count = self.whole["entries"]
        first = f"{count:,} {'entry' if count == 1 else 'entries'} · {figures.hours(self.whole['hours'])} h"
        money = [
            f"{figures.amount(Decimal(one['amount'] or 0), code)} {code}" for code, one in self.summary.totals.items()
        ]
        return [first, *money]

    def entity_totals(self) -> list[EntityTotal]:
        """Entries and money of each entity; an entry that two rules stop counts under both of its causes."""
        held = CaseTotal.objects.filter(case__in=self.filtered.order_by().values("pk"))
        sums = {"entries": Sum("holds"), "amount": Sum("amount")}
        return totals_by(held, sums, entity="case__entity__code", currency="currency", counted="case")

    def sheet(self, of: str = "", *, columns: Sequence[str] = ()) -> export.Sheet:
        """Every cause of the filter, or every entry that they hold."""
        if of != ENTRIES.slug:
            return replace(super().sheet(of, columns=columns), prepare=rows.tell_reach)
        held, summary = held_under(self.filtered)
        return export.Sheet(
            table=HeldSheet,
            queryset=held,
            columns=columns,
            heading=self.heading_of(f"{self.title}: entries", summary),
            prepare=lambda records: rows.tell_words(records, lambda hold: hold.entry),
        )

    def tell(self, records: Sequence[Any]) -> None:
        """Way, trend, reach and first way out of the causes of a page, and what this person may do about them."""
        rows.tell_causes(records, self.request.user)
        remedies.tell_ways(records, self.request.user)
