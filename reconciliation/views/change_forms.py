"""Writing a change set: what it is called and why, and its lines one by one in forms made from the kinds of record.

The rule here: a form knows nothing of its own. Its fields are the columns of the kind's table, and what cannot stand is said by
the same words that a file would get, at its field.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, cast

from django import forms
from django.core.exceptions import PermissionDenied
from django.db.models import CharField, Model, Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse

from portal import access, keys
from portal.models import User
from portal.models.access import entities_held
from portal.screens import Screen
from reconciliation import changes
from reconciliation.changes import Action, ChangeRefused, Kind, Line, lines_of, record_cells
from reconciliation.changes.kinds import EVERY
from reconciliation.models import ChangeSet
from reconciliation.views.change_fields import LineForm, initial_of, is_so

FOUND = 20  # records that a search shows
LOOKED_AT = 2_000  # records at a time, until that many are found that the person may propose to change


class DraftForm(forms.Form):
    """What a change set is called, why it is, and when it takes effect."""

    title = forms.CharField(max_length=300, label="What changes")
    reason = forms.CharField(widget=forms.Textarea(attrs={"rows": 2}), max_length=2000, label="Why")
    effective_on = forms.DateField(
        label="Takes effect on", required=False, widget=forms.DateInput(attrs={"type": "date"}),
        help_text="Empty: as soon as it is approved.",
    )  # fmt: skip
    emergency = forms.BooleanField(
        label="Emergency", required=False,
        help_text="Applied at once by one controller or admin; everybody who could have decided is told, and one reviews it.",
    )  # fmt: skip


class _Writing(Screen):
    """What every form of a change set has: the person, the set, and the way on."""

    roles = access.OPERATORS

    @property
    def person(self) -> User:
        """Who writes."""
        return cast("User", self.request.user)

    def writable(self, pk: int) -> ChangeSet:
        """The change set of this address, where the person may write in it."""
        change_set = get_object_or_404(ChangeSet.objects.visible_to(self.person), pk=pk)
        if not changes.may_write(change_set, self.person):
            raise PermissionDenied(
                "This is written by those who propose changes wherever it reaches, until it is applied."
            )
        return change_set

    def go(self, change_set: ChangeSet) -> HttpResponse:
        """To its page."""
        return HttpResponseRedirect(reverse("change_set", args=[change_set.pk]), status=HTTPStatus.SEE_OTHER)


class DraftScreen(_Writing):
    """A new change set; where the address names a record, its first line comes next."""

    title = "New change"
    template_name = "reconciliation/change_edit.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        """The form."""
        return self.page(self.context(form=DraftForm(initial={"title": request.GET.get("title", "")})))

    def post(self, request: HttpRequest) -> HttpResponse:
        """Write it down, and go on to its first record."""
        form = DraftForm(request.POST)
        if not form.is_valid():
            return self.page(self.context(form=form), status=HTTPStatus.UNPROCESSABLE_ENTITY)
        given = form.cleaned_data
        change_set = changes.draft(
            by=self.person, title=given["title"], reason=given["reason"], effective_on=given["effective_on"],
            emergency=given["emergency"],
        )  # fmt: skip
        where = reverse("change_line_new", args=[change_set.pk])
        about = {name: request.GET[name] for name in ("model", "key", "action") if name in request.GET}
        query = "&".join(f"{name}={value}" for name, value in about.items() if value.replace("_", "").isalnum())
        return HttpResponseRedirect(f"{where}?{query}" if query else where, status=HTTPStatus.SEE_OTHER)


class EditScreen(_Writing):
    """What it is called, why, and when it takes effect. What was submitted is a draft again."""

    title = "Edit"
    template_name = "reconciliation/change_edit.html"

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The form as it stands."""
        change_set = self.writable(pk)
        given = {
            "title": change_set.title, "reason": change_set.reason, "effective_on": change_set.effective_on,
            "emergency": change_set.is_emergency,
        }  # fmt: skip
        return self.page(
            self.context(form=DraftForm(initial=given), change_set=change_set, seen=changes.hash_of(change_set))
        )

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Keep it."""
        change_set, form = self.writable(pk), DraftForm(request.POST)
        if form.is_valid():
            given = form.cleaned_data
            try:
                changes.edit(
                    change_set, self.person, lines_of(list(change_set.lines.order_by("position"))), title=given["title"],
                    reason=given["reason"], effective_on=given["effective_on"], emergency=given["emergency"],
                    seen=opened(request),
                )  # fmt: skip
            except ChangeRefused as refusal:
                form.add_error(None, str(refusal))
            else:
                return self.go(change_set)
        context = self.context(form=form, change_set=change_set, seen=request.POST.get("seen", ""))
        return self.page(context, status=HTTPStatus.UNPROCESSABLE_ENTITY)


class LineScreen(_Writing):
    """One line: first the kind and the record, then its fields. An existing line may be taken out."""

    title = "Add a record"
    template_name = "reconciliation/change_line.html"

    def get(self, request: HttpRequest, pk: int, position: int = 0) -> HttpResponse:
        """The choice of a record, or the form of its fields."""
        change_set = self.writable(pk)
        if position:
            line = self.line_at(change_set, position)
            return self.show_fields(change_set, line, position)
        kind = self.kind(request.GET) if request.GET.get("model") else None
        if kind is None or (request.GET.get("action") != Action.ADD and keys.key(request.GET.get("key", "")) is None):
            return self.show_choice(change_set, kind, request.GET.get("find", ""))
        return self.show_fields(change_set, self.begun(kind, request.GET))

    def post(self, request: HttpRequest, pk: int, position: int = 0) -> HttpResponse:
        """Put the line into the change set, or take it out."""
        change_set = self.writable(pk)
        now = changes.hash_of(change_set)
        lines = lines_of(list(change_set.lines.order_by("position")))
        begun = self.line_at(change_set, position) if position else self.begun(self.kind(request.POST), request.POST)
        form = LineForm(request.POST, kind=changes.BY_CODE[begun.model], user=self.person)
        if request.POST.get("action") == "take-out" and position:
            del lines[position - 1 : position]
        else:
            line = self.asked(begun, form)
            lines = [*lines[: position - 1], line, *lines[position:]] if position else [*lines, line]
        try:
            changes.edit(change_set, self.person, lines, seen=opened(request) if position else now)
        except ChangeRefused as refusal:
            form.mark(refusal, position or len(lines))
            return self.show_fields(change_set, begun, position, form=form, status=HTTPStatus.UNPROCESSABLE_ENTITY)
        return self.go(change_set)

    def kind(self, given: Any) -> Kind:
        """The kind that a form names, where the person may propose a change of one."""
        kind = changes.BY_CODE.get(given.get("model", ""))
        if kind is None or not self.person.roles() & kind.proposers:
            raise Http404
        return kind

    def begun(self, kind: Kind, given: Any) -> Line:
        """A new line of a kind, for a record that the person may see."""
        action = given.get("line_action") or given.get("action") or Action.CHANGE
        if action not in Action.values:
            action = Action.CHANGE
        return Line(kind.code, None if action == Action.ADD else keys.key(given.get("key", "")), action)

    def line_at(self, change_set: ChangeSet, position: int) -> Line:
        """The line of this address."""
        found = change_set.lines.filter(position=position)
        return lines_of([get_object_or_404(found)])[0]

    def asked(self, begun: Line, form: LineForm) -> Line:
        """The line with what the form says: for a record that stands, only what differs from it."""
        if begun.action == Action.REMOVE:
            return begun
        stands = self.cells_of(begun)
        given = form.told(stands)
        if begun.action == Action.ADD:
            values = {name: value for name, value in given.items() if value}
        else:
            values = {name: value for name, value in given.items() if not is_so(value, stands.get(name))}
        return Line(begun.model, begun.key, begun.action, values)

    def cells_of(self, line: Line) -> dict[str, Any]:
        """The record that a line means, in our words, where the person may see it and propose a change of it."""
        if line.key is None:
            return {}
        kind = changes.BY_CODE[line.model]
        cells = record_cells(kind, line.key, self.person) if proposable(kind, [line.key], self.person) else None
        if cells is None:
            raise Http404
        return cells

    def show_choice(self, change_set: ChangeSet, kind: Kind | None, text: str) -> HttpResponse:
        """Which kind, and which record of it."""
        context = self.context(
            change_set=change_set, kinds=[one for one in changes.KINDS if self.person.roles() & one.proposers], kind=kind,
            find=text, found=found_records(kind, text, self.person) if kind else [],
        )  # fmt: skip
        return self.page(context)

    def show_fields(
        self, change_set: ChangeSet, line: Line, position: int = 0, *, form: LineForm | None = None, status: int = HTTPStatus.OK
    ) -> HttpResponse:  # fmt: skip
        """The fields of the record, as it stands and as the line says."""
        kind = changes.BY_CODE[line.model]
        shown = {**self.cells_of(line), **line.values}
        context = self.context(
            title=f"{'New' if line.action == Action.ADD else Action(line.action).label}: {kind.label.lower()}", kind=kind,
            change_set=change_set, line=line, position=position,
            form=form or LineForm(kind=kind, user=self.person, initial=initial_of(shown)),
            choices=_choices(kind, line.action), seen=self.request.POST.get("seen") or changes.hash_of(change_set),
        )  # fmt: skip
        return self.page(context, status=status)


def opened(request: HttpRequest) -> str:
    """What a form was opened on; one that does not say it overwrites nothing."""
    seen = request.POST.get("seen", "")
    if not seen:
        raise ChangeRefused("The form did not say what you looked at; open it again.")
    return seen


def _choices(kind: Kind, action: str) -> list[tuple[str, str]]:
    """What may happen to a record that stands: (action, words); nothing to choose for a new one."""
    if action == Action.ADD:
        return []
    found: list[tuple[str, str]] = [(Action.CHANGE, "It is changed")]
    if kind.ends:
        found.append((Action.END, "It ends"))
    if kind.is_removable:
        found.append((Action.REMOVE, "It is taken out, where nothing hangs on it"))
    return found if len(found) > 1 else []


def found_records(kind: Kind, text: str, user: User) -> list[tuple[int, str]]:
    """Records of a kind whose key or name holds a text and of which a person may propose a change: (key, what it is called)."""
    condition = Q()
    for path in dict.fromkeys((*kind.table.lookup, *(["name"] if _has(kind.model, "name") else []))):
        if _is_text(kind.model, path):
            condition |= Q(**{f"{path}__icontains": text})
    rows = kind.model._base_manager.filter(condition).order_by("-pk").values_list("pk", flat=True)
    found: list[int] = []
    ids = list(rows[:LOOKED_AT])
    while ids:
        found += proposable(kind, ids, user)
        ids = list(rows.filter(pk__lt=ids[-1])[:LOOKED_AT]) if len(found) < FOUND and len(ids) == LOOKED_AT else []
    return changes.names_of(kind, found[:FOUND])


def proposable(kind: Kind, ids: Sequence[int], user: User) -> list[int]:
    """Those of some records of which a person may propose a change: in every entity that one touches, as it is written then."""
    held = {*entities_held(user, kind.proposers)}
    touched = kind.entities(ids)
    return [pk for pk in ids if None in held or (held and touched[pk] - {EVERY} <= held)]


def _has(model: type[Model], name: str) -> bool:
    return any(part.name == name for part in model._meta.concrete_fields)


def _is_text(model: type[Model], path: str) -> bool:
    """Whether a path of a model ends in a text."""
    steps: Sequence[str] = path.split("__")
    for step in steps[:-1]:
        related = model._meta.get_field(step).related_model
        if not isinstance(related, type):
            return False
        model = related
    return isinstance(model._meta.get_field(steps[-1]), CharField)
