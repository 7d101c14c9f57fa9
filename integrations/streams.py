"""Reading a source: one stream at a time by one reader, page by page, each page filed together with its cursor.

The rule here: the cursor moves only in the transaction that files what stands before it, never across a call to the vendor,
and not at all where the vendor seems to have kept something back. Re-reading may repeat records and never skips one.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass

from django.db import DataError, transaction

from integrations import notices, registry, timing, volume
from integrations.calls import Leave, NoLeave, leave_to_read
from integrations.errors import ConnectorError, Unauthorised, Unavailable
from integrations.models import Run, Stream
from integrations.protocol import Page, Source
from integrations.sql import inbound as sql
from integrations.sql import streams as stream_sql
from portal import audit
from portal.models import Connection, User
from portal.sql import now

log = logging.getLogger(__name__)

LEASE = 300.0  # seconds from one page to the next; longer than a call's total deadline
BUDGET = 300.0  # seconds after which a reader that gets on lets others have their turn
BACK_OFF = (30.0, 60.0, 120.0, 300.0, 600.0, 900.0)  # seconds, by failures in a row
CREDENTIALS_AGAIN = 900.0
WITHOUT_LEAVE_AGAIN = 900.0  # a stream without a schedule whose connection may not be called


class StreamLost(Exception):
    """Our lease ran out and another reader has taken over; what it reads is the truth now."""


@dataclass(slots=True)
class _Reading:
    """One reader at work on one stream."""

    claim: stream_sql.StreamClaim
    connection: Connection
    leave: Leave
    run_id: int
    least: float  # records that must have come before the cursor may move
    read: int = 0
    filed: int = 0
    total: int | None = None
    moved_to: str | None = None
    saw_last: bool = False
    withheld: str = ""  # what the vendor seems to hide, in a sentence

    @property
    def is_truncated(self) -> bool:
        return not self.saw_last or (self.total is not None and self.read < self.total)

    @property
    def is_silent(self) -> bool:
        return self.read < self.least


def pull(
    stream_id: int, trigger: str = Run.Trigger.SCHEDULE, user: User | None = None, *, budget: float | None = BUDGET
) -> Run | None:
    """Read a stream from its cursor and file what comes; the run that tells how it went.

    None when another reader has the stream or the connection may not be called now. `budget` is in seconds (None: to the
    end however long it takes). Whatever the vendor does wrong ends in the run, not in an error.
    """
    claim = stream_sql.claim_stream(stream_id, timing.scaled(LEASE))
    if claim is None:
        return None
    connection = Connection.objects.select_related("entity").get(pk=claim.connection_id)
    leave = leave_to_read(connection)
    if isinstance(leave, NoLeave):
        stream_sql.leave_stream(claim, due_in=leave.seconds or float(claim.every_seconds or WITHOUT_LEAVE_AGAIN))
        return None
    least = volume.expected(claim.usual_volume, claim.every_seconds, claim.seconds_since_success)
    run_id = stream_sql.begin_run(claim, trigger, user.pk if user else None)
    reading = _Reading(claim, connection, leave, run_id, least)
    try:
        is_complete = _read(reading, registry.source(connection), budget)
    except StreamLost as lost:
        stream_sql.end_run(reading.run_id, Run.State.FAILED, str(lost))
    except Exception as error:  # noqa: BLE001 - a reader that dies on one vendor must not stop the others
        _fail(reading, error)
    else:
        leave.heard(None)
        _end(reading, is_complete=is_complete)
    return Run.objects.get(pk=reading.run_id)


def release(stream: Stream, user: User, reason: str) -> None:
    """Believe a silence: the next reading moves the cursor whatever comes, and what is usual is learnt anew. Audited."""
    with transaction.atomic():
        before = {"held_reason": stream.held_reason, "usual_volume": stream.usual_volume}
        Stream.objects.filter(pk=stream.pk).update(held_reason="", usual_volume=0, next_due_at=now())
        notices.silence_ended(stream.connection, stream.name)
        audit.record(
            user, "stream-released", stream, entity=stream.connection.entity_id, reason=reason, before=before
        )  # fmt: skip


def _read(reading: _Reading, source: Source, budget: float | None) -> bool:
    """File page after page; whether the reading came to its end before its time was up."""
    claim, began = reading.claim, time.monotonic()
    with closing(_pages(source, claim)) as pages:
        for page in pages:
            reading.total = page.total if page.total is not None else reading.total
            reading.read += len(page.records)
            reading.saw_last = page.last
            reading.withheld = page.withheld or reading.withheld
            _file(reading, page)
            if page.last:
                return True
            if (
                budget is not None
                and reading.moved_to not in (None, claim.cursor)
                and time.monotonic() - began > budget
            ):
                return False
    return True


def _pages(source: Source, claim: stream_sql.StreamClaim) -> Generator[Page, None, None]:
    yield from source.pull(claim.name, claim.cursor or None)


def _file(reading: _Reading, page: Page) -> None:
    """One page and its cursor, in one transaction."""
    is_short = page.last and reading.total is not None and reading.read < reading.total
    cursor = None if reading.is_silent or is_short else page.cursor
    try:
        filed = _commit(reading, page, cursor, with_care=False)
    except DataError:
        log.warning("stream %s: a page holds a value that the database does not take as it is", reading.claim.name)
        filed = _commit(reading, page, cursor, with_care=True)
    reading.filed += filed
    if cursor is not None:
        reading.moved_to = cursor


def _commit(reading: _Reading, page: Page, cursor: str | None, *, with_care: bool) -> int:
    with transaction.atomic():
        filed = sql.file_records(reading.claim.connection_id, page.records, run_id=reading.run_id, with_care=with_care)
        if not stream_sql.advance_stream(reading.claim, cursor, timing.scaled(LEASE)):
            raise StreamLost("The lease ran out, and another reader has taken over.")
        sql.ask_named(reading.claim.connection_id, page.hints, run_id=reading.run_id)
        stream_sql.read_at_once(reading.claim.connection_id, page.again)
        stream_sql.note_page(reading.run_id, read=len(page.records), filed=filed, cursor=cursor)
    return filed


def _end(reading: _Reading, *, is_complete: bool) -> None:
    """Judge a reading that the vendor did not break off, and say when the stream is due again."""
    claim = reading.claim
    if not is_complete:
        with transaction.atomic():
            stream_sql.leave_stream(claim, due_in=0.0)
            stream_sql.end_run(reading.run_id, Run.State.DONE, "Its time was up; reading goes on from the cursor.")
    elif reading.is_truncated:
        _truncated(reading)
    elif reading.is_silent:
        _silent(reading)
    else:
        usual = volume.learn(claim.usual_volume, reading.read, claim.every_seconds, claim.seconds_since_success)
        with transaction.atomic():
            stream_sql.leave_stream(claim, due_in=_every(claim), usual_volume=usual, held_reason="", succeeded=True)
            if reading.withheld:  # what is shown was read whole, and goes on; what is not shown people have to see to
                stream_sql.end_run(reading.run_id, Run.State.TRUNCATED, reading.withheld)
                notices.truncated(reading.connection, claim.name, reading.withheld)
            else:
                stream_sql.end_run(reading.run_id, Run.State.DONE, "")
                notices.read_well(reading.connection, claim.name)


def _truncated(reading: _Reading) -> None:
    """Something was kept back: what came is filed, and the next reading starts where this one did."""
    cursor: str | None
    if reading.total is not None and reading.read < reading.total:
        sentence = f"The vendor announced {reading.total} records and sent {reading.read}; the range is read again."
        cursor = reading.claim.cursor
    else:
        sentence = "The vendor's pages ended before the last one; reading goes on from the last whole page."
        cursor = None
    with transaction.atomic():
        stream_sql.leave_stream(reading.claim, due_in=_back_off(reading, 0), cursor=cursor)
        stream_sql.end_run(reading.run_id, Run.State.TRUNCATED, sentence)
        notices.truncated(reading.connection, reading.claim.name, sentence)


def _silent(reading: _Reading) -> None:
    """Far less came than usual: nothing is lost, the cursor stays, and after a working day somebody should look."""
    claim, connection = reading.claim, reading.connection
    sentence = (
        f"{reading.read} records came where about {claim.usual_volume:.0f} are usual; "
        "the cursor stays until more comes or a person releases the stream."
    )
    calendar = connection.entity.calendar if connection.entity else {}
    surprising = volume.is_surprising(now(), claim.seconds_since_success or 0.0, connection.zone, calendar)
    with transaction.atomic():
        stream_sql.leave_stream(claim, due_in=_every(claim), held_reason=sentence)
        stream_sql.end_run(reading.run_id, Run.State.HELD, sentence)
        if surprising:
            notices.silent(connection, claim.name, sentence)


def _fail(reading: _Reading, error: Exception) -> None:
    """Write down why reading broke off, and when it is tried again. What was filed stays, and so does the cursor."""
    claim, connection = reading.claim, reading.connection
    failures = stream_sql.failures_in_a_row(claim.connection_id, claim.name)
    wait = _back_off(reading, failures)
    if isinstance(error, ConnectorError):
        sentence = f"{type(error).__name__}: {error}"
        reading.leave.heard(error)
        if isinstance(error, Unavailable) and error.retry_after is not None:
            wait = max(wait, error.retry_after)
        if isinstance(error, Unauthorised):
            wait = timing.scaled(CREDENTIALS_AGAIN)
            notices.unauthorised(connection, error)
    else:
        sentence = f"{type(error).__name__}: {error}"[:2000]
        log.error("reading stream %s of %s failed", claim.name, connection.code, exc_info=error)
    with transaction.atomic():
        stream_sql.leave_stream(claim, due_in=wait)
        stream_sql.end_run(reading.run_id, Run.State.FAILED, sentence)


def _every(claim: stream_sql.StreamClaim) -> float | None:
    return float(claim.every_seconds) if claim.every_seconds else None


def _back_off(reading: _Reading, failures: int) -> float:
    """Seconds until the next try, longer with each failure, and never the same for two streams at once."""
    wait = BACK_OFF[min(failures, len(BACK_OFF) - 1)]
    return timing.scaled(wait) * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, guards nothing
