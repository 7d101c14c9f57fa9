"""The filters of the reconciliation overview and of the rows of one run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import django_filters as filters
from django.db.models import Q, QuerySet

from portal.models import AccountingPeriod
from portal.screens.paging import Summary
from reconciliation.models import ReconciliationResult, ReconciliationRun


def of_one_leg(summary: Summary, rows: QuerySet[Any]) -> Summary:
    """Totals of rows of one leg; of several there are none, since the same work stands in each of them."""
    legs = rows.order_by().values_list("leg", flat=True).distinct()[:2]
    return summary if not summary.totals or len(legs) < 2 else replace(summary, totals={})


class PeriodFilter(filters.FilterSet):  # type: ignore[misc]
    """What periods are found by on the overview."""

    entity = filters.CharFilter("entity__code", lookup_expr="iexact", label="Entity")
    code = filters.CharFilter("code", lookup_expr="istartswith", label="Period")
    state = filters.ChoiceFilter(choices=AccountingPeriod.State.choices, label="Books")
    result = filters.ChoiceFilter("latest_state", choices=ReconciliationRun.State.choices, label="Result")

    class Meta:
        model = AccountingPeriod
        fields: list[str] = []


class RowFilter(filters.FilterSet):  # type: ignore[misc]
    """What the rows of one run are found by."""

    leg = filters.ChoiceFilter(choices=ReconciliationResult.Leg.choices, label="Leg")
    outcome = filters.MultipleChoiceFilter(choices=ReconciliationResult.Outcome.choices, label="Outcome")
    text = filters.CharFilter(method="by_text", label="Id or number")

    def by_text(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """By the source's id of the document, or the target's number of the line."""
        return rows.filter(Q(document__external_id__istartswith=value) | Q(line__number__istartswith=value))

    class Meta:
        model = ReconciliationResult
        fields: list[str] = []
