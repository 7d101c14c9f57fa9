"""Reconciliation: one comparison of tracker, ledger and target, and what it found."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from portal.models.access import Scope, ScopedQuerySet


class ReconciliationRun(models.Model):
    """One comparison of tracker, ledger and target for an entity and period, with its totals as they stood then.

    While it runs, the row is the queue: a worker has it under a lease, or it waits for one, for the reason that `waits_for` says.
    """

    class State(models.TextChoices):
        RUNNING = "running", "Running"
        BALANCED = "balanced", "Balanced"
        OUT_OF_BALANCE = "out_of_balance", "Out of balance"
        FAILED = "failed", "Failed"

    entity = models.ForeignKey("portal.LegalEntity", models.PROTECT, related_name="reconciliation_runs")
    period = models.ForeignKey("portal.AccountingPeriod", models.PROTECT, related_name="reconciliation_runs")
    state = models.CharField(max_length=15, choices=State.choices, default=State.RUNNING)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    statement_read_at = models.DateTimeField(null=True, blank=True)
    requested_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    totals = models.JSONField(default=dict, blank=True)  # per leg: hours and money of both sides, matched, differing
    failure = models.TextField(blank=True)
    fence = models.PositiveIntegerField(default=0)  # counts the workers that took it; only the last one may end it
    deaths = models.PositiveSmallIntegerField(default=0)  # workers that had it and never gave it back
    lease_until = models.DateTimeField(null=True, blank=True)
    next_try_at = models.DateTimeField(null=True, blank=True)
    waits_for = models.TextField(blank=True)  # why the target was not asked yet, in a sentence

    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["next_try_at"], condition=Q(state="running"), name="run_to_answer")]
        constraints = [
            models.CheckConstraint(
                condition=Q(state="running") | Q(lease_until=None, next_try_at=None, waits_for=""),
                name="a_run_that_ended_waits_for_nothing",
            )
        ]

    def __str__(self) -> str:
        return f"{self.entity} {self.period.code}"


class ReconciliationResult(models.Model):
    """What one comparison found for one document version or statement line. MATCHED rows are kept too."""

    class Leg(models.TextChoices):
        TRACKER_LEDGER = "tracker_ledger", "Tracker ↔ ledger"
        LEDGER_TARGET = "ledger_target", "Ledger ↔ ERP"

    class Outcome(models.TextChoices):
        MATCHED = "matched", "Matched"
        MISSING_LEFT = "missing_left", "Only on the right"
        MISSING_RIGHT = "missing_right", "Only on the left"
        HOURS_DIFFER = "hours_differ", "Hours differ"
        AMOUNT_DIFFERS = "amount_differs", "Amount differs"
        DATE_DIFFERS = "date_differs", "Date differs"
        PROJECT_DIFFERS = "project_differs", "Project differs"
        DUPLICATE = "duplicate", "Booked more than once"
        OPEN = "open", "Not posted yet"

    run = models.ForeignKey(ReconciliationRun, models.CASCADE, related_name="results")
    leg = models.CharField(max_length=20, choices=Leg.choices)
    outcome = models.CharField(max_length=20, choices=Outcome.choices)
    document = models.ForeignKey("portal.Document", models.PROTECT, null=True, blank=True, related_name="+")
    entry = models.ForeignKey("portal.LedgerEntry", models.PROTECT, null=True, blank=True, related_name="results")
    line = models.ForeignKey("portal.StatementLine", models.PROTECT, null=True, blank=True, related_name="+")
    hours_left = models.DecimalField(max_digits=9, decimal_places=4, null=True, blank=True)
    hours_right = models.DecimalField(max_digits=9, decimal_places=4, null=True, blank=True)
    amount_left = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)
    amount_right = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)
    currency = models.CharField(max_length=3, blank=True)
    reason = models.TextField(blank=True)  # in words, for what is not matched

    scope = Scope("run__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(document__isnull=False) | Q(entry__isnull=False) | Q(line__isnull=False),
                name="a_result_is_about_something",
            )
        ]
        indexes = [models.Index(fields=["run", "leg", "outcome"], name="result_by_run_and_outcome")]

    def __str__(self) -> str:
        return self.get_outcome_display()
