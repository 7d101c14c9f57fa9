"""The folder of one entity: which files in it are complete, and which were taken already.

A file is left alone while it may still be growing. What was taken is remembered by content in the cursor, so a copy
under another name is not taken twice, and files may stay where they are.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from integrations.connectors.files.faults import FileUnreadable
from integrations.connectors.files.options import Options
from integrations.connectors.files.table import MAX_BYTES, file_hash
from integrations.errors import Malformed, Unauthorised, Unavailable

ARCHIVE = "archive"
REMEMBERED = 1000  # files that are gone from the folder and still known by content
_UNFINISHED = (".tmp", ".part", ".partial", ".filepart", ".crdownload", ".swp", ".lock", "~")
_SIDE_FILE = ".sha256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One complete file in the folder. `made_at` is its modification time, in UTC."""

    path: Path
    size: int
    modified: int  # nanoseconds since 1970

    @property
    def made_at(self) -> datetime:
        """When the file was last written."""
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=self.modified // 1000)


@dataclass(slots=True)
class Taken:
    """The memory of one stream: what was taken, and the moment given to the last file. Written as the cursor.

    `files` has hash:name → [name, size, modified, how it was read if that failed].
    """

    high: str = ""
    files: dict[str, list[Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, cursor: str | None) -> Taken:
        """Read a cursor; raises Malformed when it is none of ours."""
        if not cursor:
            return cls()
        try:
            data = json.loads(cursor)
            return cls(high=str(data["high"]), files=dict(data["files"]))
        except (ValueError, KeyError, TypeError) as error:
            raise Malformed(f"The cursor of the folder cannot be read: {cursor[:80]!r}.") from error

    def cursor(self) -> str:
        """The memory as text."""
        return json.dumps({"high": self.high, "files": self.files}, sort_keys=True, separators=(",", ":"))

    def knows_untouched(self, found: Found, reading: str) -> bool:
        """Whether this very file, neither renamed nor rewritten, was taken; spares reading it again."""
        return any(
            entry[:3] == [found.path.name, found.size, found.modified] and entry[3] in ("", reading)
            for entry in self.files.values()
        )

    def repeats(self, found: Found, sha256: str, reading: str) -> bool:
        """Whether a file with this content was taken, or failed when read in the same way; if so it is noted as well."""
        entries = self._entries(sha256)
        known = next((entry for entry in entries if entry[3] in ("", reading)), None)
        if known is not None:
            self.remember(found, sha256, None, failed_under=known[3])
        return known is not None

    def has_failed(self, sha256: str) -> bool:
        """Whether a file with this content could not be read before."""
        return any(entry[3] for entry in self._entries(sha256))

    def _entries(self, sha256: str) -> list[list[Any]]:
        return [entry for key, entry in self.files.items() if key.startswith(sha256[:32])]

    def moment_for(self, found: Found) -> datetime:
        """The moment that orders this file's revisions: its own, but always after the file taken before."""
        if not self.high:
            return found.made_at
        return max(found.made_at, datetime.fromisoformat(self.high) + timedelta(microseconds=1))

    def remember(self, found: Found, sha256: str, moment: datetime | None, *, failed_under: str = "") -> None:
        """Note a file as taken, or as failed when read in some way."""
        for entry in self._entries(sha256) if not failed_under else ():
            entry[3] = ""
        name = found.path.name
        self.files[f"{sha256[:32]}:{name}"] = [name, found.size, found.modified, failed_under]
        if moment is not None:
            self.high = max(self.high, moment.isoformat(timespec="microseconds"))

    def forget_gone(self, names: set[str]) -> None:
        """Keep the memory bounded: of the files that are no longer there, only the latest."""
        gone = [key for key, entry in self.files.items() if entry[0] not in names]
        gone.sort(key=lambda key: int(self.files[key][2]))
        for key in gone[: max(0, len(gone) - REMEMBERED)]:
            del self.files[key]


def path_of(base_url: str) -> Path:
    """The folder a connection names, as a path or as file:// address."""
    if base_url.startswith("file:"):
        parts = urlsplit(base_url)
        if parts.netloc not in ("", "localhost"):
            raise FileUnreadable(f"“{base_url}” names another machine; files are read from this one only.")
        return Path(unquote(parts.path))
    if "://" in base_url:
        raise FileUnreadable(f"“{base_url}” is not a folder; give a path or a file:// address.")
    return Path(base_url)


def listing(folder: Path) -> list[Found]:
    """The plain files directly in a folder, oldest first. Links that lead elsewhere are not followed."""
    found = []
    try:
        for path in folder.iterdir():
            if path.is_symlink() or not path.is_file():
                continue
            stat = path.stat()
            found.append(Found(path=path, size=stat.st_size, modified=stat.st_mtime_ns))
    except FileNotFoundError as error:
        if not folder.is_dir():
            raise Unavailable(f"Folder {folder} does not exist.") from error
        raise Unavailable(f"A file went from folder {folder} while it was listed.") from error
    except PermissionError as error:
        raise Unauthorised(f"Folder {folder} may not be read by this program.") from error
    except OSError as error:
        raise Unavailable(f"Folder {folder} cannot be read: {error.strerror}.") from error
    return sorted(found, key=lambda item: (item.modified, item.path.name))


def complete(found: list[Found], options: Options, stream: str) -> Iterator[Found]:
    """The files of a stream that are wholly there: named as configured, at rest, with a side file where one is due."""
    names = {item.path.name for item in found}
    resting_since = time.time_ns() - int(options.settle_seconds * 1_000_000_000)
    for item in found:
        name = item.path.name
        lowered = name.lower()
        if name.startswith((".", "~$")) or lowered.endswith((*_UNFINISHED, _SIDE_FILE)):
            continue
        if any(other.lower() == lowered + ending for other in names for ending in _UNFINISHED):
            continue
        if not any(fnmatch(lowered, pattern.lower()) for pattern in options.patterns[stream]):
            continue
        if item.modified > resting_since and options.settle_seconds > 0:
            continue
        if options.require_checksum and name + _SIDE_FILE not in names:
            continue
        yield item


def reading_of(found: Found, options: Options) -> str:
    """How a file would be read now: the settings and its side file. What failed is tried again when this changes."""
    side = found.path.with_name(found.path.name + _SIDE_FILE)
    checksum = side.read_bytes()[:1000] if side.is_file() else b""
    return hashlib.sha256(options.fingerprint.encode() + b"\0" + checksum).hexdigest()[:16]


def content_of(found: Found) -> bytes:
    """The bytes of a file, never more than one byte beyond what may be read. Raises Unavailable while it changes."""
    try:
        with found.path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        stat = found.path.stat()
    except PermissionError as error:
        raise Unauthorised(f"File {found.path.name} may not be read by this program.") from error
    except OSError as error:
        raise Unavailable(f"File {found.path.name} cannot be read: {error.strerror}.") from error
    if (stat.st_size, stat.st_mtime_ns) != (found.size, found.modified):
        raise Unavailable(f"File {found.path.name} changed while it was read.", retry_after=60)
    return content


def check_side_file(found: Found, content: bytes) -> None:
    """Compare a file with the checksum beside it, where there is one. Raises FileUnreadable when they differ."""
    side = found.path.with_name(found.path.name + _SIDE_FILE)
    if not side.is_file():
        return
    match = re.search(r"\b[0-9a-fA-F]{64}\b", side.read_text("ascii", errors="replace")[:1000])
    if match is None:
        raise FileUnreadable(f"The side file {side.name} holds no SHA-256 checksum.")
    if match.group().lower() != file_hash(content):
        raise FileUnreadable(
            f"The content does not fit the checksum in {side.name}; it was not sent whole. Send it again."
        )


def archive_taken(folder: Path, found: list[Found], taken: Taken) -> None:
    """Move the files that the stored cursor says were taken; never one that is only being filed."""
    done = {tuple(entry[:3]): key for key, entry in taken.files.items() if entry[3] == ""}
    for item in found:
        key = done.get((item.path.name, item.size, item.modified))
        if key is None:
            continue
        shelf = folder / ARCHIVE
        shelf.mkdir(exist_ok=True)
        for path in (item.path, item.path.with_name(item.path.name + _SIDE_FILE)):
            if path.is_file():
                target = shelf / path.name
                if target.exists():
                    target = shelf / f"{path.stem}.{key[:8]}{path.suffix}"
                shutil.move(path, target)
