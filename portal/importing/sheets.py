"""One uploaded file, CSV or XLSX, as a header and rows of texts. What stands above the header, as in our exports, is passed over.

The rule here: nothing is guessed about values; they are texts as they stand. Of a workbook that sheet is read whose header is
known best. It is looked at from outside first (`portal/importing/workbooks.py`).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time

from python_calamine import CalamineError, CalamineWorkbook

from portal.export import RUNS_AS_FORMULA
from portal.importing import workbooks
from portal.importing.problems import Unreadable

LARGEST = 10 * 1024 * 1024  # bytes of a file
MOST_ROWS = 20_000
MOST_COLUMNS = 100
_ABOVE = 20  # lines in which the header is looked for

_Line = tuple[int, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Sheet:
    """The header, and each row with the number of its line in the file; of a workbook, which of its sheets it is."""

    header: tuple[str, ...]
    rows: tuple[_Line, ...]
    name: str = ""
    others: tuple[str, ...] = field(default=())
    hollow: frozenset[tuple[int, int]] = field(default=frozenset())  # line and place of cells that hold nothing to read
    delimiter: str = ""  # of a file of text

    @property
    def nameless(self) -> list[int]:
        """The places of columns that hold values under no heading, as below a header cell that spans several."""
        return [
            at for at, heading in enumerate(self.header) if not heading and any(cells[at] for _, cells in self.rows)
        ]


def plain(heading: str) -> str:
    """A heading as it is compared: small letters, everything else underscores."""
    return re.sub(r"[^0-9a-z]+", "_", heading.casefold()).strip("_")


def read(
    name: str, content: bytes, known: Collection[str], *, most_rows: int = MOST_ROWS, largest: int = LARGEST,
    by_cell: bool = False,
) -> Sheet:  # fmt: skip
    """The file's rows. `known` are headings by which the header is found; else it is the first line that is not empty.

    A formula without a result below the header is refused, or with `by_cell` left to the caller to tell with what else is wrong.
    Raises Unreadable, with a sentence for the person.
    """
    if len(content) > largest:
        raise Unreadable(f"The file has {len(content):,} bytes; at most {largest:,} are taken. Split it.")
    sheet, others, hollow, delimiter = "", tuple[str, ...](), list[str](), ""
    if content[:4] == b"PK\x03\x04":
        sheet, others, lines, hollow = _workbook(content, known, most_rows)
    elif name.lower().endswith((".xlsx", ".xlsm")):
        raise Unreadable("It is named as a workbook and is none; save it as XLSX, or name it as the CSV that it is.")
    else:
        text = _decoded(content)
        delimiter = _delimiter(text, known)
        lines = list(_delimited(text, delimiter))
    places = workbooks.places_of(hollow) if by_cell else {}
    broken = {line for line, _ in places.values()}
    lines += [(line, ()) for line in sorted(broken) if line > len(lines)] if sheet else []
    filled = [line for line in lines if any(line[1]) or line[0] in broken]
    if not filled:
        raise Unreadable("The file is empty; expected a header and rows.")
    at = _header_at(filled, known)
    rows = filled[at + 1 :]
    above = [cell for cell in hollow if cell not in places or places[cell][0] <= filled[at][0]]
    if said := workbooks.sentence(above, sheet):
        raise Unreadable(said)
    width = max((len(cells) - _blank_at_end(cells) for _, cells in rows), default=0) if sheet else 0
    header = filled[at][1]
    while len(header) > width and header and not header[-1]:
        header = header[:-1]
    if len(header) > MOST_COLUMNS:
        raise Unreadable(f"The header has {len(header):,} columns; at most {MOST_COLUMNS} are read.")
    if doubled := sorted({one for one in header if one and header.count(one) > 1}):
        raise Unreadable(f"The column “{doubled[0]}” stands twice in the header.")
    if len(rows) > most_rows:
        raise Unreadable(f"The file has {len(rows):,} rows; at most {most_rows:,} are taken at once. Split it.")
    for number, cells in rows:
        if any(cells[len(header) :]):
            raise Unreadable(f"Line {number} has more cells than the header; quote text that holds the delimiter.")
    width = len(header)
    told = tuple((number, (*cells, *[""] * width)[:width]) for number, cells in rows)
    return Sheet(header, told, sheet, others, frozenset(places.values()), delimiter)


def _filled(lines: Sequence[_Line]) -> list[_Line]:
    return [(number, cells) for number, cells in lines if any(cells)]


def _blank_at_end(cells: Sequence[str]) -> int:
    return next((count for count, cell in enumerate(reversed(cells)) if cell), len(cells))


def _header_at(filled: Sequence[_Line], known: Collection[str]) -> int:
    return max(range(min(_ABOVE, len(filled))), key=lambda index: (_score(filled[index][1], known), -index))


def _score(cells: Sequence[str], known: Collection[str]) -> int:
    return len({plain(cell) for cell in cells if cell} & set(known))


def _split(line: str, delimiter: str) -> list[str]:
    return [cell.strip().strip('"') for cell in line.split(delimiter)]


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise Unreadable(f"Line {line} is not UTF-8; save the file as CSV UTF-8, or as XLSX.") from None


def _delimiter(text: str, known: Collection[str]) -> str:
    """What parts the cells: that with which the most headings are known, else the commonest."""
    first = [line for line in text.splitlines()[: 2 * _ABOVE] if line.strip()][:_ABOVE]
    return max(
        ",;\t",
        key=lambda one: max(((_score(_split(line, one), known), line.count(one)) for line in first), default=(0, 0)),
    )


def _delimited(text: str, delimiter: str) -> Iterator[tuple[int, tuple[str, ...]]]:
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


def _workbook(
    content: bytes, known: Collection[str], most_rows: int
) -> tuple[str, tuple[str, ...], list[_Line], list[str]]:
    """The sheet whose header is known best, or the first that holds anything, and its hollow cells; the names of the others."""
    hollow = workbooks.inspect(content, most_rows=most_rows + _ABOVE)
    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(content))
        sheets = {name: _lines_of(book, name) for name in workbooks.shown(book)}
    except (CalamineError, IndexError) as error:
        raise Unreadable(f"The workbook cannot be read ({error}); save it again as XLSX.") from None
    scores = {}
    for name, lines in sheets.items():
        filled = _filled(lines)
        scores[name] = (_score(filled[_header_at(filled, known)][1], known), 1) if filled else (0, 0)
    best = max(sheets, key=lambda name: scores[name], default="")
    others = tuple(name for name in sheets if name != best)
    return best, others, sheets.get(best, []), hollow.get(best, [])


def _lines_of(book: CalamineWorkbook, name: str) -> list[_Line]:
    rows = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
    return [(number, tuple(_text(value).strip() for value in row)) for number, row in enumerate(rows, 1)]


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
