"""Asking for an auditor's pack, and writing it in a worker as the person who asked.

The rule here: it holds the entities in which the person is an auditor, controller or admin at the moment it is written, of those
looked at; a worker makes it, and each time that it leaves is an event of the chain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import cache
from http import HTTPStatus
from importlib import import_module
from typing import IO, Any, cast

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect, QueryDict
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone

from portal import exports, packs
from portal.models import LegalEntity, User
from portal.screens import Screen, exporting
from portal.screens.entities import PARAMETER, chosen_entities
from portal.screens.navigation import APPS
from portal.views.audit import VERIFIERS

LONGEST = 400  # days of one pack


@cache
def parts() -> Sequence[packs.Part]:
    """What every app puts into a pack, as it names it in `PACK` of its `urls`."""
    return tuple(part for app in APPS for part in getattr(import_module(f"{app}.urls"), "PACK", ()))


class PackForm(forms.Form):
    """The days of the pack."""

    since = forms.DateField(label="From", widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(label="To", widget=forms.DateInput(attrs={"type": "date"}))

    def clean(self) -> dict[str, Any]:
        """A range that begins before it ends and is no longer than a year and a bit."""
        cleaned = super().clean() or {}
        since, until = cleaned.get("since"), cleaned.get("until")
        if since and until and until < since:
            self.add_error("until", f"The days end before they begin on {since}.")
        elif since and until and (until - since).days >= LONGEST:
            self.add_error("until", f"At most {LONGEST} days go into one pack; ask for two.")
        return cleaned


class PackScreen(Screen):
    """What goes into a pack, for which days; making it is a worker's."""

    title = "Auditor's pack"
    template_name = "audit/pack.html"
    roles = VERIFIERS

    def get(self, request: HttpRequest) -> HttpResponseBase:
        """The days, last month at first, and what the pack will hold."""
        first = timezone.localdate().replace(day=1)
        last = first - timedelta(days=1)
        days = {"since": last.replace(day=1).isoformat(), "until": last.isoformat()}
        return self.show(PackForm(initial={**days, **request.GET.dict()}))

    def post(self, request: HttpRequest) -> HttpResponseBase:
        """Have it made, and lead to where it can be watched."""
        form = PackForm(request.POST)
        if not form.is_valid():
            return self.show(form, HTTPStatus.UNPROCESSABLE_ENTITY)
        entities = self.entities()
        query = QueryDict(mutable=True)
        query.update({name: value.isoformat() for name, value in form.cleaned_data.items()})
        query[PARAMETER] = ",".join(entity.code for entity in entities)
        of = packs.Range(self.person, entities, form.cleaned_data["since"], form.cleaned_data["until"])
        try:
            exports.ask(
                self.person, title=of.title, address=f"{reverse('audit_pack')}?{query.urlencode()}", form="zip", of="",
                filters=[f"{of.since} to {of.until}"], columns=[part.name for part in parts()], entities=of.ids, expected=0,
            )  # fmt: skip
        except exports.TooMany as refusal:
            form.add_error(None, str(refusal))
            return self.show(form, HTTPStatus.TOO_MANY_REQUESTS)
        messages.success(request, "The pack is being made. You are told when it is ready; you can leave this page.")
        return HttpResponseRedirect(reverse("exports"), status=HTTPStatus.SEE_OTHER)

    def show(self, form: PackForm, status: int = HTTPStatus.OK) -> HttpResponseBase:
        """The page."""
        return self.page(
            self.context(form=form, entities=self.entities(), parts=sorted(parts(), key=lambda one: one.position)),
            status=status,
        )

    @property
    def person(self) -> User:
        """Whose pack it is."""
        return cast("User", self.request.user)

    def entities(self) -> list[LegalEntity]:
        """The entities looked at in which the person may have a pack."""
        allowed = LegalEntity.objects.visible_to(self.person, roles=VERIFIERS)
        return list(allowed.filter(pk__in=chosen_entities(self.request).ids).order_by("code"))

    def write_pack(self, target: IO[Any], alive: Callable[[int], None]) -> int:
        """Write the pack of this address, as the person may have it now."""
        days = [date.fromisoformat(self.request.GET[name]) for name in ("since", "until")]
        entities = self.entities()
        if not entities:
            raise exporting.Refused("You hold no role any more that may have a pack of these entities.")
        return packs.write(target, packs.Range(self.person, entities, *days), parts(), alive=alive)
