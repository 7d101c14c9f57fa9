"""One page of a list: the rows, which they are, and the addresses of the pages beside it.

Pages have numbers up to `FARTHEST_ROW`; beyond it a page begins after a row (`after`) or ends before one (`before`), so that the
last page costs what the first one does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.http import HttpRequest

from portal.screens import keyset
from portal.screens.paging import FARTHEST_ROW, PAGE_SIZES, CappedPaginator, page_size
from portal.screens.tables import Table

if TYPE_CHECKING:
    from portal.screens.lists import ListScreen


WIDE = 12  # columns; with more the table scrolls sideways under its own sentence


class Leaf:
    """The page that the address asks for, put into the table; `previous` and `next` are query strings, empty at the ends."""

    def __init__(self, screen: ListScreen, table: Table) -> None:
        self.screen, self.table = screen, table
        self.size, self.count = screen.size, screen.summary.count
        self.is_exact = screen.summary.exact
        self.previous = self.next = ""
        self.rows = table.data.data
        self.keys = keyset.keys_of(self.rows)
        place = self._place()
        if place is None:
            self._numbered()
        else:
            self._beyond(*place)

    @property
    def start(self) -> int:
        """The first row's number."""
        return self.offset + 1

    @property
    def end(self) -> int:
        """The last row's number."""
        return self.offset + len(self.records)

    @property
    def is_wide(self) -> bool:
        """Whether more columns are shown than the page is wide."""
        return len(self.table.columns.names()) > WIDE

    @property
    def is_capped(self) -> bool:
        """Whether rows follow that this order cannot reach page by page."""
        return self.keys is None and not self.next and self.end < self.count

    def _place(self) -> tuple[str, int, list[Any]] | None:
        for word in ("after", "before"):
            text = self.screen.request.GET.get(word)
            read = keyset.read(text, self.keys) if text and self.keys else None
            if read:
                return word, *read
        return None

    def _numbered(self) -> None:
        paginator = CappedPaginator(self.table.rows, self.size, count=self.count)
        number = paginator.nearest(self.screen.request.GET.get("page", 1))
        self.table.paginate(CappedPaginator, per_page=self.size, page=number, count=self.count)
        self.records = list(self.table.page.object_list.data)
        self.offset = (number - 1) * self.size
        if number > 1:
            self.previous = self.screen.query(page=number - 1)
        if number < paginator.num_pages:
            self.next = self.screen.query(page=number + 1)
        elif paginator.capped and self.keys and self.records:
            self.next = self._after()

    def _beyond(self, word: str, number: int, values: list[Any]) -> None:
        rows, keys = self.rows, self.keys or []
        if word == "after":
            found = list(keyset.after(rows, keys, values)[: self.size + 1])
            self.offset, more = number, len(found) > self.size
            found = found[: self.size]
        else:
            found = list(keyset.before(rows, keys, values)[: self.size])[::-1]
            self.offset, more = max(0, number - len(found)), True
        self.records = found
        order = self.table.order_by
        self.table = self.screen.table_of(found, selectable="select" in self.table.columns)
        self.table._order_by = order  # shown in the heads; the rows stand in it already
        if self.offset > 0:
            back = self.offset - self.size
            if back < FARTHEST_ROW:
                self.previous = self.screen.query(page=max(0, back) // self.size + 1)
            elif found:
                place = keyset.place_of(rows, keys, found[0])
                self.previous = self.screen.query(before=keyset.token(self.offset, place))
        if more and found:
            self.next = self._after()

    def _after(self) -> str:
        place = keyset.place_of(self.rows, self.keys or [], self.records[-1])
        return self.screen.query(after=keyset.token(self.offset + len(self.records), place))


class PartLeaf:
    """One numbered page of a table that stands inside another page."""

    is_capped = False

    def __init__(self, request: HttpRequest, table: Table, *, count: int, per_page: int) -> None:
        self.request = request
        self.size = page_size(request.GET.get("size"), per_page)
        number = CappedPaginator(table.rows, self.size, count=count).nearest(request.GET.get("page", 1))
        table.paginate(CappedPaginator, per_page=self.size, page=number, count=count)
        self.records = list(table.page.object_list.data)
        self.start, self.end = table.page.start_index(), table.page.end_index()
        self.previous = self._query(page=number - 1) if number > 1 else ""
        self.next = self._query(page=number + 1) if number < table.paginator.num_pages else ""
        self.sizes = [(one, self._query(size=one)) for one in PAGE_SIZES]

    def _query(self, **changes: int) -> str:
        data = self.request.GET.copy()
        data.pop("page", None)
        for name, value in changes.items():
            data[name] = str(value)
        return "?" + data.urlencode()
