"""How it moves: streams and their cursors, runs, the inbox, uploads, breakers, maintenance windows and slots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from portal.models import InvoiceVersion, PaymentVersion
from portal.models.access import Scope, ScopedQuerySet, entities_held

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser


class Stream(models.Model):
    """One stream of one connection, where reading stands, and when it is due. The cursor moves only with what it filed."""

    connection = models.ForeignKey("portal.Connection", models.CASCADE, related_name="streams")
    name = models.CharField(max_length=60)
    cursor = models.TextField(blank=True)
    every_seconds = models.PositiveIntegerField(default=900)  # 0: only by hand or by webhook
    next_due_at = models.DateTimeField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    fence = models.PositiveIntegerField(default=0)
    succeeded_at = models.DateTimeField(null=True, blank=True)
    usual_volume = models.FloatField(default=0)  # moving average of records a run; the guard against silence
    held_reason = models.CharField(max_length=300, blank=True)  # why the cursor was not moved
    swept_on = models.DateField(null=True, blank=True)  # last night the ids of open periods were compared

    scope = Scope("connection__entity", shared=True)
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["connection__code", "name"]
        constraints = [
            models.UniqueConstraint(fields=["connection", "name"], name="one_stream_per_connection_and_name")
        ]

    def __str__(self) -> str:
        return f"{self.connection} {self.name}"


class Run(models.Model):
    """One reading of one stream: what was asked, what came, what came of it."""

    class Trigger(models.TextChoices):
        SCHEDULE = "schedule", "Schedule"
        MANUAL = "manual", "By hand"
        WEBHOOK = "webhook", "Webhook"
        SWEEP = "sweep", "Nightly sweep"
        UPLOAD = "upload", "Upload"

    class State(models.TextChoices):
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        TRUNCATED = "truncated", "Truncated"
        HELD = "held", "Held"  # volume drop: nothing lost, cursor not moved
        FAILED = "failed", "Failed"

    connection = models.ForeignKey("portal.Connection", models.PROTECT, related_name="runs")
    stream = models.CharField(max_length=60)
    trigger = models.CharField(max_length=10, choices=Trigger.choices)
    state = models.CharField(max_length=10, choices=State.choices, default=State.RUNNING)
    cursor_from = models.TextField(blank=True)
    cursor_to = models.TextField(blank=True)
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    pages = models.PositiveIntegerField(default=0)
    read = models.PositiveIntegerField(default=0)
    filed = models.PositiveIntegerField(default=0)
    repeated = models.PositiveIntegerField(default=0)
    gone = models.PositiveIntegerField(default=0)  # ids that the sweep no longer found at the source
    failure = models.TextField(blank=True)
    requested_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")

    scope = Scope("connection__entity", shared=True)
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["connection", "-id"], name="run_by_connection")]

    def __str__(self) -> str:
        return f"{self.connection} {self.stream} at {self.started_at}"


class MessageQuerySet(ScopedQuerySet["InboxMessage"]):
    """Messages; what a shared account says of one company is not told to the people of another."""

    def shared_with(self, user: AbstractBaseUser | AnonymousUser) -> Q:
        """Of an account that all entities share: what made a bill or a payment of an entity that the person sees.

        What made none (it cannot be read, waits for its entity, or is master data) is seen by a role in every entity alone.
        """
        held = entities_held(user, None)
        bills = InvoiceVersion.objects.filter(invoice__entity__in=held, message_id__isnull=False)
        payments = PaymentVersion.objects.filter(payment__entity__in=held, message_id__isnull=False)
        return Q(pk__in=bills.values("message_id")) | Q(pk__in=payments.values("message_id"))


class InboxMessage(models.Model):
    """One untouched vendor record or one webhook, filed once and kept. A repeat is dropped by the database.

    A hint says only that something moved and is answered by reading again; a record is mapped and taken in.
    """

    class Kind(models.TextChoices):
        RECORD = "record", "Record"
        HINT = "hint", "Webhook"

    class State(models.TextChoices):
        NEW = "new", "New"
        DONE = "done", "Taken in"
        SUPERSEDED = "superseded", "Older than what is known"
        IGNORED = "ignored", "Seen, not final"
        FAILED = "failed", "Cannot be read"

    connection = models.ForeignKey("portal.Connection", models.PROTECT, related_name="messages")
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.RECORD)
    stream = models.CharField(max_length=60)
    external_id = models.CharField(max_length=200)
    revision = models.CharField(max_length=120)
    payload = models.JSONField()
    headers = models.JSONField(default=dict, blank=True)  # of a webhook; secrets removed
    run_id = models.BigIntegerField(null=True, blank=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.NEW)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    failure = models.TextField(blank=True)
    received_at = models.DateTimeField()
    handled_at = models.DateTimeField(null=True, blank=True)

    scope = Scope("connection__entity", shared=True)
    objects = MessageQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "stream", "external_id", "revision"], name="a_revision_is_filed_once"
            )
        ]
        indexes = [
            models.Index(fields=["connection", "id"], condition=Q(state="new"), name="message_to_take_in"),
            models.Index(fields=["connection", "id"], condition=Q(state="failed"), name="message_failed"),
        ]

    def __str__(self) -> str:
        return f"{self.stream} {self.external_id}"


class RefusedDelivery(models.Model):
    """A webhook whose signature did not hold: counted, its body not kept."""

    connection = models.ForeignKey("portal.Connection", models.PROTECT, related_name="refused_deliveries")
    at = models.DateTimeField()
    reason = models.CharField(max_length=300)
    remote_address = models.CharField(max_length=60, blank=True)
    body_digest = models.CharField(max_length=64)

    scope = Scope("connection__entity", shared=True)
    objects = ScopedQuerySet.as_manager()

    def __str__(self) -> str:
        return self.reason


class UploadedFile(models.Model):
    """One file that a person uploaded, kept as it came; its rows are filed in the inbox when the preview is confirmed."""

    class State(models.TextChoices):
        PREVIEW = "preview", "Preview"
        FILED = "filed", "Filed"
        DISCARDED = "discarded", "Discarded"

    connection = models.ForeignKey("portal.Connection", models.PROTECT, related_name="uploads")
    stream = models.CharField(max_length=60)
    name = models.CharField(max_length=255)
    content = models.BinaryField()
    digest = models.CharField(max_length=64)
    state = models.CharField(max_length=10, choices=State.choices, default=State.PREVIEW)
    uploaded_by = models.ForeignKey("portal.User", models.PROTECT, related_name="+")
    uploaded_at = models.DateTimeField()
    rows = models.PositiveIntegerField(default=0)
    problems = models.JSONField(default=list, blank=True)
    run_id = models.BigIntegerField(null=True, blank=True)

    scope = Scope("connection__entity", shared=True)
    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "digest"], condition=Q(state="filed"), name="a_file_is_filed_once"
            )
        ]

    def __str__(self) -> str:
        return self.name


class Breaker(models.Model):
    """Whether calls to one connection go through. Shared by all workers; opened by failures, by hand, or by credentials."""

    class State(models.TextChoices):
        CLOSED = "closed", "Closed"  # calls go through
        OPEN = "open", "Open"
        HALF_OPEN = "half_open", "Probing"

    connection = models.OneToOneField("portal.Connection", models.CASCADE, primary_key=True, related_name="breaker")
    state = models.CharField(max_length=10, choices=State.choices, default=State.CLOSED)
    reason = models.TextField(blank=True)
    changed_at = models.DateTimeField()
    probe_at = models.DateTimeField(null=True, blank=True)
    back_off_seconds = models.PositiveIntegerField(default=30)
    failures = models.PositiveIntegerField(default=0)  # in a row
    recent = models.JSONField(default=list, blank=True)  # the last 20 outcomes, 1 good and 0 failed
    good_probes = models.PositiveSmallIntegerField(default=0)
    unauthorised_at = models.DateTimeField(null=True, blank=True)
    succeeded_at = models.DateTimeField(null=True, blank=True)
    failed_at = models.DateTimeField(null=True, blank=True)

    scope = Scope("connection__entity", shared=True)
    objects = ScopedQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.connection}: {self.state}"


class BreakerMove(models.Model):
    """One move of a connection's breaker, kept for good: from when on calls went through, or did not, and why."""

    connection = models.ForeignKey("portal.Connection", models.CASCADE, related_name="breaker_moves")
    from_state = models.CharField(max_length=10, choices=Breaker.State.choices)
    to_state = models.CharField(max_length=10, choices=Breaker.State.choices)
    reason = models.TextField(blank=True)
    at = models.DateTimeField()

    scope = Scope("connection__entity", shared=True)
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["connection", "id"]

    def __str__(self) -> str:
        return f"{self.connection}: {self.from_state} → {self.to_state}"


