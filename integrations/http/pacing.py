"""How fast we call. A sliding window per account keeps us under the vendor's published rate.

The window here is one process's. What keeps it over all processes is given to `Http` as its pacer (`integrations/pacing.py`).
Either way the vendor's 429 stays the real limit; this only makes it rare.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple


class Rate(NamedTuple):
    """At most `calls` in any `seconds`."""

    calls: int
    seconds: float


Pacer = Callable[[str, Rate, float], float]  # as `pace` below: account, rate, patience in seconds

PUSH_SECONDS = 60.0  # for how long a push of several steps begins another one


class Deadline:
    """When a push of several steps begins no further one, so that its answer comes while it is still waited for."""

    def __init__(self) -> None:
        self._until = time.monotonic() + PUSH_SECONDS

    @property
    def is_over(self) -> bool:
        """Whether the time for further steps is over."""
        return time.monotonic() >= self._until


class _Window:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.starts: deque[float] = deque()

    def reserve(self, rate: Rate, patience: float) -> float:
        """Take the next free start and return how long to wait for it, or what it would take if that is too long."""
        with self.lock:
            now = time.monotonic()
            while self.starts and self.starts[0] <= now - rate.seconds:
                self.starts.popleft()
            start = now
            if len(self.starts) >= rate.calls:
                start = max(now, self.starts[-rate.calls] + rate.seconds)
            if start - now <= patience:
                self.starts.append(start)
            return start - now


_windows: dict[str, _Window] = {}
_windows_lock = threading.Lock()


def pace(key: str, rate: Rate, patience: float) -> float:
    """Wait until a call under `key` is within its rate.

    Returns 0, or the seconds that it would have taken when they exceed `patience`; then nothing was waited for.
    """
    with _windows_lock:
        window = _windows.setdefault(key, _Window())
    wait = window.reserve(rate, patience)
    if wait > patience:
        return wait
    if wait > 0:
        time.sleep(wait)
    return 0.0
