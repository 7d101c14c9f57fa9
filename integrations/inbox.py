"""From the inbox to the ledger: records are mapped, become documents, and are admitted, in one transaction per batch.

The rule here: what cannot be read waits here for operations, alone. A record that breaks its batch is found by halving the
batch and set aside, and everything else goes on; a fault of the database is nobody's record's fault and is tried again.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

from django.db import InterfaceError, OperationalError, transaction

from integrations import absences, registry, timing
from integrations.errors import Malformed
from integrations.models import InboxMessage
from integrations.protocol import Source, SourceRecord
from integrations.sql import inbound as sql
from portal import audit, billing_intake, canonical, master_intake
from portal.models import Connection, User
from portal.records import BillingRecord, CanonicalRecord, DocumentRecord, MasterRecord
from reconciliation import billing, validation

log = logging.getLogger(__name__)

LIMIT = 5000  # records of one transaction: the facts of a batch are loaded once, whatever its size
WAIT_FOR_PARENT = 60.0  # seconds until a record is tried again that names one which is not here yet
TRIES = 60
TOO_MANY = 20  # records that fail one after the other before any was taken in: then something of ours is broken
State = InboxMessage.State


@dataclass(slots=True)
class TakenIn:
    """What became of some messages, in numbers."""

    messages: int = 0
    documents: int = 0
    superseded: int = 0
    ignored: int = 0
    failed: int = 0

    def __iadd__(self, other: TakenIn) -> Self:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self


@dataclass(slots=True)
class _Batch:
    """One batch on its way: what the messages say, and what became of each."""

    documents: list[tuple[int, DocumentRecord]] = field(default_factory=list)
    masters: list[tuple[int, MasterRecord]] = field(default_factory=list)
    billing: list[tuple[int, BillingRecord]] = field(default_factory=list)
    outcomes: dict[int, tuple[str, str]] = field(default_factory=dict)

    def fail(self, message_id: int, sentence: str) -> None:
        self.outcomes[message_id] = (State.FAILED, sentence)


def take_in(connection_id: int, limit: int = LIMIT) -> TakenIn:
    """Take in the oldest new records of a connection, at most `limit`; empty when there is none.

    Raises what breaks every record alike; then all of them stay as they were.
    """
    connection = Connection.objects.select_related("entity").get(pk=connection_id)
    source = registry.source(connection)
    claimed: list[int] = []
    try:
        return _take_in_batch(connection, source, claimed, limit, None)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        if not claimed:
            raise
        search = _Search(connection, source)
        search.halve(claimed, error)
        return search.set_aside()


def take_in_everything(connection_id: int, limit: int = LIMIT) -> TakenIn:
    """Take in until nothing new is left."""
    total = TakenIn()
    while (taken := take_in(connection_id, limit)).messages:
        total += taken
    return total


def replay(messages: Iterable[int], *, user: User, reason: str) -> int:
    """Have messages mapped and taken in again, whatever became of them before; how many. Audited.

    Raises ValueError without a reason.
    """
    if not reason.strip():
        raise ValueError("A replay needs a reason; it is kept in the audit trail.")
    with transaction.atomic():
        again = InboxMessage.objects.select_for_update().filter(pk__in=list(messages)).exclude(state=State.NEW)
        chosen = list(again.order_by("id").values_list("pk", "connection_id"))
        InboxMessage.objects.filter(pk__in=[pk for pk, _ in chosen]).update(
            state=State.NEW, failure="", attempts=0, next_attempt_at=None, handled_at=None
        )
        for connection in Connection.objects.filter(pk__in={connection_id for _, connection_id in chosen}):
            ids = [pk for pk, connection_id in chosen if connection_id == connection.pk]
            audit.record(
                user, "messages-replayed", connection, entity=connection.entity_id, reason=reason,
                after={"messages": len(ids), "first": ids[0], "last": ids[-1]},
            )  # fmt: skip
    return len(chosen)


def _take_in_batch(
    connection: Connection, source: Source, claimed: list[int], limit: int, ids: Sequence[int] | None
) -> TakenIn:
    """One batch in one transaction. `claimed` is filled with its message ids, also when it fails."""
    with _undisturbed(), transaction.atomic():
        messages = sql.claim_records(connection.pk, limit, ids)
        if not messages:
            return TakenIn()
        claimed.extend(message.id for message in messages)
        batch = _map(connection, source, messages)
        documents = _take_in_documents(connection, batch) if batch.documents else 0
        waiting = _take_in_masters(connection, batch) if batch.masters else {}
        waiting |= _take_in_billing(connection, batch) if batch.billing else {}
        sql.settle([(m.id, *batch.outcomes[m.id]) for m in messages if m.id not in waiting])
        sql.settle_failed(connection.pk, claimed)
    counts = [state for state, _ in batch.outcomes.values()]
    return TakenIn(
        len(messages),
        documents,
        counts.count(State.SUPERSEDED),
        counts.count(State.IGNORED),
        counts.count(State.FAILED),
    )


@contextmanager
def _undisturbed() -> Iterator[None]:
    """No garbage collection meanwhile: it would walk the records of a batch many times over, and all of them live."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _map(connection: Connection, source: Source, messages: Sequence[sql.Message]) -> _Batch:
    """Translate a batch. A message that cannot be read fails by itself."""
    batch = _Batch()
    gone = absences.deleted_documents(connection, [message for message in messages if message.is_ours])
    for message in messages:
        try:
            records: list[CanonicalRecord]
            records = list(gone.get(message.id, ())) if message.is_ours else list(source.map(_as_filed(message)))
        except Malformed as error:
            batch.fail(message.id, str(error))
            continue
        except Exception as error:
            log.exception("mapping message %s of %s failed", message.id, connection.code)
            batch.fail(message.id, f"The mapping of {connection.connector} broke: {type(error).__name__}: {error}")
            continue
        batch.outcomes[message.id] = (State.DONE, "") if records else (State.IGNORED, "")
        for record in records:
            if isinstance(record, MasterRecord):
                batch.masters.append((message.id, record))
            elif isinstance(record, BillingRecord):
                batch.billing.append((message.id, record))
            elif not isinstance(record, DocumentRecord):
                batch.fail(
                    message.id, f"{type(record).__name__} is no document, no bill, no payment and no master data."
                )
            elif connection.entity_id is None:
                batch.fail(
                    message.id, f"Connection {connection.code} has no legal entity to whom a document could belong."
                )
            else:
                batch.documents.append((message.id, record))
    batch.documents = [(i, record) for i, record in batch.documents if batch.outcomes[i][0] != State.FAILED]
    return batch


