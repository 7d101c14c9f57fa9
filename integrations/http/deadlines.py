"""The end of a call, whatever the vendor does. Time-outs of the socket begin anew with every byte; a deadline does not.

One thread per process watches all calls and shuts down the socket of one that is overdue; whatever waits on it fails at once.
A call that is done is never touched, since its connection may already serve the next one.
"""

from __future__ import annotations

import heapq
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from itertools import count
from typing import Any, Protocol

_until: ContextVar[float | None] = ContextVar("until", default=None)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Let all calls of the block together take at most so many seconds: a person waits for them."""
    before = _until.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _until.reset(before)


def left(seconds: float) -> float:
    """What a call may take of so many seconds."""
    until = _until.get()
    return seconds if until is None else max(0.0, min(seconds, until - time.monotonic()))


class Overdue(Protocol):
    """A call as it is watched."""

    expired: bool
    done: bool
    sock: Any


class _Watch:
    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[tuple[float, int, Overdue]] = []
        self._numbers = count()
        self._thread: threading.Thread | None = None

    def begin(self, call: Overdue, seconds: float) -> None:
        """Shut the call's socket down in so many seconds."""
        with self._changed:
            entry = (time.monotonic() + seconds, next(self._numbers), call)
            heapq.heappush(self._waiting, entry)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="http-deadlines", daemon=True)
                self._thread.start()
            elif self._waiting[0] is entry:
                self._changed.notify()

    def end(self, call: Overdue) -> None:
        """The call is over; from here on its socket is somebody else's."""
        with self._changed:
            call.done, call.sock = True, None

    def _run(self) -> None:
        with self._changed:
            while True:
                while self._waiting and (self._waiting[0][2].done or self._waiting[0][0] <= time.monotonic()):
                    self._expire(heapq.heappop(self._waiting)[2])
                self._changed.wait(self._waiting[0][0] - time.monotonic() if self._waiting else None)

    @staticmethod
    def _expire(call: Overdue) -> None:
        if call.done:
            return
        call.expired = True
        if call.sock is not None:
            with suppress(OSError):  # closed by either side already: there is nothing left to end
                call.sock.shutdown(socket.SHUT_RDWR)


_watch = _Watch()


def _forget() -> None:
    """A forked child has none of its parent's threads and calls."""
    global _watch  # noqa: PLW0603
    _watch = _Watch()


os.register_at_fork(after_in_child=_forget)


@contextmanager
def over(call: Overdue, seconds: float) -> Iterator[None]:
    """Let the block take at most so many seconds of the call."""
    watch = _watch
    watch.begin(call, seconds)
    try:
        yield
    finally:
        watch.end(call)
