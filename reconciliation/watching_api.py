"""The read API of what is not there yet, version 1: how the close of each period stands, and what has not arrived of it.

The rule here: the same figures as on the close board and the page of holes; an amount stands beside its currency.
"""

from __future__ import annotations

from typing import Any

import django_filters as filters
from django.utils.timezone import localdate
from drf_spectacular.utils import extend_schema_field
from rest_framework import mixins, serializers
from rest_framework.viewsets import GenericViewSet

from portal.api import Endpoint
from portal.models import AccountingPeriod
from reconciliation import closing, holes


def _money() -> serializers.DecimalField:
    return serializers.DecimalField(max_digits=20, decimal_places=4, allow_null=True)


class PeriodsFilter(filters.FilterSet):  # type: ignore[misc]
    """What periods are found by."""

    entity = filters.CharFilter("entity__code", label="Entity")
    period = filters.CharFilter("code", label="Period")
    state = filters.MultipleChoiceFilter(choices=AccountingPeriod.State.choices, label="State")

    class Meta:
        model = AccountingPeriod
        fields: list[str] = []


class PeriodRow(serializers.Serializer[Any]):
    """One accounting period of one entity."""

    id = serializers.IntegerField()
    entity = serializers.CharField(source="entity.code")
    period = serializers.CharField(source="code")
    starts_on = serializers.DateField()
    ends_on = serializers.DateField()
    state = serializers.CharField()


class StandRow(serializers.Serializer[Any]):
    """What of a period, in one currency, is not through yet; an amount is null where no entry of it has a price."""

    currency = serializers.CharField()
    held = serializers.IntegerField()
    held_amount = _money()
    held_unpriced = serializers.IntegerField()
    waiting = serializers.IntegerField()
    waiting_amount = _money()
    in_doubt = serializers.IntegerField()
    in_doubt_amount = _money()
    through = serializers.IntegerField()
    last_hour = serializers.IntegerField()


class CloseRow(serializers.Serializer[Any]):
    """How long a period runs, what of it is not through, and when it will be at the pace of the last hour."""

    hours_left = serializers.IntegerField()
    waiting = serializers.IntegerField()
    stopped = serializers.IntegerField()
    finish = serializers.DateTimeField(allow_null=True)
    says = serializers.CharField()
    stands = StandRow(many=True)


class CloseBoardRow(PeriodRow):
    """One period on the close board."""

    close = serializers.SerializerMethodField()

    @extend_schema_field(CloseRow)
    def get_close(self, period: AccountingPeriod) -> dict[str, Any]:
        """Where it stands now."""
        return dict(CloseRow(self.context["closes"][period.pk]).data)


class CloseBoard(Endpoint):
    """Periods that have begun, and how their close stands."""

    rows = AccountingPeriod.objects.select_related("entity")
    filterset_class = PeriodsFilter
    serializer_class = CloseBoardRow

    def get_queryset(self) -> Any:
        """What has begun."""
        return super().get_queryset().filter(starts_on__lte=localdate())

    def get_serializer(self, *args: Any, **options: Any) -> serializers.BaseSerializer[Any]:
        """The page's periods with where they stand, found in one query."""
        if args:
            rows = args[0] if options.get("many") else [args[0]]
            closes = {close.period.pk: close for close in closing.board(rows)}
            options["context"] = {**self.get_serializer_context(), "closes": closes}
        return super().get_serializer(*args, **options)


class PersonDaysRow(serializers.Serializer[Any]):
    """One person of one source: what was expected, arrived, stands in the target and is invoiced, and the silent days."""

    connection = serializers.CharField(source="source")
    resource = serializers.CharField(source="person")
    days = serializers.IntegerField()
    expected = _money()
    arrived = _money()
    submitted = _money()
    posted = _money()
    invoiced = _money()
    silent = serializers.ListField(child=serializers.DateField())


class HolesRow(PeriodRow):
    """One period, and everybody who was expected in it up to yesterday, who is silent the longest first."""

    people = PersonDaysRow(many=True, source="told")


class Holes(mixins.RetrieveModelMixin, GenericViewSet[Any]):
    """What has not arrived of one period, by its id on the close board."""

    authentication_classes = Endpoint.authentication_classes
    permission_classes = Endpoint.permission_classes
    throttle_classes = Endpoint.throttle_classes
    serializer_class = HolesRow

    def get_queryset(self) -> Any:
        """Periods of the entities that the token's user may see."""
        rows = AccountingPeriod.objects.select_related("entity")
        return rows.none() if getattr(self, "swagger_fake_view", False) else rows.visible_to(self.request.user)

    def get_object(self) -> Any:
        """The period with its people."""
        period = super().get_object()
        period.told = holes.of_period(period)
        return period
