"""Wake-up hints to workers. The rule here: a hint may be lost, and nothing but seconds is lost with it.

So publishing never fails its caller. Who must know that nobody was woken is told by the answer.
"""

from __future__ import annotations

import logging

from celery import current_app
from kombu.exceptions import KombuError

from portal.models import Connection

log = logging.getLogger(__name__)

EXPIRES = 60  # seconds; an older hint is worthless, because the sweeper has given a newer one
QUEUES = {
    "pull": "pull",
    "answer_hints": "pull",
    "take_in": "pull",
    "sweep_ids": "pull",
    "keep_subscriptions": "pull",
    "deliver": "post",
    "read_back": "post",
    "revalidate": "post",
    "operation": "bulk",
    "change_set": "bulk",
    "rate_bundle": "bulk",
    "rate_look": "bulk",
    "reconcile": "report",
    "rehearse": "report",
    "export": "report",
    "digest": "report",
}


def up(task: str, number: int, *more: str | int) -> bool:
    """Hint that one stream, connection or operation has work of one kind; whether the hint was published.

    `more` goes to the task with the number; what must not be lost belongs in a row, never here.
    """
    try:
        current_app.send_task(
            f"integrations.tasks.{task}",
            args=[number, *more],
            queue=QUEUES[task],
            expires=EXPIRES,
            ignore_result=True,
        )
    except (KombuError, OSError) as error:
        log.info("nobody was woken for %s %s: %s", task, number, error)
        return False
    return True


def targets_of(connection_id: int) -> None:
    """Hint that documents of a source may be ready for the targets that its routes lead to."""
    targets = Connection.objects.filter(is_target=True, is_active=True, routes_in__source=connection_id)
    for target_id in targets.values_list("pk", flat=True).distinct():
        up("deliver", target_id)
