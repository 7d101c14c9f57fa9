"""The filters of bills and payments: the same for the screens, the exports and the API."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import django_filters as filters
from django.db.models import Case, CharField, F, OuterRef, Q, QuerySet, Subquery, Sum, Value, When
from django.db.models.functions import Coalesce

from portal.models import Invoice, Payment, PaymentAllocation
from portal.models.billing import BILL_KINDS, BILL_STATUSES, PAYMENT_KINDS, PAYMENT_STATUSES
from portal.records import BillStatus

_ASKED_FOR = (BillStatus.OPEN, BillStatus.PART_PAID, BillStatus.PAID)
_BY_WHAT_SETTLES = (
    PaymentAllocation.objects.filter(invoice=OuterRef("pk"))
    .order_by()
    .values("invoice")
    .annotate(total=Sum("amount"), written_off=Coalesce(Sum("amount", filter=Q(by="write_off")), Value(Decimal(0))))
    .annotate(
        said=Case(
            When(total__gte=OuterRef("current__total"), written_off=0, then=Value(BillStatus.PAID.value)),
            When(total__gte=OuterRef("current__total"), then=Value(None)),
            When(total__gt=0, then=Value(BillStatus.PART_PAID.value)),
            default=Value(BillStatus.OPEN.value),
            output_field=CharField(),
        )
    )
    .values("said")
)
# Where a bill stands: by what settles it here as soon as anything ever did, whatever its system says; else as its system says.
STANDS = Case(
    When(
        kind="invoice", current__status__in=_ASKED_FOR,
        then=Coalesce(Subquery(_BY_WHAT_SETTLES), F("current__status"), output_field=CharField()),
    ),
    default=F("current__status"),
    output_field=CharField(),
)  # fmt: skip


class BillFilter(filters.FilterSet):  # type: ignore[misc]
    """What bills are found by."""

    number = filters.CharFilter(method="by_number", label="Number or id")
    kind = filters.ChoiceFilter(choices=BILL_KINDS, label="Kind")
    status = filters.MultipleChoiceFilter(method="by_status", choices=BILL_STATUSES, label="Status")
    customer = filters.CharFilter(method="by_customer", label="Customer")
    entity = filters.CharFilter("entity__code", label="Entity")
    system = filters.CharFilter("connection__code", label="System")
    booked_from = filters.DateFilter("current__booked_on", lookup_expr="gte", label="Booked from")
    booked_to = filters.DateFilter("current__booked_on", lookup_expr="lte", label="Booked to")
    overdue_on = filters.DateFilter(method="by_overdue", label="Overdue on")

    def by_number(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """By any number that the bill bore, or its id in its system."""
        return rows.filter(Q(external_id=value) | Q(pk__in=Invoice.objects.filter(versions__number__iexact=value)))

    def by_status(self, rows: QuerySet[Any], name: str, value: list[str]) -> QuerySet[Any]:
        """By where it stands."""
        found: QuerySet[Any] = rows.alias(where=STANDS).filter(where__in=value) if value else rows
        return found

    def by_customer(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """By the customer's code or name."""
        return rows.filter(
            Q(current__customer__code__iexact=value)
            | Q(current__customer__name__icontains=value)
            | Q(current__customer_name__icontains=value)
        )

    def by_overdue(self, rows: QuerySet[Any], name: str, value: Any) -> QuerySet[Any]:
        """Invoices that were due before a day and are not paid."""
        unpaid = [BillStatus.OPEN, BillStatus.PART_PAID]
        found: QuerySet[Any] = rows.alias(where=STANDS).filter(
            kind="invoice", current__due_on__lt=value, where__in=unpaid
        )
        return found

    class Meta:
        model = Invoice
        fields: list[str] = []


class PaymentFilter(filters.FilterSet):  # type: ignore[misc]
    """What payments are found by."""

    number = filters.CharFilter(method="by_number", label="Number, reference or id")
    kind = filters.ChoiceFilter(choices=PAYMENT_KINDS, label="Kind")
    status = filters.MultipleChoiceFilter("current__status", choices=PAYMENT_STATUSES, label="Status")
    customer = filters.CharFilter("current__customer_name", lookup_expr="icontains", label="Customer")
    entity = filters.CharFilter("entity__code", label="Entity")
    system = filters.CharFilter("connection__code", label="System")
    booked_from = filters.DateFilter("current__booked_on", lookup_expr="gte", label="Booked from")
    booked_to = filters.DateFilter("current__booked_on", lookup_expr="lte", label="Booked to")

    def by_number(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """By its number, the bank's reference, or its id in its system."""
        return rows.filter(
            Q(external_id=value) | Q(current__number__iexact=value) | Q(current__reference__iexact=value)
        )

    class Meta:
        model = Payment
        fields: list[str] = []
