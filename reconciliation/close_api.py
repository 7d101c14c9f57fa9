"""The read API of the close, version 1: certificates of periods, and the matches that explain what differs."""

from __future__ import annotations

from typing import Any

import django_filters as filters
from rest_framework import serializers

from portal.api import Endpoint
from reconciliation.models import Certificate, Match


class CertificateFilter(filters.FilterSet):  # type: ignore[misc]
    """What certificates are found by."""

    entity = filters.CharFilter("period__entity__code", label="Entity")
    period = filters.CharFilter("period__code", label="Period")
    state = filters.MultipleChoiceFilter(choices=Certificate.State.choices, label="State")

    class Meta:
        model = Certificate
        fields: list[str] = []


class MatchFilter(filters.FilterSet):  # type: ignore[misc]
    """What matches are found by."""

    entity = filters.CharFilter("period__entity__code", label="Entity")
    period = filters.CharFilter("period__code", label="Period")
    leg = filters.CharFilter("leg", label="Leg")
    state = filters.MultipleChoiceFilter(choices=Match.State.choices, label="State")

    class Meta:
        model = Match
        fields: list[str] = []


class CertificateRow(serializers.Serializer[Any]):
    """The word of two people that a period ties out, and what changed under it where it dropped."""

    id = serializers.IntegerField()
    entity = serializers.CharField(source="period.entity.code")
    period = serializers.CharField(source="period.code")
    run = serializers.IntegerField(source="run_id")
    state = serializers.CharField()
    differing = serializers.IntegerField()
    note = serializers.CharField()
    prepared_by = serializers.CharField(source="prepared_by.username")
    prepared_at = serializers.DateTimeField()
    certified_by = serializers.CharField(source="certified_by.username", default=None)
    certified_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    why = serializers.CharField()
    delta = serializers.JSONField()


class Certificates(Endpoint):
    """Certificates of periods."""

    rows = Certificate.objects.select_related("period__entity", "prepared_by", "certified_by")
    filterset_class = CertificateFilter
    serializer_class = CertificateRow


def _figure() -> serializers.DecimalField:
    return serializers.DecimalField(max_digits=20, decimal_places=4)


class MatchRow(serializers.Serializer[Any]):
    """Why some items of one leg that differ are explained: they belong together, or come by a day."""

    id = serializers.IntegerField()
    entity = serializers.CharField(source="period.entity.code")
    period = serializers.CharField(source="period.code")
    leg = serializers.CharField()
    kind = serializers.CharField()
    state = serializers.CharField()
    rule = serializers.CharField(source="rule.name", default=None)
    code = serializers.CharField()
    reason = serializers.CharField()
    items = serializers.IntegerField()
    subjects = serializers.ListField(child=serializers.IntegerField())
    hours_left = _figure()
    hours_right = _figure()
    amount_left = _figure()
    amount_right = _figure()
    currency = serializers.CharField()
    expected_on = serializers.DateField(allow_null=True)
    made_at = serializers.DateTimeField()
    decided_by = serializers.CharField(source="decided_by.username", default=None)
    why = serializers.CharField()


class Matches(Endpoint):
    """Matches of open items."""

    rows = Match.objects.select_related("period__entity", "rule", "decided_by")
    filterset_class = MatchFilter
    serializer_class = MatchRow
