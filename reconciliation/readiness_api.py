"""The read API of billing readiness, version 1: how far each project's month is, what stops it, and the twelve answers.

The rule here: a list is of one or more named periods, because a month is added up from the ledger whenever it is asked for.
"""

from __future__ import annotations

from typing import Any

import django_filters as filters
from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from portal import keys
from portal.api import Endpoint
from portal.models import AccountingPeriod
from reconciliation import readiness
from reconciliation.models import ProjectMonth


def _money() -> serializers.DecimalField:
    return serializers.DecimalField(max_digits=18, decimal_places=4, allow_null=True)


class MonthFilter(filters.FilterSet):  # type: ignore[misc]
    """What project months are found by."""

    entity = filters.CharFilter("project__entity__code", label="Entity")
    period = filters.CharFilter("period__code", label="Period")
    project = filters.CharFilter("project__code", label="Project")
    customer = filters.CharFilter("project__customer__code", label="Customer")

    class Meta:
        model = ProjectMonth
        fields: list[str] = []


class BlockerRow(serializers.Serializer[Any]):
    """The first thing that stops a month, in words, and who has to act; `more` other things stop it as well."""

    words = serializers.CharField()
    who = serializers.CharField()
    more = serializers.IntegerField()


class CheckRow(serializers.Serializer[Any]):
    """One of the twelve questions with its answer."""

    code = serializers.CharField()
    question = serializers.CharField()
    verdict = serializers.CharField()
    says = serializers.CharField()
    count = serializers.IntegerField()
    amount = _money()
    currency = serializers.CharField()
    owner = serializers.CharField()
    way_out = serializers.CharField()


class MonthRow(serializers.Serializer[Any]):
    """One project in one period: every billable amount stands in exactly one of the next eight figures.

    `invoiced` is what issued invoices ask for, less credits of hours or of the price; `gone` stands on invoices that are void or
    that their system deleted, until somebody lets them go; by `off_price` bills ask for less than was agreed.
    """

    id = serializers.IntegerField()
    entity = serializers.CharField(source="project.entity.code")
    period = serializers.CharField(source="period.code")
    project = serializers.CharField(source="project.code")
    customer = serializers.CharField(source="project.customer.code")
    manager = serializers.CharField(source="project.manager.username", default=None)
    currency = serializers.CharField()
    entries = serializers.IntegerField()
    hours = _money()
    amount = _money()
    blocked = _money()
    under_way = _money()
    ready = _money()
    drafted = _money()
    on_hold = _money()
    invoiced = _money()
    gone = _money()
    off_price = _money()
    stopped = serializers.IntegerField()
    unpriced_hours = _money()
    in_other_currency = serializers.IntegerField()
    milestones = _money()
    milestones_ready = _money()
    milestones_invoiced = _money()
    unsigned = serializers.IntegerField()
    blocker = BlockerRow(allow_null=True)


class MonthDetail(MonthRow):
    """The same with its checklist."""

    checks = CheckRow(many=True)


class Readiness(Endpoint):
    """Projects in periods, and what stands between their work and the invoice."""

    rows = ProjectMonth.objects.select_related(
        "project__entity", "project__customer", "project__contract", "project__manager", "period"
    )
    filterset_class = MonthFilter

    def get_serializer_class(self) -> type[serializers.BaseSerializer[Any]]:
        """One month is told with its twelve answers."""
        return MonthDetail if self.action == "retrieve" else MonthRow

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Of a list, the period is named; the ledger is asked for its days only, and for one month's where one is asked for."""
        if self.action != "list":
            return super().filter_queryset(readiness.of_key(queryset, keys.key(self.kwargs["pk"]) or 0))
        if not (code := self.request.query_params.get("period")):
            raise ValidationError({"period": "Say which period, for example period=2026-10."})
        periods = AccountingPeriod.objects.visible_to(self.request.user).filter(code=code)
        return super().filter_queryset(queryset.filter(period_id__in=list(periods.values_list("pk", flat=True))))

    def get_serializer(self, *args: Any, **options: Any) -> serializers.BaseSerializer[Any]:
        """The page's months with what stops each, in a fixed number of queries."""
        if args:
            rows = args[0] if options.get("many") else [args[0]]
            blockers = readiness.first_blockers(rows)
            for month in rows:
                month.blocker = blockers.get(month.pk)
            if self.action == "retrieve":
                args[0].checks = readiness.checklist(args[0])
        return super().get_serializer(*args, **options)
