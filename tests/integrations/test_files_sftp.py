"""Files behind a real sshd: half an upload, checksums, keys of the host, a wire that is cut, and clocks that differ."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from integrations import inbox, sftp, streams
from integrations.connectors.files.connector import FilesConnector
from integrations.errors import ConnectorError, Malformed, Unauthorised, Unavailable
from integrations.http import Http
from integrations.http.addresses import ForbiddenAddress
from integrations.models import Run, Stream
from integrations.protocol import Account, Page, SourceRecord
from portal.models import TimeEntry
from tests import world
from tests.integrations.contract import SourcePromises
from tests.integrations.sftp_server import Server, Wire
from tests.integrations.test_files_folder import HEAD, line


class Drop:
    """A folder behind the server, and a connector on it with the cursor that a run would store."""

    def __init__(self, server: Server, path: Path, **settings: Any) -> None:
        self.server = server
        self.path = path
        self.account = server.account(path, **{"settle_seconds": 0, **settings})
        self.cursor: str | None = None

    def having(self, **settings: Any) -> None:
        self.account = replace(self.account, settings={**self.account.settings, **settings})

    @property
    def connector(self) -> FilesConnector:
        return FilesConnector(self.account, Http(self.account, allow_loopback=True))

    def put(self, name: str, *rows: str, age: float = 7200.0) -> Path:
        path = self.path / name
        path.write_text(HEAD + "".join(f"{row}\n" for row in rows))
        at = time.time() - age
        os.utime(path, (at, at))
        return path

    def pages(self) -> list[Page]:
        return list(self.connector.pull("time", self.cursor))

    def take(self) -> list[SourceRecord]:
        pages = self.pages()
        self.cursor = pages[-1].cursor
        return [record for page in pages for record in page.records]


@pytest.fixture
def drop(sftp_server: Server, tmp_path: Path) -> Drop:
    return Drop(sftp_server, tmp_path)


class Plain:
    """What the promises ask of a bench that has no HTTP."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def build(self, **settings: Any) -> FilesConnector:
        account = replace(self.account, settings={**self.account.settings, **settings})
        return FilesConnector(account, Http(account, allow_loopback=True))


class TestContract(SourcePromises):
    streams = ("time",)

    @pytest.fixture(autouse=True)
    def _bench(self, drop: Drop) -> None:
        drop.put("time-1.csv", line(3), line(4))
        drop.put("time-2.csv", line(5), age=7100)
        self.bench = Plain(drop.account)  # type: ignore[assignment]


class TestContractOfALocalFolder(SourcePromises):
    streams = ("time",)

    @pytest.fixture(autouse=True)
    def _bench(self, tmp_path: Path) -> None:
        (tmp_path / "time-1.csv").write_text(HEAD + line(3) + "\n")
        account = Account(code="files-de", base_url=str(tmp_path), settings={"settle_seconds": 0})
        self.bench = Plain(account)  # type: ignore[assignment]


def test_the_connection_says_how_many_files_wait(drop: Drop) -> None:
    drop.put("time-1.csv", line())
    assert drop.connector.check() == f"Folder {drop.path} of 127.0.0.1 holds 1 time files and 0 expense files."


