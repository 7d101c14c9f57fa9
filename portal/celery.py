"""Celery carries wake-up hints and nothing else: every hint may be lost, doubled or late, and the rows decide.

So messages are acknowledged early, results are not kept, nothing is retried by Celery, and no hint waits longer than a
minute. A task says which queue it belongs to: pull, post, bulk or report.
"""

from __future__ import annotations

import logging.config
import os
import sys
from typing import Any

from celery import Celery
from celery.schedules import crontab
from celery.signals import setup_logging
from kombu import Queue
from kombu.transport import TRANSPORT_ALIASES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
if "celery" in sys.argv[0]:
    os.environ.setdefault("TIEOUT_PROCESS", "beat" if "beat" in sys.argv else "worker")

from django.conf import settings

from portal import broker

QUEUES = ("post", "pull", "bulk", "report")

app = Celery("tieout")
app.conf.update(
    accept_content=["json"],
    task_serializer="json",
    result_serializer="json",
    task_ignore_result=True,
    task_store_errors_even_if_ignored=False,
    task_acks_late=False,
    task_default_queue="post",
    task_queues=[Queue(name) for name in QUEUES],
    task_time_limit=150,
    task_soft_time_limit=120,
    task_publish_retry_policy={"max_retries": 1, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.2},
    worker_prefetch_multiplier=1,
    worker_max_tasks_per_child=500,
    worker_max_memory_per_child=250_000,  # kilobytes
    worker_soft_shutdown_timeout=30,
    worker_hijack_root_logger=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    beat_scheduler="celery.beat:Scheduler",
    timezone="UTC",
    enable_utc=True,
)
if settings.REDIS_URL:
    app.conf.update(
        broker_url=settings.REDIS_URL,
        broker_transport_options={"visibility_timeout": 3600, "socket_keepalive": True, "health_check_interval": 25},
        worker_disable_prefetch=True,
    )
else:
    TRANSPORT_ALIASES["directory"] = "portal.broker:Transport"
    app.conf.update(
        broker_url="directory://localhost/",
        broker_transport_options=broker.options(settings.BROKER_DIR),
        worker_enable_remote_control=False,
    )


def _hint(task: str, seconds: float, queue: str) -> dict[str, Any]:
    """A hint that is worthless once the next one is due."""
    return {"task": task, "schedule": seconds, "options": {"queue": queue, "expires": max(seconds, 30)}}


# Two beats are harmless: what is due is decided by rows, under locks.
app.conf.beat_schedule = {
    "sweep": _hint("integrations.tasks.sweep", 10, "post"),
    "pull what is due": _hint("integrations.tasks.pull_due", 15, "pull"),
    "show life": _hint("portal.tasks.beat_lives", 20, "post"),
    "nightly": {
        "task": "integrations.tasks.nightly",
        "schedule": crontab(hour=1, minute=30),
        "options": {"queue": "report", "expires": 6 * 60 * 60},
    },
}
app.autodiscover_tasks()


@setup_logging.connect(weak=False)
def use_our_logging(**_kwargs: Any) -> None:
    """Log as the rest of the product does."""
    logging.config.dictConfig(settings.LOGGING)
