"""One load: rows of several tables that may point at each other, checked as a whole and written as a whole.

The rule here: first everything is read, matched with what stands and checked, then written; ids of new rows are drawn
beforehand, so that rows may point at each other in any order. Each table takes a fixed number of statements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.db import models, transaction
from django.db.models import CharField

from portal import changes_watch, history, sql
from portal.importing import hierarchies, judging, ranges
from portal.importing.constraints import in_words
from portal.importing.problems import Place, Problem, Refused, Unreadable
from portal.importing.tables import Column, Counts, Key, Reference, Result, Row, Table
from portal.models import Connection

if TYPE_CHECKING:
    from portal.models import User

_CHUNK = 10_000  # ids in one query
_SUGGESTIONS = 50  # near misses are looked for this often, then no more
_LOCK = 0x696D706F  # one load at a time


class Load:
    """Rows of some tables. `add` them all, `check`, then `write`."""

    is_lenient = False  # an operator's first load: what breaks a rule of quality is a warning

    def __init__(
        self,
        tables: Sequence[Table],
        known: Sequence[Table] = (),
        *,
        suggests: bool = True,
        leaves_word: bool = True,
        examine: Callable[[Load], None] | None = None,
    ) -> None:
        """`tables` in the order in which they are written; `known` are only pointed at.

        Without `suggests` no near code is named: whoever reads may not see every entity's. Without `leaves_word` the caller
        validates again what `concerns` names, and word of the change is left as handled. `examine` sees the rows once they
        point at something, before anything more is said of them: what it finds bad counts as not known from there on.
        """
        self.tables = {table.name: table for table in (*known, *tables)}
        self.order = [table.name for table in tables]
        self.rows: dict[str, list[Row]] = {}
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.concerns: dict[str, set[int]] = {}  # kind of change to the ids of what was written
        self.suggests, self.leaves_word, self.examine = suggests, leaves_word, examine
        self.unreadable: set[str] = set()  # tables whose input could not be read: pointing at them proves nothing
        self._ids: dict[str, dict[Key, int]] = {}
        self._suggested: dict[tuple[str, Key], str] = {}

    # Input

    def add(self, table: str, rows: Iterable[tuple[Place, Mapping[str, Any]]]) -> None:
        """Put rows into the load; their columns are checked with everything else."""
        self.rows.setdefault(table, []).extend(Row(place, cells) for place, cells in rows)

    def address(self, table: str, place: Place, cells: Mapping[str, Any], pk: int | None) -> Row:
        """Put in a row that means the record of this id, whatever its key was; without an id one that must not stand yet."""
        row = Row(place, cells, pk=pk or 0, is_new=pk is None, is_meant=pk is not None)
        self.rows.setdefault(table, []).append(row)
        return row

    def problem(self, row: Row, column: str, value: Any, message: str) -> None:
        """Note what is wrong with one row; it will not be written, and nor will anything else."""
        row.is_bad = True
        row.wrong.add(column)
        self.problems.append(Problem(row.place.at(column), _shown(value), message))

    def unknown(self, row: Row, column: Column, name: str, key: Key) -> None:
        """Note that a column points at what whoever loads does not see: in every way as if it did not stand."""
        self.problem(row, column.name, _named(key), f"is not known as {self.tables[name].noun}.")
        if column.refers is not None and column.sets:
            row.sets[column.sets] = None

    def warn(self, row: Row, column: str, value: Any, message: str) -> None:
        """Note what the operator should know of; it stops nothing."""
        self.warnings.append(Problem(row.place.at(column), _shown(value), message))

    # Checking

    def check(self) -> None:
        """Read, match and check everything. Raises Refused with every problem found."""
        for name in self.order:
            self._read(self.tables[name])
        for name in self.order:
            self._resolve(self.tables[name])
        if self.examine is not None:
            self.examine(self)
        for name in self.order:
            if rows := self.rows.get(name, []):
                self._judge(self.tables[name], rows)
        if self.problems:
            raise Refused(self.problems)

    def _judge(self, table: Table, rows: Sequence[Row]) -> None:
        """Everything that can be said of rows that were read, as far as each of them could be, all of it at once."""
        whole = [row for row in rows if not row.is_bad]
        ranges.check(self, table, rows)
        hierarchies.check(self, table, rows)
        if table.check is not None:
            table.check(self, whole)
        if table.quality is not None:
            judging.check(self, table.quality, rows)

    def _read(self, table: Table) -> None:
        """Read the cells of every row, take its key, and match it with what stands."""
        rows = self.rows.get(table.name, [])
        if not rows:
            return
        limits = _limits(table)
        seen: dict[Key, Row] = {}
        for row in rows:
            for column in table.columns:
                self._read_cell(table, row, column, limits.get(column.name))
            if table.prepare is not None:
                table.prepare(self, row)
            if not _complete_key(table, row):
                continue
            key = tuple(row.values[part] for part in table.key)
            if key in seen:
                self.problem(row, "", _named(key), f"stands twice: here and at {seen[key].place.short()}.")
            else:
                seen[key] = row
        self._match(table, seen)

    def _read_cell(self, table: Table, row: Row, column: Column, limit: int | None) -> None:
        if column.name not in row.cells:
            if column.required:
                self.problem(row, column.name, "", f"is missing; {table.noun} needs it ({column.help}).")
            return
        value = row.cells[column.name]
        value = value.strip() if isinstance(value, str) else value
        if isinstance(value, Unreadable):  # the file itself could not say it
            self.problem(row, column.name, "", str(value))
            return
        if value is None or value == "":
            if column.required:
                self.problem(row, column.name, "", f"is empty; {table.noun} needs it ({column.help}).")
                return
            row.values[column.name] = read = column.empty
        else:
            try:
                row.values[column.name] = read = column.parse(value)
            except Unreadable as error:
                self.problem(row, column.name, "" if column.is_hidden else value, str(error))
                return
            if limit is not None and isinstance(read, str) and len(read) > limit:
                self.problem(row, column.name, value, f"is {len(read)} characters long; at most {limit} are kept.")
                return
        if column.sets and column.refers is None:
            row.sets[column.sets] = read

    def _match(self, table: Table, keyed: dict[Key, Row]) -> None:
        """Find what stands under the same keys; draw ids for what is new."""
        known = self.ids_of(table.name)
        for key, row in keyed.items():
            if known.get(key, row.pk) != row.pk and (row.pk or row.is_new):
                self.problem(row, "", _named(key), f"stands already as {table.noun}; change that one.")
            elif row.pk:
                known[key] = row.pk
        fresh = [key for key in keyed if key not in known]
        for key, pk in zip(fresh, sql.draw_ids(table.model._meta.db_table, len(fresh)), strict=True):
            known[key] = pk
        new = set(fresh)
        standing = _by_id(table.model, [row.pk or known[key] for key, row in keyed.items() if key not in new])
        for key, row in keyed.items():
            row.pk = row.pk or known[key]
            row.standing = standing.get(row.pk)

    def _resolve(self, table: Table) -> None:
        """Turn codes into ids; what points at nothing is a problem."""
        references = [(column, column.refers) for column in table.columns if column.refers is not None]
        mentioning = [column for column in table.columns if column.mentions]
        for row in self.rows.get(table.name, []):
            for column in mentioning:
                for code in row.values.get(column.name) or ():
                    if (code,) not in self.ids_of(column.mentions):
                        self.unknown(row, column, column.mentions, (code,))
            for column, refers in references:
                if column.name not in row.values:
                    continue
                found = self._find(row, column, refers) if row.values[column.name] is not None else None
                if column.sets:
                    row.sets[column.sets] = found

    def _find(self, row: Row, column: Column, refers: Reference) -> int | None:
        name, key = refers(row.values)
        found = self.ids_of(name).get(key)
        if found is None and name not in self.unreadable:
            noun = self.tables[name].noun
            self.problem(row, column.name, _named(key), f"is not known as {noun}{self._suggestion(name, key)}")
        return found

    def _suggestion(self, name: str, key: Key) -> str:
        """A near miss, for people who mistype."""
        if (name, key) not in self._suggested:
            near: list[str] = []
            if self.suggests and len(self._suggested) < _SUGGESTIONS:
                last = {str(other[-1]): other for other in self.ids_of(name) if other[:-1] == key[:-1]}
                near = get_close_matches(str(key[-1]), last, n=1, cutoff=0.75)
            self._suggested[name, key] = f"; did you mean “{near[0]}”?" if near else "."
        return self._suggested[name, key]

    def ids_of(self, name: str) -> dict[Key, int]:
        """The ids of everything of a table by its key: what stands, and what this load brings."""
        if name not in self._ids:
            table = self.tables[name]
            found = table.model._base_manager.values_list(*table.lookup, "pk")
            self._ids[name] = {tuple(parts): pk for *parts, pk in found}
        return self._ids[name]

    @cached_property
    def connections(self) -> dict[str, tuple[str, str]]:
        """System and realm of every connection, by its code."""
        found = Connection.objects.values_list("code", "connector", "realm")
        return {code: (connector, realm) for code, connector, realm in found}

    # Writing

    def write(self, reason: str, actor: User | None = None) -> Result:
        """Write what was checked, inside the caller's transaction; what differs is changed, the rest left alone."""
        result = Result(warnings=self.warnings)
        for name in self.order:
            if name in self.rows:
                result.counts[name] = self._write_table(self.tables[name], self.rows[name], reason, actor)
        return result

    def _write_table(self, table: Table, rows: Sequence[Row], reason: str, actor: User | None) -> Counts:
        new = [table.model(pk=row.pk, **row.sets) for row in rows if row.standing is None]
        for row in rows:
            if row.standing is not None:
                row.changed = _differences(row.standing, row.sets)
        changes = [
            (row.standing, {name: after for name, (_, after) in row.changed.items()})
            for row in rows
            if row.standing is not None and row.changed
        ]
        # What stands is changed first: a range that ends earlier makes room for a new one.
        if history.has_history(table.model):
            history.update_each_with_reason(table.model, changes, reason=reason, actor=actor)
            history.bulk_create_with_reason(table.model, new, reason=reason, actor=actor)
        else:
            for standing, values in changes:
                _set(standing, values)
            table.model._base_manager.bulk_create(new)
        kind, attribute = table.concerns
        if kind:
            ids = {getattr(row, attribute) for row in (*new, *(row for row, _ in changes))}
            self.concerns.setdefault(kind, set()).update(ids)
            changes_watch.note(kind, ids, handled=not self.leaves_word)
        return Counts(len(new), len(changes), len(rows) - len(new) - len(changes))


