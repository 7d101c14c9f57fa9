"""Vendor payloads on their way into the inbox and out of it again: untouched, with every digit of a number kept.

The database cannot hold everything that JSON can carry (the character NUL, half a surrogate pair, numbers without end);
such a value is replaced visibly, so that one odd character never stops a page.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from integrations.protocol import SourceRecord

EXTERNAL_ID_LIMIT, REVISION_LIMIT = 200, 120  # characters, as the inbox has them
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_LARGEST_EXPONENT = 1000
_encoder = msgspec.json.Encoder(decimal_format="number")
_decoder = msgspec.json.Decoder(float_hook=Decimal)


def as_stored(payload: Any) -> str:
    """A payload as JSON text that the database takes."""
    try:
        text = _encoder.encode(payload)
    except (UnicodeEncodeError, TypeError, msgspec.EncodeError):
        return _encoder.encode(_storable(payload)).decode()
    if b"\\u0000" in text:
        text = _encoder.encode(_storable(payload))
    return text.decode()


def as_stored_with_care(payload: Any) -> str:
    """The same for a payload that the database refused: every value is looked at."""
    return _encoder.encode(_storable(payload)).decode()


def read(text: str) -> Any:
    """A stored payload; numbers with a point are Decimal."""
    return _decoder.decode(text)


def identity(record: SourceRecord) -> tuple[str, str]:
    """External id and revision as the inbox holds them. One that is too long keeps its start and the hash of the whole."""
    return within(record.external_id, EXTERNAL_ID_LIMIT), within(record.revision, REVISION_LIMIT)


def within(text: str, limit: int) -> str:
    """A name as long as the inbox has room for; a longer one keeps its start and ends in the hash of the whole."""
    text = _UNSTORABLE.sub("\ufffd", text)
    if len(text) <= limit:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{text[: limit - len(digest) - 1]}~{digest}"


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {_storable(str(key)): _storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(item) for item in value]
    if isinstance(value, Decimal):
        exponent = value.as_tuple().exponent
        return value if isinstance(exponent, int) and abs(exponent) < _LARGEST_EXPONENT else str(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**_LARGEST_EXPONENT:
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)
