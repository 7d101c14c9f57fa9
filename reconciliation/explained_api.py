"""The API's answers in words, version 1: why an entry is not billed, and how an amount came about to the cent.

The rule here: the same sentences as on the pages, of what the token's user may see; nothing is changed by asking.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from portal import keys
from portal.models import Invoice, InvoiceLine, LedgerEntry, LedgerTransition, PaymentAllocation, State
from portal.models.documents import OURS
from reconciliation import amounts, api, billing, bills_api, readiness

MOST = 20  # lines of one answer
_ENTRY = (
    "state_row", "target", "source", "document", "billing_balance", "contract", "task", "purchase_order", "rate_used__card",
    "project__contract", "project__customer", "project__manager",
)  # fmt: skip


class StepRow(serializers.Serializer[Any]):
    """One step of an amount: what, and how it came about with the version of what it rests on."""

    what = serializers.CharField()
    how = serializers.CharField()


class WhyRow(serializers.Serializer[Any]):
    """Where an entry stands on its way to the invoice: in words, who has to act, since when, and the page to go on."""

    is_billed = serializers.BooleanField()
    words = serializers.CharField()
    who = serializers.CharField()
    since = serializers.DateTimeField(allow_null=True)
    url = serializers.CharField()


class EntryExplainedRow(serializers.Serializer[Any]):
    """How the amount of one entry came about."""

    entry = serializers.IntegerField()
    steps = StepRow(many=True)


class PartExplainedRow(serializers.Serializer[Any]):
    """One delivered thing on a line: what of it is billed, what of that stands, and how its amount came about."""

    entry = serializers.IntegerField(allow_null=True)
    billed = serializers.DecimalField(max_digits=18, decimal_places=4)
    amount = serializers.DecimalField(max_digits=18, decimal_places=4)
    standing = serializers.DecimalField(max_digits=18, decimal_places=4)
    standing_amount = serializers.DecimalField(max_digits=18, decimal_places=4)
    steps = StepRow(many=True)


class LineExplainedRow(serializers.Serializer[Any]):
    """How the amount of one line of a bill came about: of the line itself, then of each thing on it."""

    key = serializers.CharField()
    position = serializers.IntegerField()
    steps = StepRow(many=True)
    parts = PartExplainedRow(many=True)


class BillExplainedRow(serializers.Serializer[Any]):
    """The lines of a bill's current version, explained; `next` is what to send as `after` for those that follow."""

    bill = serializers.IntegerField()
    version = serializers.IntegerField()
    lines = LineExplainedRow(many=True)
    next = serializers.IntegerField(allow_null=True)


class LedgerEntries(api.LedgerEntries):
    """Entries of hours and expenses, and their two answers in words."""

    @extend_schema(responses=WhyRow, filters=False)
    @action(detail=True, methods=["get"], url_path="why", url_name="why", pagination_class=None)
    def why(self, request: Request, pk: str | None = None) -> Response:
        """Why this entry is not billed, or on which invoice it is."""
        _nothing_else(request)
        return Response(WhyRow(readiness.why_not_billed(self._entry(pk))).data)

    @extend_schema(responses=EntryExplainedRow, filters=False)
    @action(detail=True, methods=["get"], url_path="explained", url_name="explained", pagination_class=None)
    def explained(self, request: Request, pk: str | None = None) -> Response:
        """How the amount of this entry came about: hours, rate, unit, rounding and limit."""
        _nothing_else(request)
        entry = self._entry(pk)
        sent = LedgerTransition.objects.filter(entry=entry, to_state=State.SENDING).order_by("fence").first()
        steps = amounts.explained(entry, sent.at if sent is not None else None)
        return Response(EntryExplainedRow({"entry": entry.pk, "steps": _told(steps)}).data)

    def _entry(self, pk: str | None) -> LedgerEntry:
        seen = LedgerEntry.objects.visible_to(self.request.user).exclude(kind__in=OURS)
        found = seen.filter(pk=keys.key(pk or "") or 0).select_related(*_ENTRY).first()
        if found is None:
            raise Http404
        return found


class Bills(bills_api.Bills):
    """Invoices and credit notes, and how each of their lines came about."""

    @extend_schema(
        parameters=[
            OpenApiParameter("line", str, description="The key of a line of the current version: this one alone."),
            OpenApiParameter("after", int, description="Lines after this position."),
        ],
        responses=BillExplainedRow,
        filters=False,
    )
    @action(detail=True, methods=["get"], url_path="explained", url_name="explained", pagination_class=None)
    def explained(self, request: Request, pk: str | None = None) -> Response:
        """How the amount of each line came about, to the cent; twenty lines at a time, in the order of the bill."""
        _nothing_else(request, "line", "after")
        seen = Invoice.objects.visible_to(request.user).select_related("entity", "current")
        bill = seen.filter(pk=keys.key(pk or "") or 0).first()
        if bill is None:
            raise Http404
        after = request.query_params.get("after", "0")
        if not after.isdecimal() or len(after) > 9:
            raise ValidationError({"after": "A number."})
        found = bill.current.lines.select_related("version").filter(position__gt=int(after)).order_by("position")
        if (key := request.query_params.get("line")) is not None:
            found = found.filter(key=key.replace("\x00", ""))
        lines = list(found[: MOST + 1])
        settled = billing.settled_by_kind(PaymentAllocation.objects.filter(invoice=bill))
        said = {
            "bill": bill.pk, "version": bill.current.version, "lines": [_line(bill, one, settled) for one in lines[:MOST]],
            "next": lines[MOST - 1].position if len(lines) > MOST else None,
        }  # fmt: skip
        return Response(BillExplainedRow(said).data)


def _line(bill: Invoice, line: InvoiceLine, settled: dict[str, Decimal]) -> dict[str, Any]:
    steps, parts = billing.explained(bill, line, settled)
    return {
        "key": line.key, "position": line.position, "steps": _told(steps),
        "parts": [
            {
                "entry": part.entry.pk if part.entry is not None else None, "billed": part.billed, "amount": part.amount,
                "standing": part.standing, "standing_amount": part.standing_amount, "steps": _told(part.steps),
            }
            for part in parts
        ],
    }  # fmt: skip


def _told(steps: Any) -> list[dict[str, str]]:
    return [{"what": what, "how": how} for what, how in steps]


def _nothing_else(request: Request, *known: str) -> None:
    """An unknown parameter is refused, as on every list."""
    if unknown := set(request.query_params) - {*known, "format"}:
        raise ValidationError(dict.fromkeys(unknown, "Unknown here."))