class TestUploads:
    """A file is taken when it is whole, and not before."""

    def test_a_file_that_grows_between_two_looks_is_left_and_taken_whole_later(self, drop: Drop) -> None:
        drop.having(settle_seconds=1)
        path = drop.put("time-1.csv", line(3), age=0)
        grown = threading.Timer(0.4, lambda: path.write_text(HEAD + line(3) + "\n" + line(4) + "\n"))
        grown.start()
        assert drop.take() == []
        grown.join()
        assert len(drop.take()) == 2

    @pytest.mark.parametrize("age", [-600.0, 0.0, 600.0])
    @pytest.mark.case(119)
    def test_a_server_whose_clock_is_ten_minutes_off_neither_hides_a_file_nor_shows_half_of_one(
        self, drop: Drop, age: float
    ) -> None:
        drop.having(settle_seconds=1)
        path = drop.put("time-1.csv", line(3), age=age)
        os.utime(path, (time.time() - age, time.time() - age))

        def grow() -> None:
            path.write_text(HEAD + line(3) + "\n" + line(4) + "\n")
            os.utime(path, (time.time() - age + 1, time.time() - age + 1))

        growing = threading.Timer(0.4, grow)
        growing.start()
        assert drop.take() == []
        growing.join()
        assert len(drop.take()) == 2

    @pytest.mark.parametrize("name", ["time-1.csv.part", "time-1.csv.filepart", "time-1.csv.tmp", ".time-1.csv"])
    def test_an_upload_under_another_name_is_taken_when_it_is_renamed(self, drop: Drop, name: str) -> None:
        path = drop.put(name, line(3))
        assert drop.take() == []
        path.rename(drop.path / "time-1.csv")
        assert len(drop.take()) == 1
        assert drop.take() == []

    def test_a_checksum_that_does_not_fit_stops_the_file_until_it_was_sent_whole(self, drop: Drop) -> None:
        whole = (HEAD + line(3) + "\n" + line(4) + "\n").encode()
        (drop.path / "time.csv.sha256").write_text(hashlib.sha256(whole).hexdigest() + "  time.csv\n")
        drop.put("time.csv", line(3))
        [failed] = drop.take()
        with pytest.raises(Malformed, match="does not fit the checksum"):
            list(drop.connector.map(failed))
        drop.put("time.csv", line(3), line(4), age=7000)
        records = drop.take()  # its two lines, and the word that what could not be read waits for nobody
        assert [bool(list(drop.connector.map(record))) for record in records] == [True, True, False]
        assert records[2].external_id == failed.external_id

    def test_with_required_checksums_a_file_waits_for_its_side_file(self, drop: Drop) -> None:
        drop.having(require_checksum=True)
        path = drop.put("time.csv", line(3))
        assert drop.take() == []
        (drop.path / "time.csv.sha256").write_text(hashlib.sha256(path.read_bytes()).hexdigest())
        assert len(drop.take()) == 1

    def test_a_link_is_not_followed_out_of_the_folder(self, drop: Drop, tmp_path: Path) -> None:
        inside = tmp_path / "inside"
        inside.mkdir()
        drop.put("time-secret.csv", line(3)).rename(tmp_path / "outside.csv")
        (inside / "time-1.csv").symlink_to(tmp_path / "outside.csv")
        assert Drop(drop.server, inside).take() == []

    def test_a_folder_that_is_not_there_is_unavailable(self, drop: Drop) -> None:
        missing = Drop(drop.server, drop.path / "nowhere")
        with pytest.raises(Unavailable, match="nowhere: it is not there"):
            missing.connector.check()


class TestIdentity:
    """Who we speak to is known before anything is said."""

    def test_another_host_key_is_refused_and_told(self, drop: Drop) -> None:
        other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG9uZS1rZXktdGhhdC1pcy1ub3Qtb3Vycy1hdC1hbGw"
        drop.having(host_key=other)
        with pytest.raises(Unauthorised, match=r"another host key .*SHA256:"):
            drop.connector.check()

    def test_without_a_host_key_the_sentence_shows_the_one_to_compare(self, drop: Drop) -> None:
        drop.having(host_key="")
        with pytest.raises(Unauthorised, match="SHA256:") as told:
            drop.connector.check()
        fingerprint = next(word for word in str(told.value).split() if word.startswith("SHA256:")).rstrip(".")
        drop.having(host_key=fingerprint)
        assert drop.connector.check().endswith(".")

    @pytest.mark.case(123)
    def test_while_the_host_key_is_changed_both_hold(self, drop: Drop) -> None:
        drop.having(host_key=f"SHA256:{'x' * 43}\n{drop.server.host_key}")
        assert drop.connector.check().endswith(".")

    @pytest.mark.case(67)
    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"secrets": {"private_key": "not a key"}}, "not an OpenSSH or PEM private key"),
            ({"secrets": {"password": "guessed-canary"}}, "does not take our credentials"),
            ({"secrets": {}}, "neither a private key nor a password"),
        ],
    )
    def test_credentials_that_do_not_hold_are_unauthorised_and_not_shown(
        self, drop: Drop, change: dict[str, Any], says: str
    ) -> None:
        drop.account = replace(drop.account, **change)
        with pytest.raises(Unauthorised, match=says) as told:
            drop.connector.check()
        assert not any(secret in str(told.value) for secret in drop.account.secrets.values())

    def test_a_connection_without_a_user_says_so(self, drop: Drop) -> None:
        drop.having(user="")
        with pytest.raises(Unauthorised, match="names no SFTP user"):
            drop.connector.check()

    @pytest.mark.parametrize(
        "url",
        [
            "sftp://files.example.org/in",
            "sftp://127.0.0.1/in",
            "sftp://u:p@files.example.com/in",
            "sftp:///in",
            "sftp://h:x/in",
        ],
    )
    def test_only_hosts_that_the_operator_listed_are_called(self, url: str) -> None:
        with pytest.raises(ForbiddenAddress):
            sftp.address_of(url, hosts=("files.example.com",), allow_loopback=False)

    def test_an_address_is_read_with_its_port_and_spaces(self) -> None:
        found = sftp.address_of(
            "sftp://in.files.example.com:2222/a%20b", hosts=("files.example.com",), allow_loopback=False
        )
        assert (found.host, found.port, found.path) == ("in.files.example.com", 2222, "/a b")


