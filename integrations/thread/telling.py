"""The thread in lines for a terminal: the same stations, steps and differences as on the page, then the evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from django.utils import timezone

from integrations.postings import plain
from integrations.thread.comparison import side_by_side
from integrations.thread.doubt import doubt_of
from integrations.thread.finding import EntryThread, Thread
from integrations.thread.lineage import lineage
from portal.models import Connection, Expense, State, TimeEntry
from reconciliation.amounts import explained
from reconciliation.validation import owing

if TYPE_CHECKING:
    from integrations.protocol import Capabilities

Able = Callable[[Connection], "Capabilities | None"]


def told(thread: Thread, able: Able = lambda _: None) -> Iterator[str]:
    """The thread in lines for a terminal. `able` says what a target can do, None where that is not known."""
    document = thread.document
    yield (
        f"{document.get_kind_display()} {document.external_id} of {document.connection} "
        f"({document.entity}), version {document.current_version}"
    )
    for message in thread.messages:
        yield f"  received {message.received_at:%Y-%m-%d %H:%M:%S} as {message.stream} revision {message.revision}"
    for version in thread.versions:
        yield f"  version {version.version}: {_version(version)}"
    why = owing.why_not_of([document])[0]
    if why is not None:
        yield f"  not owed: {why.sentence}"
    for entry in thread.entries:
        yield from _entry(thread, entry, able)


def _version(version: TimeEntry | Expense) -> str:
    quantity = (
        f"{plain(version.hours)} h" if isinstance(version, TimeEntry) else f"{plain(version.amount)} {version.currency}"
    )
    project = version.project_code or version.project_name or version.project_key or "no project"
    person = version.resource_name or version.resource_code or version.resource_key or "nobody"
    by = f", by {version.author}: {version.reason}" if version.author else ""
    return f"{version.status}, {quantity} on {version.work_date} by {person} on {project}{by}"


def _entry(whole: Thread, thread: EntryThread, able: Able) -> Iterator[str]:
    entry, state = thread.entry, thread.entry.state_row
    takes_back = f", takes back entry {entry.reverses_id}" if entry.reverses_id else ""
    waits = f", waits on {state.waits_on}" if state.waits_on else ""
    yield (
        f"  entry {entry.pk} (version {entry.version}, key {entry.idempotency_key.hex}) to {entry.target}{takes_back}: "
        f"{state.get_state_display().lower()}{waits}"
    )
    for station in lineage(whole, thread):
        moment = f", {timezone.localtime(station.at):%Y-%m-%d %H:%M:%S}" if station.at is not None else ""
        yield f"    {station.name}: {station.words}{moment}"
    if state.state == State.IN_DOUBT:
        yield f"    {doubt_of(entry, able(entry.target)).sentence}"
    for what, how in explained(entry, thread.settled_at):
        yield f"    {what}: {how}"
    yield f"    posted on {entry.post_on}"
    can = able(entry.target)
    for sentence in side_by_side(whole, thread, can.hours_tolerance if can else None).sentences:
        yield f"    difference: {sentence}"
    for hold in thread.holds:
        closed = f" ({hold.get_outcome_display()})" if hold.outcome else ""
        yield f"    held by {hold.rule}{closed}: {hold.sentence}"
    for move in thread.transitions:
        why = f": {move.reason}" if move.reason else ""
        yield f"    {move.at:%Y-%m-%d %H:%M:%S} {move.from_state or 'new'} → {move.to_state} by {move.actor}{why}"
    for line in thread.attempts:
        attempt = line.attempt
        status = f" {attempt.http_status}" if attempt.http_status else ""
        detail = f": {line.detail}" if line.detail else ""
        outcome = line.outcome or "no answer yet"
        yield f"    {attempt.get_purpose_display().lower()} {attempt.started_at:%H:%M:%S}:{status} {outcome}{detail}"
    if thread.receipt:
        yield f"    receipt {thread.receipt.number} of {thread.receipt.received_at:%Y-%m-%d %H:%M:%S}"
    for read in thread.read_backs:
        told = "equal" if read.is_equal else f"differs: {read.differences}" if read.found else "not there"
        yield f"    read back {read.at:%Y-%m-%d %H:%M:%S}: {told}"
    for statement in thread.lines:
        gone = f", gone since {statement.gone_at:%Y-%m-%d}" if statement.gone_at else ""
        yield f"    statement {statement.read_at:%Y-%m-%d %H:%M:%S}: {statement.work_date}, {statement.hours} h{gone}"
    for result in thread.results:
        reason = f": {result.reason}" if result.reason else ""
        yield (
            f"    reconciled in run {result.run_id} ({result.run.period.code}), {result.get_leg_display()}: "
            f"{result.get_outcome_display().lower()}{reason}"
        )
