"""Whether a publication may go, and what follows when it came to its end: keys are learned, and what waited goes.

The rule here: an entry goes only as its record's current version and under the keys that hold now. The system's own key of a
record that it took is the crosswalk's from then on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from django.db import transaction

from portal import access, audit, changes_watch, history, ledger
from portal import sql as portal_sql
from portal.models import Connection, Crosswalk, Published, PublishedVersion, State, User
from portal.models.documents import MASTER
from reconciliation import cases
from reconciliation.facts import Standing, standing_entry
from reconciliation.publishing.entering import enter
from reconciliation.publishing.resolving import KEYED, Book, book_of
from reconciliation.publishing.stopping import (
    MISSING,
    OPEN,
    PARENT,
    REFUSED,
    SETTLED,
    TWIN,
    cancel_open,
    hold_for_want_of,
)
from reconciliation.publishing.wanted import told_to
from reconciliation.sql import cases as cases_sql
from reconciliation.sql import documents
from reconciliation.sql import publishing as sql

_OURS = frozenset({MISSING, TWIN, REFUSED})
_BEGINNING = date(1900, 1, 1)  # of a key's validity: it means this record on every day


@dataclass(slots=True)
class _Batch:
    """Entries of one connection with their records, versions and the keys that hold now."""

    connection: Connection
    entries: Sequence[Standing]
    rows: Mapping[int, Published]
    versions: Mapping[tuple[int, int], PublishedVersion]
    book: Book

    def is_current(self, entry: Standing) -> bool:
        row = self.rows[entry.document_id]
        return row.document.current_version == entry.version and row.kind in told_to(self.connection)

    def names(self, entry: Standing) -> Mapping[str, str]:
        return dict(self.versions[entry.document_id, entry.version].names)

    def keys(self, entry: Standing) -> dict[str, str]:
        return self.book.address(self.rows[entry.document_id].record, self.names(entry))

    def is_said_as_before(self, entry: Standing) -> bool:
        return {name: key for name, key in entry.target_keys.items() if key} == {
            name: key for name, key in self.keys(entry).items() if key
        }


def _batches(entries: Sequence[Standing]) -> list[_Batch]:
    by_target: dict[int, list[Standing]] = defaultdict(list)
    for entry in entries:
        by_target[entry.target_id].append(entry)
    batches = []
    for connection in Connection.objects.filter(pk__in=by_target).select_related("entity").order_by("pk"):
        of = by_target[connection.pk]
        ids = {entry.document_id for entry in of}
        rows = {row.pk: row for row in Published.objects.filter(pk__in=ids).select_related("document")}
        versions = {
            (found.document_id, found.version): found
            for found in PublishedVersion.objects.filter(document__in=ids, version__in={e.version for e in of})
        }
        named = {name for found in versions.values() for name in found.names.values()}
        batches.append(
            _Batch(connection, of, rows, versions, book_of(connection, named | {row.record for row in rows.values()}))
        )
    return batches


def stands(entries: Sequence[Standing]) -> set[int]:
    """Which of these may still go, asked at the door; writes nothing."""
    return {
        entry.id
        for batch in _batches(entries)
        for entry in batch.entries
        if batch.is_current(entry) and not batch.book.missing(batch.names(entry)) and batch.is_said_as_before(entry)
    }


def recheck(entries: Sequence[Standing], *, actor: str, reason: str) -> list[int]:
    """Look again at entries that have not gone; those that may go now. Their documents and states are locked by the caller."""
    released: list[int] = []
    for batch in _batches([entry for entry in entries if entry.state in OPEN]):
        released += _recheck(batch, actor=actor, reason=reason)
    return released


def _recheck(batch: _Batch, *, actor: str, reason: str) -> list[int]:
    gone = [entry for entry in batch.entries if not batch.is_current(entry)]
    went, _ = cancel_open(
        [(e.document_id, e.id, e.version, e.generation, e.state, e.fence) for e in gone],
        actor=actor, reason="another version holds now, or the system is not told of it any more",
    )  # fmt: skip
    held_by: dict[int, set[str]] = defaultdict(set)
    for _, entry_id, rule, _ in cases_sql.open_holds_of([entry.id for entry in batch.entries]):
        held_by[entry_id].add(rule)
    released: list[int] = []
    anew: list[Standing] = []
    for entry in batch.entries:
        if entry in gone:
            continue
        lacking = batch.book.missing(batch.names(entry))
        nowhere = [record for record in lacking if record not in batch.book.coming]
        said_otherwise = not batch.is_said_as_before(entry)
        if (entry.state == State.REJECTED or entry.body_hash) and said_otherwise and not lacking:
            anew.append(entry)
            continue
        if entry.state == State.REJECTED:
            continue
        if said_otherwise and not entry.body_hash:
            sql.address([(entry.id, portal_sql.as_json(batch.keys(entry)))])
        if nowhere:
            if entry.state == State.READY:
                ledger.hold([(entry.id, entry.fence)], actor=actor, reason=reason)
            hold_for_want_of(batch.connection, [(entry.id, batch.rows[entry.document_id], nowhere[0])])
            continue
        cases.close_holds([entry.id], [MISSING], reason=reason)
        waits_on = f"{PARENT}{lacking[0]}" if lacking else ""
        if entry.state == State.HELD and held_by[entry.id] <= {MISSING}:
            released += ledger.release([(entry.id, entry.fence)], actor=actor, reason=reason, waits_on=waits_on)
        elif entry.waits_on.startswith((PARENT, SETTLED)) and not _waits_for_itself(entry):
            ledger.put_off([entry.id], waits_on)
            released += [] if waits_on else [entry.id]
    released += _anew(batch, anew, actor=actor, reason=reason)
    if went:
        left = {entry.document_id for entry in gone if entry.id in set(went)}
        _look_again(
            sql.waiting_for(batch.connection.pk, [f"{SETTLED}{document_id}" for document_id in sorted(left)]),
            reason="its earlier version is not there",
        )
    return released


def _waits_for_itself(entry: Standing) -> bool:
    """Whether an earlier version is still on its way."""
    if not entry.waits_on.startswith(SETTLED):
        return False
    return any(row[4] in ledger.ON_ITS_WAY for row in sql.standing_of([entry.document_id]) if row[1] != entry.id)


def _anew(batch: _Batch, entries: Sequence[Standing], *, actor: str, reason: str) -> list[int]:
    """Owe the same version again under a new key: what it says to the system has changed since it was sent."""
    due = [
        (batch.rows[e.document_id], batch.versions[e.document_id, e.version].figures, batch.names(e)) for e in entries
    ]
    return enter(batch.connection, due, portal_sql.now().date(), reason, actor=actor)


def send_again(published: Published, *, by: User, reason: str) -> list[int]:
    """A person has the current version of a record sent once more, under a new key. Audited; the new entry."""
    access.require(by, access.OPERATORS, published.entity_id)
    with transaction.atomic():
        sql.lock(published.connection_id)
        documents.lock([published.pk])
        row = Published.objects.select_related("document", "connection").get(pk=published.pk)
        version = PublishedVersion.objects.get(document=row.pk, version=row.document.current_version)
        new = enter(
            row.connection, [(row, version.figures, version.names)], portal_sql.now().date(), reason,
            actor=by.get_username(),
        )  # fmt: skip
        audit.record(
            by, "publication-sent-again", row.document, entity=row.entity_id, reason=reason,
            after={"record": row.title, "system": row.connection.code, "version": row.document.current_version},
        )  # fmt: skip
    return new


@dataclass(frozen=True, slots=True)
class Refusal:
    """One publication that its system refused; `twin` is the number of a record there that may be the same."""

    entry_id: int
    sentence: str
    twin: str = ""


def refused(connection: Connection, refusals: Sequence[Refusal]) -> None:
    """Open the cases of refused publications, each with its way out, and let later versions go. Joins the transaction."""
    rows = records_of([refusal.entry_id for refusal in refusals])
    holds = []
    for refusal in refusals:
        row = rows[refusal.entry_id]
        if refusal.twin:
            row.twin = {"number": refusal.twin, "name": refusal.sentence}
            row.save(update_fields=["twin"])
        holds.append(
            cases.NewHold(
                entry_id=refusal.entry_id, rule=TWIN if refusal.twin else REFUSED, entity_id=row.entity_id,
                subject_type="publication", subject_key=f"{connection.pk}:{row.record}",
                sentence=(
                    f"{connection} has a record of the same name as {row.title}: {refusal.sentence} Nothing was made; say that it"
                    " is the same, or rename one of them and send it again."
                    if refusal.twin
                    else f"{connection} refused {row.title}: {refusal.sentence} Put it right, then send it again."
                ),
                detail={"published": row.pk, "twin": refusal.twin, "target_id": connection.pk},
                connection_id=connection.pk,
            )
        )  # fmt: skip
    cases.open_holds(holds)
    _go_on(connection, rows.values(), reason="an earlier version was refused")


def taken(connection: Connection, accepted: Sequence[tuple[int, str, bool]]) -> None:
    """Learn the system's own keys of records that it took: (entry, number, whether the system names the record by it).

    Earlier versions are replaced, and what waited for these records goes. Joins the transaction.
    """
    if not accepted:
        return
    rows = records_of([entry_id for entry_id, _, _ in accepted])
    replaced: dict[State, list[ledger.Ref]] = defaultdict(list)
    mine = {entry_id for entry_id, _, _ in accepted}
    for _, entry_id, _, _, state, fence in sql.standing_of([row.pk for row in rows.values()]):
        if entry_id not in mine and state in (State.ACCEPTED, State.POSTED, State.RECONCILED):
            replaced[State(state)].append((entry_id, fence))
    for state, refs in replaced.items():
        moved = ledger.reverse(refs, state, actor="outbox", reason="a later version took its place there")
        cases.close_holds(moved, outcome=cases.WITHDRAWN, reason="a later version took its place there")
    keyed = []
    for entry_id, number, is_keyed in accepted:
        row = rows[entry_id]
        row.number, row.twin, row.drift, row.drifted_at, row.accepted = number, {}, {}, None, {}
        row.save(update_fields=["number", "twin", "drift", "drifted_at", "accepted"])
        if is_keyed and row.kind in KEYED:
            keyed.append(row)
    _tie(connection, keyed)
    cases.close_holds(list(mine), _OURS, reason="the system took it")
    _go_on(connection, rows.values(), reason="what it waited for is there")


def _tie(connection: Connection, rows: Sequence[Published]) -> None:
    """The system's own key becomes ours to know it by, with history; a key that means something already is left to people."""
    pairs = [(row.kind, row.internal_id) for row in rows]
    today = portal_sql.now().date()
    known = sql.keys_there(connection.connector, connection.realm, today, pairs) if pairs else {}
    fresh = [row for row in rows if row.record not in known]
    used = set(
        Crosswalk.objects.filter(
            system=connection.connector, realm=connection.realm, external_id__in=[row.number for row in fresh]
        ).values_list("kind", "external_id")
    )
    new = [
        Crosswalk(
            system=connection.connector, realm=connection.realm, kind=row.kind, external_id=row.number,
            internal_id=row.internal_id, valid_from=_BEGINNING,
        )
        for row in fresh
        if (row.kind, row.number) not in used
    ]  # fmt: skip
    history.bulk_create_with_reason(
        Crosswalk, new, reason=f"{connection} took it when it was published ({connection.code})"
    )
    changes_watch.note("crosswalk", [key.pk for key in new])


