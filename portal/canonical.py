"""From records to documents, in batches: what a source says becomes a version, once.

The rule here: a document is stored even when it is wrong, an older copy never overwrites a newer one, and an echo without a
change makes no version. Every verb joins the caller's transaction and issues a fixed number of statements.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from portal import sql
from portal.models import Connection, User
from portal.records import DocumentKind, DocumentRecord, ExpenseRecord, SourceStatus, TimeEntryRecord

_SHARED = (
    "status", "resource_key", "resource_code", "resource_name", "project_key", "project_code", "project_name", "task_key",
    "task_code", "task_name", "customer_key", "customer_code", "customer_name", "work_date", "zone", "is_billable", "currency",
    "description", "approver_key", "approver_code", "approver_name", "approved_at", "provenance", "link", "post_on",
)  # fmt: skip
_TIME = ("hours", "rate", "rate_source", "starts_at", "ends_at")
_EXPENSE = ("amount", "category", "tax_code", "tax_amount", "receipt_reference")
_OWN = {DocumentKind.TIME: _TIME, DocumentKind.EXPENSE: _EXPENSE}
_TABLE = {DocumentKind.TIME: "portal_timeentry", DocumentKind.EXPENSE: "portal_expense"}
_HEAD = ("document_id", "version", "revision", "message_id", "author_id", "reason", "recorded_at")
NOT_FINAL = frozenset({SourceStatus.DRAFT, SourceStatus.SUBMITTED})
CORRECTABLE = frozenset({*_SHARED, *_TIME, *_EXPENSE} - {"status", "approved_at", "provenance", "link"})


@dataclass(slots=True)
class Taken:
    """What a batch of records became. Documents are to be validated; messages are told by what became of them."""

    documents: list[int] = field(default_factory=list)  # their current version is new
    done: list[int] = field(default_factory=list)  # message ids
    superseded: list[int] = field(default_factory=list)  # older than what is known
    unchanged: list[int] = field(default_factory=list)  # an echo
    ignored: list[int] = field(default_factory=list)  # seen, not final


def _kind(record: DocumentRecord) -> DocumentKind:
    return DocumentKind.EXPENSE if isinstance(record, ExpenseRecord) else DocumentKind.TIME


def _shared(record: DocumentRecord) -> list[Any]:
    return [
        str(record.status), *record.resource, *record.project, *record.task, *record.customer, record.work_date, record.zone,
        record.billable, record.currency, record.description, *record.approved_by, record.approved_at, record.provenance,
        record.link, None,
    ]  # fmt: skip


def _own(record: DocumentRecord) -> list[Any]:
    if isinstance(record, TimeEntryRecord):
        return [record.hours, record.rate, "", record.starts_at, record.ends_at]
    if not isinstance(record, ExpenseRecord):
        raise TypeError(f"A document is a time entry or an expense, not a {type(record).__name__}.")
    return [record.amount, record.category, record.tax_code, record.tax_amount, record.receipt_reference]


def fingerprint(values: Iterable[Any]) -> str:
    """The fingerprint of a document's content; equal for what is spelled otherwise and means the same."""
    return hashlib.sha256("\x1f".join([v if v.__class__ is str else _text(v) for v in values]).encode()).hexdigest()


