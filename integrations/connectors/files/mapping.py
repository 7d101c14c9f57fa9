"""Rows to source records, and source records to documents; pure.

The identity of a line does not depend on the file that brings it: the configured id column, or person, day, project
and task with an ordinal for repeats. So the same line in a later file is the same document, and a changed line is a
revision of it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from integrations.connectors.files import cells
from integrations.connectors.files.cells import Cell, Unreadable
from integrations.connectors.files.delimited import heading_key
from integrations.connectors.files.faults import FileUnreadable, Problem, RowUnreadable
from integrations.connectors.files.options import Options
from integrations.connectors.files.table import Row, Table
from integrations.protocol import SourceRecord
from portal.records import NOTHING, DocumentRecord, ExpenseRecord, Reference, SourceStatus, TimeEntryRecord

_IDENTITY = ("person", "person_name", "date", "project", "project_name", "task", "task_name")
LONGEST_CODE = 200  # characters
LONGEST = {"id": 150, "zone": 60, "category": 120, "tax_code": 40, "receipt": 300, "link": 500}


class _Line:
    """One row while it is translated: gives cells by our field and turns a bad one into a problem that names it."""

    def __init__(self, row: int, values: Mapping[str, Cell], columns: Mapping[str, str], options: Options) -> None:
        self.row = row
        self.values = values
        self.columns = columns
        self.options = options

    def cell(self, name: str) -> Cell:
        """The cell of one of our fields; empty where the file has no such column."""
        heading = self.columns.get(name)
        return self.values.get(heading, "") if heading is not None else ""

    def has(self, name: str) -> bool:
        """Whether something stands in the cell."""
        return not cells.is_empty(self.cell(name))

    def bad(self, name: str, expectation: str) -> RowUnreadable:
        """The error that names row, column, value and expectation."""
        return RowUnreadable(
            Problem(
                row=self.row,
                column=self.columns.get(name, name),
                value=cells.text(self.cell(name)),
                expectation=expectation,
            )
        )

    def words(self, name: str) -> str:
        """Free text, whose encoding is checked; a formula-like text stays text."""
        written = cells.text(self.cell(name))
        self._check(name, written)
        return written

    def code(self, name: str) -> str:
        """A code, name or id; empty where there is no such column."""
        cell = self.cell(name)
        if cell == "":
            return ""
        try:
            written = cells.code(cell)
        except Unreadable as fault:
            raise self.bad(name, str(fault)) from fault
        if len(written) > LONGEST.get(name, LONGEST_CODE):
            raise self.bad(name, f"a text of at most {LONGEST.get(name, LONGEST_CODE)} characters.")
        self._check(name, written)
        return written

    def _check(self, name: str, written: str) -> None:
        try:
            cells.check_encoding(written)
        except Unreadable as fault:
            raise self.bad(name, str(fault)) from fault

    def day(self, name: str) -> date:
        """A calendar day."""
        try:
            return cells.day(self.cell(name), self.options.date_formats)
        except Unreadable as fault:
            raise self.bad(name, str(fault)) from fault

    def number(self, name: str) -> Decimal:
        """An amount of money that must be there, to four decimals at most."""
        try:
            return cells.amount(self.cell(name), self.options.decimal)
        except Unreadable as fault:
            raise self.bad(name, str(fault)) from fault

    def optional_number(self, name: str) -> Decimal | None:
        """A number, or None where the cell is empty. Zero only where zero is written."""
        return self.number(name) if self.has(name) else None

    def hours(self) -> Decimal:
        """The hours of the line, in hours whatever the unit of the column."""
        try:
            return cells.hours(self.cell("hours"), self.options.hours_unit, self.options.decimal)
        except Unreadable as fault:
            raise self.bad("hours", str(fault)) from fault

    def flag(self, name: str, default: bool) -> bool:
        """Yes or no, the configured answer where the cell is empty."""
        if not self.has(name):
            return default
        try:
            return cells.flag(self.cell(name))
        except Unreadable as fault:
            raise self.bad(name, str(fault)) from fault

    def identity(self) -> str:
        """The file's own id of the line."""
        return self.code("id")

    def reference(self, name: str) -> Reference:
        """How the line names a master record: by code, by name or by both."""
        return Reference(code=self.code(name), name=self.code(f"{name}_name"))

    def zone(self) -> str:
        """The zone of the work date: the line's own, else the connection's."""
        written = self.code("zone") or self.options.zone
        try:
            ZoneInfo(written or "UTC")
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise self.bad("zone", "an IANA time zone such as Europe/Berlin.") from error
        return written

    def currency(self, *, is_needed: bool = False) -> str:
        """ISO 4217, the connection's where the line has none."""
        written = self.code("currency").upper() or self.options.currency
        is_code = len(written) == 3 and written.isascii() and written.isalpha()
        if not is_code and (written or is_needed):
            raise self.bad("currency", "a currency code of three letters such as EUR.")
        return written

    def status(self) -> SourceStatus:
        """How far the line has come, in our words."""
        written = self.code("status")
        if not written:
            return self.options.status
        status = self.options.status_words.get(written.casefold())
        if status is None:
            known = ", ".join(sorted(self.options.status_words))
            raise self.bad("status", f"a known status ({known}); add it to “status_words”.")
        return status

    def moment(self, name: str) -> datetime | None:
        """A moment in UTC, or None where the cell is empty."""
        if not self.has(name):
            return None
        try:
            return cells.moment(self.cell(name), self.options.date_formats, self.zone())
        except Unreadable as fault:
            raise self.bad(name, str(fault)) from fault


