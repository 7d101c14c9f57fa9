"""What belongs to every page: appearance, and the entities looked at."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST
from django_htmx.http import trigger_client_event

from portal.models import User
from portal.screens.base import DENSITIES, THEME_COOKIE, THEMES, TIMES
from portal.screens.entities import remember

YEAR = 365 * 24 * 60 * 60  # seconds


@require_POST
@login_required
def preferences(request: HttpRequest) -> HttpResponse:
    """Keep theme and density for the person; the theme also for the sign-in page of this browser."""
    user = person_of(request)
    chosen = {
        name: request.POST[name]
        for name, values in (("theme", THEMES), ("density", DENSITIES), ("time", TIMES))
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


def person_of(request: HttpRequest) -> User:
    """The signed-in person."""
    user = request.user
    if not isinstance(user, User):
        raise TypeError("Only a signed-in person has preferences.")
    return user


def _next(request: HttpRequest) -> str:
    """Where the person came from, when that is on this site."""
    address = request.POST.get("next", "")
    known = url_has_allowed_host_and_scheme(address, {request.get_host()}, require_https=request.is_secure())
    return address if known else reverse("home")
