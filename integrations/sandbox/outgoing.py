"""A stand-in's own calls, to this machine only: handshakes and webhooks, sent where a subscription says."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

TIMEOUT = 20.0
NOBODY = 599  # the status where nobody answered


def call(method: str, url: str, body: str = "", headers: Mapping[str, str] = {}) -> tuple[int, str]:
    """Send one request; its status and text. Raises ValueError for an address that is not this machine's."""
    parts = urlsplit(url)
    if parts.hostname not in ("127.0.0.1", "localhost"):
        raise ValueError(f"a stand-in calls this machine only, not {parts.hostname!r}")
    connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT)
    with contextlib.closing(connection):
        try:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request(method, path, body or None, {"Content-Type": "application/json", **headers})
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException):
            return NOBODY, ""


def post(url: str, data: Any) -> tuple[int, str]:
    """Send something as JSON."""
    return call("POST", url, json.dumps(data))
