"""Files: what is taken from a folder, once; identity, revisions and deletions without an API.

Every story is told twice: of a folder of this machine, and of the same folder behind a real SFTP server.
"""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pytest

from integrations.connectors.files import connector as files
from integrations.connectors.files.connector import FilesConnector
from integrations.errors import ConnectorError, Malformed, Unauthorised, Unavailable
from integrations.http import Http
from integrations.protocol import Account, Hint, Page, Source, SourceRecord
from portal.records import TimeEntryRecord
from tests.integrations.sftp_server import Server

HEAD = "person,date,project,task,hours,rate,currency,billable,description\n"


class Folder:
    """A folder of one entity with a connector on it; files are old enough to be read unless said otherwise."""

    server: ClassVar[Server | None] = None  # through which the folder is read; None: as it is

    def __init__(self, path: Path, **settings: Any) -> None:
        self.path = path
        self.account = Account(code="files-de", base_url=str(path), zone="Europe/Berlin", settings=settings)
        if self.server is not None:
            self.account = self.server.account(path, **settings)
        self.cursor: str | None = None
        self.clock = 1_770_000_000

    @property
    def connector(self) -> FilesConnector:
        return FilesConnector(self.account, Http(self.account, allow_loopback=True))

    def drop(self, name: str, *rows: str, head: str = HEAD, at: int | None = None) -> Path:
        path = self.path / name
        path.write_text(head + "".join(f"{row}\n" for row in rows))
        self.clock += 60
        os.utime(path, (at or self.clock, at or self.clock))
        return path

    def pages(self, stream: str = "time", since: str | None = None) -> list[Page]:
        return list(self.connector.pull(stream, since))

    def take(self, stream: str = "time") -> list[SourceRecord]:
        pages = self.pages(stream, self.cursor)
        assert [page.last for page in pages] == [False] * (len(pages) - 1) + [True]
        self.cursor = pages[-1].cursor
        return [record for page in pages for record in page.records]

    def read(self, record: SourceRecord) -> TimeEntryRecord:
        [entry] = self.connector.map(json_round(record))
        assert isinstance(entry, TimeEntryRecord)
        return entry


def json_round(record: SourceRecord) -> SourceRecord:
    return SourceRecord(
        stream=record.stream,
        external_id=record.external_id,
        revision=record.revision,
        payload=json.loads(json.dumps(record.payload)),
    )


def line(day: int = 3, hours: str = "7.5", person: str = "M-7", text: str = "", project: str = "P1") -> str:
    return f"{person},2026-03-{day:02d},{project},Build,{hours},120,EUR,yes,{text}"


@pytest.fixture(autouse=True, params=["local", "sftp"])
def _place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "sftp":
        monkeypatch.setattr(Folder, "server", request.getfixturevalue("sftp_server"))


LOCAL = pytest.mark.parametrize("_place", ["local"], indirect=True)  # the server's own way is in test_files_sftp.py


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_the_connector_is_a_source(folder: Folder) -> None:
    assert isinstance(folder.connector, Source)
    assert folder.connector.tombstones


