"""Who may see and do what: a person holds roles, each in one legal entity or in all of them, for a time.

The rule here: no query reaches a screen, an export or the API but through `visible_to`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Self, TypeVar

from django.contrib.auth.models import AbstractUser, AnonymousUser
from django.db import models
from django.db.models import Q
from django.utils import timezone
from simple_history.models import HistoricalRecords

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser


class GrantRole(models.TextChoices):
    """What a person does here. An auditor reads everything of the entity and changes nothing."""

    ANALYST = "analyst", "Finance analyst"
    PROJECT_MANAGER = "project_manager", "Project manager"
    CONTROLLER = "controller", "Controller"
    ADMIN = "admin", "Admin"
    AUDITOR = "auditor", "Auditor"


class User(AbstractUser):
    """One person who signs in, or one machine user that holds API tokens."""

    preferences = models.JSONField(default=dict, blank=True)  # theme, density, keyboard map, columns

    known_grants: list[tuple[str, int | None]] | None = None  # (role, entity) once asked for, see `remember_grants`
    remembers_grants: bool = False

    def roles(self, entity_id: int | None = None) -> frozenset[str]:
        """The roles held today, in one entity or in any."""
        grants = EntityGrant.objects.of(self)
        if entity_id is not None:
            grants = grants.filter(Q(entity_id=entity_id) | Q(entity=None))
        return frozenset(grants.values_list("role", flat=True))


class GrantQuerySet(models.QuerySet["EntityGrant"]):
    """Grants, and those that hold on a day."""

    def of(self, user: AbstractBaseUser | AnonymousUser, on: date | None = None) -> Self:
        """The grants that this user holds on a day (today when none is given)."""
        day = on or timezone.localdate()
        if not user.is_authenticated or not user.is_active:
            return self.none()
        return self.filter(Q(valid_to=None) | Q(valid_to__gte=day), user_id=user.pk, valid_from__lte=day)


class EntityGrant(models.Model):
    """One role of one person in one legal entity, or in all of them (entity empty), for a range of days."""

    user = models.ForeignKey("portal.User", models.CASCADE, related_name="grants")
    entity = models.ForeignKey("portal.LegalEntity", models.CASCADE, null=True, blank=True, related_name="grants")
    role = models.CharField(max_length=20, choices=GrantRole.choices)
    valid_from = models.DateField(default=timezone.localdate)
    valid_to = models.DateField(null=True, blank=True)

    history = HistoricalRecords(history_change_reason_field=models.TextField(null=True))
    objects = GrantQuerySet.as_manager()

    class Meta:
        verbose_name = "grant"
        ordering = ["user__username", "role", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["user", "entity", "role"], nulls_distinct=False, name="one_grant_per_user_entity_and_role"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} is {self.get_role_display()} in {self.entity or 'every entity'}"


@dataclass(frozen=True, slots=True)
class Scope:
    """The way from a row to its legal entity. `shared` rows may have none and are then seen by everybody.

    `many` says that the way passes over several rows, e.g. a person's engagements.
    """

    path: str = "entity"
    shared: bool = False
    many: bool = False


M = TypeVar("M", bound=models.Model)


def remember_grants(user: User) -> None:
    """Ask for this object's grants once and not for every list of a page. For a request that only reads, and no longer."""
    user.remembers_grants, user.known_grants = True, None


def entities_held(user: AbstractBaseUser | AnonymousUser, roles: frozenset[str] | None) -> list[int | None]:
    """The entities in which the user holds any grant today (or one of `roles`); None stands for all of them."""
    held: list[tuple[str, int | None]] | None = getattr(user, "known_grants", None)
    if held is None:
        held = list(EntityGrant.objects.of(user).values_list("role", "entity_id"))
        if getattr(user, "remembers_grants", False):
            user.known_grants = held  # type: ignore[union-attr]
    return list(dict.fromkeys(entity for role, entity in held if roles is None or role in roles))


class ScopedQuerySet(models.QuerySet[M]):
    """Rows that belong to a legal entity; their model's `scope` says how (by its `entity` where it says nothing)."""

    def visible_to(self, user: AbstractBaseUser | AnonymousUser, *, roles: frozenset[str] | None = None) -> Self:
        """The rows of the entities in which the user holds any grant today (or one of `roles`)."""
        scope: Scope = getattr(self.model, "scope", Scope())
        held = entities_held(user, roles)
        if not held:
            return self.none()
        if None in held:
            return self
        condition = Q(**{f"{scope.path}__in": held})
        if scope.shared:
            condition |= Q(**{f"{scope.path}__isnull": True}) & self.shared_with(user)
        if scope.many:
            return self.filter(pk__in=self.model._base_manager.filter(condition).values("pk"))
        return self.filter(condition)

    def shared_with(self, user: AbstractBaseUser | AnonymousUser) -> Q:
        """Which of the rows without an entity a person sees who does not hold a grant in all of them: every one."""
        return Q()


class ApiToken(models.Model):
    """One token of a machine user. Only its SHA-256 is kept; the token itself is shown once."""

    user = models.ForeignKey("portal.User", models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=80)
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    may_decide = models.BooleanField(default=False, db_default=False)  # as its user may; without it, it reads

    def __str__(self) -> str:
        return f"{self.name} of {self.user}"


class ApiAnswer(models.Model):
    """What was answered to one decision of an outside program, under the key that it chose: a repeat is answered with it.

    `digest` is of what was sent, so that a key is not used for something else. Kept for some weeks; what was decided stands in
    the audit trail.
    """

    user = models.ForeignKey("portal.User", models.CASCADE, related_name="+", db_index=False)
    key = models.CharField(max_length=200)
    digest = models.CharField(max_length=64)
    answer = models.JSONField(default=dict)
    at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="an_answer_is_given_once")]

    def __str__(self) -> str:
        return f"{self.key} of {self.user}"
