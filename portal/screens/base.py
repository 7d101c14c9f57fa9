"""What every screen does: refuse who may not see it, and answer with the whole page, the drawer or a part of it.

`shell` is the context processor behind the page's frame.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any, ClassVar, cast
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.functional import SimpleLazyObject
from django.views import View
from django_htmx.http import HttpResponseClientRedirect, trigger_client_event

from portal.models import GrantRole
from portal.screens.entities import chosen_entities
from portal.screens.keyboard import keymap, sheet
from portal.screens.navigation import FOLDED_COOKIE, places, top_parts

THEMES = ("system", "light", "dark")
DENSITIES = ("comfortable", "compact")
TIMES = ("relative", "absolute")
THEME_COOKIE = "tieout_theme"
TONE_OF = {"success": "good", "warning": "warn", "error": "bad"}  # of a message, as a notice has it

PAGE, DRAWER, PART = "base.html", "layouts/drawer.html", "layouts/part.html"
LAYOUTS = {"drawer-body": DRAWER, "dialog-body": DRAWER}


def roles_of(request: HttpRequest) -> frozenset[str]:
    """The roles held today in any entity; asked once per request."""
    known = cast("frozenset[str] | None", getattr(request, "_roles", None))
    if known is None:
        known = request.user.roles() if request.user.is_authenticated else frozenset()
        request._roles = known  # type: ignore[attr-defined]
    return known


def layout(request: HttpRequest) -> str:
    """The frame that a template extends: the page, the drawer or dialog, or nothing around the content."""
    htmx = getattr(request, "htmx", None)
    if not htmx or htmx.history_restore_request:
        return PAGE
    return LAYOUTS.get(htmx.target or "", PART)


def is_beside(request: HttpRequest, own: str = "") -> bool:
    """Whether what is asked lies over a list: in its drawer, or in a dialog over a page that is not `own`."""
    htmx: Any = getattr(request, "htmx", None)
    if not htmx:
        return False
    under = urlsplit(htmx.current_url or "").path
    return "X-Drawer" in request.headers or (bool(under) and under != (own or request.path))


def leave(request: HttpRequest, url: str, *, own: str = "") -> HttpResponse:
    """On to a page, in the browser's whole window; over a list, the list stays and says what was done.

    `own` is the page of what was decided on, where that is not the address that was asked.
    """
    if is_beside(request, own):
        said = list(messages.get_messages(request))
        answer = HttpResponse(status=HTTPStatus.NO_CONTENT)
        if said:
            notice = {"text": " ".join(str(one) for one in said), "tone": TONE_OF.get(said[-1].level_tag, "")}
            trigger_client_event(answer, "tieout:notice", notice)
        return trigger_client_event(answer, "tieout:changed")
    if getattr(request, "htmx", None):
        return HttpResponseClientRedirect(url)
    return HttpResponseRedirect(url, status=HTTPStatus.SEE_OTHER)


class Screen(View):
    """One page for people who hold one of `roles` somewhere (any role when empty)."""

    roles: ClassVar[frozenset[str]] = frozenset()
    title: str = ""
    template_name: str = ""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Send strangers to sign in; refuse people without the role, with a page that says whom to ask."""
        if not request.user.is_authenticated:
            answer = redirect_to_login(request.get_full_path())
            return HttpResponseClientRedirect(answer.url) if getattr(request, "htmx", None) else answer
        self.admit(request)
        return super().dispatch(request, *args, **kwargs)

    def admit(self, request: HttpRequest) -> None:
        """Raise PermissionDenied, with a sentence, for a person without a role that this page is for."""
        held = roles_of(request)
        if not held:
            raise PermissionDenied("You hold no role in any entity yet.")
        if self.roles and not self.roles & held:
            names = ", ".join(sorted(GrantRole(role).label.lower() for role in self.roles))
            raise PermissionDenied(f"This page is for: {names}.")

    def context(self, **more: Any) -> dict[str, Any]:
        """What the template gets; screens add to it."""
        return {"title": self.title, "screen": self, **more}

    def page(self, context: dict[str, Any], *, template: str = "", status: int = HTTPStatus.OK) -> HttpResponse:
        """Render the template in the frame that the request asks for."""
        return render(self.request, template or self.template_name, context, status=status)


def shell(request: HttpRequest) -> dict[str, Any]:
    """The frame of every page: navigation, entities, appearance and keyboard. Lazy: a part of a page asks for none."""
    user = request.user if hasattr(request, "user") else None
    preferences: dict[str, Any] = user.preferences if user is not None and user.is_authenticated else {}
    theme = preferences.get("theme") or request.COOKIES.get(THEME_COOKIE, "")
    return {
        "layout": layout(request),
        "theme": theme if theme in THEMES else THEMES[0],
        "density": preferences.get("density") if preferences.get("density") in DENSITIES else DENSITIES[0],
        "time_display": preferences.get("time") if preferences.get("time") in TIMES else TIMES[0],
        "keymap": SimpleLazyObject(lambda: json.dumps(keymap(preferences))),
        "key_sheet": SimpleLazyObject(lambda: sheet(preferences)),
        "navigation": SimpleLazyObject(
            lambda: places(user, roles_of(request), request.path, request.COOKIES.get(FOLDED_COOKIE, ""))
        ),
        "top_parts": SimpleLazyObject(lambda: top_parts(request)),
        "entity_choice": SimpleLazyObject(lambda: chosen_entities(request)),
        "role_labels": SimpleLazyObject(lambda: sorted(str(GrantRole(role).label) for role in roles_of(request))),
        "is_demo": settings.DEMO,
    }
