"""What a vendor's row holds, read strictly: a field is what it claims to be, or Malformed names it.

The rule here: an empty field is none, and nothing is guessed from the shape of another one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from integrations.errors import Malformed
from integrations.pages import SourceRecord
from portal.records import NOTHING, MasterKind, MasterRecord, Reference

Row = Mapping[str, Any]
STAMP = "%Y-%m-%dT%H:%M:%S.%fZ"  # in UTC; the greater text is the later moment
Item = TypeVar("Item")
Translate = TypeVar("Translate", bound=Callable[..., Any])


def translator(record: SourceRecord, streams: Mapping[str, Translate], vendor: str) -> tuple[Translate, Row]:
    """How a record of its stream is translated, and its row. Raises Malformed for another stream, or what is no row."""
    translate = streams.get(record.stream)
    if translate is None:
        raise Malformed(f"{vendor} has no stream “{record.stream}”.")
    if not isinstance(record.payload, Mapping):
        raise Malformed(f"A row of {record.stream} is not an object.")
    return translate, record.payload


def stream_of(streams: Mapping[str, Item], vendor: str, name: str) -> Item:
    """A stream by name. Raises Malformed."""
    if name not in streams:
        raise Malformed(f"{vendor} has no stream “{name}”; its streams are {', '.join(streams)}.")
    return streams[name]


def key_of(row: Row, names: Sequence[str], of: str) -> str:
    """How a row is known: some of its fields, numbers without the zeros behind their point. Raises Malformed."""
    try:
        return "/".join(_written(row[name]) for name in names)
    except KeyError as missing:
        raise Malformed(f"A row of {of} has no {missing}.") from None


def _written(value: Any) -> str:
    return f"{value.normalize():f}" if isinstance(value, Decimal) else str(value)


def portions(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Some rows or keys in their order, in portions of at most so many."""
    return (items[start : start + size] for start in range(0, len(items), size))


def digest(row: Any) -> str:
    """How a row looks, in a few characters; what the vendor notes beside its fields (`@…`) does not count."""
    shown = {name: value for name, value in row.items() if not str(name).startswith("@")}
    return hashlib.sha256(json.dumps(shown, sort_keys=True, default=str).encode()).hexdigest()[:16]


def text(row: Row, *names: str) -> str:
    """The first of some fields that says something; empty where none does."""
    return next((str(row[name]) for name in names if row.get(name) not in (None, "")), "")


def flag(row: Row, name: str) -> bool:
    """A field that is true or false; false where it is missing. Raises Malformed."""
    value = row.get(name, False)
    if not isinstance(value, bool):
        raise Malformed(f"{name} is {value!r}, neither true nor false.")
    return value


def day(row: Row, name: str, *, empty: Sequence[str] = ()) -> date | None:
    """A field as a day; None where it is empty, or one of the days that the vendor writes for none. Raises Malformed."""
    value = text(row, name)[:10]
    if not value or value in empty:
        return None
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise Malformed(f"{name} is {row.get(name)!r}, not a day.") from None


def amount(row: Row, name: str) -> Decimal:
    """A number that is nothing where it is empty. Raises Malformed."""
    return number(row, name) or Decimal(0)


def number(row: Row, name: str) -> Decimal | None:
    """A field as a number; None where it is empty. Raises Malformed."""
    value = row.get(name)
    if value in (None, ""):
        return None
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite():
        raise Malformed(f"{name} is {value!r}, not a number.")
    return found


def needed_day(row: Row, name: str) -> date:
    """A day that must be there. Raises Malformed."""
    found = day(row, name)
    if found is None:
        raise Malformed(f"{name} is {row.get(name)!r}, not a day.")
    return found


def needed_number(row: Row, name: str) -> Decimal:
    """A number that must be there. Raises Malformed."""
    found = number(row, name)
    if found is None:
        raise Malformed(f"{name} is missing.")
    return found


def moment(row: Row, name: str) -> datetime:
    """A field as a moment in UTC, which is where one without an offset stands. Raises Malformed."""
    written = text(row, name)
    try:
        parsed = datetime.fromisoformat(written)
    except ValueError:
        raise Malformed(f"{name} is “{written}”, not a moment.") from None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)


def stamp(row: Row, name: str) -> str:
    """A field as a moment that is compared as a text. Raises Malformed."""
    return moment(row, name).strftime(STAMP)


def rewound(cursor: str, overlap: timedelta) -> datetime:
    """The moment from which a pull starts whose cursor is such a text: so much before it. Raises Malformed."""
    try:
        return datetime.strptime(cursor, STAMP).replace(tzinfo=UTC) - overlap
    except ValueError:
        raise Malformed(f"The cursor {cursor[:60]!r} is no moment.") from None


def to_the_millisecond(moment: datetime) -> str:
    """A moment in UTC as most filters take it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"


def master(
    record: SourceRecord, kind: MasterKind, *, code: str = "", name: str = "", parent: Reference = NOTHING,
    is_active: bool = True, deleted: bool = False, **attributes: Any,
) -> MasterRecord:  # fmt: skip
    """A master record under its vendor's key, with what the vendor states of it; a code or a name that is missing is the key."""
    return MasterRecord(
        external_id=record.external_id,
        revision=record.revision,
        kind=kind,
        code=code or record.external_id,
        name=name or code or record.external_id,
        parent=parent,
        is_active=is_active,
        deleted=deleted,
        attributes={key: value for key, value in attributes.items() if value not in (None, "")},
    )
