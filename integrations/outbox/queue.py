"""How much waits at a target, how fast it goes, and when it will be through; for screens and for the operator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from integrations.outbox.door import Door, look
from integrations.sql import outbound as sql
from portal.models import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """The queue of one target now. `done_at` is None while nothing moves."""

    due: int
    waiting: int
    sending: int
    in_doubt: int
    accepted: int
    per_minute: int
    done_at: datetime | None
    door: Door


def queue(connection: Connection, entity_ids: Sequence[int] | None = None) -> Queue:
    """Count the queue and estimate its end from what was accepted in the last minute; of some entities, or of all."""
    counts = sql.queue_of(connection.pk, entity_ids)
    rate = sql.accepted_lately(connection.pk, 60, entity_ids)
    ahead = counts["due"] + counts["sending"]
    done_at = sql.clock() + timedelta(minutes=ahead / rate) if rate and ahead else None
    return Queue(**counts, per_minute=rate, done_at=done_at, door=look(connection))
