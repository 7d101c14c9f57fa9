"""One file against the rules and against what stands: every row with its problems, or with what it would make or change.

The rule here: it is read and judged as a load is, in a fixed number of statements whatever its length, and writes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from portal.importing import cells as reading
from portal.importing.cells import Amounts, doubtful
from portal.importing.headings import usual_headings
from portal.importing.load import Load
from portal.importing.problems import Refused, Unreadable
from portal.importing.sheets import Sheet, read
from portal.importing.tables import Row, Table
from portal.models import User
from portal.models.access import entities_held
from portal.views.governed import visible
from reconciliation.changes import BY_CODE, KINDS, Action, Line
from reconciliation.changes.kinds import POINTED_AT
from reconciliation.changes.words import cells_of
from reconciliation.changes.writing import refuse_unseen
from reconciliation.models import MasterImport

_HOLLOW = Unreadable(
    "holds a formula without a result, or an error such as #N/A; let the spreadsheet program calculate it, and save again."
)
SAMPLES, SAMPLED = 3, 200  # values shown of a column, and rows in which they are looked for
NEW, CHANGED, SAME, BAD = "new", "changed", "same", "bad"


@dataclass(frozen=True, slots=True)
class Place:
    """One row of the file. Lines count from 1, whatever stands above the header."""

    line: int

    def at(self, column: str = "") -> str:
        """As in `line 17, amount`."""
        return f"line {self.line}{f', {column}' if column else ''}"

    def short(self) -> str:
        """As in `line 17`."""
        return f"line {self.line}"


@dataclass(slots=True)
class CheckedRow:
    """One row of the file: what it is about, its problems as (column, value, sentence), and (column, before, after)."""

    line: int
    named: str
    cells: dict[str, str]
    outcome: str = SAME
    pk: int | None = None
    problems: list[tuple[str, str, str]] = field(default_factory=list)
    warnings: list[tuple[str, str, str]] = field(default_factory=list)
    changes: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def said(self) -> tuple[str, str] | None:
        """What a new record is called, or the first thing that is said of it: the column and its cell."""
        return next(
            ((name, self.cells[name]) for name in ("name", "status", "amount", "code") if self.cells.get(name)), None
        )

    @property
    def as_line(self) -> Line:
        """The row as the line of a change set."""
        if self.outcome == NEW:
            return Line("", None, Action.ADD, {name: value for name, value in self.cells.items() if value != ""})
        return Line("", self.pk, Action.CHANGE, self.cells)


@dataclass(slots=True)
class Checked:
    """The whole file: its rows in their order, and what cannot be said of a single row."""

    rows: list[CheckedRow]
    missing: list[str] = field(default_factory=list)  # columns that the kind needs and the file does not have
    sheet: str = ""  # the name of the sheet that was read, of a workbook
    others: tuple[str, ...] = ()  # its sheets that were not
    samples: tuple[tuple[str, ...], ...] = ()  # the first values of each column of the file

    def count(self, outcome: str) -> int:
        """How many rows came to this."""
        return sum(row.outcome == outcome for row in self.rows)

    @property
    def is_good(self) -> bool:
        """Whether nothing stands against it."""
        return not self.missing and not any(row.outcome == BAD for row in self.rows)

    @property
    def moves(self) -> list[CheckedRow]:
        """The rows that would make or change something."""
        return [row for row in self.rows if row.outcome in (NEW, CHANGED)]


class _Load(Load):
    """A load that keeps every problem with its row, and knows only what its person sees."""

    def __init__(self, by: User) -> None:
        examine = None if None in entities_held(by, None) else lambda load: _examine(load, by)
        super().__init__([kind.table for kind in KINDS], POINTED_AT, suggests=False, examine=examine)
        self.of_row: dict[int, list[tuple[str, str, str]]] = defaultdict(list)
        self.warned: dict[int, list[tuple[str, str, str]]] = defaultdict(list)

    def problem(self, row: Row, column: str, value: Any, message: str) -> None:
        super().problem(row, column, value, message)
        self.of_row[id(row)].append((column, self.problems[-1].value, message))

    def warn(self, row: Row, column: str, value: Any, message: str) -> None:
        super().warn(row, column, value, message)
        self.warned[id(row)].append((column, self.warnings[-1].value, message))


def check(master_import: MasterImport, by: User) -> Checked:
    """Read the file with its columns as they were matched, and say of every row what it would do."""
    kind = BY_CODE[master_import.kind]
    table = kind.table.of_files
    columns = {int(index): name for index, name in master_import.columns.items()}
    sheet = read(master_import.name, bytes(master_import.content), usual_headings(table), by_cell=True)
    given = set(columns.values())
    needs = [column.name for column in table.columns if column.required and column.name not in given]
    amounts = {index: name for index, name in columns.items() if isinstance(_parse(table, name), Amounts)}
    days = {index for index, name in columns.items() if _parse(table, name) is reading.day}
    ways = {**dict.fromkeys(amounts, reading.with_point), **dict.fromkeys(days, reading.with_dashes)}
    told = [CheckedRow(line, "", _said(columns, ways, cells)) for line, cells in sheet.rows]
    checked = Checked(told, needs, sheet.name, sheet.others, samples(sheet))
    if needs:
        return checked
    to_think_about = list(table.filed.complete([row.cells for row in told]))
    load = _Load(by)
    hollow = {(line, columns[index]): _HOLLOW for line, index in sheet.hollow if index in columns}
    load.add(table.name, [(Place(row.line), _read_as(row, hollow)) for row in told])
    written = (cells[index] for _, cells in sheet.rows for index in amounts)
    unclear = doubtful(written, by_semicolons=sheet.delimiter == ";")
    for row in load.rows.get(table.name, []) if unclear else ():
        for name in amounts.values():
            if row.cells[name] in unclear:
                said = str(row.cells[name])
                load.problem(row, name, said, "may part thousands or decimals in this file; write it as "
                             f"{said.replace('.', '')}.00 or as {said}0.")  # fmt: skip
    with transaction.atomic(), suppress(Refused):  # every problem stands with its row
        load.check()
    rows = load.rows.get(table.name, [])
    _compare(table, told, rows, load)
    for index, column, sentence in to_think_about:
        if told[index].outcome != BAD:
            told[index].warnings.append((column, "", sentence))
    return checked


def _read_as(row: CheckedRow, hollow: Mapping[tuple[int, str], Unreadable]) -> Mapping[str, Any]:
    """The cells of a row, with what stands against each that holds nothing to read in its place."""
    return {name: hollow.get((row.line, name), value) for name, value in row.cells.items()}


def _parse(table: Table, name: str) -> Any:
    column = table.column(name)
    return column.parse if column else None


def _said(columns: Mapping[int, str], ways: Mapping[int, Callable[[str], str]], cells: Sequence[str]) -> dict[str, str]:
    """The cells of a row by our columns, amounts and days as we write them however the file's country does."""
    return {name: ways[index](cells[index]) if index in ways else cells[index] for index, name in columns.items()}


