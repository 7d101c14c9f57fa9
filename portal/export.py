"""The one writer of exports: what the list shows, every row of the filter, as CSV or XLSX.

The rule here: no cell becomes a formula. A text that a spreadsheet would run is written as text (CSV: with an apostrophe
before it; XLSX: as a string cell), and a figure stays a figure. The first lines say what the file is, by whom and when.
A person's own delimiter and decimal sign are for CSV; XLSX has neither.
"""

from __future__ import annotations

import csv
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from html import unescape
from itertools import chain
from typing import Any

import xlsxwriter
from django.db.models import QuerySet
from django.http import FileResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.text import slugify

FORMATS = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
PACKED = {"zip": "application/zip"}  # what a worker makes of several files
CHUNK = 2_000  # rows fetched and rendered at a time
EXCEL_ROWS = 1_048_576  # that one sheet can hold
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t"}
DECIMALS = {"point": ".", "comma": ","}
RUNS_AS_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001 - full-width twins
_TAG = re.compile(r"<[^>]*>")
Cell = str | int | Decimal | date | datetime | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What stands above the rows."""

    title: str
    filters: Sequence[str]
    person: str
    count: int
    totals: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    at: datetime = field(default_factory=timezone.now)

    def lines(self) -> list[list[Cell]]:
        """The heading block, one line a fact."""
        lines: list[list[Cell]] = [
            [f"Tieout · {self.title}"],
            ["Filter", "; ".join(self.filters)],
            ["Exported by", self.person],
            ["Exported at", f"{self.at:%Y-%m-%d %H:%M:%S %Z}"],
            ["Rows", self.count],
        ]
        for currency, sums in self.totals.items():
            for name, value in sums.items():
                words = name.replace("_", " ")
                lines.append(["Total" if words == "total" else f"Total {words}", value, currency])
        return [*lines, []]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """What a file holds: a table over rows, some of its columns in an order of their own, and its heading.

    `columns` empty means all. `prepare` tells the records of one chunk what they show beside their own columns.
    """

    table: type[Any]
    queryset: QuerySet[Any]
    heading: Heading
    columns: Sequence[str] = ()
    prepare: Callable[[list[Any]], object] | None = None


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a person's spreadsheet reads CSV."""

    delimiter: str = ","
    decimal: str = "."


def dialect(preferences: Mapping[str, Any]) -> Dialect:
    """A person's own dialect, or the common one."""
    held = preferences.get("csv", {})
    return Dialect(DELIMITERS.get(held.get("delimiter"), ","), DECIMALS.get(held.get("decimal"), "."))


def answer(form: str, sheet: Sheet, *, own: Dialect = Dialect()) -> HttpResponseBase:
    """The file as an attachment. CSV is streamed row by row; XLSX is written to a temporary file first."""
    return answer_rows(form, sheet.heading, table_rows(sheet), own=own)


def answer_rows(
    form: str, heading: Heading, rows: Iterable[Sequence[Cell]], *, own: Dialect = Dialect()
) -> HttpResponseBase:
    """The same for rows that are no table of records; the first row holds the heads."""
    if form == "csv":
        lines = csv_lines(heading, rows, own)
        response: HttpResponseBase = StreamingHttpResponse(lines, content_type=FORMATS[form])
        response["Content-Disposition"] = f'attachment; filename="{name_of(heading, form)}"'
        return response
    return FileResponse(
        xlsx_file(heading, rows),
        as_attachment=True,
        filename=name_of(heading, form),
        content_type=FORMATS[form],
    )


def name_of(heading: Heading, form: str) -> str:
    """The name that a file is saved under."""
    return f"{slugify(heading.title) or 'export'}-{heading.at:%Y%m%d-%H%M}.{form}"


def column_names(table: type[Any]) -> list[str]:
    """Every column that a file of this table can have, in the table's order."""
    return [column.name for column in table([]).columns if not column.column.exclude_from_export]


def table_rows(sheet: Sheet) -> Iterator[list[Cell]]:
    """The column heads, then the values of every row, a chunk of rows in memory at a time."""
    plain = sheet.table([])
    possible = column_names(sheet.table)
    names = [name for name in sheet.columns if name in possible] or possible
    yield [str(plain.columns[name].column.verbose_name or plain.columns[name].header) for name in names]
    for records in _chunks(sheet.queryset):
        if sheet.prepare:
            sheet.prepare(records)
        for row in sheet.table(records, orderable=False).rows:
            yield [_cell(row.get_cell_value(name)) for name in names]


