"""Facets: the values that a filter may take, with how many rows each would leave under all the other filters.

The rule here: counts are over what the person sees and nothing else, and each facet is one statement (two where its values are
records that lead over many rows), asked for when its filter is opened. A list pays for none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import django_filters
from django import forms
from django.db.models import Count, Model, QuerySet

MOST = 200  # values of one facet; more are found by typing in the search box
CHOSEN = 50  # values that one filter takes at once
LONGEST = 300  # characters of a value


@dataclass(frozen=True, slots=True)
class Named:
    """Records that are a facet's values, with the fields that say their value and what a person calls them."""

    model: type[Model]
    value: str = "code"
    label: str = "name"

    def words(self, ids: Iterable[int]) -> dict[int, tuple[str, str]]:
        """Value and label of each record."""
        found = self.model._base_manager.filter(pk__in=list(ids)).values_list("pk", self.value, self.label)
        return {pk: (value, label) for pk, value, label in found}


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
    of: Named | None = (
        None  # the records that the path leads to by their keys; grouped by key they are named afterwards
    )
    expression: Any = None  # what the path stands for, where it is no field
    counted: Callable[[QuerySet[Any]], Mapping[int, int]] | None = None  # rows by key, where a grouping would be dear


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
    if facet.expression is not None:
        plain = plain.annotate(**{facet.path: facet.expression})
    rows: Iterable[tuple[Any, ...]] = ()
    if facet.counted is None:
        rows = plain.values_list(*paths).annotate(n=counted).order_by("-n", *paths)[:MOST]
    if facet.of:
        counts = dict(rows) if facet.counted is None else facet.counted(plain)
        known = facet.of.words(key for key in counts if key is not None)
        rows = sorted(
            ((*known[key], n) for key, n in counts.items() if key in known), key=lambda row: (-row[-1], row[0])
        )
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
    is_labelled = facet.label or facet.of
    return f"{row[0]} {row[1]}" if is_labelled and row[1] not in (None, "", row[0]) else str(row[0])


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
