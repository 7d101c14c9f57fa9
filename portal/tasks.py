"""The one task of this app: proof that beat, broker and a worker are alive together."""

from __future__ import annotations

from celery import shared_task

from portal import health


@shared_task(queue="post")
def beat_lives() -> None:
    """Note that a hint from beat reached a worker."""
    health.heard_from("beat")
