"""The audit trail: one row per human or governed decision, append-only and chained, so that a removed row is noticed."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from portal.models.access import Scope, ScopedQuerySet, entities_held

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser


SHARED = (
    "connection",
    "stream",
    "savedview",
)  # what may belong to every entity, so that all see what is decided about it


class AuditQuerySet(ScopedQuerySet["AuditEvent"]):
    """Decisions of entities, and of what all of them share."""

    def shared_with(self, user: AbstractBaseUser | AnonymousUser) -> Q:
        """One's own decisions, those about what all entities share, but for how it is configured, and those of several held.

        A decision of several entities may name the projects, people and rates of each, so who sees it holds a role in them all.
        """
        of_several = Q(entities__contained_by=entities_held(user, None)) & ~Q(entities=[])
        configured = Q(action__endswith=".configured")  # names settings, and where credentials lie
        return Q(actor=user.pk) | of_several | (Q(object_type__in=SHARED) & ~configured)

    def of_entities(self, ids: Collection[int]) -> AuditQuerySet:
        """Decisions of these entities, alone or with others, and those about what all of them share."""
        of_none = Q(entity=None) & (Q(entities=[]) | Q(entities__overlap=list(ids)))
        return self.filter(Q(entity__in=ids) | of_none)


class AuditEvent(models.Model):
    """One decision: who did what to which object, when and why, with the figures before and after.

    `digest` is the SHA-256 of the previous event's digest and of this row's content; written only by `portal.audit`.
    """

    at = models.DateTimeField()
    actor = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    actor_name = models.CharField(max_length=150)
    action = models.CharField(max_length=60, db_index=True)
    object_type = models.CharField(max_length=60)
    object_id = models.CharField(max_length=60)
    object_name = models.CharField(max_length=300)
    entity = models.ForeignKey("portal.LegalEntity", models.PROTECT, null=True, blank=True, related_name="+")
    entities = ArrayField(models.BigIntegerField(), default=list, db_default=[], blank=True)  # of a decision of several
    reason = models.TextField(blank=True)
    before = models.JSONField(null=True, blank=True)
    after = models.JSONField(null=True, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    roles = models.CharField(max_length=200, blank=True)  # what the person held there at that moment
    address = models.CharField(max_length=60, blank=True)  # where the request came from; empty where there was none
    previous_digest = models.CharField(max_length=64)
    digest = models.CharField(max_length=64, unique=True)

    scope = Scope(shared=True)
    objects = AuditQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["object_type", "object_id"], name="audit_by_object")]

    def __str__(self) -> str:
        return f"{self.actor_name}: {self.action} {self.object_name}"


class Heartbeat(models.Model):
    """When a part of the machinery last showed life (beat, sweeper, each worker)."""

    name = models.CharField(max_length=120, primary_key=True)
    at = models.DateTimeField()
    detail = models.JSONField(default=dict, blank=True)

    def __str__(self) -> str:
        return self.name
