"""Word of changed master data, left for whoever validates entries. The rule here: the word commits with the change.

A change noted is looked at at least once. `take` and `settle` belong into one transaction, so that a crash in between
leaves the word standing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from portal import sql
from portal.models import MasterChange

Kind = MasterChange.Kind
_BATCH = 2000


def note(kind: str, ids: Iterable[int], *, handled: bool = False) -> int:
    """Leave word that these records of one kind were made or changed; how many. Joins the open transaction.

    `handled` says that who changed them validates again what they touch; the word stays as a trace.
    """
    known = Kind(kind)
    at = sql.now()
    rows = [
        MasterChange(kind=known, internal_id=internal_id, changed_at=at, handled_at=at if handled else None)
        for internal_id in sorted(set(ids))
    ]
    MasterChange.objects.bulk_create(rows, batch_size=_BATCH)
    return len(rows)


def take(limit: int = _BATCH) -> list[MasterChange]:
    """Changes that nobody has looked at yet, oldest first, locked until the transaction ends; those of others are skipped."""
    pending = MasterChange.objects.select_for_update(skip_locked=True).filter(handled_at=None).order_by("id")
    return list(pending[:limit])


def settle(changes: Sequence[MasterChange]) -> None:
    """Say that the entries which these changes touch were validated again."""
    MasterChange.objects.filter(pk__in=[change.pk for change in changes]).update(handled_at=sql.now())
