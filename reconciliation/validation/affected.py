"""What follows a change of master data: the entries that it touches are validated again, without anybody asking.

The rule here: too many is a waste, too few is a wrong posting. So a change touches every open entry that names the record, and
every entry that waits for a record of its kind.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from datetime import timedelta

from django.db import transaction

from portal import changes_watch, sql
from reconciliation import cases, cash, publishing
from reconciliation.sql import affected as affected_sql
from reconciliation.sql import documents
from reconciliation.validation.admission import admit
from reconciliation.validation.rechecking import recheck

BATCH = 2000


def affected_by(kind: str, ids: Collection[int]) -> list[int]:
    """Open entries that changed records of one kind touch (the kinds of `MasterChange`). Raises KeyError for another kind."""
    return affected_sql.open_entries(kind, ids) if ids else []


def follow_changes(*, actor: str = "validation", limit: int = BATCH) -> int:
    """Take word of changed master data and validate again what it touches; how many changes were followed.

    One transaction: a crash leaves the word standing. New routes also admit the documents that had none.
    """
    with transaction.atomic():
        changes = changes_watch.take(limit)
        by_kind: dict[str, set[int]] = defaultdict(set)
        for change in changes:
            by_kind[str(change.kind)].add(change.internal_id)
        entries: set[int] = set()
        for kind, ids in by_kind.items():
            entries.update(affected_by(kind, ids))
        ordered = sorted(entries)
        for start in range(0, len(ordered), BATCH):
            recheck(ordered[start : start + BATCH], actor=actor, reason="master data changed")
        for source_id in affected_sql.sources_of_routes(by_kind.get("route", ())):
            admit_unrouted(source_id, actor=actor)
        cash.weigh_again(
            by_kind.get("customer", ()),
            by_kind.get("contract", ()),
            entities=by_kind.get("entity", ()),
            exchange_rates=by_kind.get("exchange_rate", ()),
        )
        publishing.follow(by_kind)
        changes_watch.settle(changes)
    return len(changes)


def admit_unrouted(source_id: int, *, actor: str) -> list[int]:
    """Admit the documents of a source that had no route when they came; those that were tried."""
    tried: list[int] = []
    cases.resolve("no-route", "connection", f"{source_id}:time", reason="a route was added")
    cases.resolve("no-route", "connection", f"{source_id}:expense", reason="a route was added")
    after = 0
    while ids := documents.documents_without_entry(source_id, after, BATCH):
        admit(ids, actor=actor)
        tried += ids
        after = ids[-1]
    return tried


def unrouted(source_id: int) -> list[int]:
    """The documents of a source that stand for no entry, as `admit_unrouted` would try them."""
    found: list[int] = []
    while ids := documents.documents_without_entry(source_id, found[-1] if found else 0, BATCH):
        found += ids
    return found


def overdue_parents(*, actor: str = "validation", limit: int = BATCH) -> int:
    """Look again at entries that have waited an hour or more for a record in their target; how many.

    Those whose record came are released, those whose policy's patience is over become a case.
    """
    with transaction.atomic():
        ids = affected_sql.parents_waited_for(sql.now() - timedelta(hours=1), limit)
        recheck(ids, actor=actor, reason="waited for a record in the target")
    return len(ids)
