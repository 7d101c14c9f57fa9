"""What people decide about bills that changed behind our back."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from portal.models.access import Scope, ScopedQuerySet


class BillingDecision(models.Model):
    """What one person decided about one version of a bill that its system changed, voided or deleted; never changed.

    Adopt goes by what the system says now; restore asks a person or a team for the old figures in its system; make anew asks for
    a new bill in the place of a deleted one, which a second person has to agree to; correct leaves it as it is until a credit
    note has come. Of a credit note somebody may say that what it credits bills none of our work. One that a second person
    refused, or that was withdrawn, is over: another one may be made.
    """

    class Choice(models.TextChoices):
        ADOPT = "adopt", "Adopt what the system says"
        RESTORE = "restore", "Restore what was agreed"
        RECREATE = "recreate", "Make it anew"
        CORRECT = "correct", "Correct by a credit note"
        BESIDE = "beside", "It gives back none of our work"

    class Outcome(models.TextChoices):
        REFUSED = "refused", "Refused"
        WITHDRAWN = "withdrawn", "Withdrawn"

    bill = models.ForeignKey("portal.Invoice", models.PROTECT, related_name="decisions")
    version = models.ForeignKey("portal.InvoiceVersion", models.PROTECT, related_name="decisions")
    choice = models.CharField(max_length=10, choices=Choice.choices)
    reason = models.TextField()
    by = models.ForeignKey("portal.User", models.PROTECT, related_name="+")
    at = models.DateTimeField()
    needs_approval = models.BooleanField(default=False)
    approved_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    approved_at = models.DateTimeField(null=True, blank=True)

    outcome = models.CharField(max_length=10, choices=Outcome.choices, blank=True)
    ended_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_because = models.TextField(blank=True)
    asked_of = models.CharField(max_length=200, blank=True)  # who is to restore it in its system
    reminded_at = models.DateTimeField(null=True, blank=True)
    escalated_at = models.DateTimeField(null=True, blank=True)

    scope = Scope("bill__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["version"], condition=Q(outcome=""), name="a_version_of_a_bill_is_decided_once"
            ),
            models.CheckConstraint(
                condition=Q(outcome="", ended_by=None, ended_at=None, ended_because="")
                | Q(ended_by__isnull=False, ended_at__isnull=False, approved_at=None)
                & ~Q(outcome="")
                & ~Q(ended_because=""),
                name="what_ends_a_decision_has_a_person_and_a_reason",
            ),
            models.CheckConstraint(
                condition=~Q(outcome="refused") | ~Q(ended_by=F("by")), name="who_refuses_a_decision_did_not_make_it"
            ),
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