def _examine(load: Load, by: User) -> None:
    """What a person does not see is neither changed by the person's file nor pointed at, and no further word is said of it."""
    for name in load.order:
        rows = load.rows.get(name, [])
        standing = [row.pk for row in rows if row.standing is not None]
        seen = (
            set(visible(load.tables[name].model, by).filter(pk__in=standing).values_list("pk", flat=True))
            if standing
            else ()
        )
        for row in rows:
            if row.standing is not None and row.pk not in seen:
                load.problem(row, "", "", f"cannot be written by you as {load.tables[name].noun}; take another key.")
    refuse_unseen(load, by)


def _compare(table: Any, told: Sequence[CheckedRow], rows: Sequence[Row], load: _Load) -> None:
    good = {id(row): row.standing for row in rows if not row.is_bad and row.standing is not None}
    before = dict(zip(good, cells_of(table, list(good.values())), strict=True))
    for shown, row in zip(told, rows, strict=True):
        shown.problems, shown.warnings = load.of_row[id(row)], load.warned[id(row)]
        shown.named = " / ".join(str(row.cells.get(part) or "") for part in table.key if row.cells.get(part))
        if row.is_bad:
            shown.outcome = BAD
        elif row.standing is None:
            shown.outcome = NEW
        else:
            shown.pk = row.pk
            differs = {name for name, after in row.sets.items() if getattr(row.standing, name) != after}
            stands = before[id(row)]
            names = [column.name for column in table.columns if column.sets in differs and column.name in shown.cells]
            shown.changes = [(name, str(stands.get(name, "")), shown.cells[name]) for name in names]
            shown.outcome = CHANGED if shown.changes else SAME


def held(master_import: MasterImport) -> Sheet:
    """What a file holds, as its rows stand in it: for whoever reads it without going on with it."""
    table = BY_CODE[master_import.kind].table.of_files
    return read(master_import.name, bytes(master_import.content), usual_headings(table), by_cell=True)


def samples(sheet: Sheet) -> tuple[tuple[str, ...], ...]:
    """The first values of each column that differ, by which a person tells what it is."""
    found: list[dict[str, None]] = [{} for _ in sheet.header]
    for _, cells in sheet.rows[:SAMPLED]:
        for kept, cell in zip(found, cells, strict=True):
            if cell and len(kept) < SAMPLES:
                kept[cell] = None
    return tuple(tuple(kept) for kept in found)


def problem_lines(checked: Checked) -> list[tuple[int, str, str, str]]:
    """(line, column, value, sentence) of every problem, in the file's order; for a file to mend it by."""
    return [(row.line, *problem) for row in checked.rows for problem in row.problems]