class MaintenanceWindow(models.Model):
    """When a vendor is not to be called: once, or every week at the same local time."""

    connection = models.ForeignKey("portal.Connection", models.CASCADE, related_name="maintenance_windows")
    starts_at = models.DateTimeField(null=True, blank=True)  # one-off
    ends_at = models.DateTimeField(null=True, blank=True)
    weekday = models.PositiveSmallIntegerField(null=True, blank=True)  # weekly: 1 is Monday, ISO
    start_time = models.TimeField(null=True, blank=True)
    minutes = models.PositiveIntegerField(null=True, blank=True)
    zone = models.CharField(max_length=60, default="UTC")
    reason = models.CharField(max_length=300, blank=True)

    scope = Scope("connection__entity", shared=True)
    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=(
                    Q(starts_at__isnull=False, ends_at__isnull=False, weekday=None)
                    | Q(weekday__range=(1, 7), start_time__isnull=False, minutes__gt=0, starts_at=None)
                ),
                name="a_window_is_once_or_weekly",
            )
        ]

    def __str__(self) -> str:
        return f"{self.connection} window"


class Slot(models.Model):
    """Leave for one call at a time to one connection, leased by one worker thread; as many rows as the connection allows."""

    connection = models.ForeignKey("portal.Connection", models.CASCADE, related_name="slots")
    number = models.PositiveSmallIntegerField()
    holder = models.CharField(max_length=120, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["connection", "number"], name="one_slot_per_number")]

    def __str__(self) -> str:
        return f"{self.connection} slot {self.number}"


