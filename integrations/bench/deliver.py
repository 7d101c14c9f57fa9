"""`deliver`: READY to POSTED against a target that takes 100 ms a call, at several concurrencies.

The floor is what a bare client gets out of the same target in the same run, which is concurrency ÷ latency. Our own CPU is
that of this process: claiming, the last look at the rules, signing, calling, settling, and reading back.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from integrations import outbox
from integrations.bench import admit
from integrations.bench import firm as firms
from integrations.bench.firm import Firm
from integrations.bench.measure import Result, Scale, bounded, paired
from integrations.bench.processes import aside, directory, stand_in
from portal import history
from portal.models import Connection

SECONDS = 0.1  # of the target, each call
CONCURRENCIES = (5, 8, 32)
CALLS, FLOOR_CALLS = 100, 30  # for each connection and round
CPU_BOUND = 2.0  # ms a call
KEY = "TIEOUT_BENCH_KEY"


def measure(scale: Scale, say: Callable[[str], None]) -> list[Result]:
    """Each round takes in fresh entries and posts them in one shift, read-backs included."""
    firm = firms.build(scale.of(500, 40), scale.of(500, 40), scale.of(2000, 40))
    private = ec.generate_private_key(ec.SECP256R1())
    os.environ[KEY] = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    try:
        with directory() as var, stand_in(var, "netsuite", seconds=SECONDS) as port:
            posting = _Posting(firm, port)
            results = []
            for calls in CONCURRENCIES:
                say(f"  {calls} calls at once, {SECONDS * 1000:.0f} ms each")
                results += posting.at(calls, scale)
            return results
    finally:
        del os.environ[KEY]


class _Posting:
    """One target, and numbers for entries and bare calls that were not used before."""

    def __init__(self, firm: Firm, port: int) -> None:
        self.firm = firm
        self.port = port
        self._entries = 0
        self._bare = 0

    def at(self, calls: int, scale: Scale) -> list[Result]:
        """Entries a second at one concurrency, and the CPU of a call."""
        count, bare = calls * scale.of(CALLS, 2), calls * scale.of(FLOOR_CALLS, 2)
        target = self.firm.target.pk
        account = {
            "base_url": f"http://127.0.0.1:{self.port}", "concurrency": calls, "credentials": {"private_key": {"env": KEY}},
            "settings": {"client_id": "bench", "certificate_id": "bench", "expenses": False, "concurrency": calls},
        }  # fmt: skip
        history.update_each_with_reason(Connection, [(self.firm.target, account)], reason="measured")
        cpu: list[float] = []

        def value(_: int) -> float:
            admit.file(self.firm, count, faulty=0, offset=self._entries)
            self._entries += count
            admit.take_in(self.firm)
            begun, used = time.perf_counter(), time.process_time()
            told = outbox.deliver(target, limit=count, seconds=600)
            seconds = time.perf_counter() - begun
            cpu.append((time.process_time() - used) / count * 1000)
            if told.proved != count:
                raise RuntimeError(f"{told.proved} of {count} entries were posted: {told}.")
            return count / seconds

        def floor(_: int) -> float:
            job = {"do": "time bills", "port": self.port, "first": self._bare, "count": bare, "connections": calls}
            self._bare += bare
            done = aside("integrations.bench.load", job)
            if done["statuses"] != {"204": bare}:
                raise RuntimeError(f"The bare client was answered {done['statuses']}.")
            return float(bare / done["seconds"])

        values, floors = paired(scale.rounds, value, floor)
        ideal = round(calls / SECONDS, 1)
        return [
            Result(f"deliver.{calls}", "entries/s", values, floors, 0.90, note=f"{calls} at once",
                   extra={"concurrency_by_latency": ideal}),
            bounded(f"deliver.{calls}.cpu", "ms a call", cpu[1:], CPU_BOUND, note="our own CPU"),
        ]  # fmt: skip
