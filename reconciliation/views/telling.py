"""How an operation is told: where it stands, how far it is, what holds it, what came of each row, and all of it in one text.

The rule here: what is not known is not said. A time is named only where a pace was seen and nothing holds the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.utils import timezone

from portal import figures
from portal.models import State
from portal.screens.doors import ClosedDoor, closed_doors
from reconciliation import operations
from reconciliation.fixes import FIXES
from reconciliation.models import Hold, Operation, OperationRow
from reconciliation.operations import Phase, Progress, Waits
from reconciliation.sql.operations import MANY_AHEAD

PHASE_TONES: dict[str, str] = {
    Phase.PENDING: "",
    Phase.POSTING: "info",
    Phase.POSTED: "good",
    Phase.FAILED: "bad",
    Phase.IN_DOUBT: "warn",
    Phase.SKIPPED: "warn",
    Phase.CANCELLED: "warn",
    Phase.SETTLED: "good",
}
NOTHING_CHANGED = "nothing was changed"
TOLD = (
    Phase.FAILED,
    Phase.IN_DOUBT,
    Phase.SKIPPED,
    Phase.CANCELLED,
    Phase.SETTLED,
)  # beside posted, when there are any

NOT_BEGUN: dict[str, str] = {
    Operation.State.AWAITING: "warn",
    Operation.State.REFUSED: "bad",
}  # the tones of states in which nothing was changed


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an operation stands, in a word and its tone. `key` changes when what a person can do about it changes."""

    key: str
    label: str
    tone: str


def standing_of(operation: Operation, *, missed: int, is_moving: bool) -> Standing:
    """From its own row and what is known of its entries: how many failed, and whether anything is on its way."""
    if operation.state == Operation.State.RUNNING:
        if operation.cancel_requested_at is not None:
            return Standing("stopping", "Stopping", "warn")
        return Standing("running", "Running", "info")
    if operation.state not in (Operation.State.DONE, Operation.State.CANCELLED):
        return Standing(operation.state, operation.get_state_display(), NOT_BEGUN.get(operation.state, "info"))
    if is_moving:
        return Standing("posting", "Posting", "info")
    if operation.state == Operation.State.CANCELLED:
        return Standing("cancelled", "Cancelled", "warn")
    if missed:
        return (
            Standing("failed", "Failed", "bad")
            if missed >= operation.total
            else Standing("partly", "Partly failed", "warn")
        )
    return Standing("done", "Done", "good")


def counted(operation: Operation) -> Standing:
    """The same from the counts that are kept with it, for lists."""
    is_moving = operation.settled_at is None and operation.on_the_way > 0
    return standing_of(operation, missed=operation.failed + operation.refused, is_moving=is_moving)


def in_short(operation: Operation) -> str:
    """How far it is, from the counts that are kept with it: “63 of 98 posted · 2 not done”."""
    if operation.state == Operation.State.PLANNING:
        return f"{operation.planned:,} of {operation.total:,} dry-run"
    if operation.state == Operation.State.AWAITING:
        return f"nothing changed yet, {operation.total:,} {'entry' if operation.total == 1 else 'entries'}"
    if operation.state == Operation.State.REFUSED:
        return NOTHING_CHANGED
    missed = operation.failed + operation.refused
    words = [
        f"{operation.posted:,} of {operation.total:,} posted" if operation.posted or operation.on_the_way
        else f"{operation.done - operation.refused:,} of {operation.total:,} done"
    ]  # fmt: skip
    if missed:
        words.append(f"{missed:,} not done")
    return " · ".join(words)


@dataclass(frozen=True, slots=True)
class Held:
    """Entries that something holds back: what, for whom, since and until when, how many, and how many go before them."""

    door: ClosedDoor | None
    words: str
    entries: int
    ahead: int

    @property
    def says(self) -> str:
        """What holds them, in one sentence."""
        if self.door is not None:
            return f"{self.door.target} {self.door.sentence.rstrip('.')}."
        return f"They wait until {self.words}."

    @property
    def waiting(self) -> str:
        """How many wait, since when, and until when at the earliest."""
        words = _entries(self.entries)
        if self.door is not None and self.door.since is not None:
            words += f" since {_clock(self.door.since)}"
        if self.door is not None and self.door.until is not None:
            words += f", until {_clock(self.door.until)} at the earliest"
        return f"{words}."

    @property
    def place(self) -> str:
        """Their place among what is ready for the same target."""
        if not self.ahead:
            return "They are next." if self.entries > 1 else "It is next."
        more = " or more" if self.ahead >= MANY_AHEAD else ""
        return f"{self.ahead:,}{more} {'entry goes' if self.ahead == 1 else 'entries go'} first."


