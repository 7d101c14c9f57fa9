"""The cells of a table and how their text becomes days, numbers and words.

A cell is text, or a typed value that the spreadsheet itself stores (`{"number": "7.5"}`, `{"date": "2026-03-01"}`,
`{"moment": "2026-03-01T12:30:00"}`, `{"seconds": 27000}`, `{"flag": true}`, `{"error": "formula error"}`); both are what
json.dumps takes. What can be read in two ways is refused, never guessed. Text that looks like a formula stays text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

Cell = str | Mapping[str, Any]

PLACES = Decimal("0.0001")
_TRUE = frozenset({"1", "true", "t", "yes", "y", "ja", "j", "x", "oui", "o", "si", "billable", "wahr"})
_FALSE = frozenset({"0", "false", "f", "no", "n", "nein", "non", "-", "non-billable", "not billable", "falsch"})
_GROUPS = "\u0020\u00a0\u202f\u2009'\u2019"  # spaces and apostrophes that separate thousands
_NUMBER = {
    ".": re.compile(
        rf"[+-]?(?:\d+|\d{{1,3}}(?:,\d{{3}})+|\d{{1,3}}(?:[{_GROUPS}]\d{{3}})+)(?:\.\d+)?|[+-]?\.\d+", re.ASCII
    ),
    ",": re.compile(
        rf"[+-]?(?:\d+|\d{{1,3}}(?:\.\d{{3}})+|\d{{1,3}}(?:[{_GROUPS}]\d{{3}})+)(?:,\d+)?|[+-]?,\d+", re.ASCII
    ),
}
_CLOCK = re.compile(r"([+-]?)(\d{1,4}):([0-5]\d)(?::([0-5]\d))?", re.ASCII)
_LONGEST_NUMBER = 24  # characters
_TOKENS = {"YYYY": "%Y", "YY": "%y", "MMM": "%b", "MM": "%m", "DD": "%d", "M": "%m", "D": "%d"}
_ISO_DAY = re.compile(r"(\d{4})-(\d{2})-(\d{2})(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)?", re.ASCII)
_DOTTED_DAY = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})", re.ASCII)
_SLASHED_DAY = re.compile(r"(\d{1,2})[/-](\d{1,2})[/-](\d{4})", re.ASCII)


class Unreadable(Exception):
    """A cell does not hold what was expected; the message completes the sentence “… is not”."""


def text(cell: Cell) -> str:
    """What a person sees in the cell, trimmed."""
    if isinstance(cell, str):
        return cell.strip()
    kind, value = next(iter(cell.items()))
    if kind == "flag":
        return "true" if value else "false"
    if kind == "seconds":
        return _as_clock(int(value))
    return str(value)


def code(cell: Cell) -> str:
    """The text of a code, a name or an id. A date where a code is expected was altered by the spreadsheet."""
    if isinstance(cell, str):
        return cell.strip()
    if "number" in cell and abs(Decimal(cell["number"])) >= Decimal(10) ** 15:
        raise Unreadable("a whole code: spreadsheets keep 15 digits; format the column as text.")
    if "date" in cell or "moment" in cell or "seconds" in cell:
        raise Unreadable("a code: the spreadsheet made a date or time of it; format the column as text.")
    _no_error(cell)
    return text(cell)


def number(cell: Cell, decimal: str) -> Decimal:
    """An exact number. `decimal` is “.”, “,” or “auto”."""
    if not isinstance(cell, str):
        _no_error(cell)
        if "number" not in cell:
            raise Unreadable("a number.")
        return Decimal(cell["number"])
    written = cell.strip()
    if len(written) > _LONGEST_NUMBER:
        raise Unreadable(f"a number of at most {_LONGEST_NUMBER} characters.")
    sign = _decimal_sign(written) if decimal == "auto" else decimal
    if not _NUMBER[sign].fullmatch(written):
        raise Unreadable(_number_expected(written, decimal))
    plain = written.replace("," if sign == "." else ".", "")
    for group in _GROUPS:
        plain = plain.replace(group, "")
    return Decimal(plain.replace(",", "."))


def _number_expected(written: str, decimal: str) -> str:
    if decimal == "auto":
        return "a number, such as 7.5."
    other = "," if decimal == "." else "."
    name = {".": "point", ",": "comma"}
    sentence = f"a number with a decimal {name[decimal]}, such as 7{decimal}5"
    if _NUMBER[other].fullmatch(written):
        return f"{sentence}; if the file writes a decimal {name[other]}, set “decimal” to “{other}”."
    return f"{sentence}."


def _decimal_sign(written: str) -> str:
    """Which sign separates the decimals, when the text alone decides it."""
    point, comma = written.rfind("."), written.rfind(",")
    if point >= 0 and comma >= 0:
        return "." if point > comma else ","
    sign = "." if point >= 0 else ","
    if point < 0 and comma < 0:
        return "."
    if written.count(sign) > 1:
        return "," if sign == "." else "."
    whole, _, rest = written.partition(sign)
    if len(rest) == 3 and 1 <= len(whole.lstrip("+-")) <= 3 and whole.lstrip("+-") != "0":
        raise Unreadable(
            f"clear: it may mean {whole}{rest} or {whole}.{rest}; set “decimal” to the sign that the file uses."
        )
    return sign


def amount(cell: Cell, decimal: str) -> Decimal:
    """Money: exact, below ten to the fourteenth, with four decimals at most."""
    value = number(cell, decimal)
    if abs(value) >= Decimal(10) ** 14:
        raise Unreadable("an amount below 100 000 000 000 000.")
    if value != value.quantize(PLACES):
        raise Unreadable("an amount with at most four decimals; round it where it is made.")
    return value


def hours(cell: Cell, unit: str, decimal: str) -> Decimal:
    """Hours, to four decimals, from hours, minutes or a clock-like duration; a spreadsheet's durations as they are."""
    if not isinstance(cell, str) and "seconds" in cell:
        return from_seconds(int(cell["seconds"]))
    if unit == "clock":
        match = _CLOCK.fullmatch(text(cell)) if isinstance(cell, str) else None
        if match is None:
            raise Unreadable("a duration such as 7:30.")
        sign, whole, minutes, seconds = match.groups()
        total = int(whole) * 3600 + int(minutes) * 60 + int(seconds or 0)
        return from_seconds(-total if sign == "-" else total)
    if isinstance(cell, str) and _CLOCK.fullmatch(cell.strip()):
        raise Unreadable(f"a number of {unit}; if the file writes 7:30, set “hours_unit” to “clock”.")
    value = number(cell, decimal)
    if abs(value) >= Decimal(100_000):
        raise Unreadable(f"a number of {unit} below 100 000.")
    if unit == "minutes":
        value /= 60
    return value if value == value.quantize(PLACES) else value.quantize(PLACES, ROUND_HALF_UP).normalize() + 0


