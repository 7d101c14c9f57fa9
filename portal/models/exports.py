"""What left the portal as a file: one row an export, whether it was downloaded at once or made in the background."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import Q

from portal.models.access import EntityGrant

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser


class ExportQuerySet(models.QuerySet["Export"]):
    """An export is seen by the person who asked for it, while that person holds a role anywhere."""

    def visible_to(self, user: AbstractBaseUser | AnonymousUser, *, roles: frozenset[str] | None = None) -> Self:
        """The person's own exports."""
        grants = EntityGrant.objects.of(user)
        held = grants.filter(role__in=roles) if roles is not None else grants
        return self.filter(person_id=user.pk) if held.exists() else self.none()


class Export(models.Model):
    """One export: who asked for which rows of which list, in which columns, and what became of the file.

    `address` is the list with its filter, as a link; `entities` are the legal entities whose rows the file holds. The row
    stays when the file is gone.
    """

    class State(models.TextChoices):
        """Where it stands."""

        WAITING = "waiting", "Waiting"
        RUNNING = "running", "Being made"
        READY = "ready", "Ready"
        DIRECT = "direct", "Downloaded at once"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"
        EXPIRED = "expired", "Expired"
        DELETED = "deleted", "Deleted"

    UNDER_WAY = (State.WAITING, State.RUNNING)

    person = models.ForeignKey("portal.User", models.CASCADE, related_name="exports")
    title = models.CharField(max_length=200)
    address = models.TextField()
    form = models.CharField(max_length=4)
    of = models.CharField(max_length=20, blank=True)
    filters = models.JSONField(default=list, blank=True)
    columns = models.JSONField(default=list, blank=True)
    entities = models.JSONField(default=list, blank=True)
    state = models.CharField(max_length=10, choices=State.choices)
    expected = models.PositiveIntegerField(default=0)
    rows = models.PositiveIntegerField(default=0)
    size = models.PositiveBigIntegerField(default=0)  # bytes
    file = models.CharField(max_length=120, blank=True)
    asked_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    fence = models.PositiveIntegerField(default=0)
    downloads = models.PositiveIntegerField(default=0)
    problem = models.TextField(blank=True)

    objects = ExportQuerySet.as_manager()

    class Meta:
        ordering = ["-asked_at", "-id"]
        constraints = [
            models.CheckConstraint(
                condition=~Q(state="ready") | (~Q(file="") & Q(expires_at__isnull=False)),
                name="a_ready_export_has_a_file_and_an_end",
            ),
        ]
        indexes = [
            models.Index(fields=["person", "-asked_at"], name="export_by_person"),
            models.Index(fields=["id"], condition=Q(state__in=["waiting", "running"]), name="export_under_way"),
            models.Index(fields=["expires_at"], condition=~Q(file=""), name="export_with_a_file"),
        ]

    def __str__(self) -> str:
        return f"{self.title} ({self.form.upper()})"
