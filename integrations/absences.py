"""What is no longer at the source. A vendor without tombstones says so only by silence, and silence is not believed.

The rule here: a document counts as deleted when the source was asked for it twice, with time in between, and the second time
by name with the answer that it is not there. An answer that did not come is no answer. What stands at the source and
never arrived here is asked for by name, too.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from django.db import transaction
from django.db.models import F

from integrations import notices, registry, timing
from integrations.calls import NoLeave, leave_to_read
from integrations.errors import ConnectorError, Unauthorised
from integrations.models import Run
from integrations.protocol import Hint, SourceRecord, SweptSource, holds_hints
from integrations.sql import inbound as sql
from integrations.sql import streams as stream_sql
from portal.models import AccountingPeriod, Connection, Expense, TimeEntry
from portal.records import DocumentKind, DocumentRecord, ExpenseRecord, Reference, SourceStatus, TimeEntryRecord
from portal.sql import now

log = logging.getLogger(__name__)

CONFIRM_AFTER = 900.0  # seconds between missing a document and asking for it by name
GONE = "~gone"  # behind the last revision seen, so that it is later than that one and earlier than the source's next
LEASE = 600.0  # seconds, renewed while ids come
_RENEW_EVERY = 5000  # ids
_TOO_MANY, _FEW = (
    0.5,
    20,
)  # a sweep that misses half of what stands says something about the source, not about the documents


class Implausible(Exception):
    """So much is missing that the source's answer is not believed."""


def sweep(stream_id: int) -> Run | None:
    """Compare the ids of open periods with the source's, and ask by name for what is missing on either side.

    None when the source reports deletions itself, the stream is being read, or the connection may not be called now.
    """
    claim = stream_sql.claim_stream(stream_id, timing.scaled(LEASE))
    if claim is None:
        return None
    connection = Connection.objects.select_related("entity").get(pk=claim.connection_id)
    leave = leave_to_read(connection)
    if isinstance(leave, NoLeave):
        stream_sql.leave_swept(claim, is_swept=False)
        return None
    try:
        source = registry.source(connection)
    except Unauthorised as error:
        stream_sql.leave_swept(claim, is_swept=False)
        leave.heard(error)
        notices.unauthorised(connection, error)
        return None
    if source.tombstones or holds_hints(source, claim.name) or not isinstance(source, SweptSource):
        stream_sql.leave_swept(claim, is_swept=True)
        return None
    run_id = stream_sql.begin_run(claim, Run.Trigger.SWEEP, None)
    try:
        missing, found, read = _compare(claim, connection, source, run_id)
    except Exception as error:  # noqa: BLE001 - a partial answer proves nothing; the next night asks again
        _fail(connection, claim, run_id, error)
        if isinstance(error, ConnectorError):
            leave.heard(error)
    else:
        leave.heard(None)
        with transaction.atomic():
            stream_sql.leave_swept(claim, is_swept=True)
            stream_sql.note_page(run_id, read=read, filed=found, cursor=None)
            stream_sql.end_run(run_id, Run.State.DONE, "", gone=missing)
    return Run.objects.get(pk=run_id)


def ask_again(connection_id: int, hint: Hint, *, because: str) -> None:
    """Ask for a document by name once more after a while, because it was missed once."""
    if sql.standing_named(connection_id, hint.stream, [hint.external_id]):
        question = {"missed": {"because": because, "at": now().isoformat()}}
        sql.ask(
            connection_id, [hint], question=f"missed by {because}"[:120], payload=question, run_id=None,
            after=timing.scaled(CONFIRM_AFTER),
        )  # fmt: skip


def was_missed_before(payload: Any) -> bool:
    """Whether a hint is our second question, so that "not there" is the second word for it."""
    return isinstance(payload, dict) and set(payload) == {"missed"}


def confirm(connection_id: int, hint: Hint, payload: Any) -> None:
    """File that a document is gone: missed once, and not there when asked for by name."""
    standing = sql.standing_named(connection_id, hint.stream, [hint.external_id])
    if hint.external_id in standing:
        revision = standing[hint.external_id][2].removesuffix(GONE) + GONE
        evidence = {"gone": {**payload["missed"], "confirmed_at": now().isoformat()}}
        record = SourceRecord(stream=hint.stream, external_id=hint.external_id, revision=revision, payload=evidence)
        sql.file_records(connection_id, [record], ours=True)


def deleted_documents(connection: Connection, messages: Sequence[sql.Message]) -> dict[int, list[DocumentRecord]]:
    """For each confirmed absence: the document as it stood, with the word that it is deleted."""
    deleted: dict[int, list[DocumentRecord]] = {}
    for stream in {message.stream for message in messages}:
        of_stream = {message.external_id: message for message in messages if message.stream == stream}
        standing = sql.standing_named(connection.pk, stream, list(of_stream))
        for record in _as_they_stand(standing):
            message = of_stream[record.external_id]
            deleted.setdefault(message.id, []).append(
                replace(record, status=SourceStatus.DELETED, revision=message.revision)
            )
    return deleted


