"""Who may be named in a comment: the people who may read what it is about, and nobody else's name."""

from __future__ import annotations

from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from portal import access, keys
from portal.models import LedgerEntry
from portal.screens import Screen
from portal.screens.base import PART, layout
from reconciliation import triage
from reconciliation.models import ExceptionCase

SHOWN = 8
MOST_ENTITIES = 20


class PeopleScreen(Screen):
    """The people of one cause or entry whose name has some words, for whoever may comment there."""

    roles = triage.COMMENTERS
    template_name = "reconciliation/people.html"
    title = "Who may be mentioned"
    about: type[Model] = ExceptionCase

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        """A few of them, by sign-in name; where the comment is about others `also`, those who may read all of them."""
        seen = self.about.objects.visible_to(request.user)  # type: ignore[attr-defined]
        found = get_object_or_404(seen, pk=pk)
        also = seen.filter(pk__in=keys.keys(request.GET.getlist("also")[:MOST_ENTITIES]))
        text = request.GET.get("text", "").strip()[:60]
        people = triage.mentionable(found.entity_id, text)
        for entity_id in {found.entity_id, *also.values_list("entity_id", flat=True)}:
            access.require(request.user, triage.COMMENTERS, entity_id)
            people = people.filter(pk__in=triage.mentionable(entity_id).values("pk"))
        people = people[:SHOWN]
        return self.page(self.context(people=people, text=text, bare=layout(request) == PART))


class EntryPeopleScreen(PeopleScreen):
    """The same for an entry."""

    about = LedgerEntry
