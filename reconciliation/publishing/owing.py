"""How a record comes onto the ledger of a system that is told it: a version where it says something new, and its entry.

The rule here: one worker at a time decides what a system is owed, an unchanged record makes no version, and of two versions
the later one goes when the earlier one has come to its end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime

from django.db import transaction

from portal import sql as portal_sql
from portal.models import Connection, Document, Published, PublishedVersion
from portal.models.documents import MASTER
from reconciliation.publishing import standing, statuses
from reconciliation.publishing.entering import enter
from reconciliation.publishing.resolving import Book, book_of
from reconciliation.publishing.wanted import Wanted, told_to, wanted
from reconciliation.sql import publishing as sql
from reconciliation.sql import statuses as statuses_sql

AT_ONCE = 1000


def recipients() -> list[Connection]:
    """The connections that are told something."""
    found = Connection.objects.filter(is_recipient=True, is_active=True).select_related("entity").order_by("pk")
    return [connection for connection in found if told_to(connection)]


def follow(by_kind: Mapping[str, Collection[int]]) -> list[int]:
    """Owe what changed master data changes for the systems that are told of it; the new entries. Joins the transaction."""
    new: list[int] = []
    systems = recipients() if by_kind else []
    if not systems:
        return new
    bills, payments = set(by_kind.get("bill", ())), set(by_kind.get("payment", ()))
    if by_kind.get("customer"):
        bills.update(statuses_sql.of_customers(by_kind["customer"]))
    concerned: set[int] = set()
    everything = False
    for kind, ids in by_kind.items():
        found = sql.projects_of(kind, ids)
        everything |= found is None
        concerned.update(found or ())
    fresh = set(by_kind.get("connection", ())) | ({c.pk for c in systems} if by_kind.get("route") else set())
    for connection in systems:
        standing.keys_came(connection, by_kind.get("crosswalk", ()))
        if everything or connection.pk in fresh:
            new += owe(connection, reason="its connection or its entity changed")
        elif concerned:
            new += owe(connection, concerned, reason="master data changed")
        if connection.pk in fresh:
            new += owe_statuses(connection, reason="its connection changed")
        elif bills or payments:
            new += owe_statuses(connection, (bills, payments), reason="the system that keeps it said so")
    return new


def owe_everything() -> list[int]:
    """What its day has brought: rates, statuses and assignments begin and end without anybody changing a record.

    Bills and payments are looked at once more as well, so that none stays untold whose word was lost.
    """
    new: list[int] = []
    for connection in recipients():
        with transaction.atomic():
            new += owe(connection, reason="its day came")
        with transaction.atomic():
            new += owe_statuses(connection, reason="looked at once a day")
    return new


def owe(connection: Connection, only: Collection[int] | None = None, *, reason: str) -> list[int]:
    """See to it that a system is owed what it is to hold of all projects in its reach, or of some; the new entries."""
    if not told_to(connection):
        return []
    sql.lock(connection.pk)
    today = portal_sql.now().date()
    return _owe_all(connection, wanted(connection, today, only), today, reason)


def owe_statuses(
    connection: Connection, moved: tuple[Collection[int], Collection[int]] | None = None, *, reason: str
) -> list[int]:
    """See to it that a system is owed how bills and payments stand: those that moved, or all that it was not told of."""
    kinds = set(told_to(connection)) & set(statuses.STATUSES)
    if not kinds:
        return []
    sql.lock(connection.pk)
    if moved is None:
        moved = statuses_sql.not_told(connection.pk, sql.entities_of(connection.pk), kinds)
    bills, payments = statuses_sql.concerned(*moved)
    today = portal_sql.now().date()
    new: list[int] = []
    for start in range(0, len(bills), AT_ONCE):  # bills first: payments name them
        new += _owe_all(connection, statuses.wanted(connection, bills[start : start + AT_ONCE], ()), today, reason)
    for start in range(0, len(payments), AT_ONCE):
        new += _owe_all(connection, statuses.wanted(connection, (), payments[start : start + AT_ONCE]), today, reason)
    return new


def _owe_all(connection: Connection, items: Sequence[Wanted], today: date, reason: str) -> list[int]:
    new: list[int] = []
    for start in range(0, len(items), AT_ONCE):
        new += _owe(connection, items[start : start + AT_ONCE], today, reason)
    return new


def _owe(connection: Connection, items: Sequence[Wanted], today: date, reason: str) -> list[int]:
    standing_rows = {
        row.record: row
        for row in Published.objects.filter(
            connection=connection, internal_id__in={item.internal_id for item in items}
        ).select_related("document")
    }
    digests = {item.record: digest_of(item) for item in items}
    fresh = [item for item in items if item.record not in standing_rows]
    changed = [
        item
        for item in items
        if item.record in standing_rows and standing_rows[item.record].document.content_digest != digests[item.record]
    ]
    moment = portal_sql.now()
    rows = {
        **{item.record: standing_rows[item.record] for item in changed},
        **_make(connection, fresh, digests, moment),
    }
    _next_versions(changed, rows, digests)
    due = [*fresh, *changed]
    PublishedVersion.objects.bulk_create(
        PublishedVersion(
            document_id=rows[item.record].pk, version=rows[item.record].document.current_version, figures=dict(item.figures),
            names=dict(item.names), reason=reason, recorded_at=moment,
        )
        for item in due
    )  # fmt: skip
    order = {item.record: number for number, item in enumerate(items)}
    due.sort(key=lambda item: order[item.record])
    return enter(connection, [(rows[item.record], item.figures, item.names) for item in due], today, reason)


def digest_of(item: Wanted) -> str:
    """SHA-256 of what a record says: the same content has the same digest."""
    said = portal_sql.as_json([sorted(item.figures.items()), sorted(item.names.items())])
    return hashlib.sha256(said.encode()).hexdigest()


def _make(
    connection: Connection, fresh: Sequence[Wanted], digests: Mapping[str, str], moment: datetime
) -> dict[str, Published]:
    """The identity of records that a system is told for the first time."""
    documents = Document.objects.bulk_create(
        Document(
            connection=connection, entity_id=item.entity_id, kind=MASTER, external_id=item.record, current_version=1,
            seen_revision="1", content_digest=digests[item.record], created_at=moment,
        )
        for item in fresh
    )  # fmt: skip
    book = book_of(connection, [item.record for item in fresh]) if fresh else Book()
    rows = Published.objects.bulk_create(
        Published(
            document=document, connection=connection, entity_id=item.entity_id, kind=item.kind,
            internal_id=item.internal_id, resource_id=item.resource_id, title=item.title[:300], number=book.of(item.record),
        )
        for document, item in zip(documents, fresh, strict=True)
    )  # fmt: skip
    return {row.record: row for row in rows}


def _next_versions(changed: Sequence[Wanted], rows: Mapping[str, Published], digests: Mapping[str, str]) -> None:
    """Count the versions of records that say something new."""
    for item in changed:
        row = rows[item.record]
        row.title = item.title[:300]
        row.document.current_version += 1
        row.document.seen_revision = str(row.document.current_version)
        row.document.content_digest = digests[item.record]
    Published.objects.bulk_update([rows[item.record] for item in changed], ["title"])
    Document.objects.bulk_update(
        [rows[item.record].document for item in changed], ["current_version", "seen_revision", "content_digest"]
    )
