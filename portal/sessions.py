"""A session ends after half an hour of silence and after ten hours whatever happens; finance pages are never cached.

The rule here: a session alone proves nobody. Where more is asked for, the person proves it with a password or a second factor.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from allauth.account.internal.flows import reauthentication
from django.conf import settings
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse

from portal.models.access import remember_grants

STARTED = "session_started_at"
SEEN = "session_seen_at"
READING = ("GET", "HEAD")
SEEN_STEP = 60  # seconds between two writes of the session's last use


def can_sign_in_again(user: Any) -> bool:
    """Whether a person has a password or a second factor to prove themselves with."""
    return bool(reauthentication.get_reauthentication_flows(user))


def signed_in_just_now(request: HttpRequest) -> bool:
    """Whether the person proved within the last quarter of an hour who they are; never by the session alone.

    Somebody with neither password nor second factor has proved nothing, where allauth would let them pass.
    """
    return can_sign_in_again(request.user) and bool(reauthentication.did_recently_reauthenticate(request))


class SessionLimitMiddleware:
    """Signs out a session past its idle or absolute end, and keeps signed-in pages out of every cache."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Handle one request."""
        if request.user.is_authenticated:
            now = int(time.time())
            started = request.session.setdefault(STARTED, now)
            seen = request.session.setdefault(SEEN, now)
            if now - started > settings.SESSION_ABSOLUTE_SECONDS or now - seen > settings.SESSION_IDLE_SECONDS:
                logout(request)
            elif now - seen >= SEEN_STEP:
                request.session[SEEN] = now
            if request.method in READING:
                remember_grants(request.user)
        response = self.get_response(request)
        if request.user.is_authenticated and "Cache-Control" not in response:
            response["Cache-Control"] = "no-store"
        return response
