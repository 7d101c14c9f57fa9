"""Filters as chips: each says what it filters and by what, opens its field, and can be taken off by a link."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db.models import Model
from django.forms import BoundField, ChoiceField
from django.forms.models import ModelChoiceField
from django_filters import FilterSet

from portal.figures import day


@dataclass(frozen=True, slots=True)
class Chip:
    """One filter as shown. `without` is the address that takes it off."""

    label: str
    field: BoundField
    on: bool
    shown: str
    without: str
    names: tuple[str, ...]
    error: bool = False


def chips(filters: FilterSet, query: Callable[..., str]) -> list[Chip]:
    """The chips of a filter form, in the order of its fields."""
    form = filters.form
    valid = form.is_valid()
    made = []
    for field in form:
        if field.is_hidden:
            continue
        value = form.cleaned_data.get(field.name) if valid or field.name in getattr(form, "cleaned_data", {}) else None
        names = tuple(name for name in form.data if name == field.html_name or name.startswith(f"{field.html_name}_"))
        error = bool(field.errors)
        on = error or not _vacant(value)
        shown = _shown(field.field, value) if on and not error else ("not understood" if error else "")
        made.append(Chip(str(field.label), field, on, shown, query(**dict.fromkeys(names, "")), names, error))
    return made


def _vacant(value: Any) -> bool:
    return (
        value is None or value == "" or (hasattr(value, "__len__") and not isinstance(value, str) and len(value) == 0)
    )


def _shown(field: Any, value: Any) -> str:
    if isinstance(value, slice):
        return _range(value.start, value.stop)
    if isinstance(value, Model):
        return str(value)
    if isinstance(field, ModelChoiceField):
        return ", ".join(str(one) for one in value)
    if isinstance(field, ChoiceField) or hasattr(field, "choices"):
        words = {str(key): str(label) for key, label in _flat(field.choices)}
        values = value if isinstance(value, list | tuple) else [value]
        return ", ".join(words.get(str(one), str(one)) for one in values)
    if isinstance(value, date):
        return day(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _range(start: Any, stop: Any) -> str:
    low, high = (_shown(None, one) if one is not None else "" for one in (start, stop))
    if low and high:
        return f"{low} to {high}"
    return f"from {low}" if low else f"up to {high}"


def _flat(choices: Any) -> list[tuple[Any, Any]]:
    flat: list[tuple[Any, Any]] = []
    for key, label in choices:
        if isinstance(label, list | tuple):
            flat.extend(label)
        else:
            flat.append((key, label))
    return flat
