"""The read API of bills and payments, version 1: what their systems state, whom they bill for which hours, what settles them.

The rule here: as in `reconciliation.api`, a page costs a fixed number of queries; decimals and dates are strings.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import Prefetch, QuerySet
from rest_framework import serializers

from portal.api import Endpoint
from portal.models import Invoice, Payment, PaymentAllocation
from reconciliation.bill_filters import BillFilter, PaymentFilter


def _money(**options: Any) -> serializers.DecimalField:
    return serializers.DecimalField(max_digits=18, decimal_places=4, allow_null=True, **options)


class AllocationRow(serializers.Serializer[Any]):
    """Part of one ledger entry on one line; what takes another row back has the opposite sign and names it."""

    id = serializers.IntegerField()
    entry = serializers.IntegerField(source="entry_id", allow_null=True)
    milestone = serializers.IntegerField(source="milestone_id", allow_null=True)
    takes_back = serializers.IntegerField(source="takes_back_id", allow_null=True)
    quantity = _money()
    amount = _money()
    reason = serializers.CharField()


class LineRow(serializers.Serializer[Any]):
    """One line of the current version."""

    key = serializers.CharField()
    posting_key = serializers.CharField()
    posting_number = serializers.CharField()
    description = serializers.CharField()
    quantity = _money()
    unit_price = serializers.DecimalField(max_digits=18, decimal_places=6, allow_null=True)
    net = _money()
    tax_code = serializers.CharField()
    tax = _money()


class SettlementRow(serializers.Serializer[Any]):
    """Part of a payment, write-off or credit note that settles a bill; what was taken back stays, with its opposite."""

    payment = serializers.IntegerField(source="payment_version.payment_id", default=None)
    credit_note = serializers.IntegerField(source="credit_version.invoice_id", default=None)
    bill = serializers.IntegerField(source="invoice_id", allow_null=True)
    bill_external_id = serializers.CharField(source="invoice_key")
    by = serializers.CharField()
    amount = _money()
    booked_on = serializers.DateField(allow_null=True)


class StatedRow(serializers.Serializer[Any]):
    """What a bill and a payment have in common."""

    id = serializers.IntegerField()
    kind = serializers.CharField()
    entity = serializers.CharField(source="entity.code")
    connection = serializers.CharField(source="connection.code")
    external_id = serializers.CharField()
    version = serializers.IntegerField(source="current.version")
    number = serializers.CharField(source="current.number")
    status = serializers.CharField(source="current.status")
    customer = serializers.CharField(source="current.customer.code", default=None)
    currency = serializers.CharField(source="current.currency")
    booked_on = serializers.DateField(source="current.booked_on", allow_null=True)
    exchange_rate = serializers.DecimalField(
        source="current.exchange_rate", max_digits=20, decimal_places=10, allow_null=True
    )


class BillRow(StatedRow):
    """One invoice or credit note as its system states it, and whom it bills for which hours."""

    agreed_version = serializers.IntegerField(source="agreed.version", default=None)
    credits = serializers.IntegerField(source="credits_id", allow_null=True)
    due_on = serializers.DateField(source="current.due_on", allow_null=True)
    net = _money(source="current.net")
    tax = _money(source="current.tax")
    total = _money(source="current.total")
    balance = _money(source="current.balance")
    lines = LineRow(source="current.lines", many=True)
    allocations = serializers.SerializerMethodField()
    settled_by = SettlementRow(many=True)

    def get_allocations(self, bill: Invoice) -> list[dict[str, Any]]:
        """Everything that was allocated on lines of any of its versions."""
        rows = [
            row for version in bill.versions.all() for line in version.lines.all() for row in line.allocations.all()
        ]
        return list(AllocationRow(sorted(rows, key=lambda row: row.pk), many=True).data)


class _Settling(Endpoint):
    """What shows settlements: of the entities that the token's user may see, as on the pages."""

    settlements: ClassVar[str]

    def get_queryset(self) -> QuerySet[Any]:
        """The rows with their settlements."""
        rows = super().get_queryset()
        if getattr(self, "swagger_fake_view", False):
            return rows
        seen = PaymentAllocation.objects.visible_to(self.request.user)
        told = seen.select_related("payment_version", "credit_version").order_by("pk")
        return rows.prefetch_related(Prefetch(self.settlements, told))


class Bills(_Settling):
    """Invoices and credit notes."""

    rows = Invoice.objects.select_related("entity", "connection", "current__customer", "agreed").prefetch_related(
        "versions__lines", "versions__lines__allocations", "current__lines"
    )
    settlements = "settled_by"
    filterset_class = BillFilter
    serializer_class = BillRow


class PaymentRow(StatedRow):
    """One payment or write-off as its system states it, and which bills it settles."""

    reference = serializers.CharField(source="current.reference")
    amount = _money(source="current.amount")
    unapplied = _money(source="current.unapplied")
    settles = serializers.SerializerMethodField()

    def get_settles(self, payment: Payment) -> list[dict[str, Any]]:
        """Its parts over all versions."""
        rows = [row for version in payment.versions.all() for row in version.allocations.all()]
        return list(SettlementRow(sorted(rows, key=lambda row: row.pk), many=True).data)


class Payments(_Settling):
    """Payments and write-offs."""

    rows = Payment.objects.select_related("entity", "connection", "current__customer")
    settlements = "versions__allocations"
    filterset_class = PaymentFilter
    serializer_class = PaymentRow
