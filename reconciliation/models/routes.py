"""Where an entity's documents go: routes and their policies."""

from __future__ import annotations

from django.db import models
from simple_history.models import HistoricalRecords

from portal.models.access import ScopedQuerySet
from portal.models.documents import INVOICE, KIND_CHOICES

ROUTED = [*KIND_CHOICES, (INVOICE, "Invoice draft")]


class Route(models.Model):
    """Which target an entity's documents of one source are owed to, under which policy, from one work date to another.

    One of kind `invoice` says which system bills the customer for the work that came from the source.

    `policy` refines the entity's: which rules do not run, tolerances, limits (docs/configuration.md lists the keys).
    """

    entity = models.ForeignKey("portal.LegalEntity", models.PROTECT, related_name="routes")
    source = models.ForeignKey("portal.Connection", models.PROTECT, related_name="routes_out")
    target = models.ForeignKey("portal.Connection", models.PROTECT, related_name="routes_in")
    kind = models.CharField(max_length=10, choices=ROUTED)
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
