"""Some entries of a cause, edited in their rows: staged here, tried together, and confirmed like any other fix."""

from __future__ import annotations

from decimal import Decimal
from http import HTTPStatus
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse

from portal import access, keys
from portal.models import AccountingPeriod, LedgerEntry, Project, Task
from portal.screens import Screen
from reconciliation import operations
from reconciliation.fixes.editing import EditEntries
from reconciliation.models import ExceptionCase, Hold, Operation
from reconciliation.views import asking, fixing, rows

ROWS = 10  # entries that are edited at once; more of the same is a fix of the cause
FIELDS = ("project", "task", "rate", "period")


class RowForm(forms.Form):
    """What one entry should say instead; what is left empty stays as it is."""

    project = forms.ModelChoiceField(Project.objects.none(), required=False)
    task = forms.ModelChoiceField(Task.objects.none(), required=False)
    rate = forms.DecimalField(required=False, min_value=Decimal(0), max_digits=18, decimal_places=4)
    period = forms.ModelChoiceField(AccountingPeriod.objects.none(), required=False)

    def __init__(
        self, data: Any, *, entry: LedgerEntry, choices: dict[str, Any], rated: bool, initial: dict[str, Any]
    ) -> None:
        super().__init__(data, prefix=str(entry.pk), initial=initial)
        self.entry = entry
        who = f"{entry.resource.name if entry.resource else 'somebody unknown'}, {entry.work_date}"
        tasks = choices["tasks"].filter(project=entry.project_id)
        for name, queryset, offered in (
            ("project", choices["projects"], choices["project_choices"]),
            ("task", tasks, None),
            ("period", choices["periods"], choices["period_choices"]),
        ):
            field: Any = self.fields[name]
            field.queryset = queryset
            field.choices = offered or [("", "as it is"), *((one.pk, asking.labelled(one)) for one in tasks)]
            field.widget.attrs["aria-label"] = f"{name.capitalize()} of {who}"
        self.fields["project"].widget.attrs["data-typeahead"] = ""
        self.fields["rate"].widget.attrs |= {
            "aria-label": f"Rate of {who}",
            "inputmode": "decimal",
            "class": "figure-input",
        }
        if not rated:
            del self.fields["rate"]
        if entry.project_id is None:
            del self.fields["task"]

    def clean(self) -> dict[str, Any]:
        """A task belongs to its project."""
        said: dict[str, Any] = super().clean() or {}
        if said.get("project") and said.get("task") and said["task"].project_id != said["project"].pk:
            raise ValidationError("This task is of another project; choose the project first, and its task after that.")
        return said

    def staged(self) -> dict[str, Any]:
        """What was typed, as it is kept with the operation."""
        typed = {name: self.cleaned_data.get(name) for name in FIELDS}
        return {
            name: str(value) if isinstance(value, Decimal) else value.pk
            for name, value in typed.items()
            if value is not None
        }


class EditScreen(Screen):
    """The chosen entries with a field for each thing that may be put right, and one dry-run for all of them."""

    template_name = "reconciliation/edit.html"

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        """Nothing is found before the person is known."""
        super().setup(request, *args, **kwargs)
        self.case: ExceptionCase | None = None

    def get(self, request: HttpRequest, case: int) -> HttpResponse:
        """The rows, as they are or as they were staged before."""
        found = self.find(case)
        if wrong := asking.unreadable(request.GET.getlist("selected")):
            return self.ask([], refusal=wrong, status=HTTPStatus.UNPROCESSABLE_ENTITY)
        return self.ask(self.forms(found))

    def post(self, request: HttpRequest, case: int) -> HttpResponse:
        """Try what was staged."""
        holds = self.find(case)
        if wrong := asking.unreadable(request.POST.getlist("selected")):
            return self.ask([], refusal=wrong, status=HTTPStatus.UNPROCESSABLE_ENTITY)
        found = self.forms(holds, request.POST)
        if not all(form.is_valid() for form in found):
            return self.ask(found, status=HTTPStatus.UNPROCESSABLE_ENTITY)
        staged = {str(form.entry.pk): typed for form in found if (typed := form.staged())}
        if not staged:
            return self.ask(found, refusal="Nothing was typed.", status=HTTPStatus.UNPROCESSABLE_ENTITY)
        try:
            operation = operations.plan(
                EditEntries.code,
                user=request.user,  # type: ignore[arg-type]
                parameters={"rows": staged},
                reason=f"{EditEntries.label}: {self.case}",
                case=self.case,
                entry_ids=[int(key) for key in staged],
            )
        except fixing.REFUSALS as refusal:
            return self.ask(found, refusal=str(refusal), status=HTTPStatus.UNPROCESSABLE_ENTITY)
        return HttpResponseRedirect(reverse("operation", args=[operation.pk]), status=HTTPStatus.SEE_OTHER)

    def find(self, pk: int) -> list[Hold]:
        """The chosen holds of the cause, where the person may fix it."""
        self.case = get_object_or_404(ExceptionCase.objects.visible_to(self.request.user), pk=pk)
        access.require(self.request.user, EditEntries.roles, self.case.entity_id)
        data = self.request.POST or self.request.GET
        named = keys.keys(data.getlist("selected"))
        holds = Hold.objects.filter(case=self.case, closed_at=None).order_by("entry__work_date", "entry_id")
        if named:
            holds = holds.filter(entry__in=named)
        found = list(
            holds.select_related("entry__resource", "entry__project", "entry__document", "entry__period")[:ROWS]
        )
        rows.tell_words(found, lambda hold: hold.entry)
        return found

    def forms(self, holds: list[Hold], data: Any = None) -> list[RowForm]:
        """One form a row, with choices that are asked for once."""
        user = self.request.user
        entity_id = self.case.entity_id if self.case is not None else None
        periods = AccountingPeriod.objects.filter(entity=entity_id, state=AccountingPeriod.State.OPEN).order_by(
            "starts_on"
        )
        projects = asking.open_projects(user, self.case)
        offered = [("", "as it is"), *asking.choices_of("project", projects, user, ())[1:]]
        choices = {
            "projects": projects, "project_choices": offered, "periods": periods,
            "period_choices": [("", "as it is"), *((one.pk, one.code) for one in periods)],
            "tasks": Task.objects.visible_to(user).filter(is_active=True).order_by("code"),
        }  # fmt: skip
        rated = access.may(user, access.APPROVERS, entity_id)
        staged = self.staged_before()
        made = []
        for hold in holds:
            form = RowForm(
                data, entry=hold.entry, choices=choices, rated=rated, initial=staged.get(str(hold.entry_id), {})
            )
            form.hold = hold  # type: ignore[attr-defined]
            made.append(form)
        return made

    def staged_before(self) -> dict[str, Any]:
        """What the person's own dry-run of this cause was planned with, to be typed otherwise."""
        number = keys.key(self.request.GET.get("operation", ""))
        if number is None:
            return {}
        own = Operation.objects.filter(
            pk=number, created_by_id=self.request.user.pk, case=self.case, fix=EditEntries.code
        )
        parameters = own.values_list("parameters", flat=True).first() or {}
        staged: dict[str, Any] = parameters.get("rows", {})
        return staged

    def ask(self, found: list[RowForm], *, refusal: str = "", status: int = HTTPStatus.OK) -> HttpResponse:
        """The page."""
        context = self.context(
            title="Correct single entries", case=self.case, rows=found, refusal=refusal, limit=ROWS,
            rated=any("rate" in form.fields for form in found), tasked=any("task" in form.fields for form in found),
        )  # fmt: skip
        return self.page(context, status=status)
