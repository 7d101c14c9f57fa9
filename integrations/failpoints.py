"""Named places at which a test lets this process die as `kill -9` would. In production they cost one comparison.

TIEOUT_FAILPOINT names one of them, or "name:3" for its third passing; it is read once, when the process starts.
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

_name, _, _passing = os.environ.get("TIEOUT_FAILPOINT", "").partition(":")
_last_passing = int(_passing or 1)
_passings = count(1)

if _name and _name not in POINTS:
    raise RuntimeError(f"TIEOUT_FAILPOINT={_name!r} is no failpoint; know {', '.join(POINTS)}.")


def pass_by(name: str) -> None:
    """Die here when the environment says so."""
    if name == _name and next(_passings) == _last_passing:
        os.kill(os.getpid(), signal.SIGKILL)


def die_soon(name: str, seconds: float = 0.3) -> None:
    """Die here a moment later: in the midst of the call that follows, when what was sent is out and no answer is in."""
    if name == _name and next(_passings) == _last_passing:
        timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
        timer.daemon = True
        timer.start()