def _text(value: Any) -> str:
    """One spelling for one value, so that 8 and 8.0000 hours, or one moment in two zones, are the same content."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    return str(value.timestamp()) if isinstance(value, datetime) else str(value)


def _latest(
    records: Sequence[tuple[int, DocumentRecord]],
) -> tuple[dict[tuple[str, str], tuple[int, DocumentRecord]], list[int]]:
    """The newest record of each document in the batch, and the messages of the copies it outdates."""
    latest: dict[tuple[str, str], tuple[int, DocumentRecord]] = {}
    outdated: list[int] = []
    for message_id, record in records:
        identity = (str(_kind(record)), record.external_id)
        known = latest.get(identity)
        if known is None:
            latest[identity] = (message_id, record)
        elif record.revision >= known[1].revision:
            outdated.append(known[0])
            latest[identity] = (message_id, record)
        else:
            outdated.append(message_id)
    return latest, outdated


def _standing(
    connection_id: int, identities: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], tuple[int, int, str, str, str]]:
    """Known documents of the batch, locked: (id, version, revision, digest, status of the current version) by identity."""
    found = sql.rows_bound(
        """
        SELECT d.kind, d.external_id, d.id, d.current_version, d.seen_revision, d.content_digest,
               coalesce(t.status, x.status, '')
          FROM portal_document d
          JOIN unnest(%b::text[], %b::text[]) AS w(kind, external_id) ON d.kind = w.kind AND d.external_id = w.external_id
          LEFT JOIN portal_timeentry t ON d.kind = 'time' AND t.document_id = d.id AND t.version = d.current_version
          LEFT JOIN portal_expense x ON d.kind = 'expense' AND x.document_id = d.id AND x.version = d.current_version
         WHERE d.connection_id = %s
         ORDER BY d.id FOR UPDATE OF d""",
        [[kind for kind, _ in identities], [external_id for _, external_id in identities], connection_id],
    )
    return {(row[0], row[1]): (row[2], row[3], row[4], row[5], row[6]) for row in found}


def take_in(connection: Connection, records: Sequence[tuple[int, DocumentRecord]]) -> Taken:
    """Store records of one source as document versions.

    A draft or submitted record of an unknown document is seen and left; a rejected one is kept. A known document that comes
    back unapproved, withdrawn or deleted gets a version saying so. Raises ValueError when the connection has no legal entity.
    """
    if connection.entity_id is None:
        raise ValueError(f"Connection {connection.code} has no legal entity, so its documents would belong to nobody.")
    latest, outdated = _latest(records)
    taken = Taken(superseded=outdated)
    sql.rows("SELECT pg_advisory_xact_lock(%s, %s)", [0x646F6373, connection.pk])  # one intake per source at a time
    standing = _standing(connection.pk, list(latest))
    fresh: list[tuple[int, DocumentRecord, list[Any], str]] = []
    changed: list[tuple[int, int, int, DocumentRecord, list[Any], str]] = []
    echoed: list[tuple[int, str]] = []
    submitted: list[tuple[int, TimeEntryRecord]] = []
    for identity, (message_id, record) in latest.items():
        values = _shared(record) + _own(record)
        digest = fingerprint(values)
        known = standing.get(identity)
        if known is None:
            if record.status in NOT_FINAL or record.status == SourceStatus.DELETED:
                taken.ignored.append(message_id)
                if record.status == SourceStatus.SUBMITTED and isinstance(record, TimeEntryRecord):
                    submitted.append((message_id, record))
            else:
                fresh.append((message_id, record, values, digest))
            continue
        document_id, version, revision, known_digest, status = known
        if record.revision < revision:
            taken.superseded.append(message_id)
        elif digest == known_digest:
            taken.unchanged.append(message_id)
            echoed.append((document_id, record.revision))
        elif record.status in NOT_FINAL and status in NOT_FINAL:
            taken.ignored.append(message_id)
        else:
            changed.append((message_id, document_id, version + 1, record, values, digest))
    _store(connection, fresh, changed, echoed, taken)
    _see_submitted(connection, [record.external_id for _, record in latest.values()], submitted)
    return taken


def _see_submitted(connection: Connection, seen: list[str], submitted: Sequence[tuple[int, TimeEntryRecord]]) -> None:
    """Keep what waits for approval: what came again is forgotten, and what still waits is noted as it is now."""
    sql.execute_bound(
        "DELETE FROM portal_submittedtime WHERE connection_id = %s::bigint AND external_id = ANY(%b::text[])",
        [connection.pk, seen],
    )
    if submitted:
        moment = sql.now()
        sql.copy_in(
            "portal_submittedtime",
            ("connection_id", "entity_id", "external_id", "revision", "resource_name", "project_key", "project_code",
             "approver_name", "work_date", "hours", "message_id", "seen_at"),
            (
                [connection.pk, connection.entity_id, r.external_id, r.revision, r.resource.name or r.resource.code,
                 r.project.key, r.project.code, r.approved_by.name, r.work_date, r.hours, message_id, moment]
                for message_id, r in submitted
            ),
        )  # fmt: skip


def _store(
    connection: Connection,
    fresh: Sequence[tuple[int, DocumentRecord, list[Any], str]],
    changed: Sequence[tuple[int, int, int, DocumentRecord, list[Any], str]],
    echoed: Sequence[tuple[int, str]],
    taken: Taken,
) -> None:
    moment = sql.now()
    versions: dict[DocumentKind, list[list[Any]]] = {kind: [] for kind in DocumentKind}
    if fresh:
        ids = sql.draw_ids("portal_document", len(fresh))
        sql.copy_in(
            "portal_document",
            ("id", "connection_id", "entity_id", "kind", "external_id", "current_version", "seen_revision", "content_digest",
             "created_at"),
            (
                [i, connection.pk, connection.entity_id, str(_kind(r)), r.external_id, 1, r.revision, digest, moment]
                for i, (_, r, _, digest) in zip(ids, fresh, strict=True)
            ),
        )  # fmt: skip
        for document_id, (message_id, record, values, _) in zip(ids, fresh, strict=True):
            versions[_kind(record)].append([document_id, 1, record.revision, message_id, None, "", moment, *values])
            taken.documents.append(document_id)
            taken.done.append(message_id)
    for message_id, document_id, version, record, values, _ in changed:
        versions[_kind(record)].append([document_id, version, record.revision, message_id, None, "", moment, *values])
        taken.documents.append(document_id)
        taken.done.append(message_id)
    for kind, rows in versions.items():
        if rows:
            sql.copy_in(_TABLE[kind], (*_HEAD, *_SHARED, *_OWN[kind]), rows)
    _advance([(row[1], row[2], row[3].revision, row[5]) for row in changed])
    if echoed:
        sql.execute(
            "UPDATE portal_document d SET seen_revision = w.revision"
            " FROM unnest(%s::bigint[], %s::text[]) AS w(id, revision) WHERE d.id = w.id",
            [[row[0] for row in echoed], [row[1] for row in echoed]],
        )


def _advance(rows: Sequence[tuple[int, int, str, str]]) -> None:
    """Point documents at their new version: (id, version, revision, digest)."""
    if rows:
        sql.execute(
            "UPDATE portal_document d SET current_version = w.version, seen_revision = w.revision, content_digest = w.digest"
            " FROM unnest(%s::bigint[], %s::int[], %s::text[], %s::text[]) AS w(id, version, revision, digest)"
            " WHERE d.id = w.id AND d.current_version = w.version - 1",
            [[r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows], [r[3] for r in rows]],
        )


def correct(document_ids: Sequence[int], changes: Mapping[str, Any], *, author: User, reason: str) -> list[int]:
    """Finance's own new version of some documents: the current one with `changes`; the ids that now have one.

    The source's revision and digest are kept, so a repeat of what the source said before changes nothing, and its next real
    edit makes a version after this one. Raises ValueError for a field that is the source's alone.
    """
    refused = set(changes) - CORRECTABLE
    if refused:
        raise ValueError(f"{', '.join(sorted(refused))} cannot be corrected here; it belongs to the source.")
    if not reason.strip():
        raise ValueError("A correction needs a reason.")
    corrected: list[int] = []
    heads = sql.rows(
        "SELECT id, kind FROM portal_document WHERE id = ANY(%s) ORDER BY id FOR UPDATE", [list(document_ids)]
    )
    for kind in DocumentKind:
        ids = [row[0] for row in heads if row[1] == kind]
        columns = (*_SHARED, *_OWN[kind])
        applicable = {name: value for name, value in changes.items() if name in columns}
        if not ids or not applicable:
            continue
        selected = ", ".join("%s" if name in applicable else f"v.{name}" for name in columns)
        sql.execute(
            f"INSERT INTO {_TABLE[kind]} (document_id, version, revision, message_id, author_id, reason, recorded_at,"  # noqa: S608
            f" {', '.join(columns)}) SELECT v.document_id, v.version + 1, v.revision, NULL, %s, %s, now(), {selected}"
            f" FROM {_TABLE[kind]} v JOIN portal_document d ON d.id = v.document_id AND d.current_version = v.version"
            " WHERE d.id = ANY(%s)",
            [author.pk, reason, *(applicable[name] for name in columns if name in applicable), ids],
        )
        sql.execute("UPDATE portal_document SET current_version = current_version + 1 WHERE id = ANY(%s)", [ids])
        corrected.extend(ids)
    return corrected