def _as_filed(message: sql.Message) -> SourceRecord:
    return SourceRecord(
        stream=message.stream, external_id=message.external_id, revision=message.revision, payload=message.payload
    )


def _take_in_documents(connection: Connection, batch: _Batch) -> int:
    """Documents, then the ledger. A message of several documents is told by the best that became of one."""
    taken = canonical.take_in(connection, batch.documents)
    for state, ids in ((State.IGNORED, taken.ignored), (State.SUPERSEDED, taken.superseded)):
        for message_id in ids:
            batch.outcomes[message_id] = (state, "")
    for message_id in (*taken.unchanged, *taken.done):
        batch.outcomes[message_id] = (State.DONE, "")
    if taken.documents:
        validation.admit(taken.documents, actor=f"source {connection.code}")
    return len(taken.documents)


def _take_in_billing(connection: Connection, batch: _Batch) -> dict[int, str]:
    """Bills and payments, then who is billed for what; the messages that wait for their entity, and what for."""
    taken = billing_intake.take_in(connection, batch.billing)
    for state, ids in ((State.IGNORED, taken.ignored), (State.SUPERSEDED, taken.superseded)):
        for message_id in ids:
            batch.outcomes[message_id] = (state, "")
    for message_id in (*taken.unchanged, *taken.done):
        batch.outcomes[message_id] = (State.DONE, "")
    billing.follow(taken.bills, taken.payments, actor=f"source {connection.code}")
    if taken.waiting:
        sql.put_off_until_known(list(taken.waiting.items()), timing.scaled(WAIT_FOR_PARENT), TRIES)
    return taken.waiting


def _take_in_masters(connection: Connection, batch: _Batch) -> dict[int, str]:
    """Master data; the messages that wait for another record, and what for. An older copy never overwrites a newer one."""
    outdated = sql.outdated([message_id for message_id, _ in batch.masters])
    for message_id in outdated:
        batch.outcomes[message_id] = (State.SUPERSEDED, "")
    current = [(message_id, record) for message_id, record in batch.masters if message_id not in outdated]
    outcome = master_intake.take_in(connection, current)
    for message_id, sentence in outcome.left.items():
        batch.outcomes[message_id] = (State.IGNORED, sentence)
    for message_id, sentence in outcome.failed.items():
        batch.outcomes[message_id] = (State.FAILED, sentence)
    if outcome.waiting:
        sql.put_off_until_known(list(outcome.waiting.items()), timing.scaled(WAIT_FOR_PARENT), TRIES)
    return outcome.waiting


class _Search:
    """The search for the records that break a batch: its halves are taken in by themselves, down to single records.

    Where the first records fail one after the other, it is not the records: nothing is set aside and the error is raised.
    """

    def __init__(self, connection: Connection, source: Source) -> None:
        self.connection = connection
        self.source = source
        self.total = TakenIn()
        self.broken: list[tuple[int, Exception]] = []

    def halve(self, ids: Sequence[int], error: Exception) -> None:
        if len(ids) == 1:
            self.broken.append((ids[0], error))
            if len(self.broken) >= TOO_MANY and not self.total.messages:
                raise error
            return
        middle = len(ids) // 2
        for half in (ids[:middle], ids[middle:]):
            try:
                self.total += _take_in_batch(self.connection, self.source, [], len(half), half)
            except (OperationalError, InterfaceError):
                raise
            except Exception as broken:  # noqa: BLE001 - as above
                self.halve(half, broken)

    def set_aside(self) -> TakenIn:
        """Fail the records that were found; what came of the whole batch."""
        for message_id, error in self.broken:
            log.error("message %s of %s breaks its batch", message_id, self.connection.code, exc_info=error)
        sql.settle(
            [(i, State.FAILED, f"It cannot be taken in: {type(e).__name__}: {e}"[:2000]) for i, e in self.broken]
        )
        self.total += TakenIn(messages=len(self.broken), failed=len(self.broken))
        return self.total
