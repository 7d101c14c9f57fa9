"""The three kinds of source on the real way in: read, filed, taken in, corrected, withdrawn, deleted."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integrations import hints, inbox, streams, webhooks
from integrations.models import InboxMessage, Run, Stream
from integrations.sandbox.clockify import API_KEY, CHANGED, WORKSPACE_ID
from integrations.sandbox.harvest import ACCOUNT_ID, TOKEN
from integrations.sandbox.server import control, sandbox_server
from portal.models import Connection, TimeEntry
from tests import world
from tests.integrations import test_clockify, test_harvest

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def vendors() -> Iterator[str]:
    with sandbox_server(names=["harvest", "clockify"]) as base:
        yield base


@pytest.fixture(autouse=True)
def _clean(vendors: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    control(vendors, "POST", "reset")
    settings.ALLOW_LOOPBACK = True
    webhooks.forget()
    monkeypatch.setenv("HARVEST_TOKEN", TOKEN)
    monkeypatch.setenv("CLOCKIFY_KEY", API_KEY)
    monkeypatch.setenv("CLOCKIFY_HOOK", test_clockify.TOKEN)


def connect(code: str, connector: str, base_url: str, **more: Any) -> Connection:
    connection = world.connection(code, connector, world.entity(code[-2:].upper()), is_source=True, **more)
    connection.base_url = base_url
    connection.save()
    return connection


def read(connection: Connection, stream: str) -> Run:
    found, _ = Stream.objects.get_or_create(connection=connection, name=stream, defaults={"every_seconds": 900})
    Stream.objects.filter(pk=found.pk).update(next_due_at=None, usual_volume=0)
    run = streams.pull(found.pk)
    assert run is not None
    assert run.state == Run.State.DONE, run.failure
    inbox.take_in_everything(connection.pk)
    return run


def versions(connection: Connection) -> list[tuple[str, int, str, str]]:
    found = TimeEntry.objects.filter(document__connection=connection).order_by("document__external_id", "version")
    return [(e.document.external_id, e.version, e.status, f"{e.hours:.2f}") for e in found]


def test_harvest_is_polled_corrected_and_withdrawn(vendors: str) -> None:
    us = connect(
        "harvest-us", "harvest", f"{vendors}/harvest/v2", realm=ACCOUNT_ID, zone="America/New_York",
        credentials={"token": {"env": "HARVEST_TOKEN"}},
    )  # fmt: skip
    entries = [test_harvest.entry(1), test_harvest.entry(2), test_harvest.entry(3, approval_status="submitted")]
    control(vendors, "POST", "harvest/seed", {**test_harvest.MASTER, "time_entries": entries})
    assert read(us, "time_entries").filed == 3
    assert versions(us) == [("1", 1, "approved", "7.50"), ("2", 1, "approved", "7.50")]
    assert read(us, "time_entries").filed == 0
    actions = [{"do": "edit", "ids": [1], "changes": {"hours": 6.25}}, {"do": "withdraw", "ids": [2]}]
    control(vendors, "POST", "harvest/seed", {"actions": actions})
    read(us, "time_entries")
    assert versions(us) == [
        ("1", 1, "approved", "7.50"),
        ("1", 2, "approved", "6.25"),
        ("2", 1, "approved", "7.50"),
        ("2", 2, "draft", "7.50"),
    ]


@pytest.mark.case(117, 118)
def test_clockify_comes_by_webhook_and_the_list_repeats_nothing(vendors: str) -> None:
    gb = connect(
        "clockify-gb", "clockify", f"{vendors}/clockify/api/v1", realm=WORKSPACE_ID, zone="Europe/London",
        credentials={"api_key": {"env": "CLOCKIFY_KEY"}, "webhook_token": {"env": "CLOCKIFY_HOOK"}},
    )  # fmt: skip
    approval = test_clockify.approval("a1", test_clockify.entry("e1"))
    control(vendors, "POST", "clockify/seed", {**test_clockify.MASTER, "approvals": [approval]})
    body = {
        "id": "a1",
        "workspaceId": WORKSPACE_ID,
        "status": {"state": "APPROVED", "updatedAt": approval["updatedAt"]},
    }
    headers = {"clockify-signature": test_clockify.TOKEN, "clockify-webhook-event-type": CHANGED}
    assert webhooks.receive("clockify-gb", headers, json.dumps(body).encode(), "127.0.0.1")[0] == 202
    assert webhooks.receive("clockify-gb", headers, json.dumps(body).encode(), "127.0.0.1")[0] == 200
    assert webhooks.receive("clockify-gb", {**headers, "clockify-signature": "x"}, b"{}", "127.0.0.1")[0] == 401
    hints.answer(gb.pk)
    inbox.take_in_everything(gb.pk)
    assert versions(gb) == [("e1", 1, "approved", "1.50")]
    assert read(gb, "time_entries").filed == 0
    control(vendors, "POST", "clockify/seed", {"actions": [{"do": "withdraw", "ids": ["a1"]}]})
    read(gb, "time_entries")
    assert versions(gb) == [("e1", 1, "approved", "1.50"), ("e1", 2, "withdrawn", "1.50")]


def test_a_nightly_file_repeats_lines_changes_one_and_keeps_a_bad_one_waiting(tmp_path: Path) -> None:
    de = connect("files-de", "files", str(tmp_path), zone="Europe/Berlin", settings={"decimal": ",", "delimiter": ";"})

    def drop(name: str, *rows: str) -> None:
        path = tmp_path / name
        path.write_text("person;date;project;hours\n" + "".join(f"{row}\n" for row in rows), encoding="utf-8")
        settled = time.time() - 60
        os.utime(path, (settled, settled))

    drop("time-1.csv", "M-1;03.03.2026;P1;7,5", "M-1;04.03.2026;P1;8", "M-1;31.02.2026;P1;8")
    assert read(de, "time").filed == 3
    assert sorted(row[2:] for row in versions(de)) == [("approved", "7.50"), ("approved", "8.00")]
    [failed] = InboxMessage.objects.filter(connection=de, state="failed")
    assert "Row 4, column “date”: “31.02.2026” is not a date" in failed.failure
    assert read(de, "time").filed == 0
    drop("time-2.csv", "M-1;03.03.2026;P1;7,5", "M-1;04.03.2026;P1;6")
    read(de, "time")
    assert sorted((version, hours) for _, version, _, hours in versions(de)) == [(1, "7.50"), (1, "8.00"), (2, "6.00")]
