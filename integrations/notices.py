"""What reading tells people: a case for the connection or the stream that is in trouble, closed when it reads well again.

The rule here: one trouble is one case for each legal entity that it touches, however often it is met.
"""

from __future__ import annotations

from integrations.outbox import causes
from portal.models import Connection
from reconciliation import cases

SILENT = "volume-drop"
TRUNCATED = "truncated"


def silent(connection: Connection, stream: str, sentence: str) -> None:
    """A source that usually sends much sent little or nothing."""
    _raise(SILENT, connection, stream, f"{connection}, {stream}: {sentence}")


def truncated(connection: Connection, stream: str, sentence: str) -> None:
    """A source sent less than it announced."""
    _raise(TRUNCATED, connection, stream, f"{connection}, {stream}: {sentence}")


def unauthorised(connection: Connection, error: Exception) -> None:
    """The connection's credentials do not hold; everything of it waits."""
    causes.unauthorised(connection, str(error))


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
