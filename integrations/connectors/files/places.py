"""Where the bytes come from: a folder of this machine, or one behind an SFTP server. Everything else about files is the same.

A file is left alone while it may still be growing. On this machine its own time says so; a server's clock and ours may differ, so
there a file is at rest when a second look, after the time that it must rest, finds it as it was.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol, Self
from urllib.parse import unquote, urlsplit

from integrations import sftp
from integrations.connectors.files.faults import FileUnreadable
from integrations.connectors.files.table import MAX_BYTES
from integrations.errors import Unauthorised, Unavailable
from integrations.protocol import Account

if TYPE_CHECKING:
    from integrations.http import Http

ARCHIVE = "archive"
SIDE_FILE = ".sha256"
SIDE_FILE_BYTES = 1000
SURELY_AT_REST = 3600.0  # seconds; no clock that is worth a schedule is further off than that


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One plain file of a place. `made_at` is its modification time, in UTC."""

    name: str
    size: int
    modified: int  # nanoseconds since 1970
    shelf: str = ""  # the folder below the place in which it lies

    @property
    def made_at(self) -> datetime:
        """When the file was last written."""
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=self.modified // 1000)


class Place(Protocol):
    """A folder of one entity; `with` holds it open."""

    name: str  # as sentences name it

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def listing(self, shelf: str = "") -> list[Found]:
        """The plain files directly in the place, oldest first; links are none. An archive that is not there is empty."""
        ...

    def at_rest(self, found: Sequence[Found], seconds: float) -> list[Found]:
        """Those files that have not grown for some seconds."""
        ...

    def content(self, item: Found) -> bytes:
        """The bytes of a file, never more than one beyond what may be read. Raises Unavailable while it changes."""
        ...

    def side_file(self, item: Found) -> bytes | None:
        """What stands in the checksum file beside a file; None where there is none."""
        ...

    def put_away(self, item: Found, mark: str) -> None:
        """Move a file and its checksum file into the archive; one of that name there is not overwritten."""
        ...


def is_remote(base_url: str) -> bool:
    """Whether an address leads to a server."""
    return base_url.startswith("sftp:")


def path_of(base_url: str) -> Path:
    """The folder a connection names, as a path or as file:// address."""
    if base_url.startswith("file:"):
        parts = urlsplit(base_url)
        if parts.netloc not in ("", "localhost"):
            raise FileUnreadable(f"“{base_url}” names another machine; files are read from this one only.")
        return Path(unquote(parts.path))
    if "://" in base_url:
        raise FileUnreadable(f"“{base_url}” is not a folder; give a path, a file:// or an sftp:// address.")
    return Path(base_url)


def place_of(account: Account, http: Http | None) -> Place:
    """The place that an account's address names."""
    if is_remote(account.base_url):
        hosts, allow_loopback = (http.hosts, http.allow_loopback) if http else ((), False)
        address = sftp.address_of(account.base_url, hosts=hosts, allow_loopback=allow_loopback)
        return RemoteFolder(account, address, allow_loopback=allow_loopback)
    return LocalFolder(path_of(account.base_url))


