"""The lists of bills and of payments, as their systems state them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.db.models import BigIntegerField, Case, DecimalField, F, OuterRef, Q, QuerySet, Subquery, Sum, Value, When
from django.db.models.functions import Cast, Coalesce
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from portal.models import Invoice, Payment, PaymentAllocation
from portal.models.billing import BILL_STATUSES
from portal.records import BillStatus, PaymentStatus
from portal.screens import (
    CurrencyColumn,
    DayColumn,
    Empty,
    ListScreen,
    MainColumn,
    MoneyColumn,
    StateColumn,
    Tab,
    Table,
    TextColumn,
)
from portal.screens.printing import EntityTotal, totals_by
from reconciliation.bill_filters import STANDS, BillFilter, PaymentFilter
from reconciliation.models import ExceptionCase

BILL_TONES: dict[str, str] = {
    BillStatus.DRAFT: "", BillStatus.OPEN: "info", BillStatus.PART_PAID: "warn", BillStatus.PAID: "good",
    BillStatus.WRITTEN_OFF: "bad", BillStatus.VOIDED: "", BillStatus.DELETED: "bad",
}  # fmt: skip
BILL_WORDS: dict[str, str] = {str(word): label for word, label in BILL_STATUSES}
_NOTE_WORDS = {BillStatus.PART_PAID: "Settled in part", BillStatus.PAID: "Settled"}  # nobody pays a credit note
PAYMENT_TONES: dict[str, str] = {
    PaymentStatus.RECEIVED: "good", PaymentStatus.BOUNCED: "bad", PaymentStatus.VOIDED: "", PaymentStatus.DELETED: "bad",
}  # fmt: skip
DEAD = (BillStatus.VOIDED, BillStatus.DELETED)
CHANGED = ~Q(agreed=F("current")) & ~Q(current__status=BillStatus.VOIDED)
_MONEY: DecimalField[Any, Any] = DecimalField(max_digits=18, decimal_places=4)


def _sum(rows: QuerySet[Any], by: str) -> Coalesce:
    summed = rows.order_by().values(by).annotate(total=Sum("amount")).values("total")
    return Coalesce(Subquery(summed, output_field=_MONEY), Value(Decimal(0)), output_field=_MONEY)


SETTLED = Case(  # of an invoice; a credit note settles others
    When(kind="invoice", then=_sum(PaymentAllocation.objects.filter(invoice=OuterRef("pk")), "invoice")),
    default=None,
    output_field=_MONEY,
)
COUNTED = Case(  # of what settles: a dead bill owes nothing, and what a credit note settles counts with the invoice and the note
    When(current__status__in=DEAD, then=Value(Decimal(0))),
    When(
        kind="credit_note",
        then=-_sum(PaymentAllocation.objects.filter(credit_version__invoice=OuterRef("pk")), "credit_version__invoice"),
    ),
    default=_sum(PaymentAllocation.objects.filter(invoice=OuterRef("pk")), "invoice"),
    output_field=_MONEY,
)
APPLIED = _sum(PaymentAllocation.objects.filter(payment_version__payment=OuterRef("pk")), "payment_version__payment")


def standing(bill: Any) -> tuple[str, str]:
    """How a bill stands, in words and as a tone: an invoice that is due and not paid says for how many days. Needs `stands`."""
    words = BILL_WORDS[bill.stands]
    if bill.kind == "credit_note":
        return _NOTE_WORDS.get(bill.stands, words), BILL_TONES.get(bill.stands, "")
    due, today = bill.current.due_on, timezone.localdate()
    if bill.stands not in (BillStatus.OPEN, BillStatus.PART_PAID) or due is None or due >= today:
        return words, BILL_TONES.get(bill.stands, "")
    late = f"overdue by {(today - due).days} day{'s' if (today - due).days > 1 else ''}"
    return late.capitalize() if bill.stands == BillStatus.OPEN else f"{words}, {late}", "bad"


def _customer(row: Any) -> str:
    version = row.current
    return version.customer.name if version.customer else version.customer_name or "customer unknown here"


def _under_bill(bill: Any) -> str:
    words = [_customer(bill), f"{bill.connection.name} {bill.external_id} v{bill.current.version}"]
    if bill.credits_id:
        words.append(f"credits {bill.credits.current.number or bill.credits.external_id}")
    return " · ".join(words)


WORTH = Case(  # what a bill asks for: a credit note less than nothing, a dead bill nothing
    When(current__status__in=DEAD, then=Value(Decimal(0))),
    When(kind="credit_note", then=-F("current__total")),
    default=F("current__total"),
    output_field=_MONEY,
)


def _with_causes(user: Any) -> QuerySet[Any, Any]:
    """The bills about which a cause is open that the person may see: each waits for somebody to do something about it."""
    causes = ExceptionCase.objects.visible_to(user).filter(state="open", subject_type="bill")
    found: QuerySet[Any, Any] = causes.order_by().annotate(of=Cast("subject_key", BigIntegerField())).values("of")
    return found


class BillTable(Table):
    """One bill a row."""

    bill = MainColumn(
        accessor="pk", verbose_name="Bill", url=lambda bill: reverse("bill", args=[bill.pk]), second=_under_bill,
        drawer=False, order_by=("current__number", "pk"),
    )  # fmt: skip
    entity = TextColumn(accessor="entity__code", order_by="entity__code", verbose_name="Entity")
    booked_on = DayColumn(accessor="current__booked_on", order_by="current__booked_on", verbose_name="Booked")
    due_on = DayColumn(accessor="current__due_on", order_by="current__due_on", verbose_name="Due")
    total = MoneyColumn(accessor="worth", order_by="worth", currency="current__currency")
    settled = MoneyColumn(currency="current__currency", strong=False)
    currency = CurrencyColumn(accessor="current__currency")
    status = TextColumn(accessor="stands", order_by="stands", verbose_name="Status")

    def render_bill(self, record: Any) -> Any:
        """Its kind and number."""
        column: MainColumn = self.columns["bill"].column
        return column.render(str(record), record)

    def value_bill(self, record: Any) -> str:
        """Its kind and number."""
        return str(record)

    def render_status(self, record: Any) -> Any:
        """The status in words."""
        words, tone = standing(record)
        return format_html('<span class="state {}">{}</span>', tone, words)

    def value_status(self, record: Any) -> str:
        """The words alone."""
        return standing(record)[0]


class BillList(ListScreen):
    """Invoices and credit notes, the latest first."""

    title = "Bills"
    caption = "Invoices and credit notes, the latest first"
    queryset = (
        Invoice.objects.select_related("entity", "connection", "current__customer", "credits__current")
        .annotate(settled=SETTLED, worth=WORTH, counted=COUNTED, stands=STANDS)
        .order_by(F("current__booked_on").desc(nulls_last=True), "-pk")
    )
    filterset = BillFilter
    table = BillTable
    primary = ("number", "customer", "status")
    totals = {"total": Sum("worth", default=Decimal(0)), "settled": Sum("counted", default=Decimal(0))}
    currency = "current__currency"
    tabs = (
        Tab("all", "All"),
        Tab("open", "Open", lambda _u: Q(kind="invoice", stands__in=[BillStatus.OPEN, BillStatus.PART_PAID])),
        Tab("paid", "Paid", lambda _u: Q(kind="invoice", stands=BillStatus.PAID)),
        Tab("credit", "Credit notes", lambda _u: Q(kind="credit_note")),
        Tab("changed", "To decide", lambda user: CHANGED | Q(pk__in=_with_causes(user))),
        Tab("dead", "Void, gone or written off", lambda _u: Q(current__status__in=[*DEAD, BillStatus.WRITTEN_OFF])),
    )
    empty = Empty("No bill yet", "Invoices and credit notes stand here once the system that keeps them has been read.")

    def headline(self) -> str:
        """What this list is."""
        return "Invoices and credit notes as their systems state them, and what settles them"

    def entity_totals(self) -> list[EntityTotal]:
        """Totals of each entity."""
        return totals_by(self.filtered, self.totals, entity="entity__code", currency="current__currency")


CAME_IN = Case(  # what a payment brings: one that bounced, was voided or is gone brings nothing
    When(current__status=PaymentStatus.RECEIVED, then=F("current__amount")),
    default=Value(Decimal(0)),
    output_field=_MONEY,
)


def _under_payment(payment: Any) -> str:
    return f"{_customer(payment)} · {payment.connection.name} {payment.external_id} v{payment.current.version}"


class PaymentTable(Table):
    """One payment or write-off a row."""

    payment = MainColumn(
        accessor="pk", verbose_name="Payment", url=lambda row: reverse("payment", args=[row.pk]), second=_under_payment,
        drawer=False, order_by=("current__number", "pk"),
    )  # fmt: skip
    entity = TextColumn(accessor="entity__code", order_by="entity__code", verbose_name="Entity")
    booked_on = DayColumn(accessor="current__booked_on", order_by="current__booked_on", verbose_name="Booked")
    reference = TextColumn(accessor="current__reference", orderable=False, mono=True)
    amount = MoneyColumn(accessor="current__amount", order_by="current__amount", currency="current__currency")
    applied = MoneyColumn(currency="current__currency", strong=False)
    currency = CurrencyColumn(accessor="current__currency")
    status = StateColumn(PAYMENT_TONES, accessor="current__status", order_by="current__status", verbose_name="Status")

    def render_payment(self, record: Any) -> Any:
        """Its kind and number."""
        column: MainColumn = self.columns["payment"].column
        return column.render(str(record), record)

    def value_payment(self, record: Any) -> str:
        """Its kind and number."""
        return str(record)

    def render_status(self, record: Any) -> Any:
        """The status in words."""
        column: StateColumn = self.columns["status"].column
        return column.render(record.current.get_status_display(), record)

    def value_status(self, record: Any) -> str:
        """The words alone."""
        return str(record.current.get_status_display())


class PaymentList(ListScreen):
    """Payments and write-offs, the latest first."""

    title = "Payments"
    caption = "Payments and write-offs, the latest first"
    queryset = (
        Payment.objects.select_related("entity", "connection", "current__customer")
        .annotate(applied=APPLIED, worth=CAME_IN)
        .order_by(F("current__booked_on").desc(nulls_last=True), "-pk")
    )
    filterset = PaymentFilter
    table = PaymentTable
    primary = ("number", "customer", "status")
    totals = {"amount": Sum("worth", default=Decimal(0)), "applied": Sum("applied", default=Decimal(0))}
    currency = "current__currency"
    tabs = (
        Tab("all", "All"),
        Tab("cash", "Payments", lambda _user: Q(kind="payment")),
        Tab(
            "unapplied",
            "Not applied in full",
            lambda _user: Q(current__status="received", applied__lt=F("current__amount")),
        ),
        Tab("off", "Write-offs", lambda _user: Q(kind="write_off")),
        Tab("back", "Taken back", lambda _user: ~Q(current__status="received")),
    )
    empty = Empty("No payment yet", "Payments stand here once the system that keeps them has been read.")

    def headline(self) -> str:
        """What this list is."""
        return "Payments and write-offs as their systems state them, and which bills they settle"

    def entity_totals(self) -> list[EntityTotal]:
        """Totals of each entity."""
        return totals_by(self.filtered, self.totals, entity="entity__code", currency="current__currency")
