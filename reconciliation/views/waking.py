"""The hint that an operation waits. The rule here: it may be lost, and nothing but seconds is lost with it.

The sweeper looks for operations that nobody works on.
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
    try:
        app.send_task(TASK, args=[operation_id], queue=QUEUE, expires=EXPIRES, ignore_result=True)
    except (KombuError, OSError) as error:
        log.info("nobody was woken for operation %s: %s", operation_id, error)
        return False
    return True
