"""A small site for the tests of the screen kit: contracts as a list with actions, and one contract as a page."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import django_filters
from django import forms
from django.db.models import Q, QuerySet, Sum
from django.urls import include, path

from portal.models import BillingModel, Contract, GrantRole
from portal.screens import (
    Action,
    CurrencyColumn,
    DetailScreen,
    Empty,
    ListScreen,
    MainColumn,
    MoneyColumn,
    Outcome,
    Refused,
    Tab,
    Table,
    TextColumn,
)

APPLIED: list[tuple[str, list[str]]] = []


class ContractTable(Table):
    code = MainColumn(verbose_name="Contract", url=lambda row: f"/contracts/{row.pk}/", second=lambda row: row.name)
    entity = TextColumn()
    cap_amount = MoneyColumn(verbose_name="Cap")
    currency = CurrencyColumn()


class ContractFilter(django_filters.FilterSet):  # type: ignore[misc]
    billing_model = django_filters.ChoiceFilter(choices=BillingModel.choices, label="Billing")
    above = django_filters.NumberFilter("cap_amount", lookup_expr="gte", label="Cap above")

    class Meta:
        model = Contract
        fields: tuple[str, ...] = ()


class Rename(Action):
    name, label, key = "rename", "Rename", "fix"
    roles = frozenset({GrantRole.ANALYST})
    sentence = "Rename {count} contracts"
    reason = forms.CharField()

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        if self.cleaned_data["reason"] == "forbidden":
            raise Refused("The name is reserved; choose another.")
        APPLIED.append((self.cleaned_data["reason"], sorted(queryset.values_list("code", flat=True))))
        return Outcome(f"{queryset.count()} contracts were renamed.")


class Snooze(Action):
    name, label, key, immediate = "snooze", "Snooze", "snooze", True
    roles = frozenset({GrantRole.ANALYST, GrantRole.CONTROLLER})

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        APPLIED.append(("snooze", sorted(queryset.values_list("code", flat=True))))
        return Outcome("Snoozed.", undo="/undo/")


class ContractList(ListScreen):
    title = "Contracts"
    queryset = Contract.objects.select_related("entity")
    filterset = ContractFilter
    table = ContractTable
    actions = (Rename, Snooze)
    tabs = (
        Tab("all", "All"),
        Tab("capped", "Capped", lambda user: Q(cap_amount__gt=0)),
        Tab("open", "Without cap", lambda user: Q(cap_amount=None)),
    )
    totals = {"cap_amount": Sum("cap_amount", default=Decimal(0))}
    currency = "currency"
    page_size = 25
    empty = Empty("No contract yet", "Import master data first.")


class ContractPage(DetailScreen):
    queryset = Contract.objects.select_related("entity")
    template_name = "screens/action.html"
    actions = (Rename,)


class ControllersOnly(ContractList):
    title = "For controllers"
    roles = frozenset({GrantRole.CONTROLLER})


urlpatterns = [
    path("contracts/", ContractList.as_view(), name="contracts"),
    path("controllers/", ControllersOnly.as_view(), name="controllers"),
    path("contracts/<int:pk>/", ContractPage.as_view(), name="contract"),
    path("", include("portal.urls")),
]
