"""Maintenance windows follow the clock of their zone, in the nights in which it is moved as well."""

from __future__ import annotations

from datetime import UTC, datetime, time

import pytest

from integrations import windows
from integrations.models import MaintenanceWindow


def _weekly(weekday: int, start: time, minutes: int, zone: str = "UTC", reason: str = "") -> MaintenanceWindow:
    return MaintenanceWindow(weekday=weekday, start_time=start, minutes=minutes, zone=zone, reason=reason)


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "end"),
    [
        ("2026-10-04T01:59", None),
        ("2026-10-04T02:00", "2026-10-04T04:00"),
        ("2026-10-04T03:59", "2026-10-04T04:00"),
        ("2026-10-04T04:00", None),
        ("2026-10-05T03:00", None),
    ],
)
def test_a_weekly_window_holds_from_its_start_until_before_its_end(at: str, end: str | None) -> None:
    found = windows.until([_weekly(7, time(2), 120, reason="patches")], _at(at))
    assert found == ((_at(end), "patches") if end else None)


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_starts() -> None:
    found = windows.until([_weekly(6, time(23), 180)], _at("2026-10-04T01:30"))
    assert found is not None
    assert found[0] == _at("2026-10-04T02:00")


@pytest.mark.parametrize(
    ("day", "starts", "ends"),
    [
        ("2026-03-22", "01:00", "04:00"),  # winter: UTC+1, four o'clock is 03:00 UTC and the length says the same
        ("2026-03-29", "01:00", "04:00"),  # the clock skips 02 to 03: three hours last until five o'clock local
        ("2026-10-25", "00:00", "04:00"),  # 02 to 03 comes twice: the clock shows five an hour later
    ],
)
def test_a_window_lasts_its_length_and_until_its_zone_shows_its_end(day: str, starts: str, ends: str) -> None:
    window = _weekly(7, time(2), 180, "Europe/Berlin")
    held = windows.until([window], _at(f"{day}T02:59"))
    assert held is not None
    assert held[0] == _at(f"{day}T{ends}")
    before = windows.until([window], _at(f"{day}T{starts}").replace(second=0))
    assert before is not None
    assert windows.until([window], _at(f"{day}T{ends}")) is None


def test_windows_that_touch_are_one() -> None:
    once = MaintenanceWindow(starts_at=_at("2026-10-04T04:00"), ends_at=_at("2026-10-04T06:30"), reason="move")
    found = windows.until([once, _weekly(7, time(2), 120, reason="patches")], _at("2026-10-04T02:30"))
    assert found == (_at("2026-10-04T06:30"), "patches")


def test_the_next_window_is_known_before_it_opens() -> None:
    window = _weekly(7, time(2), 120)
    assert windows.next_start([window], _at("2026-10-01T12:00")) == _at("2026-10-04T02:00")
    assert windows.next_start([], _at("2026-10-01T12:00")) is None
