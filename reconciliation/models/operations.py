"""Bulk fixes: what was done to which frozen rows, and what came of each."""

from __future__ import annotations

from django.db import models

from portal.models.access import ScopedQuerySet
from reconciliation.models.cases import ExceptionCase


class Operation(models.Model):
    """One bulk fix: what is done to which frozen rows, by whom and why, and how far it has come."""

    class State(models.TextChoices):
        PLANNED = "planned", "Dry-run"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        CANCELLED = "cancelled", "Cancelled"

    fix = models.CharField(max_length=40)  # the code of the fix, one of reconciliation.fixes.FIXES
    title = models.CharField(max_length=300)
    parameters = models.JSONField(default=dict)
    case = models.ForeignKey(ExceptionCase, models.PROTECT, null=True, blank=True, related_name="operations")
    entity = models.ForeignKey("portal.LegalEntity", models.PROTECT, related_name="operations")
    state = models.CharField(max_length=10, choices=State.choices, default=State.PLANNED)
    created_by = models.ForeignKey("portal.User", models.PROTECT, related_name="operations")
    created_at = models.DateTimeField()
    reason = models.TextField(blank=True)
    confirmed_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    preview = models.JSONField(
        default=dict, blank=True
    )  # totals of the dry-run: passes, still held, money before and after
    total = models.PositiveIntegerField(default=0)
    done = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)

    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.title


class OperationRow(models.Model):
    """One entry within a bulk fix: what the dry-run promised and what came of it. Each row ends in exactly one result."""

    class Result(models.TextChoices):
        PENDING = "pending", "Pending"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        SKIPPED = "skipped", "Changed meanwhile"
        CANCELLED = "cancelled", "Cancelled"

    operation = models.ForeignKey(Operation, models.CASCADE, related_name="rows")
    entry = models.ForeignKey("portal.LedgerEntry", models.PROTECT, related_name="operation_rows")
    fence = models.PositiveIntegerField()  # of the entry when it was frozen
    promised = models.CharField(max_length=300, blank=True)  # the dry-run's sentence for this row
    will_pass = models.BooleanField(default=False)
    amount_after = models.DecimalField(
        max_digits=18, decimal_places=4, null=True, blank=True
    )  # as the dry-run found it
    currency_after = models.CharField(max_length=3, blank=True)
    result = models.CharField(max_length=10, choices=Result.choices, default=Result.PENDING)
    message = models.TextField(blank=True)
    successor = models.ForeignKey("portal.LedgerEntry", models.PROTECT, null=True, blank=True, related_name="+")
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["operation", "entry"], name="an_operation_holds_an_entry_once")]
        indexes = [models.Index(fields=["operation", "result"], name="operation_row_by_result")]

    def __str__(self) -> str:
        return f"{self.entry_id}: {self.result}"
