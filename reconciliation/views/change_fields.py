"""The form of one line of a change set, made from the kind of its record: a field a column, a policy and a calendar as many.

The rule here: a form knows nothing of its own. What a field holds is read where a file's cell would be, and what cannot stand is
said by the same words, at its field.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from django import forms
from django.db.models import BooleanField, CharField, DateField, JSONField

from portal.importing.headings import one_word
from portal.importing.tables import Column
from portal.models import User
from reconciliation.changes import ChangeRefused, Kind
from reconciliation.views import calendar_fields, codes, policy_fields

POLICY, CALENDAR = "policy", "calendar"
OPENED: Mapping[str, ModuleType] = {CALENDAR: calendar_fields, POLICY: policy_fields}  # columns that are many fields
YES_NO = (("", "as it is by default"), ("true", "yes"), ("false", "no"))


class LineForm(forms.Form):
    """One record in the fields of its kind, as texts; what they mean is read where a file's would be."""

    use_required_attribute = False  # what is missing is said by whoever reads the line, with everything else

    def __init__(self, *args: Any, kind: Kind, user: User, **more: Any) -> None:
        super().__init__(*args, **more)
        said = {column.name: self.data.get(column.name, self.initial.get(column.name, "")) for column in kind.columns}
        self.opened = [column.name for column in kind.columns if column.name in OPENED]
        for column in kind.columns:
            if column.name in OPENED:
                self.fields.update(OPENED[column.name].fields())
            else:
                self.fields[column.name] = field_of(kind, column, user, said)

    def plain(self) -> list[forms.BoundField]:
        """The fields of the record itself."""
        return [self[name] for name in self.fields if "." not in name]

    def calendar(self) -> list[forms.BoundField]:
        """The fields of its calendar, where it has one."""
        return list(self._within(calendar_fields.PREFIX))

    def settings(self) -> list[forms.BoundField]:
        """The fields of its policy, where it has one."""
        return list(self._within(policy_fields.PREFIX))

    def _within(self, prefix: str) -> Iterator[forms.BoundField]:
        return (self[name] for name in self.fields if name.startswith(prefix))

    def told(self, standing: Mapping[str, Any]) -> dict[str, Any]:
        """The values that were given; `standing` is the record as it stands."""
        names = [name for name in (*self.fields, *self.opened) if "." not in name]
        given: dict[str, Any] = {name: self.data.get(name, "").strip() for name in names if name in self.data}
        for name in self.opened:
            if any(field.startswith(OPENED[name].PREFIX) for field in self.data):
                given[name] = OPENED[name].told(self.data, standing.get(name))
        return given

    def mark(self, refusal: ChangeRefused, number: int) -> None:
        """Say every problem of the line of this number at its field; what belongs to another, or to none, above the form."""
        self.is_valid()
        self.errors.clear()
        if not refusal.problems:
            self.add_error(None, str(refusal))
        for problem in refusal.problems:
            _, _, column = problem.place.partition(f"line {number}, ")
            message = str(problem).removeprefix(f"{problem.place}: ")
            said = self._at(column, message)
            for name, sentence in said:
                self.add_error(name, sentence)
            if not said:
                self.add_error(None, message if column else str(problem))

    def _at(self, column: str, message: str) -> list[tuple[str, str]]:
        """The fields that a sentence about a column is about."""
        if column == POLICY:
            return policy_fields.complaints(message)
        if column == CALENDAR and CALENDAR in self.opened:
            return [(calendar_fields.field_of(message), message)]
        return [(column, message)] if column in self.fields else []


def field_of(kind: Kind, column: Column, user: User, said: Mapping[str, Any]) -> forms.Field:
    """The form field of a column: a code, a choice, a day, yes or no, a table as JSON, or text."""
    given = next((part for part in kind.model._meta.concrete_fields if part.attname == column.sets), None)
    label = one_word(column.name.replace("_", " "))
    help_text = "" if column.help in (column.name, label) else _sentence(column.help)
    common: dict[str, Any] = {"label": label, "required": column.required, "help_text": help_text}
    if codes.points(column):
        return codes.field_for(kind, column, user, said, **common)
    if isinstance(given, JSONField):
        return forms.CharField(widget=forms.Textarea(attrs={"rows": 6, "spellcheck": "false"}), **common)
    if isinstance(given, BooleanField):
        return forms.ChoiceField(choices=YES_NO, **common)
    if isinstance(given, DateField):
        return forms.CharField(widget=forms.DateInput(attrs={"type": "date"}), **common)
    if isinstance(given, CharField) and given.choices:
        words = [("", "—"), *((str(code), str(word)) for code, word in given.flatchoices)]
        return forms.ChoiceField(choices=words, **{**common, "help_text": ""})
    return forms.CharField(**common)


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}" if words else ""


def initial_of(shown: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in the fields for a record in our words."""
    found: dict[str, Any] = {name: text(value) for name, value in shown.items()}
    for name, fields in OPENED.items():
        found |= fields.initial(_read(shown.get(name)))
    return found


def text(value: Any) -> str:
    """A value as a field holds it."""
    return json.dumps(value, indent=1, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value or "")


def is_so(given: Any, stands: Any) -> bool:
    """Whether a value that was given is what stands already."""
    return bool(given == (stands or {})) if isinstance(given, dict) else given == text(stands)


def _read(value: Any) -> Any:
    """A policy or calendar of a line, which may have been given as JSON text."""
    try:
        return json.loads(value) if isinstance(value, str) and value.startswith("{") else value
    except ValueError:
        return value
