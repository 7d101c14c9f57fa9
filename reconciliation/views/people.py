"""Who may be named in a comment: the people who may read what it is about, and nobody else's name."""

from __future__ import annotations

from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from portal import access
from portal.models import LedgerEntry
from portal.screens import Screen
from portal.screens.base import PART, layout
from reconciliation import triage
from reconciliation.models import ExceptionCase

SHOWN = 8


class PeopleScreen(Screen):
    """The people of one cause or entry whose name has some words, for whoever may comment there."""

    roles = triage.COMMENTERS
    template_name = "reconciliation/people.html"
    title = "Who may be mentioned"
    about: type[Model] = ExceptionCase

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        """A few of them, by sign-in name."""
        found = get_object_or_404(self.about.objects.visible_to(request.user), pk=pk)  # type: ignore[attr-defined]
        access.require(request.user, triage.COMMENTERS, found.entity_id)
        text = request.GET.get("text", "").strip()[:60]
        people = triage.mentionable(found.entity_id, text)[:SHOWN]
        return self.page(self.context(people=people, text=text, bare=layout(request) == PART))


class EntryPeopleScreen(PeopleScreen):
    """The same for an entry."""

    about = LedgerEntry