def test_rows_of_a_file_become_records_that_know_where_they_stand(folder: Folder) -> None:
    path = folder.drop("time-03.csv", line(3), line(4, text="a, b".replace(",", ";")))
    first, second = folder.take()
    assert first.payload["file"] == "time-03.csv"
    assert first.payload["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [first.payload["row"], second.payload["row"]] == [2, 3]
    assert first.payload["cells"]["hours"] == "7.5"
    entry = folder.read(first)
    assert (entry.hours, entry.work_date, entry.zone) == (Decimal("7.5"), date(2026, 3, 3), "Europe/Berlin")
    assert (entry.external_id, entry.revision) == (first.external_id, first.revision)


def test_files_of_the_other_stream_and_foreign_names_are_left_alone(folder: Folder) -> None:
    folder.drop("time.csv", line())
    folder.drop("readme.txt", "hello")
    folder.drop("expenses.csv", "M-7,2026-03-03,P1,10,Taxi,EUR", head="person,date,project,amount,category,currency\n")
    assert len(folder.take("time")) == 1
    folder.cursor = None
    assert [record.payload["cells"]["category"] for record in folder.take("expenses")] == ["Taxi"]


def test_a_file_that_was_taken_is_not_taken_again(folder: Folder) -> None:
    folder.drop("time.csv", line())
    assert len(folder.take()) == 1
    assert folder.take() == []


@pytest.mark.case(117)
def test_a_copy_under_another_name_is_the_same_file(folder: Folder) -> None:
    folder.drop("time.csv", line())
    folder.take()
    folder.drop("time-again.csv", line())
    assert folder.take() == []
    assert folder.take() == []


@pytest.mark.case(3)
def test_an_unchanged_line_in_a_later_file_is_the_same_document_and_a_changed_one_its_later_revision(
    folder: Folder,
) -> None:
    folder.drop("time-1.csv", line(3), line(4))
    [first, second] = folder.take()
    folder.drop("time-2.csv", line(5), line(4, hours="6"), line(3))
    later = {record.external_id: record for record in folder.take()}
    assert set(later) > {first.external_id, second.external_id}
    assert later[second.external_id].revision > second.revision
    assert folder.read(later[second.external_id]).hours == Decimal(6)
    unchanged = folder.read(later[first.external_id])
    assert unchanged.hours == folder.read(first).hours


def test_a_later_file_wins_even_when_its_clock_is_behind(folder: Folder) -> None:
    folder.drop("time-1.csv", line(3))
    [first] = folder.take()
    folder.drop("time-2.csv", line(3, hours="1"), at=folder.clock - 86_400)
    [second] = folder.take()
    assert second.external_id == first.external_id
    assert second.revision > first.revision


def test_repeated_lines_of_one_day_stay_separate_documents(folder: Folder) -> None:
    folder.drop("time.csv", line(3, hours="1"), line(3, hours="2"), line(3, hours="1"))
    records = folder.take()
    assert len({record.external_id for record in records}) == 3
    assert [record.external_id[-2:] for record in records] == ["-1", "-2", "-3"]


def test_the_same_day_written_in_another_format_is_the_same_line(folder: Folder) -> None:
    folder.drop("time-1.csv", line(3))
    [first] = folder.take()
    folder.drop("time-2.csv", line(3).replace("2026-03-03", "03.03.2026").replace("M-7", "m-7 "))
    [second] = folder.take()
    assert second.external_id == first.external_id


@pytest.mark.case(7)
def test_the_same_id_twice_in_a_file_is_collapsed_and_with_other_values_refused(folder: Folder) -> None:
    head = "id,person,date,project,hours\n"
    folder.drop(
        "time.csv",
        "4711,M-7,2026-03-03,P1,1",
        "4711,M-7,2026-03-03,P1,1",
        "4712,M-7,2026-03-03,P1,1",
        "4712,M-7,2026-03-03,P1,9",
        head=head,
    )
    records = folder.take()
    assert [record.external_id for record in records] == ["4711", "4712", "4712/row-5"]
    with pytest.raises(Malformed, match="Row 5, column “id”: “4712” is not its own: row 4 has the same id"):
        list(folder.connector.map(records[2]))


def test_the_files_own_revision_column_orders_revisions(folder: Folder) -> None:
    head = "id,person,date,project,hours,revision\n"
    folder.drop("time-1.csv", "4711,M-7,2026-03-03,P1,1,9", head=head)
    folder.drop(
        "time-2.csv", "4711,M-7,2026-03-03,P1,2,10", "4712,M-7,2026-03-03,P1,2,2026-03-04T10:00:00+01:00", head=head
    )
    first, second, third = folder.take()
    assert first.revision < second.revision
    assert third.revision.startswith("2026-03-04T09:00:00.000000Z-")


def test_a_row_that_cannot_be_read_is_filed_and_mended_by_replaying_with_other_settings(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.drop("time.csv", line(3).replace("2026-03-03", "03/04/2026"), line(4))
    bad, good = folder.take()
    assert bad.external_id.startswith("unread-")
    with pytest.raises(Malformed, match="Row 2, column “date”: “03/04/2026” is not a clear date"):
        list(folder.connector.map(bad))
    assert folder.read(good).work_date == date(2026, 3, 4)
    mended = Folder(tmp_path, date_formats="MM/DD/YYYY, YYYY-MM-DD")
    entry = mended.read(bad)
    assert entry.work_date == date(2026, 3, 4)
    mended.drop("time-2.csv", line(4).replace("2026-03-04", "03/04/2026"))
    assert entry.external_id in {record.external_id for record in mended.take()}


@pytest.mark.case(12)
@pytest.mark.parametrize("name", ["time.csv.part", "time.csv.tmp", ".time.csv", "~$time.xlsx", "time.filepart"])
def test_a_file_under_a_name_of_something_unfinished_is_left_alone(folder: Folder, name: str) -> None:
    folder.drop(name, line())
    assert folder.take() == []


@pytest.mark.case(12)
@LOCAL
def test_a_file_that_is_still_being_written_is_left_alone_until_it_rests(folder: Folder) -> None:
    path = folder.drop("time.csv", line(), at=int(datetime.now(UTC).timestamp()))
    assert folder.take() == []
    os.utime(path, (folder.clock, folder.clock))
    assert len(folder.take()) == 1


@pytest.mark.case(12)
def test_a_file_beside_its_own_partial_upload_is_left_alone(folder: Folder) -> None:
    folder.drop("time.csv", line())
    folder.drop("time.csv.part", line())
    assert folder.take() == []


@pytest.mark.case(12)
def test_a_checksum_that_does_not_fit_stops_the_file_until_it_was_sent_whole(folder: Folder) -> None:
    path = folder.drop("time.csv", line(3), line(4))
    whole = hashlib.sha256(path.read_bytes()).hexdigest()
    folder.drop("time.csv", line(3))
    (folder.path / "time.csv.sha256").write_text(f"{whole}  time.csv\n")
    [failed] = folder.take()
    with pytest.raises(Malformed, match=r"File “time\.csv”: The content does not fit the checksum"):
        list(folder.connector.map(failed))
    assert folder.take() == []
    folder.drop("time.csv", line(3), line(4))
    *rows, mended = folder.take()
    assert len(rows) == 2
    assert (mended.external_id, mended.payload["fault"]) == (failed.external_id, "")  # nobody has to look any more
    assert mended.revision > failed.revision
    folder.drop("time.csv", line(3))  # sent in part once more
    [again] = folder.take()
    assert (again.external_id, again.revision > mended.revision) == (failed.external_id, True)
    with pytest.raises(Malformed, match="does not fit the checksum"):
        list(folder.connector.map(again))


@pytest.mark.case(12)
def test_a_snapshot_that_does_not_fit_its_checksum_says_nothing_about_deletions(tmp_path: Path) -> None:
    folder = Folder(tmp_path, snapshot="month")
    path = folder.drop("time-2026-03.csv", line(3), line(4), line(5))
    whole = hashlib.sha256(path.read_bytes()).hexdigest()
    march = ("time", date(2026, 3, 1), date(2026, 3, 31))
    assert len(list(folder.connector.present(*march))) == 3
    folder.drop("time-2026-03.csv", line(3))
    (folder.path / "time-2026-03.csv.sha256").write_text(f"{whole}  time-2026-03.csv\n")
    with pytest.raises(Unavailable, match=r"nothing can be said about deleted rows.*does not fit the checksum"):
        list(folder.connector.present(*march))
    with pytest.raises(Unavailable, match="so nothing can be said about deleted rows"):
        folder.connector.fetch(Hint(stream="time", external_id="any"))


def test_with_required_checksums_a_file_waits_for_its_side_file(tmp_path: Path) -> None:
    folder = Folder(tmp_path, require_checksum=True)
    path = folder.drop("time.csv", line())
    assert folder.take() == []
    (folder.path / "time.csv.sha256").write_text(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(folder.take()) == 1


@pytest.mark.case(70)
def test_a_file_that_cannot_be_read_waits_as_one_record_and_the_others_flow(folder: Folder) -> None:
    (folder.path / "time-1.xlsx").write_bytes(b"PK\x03\x04 not really")
    os.utime(folder.path / "time-1.xlsx", (folder.clock, folder.clock))
    folder.drop("time-2.csv", line())
    failed, good = folder.take()
    with pytest.raises(Malformed, match=r"File “time-1\.xlsx”: The workbook is damaged"):
        list(folder.connector.map(failed))
    assert folder.read(good).hours == Decimal("7.5")
    assert folder.take() == []


def test_a_file_that_failed_is_tried_again_when_the_settings_change_and_settles_its_record(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.drop("time.csv", "M-7,2026-03-03,P1,1", head="Wer,Wann,Was,Stunden\n")
    [failed] = folder.take()
    columns = {"person": "Wer", "date": "Wann", "project": "Was", "hours": "Stunden"}
    mended = Folder(tmp_path, time_columns=columns)
    mended.cursor = folder.cursor
    row, settled = mended.take()
    assert mended.read(row).hours == 1
    assert settled.external_id == failed.external_id
    assert settled.revision > failed.revision
    assert list(mended.connector.map(settled)) == []
    assert mended.take() == []


@pytest.mark.case(12)
def test_the_cursor_moves_behind_a_file_only_with_its_last_page(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PAGE", 2)
    folder.drop("time.csv", *(line(day) for day in range(1, 6)))
    pages = folder.pages()
    assert [len(page.records) for page in pages] == [2, 2, 1, 0]
    again = folder.pages(since=pages[1].cursor)
    assert [len(page.records) for page in again] == [2, 2, 1, 0]
    assert [r for p in again for r in p.records] == [r for p in pages for r in p.records]
    assert [len(page.records) for page in folder.pages(since=pages[2].cursor)] == [0]


def test_files_stay_where_they_are_and_are_archived_only_when_asked_and_filed(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    path = folder.drop("time.csv", line())
    folder.take()
    folder.take()
    assert path.exists()
    keeper = Folder(tmp_path, archive=True)
    keeper.take()
    assert path.exists(), "nothing is moved before the cursor that remembers it is stored"
    keeper.take()
    assert not path.exists()
    assert (tmp_path / "archive" / "time.csv").exists()
    keeper.drop("time.csv", line(), line(4))
    assert len(keeper.take()) == 2
    keeper.take()
    assert len(list((tmp_path / "archive").iterdir())) == 2


@pytest.mark.case(1)
def test_a_row_that_is_gone_from_a_later_full_snapshot_is_no_longer_present(tmp_path: Path) -> None:
    folder = Folder(tmp_path, snapshot="month")
    assert not folder.connector.tombstones
    folder.drop("time-2026-03.csv", line(3), line(4))
    folder.drop("time-2026-02.csv", line(3).replace("2026-03", "2026-02"))
    first, second, february = folder.take()
    start, end = date(2026, 2, 1), date(2026, 3, 31)
    assert set(folder.connector.present("time", start, end)) == {
        first.external_id,
        second.external_id,
        february.external_id,
    }
    folder.drop("time-2026-03.csv", line(4))
    assert set(folder.connector.present("time", start, end)) == {second.external_id, february.external_id}
    assert list(folder.connector.present("time", date(2026, 3, 4), date(2026, 3, 4))) == [second.external_id]
    assert list(folder.connector.fetch(Hint(stream="time", external_id=first.external_id))) == []
    [again] = folder.connector.fetch(Hint(stream="time", external_id=second.external_id))
    assert again.external_id == second.external_id


@pytest.mark.case(14)
def test_a_month_without_a_snapshot_says_nothing_about_deletions(tmp_path: Path) -> None:
    folder = Folder(tmp_path, snapshot="month")
    with pytest.raises(Unavailable, match="holds no snapshot"):
        list(folder.connector.present("time", date(2026, 3, 1), date(2026, 3, 31)))
    folder.drop("time-2026-04.csv", line(3).replace("2026-03", "2026-04"))
    with pytest.raises(Unavailable, match="No snapshot of 2026-03"):
        list(folder.connector.present("time", date(2026, 3, 1), date(2026, 4, 30)))
    (folder.path / "time-2026-03.xlsx").write_bytes(b"PK\x03\x04 not really")
    os.utime(folder.path / "time-2026-03.xlsx", (folder.clock, folder.clock))
    with pytest.raises(Unavailable, match="cannot be read, so nothing can be said"):
        list(folder.connector.present("time", date(2026, 3, 1), date(2026, 4, 30)))


def test_snapshots_of_two_departments_do_not_delete_each_others_rows(tmp_path: Path) -> None:
    folder = Folder(tmp_path, snapshot="month")
    folder.drop("time-2026-03-berlin.csv", line(3))
    folder.drop("time-2026-03-munich.csv", line(3, person="M-8"))
    present = list(folder.connector.present("time", date(2026, 3, 1), date(2026, 3, 31)))
    assert len(present) == 2
    for external_id in present:
        assert list(folder.connector.fetch(Hint(stream="time", external_id=external_id)))


def test_a_month_that_a_snapshot_names_and_leaves_empty_has_no_rows(tmp_path: Path) -> None:
    folder = Folder(tmp_path, snapshot="month")
    folder.drop("time-2026-03.csv", line(3))
    folder.drop("time-2026-03.csv")
    assert list(folder.connector.present("time", date(2026, 3, 1), date(2026, 3, 31))) == []


@LOCAL
@pytest.mark.case(132)
def test_a_missing_folder_is_unavailable_and_a_foreign_address_malformed(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="does not exist"):
        Folder(tmp_path / "nowhere").connector.check()
    for address in ("sftp://host/in", "file://elsewhere/in"):
        with pytest.raises(ConnectorError):
            FilesConnector(Account(code="x", base_url=address)).check()
    assert FilesConnector(Account(code="x", base_url=tmp_path.as_uri())).check().endswith("0 expense files.")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@LOCAL
def test_a_folder_that_may_not_be_read_is_unauthorised(tmp_path: Path) -> None:
    tmp_path.chmod(0)
    try:
        with pytest.raises(Unauthorised):
            Folder(tmp_path).connector.check()
    finally:
        tmp_path.chmod(0o700)


def test_links_are_not_followed_out_of_the_folder(tmp_path: Path) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    outside = Folder(tmp_path)
    outside.drop("secret.csv", line())
    (inside / "time.csv").symlink_to(tmp_path / "secret.csv")
    assert Folder(inside).take() == []


@pytest.mark.parametrize("address", ["", "upload:"])
def test_an_upload_only_connection_reads_no_folder_and_files_its_preview(address: str) -> None:
    connector = FilesConnector(Account(code="upload-sg", base_url=address))
    with pytest.raises(Malformed, match="no folder to look into"):
        connector.fetch(Hint(stream="time", external_id="1"))
    assert connector.check() == "Files come by upload only; no folder is read."
    [page] = connector.pull("time", None)
    assert (page.records, page.last) == ((), True)
    shown = connector.preview(
        "time", "time.csv", (HEAD + line(3) + "\n" + line(33) + "\n").encode(), datetime(2026, 4, 1, tzinfo=UTC)
    )
    assert [row.number for row in shown.rows] == [2, 3]
    assert [row.document is None for row in shown.rows] == [False, True]
    assert [problem.row for problem in shown.problems] == [3]
    assert len(shown.records) == 2


def test_an_upload_and_the_folder_give_the_same_line_the_same_identity(folder: Folder) -> None:
    path = folder.drop("time.csv", line(3))
    [record] = folder.take()
    shown = folder.connector.preview("time", "other.csv", path.read_bytes(), datetime.now(UTC))
    assert shown.records[0].external_id == record.external_id


def test_files_have_no_webhook(folder: Folder) -> None:
    with pytest.raises(Malformed, match="no webhook"):
        folder.connector.receive({}, b"")
    with pytest.raises(Malformed, match="cursor of the folder"):
        folder.pages(since="yesterday")
