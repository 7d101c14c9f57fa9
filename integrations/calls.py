"""Leave to call a source now: not while it is paused, in maintenance, or refusing us.

The rule here: whoever has leave says afterwards what the vendor answered, and the one breaker of the connection learns from
reading as it does from posting.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from integrations import breaker, windows
from integrations.errors import ConnectorError
from portal.models import Connection
from portal.sql import now


@dataclass(frozen=True, slots=True)
class Leave:
    """The connection may be called; `probing` when this is the one call that an open breaker lets through."""

    connection_id: int
    probing: bool = False

    def heard(self, error: ConnectorError | None) -> None:
        """Say how the call went (None: well)."""
        if self.probing:
            breaker.probed(self.connection_id, error)
        else:
            breaker.record(self.connection_id, [breaker.hear(error)])


@dataclass(frozen=True, slots=True)
class NoLeave:
    """The connection is not to be called, why, and for how many seconds (None: until a person says so)."""

    reason: str
    seconds: float | None = None


def leave_to_read(connection: Connection) -> Leave | NoLeave:
    """Whether the connection may be called now."""
    at = now()
    if not connection.is_active:
        return NoLeave("the connection is not active")
    if connection.paused_at is not None:
        return NoLeave(f"the connection is paused ({connection.pause_reason or 'no reason given'})")
    if (window := windows.closed_until(connection.pk, at)) is not None:
        return NoLeave(f"it is in a maintenance window ({window[1] or 'no reason given'})", _seconds(window[0], at))
    row = breaker.of(connection.pk)
    if row.state != row.State.OPEN and row.unauthorised_at is None:
        if row.probe_at is not None and row.probe_at > at:
            return NoLeave("the vendor told us to slow down", _seconds(row.probe_at, at))
        return Leave(connection.pk)
    if breaker.take_probe(connection.pk):
        return Leave(connection.pk, probing=True)
    wait = _seconds(row.probe_at, at) if row.probe_at else None
    return NoLeave(f"the breaker is open ({row.reason or 'opened by hand'})", wait)


def _seconds(until: datetime, at: datetime) -> float:
    return max((until - at).total_seconds(), 1.0)
