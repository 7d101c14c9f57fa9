"""Many rows with history at once. The rule here: no row of a model with history changes without a history row and a reason.

Django's own bulk statements pass the history by. So this is the only module that uses them on such models; a test walks the
syntax trees of the code base and proves it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import models, transaction
from simple_history.utils import get_history_manager_for_model

from portal import sql

if TYPE_CHECKING:
    from portal.models import User

M = TypeVar("M", bound=models.Model)

BATCH = 2000  # rows of one statement


class ReasonMissing(ValueError):
    """Somebody wanted to change master data without saying why."""


def bulk_create_with_reason(
    model: type[M], rows: Sequence[M], *, reason: str, actor: User | None = None, at: datetime | None = None
) -> list[M]:
    """Insert rows and one history row each, in one transaction. The rows carry their ids afterwards."""
    _insist(reason)
    if not rows:
        return []
    with transaction.atomic():
        created = model._base_manager.bulk_create(rows, batch_size=BATCH)
        _write_history(model, created, "+", reason=reason, actor=actor, at=at)
    return created


def bulk_update_with_reason(
    model: type[M],
    rows: Sequence[M],
    fields: Collection[str],
    *,
    reason: str,
    actor: User | None = None,
    at: datetime | None = None,
) -> int:
    """Write some fields of rows that stand already, and one history row each, in one transaction; how many rows.

    The rows must hold the value of every field, not of the changed ones only: the history row is a whole copy.
    """
    _insist(reason)
    if not rows or not fields:
        return 0
    with transaction.atomic():
        changed = model._base_manager.bulk_update(rows, list(fields), batch_size=BATCH // 4)
        _write_history(model, rows, "~", reason=reason, actor=actor, at=at)
    return changed


def update_each_with_reason(
    model: type[M],
    changes: Sequence[tuple[M, Mapping[str, Any]]],
    *,
    reason: str,
    actor: User | None = None,
    at: datetime | None = None,
) -> int:
    """Set other fields on each row: rows that change in the same fields are written together; how many rows."""
    _insist(reason)
    alike: dict[tuple[str, ...], list[M]] = defaultdict(list)
    for row, values in changes:
        for name, value in values.items():
            setattr(row, name, value)
        if values:
            names = sorted({model._meta.get_field(name).name for name in values})
            alike[tuple(names)].append(row)
    with transaction.atomic():
        return sum(
            bulk_update_with_reason(model, rows, fields, reason=reason, actor=actor, at=at)
            for fields, rows in alike.items()
        )


def bulk_delete_with_reason(
    model: type[M], rows: Sequence[M], *, reason: str, actor: User | None = None, at: datetime | None = None
) -> int:
    """Delete rows, leaving a history row that says so; how many. The database refuses where others depend on one."""
    _insist(reason)
    if not rows:
        return 0
    with transaction.atomic():
        _write_history(model, rows, "-", reason=reason, actor=actor, at=at)
        queryset = model._base_manager.filter(pk__in=[row.pk for row in rows])
        return int(queryset._raw_delete(queryset.db))


def has_history(model: type[models.Model]) -> bool:
    """Whether changes of this model leave history."""
    return hasattr(model._meta, "simple_history_manager_attribute")


def _insist(reason: str) -> None:
    if not reason.strip():
        raise ReasonMissing("A change of master data needs a reason; it is kept with the history.")


def _write_history(
    model: type[M], rows: Sequence[M], kind: str, *, reason: str, actor: User | None, at: datetime | None
) -> None:
    """One history row per row: `+` made, `~` changed, `-` deleted. Without an actor it is the request's user, if any."""
    history: Any = get_history_manager_for_model(model).model
    moment = at or sql.now()
    history.objects.bulk_create(
        [
            history(
                history_date=moment,
                history_user=actor or history.get_default_history_user(row),
                history_change_reason=reason,
                history_type=kind,
                **{field.attname: getattr(row, field.attname) for field in history.tracked_fields},
            )
            for row in rows
        ],
        batch_size=BATCH,
    )
