"""Where a stream stands: how far stamps were read, how far a walk through what changed has come, and how what is open looked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from integrations.errors import Malformed

STAMP = "%Y-%m-%dT%H:%M:%S.%f"


@dataclass(frozen=True, slots=True)
class Cursor:
    """`since` is the latest stamp that was read whole; everything else is of a walk that has not ended, or of what is watched.

    A walk goes by ids. `reached` is the latest stamp that it met, and no later than when it began.
    """

    since: str = ""
    after: int = 0
    began: str = ""
    reached: str = ""
    looked_at: str = ""
    watched: Mapping[str, str] = field(default_factory=dict)  # a digest of each open record, by id

    @classmethod
    def of(cls, text: str | None) -> Cursor:
        """Read a cursor; raises Malformed when it is none of ours."""
        if not text:
            return cls()
        try:
            data: dict[str, Any] = json.loads(text)
            return cls(
                str(data["since"]), int(data.get("after", 0)), str(data.get("began", "")), str(data.get("reached", "")),
                str(data.get("looked_at", "")), dict(data.get("watched", {})),
            )  # fmt: skip
        except (ValueError, KeyError, TypeError) as error:
            raise Malformed(f"The cursor {text[:80]!r} of a Tryton stream cannot be read.") from error

    def text(self) -> str:
        """The cursor as it is stored: first of all how far it is, so that a later one is the greater text."""
        told = {"since": self.since}
        more = {"after": self.after, "began": self.began, "reached": self.reached, "looked_at": self.looked_at}
        more |= {"watched": dict(self.watched)}
        return json.dumps(told | {name: value for name, value in more.items() if value}, separators=(",", ":"))

    def from_when(self, back: timedelta) -> datetime | None:
        """The stamp from which a walk reads, so far back before the cursor; None from the beginning. Raises Malformed."""
        if not self.since:
            return None
        return _moment(self.since) - back

    def moment_after(self, now: str) -> str:
        """The moment of a look, which is later than that of the look before and than every stamp that was met."""
        latest = max(self.looked_at, self.since, self.reached)
        return now if now > latest else (_moment(latest) + timedelta(microseconds=1)).strftime(STAMP)


def _moment(written: str) -> datetime:
    try:
        return datetime.strptime(written, STAMP)  # noqa: DTZ007 - UTC, as Tryton keeps it
    except ValueError:
        raise Malformed(f"The cursor's stamp {written!r} is no moment.") from None
