"""The filter of the reconciliation overview."""

from __future__ import annotations

import django_filters as filters

from portal.models import AccountingPeriod
from reconciliation.models import ReconciliationRun


class PeriodFilter(filters.FilterSet):  # type: ignore[misc]
    """What periods are found by on the overview."""

    entity = filters.CharFilter("entity__code", lookup_expr="iexact", label="Entity")
    code = filters.CharFilter("code", lookup_expr="istartswith", label="Period")
    state = filters.ChoiceFilter(choices=AccountingPeriod.State.choices, label="Books")
    result = filters.ChoiceFilter("latest_state", choices=ReconciliationRun.State.choices, label="Result")

    class Meta:
        model = AccountingPeriod
        fields: list[str] = []
