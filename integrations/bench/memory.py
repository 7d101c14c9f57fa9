"""`memory`: how much a worker holds while it takes in a large backlog; it must not grow with the backlog."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

import psutil
from django.db import connection

from integrations.bench import admit
from integrations.bench import firm as firms
from integrations.bench.measure import Result, Scale, bounded
from integrations.bench.processes import directory, environment, running

BACKLOG = 1_000_000
PEOPLE = 4000  # so many that nobody's day has more than 24 hours
CHUNK = 100_000
BOUND = 250.0  # MB
FLAT = 1.15  # the second half may reach at most this times what the first half did


def measure(scale: Scale, say: Callable[[str], None]) -> list[Result]:
    """A worker in a process of its own takes in everything; its memory is looked at ten times a second."""
    firm = firms.build(scale.of(admit.PROJECTS, 40), scale.of(PEOPLE, 160), scale.of(admit.RATES, 40))
    count = scale.of(BACKLOG, 1000)
    say(f"  filing a backlog of {count} messages")
    for start in range(0, count, CHUNK):
        admit.file(firm, min(CHUNK, count - start), offset=start, faulty=0)
    say("  taking it in")
    held = [_worker(source.pk) for source in firm.sources]
    admit.check(count, faulty=0)
    peaks = [max(samples) for samples in held]
    growth = max(_growth(samples) for samples in held)
    return [
        bounded("memory", "MB", [max(peaks)], BOUND, note=f"grew by {growth:.2f} in its second half", backlog=count,
                growth=round(growth, 3), is_flat=growth <= FLAT)
    ]  # fmt: skip


def _worker(source_id: int) -> list[float]:
    """Take in one source's backlog in a process of its own; its resident megabytes over time."""
    samples: list[float] = []
    connection.close()
    with directory() as var:
        arguments = (str(source_id),)
        with running(
            "integrations.bench.taker",
            *arguments,
            log=var / "taker.log",
            env=environment(var, "command"),
            ready=lambda: True,
        ) as process:
            _watch(process, samples)
        if process.returncode:
            raise RuntimeError((var / "taker.log").read_text()[-2000:])
    return samples


def _watch(process: subprocess.Popen[bytes], samples: list[float]) -> None:
    looked_at = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            samples.append(looked_at.memory_info().rss / 1e6)
        except psutil.NoSuchProcess:
            return
        time.sleep(0.1)


def _growth(samples: list[float]) -> float:
    """The second half's peak by the first half's."""
    middle = max(len(samples) // 2, 1)
    return max(samples[middle:], default=0.0) / max(samples[:middle])
