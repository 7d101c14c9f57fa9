"""How long things wait. Every wait of the outbound half is stated here in real seconds and scaled for tests.

The rule here: moments are the database's clock and durations are seconds; `TIEOUT_TIME_SCALE` shrinks all waits alike, so
that a test sees in two seconds what production sees in six minutes, in the same order.
"""

from __future__ import annotations

from django.conf import settings

LEASE = 180.0  # an entry being sent; longer than a call's total deadline
SLOT_LEASE = 90.0  # leave to call; renewed while work goes on
LOOK_UPS = (30.0, 120.0, 360.0)  # after an entry fell in doubt
LOOK_UP_EVERY = 300.0  # after the last of these, while the target cannot be asked or still may book
ESCALATE_DOUBT = 1800.0  # an entry in doubt for this long becomes a case
READ_BACKS = (5.0, 30.0, 120.0, 600.0)  # after acceptance, while the target does not show the record yet
READ_BACK_EVERY = 3600.0  # after the last of these, and for a record that differs
STILL_EQUAL_EVERY = 86400.0  # a posted entry of an open period is read again
RETRY = (15.0, 60.0, 300.0, 900.0)  # after a call that booked nothing, by attempts so far
BREAKER_WINDOW = 60.0  # failures in a row count when they follow each other this closely
BREAKER_BACK_OFF = 30.0
BREAKER_LONGEST_BACK_OFF = 600.0
THROTTLED = 5.0  # after a 429 that names no time
CREDENTIALS_AGAIN = 300.0  # refused credentials are tried again this often


def scaled(seconds: float) -> float:
    """A wait as it is really waited."""
    return seconds * settings.TIME_SCALE


def step(steps: tuple[float, ...], index: int, then: float | None = None) -> float:
    """The wait at a position of a schedule, scaled; past its end `then`, or its last wait."""
    if index < len(steps):
        return scaled(steps[index])
    return scaled(steps[-1] if then is None else then)
