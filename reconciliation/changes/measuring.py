"""What a change of master data does to the entries: stock taken before, the real rules, stock taken after.

The rule here: the dry-run and the application take the same steps in the same order, so that the numbers shown are the numbers
that come. A document counts once, whatever parts its hours were split into; currencies are never added up.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import connection, transaction

from portal.importing.constraints import in_words
from reconciliation import cash
from reconciliation.changes.kinds import BY_CODE
from reconciliation.changes.lines import Line
from reconciliation.changes.writing import Written, write
from reconciliation.sql import affected as affected_sql
from reconciliation.sql import billing as billing_sql
from reconciliation.sql import changes as sql
from reconciliation.validation import admit_unrouted, booked_otherwise, one_batch, recheck, unrouted

BATCH = 2000
MOST_BOOKED = 20_000  # booked entries that are looked at, the latest first; that there are more is said
NAMED = 20  # causes and entries that a dry-run names
NEW = ("new_passes", "new_fails")  # of documents that no route led anywhere before
STOPPED = frozenset({"held", "rejected"})
_FIELDS = ("project_id", "task_id", "resource_id", "customer_id", "rate", "amount", "currency", "is_billable")


class Stood(NamedTuple):
    """One entry as it stands."""

    entry_id: int
    document_id: int
    state: str
    amount: Decimal | None
    currency: str
    fence: int


@dataclass(slots=True)
class Stock:
    """The open entries that a change touches as they stood before it, and the causes that held some of them."""

    entries: list[Stood]
    causes: set[int]
    last_entry: int
    unrouted: list[int] = field(
        default_factory=list
    )  # documents that no route led anywhere, of the sources of its routes

    @property
    def ids(self) -> list[int]:
        """The entries."""
        return [one.entry_id for one in self.entries]


@dataclass(slots=True)
class Looked:
    """What a dry-run found: the figures, what binds them, and the records before and after."""

    written: Written
    preview: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""


@contextmanager
def rolled_back() -> Iterator[None]:
    """Everything done inside is undone, also inside an open transaction."""
    with transaction.atomic():
        point = transaction.savepoint()
        try:
            yield
        finally:
            transaction.savepoint_rollback(point)


def dry_run(lines: Sequence[Line], *, content: str, starts_on: date | None = None) -> Looked:
    """The lines written for real, what they touch validated by the real rules, and all of it undone. Raises Refused."""
    word = sql.last_word()
    with rolled_back():
        written = write(lines, reason="dry-run", actor=None, starts_on=starts_on)
        stock, concerned = take_stock(written.entries, written), booked_under(lines, written)
        fingerprint = fingerprint_of(content, word, stock, concerned)
        recheck_all(stock.ids, reason="dry-run")
        admitted = admit(stock, written)
        settle_constraints()
        preview = {**tell(stock, admitted.causes), **admitted.figures}
        after = otherwise(concerned.entry_ids)
    preview["booked"] = reversible(concerned, otherwise(sorted(after)), after)
    return Looked(written, preview, fingerprint)


def bind(lines: Sequence[Line], *, content: str, starts_on: date | None = None) -> Looked:
    """The same without validating: what the lines touch, and the fingerprint of it as it stands now."""
    word = sql.last_word()
    with rolled_back():
        written = write(lines, reason="dry-run", actor=None, starts_on=starts_on)
        stock, concerned = take_stock(written.entries, written), booked_under(lines, written)
        return Looked(written, fingerprint=fingerprint_of(content, word, stock, concerned))


@one_batch()
def take_stock(entry_ids: Sequence[int], written: Written) -> Stock:
    """How open entries stand now, and which documents wait for a route that was written."""
    entries = [Stood(*row) for row in sql.standing(entry_ids)]
    routed = affected_sql.sources_of_routes(written.concerns.get("route", ()))
    causes = sql.causes_of([one.entry_id for one in entries]) | set(affected_sql.causes_of_routes(routed))
    return Stock(entries, causes, sql.last_entry(), [one for source_id in routed for one in unrouted(source_id)])


@one_batch()
def fingerprint_of(content: str, word: str, stock: Stock, concerned: Concerned) -> str:
    """What was looked at: the content, the latest word of master data, open entries with their fences, booked ones as billed."""
    stands = [(one.entry_id, one.fence) for one in stock.entries]
    booked = sql.digest_of_booked(concerned.entry_ids) if concerned.entry_ids else ""
    seen: list[Any] = [content, word, stands, booked, concerned.is_cut]
    if stock.unrouted:
        seen.append(stock.unrouted)
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()


def recheck_all(entry_ids: Sequence[int], *, reason: str) -> None:
    """Validate again what a change touches."""
    for start in range(0, len(entry_ids), BATCH):
        recheck(entry_ids[start : start + BATCH], actor="validation", reason=reason)


@dataclass(frozen=True, slots=True)
class Newcomers:
    """What became of the documents that no route led anywhere before: the figures, and the causes that hold some of them."""

    figures: dict[str, Any]
    causes: set[int]


def admit(stock: Stock, written: Written) -> Newcomers:
    """Admit what had no route before: the documents that are owed now, and which of them pass or are held, with their money."""
    tried = [
        document_id
        for source_id in affected_sql.sources_of_routes(written.concerns.get("route", ()))
        for document_id in admit_unrouted(source_id, actor="validation")
    ]
    entries = [Stood(*row) for row in sql.afterwards([], tried, stock.last_entry)]
    documents = _by_document(entries)
    counts: Counter[str] = Counter()
    money: dict[str, dict[str, dict[str, Decimal]]] = defaultdict(_by_currency)
    for owed in documents.values():
        worth = _worth(owed)
        _count(
            "new_fails" if any(one.state in STOPPED for one in owed) else "new_passes", (worth, worth), counts, money
        )
    figures = {name: {"entries": counts[name], "money": _plain(money[name])} for name in NEW}
    return Newcomers({"admitted": len(documents), **figures}, sql.causes_of([one.entry_id for one in entries]))


def weigh(written: Written) -> None:
    """Weigh again the causes whose customers, terms, policies or exchange rates changed."""
    concerns = written.concerns
    if concerns.keys() & {"customer", "contract", "entity", "exchange_rate"}:
        cash.weigh_again(
            concerns.get("customer", ()),
            concerns.get("contract", ()),
            entities=concerns.get("entity", ()),
            exchange_rates=concerns.get("exchange_rate", ()),
        )


def settle_constraints() -> None:
    """Ask the database now for what it would refuse at the end: a removed record that something depends on. Raises Refused."""
    with in_words():
        connection.check_constraints()


# Figures


@one_batch()
def tell(stock: Stock, of_newcomers: Collection[int] = ()) -> dict[str, Any]:
    """What became of the stock, in figures: documents that pass, fail, get another price or leave; causes that close or open.

    `of_newcomers` are the causes that hold what was admitted besides.
    """
    documents = {one.document_id for one in stock.entries}
    now = [Stood(*row) for row in sql.afterwards(stock.ids, sorted(documents), stock.last_entry)]
    told = compare(stock.entries, now)
    opened = (sql.causes_of([one.entry_id for one in now]) | set(of_newcomers)) - stock.causes
    gone = [row for row in sql.causes(stock.causes) if row[2] != "open"]
    told["causes"] = {
        "close": len(gone),
        "open": len(opened),
        "closed": [{"case": row[0], "sentence": row[1]} for row in gone[:NAMED]],
        "opened": [{"sentence": row[1]} for row in sql.causes(sorted(opened)[:NAMED])],
    }
    return told


def compare(before: Iterable[Stood], after: Iterable[Stood]) -> dict[str, Any]:
    """The figures of documents that stood like this before and stand like that after."""
    stood, stands = _by_document(before), _by_document(after)
    counts: Counter[str] = Counter()
    money: dict[str, dict[str, dict[str, Decimal]]] = defaultdict(_by_currency)
    for document, was in stood.items():
        now = stands.get(document, [])
        worth = _worth(was), _worth(now)
        _count(_outcome(was, now), worth, counts, money)
        if now and worth[0] != worth[1]:
            _count("repriced", worth, counts, money)
    outcomes = ("passes", "fails", "still_held", "still_ready", "leaves", "repriced")
    return {
        "entries": len(stood),
        **{name: {"entries": counts[name], "money": _plain(money[name])} for name in outcomes},
    }


def _by_currency() -> dict[str, dict[str, Decimal]]:
    return defaultdict(lambda: {"before": Decimal(0), "after": Decimal(0)})


def _count(
    outcome: str,
    worth: tuple[dict[str, Decimal], dict[str, Decimal]],
    counts: Counter[str],
    money: dict[str, dict[str, dict[str, Decimal]]],
) -> None:
    """Count one document, and add what it was worth and is worth."""
    counts[outcome] += 1
    of = money[outcome]
    for side, sums in zip(("before", "after"), worth, strict=True):
        for currency, amount in sums.items():
            of[currency][side] += amount


def _by_document(entries: Iterable[Stood]) -> dict[int, list[Stood]]:
    found: dict[int, list[Stood]] = defaultdict(list)
    for one in entries:
        found[one.document_id].append(one)
    return found


def _outcome(was: Sequence[Stood], now: Sequence[Stood]) -> str:
    if not now:
        return "leaves"
    stopped, stops = (any(one.state in STOPPED for one in entries) for entries in (was, now))
    if stopped:
        return "still_held" if stops else "passes"
    return "fails" if stops else "still_ready"


def _worth(entries: Sequence[Stood]) -> dict[str, Decimal]:
    if len(entries) == 1:  # as nearly every document has
        [one] = entries
        return {} if one.amount is None else {one.currency: one.amount}
    found: dict[str, Decimal] = defaultdict(Decimal)
    for one in entries:
        if one.amount is not None:
            found[one.currency] += one.amount
    return dict(found)


def _plain(money: dict[str, dict[str, Decimal]]) -> dict[str, dict[str, str]]:
    return {
        currency: {side: f"{amount:.4f}" for side, amount in sorted(sums.items())}
        for currency, sums in sorted(money.items())
    }


def same_figures(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two dry-runs, or a dry-run and its result, say the same; how causes are worded does not count."""
    return _without_names(one) == _without_names(other)


