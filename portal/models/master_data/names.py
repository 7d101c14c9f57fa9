"""What others call our records: keys of other systems, and codes that stand for one of ours."""

from __future__ import annotations

from django.contrib.postgres.constraints import ExclusionConstraint
from django.db import models
from django.db.models import Q

from portal.models.access import Scope, ScopedQuerySet
from portal.models.master_data.ranges import during, history_of, same, same_text


class Crosswalk(models.Model):
    """One system's own key for one master record, for a range of days.

    A key means one record, and a record has one key, at any day; `allows_many` lets several keys of one system mean the same
    record, and such a row is never used in the other direction. `internal_id` is the primary key within `kind`'s table.
    """

    class Kind(models.TextChoices):
        ENTITY = "entity", "Legal entity"
        COST_CENTRE = "cost_centre", "Cost centre"
        CUSTOMER = "customer", "Customer"
        PROJECT = "project", "Project"
        TASK = "task", "Task"
        RESOURCE = "resource", "Resource"
        ITEM = "item", "Service item or expense category"

    system = models.CharField(max_length=40)
    realm = models.CharField(max_length=120, blank=True)
    kind = models.CharField(max_length=20, choices=Kind.choices)
    external_id = models.CharField(max_length=200)
    internal_id = models.BigIntegerField()
    allows_many = models.BooleanField(default=False)
    valid_from = models.DateField()
    valid_to = models.DateField(null=True, blank=True)

    history = history_of()

    class Meta:
        indexes = [models.Index(fields=["system", "realm", "kind", "internal_id"], name="crosswalk_by_record")]
        constraints = [
            ExclusionConstraint(
                name="an_external_id_means_one_record",
                expressions=[same_text("system", "realm", "kind", "external_id"), during()],
            ),
            ExclusionConstraint(
                name="a_record_has_one_external_id",
                expressions=[same_text("system", "realm", "kind"), same("internal_id"), during()],
                condition=Q(allows_many=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.system} {self.kind} {self.external_id}"


class Alias(models.Model):
    """A mistyped or foreign code that stands for a master record, for a range of days, at one connection or at all."""

    connection = models.ForeignKey("portal.Connection", models.CASCADE, null=True, blank=True, related_name="aliases")
    kind = models.CharField(max_length=20, choices=Crosswalk.Kind.choices)
    code = models.CharField(max_length=200)
    internal_id = models.BigIntegerField()
    valid_from = models.DateField()
    valid_to = models.DateField(null=True, blank=True)
    reason = models.TextField(blank=True)

    history = history_of()
    scope = Scope("connection__entity", shared=True)
    objects = ScopedQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "aliases"
        constraints = [
            ExclusionConstraint(
                name="an_alias_means_one_record",
                expressions=[same("connection_id"), same_text("kind", "code"), during()],
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.code}"
