"""What people decide about bills that changed behind our back."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from portal.models.access import Scope, ScopedQuerySet


class BillingDecision(models.Model):
    """What one person decided about one version of a bill that its system changed, voided or deleted; never changed.

    Adopt goes by what the system says now; restore asks for the old figures back, and of a deleted bill for a new one, which a
    second person has to agree to; correct leaves it as it is until a credit note has come.
    """

    class Choice(models.TextChoices):
        ADOPT = "adopt", "Adopt what the system says"
        RESTORE = "restore", "Restore what was agreed"
        CORRECT = "correct", "Correct by a credit note"

    bill = models.ForeignKey("portal.Invoice", models.PROTECT, related_name="decisions")
    version = models.ForeignKey("portal.InvoiceVersion", models.PROTECT, related_name="decisions")
    choice = models.CharField(max_length=10, choices=Choice.choices)
    reason = models.TextField()
    by = models.ForeignKey("portal.User", models.PROTECT, related_name="+")
    at = models.DateTimeField()
    needs_approval = models.BooleanField(default=False)
    approved_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    approved_at = models.DateTimeField(null=True, blank=True)

    scope = Scope("bill__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["version"], name="a_version_of_a_bill_is_decided_once"),
            models.CheckConstraint(condition=~Q(reason=""), name="a_decision_about_a_bill_has_a_reason"),
            models.CheckConstraint(
                condition=Q(approved_by=None, approved_at=None)
                | Q(approved_by__isnull=False, approved_at__isnull=False, needs_approval=True),
                name="an_approval_of_a_bill_has_a_person_and_a_moment",
            ),
            models.CheckConstraint(
                condition=Q(approved_by=None) | ~Q(approved_by=F("by")), name="who_approves_a_bill_did_not_decide_it"
            ),
        ]

    def __str__(self) -> str:
        return self.get_choice_display()
