"""Rows of a load held against the rules of quality, as far as they could be read.

The rule here: nothing is said twice of a column, and nothing of one that was held against another which could not be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from portal import quality, sql
from portal.importing.tables import Quality, Row

if TYPE_CHECKING:
    from portal.importing.load import Load


def check(load: Load, rules: Quality, rows: Sequence[Row]) -> None:
    """Note every fault. What a person should think about is a warning; for a lenient load all is."""
    told = [row for row in rows if row.means_something]
    proposed = [quality.Proposed(row, row.pk, row.sets, row.standing, by_code=not row.is_meant) for row in told]
    wrong = {id(row): frozenset(row.wrong) for row in told}
    for fault in rules(proposed, sql.now().date()):
        row: Row = fault.key
        column = fault.field.removesuffix("_id")
        if wrong[id(row)] & {name.removesuffix("_id") for name in (fault.field, *fault.causes, *fault.beside)}:
            continue
        value = row.values.get(column, "")
        if load.is_lenient or fault.weight is quality.Weight.NOTHING:
            load.warn(row, column, value, fault.message)
        else:
            load.problem(row, column, value, fault.message)
