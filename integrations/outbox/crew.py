"""The threads that call one target. They speak HTTP and nothing else: no database, no decision.

The rule here: a thread takes a call, makes it, and hands back what came, always; how many threads work at once never
exceeds the slots held. A call that waited too long for its turn is handed back unsent, because its lease may end while it
is under way.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from integrations import failpoints
from integrations.errors import ConnectorError, InDoubt, Unavailable
from integrations.http import Exchange, recording
from integrations.outbox import speaking
from integrations.protocol import Beside, Receiver, Said, Shown
from integrations.sql.outbound import Standing
from portal.models import Attempt
from portal.records import Receipt

logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Call:
    """One call that is due: its intent is committed. `entries` and `postings` belong together, in order."""

    attempt_id: int
    purpose: Attempt.Purpose
    entries: Sequence[Standing]
    postings: Sequence[Said]
    send_by: float  # monotonic; after it the lease may not last for the call
    beside: Mapping[str, Beside] = field(default_factory=dict)  # what else of ours is there, by key, for such a target
    taken: Collection[str] = ()  # numbers that prove other entries, where records are told apart by nothing else


@dataclass(slots=True, kw_only=True)
class Answer:
    """What came of one call. `error` holds for all of it; otherwise `outcomes` (a push) or `found` (a look-up) is there."""

    call: Call
    sent: bool = True
    outcomes: Sequence[Receipt | ConnectorError] = ()
    found: Mapping[str, Shown] = field(default_factory=dict)
    error: ConnectorError | None = None
    exchanges: Sequence[Exchange] = ()
    duration_ms: int = 0


def make(call: Call, target: Receiver) -> Answer:
    """Make one call and catch whatever comes of it."""
    if time.monotonic() > call.send_by:
        return Answer(call=call, sent=False)
    answer = Answer(call=call)
    started = time.monotonic()
    with recording() as exchanges:
        try:
            if call.purpose == Attempt.Purpose.PUSH:
                failpoints.pass_by("after-intent")
                failpoints.die_soon("after-send")
                answer.outcomes = list(speaking.push(target, call.postings, call.beside))
            else:
                in_doubt = call.purpose == Attempt.Purpose.FIND
                numbers = {entry.key: entry.receipt for entry in call.entries if entry.receipt}
                answer.found = dict(
                    speaking.find(target, call.postings, in_doubt=in_doubt, numbers=numbers, taken=call.taken)
                )
        except ConnectorError as error:
            answer.error = error
        except Exception as error:  # a connector's own fault must not leave the entry without an answer
            logger.exception("The connector of attempt %s failed", call.attempt_id)
            said = f"The connector failed: {type(error).__name__}: {error}"
            answer.error = InDoubt(said) if call.purpose == Attempt.Purpose.PUSH else Unavailable(said)
    if call.purpose == Attempt.Purpose.PUSH:
        failpoints.pass_by("after-response")
    answer.duration_ms = round((time.monotonic() - started) * 1000)
    answer.exchanges = exchanges
    return answer


class Crew:
    """Threads over a queue of calls. `build` makes the connector of one thread, in the caller's thread."""

    def __init__(self, build: Callable[[], Receiver]) -> None:
        self._build = build
        self._changed = threading.Condition()
        self._calls: deque[Call] = deque()
        self._answers: SimpleQueue[Answer] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._at_work = 0
        self._dismissed = False
        self.outstanding = 0  # calls handed in and not handed back

    def man(self, count: int) -> None:
        """Let this many threads work at once from now on; calls under way end as they end."""
        while len(self._threads) < count:
            target = self._build()
            number = len(self._threads)
            thread = threading.Thread(target=self._work, args=(number, target), name=f"call-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()
        with self._changed:
            self._at_work = count
            self._changed.notify_all()

    def put(self, calls: Sequence[Call]) -> None:
        """Hand calls in, to be made in their order."""
        with self._changed:
            self._calls.extend(calls)
            self.outstanding += len(calls)
            self._changed.notify(len(calls))

    def take_back(self) -> list[Call]:
        """The calls that no thread has begun; they will not be made."""
        with self._changed:
            calls = list(self._calls)
            self._calls.clear()
            self.outstanding -= len(calls)
        return calls

    def answers(self, wait: float, gather: float, enough: int) -> list[Answer]:
        """What has come back: wait for the first, then gather until there are enough or some seconds are over."""
        got: list[Answer] = []
        until = time.monotonic() + wait
        while self.outstanding > len(got) and len(got) < enough:
            try:
                got.append(self._answers.get(timeout=max(0.0, until - time.monotonic())))
            except Empty:
                break
            if len(got) == 1:
                until = time.monotonic() + gather
        self.outstanding -= len(got)
        return got

    def dismiss(self) -> None:
        """End the threads once their call is over."""
        with self._changed:
            self._dismissed = True
            self._changed.notify_all()

    def _work(self, number: int, target: Receiver) -> None:
        while True:
            with self._changed:
                while not self._dismissed and (not self._calls or number >= self._at_work):
                    self._changed.wait()
                if self._dismissed:
                    return
                call = self._calls.popleft()
            self._answers.put(make(call, target))
