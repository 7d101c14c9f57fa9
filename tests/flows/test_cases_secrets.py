"""A real token on its way to a vendor over HTTP leaves no trace: not in a table, a history, a log or an error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.db import connection as database

from integrations import inbox, streams
from integrations.models import Run, Stream
from integrations.sandbox.harvest import ACCOUNT_ID, TOKEN
from integrations.sandbox.server import control, sandbox_server
from portal.models import Connection
from tests import world

pytestmark = pytest.mark.django_db(transaction=True)

WRONG = "pat-canary-of-somebody-else"


@pytest.fixture(scope="module")
def harvest() -> Iterator[str]:
    with sandbox_server(names=["harvest"]) as base:
        yield base


@pytest.fixture
def connection(harvest: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Connection:
    control(harvest, "POST", "reset")
    settings.ALLOW_LOOPBACK = True
    monkeypatch.setenv("HARVEST_TOKEN", TOKEN)
    made = world.connection(
        "harvest-us", "harvest", world.entity("US"), is_source=True, credentials={"token": {"env": "HARVEST_TOKEN"}},
        realm=ACCOUNT_ID, zone="America/New_York",
    )  # fmt: skip
    made.base_url = f"{harvest}/harvest/v2"
    made.save()
    return made


def pull(connection: Connection) -> Run:
    stream, _ = Stream.objects.get_or_create(
        connection=connection, name="time_entries", defaults={"every_seconds": 900}
    )
    Stream.objects.filter(pk=stream.pk).update(next_due_at=None, usual_volume=0)
    run = streams.pull(stream.pk)
    assert run is not None
    inbox.take_in_everything(connection.pk)
    return run


def tables_with(secret: str) -> list[str]:
    """The tables in which a text stands somewhere."""
    found = []
    with database.cursor() as cursor:
        for table in sorted({model._meta.db_table for model in apps.get_models()}):
            cursor.execute(f"SELECT count(*) FROM {table} t WHERE t::text LIKE %s", [f"%{secret}%"])
            if cursor.fetchone() != (0,):
                found.append(table)
    return found


@pytest.mark.parametrize("token", [TOKEN, WRONG])
def test_a_token_that_was_sent_stands_nowhere(
    connection: Connection, token: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("HARVEST_TOKEN", token)
    with caplog.at_level("DEBUG"):
        run = pull(connection)
    assert (run.state == Run.State.DONE) == (token == TOKEN), run.failure
    assert tables_with(token) == []
    assert token not in caplog.text
    assert token not in "".join(capfd.readouterr())
    assert token not in repr(connection) + repr(connection.credentials) + run.failure
