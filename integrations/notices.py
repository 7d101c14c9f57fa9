"""What reading tells people: a case for the connection or the stream that is in trouble, closed when it reads well again.

The rule here: one trouble is one case for each legal entity that it touches, however often it is met.
"""

from __future__ import annotations

from integrations.outbox import causes
from portal.models import Connection
from reconciliation import cases

SILENT = "volume-drop"
TRUNCATED = "truncated"
NOT_RENEWED = "webhooks-not-renewed"


def silent(connection: Connection, stream: str, sentence: str) -> None:
    """A source that usually sends much sent little or nothing."""
    _raise(SILENT, connection, stream, f"{connection}, {stream}: {sentence}")


def truncated(connection: Connection, stream: str, sentence: str) -> None:
    """A source sent less than it announced."""
    _raise(TRUNCATED, connection, stream, f"{connection}, {stream}: {sentence}")


def unauthorised(connection: Connection, error: Exception) -> None:
    """The connection's credentials do not hold; everything of it waits."""
    causes.unauthorised(connection, str(error))


def not_renewed(connection: Connection, error: Exception) -> None:
    """Webhooks of the connection may end: the night could not see to them. What they would tell comes by schedule, and later."""
    sentence = (
        f"The webhooks of {connection} could not be seen to and may end: {error} What changes is read by schedule."
    )
    for entity_id in causes.concerned(connection):
        cases.raise_case(
            NOT_RENEWED, entity_id, "connection", connection.code, sentence, connection_id=connection.pk
        )  # fmt: skip


def renewed(connection: Connection) -> None:
    """The webhooks of the connection were seen to."""
    cases.resolve(NOT_RENEWED, "connection", connection.code, reason="The webhooks were seen to.")


def read_well(connection: Connection, stream: str) -> None:
    """The stream was read to its end: nothing is wrong with it or with its connection any more."""
    for rule in (SILENT, TRUNCATED):
        cases.resolve(rule, "stream", _key(connection, stream), reason="The stream was read to its end.")
    causes.authorised(connection)


def silence_ended(connection: Connection, stream: str) -> None:
    """A person believes the silence."""
    cases.resolve(SILENT, "stream", _key(connection, stream), reason="Released by hand.")


def _raise(rule: str, connection: Connection, stream: str, sentence: str) -> None:
    for entity_id in causes.concerned(connection):
        cases.raise_case(
            rule, entity_id, "stream", _key(connection, stream), sentence,
            connection_id=connection.pk, detail={"stream": stream},
        )  # fmt: skip


def _key(connection: Connection, stream: str) -> str:
    return f"{connection.code}/{stream}"