def from_seconds(seconds: int) -> Decimal:
    """Seconds as hours, to four decimals."""
    return (Decimal(seconds) / 3600).quantize(PLACES, ROUND_HALF_UP).normalize() + 0


def day(cell: Cell, formats: tuple[str, ...]) -> date:
    """A calendar day. A moment without a zone is the day it names."""
    if isinstance(cell, str):
        return _day_of(cell.strip(), formats)
    _no_error(cell)
    if "date" in cell:
        return date.fromisoformat(cell["date"])
    if "moment" in cell:
        return datetime.fromisoformat(cell["moment"]).date()
    if "number" in cell and _could_be_written_day(cell["number"]):
        return _day_of(cell["number"], formats)
    raise Unreadable("a date: format the column as a date.")


def _could_be_written_day(digits: str) -> bool:
    """Whether a number may be a day written as YYYYMMDD, rather than a spreadsheet's serial number."""
    return len(digits) == 8 and digits.isdigit()


@lru_cache(maxsize=4096)
def _day_of(written: str, formats: tuple[str, ...]) -> date:
    found = {parsed for name in formats if (parsed := _parsed(written, name)) is not None}
    if len(found) == 1:
        return found.pop()
    if found:
        either = " or ".join(sorted(value.isoformat() for value in found))
        raise Unreadable(f"a clear date: it may mean {either}; leave one of the date formats out.")
    expected = "a date" if formats == ("auto",) else f"a date written as {' or '.join(formats)}"
    raise Unreadable(f"{expected}, such as {date(2026, 3, 31).strftime(_pattern(formats[0]))}.")


