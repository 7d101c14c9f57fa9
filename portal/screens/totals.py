"""The totals of a list in words: under their columns in one currency, and one line a currency where there are several."""

from __future__ import annotations

from typing import Any

from portal import figures
from portal.screens.paging import Summary
from portal.screens.tables import CurrencyColumn, MoneyColumn, NumberColumn, Table


def foot(summary: Summary, table: Table) -> list[tuple[str, str]]:
    """The last row: the totals under their columns, when they are in one currency."""
    sums, code = summary.single, next(iter(summary.totals), "")
    if not sums:
        return []
    cells = []
    for position, column in enumerate(table.columns):
        text = "Total" if position == 0 and column.name not in sums else ""
        if column.name in sums:
            text = _total(column.column, sums[column.name], code)
        elif isinstance(column.column, CurrencyColumn):
            text = code
        cells.append((text, column.column.css))
    return cells


def lines(summary: Summary, table: Table) -> list[str]:
    """The totals in words under the list, one line a currency, when there are several."""
    if len(summary.totals) < 2:
        return []
    columns = {column.name: column for column in table.columns}
    several = (
        sum(
            isinstance(column.column, MoneyColumn)
            for name, column in columns.items()
            if name in next(iter(summary.totals.values()))
        )
        > 1
    )
    said = []
    for code, sums in summary.totals.items():
        words = []
        for name, value in sums.items():
            if name in columns:
                head, unit = columns[name], str(columns[name].header).lower()
                if isinstance(head.column, MoneyColumn):
                    unit = f"{code} {unit}" if several else code
                words.append(f"{_total(head.column, value, code)} {unit}")
        said.append(" · ".join(words))
    return said


def _total(column: Any, value: Any, currency: str) -> str:
    if isinstance(column, MoneyColumn):
        return figures.amount(value, currency)
    return figures.number(value, column.places if isinstance(column, NumberColumn) else None)
