"""The ledger: what is owed to which target, and how far it has come.

The rule here: figures and state are two tables. `LedgerEntry` says what is to be booked and is frozen once it was sent;
`LedgerState` is the narrow row that moves, and only `portal.ledger` moves it. Attempts, receipts, read-backs and
transitions are evidence: written once, never changed, never deleted.
"""

from __future__ import annotations

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.db.models.lookups import IsNull

from portal.models.access import Scope, ScopedQuerySet
from portal.models.documents import KIND_CHOICES, OWED_CHOICES


class State(models.TextChoices):
    """Where a ledger entry stands. POSTED means receipted and read back equal; ACCEPTED means receipted only."""

    HELD = "held", "Held"
    READY = "ready", "Ready"
    SENDING = "sending", "Sending"
    IN_DOUBT = "in_doubt", "In doubt"
    REJECTED = "rejected", "Rejected"
    ACCEPTED = "accepted", "Accepted"
    POSTED = "posted", "Posted"
    RECONCILED = "reconciled", "Reconciled"
    REVERSED = "reversed", "Reversed"
    CANCELLED = "cancelled", "Cancelled"


class LedgerEntry(models.Model):
    """One version of one document (or one part of it) owed to one target, with the figures that are booked copied in.

    `part` splits a version at a cap; `generation` counts new keys for the same part after a refusal whose content changed.
    A reversal has negative hours or amount and `reverses` set. `target_keys` are the target's own keys as of admission.
    References that begin one of the indexes below have no index of their own. An entry of kind `master` owes a master record:
    it has neither hours nor money, its source is its target, and what it says is in `PublishedVersion`. One of kind
    `invoice` owes an invoice draft in the same way; what it says are the lines of its `InvoiceDraft`.
    """

    document = models.ForeignKey("portal.Document", models.PROTECT, related_name="entries")
    version = models.PositiveIntegerField()
    part = models.PositiveSmallIntegerField(default=0)
    generation = models.PositiveSmallIntegerField(default=0)
    kind = models.CharField(max_length=10, choices=OWED_CHOICES)
    entity = models.ForeignKey("portal.LegalEntity", models.PROTECT, related_name="entries", db_index=False)
    source = models.ForeignKey("portal.Connection", models.PROTECT, related_name="source_entries")
    target = models.ForeignKey("portal.Connection", models.PROTECT, related_name="target_entries", db_index=False)
    reverses = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="reversals")
    project = models.ForeignKey(
        "portal.Project", models.PROTECT, null=True, blank=True, related_name="entries", db_index=False
    )
    contract = models.ForeignKey("portal.Contract", models.PROTECT, null=True, blank=True, related_name="entries")
    customer = models.ForeignKey("portal.Customer", models.PROTECT, null=True, blank=True, related_name="entries")
    task = models.ForeignKey("portal.Task", models.PROTECT, null=True, blank=True, related_name="+")
    resource = models.ForeignKey(
        "portal.Resource", models.PROTECT, null=True, blank=True, related_name="entries", db_index=False
    )  # found by `entry_by_resource_and_day`
    role = models.ForeignKey("portal.Role", models.PROTECT, null=True, blank=True, related_name="+")
    cost_centre = models.ForeignKey("portal.CostCentre", models.PROTECT, null=True, blank=True, related_name="+")
    purchase_order = models.ForeignKey("portal.PurchaseOrder", models.PROTECT, null=True, blank=True, related_name="+")
    period = models.ForeignKey("portal.AccountingPeriod", models.PROTECT, null=True, blank=True, related_name="entries")
    work_date = models.DateField()
    post_on = models.DateField()  # the date it is booked under; the work date unless its period was closed
    hours = models.DecimalField(max_digits=9, decimal_places=4, null=True, blank=True)
    rate = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)  # per hour
    rate_used = models.ForeignKey("portal.Rate", models.PROTECT, null=True, blank=True, related_name="entries")
    rate_version = models.CharField(max_length=120, blank=True)  # "ACME-2026 v3" or "source"
    amount = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)  # empty while no rate is known
    currency = models.CharField(max_length=3, blank=True)
    is_billable = models.BooleanField()
    is_cost_only = models.BooleanField(default=False)
    tags = models.JSONField(default=list, blank=True)  # e.g. ["zero-by-contract"]
    category = models.CharField(max_length=120, blank=True)
    tax_code = models.CharField(max_length=40, blank=True)
    receipt_reference = models.CharField(max_length=300, blank=True)
    memo = models.TextField(blank=True)  # the description as the target takes it
    target_keys = models.JSONField(default=dict, blank=True)
    idempotency_key = models.UUIDField(unique=True)
    created_at = models.DateTimeField()

    objects = ScopedQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "ledger entries"
        constraints = [
            models.UniqueConstraint(
                fields=["document", "version", "target", "part", "generation"],
                condition=Q(reverses=None),
                name="one_entry_per_version_target_and_part",
            ),
            models.UniqueConstraint(
                fields=["reverses", "generation"],
                condition=Q(reverses__isnull=False),
                name="one_reversal_per_entry_and_generation",
            ),
            models.CheckConstraint(condition=Q(amount=None) | ~Q(currency=""), name="amount_has_a_currency"),
        ]
        indexes = [
            models.Index(fields=["entity", "work_date"], name="entry_by_entity_and_day"),
            models.Index(fields=["project", "work_date"], name="entry_by_project_and_day"),
            models.Index(fields=["resource", "work_date"], name="entry_by_resource_and_day"),
            models.Index(fields=["target", "period"], name="entry_by_target_and_period"),
        ]

    def __str__(self) -> str:
        return f"entry {self.pk}"


