"""The companies of the group, their accounting periods and cost centres."""

from __future__ import annotations

from django.contrib.postgres.constraints import ExclusionConstraint
from django.db import models
from django.db.models import F, Q

from portal.models.access import Scope, ScopedQuerySet
from portal.models.master_data.ranges import during, history_of, same


class LegalEntity(models.Model):
    """One company of the group, with the currency it keeps its books in."""

    code = models.CharField(max_length=20, unique=True)
    name = models.CharField(max_length=200)
    currency = models.CharField(max_length=3)
    zone = models.CharField(max_length=60, default="UTC")
    calendar = models.JSONField(
        default=dict, blank=True
    )  # {"weekend": [6, 7], "holidays": ["2026-12-25"], "hours_per_day": "8", "names": {"2026-12-25": "Christmas"}}
    parent = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="subsidiaries")
    policy = models.JSONField(default=dict, blank=True)  # rule settings of the entity; a route may refine them

    history = history_of()
    scope = Scope("id")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["code"]
        verbose_name_plural = "legal entities"

    def __str__(self) -> str:
        return self.code


class AccountingPeriod(models.Model):
    """One accounting period of one entity."""

    class State(models.TextChoices):
        FUTURE = "future", "Future"
        OPEN = "open", "Open"
        CLOSING = "closing", "Closing"
        CLOSED = "closed", "Closed"

    entity = models.ForeignKey(LegalEntity, models.PROTECT, related_name="periods")
    code = models.CharField(max_length=20)
    starts_on = models.DateField()
    ends_on = models.DateField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)

    history = history_of()
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["entity__code", "starts_on"]
        constraints = [
            models.UniqueConstraint(fields=["entity", "code"], name="period_code_is_unique_per_entity"),
            models.CheckConstraint(condition=Q(starts_on__lte=F("ends_on")), name="period_starts_before_it_ends"),
            ExclusionConstraint(
                name="periods_of_an_entity_do_not_overlap",
                expressions=[same("entity_id"), during("starts_on", "ends_on")],
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code} ({self.entity})"


class CostCentre(models.Model):
    """Where the cost of a person or a project is carried, within one entity."""

    entity = models.ForeignKey(LegalEntity, models.PROTECT, related_name="cost_centres")
    code = models.CharField(max_length=40)
    name = models.CharField(max_length=200)
    valid_from = models.DateField(null=True, blank=True)
    valid_to = models.DateField(null=True, blank=True)

    history = history_of()
    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["entity", "code"], name="cost_centre_code_is_unique_per_entity")]

    def __str__(self) -> str:
        return self.code
