"""`claim`: claim and finish under four workers, against bare SKIP LOCKED claims of 500 rows a transaction.

A claim is what the outbox does for postings: due entries fairly over the entities, the intent with fence, hash, lease and
transition; then the acceptance with transition and receipt. The floor does the same two steps on the same narrow rows with
one bare UPDATE each: no fence, no evidence, no fairness. Workers are processes, as in production.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier

from django.db import connection, transaction

from integrations.bench import firm as firms
from integrations.bench import ledger as entries
from integrations.bench.measure import Result, Scale, paired
from portal import ledger, sql
from portal.models import State
from portal.records import Receipt

ENTRIES = 40_000
BATCH = 500
WORKERS = 4
_fork = multiprocessing.get_context("fork")


def measure(scale: Scale, say: Callable[[str], None]) -> list[Result]:
    """Each round claims, sends and accepts fresh entries; the floor takes the same rows through the same states."""
    firm = firms.build(scale.of(500, 40), scale.of(200, 40), scale.of(2000, 40))
    count = scale.of(ENTRIES, 100)
    target = firm.target.pk
    say(f"  {count} entries a round, {WORKERS} workers")

    def claim_and_finish() -> int:
        with transaction.atomic():
            claims = ledger.claimable(target, BATCH)
            ledger.send([(c.entry_id, c.fence, f"{c.entry_id}") for c in claims], lease_seconds=180, actor="bench")
        rows = [(c.entry_id, c.fence + 1, Receipt(key="", number=f"N{c.entry_id}")) for c in claims]
        with transaction.atomic():
            ledger.accept(rows, State.SENDING, connection_id=target, actor="bench")
        return len(claims)

    def bare() -> int:
        with transaction.atomic():
            claimed = [row[0] for row in sql.rows(_CLAIM, [target, BATCH])]
        with transaction.atomic():
            sql.execute(_FINISH, [claimed])
        return len(claimed)

    def prepare(number: int) -> None:
        sql.execute("TRUNCATE portal_document, portal_ledgertransition, portal_receipt CASCADE")
        entries.ready(firm, count, offset=number * count)

    def value(number: int) -> float:
        prepare(2 * number)
        return count / _together(claim_and_finish, count)

    def floor(number: int) -> float:
        prepare(2 * number + 1)
        return count / _together(bare, count)

    values, floors = paired(scale.rounds, value, floor)
    return [
        Result(
            "claim", "entries/s", values, floors, 0.50, note="intent, evidence and receipt, against two bare UPDATEs"
        )
    ]


_CLAIM = """
UPDATE portal_ledgerstate SET state = 'sending', lease_until = now() + interval '180 seconds', body_hash = 'x'
 WHERE entry_id IN (SELECT entry_id FROM portal_ledgerstate
                     WHERE target_id = %s AND state = 'ready' AND waits_on = '' AND next_attempt_at <= now()
                     LIMIT %s FOR UPDATE SKIP LOCKED)
RETURNING entry_id"""
_FINISH = "UPDATE portal_ledgerstate SET state = 'accepted', receipt_number = 'N' WHERE entry_id = ANY(%s)"


def _together(step: Callable[[], int], count: int) -> float:
    """Seconds until four processes find nothing left. Raises RuntimeError unless every entry was accepted."""
    connection.close()
    start = _fork.Barrier(WORKERS + 1)
    workers = [_fork.Process(target=_work, args=(step, start)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    start.wait()
    begun = time.perf_counter()
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - begun
    accepted = sql.rows("SELECT count(*) FROM portal_ledgerstate WHERE state = 'accepted'")[0][0]
    if accepted != count or any(worker.exitcode for worker in workers):
        raise RuntimeError(f"{accepted} of {count} entries were accepted.")
    return seconds


def _work(step: Callable[[], int], start: Barrier) -> None:
    """One worker, from the moment that all are connected."""
    connection.ensure_connection()
    start.wait()
    while step():
        pass
    connection.close()
