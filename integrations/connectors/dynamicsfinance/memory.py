"""What a set looked like when it was last read whole, by which a row that changed is known where the vendor stamps none.

Most entities have no time of change that could be asked for, so every reading reads a set from its beginning. The cursor keeps a
digest of every row and the moment at which it was first seen to look so; that moment orders its revisions. It costs some twenty
bytes a row.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from integrations.errors import Malformed

STAMP = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(slots=True)
class Memory:
    """Digests of rows by their key, each with the moment of its first sight; `moment` is the last at which anything differed."""

    moment: str = ""
    rows: dict[str, tuple[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, cursor: str | None) -> Memory:
        """Read a cursor; raises Malformed when it is none of ours."""
        if not cursor:
            return cls()
        moment, _, packed = cursor.partition(" ")
        try:
            datetime.strptime(moment, STAMP)  # noqa: DTZ007 - it is only looked at
            moments, rows = json.loads(zlib.decompress(base64.b85decode(packed)))
            return cls(moment, {key: (digest, moments[place]) for key, digest, place in rows})
        except (ValueError, TypeError, IndexError, zlib.error) as error:
            raise Malformed(f"The cursor {cursor[:60]!r} of a Dynamics 365 Finance stream cannot be read.") from error

    def text(self) -> str:
        """The memory as it is stored."""
        moments = sorted({seen for _, seen in self.rows.values()})
        place = {seen: number for number, seen in enumerate(moments)}
        rows = [[key, digest, place[seen]] for key, (digest, seen) in sorted(self.rows.items())]
        packed = base64.b85encode(zlib.compress(json.dumps([moments, rows], separators=(",", ":")).encode(), 9))
        return f"{self.moment} {packed.decode()}"


class Reading:
    """One reading of a set, beside what was known of it. Every reading has a moment of its own, later than the one before."""

    def __init__(self, before: Memory, now: datetime) -> None:
        self._before = before
        moment = now.strftime(STAMP)
        if moment <= before.moment:  # the vendor's clock went back
            moment = (datetime.strptime(before.moment, STAMP) + timedelta(microseconds=1)).strftime(STAMP)  # noqa: DTZ007
        self._moment = moment
        self._rows: dict[str, tuple[str, str]] = {}

    def saw(self, key: str, payload: Any) -> str:
        """The revision of a row: since when it looks as it does."""
        digest = hashlib.sha256(json.dumps(payload, sort_keys=True, default=str).encode()).digest()[:9]
        told = base64.b64encode(digest).decode()
        known, since = self._before.rows.get(key, ("", ""))
        revision = since if known == told else self._moment
        self._rows[key] = (told, revision)
        return revision

    def memory(self) -> Memory:
        """What is known now; the same as before where nothing differed."""
        if self._rows == self._before.rows and self._before.moment:
            return self._before
        return Memory(self._moment, self._rows)


def shown(row: Any, hidden: Iterable[str] = ("@odata.etag",)) -> dict[str, Any]:
    """A row without what changes although nothing did."""
    left = tuple(hidden)
    return {name: value for name, value in row.items() if name not in left}
