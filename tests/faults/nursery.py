"""`python -m tests.faults.nursery`: forks one worker per line of input, lets it work a shift, and tells how it ended.

A line is "CONNECTION FAILPOINT" (or "-" for none). The worker recovers, delivers and reads back at that target; the answer is
the signal that ended it, 0 for a good end, or 1 with the error on stderr. Forking from a process that has loaded everything
and holds no database connection starts a worker in milliseconds.
"""

from __future__ import annotations

import os
import sys
import traceback

import django


def _work(connection_id: int, failpoint: str) -> int:
    from integrations import failpoints, outbox, registry

    registry.CONNECTORS["plain"] = "tests.faults.plain.PlainTarget"
    failpoints.arm("" if failpoint == "-" else failpoint)
    try:
        outbox.recover(connection_id)
        outbox.deliver(connection_id)
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def main() -> None:
    """Serve lines until the input ends."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    from integrations import outbox

    sys.stdout.write(f"ready {outbox.__name__}\n")
    sys.stdout.flush()
    for line in sys.stdin:
        connection_id, failpoint = line.split()
        child = os.fork()
        if child == 0:
            os._exit(_work(int(connection_id), failpoint))
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
