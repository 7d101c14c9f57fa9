"""What a list remembers of a person: its columns, the size of its pages, and the views that they keep of it.

The rule here: everything is asked of and answered by the list's own address, so that who may not see the list may not arrange
it either. A choice is kept with the person; a view is kept by name and only ever narrows what the person sees anyway.
"""

from __future__ import annotations

from functools import cached_property
from http import HTTPStatus
from typing import Any, ClassVar, cast

from django.contrib import messages
from django.core.exceptions import BadRequest, PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import get_object_or_404
from django.urls import resolve
from django_htmx.http import HttpResponseClientRedirect

from portal import keys
from portal.models import SavedView, User
from portal.screens import arranging, printing, saved
from portal.screens.arranging import Arrangement
from portal.screens.base import DENSITIES
from portal.screens.entities import PARAMETER
from portal.screens.paging import PAGE_SIZES, page_size
from portal.screens.tables import Table

TRANSIENT = (
    "page",
    "after",
    "before",
    "export",
    "of",
    "arrange",
    "views",
    "facet",
    "news",
    "drawn",
    "shown",
    printing.PARAMETER,
)
OF_THE_SAME_VIEW = frozenset(
    {"page", "after", "before", "export", "of", "arrange", "views", "news", "drawn", "shown", printing.PARAMETER}
)


