"""What a fix asks, as a form: its choices with what is most likely first, and what it says of the future.

The rule here: a choice is a plain select that works without scripts; with them it is searched by code, name and client.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django import forms
from django.db.models import Model, Q, QuerySet
from django.utils import timezone

from portal import keys
from portal.models import GrantRole, Project, ProjectStatus, Task
from reconciliation.fixes import Fix
from reconciliation.fixes.base import FixForm
from reconciliation.models import ExceptionCase, Operation
from reconciliation.suggestions import Suggestion
from reconciliation.views import remedies

RECENT = 5  # choices of the person's own that come first
LOOKED_AT = 30  # operations in which they are looked for
FUTURE = ("remember", "valid_from")  # fields about entries to come


def form_of(
    fix: type[Fix],
    case: ExceptionCase | None,
    user: Any,
    data: Any = None,
    *,
    initial: Mapping[str, Any] | None = None,
    near: Sequence[Suggestion] = (),
) -> FixForm:
    """The fix's own form, with choices that say code, name and client."""
    form = fix.form_class(data, initial=dict(initial or {}), case=case, user=user)
    for name, field in form.fields.items():
        if isinstance(field, forms.ModelChoiceField):
            if field.queryset is not None and field.queryset.model is Project:
                field.queryset = open_projects(user, case)
            field.choices = choices_of(name, field.queryset, user, near)
            field.widget.attrs["data-typeahead"] = ""
        if isinstance(field, forms.DateField):
            field.widget = forms.DateInput(attrs={"type": "date"})
    remember = form.fields.get("remember")
    if remember is not None and case is not None:
        remember.help_text = _who_agrees(case, user)
    first = next(iter(form.fields.values()), None)
    if first is not None:
        first.widget.attrs["autofocus"] = True
    return form


def _who_agrees(case: ExceptionCase, user: Any) -> str:
    people = remedies.people_with(case.entity_id, frozenset({GrantRole.CONTROLLER}), but=user)
    named = f": {', '.join(people)}" if people else "; there is none yet"
    return f"Another controller of {case.entity.code} has to agree{named}. Until then only these entries are corrected."


def choices_of(
    name: str, queryset: QuerySet[Any] | None, user: Any, near: Sequence[Suggestion]
) -> list[tuple[Any, Any]]:
    """What may be chosen: suggested, lately used, and all; each record once."""
    if queryset is None:
        return []
    if queryset.model is Project:
        queryset = queryset.select_related("customer")
    elif queryset.model is Task:
        queryset = queryset.select_related("project")
    records = {record.pk: record for record in queryset}
    suggested = [int(one.values[name]) for one in near if one.values.get(name, "").isdigit()]
    first = _taken(records, suggested)
    lately = _taken(records, _recent(name, queryset.model, user))
    groups = (("Suggested", first), ("Lately used", lately), ("All", list(records.values())))
    shown = [(words, [(one.pk, labelled(one)) for one in some]) for words, some in groups if some]
    return [("", "Choose…"), *(shown if len(shown) > 1 else shown[0][1] if shown else [])]


def open_projects(user: Any, case: ExceptionCase | None) -> QuerySet[Project]:
    """Projects that the person may see and that were open at some time since the oldest of the cause's entries."""
    day = case.oldest_work_date if case is not None and case.oldest_work_date else timezone.localdate()
    running = ProjectStatus.objects.filter(Q(valid_to=None) | Q(valid_to__gte=day), status=ProjectStatus.Status.OPEN)
    found: QuerySet[Project] = Project.objects.visible_to(user).filter(pk__in=running.values("project"))
    return found.order_by("code")


def _taken(records: dict[int, Any], ids: Iterable[int]) -> list[Any]:
    return [records.pop(pk) for pk in dict.fromkeys(ids) if pk in records]


def _recent(name: str, model: type[Model], user: Any) -> list[int]:
    """What the person chose in fixes lately, the latest first."""
    fixes = {"project": ["move-project"], "record": ["map-code"]}.get(name)
    if fixes is None or model is not Project:
        return []
    chosen = Operation.objects.filter(created_by=user, fix__in=fixes, confirmed_at__isnull=False).order_by("-pk")
    found = [parameters.get(name) for parameters in chosen.values_list("parameters", flat=True)[:LOOKED_AT]]
    return [pk for pk in dict.fromkeys(found) if isinstance(pk, int)][:RECENT]


def labelled(record: Any) -> str:
    """A record as it is searched: code, name and client."""
    code, name = getattr(record, "code", ""), getattr(record, "name", "")
    words = [str(code or record), name if name != code else ""]
    if isinstance(record, Project):
        words.append(record.customer.name)
    return " · ".join(word for word in words if word)


def unreadable(selected: Sequence[str]) -> str:
    """The first of the chosen entries that is none, in a sentence; empty where all can be read."""
    wrong = next((one for one in selected if keys.key(one) is None), None)
    return f"“{wrong[:60]}” names no entry. Choose the entries in the list again." if wrong is not None else ""
