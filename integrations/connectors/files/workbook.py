"""XLSX: bytes to rows of cells, after the package was looked at from outside.

A workbook is a zip that a stranger made. Its members are counted, measured by really unpacking them, and searched for
what no time sheet needs, before the reader that trusts it sees it: a small file may claim a sheet of billions of cells.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from html import unescape
from typing import Any

from python_calamine import CalamineError, CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

from integrations.connectors.files.cells import Cell, from_duration, from_number
from integrations.connectors.files.faults import FileUnreadable

MAX_UNPACKED = 100 * 1024 * 1024
MAX_MEMBERS = 200
MAX_RATIO = 100
MAX_ROWS = 100_000
MAX_COLUMNS = 256
MAX_TEXT = 50_000_000  # characters of all cells together, repeated texts counted each time
_SMALL = 100_000  # bytes unpacked under which a ratio says nothing

_REACH = re.compile(rb"\br\s*=\s*[\"']([A-Za-z]{0,4})(\d{1,9})[\"']")
_ERROR = re.compile(rb"<(?:\w+:)?c\s[^>]*?\bt\s*=\s*[\"']e[\"'][^>]*>")
_PLACE = re.compile(rb"\br\s*=\s*[\"']([A-Z]+\d+)[\"']")
_SHARED = re.compile(rb"\bt\s*=\s*[\"']s[\"'][^>]*>\s*<(?:\w+:)?v>\s*(\d{1,9})")


@dataclass(slots=True)
class _Package:
    """What was found while unpacking: the failing cells of each sheet part, and the length of each shared text."""

    errors: dict[str, set[str]] = field(default_factory=dict)
    shared: list[int] = field(default_factory=list)
    used: list[int] = field(default_factory=list)  # indexes of shared texts, one per cell that shows one
    parts: dict[str, bytes] = field(default_factory=dict)  # the two small parts that name the sheets


def rows(content: bytes, sheet: str) -> tuple[str, Iterator[list[Cell]]]:
    """The name of the sheet that is read, and its rows from the first on. Raises FileUnreadable."""
    package = _inspect(content)
    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(content))
        name = _sheet(book, sheet)
        cells = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
    except CalamineError as error:
        raise FileUnreadable(f"The workbook cannot be read ({error}); save it again as XLSX.") from error
    errors = package.errors.get(_part_of(package.parts, name), set())
    return name, _typed(cells, errors)


def _typed(cells: list[list[Any]], errors: set[str]) -> Iterator[list[Cell]]:
    places = {_position(place) for place in errors}
    for number, row in enumerate(cells):
        yield [
            {"error": "formula error"} if (number, column) in places else _cell(value)
            for column, value in enumerate(row)
        ]


def _cell(value: Any) -> Cell:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return {"flag": value}
    if isinstance(value, int | float):
        return from_number(float(value))
    if isinstance(value, datetime):
        return {"moment": value.isoformat()}
    if isinstance(value, date):
        return {"date": value.isoformat()}
    if isinstance(value, time):
        return {"seconds": value.hour * 3600 + value.minute * 60 + value.second}
    if isinstance(value, timedelta):
        return from_duration(value)
    return str(value)


def _sheet(book: CalamineWorkbook, wanted: str) -> str:
    sheets = [data for data in book.sheets_metadata if data.typ == SheetTypeEnum.WorkSheet]
    names = [data.name for data in sheets]
    if wanted:
        for name in names:
            if name.strip().casefold() == wanted.strip().casefold():
                return name
        raise FileUnreadable(f"The workbook has no sheet “{wanted}”; it has {', '.join(names) or 'none'}.")
    for data in sheets:
        if data.visible == SheetVisibleEnum.Visible:
            return str(data.name)
    raise FileUnreadable("The workbook has no visible sheet.")


def _inspect(content: bytes) -> _Package:
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, struct.error) as error:
        raise FileUnreadable("The workbook is damaged or was not sent whole; send it again.") from error
    if len(members) > MAX_MEMBERS:
        raise FileUnreadable(f"The workbook has {len(members)} parts; at most {MAX_MEMBERS} are read.")
    if "[Content_Types].xml" not in archive.namelist():
        raise FileUnreadable("The file is a zip archive but not a workbook; save it as XLSX.")
    package = _Package()
    total = 0
    for member in members:
        _check_name(member)
        data = _unpack(content, member, MAX_UNPACKED - total)
        total += len(data)
        if len(data) > _SMALL and len(data) > MAX_RATIO * max(1, member.compress_size):
            raise FileUnreadable(
                f"Part {member.filename} of the workbook is packed more than {MAX_RATIO} times; it is not read."
            )
        _look_into(package, member.filename, data)
    _check_text(package)
    return package


def _check_name(member: zipfile.ZipInfo) -> None:
    name = member.filename
    lowered = name.lower()
    if name.startswith("/") or "\\" in name or ".." in name.split("/"):
        raise FileUnreadable("The workbook has a part with a path in its name; it is not read.")
    if member.flag_bits & 1:
        raise FileUnreadable("The workbook is protected by a password; save it without one.")
    if "vbaproject" in lowered or "/macrosheets/" in lowered:
        raise FileUnreadable("The workbook holds macros; save it as XLSX without them.")
    if "/embeddings/" in lowered or lowered.endswith((".zip", ".bin.zip", ".exe", ".dll")):
        raise FileUnreadable("The workbook holds an embedded file; remove it and save again.")


def _unpack(content: bytes, member: zipfile.ZipInfo, room: int) -> bytes:
    """The member's real bytes, whatever size its directory entry claims; raises when there are more than `room`."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise FileUnreadable("The workbook is packed in an unusual way; save it again as XLSX.")
    try:
        names, extra = struct.unpack_from("<HH", content, member.header_offset + 26)
    except struct.error as error:
        raise FileUnreadable("The workbook is damaged; send it again.") from error
    start = member.header_offset + 30 + names + extra
    packed = content[start : start + member.compress_size]
    if member.compress_type == zipfile.ZIP_STORED:
        data = packed
    else:
        try:
            data = zlib.decompressobj(-15).decompress(packed, room + 1)
        except zlib.error as error:
            raise FileUnreadable("The workbook is damaged; send it again.") from error
    if len(data) > room:
        raise FileUnreadable(f"The workbook unpacks to more than {MAX_UNPACKED // 1024 // 1024} MB; it is not read.")
    if data.startswith(b"PK\x03\x04"):
        raise FileUnreadable("The workbook holds another archive; remove it and save again.")
    return data


