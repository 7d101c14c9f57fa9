"""“Which rate for this person, project and day, and why?”: the question in an address, the answer with every candidate."""

from __future__ import annotations

from decimal import Decimal
from http import HTTPStatus
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone

from portal.models import Connection, Project, RateCard, Resource, Task
from portal.screens import Screen
from portal.views.governed import visible
from reconciliation.rates import tester
from reconciliation.rates.tester import Answer, Unanswerable
from reconciliation.views import asking


class QuestionForm(forms.Form):
    """Whom, what and when; only records that the person who asks may see."""

    person = forms.ModelChoiceField(Resource.objects.none(), label="Person")
    project = forms.ModelChoiceField(Project.objects.none(), label="Project")
    task = forms.ModelChoiceField(
        Task.objects.none(), label="Task", required=False, help_text="Without one, the project's default task is asked."
    )
    day = forms.DateField(label="Work date", widget=forms.DateInput(attrs={"type": "date"}))
    hours = forms.DecimalField(
        label="Hours", required=False, min_value=Decimal("0.01"), max_value=Decimal(24), max_digits=6, decimal_places=4,
        widget=forms.NumberInput(attrs={"step": "any", "inputmode": "decimal"}),
    )  # fmt: skip
    source = forms.ModelChoiceField(
        Connection.objects.none(),
        label="Reported by",
        required=False,
        help_text="Its route's policy may narrow the cards.",
    )

    def __init__(self, data: Any = None, *, user: Any, **more: Any) -> None:
        super().__init__(data, **more)
        sources: QuerySet[Connection] = Connection.objects.visible_to(user).filter(is_source=True)
        offered: dict[str, QuerySet[Any]] = {
            "person": Resource.objects.visible_to(user), "project": Project.objects.visible_to(user),
            "task": Task.objects.visible_to(user).filter(is_active=True), "source": sources,
        }  # fmt: skip
        for name, queryset in offered.items():
            field: Any = self.fields[name]
            field.queryset = queryset.order_by("code")
            field.choices = asking.choices_of(name, field.queryset, user, ())
            field.widget.attrs["data-typeahead"] = ""
        for name in ("task", "source"):
            self.fields[name].choices = [("", "Any"), *self.fields[name].choices[1:]]  # type: ignore[attr-defined]
        if data is None:
            self.fields["person"].widget.attrs["autofocus"] = True

    def clean(self) -> dict[str, Any]:
        """A task belongs to its project."""
        said: dict[str, Any] = super().clean() or {}
        task, project = said.get("task"), said.get("project")
        if task and project and task.project_id != project.pk:
            raise ValidationError(f"Task {task.code} is of another project; choose one of {project.code}, or none.")
        return said


class TesterScreen(Screen):
    """The question and, once it is asked, the answer."""

    title = "Which rate?"
    template_name = "rates/tester.html"

    def get(self, request: HttpRequest) -> HttpResponseBase:
        """The page; the whole question is in the address, so an answer can be sent to somebody."""
        asked = "person" in request.GET or "project" in request.GET
        initial = {"day": timezone.localdate(), "hours": 8}
        form = QuestionForm(request.GET if asked else None, user=request.user, initial=initial)
        answer, refusal = None, ""
        if asked and form.is_valid():
            try:
                answer = self.answer(form.cleaned_data)
            except Unanswerable as problem:
                refusal = str(problem)
        status = HTTPStatus.UNPROCESSABLE_ENTITY if asked and answer is None else HTTPStatus.OK
        return self.page(self.context(form=form, answer=answer, refusal=refusal, **self.told(answer)), status=status)

    def answer(self, said: dict[str, Any]) -> Answer:
        """Ask the product's own pricing."""
        return tester.ask(
            person=said["person"], project=said["project"], day=said["day"], task=said["task"], source=said["source"],
            hours=said["hours"] or Decimal(8),
        )  # fmt: skip

    def told(self, answer: Answer | None) -> dict[str, Any]:
        """The candidates as rows, each with its card where the person may open it."""
        if answer is None:
            return {}
        ids = {one.agreed.card.id for one in answer.candidates} | {one.agreed.card.id for one in answer.missed}
        cards = set(visible(RateCard, self.request.user).filter(pk__in=ids).values_list("pk", flat=True))
        draft = answer.draft
        rows = [
            {
                "place": place, "agreed": one.agreed, "named": tester.named(draft, one.agreed), "wins": one.wins,
                "reason": one.reason, "seen": one.agreed.card.id in cards,
            }
            for place, one in enumerate(answer.candidates, start=1)
        ]  # fmt: skip
        missed = [
            {"agreed": one.agreed, "named": tester.named(draft, one.agreed), "reason": one.reason,
             "seen": one.agreed.card.id in cards}
            for one in answer.missed
        ]  # fmt: skip
        return {"rows": rows, "missed": missed, "draft": draft}
