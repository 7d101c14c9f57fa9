"""The breaker opens for what says something about the connection, and closes again in small steps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from integrations import breaker
from integrations.breaker import Heard, Kind
from integrations.errors import ConnectorError, InDoubt, Rejected, Unauthorised, Unavailable
from integrations.models import Breaker
from integrations.sql import outbound as sql
from portal.models import AuditEvent, Connection
from tests import world

pytestmark = pytest.mark.django_db
GOOD, FAILED = Heard(Kind.GOOD), Heard(Kind.FAILED, "down")


@pytest.fixture
def erp() -> Connection:
    return world.connection("erp", "memory", is_target=True, concurrency=8)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """The database's clock, moved by the test."""
    now = [datetime(2026, 10, 1, 12, tzinfo=UTC)]
    monkeypatch.setattr(sql, "clock", lambda: now[0])
    return now


def _page(status: int) -> Unavailable:
    error = Unavailable("Told to wait: 503 <html>", status=status)
    error.headers = {"content-type": "text/html"}
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (None, Kind.GOOD),
        (Rejected("no", status=400), Kind.GOOD),
        (Unavailable("slow down", status=429, retry_after=3), Kind.THROTTLED),
        (Unavailable("our own limit", retry_after=3.0), Kind.THROTTLED),
        (Unavailable("no connection"), Kind.FAILED),
        (Unavailable("told to wait", status=503), Kind.FAILED),
        (_page(503), Kind.MAINTENANCE),
        (InDoubt("reset"), Kind.FAILED),
        (Unauthorised("no", status=401), Kind.UNAUTHORISED),
    ],
)
def test_each_error_says_one_thing_about_the_connection(error: ConnectorError | None, kind: Kind) -> None:
    assert breaker.hear(error).kind is kind


def test_five_failures_in_a_row_open_it_and_refusals_never_do(erp: Connection, clock: list[datetime]) -> None:
    breaker.record(erp.pk, [GOOD] * 20)
    assert breaker.record(erp.pk, [FAILED] * 4).state == "closed"
    assert breaker.record(erp.pk, [GOOD]).failures == 0
    assert breaker.record(erp.pk, [FAILED] * 4).state == "closed"
    row = breaker.record(erp.pk, [FAILED])
    assert (row.state, row.reason) == ("open", "down")
    assert row.probe_at == clock[0] + timedelta(seconds=30)
    assert breaker.slots_allowed(row, 8) == 0


def test_failures_further_than_a_minute_apart_are_not_in_a_row(erp: Connection, clock: list[datetime]) -> None:
    for _ in range(9):
        row = breaker.record(erp.pk, [FAILED])
        clock[0] += timedelta(seconds=61)
    assert row.state == "closed"


def test_half_of_the_last_twenty_open_it(erp: Connection, clock: list[datetime]) -> None:
    assert breaker.record(erp.pk, [GOOD, FAILED] * 9 + [GOOD]).state == "closed"
    assert breaker.record(erp.pk, [FAILED]).state == "open"


def test_probes_wait_twice_as_long_each_time_up_to_ten_minutes(erp: Connection, clock: list[datetime]) -> None:
    breaker.record(erp.pk, [FAILED] * 5)
    assert not breaker.take_probe(erp.pk)
    waits = []
    for _ in range(6):
        due = breaker.of(erp.pk).probe_at
        assert due is not None
        clock[0] = due
        assert breaker.take_probe(erp.pk)
        assert not breaker.take_probe(erp.pk)  # one probe at a time
        row = breaker.probed(erp.pk, Unavailable("down"))
        assert row.probe_at is not None
        waits.append((row.probe_at - clock[0]).total_seconds())
    assert waits == [60, 120, 240, 480, 600, 600]


def test_three_good_calls_close_it_and_calls_at_once_grow_slowly(erp: Connection, clock: list[datetime]) -> None:
    breaker.record(erp.pk, [FAILED] * 5)
    clock[0] += timedelta(seconds=31)
    assert breaker.take_probe(erp.pk)
    row = breaker.probed(erp.pk, None)
    assert (row.state, breaker.slots_allowed(row, 8)) == ("half_open", 1)
    row = breaker.record(erp.pk, [GOOD, GOOD])
    assert row.state == "half_open"
    row = breaker.record(erp.pk, [GOOD])
    assert (row.state, breaker.slots_allowed(row, 8)) == ("closed", 1)
    allowed = []
    for calls in (1, 2, 4):
        row = breaker.record(erp.pk, [GOOD] * calls)
        allowed.append(breaker.slots_allowed(row, 8))
    assert allowed == [2, 4, 8]
    row = breaker.record(erp.pk, [GOOD] * 8)
    assert (row.good_probes, row.back_off_seconds) == (0, 30)


def test_a_failure_while_probing_opens_it_again_for_twice_as_long(erp: Connection, clock: list[datetime]) -> None:
    breaker.record(erp.pk, [FAILED] * 5)
    clock[0] += timedelta(seconds=31)
    breaker.take_probe(erp.pk)
    breaker.probed(erp.pk, None)
    row = breaker.record(erp.pk, [GOOD, FAILED])
    assert (row.state, row.back_off_seconds) == ("open", 60)


def test_a_maintenance_page_opens_it_at_once_for_as_long_as_it_says(erp: Connection, clock: list[datetime]) -> None:
    row = breaker.record(erp.pk, [Heard(Kind.MAINTENANCE, "A page", 900.0)])
    assert row.state == "open"
    assert row.probe_at == clock[0] + timedelta(seconds=900)


def test_a_429_waits_as_long_as_it_says_and_then_begins_with_one_call(erp: Connection, clock: list[datetime]) -> None:
    row = breaker.record(erp.pk, [Heard(Kind.THROTTLED, "slow down", 7.0)])
    assert (row.state, row.failures) == ("closed", 0)
    assert row.probe_at == clock[0] + timedelta(seconds=7)
    assert breaker.slots_allowed(row, 8) == 1


def test_refused_credentials_stop_everything_until_a_probe_is_good(erp: Connection, clock: list[datetime]) -> None:
    row = breaker.record(erp.pk, [Heard(Kind.UNAUTHORISED, "invalid_grant")])
    assert row.unauthorised_at == clock[0]
    assert not breaker.take_probe(erp.pk)
    clock[0] += timedelta(seconds=301)
    assert breaker.take_probe(erp.pk)
    assert breaker.probed(erp.pk, None).unauthorised_at is None


def test_a_person_opens_it_for_good_and_closes_it_with_a_trace(erp: Connection, clock: list[datetime]) -> None:
    person = world.user("adam")
    breaker.open_by_hand(erp, person, "migration")
    clock[0] += timedelta(days=1)
    assert not breaker.take_probe(erp.pk)
    assert Breaker.objects.get().state == "open"
    breaker.close_by_hand(erp, person, "migration done")
    assert Breaker.objects.get().state == "half_open"
    assert list(AuditEvent.objects.order_by("id").values_list("action", "reason")) == [
        ("breaker-opened", "migration"),
        ("breaker-closed", "migration done"),
    ]
