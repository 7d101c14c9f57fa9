"""The audit trail: one row per human or governed decision, append-only and chained, so that a removed row is noticed."""

from __future__ import annotations

from django.db import models

from portal.models.access import Scope, ScopedQuerySet


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
    reason = models.TextField(blank=True)
    before = models.JSONField(null=True, blank=True)
    after = models.JSONField(null=True, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    previous_digest = models.CharField(max_length=64)
    digest = models.CharField(max_length=64, unique=True)

    scope = Scope(shared=True)
    objects = ScopedQuerySet.as_manager()

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
