"""The worker's application with small slow chunks and short turns, to be told to end in the middle of an operation."""

from __future__ import annotations

import time
from typing import Any

import django
from celery.signals import worker_init

from portal.celery import app

CHUNK, SECONDS_A_CHUNK, SECONDS_A_TURN = 2, 0.3, 0.5


@worker_init.connect(weak=False)
def slow_down(**_more: Any) -> None:
    """Before the worker takes anything."""
    django.setup()
    from integrations import registry, tasks, work
    from reconciliation.operations import running

    registry.CONNECTORS["plain"] = "tests.faults.plain.PlainTarget"
    tasks.IDLE_SECONDS = 0.2
    work.SECONDS_A_TURN = SECONDS_A_TURN
    running.CHUNK = CHUNK
    work_off = running.work_off

    def slowly(*arguments: Any) -> Any:
        time.sleep(SECONDS_A_CHUNK)
        return work_off(*arguments)

    running.work_off = slowly  # type: ignore[assignment]


__all__ = ["app"]
