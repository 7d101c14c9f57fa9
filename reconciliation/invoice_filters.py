"""The filters of invoice proposals and of what is on them: the same for the screens, the exports and the API."""

from __future__ import annotations

from typing import Any

import django_filters as filters
from django.db.models import Q, QuerySet

from portal.models import InvoiceProposal, ProposalPart, ProposalState


class InvoiceProposalFilter(filters.FilterSet):  # type: ignore[misc]
    """What proposals are found by."""

    state = filters.MultipleChoiceFilter(choices=ProposalState.choices, label="State")
    customer = filters.CharFilter(method="by_customer", label="Customer")
    project = filters.CharFilter(method="by_project", label="Project")
    entity = filters.CharFilter("entity__code", label="Entity")
    manager = filters.CharFilter("project__manager__username", label="Manager")
    currency = filters.CharFilter("currency", lookup_expr="iexact", label="Currency")
    through_from = filters.DateFilter("through", lookup_expr="gte", label="Through, from")
    through_to = filters.DateFilter("through", lookup_expr="lte", label="Through, to")

    def by_customer(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """By the customer's code or name."""
        return rows.filter(Q(customer__code__iexact=value) | Q(customer__name__icontains=value))

    def by_project(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """By the project's code or name."""
        return rows.filter(Q(project__code__icontains=value) | Q(project__name__icontains=value))

    class Meta:
        model = InvoiceProposal
        fields: list[str] = []


class PartFilter(filters.FilterSet):  # type: ignore[misc]
    """What parts of a proposal are found by."""

    line = filters.NumberFilter("line__position", label="Line")
    person = filters.CharFilter("entry__resource__name", lookup_expr="icontains", label="Person")

    class Meta:
        model = ProposalPart
        fields: list[str] = []
