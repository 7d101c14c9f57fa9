"""A file of what was booked, for a target that cannot say it: CSV or XLSX, one line a booking.

The rule here: the file is read whole or not at all; what is wrong with it is said by row and column.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from python_calamine import CalamineError, CalamineWorkbook

from reconciliation.models import Booking
from reconciliation.onboarding.base import NotYet

COLUMNS = ("number", "date", "person", "project", "hours", "amount", "currency", "kind")
NEEDED = ("number", "date", "person", "project")
LARGEST = 20 * 1024 * 1024  # bytes
MOST = 200_000  # rows
SHOWN = 20  # problems told at once


@dataclass(frozen=True, slots=True)
class Bookings:
    """A file that was read."""

    name: str
    digest: str
    lines: list[Booking]


def read(name: str, content: bytes) -> Bookings:
    """The bookings of a file. Raises NotYet with what is wrong, row by row."""
    if len(content) > LARGEST:
        raise NotYet(f"“{name}” is larger than {LARGEST // 1024 // 1024} MB; split it, or rehearse a shorter month.")
    table = _workbook(name, content) if content[:2] == b"PK" else _text(name, content)
    if not table:
        raise NotYet(f"“{name}” is empty; expected the columns {', '.join(COLUMNS)}.")
    head = [str(cell).strip().lower() for cell in table[0]]
    missing = [column for column in NEEDED if column not in head]
    if missing:
        raise NotYet(f"“{name}” has no column {', '.join(missing)}; expected {', '.join(COLUMNS)}.")
    if len(table) - 1 > MOST:
        raise NotYet(f"“{name}” has {len(table) - 1:,} rows; at most {MOST:,} are read.")
    problems: list[str] = []
    lines: dict[tuple[str, str], Booking] = {}
    for number, cells in enumerate(table[1:], 2):
        if not any(str(cell).strip() for cell in cells):
            continue
        row = {
            column: cells[head.index(column)] if head.index(column) < len(cells) else ""
            for column in COLUMNS
            if column in head
        }
        try:
            line = _line(row)
        except ValueError as problem:
            problems.append(f"Row {number}: {problem}")
            continue
        if (line.kind, line.number) in lines:
            problems.append(f"Row {number}: booking {line.number} stands twice in the file.")
        lines[line.kind, line.number] = line
    if problems:
        more = f" And {len(problems) - SHOWN} more." if len(problems) > SHOWN else ""
        raise NotYet(" ".join(problems[:SHOWN]) + more)
    if not lines:
        raise NotYet(f"“{name}” holds no booking.")
    return Bookings(name[:200], hashlib.sha256(content).hexdigest(), list(lines.values()))


def _workbook(name: str, content: bytes) -> Sequence[Sequence[Any]]:
    try:
        return CalamineWorkbook.from_filelike(io.BytesIO(content)).get_sheet_by_index(0).to_python()
    except CalamineError as error:
        raise NotYet(f"“{name}” cannot be read as a workbook: {error}") from error


def _text(name: str, content: bytes) -> Sequence[Sequence[Any]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotYet(f"“{name}” is not UTF-8; save it as CSV UTF-8.") from error
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    return list(csv.reader(io.StringIO(text), delimiter=separator))


def _line(row: dict[str, Any]) -> Booking:
    kind = str(row.get("kind") or "time").strip().lower()
    if kind not in ("time", "expense"):
        raise ValueError(f"kind “{kind}” is neither time nor expense.")
    said = {column: _word(row.get(column)) for column in ("number", "person", "project", "currency")}
    for column in ("number", "person", "project"):
        if not said[column]:
            raise ValueError(f"{column} is empty.")
    hours, amount = _figure(row, "hours"), _figure(row, "amount")
    if (hours if kind == "time" else amount) is None:
        raise ValueError(f"{'hours' if kind == 'time' else 'amount'} is empty.")
    return Booking(kind=kind, work_date=_day(row.get("date")), hours=hours, amount=amount, **said)


def _word(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # what a workbook makes of a number that is a name
    return str(value or "").strip()


def _figure(row: dict[str, Any], column: str) -> Decimal | None:
    text = str(row.get(column) if row.get(column) is not None else "").strip()
    if not text:
        return None
    try:
        value = Decimal(text.replace(",", "."))
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or abs(value) >= 10**12:
        raise ValueError(f"{column} “{text}” is no figure; write it as 7.5.")
    return round(value, 4)


def _day(value: Any) -> date:
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value).strip())
    except ValueError:
        raise ValueError(f"date “{value}” is no day; write it as 2026-10-14.") from None
