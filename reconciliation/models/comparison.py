"""Reconciliation: one comparison of tracker, ledger, target, bills and payments, and what it found.

The rule here: what a comparison found stands until a later one finds otherwise, so a period that was compared a hundred times
is kept once, and what stood at any of its runs can still be told.
"""

from __future__ import annotations

from typing import Self

from django.db import models
from django.db.models import Q

from portal.models.access import Scope, ScopedQuerySet


class ReconciliationRun(models.Model):
    """One comparison of the four legs of an entity and period, with its totals as they stood then.

    While it runs, the row is the queue: a worker has it under a lease, or it waits for one, for the reason that `waits_for` says.
    `seen_until` is the moment before which nothing can still appear that this run has not seen, and `basis` names what every
    result rests on besides: while that is the same, the next run compares only what was touched since.
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
    seen_until = models.DateTimeField(null=True, blank=True)
    basis = models.CharField(max_length=64, blank=True)
    tolerances = models.JSONField(default=dict, blank=True)  # per target's id, the hours that it cannot tell apart
    compared = models.IntegerField(null=True, blank=True)  # things looked at anew; empty where everything was

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


class ResultQuerySet(ScopedQuerySet["ReconciliationResult"]):
    """What comparisons found, as it stands or as it stood."""

    def standing(self) -> Self:
        """What no later run has found otherwise."""
        return self.filter(ended_run=None)

    def as_of(self, run: ReconciliationRun) -> Self:
        """What stood of the run's period when it had run; nothing of one that compared nothing."""
        if run.seen_until is None:
            return self.filter(run=run)
        before = Q(run_id__lt=run.pk) & (Q(ended_run=None) | Q(ended_run_id__gt=run.pk))
        return self.filter(before | Q(run=run), period=run.period_id)


