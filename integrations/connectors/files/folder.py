"""The folder of one entity: which files in it are complete, and which were taken already.

A file is left alone while it may still be growing. What was taken is remembered by content in the cursor, so a copy
under another name is not taken twice, and files may stay where they are.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fnmatch import fnmatch
from typing import Any

from integrations.connectors.files.faults import FileUnreadable
from integrations.connectors.files.options import Options
from integrations.connectors.files.places import SIDE_FILE, Found, Place
from integrations.connectors.files.table import file_hash
from integrations.errors import Malformed

REMEMBERED = 1000  # files that are gone from the folder and still known by content
_UNFINISHED = (".tmp", ".part", ".partial", ".filepart", ".crdownload", ".swp", ".lock", "~")


@dataclass(frozen=True, slots=True)
class Read:
    """One file as it was read: its bytes, its checksum file, and the fingerprint of how it is understood."""

    item: Found
    content: bytes
    side: bytes | None
    reading: str


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
            entry[:3] == [found.name, found.size, found.modified] and entry[3] in ("", reading)
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

    def mended_by(self, found: Found, sha256: str) -> list[str]:
        """The contents under this name that could not be read and are not there any more; from now on they are not known."""
        mended = [
            key
            for key, entry in self.files.items()
            if entry[0] == found.name and entry[3] and not key.startswith(sha256[:32])
        ]
        for key in mended:
            del self.files[key]
        return [key.partition(":")[0] for key in mended]

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
        name = found.name
        self.files[f"{sha256[:32]}:{name}"] = [name, found.size, found.modified, failed_under]
        if moment is not None:
            self.high = max(self.high, moment.isoformat(timespec="microseconds"))

    def forget_gone(self, names: set[str]) -> None:
        """Keep the memory bounded: of the files that are no longer there, only the latest."""
        gone = [key for key, entry in self.files.items() if entry[0] not in names]
        gone.sort(key=lambda key: int(self.files[key][2]))
        for key in gone[: max(0, len(gone) - REMEMBERED)]:
            del self.files[key]


def complete(place: Place, found: Sequence[Found], options: Options, stream: str) -> Iterator[Found]:
    """The files of a stream that are wholly there: named as configured, at rest, with a side file where one is due."""
    names = {item.name for item in found}
    wanted = [item for item in found if _is_wanted(item, names, options, stream)]
    yield from place.at_rest(wanted, options.settle_seconds)


def _is_wanted(item: Found, names: set[str], options: Options, stream: str) -> bool:
    lowered = item.name.lower()
    if item.name.startswith((".", "~$")) or lowered.endswith((*_UNFINISHED, SIDE_FILE)):
        return False
    if any(other.lower() == lowered + ending for other in names for ending in _UNFINISHED):
        return False
    if not any(fnmatch(lowered, pattern.lower()) for pattern in options.patterns[stream]):
        return False
    return not options.require_checksum or item.name + SIDE_FILE in names


def reading_of(side: bytes | None, options: Options) -> str:
    """How a file would be read now: the settings and its side file. What failed is tried again when this changes."""
    return hashlib.sha256(options.fingerprint.encode() + b"\0" + (side or b"")).hexdigest()[:16]


def check_side_file(read: Read) -> None:
    """Compare a file with the checksum beside it, where there is one. Raises FileUnreadable when they differ."""
    item = read.item
    if read.side is None:
        return
    match = re.search(r"\b[0-9a-fA-F]{64}\b", read.side.decode("ascii", errors="replace"))
    if match is None:
        raise FileUnreadable(f"The side file {item.name}{SIDE_FILE} holds no SHA-256 checksum.")
    if match.group().lower() != file_hash(read.content):
        raise FileUnreadable(
            f"The content does not fit the checksum in {item.name}{SIDE_FILE}; it was not sent whole. Send it again."
        )


def archive_taken(place: Place, found: Sequence[Found], taken: Taken) -> None:
    """Move the files that the stored cursor says were taken; never one that is only being filed."""
    done = {tuple(entry[:3]): key for key, entry in taken.files.items() if entry[3] == ""}
    for item in found:
        key = done.get((item.name, item.size, item.modified))
        if key is not None:
            place.put_away(item, key[:8])
