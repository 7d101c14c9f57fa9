"""`python -m tests.faults.nursery`: forks workers, lets them work side by side, and tells how each ended.

A line is a JSON list of jobs, each [what, number, failpoint]: "deliver" is a shift at a target (recover, deliver, read back),
"operation" a bulk fix in chunks of two rows, "rehearsal" a month in shadow, "pace" some calls to a vendor at its rate.
The answer is a JSON list: the signal that ended each worker, 0 for a good end, or 1 with the error on stderr. Forking from a
process that has loaded everything and holds no database connection starts a worker in milliseconds; workers that wait for a
time-out or a lease wait together.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from typing import Any

import django

BETWEEN_CHUNKS = "between-chunks"


def _deliver(connection_id: int, failpoint: str) -> None:
    from integrations import failpoints, outbox, registry

    registry.CONNECTORS["plain"] = "tests.faults.plain.PlainTarget"
    failpoints.arm(failpoint)
    outbox.recover(connection_id)
    outbox.deliver(connection_id)


def _operation(operation_id: int, failpoint: str) -> None:
    from reconciliation import operations
    from reconciliation.operations import running

    running.CHUNK = 2
    chunk = running.chunk

    def one(*arguments: Any) -> Any:
        more = chunk(*arguments)
        if failpoint == BETWEEN_CHUNKS:
            os.kill(os.getpid(), signal.SIGKILL)
        return more

    vars(running)["chunk"] = one
    operations.run(operation_id)


def _rehearsal(rehearsal_id: int, failpoint: str) -> None:
    from integrations import rehearsals
    from reconciliation.onboarding import rehearsing

    def killed(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    end = vars(rehearsing)["_end"]

    def written_and_killed(*arguments: Any, **more: Any) -> None:
        vars(rehearsing)["portal_sql"].rows = killed  # asked for the moment of the end, once the lines are written
        end(*arguments, **more)

    patched = {"while-judging": ("compare", killed), "while-writing": ("_end", written_and_killed)}
    if failpoint:
        name, stand_in = patched[failpoint]
        vars(rehearsing)[name] = stand_in
    rehearsals.answer(rehearsal_id)


def _pace(connection_id: int, rate: str) -> None:
    """Call a vendor as fast as its rate lets us, which `calls/seconds` replaces."""
    from integrations import registry
    from integrations.http import Rate
    from portal.models import Connection

    source = registry.source(Connection.objects.get(pk=connection_id))
    calls, _, seconds = rate.partition("/")
    http = vars(source)["http"]
    http.rate = Rate(int(calls), float(seconds))
    for _ in range(2):
        source.check()


def _work(what: str, number: int, failpoint: str) -> int:
    try:
        {"deliver": _deliver, "operation": _operation, "rehearsal": _rehearsal, "pace": _pace}[what](number, failpoint)
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def _ended(child: int) -> int:
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def main() -> None:
    """Serve lines until the input ends."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    from integrations import outbox

    sys.stdout.write(f"ready {outbox.__name__}\n")
    sys.stdout.flush()
    for line in sys.stdin:
        children = []
        for what, number, failpoint in json.loads(line):
            child = os.fork()
            if child == 0:
                os._exit(_work(what, number, failpoint))
            children.append(child)
        sys.stdout.write(json.dumps([_ended(child) for child in children]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
