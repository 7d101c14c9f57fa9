"""The rows of a table as markup: what a column needs is looked up once a table, and not once a cell.

The rule here: a cell says what django-tables2 would say (the accessor's value, a choice in its words, the table's word for what
is empty, the column's `render`); a page of fifty rows has some six hundred cells, so nothing is found out twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

from django.core.exceptions import FieldDoesNotExist, ObjectDoesNotExist
from django.db.models import Model
from django.template.defaultfilters import striptags
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django_tables2.utils import signature


class Cells:
    """One column as it draws its cells: the value of a record, the words for it, and the cell around them."""

    def __init__(self, column: Any, table: Any) -> None:
        self.bound, self.column, self.table = column, column.column, table
        self.accessor = column.accessor
        self.bits: tuple[str, ...] = tuple(str(bit) for bit in column.accessor.bits)
        self.render: Callable[..., Any] = column.render
        self.wanted, takes_all = signature(column.render)
        if takes_all or not set(self.wanted) <= {"value", "record", "column", "bound_column", "table"}:
            raise TypeError(f"{type(table).__name__}.{column.name}: its render asks for what a cell does not know.")
        self.empty = self.column.empty_values
        self.default = conditional_escape(column.default)
        self._choices: bool | None = None

    @cached_property
    def edges(self) -> tuple[str, str, str]:
        """What stands before a cell with words, before an empty one, and after it."""
        if getattr(self.column, "heads_row", False):
            return '<th scope="row" class="main">', '<th scope="row" class="main">', "</th>"
        label = getattr(self.column, "label", "") or striptags(self.bound.header)
        css = getattr(self.column, "css", "")
        full, vacant = (format_html('<td data-label="{}" class="{}{}">', label, css, more) for more in ("", " vacant"))
        return full, vacant, "</td>"

    def value(self, record: Any) -> Any:
        """What the record says; None where it says nothing."""
        if isinstance(record, Mapping) and self.accessor in record:
            return record[self.accessor]
        found = record
        if self._has_choices(record):
            for bit in self.bits[:-1]:
                found = _step(found, bit)
            return None if found is None else getattr(found, f"get_{self.bits[-1]}_display")()
        for bit in self.bits:
            if found is None:
                return None
            found = _step(found, bit)
        return found

    def _has_choices(self, record: Any) -> bool:
        """Whether the value is one of a field's choices, which is then said in its words."""
        if self._choices is None:
            self._choices = isinstance(record, Model) and _is_choice(self.accessor, record)
        return self._choices

    def drawn(self, record: Any) -> str:
        """The cell of one record."""
        full, vacant, end = self.edges
        value = self.value(record)
        if value in self.empty:
            return f"{vacant}{self.default}{end}"
        knows = {
            "value": value, "record": record, "column": self.column, "bound_column": self.bound, "table": self.table,
        }  # fmt: skip
        words = conditional_escape(self.render(**{name: knows[name] for name in self.wanted}))
        return f"{vacant if words == self.default else full}{words}{end}"


def _step(found: Any, bit: str) -> Any:
    """One step of an accessor: a key, an attribute, or what a method without arguments gives."""
    if isinstance(found, Mapping):
        found = found.get(bit)
    else:
        try:
            found = getattr(found, bit, None)
        except ObjectDoesNotExist:
            return None
    if callable(found) and not getattr(found, "do_not_call_in_templates", False):
        return found()
    return found


def _is_choice(accessor: Any, record: Model) -> bool:
    try:
        return bool(getattr(accessor.get_field(record), "choices", None))
    except FieldDoesNotExist:
        return False


def rows(table: Any, records: Iterator[Any] | list[Any], *, out_of_band: bool = False) -> Iterator[SafeString]:
    """Each record as a row of its table. `out_of_band` rows take their own place on a page that stands already."""
    columns = [Cells(column, table) for column in table.columns]
    swap = ' hx-swap-oob="true"' if out_of_band else ""
    for record in records:
        key = conditional_escape(getattr(record, "pk", ""))
        cells = "".join(column.drawn(record) for column in columns)
        yield mark_safe(f'<tr data-key="{key}" id="row-{key}"{swap}>{cells}</tr>')  # noqa: S308 - each part is escaped above
