"""The doors through which hints reach the work. No logic here: which work is due, and who does it, is decided by rows."""

from __future__ import annotations

import threading
from typing import Any

from celery import shared_task
from celery.signals import worker_ready, worker_shutting_down

from integrations import sweeper, wake, work
from integrations.sql import streams as stream_sql

IDLE_SECONDS = 5.0  # between two looks of a worker's own sweeper
POSTING_SECONDS = 1800  # a shift of a minute, and the longest push of a patient connection that was begun at its end
READER_SECONDS = 1800  # one page may take a minute, and a first reading has many


@shared_task
def pull_due() -> None:
    """Hint at every stream that is due."""
    for stream_id, _, _ in stream_sql.due_streams():
        wake.up("pull", stream_id)


@shared_task(soft_time_limit=READER_SECONDS, time_limit=READER_SECONDS + 60)
def pull(stream_id: int, trigger: str = "schedule", user_id: int | None = None) -> None:
    """Read one stream."""
    work.pull(stream_id, trigger, user_id)


@shared_task
def answer_hints(connection_id: int) -> None:
    """Read again what webhooks of one connection named."""
    work.answer_hints(connection_id)


@shared_task
def take_in(connection_id: int) -> None:
    """Take in what one connection filed."""
    work.take_in(connection_id)


@shared_task(soft_time_limit=READER_SECONDS, time_limit=READER_SECONDS + 60)
def sweep_ids(stream_id: int) -> None:
    """Compare the ids of one stream's open periods."""
    work.sweep_ids(stream_id)


@shared_task
def keep_subscriptions(connection_id: int) -> None:
    """See to the webhooks of one source."""
    work.keep_subscriptions(connection_id)


@shared_task(soft_time_limit=POSTING_SECONDS, time_limit=POSTING_SECONDS + 60)
def deliver(connection_id: int) -> None:
    """Post what is due at one target."""
    work.deliver(connection_id)


@shared_task(soft_time_limit=POSTING_SECONDS, time_limit=POSTING_SECONDS + 60)
def read_back(connection_id: int) -> None:
    """Read once more what was posted at one target."""
    work.read_back(connection_id)


@shared_task
def revalidate() -> None:
    """Validate again what changed master data touches."""
    work.revalidate()


@shared_task(soft_time_limit=READER_SECONDS, time_limit=READER_SECONDS + 60)
def operation(operation_id: int) -> None:
    """Work off one bulk fix for a turn, or plan one that is too large for a request."""
    work.operation(operation_id)


@shared_task
def change_set(change_set_id: int) -> None:
    """Apply one change set whose day came, or go on validating what it touches."""
    work.change_set(change_set_id)


@shared_task
def rate_bundle(bundle_id: int) -> None:
    """Plan what follows in the books from a change of rates, or go on with what was agreed to."""
    work.rate_bundle(bundle_id)


@shared_task(soft_time_limit=READER_SECONDS, time_limit=READER_SECONDS + 60)
def rate_look(change_set_id: int) -> None:
    """Hold the books against the rates that one change set agreed."""
    work.rate_look(change_set_id)


@shared_task(soft_time_limit=READER_SECONDS, time_limit=READER_SECONDS + 60)
def reconcile(run_id: int) -> None:
    """Tie one period out."""
    work.reconcile(run_id)


@shared_task(soft_time_limit=READER_SECONDS, time_limit=READER_SECONDS + 60)
def rehearse(rehearsal_id: int) -> None:
    """Replay one closed month in shadow."""
    work.rehearse(rehearsal_id)


@shared_task(soft_time_limit=READER_SECONDS, time_limit=READER_SECONDS + 60)
def export(export_id: int) -> None:
    """Write one long export."""
    work.export(export_id)


@shared_task
def digest(person_id: int) -> None:
    """Mail one person what was gathered."""
    work.digest(person_id)


@shared_task
def sweep() -> None:
    """Find what is due and was forgotten."""
    sweeper.sweep()


@shared_task
def nightly() -> None:
    """Begin what is done once a night."""
    sweeper.nightly()


_ending = threading.Event()


@worker_ready.connect(weak=False)
def sweep_while_idle(**_kwargs: Any) -> None:
    """Give each worker a sweeper of its own, so that work goes on when no hint reaches anybody."""
    threading.Thread(target=_sweep_until_the_end, name="sweeper", daemon=True).start()


@worker_shutting_down.connect(weak=False)
def stop_sweeping(**_kwargs: Any) -> None:
    """Start nothing new while the worker ends."""
    _ending.set()


def _sweep_until_the_end() -> None:
    while not _ending.wait(IDLE_SECONDS):
        sweeper.sweep_and_leave()