def records(table: Table, options: Options, stream: str, moment: datetime) -> list[SourceRecord]:
    """Every row of a table as a source record; rows that cannot be read are among them and fail when they are mapped.

    `moment` is when the file was made; it orders a line's revisions. A row that repeats another under the same id, cell
    by cell, is collapsed into it.
    """
    made: list[SourceRecord] = []
    seen: dict[str, Row] = {}
    repeats: Counter[str] = Counter()
    for row in table.rows:
        line = _Line(row.number, row.cells, table.columns, options)
        external_id, is_own_id = _identity(line, row, stream)
        problem, ordinal = row.problem, 1
        if is_own_id and external_id in seen:
            if seen[external_id].cells == row.cells:
                continue
            problem = _conflict(line, external_id, seen[external_id])
            external_id = f"{external_id}/row-{row.number}"
        elif not is_own_id:
            repeats[external_id] += 1
            ordinal = repeats[external_id]
            external_id = f"{external_id}-{ordinal}"
        seen.setdefault(external_id, row)
        payload = {
            "file": table.name,
            "sha256": table.sha256,
            "row": row.number,
            "ordinal": ordinal,
            "cells": {heading: _stored(cell) for heading, cell in row.cells.items()},
        }
        if problem is not None:
            payload["problem"] = problem.as_payload()
        revision = _revision(line, row, moment)
        made.append(SourceRecord(stream=stream, external_id=external_id, revision=revision, payload=payload))
    return made


def _stored(cell: Cell) -> Cell:
    return cell if isinstance(cell, str) else dict(cell)


def _conflict(line: _Line, external_id: str, first: Row) -> Problem:
    return Problem(
        row=line.row,
        column=line.columns["id"],
        value=external_id,
        expectation=f"its own: row {first.number} has the same id with other values; correct one of the two.",
    )


def _identity(line: _Line, row: Row, stream: str) -> tuple[str, bool]:
    """The id of a line and whether the file gives it. A line whose day cannot be read is known by its written text."""
    try:
        if row.problem is None and line.has("id"):
            return line.identity(), True
        if row.problem is None:
            return _key(line, stream), False
    except RowUnreadable:
        pass
    written = [cells.text(cell) for cell in map(line.cell, _IDENTITY)] if row.problem is None else [str(row.number)]
    return f"unread-{_digest([stream, *written, '' if any(written) else str(row.number)])}", False


def _key(line: _Line, stream: str) -> str:
    """Person, day, project and task, by code where there is one, whatever their case and the date's format."""
    parts = [line.day("date").isoformat()]
    for name in ("person", "project", "task"):
        reference = line.reference(name)
        parts.append((reference.code or reference.name).casefold())
    if stream == "expenses":
        parts.append(line.code("category").casefold())
    return f"line-{_digest([stream, *parts])}"


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]