def _look_into(package: _Package, name: str, data: bytes) -> None:
    if not name.lower().endswith((".xml", ".rels")):
        return
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise FileUnreadable(f"Part {name} of the workbook declares entities; it is not read.")
    if name == "[Content_Types].xml" and b"macroEnabled" in data:
        raise FileUnreadable("The workbook holds macros; save it as XLSX without them.")
    if name in ("xl/workbook.xml", "xl/_rels/workbook.xml.rels"):
        package.parts[name] = data
    elif name.lower().endswith("sharedstrings.xml"):
        package.shared = [len(part) for part in data.split(b"si>")[1::2]]
    elif name.startswith("xl/worksheets/") and name.endswith(".xml"):
        _check_reach(data)
        package.used += [int(index) for index in _SHARED.findall(data)]
        failing = {place.group(1).decode() for tag in _ERROR.findall(data) if (place := _PLACE.search(tag))}
        package.errors[name] = failing


def _check_reach(data: bytes) -> None:
    """Refuse a sheet whose outermost cell lies too far out, before memory for all cells before it is taken."""
    places = set(_REACH.findall(data))
    last_row = max((int(row) for _, row in places), default=0)
    last_column = max((_column(letters.decode().upper()) for letters, _ in places if letters), default=0)
    if max(last_row, data.count(b"<row")) > MAX_ROWS:
        raise FileUnreadable(f"A sheet reaches to row {last_row}; at most {MAX_ROWS} rows are read. Split the file.")
    if last_column > MAX_COLUMNS:
        raise FileUnreadable(f"A sheet reaches to column {last_column}; at most {MAX_COLUMNS} columns are read.")
    for row in data.split(b"<row")[1:] if data.count(b"<c") > MAX_COLUMNS else ():
        if row.count(b"<c ") + row.count(b"<c>") + row.count(b"<c/") > MAX_COLUMNS:
            raise FileUnreadable(f"A row has more than {MAX_COLUMNS} cells; it is not read.")


def _check_text(package: _Package) -> None:
    lengths = package.shared
    total = sum(lengths[index] for index in package.used if index < len(lengths))
    if total > MAX_TEXT:
        raise FileUnreadable(f"The texts of the workbook add up to more than {MAX_TEXT} characters; split the file.")


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number


def _position(place: str) -> tuple[int, int]:
    """A1 as row and column from zero."""
    letters = place.rstrip("0123456789")
    return int(place[len(letters) :]) - 1, _column(letters) - 1


def _part_of(parts: Mapping[str, bytes], sheet: str) -> str:
    """The package part that holds a sheet; empty when the workbook does not say."""
    wanted = ""
    for attributes in _elements(parts.get("xl/workbook.xml", b""), "sheet"):
        if attributes.get("name") == sheet:
            wanted = attributes.get("id", "")
    for attributes in _elements(parts.get("xl/_rels/workbook.xml.rels", b""), "Relationship"):
        if wanted and attributes.get("Id") == wanted:
            target = attributes.get("Target", "")
            return target.lstrip("/") if target.startswith("/") else f"xl/{target}"
    return ""


def _elements(part: bytes, name: str) -> Iterator[dict[str, str]]:
    """The attributes, without their prefixes, of every element with a name; read without expanding anything."""
    for tag in re.findall(rf"<(?:\w+:)?{name}\s([^>]*)>", part.decode("utf-8", errors="replace")):
        yield {key: unescape(value) for key, _, value in re.findall(r"(?:\w+:)?(\w+)\s*=\s*([\"\'])(.*?)\2", tag)}
