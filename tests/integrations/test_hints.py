"""Hints: one thing is read once, what is gone is asked for twice, and what does not answer is asked again later."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from integrations import absences, hints, inbox
from integrations.errors import Malformed, Unauthorised, Unavailable
from integrations.models import InboxMessage, Run
from integrations.protocol import Hint
from integrations.sql import inbound as sql
from portal.models import AccountingPeriod, Connection, SubmittedTime
from portal.sql import now
from reconciliation.models import ExceptionCase
from tests.integrations import inbound
from tests.integrations.inbound import Inbound, put

pytestmark = pytest.mark.django_db


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Inbound:
    source = inbound.build(monkeypatch)
    AccountingPeriod.objects.create(
        entity=source.entity, code="2026-10", starts_on=date(2026, 10, 1), ends_on=date(2026, 10, 31)
    )
    return source


def ask(source: Inbound, *ids: int | str, question: str = "delivery 1") -> None:
    things = [Hint(stream="time", external_id=str(each)) for each in ids]
    sql.ask(source.connection.pk, things, question=question, payload={}, run_id=None, after=0.0)


def answer(source: Inbound) -> hints.Answered:
    return hints.answer(source.connection.pk)


def time_passes() -> None:
    InboxMessage.objects.filter(state="new").update(next_attempt_at=now() - timedelta(seconds=1))


def taken_in(source: Inbound) -> None:
    source.pull()
    inbox.take_in(source.connection.pk)
    source.vendor.calls.clear()


def test_a_hint_is_answered_by_reading_again(source: Inbound) -> None:
    put(source.vendor, [1], hours="3")
    ask(source, 1)
    answered = answer(source)
    assert (answered.hints, answered.records) == (1, 1)
    assert source.messages() == [("1", "hint", "done"), ("1", "record", "new")]
    assert InboxMessage.objects.get(kind="record").payload["hours"] == "3"


def test_many_hints_at_one_thing_are_one_call(source: Inbound) -> None:
    put(source.vendor, [1, 2])
    for number in range(5):
        ask(source, 1, question=f"delivery {number}")
    ask(source, 2, question="delivery 9")
    answered = answer(source)
    assert (answered.hints, answered.records) == (6, 2)
    assert source.vendor.calls == ["fetch 1", "fetch 2"]
    assert answer(source).hints == 0


def test_several_calls_go_out_at_once_where_the_connection_allows_it(source: Inbound) -> None:
    Connection.objects.update(concurrency=4)
    put(source.vendor, range(20))
    ask(source, *range(20))
    assert answer(source).records == 20
    assert sorted(source.vendor.calls) == sorted(f"fetch {number}" for number in range(20))


def test_a_vendor_that_is_down_is_asked_again_and_the_hint_stays(source: Inbound) -> None:
    put(source.vendor, [1])
    ask(source, 1)
    source.vendor.failures.append(Unavailable("down", retry_after=40))
    assert answer(source).put_off == 1
    message = InboxMessage.objects.get()
    assert (message.state, message.failure) == ("new", "Unavailable: down")
    assert message.next_attempt_at is not None
    assert message.next_attempt_at > now() + timedelta(seconds=30)
    assert answer(source).hints == 0
    time_passes()
    assert answer(source).records == 1


def test_refused_credentials_are_tried_once_and_make_one_case(source: Inbound) -> None:
    ask(source, 1, 2, 3)
    source.vendor.failures.append(Unauthorised("401"))
    assert answer(source).put_off == 3
    assert source.vendor.calls == ["fetch 1"]
    assert ExceptionCase.objects.get().rule == "connection-unauthorised"


def test_a_missing_secret_of_ours_waits_and_is_told(source: Inbound, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOOK_SECRET")
    ask(source, 1)
    assert answer(source).put_off == 1
    assert "HOOK_SECRET" in ExceptionCase.objects.get().sentence


def test_an_answer_that_cannot_be_read_fails_its_hint_alone(source: Inbound) -> None:
    put(source.vendor, [1, 2])
    ask(source, 1, 2)
    source.vendor.failures.append(Malformed("no record"))
    answered = answer(source)
    assert (answered.failed, answered.records) == (1, 1)
    assert InboxMessage.objects.get(kind="hint", external_id="1").failure == "Malformed: no record"


@pytest.mark.case(70)
def test_an_answer_that_breaks_the_connector_is_parked_after_some_tries(source: Inbound) -> None:
    put(source.vendor, [1])
    ask(source, 1)
    for _ in range(hints.TRIES):
        source.vendor.failures.append(ZeroDivisionError("a bug"))
        answer(source)
        time_passes()
    message = InboxMessage.objects.get()
    assert (message.state, message.failure) == ("failed", "ZeroDivisionError: a bug")


def test_a_paused_connection_is_not_asked(source: Inbound) -> None:
    Connection.objects.update(paused_at=now(), pause_reason="Migration")
    ask(source, 1)
    assert answer(source).put_off == 1
    assert source.vendor.calls == []
    assert "Migration" in InboxMessage.objects.get().failure


class TestGone:
    """A document that the source no longer holds."""

    @pytest.mark.case(14)
    def test_one_not_found_is_not_a_deletion(self, source: Inbound) -> None:
        put(source.vendor, [1])
        taken_in(source)
        del source.vendor.items["1"]
        ask(source, 1)
        assert answer(source).gone == 0
        assert answer(source).hints == 0
        inbox.take_in(source.connection.pk)
        assert source.versions(1) == [(1, "approved")]

    @pytest.mark.case(1, 14)
    def test_not_found_twice_with_time_between_makes_a_deleted_version(self, source: Inbound) -> None:
        put(source.vendor, [1])
        taken_in(source)
        del source.vendor.items["1"]
        ask(source, 1)
        answer(source)
        time_passes()
        assert answer(source).gone == 1
        inbox.take_in(source.connection.pk)
        assert source.versions(1) == [(1, "approved"), (2, "deleted")]
        evidence = InboxMessage.objects.get(revision__endswith="~gone").payload["gone"]
        assert evidence.keys() == {"because", "at", "confirmed_at"}

    @pytest.mark.case(14)
    def test_found_at_the_second_asking_is_not_gone(self, source: Inbound) -> None:
        put(source.vendor, [1])
        taken_in(source)
        item = source.vendor.items.pop("1")
        ask(source, 1)
        answer(source)
        source.vendor.items["1"] = item
        time_passes()
        assert answer(source).gone == 0
        inbox.take_in(source.connection.pk)
        assert source.versions(1) == [(1, "approved")]

    @pytest.mark.case(14)
    def test_a_failing_answer_at_the_second_asking_proves_nothing(self, source: Inbound) -> None:
        put(source.vendor, [1])
        taken_in(source)
        del source.vendor.items["1"]
        ask(source, 1)
        answer(source)
        time_passes()
        source.vendor.failures.append(Unavailable("500"))
        assert answer(source).gone == 0
        inbox.take_in(source.connection.pk)
        assert source.versions(1) == [(1, "approved")]

    def test_what_never_came_is_not_asked_for_again(self, source: Inbound) -> None:
        ask(source, 77)
        answer(source)
        assert source.messages() == [("77", "hint", "done")]

    def test_a_deleted_document_that_comes_back_is_alive_again(self, source: Inbound) -> None:
        put(source.vendor, [1])
        taken_in(source)
        item = source.vendor.items.pop("1")
        ask(source, 1)
        answer(source)
        time_passes()
        answer(source)
        inbox.take_in(source.connection.pk)
        source.vendor.items["1"] = {**item, "stamp": "2026-10-09T00:00:00Z"}
        taken_in(source)
        assert source.versions(1) == [(1, "approved"), (2, "deleted"), (3, "approved")]


class TestSweep:
    """The nightly comparison of ids."""

    @pytest.mark.case(1)
    def test_an_entry_that_vanished_without_a_word_is_found_and_deleted(self, source: Inbound) -> None:
        put(source.vendor, range(5))
        taken_in(source)
        del source.vendor.items["3"]
        run = absences.sweep(source.stream.pk)
        assert run is not None
        assert (run.trigger, run.state, run.gone, run.read) == (Run.Trigger.SWEEP, "done", 1, 4)
        assert answer(source).hints == 0
        time_passes()
        assert answer(source).gone == 1
        inbox.take_in(source.connection.pk)
        assert source.versions(3) == [(1, "approved"), (2, "deleted")]
        assert source.versions(2) == [(1, "approved")]
        source.stream.refresh_from_db()
        assert source.stream.swept_on is not None
        assert source.stream.lease_until is None

    def test_what_waited_for_approval_and_is_no_longer_there_waits_no_more(self, source: Inbound) -> None:
        put(source.vendor, [1], status="submitted")
        put(source.vendor, [2], status="submitted")
        taken_in(source)
        del source.vendor.items["1"]
        assert SubmittedTime.objects.count() == 2
        absences.sweep(source.stream.pk)
        assert SubmittedTime.objects.get().external_id == "2"

    def test_a_vendor_that_reports_deletions_is_not_swept(self, source: Inbound) -> None:
        source.vendor.tombstones = True
        assert absences.sweep(source.stream.pk) is None
        assert source.vendor.calls == []
        source.stream.refresh_from_db()
        assert source.stream.swept_on is not None

    @pytest.mark.case(14)
    def test_a_sweep_that_breaks_off_proves_nothing(self, source: Inbound) -> None:
        put(source.vendor, range(3))
        taken_in(source)
        source.vendor.items.clear()
        source.vendor.failures.append(Unavailable("502"))
        run = absences.sweep(source.stream.pk)
        assert run is not None
        assert (run.state, run.gone) == ("failed", 0)
        assert not InboxMessage.objects.filter(kind="hint").exists()

    @pytest.mark.case(13, 14)
    def test_a_source_that_shows_hardly_anything_is_not_believed(self, source: Inbound) -> None:
        source.vendor.page_size = 100
        put(source.vendor, range(40))
        taken_in(source)
        for number in range(30):
            del source.vendor.items[str(number)]
        run = absences.sweep(source.stream.pk)
        assert run is not None
        assert run.state == "held"
        assert "no longer shows 30 of 40 documents" in run.failure
        assert ExceptionCase.objects.filter(rule="volume-drop").exists()
        assert not InboxMessage.objects.filter(kind="hint").exists()

    @pytest.mark.case(2)
    def test_a_back_dated_entry_that_no_stamp_brought_is_found(self, source: Inbound) -> None:
        put(source.vendor, [1], stamp="2026-10-20")
        taken_in(source)
        put(source.vendor, [2], stamp="2026-10-02", day="2026-10-02")
        assert source.pull().filed == 0
        run = absences.sweep(source.stream.pk)
        assert run is not None
        assert run.filed == 1
        assert answer(source).records == 1
        inbox.take_in(source.connection.pk)
        assert source.versions(2) == [(1, "approved")]

    def test_closed_periods_are_left_alone(self, source: Inbound) -> None:
        put(source.vendor, [1])
        taken_in(source)
        AccountingPeriod.objects.update(state="closed")
        source.vendor.items.clear()
        run = absences.sweep(source.stream.pk)
        assert run is not None
        assert run.gone == 0
