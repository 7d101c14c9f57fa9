"""How fast all our processes together call one account: a vendor's rate is kept by the installation and not by each process.

The rule here: the starts of calls stand in the database, on a connection of its own that commits at once, whatever the caller
has under way. Where the database does not answer, each process keeps the rate by itself, and the vendor's 429 is the limit.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from integrations.http import Rate, pacing
from integrations.sql import pacing as sql

log = logging.getLogger(__name__)

REMEMBERED = 600  # starts an account; a rate of more calls is kept in shorter spans, which keeps the whole

_lock = threading.Lock()
_ours: list[BaseDatabaseWrapper] = []  # the one connection of this process, once it was needed


def pace(account: str, rate: Rate, patience: float) -> float:
    """Wait until a call is within its account's rate, over all processes.

    Returns 0, or the seconds that it would have taken when they exceed `patience`; then nothing was waited for.
    """
    key = hashlib.sha256(account.encode()).hexdigest()
    with _lock:
        try:
            is_taken, wait = sql.reserve(_connection(), key, kept(rate), patience)
        except Error as error:
            log.warning("the pace of an account is kept by this process alone: %s", error)
            _close()
            is_taken, wait = False, -1.0
    if wait < 0:
        return pacing.pace(account, rate, patience)
    if not is_taken:
        return wait
    if wait > 0:
        time.sleep(wait)
    return 0.0


def kept(rate: Rate) -> Rate:
    """A rate in spans of no more calls than are remembered: what holds in each of them holds in all of them together."""
    spans = -(-rate.calls // REMEMBERED)
    return Rate(rate.calls // spans, rate.seconds / spans)


def forget() -> None:
    """End this process's connection; the next call opens another one."""
    with _lock:
        _close()


def _connection() -> BaseDatabaseWrapper:
    """The connection of this process for it, shared by its threads one after the other."""
    if not _ours:
        made = connections.create_connection("default")
        made.inc_thread_sharing()
        _ours.append(made)
    return _ours[0]


def _close() -> None:
    while _ours:
        _ours.pop().close()


def _after_fork() -> None:
    """A forked child must never speak on its parent's connection."""
    global _lock  # noqa: PLW0603 - it may have been held at the fork
    _lock = threading.Lock()
    _ours.clear()


os.register_at_fork(after_in_child=_after_fork)
