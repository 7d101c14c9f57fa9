"""`claim`: claim and finish under four workers, against bare SKIP LOCKED claims of 500 rows a transaction."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

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


def measure(scale: Scale, say: Callable[[str], None]) -> list[Result]:
    """Each round claims, sends and accepts fresh entries; the floor claims and marks rows of a bare queue."""
    firm = firms.build(scale.of(500, 40), scale.of(200, 40), scale.of(2000, 40))
    count = scale.of(ENTRIES, 100)
    say(f"  {count} entries a round, {WORKERS} workers")
    sql.execute("CREATE TABLE bench_queue (id bigint PRIMARY KEY, done boolean NOT NULL)")
    sql.execute("CREATE INDEX bench_queue_due ON bench_queue (id) WHERE NOT done")

    def claim_and_finish() -> int:
        with transaction.atomic():
            claims = ledger.claimable(firm.target.pk, BATCH)
            ledger.send([(c.entry_id, c.fence, f"{c.entry_id}") for c in claims], lease_seconds=180, actor="bench")
        rows = [(c.entry_id, c.fence + 1, Receipt(key="", number=f"N{c.entry_id}")) for c in claims]
        with transaction.atomic():
            ledger.accept(rows, State.SENDING, connection_id=firm.target.pk, actor="bench")
        return len(claims)

    def bare() -> int:
        return sql.execute(
            "UPDATE bench_queue SET done = true WHERE id IN (SELECT id FROM bench_queue WHERE NOT done ORDER BY id LIMIT %s"
            " FOR UPDATE SKIP LOCKED)",
            [BATCH],
        )

    def value(number: int) -> float:
        entries.ready(firm, count, offset=number * count)
        return count / _together(claim_and_finish)

    def floor(_: int) -> float:
        sql.execute("TRUNCATE bench_queue")
        sql.execute("INSERT INTO bench_queue SELECT n, false FROM generate_series(1, %s) n", [count])
        return count / _together(bare)

    values, floors = paired(scale.rounds, value, floor)
    sql.execute("DROP TABLE bench_queue")
    return [Result("claim", "entries/s", values, floors, 0.50, note="claim, intent and receipt, against a bare mark")]


def _together(step: Callable[[], int]) -> float:
    """Seconds until four threads find nothing left."""

    def work() -> None:
        try:
            while step():
                pass
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(WORKERS)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - begun
