"""API tokens of one's own account: issued and shown once, listed with their last use, revoked.

The rule here: a session alone issues none; the person proves first who they are. A token sees what its person sees, and ends.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import BadRequest
from django.db import transaction
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone

from portal import audit, keys, sessions, tokens
from portal.models import ApiToken, User
from portal.screens import Screen
from portal.views import step_up
from portal.views.shell import person_of

LONGEST = 365  # days
MOST = 20  # tokens of one person that hold at a time


class TokenForm(forms.Form):
    """What a token is for, and how long it holds."""

    name = forms.CharField(
        max_length=80, label="What it is for", help_text="The program that uses it, as “nightly comparison”."
    )
    days = forms.IntegerField(
        min_value=1, max_value=LONGEST, initial=90, label="Holds for, days", help_text=f"At most {LONGEST}."
    )


class TokensScreen(Screen):
    """The tokens of who looks, and nobody else's."""

    title = "API tokens"
    template_name = "tokens.html"

    def get(self, request: HttpRequest) -> HttpResponseBase:
        """The page."""
        return self.shown(TokenForm())

    def post(self, request: HttpRequest) -> HttpResponseBase:
        """Issue one, or revoke one."""
        steps = {"issue": self.issue, "revoke": self.revoke}
        step = steps.get(request.POST.get("action", ""))
        if step is None:
            raise BadRequest("There is no such step here.")
        return step(request, person_of(request))

    def issue(self, request: HttpRequest, person: User) -> HttpResponseBase:
        """Make one and show it, this once."""
        form = TokenForm(request.POST)
        if not form.is_valid():
            return self.shown(form, status=HTTPStatus.UNPROCESSABLE_ENTITY)
        if not sessions.signed_in_just_now(request):
            said = "A token lets a program in as you, which a session alone does not decide."
            return HttpResponseRedirect(step_up.lead(request, said, reverse("tokens")), status=HTTPStatus.SEE_OTHER)
        name, days = form.cleaned_data["name"], form.cleaned_data["days"]
        with transaction.atomic():
            User.objects.select_for_update().get(pk=person.pk)
            if holding(person) >= MOST:
                form.add_error(None, f"{MOST} tokens hold already; revoke one that nobody uses.")
                return self.shown(form, status=HTTPStatus.UNPROCESSABLE_ENTITY)
            token = tokens.issue(person, name, days=days)
            audit.record(person, "token.issued", person, after={"name": name, "days": days})
        return self.shown(TokenForm(), issued=token, issued_name=name)

    def revoke(self, request: HttpRequest, person: User) -> HttpResponseBase:
        """Let one open nothing any more."""
        held = get_object_or_404(ApiToken, user=person, pk=keys.key(request.POST.get("token", "")) or 0)
        with transaction.atomic():
            if tokens.revoke(held):
                audit.record(person, "token.revoked", person, after={"name": held.name})
        messages.success(request, f"“{held.name}” opens nothing any more.")
        return HttpResponseRedirect(reverse("tokens"), status=HTTPStatus.SEE_OTHER)

    def shown(self, form: TokenForm, status: int = HTTPStatus.OK, **more: Any) -> HttpResponseBase:
        """The list, those that hold first, and the form."""
        now = timezone.now()
        rows = list(ApiToken.objects.filter(user=person_of(self.request)).order_by("-created_at", "-pk"))
        told = [(one, _standing(one, now)) for one in rows]
        told.sort(key=lambda pair: pair[1] != HOLDS)
        return self.page(self.context(form=form, tokens=told, holds=HOLDS, **more), status=status)


HOLDS, REVOKED, ENDED = "Holds", "Revoked", "Ended"


def _standing(token: ApiToken, now: Any) -> str:
    """Whether a token still opens anything."""
    if token.revoked_at is not None:
        return REVOKED
    return HOLDS if token.expires_at > now else ENDED


def holding(person: User) -> int:
    """How many tokens of a person open something now."""
    return ApiToken.objects.filter(user=person, revoked_at=None, expires_at__gt=timezone.now()).count()
