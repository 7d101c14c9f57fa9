"""Streams: the cursor moves with what was filed and never past what was not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from integrations import registry, streams
from integrations.errors import Malformed, Unauthorised, Unavailable
from integrations.models import Breaker, InboxMessage, Run, Stream
from portal.models import Connection, LegalEntity
from portal.sql import now
from reconciliation.models import ExceptionCase
from tests import world
from tests.integrations import fake_source
from tests.integrations.fake_source import Vendor

pytestmark = pytest.mark.django_db


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    vendor = fake_source.VENDORS["harvest-us"] = Vendor()
    yield vendor
    fake_source.VENDORS.clear()


@pytest.fixture
def source(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> Connection:
    monkeypatch.setitem(registry.CONNECTORS, "fake", "tests.integrations.fake_source.FakeSource")
    return world.connection("harvest-us", owner=world.entity(), is_source=True)


@pytest.fixture
def stream(source: Connection) -> Stream:
    return Stream.objects.create(connection=source, name="time", every_seconds=900)


def pull(stream: Stream, **more: Any) -> Run:
    run = streams.pull(stream.pk, **more)
    assert run is not None
    stream.refresh_from_db()
    return run


def filed() -> list[tuple[str, str]]:
    return list(InboxMessage.objects.order_by("id").values_list("external_id", "revision"))


def test_every_page_is_filed_and_the_cursor_stands_behind_the_last(stream: Stream, vendor: Vendor) -> None:
    for number in range(1, 6):
        vendor.put(number, f"2026-10-0{number}")
    run = pull(stream)
    assert (run.state, run.pages, run.read, run.filed, run.repeated) == ("done", 3, 5, 5, 0)
    assert filed() == [(str(n), f"2026-10-0{n}") for n in range(1, 6)]
    assert stream.cursor == run.cursor_to == "2026-10-05"
    assert (stream.lease_until, stream.held_reason) == (None, "")
    assert stream.succeeded_at is not None
    assert stream.next_due_at is not None


@pytest.mark.case(3)
def test_ties_on_the_cursor_are_read_again_and_filed_once(stream: Stream, vendor: Vendor) -> None:
    vendor.put(1, "2026-10-05")
    pull(stream)
    vendor.put(2, "2026-10-05")
    run = pull(stream)
    assert vendor.calls == ["pull all", "pull 2026-10-05"]
    assert (run.read, run.filed, run.repeated) == (2, 1, 1)
    assert filed() == [("1", "2026-10-05"), ("2", "2026-10-05")]


@pytest.mark.case(7)
def test_the_same_record_twice_in_one_page_is_filed_once_and_counted(
    stream: Stream, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor.put(1, "2026-10-05")
    vendor.items["again"] = vendor.items["1"]
    run = pull(stream)
    assert (run.read, run.filed, run.repeated) == (2, 1, 1)


@pytest.mark.case(12)
def test_a_range_that_holds_less_than_announced_is_truncated_and_read_again_from_its_start(
    stream: Stream, vendor: Vendor
) -> None:
    for number in range(1, 4):
        vendor.put(number, f"2026-10-0{number}")
    vendor.announce = 4
    run = pull(stream)
    assert run.state == "truncated"
    assert "announced 4 records and sent 3" in run.failure
    assert stream.cursor == ""
    assert len(filed()) == 3
    assert ExceptionCase.objects.get().rule == "truncated"
    vendor.put(4, "2026-10-02")
    run = pull(stream)
    assert (run.state, run.filed, stream.cursor) == ("done", 1, "2026-10-03")
    assert ExceptionCase.objects.get().state == "resolved"


@pytest.mark.case(12)
def test_what_a_vendor_hides_is_told_until_it_shows_it_again_and_what_it_shows_is_read_on(
    stream: Stream, vendor: Vendor
) -> None:
    vendor.withheld = "Invoice 7 is not shown any more."
    for number, day in ((1, "2026-10-01"), (2, "2026-10-02")):
        vendor.put(number, day)
        run = pull(stream)
        assert (run.state, run.failure, run.filed) == ("truncated", vendor.withheld, 1)
        assert (stream.cursor, len(filed())) == (day, number)
        assert stream.succeeded_at is not None
    assert ExceptionCase.objects.get().state == "open"
    vendor.withheld = ""
    assert pull(stream).state == "done"
    assert ExceptionCase.objects.get().state == "resolved"


@pytest.mark.case(12)
def test_pages_that_end_before_the_last_one_leave_the_cursor_behind_the_last_whole_page(
    stream: Stream, vendor: Vendor
) -> None:
    for number in range(1, 4):
        vendor.put(number, f"2026-10-0{number}")
    vendor.forgets_last = True
    run = pull(stream)
    assert run.state == "truncated"
    assert stream.cursor == "2026-10-03"
    assert stream.succeeded_at is None


def test_what_was_filed_before_the_vendor_broke_off_stays_and_reading_goes_on_behind_it(
    stream: Stream, vendor: Vendor
) -> None:
    for number in range(1, 5):
        vendor.put(number, f"2026-10-0{number}")
    vendor.fail_after_pages = Unavailable("down", retry_after=77)
    before = now()
    run = pull(stream)
    assert (run.state, run.filed, stream.cursor) == ("failed", 2, "2026-10-02")
    assert run.failure == "Unavailable: down"
    assert stream.next_due_at is not None
    assert stream.next_due_at >= before + timedelta(seconds=76)
    vendor.fail_after_pages = None
    Breaker.objects.all().delete()
    run = pull(stream)
    assert (run.filed, run.repeated, stream.cursor) == (2, 1, "2026-10-04")


def test_failures_in_a_row_are_tried_again_later_and_later(stream: Stream, vendor: Vendor) -> None:
    waits = []
    for _ in range(4):
        vendor.failures.append(Malformed("no list"))
        before = now()
        pull(stream)
        assert stream.next_due_at is not None
        waits.append((stream.next_due_at - before).total_seconds())
    assert waits == sorted(waits)
    assert waits[0] < 40 < waits[3]


def test_refused_credentials_make_one_case_and_the_streams_wait(stream: Stream, vendor: Vendor) -> None:
    other = Stream.objects.create(connection=stream.connection, name="expenses")
    for each in (stream, other):
        vendor.failures.append(Unauthorised("401"))
        Breaker.objects.all().delete()
        assert pull(each).state == "failed"
        assert each.next_due_at is not None
        assert each.next_due_at > now() + timedelta(minutes=5)
    case = ExceptionCase.objects.get()
    assert (case.rule, case.subject_key, case.state) == ("connection-unauthorised", "harvest-us", "open")
    Breaker.objects.all().delete()
    pull(stream)
    case.refresh_from_db()
    assert case.state == "resolved"


def test_a_connector_that_breaks_fails_its_run_and_nothing_else(stream: Stream, vendor: Vendor) -> None:
    vendor.failures.append(ZeroDivisionError("a bug"))
    run = pull(stream)
    assert (run.state, run.failure) == ("failed", "ZeroDivisionError: a bug")
    assert stream.lease_until is None


def test_a_paused_connection_is_not_called(stream: Stream, vendor: Vendor) -> None:
    Connection.objects.filter(pk=stream.connection_id).update(paused_at=now())
    assert streams.pull(stream.pk) is None
    assert vendor.calls == []


def test_an_open_breaker_lets_one_probe_through_and_a_good_one_lets_reading_go_on(
    stream: Stream, vendor: Vendor
) -> None:
    Breaker.objects.create(
        connection=stream.connection,
        state="open",
        changed_at=now(),
        probe_at=now() + timedelta(hours=1),
    )
    assert streams.pull(stream.pk) is None
    Breaker.objects.update(probe_at=now() - timedelta(seconds=1))
    assert pull(stream).state == "done"
    assert Breaker.objects.get().state == "half_open"


class TestSilence:
    """The guard against a source that answers "nothing" by mistake."""

    @pytest.fixture
    def daily(self, stream: Stream) -> Stream:
        Stream.objects.filter(pk=stream.pk).update(
            every_seconds=86400, usual_volume=400, cursor="2026-10-01", succeeded_at=now() - timedelta(days=1)
        )
        Connection.objects.filter(pk=stream.connection_id).update(zone="UTC")
        LegalEntity.objects.update(calendar={"weekend": []})
        stream.refresh_from_db()
        return stream

    @pytest.mark.case(13)
    def test_nothing_where_hundreds_are_usual_is_held_and_the_cursor_stays(self, daily: Stream) -> None:
        run = pull(daily)
        assert run.state == "held"
        assert "0 records came where about 400 are usual" in run.failure
        assert daily.cursor == "2026-10-01"
        assert daily.held_reason == run.failure[:300]
        case = ExceptionCase.objects.get()
        assert (case.rule, case.state) == ("volume-drop", "open")

    @pytest.mark.case(13)
    def test_the_next_good_reading_loses_nothing_and_closes_the_case(self, daily: Stream, vendor: Vendor) -> None:
        pull(daily)
        vendor.page_size = 100
        for number in range(60):
            vendor.put(number, f"2026-10-01T{number:02}")
        run = pull(daily)
        assert (run.state, run.filed) == ("done", 60)
        assert (daily.cursor, daily.held_reason) == ("2026-10-01T59", "")
        assert ExceptionCase.objects.get().state == "resolved"
        assert daily.usual_volume == pytest.approx(332.0)

    def test_few_records_are_filed_although_the_cursor_stays(self, daily: Stream, vendor: Vendor) -> None:
        vendor.put(1, "2026-10-05")
        run = pull(daily)
        assert (run.state, run.filed, daily.cursor) == ("held", 1, "2026-10-01")

    def test_a_person_who_believes_the_silence_lets_the_cursor_go_on(self, daily: Stream, vendor: Vendor) -> None:
        vendor.put(1, "2026-10-05")
        pull(daily)
        streams.release(daily, world.user(owner=daily.connection.entity), "Public holiday")
        assert ExceptionCase.objects.get().state == "resolved"
        run = pull(daily)
        assert (run.state, daily.cursor, daily.held_reason) == ("done", "2026-10-05", "")

    def test_a_reading_by_hand_just_after_a_good_one_is_not_a_silence(self, daily: Stream) -> None:
        Stream.objects.update(succeeded_at=now() - timedelta(minutes=5))
        assert pull(daily, trigger=Run.Trigger.MANUAL).state == "done"

    def test_a_silent_day_off_makes_no_case(self, daily: Stream) -> None:
        LegalEntity.objects.update(calendar={"weekend": [1, 2, 3, 4, 5, 6, 7]})
        assert pull(daily).state == "held"
        assert not ExceptionCase.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_readers_of_one_stream_are_one(stream: Stream, vendor: Vendor) -> None:
    vendor.put(1, "2026-10-01")
    both_in = threading.Event()

    def wait(page: int) -> None:
        both_in.wait(10)

    vendor.before_page = wait
    results: list[Run | None] = []

    def read() -> None:
        try:
            results.append(streams.pull(stream.pk))
        finally:
            database.close()

    first = threading.Thread(target=read)
    first.start()
    while not vendor.calls:
        threading.Event().wait(0.01)
    second = threading.Thread(target=read)
    second.start()
    second.join(10)
    both_in.set()
    first.join(10)
    assert results.count(None) == 1
    assert vendor.calls == ["pull all"]
    assert Run.objects.count() == 1


def test_a_reader_whose_lease_ran_out_files_nothing_more(stream: Stream, vendor: Vendor) -> None:
    for number in range(1, 5):
        vendor.put(number, f"2026-10-0{number}")

    def lose_the_lease(page: int) -> None:
        if page == 2:
            Stream.objects.filter(pk=stream.pk).update(fence=99)

    vendor.before_page = lose_the_lease
    run = pull(stream)
    assert run.state == "failed"
    assert "another reader" in run.failure
    assert (len(filed()), stream.cursor, stream.fence) == (2, "2026-10-02", 99)


def test_a_value_that_the_database_does_not_take_stops_nothing(stream: Stream, vendor: Vendor) -> None:
    vendor.put(1, "2026-10-01", text="nul \x00 and half \ud800 a pair")
    vendor.put("x" * 500, "2026-10-02")
    run = pull(stream)
    assert (run.state, run.filed) == ("done", 2)
    first, second = InboxMessage.objects.order_by("id")
    assert first.payload["text"] == "nul \ufffd and half \ufffd a pair"
    assert len(second.external_id) == 200


@pytest.mark.case(135)
def test_two_days_down_are_caught_up_in_order_without_a_gap(stream: Stream, vendor: Vendor) -> None:
    vendor.put(0, "2026-10-01T00")
    pull(stream)
    Stream.objects.update(succeeded_at=now() - timedelta(days=2), usual_volume=1)
    for number in range(1, 48):
        vendor.put(number, f"2026-10-0{1 + number // 24}T{number % 24:02}")
    cursors = []
    vendor.before_page = lambda _: cursors.append(Stream.objects.get().cursor)
    run = pull(stream)
    assert (run.state, run.read, run.filed, run.repeated) == ("done", 48, 47, 1)
    assert cursors == sorted(cursors)
    assert [int(external_id) for external_id, _ in filed()] == list(range(48))
    assert stream.cursor == "2026-10-02T23"


def test_a_page_is_a_fixed_number_of_statements(stream: Stream, vendor: Vendor, django_assert_num_queries: Any) -> None:
    vendor.page_size = 1000
    vendor.put("first", "2026-10-01")
    pull(stream)
    with CaptureQueriesContext(database) as few:
        pull(stream)
    for number in range(900):
        vendor.put(number, f"2026-10-02T{number:04}")
    with django_assert_num_queries(len(few)):
        pull(stream)
    assert len(filed()) == 901


def test_a_stream_without_a_schedule_that_is_asked_for_while_it_is_read_is_read_once_more(
    source: Connection, vendor: Vendor
) -> None:
    asked = Stream.objects.create(connection=source, name="customers", every_seconds=0)
    asks = Stream.objects.create(connection=source, name="hints", every_seconds=900)
    vendor.put(1, "2026-10-01")

    def meanwhile(number: int) -> None:
        vendor.before_page, vendor.again = None, ("customers",)
        pull(asks)
        vendor.again = ()

    vendor.before_page = meanwhile
    pull(asked)
    assert asked.next_due_at is not None, "what moved behind the page that was read is not lost"
    pull(asked)
    assert asked.next_due_at is None
