"""Bills and payments: what the ERP or the billing platform has booked about our work, as append-only versions.

The rule here: the figures are theirs and are kept as they state them; a version is written once and never changed (the
database refuses it). What they mean for our hours is in `portal.models.allocations`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex, GinIndex
from django.db import models
from django.db.models import Q

from portal.models.access import Scope, ScopedQuerySet
from portal.records import BillKind, BillStatus, PaymentKind, PaymentStatus, SettledBy


def _choices(words: Any) -> list[tuple[str, str]]:
    return [(word.value, word.value.replace("_", " ").capitalize()) for word in words]


BILL_KINDS = _choices(BillKind)
BILL_STATUSES = _choices(BillStatus)
PAYMENT_KINDS = _choices(PaymentKind)
PAYMENT_STATUSES = _choices(PaymentStatus)
SETTLED_BY = [(word, label.replace("Fx", "Exchange difference")) for word, label in _choices(SettledBy)]


class BillingDocument(models.Model):
    """What bills and payments have in common: the identity of one document in the system that keeps it."""

    connection = models.ForeignKey("portal.Connection", models.PROTECT, related_name="+", db_index=False)
    entity = models.ForeignKey("portal.LegalEntity", models.PROTECT, related_name="+")
    external_id = models.CharField(max_length=200)
    seen_revision = models.CharField(max_length=120)  # an older copy never overwrites a newer one
    content_digest = models.CharField(max_length=64)  # of the current version; an echo makes no new version
    created_at = models.DateTimeField()

    class Meta:
        abstract = True


class BillingVersion(models.Model):
    """What versions of bills and payments have in common. Amounts are in `currency`, and never negative."""

    version = models.PositiveIntegerField()
    revision = models.CharField(max_length=120)
    number = models.CharField(max_length=120, blank=True)
    customer = models.ForeignKey("portal.Customer", models.PROTECT, null=True, blank=True, related_name="+")
    customer_key = models.CharField(max_length=200, blank=True)
    customer_name = models.CharField(max_length=200, blank=True)
    currency = models.CharField(max_length=3, blank=True)
    booked_on = models.DateField(null=True, blank=True)
    exchange_rate = models.DecimalField(max_digits=20, decimal_places=10, null=True, blank=True)  # as booked
    memo = models.TextField(blank=True)
    link = models.CharField(max_length=500, blank=True)
    message_id = models.BigIntegerField(null=True, blank=True)  # the inbox message that brought it
    recorded_at = models.DateTimeField()

    class Meta:
        abstract = True


class Invoice(BillingDocument):
    """The identity of one bill in the system that keeps it: an invoice, or a credit note.

    `current` is the latest version taken in. `agreed` is the version whose lines and figures we go by: it follows the current
    one by itself until a version changes what was billed, and from then on only by a person's decision.
    """

    kind = models.CharField(max_length=12, choices=BILL_KINDS, default=BillKind.INVOICE.value)
    current = models.OneToOneField("portal.InvoiceVersion", models.PROTECT, related_name="+")
    agreed = models.ForeignKey("portal.InvoiceVersion", models.PROTECT, null=True, blank=True, related_name="+")
    credits = models.ForeignKey(  # of a credit note: the invoice that it names
        "self", models.PROTECT, null=True, blank=True, related_name="credit_notes"
    )

    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["connection", "kind", "external_id"], name="bill_is_taken_in_once"),
            models.CheckConstraint(
                condition=Q(kind="credit_note") | Q(credits=None), name="only_a_credit_note_credits_an_invoice"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.current.number or self.external_id}"


class _CreditNotes(models.Manager.from_queryset(ScopedQuerySet)):  # type: ignore[misc]
    def get_queryset(self) -> ScopedQuerySet[CreditNote]:
        """Credit notes only."""
        found: ScopedQuerySet[CreditNote] = super().get_queryset().filter(kind=BillKind.CREDIT_NOTE)
        return found


class CreditNote(Invoice):
    """A bill that gives money back; the same rows as `Invoice`, of its kind."""

    objects: ClassVar[_CreditNotes] = _CreditNotes()

    class Meta:
        proxy = True


class InvoiceVersion(BillingVersion):
    """One version of one bill, with the figures and the status that its system states."""

    invoice = models.ForeignKey(Invoice, models.PROTECT, related_name="versions", db_index=False)
    status = models.CharField(max_length=12, choices=BILL_STATUSES)
    due_on = models.DateField(null=True, blank=True)
    net = models.DecimalField(max_digits=18, decimal_places=4)
    tax = models.DecimalField(max_digits=18, decimal_places=4)
    total = models.DecimalField(max_digits=18, decimal_places=4)
    balance = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)  # left to settle, as stated
    purchase_order = models.CharField(max_length=120, blank=True)
    credits_key = models.CharField(max_length=200, blank=True)  # of a credit note: the system's id of the invoice

    scope = Scope("invoice__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["invoice", "version"], name="bill_version_is_unique")]
        indexes = [
            models.Index(fields=["number"], name="bill_by_number"),
            BrinIndex(fields=["recorded_at"], name="bill_by_moment", autosummarize=True, pages_per_range=32),
            models.Index(
                fields=["invoice"],
                condition=Q(status__in=["draft", "voided", "deleted"]),
                name="bill_that_asks_for_nothing",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.number or self.invoice_id} v{self.version}"


class InvoiceLine(models.Model):
    """One line of one version of a bill. `key` is the system's own name of the line and is the same over versions."""

    version = models.ForeignKey(InvoiceVersion, models.PROTECT, related_name="lines", db_index=False)
    position = models.PositiveIntegerField()
    key = models.CharField(max_length=120)
    posting_key = models.CharField(max_length=64, blank=True)
    posting_number = models.CharField(max_length=120, blank=True)
    milestone_key = models.CharField(max_length=200, blank=True)
    project_key = models.CharField(max_length=200, blank=True)
    project_name = models.CharField(max_length=200, blank=True)
    description = models.TextField(blank=True)
    quantity = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)
    unit_price = models.DecimalField(max_digits=18, decimal_places=6, null=True, blank=True)
    net = models.DecimalField(max_digits=18, decimal_places=4)
    tax_code = models.CharField(max_length=40, blank=True)
    tax_rate = models.DecimalField(max_digits=9, decimal_places=4, null=True, blank=True)
    tax = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)

    scope = Scope("version__invoice__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["version", "position"]
        constraints = [models.UniqueConstraint(fields=["version", "key"], name="line_key_is_unique_in_a_version")]

    def __str__(self) -> str:
        return f"line {self.position}"


class Payment(BillingDocument):
    """The identity of one payment or write-off in the system that keeps it; `current` is the latest version taken in."""

    kind = models.CharField(max_length=12, choices=PAYMENT_KINDS, default=PaymentKind.PAYMENT.value)
    current = models.OneToOneField("portal.PaymentVersion", models.PROTECT, related_name="+")

    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["connection", "kind", "external_id"], name="payment_is_taken_in_once")
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.current.number or self.external_id}"