def csv_lines(
    heading: Heading,
    rows: Iterable[Sequence[Cell]],
    own: Dialect = Dialect(),
) -> Iterator[str]:
    """The file line by line, with a mark that makes spreadsheets read UTF-8."""
    writer = csv.writer(_Echo(), delimiter=own.delimiter)
    yield "\ufeff"
    for row in chain(heading.lines(), rows):
        yield writer.writerow([_written(cell, own) for cell in row])


def csv_rows(own: Dialect) -> Callable[[Iterable[Cell]], str]:
    """Writes rows as lines of CSV, one at a time."""
    writer = csv.writer(_Echo(), delimiter=own.delimiter)

    def line(row: Iterable[Cell]) -> str:
        written: str = writer.writerow([_written(cell, own) for cell in row])
        return written

    return line


def write_cells(sheet: Any, number: int, row: Iterable[Cell], form: Any = None) -> None:
    """Write one row of a worksheet: figures as figures, everything else as text."""
    for column, value in enumerate(row):
        said = value if value is None or isinstance(value, bool | int | Decimal) else str(_day_said(value))
        _write(sheet, number, column, said, form)


def xlsx_file(heading: Heading, rows: Iterable[Sequence[Cell]]) -> Any:
    """A temporary file, deleted when closed, read from its start."""
    target = tempfile.TemporaryFile()  # noqa: SIM115 - FileResponse closes it
    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
        "remove_timezone": True,
    }
    book = xlsxwriter.Workbook(target, options)
    sheet = book.add_worksheet("Tieout")
    bold = book.add_format({"bold": True})
    formats: dict[type, Any] = {
        date: book.add_format({"num_format": "yyyy-mm-dd"}),
        datetime: book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
    }
    start = heading.lines()
    for number, row in enumerate(chain(start, rows)):
        heads = number in {0, len(start)}  # the title and the column heads
        for column, value in enumerate(row):
            _write(sheet, number, column, value, bold if heads else formats.get(type(value)))
    sheet.set_column(0, 0, 32)
    sheet.set_column(1, 40, 16)
    book.close()
    target.seek(0)
    return target


def safe(value: Cell) -> str | int | Decimal:
    """A cell that no spreadsheet runs. Figures stay figures, so that minus amounts can be added up."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | Decimal):
        return value
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, date):
        return value.isoformat()
    text = value.replace("\x00", "")
    return f"'{text}" if text.lstrip(" ").startswith(RUNS_AS_FORMULA) else text


def _written(cell: Cell, own: Dialect) -> str | int | Decimal:
    plain = safe(cell)
    return _short(plain).replace(".", own.decimal) if isinstance(plain, Decimal) else plain


def _short(figure: Decimal) -> str:
    """A figure with its decimals, at most two of which are zeros at its end: 7.50 and 120.125, not 7.5000."""
    whole, _, decimals = f"{figure:f}".partition(".")
    return f"{whole}.{decimals[:2]}{decimals[2:].rstrip('0')}" if decimals else whole


class _Echo:
    """A file whose write gives the line back, so that csv can stream."""

    def write(self, line: str) -> str:
        return line


def _day_said(value: Cell) -> Cell:
    return value.isoformat(sep=" ", timespec="seconds") if isinstance(value, datetime) else value


def _chunks(queryset: QuerySet[Any]) -> Iterator[list[Any]]:
    chunk: list[Any] = []
    for record in queryset.iterator(chunk_size=CHUNK):
        chunk.append(record)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _cell(value: Any) -> Cell:
    if isinstance(value, SafeString):
        return " ".join(unescape(_TAG.sub(" ", value)).split())  # what a column draws goes into a file as its words
    if value is None or isinstance(value, str | int | Decimal | date):
        return value
    return str(value)


def _write(sheet: Any, row: int, column: int, value: Cell, style: Any) -> None:
    if value is None or value == "":
        return
    if isinstance(value, bool):
        sheet.write_boolean(row, column, value)
    elif isinstance(value, int | Decimal):
        sheet.write_number(row, column, value, style)
    elif isinstance(value, date):
        sheet.write_datetime(row, column, value, style)
    else:
        sheet.write_string(row, column, value.replace("\x00", ""), style)
