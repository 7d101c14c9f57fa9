"""What a set looked like when it was last read whole, by which a row that changed is known where the vendor stamps none.

Most entities have no time of change that could be asked for, so every reading reads a set from its beginning. The cursor keeps a
digest of every row and the moment at which it was first seen to look so; that moment orders its revisions. It costs some twenty
bytes a row. While a reading is under way it says how many rows are behind, so that one that is cut goes on from there.
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
    """Digests of rows by their key, each with the moment of its first sight; `moment` is the last at which anything differed.

    `done` is how many rows of a reading are behind that has not come to its end.
    """

    moment: str = ""
    rows: dict[str, tuple[str, str]] = field(default_factory=dict)
    done: int = 0

    @classmethod
    def of(cls, cursor: str | None) -> Memory:
        """Read a cursor; raises Malformed when it is none of ours."""
        if not cursor:
            return cls()
        moment, _, packed = cursor.partition(" ")
        try:
            datetime.strptime(moment, STAMP)  # noqa: DTZ007 - it is only looked at
            moments, rows, *done = json.loads(zlib.decompress(base64.b85decode(packed)))
            return cls(moment, {key: (digest, moments[place]) for key, digest, place in rows}, int(*done))
        except (ValueError, TypeError, IndexError, zlib.error) as error:
            raise Malformed(f"The cursor {cursor[:60]!r} of a Dynamics 365 Finance stream cannot be read.") from error

    def text(self) -> str:
        """The memory as it is stored."""
        moments = sorted({seen for _, seen in self.rows.values()})
        place = {seen: number for number, seen in enumerate(moments)}
        rows = [[key, digest, place[seen]] for key, (digest, seen) in sorted(self.rows.items())]
        kept = [moments, rows, self.done] if self.done else [moments, rows]
        packed = base64.b85encode(zlib.compress(json.dumps(kept, separators=(",", ":")).encode(), 9))
        return f"{self.moment} {packed.decode()}"


class Reading:
    """One reading of a set, beside what was known of it. Every reading has a moment of its own, later than the one before."""

    def __init__(self, before: Memory, now: datetime) -> None:
        self._before = before
        moment = now.strftime(STAMP)
        if moment <= before.moment:  # the vendor's clock went back
            moment = (datetime.strptime(before.moment, STAMP) + timedelta(microseconds=1)).strftime(STAMP)  # noqa: DTZ007
        self.moment = moment
        self._rows: dict[str, tuple[str, str]] = {}
        self._gone: set[str] = set()
        self._kept: set[str] = set()
        self._met = 0

    @property
    def known(self) -> int:
        """How many rows were known before or are met."""
        return len(self._before.rows.keys() | self._rows.keys())

    def met(self, rows: int) -> None:
        """So many more rows of the set are behind, whether or not they are filed."""
        self._met += rows

    def saw(self, key: str, payload: Any, mark: str = "") -> str:
        """The revision of a row: since when it looks as it does. `mark` is remembered with it."""
        digest = hashlib.sha256(json.dumps(payload, sort_keys=True, default=str).encode()).digest()[:9]
        told = mark + base64.b64encode(digest).decode()
        known, since = self._before.rows.get(key, ("", ""))
        revision = since if known == told else self.moment
        self._rows[key] = (told, revision)
        return revision

    def missed(self) -> dict[str, str]:
        """What was there before and was not met: the digests by key, each behind its mark.

        Where a reading goes on, what the part before it met is among them; whoever takes one for gone has to ask.
        """
        return {key: digest for key, (digest, _) in self._before.rows.items() if key not in self._rows}

    def forget(self, keys: Iterable[str]) -> None:
        """What is gone for certain is known no more, however the reading came to its end."""
        self._gone |= set(keys)

    def keep(self, keys: Iterable[str]) -> None:
        """What was not met and may be hidden is known as it was."""
        self._kept |= set(keys)

    def memory(self, *, more: bool = False) -> Memory:
        """What is known now. Of a reading in one go that came to its end, what was not met is forgotten: it is gone."""
        before = self._before
        is_partial = more or before.done > 0
        kept = before.rows if is_partial else {key: before.rows[key] for key in self._kept}
        known = {**kept, **self._rows}
        rows = {key: seen for key, seen in known.items() if key not in self._gone}
        moment = before.moment if rows == before.rows and before.moment else self.moment
        return Memory(moment, rows, before.done + self._met if more else 0)


def shown(row: Any, hidden: Iterable[str] = ("@odata.etag",)) -> dict[str, Any]:
    """A row without what changes although nothing did."""
    left = tuple(hidden)
    return {name: value for name, value in row.items() if name not in left}
