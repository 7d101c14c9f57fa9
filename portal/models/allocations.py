"""Who is billed for which hours: allocations between the lines of bills and what was delivered.

The rule here: open = delivered - invoiced + credited, and it is never below zero for any entry. The database keeps the balance
by trigger, one document at a time, and refuses what would bill an hour twice; no code path can go round it.
"""

from __future__ import annotations

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import F, Q

from portal.models.access import Scope, ScopedQuerySet
from portal.models.billing import InvoiceLine, InvoiceVersion


class Allocation(models.Model):
    """Part of one delivered thing on one line of a bill; append-only.

    `quantity` is in hours for time, and in money for an expense or a milestone; `amount` is the money on the line, net. A row
    that takes another back has the opposite sign and never more than is left of it: a credit note's line does, a void does
    (`line` is then that of the invoice), and the void of a credit note takes the credit back. A credit of the price alone
    has no quantity, so the hours stay billed.
    """

    entity = models.ForeignKey("portal.LegalEntity", models.PROTECT, related_name="+")
    entry = models.ForeignKey("portal.LedgerEntry", models.PROTECT, null=True, blank=True, related_name="allocations")
    milestone = models.ForeignKey("portal.Milestone", models.PROTECT, null=True, blank=True, related_name="allocations")
    line = models.ForeignKey(InvoiceLine, models.PROTECT, related_name="allocations")
    cause = models.ForeignKey(InvoiceVersion, models.PROTECT, related_name="allocations")  # the version that brought it
    takes_back = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="taken_back_by")
    quantity = models.DecimalField(max_digits=18, decimal_places=4)
    amount = models.DecimalField(max_digits=18, decimal_places=4)
    currency = models.CharField(max_length=3)
    actor = models.CharField(max_length=150)
    reason = models.CharField(max_length=500, blank=True)
    recorded_at = models.DateTimeField()

    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(entry=None, milestone__isnull=False) | Q(entry__isnull=False, milestone=None),
                name="an_allocation_is_of_an_entry_or_a_milestone",
            ),
            models.CheckConstraint(
                condition=Q(takes_back__isnull=False) | Q(quantity__gt=0, amount__gte=0),
                name="what_is_billed_has_a_quantity",
            ),
            models.CheckConstraint(condition=~Q(quantity=0, amount=0), name="an_allocation_moves_something"),
            models.CheckConstraint(condition=~Q(currency=""), name="an_allocation_has_a_currency"),
        ]
        indexes = [
            BrinIndex(fields=["recorded_at"], name="allocation_by_moment", autosummarize=True, pages_per_range=32)
        ]

    def __str__(self) -> str:
        return f"{self.quantity} on line {self.line_id}"


class BillingBalance(models.Model):
    """What of one entry or milestone was invoiced and credited. Written by the trigger of `Allocation` and by nothing else.

    `amount` is what stands on bills in the currency of what was delivered: a credit of the price alone lowers it and nothing
    else. What a bill in another currency asks for counts as its share of what was delivered.
    """

    entity = models.ForeignKey("portal.LegalEntity", models.PROTECT, related_name="+")
    document = models.ForeignKey("portal.Document", models.PROTECT, null=True, blank=True, related_name="+")
    entry = models.OneToOneField(
        "portal.LedgerEntry", models.PROTECT, null=True, blank=True, related_name="billing_balance"
    )
    milestone = models.OneToOneField(
        "portal.Milestone", models.PROTECT, null=True, blank=True, related_name="billing_balance"
    )
    delivered = models.DecimalField(max_digits=18, decimal_places=4)
    invoiced = models.DecimalField(max_digits=18, decimal_places=4, default=0, db_default=0)
    credited = models.DecimalField(max_digits=18, decimal_places=4, default=0, db_default=0)
    amount = models.DecimalField(max_digits=18, decimal_places=4, default=0, db_default=0)

    scope = Scope("entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(entry=None, milestone__isnull=False) | Q(entry__isnull=False, milestone=None),
                name="a_balance_is_of_an_entry_or_a_milestone",
            ),
            models.CheckConstraint(
                condition=Q(invoiced__lte=F("delivered") + F("credited")), name="nothing_is_billed_twice"
            ),
            models.CheckConstraint(condition=Q(credited__lte=F("invoiced")), name="no_more_is_credited_than_invoiced"),
        ]

    def __str__(self) -> str:
        return f"{self.invoiced} less {self.credited} of {self.delivered}"
