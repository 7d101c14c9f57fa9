"""A list screen: a queryset, a filterset, a table and actions.

The rule here: the whole state is in the address (tab, filter, order, page), totals are over the filter and not the page,
and a filter that cannot be read shows no rows instead of all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from django.db.models import Q, QuerySet
from django.db.models.expressions import Combinable
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.functional import cached_property
from django_filters import FilterSet

from portal import export, figures
from portal.export import Heading, Sheet
from portal.screens import exporting
from portal.screens.actions import ActionsMixin
from portal.screens.base import Screen, roles_of
from portal.screens.chips import Chip, chips
from portal.screens.entities import PARAMETER, chosen_entities, within
from portal.screens.exporting import ROWS, Content
from portal.screens.paging import PAGE_SIZES, CappedPaginator, Summary, page_size, summarise, tab_counts
from portal.screens.tables import CurrencyColumn, MoneyColumn, NumberColumn, SelectColumn, Table

RESULTS = "results"  # the id of the part that filters, tabs and pages replace


@dataclass(frozen=True, slots=True)
class Tab:
    """A view of the same list. `where` narrows it for the person who looks; None narrows nothing."""

    slug: str
    label: str
    where: Callable[[Any], Q] | None = None


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure above the list; with a `url` it is a filter."""

    label: str
    value: str
    unit: str = ""
    url: str = ""
    note: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """A strip above the list: stale data, a paused connection. `url` and `link` are the next thing to do."""

    text: str
    tone: str = "warn"
    url: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True)
class Empty:
    """What a list without rows says, and the next thing to do."""

    title: str
    text: str = ""
    url: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True)
class TabLink:
    """A tab as it is shown: with its address and count."""

    tab: Tab
    query: str
    count: int
    current: bool


