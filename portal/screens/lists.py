"""A list screen: a queryset, a filterset, a table and actions.

The rule here: the whole state is in the address (tab, filter, order, page), totals are over the filter and not the page,
and a filter that cannot be read shows no rows instead of all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.db.models.expressions import Combinable
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.utils.functional import cached_property
from django_filters import FilterSet

from portal import export, keys
from portal.export import Heading, Sheet
from portal.screens import arranging, exporting, facets, live, printing
from portal.screens.actions import Action, ActionsMixin
from portal.screens.base import Screen, roles_of
from portal.screens.chips import Chip, chips
from portal.screens.entities import PARAMETER, chosen_entities, within
from portal.screens.exporting import ROWS, Content
from portal.screens.facets import Facet
from portal.screens.freshness import Notice
from portal.screens.leaf import Leaf
from portal.screens.paging import PAGE_SIZES, Summary, summarise, tab_counts
from portal.screens.parts import Empty, Tab, TabLink, Tile
from portal.screens.personal import TRANSIENT, PersonalMixin
from portal.screens.printing import EntityTotal
from portal.screens.tables import SelectColumn, Table
from portal.screens.totals import foot, lines

RESULTS = "results"  # the id of the part that filters, tabs and pages replace


class ListScreen(PersonalMixin, ActionsMixin, Screen):
    """Subclasses give queryset, filterset, table and actions; the rest has a good default."""

    template_name = "screens/list.html"

    queryset: QuerySet[Any]
    filterset: type[FilterSet]
    table: type[Table]
    tabs: ClassVar[Sequence[Tab]] = ()
    totals: ClassVar[Mapping[str, Combinable]] = {}  # column name to aggregate
    currency: ClassVar[str] = ""  # the path to the currency that keeps totals apart
    count_limit: ClassVar[int] = 200_000
    page_size: ClassVar[int] = 50
    exportable: ClassVar[bool] = True
    contents: ClassVar[Sequence[Content]] = (ROWS,)  # what an export may hold: the rows, or what stands under them
    export_table: ClassVar[type[Table] | None] = None  # where a file says in columns what the screen says in small type
    primary: ClassVar[
        Sequence[str]
    ] = ()  # filters always in sight; the others stand under More; empty for all in sight
    given: ClassVar[frozenset[str]] = (
        frozenset()
    )  # filters that always have a value, so that an empty list is not their doing
    facets: ClassVar[Mapping[str, Facet]] = {}  # filter to the values that it may take
    fresh: ClassVar[str] = ""  # the moment at which a row came; with one the list says what is new
    redrawn: ClassVar[str] = ""  # the moment at which a row's figures changed
    caption: ClassVar[str] = ""
    empty: Empty = Empty("Nothing here yet")

    # What a subclass may say more
    def rows(self) -> QuerySet[Any]:
        """The rows of this list for this person, before tabs and filters."""
        return within(self.queryset.all().visible_to(self.request.user), self.request)  # type: ignore[attr-defined]

    def headline(self) -> str:
        """The sentence under the title."""
        return ""

    def tiles(self) -> Sequence[Tile]:
        """Figures above the list."""
        return ()

    def notices(self) -> Sequence[Notice]:
        """Strips above the list."""
        return ()

    def order_note(self) -> str:
        """What must be known of the order, where it is not plain."""
        return ""

    def tell(self, records: Sequence[Any]) -> None:
        """Give the rows of a page what they show beside their own columns, in a fixed number of queries."""

    def buttons(self) -> Sequence[tuple[str, str]]:
        """Links at the head: (words, address)."""
        return ()

    def nothing(self) -> Empty:
        """What an empty list says when no filter is on."""
        return self.empty

    def summary_of(self, queryset: QuerySet[Any]) -> Summary:
        """Count and totals of the filtered rows."""
        return summarise(queryset, self.totals, currency=self.currency, limit=self.count_limit)

    # What the address says
    @cached_property
    def base(self) -> QuerySet[Any]:
        """The rows before tabs and filters, once."""
        return self.rows()

    @cached_property
    def tab(self) -> Tab | None:
        """The tab that the address names, else the first."""
        asked = self.params.get("tab")
        return next((tab for tab in self.tabs if tab.slug == asked), self.tabs[0] if self.tabs else None)

    @cached_property
    def filters(self) -> FilterSet:
        """The filter form with the rows of the tab."""
        queryset = self.base
        if self.tab and self.tab.where:
            queryset = queryset.filter(self.tab.where(self.request.user))
        return self.filterset(self.params, queryset=queryset, request=self.request)

    @cached_property
    def filtered(self) -> QuerySet[Any]:
        """The rows that match; none when the filter cannot be read."""
        rows: QuerySet[Any] = self.filters.qs
        return rows if self.filters.form.is_valid() else rows.none()

    @cached_property
    def summary(self) -> Summary:
        """Count and totals of what matches."""
        return self.summary_of(self.filtered)

    # Answers
    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """The list; or all its rows as a file when `export` names one."""
        wanted = request.GET.get("export", "")
        if self.exportable and wanted in export.FORMATS:
            return self.export(wanted)
        if "arrange" in request.GET:
            return self.show_arrangement()
        if "views" in request.GET:
            return self.show_views()
        if request.GET.get("facet") in self.facets:
            return self.show_facet(request.GET["facet"])
        if self.fresh and (since := live.moment(request.GET.get("news", ""))):
            return self.show_news(since)
        if where := self.default_view():
            return HttpResponseRedirect(where)
        return self.show()

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Arrange the list, keep or forget a view of it, have a long export made, or do an action."""
        if "arrange" in request.POST:
            return self.arrange(request)
        if "views" in request.POST:
            return self.change_views(request)
        if self.exportable and request.POST.get("export") in export.FORMATS:
            return exporting.ask(self, request.POST["export"])
        return super().post(request, *args, **kwargs)

    def show(self) -> HttpResponse:
        """The page, or the part with the results."""
        htmx = getattr(self.request, "htmx", None)
        part = bool(htmx and not htmx.history_restore_request and htmx.target == RESULTS)
        context = {**self.list_context(), "is_part": part}
        return self.page(context, template="screens/results.html" if part else "")

    def show_facet(self, name: str) -> HttpResponse:
        """The values of one filter, with how many rows each leaves under the other filters."""
        others = self.params.copy()
        chosen = others.pop(name, [])
        queryset = self.filterset(others, queryset=self.filters.queryset, request=self.request).qs
        context = self.context(
            title=f"Filter by {str(self.filters.form.fields[name].label).lower()}",
            name=name,
            values=facets.values(queryset, self.facets[name], chosen),
            most=facets.MOST,
            kept=self.kept(but=name),
        )
        return self.page(context, template="screens/facet.html")

    def show_news(self, since: datetime) -> HttpResponse:
        """What is new since the list was drawn: how many rows, the counts, and rows whose figures changed, in their places."""
        there = live.shown(self.request.GET.get("shown", ""))
        records = list(live.changed(self.base, self.redrawn, since, there)) if self.redrawn else []
        self.tell(records)
        offered = bool(self.offered())
        return self.page(
            self.context(
                news=live.newer(self.filtered, self.fresh, since, self.request.GET.get("drawn", "")),
                tabs=self.tab_links(),
                tiles=self.tiles(),
                table=self.table_of(records, selectable=offered),
                is_poll=True,
            ),
            template="screens/news.html",
        )

    def export(self, form: str) -> HttpResponseBase:
        """Every row of the filter in the columns shown: now, or in the background when they are many."""
        return exporting.answer(self, form)

    def sheet(self, of: str = "", *, columns: Sequence[str] = ()) -> Sheet:
        """What a file of this list holds, for this person now. `of` names one of `contents`."""
        return Sheet(
            table=self.export_table or self.table,
            queryset=self.ordered(),
            columns=columns or self.export_columns(),
            heading=self.heading_of(self.title, self.summary),
            prepare=self.tell,
        )

    def heading_of(self, title: str, summary: Summary) -> Heading:
        """What stands above the rows of a file: filter, person, moment, count and totals."""
        described = [f"{chip.label}: {chip.shown}" for chip in self.chips if chip.on]
        if self.tab:
            described.insert(0, self.tab.label)
        choice = chosen_entities(self.request)
        return Heading(
            title=title,
            filters=[*described, f"Entities: {', '.join(sorted(choice.codes))}"],
            person=self.request.user.get_username(),
            count=summary.count,
            totals=summary.totals,
        )

    def ordered(self) -> QuerySet[Any]:
        """The matching rows in the order of the address, with the key as the last word."""
        rows: QuerySet[Any] = self.build_table().data.data
        return rows

    def table_of(self, data: Any, *, selectable: bool = False) -> Table:
        """The table with the columns shown, over rows, in the order of the address."""
        shown = arranging.expanded(self.table, self.arranged.columns)
        drawn = isinstance(data, list)  # rows that were read stay in the order in which they were read
        return self.table(
            data,
            order_by=() if drawn else self.params.get("sort") or None,
            extra_columns=[("select", SelectColumn())] if selectable else None,
            sequence=[*(["select"] if selectable else []), *shown, "..."],
            exclude=[name for name in self.table.base_columns if name not in shown],
        )

    def build_table(self, *, selectable: bool = False) -> Table:
        """The table over what matches, in the order of the address; a tie is settled by the key."""
        table = self.table_of(self.filtered, selectable=selectable)
        rows = table.data.data
        table.data.data = rows.order_by(*(rows.query.order_by or rows.model._meta.ordering), "pk")
        return table

    @cached_property
    def chips(self) -> list[Chip]:
        """The filters as chips."""
        return chips(self.filters, self.query)

    def chosen(self, request: HttpRequest) -> tuple[QuerySet[Any], bool]:
        """Everything that matches, or the ticked rows among it."""
        if request.POST.get("all_matching"):
            return self.filtered, True
        return self.base.filter(pk__in=keys.keys(request.POST.getlist("selected"))), False

    def offered(self) -> list[type[Action]]:
        """The actions for a selection that this person may do somewhere."""
        return [action for action in self.permitted(roles_of(self.request)) if action.in_bulk]

    def list_context(self) -> dict[str, Any]:
        """Everything the list's template shows."""
        offered = self.offered()
        table = self.build_table(selectable=bool(offered))
        leaf = Leaf(self, table)
        self.tell(leaf.records)
        return self.context(
            table=leaf.table,
            leaf=leaf,
            summary=self.summary,
            foot=foot(self.summary, table),
            total_lines=self.total_lines(table),
            offered=offered,
            tabs=self.tab_links(),
            chips=self.chips,
            behind=[
                chip for chip in self.chips if self.primary and not chip.on and chip.field.name not in self.primary
            ],
            filter_form=self.filters.form,
            filtered=any(chip.on for chip in self.chips if chip.field.name not in self.given),
            cleared=self.cleared(),
            here=self.here(),
            kept=self.kept(),
            sizes=[(size, self.query(size=size)) for size in PAGE_SIZES],
            size=self.size,
            tiles=self.tiles(),
            poll=self.poll(leaf.records),
            export_links=exporting.links(self),
            paper=printing.paper(self),
        )

    def poll(self, records: Sequence[Any]) -> str:
        """The address that says what is new since now; empty where a list does not tell."""
        if not self.fresh:
            return ""
        shown = ",".join(str(record.pk) for record in records) if self.redrawn else ""
        stamp = live.stamp()
        at = live.moment(stamp)
        drawn = live.lately(self.filtered, self.fresh, at) if at else 0
        return self.query(news=stamp, drawn=drawn, shown=shown)

    def entity_totals(self) -> list[EntityTotal]:
        """What each entity holds of the rows that match, for paper; none where a list has no figures to add up."""
        return []

    def total_lines(self, table: Table) -> list[str]:
        """The totals in words under the list, where one row does not hold them."""
        return lines(self.summary, table)

    def tab_links(self) -> list[TabLink]:
        """The tabs with their counts over everything the person sees here."""
        if not self.tabs:
            return []
        user = self.request.user
        counts = tab_counts(self.base, {tab.slug: tab.where(user) if tab.where else None for tab in self.tabs})
        return [TabLink(tab, self.query(tab=tab.slug), counts[tab.slug], tab == self.tab) for tab in self.tabs]

    def kept(self, but: str = "") -> list[tuple[str, str]]:
        """What a filter form must carry along; `but` names the one filter of a form that carries all the others."""
        always = ("tab", "sort", "size", "columns", PARAMETER)
        return [
            (name, value)
            for name, values in self.params.lists()
            if name in always or (but and name not in (but, *TRANSIENT, "view"))
            for value in values
        ]

    def cleared(self) -> str:
        """The address without any filter."""
        return self.query(**dict.fromkeys([*self.filters.form.fields, *self._parts()], ""))

    def _parts(self) -> list[str]:
        return [name for chip in self.chips for name in chip.names]
