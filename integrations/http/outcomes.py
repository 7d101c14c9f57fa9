"""Which HTTP outcome is which error. A write that may have been booked is never called anything but in doubt.

    outcome                                     on a read                    on a write
    no connection, or it broke before a byte    Unavailable                  Unavailable
    time-out or reset after that, 5xx           Unavailable                  InDoubt
    429, 503                                    Unavailable(retry_after)     Unavailable(retry_after)
    408, 425                                    Unavailable                  Unavailable
    401, 403                                    Unauthorised                 Unauthorised
    404, 405, 410 with an HTML page             Unavailable                  Unavailable
    other 4xx                                   Rejected                     Rejected
    3xx, 2xx that cannot be read                Unavailable                  InDoubt

An HTML page where JSON belongs is a gateway or a maintenance page speaking, not the vendor's application: its 404
proves nothing about a record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from integrations.errors import ConnectorError, InDoubt, Rejected, Unauthorised, Unavailable

_decoder = msgspec.json.Decoder(float_hook=Decimal)
_encoder = msgspec.json.Encoder(decimal_format="number")


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A vendor's answer. `body` is the parsed JSON, numbers with a point as Decimal; None when there is none."""

    status: int
    headers: Mapping[str, str]  # looked up in any case
    content: bytes = field(repr=False)
    body: Any = None
    url: str = ""

    @property
    def ahead(self) -> float:
        """Seconds by which the vendor's clock is ahead of ours."""
        return (self.answered_at - datetime.now(UTC)).total_seconds()

    @property
    def answered_at(self) -> datetime:
        """When the vendor answered, by its own clock; by ours where it names none."""
        try:
            return parsedate_to_datetime(self.headers.get("date", "")).astimezone(UTC)
        except (ValueError, TypeError):
            return datetime.now(UTC)


class UnreadableError(ValueError):
    """A body that should be JSON and is not."""


def encode(body: Any) -> bytes:
    """A body as JSON, Decimals as numbers with their digits kept. Floats and NaN are refused."""
    _refuse_floats(body)
    return _encoder.encode(body)


def plain(value: Any) -> Any:
    """A vendor's record as json.dumps takes it: numbers with a point as their digits, so that none is lost."""
    return msgspec.to_builtins(value)


_HARMLESS = (str, int, bool, type(None))


def _refuse_floats(value: Any) -> None:
    if type(value) in _HARMLESS:
        return
    if isinstance(value, float):
        raise TypeError(f"{value!r} is a float; amounts and hours are Decimal")
    if isinstance(value, Decimal) and not value.is_finite():
        raise TypeError(f"{value!r} is no number that JSON can carry")
    if isinstance(value, Mapping):
        for item in value.values():
            _refuse_floats(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_floats(item)


def decode(content: bytes) -> Any:
    """The JSON in a body, None for an empty one. Raises UnreadableError."""
    if not content.strip():
        return None
    try:
        return _decoder.decode(content.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableError(str(error)) from None


def lost(reason: str, *, writes: bool, sent: bool) -> ConnectorError:
    """The error for a call that got no complete answer."""
    if writes and sent:
        return InDoubt(f"Sent, and no answer came: {reason}. It may have been booked.")
    return Unavailable(f"Not reached: {reason}." if not sent else f"No complete answer: {reason}.")


def may_have_written(status: int | None, *, sent: bool) -> bool:
    """Whether a call that writes may have left something: not where it never went out, nor where the vendor answered no.

    Told to wait (503) or cut off (408) it may have, because the answer may be another server's than the one that writes.
    """
    if status is None:
        return sent
    return not 400 <= status < 500 or status == 408


def judge(answer: Response, *, writes: bool, unreadable: str, excerpt: str) -> ConnectorError | None:
    """The error that an answer means, or None when it is a good one.

    `unreadable` says why the body is not the JSON it should be (empty: it is), `excerpt` what of it people may see.
    """
    status, said = answer.status, f"{answer.status} {excerpt}".strip()
    error: ConnectorError | None = None
    if status in (429, 503):
        error = Unavailable(f"Told to wait: {said}", retry_after=retry_after(answer.headers))
    elif status in (408, 425):
        error = Unavailable(f"Not taken: {said}")
    elif status in (401, 403):
        error = Unauthorised(f"Refused: {said}")
    elif status in (404, 405, 410) and _is_page(answer):
        error = Unavailable(f"A page answered instead of the application: {said}")
    elif 400 <= status < 500:
        error = Rejected(said)
    elif 200 <= status < 300 and not unreadable:
        return None
    else:
        reason = f"unreadable answer {said} ({unreadable})" if 200 <= status < 300 else f"answer {said}"
        error = InDoubt(f"May have been booked: {reason}") if writes else Unavailable(f"No usable answer: {reason}")
    error.status, error.body, error.headers = status, answer.body, answer.headers
    return error


def _is_page(answer: Response) -> bool:
    return "html" in answer.headers.get("content-type", "").lower() or answer.content.lstrip()[:1] == b"<"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the vendor asks us to wait, from a number or from a date held against the vendor's own clock."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        return max(0.0, float(value)) if value.lower() not in ("nan", "inf", "infinity") else None
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(value)
        now = parsedate_to_datetime(headers["date"]) if "date" in headers else datetime.now(UTC)
        return max(0.0, (until - now).total_seconds())
    except (ValueError, TypeError):
        return None
