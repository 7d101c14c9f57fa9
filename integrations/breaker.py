"""Whether calls to one connection go through: one row per connection, shared by every worker.

The rule here: only what says something about the connection counts. A refusal of a posting is a good call, since the vendor
answered; a 429 slows us down and opens nothing; refused credentials stop everything until they hold again. It opens after
5 failures in a row within a minute of each other, or 10 among the last 20 calls; one probe that writes nothing is let
through after 30 s, and after every failed probe the wait doubles, up to 10 min; three good calls close it, and the number
of calls at once then grows by one with each good call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.db import transaction

from integrations import timing
from integrations.errors import ConnectorError, InDoubt, Malformed, Rejected, Unauthorised, Unavailable
from integrations.models import Breaker, BreakerMove
from integrations.sql import outbound as sql
from portal import audit
from portal.models import Connection, User

FAILURES_IN_A_ROW = 5
RECENT = 20
PROBES = 3
_BY_HAND = "by hand"


class Kind(StrEnum):
    """What one call said about the connection."""

    GOOD = "good"
    FAILED = "failed"  # not reached, broken off, or answered with a server error
    THROTTLED = "throttled"
    MAINTENANCE = "maintenance"  # a page that says so instead of the application
    UNAUTHORISED = "unauthorised"


@dataclass(frozen=True, slots=True)
class Heard:
    """One call, as far as it concerns the connection. `retry_after` is in seconds."""

    kind: Kind
    detail: str = ""
    retry_after: float | None = None


def hear(error: ConnectorError | None) -> Heard:
    """What one call says about the connection, from the error it ended in."""
    match error:
        case None | Rejected() | Unavailable(awaits=True):
            return Heard(Kind.GOOD)
        case Unauthorised():
            return Heard(Kind.UNAUTHORISED, str(error))
        case Unavailable(status=429):
            return Heard(Kind.THROTTLED, str(error), error.retry_after)
        case Unavailable(status=status) if status is not None and error.body is None and _is_page(error):
            return Heard(Kind.MAINTENANCE, f"A page answered instead of the application ({status}).", error.retry_after)
        case Unavailable(status=None, retry_after=float()):
            return Heard(Kind.THROTTLED, str(error), error.retry_after)
        case Unavailable():
            return Heard(Kind.FAILED, str(error), error.retry_after)
        case InDoubt() | Malformed():
            return Heard(Kind.FAILED, str(error))
        case _:
            return Heard(Kind.FAILED, str(error))


def _is_page(error: ConnectorError) -> bool:
    return "html" in error.headers.get("content-type", "").lower()


def of(connection_id: int) -> Breaker:
    """The connection's breaker; a closed one where none was needed so far."""
    row = Breaker.objects.filter(connection_id=connection_id).first()
    return row or Breaker(connection_id=connection_id, changed_at=sql.clock())


def slots_allowed(row: Breaker, concurrency: int) -> int:
    """How many calls at once may go out: one while probing, growing by one with each good call after closing."""
    if row.state == Breaker.State.OPEN:
        return 0
    if row.state == Breaker.State.HALF_OPEN:
        return min(1, concurrency)
    if row.good_probes:
        return max(1, min(concurrency, row.good_probes - PROBES + 1))
    return concurrency


def record(connection_id: int, heard: Sequence[Heard]) -> Breaker:
    """Take in some calls, in their order, under the row's lock; returns the breaker as it stands now."""
    with transaction.atomic():
        row = _locked(connection_id)
        now = sql.clock()
        for call in heard:
            _take_in(row, call, now)
        row.save()
    return row


def open_by_hand(connection: Connection, user: User, reason: str) -> None:
    """Let nothing through until a person closes it again. Audited."""
    with transaction.atomic():
        row = _locked(connection.pk)
        before = row.state
        _move(row, Breaker.State.OPEN, f"Opened {_BY_HAND} by {user.get_username()}: {reason}", sql.clock())
        row.probe_at = None
        row.save()
        audit.record(
            user, "breaker-opened", connection, entity=connection.entity_id, reason=reason,
            before={"state": before}, after={"state": row.state},
        )  # fmt: skip


def close_by_hand(connection: Connection, user: User, reason: str) -> None:
    """Let calls through again, slowly at first; also after refused credentials were renewed. Audited."""
    with transaction.atomic():
        row = _locked(connection.pk)
        before = row.state
        _move(row, Breaker.State.HALF_OPEN, "", sql.clock())
        row.unauthorised_at = None
        row.save()
        audit.record(
            user, "breaker-closed", connection, entity=connection.entity_id, reason=reason,
            before={"state": before}, after={"state": row.state},
        )  # fmt: skip


