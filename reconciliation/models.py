"""Whether it is right: routes and their policies, exception cases and holds, bulk operations, reconciliation runs."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from simple_history.models import HistoricalRecords

from portal.models.access import Scope, ScopedQuerySet
from portal.models.documents import KIND_CHOICES


class Route(models.Model):
    """Which target an entity's documents of one source are owed to, under which policy, from one work date to another.

    `policy` refines the entity's: which rules do not run, tolerances, limits (docs/configuration.md lists the keys).
    """

    entity = models.ForeignKey("portal.LegalEntity", models.PROTECT, related_name="routes")
    source = models.ForeignKey("portal.Connection", models.PROTECT, related_name="routes_out")
    target = models.ForeignKey("portal.Connection", models.PROTECT, related_name="routes_in")
    kind = models.CharField(max_length=10, choices=KIND_CHOICES)
    policy = models.JSONField(default=dict, blank=True)
    valid_from = models.DateField()
    valid_to = models.DateField(null=True, blank=True)

    history = HistoricalRecords(history_change_reason_field=models.TextField(null=True))
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["entity__code", "source__code", "kind", "valid_from"]
        constraints = [
            models.UniqueConstraint(fields=["source", "kind", "valid_from"], name="one_route_per_source_kind_and_day")
        ]

    def __str__(self) -> str:
        return f"{self.source} → {self.target} ({self.kind})"


class ExceptionCase(models.Model):
    """One cause that stops entries: a rule, an entity and the subject (a project, a code, a period …) that explains them.

    Unique while open. It closes by itself when its last hold does and re-opens as *regressed* when the cause is back.
    The counts are kept by the batch that changes its holds; money is in `CaseTotal`, per currency.
    """

    class State(models.TextChoices):
        OPEN = "open", "Open"
        RESOLVED = "resolved", "Resolved"

    rule = models.CharField(max_length=60, db_index=True)
    entity = models.ForeignKey("portal.LegalEntity", models.PROTECT, related_name="cases")
    subject_type = models.CharField(max_length=30)  # project, resource, code, period, rate, connection, entry …
    subject_key = models.CharField(max_length=300)
    connection = models.ForeignKey("portal.Connection", models.PROTECT, null=True, blank=True, related_name="cases")
    sentence = models.TextField()
    detail = models.JSONField(default=dict, blank=True)  # value, expectation, ids that the fixes need
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)
    regressions = models.PositiveSmallIntegerField(default=0)
    opened_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    owner = models.ForeignKey("portal.User", models.SET_NULL, null=True, blank=True, related_name="cases")
    open_holds = models.PositiveIntegerField(default=0)
    open_hours = models.DecimalField(max_digits=18, decimal_places=4, default=0)
    open_people = models.PositiveIntegerField(default=0)
    oldest_work_date = models.DateField(null=True, blank=True)

    history = HistoricalRecords(
        history_change_reason_field=models.TextField(null=True),
        excluded_fields=["open_holds", "open_hours", "open_people", "oldest_work_date", "seen_at"],
    )
    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["rule", "entity", "subject_type", "subject_key"],
                condition=Q(state="open"),
                name="one_open_case_per_cause",
            )
        ]
        indexes = [models.Index(fields=["state", "entity", "rule"], name="case_by_state_and_entity")]

    def __str__(self) -> str:
        return self.sentence


class CaseTotal(models.Model):
    """The money that one case holds in one currency; kept by the batch that changes its holds."""

    case = models.ForeignKey(ExceptionCase, models.CASCADE, related_name="totals")
    currency = models.CharField(max_length=3)
    holds = models.PositiveIntegerField(default=0)
    amount = models.DecimalField(max_digits=18, decimal_places=4, default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["case", "currency"], name="one_total_per_case_and_currency")]

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"


class Hold(models.Model):
    """One entry stopped by one rule. Closed when the rule passes, the entry goes away, or a person waives it."""

    class Outcome(models.TextChoices):
        PASSED = "passed", "The rule passes now"
        WAIVED = "waived", "Waived"
        WITHDRAWN = "withdrawn", "The entry was withdrawn or replaced"

    entry = models.ForeignKey("portal.LedgerEntry", models.PROTECT, related_name="holds")
    case = models.ForeignKey(ExceptionCase, models.PROTECT, related_name="holds")
    rule = models.CharField(max_length=60)
    sentence = models.TextField()
    detail = models.JSONField(default=dict, blank=True)
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=10, choices=Outcome.choices, blank=True)
    closed_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    reason = models.TextField(blank=True)

    scope = Scope("case__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["entry", "rule"], condition=Q(closed_at=None), name="one_open_hold_per_rule"
            ),
            models.CheckConstraint(
                condition=Q(closed_at=None, outcome="") | (Q(closed_at__isnull=False) & ~Q(outcome="")),
                name="a_closed_hold_has_an_outcome",
            ),
            models.CheckConstraint(
                condition=~Q(outcome="waived") | (Q(closed_by__isnull=False) & ~Q(reason="")),
                name="a_waiver_has_a_person_and_a_reason",
            ),
        ]
        indexes = [
            models.Index(fields=["case", "entry"], condition=Q(closed_at=None), name="open_hold_by_case"),
            models.Index(fields=["entry"], condition=Q(outcome="waived"), name="waiver_by_entry"),
        ]

    def __str__(self) -> str:
        return self.sentence


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


class ReconciliationRun(models.Model):
    """One comparison of tracker, ledger and target for an entity and period, with its totals as they stood then."""

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

    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]

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


class CaseComment(models.Model):
    """What a person wrote on a case; append-only."""

    case = models.ForeignKey(ExceptionCase, models.CASCADE, related_name="comments")
    author = models.ForeignKey("portal.User", models.PROTECT, related_name="+")
    at = models.DateTimeField()
    text = models.TextField()
    mentions = ArrayField(models.CharField(max_length=150), default=list, blank=True)

    scope = Scope("case__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["case", "id"]
        constraints = [models.CheckConstraint(condition=~Q(text=""), name="a_comment_says_something")]

    def __str__(self) -> str:
        return self.text[:80]


class HandBack(models.Model):
    """An entry handed back to its source with a message; it waits until the source sends a new version."""

    entry = models.ForeignKey("portal.LedgerEntry", models.PROTECT, related_name="hand_backs")
    by = models.ForeignKey("portal.User", models.PROTECT, related_name="+")
    at = models.DateTimeField()
    message = models.TextField()
    answered_at = models.DateTimeField(null=True, blank=True)

    scope = Scope("entry__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["entry"], condition=Q(answered_at=None), name="an_entry_is_handed_back_once_at_a_time"
            ),
            models.CheckConstraint(
                condition=Q(answered_at=None) | Q(answered_at__gte=F("at")), name="the_answer_follows_the_hand_back"
            ),
        ]

    def __str__(self) -> str:
        return self.message[:80]
