"""Assignments: who may record time on which project, and from when to when."""

from __future__ import annotations

from django.contrib.postgres.constraints import ExclusionConstraint
from django.db import models
from simple_history.models import HistoricalRecords

from portal.models.access import Scope, ScopedQuerySet
from portal.models.master_data.ranges import during, same


class Assignment(models.Model):
    """Leave for one person to record time on one project, for a range of days."""

    project = models.ForeignKey("portal.Project", models.CASCADE, related_name="assignments")
    resource = models.ForeignKey("portal.Resource", models.PROTECT, related_name="assignments")
    valid_from = models.DateField()
    valid_to = models.DateField(null=True, blank=True)

    history = HistoricalRecords(history_change_reason_field=models.TextField(null=True))
    scope = Scope("project__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["project", "valid_from"]
        constraints = [
            ExclusionConstraint(
                name="a_person_is_assigned_once_a_day",
                expressions=[same("project_id"), same("resource_id"), during()],
            )
        ]

    def __str__(self) -> str:
        return f"{self.resource} on {self.project.code} from {self.valid_from}"
