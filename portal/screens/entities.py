"""Which of the granted entities a person looks at now: from the address (`entities=US,GB`), else from the session.

The choice only narrows; it never shows an entity that the person holds no grant in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from django.db.models import Q, QuerySet
from django.http import HttpRequest

from portal.models import LegalEntity
from portal.models.access import Scope

PARAMETER = "entities"


@dataclass(frozen=True, slots=True)
class EntityChoice:
    """The entities granted to a person and those looked at now."""

    granted: tuple[LegalEntity, ...]
    codes: frozenset[str]

    @property
    def narrowed(self) -> bool:
        """Whether fewer than all granted entities are looked at."""
        return len(self.codes) < len(self.granted)

    @property
    def ids(self) -> list[int]:
        """The keys of the entities looked at."""
        return [entity.pk for entity in self.granted if entity.code in self.codes]

    @property
    def label(self) -> str:
        """What the switcher says: all of them, or their codes."""
        if not self.narrowed:
            return "all"
        return ", ".join(sorted(self.codes))


def chosen_entities(request: HttpRequest) -> EntityChoice:
    """What this request looks at; asked once per request."""
    known = cast("EntityChoice | None", getattr(request, "_entity_choice", None))
    if known is None:
        granted = tuple(LegalEntity.objects.visible_to(request.user))
        wanted = _wanted(request) & {entity.code for entity in granted}
        known = EntityChoice(granted, frozenset(wanted or {entity.code for entity in granted}))
        request._entity_choice = known  # type: ignore[attr-defined]
    return known


def _wanted(request: HttpRequest) -> set[str]:
    if PARAMETER in request.GET:
        return {code.strip() for value in request.GET.getlist(PARAMETER) for code in value.split(",")}
    return set(request.session.get(PARAMETER, ()))


def remember(request: HttpRequest, codes: list[str]) -> None:
    """Keep the choice for the session; no codes means all granted entities."""
    granted = {entity.code for entity in LegalEntity.objects.visible_to(request.user)}
    request.session[PARAMETER] = sorted(set(codes) & granted)


def within(queryset: QuerySet[Any], request: HttpRequest) -> QuerySet[Any]:
    """The rows of the chosen entities, by the model's own way to its entity; shared rows stay."""
    choice = chosen_entities(request)
    if not choice.narrowed:
        return queryset
    if of_entities := getattr(queryset, "of_entities", None):  # a decision may be of several
        return cast("QuerySet[Any]", of_entities(choice.ids))
    scope: Scope = getattr(queryset.model, "scope", Scope())
    condition = Q(**{f"{scope.path}__in": choice.ids})
    if scope.shared:
        condition |= Q(**{f"{scope.path}__isnull": True})
    if scope.many:
        return queryset.filter(pk__in=queryset.model._base_manager.filter(condition).values("pk"))
    return queryset.filter(condition)
