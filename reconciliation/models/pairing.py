"""Why things that differ are explained all the same: they belong together, or one of them is still to come."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from simple_history.models import HistoricalRecords

from portal.models.access import Scope, ScopedQuerySet
from reconciliation.models.comparison import ReconciliationResult


class MatchingRule(models.Model):
    """What makes open items of one leg belong together: the same in every criterion, and equal sums within the tolerance.

    Groups of one and one, one and many, many and one, many and many come out of it alike. It is tested on history before it is
    used, and who lets it be used did not write it.
    """

    class State(models.TextChoices):
        DRAFT = "draft", "Draft"
        ACTIVE = "active", "In use"
        RETIRED = "retired", "Retired"

    class Criterion(models.TextChoices):
        PERSON = "person", "Person"
        PROJECT = "project", "Project"
        DAY = "day", "Day"
        CUSTOMER = "customer", "Customer"
        AMOUNT = "amount", "Amount"

    entity = models.ForeignKey("portal.LegalEntity", models.PROTECT, related_name="matching_rules")
    leg = models.CharField(max_length=20, choices=ReconciliationResult.Leg.choices)
    name = models.CharField(max_length=120)
    position = models.PositiveSmallIntegerField(default=10)
    criteria = ArrayField(models.CharField(max_length=10, choices=Criterion.choices))
    hours_tolerance = models.DecimalField(max_digits=8, decimal_places=4, default=0)
    amount_tolerance = models.DecimalField(max_digits=12, decimal_places=4, default=0)
    is_automatic = models.BooleanField(default=False)  # matches by itself instead of suggesting
    state = models.CharField(max_length=10, choices=State.choices, default=State.DRAFT)
    tested = models.JSONField(default=dict, blank=True)  # what it would have paired in the past
    tested_at = models.DateTimeField(null=True, blank=True)
    made_by = models.ForeignKey("portal.User", models.PROTECT, related_name="+")
    activated_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")

    history = HistoricalRecords(history_change_reason_field=models.TextField(null=True))
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["entity", "leg", "position", "id"]
        constraints = [
            models.CheckConstraint(condition=~Q(criteria=[]), name="a_matching_rule_has_a_criterion"),
            models.CheckConstraint(
                condition=~Q(state="active") | Q(tested_at__isnull=False, activated_by__isnull=False),
                name="a_matching_rule_is_tested_before_use",
            ),
            models.CheckConstraint(
                condition=Q(activated_by=None) | ~Q(activated_by=F("made_by")),
                name="who_activates_a_matching_rule_did_not_write_it",
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return self.name


class Match(models.Model):
    """One explanation of some open items of one leg: a match that a rule suggests or makes, or that a person makes; or timing.

    The figures are those of its items when it was made. Where an item changes underneath, it breaks by itself.
    """

    class Kind(models.TextChoices):
        MATCH = "match", "Belong together"
        TIMING = "timing", "Still to come"

    class State(models.TextChoices):
        SUGGESTED = "suggested", "Suggested"
        CONFIRMED = "confirmed", "Confirmed"
        REFUSED = "refused", "Refused"
        BROKEN = "broken", "Broken"

    class Code(models.TextChoices):
        EXACT = "exact", "Equal"
        ROUNDING = "rounding", "Rounding"
        FX = "fx", "Exchange difference"
        BANK_FEE = "bank_fee", "Bank fee"
        TIMING = "timing", "Timing"
        WRITE_OFF = "write_off", "Written off"

    period = models.ForeignKey("portal.AccountingPeriod", models.PROTECT, related_name="matches")
    leg = models.CharField(max_length=20, choices=ReconciliationResult.Leg.choices)
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.MATCH)
    state = models.CharField(max_length=10, choices=State.choices)
    rule = models.ForeignKey(MatchingRule, models.PROTECT, null=True, blank=True, related_name="matches")
    code = models.CharField(max_length=10, choices=Code.choices, default=Code.EXACT)
    reason = models.TextField(blank=True)
    items = models.IntegerField()
    subjects = ArrayField(models.BigIntegerField(), default=list)  # of its items, in order, as results name them
    allocations = ArrayField(
        models.BigIntegerField(), default=list, db_default=[]
    )  # that it wrote: what it tied to bills
    hours_left = models.DecimalField(max_digits=14, decimal_places=4, default=0)
    hours_right = models.DecimalField(max_digits=14, decimal_places=4, default=0)
    amount_left = models.DecimalField(max_digits=20, decimal_places=4, default=0)
    amount_right = models.DecimalField(max_digits=20, decimal_places=4, default=0)
    currency = models.CharField(max_length=3, blank=True)
    expected_on = models.DateField(null=True, blank=True)
    made_at = models.DateTimeField()
    decided_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    ended_at = models.DateTimeField(null=True, blank=True)
    why = models.TextField(blank=True)  # it was refused or broke

    scope = Scope("period__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=~Q(state="confirmed") | Q(decided_by__isnull=False) | Q(rule__isnull=False),
                name="a_match_is_made_by_a_rule_or_a_person",
            ),
            models.CheckConstraint(
                condition=Q(kind="timing")
                | ~Q(state="confirmed")
                | Q(hours_left=F("hours_right"), amount_left=F("amount_right"))
                | Q(rule__isnull=False)
                | ~Q(reason=""),
                name="a_match_that_leaves_something_says_why",
            ),
            models.CheckConstraint(
                condition=~Q(kind="timing") | (Q(expected_on__isnull=False) & ~Q(reason="")),
                name="timing_says_by_when_and_why",
            ),
        ]
        indexes = [models.Index(fields=["period", "state"], name="match_by_period_and_state")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.items} items"
