"""Files: CSV and XLSX dropped into the folder of an entity, here or behind SFTP, and the same files uploaded by hand.

Every row is filed as it stands in the file and translated later, so a wrong reading of cells is mended by replaying. A
row that cannot be read waits by itself; a file that cannot be read at all waits as one record and is tried again when
the settings change.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from integrations.connectors.files import folder, mapping
from integrations.connectors.files.faults import FileUnreadable, Problem, RowUnreadable
from integrations.connectors.files.folder import Taken
from integrations.connectors.files.options import SETTINGS, STREAMS, Options
from integrations.connectors.files.places import ARCHIVE, Found, Place, place_of
from integrations.connectors.files.table import Table, file_hash, headings_of, read_table
from integrations.errors import Malformed, Unavailable
from integrations.protocol import Account, Delivery, Hint, Page, Setting, SourceRecord
from portal.records import CanonicalRecord, DocumentRecord

if TYPE_CHECKING:
    from integrations.http import Http

PAGE = 1000  # records
_NAMED_MONTH = re.compile(r"(?<!\d)(20\d{2})[-_.]?(0[1-9]|1[0-2])(?![-_.]?\d)")


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewRow:
    """One row of an upload before it is taken: what it becomes, or why it cannot be read."""

    number: int
    record: SourceRecord
    document: DocumentRecord | None
    problem: Problem | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A whole upload before it is taken, row by row. Filing it means filing `records`."""

    table: Table
    rows: tuple[PreviewRow, ...]

    @property
    def records(self) -> tuple[SourceRecord, ...]:
        """Everything the upload files, the rows that cannot be read included."""
        return tuple(row.record for row in self.rows)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What cannot be read, by row."""
        return tuple(row.problem for row in self.rows if row.problem)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standing:
    """One row that the files now stand for; `series` is the kind of file that brought it."""

    record: SourceRecord
    day: date | None
    series: str

    @property
    def month(self) -> str:
        """The month it belongs to; empty where its day cannot be read."""
        return f"{self.day:%Y-%m}" if self.day else ""


class FilesConnector:
    """One entity's folder, or its uploads. `base_url` is a path, a file:// or an sftp:// address."""

    name = "files"
    settings: tuple[Setting, ...] = SETTINGS
    streams: tuple[str, ...] = STREAMS
    why_untold = "A file takes no message: it is read, and nothing is written back to who made it."
    tombstones = True  # but not where the files are full snapshots: there a row that is gone says so by its absence

    def __init__(self, account: Account, http: Http | None = None) -> None:
        """`http` says which hosts may be called; a folder of this machine is not called."""
        self.account = account
        self.http = http
        self.tombstones = not account.settings.get("snapshot")

    @cached_property
    def options(self) -> Options:
        """The checked settings; raises Malformed naming the setting that cannot be used."""
        return Options.of(self.account)

    @property
    def is_upload_only(self) -> bool:
        """Whether the connection names no folder: its `base_url` is empty or `upload:`."""
        return self.account.base_url in ("", "upload:")

    def place(self) -> Place:
        """Where the files of this connection lie; `with` holds it open."""
        if self.is_upload_only:
            raise FileUnreadable("Files of this connection come by upload only; there is no folder to look into.")
        return place_of(self.account, self.http)

    def check(self) -> str:
        """Say how many files wait in the folder."""
        options = self.options
        if self.is_upload_only:
            return "Files come by upload only; no folder is read."
        with self.place() as place:
            found = place.listing()
            counts = {stream: len(list(folder.complete(place, found, options, stream))) for stream in self.streams}
            return f"Folder {place.name} holds {counts['time']} time files and {counts['expenses']} expense files."

    def fields(self) -> Mapping[str, Sequence[str]]:
        """The headings of the newest file of each stream; nothing where its folder holds none that can be read."""
        if self.is_upload_only:
            return {}
        names = {"time": "time_columns", "expenses": "expense_columns"}
        found: dict[str, Sequence[str]] = {}
        with self.place() as place:
            listing = place.listing()
            for stream in self.streams:
                items = sorted(folder.complete(place, listing, self.options, stream), key=lambda item: item.modified)
                if items and (headings := headings_of(items[-1].name, place.content(items[-1]), self.options, stream)):
                    found[names[stream]] = headings
        return found

    def pull(self, stream: str, since: str | None) -> Iterator[Page]:
        """Every file not taken yet, oldest first. The cursor moves behind a file with that file's last page only."""
        options = self.options
        taken = Taken.of(since)
        if self.is_upload_only:
            yield Page(records=(), cursor=taken.cursor(), last=True)
            return
        with self.place() as place:
            found = place.listing()
            if options.archive:
                folder.archive_taken(place, found, taken)
                found = place.listing()
            taken.forget_gone({item.name for item in found})
            for item in folder.complete(place, found, options, stream):
                side = place.side_file(item)
                reading = folder.reading_of(side, options)
                if taken.knows_untouched(item, reading):
                    continue
                content = place.content(item)
                if taken.repeats(item, file_hash(content), reading):
                    continue
                before = taken.cursor()
                records = self._file(stream, folder.Read(item, content, side, reading), taken)
                yield from _pages(records, before, taken.cursor())
        yield Page(records=(), cursor=taken.cursor(), last=True)

    def _file(self, stream: str, read: folder.Read, taken: Taken) -> list[SourceRecord]:
        """The records of one file, which is then remembered; one record that fails for a file that cannot be read."""
        item = read.item
        options = self.options
        sha256 = file_hash(read.content)
        moment = taken.moment_for(item)
        failed_before = taken.has_failed(sha256)
        try:
            folder.check_side_file(read)
            table = read_table(item.name, read.content, options, stream)
        except FileUnreadable as fault:
            taken.remember(item, sha256, moment, failed_under=read.reading)
            return [mapping.file_record(stream, item.name, sha256, moment, fault.detail)]
        records = mapping.records(table, options, stream, moment)
        mended = [*([sha256] if failed_before else []), *taken.mended_by(item, sha256)]
        records += [mapping.file_record(stream, item.name, one, moment, "") for one in mended]
        taken.remember(item, sha256, moment)
        return records

    def fetch(self, hint: Hint) -> Iterable[SourceRecord]:
        """The latest row with an id among the files that are there; nothing when the files no longer hold it.

        Raises Malformed for a connection that has no folder to look into.
        """
        standing, _ = self._standing(hint.stream)
        return [standing[hint.external_id].record] if hint.external_id in standing else []

    def present(self, stream: str, start: date, end: date) -> Iterator[str]:
        """Ids of the rows with a work date in the range. With full snapshots, the latest file of each month decides.

        Raises Unavailable when a month before the newest snapshot has none, because nothing can be said about it then.
        """
        standing, months = self._standing(stream)
        if self.options.snapshot:
            self._check_months(months, start, end)
        yield from sorted(key for key, row in standing.items() if row.day and start <= row.day <= end)

    def _standing(self, stream: str) -> tuple[dict[str, _Standing], set[str]]:
        """The rows that the files now stand for, by id, and the months of which there is a full snapshot.

        Files whose names differ in digits only are one series; a snapshot replaces earlier ones of its series.
        """
        options = self.options
        standing: dict[str, _Standing] = {}
        months: set[str] = set()
        for item, table in self._tables(stream):
            series = re.sub(r"\d+", "#", item.name.lower())
            rows = [
                _Standing(record=record, day=mapping.work_day(record, options), series=series)
                for record in mapping.records(table, options, stream, item.made_at)
            ]
            covered = self._covered(item, rows) if options.snapshot else set()
            months |= covered
            standing = {key: row for key, row in standing.items() if row.series != series or row.month not in covered}
            standing.update({row.record.external_id: row for row in rows})
        return standing, months

    def _tables(self, stream: str) -> Iterator[tuple[Found, Table]]:
        """Every readable file of a stream that fits its checksum, archived ones included, oldest first."""
        options = self.options
        with self.place() as place:
            found = sorted([*place.listing(), *place.listing(ARCHIVE)], key=lambda item: (item.modified, item.name))
            for item in folder.complete(place, found, options, stream):
                side, content = place.side_file(item), place.content(item)
                try:
                    folder.check_side_file(folder.Read(item, content, side, folder.reading_of(side, options)))
                    table = read_table(item.name, content, options, stream)
                except FileUnreadable as fault:
                    if options.snapshot:
                        raise Unavailable(
                            f"File {item.name} cannot be read, so nothing can be said about deleted rows. {fault.detail}"
                        ) from None
                    continue
                yield item, table

    def _covered(self, item: Found, rows: list[_Standing]) -> set[str]:
        """The months whose every row a snapshot holds: the month in its name, else the months of its rows."""
        if match := _NAMED_MONTH.search(item.name):
            return {f"{match.group(1)}-{match.group(2)}"}
        return {row.month for row in rows if row.month}

    def _check_months(self, months: set[str], start: date, end: date) -> None:
        if not months:
            raise Unavailable(
                f"Folder {self.account.base_url} holds no snapshot, so nothing can be said about deleted rows."
            )
        first = start.replace(day=1)
        while first <= end and f"{first:%Y-%m}" <= max(months):
            if f"{first:%Y-%m}" not in months:
                raise Unavailable(
                    f"No snapshot of {first:%Y-%m} in {self.account.base_url}: deleted rows cannot be told."
                )
            first = (first + timedelta(days=32)).replace(day=1)

    def receive(self, headers: Mapping[str, str], body: bytes) -> Delivery:
        """Files have no webhook."""
        raise Malformed("Files come through the folder or an upload; this connection has no webhook.")

    def map(self, record: SourceRecord) -> Iterable[CanonicalRecord]:
        """Translate one row. Raises Malformed naming row, column, value and expectation, or a whole file's fault."""
        if mapping.check_file(record):
            return []
        return [mapping.document(record, self.options)]

    def preview(self, stream: str, name: str, content: bytes, moment: datetime) -> Preview:
        """Read an upload without taking it. `moment` is when it came; raises Malformed for an unreadable file."""
        options = self.options
        table = read_table(name, content, options, stream)
        rows = []
        for record in mapping.records(table, options, stream, moment):
            try:
                document, problem = mapping.document(record, options), None
            except RowUnreadable as fault:
                document, problem = None, fault.problem
            rows.append(
                PreviewRow(number=int(record.payload["row"]), record=record, document=document, problem=problem)
            )
        return Preview(table=table, rows=tuple(rows))


def _pages(records: list[SourceRecord], before: str, behind: str) -> Iterator[Page]:
    """The records of one file; the cursor moves behind the file with its last page only."""
    for start in range(0, max(1, len(records)), PAGE):
        is_end = start + PAGE >= len(records)
        yield Page(records=records[start : start + PAGE], cursor=behind if is_end else before, last=False)
