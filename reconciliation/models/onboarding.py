"""Bringing in an entity or a source: where it stands, from which day its documents are owed, and its rehearsal in shadow.

The rule here: while an entity is being brought in, nothing of it is owed to any target, and the database refuses an entry for it.
A rehearsal writes what it found and nothing else: none of its rows is an entry of the ledger, so none can be sent.
"""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from simple_history.models import HistoricalRecords

from portal.models.access import Scope, ScopedQuerySet
from portal.models.documents import KIND_CHOICES


class Onboarding(models.Model):
    """One legal entity, or one source of an entity, on its way in; live once a second person agreed to what was rehearsed."""

    class State(models.TextChoices):
        PREPARING = "preparing", "Being brought in"
        PROPOSED = "proposed", "Waits for a second person"
        LIVE = "live", "Live"

    entity = models.ForeignKey("portal.LegalEntity", models.PROTECT, related_name="onboardings")
    source = models.ForeignKey(
        "portal.Connection", models.PROTECT, null=True, blank=True, related_name="onboardings"
    )  # empty: every source of the entity
    state = models.CharField(max_length=10, choices=State.choices, default=State.PREPARING)
    reason = models.TextField()
    started_by = models.ForeignKey("portal.User", models.PROTECT, related_name="+")
    started_at = models.DateTimeField()
    rehearsal = models.ForeignKey(
        "Rehearsal", models.PROTECT, null=True, blank=True, related_name="+"
    )  # what was proposed
    proposed_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    proposed_at = models.DateTimeField(null=True, blank=True)
    proposed_because = models.TextField(blank=True)
    decided_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    comment = models.TextField(blank=True)

    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["entity", "source"], condition=~Q(state="live"), nulls_distinct=False,
                name="an_entity_is_brought_in_once_at_a_time",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["proposed", "live"])
                | Q(rehearsal__isnull=False, proposed_by__isnull=False, proposed_at__isnull=False),
                name="going_live_was_proposed_on_a_rehearsal",
            ),
            models.CheckConstraint(
                condition=~Q(state="live") | (Q(decided_by__isnull=False) & ~Q(decided_by=F("proposed_by"))),
                name="a_second_person_let_it_go_live",
            ),
            models.CheckConstraint(
                condition=~Q(state="live") | ~Q(decided_by=F("started_by")), name="who_began_it_does_not_let_it_go_live"
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="an_onboarding_says_why"),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.entity}: {self.source}" if self.source_id else str(self.entity)


class CutOver(models.Model):
    """From which work date documents of one kind of one source are owed for an entity; what is earlier is history.

    It goes before the cut-over of the connection as a whole.
    """

    entity = models.ForeignKey("portal.LegalEntity", models.PROTECT, related_name="cut_overs")
    source = models.ForeignKey("portal.Connection", models.PROTECT, related_name="cut_overs")
    kind = models.CharField(max_length=10, choices=KIND_CHOICES)
    first_day = models.DateField()

    history = HistoricalRecords(history_change_reason_field=models.TextField(null=True))
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["entity__code", "source__code", "kind"]
        constraints = [
            models.UniqueConstraint(fields=["entity", "source", "kind"], name="one_cut_over_per_source_and_kind")
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} of {self.source} for {self.entity} from {self.first_day}"


