"""The sweeper finds by its row whatever was forgotten, and works by itself when nobody can be woken."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection as database
from kombu.exceptions import OperationalError as BrokerDown

from integrations import hints, inbox, sweeper, tasks, wake, work
from integrations.errors import Unavailable
from integrations.models import InboxMessage, Run, Stream
from integrations.protocol import Hint
from integrations.sql import inbound as sql
from integrations.sql import streams as stream_sql
from integrations.sql import waiting
from portal.models import Connection, Document, Heartbeat
from portal.sql import now
from reconciliation import triage
from reconciliation.models import ExceptionCase
from tests import world
from tests.integrations import inbound
from tests.integrations.inbound import Inbound, put
from tests.reconciliation import desk
from tests.reconciliation import firm as firms

pytestmark = pytest.mark.django_db


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Inbound:
    return inbound.build(monkeypatch)


@pytest.fixture(autouse=True)
def by_night(monkeypatch: pytest.MonkeyPatch) -> None:
    """A moment at which nothing of the night is overdue, whenever the tests run."""
    monkeypatch.setattr(sweeper, "now", lambda: datetime(2026, 10, 14, 1, tzinfo=UTC))


@pytest.fixture
def nobody_wakes(monkeypatch: pytest.MonkeyPatch, source: Inbound) -> None:
    monkeypatch.setattr(wake, "up", lambda task, number: False)


def due(stream: Stream, seconds: float = 1.0) -> None:
    Stream.objects.filter(pk=stream.pk).update(next_due_at=now() - timedelta(seconds=seconds))


def test_what_is_due_is_hinted_at_and_not_done(source: Inbound) -> None:
    put(source.vendor, [1])
    due(source.stream)
    swept = sweeper.sweep()
    assert swept is not None
    assert swept.hinted == 1
    assert source.woken == [("pull", source.stream.pk)]
    assert source.vendor.calls == []
    assert Heartbeat.objects.get(name="sweeper").detail == {"hinted": 1, "done": 0, "failed": 0}


def test_without_a_broker_the_sweeper_does_the_work(source: Inbound, nobody_wakes: None) -> None:
    put(source.vendor, [1, 2])
    due(source.stream)
    swept = sweeper.sweep()
    assert swept is not None
    assert swept.done == 1
    assert Document.objects.count() == 2


def test_what_has_waited_too_long_for_a_worker_is_done_although_a_hint_could_be_given(source: Inbound) -> None:
    put(source.vendor, [1])
    due(source.stream, seconds=sweeper.PATIENCE + 5)
    sweeper.sweep()
    assert Document.objects.count() == 1


@pytest.mark.case(120)
def test_a_missed_webhook_is_found_by_the_next_scheduled_reading_and_counted(
    source: Inbound, nobody_wakes: None
) -> None:
    put(source.vendor, [1])
    due(source.stream)
    sweeper.sweep()
    run = Run.objects.get()
    assert (run.trigger, run.filed) == (Run.Trigger.SCHEDULE, 1)
    assert source.versions(1) == [(1, "approved")]


def test_records_filed_by_a_worker_that_died_are_taken_in(source: Inbound, nobody_wakes: None) -> None:
    put(source.vendor, [1, 2, 3])
    source.pull()
    assert not Document.objects.exists()
    sweeper.sweep()
    assert Document.objects.count() == 3


def test_a_webhook_whose_worker_died_is_answered_when_its_lease_is_over(source: Inbound, nobody_wakes: None) -> None:
    put(source.vendor, [1])
    sql.ask(
        source.connection.pk, [Hint(stream="time", external_id="1")], question="d-1", payload={}, run_id=None, after=0.0
    )
    assert len(sql.claim_hints(source.connection.pk, 10, hints.LEASE)) == 1
    sweeper.sweep()
    assert source.vendor.calls == []
    InboxMessage.objects.update(next_attempt_at=now() - timedelta(seconds=1))
    sweeper.sweep()
    assert source.vendor.calls == ["fetch 1"]
    assert Document.objects.count() == 1


def test_a_reader_that_died_is_noted_and_its_stream_is_read_again(source: Inbound, nobody_wakes: None) -> None:
    put(source.vendor, [1])
    claim = stream_sql.claim_stream(source.stream.pk, 300)
    assert claim is not None
    run_id = stream_sql.begin_run(claim, Run.Trigger.SCHEDULE, None)
    Stream.objects.update(lease_until=now() - timedelta(seconds=1), next_due_at=now() + timedelta(hours=1))
    Run.objects.update(heartbeat_at=now() - timedelta(minutes=10))
    swept = sweeper.sweep()
    assert swept is not None
    assert swept.streams == 1
    assert Run.objects.get(pk=run_id).state == "failed"
    assert "ended without a word" in Run.objects.get(pk=run_id).failure
    assert Document.objects.count() == 1


def test_a_piece_of_work_that_fails_does_not_stop_the_others(
    source: Inbound, nobody_wakes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Connection.objects.create(
        code="other",
        name="Other",
        connector="nothing",
        entity=source.entity,
        base_url="http://127.0.0.1:1",
        is_source=True,
    )
    stream = Stream.objects.create(connection=other, name="time")
    InboxMessage.objects.create(
        connection=other, stream="time", external_id="1", revision="1", payload={}, received_at=now()
    )
    put(source.vendor, [1])
    due(source.stream)
    due(stream)
    swept = sweeper.sweep()
    assert swept is not None
    assert swept.failed == 1
    assert Document.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_sweepers_are_one(source: Inbound) -> None:
    assert waiting.try_lock(work.Stage.SWEEP, 0)
    results: list[object] = []

    def sweep() -> None:
        try:
            results.append(sweeper.sweep())
        finally:
            database.close()

    other = threading.Thread(target=sweep)
    other.start()
    other.join(20)
    waiting.unlock(work.Stage.SWEEP, 0)
    assert results == [None]
    assert sweeper.sweep() is not None


@pytest.mark.django_db(transaction=True)
def test_a_second_worker_with_the_same_task_leaves_at_once(source: Inbound) -> None:
    put(source.vendor, [1])
    source.pull()
    assert waiting.try_lock(work.Stage.TAKE_IN, source.connection.pk)

    def take_in() -> None:
        try:
            tasks.take_in(source.connection.pk)
        finally:
            database.close()

    other = threading.Thread(target=take_in)
    other.start()
    other.join(20)
    assert not Document.objects.exists()
    waiting.unlock(work.Stage.TAKE_IN, source.connection.pk)
    tasks.take_in(source.connection.pk)
    assert Document.objects.count() == 1


def test_a_hint_that_cannot_be_published_is_no_error(source: Inbound, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    def down(*_: object, **__: object) -> None:
        raise BrokerDown("no broker")

    monkeypatch.setattr("integrations.wake.current_app.send_task", down)
    assert wake.up("pull", 1) is False


def test_the_night_compares_ids_keeps_webhooks_alive_and_reads_back(source: Inbound) -> None:
    source.pull()
    target = world.connection("erp", owner=source.entity, is_target=True)
    sweeper.nightly()
    assert source.woken == [
        ("sweep_ids", source.stream.pk),
        ("keep_subscriptions", source.connection.pk),
        ("read_back", target.pk),
    ]


@pytest.mark.parametrize(("hour", "hinted"), [(1, []), (3, ["sweep_ids"])])
def test_a_night_whose_hint_was_lost_is_caught_up_by_the_sweeper(
    source: Inbound, monkeypatch: pytest.MonkeyPatch, hour: int, hinted: list[str]
) -> None:
    source.pull()
    monkeypatch.setattr(sweeper, "now", lambda: datetime(2026, 10, 14, hour, tzinfo=UTC))
    sweeper.sweep()
    assert [task for task, _ in source.woken] == hinted


def test_what_is_due_is_hinted_at_by_beat_too(source: Inbound) -> None:
    due(source.stream)
    tasks.pull_due()
    assert source.woken == [("pull", source.stream.pk)]


class TestSyncCommand:
    """manage.py sync."""

    def sync(self, *args: str) -> str:
        out = StringIO()
        call_command("sync", *args, stdout=out)
        return out.getvalue()

    def test_it_reads_takes_in_and_tells(self, source: Inbound) -> None:
        put(source.vendor, range(3))
        lines = self.sync("us-time").splitlines()
        assert lines[0].split() == ["connection", "stream", "outcome", "read", "new", "documents", "failed"]
        assert lines[1].split() == ["us-time", "time", "done", "3", "3", "3", "0"]
        assert Document.objects.count() == 3

    def test_a_failure_ends_it_with_a_sentence(self, source: Inbound) -> None:
        source.vendor.failures.append(Unavailable("502 Bad Gateway"))
        with pytest.raises(CommandError, match="us-time time: Unavailable: 502 Bad Gateway"):
            self.sync()

    def test_an_unknown_source_is_named_beside_the_known(self, source: Inbound) -> None:
        with pytest.raises(CommandError, match="no active source 'gb'; the sources are us-time"):
            self.sync("gb")

    def test_only_what_is_due(self, source: Inbound) -> None:
        Stream.objects.update(next_due_at=now() + timedelta(hours=1))
        assert self.sync("--due") == "Nothing was due.\n"
        assert inbox.take_in(source.connection.pk).messages == 0


def test_a_cause_that_waits_for_the_next_sync_is_back_once_its_source_was_read(nobody_wakes: None) -> None:
    firm = firms.build("CA", "CAD")
    desk.mistyped(firm, 2)
    case = ExceptionCase.objects.get()
    asleep = triage.snooze([case.pk], by=desk.analyst(firm))
    sweeper.sweep()
    case.refresh_from_db()
    assert case.aside == "snoozed"
    Run.objects.create(
        connection=firm.source, stream="time", trigger=Run.Trigger.SCHEDULE, state=Run.State.DONE,
        started_at=asleep.at + timedelta(seconds=1), heartbeat_at=now(), finished_at=now(),
    )  # fmt: skip
    sweeper.sweep()
    case.refresh_from_db()
    assert case.aside == ""
    assert Heartbeat.objects.filter(name="escalation").exists()
