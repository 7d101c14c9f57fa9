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
from integrations.errors import ConnectorError
from integrations.models import Breaker, Run, Stream
from integrations.protocol import Account, Capabilities, ConnectorType, Setting, Target
from portal import figures
from portal.models import Connection, LedgerState, State

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

STUCK_AFTER = timedelta(minutes=5)  # a reader shows life with every page, and a page may take a minute
SOURCES, TARGETS = Q(is_source=True), Q(is_target=True)
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
    labels = {setting.name: setting.label for setting in _settings(connection) if setting.secret}
    found = []
    for name, place in connection.credentials.items():
        said = vault.said(place, connection.code, name)
        problem = registry.credential_problem(connection, name)
        found.append(Credential(name, labels.get(name, name.replace("_", " ").capitalize()), said, problem))
    declared = [setting for setting in _settings(connection) if setting.secret and setting.required]
    found.extend(
        Credential(setting.name, setting.label, "not configured", "It is not configured.")
        for setting in declared
        if setting.name not in connection.credentials
    )
    return found


def _settings(connection: Connection) -> tuple[Setting, ...]:
    try:
        return registry.connector_type(connection.connector).settings
    except registry.UnknownConnector:
        return ()


def capabilities(connection: Connection) -> Capabilities | None:
    """What a target can do; None while its connector cannot be built."""
    try:
        return registry.target(connection).capabilities
    except (registry.UnknownConnector, registry.WrongHalf, ConnectorError):
        return None


def why_untold(source: Connection) -> str:
    """Why no message can be handed to the people of a source through its connector, in a sentence."""
    try:
        return str(getattr(registry.connector_type(source.connector), "why_untold", ""))
    except registry.UnknownConnector as unknown:
        return str(unknown)


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing about a connection: what, how it is, and what that means where it is not plain."""

    label: str
    value: str
    note: str = ""


def abilities(connection: Connection) -> list[Fact]:
    """What a target can do, as it declares it."""
    can = capabilities(connection) if connection.is_target else None
    if can is None:
        return []
    key = "it overwrites" if can.upsert else "it refuses" if can.unique_key else "it would book twice"
    find = "yes" if can.find_by_key else "by what a posting says" if can.finds_alike else "no"
    return [
        Fact("Postings in a call", f"up to {can.batch_size:,}" if can.batch_size > 1 else "one"),
        Fact("Calls at once", f"{min(can.concurrency, connection.concurrency):,}"),
        Fact("The same key again", key),
        Fact("Looked up by our key", find),
        Fact("Takes a posting back", "by a negative posting" if can.reversal else "no"),
        Fact("Expenses", "yes" if can.expenses else "no"),
        Fact("Says what it has booked", "yes" if can.statement else "no"),
        Fact("A lost call can book for", figures.span_of(can.upstream_timeout)),
        Fact("Longest text", f"{can.memo_limit:,} characters"),
    ]


def told(connection: Connection) -> list[Fact]:
    """What the connection is told, by what its settings name."""
    kinds = {name: [str(one).replace("_", " ") for one in connection.settings.get(name) or ()] for name in _TOLD}
    return [Fact(_TOLD[name], ", ".join(found)) for name, found in kinds.items() if found]


_TOLD = {"provisions": "Made there", "subscribes": "Told"}


def settings_told(connection: Connection) -> list[Fact]:
    """The settings that are no secrets: what was said, else what holds as usual."""
    declared = [setting for setting in _settings(connection) if not setting.secret]
    found = [
        Fact(
            one.label,
            _shown(connection.settings.get(one.name, one.default)),
            "" if one.name in connection.settings else "as usual",
        )
        for one in declared
    ]
    known = {one.name for one in declared} | _TOLD.keys()
    further = [
        Fact(name.replace("_", " ").capitalize(), _shown(value))
        for name, value in sorted(connection.settings.items())
        if name not in known
    ]
    return [one for one in found if one.value] + further


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "; ".join(f"{name} = {_shown(one)}" for name, one in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_shown(one) for one in value)
    return "" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Offered:
    """What a connector can be, reads and takes, for a person who chooses one."""

    name: str
    title: str
    halves: tuple[str, ...]  # source, target, recipient, biller
    streams: tuple[str, ...]  # in words
    takes: tuple[str, ...]  # kinds of master data
    cannot: tuple[str, ...]  # sentences


def offered(name: str) -> Offered:
    """A connector by what it declares, without an account. Raises UnknownConnector."""
    kind = registry.connector_type(name)
    halves = tuple(
        half
        for half, verb in (("source", "pull"), ("target", "push"), ("recipient", "publish"), ("biller", "make_draft"))
        if hasattr(kind, verb)
    )
    takes = tuple(str(one) for one in getattr(kind, "publishes", ()))
    sentences: list[str] = []
    if "source" in halves:
        sentences.extend(_deletions_untold(kind))
    if "source" in halves and (why := str(getattr(kind, "why_untold", ""))):
        sentences.append(why)
    if "target" in halves and isinstance(built := registry.built(kind, Account(code=name, base_url="")), Target):
        sentences.extend(_target_cannot(built.capabilities))
    streams = tuple(stream.replace("_", " ").replace("-", " ") for stream in getattr(kind, "streams", ()))
    return Offered(name, str(getattr(kind, "title", name.capitalize())), halves, streams, takes, tuple(sentences))


def cannot(connection: Connection) -> list[str]:
    """What this connection cannot do, and what is done instead; one sentence each."""
    sentences: list[str] = []
    try:
        kind = registry.connector_type(connection.connector)
        if connection.is_source:
            sentences.extend(_deletions_untold(kind))
        if connection.is_source and (why := why_untold(connection)):
            sentences.append(f"{why} What is handed back is kept here for a person to pass on.")
        if connection.is_target:
            sentences.extend(_target_cannot(registry.target(connection).capabilities))
    except registry.UnknownConnector as unknown:
        sentences.append(str(unknown))
    except (registry.WrongHalf, ConnectorError) as fault:
        sentences.append(f"What it can do is known once it can be built: {fault}")
    return sentences


def _deletions_untold(kind: ConnectorType) -> Iterable[str]:
    """What a source does not say of deletions, and what is done instead."""
    if not getattr(kind, "tombstones", True):
        yield "It does not tell what was deleted; the ids of open periods are compared every night."
    if untold := str(getattr(kind, "deletions_untold", "")):
        yield untold


def _target_cannot(can: Capabilities) -> Iterable[str]:
    if not can.upsert and not can.unique_key:
        yield "The same posting sent twice would be booked twice; so what was sent without an answer is looked up first."
    if not can.find_by_key:
        yield "It cannot be asked by our key; an entry in doubt waits for a person."
    if not can.reversal:
        yield "It takes no negative postings; a correction after posting becomes a case."
    if not can.expenses:
        yield "It takes no expenses; an expense owed to it becomes a case."
    if not can.statement:
        yield "It does not say what it has booked; its periods cannot be tied out."
    if can.books_within:
        within = figures.span_of(can.books_within)
        yield f"It books later, within {within}; until then an hour is accepted and not posted, and is looked at again and again."
    if can.requires_task:
        yield "It needs a task on every posting; an hour without one is held."
    if can.batch_size == 1:
        yield "It takes one posting a call."
    yield from can.limits


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
