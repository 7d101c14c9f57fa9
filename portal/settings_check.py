"""Values that must not reach production. Commands show them as errors; a web or worker process does not start."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]", "testserver"})
SECRET_KEY_LENGTH = 50
SERVING = frozenset({"web", "worker", "beat"})


@register(Tags.security)
def settings_are_safe(app_configs: Sequence[AppConfig] | None, **_kwargs: Any) -> list[CheckMessage]:
    """One error for each unsafe value, with the way out."""
    return [Error(message, id=f"tieout.E{number:03}") for number, message in _unsafe_values()]


def refuse_unsafe() -> None:
    """Keep a process that serves others from starting. Raises ImproperlyConfigured naming every unsafe value."""
    if settings.PROCESS in SERVING and (found := [message for _, message in _unsafe_values()]):
        raise ImproperlyConfigured(" ".join(found))


def _unsafe_values() -> Iterator[tuple[int, str]]:
    if settings.LOCAL:
        strangers = sorted(set(settings.ALLOWED_HOSTS) - LOOPBACK_NAMES)
        if strangers:
            yield (
                1,
                f"DEBUG=1 and TIEOUT_DEMO=1 are for this machine only, but ALLOWED_HOSTS names {strangers}; drop one.",
            )
        return
    try:
        key = settings.SECRET_KEY
    except ImproperlyConfigured:  # Django's own answer to an empty one
        key = ""
    if len(key) < SECRET_KEY_LENGTH or len(set(key)) < 5:
        yield (
            2,
            f"SECRET_KEY has {len(key)} characters and needs {SECRET_KEY_LENGTH} or more random ones; "
            "for a trial on this machine set TIEOUT_DEMO=1.",
        )
    if not settings.ALLOWED_HOSTS or any(host.startswith(("*", ".")) for host in settings.ALLOWED_HOSTS):
        yield 3, f"ALLOWED_HOSTS is {settings.ALLOWED_HOSTS}; it must name each host of this site in full."
    if not settings.DATABASES["default"]["NAME"]:
        yield 4, "DATABASE_URL is not set; production needs its own PostgreSQL 16 or later."
    if not settings.REDIS_URL:
        yield 5, "REDIS_URL is not set; the directory broker is for trials only."
    if settings.ALLOW_LOOPBACK:
        yield 6, "TIEOUT_ALLOW_LOOPBACK=1 lets connections reach this machine's own services; unset it."
    insecure = [
        origin for origin in settings.CSRF_TRUSTED_ORIGINS if not origin.startswith("https://") or "*" in origin
    ]
    for place, key in enumerate(settings.SECRET_RING, 1):
        if not _is_ring_key(key):
            yield (
                8,
                f"Key {place} of TIEOUT_SECRET_RING is not 32 bytes in base64; manage.py rotate_secrets --new makes one.",
            )
    if insecure:
        yield 7, f"CSRF_TRUSTED_ORIGINS holds {insecure}; each origin must be exact and start with https://."


def _is_ring_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, altchars=b"-_", validate=True)) == 32
    except (binascii.Error, ValueError):
        return False