def run(load: Load, *, reason: str, actor: User | None = None, dry_run: bool = False) -> Result:
    """Check and write one load in one transaction; a dry run is rolled back at its end. Raises Refused."""
    with transaction.atomic(), in_words():
        only_one_at_a_time()
        load.check()
        result = load.write(reason, actor)
        transaction.get_connection().check_constraints()
        if dry_run:
            transaction.set_rollback(True)
    return result


def only_one_at_a_time() -> None:
    """Wait until no other load runs; holds until the transaction ends."""
    sql.rows("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def _differences(standing: models.Model, sets: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {name: (before, after) for name, after in sets.items() if (before := getattr(standing, name)) != after}


def _set(row: models.Model, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setattr(row, name, value)
    row.save(update_fields=[row._meta.get_field(name).name for name in values])


def _limits(table: Table) -> dict[str, int]:
    """The longest text that each column's field keeps."""
    lengths = {
        part.attname: part.max_length for part in table.model._meta.concrete_fields if isinstance(part, CharField)
    }
    return {column.name: length for column in table.columns if (length := lengths.get(column.sets))}


def _complete_key(table: Table, row: Row) -> bool:
    """Whether the row's key can be told; a part of it that was not given is as if it were empty."""
    for column in (column for column in table.columns if column.name in table.key):
        if column.name not in row.values:
            if column.required or column.name in row.cells:
                return False
            row.values[column.name] = column.empty
            if column.sets and column.refers is None:
                row.sets[column.sets] = column.empty
    return True


def _by_id(model: type[models.Model], ids: Sequence[int]) -> dict[int, models.Model]:
    found: dict[int, models.Model] = {}
    for start in range(0, len(ids), _CHUNK):
        found |= model._base_manager.in_bulk(ids[start : start + _CHUNK])
    return found


def _named(key: Key) -> str:
    return " / ".join(str(part) for part in key if part not in (None, ""))


def _shown(value: Any) -> str:
    """A value as a problem names it; lists and tables are too long for a sentence."""
    return "" if isinstance(value, (Mapping, list)) else str(value)[:120]
