"""The filters of documents, ledger and audit: the same for the screens, the exports and the API."""

from __future__ import annotations

from typing import Any

import django_filters as filters
from django.db.models import F, Q, QuerySet

from portal.models import AuditEvent, Expense, LedgerEntry, State, TimeEntry
from portal.models.documents import KIND_CHOICES, STATUS_CHOICES


class DocumentFilter(filters.FilterSet):
    """What time entries and expenses are found by."""

    entity = filters.CharFilter("document__entity__code", label="Entity")
    connection = filters.CharFilter("document__connection__code", label="Source")
    external_id = filters.CharFilter("document__external_id", label="Source id")
    status = filters.ChoiceFilter(choices=STATUS_CHOICES, label="Status at source")
    project = filters.CharFilter("project_code", lookup_expr="iexact", label="Project code")
    resource = filters.CharFilter(method="by_resource", label="Person")
    work_date_from = filters.DateFilter("work_date", lookup_expr="gte", label="Work date from")
    work_date_to = filters.DateFilter("work_date", lookup_expr="lte", label="Work date to")
    current = filters.BooleanFilter(method="by_current", label="Current version only")

    def by_resource(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """By the source's key, code or name of the person."""
        return rows.filter(Q(resource_key=value) | Q(resource_code__iexact=value) | Q(resource_name__icontains=value))

    def by_current(self, rows: QuerySet[Any], name: str, value: bool) -> QuerySet[Any]:
        """The latest version of each document, or the earlier ones."""
        latest = Q(version=F("document__current_version"))
        return rows.filter(latest if value else ~latest)


class TimeEntryFilter(DocumentFilter):
    """Time entries."""

    class Meta:
        model = TimeEntry
        fields: list[str] = []


class ExpenseFilter(DocumentFilter):
    """Expenses."""

    class Meta:
        model = Expense
        fields: list[str] = []


class LedgerEntryFilter(filters.FilterSet):
    """What ledger entries are found by."""

    state = filters.MultipleChoiceFilter(field_name="state_row__state", choices=State.choices, label="State")
    kind = filters.ChoiceFilter(choices=KIND_CHOICES, label="Kind")
    entity = filters.CharFilter("entity__code", label="Entity")
    period = filters.CharFilter("period__code", label="Period")
    source = filters.CharFilter("source__code", label="Source")
    target = filters.CharFilter("target__code", label="Target")
    project = filters.CharFilter("project__code", lookup_expr="iexact", label="Project")
    contract = filters.CharFilter("contract__code", lookup_expr="iexact", label="Contract")
    customer = filters.CharFilter("customer__code", lookup_expr="iexact", label="Customer")
    resource = filters.CharFilter(method="by_resource", label="Person")
    work_date_from = filters.DateFilter("work_date", lookup_expr="gte", label="Work date from")
    work_date_to = filters.DateFilter("work_date", lookup_expr="lte", label="Work date to")
    external_id = filters.CharFilter("document__external_id", label="Source id")
    receipt = filters.CharFilter("receipt__number", label="Receipt number")
    is_billable = filters.BooleanFilter("is_billable", label="Billable")
    is_reversal = filters.BooleanFilter(field_name="reverses", lookup_expr="isnull", exclude=True, label="Reversal")

    def by_resource(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """By the person's code or name."""
        return rows.filter(Q(resource__code__iexact=value) | Q(resource__name__icontains=value))

    class Meta:
        model = LedgerEntry
        fields: list[str] = []


class AuditFilter(filters.FilterSet):
    """What decisions are found by."""

    actor = filters.CharFilter("actor_name", lookup_expr="iexact", label="Who")
    action = filters.CharFilter("action", lookup_expr="istartswith", label="Action")
    entity = filters.CharFilter("entity__code", label="Entity")
    object_type = filters.CharFilter("object_type", lookup_expr="iexact", label="Object type")
    object_id = filters.CharFilter("object_id", label="Object id")
    since = filters.DateFilter("at", lookup_expr="date__gte", label="From")
    until = filters.DateFilter("at", lookup_expr="date__lte", label="To")
    text = filters.CharFilter(method="by_text", label="Text")

    def by_text(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """In the object's name or the reason."""
        return rows.filter(Q(object_name__icontains=value) | Q(reason__icontains=value))

    class Meta:
        model = AuditEvent
        fields: list[str] = []
