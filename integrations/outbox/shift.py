"""One worker's shift at one target: as long as the door is open and something is due, calls are kept under way.

The rule here: claims are bounded, nothing is held in memory that the database does not know, and no transaction is open
while a call is. What came in together is written together; a closed door gives back what was not sent.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from integrations import registry, slots, timing
from integrations.errors import ConnectorError
from integrations.http.client import TOTAL_SECONDS
from integrations.models import Breaker
from integrations.outbox import causes, claim, door, proof, settle
from integrations.outbox.crew import Call, Crew
from integrations.outbox.settle import Told
from integrations.protocol import Capabilities, Receiver
from portal.models import Connection

_AHEAD = 4  # calls claimed per slot while it is not known how long one takes
_AHEAD_SECONDS = 2.0  # worth of calls that are claimed once it is known how long one takes
_MOST_AHEAD = 1000  # entries
_CLAIMED_AT_ONCE = 128  # calls; a larger claim would let the slots run dry while it is made
_GATHER = 0.4  # seconds for which answers are gathered into one transaction while enough calls are at hand
_GATHER_LITTLE = 0.02  # the same while the slots may run dry
_ENOUGH = 200  # answers of one transaction
_LOOK = 1.0  # seconds between two looks at pauses, windows and doubts
_HAND_OVER = 0.001  # seconds after which claiming lets a call go on: it asks for the interpreter some eight times
_BARREN = 3  # claims in a row that came to nothing


@dataclass(slots=True)
class Plan:
    """What a shift does. `limit` bounds the entries pushed, `seconds` the time after which nothing new is claimed."""

    push: bool = False
    look_up: bool = False
    read_back: bool = False
    read_again: bool = False
    entry_ids: Sequence[int] | None = None
    limit: int = 5000
    seconds: float = 60.0


def work(connection: Connection, plan: Plan) -> Told:
    """Do a shift; what came of it. Nothing when the door is closed or other workers hold every slot."""
    standing = door.approach(connection)
    if standing.waits_on:
        return Told()
    try:
        target = door.receiver(connection)
    except ConnectorError:
        door.approach(connection)
        return Told()
    allowed = min(standing.calls, target.capabilities.concurrency)
    with slots.lease(connection.pk, allowed) as held:
        if not held.numbers:
            return Told()
        crew = Crew(lambda: registry.receiver(connection))
        patience = sys.getswitchinterval()
        sys.setswitchinterval(_HAND_OVER)
        try:
            told = _Shift(connection, plan, target, held, crew).run()
        finally:
            sys.setswitchinterval(patience)
            crew.dismiss()
    if told.breaker is not None and told.breaker.unauthorised_at is None and told.breaker.succeeded_at is not None:
        causes.authorised(connection)
    return told


@dataclass(slots=True)
class _Shift:
    connection: Connection
    plan: Plan
    target: Receiver
    held: slots.Lease
    crew: Crew
    told: Told = field(default_factory=Told)
    began: float = field(default_factory=time.monotonic)
    looked: float = field(default_factory=time.monotonic)
    renewed: float = field(default_factory=time.monotonic)
    looked_up: float = float("-inf")
    closed: bool = False
    pushed: int = 0
    unproved: int = 0
    barren: int = 0
    nothing_to_push: bool = False
    seconds_per_call: float = 0.0  # moving average

    @property
    def capabilities(self) -> Capabilities:
        return self.target.capabilities

    @property
    def deadline(self) -> float:
        """Seconds that one call may take at most."""
        return float(self.connection.settings.get("total_timeout") or TOTAL_SECONDS)

    def run(self) -> Told:
        self.crew.man(len(self.held))
        while True:
            more: list[Call] = []
            if time.monotonic() - self.began >= self.plan.seconds:
                settle.unsent(self.connection, self.crew.take_back(), "")
            elif not self.closed:
                more = self._next_calls()
                self.crew.put(more)
            if not self.crew.outstanding:
                return self.told
            plenty = self.nothing_to_push or self.crew.outstanding >= _AHEAD * len(self.held)
            answers = self.crew.answers(
                wait=_LOOK if plenty or not more else 0.0, gather=_GATHER if plenty else _GATHER_LITTLE, enough=_ENOUGH
            )
            for answer in answers:
                seconds = max(answer.duration_ms, 1) / 1000
                self.seconds_per_call = (
                    0.8 * self.seconds_per_call + 0.2 * seconds if self.seconds_per_call else seconds
                )
            told = settle.record(self.connection, self.capabilities, answers)
            self.told.add(told)
            self.unproved += told.accepted
            if told.released or told.retried:  # may be due again at once
                self.nothing_to_push = False
            self._mind_the_door(told.breaker)

    def _next_calls(self) -> list[Call]:
        """Doubts first, then new postings; read-backs when enough came together or nothing is left to push."""
        ahead = self._ahead()
        room = ahead - self.crew.outstanding
        calls: list[Call] = []
        if room < min((ahead - len(self.held)) // 2, _CLAIMED_AT_ONCE):  # most is still there: fewer and larger claims
            return calls
        room = min(room, _CLAIMED_AT_ONCE if self.crew.outstanding else len(self.held))  # the first calls at once
        if self.plan.look_up and time.monotonic() - self.looked_up >= _LOOK:
            self.looked_up = time.monotonic()
            calls += proof.look_ups(self.connection, self.capabilities, self.deadline, self.plan.entry_ids)
            self.plan.look_up = self.plan.entry_ids is None  # those that a person names are asked about once
        if self.plan.read_back and self.unproved >= proof.ASKED_AT_ONCE:
            calls += self._read_backs()
        room -= len(calls)
        if self.plan.push and not self.nothing_to_push and room > 0:
            calls += self._pushes(room)
        if self.plan.read_back and not calls and not self.crew.outstanding:
            calls += self._read_backs()
        if self.plan.read_again and not calls and not self.crew.outstanding:
            self.plan.read_again = False
            calls += proof.still_equal(self.connection, self.deadline, self.plan.limit)
        return calls

    def _ahead(self) -> int:
        """How many calls may be claimed and not answered: enough that no slot waits, few enough that leases last."""
        least = _AHEAD * len(self.held)
        if not self.seconds_per_call:
            return least
        wanted = len(self.held) * (1 + int(_AHEAD_SECONDS / self.seconds_per_call))
        return max(least, min(wanted, _MOST_AHEAD // self.capabilities.batch_size))

    def _pushes(self, room: int) -> list[Call]:
        wanted = min(room * self.capabilities.batch_size, self.plan.limit - self.pushed)
        if wanted <= 0:
            self.nothing_to_push = True
            return []
        while True:
            claimed = claim.pushes(self.connection, self.target, wanted, self.deadline, idle=not self.crew.outstanding)
            self.pushed += sum(len(call.entries) for call in claimed.calls)
            self.barren = 0 if claimed.calls else self.barren + 1
            self.nothing_to_push = claimed.looked_at == 0 or self.barren >= _BARREN
            if claimed.calls or self.nothing_to_push or self.crew.outstanding:
                return claimed.calls

    def _read_backs(self) -> list[Call]:
        self.unproved = 0
        self.plan.read_back = self.plan.entry_ids is None
        return proof.read_backs(
            self.connection, self.capabilities, self.deadline, 4 * proof.ASKED_AT_ONCE, self.plan.entry_ids
        )

    def _mind_the_door(self, row: Breaker | None) -> None:
        """Renew the slots in time, follow the breaker, and see pauses and windows once a second."""
        now = time.monotonic()
        if now - self.renewed > timing.scaled(timing.SLOT_LEASE) / 3:
            self.renewed = now
            self.held.renew()
        quiet = row is None or (
            row.state == Breaker.State.CLOSED
            and row.unauthorised_at is None
            and row.probe_at is None
            and not row.good_probes
        )
        if quiet and now - self.looked < _LOOK:
            return
        self.looked = now
        self.connection.refresh_from_db()
        standing = door.look(self.connection, row)
        if standing.waits_on:
            self.closed = True
            event = standing.waits_on if standing.waits_on in door.DOORS else ""
            settle.unsent(self.connection, self.crew.take_back(), event)
            if event:
                door.park(self.connection.pk, standing)
            return
        self.held.fit(min(standing.calls, self.capabilities.concurrency))
        self.crew.man(len(self.held))
        self.closed = not self.held.numbers
