"""Leave to call: at most as many calls at once to one connection as it allows, over all workers.

The rule here: a slot is a row leased by one worker under the database's clock. Whoever calls a target holds one for each
call that it has under way, and renews it before each claim; a dead worker's slots come free when their lease ends.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from integrations import timing
from integrations.sql import outbound as sql

_serial = count(1)


def worker_name() -> str:
    """The name of the current worker thread in leases and attempts."""
    return f"{socket.gethostname()}:{os.getpid()}:{threading.get_native_id()}"


class Lease:
    """Some slots of one connection, held by one worker until given back or until their lease ends."""

    def __init__(self, connection_id: int, numbers: list[int], holder: str) -> None:
        self.connection_id = connection_id
        self.numbers = numbers
        self.holder = holder

    def __len__(self) -> int:
        return len(self.numbers)

    def renew(self) -> None:
        """Hold on for another lease; slots that were lost meanwhile are no longer counted."""
        self.numbers = sql.renew_slots(self.connection_id, self.numbers, self.holder, timing.scaled(timing.SLOT_LEASE))

    def fit(self, allowed: int) -> None:
        """Take more slots, or give some back, so that no more than `allowed` are held."""
        spare = [number for number in self.numbers if number >= allowed]
        if spare:
            sql.free_slots(self.connection_id, spare, self.holder)
            self.numbers = [number for number in self.numbers if number < allowed]
        if allowed > len(self.numbers):
            self.numbers += sql.take_slots(
                self.connection_id, allowed, allowed - len(self.numbers), self.holder, timing.scaled(timing.SLOT_LEASE)
            )


@contextmanager
def lease(connection_id: int, allowed: int, wanted: int | None = None) -> Iterator[Lease]:
    """Hold up to `wanted` of the connection's `allowed` slots while the block runs; possibly none."""
    sql.lay_out_slots(connection_id, allowed)
    held = Lease(connection_id, [], f"{worker_name()}:{next(_serial)}")
    held.numbers = sql.take_slots(
        connection_id,
        allowed,
        allowed if wanted is None else min(wanted, allowed),
        held.holder,
        timing.scaled(timing.SLOT_LEASE),
    )
    try:
        yield held
    finally:
        sql.free_slots(connection_id, held.numbers, held.holder)