def _parsed(written: str, name: str) -> date | None:
    if name == "auto":
        return _automatic_day(written)
    try:
        return datetime.strptime(written, _pattern(name)).replace(tzinfo=UTC).date()
    except ValueError:
        return None


def _automatic_day(written: str) -> date | None:
    """ISO dates and day.month.year; a slashed date only where the day cannot be a month."""
    try:
        if match := _ISO_DAY.fullmatch(written):
            return date(*map(int, match.groups()))
        if match := _DOTTED_DAY.fullmatch(written):
            first, second, year = map(int, match.groups())
            return date(year, second, first)
        if match := _SLASHED_DAY.fullmatch(written):
            first, second, year = map(int, match.groups())
            if first <= 12 and second <= 12 and first != second:
                raise Unreadable(
                    f"a clear date: it may mean {date(year, second, first).isoformat()} or "
                    f"{date(year, first, second).isoformat()}; set “date_formats” to DD/MM/YYYY or MM/DD/YYYY."
                )
            return date(year, second, first) if first > 12 else date(year, first, second)
    except ValueError:
        return None
    return None


def _pattern(name: str) -> str:
    """DD.MM.YYYY, or a strptime pattern as it stands, as a strptime pattern."""
    if name == "auto":
        return "%Y-%m-%d"
    if "%" in name:
        return name
    return re.sub("YYYY|YY|MMM|MM|DD|M|D", lambda match: _TOKENS[match.group()], name)


def moment(cell: Cell, formats: tuple[str, ...], zone: str) -> datetime:
    """A moment in UTC. Without an offset it is read in the file's zone; a day alone means its midnight."""
    written = cell.strip() if isinstance(cell, str) else str(cell.get("moment", ""))
    try:
        parsed = datetime.fromisoformat(written)
    except ValueError:
        parsed = datetime.combine(day(cell, formats), time())
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=ZoneInfo(zone or "UTC"))
    return parsed.astimezone(UTC)


def flag(cell: Cell) -> bool:
    """Yes or no, in the words that exports use."""
    if not isinstance(cell, str) and "flag" in cell:
        return bool(cell["flag"])
    word = text(cell).casefold()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise Unreadable("yes or no.")


def check_encoding(written: str) -> None:
    """Refuse text whose letters were lost or doubled on the way, before it becomes an unknown name."""
    if written.isascii():
        return
    if "\ufffd" in written:
        raise Unreadable("whole: letters were lost when the file was made; export it again as UTF-8.")
    try:
        meant = written.encode("cp1252").decode("utf-8")
    except UnicodeError:
        return
    if meant != written:
        raise Unreadable(f"whole: it probably means “{meant}”; set “encoding” to “utf-8” or export the file again.")


def is_empty(cell: Cell) -> bool:
    """Whether nothing stands in the cell."""
    return isinstance(cell, str) and not cell.strip()


def _no_error(cell: Mapping[str, Any]) -> None:
    if "error" in cell:
        raise Unreadable("a value: the formula in the spreadsheet fails.")


def _as_clock(seconds: int) -> str:
    sign = "-" if seconds < 0 else ""
    minutes, rest = divmod(abs(seconds), 60)
    whole, minutes = divmod(minutes, 60)
    return f"{sign}{whole}:{minutes:02d}:{rest:02d}"


def from_number(value: float) -> Cell:
    """A spreadsheet's number as the 15 digits that it shows, without the tail of its binary form."""
    exact = Decimal(format(value, ".15g"))
    return {"number": format(exact.normalize() + 0, "f")}


def from_duration(value: timedelta) -> Cell:
    """A spreadsheet's duration in whole seconds."""
    return {"seconds": round(value.total_seconds())}
