"""A session ends after half an hour of silence and after ten hours whatever happens; finance pages are never cached."""

from __future__ import annotations

import time
from collections.abc import Callable

from django.conf import settings
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse

from portal.models.access import remember_grants

STARTED = "session_started_at"
SEEN = "session_seen_at"
READING = ("GET", "HEAD")
SEEN_STEP = 60  # seconds between two writes of the session's last use


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