class LedgerState(models.Model):
    """Where one entry stands, and what the outbox needs to move it. Target and entity repeat the entry's, for claiming."""

    entry = models.OneToOneField(LedgerEntry, models.PROTECT, primary_key=True, related_name="state_row")
    state = models.CharField(max_length=10, choices=State.choices)
    fence = models.PositiveIntegerField(default=0)
    target = models.ForeignKey("portal.Connection", models.PROTECT, related_name="+", db_index=False)
    entity = models.ForeignKey("portal.LegalEntity", models.PROTECT, related_name="+", db_index=False)
    lease_until = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    look_ups = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    waits_on = models.CharField(
        max_length=120, blank=True
    )  # e.g. "maintenance", "breaker", "connection", "reversal:41"
    body_hash = models.CharField(max_length=64, blank=True)  # SHA-256 of the body sent under this key
    # An earlier sending may have left something at the target, and no look-up since has shown that it holds nothing.
    may_stand = models.BooleanField(default=False, db_default=False)
    receipt_number = models.CharField(max_length=120, blank=True)
    proved_at = models.DateTimeField(null=True, blank=True)  # when it was last read back equal
    moved_at = models.DateTimeField()

    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(state__in=State.values), name="state_is_known"),
            models.CheckConstraint(
                condition=~Q(state__in=["accepted", "posted", "reconciled", "reversed"]) | ~Q(receipt_number=""),
                name="accepted_means_receipted",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["posted", "reconciled"]) | Q(IsNull(F("proved_at"), False)),
                name="posted_means_read_back_equal",
            ),
            models.CheckConstraint(
                condition=~Q(state="sending") | (Q(IsNull(F("lease_until"), False)) & ~Q(body_hash="")),
                name="sending_means_intent_and_lease",
            ),
            models.CheckConstraint(
                condition=~Q(state="cancelled") | Q(may_stand=False), name="cancelled_means_nothing_may_stand"
            ),
        ]
        indexes = [
            models.Index(
                fields=["target", "entity", "next_attempt_at"],
                condition=Q(state="ready", waits_on=""),
                name="entry_to_send",
            ),
            models.Index(fields=["target", "lease_until"], condition=Q(state="sending"), name="entry_being_sent"),
            models.Index(fields=["target", "next_attempt_at"], condition=Q(state="in_doubt"), name="entry_in_doubt"),
            models.Index(
                fields=["target", "next_attempt_at"], condition=Q(state="accepted"), name="entry_to_read_back"
            ),
            models.Index(fields=["waits_on"], condition=Q(state="ready") & ~Q(waits_on=""), name="entry_waiting"),
            models.Index(fields=["state", "entry"], name="entry_by_state"),
        ]

    def __str__(self) -> str:
        return f"{self.entry_id} {self.state}"