@dataclass(frozen=True, slots=True)
class Told:
    """Everything that the head and the progress of an operation's page say."""

    progress: Progress
    standing: Standing
    sentence: str
    held: Sequence[Held]

    @property
    def chips(self) -> list[tuple[Phase, str, int]]:
        """Every phase with its tone and how many rows are in it; the last one only when there are any."""
        counts = self.progress.counts
        return [
            (phase, PHASE_TONES[phase], counts[phase]) for phase in Phase if phase is not Phase.SETTLED or counts[phase]
        ]

    @property
    def failed(self) -> int:
        """Rows that can be tried again."""
        return self.progress.counts[Phase.FAILED] + self.progress.counts[Phase.SKIPPED]

    @property
    def every(self) -> int:
        """Seconds until the page asks again; more while nothing can move."""
        only_held = self.held and not self.progress.counts[Phase.PENDING]
        only_doubt = not any(self.progress.counts[phase] for phase in (Phase.PENDING, Phase.POSTING))
        return 5 if only_held or only_doubt else 1


def told(operation: Operation) -> Told:
    """Count, take the pace, and ask what holds the rest."""
    found = operations.progress(operation)
    held = _held(operations.waits(operation)) if found.counts[Phase.POSTING] else []
    missed = found.counts[Phase.FAILED] + found.counts[Phase.SKIPPED]
    standing = standing_of(operation, missed=missed, is_moving=found.is_moving)
    return Told(found, standing, sentence_of(operation, found, is_held=bool(held)), held)


def _held(waits: Sequence[Waits]) -> list[Held]:
    """What holds: closed doors by target, and other things that entries wait on. An open door holds nobody."""
    doors = closed_doors({one.target_id for one in waits})
    found: dict[tuple[int, str], Held] = {}
    for one in waits:
        door = doors.get(one.target_id)
        at_door = door is not None and ":" not in one.on
        if not at_door and ":" not in one.on:
            continue
        key = (one.target_id, "" if at_door else one.on.split(":")[0])
        before = found.get(key)
        entries = one.entries + (before.entries if before else 0)
        ahead = min(one.ahead, before.ahead) if before else one.ahead
        found[key] = Held(door if at_door else None, "" if at_door else _event(one.on), entries, ahead)
    return list(found.values())


def _event(on: str) -> str:
    kind = on.split(":", maxsplit=1)[0]
    return "their reversal is receipted" if kind == "reversal" else f"their {kind.replace('_', ' ')} is there"


def sentence_of(operation: Operation, found: Progress, *, is_held: bool) -> str:
    """“63 of 98 posted · 2 failed · 240 a minute · about 12 s left”, without what is not known."""
    if operation.state == Operation.State.REFUSED:
        return f"A second person did not agree; {NOTHING_CHANGED}"
    if operation.moved.get("says"):
        return f"{operation.moved['says'].rstrip('.')}; {NOTHING_CHANGED}"
    counts = found.counts
    posts = counts[Phase.POSTED] + counts[Phase.POSTING] + counts[Phase.IN_DOUBT]
    if posts:
        words = [f"{counts[Phase.POSTED]:,} of {operation.total:,} posted"]
    else:
        words = [f"{counts[Phase.SETTLED]:,} of {operation.total:,} done"]
    others = [phase for phase in TOLD if counts[phase] and (posts or phase is not Phase.SETTLED)]
    words += [f"{counts[phase]:,} {phase.label.lower()}" for phase in others]
    if counts[Phase.PENDING] and operation.started_at is None and operation.state == Operation.State.RUNNING:
        words.append("waiting for a worker")
    if found.is_moving and not is_held:
        if found.per_minute:
            words.append(f"{found.per_minute:,} a minute")
        if found.left is not None:
            words.append(f"about {figures.span(found.left)} left")
    return " · ".join(words)


def scope_of(operation: Operation) -> str:
    """What the frozen rows were, when they were frozen, and how many the fix did not reach."""
    left = sum(some["entries"] for some in operation.preview.get("left_out", []))
    if operation.case_id is None or operation.reach != Operation.Reach.ALL:
        scope = "The chosen entry" if operation.total == 1 else f"{operation.total:,} chosen entries"
    elif left:
        scope = f"{operation.total:,} of {operation.total + left:,} entries that the cause held"
    else:
        scope = (
            "The entry that the cause held"
            if operation.total == 1
            else f"All {operation.total:,} entries that the cause held"
        )
    return f"{scope}; {left:,} left out" if left else scope


