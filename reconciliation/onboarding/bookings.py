"""A file of what was booked, for a target that cannot say it: CSV or XLSX, one line a booking.

The rule here: the file is read as every other file is (`portal/importing/sheets.py`), whole or not at all; what is wrong with
it is said by row and column.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from portal.importing import cells
from portal.importing.problems import Unreadable
from portal.importing.sheets import plain
from portal.importing.sheets import read as read_sheet
from reconciliation.models import Booking
from reconciliation.onboarding.base import NotYet

COLUMNS = ("number", "date", "person", "project", "hours", "amount", "currency", "kind")
NEEDED = ("number", "date", "person", "project")
LARGEST = 20 * 1024 * 1024  # bytes
MOST = 200_000  # rows
SHOWN = 20  # problems told at once
_FIGURE = cells.decimal(places=20, digits=32)  # as a spreadsheet divides; kept to four places


@dataclass(frozen=True, slots=True)
class Bookings:
    """A file that was read."""

    name: str
    digest: str
    lines: list[Booking]


def read(name: str, content: bytes) -> Bookings:
    """The bookings of a file. Raises NotYet with what is wrong, row by row."""
    try:
        sheet = read_sheet(name, content, frozenset(COLUMNS), most_rows=MOST, largest=LARGEST)
    except Unreadable as refusal:
        raise NotYet(f"“{name}”: {refusal}") from refusal
    head = {plain(heading): index for index, heading in enumerate(sheet.header)}
    missing = [column for column in NEEDED if column not in head]
    if missing:
        raise NotYet(f"“{name}” has no column {', '.join(missing)}; expected {', '.join(COLUMNS)}.")
    problems: list[str] = []
    lines: dict[tuple[str, str], Booking] = {}
    for number, texts in sheet.rows:
        try:
            line = _line({column: texts[head[column]] for column in COLUMNS if column in head})
        except Unreadable as problem:
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


def _line(row: Mapping[str, str]) -> Booking:
    kind = (row.get("kind") or "time").lower()
    if kind not in ("time", "expense"):
        raise Unreadable(f"kind “{kind}” is neither time nor expense.")
    said = {column: row.get(column, "") for column in ("number", "person", "project", "currency")}
    for column in ("number", "person", "project"):
        if not said[column]:
            raise Unreadable(f"{column} is empty.")
    hours, amount = _figure(row, "hours"), _figure(row, "amount")
    if (hours if kind == "time" else amount) is None:
        raise Unreadable(f"{'hours' if kind == 'time' else 'amount'} is empty.")
    return Booking(kind=kind, work_date=_day(row["date"]), hours=hours, amount=amount, **said)


def _figure(row: Mapping[str, str], column: str) -> Decimal | None:
    text = row.get(column, "")
    if not text:
        return None
    try:
        return round(_FIGURE(cells.with_point(text)), 4)
    except Unreadable as refusal:
        raise Unreadable(f"{column} “{text}” {refusal}") from refusal


def _day(text: str) -> date:
    try:
        return cells.day(cells.with_dashes(text))
    except Unreadable as refusal:
        raise Unreadable(f"date “{text}” {refusal}") from refusal
