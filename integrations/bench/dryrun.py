"""`dryrun`: what a change of rates over 10,000 open and 600 booked entries would do, against plainly validating the same entries.

The floor writes the same rates and validates the same open entries, rolled back as well, so that both re-price all of them.
What the dry-run does besides is what the ratio shows: reading and checking the lines, finding what they touch, taking stock
before and after, the causes, and asking what the booked entries would say.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal

from integrations.bench import admit
from integrations.bench import firm as firms
from integrations.bench.measure import Result, Scale, bounded, paired
from portal import ledger, sql
from portal.models import LedgerState, Rate, ReadBack, State
from portal.records import Receipt
from reconciliation.changes import Action, Line, measuring
from reconciliation.changes.writing import write
from reconciliation.validation import recheck

ENTRIES, BOOKED = 10_000, 600
PROJECTS, PEOPLE, RATES = 40, 200, 80
SECONDS = 3.0  # for 10,000 entries, on a machine of two cores


def measure(scale: Scale, say: Callable[[str], None]) -> list[Result]:
    """Every rate that holds becomes five dearer, again and again, and never for good."""
    firm = firms.build(PROJECTS, PEOPLE, RATES)
    count, booked = scale.of(ENTRIES, 100), scale.of(BOOKED, 10)
    admit.file(firm, count + booked, faulty=0)
    admit.take_in(firm)
    ids = [row[0] for row in sql.rows("SELECT entry_id FROM portal_ledgerstate ORDER BY entry_id")]
    book(ids[:booked])
    open_now = ids[booked:]
    lines = [
        Line("rate", rate.pk, Action.CHANGE, {"amount": str(rate.amount + Decimal(5))})
        for rate in Rate.objects.filter(valid_to=None)
    ]
    say(f"  {len(open_now)} open and {booked} booked entries, {len(lines)} rates changed")

    def value(_: int) -> float:
        begun = time.perf_counter()
        looked = measuring.dry_run(lines, content="bench")
        seconds = time.perf_counter() - begun
        found = looked.preview
        if (found["repriced"]["entries"], found["booked"]["entries"]) != (count, booked):
            raise RuntimeError(
                f"The dry-run re-priced {found['repriced']} and {found['booked']['entries']} are booked."
            )
        return seconds

    def floor(_: int) -> float:
        with measuring.rolled_back():
            write(lines, reason="bench", actor=None)
            begun = time.perf_counter()
            for start in range(0, len(open_now), measuring.BATCH):
                recheck(open_now[start : start + measuring.BATCH], actor="bench", reason="measured")
            return time.perf_counter() - begun

    values, floors = paired(scale.rounds, value, floor)
    whole = [seconds * ENTRIES / count for seconds in values] if scale.factor >= 1 else values
    return [
        Result(
            "dryrun", "s", values, floors, 1.5, at_least=False, note="lines, stock, causes and what is booked besides"
        ),
        bounded("dryrun.wait", "s", whole, SECONDS, note="for 10,000 open entries"),
    ]


def book(ids: list[int]) -> None:
    """Let entries go to the target and be read back equal."""
    fences = {entry: fence for entry, (_, fence) in ledger.refs_of(ids).items()}
    target = sql.rows("SELECT target_id FROM portal_ledgerentry WHERE id = %s", [ids[0]])[0][0]
    ledger.send([(entry, fence, f"hash-{entry}") for entry, fence in fences.items()], lease_seconds=180, actor="bench")
    ledger.accept(
        [(entry, fence + 1, Receipt(key=str(entry), number=f"N{entry}")) for entry, fence in fences.items()], State.SENDING,
        connection_id=target, actor="bench",
    )  # fmt: skip
    moment = LedgerState.objects.get(entry=ids[0]).moved_at
    ReadBack.objects.bulk_create(ReadBack(entry_id=entry, at=moment, is_equal=True) for entry in ids)
    ledger.prove([(entry, fence + 2) for entry, fence in fences.items()], actor="bench", reason="read back equal")
