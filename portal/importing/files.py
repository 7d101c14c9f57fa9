"""A folder of CSV files, one per table. The rule here: a column or file that nobody knows is refused, not passed over.

UTF-8, with a header; separated by commas, or by semicolons where the header is. Decimals are always written with a point.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

from portal.importing.load import Load
from portal.importing.problems import FilePlace, Problem
from portal.importing.tables import Table

_LARGEST = 50 * 1024 * 1024  # bytes; some 500,000 rates


def read(load: Load, folder: Path) -> None:
    """Put the rows of every file of the folder into the load. What cannot be read becomes a problem of the load."""
    if not folder.is_dir():
        load.problems.append(Problem(str(folder), "", "is not a folder; name the folder that holds the CSV files."))
        return
    names = sorted(path.name for path in folder.iterdir() if path.suffix.lower() == ".csv")
    known = {f"{name}.csv": name for name in load.order}
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(sorted(known))}."
            load.problems.append(Problem(name, "", f"is not a file of master data; {hint}"))
        else:
            _read_file(load, load.tables[known[name]], folder / name)
    if not names:
        load.problems.append(Problem(str(folder), "", "holds no CSV file."))


def _read_file(load: Load, table: Table, path: Path) -> None:
    before = len(load.problems)
    text = _text(load, path)
    rows = list(_records(load, table, path.name, text)) if text is not None else []
    if len(load.problems) > before:
        load.unreadable.add(table.name)
    load.add(table.name, rows)


def _text(load: Load, path: Path) -> str | None:
    if path.stat().st_size > _LARGEST:
        load.problems.append(Problem(path.name, "", f"is larger than {_LARGEST // 1024 // 1024} MB; split it."))
        return None
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        place = FilePlace(path.name, line).at()
        message = f"is not UTF-8 (byte {content[error.start]:#04x}); save the file as CSV UTF-8."
        load.problems.append(Problem(place, "", message))
        return None


def _records(load: Load, table: Table, name: str, text: str) -> Iterator[tuple[FilePlace, dict[str, str]]]:
    """Every record with its line; nothing when the header will not do."""
    first = text.partition("\n")[0]
    separator = ";" if ";" in first and "," not in first else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    header: list[str] | None = None
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            message = f"cannot be read as CSV ({error}); look for an unclosed quotation mark."
            load.problems.append(Problem(FilePlace(name, line).at(), "", message))
            return
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header = [cell.strip() for cell in cells]
            if not _header_will_do(load, table, FilePlace(name, line), header):
                return
        elif len(cells) != len(header):
            message = (
                f"has {len(cells)} cells where the header has {len(header)}; quote text that holds a “{separator}”."
            )
            load.problems.append(Problem(FilePlace(name, line).at(), "", message))
        else:
            yield FilePlace(name, line), dict(zip(header, cells, strict=True))
    if header is None:
        load.problems.append(Problem(name, "", "is empty; expected a header."))


def _header_will_do(load: Load, table: Table, place: FilePlace, header: Sequence[str]) -> bool:
    known = {column.name for column in table.columns}
    problems = [
        *(_unknown(place, name, known) for name in header if name not in known),
        *(
            Problem(place.at(), name, "stands twice in the header.")
            for name in sorted(set(header))
            if header.count(name) > 1
        ),
        *(
            Problem(place.at(), "", f"the column {column.name} is missing; {table.noun} needs it ({column.help}).")
            for column in table.columns
            if column.required and column.name not in header
        ),
    ]
    load.problems.extend(problems)
    return not problems


def _unknown(place: FilePlace, name: str, known: set[str]) -> Problem:
    near = get_close_matches(name.lower(), known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"expected among {', '.join(sorted(known))}."
    return Problem(place.at(), name, f"is not a column of this file; {hint}")
