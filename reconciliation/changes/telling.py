"""Who is told of a change set: those who may decide, those who wrote it, and everybody responsible where it was an emergency."""

from __future__ import annotations

from collections.abc import Iterable

from django.urls import reverse

from portal import access, notifications
from portal.models import EntityGrant, NotificationKind, User
from reconciliation.changes.kinds import BY_CODE
from reconciliation.models import ChangeEditor, ChangeSet


def deciding_roles(change_set: ChangeSet) -> frozenset[str]:
    """The roles that may decide on every one of its lines."""
    roles = access.CONFIGURERS
    for model in change_set.lines.values_list("model", flat=True).distinct():
        roles = roles & BY_CODE[model].approvers
    return roles


def whose_rights(change_set: ChangeSet) -> set[str]:
    """The user names of the people whose own rights it gives, changes or takes."""
    sides = change_set.lines.filter(model="grant").values_list("before", "after")
    return {str(side["user"]) for line in sides for side in line if side and side.get("user")}


def deciders(change_set: ChangeSet) -> list[int]:
    """The people who may decide on it today: who holds the role wherever it reaches, edited none of it and keeps their rights."""
    roles = deciding_roles(change_set)
    entities = list(change_set.entities.values_list("pk", flat=True))
    found: set[int] | None = None
    if change_set.is_shared:
        found = set(_everywhere(roles))
    for entity_id in entities:
        here = set(access.holders(roles, entity_id).values_list("pk", flat=True))
        found = here if found is None else found & here
    editors = set(ChangeEditor.objects.filter(change_set=change_set).values_list("user_id", flat=True))
    themselves = set(User.objects.filter(username__in=whose_rights(change_set)).values_list("pk", flat=True))
    return sorted((found or set()) - editors - themselves)


def _everywhere(roles: frozenset[str]) -> list[int]:
    people = User.objects.filter(is_active=True, grants__in=EntityGrant.objects.filter(entity=None, role__in=roles))
    return [user.pk for user in people.distinct() if access.may(user, roles, None)]


def to_decide(change_set: ChangeSet, by: User) -> None:
    """Ask those who may decide."""
    _tell(deciders(change_set), NotificationKind.APPROVAL, "Waits for you", change_set, by)


def to_editors(change_set: ChangeSet, what: str, by: User | None, *, held: bool = False) -> None:
    """Tell who wrote it what became of it; whoever was asked to decide has the answer."""
    answered(change_set)
    editors = change_set.editors.values_list("user_id", flat=True)
    _tell(editors, NotificationKind.HELD if held else NotificationKind.FINISHED, what, change_set, by)


def answered(change_set: ChangeSet) -> None:
    """It waits for nobody's decision any more."""
    notifications.answered(reverse("change_set", args=[change_set.pk]))


def to_look_again(change_set: ChangeSet, person: User, why: str) -> None:
    """Tell who agreed that nothing was decided, since it says something else by now."""
    _tell([person.pk], NotificationKind.HELD, "Look again", change_set, None, note=why)


def alarm(change_set: ChangeSet, by: User) -> None:
    """Tell everybody who could have decided that one person did not wait for them, and that a review is due."""
    _tell(deciders(change_set), NotificationKind.ESCALATED, "Emergency change, review it", change_set, by)


def _tell(
    people: Iterable[int], kind: NotificationKind, what: str, change_set: ChangeSet, by: User | None, *, note: str = ""
) -> None:
    ids = list(change_set.entities.values_list("pk", flat=True)[:2])
    notifications.notify(
        people, kind, f"{what}: {change_set.title}", by=by, url=reverse("change_set", args=[change_set.pk]),
        entity=ids[0] if ids else None, note=note or change_set.problem or change_set.comment or change_set.reason,
        key=f"change:{change_set.pk}:{what}:{change_set.content_hash[:8]}",
    )  # fmt: skip
