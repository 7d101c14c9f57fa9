"""Codes that a line points at: a field that offers those of the person's own records as one types, and takes any text.

The rule here: what is offered is what the person may see, and nothing else; what was typed is checked as a file's cell is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from django import forms
from django.db.models import Model, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from portal import access
from portal.importing.domains import KNOWN, TABLES
from portal.importing.tables import Column, Table
from portal.models import Connection, User
from portal.models.access import entities_held
from portal.screens import Screen
from portal.views.governed import visible
from reconciliation import changes
from reconciliation.changes import Kind
from reconciliation.changes.kinds import KINDS
from reconciliation.changes.words import reference_of

OFFERED = 30
Offer = tuple[str, str]  # the code, and what it is called
_TABLES: Mapping[str, Table] = {table.name: table for table in (*TABLES, *KNOWN, *(kind.table for kind in KINDS))}


class CodeInput(forms.TextInput):
    """A text with the codes that fit beside it; the browser offers them, and more are asked for as one types."""

    def __init__(self, kind: Kind, column: Column, offers: list[Offer], beside: tuple[str, ...]) -> None:
        more = {
            "list": f"codes_{column.name}", "autocomplete": "off", "spellcheck": "false",
            "hx-get": reverse("change_codes", args=[kind.code, column.name]),
            "hx-trigger": f"{'focus, ' if beside else ''}input changed delay:200ms",
            "hx-target": f"#codes_{column.name}", "hx-sync": "this:replace",
        }  # fmt: skip
        if beside:
            more["hx-include"] = ", ".join(f"[name='{name}']" for name in beside)
        super().__init__(more)
        self.offers = offers

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        """The field, and the list that it names."""
        field = super().render(name, value, attrs, renderer)
        return format_html('{}<datalist id="{}">{}</datalist>', field, self.attrs["list"], _options(self.offers))


def _options(offers: list[Offer]) -> SafeString:
    return format_html_join("", '<option value="{}">{}</option>', offers)


def points(column: Column) -> bool:
    """Whether a column holds the code of another record."""
    return column.refers is not None


def field_for(kind: Kind, column: Column, user: User, given: Mapping[str, Any], **common: Any) -> forms.Field:
    """The field of a column that points at another record; `given` is what the other fields of the line say."""
    _, parts = reference_of(column, given)
    beside = tuple(dict.fromkeys([*(part for part in parts if part != column.name), *_deciding(kind)]))
    return forms.CharField(widget=CodeInput(kind, column, offered(column, user, "", given), beside), **common)


def _deciding(kind: Kind) -> tuple[str, ...]:
    """The columns that decide what a code of this kind of record is a code of."""
    return tuple(column.name for column in kind.columns if column.name in ("kind", "within"))


def offered(column: Column, user: User, typed: str, given: Mapping[str, Any]) -> list[Offer]:
    """The codes that a column may hold, of records that the person sees and whose code or name has the text."""
    name, parts = reference_of(column, given)
    table = _TABLES[name]
    own = parts.index(column.name) if column.name in parts else len(parts) - 1
    path = table.lookup[own]
    rows = seen(table.model, user)
    for part, other in zip(parts, table.lookup, strict=True):
        value = str(given.get(part) or "").strip()
        if part != column.name and value and other != "version":
            rows = rows.filter(**{other: value})
    words = Q(**{f"{path}__icontains": typed})
    for named in _named(table.model):
        words |= Q(**{f"{named}__icontains": typed})
    found = rows.filter(words).order_by(path).values_list(path, *_named(table.model)).distinct()[:OFFERED]
    return [(str(code), " ".join(part for part in said if part)) for code, *said in found]


def _named(model: type[Model]) -> tuple[str, ...]:
    if model is User:
        return ("first_name", "last_name")
    return ("name",) if any(part.name == "name" for part in model._meta.concrete_fields) else ()


def seen(model: type[Model], user: User) -> QuerySet[Any]:
    """The records of a model that a person sees: of users, colleagues who hold a role in an entity where the person does."""
    if model is Connection:
        return Connection.objects.visible_to(user)
    if model is not User:
        return visible(model, user)
    held = entities_held(user, None)
    colleagues = User.objects.filter(is_active=True)
    if not held:
        return colleagues.none()
    return colleagues if None in held else colleagues.filter(Q(grants__entity__in=held) | Q(grants__entity=None))


class CodesScreen(Screen):
    """The codes that fit what was typed, as the options of a field."""

    title = "Codes"
    roles = access.OPERATORS

    def get(self, request: HttpRequest, kind: str, column: str) -> HttpResponse:
        """A few of them, in their order."""
        found = changes.BY_CODE.get(kind)
        person = cast("User", request.user)
        if found is None or not person.roles() & found.proposers:
            raise Http404
        pointing = next((one for one in found.columns if one.name == column and points(one)), None)
        if pointing is None:
            raise Http404
        given = {name: request.GET.get(name, "")[:200] for name in (one.name for one in found.columns)}
        return HttpResponse(_options(offered(pointing, person, given[column].strip(), {**given, column: ""})))
