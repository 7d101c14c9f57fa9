"""The auditor's pack: what was decided, changed, moved and stopped in a range of days, in one file that proves itself.

The rule here: the pack holds the rows of the entities it names and of the range it states, whole; every file in it stands with
its rows and its SHA-256 in the manifest, and the chain of decisions is walked while it is made, so that the pack says whether
its decisions can be relied on.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import IO, Any

import xlsxwriter

from portal import audit, export, paper
from portal.export import Cell
from portal.models import LegalEntity, User

IN_PDF = 300  # decisions that the summary prints; the CSV has all
_STEP = 2_000  # rows between two signs of life
_USUAL = 16  # letters that a column of the workbook shows
_WIDTHS = {
    ("digest",): 66, ("before", "after", "reason", "sentence", "comment"): 48, ("name", "title", "object"): 30, ("at",): 26,
}  # fmt: skip  # the same, by words in its name


@dataclass(frozen=True, slots=True)
class Range:
    """Whose pack it is: the person, the entities, and the closed range of days (UTC)."""

    person: User
    entities: Sequence[LegalEntity]
    since: date
    until: date

    @property
    def ids(self) -> list[int]:
        """The keys of the entities."""
        return [entity.pk for entity in self.entities]

    @property
    def begins(self) -> datetime:
        """The first moment of the range."""
        return datetime(self.since.year, self.since.month, self.since.day, tzinfo=UTC)

    @property
    def ends(self) -> datetime:
        """The first moment after the range."""
        return datetime(self.until.year, self.until.month, self.until.day, tzinfo=UTC) + timedelta(days=1)

    @property
    def title(self) -> str:
        """What it is called."""
        return f"Auditor's pack {', '.join(entity.code for entity in self.entities)} {self.since} to {self.until}"


@dataclass(frozen=True, slots=True)
class Part:
    """One file of the pack. An app names its parts in `PACK` of its `urls` module."""

    name: str
    title: str
    columns: Sequence[str]
    rows: Callable[[Range], Iterator[Sequence[Cell]]]
    position: int = 50


@dataclass(slots=True)
class _Written:
    """One file as it lies in the pack."""

    name: str
    title: str
    rows: int
    digest: str


@dataclass(slots=True)
class _Making:
    """A pack on its way into a file."""

    of: Range
    archive: zipfile.ZipFile
    book: Any
    bold: Any
    alive: Callable[[int], None]
    dialect: export.Dialect
    rows: int = 0
    files: list[_Written] = field(default_factory=list)
    decisions: list[Sequence[Cell]] = field(default_factory=list)


def write(target: IO[Any], of: Range, parts: Sequence[Part], *, alive: Callable[[int], None]) -> int:
    """Write the pack as a zip; how many rows it holds. `alive` is told how far it is, and may raise to stop it."""
    walked = audit.walk()
    with tempfile.TemporaryFile() as sheets, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        options = {
            "constant_memory": True,
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "remove_timezone": True,
        }
        book = xlsxwriter.Workbook(sheets, options)
        making = _Making(
            of, archive, book, book.add_format({"bold": True}), alive, export.dialect(of.person.preferences)
        )
        for part in sorted(parts, key=lambda one: one.position):
            _write_part(making, part)
        book.close()
        _store(making, "pack.xlsx", "All parts as one workbook", making.rows, sheets)
        with tempfile.TemporaryFile() as summary:
            _write_summary(summary, making, walked)
            _store(making, "summary.pdf", "What this pack holds, and its proof", 0, summary)
        archive.writestr("manifest.json", json.dumps(_manifest(making, walked), indent=2, ensure_ascii=False))
    return making.rows


def _write_part(making: _Making, part: Part) -> None:
    sheet = making.book.add_worksheet(part.title[:31])
    heading = export.Heading(
        title=part.title, filters=[making.of.title], person=making.of.person.get_username(), count=0
    )
    lines = export.csv_rows(making.dialect)
    count = 0
    with tempfile.TemporaryFile() as content:
        content.write(("\ufeff" + lines(part.columns)).encode())
        _lay_out(sheet, part.columns)
        export.write_cells(sheet, 0, part.columns, making.bold)
        for row in part.rows(making.of):
            content.write(lines(row).encode())
            count += 1
            if count < export.EXCEL_ROWS - 1:
                export.write_cells(sheet, count, row)
            if part.name == "decisions" and count <= IN_PDF:
                making.decisions.append(row)
            making.rows += 1
            if making.rows % _STEP == 0:
                making.alive(making.rows)
        _store(making, f"{part.name}.csv", heading.title, count, content)


def _lay_out(sheet: Any, columns: Sequence[str]) -> None:
    """A sheet that is read without dragging its columns: each as wide as what stands in it, and the head always in sight."""
    sheet.freeze_panes(1, 0)
    for at, name in enumerate(columns):
        said = {*name.lower().replace("_", " ").split()}
        width = next((width for words, width in _WIDTHS.items() if said & {*words}), _USUAL)
        sheet.set_column(at, at, max(width, len(name) + 2))


def _store(making: _Making, name: str, title: str, rows: int, content: IO[bytes]) -> None:
    content.seek(0)
    digest = hashlib.sha256()
    with making.archive.open(name, "w", force_zip64=True) as entry:
        while block := content.read(1 << 20):
            digest.update(block)
            entry.write(block)
    making.files.append(_Written(name, title, rows, digest.hexdigest()))


def _manifest(making: _Making, walked: audit.Walk) -> dict[str, Any]:
    of = making.of
    return {
        "pack": of.title,
        "entities": [entity.code for entity in of.entities],
        "since": of.since.isoformat(),
        "until": of.until.isoformat(),
        "made_for": of.person.get_username(),
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "chain": {
            "result": "holds" if walked.holds else "broken", "events": walked.events, "head": walked.head,
            "problems": walked.problems,
        },
        "files": [
            {"name": one.name, "title": one.title, "rows": one.rows, "sha256": one.digest} for one in making.files
        ],
    }  # fmt: skip


def _write_summary(target: IO[Any], making: _Making, walked: audit.Walk) -> None:
    of = making.of
    result = (
        f"The chain holds: {walked.events:,} events, each follows the one before it and none was changed."
        if walked.holds
        else f"THE CHAIN IS BROKEN at {len(walked.problems)} place(s): do not rely on the decisions there."
    )
    blocks: list[paper.Block] = [
        paper.Facts(
            [
                ("Entities", ", ".join(f"{entity.code} {entity.name}" for entity in of.entities)),
                ("Days", f"{of.since} to {of.until}, by UTC"),
                ("Made for", of.person.get_username()),
                ("Made at", f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"),
                ("Chain of decisions", result),
                ("Head digest", paper.Digest(walked.head)),
            ]
        ),
        *walked.problems[:20],
        paper.Heading("What this pack holds"),
        paper.Grid(
            ["File", "What", "Rows", "SHA-256"],
            [[one.name, one.title, f"{one.rows:,}", paper.Digest(one.digest)] for one in making.files],
            [0.18, 0.23, 0.07, 0.52],
        ),
        paper.Heading("Decisions"),
    ]
    if making.decisions:
        shown = [[str(cell or "") for cell in row] for row in making.decisions]
        blocks.append(
            paper.Grid(
                ["Event", "At, by UTC", "Who", "Decision", "About", "Reason"],
                [
                    [row[0], row[1][:19], row[2], audit.in_words(row[3]), f"{audit.noun_of(row[4])} {row[6]}", row[8]]
                    for row in shown
                ],
                [0.07, 0.12, 0.13, 0.16, 0.26, 0.26],
            )
        )
    written = next((one for one in making.files if one.name == "decisions.csv"), None)
    if written is not None and written.rows > len(making.decisions):
        blocks.append(f"The first {len(making.decisions):,} of {written.rows:,}; decisions.csv has all.")
    if not making.decisions:
        blocks.append("No decision was made in these days.")
    paper.write(target, title=of.title, foot=f"{of.title} · head {walked.head[:16]}…", blocks=blocks)