def _revision(line: _Line, row: Row, moment: datetime) -> str:
    content = json.dumps(row.cells, sort_keys=True, ensure_ascii=False, default=dict)
    suffix = hashlib.sha256(content.encode()).hexdigest()[:12]
    own = _own_revision(line)
    return f"{own}-{suffix}" if own else f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}-{suffix}"


def _own_revision(line: _Line) -> str:
    """The file's own revision column in a form that sorts: padded numbers, moments in UTC."""
    if not line.has("revision"):
        return ""
    written = cells.text(line.cell("revision"))
    if written.isascii() and written.isdigit() and len(written) <= 20:
        return written.rjust(20, "0")
    try:
        found = line.moment("revision")
    except RowUnreadable:
        return ""
    return f"{found:%Y-%m-%dT%H:%M:%S.%fZ}" if found else ""


def document(record: SourceRecord, options: Options) -> DocumentRecord:
    """One source record as a document. Raises RowUnreadable naming row, column, value and expectation."""
    payload: Mapping[str, Any] = record.payload
    if "problem" in payload:
        raise RowUnreadable(Problem.from_payload(payload["problem"]))
    values: Mapping[str, Cell] = payload["cells"]
    line = _Line(int(payload["row"]), values, _present_columns(values, options, record.stream), options)
    external_id = record.external_id
    if external_id.startswith("unread-"):
        ordinal = int(payload.get("ordinal", 1))
        external_id = line.identity() if line.has("id") else f"{_key(line, record.stream)}-{ordinal}"
    common: dict[str, Any] = {
        "external_id": external_id,
        "revision": record.revision,
        "status": line.status(),
        "resource": line.reference("person"),
        "project": line.reference("project"),
        "task": line.reference("task") or NOTHING,
        "customer": line.reference("customer") or NOTHING,
        "work_date": line.day("date"),
        "zone": line.zone(),
        "billable": line.flag("billable", options.billable),
        "currency": line.currency(is_needed=record.stream == "expenses"),
        "description": line.words("description"),
        "approved_by": Reference(code=line.code("approved_by")),
        "approved_at": line.moment("approved_at"),
        "provenance": line.code("provenance"),
        "link": line.code("link"),
    }
    if record.stream == "expenses":
        return ExpenseRecord(
            **common,
            amount=line.number("amount"),
            category=line.code("category"),
            tax_code=line.code("tax_code"),
            tax_amount=line.optional_number("tax_amount"),
            receipt_reference=line.code("receipt"),
        )
    return TimeEntryRecord(**common, hours=line.hours(), rate=line.optional_number("rate"))


def _present_columns(values: Mapping[str, Cell], options: Options, stream: str) -> Mapping[str, str]:
    """Our fields to the headings that this row was stored with."""
    present = {heading_key(heading): heading for heading in values}
    wanted = {name: heading_key(heading) for name, heading in options.columns[stream].items()}
    return {name: present[key] for name, key in wanted.items() if key in present}


def work_day(record: SourceRecord, options: Options) -> date | None:
    """The day a row belongs to, or None where it cannot be read."""
    values: Mapping[str, Cell] = record.payload.get("cells", {})
    line = _Line(int(record.payload.get("row", 0)), values, _present_columns(values, options, record.stream), options)
    try:
        return line.day("date")
    except RowUnreadable:
        return None


def file_record(stream: str, name: str, sha256: str, moment: datetime, fault: str) -> SourceRecord:
    """A whole file that cannot be read, so that it waits in the inbox instead of silence; no `fault` settles it."""
    return SourceRecord(
        stream=stream,
        external_id=f"file-{sha256[:32]}",
        revision=f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
        payload={"file": name, "sha256": sha256, "fault": fault},
    )


def check_file(record: SourceRecord) -> bool:
    """Whether a record stands for a whole file; raises FileUnreadable with the fault of a file that cannot be read."""
    if not isinstance(record.payload, Mapping):
        raise FileUnreadable(f"Record {record.external_id} of stream {record.stream} is no row of a file.")
    if not record.external_id.startswith("file-") or "fault" not in record.payload:
        return False
    if record.payload["fault"]:
        raise FileUnreadable(f"File “{record.payload['file']}”: {record.payload['fault']}")
    return True
