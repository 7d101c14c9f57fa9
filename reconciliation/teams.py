"""Teams and the ownership rules that give new causes to them: set by the configuration file and on their screens.

The rule here: this is the only writer of both. Each change is one event in the audit trail with what was before; the ownership
rules of an entity are written as one list, because their order decides.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from portal import audit
from portal.models import Connection, LegalEntity, User
from reconciliation.models import OwnershipRule, Team, TeamMember


@dataclass(frozen=True, slots=True)
class Fits:
    """What an ownership rule fits, and the team that gets it; any cause where it names neither theme, rules nor connection."""

    team: Team
    theme: str = ""
    rules: tuple[str, ...] = ()
    connection: Connection | None = None

    def told(self) -> dict[str, Any]:
        """As the audit trail keeps it."""
        return {
            "team": self.team.code,
            "theme": self.theme,
            "rules": list(self.rules),
            "connection": self.connection.code if self.connection else "",
        }


def standing(entity: LegalEntity) -> list[Fits]:
    """The ownership rules of an entity, in their order."""
    found = OwnershipRule.objects.filter(entity=entity).select_related("team", "connection").order_by("position")
    return [Fits(one.team, one.theme, tuple(one.rules), one.connection) for one in found]


def save_team(
    team: Team,
    *,
    entities: Collection[LegalEntity],
    members: Collection[User],
    leads: Collection[User] = (),
    by: User | None,
    reason: str,
) -> bool:
    """Write a team as it should be, new or not; whether anything changed. Leads are members.

    Raises ValueError when an ownership rule gives it causes of an entity that it would not work for any more.
    """
    everybody = {one.pk: one in leads for one in [*members, *leads]}
    with transaction.atomic():
        before = _told(Team.objects.select_for_update().get(pk=team.pk)) if team.pk else None
        owed = OwnershipRule.objects.filter(team=team.pk).exclude(entity__in=[one.pk for one in entities])
        if team.pk and (rule := owed.select_related("entity").first()) is not None:
            raise ValueError(f"An ownership rule gives {team.name} the causes of {rule.entity.code}; remove it first.")
        team.save()
        team.entities.set(entities)
        TeamMember.objects.filter(team=team).exclude(user__in=everybody).delete()
        for user_id, is_lead in everybody.items():
            TeamMember.objects.update_or_create(team=team, user_id=user_id, defaults={"is_lead": is_lead})
        after = _told(team)
        if before == after:
            return False
        for entity in sorted(entities, key=lambda one: one.pk):
            audit.record(by, "team.configured", team, entity=entity, reason=reason, before=before, after=after)
    return True


def _told(team: Team) -> dict[str, Any]:
    """A team as the audit trail keeps it."""
    people = list(
        TeamMember.objects.filter(team=team).order_by("user__username").values_list("user__username", "is_lead")
    )
    return {
        "code": team.code,
        "name": team.name,
        "is_active": team.is_active,
        "entities": sorted(team.entities.values_list("code", flat=True)),
        "members": [name for name, _ in people],
        "leads": [name for name, is_lead in people if is_lead],
    }


def set_ownership(entity: LegalEntity, wanted: Sequence[Fits], *, by: User | None, reason: str) -> bool:
    """Make the ownership rules of an entity exactly these, in this order; whether anything changed.

    Causes that are open already stay where they are. Raises ValueError for a team that does not work for the entity.
    """
    for one in wanted:
        if not one.team.entities.filter(pk=entity.pk).exists():
            raise ValueError(f"{one.team.name} does not work for {entity.code}; add the entity to the team first.")
    with transaction.atomic():
        LegalEntity.objects.select_for_update(no_key=True).get(pk=entity.pk)
        before = [one.told() for one in standing(entity)]
        after = [one.told() for one in wanted]
        if before == after:
            return False
        OwnershipRule.objects.filter(entity=entity).delete()
        OwnershipRule.objects.bulk_create(
            OwnershipRule(
                entity=entity,
                position=position,
                team=one.team,
                theme=one.theme,
                rules=list(one.rules),
                connection=one.connection,
            )
            for position, one in enumerate(wanted, 1)
        )
        audit.record(by, "ownership.configured", entity, entity=entity, reason=reason, before=before, after=after)
    return True
