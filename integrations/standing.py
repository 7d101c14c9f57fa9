"""How connections, streams and runs stand, said in words for screens; nothing is called and nothing is changed.

The rule here: what is not healthy says since when, what waits because of it, and what ends it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db.models import Count, Min, Q
from django.utils import timezone

from integrations import registry, vault, windows, wording
from integrations.abilities import settings_of
from integrations.models import Breaker, Run, Stream
from portal.models import Connection, LedgerState, State

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

STUCK_AFTER = timedelta(minutes=5)  # a reader shows life with every page, and a page may take a minute
SOURCES, TARGETS = Q(is_source=True), Q(is_target=True)
RECIPIENTS, BILLERS = Q(is_recipient=True), Q(is_biller=True)
ON_THE_WAY = (State.READY, State.SENDING, State.IN_DOUBT, State.ACCEPTED)


@dataclass(frozen=True, slots=True)
class Health:
    """One word, its tone, and the sentence behind it. `until` is when it is tried again or ends by itself."""

    label: str
    tone: str = ""
    sentence: str = ""
    until: datetime | None = None
    raw: str = ""  # what the vendor said, where the sentence does not hold all of it

    @property
    def is_well(self) -> bool:
        """Whether nobody has to look."""
        return self.tone in ("", "good")


def health(connection: Connection, at: datetime | None = None) -> Health:
    """How a connection fares, from its row, its breaker, its windows and its streams as they were fetched with it."""
    moment = at or timezone.now()
    if not connection.is_active:
        needed = [one for one in settings_of(connection) if one.secret and one.required]
        if missing := [one.label for one in needed if one.name not in connection.credentials]:
            give = f"{' and '.join(missing)} must still be given; whoever changes the connection does so, and has it used then."
            return Health("Not used yet", "warn", give)
        return Health("Switched off", "", "It is not called, and its configuration says so.")
    if connection.paused_at is not None:
        return Health("Paused", "warn", connection.pause_reason or "Paused without a reason.")
    breaker: Breaker | None = getattr(connection, "breaker", None)
    if breaker is not None and breaker.unauthorised_at is not None:
        said = wording.in_words(breaker.reason)
        return Health("Credentials refused", "bad", said.sentence, breaker.probe_at, said.raw)
    if breaker is not None and breaker.state == Breaker.State.OPEN:
        said = wording.in_words(breaker.reason or "Its breaker is open.")
        return Health("Failing", "bad", said.sentence, breaker.probe_at, said.raw)
    window = windows.until(connection.maintenance_windows.all(), moment)
    if window is not None:
        return Health("Maintenance", "info", window[1] or "A planned window.", window[0])
    if breaker is not None and breaker.state == Breaker.State.HALF_OPEN:
        return Health("Probing", "warn", "It failed, and single calls are let through until three are good.")
    held = [stream for stream in connection.streams.all() if stream.held_reason]
    if held:
        return Health("Stream held", "warn", f"{held[0].name}: {held[0].held_reason}")
    return _quiet(connection, breaker)


def _quiet(connection: Connection, breaker: Breaker | None) -> Health:
    if breaker is not None and breaker.failures:
        calls = "call" if breaker.failures == 1 else f"{breaker.failures} calls"
        return Health("Unsteady", "warn", f"The last {calls} failed; the breaker opens at five.")
    if getattr(connection, "is_unread", False):
        return Health("Not all is read", "warn", "Messages of it cannot be read; each waits in the inbox for a person.")
    if last_success(connection) is None:
        return Health("Not used yet", "", "Nothing has been read or posted through it so far.")
    return Health("Healthy", "good", "")


def last_success(connection: Connection) -> datetime | None:
    """When the connection last answered well."""
    breaker: Breaker | None = getattr(connection, "breaker", None)
    moments = [stream.succeeded_at for stream in connection.streams.all()]
    moments.append(breaker.succeeded_at if breaker is not None else None)
    return max((moment for moment in moments if moment is not None), default=None)


def failing_since(connection: Connection) -> datetime | None:
    """Since when calls do not go through; None while they do."""
    breaker: Breaker | None = getattr(connection, "breaker", None)
    if breaker is None:
        return None
    if breaker.unauthorised_at is not None:
        return breaker.unauthorised_at
    return breaker.changed_at if breaker.state == Breaker.State.OPEN else None


def next_due(connection: Connection) -> datetime | None:
    """When a stream of the connection is read next."""
    return min((one.next_due_at for one in connection.streams.all() if one.next_due_at), default=None)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is under way to one target: how many entries, how many of them wait on something, and the oldest."""

    total: int = 0
    blocked: int = 0
    in_doubt: int = 0
    oldest: datetime | None = None


