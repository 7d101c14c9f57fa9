"""`python -m tests.faults.fixer`: forks one worker per line of input that works off an operation, and dies or stops where told.

A line is "OPERATION POINT" (or "-" for none); the answer is the worker's number. "wait NUMBER" is answered with the signal that
ended it, 0 for a good end, or 1 with the error on stderr. Chunks are three rows, and a lease is short.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

import django

CHUNK = 3
LEASE_SECONDS = 0.3
POINTS: dict[str, tuple[str, str, signal.Signals]] = {
    # point: what of the module it is about, before or after it, and the signal
    "in the middle of a chunk": ("work_off", "after", signal.SIGKILL),
    "before its results are written": ("write_results", "before", signal.SIGKILL),
    "before they are committed": ("count_results", "after", signal.SIGKILL),
    "between two chunks": ("chunk", "after", signal.SIGKILL),
    "before the first chunk": ("chunk", "before", signal.SIGKILL),
    "in the middle of a dry-run": ("keep_planned", "after", signal.SIGKILL),
    "before a dry-run is kept": ("_show_what_was_found", "after", signal.SIGKILL),
    "before what was asked for is kept": ("_do_what_was_asked", "after", signal.SIGKILL),
    "stopped between two chunks": ("chunk", "after", signal.SIGSTOP),
    "stopped in the middle of a chunk": ("work_off", "after", signal.SIGSTOP),
}
PASSING = 2  # the second chunk, so that something is done already


def _arm(point: str) -> None:
    from reconciliation.operations import applying, deferring, running
    from reconciliation.sql import operations as sql

    running.CHUNK, running.LEASE_SECONDS = CHUNK, LEASE_SECONDS  # type: ignore[assignment]
    applying.CHUNK, deferring.LEASE_SECONDS = CHUNK, LEASE_SECONDS  # type: ignore[assignment]
    if point == "-":
        return
    name, when, told = POINTS[point]
    place: Any = next(place for place in (sql, deferring, running) if name in vars(place))
    real: Callable[..., Any] = getattr(place, name)
    passings = iter(range(1, 1000))

    def meeting_its_end(*arguments: Any, **more: Any) -> Any:
        is_here = next(passings) == (1 if name.startswith("_") else PASSING)
        if is_here and when == "before":
            os.kill(os.getpid(), told)
        found = real(*arguments, **more)
        if is_here and when == "after":
            os.kill(os.getpid(), told)
        return found

    setattr(place, name, meeting_its_end)


def _work(operation_id: int, point: str) -> int:
    from reconciliation import operations

    _arm(point)
    try:
        operations.run(operation_id)
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def main() -> None:
    """Serve lines until the input ends."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    from reconciliation import operations

    def answer(what: object) -> None:
        sys.stdout.write(f"{what}\n")
        sys.stdout.flush()

    answer(f"ready {operations.__name__}")
    for line in sys.stdin:
        name, _, point = line.strip().partition(" ")
        if name == "wait":
            _, status = os.waitpid(int(point), 0)
            answer(os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))
            continue
        child = os.fork()
        if child == 0:
            os._exit(_work(int(name), point))
        answer(child)


if __name__ == "__main__":
    main()