class PersonalMixin:
    """The personal side of a list screen: `params` is what its address means once its view is opened."""

    request: HttpRequest
    table: type[Table]
    page_size: ClassVar[int]

    @cached_property
    def key(self) -> str:
        """The list's name, as its address is named; lists of the same name are told apart by what their address names."""
        match = resolve(self.request.path)
        return ":".join([match.view_name, *(str(value) for value in match.kwargs.values())])[:80]

    @property
    def person(self) -> User:
        """Who looks."""
        return cast("User", self.request.user)

    @property
    def own(self) -> dict[str, Any]:
        """What this person keeps for this list."""
        return arranging.kept_for(self.person.preferences, self.key)

    @cached_property
    def views(self) -> list[saved.ViewLink]:
        """The views that this person may open."""
        default = self.own.get("view")
        return saved.links(self.person, self.key, default if isinstance(default, str) else "")

    @cached_property
    def view(self) -> saved.ViewLink | None:
        """The view that the address names; a list whose address says nothing opens with the person's default."""
        return saved.found(self.views, self.request.GET["view"]) if self.request.GET.get("view") else None

    @cached_property
    def params(self) -> QueryDict:
        """What the address means: the view's own words, and over them what the address says itself."""
        return saved.expand(self.view.view, self.request.GET) if self.view else self.request.GET

    def default_view(self) -> str:
        """Where a list opens whose address says nothing; empty where it is shown as it is."""
        if self.request.GET or not self.own.get("view"):
            return ""
        chosen = next((link for link in self.views if link.is_default), None)
        return f"{self.request.path}?view={chosen.token}" if chosen else ""

    def query(self, **changes: Any) -> str:
        """The address of this list with changes, as a query string; an empty value removes, and the page starts over.

        A page or an export of a view is still the view; any other change spells it out.
        """
        keep = OF_THE_SAME_VIEW.issuperset(changes)
        data = self.request.GET.copy() if keep else self.params.copy()
        for name in TRANSIENT:
            data.pop(name, None)
        if not keep:
            data.pop("view", None)
        for name, value in changes.items():
            data.pop(name, None)
            if isinstance(value, list | tuple):
                data.setlist(name, [str(one) for one in value])
            elif value not in {"", None}:
                data[name] = str(value)
        return "?" + data.urlencode()

    def here(self) -> str:
        """The address of what is shown, pages included, without what only asks for a part of it."""
        data = self.request.GET.copy()
        for name in TRANSIENT:
            if name not in ("page", "after", "before"):
                data.pop(name, None)
        return f"{self.request.path}?{data.urlencode()}" if data else self.request.path

    @cached_property
    def arranged(self) -> Arrangement:
        """The columns shown."""
        return arranging.arrangement(self.table, self.params.get("columns"), self.own.get("columns"))

    def export_columns(self) -> list[str]:
        """The columns of a file, in their order: those that the person chose; empty for all of them."""
        return arranging.expanded(self.table, self.arranged.columns) if self.arranged.is_own else []

    @property
    def size(self) -> int:
        """Rows a page: what paper holds, the address's word, else the person's own, else the list's."""
        if printing.asked(self.request):
            return printing.PAPER_ROWS
        return page_size(self.params.get("size"), arranging.kept_size(self.own, self.page_size))

    # Columns and page size
    def show_arrangement(self) -> HttpResponse:
        """The columns to choose and their order, as they are shown now."""
        return self._arrange(list(self.arranged.columns), arranging.in_order(self.table, self.arranged.columns))

    def arrange(self, request: HttpRequest) -> HttpResponse:
        """Keep what was chosen; or only move a column and ask again; or go back to the list's own columns."""
        wanted, act = request.POST.getlist("column"), request.POST["arrange"]
        ordered = request.POST.getlist("order")
        if act.startswith(("up:", "down:")):
            name = act.partition(":")[2]
            names = arranging.moved(ordered, name, act.startswith("up:"))
            known = {one.name: one for one, _ in arranging.in_order(self.table, ())}
            listed = [(known[each], each in wanted or known[each].is_fixed) for each in names if each in known]
            return self._arrange(wanted, listed, moved=name)
        if act not in ("keep", "reset"):
            raise BadRequest("Columns are kept, reset or moved.")
        preferences = dict(self.person.preferences)
        if act == "reset":
            self._keep(arranging.with_kept(preferences, self.key, columns=None, size=None))
        else:
            chosen = [name for name in ordered if name in wanted]
            arranged = arranging.arrangement(self.table, None, chosen)
            size = request.POST.get("size", "")
            if request.POST.get("density") in DENSITIES:
                preferences["density"] = request.POST["density"]
            self._keep(
                arranging.with_kept(
                    preferences,
                    self.key,
                    columns=list(arranged.columns) if arranged.is_own else None,
                    size=keys.key(size) if keys.key(size) in PAGE_SIZES else None,
                )
            )
        return self._back_to(self.request.path + self.query(columns="", size=""))

    def _arrange(self, columns: list[str], listed: list[tuple[Any, bool]], moved: str = "") -> HttpResponse:
        context = self.context(  # type: ignore[attr-defined]
            title="Columns and rows", listed=listed, moved=moved, size=self.size, sizes=PAGE_SIZES, to=self.here()
        )
        return cast("HttpResponse", self.page(context, template="screens/arrange.html"))  # type: ignore[attr-defined]

    def _keep(self, preferences: dict[str, Any]) -> None:
        self.person.preferences = preferences
        self.person.save(update_fields=["preferences"])

    # Views
    def show_views(self, form: saved.SaveForm | None = None, status: int = HTTPStatus.OK) -> HttpResponse:
        """The views of this list, and a form to keep what is shown now as another."""
        person = self.person
        context = self.context(  # type: ignore[attr-defined]
            title="Saved views",
            form=form or saved.SaveForm(user=person),
            shown=[(link, saved.may_delete(person, link.view)) for link in self.views],
            to=self.here(),
        )
        return cast("HttpResponse", self.page(context, template="screens/views.html", status=status))  # type: ignore[attr-defined]

    def change_views(self, request: HttpRequest) -> HttpResponse:
        """Keep a view, forget one, or open the list with one from now on."""
        act, _, token = request.POST["views"].partition(":")
        if act == "save":
            form = saved.SaveForm(request.POST, user=self.person)
            if not form.is_valid():
                return self.show_views(form, HTTPStatus.UNPROCESSABLE_ENTITY)
            try:
                view = saved.keep(form, screen=self.key, query=self._state())
            except ValidationError as refusal:
                form.add_error("name", refusal)
                return self.show_views(form, HTTPStatus.UNPROCESSABLE_ENTITY)
            if form.cleaned_data["default"]:
                self._keep(arranging.with_kept(self.person.preferences, self.key, view=view.slug))
            messages.success(request, f"The view “{view.name}” is kept.")
            return self._back_to(f"{request.path}?view={view.slug}")
        link = saved.found(self.views, token)
        if act == "default":
            self._keep(arranging.with_kept(self.person.preferences, self.key, view=link.token if link else None))
        elif act == "delete":
            view = get_object_or_404(SavedView, pk=link.view.pk if link else None)
            if not saved.may_delete(self.person, view):
                raise PermissionDenied(
                    "A shared view is deleted by its owner, or by a controller or admin of its entity."
                )
            saved.delete(self.person, view)
        else:
            raise BadRequest("A view is saved, deleted or made the default.")
        return self._back_to(f"{request.path}?view={saved.NO_VIEW}")

    def _state(self) -> str:
        """What a view keeps of an address: everything but the page and the entities looked at."""
        data = self.params.copy()
        for name in (*TRANSIENT, "view", PARAMETER):
            data.pop(name, None)
        if "columns" not in data and self.arranged.is_own:
            data["columns"] = ",".join(self.arranged.columns)
        return data.urlencode()

    def _back_to(self, address: str) -> HttpResponse:
        if getattr(self.request, "htmx", None):
            return HttpResponseClientRedirect(address)
        return HttpResponseRedirect(address, status=HTTPStatus.SEE_OTHER)
