"""`move`: ledger moves with a transition row each, against a bare UPDATE of the narrow state table."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from django.db import transaction

from integrations.bench import firm as firms
from integrations.bench import ledger as entries
from integrations.bench.measure import Result, Scale, paired
from portal import ledger, sql

ENTRIES = 100_000
BATCH = 5000


def measure(scale: Scale, say: Callable[[str], None]) -> list[Result]:
    """READY → HELD → READY …, one move of every entry a round, in batches."""
    firm = firms.build(scale.of(500, 40), scale.of(200, 40), scale.of(2000, 40))
    count = scale.of(ENTRIES, 100)
    ids = entries.ready(firm, count)
    batches = [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]
    say(f"  {count} entries")

    def value(_: int) -> float:
        fences = {entry: fence for entry, (_, fence) in ledger.refs_of(ids).items()}
        state = next(iter(ledger.refs_of(ids[:1]).values()))[0]
        sql.execute("VACUUM portal_ledgerstate")
        begun = time.perf_counter()
        moved = 0
        for batch in batches:
            refs = [(entry, fences[entry]) for entry in batch]
            with transaction.atomic():
                if state == "ready":
                    moved += len(ledger.hold(refs, actor="bench", reason="measured"))
                else:
                    moved += len(ledger.release(refs, actor="bench", reason="measured"))
        seconds = time.perf_counter() - begun
        if moved != count:
            raise RuntimeError(f"{moved} of {count} entries moved.")
        return count / seconds

    def floor(_: int) -> float:
        sql.execute("VACUUM portal_ledgerstate")
        begun = time.perf_counter()
        for batch in batches:
            with transaction.atomic():
                sql.execute(
                    "UPDATE portal_ledgerstate SET waits_on = waits_on, moved_at = now() WHERE entry_id = ANY(%s)",
                    [batch],
                )
        return count / (time.perf_counter() - begun)

    def bare_change(_: int) -> float:
        """The least that any change of `state` costs: no fence, no evidence, but the indexes that see the state."""
        sql.execute("VACUUM portal_ledgerstate")
        begun = time.perf_counter()
        for batch in batches:
            with transaction.atomic():
                sql.execute(
                    "UPDATE portal_ledgerstate SET state = CASE state WHEN 'ready' THEN 'held' ELSE 'ready' END,"
                    " moved_at = now() WHERE entry_id = ANY(%s)",
                    [batch],
                )
        return count / (time.perf_counter() - begun)

    values, floors = paired(scale.rounds, value, floor)
    changes = statistics.median(bare_change(number) for number in range(scale.rounds))
    share = statistics.median(values) / changes
    return [
        Result("move", "moves/s", values, floors, 0.40, note=f"{share:.2f} of bare changes of the state",
               extra={"bare_state_changes": round(changes, 1), "of_bare_state_changes": round(share, 3)})
    ]  # fmt: skip
