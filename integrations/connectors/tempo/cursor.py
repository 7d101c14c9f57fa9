"""Where a Tempo stream stands: how far the approval log, the worklogs and the paper trail were each read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from integrations.connectors.tempo import assumptions
from integrations.errors import Malformed

STAMP = "%Y-%m-%dT%H:%M:%S.%fZ"
SECONDS = "%Y-%m-%dT%H:%M:%SZ"  # as a request writes a moment
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)  # stands for the stamp of a worklog that states none


@dataclass(frozen=True, slots=True)
class TempoCursor:
    """The latest moment that was read of each, in UTC; None: nothing yet."""

    approvals: datetime | None = None
    deletions: datetime | None = None
    worklogs: datetime | None = None

    @classmethod
    def of(cls, text: str | None) -> TempoCursor:
        """Read a cursor; raises Malformed when it is none of ours."""
        if not text:
            return cls()
        try:
            data: dict[str, Any] = json.loads(text)
            return cls(**{name: moment(value) for name, value in data.items()})
        except (ValueError, TypeError, AttributeError) as error:
            raise Malformed(f"The cursor {text[:80]!r} of a Tempo stream cannot be read.") from error

    def text(self) -> str:
        """The cursor as it is stored."""
        data = {name: stamp.strftime(STAMP) if stamp else "" for name, stamp in asdict(self).items()}
        return json.dumps(data, sort_keys=True, separators=(",", ":"))


def moment(written: Any) -> datetime | None:
    """A moment as Tempo writes it, in UTC; None where there is none. Raises ValueError for anything else."""
    if not written:
        return None
    parsed = datetime.fromisoformat(str(written))
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)


def changed_at(worklog: Mapping[str, Any]) -> datetime | None:
    """When a worklog was last changed; None where it does not say so that it can be read."""
    try:
        return moment(worklog.get("updatedAt"))
    except ValueError:
        return None


def stamp_of(item: Mapping[str, Any], what: str, name: str = "updatedAt") -> datetime:
    """When something was last changed; raises Malformed for one that does not say."""
    try:
        stamp = moment(item.get(name))
    except ValueError:
        stamp = None
    if stamp is None:
        raise Malformed(f"Tempo {what}: {name} is “{item.get(name)}”, not a moment.")
    return stamp


def latest(*stamps: datetime | None) -> datetime | None:
    """The last of some moments."""
    return max(filter(None, stamps), default=None)


def revision(worklog: Mapping[str, Any], status: Mapping[str, Any] | None, payload: Any, now: datetime) -> str:
    """Orders two copies of a worklog with its approval by string comparison: whichever of the two changed last.

    Of one stamp, `odd` (its approval could not be asked for: `status` is None) comes before `open` (it may still change within
    its second), and this before `read`.
    """
    worked = changed_at(worklog) or _NEVER
    decided = moment((status or {}).get("updatedAt"))
    stamp = latest(worked, decided) or worked
    written = f"{stamp.strftime(STAMP)} {decided.strftime(SECONDS) if decided else '-'} {worked.strftime(SECONDS)}"
    is_open = stamp > now - timedelta(seconds=assumptions.SETTLED_SECONDS)
    if status is not None and not is_open and worked != _NEVER:
        return f"{written} read"
    content = json.dumps(payload, sort_keys=True, default=str)
    return f"{written} {'odd' if status is None else 'open'} {hashlib.sha256(content.encode()).hexdigest()[:12]}"
