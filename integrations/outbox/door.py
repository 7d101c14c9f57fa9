"""The door to a target: whether anything may go out at all, and what waits on it opening.

The rule here: while a door is closed nothing is sent and no attempt is burnt. What is due waits on the door's name and is
released when the door is seen open again. An open breaker or refused credentials are tried by one probe that writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from integrations import breaker, registry, slots, timing, windows
from integrations.errors import ConnectorError, Unauthorised, Unavailable
from integrations.models import Breaker
from integrations.outbox import causes
from integrations.protocol import Receiver, Target
from integrations.sql import outbound as sql
from portal import ledger
from portal.models import Connection

THROTTLED = "throttled"  # told to slow down: too short to park anything
DOORS = ("connection", "paused", "maintenance", "unauthorised", "breaker")
_PARKED_AT_ONCE = 5000
_AGAIN = 15.0  # seconds after which somebody who found the door closed tries it again, at least


class NotNow(Exception):
    """The target is not to be called now: the sentence says why, `seconds` when to try again."""

    def __init__(self, sentence: str, seconds: float = 0.0) -> None:
        super().__init__(sentence)
        self.seconds = max(seconds, timing.scaled(_AGAIN))


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """How a connection's door stands. Open when `waits_on` is empty; then `calls` may be under way at once."""

    waits_on: str = ""
    sentence: str = ""
    until: datetime | None = None
    calls: int = 0


def look(connection: Connection, row: Breaker | None = None) -> Door:
    """How the door stands now; nothing is called."""
    if not connection.is_active:
        return Door(waits_on="connection", sentence=f"{connection} is switched off.")
    if connection.paused_at:
        return Door(
            waits_on="paused", sentence=f"{connection} is paused: {connection.pause_reason or 'no reason given'}."
        )
    now = sql.clock()
    window = windows.closed_until(connection.pk, now)
    if window is not None:
        return Door(waits_on="maintenance", until=window[0], sentence=f"Maintenance window: {window[1] or 'planned'}.")
    row = row or breaker.of(connection.pk)
    if row.unauthorised_at is not None:
        return Door(waits_on="unauthorised", until=row.probe_at, sentence=f"Credentials refused: {row.reason}")
    if row.state == Breaker.State.OPEN:
        return Door(waits_on="breaker", until=row.probe_at, sentence=f"The breaker is open: {row.reason}")
    if row.probe_at is not None and row.probe_at > now:
        return Door(waits_on=THROTTLED, until=row.probe_at, sentence="The target told us to slow down.")
    return Door(calls=breaker.slots_allowed(row, connection.concurrency))


def approach(connection: Connection) -> Door:
    """How the door stands after a probe, where one is due.

    What waited on an open door is released; what is due at a closed one waits on it.
    """
    door = look(connection)
    if door.waits_on in ("unauthorised", "breaker") and breaker.take_probe(connection.pk):
        _probe(connection)
        door = look(connection)
    if door.waits_on in DOORS:
        park(connection.pk, door)
    for event in sql.waiting_on(connection.pk, [name for name in DOORS if name != door.waits_on]):
        ledger.wake(event, target_id=connection.pk)
        if door.waits_on in DOORS:
            park(connection.pk, door)
    return door


def park(connection_id: int, door: Door) -> int:
    """Let everything that is due wait on a closed door; how many entries."""
    parked = 0
    while claims := ledger.claimable(connection_id, _PARKED_AT_ONCE):
        parked += ledger.wait([claim.entry_id for claim in claims], door.waits_on)
    return parked


def unlock(connection: Connection) -> Target:
    """The connection as a target. Missing credentials close the door; then Unauthorised is raised."""
    try:
        return registry.target(connection)
    except ConnectorError as error:
        refused(connection, error)
        raise


def receiver(connection: Connection) -> Receiver:
    """The connection as whatever the outbox sends to; otherwise as `unlock`."""
    try:
        return registry.receiver(connection)
    except ConnectorError as error:
        refused(connection, error)
        raise


def stay(connection: Connection) -> Door:
    """How the door stands for somebody who calls already; NotNow once it has closed."""
    door = look(connection)
    if door.waits_on:
        wait = (door.until - sql.clock()).total_seconds() if door.until else 0.0
        raise NotNow(f"{connection} is not asked now. {door.sentence}", wait)
    return door


@contextmanager
def one_call(connection: Connection) -> Iterator[tuple[Target, slots.Lease]]:
    """The target for calls one after the other, outside of a shift, under a slot and the breaker as in one.

    Raises NotNow while the door is closed or every slot is taken. What fails inside is told to the breaker and raised as it is,
    or as NotNow where the failure itself closed the door: there is something to wait for.
    """
    approach(connection)
    standing = stay(connection)
    target = unlock(connection)
    error: ConnectorError | None = None
    with slots.lease(connection.pk, min(standing.calls, target.capabilities.concurrency), wanted=1) as held:
        if not held.numbers:
            raise NotNow(f"As many calls as {connection} allows are under way.")
        try:
            yield target, held
        except ConnectorError as failure:
            error = failure
    if isinstance(error, Unauthorised):
        refused(connection, error)
    else:
        breaker.record(connection.pk, [breaker.hear(error)])
    if error is None:
        causes.authorised(connection)
    else:
        if isinstance(error, Unavailable):
            stay(connection)
        raise error


def refused(connection: Connection, error: ConnectorError) -> None:
    """Note that credentials do not hold: one case for the connection, however many entries wait on it."""
    breaker.record(connection.pk, [breaker.hear(error)])
    causes.unauthorised(connection, str(error))


def _probe(connection: Connection) -> None:
    with slots.lease(connection.pk, 1) as held:
        if not held.numbers:
            return
        error: ConnectorError | None = None
        try:
            registry.receiver(connection).check()
        except ConnectorError as failure:
            error = failure
    row = breaker.probed(connection.pk, error)
    if row.unauthorised_at is None:
        causes.authorised(connection)
    elif error is not None:
        causes.unauthorised(connection, str(error))