def _compare(
    claim: stream_sql.StreamClaim, connection: Connection, source: SweptSource, run_id: int
) -> tuple[int, int, int]:
    """Ask about every difference in the open periods: how many were missing, how many new, and how many ids came."""
    missed = found = read = 0
    already = sql.asked_already(connection.pk, claim.name)
    for start, end in _open_ranges(connection):
        present = _present(claim, source, start, end)
        standing = sql.standing_between(connection.pk, claim.name, start, end)
        missing = standing - present
        if len(standing) > _FEW and len(missing) > _TOO_MANY * len(standing):
            raise Implausible(
                f"The source no longer shows {len(missing)} of {len(standing)} documents from {start} to {end}; "
                "nothing is taken for deleted until it does, or until a smaller part is missing."
            )
        unknown = set(sql.unknown_ids(connection.pk, claim.name, sorted(present)))
        with transaction.atomic():
            sql.forget_submitted(connection.pk, claim.name, start, end, present)
            sql.ask(
                connection.pk,
                _hints(claim, missing - already),
                question=f"missed by run {run_id}",
                payload={"missed": {"because": f"run {run_id}", "at": now().isoformat()}},
                run_id=run_id,
                after=timing.scaled(CONFIRM_AFTER),
            )
            sql.ask(
                connection.pk, _hints(claim, unknown - already), question=f"found by run {run_id}",
                payload={"found": {"because": f"run {run_id}"}}, run_id=run_id, after=0.0,
            )  # fmt: skip
        missed, found, read = missed + len(missing), found + len(unknown), read + len(present)
    return missed, found, read


def _present(claim: stream_sql.StreamClaim, source: SweptSource, start: date, end: date) -> set[str]:
    """Every id that the source still holds in a range; the lease is renewed while they come."""
    present: set[str] = set()
    for number, external_id in enumerate(source.present(claim.name, start, end), start=1):
        present.add(external_id)
        if number % _RENEW_EVERY == 0 and not stream_sql.advance_stream(claim, None, timing.scaled(LEASE)):
            raise Implausible("The lease ran out, and a reader has taken the stream over.")
    return present


def _open_ranges(connection: Connection) -> list[tuple[date, date]]:
    """The open periods of the connection's entity, from its cut-over on."""
    state = AccountingPeriod.State
    periods = AccountingPeriod.objects.filter(entity=connection.entity, state__in=[state.OPEN, state.CLOSING])
    if connection.cut_over_on is not None:
        periods = periods.filter(ends_on__gte=connection.cut_over_on)
    return [
        (max(start, connection.cut_over_on or start), end)
        for start, end in periods.order_by("starts_on").values_list("starts_on", "ends_on")
    ]


def _hints(claim: stream_sql.StreamClaim, external_ids: set[str]) -> list[Hint]:
    return [Hint(stream=claim.name, external_id=external_id) for external_id in sorted(external_ids)]


def _fail(connection: Connection, claim: stream_sql.StreamClaim, run_id: int, error: Exception) -> None:
    """End a sweep that proved nothing."""
    state = Run.State.HELD if isinstance(error, Implausible) else Run.State.FAILED
    sentence = str(error) if isinstance(error, Implausible) else f"{type(error).__name__}: {error}"[:2000]
    if not isinstance(error, ConnectorError | Implausible):
        log.error("sweeping stream %s of %s failed", claim.name, connection.code, exc_info=error)
    with transaction.atomic():
        stream_sql.leave_swept(claim, is_swept=False)
        stream_sql.end_run(run_id, state, sentence)
        if isinstance(error, Unauthorised):
            notices.unauthorised(connection, error)
        elif isinstance(error, Implausible):
            notices.silent(connection, claim.name, sentence)


def _as_they_stand(standing: dict[str, tuple[str, int, str]]) -> list[DocumentRecord]:
    """The current versions of some documents, as records again."""
    ids = {kind: [row[1] for row in standing.values() if row[0] == kind] for kind in DocumentKind}
    times = _current(TimeEntry, ids[DocumentKind.TIME])
    expenses = _current(Expense, ids[DocumentKind.EXPENSE])
    return [*map(_time_record, times), *map(_expense_record, expenses)]


def _time_record(time: TimeEntry) -> TimeEntryRecord:
    return TimeEntryRecord(
        **_shared(time), hours=time.hours, rate=time.rate, starts_at=time.starts_at, ends_at=time.ends_at
    )


def _expense_record(expense: Expense) -> ExpenseRecord:
    return ExpenseRecord(
        **_shared(expense),
        amount=expense.amount,
        category=expense.category,
        tax_code=expense.tax_code,
        tax_amount=expense.tax_amount,
        receipt_reference=expense.receipt_reference,
    )


def _current(model: Any, document_ids: list[int]) -> Any:
    versions = model.objects.filter(document_id__in=document_ids, version=F("document__current_version"))
    return versions.select_related("document")


def _shared(version: TimeEntry | Expense) -> dict[str, Any]:
    def named(part: str) -> Reference:
        return Reference(*(getattr(version, f"{part}_{name}") for name in ("key", "code", "name")))

    return {
        "external_id": version.document.external_id,
        "revision": version.revision,
        "status": SourceStatus(version.status),
        "resource": named("resource"),
        "project": named("project"),
        "task": named("task"),
        "customer": named("customer"),
        "work_date": version.work_date,
        "zone": version.zone,
        "billable": version.is_billable,
        "currency": version.currency,
        "description": version.description,
        "approved_by": named("approver"),
        "approved_at": version.approved_at,
        "provenance": version.provenance,
        "link": version.link,
    }
