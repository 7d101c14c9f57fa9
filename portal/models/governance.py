"""What other systems say of master data: their records as they last stated them, and the values that were not taken.

The rule here: neither is master data. They are kept so that a person can say which record is which, and which value holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from portal.models.access import GrantRole, Scope, ScopedQuerySet, entities_held

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

REQUEST_READERS = frozenset({GrantRole.ADMIN, GrantRole.CONTROLLER, GrantRole.AUDITOR})
SHARED_KINDS = ("customer", "role")  # kinds of which a record without an entity belongs to every entity


class SaidQuerySet(ScopedQuerySet[Any]):
    """What was said of records of an entity; of those without one only what may belong to every entity is seen by all."""

    def shared_with(self, user: AbstractBaseUser | AnonymousUser) -> Q:
        """Customers without an entity belong to every entity; what a project without one belongs to is not known."""
        return Q(kind__in=SHARED_KINDS)


class ForeignRecord(models.Model):
    """One record of another system as it last stated it, whether it is tied to one of ours or not."""

    connection = models.ForeignKey("portal.Connection", models.CASCADE, related_name="foreign_records")
    system = models.CharField(max_length=40)
    realm = models.CharField(max_length=120, blank=True)
    kind = models.CharField(max_length=20)
    external_id = models.CharField(max_length=200)
    code = models.CharField(max_length=200, blank=True)
    name = models.CharField(max_length=300, blank=True)
    entity = models.ForeignKey("portal.LegalEntity", models.CASCADE, null=True, blank=True, related_name="+")
    attributes = models.JSONField(default=dict, blank=True)  # as the system stated them, in our field names
    is_active = models.BooleanField(default=True)
    revision = models.CharField(max_length=64, blank=True)
    seen_at = models.DateTimeField()

    scope = Scope(shared=True)
    objects = SaidQuerySet.as_manager()

    class Meta:
        ordering = ["system", "kind", "code", "external_id"]
        constraints = [
            models.UniqueConstraint(
                fields=["system", "realm", "kind", "external_id"], name="a_foreign_record_is_known_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.code or self.external_id} {self.name}".strip()


class RejectedValue(models.Model):
    """One value of one field that a system stated and that was not taken, because it does not own it or because it will not do.

    It stays open until a person keeps what stands or takes the value, or until the systems agree again.
    """

    class State(models.TextChoices):
        OPEN = "open", "Open"
        KEPT = "kept", "What stands was kept"
        PROPOSED = "proposed", "Proposed as a change"
        TAKEN = "taken", "Accepted"
        SETTLED = "settled", "Settled: the systems agree"
        SUPERSEDED = "superseded", "Superseded by another value"

    connection = models.ForeignKey("portal.Connection", models.PROTECT, related_name="rejected_values")
    kind = models.CharField(max_length=20)
    internal_id = models.BigIntegerField()  # the primary key within the kind's table
    record = models.CharField(max_length=300)  # its code and name, as they were
    entity = models.ForeignKey("portal.LegalEntity", models.PROTECT, null=True, blank=True, related_name="+")
    field = models.CharField(max_length=40)
    stands = models.TextField(blank=True)
    said = models.TextField(blank=True)
    reason = models.TextField()  # whose field it is, or which rule the value breaks
    revision = models.CharField(max_length=64, blank=True)
    times = models.PositiveIntegerField(default=1)  # how often it was said
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)
    decided_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    decision = models.TextField(blank=True)

    scope = Scope(shared=True)
    objects = SaidQuerySet.as_manager()

    class Meta:
        ordering = ["-last_at", "-id"]
        indexes = [models.Index(fields=["kind", "internal_id"], name="rejected_by_record")]
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "kind", "internal_id", "field"],
                condition=Q(state="open"),
                name="one_open_rejected_value_per_field",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["kept", "proposed", "taken"])
                | (Q(decided_by__isnull=False, decided_at__isnull=False) & ~Q(decision="")),
                name="a_decided_value_has_a_person_and_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.field.replace('_', ' ')} of {self.record}: “{self.said}”"


class Erasure(models.Model):
    """That a person was pseudonymised on their request: by whom, with whose agreement, and how much named them. Kept for good."""

    resource = models.OneToOneField("portal.Resource", models.PROTECT, related_name="erasure")
    pseudonym = models.CharField(max_length=60)
    asked_by = models.ForeignKey("portal.User", models.PROTECT, related_name="+")
    agreed_by = models.ForeignKey("portal.User", models.PROTECT, related_name="+")
    reason = models.TextField()
    at = models.DateTimeField()
    counts = models.JSONField(default=dict)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(asked_by=F("agreed_by")), name="nobody_is_forgotten_by_one_person"),
            models.CheckConstraint(condition=~Q(reason=""), name="an_erasure_names_its_request"),
        ]

    def __str__(self) -> str:
        return self.pseudonym


class ErasureRequests(models.QuerySet["ErasureRequest"]):
    """Requests, seen by those who configure or audit an entity in which the person worked; else by those of all entities."""

    def visible_to(self, user: AbstractBaseUser | AnonymousUser, *, roles: frozenset[str] | None = None) -> Self:
        """Those of a person who worked in an entity in which the user holds one of the roles."""
        held = entities_held(user, roles if roles is not None else REQUEST_READERS)
        if None in held:
            return self
        return self.filter(entities__overlap=held) if held else self.none()

    def to_decide(self, user: AbstractBaseUser | AnonymousUser, roles: frozenset[str]) -> Self:
        """Those that wait for this user: asked by somebody else, and the user holds a role wherever the person worked."""
        held = entities_held(user, roles)
        waiting = self.filter(state=ErasureRequest.State.WAITING).exclude(asked_by=user.pk)
        if None in held:
            return waiting
        return waiting.filter(entities__contained_by=held, entities__len__gt=0) if held else self.none()


class ErasureRequest(models.Model):
    """That a person asks to be forgotten: who took it up, what it would do, and who agreed. What was decided stays (a trigger).

    `shown` is what the dry-run counted; what is carried out is that, or it is looked at again.
    """

    class State(models.TextChoices):
        WAITING = "waiting", "Waits for a second person"
        DONE = "done", "Forgotten"
        REFUSED = "refused", "Refused"
        WITHDRAWN = "withdrawn", "Taken back"

    resource = models.ForeignKey("portal.Resource", models.PROTECT, related_name="erasure_requests")
    entities = ArrayField(models.BigIntegerField(), default=list)  # where the person worked
    reason = models.TextField()
    shown = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    asked_by = models.ForeignKey("portal.User", models.PROTECT, related_name="+")
    asked_at = models.DateTimeField()
    decided_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    comment = models.TextField(blank=True)
    erasure = models.OneToOneField(Erasure, models.PROTECT, null=True, blank=True, related_name="request")

    scope = Scope("resource__engagements__entity", many=True)
    objects = ErasureRequests.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["resource"], condition=Q(state="waiting"), name="one_request_to_forget_a_person_at_a_time"
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="a_request_to_forget_says_why"),
            models.CheckConstraint(
                condition=Q(state="waiting", decided_by=None)
                | Q(state="withdrawn", decided_by__isnull=False, decided_at__isnull=False)
                | (Q(decided_by__isnull=False, decided_at__isnull=False) & ~Q(decided_by=F("asked_by"))),
                name="who_decides_to_forget_did_not_ask",
            ),
            models.CheckConstraint(
                condition=Q(state="done", erasure__isnull=False) | (~Q(state="done") & Q(erasure=None)),
                name="forgotten_means_carried_out",
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"Request {self.pk} to forget a person"
