"""Facets: the values that a filter may take, with how many rows each would leave under all the other filters.

The rule here: counts are over what the person sees and nothing else, and each facet is one statement, asked for when its filter
is opened. A list pays for none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import django_filters
from django import forms
from django.db.models import Count, QuerySet

MOST = 200  # values of one facet; more are found by typing in the search box
CHOSEN = 50  # values that one filter takes at once
LONGEST = 300  # characters of a value


@dataclass(frozen=True, slots=True)
class Facet:
    """The values of one filter. `path` leads from a row to the value, `label` to what a person calls it.

    `words` gives values their names where the database has only codes. A facet of the rows' own counts rows; one that leads
    over several records (`many`) counts each row once.
    """

    path: str
    label: str = ""
    words: Callable[[str], str] | None = None
    many: bool = False
    expression: Any = None  # what the path stands for, where it is no field
    label_expression: Any = None  # and the label


@dataclass(frozen=True, slots=True)
class Value:
    """One value with its count."""

    value: str
    label: str
    count: int
    is_chosen: bool


def values(queryset: QuerySet[Any], facet: Facet, chosen: Iterable[str]) -> list[Value]:
    """The values that occur, the most frequent first; those chosen stand even where nothing is left of them."""
    picked = set(chosen)
    paths = [facet.path, *([facet.label] if facet.label else [])]
    counted = Count("pk", distinct=True) if facet.many else Count("pk")
    plain = queryset.order_by()
    named = {facet.path: facet.expression, facet.label: facet.label_expression}
    plain = plain.annotate(**{name: expression for name, expression in named.items() if expression is not None})
    rows = plain.values_list(*paths).annotate(n=counted).order_by("-n", *paths)[:MOST]
    found = [
        Value(str(row[0]), _named(facet, row), row[-1], str(row[0]) in picked)
        for row in rows
        if row[0] not in (None, "")
    ]
    there = {one.value for one in found}
    words = facet.words or str
    return [*(Value(one, words(one), 0, True) for one in sorted(picked - there)), *found]


def _named(facet: Facet, row: tuple[Any, ...]) -> str:
    if facet.words:
        return facet.words(str(row[0]))
    return f"{row[0]} {row[1]}" if facet.label and row[1] not in (None, "", row[0]) else str(row[0])


class AnyOfField(forms.MultipleChoiceField):
    """Any of some values that the data has and no list knows beforehand."""

    widget = forms.CheckboxSelectMultiple

    def valid_value(self, value: Any) -> bool:
        """What occurs nowhere leaves nothing, and is no error."""
        return len(str(value)) <= LONGEST and "\x00" not in str(value)

    def clean(self, value: Any) -> list[str]:
        """At most so many at once."""
        found: list[str] = super().clean(value)
        if len(found) > CHOSEN:
            raise forms.ValidationError(f"At most {CHOSEN} values at once.")
        return found


class AnyOf(django_filters.MultipleChoiceFilter):  # type: ignore[misc]
    """A filter by any of the values that its facet offers."""

    field_class = AnyOfField

    def __init__(self, *args: Any, words: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(*args, choices=tuple((words or {}).items()), **more)

    def filter(self, qs: QuerySet[Any], value: Any) -> QuerySet[Any]:
        """The rows with any of the values, each once."""
        if not value:
            return qs
        if "__" in self.field_name and self.distinct:
            inside = qs.model._base_manager.filter(**{f"{self.field_name}__in": value})
            return qs.filter(pk__in=inside.values("pk"))
        return qs.filter(**{f"{self.field_name}__in": value})
