"""`claim`: claim and finish under four workers, against bare SKIP LOCKED claims of 500 rows a transaction.

A claim is what the outbox does for postings: due entries fairly over the entities, the intent with fence, hash, lease and
transition; then the acceptance with transition and receipt. The floor does the same two steps on the same narrow rows with
one bare UPDATE each: no fence, no evidence, no fairness. Workers are processes, as in production (`claimers.py`).
"""

from __future__ import annotations

from collections.abc import Callable

from django.db import connection

from integrations.bench import firm as firms
from integrations.bench import ledger as entries
from integrations.bench.measure import Result, Scale, paired
from integrations.bench.processes import aside, directory, environment
from portal import sql

ENTRIES = 40_000
BATCH = 500
WORKERS = 4


def measure(scale: Scale, say: Callable[[str], None]) -> list[Result]:
    """Each round claims, sends and accepts fresh entries; the floor takes the same rows through the same states."""
    firm = firms.build(scale.of(500, 40), scale.of(200, 40), scale.of(2000, 40))
    count = scale.of(ENTRIES, 100)
    say(f"  {count} entries a round, {WORKERS} workers")

    def prepare(number: int) -> None:
        entries.empty("portal_document, portal_ledgertransition, portal_receipt")
        entries.ready(firm, count, offset=number * count)

    def value(number: int) -> float:
        prepare(2 * number)
        return count / _together("claims", firm.target.pk, count)

    def floor(number: int) -> float:
        prepare(2 * number + 1)
        return count / _together("bare", firm.target.pk, count)

    values, floors = paired(scale.rounds, value, floor)
    return [
        Result(
            "claim", "entries/s", values, floors, 0.50, note="intent, evidence and receipt, against two bare UPDATEs"
        )
    ]


def _together(step: str, target_id: int, count: int) -> float:
    """Seconds until four processes find nothing left. Raises RuntimeError unless every entry was accepted."""
    connection.close()
    with directory() as var:
        job = {"step": step, "target": target_id, "batch": BATCH, "workers": WORKERS}
        seconds = float(aside("integrations.bench.claimers", job, environment(var, "command"))["seconds"])
    accepted = sql.rows("SELECT count(*) FROM portal_ledgerstate WHERE state = 'accepted'")[0][0]
    if accepted != count:
        raise RuntimeError(f"{accepted} of {count} entries were accepted.")
    return seconds
