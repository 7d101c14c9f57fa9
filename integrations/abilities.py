"""What a connector can be and do, what it therefore cannot do, and what a connection was told, in words for screens.

The rule here: the words come from what the connector declares; nothing is called. What a vendor lacks is said, with what is done
instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from integrations import registry
from integrations.errors import ConnectorError
from integrations.protocol import (
    Account,
    Capabilities,
    ConnectorType,
    Drafting,
    Setting,
    SubscribedSource,
    Takes,
    Target,
    holds_hints,
)
from portal import figures
from portal.models import Connection
from portal.records import PublishedKind

_VERBS = (("source", "pull"), ("target", "push"), ("recipient", "publish"), ("biller", "make_draft"))


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


def abilities(connection: Connection) -> list[tuple[str, list[Fact]]]:
    """What a connection can do in each of its roles, as its connector declares it."""
    try:
        kind = registry.connector_type(connection.connector)
    except registry.UnknownConnector:
        return []
    can = capabilities(connection) if connection.is_target else None
    drafting: Drafting | None = getattr(kind, "drafting", None) if connection.is_biller else None
    found = [
        ("As a source", _reads(kind) if connection.is_source else []),
        ("As a target", _books(can, connection.concurrency) if can is not None else []),
        ("As a recipient", _takes(kind) if connection.is_recipient else []),
        ("As a biller", _drafts(drafting) if drafting is not None else []),
    ]
    return [(role, facts) for role, facts in found if facts]


def _reads(kind: ConnectorType) -> list[Fact]:
    streams = [_said(stream) for stream in getattr(kind, "streams", ()) if not holds_hints(kind, stream)]
    hints = [_said(stream) for stream in getattr(kind, "hint_streams", ())]
    told = "told" if not getattr(kind, "deletions_untold", "") else "told of some"
    found = [
        Fact("Reads", ", ".join(streams)),
        Fact("Deletions", told if getattr(kind, "tombstones", True) else "found by comparing ids every night"),
    ]
    if hints:
        found.append(Fact("Asked what moved", ", ".join(hints)))
    if issubclass(kind, SubscribedSource):  # type: ignore[arg-type]
        found.append(Fact("Webhooks", "its subscriptions are kept alive every night"))
    return found


def _takes(kind: ConnectorType) -> list[Fact]:
    takes: Mapping[PublishedKind, Takes] = getattr(kind, "publishes", {})
    return [Fact(_said(one).capitalize(), ", ".join(map(_said, sorted(of.figures)))) for one, of in takes.items()]


def _drafts(can: Drafting) -> list[Fact]:
    return [
        Fact("Lines on an invoice", f"up to {can.lines:,}"),
        Fact("Text of a line", f"{can.line_text:,} characters"),
        Fact("Decimals", f"{can.quantity_places} of a quantity, {can.price_places} of a price"),
        Fact("An item on every line", "needed" if can.requires_item else "not needed"),
    ]


def _books(can: Capabilities, calls: int) -> list[Fact]:
    """What a target can do with postings."""
    key = "it overwrites" if can.upsert else "it refuses" if can.unique_key else "it would book twice"
    find = "by what a posting says" if can.finds_alike else "yes" if can.find_by_key else "no"
    return [
        Fact("Postings in a call", f"up to {can.batch_size:,}" if can.batch_size > 1 else "one"),
        Fact("Calls at once", f"{min(can.concurrency, calls):,}"),
        Fact("The same key again", key),
        Fact("Looked up by our key", find),
        Fact("Takes a posting back", "by a negative posting" if can.reversal else "no"),
        Fact("Expenses", "yes" if can.expenses else "no"),
        Fact("Says what it has booked", "yes" if can.statement else "no"),
        Fact("A lost call can book for", figures.span_of(can.upstream_timeout)),
        Fact("Longest text", f"{can.memo_limit:,} characters"),
    ]


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
    halves = tuple(half for half, verb in _VERBS if hasattr(kind, verb))
    takes = tuple(str(one) for one in getattr(kind, "publishes", ()))
    sentences: list[str] = []
    if "source" in halves:
        sentences.extend(_deletions_untold(kind))
    if "source" in halves and (why := str(getattr(kind, "why_untold", ""))):
        sentences.append(why)
    if "target" in halves and isinstance(built := registry.built(kind, Account(code=name, base_url="")), Target):
        sentences.extend(_target_cannot(built.capabilities))
    if "recipient" in halves:
        sentences.extend(_recipient_cannot(kind))
    if "biller" in halves:
        sentences.extend(_biller_cannot(kind))
    streams = tuple(_said(stream) for stream in getattr(kind, "streams", ()))
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
        if connection.is_recipient:
            sentences.extend(_recipient_cannot(kind))
        if connection.is_biller:
            sentences.extend(_biller_cannot(kind))
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


def _recipient_cannot(kind: ConnectorType) -> Iterable[str]:
    """What a recipient is not told, kind by kind and figure by figure."""
    takes: Mapping[PublishedKind, Takes] = getattr(kind, "publishes", {})
    if untold := [_said(one) for one in PublishedKind if one not in takes]:
        yield f"It takes nothing of these kinds of records: {', '.join(untold)}."
    yield from dict.fromkeys(why for of in takes.values() for why in of.refuses.values())


def _biller_cannot(kind: ConnectorType) -> Iterable[str]:
    drafting: Drafting | None = getattr(kind, "drafting", None)
    if drafting is None:
        return
    yield f"It takes {drafting.lines:,} lines on an invoice; one with more becomes several."
    if drafting.requires_item:
        yield "It needs an item on every line; a draft of which a line has none is refused."


def _said(word: str) -> str:
    return str(word).replace("_", " ").replace("-", " ")


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


def settings_of(connection: Connection) -> tuple[Setting, ...]:
    """What a connection may be told; nothing where its connector is not known."""
    try:
        return registry.connector_type(connection.connector).settings
    except registry.UnknownConnector:
        return ()


def told(connection: Connection) -> list[Fact]:
    """What the connection is told, by what its settings name."""
    kinds = {name: [str(one).replace("_", " ") for one in connection.settings.get(name) or ()] for name in _TOLD}
    return [Fact(_TOLD[name], ", ".join(found)) for name, found in kinds.items() if found]


_TOLD = {"provisions": "Made there", "subscribes": "Told"}


def settings_told(connection: Connection) -> list[Fact]:
    """The settings that are no secrets: what was said, else what holds as usual."""
    declared = [setting for setting in settings_of(connection) if not setting.secret]
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
