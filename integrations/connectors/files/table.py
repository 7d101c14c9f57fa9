"""One file to a table: numbered rows with cells by heading, and what could not be read.

A pure function of name, bytes and options, the same for the folder and for a manual upload. Rows are numbered from 1
as a spreadsheet shows them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from integrations.connectors.files import delimited, workbook
from integrations.connectors.files.cells import Cell, is_empty, text
from integrations.connectors.files.delimited import heading_key
from integrations.connectors.files.faults import FileUnreadable, Problem
from integrations.connectors.files.options import REQUIRED, Options

MAX_BYTES = 10 * 1024 * 1024
_ZIP = b"PK\x03\x04"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_BINARY = (_ZIP, _OLE, b"%PDF", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"\x1f\x8b", b"MZ", b"\x7fELF", b"{\\rtf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a file: its cells by the file's own headings, or the problem that keeps it from having any."""

    number: int
    cells: Mapping[str, Cell]
    problem: Problem | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One file, read. `columns` is our field → the heading under which this file holds it."""

    name: str
    sha256: str
    headings: tuple[str, ...]
    columns: Mapping[str, str]
    rows: tuple[Row, ...]
    encoding: str = ""
    delimiter: str = ""
    sheet: str = ""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the shape of rows; what is wrong with their values is found when they are translated."""
        return tuple(row.problem for row in self.rows if row.problem)


def file_hash(content: bytes) -> str:
    """The identity of a file: two files with the same bytes are the same file, whatever their names."""
    return hashlib.sha256(content).hexdigest()


def read_table(name: str, content: bytes, options: Options, stream: str) -> Table:
    """Read one file. Raises FileUnreadable when it is none that can be read at all; a bad row never does."""
    raw, encoding, delimiter, sheet = _raw(name, content, options, stream)
    headings = _headings(raw, options.header_row)
    columns = _columns(headings, options, stream)
    rows = tuple(_rows(raw, headings, start=options.header_row + 1))
    return Table(
        name=name,
        sha256=file_hash(content),
        headings=headings,
        columns=columns,
        rows=rows,
        encoding=encoding,
        delimiter=delimiter,
        sheet=sheet,
    )


def headings_of(name: str, content: bytes, options: Options, stream: str) -> tuple[str, ...]:
    """The headings of one file, whatever they mean; none where it cannot be read."""
    try:
        return _headings(_raw(name, content, options, stream)[0], options.header_row)
    except FileUnreadable:
        return ()


def _raw(name: str, content: bytes, options: Options, stream: str) -> tuple[Iterator[list[Cell] | str], str, str, str]:
    """The rows of a file as they stand, with its encoding and delimiter or its sheet."""
    if _kind(name, content) == "xlsx":
        sheet, cells = workbook.rows(content, options.sheet)
        return iter(cells), "", "", sheet
    decoded, encoding = delimited.decode(content, options.encoding)
    delimiter = options.delimiter
    if delimiter == "auto":
        delimiter = delimited.delimiter_of(decoded, options.columns[stream].values(), options.header_row)
    rows: Iterator[list[Cell] | str] = (
        [*row] if isinstance(row, list) else row for row in delimited.rows(decoded, delimiter)
    )
    return rows, encoding, delimiter, ""


def _kind(name: str, content: bytes) -> str:
    """Whether it is csv or xlsx, by the content and the name together; they must agree."""
    ending = name.rsplit(".", 1)[-1].lower() if "." in name else ""
    if len(content) > MAX_BYTES:
        raise FileUnreadable(f"The file has {len(content)} bytes; at most {MAX_BYTES} (10 MB) are read. Split it.")
    if not content.strip():
        raise FileUnreadable("The file is empty.")
    if content.startswith(_OLE):
        raise FileUnreadable("The file is an old or password-protected workbook; save it as XLSX without a password.")
    if ending == "xlsx":
        if not content.startswith(_ZIP):
            raise FileUnreadable("The name says XLSX but the content is something else; export it again.")
        return "xlsx"
    if ending in ("csv", "tsv", "txt"):
        if content.startswith(_BINARY):
            raise FileUnreadable("The name says CSV but the content is something else; export it again.")
        return "csv"
    raise FileUnreadable(f"Only CSV and XLSX files are read; “{name}” ends in “.{ending}”.")


def _headings(raw: Iterator[Sequence[Cell] | str], header_row: int) -> tuple[str, ...]:
    for number, row in enumerate(raw, start=1):
        if number < header_row:
            continue
        if isinstance(row, str):
            raise FileUnreadable(f"The headings in row {header_row} cannot be read: {row}")
        return tuple(" ".join(text(cell).replace("\ufeff", "").split()) for cell in row)
    raise FileUnreadable(f"The file ends before row {header_row}, where its headings should stand.")


def _columns(headings: tuple[str, ...], options: Options, stream: str) -> Mapping[str, str]:
    """Our fields to this file's headings. A configured column that is missing stops the file."""
    present: dict[str, list[str]] = {}
    for heading in headings:
        present.setdefault(heading_key(heading), []).append(heading)
    columns: dict[str, str] = {}
    for name, heading in options.columns[stream].items():
        found = present.get(heading_key(heading), [])
        if len(found) > 1:
            raise FileUnreadable(f"The heading “{heading}” stands {len(found)} times; it must stand once.")
        if found:
            columns[name] = found[0]
        elif options.configured[stream]:
            raise FileUnreadable(_missing(f"“{heading}” ({name})", headings))
    for group in REQUIRED[stream]:
        if not any(name in columns for name in group):
            raise FileUnreadable(_missing(" or ".join(f"“{name}”" for name in group), headings))
    return columns


def _missing(heading: str, headings: Iterable[str]) -> str:
    named = [f"“{name[:40]}”" for name in headings if name]
    listed = ", ".join(named[:30]) or "no headings"
    return (
        f"The heading {heading} is missing; the file has {listed}. Correct the file or the columns of the connection."
    )


def _rows(raw: Iterator[list[Cell] | str], headings: tuple[str, ...], *, start: int) -> Iterator[Row]:
    for number, fields in enumerate(raw, start=start):
        if isinstance(fields, str):
            yield Row(number=number, cells={}, problem=Problem(row=number, column="", value="", expectation=fields))
        elif any(not is_empty(cell) for cell in fields):
            yield _row(number, fields, headings)


def _row(number: int, fields: list[Cell], headings: tuple[str, ...]) -> Row:
    cells = {heading: cell for heading, cell in zip(headings, fields, strict=False) if heading}
    beyond = [cell for cell in fields[len(headings) :] if not is_empty(cell)]
    if not beyond:
        return Row(number=number, cells=cells)
    expectation = (
        f"it has {len(fields)} fields under {len(headings)} headings, the last “{text(fields[-1])}”; put a text or "
        "number that holds the delimiter into quotation marks."
    )
    return Row(number=number, cells=cells, problem=Problem(row=number, column="", value="", expectation=expectation))