def decided(operation: Operation) -> str:
    """Who agreed or did not as the second person, when and with which words; empty where nobody was asked or has answered."""
    if operation.decided_by is None:
        return ""
    said = f": “{operation.decision}”" if operation.decision else ", without a comment"
    verb = "Refused" if operation.state == Operation.State.REFUSED else "Approved"
    return f"{verb} by {operation.decided_by.get_username()}, {_moment(operation.decided_at)}{said}"


def promised(operation: Operation) -> str:
    """What the dry-run promised: how many would pass, and their money."""
    preview = operation.preview
    sums = [
        f"{figures.amount(Decimal(one['passing']), code)} {code}"
        for code, one in preview.get("money", {}).items()
        if code and Decimal(one["passing"])
    ]
    words = [f"{preview.get('passes', 0):,} would pass", *sums]
    if preview.get("still_held"):
        words.append(f"{preview['still_held']:,} still held")
    return " · ".join(words)


def as_comment(operation: Operation, now: Told, url: str) -> str:
    """What was done and what came of it, as one writes it under the cause."""
    still = operation.preview.get("still", []) if now.progress.counts[Phase.FAILED] else []
    failing = [f"{count:,} by the dry-run: {sentence}" for sentence, count in still]
    who = f"{operation.created_by.get_username()}, {_moment(operation.confirmed_at)}"
    lines = [
        operation.title,
        f"{now.standing.label}: {now.sentence}",
        f"By {who}. Reason: {operation.reason or 'none given'}",
        *filter(None, [decided(operation)]),
    ]
    return "\n".join([*lines, *failing, url])


def _entries(count: int) -> str:
    return "1 entry waits" if count == 1 else f"{count:,} entries wait"


def _clock(at: datetime) -> str:
    local = timezone.localtime(at)
    return f"{local:%H:%M}" if local.date() == timezone.localdate() else f"{local:%d %b %H:%M}"


def _moment(at: datetime | None) -> str:
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M %Z}" if at is not None else ""


def tell_results(operation: Operation, rows: Sequence[Any]) -> None:
    """Give rows of an operation that carry their standing what came of each in words (`came`); one query for all of them."""
    stopped = [row.followed for row in rows if row.phase == Phase.FAILED and row.result == "done"]
    sentences = dict(
        Hold.objects.filter(entry__in=stopped, closed_at=None).order_by("-pk").values_list("entry_id", "sentence")
    )
    for row in rows:
        row.came = _came(operation, row, sentences.get(row.followed, ""))
        if row.result == OperationRow.Result.DONE and row.phase != Phase.FAILED:
            row.before = _stands(row, leaves_held=FIXES[operation.fix].leaves_held)


def _stands(row: Any, *, leaves_held: bool) -> str:
    """What holds of a row that the fix is done with, in place of the sentence that stopped it before."""
    if leaves_held:
        return str(row.before)
    was = row.entry.project.code if row.entry.project else getattr(row, "said_project", "")
    if row.project_after and row.project_after != was:
        return f"{was or 'no project'} → {row.project_after}"
    return f"on {row.project_after or was}" if row.project_after or was else "nothing stops it"


def _came(operation: Operation, row: Any, stopped: str) -> str:
    match row.phase:
        case Phase.PENDING:
            return f"The dry-run says: {row.promised}"
        case Phase.CANCELLED if operation.state == Operation.State.REFUSED:
            return "Left as it was: the second person did not agree."
        case Phase.CANCELLED:
            return "Left as it was: the operation was stopped before its turn."
        case Phase.POSTED:
            return f"As {row.receipt}, read back equal."
        case Phase.IN_DOUBT:
            when = f" at {timezone.localtime(row.seen_to_at):%H:%M:%S}" if row.seen_to_at else ""
            return f"Sent, and no answer came. It is looked up{when}; nothing is sent again before."
        case Phase.POSTING:
            return _on_its_way(row)
        case Phase.FAILED if row.result == "done":
            return stopped or "It was stopped again; its entry says why."
    return str(row.message)


def _on_its_way(row: Any) -> str:
    if row.stands == State.ACCEPTED:
        return f"The target took it as {row.receipt}; it is being read back."
    if row.stands == State.SENDING:
        return "On its way to the target."
    if row.waits_on:
        return f"Ready; it waits on {row.waits_on.replace(':', ' ').replace('_', ' ')}."
    return "Ready; its turn comes."
