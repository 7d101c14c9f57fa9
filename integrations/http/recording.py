"""What went over the wire, kept as evidence. No secret ever enters an exchange: it is cut out before it is stored.

Redaction is by name (headers, fields, parameters that carry credentials) and by value (every secret of the account, in
the spellings that URLs and JSON give it), so a secret that a vendor echoes in an error text is caught as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus

BODY_LIMIT = 16 * 1024  # characters kept of a body
HIDDEN = "[redacted]"
_KEPT_RESPONSE_HEADERS = frozenset(
    {"content-type", "content-length", "date", "location", "link", "retry-after", "preference-applied", "etag"}
    | {"x-request-id", "x-netsuite-jobid", "x-n-operationid"}
)
_SENSITIVE_FIELD = (
    r"(?:[\w-]*(?:access|refresh|id|auth|bearer|session|csrf|api)[_-]?token"
    r"|[\w-]*(?:client|consumer|token|app)[_-]?secret|[\w-]*assertion|[\w-]*passw(?:or)?d|[\w-]*api[_-]?key|[\w-]*private[_-]?key|secret|token|signature|sig|oauth_[a-z_]+)"
)
_SENSITIVE_HEADER = re.compile(r"auth|cookie|token|secret|signature|assertion|api-?key|passw", re.IGNORECASE)
_SENSITIVE_NAME = re.compile(_SENSITIVE_FIELD, re.IGNORECASE)
_JSON_FIELD = re.compile(rf'("{_SENSITIVE_FIELD}"\s*:\s*)"(?:[^"\\]|\\.)*"?', re.IGNORECASE)
_FORM_FIELD = re.compile(rf"((?:^|[?&\s]){_SENSITIVE_FIELD}=)[^&\s\"#]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and what came back, redacted. `status` is None when no answer came; `error` says why."""

    method: str
    url: str
    request_headers: Mapping[str, str]
    request_body: str
    status: int | None
    response_headers: Mapping[str, str] = field(default_factory=dict)
    response_body: str = ""
    started_at: datetime
    duration_ms: int
    error: str = ""
    may_have_written: bool = False  # the vendor may have kept something of it, whatever it answered


_recordings: ContextVar[tuple[list[Exchange], ...]] = ContextVar("recordings", default=())


@contextmanager
def recording() -> Iterator[list[Exchange]]:
    """Collect every exchange that the current thread has with a vendor inside the block, oldest first."""
    exchanges: list[Exchange] = []
    token = _recordings.set((*_recordings.get(), exchanges))
    try:
        yield exchanges
    finally:
        _recordings.reset(token)


def is_recording() -> bool:
    """Whether anybody in this thread wants the exchanges."""
    return bool(_recordings.get())


def record(exchange: Exchange) -> None:
    """Hand an exchange to every recording that is open in this thread."""
    for exchanges in _recordings.get():
        exchanges.append(exchange)


@lru_cache(256)
def _is_sensitive(header: str) -> bool:
    return bool(_SENSITIVE_HEADER.search(header)) and "idempotency" not in header.lower()


class Redactor:
    """Cuts the secrets of one account out of texts and headers."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._known: set[str] = set()
        self._values: list[str] = []  # every spelling, the longest first, because one may hold another
        for secret in secrets:
            self.conceal(secret)

    def conceal(self, secret: str) -> None:
        """Never show this value, in plain or in a URL's or JSON's spelling. Fewer than 4 characters are no secret."""
        if len(secret) < 4 or secret in self._known:
            return
        spellings = {secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]}
        self._values = sorted({*self._values, *spellings}, key=len, reverse=True)
        self._known.add(secret)

    def text(self, text: str) -> str:
        """A text without the account's secrets and without the values of fields that are secrets by name."""
        text = text.replace("\x00", "\ufffd")  # which the database cannot keep
        for value in self._values:
            if value in text:
                text = text.replace(value, HIDDEN)
        if '"' in text:
            text = _JSON_FIELD.sub(rf'\1"{HIDDEN}"', text)
        return _FORM_FIELD.sub(rf"\1{HIDDEN}", text) if "=" in text else text

    def parsed(self, value: Any) -> Any:
        """A parsed body with every text in it redacted, whatever its shape; numbers stay as they are."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {
                self.text(name): HIDDEN
                if isinstance(item, str) and _SENSITIVE_NAME.fullmatch(name)
                else self.parsed(item)
                for name, item in value.items()
            }
        return [self.parsed(item) for item in value] if isinstance(value, list) else value

    def body(self, content: bytes | str | None) -> str:
        """A body as kept: redacted first and cut afterwards, so that no half of a secret survives the cut."""
        if not content:
            return ""
        text = content if isinstance(content, str) else content[: 8 * BODY_LIMIT].decode("utf-8", "replace")
        return self.text(text)[:BODY_LIMIT]

    def request_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """All headers that we sent, those that carry credentials without their value."""
        return {name: HIDDEN if _is_sensitive(name) else self.text(str(value)) for name, value in headers.items()}

    def response_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """The few answer headers that help to follow a call up with the vendor."""
        return {name: self.text(value) for name, value in headers.items() if name.lower() in _KEPT_RESPONSE_HEADERS}
