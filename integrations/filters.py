"""The filters of the inbox, of runs and of uploads. A filter offers only the connections that its reader may see."""

from __future__ import annotations

from typing import Any

import django_filters as filters
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from integrations.models import InboxMessage, Run, UploadedFile
from portal.models import Connection


def seen_connections(request: HttpRequest | None) -> QuerySet[Connection]:
    """The connections that a filter may offer to the person of a request."""
    if request is None:
        return Connection.objects.none()
    connections: QuerySet[Connection] = Connection.objects.visible_to(request.user)
    return connections


def _connection() -> filters.ModelChoiceFilter:
    return filters.ModelChoiceFilter(queryset=seen_connections, to_field_name="code", label="Connection")


class MessageFilter(filters.FilterSet):
    """What inbox messages are found by."""

    connection = _connection()
    stream = filters.CharFilter("stream", lookup_expr="iexact", label="Stream")
    kind = filters.ChoiceFilter(choices=InboxMessage.Kind.choices, label="Kind")
    external_id = filters.CharFilter("external_id", lookup_expr="istartswith", label="Source id")
    failure = filters.CharFilter("failure", lookup_expr="icontains", label="Failure")
    run = filters.NumberFilter("run_id", label="Run")
    since = filters.DateFilter("received_at", lookup_expr="date__gte", label="Received since")

    class Meta:
        model = InboxMessage
        fields: list[str] = []


class RunFilter(filters.FilterSet):
    """What runs are found by."""

    connection = _connection()
    stream = filters.CharFilter("stream", lookup_expr="iexact", label="Stream")
    trigger = filters.ChoiceFilter(choices=Run.Trigger.choices, label="Trigger")
    since = filters.DateFilter("started_at", lookup_expr="date__gte", label="Since")
    something = filters.BooleanFilter(method="by_something", label="Brought something")

    def by_something(self, rows: QuerySet[Any], name: str, value: bool) -> QuerySet[Any]:
        """Runs that filed a record or missed one, or those that found nothing new."""
        brought = Q(filed__gt=0) | Q(gone__gt=0)
        return rows.filter(brought if value else ~brought)

    class Meta:
        model = Run
        fields: list[str] = []


class UploadFilter(filters.FilterSet):
    """What uploads are found by."""

    connection = _connection()
    stream = filters.CharFilter("stream", lookup_expr="iexact", label="Stream")
    name = filters.CharFilter("name", lookup_expr="icontains", label="File name")

    class Meta:
        model = UploadedFile
        fields: list[str] = []


class ConnectionFilter(filters.FilterSet):
    """What connections are found by."""

    connector = filters.CharFilter("connector", lookup_expr="iexact", label="Connector")
    entity = filters.CharFilter("entity__code", lookup_expr="iexact", label="Entity")
    text = filters.CharFilter(method="by_text", label="Name or code")

    def by_text(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """In the name or the code."""
        return rows.filter(Q(name__icontains=value) | Q(code__icontains=value))

    class Meta:
        model = Connection
        fields: list[str] = []
