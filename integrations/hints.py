"""Hints answered: a webhook says only that something moved; what is true is read again from the vendor and filed.

The rule here: one thing is read once however many hints name it, never inside a transaction, and a hint is done only in the
transaction that files what was read.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from django.db import transaction

from integrations import absences, notices, registry, timing
from integrations.calls import NoLeave, leave_to_read
from integrations.errors import ConnectorError, Malformed, Rejected, Unauthorised, Unavailable
from integrations.models import InboxMessage
from integrations.protocol import Hint, SourceRecord
from integrations.sql import inbound as sql
from portal.models import Connection

log = logging.getLogger(__name__)

LIMIT = 100  # hints of one round
AT_ONCE = 4  # calls at once, if the connection allows as many
LEASE = 600.0  # seconds; longer than a round of calls that all run into their deadline
BACK_OFF = (15.0, 60.0, 300.0, 900.0)  # seconds, by tries
CREDENTIALS_AGAIN = 900.0
TRIES = 8  # of a hint whose answer breaks the connector
State = InboxMessage.State


@dataclass(slots=True)
class Answered:
    """What became of some hints, in numbers."""

    hints: int = 0
    records: int = 0  # filed and not known before
    gone: int = 0
    put_off: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the vendor says about one thing: the records that it holds, or why it did not say."""

    records: Sequence[SourceRecord] = ()
    error: Exception | None = None


def answer(connection_id: int, limit: int = LIMIT) -> Answered:
    """Answer the oldest hints of a connection that are due, at most `limit`; no hints when there are none."""
    hints = sql.claim_hints(connection_id, limit, timing.scaled(LEASE))
    result = Answered(hints=len(hints))
    if not hints:
        return result
    connection = Connection.objects.select_related("entity").get(pk=connection_id)
    leave = leave_to_read(connection)
    if isinstance(leave, NoLeave):
        sql.put_off([hint.id for hint in hints], leave.seconds or CREDENTIALS_AGAIN, f"Waits: {leave.reason}.")
        result.put_off = len(hints)
        return result
    things: dict[Hint, list[sql.HintMessage]] = {}
    for hint in hints:
        things.setdefault(Hint(stream=hint.stream, external_id=hint.external_id), []).append(hint)
    try:
        answers = _read_all(connection, list(things))
    except ConnectorError as error:  # a credential that cannot be read
        answers = [_Answer(error=error)] * len(things)
    leave.heard(_worst(answers))
    for (thing, messages), said in zip(things.items(), answers, strict=True):
        if said.error is None:
            _file(connection, thing, messages, said.records, result)
        else:
            _not_answered(connection, messages, said.error, result)
    if refused := next((said.error for said in answers if isinstance(said.error, Unauthorised)), None):
        notices.unauthorised(connection, refused)
    return result


def _read_all(connection: Connection, things: Sequence[Hint]) -> list[_Answer]:
    """Ask the vendor about each thing, some at once. Credentials that were refused are not tried on the rest."""
    source = registry.source(connection)
    refused: list[Unauthorised] = []

    def read(thing: Hint) -> _Answer:
        if refused:
            return _Answer(error=refused[0])
        try:
            return _Answer(records=list(source.fetch(thing)))
        except Unauthorised as error:
            refused.append(error)
            return _Answer(error=error)
        except Exception as error:  # noqa: BLE001 - one answer that breaks the connector must not stop the others
            return _Answer(error=error)

    at_once = min(AT_ONCE, connection.concurrency, len(things))
    if at_once <= 1:
        return [read(thing) for thing in things]
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(read, things))


def _file(
    connection: Connection,
    thing: Hint,
    messages: Sequence[sql.HintMessage],
    records: Sequence[SourceRecord],
    result: Answered,
) -> None:
    """File what was read, or that nothing is there, and settle the hints with it."""
    second_word = next((hint for hint in messages if absences.was_missed_before(hint.payload)), None)
    with transaction.atomic():
        if records:
            result.records += sql.file_records(connection.pk, records)
        elif second_word is not None:
            absences.confirm(connection.pk, thing, second_word.payload)
            result.gone += 1
        else:
            absences.ask_again(connection.pk, thing, because=f"message {messages[0].id}")
        sql.settle([(hint.id, State.DONE, "") for hint in messages])


def _not_answered(
    connection: Connection, messages: Sequence[sql.HintMessage], error: Exception, result: Answered
) -> None:
    ids = [hint.id for hint in messages]
    tries = min(hint.attempts for hint in messages)
    sentence = f"{type(error).__name__}: {error}"[:2000]
    is_final = isinstance(error, Malformed | Rejected)
    if not isinstance(error, ConnectorError):
        log.error("reading what message %s of %s names failed", ids[0], connection.code, exc_info=error)
        is_final = tries >= TRIES
    if is_final:
        sql.settle([(message_id, State.FAILED, sentence) for message_id in ids])
        result.failed += len(ids)
        return
    wait = timing.step(BACK_OFF, tries - 1)
    if isinstance(error, Unauthorised):
        wait = timing.scaled(CREDENTIALS_AGAIN)
    elif isinstance(error, Unavailable) and error.retry_after is not None:
        wait = max(wait, error.retry_after)
    sql.put_off(ids, wait, sentence)
    result.put_off += len(ids)


def _worst(answers: Sequence[_Answer]) -> ConnectorError | None:
    """What the breaker is told about a round: refused credentials before failures, failures only if nothing went well."""
    errors = [said.error for said in answers if isinstance(said.error, ConnectorError)]
    refused = next((error for error in errors if isinstance(error, Unauthorised)), None)
    if refused is not None or len(errors) < len(answers):
        return refused
    return errors[0]