class ReconciliationResult(models.Model):
    """What comparisons found of one thing in one leg, from the run that found it first until the one that found otherwise.

    What matched and needs no word is not here but counted in `MatchedBucket`. `subject` is the id of what is compared: of the
    left side's record, or, where only the right side has one, of that record with a minus sign; a milestone's is above 2**60.
    `stamp` is a hash of all that
    was found, by which a later run tells whether it is the same still.
    """

    class Leg(models.TextChoices):
        TRACKER_LEDGER = "tracker_ledger", "Tracker ↔ ledger"
        LEDGER_TARGET = "ledger_target", "Ledger ↔ ERP"
        TARGET_INVOICE = "target_invoice", "ERP ↔ invoice"
        INVOICE_PAYMENT = "invoice_payment", "Invoice ↔ payment"

    class Outcome(models.TextChoices):
        MATCHED = "matched", "Matched"
        MISSING_LEFT = "missing_left", "Only on the right"
        MISSING_RIGHT = "missing_right", "Only on the left"
        HOURS_DIFFER = "hours_differ", "Hours differ"
        AMOUNT_DIFFERS = "amount_differs", "Amount differs"
        DATE_DIFFERS = "date_differs", "Date differs"
        PROJECT_DIFFERS = "project_differs", "Project differs"
        PERSON_DIFFERS = "person_differs", "Person differs"
        DUPLICATE = "duplicate", "Booked more than once"
        OPEN = "open", "Waits"

    class Standing(models.TextChoices):
        MATCHED = "matched", "Matched"
        SUGGESTED = "suggested", "Suggested"
        UNMATCHED = "unmatched", "Unmatched"
        TIMING = "timing", "Timing"

    run = models.ForeignKey(ReconciliationRun, models.CASCADE, related_name="results")
    ended_run = models.ForeignKey(
        ReconciliationRun, models.PROTECT, null=True, blank=True, related_name="ended_results"
    )
    period = models.ForeignKey("portal.AccountingPeriod", models.PROTECT, related_name="+", db_index=False)
    leg = models.CharField(max_length=20, choices=Leg.choices)
    subject = models.BigIntegerField()
    stamp = models.BigIntegerField()
    outcome = models.CharField(max_length=20, choices=Outcome.choices)
    match = models.ForeignKey("reconciliation.Match", models.PROTECT, null=True, blank=True, related_name="results")
    standing = models.CharField(max_length=10, choices=Standing.choices, default=Standing.UNMATCHED)
    document = models.ForeignKey("portal.Document", models.PROTECT, null=True, blank=True, related_name="+")
    entry = models.ForeignKey("portal.LedgerEntry", models.PROTECT, null=True, blank=True, related_name="results")
    line = models.ForeignKey("portal.StatementLine", models.PROTECT, null=True, blank=True, related_name="+")
    bill = models.ForeignKey("portal.Invoice", models.PROTECT, null=True, blank=True, related_name="+")
    bill_line = models.ForeignKey("portal.InvoiceLine", models.PROTECT, null=True, blank=True, related_name="+")
    payment = models.ForeignKey("portal.Payment", models.PROTECT, null=True, blank=True, related_name="+")
    milestone = models.ForeignKey("portal.Milestone", models.PROTECT, null=True, blank=True, related_name="+")
    hours_left = models.DecimalField(max_digits=12, decimal_places=4, null=True, blank=True)
    hours_right = models.DecimalField(max_digits=12, decimal_places=4, null=True, blank=True)
    amount_left = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)
    amount_right = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)
    currency = models.CharField(max_length=3, blank=True)
    dated = models.DateField(null=True, blank=True)  # the day that its age counts from
    expected_on = models.DateField(null=True, blank=True)  # by when what waits should be there
    reason = models.TextField(blank=True)  # in words, for what is not matched

    scope = Scope("run__entity")
    objects = ResultQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(document__isnull=False) | Q(entry__isnull=False) | Q(line__isnull=False)
                | Q(bill__isnull=False) | Q(payment__isnull=False) | Q(milestone__isnull=False),
                name="a_result_is_about_something",
            ),
            models.UniqueConstraint(
                fields=["period", "leg", "subject"], condition=Q(ended_run=None), name="a_thing_stands_once_in_a_leg"
            ),
        ]  # fmt: skip
        indexes = [models.Index(fields=["run", "leg", "outcome"], name="result_by_run_and_outcome")]

    def __str__(self) -> str:
        return f"{self.get_leg_display()}, {self.subject}: {self.get_outcome_display()}"


class MatchedBucket(models.Model):
    """What matched of a few neighbouring things of one leg: how many, which, what they add up to, and a hash of all of it.

    `bucket` is the ids of the left side without their last bits. `equal` and `judged` have a bit for each of these things: what
    was equal in every figure can be taken out of the sums by its own figures, and what a judgement let match is looked at with
    all its neighbours. The database refuses a count of others than these. Only a comparison writes it, in many thousands of
    rows and with its run and period in hand, so the database does not look these up.
    """

    period = models.ForeignKey(
        "portal.AccountingPeriod", models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    leg = models.CharField(max_length=20, choices=ReconciliationResult.Leg.choices)
    bucket = models.BigIntegerField()
    currency = models.CharField(max_length=3, blank=True)
    rows = models.IntegerField()
    hours_left = models.DecimalField(max_digits=14, decimal_places=4)
    hours_right = models.DecimalField(max_digits=14, decimal_places=4)
    amount_left = models.DecimalField(max_digits=20, decimal_places=4)
    amount_right = models.DecimalField(max_digits=20, decimal_places=4)
    digest = models.DecimalField(max_digits=24, decimal_places=0)
    equal = models.BigIntegerField(default=0)
    judged = models.BigIntegerField(default=0)
    run = models.ForeignKey(ReconciliationRun, models.PROTECT, related_name="+", db_index=False, db_constraint=False)

    scope = Scope("period__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["period", "leg", "bucket", "currency"], name="a_bucket_is_kept_once")
        ]

    def __str__(self) -> str:
        return f"{self.rows} matched"
