"""Named places at which a test lets this process die as `kill -9` would. In production they cost one comparison.

TIEOUT_FAILPOINT names one of them, or "name:3" for its third passing; it is read when the process starts.
"""

from __future__ import annotations

import os
import signal
import threading
from itertools import count

POINTS = (
    "before-intent",
    "after-intent",
    "after-send",
    "after-response",
    "after-commit",
    "before-adopt",
    "after-adopt",
)
SOON = 0.1  # seconds

_armed = ""
_last_passing = 1
_passings = count(1)


def arm(point: str) -> None:
    """Let this process die at a point ("name" or "name:passing"), or nowhere (empty)."""
    global _armed, _last_passing, _passings
    name, _, passing = point.partition(":")
    if name and name not in POINTS:
        raise ValueError(f"{name!r} is no failpoint; know {', '.join(POINTS)}.")
    _armed, _last_passing, _passings = name, int(passing or 1), count(1)


def pass_by(name: str) -> None:
    """Die here when the environment says so."""
    if name == _armed and next(_passings) == _last_passing:
        os.kill(os.getpid(), signal.SIGKILL)


def die_soon(name: str) -> None:
    """Die here a moment later: in the midst of the call that follows, when what was sent is out and no answer is in."""
    if name == _armed and next(_passings) == _last_passing:
        timer = threading.Timer(SOON, os.kill, (os.getpid(), signal.SIGKILL))
        timer.daemon = True
        timer.start()


arm(os.environ.get("TIEOUT_FAILPOINT", ""))
