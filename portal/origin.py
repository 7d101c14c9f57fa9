"""Who asks from where: each request has an id that its log lines, its answer and its decisions bear, and the caller's address."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse

HEADER = "X-Request-ID"
_GIVEN = re.compile(r"[A-Za-z0-9._-]{8,64}")


@dataclass(frozen=True, slots=True)
class Origin:
    """One request's id, and the address that it came from; both empty outside of a request."""

    request_id: str = ""
    address: str = ""


_current: ContextVar[Origin | None] = ContextVar("origin", default=None)


def current() -> Origin:
    """The origin of the request that is being answered."""
    return _current.get() or Origin()


def address_of(environ: Mapping[str, Any]) -> str:
    """Who called, as the last proxy that we trust saw it."""
    proxies = settings.ALLAUTH_TRUSTED_PROXY_COUNT
    hops = [hop.strip() for hop in environ.get("HTTP_X_FORWARDED_FOR", "").split(",") if hop.strip()]
    address = hops[-proxies] if proxies and len(hops) >= proxies else environ.get("REMOTE_ADDR", "")
    return str(address)[:60]


class OriginMiddleware:
    """Gives each request its id: the one that a trusted proxy gave it, else a new one. The answer carries it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Handle one request."""
        given = request.headers.get(HEADER, "") if settings.ALLAUTH_TRUSTED_PROXY_COUNT else ""
        request_id = given if _GIVEN.fullmatch(given) else uuid.uuid4().hex
        token = _current.set(Origin(request_id, address_of(request.META)))
        try:
            with structlog.contextvars.bound_contextvars(request_id=request_id):
                response = self.get_response(request)
        finally:
            _current.reset(token)
        response[HEADER] = request_id
        return response
