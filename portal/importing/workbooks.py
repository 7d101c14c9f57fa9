"""A workbook looked at from outside, before the reader that trusts it sees it: its size, and cells that hold nothing to read.

The rule here: a small file may claim a sheet of billions of cells, and a formula may stand without its result. The first is
refused, and so is the second in a sheet that is read; the reader would take it for an empty cell.
"""

from __future__ import annotations

import html
import io
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence

from python_calamine import CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

from portal.importing.problems import Unreadable

_UNPACKED = 100 * 1024 * 1024  # bytes of a workbook, unpacked
_MEMBERS = 200
_NAMED = 5  # cells that a sentence names
_CELL = re.compile(rb"<(?:\w+:)?c\b([^>]*?)(?:/>|>(.*?)</(?:\w+:)?c>)", re.DOTALL)
_REACH = re.compile(rb'<(?:\w+:)?c\b[^>]*?\br="([A-Z]{1,3})(\d{1,9})"[^>]*(?<!/)>')
_AT = re.compile(rb'\br="([A-Z]{1,3}\d{1,9})"')
_FORMULA, _RESULT = re.compile(rb"<(?:\w+:)?f\b"), re.compile(rb"<(?:\w+:)?v\b")
_PLACE = re.compile(r"([A-Z]{1,3})(\d{1,9})")
_SHEET = re.compile(rb"<(?:\w+:)?sheet\b[^>]*>")
_LINK = re.compile(rb"<(?:\w+:)?Relationship\b[^>]*>")
_SHEETS = "xl/worksheets/"

Hollow = Mapping[str, list[str]]  # the name of a sheet to its cells without a value to read


def inspect(content: bytes, *, most_rows: int) -> Hollow:
    """Measure a workbook by unpacking it; the cells with a formula that has no result, or an error. Raises Unreadable."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        members = archive.infolist()
        if len(members) > _MEMBERS:
            raise Unreadable(f"The workbook has {len(members)} parts; at most {_MEMBERS} are read.")
        left = _UNPACKED
        hollow: dict[str, list[str]] = {}
        links: dict[str, bytes] = {}
        for member in members:
            with archive.open(member) as part:
                held = part.read(left + 1)
            left -= len(held)
            if left < 0:
                raise Unreadable("The workbook is too large once unpacked; split it.")
            if member.filename.startswith(_SHEETS):
                _check_reach(held, most_rows)
                hollow[member.filename] = _hollow(held)
            elif member.filename in ("xl/workbook.xml", "xl/_rels/workbook.xml.rels"):
                links[member.filename] = held
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise Unreadable("The workbook is damaged, protected or not whole; save it again as XLSX.") from error
    places = _places(links.get("xl/workbook.xml", b""), links.get("xl/_rels/workbook.xml.rels", b""))
    return {name: hollow.get(place, []) for name, place in places.items()}


def shown(book: CalamineWorkbook) -> list[str]:
    """The names of its sheets of cells that nobody hid, in their order; all of them where every one is hidden."""
    cells = [sheet for sheet in book.sheets_metadata if sheet.typ == SheetTypeEnum.WorkSheet]
    return [one.name for one in cells if one.visible == SheetVisibleEnum.Visible] or [one.name for one in cells]


def places_of(cells: Sequence[str]) -> dict[str, tuple[int, int]]:
    """The line, from 1, and the place in it, from 0, of cells such as B2; those that say no place are left out."""
    found = {}
    for cell in cells:
        if at := _PLACE.fullmatch(cell):
            place = 0
            for letter in at.group(1):
                place = place * 26 + ord(letter) - ord("A") + 1
            found[cell] = (int(at.group(2)), place - 1)
    return found


def sentence(cells: Sequence[str], name: str) -> str:
    """What is to be done about cells of a sheet that hold nothing to read; empty where there are none."""
    if not cells:
        return ""
    more = f" and {len(cells) - _NAMED:,} more" if len(cells) > _NAMED else ""
    hold = "holds" if len(cells) == 1 else "hold"
    return (
        f"{', '.join(cells[:_NAMED])}{more} of the sheet “{name}” {hold} a formula without a result, "
        "or an error such as #N/A. Mend that in the spreadsheet program, let it calculate, and save the file again."
    )


def _hollow(held: bytes) -> list[str]:
    if b't="e"' not in held and not _FORMULA.search(held):
        return []
    found = []
    for attributes, body in _CELL.findall(held):
        if b't="e"' in attributes or (_FORMULA.search(body) and not _RESULT.search(body)):
            at = _AT.search(attributes)
            found.append(at.group(1).decode() if at else "a cell")
    return found


def _places(book: bytes, links: bytes) -> dict[str, str]:
    """The name of each sheet, and the part of the archive that holds it."""
    targets = {}
    for link in _LINK.findall(links):
        known = _attributes(link)
        target = known.get("Target", "").removeprefix("/").removeprefix("xl/")
        targets[known.get("Id", "")] = f"xl/{target}"
    found = {}
    for sheet in _SHEET.findall(book):
        known = _attributes(sheet)
        found[known.get("name", "")] = targets.get(known.get("id", ""), "")
    return found


def _attributes(element: bytes) -> dict[str, str]:
    """Its attributes by their names without a prefix."""
    held = re.findall(rb'(?:\w+:)?(\w+)\s*=\s*"([^"]*)"', element)
    return {name.decode(): html.unescape(value.decode("utf-8", "replace")) for name, value in held}


def _check_reach(held: bytes, most_rows: int) -> None:
    for column, row in _REACH.findall(held):
        if int(row) > most_rows or len(column) > 2:
            raise Unreadable(
                f"The sheet reaches to {column.decode()}{row.decode()}; at most {most_rows:,} rows are taken at once. Split it, "
                "or delete what stands below and beside the data."
            )
