"""Many rows with history at once. The rule here: no row of a model with history changes without a history row and a reason.

Django's own bulk statements pass the history by. So this is the only module that uses them on such models; a test walks the
syntax trees of the code base and proves it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import connection, models, transaction
from django.db.models import Field, JSONField
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
    fields = model._meta.concrete_fields
    with transaction.atomic():
        fresh = [row for row in rows if row.pk is None]
        for row, pk in zip(fresh, sql.draw_ids(model._meta.db_table, len(fresh)), strict=True):
            row.pk = pk
        sql.copy_in(model._meta.db_table, _columns(fields), (_values(fields, row) for row in rows))
        for row in rows:
            row._state.adding = False
        _write_history(model, rows, "+", reason=reason, actor=actor, at=at)
    return list(rows)


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
    written = [_concrete(model, name) for name in fields]
    kinds = [(str(field.column), str(field.db_type(connection))) for field in written]
    with transaction.atomic():
        changed = 0
        for start in range(0, len(rows), BATCH):
            part = rows[start : start + BATCH]
            columns = list(zip(*(_values(written, row) for row in part), strict=True))
            changed += sql.overwrite(model._meta.db_table, kinds, [row.pk for row in part], columns)
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
    user = actor or history.get_default_history_user(rows[0])
    told = (at or sql.now(), user.pk if user else None, reason, kind)
    fields = history.tracked_fields
    sql.copy_in(
        history._meta.db_table,
        [*_columns(fields), "history_date", "history_user_id", "history_change_reason", "history_type"],
        ((*_values(fields, row), *told) for row in rows),
    )


def _concrete(model: type[models.Model], name: str) -> Field[Any, Any]:
    field = model._meta.get_field(name)
    if not isinstance(field, Field):
        raise TypeError(f"{name} of {model.__name__} is not a column; it cannot be written in bulk.")
    return field


def _columns(fields: Sequence[Field[Any, Any]]) -> list[str]:
    return [str(field.column) for field in fields]


def _values(fields: Sequence[Field[Any, Any]], row: models.Model) -> list[Any]:
    """The row's values as the database takes them by COPY."""
    return [
        sql.as_json(value) if isinstance(field, JSONField) and value is not None else value
        for field in fields
        for value in (getattr(row, field.attname),)
    ]