def queues(target_ids: Iterable[int], user: AbstractBaseUser | AnonymousUser) -> dict[int, Waiting]:
    """What of a person's entities is under way to some targets, in one statement."""
    rows = (
        LedgerState.objects.visible_to(user)
        .filter(target_id__in=list(target_ids), state__in=ON_THE_WAY)
        .order_by()
        .values("target_id")
        .annotate(
            total=Count("pk"),
            blocked=Count("pk", filter=Q(state=State.READY) & ~Q(waits_on="")),
            in_doubt=Count("pk", filter=Q(state=State.IN_DOUBT)),
            oldest=Min("moved_at"),
        )
    )
    return {row["target_id"]: Waiting(row["total"], row["blocked"], row["in_doubt"], row["oldest"]) for row in rows}


@dataclass(frozen=True, slots=True)
class Credential:
    """One credential by name: where it is read from and whether it can be; its value is in no object of this kind."""

    name: str
    label: str
    place: str
    problem: str


def credentials(connection: Connection) -> list[Credential]:
    """The connection's credentials, those first that its connector declares."""
    labels = {setting.name: setting.label for setting in settings_of(connection) if setting.secret}
    found = []
    for name, place in connection.credentials.items():
        said = vault.said(place, connection.code, name)
        problem = registry.credential_problem(connection, name)
        found.append(Credential(name, labels.get(name, name.replace("_", " ").capitalize()), said, problem))
    declared = [setting for setting in settings_of(connection) if setting.secret and setting.required]
    found.extend(
        Credential(setting.name, setting.label, "not configured", "It is not configured.")
        for setting in declared
        if setting.name not in connection.credentials
    )
    return found


@dataclass(frozen=True, slots=True)
class RunWords:
    """How a run went, in words."""

    label: str
    tone: str
    sentence: str


_RUN_TONES = {"running": "info", "done": "good", "truncated": "warn", "held": "warn", "failed": "bad"}
_RUN_SENTENCES = {
    Run.State.DONE: "Everything the source had is filed, and the cursor stands behind it.",
    Run.State.TRUNCATED: "The source sent less than it announced; what came is filed, and the rest is read again.",
    Run.State.HELD: "Far less came than usual; nothing is lost, and the cursor has not moved.",
    Run.State.FAILED: "Reading broke off; what was filed stays, and reading goes on from the cursor.",
    Run.State.RUNNING: "It is being read now.",
}


def is_stuck(run: Run, at: datetime | None = None) -> bool:
    """Whether a run that should be reading has shown no life for longer than a page can take."""
    return run.state == Run.State.RUNNING and (at or timezone.now()) - run.heartbeat_at > STUCK_AFTER


def run_words(run: Run, at: datetime | None = None) -> RunWords:
    """The state of a run as a person reads it."""
    if is_stuck(run, at):
        return RunWords(
            "Stuck",
            "bad",
            "It has shown no life for minutes. The sweeper ends it when its lease runs out, and the stream is read again.",
        )
    return RunWords(run.get_state_display(), _RUN_TONES[run.state], _RUN_SENTENCES[Run.State(run.state)])


def stream_words(stream: Stream, at: datetime | None = None) -> Health:
    """How one stream stands."""
    moment = at or timezone.now()
    if stream.held_reason:
        return Health("Held", "warn", stream.held_reason)
    if stream.lease_until is not None and stream.lease_until > moment:
        return Health("Being read", "info")
    if stream.succeeded_at is None:
        return Health("Never read to its end", "warn" if stream.every_seconds else "")
    if stream.every_seconds and moment - stream.succeeded_at > 4 * timedelta(seconds=stream.every_seconds):
        return Health("Behind", "warn", "It was not read to its end for more than four of its intervals.")
    return Health("Up to date", "good")