def same_effect(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two dry-runs let the same happen, so that who agreed to one agrees to the other.

    How many entries were looked at, or stay as they are, does not count: where work comes in all day that always moves.
    """
    return _effect(one) == _effect(other)


def _effect(told: Mapping[str, Any]) -> dict[str, Any]:
    booked = told.get("booked", {})
    return {
        **{name: told.get(name) for name in ("passes", "fails", "leaves", "repriced", *NEW)},
        "causes": _without_names(told)["causes"],
        "booked": {name: booked.get(name) for name in ("entries", "money", "billed", "is_cut")},
    }


def _without_names(told: Mapping[str, Any]) -> dict[str, Any]:
    causes = {key: value for key, value in told.get("causes", {}).items() if key in ("close", "open")}
    return {**told, "causes": causes}


# What is booked already


Booked = dict[int, tuple[Any, Any]]


@dataclass(frozen=True, slots=True)
class Concerned:
    """Booked entries that lines may make say something else, the latest first, and whether older ones are not looked at."""

    entry_ids: list[int]
    is_cut: bool


def booked_under(lines: Sequence[Line], written: Written) -> Concerned:
    """What is booked under the records that lines wrote."""
    since = first_day(lines, written) or date.min
    found: set[int] = set()
    for kind, ids in written.concerns.items():
        found.update(affected_sql.booked_entries(kind, ids, since, MOST_BOOKED + 1))
    return Concerned(sorted(found, reverse=True)[:MOST_BOOKED], len(found) > MOST_BOOKED)


def otherwise(entry_ids: Sequence[int]) -> Booked:
    """Those of booked entries that would say something else as the master data stands now."""
    found: Booked = {}
    for start in range(0, len(entry_ids), BATCH):
        found.update(booked_otherwise(entry_ids[start : start + BATCH]))
    return found


def reversible(concerned: Concerned, before: Booked, after: Booked) -> dict[str, Any]:
    """The figures of what is booked and needs a reversal or a credit, but for what needed the same before the change."""
    money: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    moved = []
    for entry_id, (entry, figures) in after.items():
        if entry_id in before and said(before[entry_id][1]) == said(figures):
            continue
        moved.append(entry_id)
        money[entry.currency]["before"] += entry.amount or Decimal(0)
        money[figures.currency]["after"] += figures.amount or Decimal(0)
    billed = {one.entry_id for one in billing_sql.billed_of(moved)} if moved else set()
    return {
        "entries": len(moved), "billed": len(billed), "money": _plain(money), "named": sorted(moved)[:NAMED],
        "looked_at": len(concerned.entry_ids), "is_cut": concerned.is_cut,
    }  # fmt: skip


def said(figures: Any) -> tuple[Any, ...]:
    """What the books would say of an entry."""
    return tuple(getattr(figures, name) for name in _FIELDS)


def first_day(lines: Sequence[Line], written: Written) -> date | None:
    """The first work date for which something is different; None where it may be any day."""
    first: date | None = None
    for line, told in zip(lines, written.lines, strict=True):
        kind = BY_CODE[line.model]
        if not kind.since:
            return None
        sides = [cells for cells in (told.before, told.after) if cells is not None]
        changed = {name for name in sides[0] if sides[0].get(name) != sides[-1].get(name)} if len(sides) > 1 else set()
        if changed == {kind.until}:
            ends = [date.fromisoformat(cells[kind.until]) for cells in sides if cells[kind.until]]
            day = min(ends) + timedelta(days=1)
        else:
            begins = [cells[kind.since] for cells in sides]
            if not all(begins):
                return None
            day = min(date.fromisoformat(text) for text in begins)
        first = min(first or day, day)
    return first
