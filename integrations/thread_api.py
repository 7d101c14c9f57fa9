"""The read API of the thread, version 1: from any id to the whole line of each hour, expense and milestone that it leads to.

The rule here: the same words as on the page and in the terminal, of what the token's user may see and of nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from integrations import thread
from portal.api import Endpoint
from portal.models import Document, LedgerEntry, Milestone

MOST = 20  # things of one answer
_ASKED = frozenset({"id", "after", "after_milestone", "format"})


class StationRow(serializers.Serializer[Any]):
    """One station of the line: reached (lit), in doubt, broken or, when empty, not reached; and what the rows say of it."""

    key = serializers.CharField()
    name = serializers.CharField()
    light = serializers.CharField()
    words = serializers.CharField()
    at = serializers.DateTimeField(allow_null=True)


class EntryLineRow(serializers.Serializer[Any]):
    """One ledger entry and its line."""

    entry = serializers.IntegerField()
    version = serializers.IntegerField()
    state = serializers.CharField()
    target = serializers.CharField()
    key = serializers.UUIDField()
    receipt = serializers.CharField(allow_null=True)
    reverses = serializers.IntegerField(allow_null=True)
    stations = StationRow(many=True)


class DocumentLineRow(serializers.Serializer[Any]):
    """One hour or expense, and its entries."""

    id = serializers.IntegerField()
    kind = serializers.CharField()
    entity = serializers.CharField()
    connection = serializers.CharField()
    external_id = serializers.CharField()
    current_version = serializers.IntegerField()
    entries = EntryLineRow(many=True)


class MilestoneLineRow(serializers.Serializer[Any]):
    """One milestone and its line."""

    id = serializers.IntegerField()
    entity = serializers.CharField()
    project = serializers.CharField()
    code = serializers.CharField()
    amount = serializers.DecimalField(max_digits=18, decimal_places=4)
    currency = serializers.CharField()
    stations = StationRow(many=True)


class NamedRow(serializers.Serializer[Any]):
    """What bears the name itself, whether hours hang on it or not: an invoice, credit note, payment, proposal or cause."""

    kind = serializers.CharField()
    id = serializers.IntegerField()
    entity = serializers.CharField()
    title = serializers.CharField()
    state = serializers.CharField()
    words = serializers.CharField()


class ThreadRow(serializers.Serializer[Any]):
    """What an id leads to, and what bears it itself (`named`, told with the first page).

    `next` and `next_milestone` are what to send for those that follow, null at the end.
    """

    named = NamedRow(many=True)
    documents = DocumentLineRow(many=True)
    milestones = MilestoneLineRow(many=True)
    next = serializers.IntegerField(allow_null=True)  # of the documents, as `after`
    next_milestone = serializers.IntegerField(allow_null=True)  # as `after_milestone`


class ThreadOf(APIView):
    """The thread behind any id: a record's, an entry's, a receipt's, a bill's, a payment's, a proposal's, a milestone's."""

    authentication_classes = Endpoint.authentication_classes
    permission_classes = Endpoint.permission_classes
    throttle_classes = Endpoint.throttle_classes

    @extend_schema(
        parameters=[
            OpenApiParameter("id", str, required=True, description="Any id that a person may have in hand."),
            OpenApiParameter("after", int, description="Documents after this one."),
            OpenApiParameter("after_milestone", int, description="Milestones after this one."),
        ],
        responses=ThreadRow,
    )
    def get(self, request: Request) -> Response:
        """At most twenty documents and twenty milestones at a time, each in the order in which they came.

        Where one list is gone on with, the other is left out; both are gone on with where both are asked for.
        """
        name, after, after_milestone = self._asked(request)
        documents: list[Document] = []
        if after or not after_milestone:
            named = thread.documents_named(name).values("pk")
            seen = Document.objects.visible_to(request.user).filter(pk__in=named, pk__gt=after)
            documents = list(seen.select_related("connection", "entity").order_by("pk")[: MOST + 1])
        milestones: list[Milestone] = []
        if after_milestone or not after:
            signed = thread.milestones_named(name).order_by().values("pk")
            some = Milestone.objects.visible_to(request.user).filter(pk__in=signed, pk__gt=after_milestone)
            milestones = list(some.select_related("project__entity").order_by("pk")[: MOST + 1])
        first = not after and not after_milestone
        said = {
            "named": list(thread.bears(name, self._seen)) if first else [],
            "documents": list(self._documents(documents[:MOST])),
            "milestones": [_milestone(told) for told in thread.of_milestones(milestones[:MOST])],
            "next": documents[MOST - 1].pk if len(documents) > MOST else None,
            "next_milestone": milestones[MOST - 1].pk if len(milestones) > MOST else None,
        }
        return Response(ThreadRow(said).data)

    def _seen(self, rows: Any) -> Any:
        return rows.visible_to(self.request.user)

    def _asked(self, request: Request) -> tuple[str, int, int]:
        if unknown := set(request.query_params) - _ASKED:
            raise ValidationError(dict.fromkeys(unknown, "Unknown; expected id, after and after_milestone."))
        name = request.query_params.get("id", "").replace("\x00", "").strip()[:200]
        if not name:
            raise ValidationError({"id": "Say an id."})
        return name, self._number("after"), self._number("after_milestone")

    def _number(self, name: str) -> int:
        said = self.request.query_params.get(name, "0")
        if not said.isdecimal() or len(said) > 18:
            raise ValidationError({name: "A number."})
        return int(said)

    def _documents(self, documents: list[Document]) -> Iterator[dict[str, Any]]:
        visible = set(
            LedgerEntry.objects.visible_to(self.request.user)
            .filter(document__in=documents)
            .values_list("pk", flat=True)
        )
        for told in thread.of_documents(documents):
            document = told.document
            yield {
                "id": document.pk, "kind": document.kind, "entity": document.entity.code,
                "connection": document.connection.code, "external_id": document.external_id,
                "current_version": document.current_version,
                "entries": [_entry(told, one) for one in told.entries if one.entry.pk in visible],
            }  # fmt: skip


def _entry(whole: thread.Thread, told: thread.EntryThread) -> dict[str, Any]:
    entry = told.entry
    return {
        "entry": entry.pk, "version": entry.version, "state": entry.state_row.state, "target": entry.target.code,
        "key": entry.idempotency_key, "receipt": told.receipt.number if told.receipt else None, "reverses": entry.reverses_id,
        "stations": thread.lineage(whole, told),
    }  # fmt: skip


def _milestone(told: thread.MilestoneThread) -> dict[str, Any]:
    one = told.milestone
    return {
        "id": one.pk, "entity": one.project.entity.code, "project": one.project.code, "code": one.code, "amount": one.amount,
        "currency": one.currency, "stations": thread.milestone_lineage(told),
    }  # fmt: skip
