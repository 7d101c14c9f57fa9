"""What finance learned while fixing: that a code stands for a record, to be remembered once a second person agrees."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from portal.models import Crosswalk
from portal.models.access import ScopedQuerySet
from reconciliation.models.cases import ExceptionCase
from reconciliation.models.changes import ChangeSet


class Proposal(models.Model):
    """One alias that somebody proposes from what was fixed by hand: this code means that record, from a work date on.

    Approved by somebody else it becomes an alias; until then it changes nothing. `evidence` tells what was fixed so far:
    operations, entries, hours, people and money by currency.
    """

    class State(models.TextChoices):
        PROPOSED = "proposed", "Proposed"
        APPROVED = "approved", "Approved"
        REJECTED = "rejected", "Rejected"
        WITHDRAWN = "withdrawn", "Withdrawn"

    entity = models.ForeignKey("portal.LegalEntity", models.PROTECT, related_name="proposals")
    connection = models.ForeignKey("portal.Connection", models.PROTECT, null=True, blank=True, related_name="proposals")
    kind = models.CharField(max_length=20, choices=Crosswalk.Kind.choices)
    code = models.CharField(max_length=200)  # as the source says it
    internal_id = models.BigIntegerField()  # the record it stands for, within the kind's table
    record = models.CharField(max_length=300)  # its code and name, as they were when it was proposed
    valid_from = models.DateField()
    reason = models.TextField()
    case = models.ForeignKey(ExceptionCase, models.PROTECT, null=True, blank=True, related_name="proposals")
    operations = ArrayField(models.BigIntegerField(), default=list, blank=True)  # the fixes that are its evidence
    evidence = models.JSONField(default=dict, blank=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.PROPOSED)
    proposed_by = models.ForeignKey("portal.User", models.PROTECT, related_name="proposals")
    proposed_at = models.DateTimeField()
    decided_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    comment = models.TextField(blank=True)
    change_set = models.ForeignKey(ChangeSet, models.PROTECT, null=True, blank=True, related_name="proposals")
    alias = models.ForeignKey("portal.Alias", models.PROTECT, null=True, blank=True, related_name="proposals")

    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["entity", "connection", "kind", "code"], condition=Q(state="proposed"), nulls_distinct=False,
                name="a_code_is_proposed_once_at_a_time",
            ),
            models.CheckConstraint(
                condition=Q(state="withdrawn") | Q(decided_by=None) | ~Q(decided_by=F("proposed_by")),
                name="who_decides_did_not_propose",
            ),
            models.CheckConstraint(
                condition=Q(state="proposed", decided_by=None, decided_at=None)
                | (~Q(state="proposed") & Q(decided_by__isnull=False, decided_at__isnull=False)),
                name="a_decided_proposal_has_a_person_and_a_moment",
            ),
            models.CheckConstraint(
                condition=~Q(state="approved") | Q(alias__isnull=False), name="an_approved_proposal_has_its_alias"
            ),
            models.CheckConstraint(
                condition=~Q(state="rejected") | ~Q(comment=""), name="a_rejected_proposal_says_why"
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"“{self.code}” stands for {self.record}"