class LocalFolder:
    """A folder of this machine."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """There is nothing to close."""

    def listing(self, shelf: str = "") -> list[Found]:
        """See Place."""
        folder = self.path / shelf
        if shelf and not folder.is_dir():
            return []
        found = []
        try:
            for path in folder.iterdir():
                if path.is_symlink() or not path.is_file():
                    continue
                stat = path.stat()
                found.append(Found(name=path.name, size=stat.st_size, modified=stat.st_mtime_ns, shelf=shelf))
        except FileNotFoundError as error:
            if not folder.is_dir():
                raise Unavailable(f"Folder {folder} does not exist.") from error
            raise Unavailable(f"A file went from folder {folder} while it was listed.") from error
        except PermissionError as error:
            raise Unauthorised(f"Folder {folder} may not be read by this program.") from error
        except OSError as error:
            raise Unavailable(f"Folder {folder} cannot be read: {error.strerror}.") from error
        return sorted(found, key=_age)

    def at_rest(self, found: Sequence[Found], seconds: float) -> list[Found]:
        """See Place."""
        since = time.time_ns() - int(seconds * 1_000_000_000)
        return [item for item in found if seconds <= 0 or item.modified <= since]

    def content(self, item: Found) -> bytes:
        """See Place."""
        path = self._path(item)
        try:
            with path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
            stat = path.stat()
        except PermissionError as error:
            raise Unauthorised(f"File {item.name} may not be read by this program.") from error
        except OSError as error:
            raise Unavailable(f"File {item.name} cannot be read: {error.strerror}.") from error
        _check_unchanged(item, stat.st_size, stat.st_mtime_ns)
        return content

    def side_file(self, item: Found) -> bytes | None:
        """See Place."""
        side = self._path(item).with_name(item.name + SIDE_FILE)
        return side.read_bytes()[:SIDE_FILE_BYTES] if side.is_file() else None

    def put_away(self, item: Found, mark: str) -> None:
        """See Place."""
        shelf = self.path / ARCHIVE
        shelf.mkdir(exist_ok=True)
        for path in (self._path(item), self._path(item).with_name(item.name + SIDE_FILE)):
            if path.is_file():
                target = shelf / path.name
                shutil.move(path, shelf / _marked(path.name, mark) if target.exists() else target)

    def _path(self, item: Found) -> Path:
        return self.path / item.shelf / item.name


class RemoteFolder:
    """A folder behind an SFTP server; the session begins with the first question and ends with the block."""

    def __init__(self, account: Account, address: sftp.Address, *, allow_loopback: bool) -> None:
        self._account = account
        self._address = address
        self._allow_loopback = allow_loopback
        self._seen: set[str] = set()  # paths of the last listing, which spare asking for side files that are not there
        self.name = f"{address.path} of {address.host}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if "_session" in self.__dict__:
            self._session.close()
            del self._session

    @cached_property
    def _session(self) -> sftp.Session:
        return sftp.Session(self._account, self._address, allow_loopback=self._allow_loopback)

    def listing(self, shelf: str = "") -> list[Found]:
        """See Place."""
        folder = str(PurePosixPath(self._address.path, shelf))
        if shelf and not self._session.has(folder):
            return []
        found = [
            Found(name=entry.name, size=entry.size, modified=entry.modified * 1_000_000_000, shelf=shelf)
            for entry in self._session.files(folder)
        ]
        self._seen |= {self._path(item) for item in found}
        return sorted(found, key=_age)

    def at_rest(self, found: Sequence[Found], seconds: float) -> list[Found]:
        """See Place. Whose time is near ours, on either side, is looked at twice."""
        long_ago = time.time_ns() - int(SURELY_AT_REST * 1_000_000_000)
        if seconds <= 0 or all(item.modified < long_ago or item.shelf for item in found):
            return list(found)
        time.sleep(seconds)
        again = {(item.name, item.size, item.modified) for item in self.listing()}
        return [item for item in found if item.shelf or (item.name, item.size, item.modified) in again]

    def content(self, item: Found) -> bytes:
        """See Place."""
        path = self._path(item)
        content = self._session.read(path, MAX_BYTES + 1)
        entry = self._session.entry(path)
        _check_unchanged(item, entry.size, entry.modified * 1_000_000_000)
        if len(content) != min(item.size, MAX_BYTES + 1):
            raise Unavailable(f"File {item.name} came with {len(content)} of {item.size} bytes.", retry_after=60)
        return content

    def side_file(self, item: Found) -> bytes | None:
        """See Place."""
        side = self._path(item) + SIDE_FILE
        try:
            return self._session.read(side, SIDE_FILE_BYTES) if side in self._seen else None
        except sftp.FileMissing:
            return None

    def put_away(self, item: Found, mark: str) -> None:
        """See Place."""
        shelf = PurePosixPath(self._address.path, ARCHIVE)
        self._session.make_folder(str(shelf))
        for path in (self._path(item), self._path(item) + SIDE_FILE):
            if self._session.has(path):
                name = PurePosixPath(path).name
                taken = self._session.has(str(shelf / name))
                self._session.rename(path, str(shelf / (_marked(name, mark) if taken else name)))

    def _path(self, item: Found) -> str:
        return str(PurePosixPath(self._address.path, item.shelf, item.name))


def _age(item: Found) -> tuple[int, str]:
    return item.modified, item.name


def _marked(name: str, mark: str) -> str:
    path = PurePosixPath(name)
    return f"{path.stem}.{mark}{path.suffix}"


def _check_unchanged(item: Found, size: int, modified: int) -> None:
    if (size, modified) != (item.size, item.modified):
        raise Unavailable(f"File {item.name} changed while it was read.", retry_after=60)
