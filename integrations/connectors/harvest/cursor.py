"""Where a Harvest stream stands: how far its updates were read, and what the days of its open window looked like."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from integrations.connectors.harvest import assumptions
from integrations.errors import Malformed

STAMP = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class HarvestCursor:
    """`updated` closes the range that was read; `days` has a digest for each day of the window; both in UTC."""

    updated: datetime | None = None
    reread_at: datetime | None = None
    days: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str | None) -> HarvestCursor:
        """Read a cursor, a bare moment included; raises Malformed when it is neither."""
        if not text:
            return cls()
        try:
            data: dict[str, Any] = json.loads(text) if text.startswith("{") else {"updated": text}
            return cls(moment(data.get("updated")), moment(data.get("reread")), dict(data.get("days") or {}))
        except (ValueError, TypeError, AttributeError) as error:
            raise Malformed(f"The cursor {text[:80]!r} of a Harvest stream cannot be read.") from error

    def text(self) -> str:
        """The cursor as it is stored."""
        data: dict[str, Any] = {}
        if self.updated:
            data["updated"] = self.updated.strftime(STAMP)
        if self.reread_at:
            data["reread"] = self.reread_at.strftime(STAMP)
        if self.days:
            data["days"] = dict(self.days)
        return json.dumps(data, sort_keys=True, separators=(",", ":"))

    def is_due(self, now: datetime, hours: float) -> bool:
        """Whether the window is to be read again."""
        return self.reread_at is None or now - self.reread_at >= timedelta(hours=hours)

    def with_days(self, days: Mapping[str, str]) -> HarvestCursor:
        """The same with some days' digests replaced."""
        return replace(self, days={**self.days, **days})


def moment(written: Any) -> datetime | None:
    """A moment as Harvest writes it, in UTC; raises ValueError for anything else."""
    if not written:
        return None
    parsed = datetime.fromisoformat(str(written))
    if parsed.tzinfo is None:
        raise ValueError(f"{written!r} has no zone")
    return parsed.astimezone(UTC)


_WATCHED = ("id", "updated_at", "is_running", "hours", "rounded_hours", "billable", "billable_rate", "total_cost")


def day_digest(entries: Iterable[Mapping[str, Any]]) -> str:
    """What the entries of one day look like, in everything that can change without moving their stamps."""
    lines = sorted(
        "|".join(
            [
                *(str(entry.get(name)) for name in _WATCHED),
                assumptions.approval_status(entry),
                *(f"{part.get('id')}/{part.get('code')}" for part in _parts(entry)),
            ]
        )
        for entry in entries
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _parts(entry: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for name in ("user", "client", "project", "task"):
        if isinstance(entry.get(name), Mapping):
            yield entry[name]


def stamp_of(entry: Mapping[str, Any]) -> datetime:
    """When an entry was last changed; raises Malformed for one without a stamp."""
    try:
        stamp = moment(entry.get("updated_at"))
    except ValueError:
        stamp = None
    if stamp is None:
        raise Malformed(f"Harvest entry {entry.get('id')}: updated_at is “{entry.get('updated_at')}”, not a moment.")
    return stamp


def revision(entry: Mapping[str, Any], now: datetime, *, reread: bool) -> str:
    """Orders two copies of an entry by string comparison: its stamp, then how it was read.

    Of one stamp, `open` (it may still change within its second) comes before `read`, and that before `reread` (found to
    differ although the stamp did not move), the later reading last. Raises Malformed for an entry without a stamp.
    """
    stamp = stamp_of(entry)
    written = stamp.strftime(STAMP)
    if reread:
        return f"{written} reread {now.strftime(STAMP)}"
    if stamp > now - timedelta(seconds=assumptions.SETTLED_SECONDS):
        content = json.dumps(entry, sort_keys=True, default=str)
        return f"{written} open {hashlib.sha256(content.encode()).hexdigest()[:12]}"
    return f"{written} read"
