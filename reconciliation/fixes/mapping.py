"""The fix for a code that nobody knows: an alias, so that all entries with that code, and those to come, find their record."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from django import forms
from django.db.models import Q

from portal import changes_watch, history
from portal.models import Alias, Crosswalk, Project, Resource, Task
from portal.models.access import ScopedQuerySet
from reconciliation import validation
from reconciliation.fixes.base import Fix, FixForm, Work

MODELS: dict[str, type[Project | Resource | Task]] = {
    Crosswalk.Kind.PROJECT: Project,
    Crosswalk.Kind.RESOURCE: Resource,
    Crosswalk.Kind.TASK: Task,
}
SINCE = date(2000, 1, 1)


class RecordForm(FixForm):
    """The record that the code stands for, of the kind the case is about, and from which work date on."""

    record = forms.ModelChoiceField(Project.objects.none(), label="Stands for")
    valid_from = forms.DateField(label="From work date", required=False, help_text="Empty: for any work date.")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        model = MODELS[kind_of(self.case)]
        records: ScopedQuerySet[Any] = model.objects.visible_to(self.user)
        field = self.fields["record"]
        if isinstance(field, forms.ModelChoiceField):
            field.queryset = records.order_by("code")
            field.label = f"The {model._meta.verbose_name} it stands for"

    def parameters(self) -> dict[str, Any]:
        """The record's id and the first day."""
        day = self.cleaned_data["valid_from"]
        return {"record": self.cleaned_data["record"].pk, "valid_from": day.isoformat() if day else ""}


def kind_of(case: Any) -> str:
    """Which kind of record the case's code should name."""
    kind = case.detail.get("kind", Crosswalk.Kind.PROJECT) if case is not None else Crosswalk.Kind.PROJECT
    if kind not in MODELS:
        raise ValueError(f"A code of the kind “{kind}” cannot be mapped here; expected {', '.join(MODELS)}.")
    return str(kind)


class MapCode(Fix):
    """One alias; every entry that carries the code is validated again."""

    code = "map-code"
    label = "Map the code"
    help = "Makes an alias: this code stands for the record you choose, for these entries and those to come."
    form_class = RecordForm
    reaches_moved = True  # the alias reaches an entry that moved as well

    def title(self, work: Work, count: int) -> str:
        """Name the code and what it now stands for."""
        record = MODELS[kind_of(work.case)].objects.get(pk=work.parameters["record"])
        return f"Map “{self._code(work)}” to {record.code}: {count} {'entry' if count == 1 else 'entries'}"

    @staticmethod
    def _code(work: Work) -> str:
        if work.case is None:
            raise ValueError("A code is mapped from the case that names it.")
        return str(work.case.detail.get("code") or work.case.subject_key)

    def prepare(self, work: Work) -> None:
        """Make the alias, once. It ends one that meant something else before, and ends where another begins already."""
        kind = kind_of(work.case)
        record = MODELS[kind].objects.visible_to(work.user).get(pk=work.parameters["record"])
        code = self._code(work)
        start = date.fromisoformat(work.parameters["valid_from"]) if work.parameters.get("valid_from") else SINCE
        connection_id = work.case.connection_id if work.case else None
        standing = Alias.objects.filter(Q(valid_to=None) | Q(valid_to__gte=start), kind=kind, code=code)
        earlier, end = [], None
        for other in standing.filter(connection=connection_id).order_by("-valid_from"):
            if other.valid_from > start:
                end = other.valid_from - timedelta(days=1)
            elif other.internal_id == record.pk:
                return
            elif other.valid_from == start:
                raise ValueError(f"“{code}” stands for another record from {start} on; choose a later first day.")
            else:
                earlier.append((other, {"valid_to": start - timedelta(days=1)}))
        if earlier:
            history.update_each_with_reason(Alias, earlier, reason=work.reason, actor=work.user)
        alias = Alias(
            connection_id=connection_id,
            kind=kind,
            code=code,
            internal_id=record.pk,
            valid_from=start,
            valid_to=end,
            reason=work.reason,
        )
        history.bulk_create_with_reason(Alias, [alias], reason=work.reason, actor=work.user)
        changes_watch.note(changes_watch.Kind.ALIAS, [alias.pk, *(other.pk for other, _ in earlier)])

    def apply(self, work: Work, entry_ids: Sequence[int]) -> None:
        """Validate the entries against the alias."""
        validation.recheck(entry_ids, actor=work.actor, reason=work.reason or "code mapped")
