"""Bulk fixes: what was done to which frozen rows, and what came of each."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.lookups import IsNull

from portal.models.access import ScopedQuerySet
from reconciliation.models.cases import ExceptionCase


class Operation(models.Model):
    """One bulk fix: what is done to which frozen rows, by whom and why, and how far it has come.

    One that is large waits, once confirmed, for a second person: `second_person` says in words why, and is empty otherwise.
    One whose dry-run takes longer than a request may is planned by a worker, and again before what a person `asked` is done.
    """

    class State(models.TextChoices):
        PLANNING = "planning", "Being planned"
        PLANNED = "planned", "Dry-run"
        AWAITING = "awaiting", "Waits for approval"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        CANCELLED = "cancelled", "Cancelled"
        REFUSED = "refused", "Refused"

    class Reach(models.TextChoices):
        ALL = "all", "All entries of the cause"
        SELECTED = "selected", "The selected entries"
        ONE = "one", "This entry only"

    fix = models.CharField(max_length=40)  # the code of the fix, one of reconciliation.fixes.FIXES
    title = models.CharField(max_length=300)
    parameters = models.JSONField(default=dict)
    case = models.ForeignKey(ExceptionCase, models.PROTECT, null=True, blank=True, related_name="operations")
    entity = models.ForeignKey("portal.LegalEntity", models.PROTECT, related_name="operations")
    state = models.CharField(max_length=10, choices=State.choices, default=State.PLANNED)
    created_by = models.ForeignKey("portal.User", models.PROTECT, related_name="operations")
    created_at = models.DateTimeField()
    reason = models.TextField(blank=True)
    reach = models.CharField(max_length=10, choices=Reach.choices, default=Reach.ALL)
    fingerprint = models.CharField(max_length=64, blank=True)  # of rows, fences, parameters and what the dry-run found
    confirmed_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    confirmed_at = models.DateTimeField(null=True, blank=True)
    second_person = models.TextField(blank=True)  # why one is needed
    decided_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    decision = models.TextField(blank=True)  # what the second person said
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    turn = models.PositiveIntegerField(default=0)  # numbers the workers that had it; only the last one writes
    settled_at = models.DateTimeField(null=True, blank=True)  # when nothing of it was on its way to a target any more
    preview = models.JSONField(
        default=dict, blank=True
    )  # totals of the dry-run: passes, still held, money before and after
    planned = models.PositiveIntegerField(default=0)  # rows that the dry-run under way has behind it
    asked = models.JSONField(default=dict, blank=True)  # the step, by whom and with which words, once the numbers hold
    moved = models.JSONField(default=dict, blank=True)  # how the dry-run differs from the one that was shown before
    total = models.PositiveIntegerField(default=0)
    done = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    # Of the rows that are done, as last counted: posted, stopped again by the target or a rule, and still on their way.
    posted = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0)
    on_the_way = models.PositiveIntegerField(default=0)

    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(done__lte=F("total") - F("failed")), name="an_operation_ends_no_row_twice"
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["done", "cancelled"]) | Q(IsNull(F("finished_at"), False)),
                name="an_operation_that_is_over_says_since_when",
            ),
            models.CheckConstraint(
                condition=Q(decided_by=None)
                | (~Q(decided_by=F("created_by")) & (Q(confirmed_by=None) | ~Q(decided_by=F("confirmed_by")))),
                name="who_decides_neither_planned_nor_confirmed",
            ),
            models.CheckConstraint(
                condition=Q(second_person="") | ~Q(state__in=["running", "done"]) | Q(decided_by__isnull=False),
                name="what_needs_a_second_person_runs_after_one",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["awaiting", "refused"]) | ~Q(second_person=""),
                name="what_waits_for_approval_says_why",
            ),
            models.CheckConstraint(
                condition=Q(decided_by=None, decided_at=None) | Q(decided_by__isnull=False, decided_at__isnull=False),
                name="a_decision_has_a_person_and_a_moment",
            ),
        ]
        indexes = [
            models.Index(
                fields=["entity", "created_by"],
                condition=Q(state__in=["running", "done", "cancelled"], settled_at=None),
                name="operation_under_way",
            ),
            models.Index(fields=["entity"], condition=Q(state="awaiting"), name="operation_to_decide"),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def over(self) -> int:
        """How many rows have come to their end, as last counted: on the ledger too, where they went there."""
        ended = self.done + self.failed if self.state == self.State.RUNNING else self.total
        return max(0, ended - self.on_the_way)


class OperationRow(models.Model):
    """One entry within a bulk fix: what the dry-run promised and what came of it. Each row ends in exactly one result.

    A trigger refuses to change a result or to delete a row that has one.
    """

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
    project_after = models.CharField(max_length=60, blank=True)
    result = models.CharField(max_length=10, choices=Result.choices, default=Result.PENDING)
    message = models.TextField(blank=True)
    successor = models.ForeignKey("portal.LedgerEntry", models.PROTECT, null=True, blank=True, related_name="+")
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["operation", "entry"], name="an_operation_holds_an_entry_once"),
            models.CheckConstraint(
                condition=Q(result="pending", finished_at=None)
                | (~Q(result="pending") & Q(IsNull(F("finished_at"), False))),
                name="a_row_ends_when_it_has_a_result",
            ),
        ]
        indexes = [models.Index(fields=["operation", "result"], name="operation_row_by_result")]

    def __str__(self) -> str:
        return f"{self.entry_id}: {self.result}"
