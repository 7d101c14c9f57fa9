"""What belongs to every page: appearance, keyboard, and the entities looked at."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST
from django_htmx.http import trigger_client_event

from portal.models import User
from portal.screens import Screen
from portal.screens.base import DENSITIES, THEME_COOKIE, THEMES
from portal.screens.entities import remember
from portal.screens.keyboard import KEYS, spoken

YEAR = 365 * 24 * 60 * 60  # seconds


@require_POST
@login_required
def preferences(request: HttpRequest) -> HttpResponse:
    """Keep theme and density for the person; the theme also for the sign-in page of this browser."""
    user = _person(request)
    chosen = {
        name: request.POST[name]
        for name, values in (("theme", THEMES), ("density", DENSITIES))
        if request.POST.get(name) in values
    }
    user.preferences = {**user.preferences, **chosen}
    user.save(update_fields=["preferences"])
    if getattr(request, "htmx", None):
        response = HttpResponse(status=204)
        shown = {"theme": THEMES[0], "density": DENSITIES[0]} | user.preferences
        trigger_client_event(response, "tieout:appearance", {name: shown[name] for name in ("theme", "density")})
    else:
        response = HttpResponseRedirect(_next(request), status=303)
    if "theme" in chosen:
        response.set_cookie(
            THEME_COOKIE, chosen["theme"], max_age=YEAR, secure=request.is_secure(), httponly=True, samesite="Lax"
        )
    return response


@require_POST
@login_required
def entities(request: HttpRequest) -> HttpResponse:
    """Look at these entities from now on."""
    remember(request, request.POST.getlist("entity"))
    return HttpResponseRedirect(_next(request), status=303)


class KeyboardForm(forms.Form):
    """One key per action, and the off switch."""

    keyboard_off = forms.BooleanField(required=False, label="Switch single-key shortcuts off")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for key in KEYS:
            self.fields[key.action] = forms.CharField(
                label=key.label,
                required=False,
                max_length=10,
                help_text=f"Otherwise {' or '.join(map(spoken, key.keys))}",
            )

    def clean(self) -> dict[str, Any]:
        """No key may do two things."""
        data = super().clean() or {}
        held: dict[str, str] = {}
        for key in KEYS:
            own = data.get(key.action, "").strip()
            for one in [own] if own else key.keys:
                if one in held:
                    self.add_error(key.action, f"The key {spoken(one)} already means “{held[one]}”. Choose another.")
                held.setdefault(one, key.label)
        return data


class KeyboardScreen(Screen):
    """Where a person changes keys or switches them off."""

    title = "Keyboard"
    template_name = "keyboard.html"

    def get(self, request: HttpRequest) -> HttpResponseBase:
        """The table of keys."""
        held = _person(request).preferences
        initial = {**held.get("keys", {}), "keyboard_off": held.get("keyboard_off", False)}
        return self.page(self.context(form=KeyboardForm(initial=initial)))

    def post(self, request: HttpRequest) -> HttpResponseBase:
        """Keep the person's own keys."""
        form = KeyboardForm(request.POST)
        if not form.is_valid():
            return self.page(self.context(form=form), status=422)
        user = _person(request)
        own = {key.action: form.cleaned_data[key.action] for key in KEYS if form.cleaned_data[key.action]}
        user.preferences = {**user.preferences, "keys": own, "keyboard_off": form.cleaned_data["keyboard_off"]}
        user.save(update_fields=["preferences"])
        messages.success(request, "The keyboard is set.")
        return HttpResponseRedirect(reverse("keyboard"), status=303)


def _person(request: HttpRequest) -> User:
    user = request.user
    if not isinstance(user, User):
        raise TypeError("Only a signed-in person has preferences.")
    return user


def _next(request: HttpRequest) -> str:
    """Where the person came from, when that is on this site."""
    address = request.POST.get("next", "")
    known = url_has_allowed_host_and_scheme(address, {request.get_host()}, require_https=request.is_secure())
    return address if known else reverse("home")
