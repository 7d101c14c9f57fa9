"""Master data to read: one list for each kind, from which every record is reached.

The rule here: nothing is changed on these pages; master data is changed by its owner system, by a change set or by a fix.
"""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from typing import Any

import django_filters as filters
from django.db import models
from django.db.models import Q, QuerySet
from django.http import Http404
from django.urls import reverse
from django.utils.functional import cached_property

from portal import figures
from portal.importing.headings import one_word
from portal.models import ExchangeRate
from portal.models.access import ScopedQuerySet
from portal.screens import (
    CurrencyColumn,
    DayColumn,
    Empty,
    ListScreen,
    MainColumn,
    MoneyColumn,
    NumberColumn,
    Table,
    TextColumn,
    within,
)
from portal.screens.tables import Column
from portal.views.governed import Master, kind_of_name, masters, visible


class MasterFilter(filters.FilterSet):  # type: ignore[misc]
    """A text in the names of a record, and the day on which it holds."""

    text = filters.CharFilter(method="by_text", label="Code or name")
    on = filters.DateFilter(method="by_day", label="Holds on")

    def by_text(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """In any of the fields that name a record of this kind."""
        condition = Q()
        for field in masters()[str(rows.model._meta.model_name)].search:
            condition |= Q(**{f"{field}__icontains": value})
        return rows.filter(condition)

    def by_day(self, rows: QuerySet[Any], name: str, value: Any) -> QuerySet[Any]:
        """Records that hold on a day; those without a range always do."""
        if rows.model is ExchangeRate:
            held: QuerySet[Any] = rows & ExchangeRate.objects.holding_on(value)
            return held
        if "valid_from" not in _names(rows.model):
            return rows
        begun = Q(valid_from=None) | Q(valid_from__lte=value)
        return rows.filter(begun, Q(valid_to=None) | Q(valid_to__gte=value))


def _second(name: str) -> Any:
    def second(record: Any) -> str:
        shown = getattr(record, f"get_{name}_display", None)
        return str((shown() if shown else getattr(record, name)) or "")

    return second


class YesColumn(Column):
    """A yes or no."""

    def render(self, value: bool) -> str:
        """The word."""
        return "yes" if value else "no"


class FactorColumn(NumberColumn):
    """A figure with all of its decimals."""

    def render(self, value: Decimal) -> str:
        """At least two, and more where it has them."""
        return figures.exact(value)


def _column(model: type[models.Model], name: str) -> Column:
    if name == "meant":
        return TextColumn(verbose_name="Stands for")
    if name == "currency":
        return CurrencyColumn() if {"amount", "cap_amount"} & _names(model) else TextColumn()
    field = model._meta.get_field(name)
    head = one_word(getattr(field, "verbose_name", name))
    if name in {"amount", "cap_amount"}:
        return MoneyColumn(verbose_name=head)
    if isinstance(field, models.DecimalField):
        return FactorColumn(verbose_name=head)
    if isinstance(field, models.DateField):
        return DayColumn(verbose_name=head)
    if isinstance(field, models.BooleanField):
        return YesColumn(verbose_name=head)
    if isinstance(field, models.IntegerField):
        return NumberColumn(verbose_name=head)
    return TextColumn(verbose_name=head)


def _names(model: type[models.Model]) -> set[str]:
    return {field.name for field in model._meta.concrete_fields}


@cache
def table_of(name: str) -> type[Table]:
    """The table of one kind of master data."""
    master = masters()[name]
    main = MainColumn(
        verbose_name=str(master.model._meta.verbose_name).capitalize(),
        url=lambda row: reverse("master_record", args=[name, row.pk]),
        second=_second(master.second) if master.second else None,
    )
    columns = {column: _column(master.model, column) for column in master.columns}
    return type(f"{master.model.__name__}Table", (Table,), {master.main: main, **columns})


class MasterScreen(ListScreen):
    """The list of one kind of master data."""

    template_name = "audit/master.html"
    filterset = MasterFilter

    @cached_property
    def master(self) -> Master:
        """The kind that the address names."""
        try:
            return masters()[self.kwargs["model"]]
        except KeyError:
            raise Http404 from None

    @property
    def title(self) -> str:  # type: ignore[override]
        """Its label."""
        return self.master.label

    @property
    def caption(self) -> str:  # type: ignore[override]
        """The same for a screen reader."""
        return self.master.label

    @property
    def table(self) -> type[Table]:  # type: ignore[override]
        """Its table."""
        return table_of(str(self.master.model._meta.model_name))

    @property
    def empty(self) -> Empty:  # type: ignore[override]
        """What brings such records."""
        label = self.master.label.lower()
        if self.master.readers and not self.request.user.roles() & self.master.readers:  # type: ignore[union-attr]
            readers = " or ".join(sorted(self.master.readers))
            return Empty(f"No {label} that you may see", f"They are shown to who is {readers} of an entity.")
        told = "from the system that owns them, " if kind_of_name(self.kwargs["model"]) else ""
        return Empty(f"No {label} yet", f"They come by import, {told}or by a change that a second person agrees to.")

    def rows(self) -> QuerySet[Any]:
        """The records that this person sees, of the entities looked at."""
        rows = visible(self.master.model, self.request.user)
        related = [
            name
            for name in (self.master.main, self.master.second, *self.master.columns)
            if name != "meant" and self.master.model._meta.get_field(name).is_relation
        ]
        if related:
            rows = rows.select_related(*related)
        return within(rows, self.request) if isinstance(rows, ScopedQuerySet) else rows

    def headline(self) -> str:
        """What they are, and how they are changed."""
        return self.master.note or "Changed by its owner system, or by a change that a second person agrees to."

    def kinds(self) -> list[tuple[str, str, bool]]:
        """The other kinds: (label, address, whether it is this one)."""
        return [
            (master.label, reverse("master", args=[name]), master is self.master) for name, master in masters().items()
        ]