class LedgerTransition(models.Model):
    """One move of one entry: from where to where, by whom and why. `fence` numbers an entry's moves from 1 without a gap."""

    # That the entry exists is checked by a trigger, once a statement: a foreign key would lock its wide row.
    entry = models.ForeignKey(
        LedgerEntry, models.PROTECT, related_name="transitions", db_index=False, db_constraint=False
    )
    fence = models.PositiveIntegerField()
    from_state = models.CharField(max_length=10, blank=True)  # empty for the first row
    to_state = models.CharField(max_length=10)
    actor = models.CharField(max_length=150)
    reason = models.CharField(max_length=500, blank=True)
    at = models.DateTimeField()

    scope = Scope("entry__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["entry", "fence"]
        constraints = [models.UniqueConstraint(fields=["entry", "fence"], name="transitions_are_in_order")]
        indexes = [BrinIndex(fields=["at"], name="transition_by_moment", autosummarize=True, pages_per_range=32)]

    def __str__(self) -> str:
        return f"{self.from_state or 'new'} → {self.to_state}"


class Attempt(models.Model):
    """One call to a target on behalf of some entries. The intent is written before the call, the answer once after it."""

    class Purpose(models.TextChoices):
        PUSH = "push", "Post"
        FIND = "find", "Look-up"
        READ_BACK = "read_back", "Read-back"

    connection = models.ForeignKey("portal.Connection", models.PROTECT, related_name="attempts")
    purpose = models.CharField(max_length=10, choices=Purpose.choices)
    worker = models.CharField(max_length=120)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(
        max_length=20, blank=True
    )  # accepted, rejected, in_doubt, unavailable, unauthorised, found, absent
    http_status = models.PositiveSmallIntegerField(null=True, blank=True)
    duration_ms = models.PositiveIntegerField(null=True, blank=True)
    exchanges = models.JSONField(default=list, blank=True)  # redacted requests and responses of the call

    class Meta:
        indexes = [models.Index(fields=["connection", "-started_at"], name="attempt_by_connection")]

    def __str__(self) -> str:
        return f"{self.purpose} at {self.started_at}"


class AttemptLine(models.Model):
    """What one attempt did for one entry. The line is part of the intent; its outcome is written once, after the call."""

    attempt = models.ForeignKey(Attempt, models.PROTECT, related_name="lines")
    entry = models.ForeignKey(LedgerEntry, models.PROTECT, related_name="attempt_lines")
    fence = models.PositiveIntegerField()
    body_hash = models.CharField(max_length=64, blank=True)
    outcome = models.CharField(max_length=20, blank=True)
    code = models.CharField(max_length=60, blank=True)  # one of the rejection codes
    detail = models.TextField(blank=True)

    scope = Scope("entry__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["attempt", "entry"], name="one_line_per_attempt_and_entry")]

    def __str__(self) -> str:
        return f"attempt {self.attempt_id} for {self.entry_id}"


class Receipt(models.Model):
    """The target's proof that it took one entry."""

    entry = models.OneToOneField(LedgerEntry, models.PROTECT, related_name="receipt", db_constraint=False)  # see above
    connection = models.ForeignKey("portal.Connection", models.PROTECT, related_name="receipts", db_index=False)
    number = models.CharField(max_length=120)
    received_at = models.DateTimeField()
    raw = models.JSONField(default=dict, blank=True)

    scope = Scope("entry__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["connection", "number"], name="a_receipt_number_proves_one_entry"),
        ]

    def __str__(self) -> str:
        return self.number


class ReadBack(models.Model):
    """What the target said when one entry was read back, and whether it equals what was sent.

    `differences` is {field: [sent, found]}; `found` is empty when the target no longer holds the record.
    """

    entry = models.ForeignKey(LedgerEntry, models.PROTECT, related_name="read_backs")
    at = models.DateTimeField()
    is_equal = models.BooleanField()
    found = models.JSONField(default=dict, blank=True)
    differences = models.JSONField(default=dict, blank=True)

    scope = Scope("entry__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["entry", "id"]

    def __str__(self) -> str:
        return "equal" if self.is_equal else "different"


class StatementLine(models.Model):
    """One line of what a target says it has booked, as last read; `gone_at` when a later statement no longer held it."""

    connection = models.ForeignKey("portal.Connection", models.PROTECT, related_name="statement_lines")
    entity = models.ForeignKey("portal.LegalEntity", models.PROTECT, related_name="+")
    kind = models.CharField(max_length=10, choices=KIND_CHOICES)
    number = models.CharField(max_length=120)
    key = models.CharField(max_length=200, blank=True, db_index=True)
    work_date = models.DateField()
    resource_key = models.CharField(max_length=200, blank=True)
    project_key = models.CharField(max_length=200, blank=True)
    hours = models.DecimalField(max_digits=9, decimal_places=4, null=True, blank=True)
    rate = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)
    amount = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)
    currency = models.CharField(max_length=3, blank=True)
    memo = models.TextField(blank=True)
    read_at = models.DateTimeField()
    gone_at = models.DateTimeField(null=True, blank=True)
    changed_at = models.DateTimeField(
        db_default=Now()
    )  # when what it says was last other than before, or it came or went

    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["connection", "kind", "number"], name="a_statement_number_is_one_line")
        ]
        indexes = [
            models.Index(fields=["entity", "work_date"], name="statement_by_entity_and_day"),
            models.Index(fields=["changed_at"], name="statement_by_change"),
        ]

    def __str__(self) -> str:
        return self.number
