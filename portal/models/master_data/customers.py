"""Who is billed and under what: customers, contracts, purchase orders, and when an invoice goes out."""

from __future__ import annotations

from django.contrib.postgres.constraints import ExclusionConstraint
from django.db import models
from django.db.models import F, Q

from portal.models.access import Scope, ScopedQuerySet
from portal.models.master_data.entities import LegalEntity
from portal.models.master_data.ranges import during, history_of, same


class BillingModel(models.TextChoices):
    """How a contract is billed. Only time and material bills its hours; the others post time as cost only."""

    TIME_AND_MATERIAL = "time_and_material", "Time and material"
    FIXED_FEE = "fixed_fee", "Fixed fee"
    RETAINER = "retainer", "Retainer"
    MILESTONE = "milestone", "Milestone"


class InvoiceSchedule(models.TextChoices):
    """When invoices go out. Without a word about it the schedule is unknown, which is not the same as none."""

    MONTHLY = "monthly", "Monthly"
    WEEKLY = "weekly", "Weekly"
    MILESTONE = "milestone", "Per milestone"
    NONE = "none", "Never invoiced"


class Invoiced(models.Model):
    """When a customer is invoiced and how long it may take to pay: said for the customer, and by a contract that differs."""

    invoice_schedule = models.CharField(
        max_length=10, choices=InvoiceSchedule.choices, blank=True, default="", db_default=""
    )
    invoice_day = models.PositiveSmallIntegerField(null=True, blank=True)  # of the month, or of the week (1 is Monday)
    payment_terms_days = models.PositiveSmallIntegerField(null=True, blank=True)  # from the invoice to its due day

    class Meta:
        abstract = True


def invoice_day_fits(model: str) -> models.CheckConstraint:
    """A day of the month or of the week where invoices go out on one, and none where they do not."""
    return models.CheckConstraint(
        condition=Q(invoice_schedule=InvoiceSchedule.MONTHLY, invoice_day__isnull=False, invoice_day__range=(1, 31))
        | Q(invoice_schedule=InvoiceSchedule.WEEKLY, invoice_day__isnull=False, invoice_day__range=(1, 7))
        | (~Q(invoice_schedule__in=[InvoiceSchedule.MONTHLY, InvoiceSchedule.WEEKLY]) & Q(invoice_day=None)),
        name=f"{model}_is_invoiced_on_a_day_that_fits_its_schedule",
    )


class Customer(Invoiced):
    """One customer. A merged one points at the survivor and is kept."""

    class TaxTreatment(models.TextChoices):
        DOMESTIC = "domestic", "Domestic"
        REVERSE_CHARGE = "reverse_charge", "Reverse charge"
        EXPORT = "export", "Export"
        EXEMPT = "exempt", "Exempt"

    code = models.CharField(max_length=60, unique=True)
    name = models.CharField(max_length=200)
    parent = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="children")
    merged_into = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="merged")
    entity = models.ForeignKey(LegalEntity, models.PROTECT, null=True, blank=True, related_name="customers")
    currency = models.CharField(max_length=3)
    tax_treatment = models.CharField(max_length=20, choices=TaxTreatment.choices, default=TaxTreatment.DOMESTIC)
    tax_number = models.CharField(max_length=40, blank=True)
    active_from = models.DateField(null=True, blank=True)
    active_to = models.DateField(null=True, blank=True)

    history = history_of()
    scope = Scope(shared=True)
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["code"]
        constraints = [
            models.CheckConstraint(
                condition=Q(merged_into=None) | ~Q(merged_into=F("id")), name="customer_is_not_merged_into_itself"
            ),
            invoice_day_fits("customer"),
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.name}"


class Contract(Invoiced):
    """What was agreed with a customer: how it is billed, in which currency, up to which amount."""

    class Rounding(models.TextChoices):
        ENTRY = "entry", "Per entry"
        LINE = "line", "Per line"
        INVOICE = "invoice", "Per invoice"

    class Overage(models.TextChoices):
        HOURLY = "hourly", "Billed at the rate card"
        CAPPED = "capped", "Worked and not billed"
        REJECTED = "rejected", "Not accepted"

    code = models.CharField(max_length=60, unique=True)
    name = models.CharField(max_length=200)
    customer = models.ForeignKey(Customer, models.PROTECT, related_name="contracts")
    entity = models.ForeignKey(LegalEntity, models.PROTECT, related_name="contracts")
    billing_model = models.CharField(
        max_length=20, choices=BillingModel.choices, default=BillingModel.TIME_AND_MATERIAL
    )
    currency = models.CharField(max_length=3)
    cap_amount = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)  # not-to-exceed
    retainer_hours = models.DecimalField(
        max_digits=8, decimal_places=2, null=True, blank=True
    )  # that a retainer's instalments pay for in each month; empty: all that are worked
    overage = models.CharField(
        max_length=10, choices=Overage.choices, blank=True, default="", db_default=""
    )  # what becomes of the hours beyond them
    requires_purchase_order = models.BooleanField(default=False)
    rounding = models.CharField(max_length=10, choices=Rounding.choices, default=Rounding.ENTRY)
    hours_per_day = models.DecimalField(max_digits=5, decimal_places=2, default=8)  # unit factor of rates per day
    rate_tolerance = models.DecimalField(
        max_digits=18, decimal_places=4, default=0
    )  # per hour, in the contract's currency
    shares = models.JSONField(
        default=dict, blank=True, db_default=models.Value({}, models.JSONField())
    )  # who pays how much, in per cent, where several customers do: {"ACME": "60", "BETA": "40"}
    one_invoice = models.BooleanField(default=False, db_default=False)  # all its projects stand on one invoice
    starts_on = models.DateField(null=True, blank=True)
    ends_on = models.DateField(null=True, blank=True)

    history = history_of()
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["code"]
        constraints = [
            models.CheckConstraint(condition=Q(hours_per_day__gt=0), name="contract_day_has_hours"),
            models.CheckConstraint(condition=Q(rate_tolerance__gte=0), name="rate_tolerance_is_not_negative"),
            models.CheckConstraint(
                condition=Q(retainer_hours=None, overage="")
                | Q(retainer_hours__isnull=False) & Q(retainer_hours__gt=0) & ~Q(overage=""),
                name="retainer_says_what_is_beyond_its_hours",
            ),
            invoice_day_fits("contract"),
        ]

    def __str__(self) -> str:
        return self.code


class PurchaseOrder(models.Model):
    """One purchase order of a customer under a contract; its balance is the amount less what stands on the ledger."""

    contract = models.ForeignKey(Contract, models.PROTECT, related_name="purchase_orders")
    number = models.CharField(max_length=60)
    amount = models.DecimalField(max_digits=18, decimal_places=4)
    currency = models.CharField(max_length=3)
    valid_from = models.DateField()
    valid_to = models.DateField(null=True, blank=True)

    history = history_of()
    scope = Scope("contract__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["contract", "number"], name="purchase_order_number_is_unique_per_contract"),
            ExclusionConstraint(
                name="purchase_orders_of_a_contract_do_not_overlap", expressions=[same("contract_id"), during()]
            ),
        ]

    def __str__(self) -> str:
        return self.number
