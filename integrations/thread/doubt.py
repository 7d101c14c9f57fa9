"""An entry in doubt, in words: what is not known, when it is asked next, and what comes when asking does not help.

The rule here: nothing is sent again while it is not known, and the sentence says who asks next and when.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from django.utils import timezone

from integrations import timing
from portal import figures
from portal.models import LedgerEntry

if TYPE_CHECKING:
    from integrations.protocol import Capabilities

PLANNED = len(timing.LOOK_UPS)


@dataclass(frozen=True, slots=True)
class Doubt:
    """What is said of an entry in doubt: the fact, what happens next (around the moment `at`), and what comes after."""

    fact: str
    before: str  # what stands before the moment
    at: datetime | None
    after: str  # what stands behind it
    then: str
    can_ask: bool  # whether the target can be asked by our key

    @property
    def sentence(self) -> str:
        """Everything in one line, for the terminal and for a screen reader."""
        moment = f" at {timezone.localtime(self.at):%H:%M:%S}" if self.at is not None else ""
        return f"{self.fact} {self.before}{moment}{self.after} {self.then}".strip()

    @property
    def left(self) -> str:
        """How long until the moment."""
        return f"in {figures.span(self.at - timezone.now())}" if self.at is not None else ""


def doubt_of(entry: LedgerEntry, can: Capabilities | None) -> Doubt:
    """How the doubt about an entry stands. `can` is what the target can do, None while its connector cannot be built."""
    state = entry.state_row
    fact = f"We do not know whether {entry.target} booked this."
    if can is not None and not can.find_by_key and not can.upsert:
        return Doubt(
            fact,
            f"{entry.target} cannot be asked by our key, so nobody looks it up by itself.",
            None,
            "",
            "Look in it, and settle the entry here: by the number of the record, or by what you found. Re-post stays disabled.",
            can_ask=False,
        )
    due = state.next_attempt_at
    waits = due is not None and due > timezone.now()
    number = state.look_ups + 1
    if number <= PLANNED:
        count, then = f" ({number} of {PLANNED}).", "Re-post is disabled until then."
    else:
        count = f", after {state.look_ups} look-ups without an answer."
        then = f"Re-post stays disabled. {_afterwards(entry, can)}"
    if waits:
        return Doubt(fact, "Looking it up", due, count, then, can_ask=True)
    return Doubt(fact, "The look-up is due and is made by the next free worker", None, count, then, can_ask=True)


def _afterwards(entry: LedgerEntry, can: Capabilities | None) -> str:
    """What comes when all planned look-ups are over."""
    every = figures.span_of(timing.scaled(timing.LOOK_UP_EVERY))
    escalated = figures.span_of(timing.scaled(timing.ESCALATE_DOUBT))
    words = f"It goes on being asked for every {every}; after {escalated} in doubt it is a cause on the queue."
    if can is not None:
        over = figures.span_of(timing.scaled(can.upstream_timeout))
        words += f" If {entry.target} still does not show it {over} after it was sent, it goes again with the same key."
    return f"{words} If you find it there, settle it by its number."
