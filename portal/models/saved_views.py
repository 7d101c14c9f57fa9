"""Views of lists that people keep: a name for an address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import Q

from portal.models.access import Scope, ScopedQuerySet

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser


class SavedViewQuerySet(ScopedQuerySet["SavedView"]):
    """Views, and those that a person may open."""

    def visible_to(self, user: AbstractBaseUser | AnonymousUser, *, roles: frozenset[str] | None = None) -> Self:
        """A person's own, and those shared in the entities in which they hold a grant (or one of `roles`)."""
        if not user.is_authenticated:
            return self.none()
        shared = ScopedQuerySet.visible_to(self.filter(is_shared=True), user, roles=roles)
        return self.filter(Q(owner_id=user.pk) | Q(pk__in=shared.values("pk")))


class SavedView(models.Model):
    """One view of one list: tab, filters, order and columns as the query string that makes them.

    Private to its owner, or shared with everybody who holds a grant in its entity (in any, where it names none). It narrows
    what a person looks at and never widens it: the list behind it shows each person their own rows.
    """

    screen = models.CharField(max_length=80)  # the list's name, as its address is named
    owner = models.ForeignKey("portal.User", models.CASCADE, related_name="saved_views")
    slug = models.SlugField(max_length=60, allow_unicode=True)
    name = models.CharField(max_length=60)
    query = models.CharField(max_length=2000, blank=True)
    is_shared = models.BooleanField(default=False)
    entity = models.ForeignKey("portal.LegalEntity", models.CASCADE, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    scope = Scope(shared=True)
    objects = SavedViewQuerySet.as_manager()

    class Meta:
        ordering = ["is_shared", "name", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["screen", "owner", "slug"], name="a_person_names_a_view_once_per_list"),
            models.CheckConstraint(
                condition=Q(is_shared=True) | Q(entity=None), name="a_private_view_belongs_to_no_entity"
            ),
        ]

    def __str__(self) -> str:
        return self.name
