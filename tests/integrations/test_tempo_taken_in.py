"""Tempo on the real way in: handshake, signed webhooks at our own door, approvals by the log, deletions by the paper trail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from integrations import hints, inbox, streams, subscriptions, webhooks
from integrations.models import InboxMessage, RefusedDelivery, Run, Stream
from integrations.sandbox.server import control, sandbox_server
from integrations.sandbox.tempo import TOKEN
from portal.models import Connection, TimeEntry
from tests import world
from tests.integrations.tempo_account import Site, days_ago, worklog

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def vendors() -> Iterator[str]:
    with sandbox_server(names=["tempo"]) as base:
        yield base


@pytest.fixture
def site(vendors: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Site:
    control(vendors, "POST", "reset")
    settings.ALLOW_LOOPBACK = True
    monkeypatch.setattr("integrations.connectors.tempo.connector.TempoConnector.rate", None)
    monkeypatch.setenv("TEMPO_TOKEN", TOKEN)
    webhooks.forget()
    found = Site(vendors)
    found.configure(rate=[100_000, 1])
    return found


@pytest.fixture
def connection(site: Site) -> Connection:
    made = world.connection(
        "tempo-at", "tempo", world.entity("AT"), is_source=True, zone="Europe/Vienna",
        credentials={"token": {"env": "TEMPO_TOKEN"}}, settings={"currency": "EUR"},
    )  # fmt: skip
    made.base_url = site.account.base_url
    made.save()
    return made


def read(connection: Connection) -> Run:
    stream, _ = Stream.objects.get_or_create(
        connection=connection, name="time_entries", defaults={"every_seconds": 900}
    )
    Stream.objects.filter(pk=stream.pk).update(next_due_at=None, usual_volume=0)
    run = streams.pull(stream.pk)
    assert run is not None
    assert run.state == Run.State.DONE, run.failure
    inbox.take_in_everything(connection.pk)
    return run


def answer(connection: Connection) -> None:
    """Ask for everything that hints name, whatever they are told to wait."""
    InboxMessage.objects.filter(kind="hint", state="new").update(next_attempt_at=None)
    hints.answer(connection.pk)
    inbox.take_in_everything(connection.pk)


def versions(connection: Connection) -> list[tuple[str, int, str]]:
    found = TimeEntry.objects.filter(document__connection=connection).order_by("document__external_id", "version")
    return [(e.document.external_id, e.version, e.status) for e in found]


def subscribe(site: Site, address: str, monkeypatch: pytest.MonkeyPatch, connection: Connection) -> None:
    """What an administrator does once: a subscription for each event, and its secret into our settings."""
    credentials = dict(connection.credentials)
    for number, event in enumerate(("worklog.created", "worklog.updated", "worklog.deleted"), start=1):
        made = site.connector.http.request(
            "POST", "/4/webhooks/subscriptions", json={"url": address, "event": event}
        ).body
        assert made["active"], "the handshake was answered"
        monkeypatch.setenv(f"TEMPO_HOOK_{number}", made["sharedSecret"])
        credentials[f"webhook_secret_{number}"] = {"env": f"TEMPO_HOOK_{number}"}
    connection.credentials = credentials
    connection.save()
    webhooks.forget()


def test_an_approval_its_withdrawal_and_a_deletion_each_become_a_version(site: Site, connection: Connection) -> None:
    site.seed(worklog(1), worklog(2))
    assert read(connection).filed == 2
    assert versions(connection) == []
    site.decide("approve", at=days_ago(3))
    read(connection)
    assert versions(connection) == [("1", 1, "approved"), ("2", 1, "approved")]
    assert read(connection).filed == 0
    site.decide("reopen", at=days_ago(2))
    read(connection)
    assert versions(connection)[1::2] == [("1", 2, "draft"), ("2", 2, "draft")]
    site.decide("approve", at=days_ago(1))
    site.act("delete", ids=[2], at=days_ago(0.5))
    read(connection)
    for _ in range(2):  # asked for by name, and once more after a while
        answer(connection)
    assert versions(connection)[-1] == ("2", 3, "deleted")
    count = InboxMessage.objects.count()
    read(connection)
    answer(connection)
    assert InboxMessage.objects.count() == count, "the same row of the paper trail is no new hint"


@pytest.mark.case(117, 118, 119)
def test_webhooks_come_through_our_own_door_once_signed_and_are_read_again(
    site: Site, connection: Connection, live_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribe(site, f"{live_server.url}/hooks/tempo-at/", monkeypatch, connection)
    site.seed(worklog(1))
    site.decide("approve", at=days_ago(1))
    site.act("fire", event="worklog.created", ids=[1])
    assert InboxMessage.objects.filter(kind="hint").count() == 1
    answer(connection)
    assert versions(connection) == [("1", 1, "approved")]
    site.act("fire", event="worklog.updated", ids=[1], secret="forged")
    assert RefusedDelivery.objects.count() == 1
    site.act("delete", ids=[1])
    site.act("fire", event="worklog.deleted", ids=[1])
    answer(connection)
    answer(connection)
    assert versions(connection)[-1] == ("1", 2, "deleted")


def test_a_subscription_that_fell_asleep_is_refreshed_by_the_night(
    site: Site, connection: Connection, live_server: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SITE_URL = live_server.url
    subscribe(site, subscriptions.address_of(connection), monkeypatch, connection)
    site.configure(tries=1)
    site.seed(worklog(1))
    site.act("fire", event="worklog.updated", ids=[1], secret="forged")
    asleep = [item["event"] for item in site.inspect()["subscriptions"] if not item["active"]]
    assert asleep == ["worklog.updated"]
    assert "1 webhook subscriptions are inactive" in site.connector.check()
    assert subscriptions.keep(connection.pk) == "1 of 3 webhook subscriptions of Tempo were refreshed."
    assert all(item["active"] for item in site.inspect()["subscriptions"])


def test_a_missing_subscription_is_told(site: Site, connection: Connection) -> None:
    assert subscriptions.keep(connection.pk) == (
        "0 of 0 webhook subscriptions of Tempo were refreshed. There is none for worklog.created, worklog.updated, "
        "worklog.deleted."
    )


@pytest.mark.case(120)
def test_a_webhook_that_never_came_is_made_good_by_the_schedule(site: Site, connection: Connection) -> None:
    site.seed(worklog(1))
    site.decide("approve", at=days_ago(1))
    assert read(connection).filed == 1
    assert versions(connection) == [("1", 1, "approved")]