class Pace(models.Model):
    """When the last calls to one account began, over all processes: as many as its rate counts. No evidence; it may go."""

    account = models.CharField(max_length=64, primary_key=True)  # a digest of where and whose it is
    starts = ArrayField(models.DateTimeField(), default=list)  # oldest first; the last ones may lie ahead

    def __str__(self) -> str:
        return f"pace of {self.account[:8]}"


class Settlement(models.Model):
    """What a person says became of an entry in doubt at a target that cannot be asked, until a second person confirms it.

    `fence` is the entry's when it was said: if the entry has moved since, the word is about something else and is dropped.
    Once confirmed or dropped it is evidence and is not changed (a trigger holds it); what was said is never changed.
    """

    class Verdict(models.TextChoices):
        BOOKED = "booked", "It is there, under a number"
        ABSENT = "absent", "It is not there"

    entry = models.ForeignKey("portal.LedgerEntry", models.PROTECT, related_name="settlements")
    fence = models.PositiveIntegerField()
    verdict = models.CharField(max_length=10, choices=Verdict.choices)
    number = models.CharField(max_length=120, blank=True)
    reason = models.TextField()
    by = models.ForeignKey("portal.User", models.PROTECT, related_name="+")
    at = models.DateTimeField()
    confirmed_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    confirmed_at = models.DateTimeField(null=True, blank=True)
    dropped_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    dropped_at = models.DateTimeField(null=True, blank=True)
    dropped_reason = models.TextField(blank=True)

    scope = Scope("entry__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["entry", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["entry"], condition=Q(confirmed_at=None, dropped_at=None), name="one_open_settlement_per_entry"
            ),
            models.CheckConstraint(
                condition=Q(confirmed_by=None) | ~Q(confirmed_by=F("by")), name="a_settlement_takes_two_people"
            ),
            models.CheckConstraint(
                condition=Q(confirmed_by=None, confirmed_at=None)
                | Q(confirmed_by__isnull=False, confirmed_at__isnull=False, dropped_at=None),
                name="a_confirmation_has_a_person_and_a_time",
            ),
            models.CheckConstraint(
                condition=(Q(verdict="booked") & ~Q(number="")) | Q(verdict="absent", number=""),
                name="booked_has_a_number_and_absent_has_none",
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="a_settlement_has_a_reason"),
        ]

    def __str__(self) -> str:
        return f"booked as {self.number}" if self.verdict == self.Verdict.BOOKED else "not booked"

    @property
    def is_open(self) -> bool:
        """Whether it still waits for the second person."""
        return self.confirmed_at is None and self.dropped_at is None


class KeptSecret(models.Model):
    """A credential that a person typed, sealed for one connection and name. It is replaced by another, never changed or shown."""

    connection_code = models.CharField(max_length=60)  # of a connection that may not stand yet
    name = models.CharField(max_length=60)
    sealed = models.TextField()
    key_id = models.CharField(max_length=16)  # which key of the ring opens it
    kept_by = models.ForeignKey("portal.User", models.PROTECT, related_name="+")
    kept_at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.name} of {self.connection_code}"