class ListScreen(ActionsMixin, Screen):
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
        asked = self.request.GET.get("tab")
        return next((tab for tab in self.tabs if tab.slug == asked), self.tabs[0] if self.tabs else None)

    @cached_property
    def filters(self) -> FilterSet:
        """The filter form with the rows of the tab."""
        queryset = self.base
        if self.tab and self.tab.where:
            queryset = queryset.filter(self.tab.where(self.request.user))
        return self.filterset(self.request.GET, queryset=queryset, request=self.request)

    @cached_property
    def filtered(self) -> QuerySet[Any]:
        """The rows that match; none when the filter cannot be read."""
        rows: QuerySet[Any] = self.filters.qs
        return rows if self.filters.form.is_valid() else rows.none()

    @cached_property
    def summary(self) -> Summary:
        """Count and totals of what matches."""
        return self.summary_of(self.filtered)

    def query(self, **changes: Any) -> str:
        """The address of this list with changes, as a query string; an empty value removes, and the page starts over."""
        data = self.request.GET.copy()
        data.pop("page", None)
        data.pop("export", None)
        data.pop("of", None)
        for name, value in changes.items():
            data.pop(name, None)
            if value not in {"", None}:
                data[name] = str(value)
        return "?" + data.urlencode()

    # Answers
    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """The list; or all its rows as a file when `export` names one."""
        wanted = request.GET.get("export", "")
        if self.exportable and wanted in export.FORMATS:
            return self.export(wanted)
        return self.show()

    def show(self) -> HttpResponse:
        """The page, or the part with the results."""
        htmx = getattr(self.request, "htmx", None)
        part = bool(htmx and not htmx.history_restore_request and htmx.target == RESULTS)
        return self.page(self.list_context(), template="screens/results.html" if part else "")

    def export(self, form: str) -> HttpResponseBase:
        """Every row of the filter in the columns shown: now, or in the background when they are many."""
        return exporting.answer(self, form)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Do an action, or have a long export made."""
        if self.exportable and request.POST.get("export") in export.FORMATS:
            return exporting.ask(self, request.POST["export"])
        return super().post(request, *args, **kwargs)

    def sheet(self, of: str = "", *, columns: Sequence[str] = ()) -> Sheet:
        """What a file of this list holds, for this person now. `of` names one of `contents`."""
        return Sheet(
            table=self.export_table or self.table,
            queryset=self.ordered(),
            columns=columns or self.export_columns(),
            heading=self.heading_of(self.title, self.summary),
        )

    def export_columns(self) -> Sequence[str]:
        """The columns of a file, in their order; empty for all of them."""
        return ()

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

    def build_table(self, *, selectable: bool = False) -> Table:
        """The table over what matches, in the order of the address; a tie is settled by the key."""
        table = self.table(
            self.filtered,
            order_by=self.request.GET.get("sort") or None,
            extra_columns=[("select", SelectColumn())] if selectable else None,
            sequence=("select", "...") if selectable else None,
        )
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
        keys = [key for key in request.POST.getlist("selected") if key.isdigit()]
        return self.base.filter(pk__in=keys), False

    def list_context(self) -> dict[str, Any]:
        """Everything the list's template shows."""
        offered = [action for action in self.permitted(roles_of(self.request)) if action.in_bulk]
        size = page_size(self.request.GET.get("size"), self.page_size)
        table = self.build_table(selectable=bool(offered))
        paginator = CappedPaginator(table.rows, size, count=self.summary.count)
        number = paginator.nearest(self.request.GET.get("page", 1))
        table.paginate(CappedPaginator, per_page=size, page=number, count=self.summary.count)
        return self.context(
            table=table,
            page_obj=table.page,
            paginator=table.paginator,
            summary=self.summary,
            foot=self.foot(table),
            total_lines=self.total_lines(table),
            offered=offered,
            tabs=self.tab_links(),
            chips=self.chips,
            filter_form=self.filters.form,
            filtered=any(chip.on for chip in self.chips),
            cleared=self.cleared(),
            here=self.request.get_full_path(),
            kept=self.kept(),
            sizes=PAGE_SIZES,
            size=size,
            export_links=exporting.links(self),
        )

    def foot(self, table: Table) -> list[tuple[str, str]]:
        """The last row: the totals under their columns, when they are in one currency."""
        sums, code = self.summary.single, next(iter(self.summary.totals), "")
        if not sums:
            return []
        cells = []
        for position, column in enumerate(table.columns):
            text = "Total" if position == 0 and column.name not in sums else ""
            if column.name in sums:
                text = _total(column.column, sums[column.name], code)
            elif isinstance(column.column, CurrencyColumn):
                text = code
            cells.append((text, column.column.css))
        return cells

    def total_lines(self, table: Table) -> list[str]:
        """The totals in words under the list, one line a currency, when there are several."""
        if len(self.summary.totals) < 2:
            return []
        columns = {column.name: column for column in table.columns}
        lines = []
        for code, sums in self.summary.totals.items():
            words = []
            for name, value in sums.items():
                if name in columns:
                    head = columns[name]
                    unit = code if isinstance(head.column, MoneyColumn) else str(head.header).lower()
                    words.append(f"{_total(head.column, value, code)} {unit}")
            lines.append(" · ".join(words))
        return lines

    def tab_links(self) -> list[TabLink]:
        """The tabs with their counts over everything the person sees here."""
        if not self.tabs:
            return []
        user = self.request.user
        counts = tab_counts(self.base, {tab.slug: tab.where(user) if tab.where else None for tab in self.tabs})
        return [TabLink(tab, self.query(tab=tab.slug), counts[tab.slug], tab == self.tab) for tab in self.tabs]

    def kept(self) -> list[tuple[str, str]]:
        """What the filter form must carry along: tab, order, page size, chosen entities."""
        return [
            (name, self.request.GET[name]) for name in ("tab", "sort", "size", PARAMETER) if name in self.request.GET
        ]

    def cleared(self) -> str:
        """The address without any filter."""
        return self.query(**dict.fromkeys([*self.filters.form.fields, *self._parts()], ""))

    def _parts(self) -> list[str]:
        return [name for chip in self.chips for name in chip.names]


def _total(column: Any, value: Any, currency: str) -> str:
    if isinstance(column, MoneyColumn):
        return figures.amount(value, currency)
    return figures.number(value, column.places if isinstance(column, NumberColumn) else None)
