"""The project months of chosen periods, added up from the ledger once and then asked as often as a page has questions.

The rule here: months are read when they are asked for and live as long as the request. Nothing is kept, so nothing can be stale,
and all figures of one page are of the same moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connection
from django.db.models import QuerySet
from django.db.models.sql.datastructures import BaseTable

from reconciliation.models import ProjectMonth
from reconciliation.sql import readiness as sql

PERIOD_BITS = 32  # of a month's key; the rest of it is its project


class _AddedUp(BaseTable):
    """In the place of the view, what the view said: one array a column, given with each statement."""

    def __init__(self, table_name: str, alias: str, columns: dict[str, str], values: Sequence[str]) -> None:
        super().__init__(table_name, alias)
        self.columns, self.values = columns, values

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[str | int, ...]]:
        """The rows as a table of the view's name."""
        arrays = ", ".join(f"%s::{kind}[]" for kind in self.columns.values())
        names = ", ".join(self.columns)
        return f"unnest({arrays}) AS {compiler.quote_name_unless_alias(self.table_alias)}({names})", tuple(self.values)

    def relabeled_clone(self, change_map: dict[str | None, str]) -> _AddedUp:
        """The same under another name."""
        alias = change_map.get(self.table_alias) or str(self.table_alias)
        return _AddedUp(self.table_name, alias, self.columns, self.values)


def added_up(rows: QuerySet[ProjectMonth], periods: Sequence[int]) -> QuerySet[ProjectMonth]:
    """The months of these periods as they are now, in one statement; whatever is asked of them then adds nothing up again.

    `rows` is a queryset of all months that nothing was asked of yet; what a person may not see is still to be left out.
    """
    columns = {str(field.column): _kind(field) for field in ProjectMonth._meta.concrete_fields}
    found = rows.all()
    alias = str(found.query.get_initial_alias())
    values = sql.months(list(columns), periods)
    found.query.alias_map[alias] = _AddedUp(ProjectMonth._meta.db_table, alias, columns, values)
    return found


def _kind(field: Any) -> str:
    """The type of a column without its places: the view's figures are exact."""
    return str(field.db_type(connection)).partition("(")[0]


def of_key(rows: QuerySet[ProjectMonth], key: int) -> QuerySet[ProjectMonth]:
    """The month with this key, found by its project and its period: by these the ledger has an index."""
    return rows.filter(project_id=key >> PERIOD_BITS, period_id=key & ((1 << PERIOD_BITS) - 1))