class Rehearsal(models.Model):
    """One closed month replayed in shadow and compared with what was really booked, from its first day until it ran.

    While it runs, the row is the queue: a worker has it under a lease. It begins anew when its worker died: nothing that it
    writes is more than what it found.
    """

    class State(models.TextChoices):
        RUNNING = "running", "Running"
        TIED_OUT = "tied_out", "Ties out"
        DIFFERS = "differs", "Differs"
        EMPTY = "empty", "Nothing to compare"
        FAILED = "failed", "Failed"

    class Basis(models.TextChoices):
        """Where it is known from what was booked."""

        STATEMENT = "statement", "The targets' statements"
        FILE = "file", "An uploaded file"

    onboarding = models.ForeignKey(Onboarding, models.PROTECT, related_name="rehearsals")
    period = models.ForeignKey("portal.AccountingPeriod", models.PROTECT, related_name="+")
    basis = models.CharField(max_length=10, choices=Basis.choices)
    file_name = models.CharField(max_length=200, blank=True)
    file_digest = models.CharField(max_length=64, blank=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.RUNNING)
    asked_by = models.ForeignKey("portal.User", models.PROTECT, related_name="+")
    asked_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    fingerprint = models.CharField(max_length=64, blank=True)  # of the configuration that it ran on
    step = models.CharField(max_length=200, blank=True)  # what the worker does now
    documents = models.PositiveIntegerField(default=0)
    judged = models.PositiveIntegerField(default=0)
    totals = models.JSONField(default=dict, blank=True)
    failure = models.TextField(blank=True)
    fence = models.PositiveIntegerField(default=0)
    deaths = models.PositiveSmallIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    next_try_at = models.DateTimeField(null=True, blank=True)
    waits_for = models.TextField(blank=True)

    scope = Scope("onboarding__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["next_try_at"], condition=Q(state="running"), name="rehearsal_to_run")]
        constraints = [
            models.UniqueConstraint(
                fields=["onboarding"], condition=Q(state="running"), name="one_rehearsal_of_an_onboarding_at_a_time"
            ),
            models.CheckConstraint(
                condition=Q(state="running")
                | Q(lease_until=None, next_try_at=None, waits_for="", finished_at__isnull=False),
                name="a_rehearsal_that_ended_waits_for_nothing",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.onboarding} {self.period.code}"


class RehearsedLine(models.Model):
    """What one rehearsal found of one document, or of one booking: the figures of both sides, copied.

    It is no entry and points at none. `decision` is what a person said of a difference: that it is accepted, that both are the
    same work (so that the document stays history when the entity goes live), or that they are not.
    """

    class Leg(models.TextChoices):
        MONTH = "month", "The rehearsed month"
        SINCE = "since", "Since the cut-over"

    class Outcome(models.TextChoices):
        AGREES = "agrees", "Agrees"
        HELD = "held", "Would be stopped"
        MISSING = "missing", "Not booked"
        SURPLUS = "surplus", "Booked without a document"
        AMOUNT = "amount", "Amount differs"
        HOURS = "hours", "Hours differ"
        PROJECT = "project", "Project differs"
        PERIOD = "period", "Day or period differs"
        BOOKED = "booked", "Booked already"

    class Confidence(models.TextChoices):
        """How sure it is that both sides are the same work."""

        CONFIDENT = "confident", "Confident"
        REVIEW = "review", "To be looked at"
        NONE = "none", "No counterpart"

    class Decision(models.TextChoices):
        OPEN = "", "Not decided"
        ACCEPTED = "accepted", "Accepted"
        SAME = "same", "The same work"
        OTHER = "other", "Not the same work"

    rehearsal = models.ForeignKey(Rehearsal, models.CASCADE, related_name="lines")
    leg = models.CharField(max_length=5, choices=Leg.choices)
    outcome = models.CharField(max_length=10, choices=Outcome.choices)
    confidence = models.CharField(max_length=10, choices=Confidence.choices)
    document = models.ForeignKey("portal.Document", models.PROTECT, null=True, blank=True, related_name="+")
    target = models.ForeignKey("portal.Connection", models.PROTECT, null=True, blank=True, related_name="+")
    number = models.CharField(max_length=120, blank=True)  # of the booking, or of the first of several
    kind = models.CharField(max_length=10, choices=KIND_CHOICES)
    work_date = models.DateField()
    person = models.CharField(max_length=200, blank=True)
    project = models.CharField(max_length=200, blank=True)
    hours_left = models.DecimalField(max_digits=12, decimal_places=4, null=True, blank=True)
    hours_right = models.DecimalField(max_digits=12, decimal_places=4, null=True, blank=True)
    amount_left = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)
    amount_right = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)
    currency = models.CharField(max_length=3, blank=True)
    rule = models.CharField(max_length=60, blank=True)  # what would stop it
    sentence = models.TextField(blank=True)
    decision = models.CharField(max_length=10, choices=Decision.choices, default="", blank=True)
    decided_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    reason = models.TextField(blank=True)

    scope = Scope("rehearsal__onboarding__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["rehearsal", "outcome", "decision"], name="rehearsed_by_outcome")]
        constraints = [
            models.CheckConstraint(
                condition=Q(decision="", decided_by=None) | (Q(decided_by__isnull=False) & ~Q(reason="")),
                name="a_decided_difference_has_a_person_and_a_reason",
            ),
            models.CheckConstraint(
                condition=Q(document__isnull=False) | ~Q(number=""), name="a_rehearsed_line_is_about_something"
            ),
        ]

    def __str__(self) -> str:
        return self.get_outcome_display()


class Booking(models.Model):
    """One line of an uploaded file of what was booked; the statements of targets are kept as statement lines."""

    rehearsal = models.ForeignKey(Rehearsal, models.CASCADE, related_name="bookings")
    number = models.CharField(max_length=120)
    kind = models.CharField(max_length=10, choices=KIND_CHOICES)
    work_date = models.DateField()
    person = models.CharField(max_length=200)  # our code, or the target's key
    project = models.CharField(max_length=200)
    hours = models.DecimalField(max_digits=9, decimal_places=4, null=True, blank=True)
    amount = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)
    currency = models.CharField(max_length=3, blank=True)

    scope = Scope("rehearsal__onboarding__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["rehearsal", "kind", "number"], name="a_booking_stands_once")]

    def __str__(self) -> str:
        return self.number


class BookedBefore(models.Model):
    """One document whose work somebody had booked before it could be owed: history for good, whatever its date."""

    document = models.OneToOneField("portal.Document", models.PROTECT, related_name="booked_before")
    rehearsal = models.ForeignKey(Rehearsal, models.PROTECT, related_name="+")
    number = models.CharField(max_length=120)
    decided_by = models.ForeignKey("portal.User", models.PROTECT, related_name="+")
    at = models.DateTimeField()
    reason = models.TextField()

    scope = Scope("document__entity")
    objects = ScopedQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.document} as {self.number}"
