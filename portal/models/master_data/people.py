"""Who works, for which company and in which role."""

from __future__ import annotations

from django.contrib.postgres.constraints import ExclusionConstraint
from django.db import models

from portal.models.access import Scope, ScopedQuerySet
from portal.models.master_data.entities import CostCentre, LegalEntity
from portal.models.master_data.ranges import during, history_of, same


class Role(models.Model):
    """What a person is sold as, e.g. senior consultant; rates hang on it."""

    code = models.CharField(max_length=60, unique=True)
    name = models.CharField(max_length=120)

    history = history_of()

    class Meta:
        ordering = ["code"]

    def __str__(self) -> str:
        return self.name


class Resource(models.Model):
    """One consultant. Who employs them, where and as what, is in their dated engagements."""

    code = models.CharField(max_length=60, unique=True)
    name = models.CharField(max_length=200)
    email = models.EmailField(blank=True)

    history = history_of()
    scope = Scope("engagements__entity", many=True)
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["code"]

    def __str__(self) -> str:
        return self.name


class Engagement(models.Model):
    """For whom, as what and on which cost centre a resource works from one day to another."""

    resource = models.ForeignKey(Resource, models.CASCADE, related_name="engagements")
    entity = models.ForeignKey(LegalEntity, models.PROTECT, related_name="engagements")
    cost_centre = models.ForeignKey(CostCentre, models.PROTECT, null=True, blank=True, related_name="engagements")
    role = models.ForeignKey(Role, models.PROTECT, related_name="engagements")
    external_id = models.CharField(max_length=120, blank=True)  # the person's key in the target during this engagement
    valid_from = models.DateField()
    valid_to = models.DateField(null=True, blank=True)

    history = history_of()
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["resource", "valid_from"]
        constraints = [
            ExclusionConstraint(name="resource_has_one_engagement_a_day", expressions=[same("resource_id"), during()])
        ]

    def __str__(self) -> str:
        return f"{self.resource} in {self.entity} from {self.valid_from}"
