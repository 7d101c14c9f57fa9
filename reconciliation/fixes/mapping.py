"""The fix for a code that nobody knows: these entries are corrected to the record that was meant.

The rule here: correcting entries is one decision, remembering the code for the future another. The second needs somebody
else's agreement, so a person only proposes it; `proposals` keeps it until then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms

from portal.models import Crosswalk, Project, Resource, State, Task
from portal.models.access import ScopedQuerySet
from reconciliation.fixes.base import FixForm, Work
from reconciliation.fixes.corrections import Correction

MODELS: dict[str, type[Project | Resource | Task]] = {
    Crosswalk.Kind.PROJECT: Project,
    Crosswalk.Kind.RESOURCE: Resource,
    Crosswalk.Kind.TASK: Task,
}


NAMED = 3  # codes that a title names one by one


class RecordForm(FixForm):
    """The record that the code stands for, of the kind the case is about, and whether that holds for the future."""

    record = forms.ModelChoiceField(Project.objects.none(), label="Stands for")
    remember = forms.BooleanField(label="Propose it for the future", required=False)
    valid_from = forms.DateField(
        label="For work from", required=False, help_text="Empty: from the first of these entries' work dates."
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        model = MODELS[kind_of(self.case)]
        records: ScopedQuerySet[Any] = model.objects.visible_to(self.user)
        if model is Task and self.case is not None:
            records = records.filter(project_id=self.case.detail.get("project_id"), is_active=True)
        field = self.fields["record"]
        if isinstance(field, forms.ModelChoiceField):
            field.queryset = records.order_by("code")
            field.label = f"The {model._meta.verbose_name} it stands for"

    def parameters(self) -> dict[str, Any]:
        """The record's id; and where it is to be remembered, from which day on."""
        day = self.cleaned_data.get("valid_from")
        return {
            "record": self.cleaned_data["record"].pk,
            "remember": bool(self.cleaned_data.get("remember")),
            "valid_from": day.isoformat() if day else "",
        }


def kind_of(case: Any) -> str:
    """Which kind of record the case's code should name."""
    kind = case.detail.get("kind", Crosswalk.Kind.PROJECT) if case is not None else Crosswalk.Kind.PROJECT
    if kind not in MODELS:
        raise ValueError(f"A code of the kind “{kind}” cannot be mapped here; expected {', '.join(MODELS)}.")
    return str(kind)


def code_of(case: Any) -> str:
    """The code, name or key that the source used, as it spelled it."""
    detail = case.detail
    return str(detail.get("code") or detail.get("name") or detail.get("key") or case.subject_key)


def causes_of(case: Any) -> dict[str, Any]:
    """The cause by its code, and those that were merged into it by theirs: their entries are mapped with it."""
    merged = type(case).objects.filter(merged_into=case.pk, state="merged").order_by("-pk")
    return {code_of(case): case} | {code: one for one in merged if (code := code_of(one)) != code_of(case)}


class MapCode(Correction):
    """These entries mean a record of ours; what the source called it stays on record."""

    code = "map-code"
    label = "Map the code"
    help = (
        "Corrects these entries to the record you choose. For entries to come it is proposed, and a controller agrees."
    )
    form_class = RecordForm
    states = frozenset({State.HELD})

    def title(self, work: Work, count: int) -> str:
        """Name the code and what it now stands for."""
        record = MODELS[kind_of(work.case)].objects.get(pk=work.parameters["record"])
        self._code(work)
        codes = list(causes_of(work.case))
        named = "”, “".join(codes[:NAMED]) + (f"” and {len(codes) - NAMED} more" if len(codes) > NAMED else "”")
        return f"Map “{named} to {record.code}: {count} {'entry' if count == 1 else 'entries'}"

    @staticmethod
    def _code(work: Work) -> str:
        if work.case is None:
            raise ValueError("A code is mapped from the case that names it.")
        return code_of(work.case)

    def changes(self, work: Work) -> Mapping[str, Any]:
        """The record by its code; the source's own key and words stay with its version."""
        self._code(work)
        kind = kind_of(work.case)
        record = MODELS[kind].objects.visible_to(work.user).get(pk=work.parameters["record"])
        return {f"{kind}_key": "", f"{kind}_code": record.code, f"{kind}_name": record.name}
