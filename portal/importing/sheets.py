"""One uploaded file, CSV or XLSX, as a header and rows of texts. What stands above the header, as in our exports, is passed over.

The rule here: nothing is guessed about values; they are texts as they stand. A workbook is looked at from outside before the
reader that trusts it sees it, because a small file may claim a sheet of billions of cells.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time

from python_calamine import CalamineError, CalamineWorkbook

from portal.export import RUNS_AS_FORMULA
from portal.importing.problems import Unreadable

LARGEST = 10 * 1024 * 1024  # bytes of a file
MOST_ROWS = 20_000
MOST_COLUMNS = 100
_UNPACKED = 100 * 1024 * 1024  # bytes of a workbook, unpacked
_MEMBERS = 200
_ABOVE = 20  # lines in which the header is looked for
_REACH = re.compile(rb'\br="([A-Z]{1,3})(\d{1,9})"')


@dataclass(frozen=True, slots=True)
class Sheet:
    """The header, and each row with the number of its line in the file."""

    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]


def plain(heading: str) -> str:
    """A heading as it is compared: small letters, everything else underscores."""
    return re.sub(r"[^0-9a-z]+", "_", heading.casefold()).strip("_")


def read(name: str, content: bytes, known: Collection[str]) -> Sheet:
    """The file's rows. `known` are headings by which the header is found; else it is the first line that is not empty.

    Raises Unreadable, with a sentence for the person.
    """
    if len(content) > LARGEST:
        raise Unreadable(f"The file has {len(content):,} bytes; at most {LARGEST:,} are taken. Split it.")
    lines = list(_workbook(content) if content[:4] == b"PK\x03\x04" else _delimited(content, known))
    filled = [(number, cells) for number, cells in lines if any(cells)]
    if not filled:
        raise Unreadable("The file is empty; expected a header and rows.")
    at = max(range(min(_ABOVE, len(filled))), key=lambda index: (_score(filled[index][1], known), -index))
    header = filled[at][1]
    while header and not header[-1]:
        header = header[:-1]
    if len(header) > MOST_COLUMNS:
        raise Unreadable(f"The header has {len(header):,} columns; at most {MOST_COLUMNS} are read.")
    if doubled := sorted({one for one in header if one and header.count(one) > 1}):
        raise Unreadable(f"The column “{doubled[0]}” stands twice in the header.")
    rows = filled[at + 1 :]
    if len(rows) > MOST_ROWS:
        raise Unreadable(f"The file has {len(rows):,} rows; at most {MOST_ROWS:,} are taken at once. Split it.")
    for number, cells in rows:
        if any(cells[len(header) :]):
            raise Unreadable(f"Line {number} has more cells than the header; quote text that holds the delimiter.")
    width = len(header)
    return Sheet(header, tuple((number, (*cells, *[""] * width)[:width]) for number, cells in rows))


def _score(cells: Sequence[str], known: Collection[str]) -> int:
    return len({plain(cell) for cell in cells if cell} & set(known))


def _split(line: str, delimiter: str) -> list[str]:
    return [cell.strip().strip('"') for cell in line.split(delimiter)]


def _delimited(content: bytes, known: Collection[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise Unreadable(f"Line {line} is not UTF-8; save the file as CSV UTF-8, or as XLSX.") from None
    first = [line for line in text.splitlines()[: 2 * _ABOVE] if line.strip()][:_ABOVE]
    delimiter = max(
        ",;\t",
        key=lambda one: max(((_score(_split(line, one), known), line.count(one)) for line in first), default=(0, 0)),
    )
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise Unreadable(
                f"Line {line} cannot be read as CSV ({error}); look for an unclosed quotation mark."
            ) from None
        yield line, tuple(_said(cell.strip()) for cell in cells)


def _said(cell: str) -> str:
    """Without the apostrophe that keeps a spreadsheet from running a text."""
    return cell[1:] if cell[:1] == "'" and cell[1:].lstrip(" ").startswith(RUNS_AS_FORMULA) else cell


def _workbook(content: bytes) -> Iterator[tuple[int, tuple[str, ...]]]:
    _inspect(content)
    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(content))
        sheet = book.get_sheet_by_index(0).to_python(skip_empty_area=False)
    except (CalamineError, IndexError) as error:
        raise Unreadable(f"The workbook cannot be read ({error}); save it again as XLSX.") from None
    for number, row in enumerate(sheet, 1):
        yield number, tuple(_text(value).strip() for value in row)


def _text(value: object) -> str:
    """A typed cell as the text that a CSV file would hold."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time(0) else value.isoformat(sep=" ")
    if isinstance(value, date):
        return value.isoformat()
    return str(value)


def _inspect(content: bytes) -> None:
    """Measure a workbook by unpacking it. Raises Unreadable where it is more than it seems."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        members = archive.infolist()
        if len(members) > _MEMBERS:
            raise Unreadable(f"The workbook has {len(members)} parts; at most {_MEMBERS} are read.")
        left = _UNPACKED
        for member in members:
            with archive.open(member) as part:
                held = part.read(left + 1)
            left -= len(held)
            if left < 0:
                raise Unreadable("The workbook is too large once unpacked; split it.")
            if member.filename.startswith("xl/worksheets/"):
                _check_reach(held)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise Unreadable("The workbook is damaged, protected or not whole; save it again as XLSX.") from error


def _check_reach(held: bytes) -> None:
    for column, row in _REACH.findall(held):
        if int(row) > MOST_ROWS + _ABOVE or len(column) > 2:
            raise Unreadable(
                f"The sheet reaches to {column.decode()}{row.decode()}; at most {MOST_ROWS:,} rows are taken."
            )