class _WriteOffs(models.Manager.from_queryset(ScopedQuerySet)):  # type: ignore[misc]
    def get_queryset(self) -> ScopedQuerySet[WriteOff]:
        """Write-offs only."""
        found: ScopedQuerySet[WriteOff] = super().get_queryset().filter(kind=PaymentKind.WRITE_OFF)
        return found


class WriteOff(Payment):
    """The decision that an amount will not come; the same rows as `Payment`, of its kind. Never counted as paid."""

    objects: ClassVar[_WriteOffs] = _WriteOffs()

    class Meta:
        proxy = True


class PaymentVersion(BillingVersion):
    """One version of one payment or write-off, with the figures and the status that its system states."""

    payment = models.ForeignKey(Payment, models.PROTECT, related_name="versions", db_index=False)
    status = models.CharField(max_length=12, choices=PAYMENT_STATUSES)
    amount = models.DecimalField(max_digits=18, decimal_places=4)
    unapplied = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)  # as stated
    reference = models.CharField(max_length=200, blank=True)
    refunds = ArrayField(  # the system's ids of what went back to the customer
        models.CharField(max_length=255), default=list, db_default=models.Value([], ArrayField(models.TextField()))
    )

    scope = Scope("payment__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["payment", "version"], name="payment_version_is_unique")]
        indexes = [
            models.Index(fields=["number"], name="payment_by_number"),
            GinIndex(fields=["refunds"], name="payment_by_refund"),
            BrinIndex(fields=["recorded_at"], name="payment_by_moment", autosummarize=True, pages_per_range=32),
        ]

    def __str__(self) -> str:
        return f"{self.number or self.payment_id} v{self.version}"


class PaymentAllocation(models.Model):
    """Part of a payment, a write-off or a credit note that settles one invoice, in the invoice's currency; append-only.

    What is re-allocated, bounced or voided is taken back by a row of the opposite amount that names it, so both stay to be
    seen. `invoice` is empty while the bill that the system names is not known here.
    """

    payment_version = models.ForeignKey(
        PaymentVersion, models.PROTECT, null=True, blank=True, related_name="allocations"
    )
    credit_version = models.ForeignKey(
        InvoiceVersion, models.PROTECT, null=True, blank=True, related_name="applications"
    )
    entity = models.ForeignKey("portal.LegalEntity", models.PROTECT, related_name="+")
    invoice = models.ForeignKey(Invoice, models.PROTECT, null=True, blank=True, related_name="settled_by")
    invoice_key = models.CharField(max_length=200)
    by = models.CharField(max_length=12, choices=SETTLED_BY)
    amount = models.DecimalField(max_digits=18, decimal_places=4)
    takes_back = models.OneToOneField("self", models.PROTECT, null=True, blank=True, related_name="taken_back_by")
    booked_on = models.DateField(null=True, blank=True)
    recorded_at = models.DateTimeField()

    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(payment_version=None, credit_version__isnull=False)
                | Q(payment_version__isnull=False, credit_version=None),
                name="a_settlement_is_of_a_payment_or_a_credit_note",
            ),
            models.CheckConstraint(
                condition=Q(takes_back=None, amount__gt=0) | Q(takes_back__isnull=False, amount__lt=0),
                name="a_settlement_is_taken_back_by_its_opposite",
            ),
        ]
        indexes = [
            models.Index(fields=["invoice_key"], condition=Q(invoice=None), name="settlement_of_unknown_bill"),
            BrinIndex(fields=["recorded_at"], name="settlement_by_moment", autosummarize=True, pages_per_range=32),
        ]

    def __str__(self) -> str:
        return f"{self.amount} to {self.invoice_key}"
