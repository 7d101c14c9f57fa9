"""`journey`: entries over HTTP in pages of 500 to READY on the ledger, against the same COPY as `admit`."""

from __future__ import annotations

import time
from collections.abc import Callable

from integrations import inbox, streams
from integrations.bench import admit
from integrations.bench.admit import CopyFloor
from integrations.bench.measure import Result, Scale, paired
from integrations.bench.processes import directory, stand_in
from integrations.models import Run, Stream
from portal import history
from portal.models import Connection

PER_PAGE = 500


def measure(scale: Scale, say: Callable[[str], None]) -> list[Result]:
    """Four accounts are read and taken in one after the other, by one worker."""
    firm = admit.build(scale)
    count = scale.of(admit.ENTRIES, 200)
    say(f"  {count} entries over HTTP, {PER_PAGE} a page")
    for source in firm.sources:
        source.settings = {"window_days": 0}
        source.save(update_fields=["settings"])

    with (
        directory() as var,
        stand_in(
            var, "harvest", people=len(firm.people), projects=len(firm.projects), count=count, per_page=PER_PAGE
        ) as port,
    ):

        def value(number: int) -> float:
            """A round has an address of its own, and with it the vendor's rate limit of its own."""
            admit.forget()
            Stream.objects.all().delete()
            addresses = [
                (source, {"base_url": f"http://127.0.0.1:{port}/{number}/{index}/v2"})
                for index, source in enumerate(firm.sources)
            ]
            history.update_each_with_reason(Connection, addresses, reason="measured")
            begun = time.perf_counter()
            for source in firm.sources:
                stream = Stream.objects.create(connection=source, name="time_entries")
                run = streams.pull(stream.pk)
                if run is None or run.state != Run.State.DONE:
                    raise RuntimeError(f"{source.code} was not read to its end: {run.failure if run else 'no leave'}")
                inbox.take_in_everything(source.pk)
            seconds = time.perf_counter() - begun
            admit.check(count)
            return count / seconds

        value(0)  # what the floor copies
        floor = CopyFloor()
        floor(0)
        values, floors = paired(scale.rounds, value, floor, is_warm=True)
    return [Result("journey", "entries/s", values, floors, 0.30, note="one worker reads and takes in")]
