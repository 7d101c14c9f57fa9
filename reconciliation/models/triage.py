"""What people decide about a cause before it is fixed: set aside until something happens, given to somebody, merged.

Written only by `reconciliation.triage`.
"""

from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.db.models import F, Q

from portal.models.access import Scope, ScopedQuerySet
from reconciliation.models.cases import ExceptionCase

LONGEST_IGNORE = timedelta(days=90)


class Snooze(models.Model):
    """A cause put out of sight until a day comes, until a period opens, or until a connection was read again."""

    class Until(models.TextChoices):
        DATE = "date", "Until a day"
        PERIOD = "period", "Until a period opens"
        SYNC = "sync", "Until the next sync"

    case = models.ForeignKey(ExceptionCase, models.CASCADE, related_name="snoozes")
    by = models.ForeignKey("portal.User", models.PROTECT, related_name="+")
    at = models.DateTimeField()
    reason = models.TextField(blank=True)
    until = models.CharField(max_length=10, choices=Until.choices)
    date = models.DateField(null=True, blank=True)
    period = models.ForeignKey("portal.AccountingPeriod", models.PROTECT, null=True, blank=True, related_name="+")
    connection = models.ForeignKey("portal.Connection", models.PROTECT, null=True, blank=True, related_name="+")
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_why = models.TextField(blank=True)

    scope = Scope("case__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["case"], condition=Q(ended_at=None), name="a_cause_is_snoozed_once_at_a_time"
            ),
            models.CheckConstraint(
                condition=Q(until="date", date__isnull=False, period=None, connection=None)
                | Q(until="period", date=None, period__isnull=False, connection=None)
                | Q(until="sync", date=None, period=None, connection__isnull=False),
                name="a_snooze_says_what_it_waits_for",
            ),
        ]
        indexes = [models.Index(fields=["until"], condition=Q(ended_at=None), name="snooze_that_runs")]

    def __str__(self) -> str:
        return f"{self.get_until_display()} ({self.case_id})"


class Ignore(models.Model):
    """A cause that somebody answers for leaving alone, for a reason, up to a day and up to an amount per currency.

    `ceiling` is what it may hold: {currency: amount}, with "*" for the rest. Above it, or after the day, it is back.
    """

    case = models.ForeignKey(ExceptionCase, models.CASCADE, related_name="ignores")
    by = models.ForeignKey("portal.User", models.PROTECT, related_name="+")
    at = models.DateTimeField()
    reason = models.TextField()
    expires_on = models.DateField()
    ceiling = models.JSONField(default=dict)
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_why = models.TextField(blank=True)

    scope = Scope("case__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["case"], condition=Q(ended_at=None), name="a_cause_is_ignored_once_at_a_time"
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="to_ignore_needs_a_reason"),
            models.CheckConstraint(
                condition=Q(expires_on__lte=F("at") + LONGEST_IGNORE), name="nothing_is_ignored_beyond_ninety_days"
            ),
        ]
        indexes = [models.Index(fields=["expires_on"], condition=Q(ended_at=None), name="ignore_that_runs")]

    def __str__(self) -> str:
        return f"ignored until {self.expires_on}: {self.reason[:60]}"


class Decision(models.Model):
    """One act of triage on one or many causes, with its reason; taken back within seconds while nothing else was decided."""

    class Kind(models.TextChoices):
        ASSIGN = "assign", "Assigned"
        SNOOZE = "snooze", "Snoozed"
        WAKE = "wake", "Woken"
        IGNORE = "ignore", "Ignored"
        STOP_IGNORING = "stop_ignoring", "No longer ignored"
        TAG = "tag", "Tagged"
        UNTAG = "untag", "Untagged"
        MERGE = "merge", "Merged"
        UNMERGE = "unmerge", "Merge taken apart"

    kind = models.CharField(max_length=20, choices=Kind.choices)
    by = models.ForeignKey("portal.User", models.PROTECT, related_name="+")
    at = models.DateTimeField()
    words = models.CharField(max_length=300)  # what was decided, in a sentence's words
    reason = models.TextField(blank=True)
    undone_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.words


class DecisionCase(models.Model):
    """One cause that a decision touched, with what it changed: the values before and after, by field."""

    decision = models.ForeignKey(Decision, models.CASCADE, related_name="cases")
    case = models.ForeignKey(ExceptionCase, models.CASCADE, related_name="decisions")
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)

    scope = Scope("case__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["decision", "case"], name="a_decision_touches_a_cause_once")]

    def __str__(self) -> str:
        return f"{self.decision_id} on {self.case_id}"


class Lease(models.Model):
    """Somebody says “I am on it”; it ends by itself, so that nobody is kept away by a person who went home."""

    case = models.ForeignKey(ExceptionCase, models.CASCADE, related_name="leases")
    user = models.ForeignKey("portal.User", models.CASCADE, related_name="+")
    since = models.DateTimeField()
    until = models.DateTimeField()

    scope = Scope("case__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["since"]
        constraints = [
            models.UniqueConstraint(fields=["case", "user"], name="one_lease_per_cause_and_person"),
            models.CheckConstraint(condition=Q(until__gt=F("since")), name="a_lease_ends_after_it_began"),
        ]

    def __str__(self) -> str:
        return f"{self.user} is on {self.case_id}"
