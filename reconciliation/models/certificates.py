"""Who signed that a period ties out, and what became of the signature."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from portal.models.access import Scope, ScopedQuerySet
from reconciliation.models.comparison import ReconciliationRun


class Certificate(models.Model):
    """The word of two people that a period of an entity ties out, with exactly these totals and these open items.

    Prepared by one and certified by another. It drops by itself when anything underneath changes; `delta` says what did.
    What it says is never changed and a certificate that has ended stays as it ended (a trigger holds that).
    """

    class State(models.TextChoices):
        PREPARED = "prepared", "Prepared"
        CERTIFIED = "certified", "Certified"
        DROPPED = "dropped", "Dropped"
        WITHDRAWN = "withdrawn", "Withdrawn"

    period = models.ForeignKey("portal.AccountingPeriod", models.PROTECT, related_name="certificates")
    run = models.ForeignKey(ReconciliationRun, models.PROTECT, related_name="certificates")
    state = models.CharField(max_length=10, choices=State.choices, default=State.PREPARED)
    books = models.CharField(max_length=10)  # how the period's books stood
    totals = models.JSONField()
    differing = models.IntegerField()  # open items that were accepted with it
    note = models.TextField(blank=True)  # why they are accepted
    uncompared = models.JSONField(default=dict, blank=True, db_default={})  # leg → why its money is accepted unproved
    prepared_by = models.ForeignKey("portal.User", models.PROTECT, related_name="+")
    prepared_at = models.DateTimeField()
    certified_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    certified_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    why = models.TextField(blank=True)  # of its end, in a sentence
    delta = models.JSONField(default=dict, blank=True)  # per leg what was and what is, and the things that changed

    scope = Scope("period__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["period"], condition=Q(state__in=["prepared", "certified"]), name="a_period_is_certified_once"
            ),
            models.CheckConstraint(
                condition=Q(certified_by=None) | ~Q(certified_by=F("prepared_by")),
                name="who_certifies_did_not_prepare",
            ),
            models.CheckConstraint(
                condition=~Q(state="certified") | Q(certified_by__isnull=False, certified_at__isnull=False),
                name="certified_means_by_two_people",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["prepared", "certified"], ended_at=None) | Q(ended_at__isnull=False),
                name="a_certificate_that_ended_says_when",
            ),
            models.CheckConstraint(
                condition=Q(differing=0) | ~Q(note=""), name="open_items_are_certified_with_a_reason"
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"Certificate of {self.period}"

    @property
    def changes(self) -> list[str]:
        """What changed under it, a sentence each; nothing of one that did not drop."""
        return list(self.delta.get("items", ()))
