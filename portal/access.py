"""What a person may do where. Screens, commands and the API ask here, and nowhere else.

The rule here: a right is a role in an entity on a day. Seeing goes by `visible_to`, doing by `may`; what may not be seen is
not found rather than refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.utils import timezone

from portal.models import EntityGrant, GrantRole, LegalEntity, User

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

EVERYBODY = frozenset(GrantRole.values)
FIXERS = frozenset({GrantRole.ANALYST, GrantRole.CONTROLLER})  # correct entries, waive, re-post
APPROVERS = frozenset({GrantRole.CONTROLLER})  # decide on what somebody else did or proposed
CONFIGURERS = frozenset({GrantRole.ADMIN, GrantRole.CONTROLLER})  # connections, routes, breakers
OPERATORS = frozenset({GrantRole.ADMIN, GrantRole.CONTROLLER, GrantRole.ANALYST})  # run a sync, replay, upload
PAYLOAD_READERS = frozenset({GrantRole.ANALYST, GrantRole.CONTROLLER, GrantRole.ADMIN, GrantRole.AUDITOR})


def entities_of(user: AbstractBaseUser | AnonymousUser) -> QuerySet[LegalEntity]:
    """The entities in which the user holds any role today."""
    entities: QuerySet[LegalEntity] = LegalEntity.objects.visible_to(user)
    return entities


def roles_in(user: AbstractBaseUser | AnonymousUser, entity_id: int | None) -> frozenset[str]:
    """The roles held today in one entity; None asks for rights that hold in every entity."""
    grants = EntityGrant.objects.of(user)
    everywhere = grants.filter(entity=None).values_list("role", flat=True)
    if entity_id is None:
        return frozenset(everywhere)
    return frozenset(everywhere) | frozenset(grants.filter(entity_id=entity_id).values_list("role", flat=True))


def may(user: AbstractBaseUser | AnonymousUser, roles: frozenset[str], entity_id: int | None) -> bool:
    """Whether the user holds one of the roles in the entity today."""
    return bool(roles_in(user, entity_id) & roles)


def require(user: AbstractBaseUser | AnonymousUser, roles: frozenset[str], entity_id: int | None) -> None:
    """Raise PermissionDenied, naming the roles that may, unless the user holds one of them in the entity."""
    if not may(user, roles, entity_id):
        names = ", ".join(sorted(GrantRole(role).label for role in roles))
        raise PermissionDenied(f"This needs one of these roles in the entity: {names}.")


def require_somewhere(user: AbstractBaseUser | AnonymousUser, roles: frozenset[str]) -> None:
    """Raise PermissionDenied, naming the roles that may, unless the user holds one of them in some entity."""
    if not EntityGrant.objects.of(user).filter(role__in=roles).exists():
        names = ", ".join(sorted(GrantRole(role).label for role in roles))
        raise PermissionDenied(f"This needs one of these roles: {names}.")


def holders(roles: frozenset[str], entity_id: int | None) -> QuerySet[User]:
    """The people who hold one of the roles in an entity today; for None, in every entity."""
    day = timezone.localdate()
    grants = EntityGrant.objects.filter(
        Q(valid_to=None) | Q(valid_to__gte=day),
        Q(entity=None) | Q(entity=entity_id),
        valid_from__lte=day,
        role__in=roles,
    )
    return User.objects.filter(pk__in=grants.values("user"), is_active=True).order_by("username")
