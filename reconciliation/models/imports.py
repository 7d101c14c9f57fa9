"""Files of master data that people uploaded: kept as they came, matched, checked, and drafted as a change set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from portal.models.access import Scope, ScopedQuerySet, entities_held
from reconciliation.models.changes import ChangeSet

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser


class Imports(ScopedQuerySet["MasterImport"]):
    """Files, seen by who uploaded them, by who sees the change that came of them, and by who holds a role in every entity."""

    def visible_to(self, user: AbstractBaseUser | AnonymousUser, *, roles: frozenset[str] | None = None) -> Self:
        """A file may name records of any entity, so that nobody else sees it."""
        held = entities_held(user, roles)
        if not held:
            return self.none()
        if None in held:
            return self
        return self.filter(Q(uploaded_by=user.pk) | Q(change_set__in=ChangeSet.objects.visible_to(user)))

    def readable_by(self, user: AbstractBaseUser | AnonymousUser) -> Self:
        """Those of which the user may read every row: one's own, and those of whose entities the user holds a role in each.

        Rows that stay as they are reach no change set, and are read all the same.
        """
        seen, held = self.visible_to(user), entities_held(user, None)
        if not held or None in held:
            return seen
        return seen.filter(Q(uploaded_by=user.pk) | Q(reaches__contained_by=held))


class MasterImport(models.Model):
    """One uploaded file of one kind of master data. `columns` says which of its columns is which of ours, by its place.

    `reaches` is the entities that any of its rows touched when it was drafted; empty where they are not known, or all.
    """

    class State(models.TextChoices):
        MATCHING = "matching", "Columns to match"
        CHECKED = "checked", "To look at"
        DRAFTED = "drafted", "Drafted as a change"
        DISCARDED = "discarded", "Discarded"

    kind = models.CharField(max_length=40)  # the code of a kind of change
    name = models.CharField(max_length=255)
    content = models.BinaryField()
    digest = models.CharField(max_length=64)
    header = models.JSONField(default=list)
    columns = models.JSONField(default=dict, blank=True)
    rows = models.PositiveIntegerField(default=0)
    state = models.CharField(max_length=10, choices=State.choices, default=State.MATCHING)
    uploaded_by = models.ForeignKey("portal.User", models.PROTECT, related_name="+")
    uploaded_at = models.DateTimeField()
    change_set = models.ForeignKey(
        "reconciliation.ChangeSet", models.PROTECT, null=True, blank=True, related_name="imports"
    )
    reaches = ArrayField(models.BigIntegerField(), null=True, blank=True)

    scope = Scope("change_set__entities", shared=True)
    objects = Imports.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=~Q(state="drafted") | Q(change_set__isnull=False), name="a_drafted_import_has_its_change_set"
            )
        ]

    def __str__(self) -> str:
        return self.name


class ColumnChoice(models.Model):
    """What a person said a heading means, for files of one kind to come."""

    kind = models.CharField(max_length=40)
    heading = models.CharField(max_length=200)  # in plain words
    column = models.CharField(max_length=60)
    chosen_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kind", "heading"], name="a_heading_means_one_column")]

    def __str__(self) -> str:
        return f"{self.heading} is {self.column}"