def take_probe(connection_id: int) -> bool:
    """Whether this worker may send the one probe that is due. The next one is due after the current back-off."""
    with transaction.atomic():
        row = _locked(connection_id)
        now = sql.clock()
        stopped = row.state == Breaker.State.OPEN or row.unauthorised_at is not None
        if not stopped or row.probe_at is None or row.probe_at > now:
            return False
        row.probe_at = now + timedelta(seconds=timing.scaled(row.back_off_seconds))
        row.save(update_fields=["probe_at"])
        return True


def probed(connection_id: int, error: ConnectorError | None) -> Breaker:
    """Take in the outcome of a probe: good lets single calls through, anything else doubles the wait."""
    with transaction.atomic():
        row = _locked(connection_id)
        now, heard = sql.clock(), hear(error)
        if heard.kind is Kind.GOOD:
            row.unauthorised_at = None
            row.succeeded_at = now
            _move(row, Breaker.State.HALF_OPEN, "", now)
        elif heard.kind is Kind.UNAUTHORISED:
            _refuse(row, heard, now)
        else:
            row.failed_at = now
            _open(row, heard, now, again=True)
        row.save()
    return row


def _locked(connection_id: int) -> Breaker:
    rows = Breaker.objects.select_for_update().filter(connection_id=connection_id)
    row = rows.first()
    if row is None:
        fresh = Breaker(connection_id=connection_id, changed_at=sql.clock())
        Breaker.objects.bulk_create([fresh], ignore_conflicts=True)
        row = rows.get()
    return row


def _take_in(row: Breaker, call: Heard, now: datetime) -> None:
    match call.kind:
        case Kind.GOOD:
            _good(row, now)
        case Kind.THROTTLED:
            wait = timing.scaled(timing.THROTTLED) if call.retry_after is None else call.retry_after
            row.probe_at = max(row.probe_at or now, now + timedelta(seconds=wait))
            row.good_probes = PROBES
        case Kind.UNAUTHORISED:
            _refuse(row, call, now)
        case Kind.MAINTENANCE:
            row.failed_at = now
            _open(row, call, now, again=row.state == Breaker.State.HALF_OPEN)
        case Kind.FAILED:
            _failed(row, call, now)


def _good(row: Breaker, now: datetime) -> None:
    row.succeeded_at, row.failures = now, 0
    row.recent = [*row.recent, 1][-RECENT:]
    if row.state == Breaker.State.OPEN:  # a call that was under way when it opened; the probe decides
        return
    if row.good_probes or row.state == Breaker.State.HALF_OPEN:
        row.good_probes += 1
        if row.state == Breaker.State.HALF_OPEN and row.good_probes >= PROBES:
            _move(row, Breaker.State.CLOSED, "", now)
            row.good_probes, row.back_off_seconds = PROBES, int(timing.BREAKER_BACK_OFF)
        elif row.good_probes > PROBES + row.connection.concurrency:
            row.good_probes = 0


def _failed(row: Breaker, call: Heard, now: datetime) -> None:
    close = row.failed_at is not None and now - row.failed_at <= timedelta(seconds=timing.BREAKER_WINDOW)
    row.failures = row.failures + 1 if close else 1
    row.failed_at = now
    row.recent = [*row.recent, 0][-RECENT:]
    if row.state == Breaker.State.OPEN:
        return
    if row.state == Breaker.State.HALF_OPEN:
        _open(row, call, now, again=True)
    elif row.failures >= FAILURES_IN_A_ROW or (len(row.recent) == RECENT and 2 * sum(row.recent) <= RECENT):
        _open(row, call, now, again=False)


def _refuse(row: Breaker, call: Heard, now: datetime) -> None:
    row.unauthorised_at, row.reason = row.unauthorised_at or now, call.detail
    row.probe_at = now + timedelta(seconds=timing.scaled(timing.CREDENTIALS_AGAIN))


def _open(row: Breaker, call: Heard, now: datetime, *, again: bool) -> None:
    back_off = int(timing.BREAKER_BACK_OFF)
    if again:
        back_off = min(2 * row.back_off_seconds, int(timing.BREAKER_LONGEST_BACK_OFF))
    _move(row, Breaker.State.OPEN, call.detail, now)
    row.back_off_seconds = back_off
    row.probe_at = now + timedelta(seconds=max(timing.scaled(back_off), call.retry_after or 0.0))


def _move(row: Breaker, state: Breaker.State, reason: str, now: datetime) -> None:
    if row.state != state:
        row.changed_at = now
        BreakerMove.objects.create(
            connection_id=row.connection_id, from_state=row.state, to_state=state, reason=reason, at=now
        )
    row.state, row.reason, row.good_probes, row.failures, row.recent, row.probe_at = state, reason, 0, 0, [], None
