"""Exports of a list: at once when it is small, in the background when it is not, and both the same file.

The rule here: the file is what the person sees, made by the same screen from the same address. A worker opens the screen as that
person, with the roles that the person holds then: what may no longer be seen is not written.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import IO, TYPE_CHECKING, Any, Protocol, cast

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.http.response import HttpResponseBase
from django.urls import resolve, reverse

from portal import export, exports, sql
from portal.models import Export, User
from portal.screens.entities import PARAMETER, chosen_entities
from portal.screens.personal import TRANSIENT

if TYPE_CHECKING:
    from portal.screens.lists import ListScreen

log = logging.getLogger(__name__)

STATEMENT_SECONDS = 600  # a worker's patience with the one statement behind a file
NO_LIMIT = 10**9  # rows; in the background every row is counted


@dataclass(frozen=True, slots=True)
class Content:
    """One thing that a list can be exported as: its rows, or what stands under them."""

    slug: str
    label: str


ROWS = Content("", "Rows")


def answer(screen: ListScreen, form: str) -> HttpResponseBase:
    """The file, where the list is small enough; else the page that offers to make it in the background."""
    of = asked_content(screen)
    sheet = screen.sheet(of.slug)
    if sheet.heading.count > exports.AT_ONCE:
        return screen.page(screen.context(form=form, of=of, count=sheet.heading.count), template="screens/export.html")
    request = screen.request
    person = cast("User", request.user)
    try:
        exports.downloaded_at_once(person, rows=sheet.heading.count, **_particulars(screen, form, of, sheet))
    except exports.TooMany as refusal:
        return screen.page(
            screen.context(form=form, of=of, count=sheet.heading.count, refusal=str(refusal)),
            template="screens/export.html",
            status=HTTPStatus.TOO_MANY_REQUESTS,
        )
    return export.answer(form, sheet, own=export.dialect(person.preferences))


def ask(screen: ListScreen, form: str) -> HttpResponse:
    """Have the file made in the background, and lead to where it can be watched."""
    of = asked_content(screen)
    sheet = screen.sheet(of.slug)
    request = screen.request
    try:
        exports.ask(cast("User", request.user), expected=sheet.heading.count, **_particulars(screen, form, of, sheet))
    except exports.TooMany as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, "The export is being made. You are told when it is ready; you can leave this page.")
    return HttpResponseRedirect(reverse("exports"), status=HTTPStatus.SEE_OTHER)


@dataclass(frozen=True, slots=True)
class Link:
    """One entry of the export menu."""

    label: str
    query: str


def links(screen: ListScreen) -> list[Link]:
    """The export menu: each content in each format."""
    if not screen.exportable:
        return []
    return [
        Link(f"{content.label}, {words}", screen.query(export=form, of=content.slug))
        for content in screen.contents
        for form, words in (("xlsx", "Excel"), ("csv", "CSV"))
    ]


def asked_content(screen: ListScreen) -> Content:
    """What the address asks for, else the rows."""
    asked = screen.request.GET.get("of", "")
    return next((one for one in screen.contents if one.slug == asked), screen.contents[0])


def _particulars(screen: ListScreen, form: str, of: Content, sheet: export.Sheet) -> dict[str, Any]:
    query = screen.params.copy()  # a view is spelt out: it may be another one by the time a worker opens it
    for name in ("view", "size", PARAMETER, *TRANSIENT):
        query.pop(name, None)
    choice = chosen_entities(screen.request)
    if choice.narrowed:
        query[PARAMETER] = ",".join(sorted(choice.codes))
    return {
        "title": sheet.heading.title,
        "address": f"{screen.request.path}?{query.urlencode()}" if query else screen.request.path,
        "form": form,
        "of": of.slug,
        "filters": sheet.heading.filters,
        "columns": sheet.columns or export.column_names(sheet.table),
        "entities": choice.ids,
    }


# In the background


class Packing(Protocol):
    """A screen whose export is several files in one, which only a worker makes."""

    def write_pack(self, target: IO[Any], alive: Callable[[int], None]) -> int:
        """Write it; how many rows it holds. `alive` is told how far it is."""
        ...


class Refused(Exception):
    """The file cannot be made; the text is for the person."""


def make(export_id: int) -> None:
    """Write one export that was asked for. Whoever else has it in hand makes this leave at once."""
    held = exports.claim(export_id)
    if held is None:
        return
    try:
        with sql.patience(STATEMENT_SECONDS):
            _write(held)
    except exports.Gone:
        log.info("export %s is in other hands or was cancelled", export_id)
    except (Refused, PermissionDenied) as refusal:
        exports.fail(held, str(refusal))


def _write(held: Export) -> None:
    person = held.person
    if not person.is_active:
        raise Refused("The person who asked for it is no longer active.")
    if gone := exports.lost(person, held.entities):
        raise Refused(gone)
    screen = _screen_of(person, held.address)
    if held.form in export.PACKED:
        with tempfile.TemporaryFile() as target:
            rows = cast("Packing", screen).write_pack(target, lambda count: exports.go_on(held, count))
            exports.keep(held, cast("IO[Any]", target), rows=rows, entities=held.entities)
        return
    sheet = screen.sheet(held.of, columns=held.columns)
    if held.form == "xlsx" and sheet.heading.count > export.EXCEL_ROWS - 100:
        raise Refused(f"Excel holds {export.EXCEL_ROWS:,} rows a sheet. Take CSV, or narrow the filter.")
    entities = chosen_entities(screen.request).ids
    written = _Counted(held, sheet)
    if held.form == "csv":
        with tempfile.TemporaryFile() as target:
            for line in export.csv_lines(sheet.heading, written, export.dialect(person.preferences)):
                target.write(line.encode())
            exports.keep(held, cast("IO[Any]", target), rows=written.rows, entities=entities)
        return
    with export.xlsx_file(sheet.heading, written) as book:
        exports.keep(held, book, rows=written.rows, entities=entities)


class _Counted:
    """The rows of a sheet as they are written; says how far it is after every chunk. The first one is the heads."""

    def __init__(self, held: Export, sheet: export.Sheet) -> None:
        self.held, self.sheet, self.rows = held, sheet, 0

    def __iter__(self) -> Iterator[Sequence[export.Cell]]:
        source = export.table_rows(self.sheet)
        yield next(source)
        for row in source:
            yield row
            self.rows += 1
            if self.rows % export.CHUNK == 0:
                exports.go_on(self.held, self.rows)


def _screen_of(person: User, address: str) -> ListScreen:
    """The list behind an address, opened as this person."""
    path, _, query = address.partition("?")
    request = HttpRequest()
    request.method, request.path, request.path_info = "GET", path, path
    request.META["QUERY_STRING"] = query
    request.GET = QueryDict(query)
    request.user = person
    request.session = {}  # type: ignore[assignment]
    match = resolve(path)
    screen: ListScreen = match.func.view_class(**match.func.view_initkwargs)  # type: ignore[attr-defined]
    screen.setup(request, *match.args, **match.kwargs)
    screen.admit(request)
    screen.count_limit = NO_LIMIT  # type: ignore[misc]
    return screen
