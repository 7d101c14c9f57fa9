"""The outbox: what is owed to a target is sent once, proved, and never forgotten on the way.

The rule here: PostgreSQL is the queue. An entry is claimed with its intent (key, body hash, lease, attempt) in one
transaction, sent outside of any, and settled under the fence of its claim. What has no proven outcome is in doubt and only
looked up; what was accepted is posted only when it reads back equal. Every function may be called by any number of workers
at any time, and does nothing where nothing is due.
"""

from __future__ import annotations

from django.db.models import Q

from integrations.outbox import settlements
from integrations.outbox.people import NotConfirmed, adopt, check_now, shown_by_statement
from integrations.outbox.queue import Queue, queue
from integrations.outbox.recovery import recover
from integrations.outbox.settle import Told
from integrations.outbox.shift import Plan, work
from portal.models import Connection

__all__ = [
    "NotConfirmed", "Queue", "Told", "adopt", "check_now", "deliver", "queue", "read_back", "recover", "settle_doubts",
    "settlements", "shown_by_statement",
]  # fmt: skip


def deliver(connection_id: int, limit: int = 5000, *, seconds: float = 60.0) -> Told:
    """Post what is due at one target, look up what is in doubt, and read back what was accepted.

    At most `limit` entries are pushed, and nothing new is claimed after some seconds: the rest is the next shift's.
    """
    return work(_target(connection_id), Plan(push=True, look_up=True, read_back=True, limit=limit, seconds=seconds))


def settle_doubts(connection_id: int, entry_ids: list[int] | None = None) -> Told:
    """Look up what is in doubt and due, or the named entries now, due or not."""
    return work(_target(connection_id), Plan(look_up=True, entry_ids=entry_ids))


def read_back(connection_id: int, limit: int = 5000, *, again: bool = False) -> Told:
    """Read back what was accepted and is due; `again` reads what was posted in open periods once more, once a day each."""
    return work(_target(connection_id), Plan(read_back=True, read_again=again, limit=limit))


def _target(connection_id: int) -> Connection:
    return Connection.objects.get(Q(is_target=True) | Q(is_recipient=True) | Q(is_biller=True), pk=connection_id)