@pytest.fixture
def wire(sftp_server: Server) -> Iterator[Wire]:
    with Wire(sftp_server) as opened:
        yield opened


class TestTheWire:
    """A session that breaks loses nothing and takes nothing twice."""

    @pytest.mark.case(12)
    @pytest.mark.parametrize("fault", ["reset", "silence"])
    @pytest.mark.parametrize("cut_after", [0, 500, 6_000, 60_000])
    def test_wherever_it_is_cut_the_next_reading_has_every_row_once(
        self, drop: Drop, wire: Wire, fault: str, cut_after: int
    ) -> None:
        rows = [line(1 + n % 28, person=f"M-{n}") for n in range(2000)]
        drop.put("time-1.csv", *rows)
        drop.put("time-2.csv", line(2, person="last"), age=7000)
        drop.account = drop.server.account(
            drop.path, port=wire.port, settle_seconds=0, read_timeout=1, connect_timeout=1
        )
        wire.fault, wire.cut_after = fault, cut_after
        seen: list[Page] = []
        with pytest.raises(Unavailable):
            seen.extend(drop.connector.pull("time", None))
        wire.fault = ""
        drop.cursor = seen[-1].cursor if seen else None
        records = [record for page in seen for record in page.records] + drop.take()
        assert len({(record.external_id, record.revision) for record in records}) == 2001
        assert drop.take() == []

    def test_nothing_listening_is_unavailable(self, drop: Drop) -> None:
        drop.account = drop.server.account(drop.path, port=9)
        with pytest.raises(Unavailable, match="could not be reached"):
            drop.connector.check()

    def test_something_that_is_no_ssh_server_is_unavailable(self, drop: Drop, sandbox: str) -> None:
        drop.account = drop.server.account(drop.path, port=int(sandbox.rsplit(":", 1)[1]), read_timeout=1)
        with pytest.raises(ConnectorError) as raised:
            drop.connector.check()
        assert isinstance(raised.value, Unavailable)


@pytest.mark.django_db(transaction=True)
def test_a_nightly_drop_is_read_taken_in_archived_and_corrected(
    drop: Drop, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ALLOW_LOOPBACK = True
    monkeypatch.setenv("SFTP_KEY", drop.server.private_key.replace("\n", "\\n"))
    connection = world.connection(
        "files-de", "files", world.entity("DE"), is_source=True, zone="Europe/Berlin",
        credentials={"private_key": {"env": "SFTP_KEY"}}, settings={**drop.account.settings, "archive": True},
    )  # fmt: skip
    connection.base_url = drop.account.base_url
    connection.save()
    stream = Stream.objects.create(connection=connection, name="time", every_seconds=900)

    def read() -> list[tuple[int, str]]:
        Stream.objects.filter(pk=stream.pk).update(next_due_at=None, usual_volume=0)
        run = streams.pull(stream.pk)
        assert run is not None
        assert run.state == Run.State.DONE, run.failure
        inbox.take_in_everything(connection.pk)
        found = TimeEntry.objects.filter(document__connection=connection).order_by("document_id", "version")
        return [(entry.version, f"{entry.hours:.2f}") for entry in found]

    drop.put("time-1.csv", line(3), line(4))
    assert read() == [(1, "7.50"), (1, "7.50")]
    drop.put("time-2.csv", line(3), line(4, hours="6"), age=7000)
    assert read() == [(1, "7.50"), (1, "7.50"), (2, "6.00")]
    assert sorted(path.name for path in (drop.path / "archive").iterdir()) == ["time-1.csv"]
    read()
    assert sorted(path.name for path in drop.path.glob("*.csv")) == []