def records_of(entry_ids: Sequence[int]) -> dict[int, Published]:
    """The records that entries owe, by entry; two entries of one record share it."""
    pairs = [(row[0], row[1]) for row in documents.entries(entry_ids)]
    rows = {
        row.pk: row
        for row in Published.objects.filter(pk__in={document_id for _, document_id in pairs}).select_related("document")
    }
    return {entry_id: rows[document_id] for entry_id, document_id in pairs}


def keys_came(connection: Connection, crosswalk_ids: Collection[int]) -> None:
    """Keys of a system were added or changed: what waited for them goes, and what was refused for a twin is told to it."""
    found = Crosswalk.objects.filter(pk__in=crosswalk_ids, system=connection.connector, realm=connection.realm)
    pairs = set(found.filter(kind__in=KEYED).values_list("kind", "internal_id"))
    if not pairs:
        return
    records = [f"{kind}:{internal_id}" for kind, internal_id in pairs]
    theirs = Published.objects.filter(connection=connection, internal_id__in={internal_id for _, internal_id in pairs})
    mine = [row.pk for row in theirs if (row.kind, row.internal_id) in pairs]
    ids = {
        *sql.waiting_for(connection.pk, [f"{PARENT}{record}" for record in records]),
        *sql.stopped_for_want_of(connection.pk, records),
        *sql.open_entries(connection.pk, mine),
    }
    _look_again(ids, reason="the system's key of a record came")


def _look_again(entry_ids: Iterable[int], *, reason: str) -> None:
    """Look again at publications, their documents locked before them."""
    ids = sorted(entry_ids)
    documents.lock(documents.of_entries(ids))
    entries = [standing_entry(row) for row in documents.entries(ids, lock=True)]
    recheck([entry for entry in entries if entry.kind == MASTER], actor="publishing", reason=reason)


def _go_on(connection: Connection, rows: Iterable[Published], *, reason: str) -> None:
    """Let go what waited for these records or for their earlier versions."""
    events = [f"{PARENT}{row.record}" for row in rows] + [f"{SETTLED}{row.pk}" for row in rows]
    _look_again(sql.waiting_for(connection.pk, events), reason=reason)
