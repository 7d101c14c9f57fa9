"""How single values are read: days, decimals, codes, currencies, zones. Text from a file and typed values read alike.

The rule here: nothing is guessed. What could be read in two ways is refused, and money is never a float.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from babel.core import get_global
from babel.numbers import get_territory_currencies
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from portal.importing.problems import Unreadable

Parse = Callable[[Any], Any]

_DECIMAL = re.compile(r"[+-]?\d+(\.\d+)?")
_WITH_COMMA = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+),(\d{1,2}|\d{4,})")  # a comma before three digits may be either
_EITHER = re.compile(r"[+-]?[1-9]\d{0,2}\.\d{3}")
_WITH_POINT = re.compile(r"[+-]?\d+\.(\d{1,2}|\d{4,})")
_WITH_POINTS = re.compile(r"(?P<day>\d{1,2})\.(?P<month>\d{1,2})\.(?P<year>\d{4})")  # with points the day stands first
_WITH_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+\.\d+")
_SERIAL = re.compile(r"[2-7]\d{4}")  # days since 1899-12-30 of the years 1954 to 2118
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_TRUE, _FALSE = frozenset({"true", "yes", "1"}), frozenset({"false", "no", "0"})


def text(value: Any) -> str:
    """Plain text, without control characters."""
    if not isinstance(value, str):
        raise Unreadable(f"is {_kind(value)}; expected text.")
    if _CONTROL.search(value):
        raise Unreadable("holds control characters; expected plain text.")
    return value


def code(value: Any) -> str:
    """A code: text on one line. Whole numbers are taken as they are written."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    plain = text(value)
    if "\n" in plain or "\r" in plain:
        raise Unreadable("runs over several lines; expected a code.")
    return plain


def day(value: Any) -> date:
    """A day as YYYY-MM-DD."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise Unreadable("is not a day of the calendar.") from None
    if isinstance(value, str) and _SERIAL.fullmatch(value):
        meant = date(1899, 12, 30) + timedelta(days=int(value))
        raise Unreadable(
            f"is a number and not a day; a spreadsheet means {meant} by it. Format the column as a date, or write YYYY-MM-DD."
        )
    raise Unreadable("is not a day; write it as YYYY-MM-DD.")


def table(value: Any) -> Mapping[str, Any]:
    """A table of settings, typed or as JSON text. Numbers with decimals stay text, so that nothing is rounded."""
    if isinstance(value, str):
        try:
            value = json.loads(value, parse_float=str)
        except ValueError:
            raise Unreadable("is not a table in JSON.") from None
    if not isinstance(value, Mapping):
        raise Unreadable(f"is {_kind(value)}; expected a table.")
    return value


def flag(value: Any) -> bool:
    """True or false; yes and no, 1 and 0 will do."""
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word in _TRUE | _FALSE:
        return word in _TRUE
    raise Unreadable("is neither true nor false.")


@dataclass(frozen=True, slots=True)
class Amounts:
    """Decimal numbers with a point, exact as written, within the digits that are kept."""

    places: int
    digits: int
    least: Decimal | None
    above: Decimal | None

    def __call__(self, value: Any) -> Decimal:
        """The number."""
        plain = str(value) if isinstance(value, (int, Decimal)) and not isinstance(value, bool) else value
        if not isinstance(plain, str) or not _DECIMAL.fullmatch(plain):
            raise Unreadable("is not a decimal number; write it with a point and without separators, as 1250.00.")
        number = Decimal(plain)
        before = self.digits - self.places
        if number.adjusted() >= before or len(plain.partition(".")[2].rstrip("0")) > self.places:
            raise Unreadable(f"has more digits than are kept ({before} before and {self.places} after the point).")
        if self.least is not None and number < self.least:
            raise Unreadable(f"is below {self.least}.")
        if self.above is not None and number <= self.above:
            raise Unreadable(f"is not above {self.above}.")
        return number


def decimal(*, places: int, digits: int, least: Decimal | None = None, above: Decimal | None = None) -> Amounts:
    """A decimal number with a point, exact as written, within the digits that are kept."""
    return Amounts(places, digits, least, above)


def with_point(text: str) -> str:
    """An amount as people write it, 120,50 or 1.250,00 or 1,250.00, with a point; what may mean two amounts stays as it is."""
    if _WITH_COMMA.fullmatch(text):
        return text.replace(".", "").replace(",", ".")
    return text.replace(",", "") if _WITH_THOUSANDS.fullmatch(text) else text


def with_dashes(text: str) -> str:
    """A day as people write it with points, 8.9.2026, as 2026-09-08; what is written otherwise stays as it is."""
    found = _WITH_POINTS.fullmatch(text)
    return f"{found['year']}-{int(found['month']):02}-{int(found['day']):02}" if found else text


def doubtful(texts: Iterable[str], *, by_semicolons: bool = False) -> set[str]:
    """Of the amounts of a file those whose point may part thousands: 1.250 where others have a decimal comma, as 99,50.

    A file with semicolons comes from a country that writes so, unless another of its amounts has a point that parts decimals.
    """
    said = set(texts)
    writes_so = by_semicolons and not any(map(_WITH_POINT.fullmatch, said))
    return (
        {one for one in said if _EITHER.fullmatch(one)} if writes_so or any(map(_WITH_COMMA.fullmatch, said)) else set()
    )


def whole(*, least: int, most: int) -> Parse:
    """A whole number within bounds."""

    def parse(value: Any) -> int:
        plain = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if not isinstance(plain, str) or not re.fullmatch(r"\d{1,9}", plain) or not least <= int(plain) <= most:
            raise Unreadable(f"is not a whole number from {least} to {most}.")
        return int(plain)

    return parse


def choice(words: Iterable[str]) -> Parse:
    """One of some words, as they are written or as people write them: `Time and material` is time_and_material."""
    known = tuple(words)

    def parse(value: Any) -> str:
        if value in known:
            return str(value)
        meant = re.sub(r"[^0-9a-z]+", "_", value.casefold()).strip("_") if isinstance(value, str) else ""
        if meant not in known:
            raise Unreadable(f"is not one of {', '.join(known)}.")
        return meant

    return parse


@cache
def currencies() -> frozenset[str]:
    """The codes of ISO 4217 that are tender somewhere today."""
    territories = get_global("territory_currencies")
    return frozenset(currency for territory in territories for currency in get_territory_currencies(territory))


def currency(value: Any) -> str:
    """An ISO 4217 code in capitals."""
    if value not in currencies():
        raise Unreadable("is not a currency in use; expected an ISO 4217 code such as EUR, USD or GBP.")
    return str(value)


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def zone(value: Any) -> str:
    """An IANA time zone."""
    if value not in _zones():
        raise Unreadable("is not a time zone; expected an IANA name such as Europe/Berlin.")
    return str(value)


def email(value: Any) -> str:
    """An e-mail address."""
    try:
        validate_email(value)
    except ValidationError:
        raise Unreadable("is not an e-mail address.") from None
    return str(value)


def _kind(value: Any) -> str:
    names = {
        bool: "true or false",
        int: "a number",
        Decimal: "a number",
        list: "a list",
        dict: "a table",
        date: "a day",
    }
    return names.get(type(value), type(value).__name__)
