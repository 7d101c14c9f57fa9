"""`python -m integrations.bench.claimers`: claims a backlog with several worker processes, and tells the seconds it took.

It reads one job as JSON. Workers are forked here and nowhere else: this process has loaded everything and runs no thread, so
that no child is born holding a lock of somebody else's.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from multiprocessing.synchronize import Barrier
from typing import Any

import django

_fork = multiprocessing.get_context("fork")
_LIMIT = 300.0  # seconds after which a worker that never ended is given up

_CLAIM = """
UPDATE portal_ledgerstate SET state = 'sending', lease_until = now() + interval '180 seconds', body_hash = 'x'
 WHERE entry_id IN (SELECT entry_id FROM portal_ledgerstate
                     WHERE target_id = %s AND state = 'ready' AND waits_on = '' AND next_attempt_at <= now()
                     LIMIT %s FOR UPDATE SKIP LOCKED)
RETURNING entry_id"""
_FINISH = "UPDATE portal_ledgerstate SET state = 'accepted', receipt_number = 'N' WHERE entry_id = ANY(%s)"


def _claims(target_id: int, batch: int) -> int:
    """What the outbox does for a batch; how many entries it was."""
    from django.db import transaction

    from portal import ledger
    from portal.models import State
    from portal.records import Receipt

    with transaction.atomic():
        claims = ledger.claimable(target_id, batch)
        ledger.send([(c.entry_id, c.fence, f"{c.entry_id}") for c in claims], lease_seconds=180, actor="bench")
    rows = [(c.entry_id, c.fence + 1, Receipt(key="", number=f"N{c.entry_id}")) for c in claims]
    with transaction.atomic():
        ledger.accept(rows, State.SENDING, connection_id=target_id, actor="bench")
    return len(claims)


def _bare(target_id: int, batch: int) -> int:
    """The floor's batch: two bare UPDATEs."""
    from django.db import transaction

    from portal import sql

    with transaction.atomic():
        claimed = [row[0] for row in sql.rows(_CLAIM, [target_id, batch])]
    with transaction.atomic():
        sql.execute(_FINISH, [claimed])
    return len(claimed)


_STEPS: dict[str, Callable[[int, int], int]] = {"claims": _claims, "bare": _bare}


def _work(job: dict[str, Any], start: Barrier) -> None:
    """One worker, from the moment that all are connected."""
    from django.db import connection

    connection.ensure_connection()
    start.wait(_LIMIT)
    step = _STEPS[job["step"]]
    while step(job["target"], job["batch"]):
        pass
    connection.close()


def main() -> None:
    """Do the job. Raises RuntimeError where a worker failed or did not end."""
    job = json.load(sys.stdin)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    import_module("portal.ledger")  # before the fork, so that no child pays for it

    start = _fork.Barrier(job["workers"] + 1)
    workers = [_fork.Process(target=_work, args=(job, start)) for _ in range(job["workers"])]
    for worker in workers:
        worker.start()
    start.wait(_LIMIT)
    begun = time.perf_counter()
    for worker in workers:
        worker.join(_LIMIT)
    seconds = time.perf_counter() - begun
    codes = [worker.exitcode for worker in workers]
    if any(code != 0 for code in codes):
        for worker in workers:
            worker.kill()
        raise RuntimeError(f"The workers ended with {codes}.")
    json.dump({"seconds": seconds}, sys.stdout)


if __name__ == "__main__":
    main()
