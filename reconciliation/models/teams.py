"""Who takes a cause on: teams, and the ordered rules that give new causes to them."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from portal.models.access import Scope, ScopedQuerySet


class Team(models.Model):
    """Some people who work the exceptions of some legal entities together. Its leads are told what nobody has touched."""

    code = models.CharField(max_length=40, unique=True)
    name = models.CharField(max_length=120)
    entities = models.ManyToManyField("portal.LegalEntity", related_name="teams")
    members = models.ManyToManyField("portal.User", through="TeamMember", related_name="teams")
    is_active = models.BooleanField(default=True)

    scope = Scope("entities", many=True)
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["code"]

    def __str__(self) -> str:
        return self.name


class TeamMember(models.Model):
    """One person in one team; a lead is told what waits too long."""

    team = models.ForeignKey(Team, models.CASCADE, related_name="memberships")
    user = models.ForeignKey("portal.User", models.CASCADE, related_name="memberships")
    is_lead = models.BooleanField(default=False)

    class Meta:
        ordering = ["team", "-is_lead", "user__username"]
        constraints = [models.UniqueConstraint(fields=["team", "user"], name="a_person_is_once_in_a_team")]

    def __str__(self) -> str:
        return f"{self.user} in {self.team}"


class OwnershipRule(models.Model):
    """Which team a new cause of an entity goes to. The rule with the lowest position that fits decides.

    It fits the rule or the theme that it names (any, where it names neither) and the connection, where it names one.
    """

    entity = models.ForeignKey("portal.LegalEntity", models.PROTECT, related_name="ownership_rules")
    position = models.PositiveIntegerField()
    theme = models.CharField(max_length=30, blank=True)  # one of reconciliation.rules.THEMES
    rules = ArrayField(models.CharField(max_length=60), default=list, blank=True)  # codes; any where empty
    connection = models.ForeignKey("portal.Connection", models.PROTECT, null=True, blank=True, related_name="+")
    team = models.ForeignKey(Team, models.PROTECT, related_name="ownership_rules")

    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["entity__code", "position"]
        constraints = [
            models.UniqueConstraint(
                fields=["entity", "position"],
                name="ownership_is_decided_in_one_order",
                deferrable=models.Deferrable.DEFERRED,
            ),
            models.CheckConstraint(
                condition=Q(theme="") | Q(rules=[]), name="an_ownership_rule_names_a_theme_or_rules_and_not_both"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.entity.code} {self.position}: {self.team}"
