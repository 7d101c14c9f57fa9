"""The hints that an operation or a rehearsal waits. The rule here: it may be lost, and nothing but seconds is lost with it.

The sweeper looks for what nobody works on.
"""

from __future__ import annotations

import logging
from functools import partial

from django.db import transaction
from kombu.exceptions import KombuError

from portal.celery import app
from reconciliation.models import Operation

log = logging.getLogger(__name__)

TASK, QUEUE, EXPIRES = "integrations.tasks.operation", "bulk", 60  # the task of the higher layer, by name only; seconds


def where_due(operation: Operation) -> None:
    """Hint that an operation waits for a worker, once what was decided is committed; nothing for one that does not."""
    if operation.state in (Operation.State.PLANNING, Operation.State.RUNNING):
        transaction.on_commit(partial(up, operation.pk))


def up(operation_id: int) -> bool:
    """Hint that one operation has work; whether the hint was published."""
    return _hint(TASK, operation_id, QUEUE)


def rehearse(rehearsal_id: int) -> bool:
    """Hint that a rehearsal waits; whether the hint was published."""
    return _hint("integrations.tasks.rehearse", rehearsal_id, "report")


def _hint(task: str, number: int, queue: str) -> bool:
    try:
        app.send_task(task, args=[number], queue=queue, expires=EXPIRES, ignore_result=True)
    except (KombuError, OSError) as error:
        log.info("nobody was woken for %s %s: %s", task, number, error)
        return False
    return True
