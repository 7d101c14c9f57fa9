"""What operators do with a connection by hand: test it, pause it, let it go on, have a stream read now.

The rule here: every such act has a person and a reason, and leaves an audit event; what follows from it is found by rows, so
a hint that is lost costs seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from django.db import transaction

from integrations import breaker, registry, wake, wording
from integrations.errors import ConnectorError
from integrations.http import within
from integrations.models import Breaker, Run, Stream
from integrations.outbox import causes
from integrations.protocol import Account, Described
from portal import audit
from portal.history import update_each_with_reason
from portal.models import Connection, User
from portal.sql import now

PATIENCE = 15.0  # seconds: a person waits for what the vendor says to a test


@dataclass(frozen=True, slots=True)
class Tested:
    """What a test by hand found: whether the account answers, the sentence about it, and what came beside it."""

    is_good: bool
    sentence: str
    raw: str = ""
    fields: Mapping[str, Sequence[str]] = field(
        default_factory=dict
    )  # the account's own, by the setting that maps them

    @classmethod
    def failed(cls, error: Exception) -> Tested:
        """What went wrong, in words."""
        said = wording.in_words(str(error))
        return cls(False, said.sentence, said.raw)


def test(connection: Connection, user: User) -> Tested:
    """Prove, without writing, that the account answers. The breaker hears of it; one opened by hand stays open.

    Calls the vendor: not to be used inside a transaction.
    """
    error: ConnectorError | None = None
    try:
        half = registry.target(connection) if connection.is_target else registry.source(connection)
        with within(PATIENCE):
            tested = Tested(True, half.check())
    except ConnectorError as failure:
        error, tested = failure, Tested.failed(failure)
    except (registry.UnknownConnector, registry.WrongHalf) as wrong:
        return Tested(False, str(wrong))
    with transaction.atomic():
        _tell_breaker(connection, error)
        audit.record(
            user, "connection-tested", connection, entity=connection.entity_id,
            after={"answers": tested.is_good, "sentence": tested.raw or tested.sentence},
        )  # fmt: skip
    return tested


def try_out(connector: str, told: Account) -> Tested:
    """Prove that an account answers before it is a connection; nothing is written, and nothing of it is kept.

    Calls the vendor: not to be used inside a transaction.
    """
    try:
        half = registry.built(registry.connector_type(connector), told)
    except registry.UnknownConnector as unknown:
        return Tested(False, str(unknown))
    except ConnectorError as failure:
        return Tested.failed(failure)
    with within(PATIENCE):
        try:
            tested = Tested(True, half.check())
        except ConnectorError as failure:
            tested = Tested.failed(failure)
        return replace(tested, fields=_fields(half))


def _fields(half: object) -> Mapping[str, Sequence[str]]:
    """The fields that an account has, also where a wrong name of one made its test fail; none where it does not say."""
    if not isinstance(half, Described):
        return {}
    try:
        return half.fields()
    except ConnectorError:
        return {}


def _tell_breaker(connection: Connection, error: ConnectorError | None) -> None:
    row = breaker.of(connection.pk)
    stopped = row.state == Breaker.State.OPEN or row.unauthorised_at is not None
    by_hand = row.state == Breaker.State.OPEN and row.probe_at is None
    if stopped and not by_hand:
        breaker.probed(connection.pk, error)
        if error is None:
            causes.authorised(connection)
    elif not by_hand:
        breaker.record(connection.pk, [breaker.hear(error)])


def pause(connection: Connection, user: User, reason: str) -> None:
    """Call the connection no more until a person resumes it. What is owed waits and burns no attempt. Audited."""
    with transaction.atomic():
        _change(connection, user, reason, paused_at=now(), pause_reason=reason[:300])
        audit.record(user, "connection-paused", connection, entity=connection.entity_id, reason=reason)


def resume(connection: Connection, user: User, reason: str) -> None:
    """Let the connection go on: its streams are due now, and what waited for it may be posted. Audited."""
    with transaction.atomic():
        before = {"paused_at": connection.paused_at, "pause_reason": connection.pause_reason}
        _change(connection, user, reason, paused_at=None, pause_reason="")
        streams = Stream.objects.filter(connection=connection, every_seconds__gt=0)
        streams.update(next_due_at=now())
        audit.record(user, "connection-resumed", connection, entity=connection.entity_id, reason=reason, before=before)
    for stream_id in streams.values_list("pk", flat=True):
        wake.up("pull", stream_id)
    if connection.is_target:
        wake.up("deliver", connection.pk)


def _change(connection: Connection, user: User, reason: str, **values: object) -> None:
    update_each_with_reason(Connection, [(connection, values)], reason=reason, actor=user)


def sync_now(stream: Stream, user: User) -> bool:
    """Make a stream due now and wake a reader; whether a hint went out (without one the sweeper is a little later)."""
    with transaction.atomic():
        Stream.objects.filter(pk=stream.pk).update(next_due_at=now())
        audit.record(user, "sync-requested", stream, entity=stream.connection.entity_id)
    return wake.up("pull", stream.pk, Run.Trigger.MANUAL.value, user.pk)
