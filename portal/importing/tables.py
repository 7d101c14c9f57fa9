"""What a table of master data looks like from outside: its columns, its natural key, what its rows point at.

The rule here: a table says everything once. Reading, checking, writing and the reference in docs/configuration.md follow
from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING, Any, Self

from django.db import models

from portal.importing.problems import Place, Problem

if TYPE_CHECKING:
    from portal.importing.load import Load
    from portal.importing.sheets import Sheet
    from portal.quality import Fault, Proposed

Key = tuple[Any, ...]
Reference = Callable[[Mapping[str, Any]], tuple[str, Key]]
Quality = Callable[[Sequence["Proposed"], date], list["Fault"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column. `sets` is the attribute of the model that it sets, empty for one that only helps to find something.

    A required column is never empty. An optional one that is empty sets `empty`; one that is not there at all leaves what
    stands as it is, and takes the model's default for what is new.
    """

    name: str
    parse: Callable[[Any], Any]
    help: str
    sets: str = ""
    required: bool = False
    empty: Any = None
    refers: Reference | None = None
    mentions: str = ""  # the table whose codes its parsed value holds, as keys of a mapping
    is_hidden: bool = False  # never shown in a problem: it might hold a secret by mistake
    is_guarded: bool = False  # who decides on a change of it signs in again

    def points_at(self, values: Mapping[str, Any]) -> list[tuple[str, Key]]:
        """Every (table, key) that the column of a read row points at, whether that stands or not."""
        value = values.get(self.name)
        if value is None:
            return []
        if self.mentions:
            return [(self.mentions, (code,)) for code in value]
        return [self.refers(values)] if self.refers else []


def to(table: str, *columns: str) -> Reference:
    """A reference to the row of a table whose key stands in these columns."""

    def reference(values: Mapping[str, Any]) -> tuple[str, Key]:
        return table, tuple(values.get(column) for column in columns)

    return reference


@dataclass(frozen=True, slots=True)
class Ranges:
    """Ranges of days that must not overlap within the same scope."""

    scope: tuple[str, ...]  # attributes of the model
    sentence: str  # what must not be, as in "a project has one status a day"
    start: str = "valid_from"
    end: str = "valid_to"
    unless: str = ""  # an attribute that takes a row out of the comparison


def _nothing(_rows: object) -> Sequence[Any]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Filed:
    """What is particular to the rows of a table that people bring by file.

    `left_out` are columns that no file holds. `objection` says why a file is not even kept. `complete` says of the cells of each
    row what the file need not, and yields (row, column, sentence) of what to think about. `besides` yields the (kind, cells) of
    records that come with new rows.
    """

    left_out: frozenset[str] = frozenset()
    objection: Callable[[Sheet], str] = lambda _sheet: ""
    complete: Callable[[Sequence[MutableMapping[str, str]]], Iterable[tuple[int, str, str]]] = _nothing
    besides: Callable[[Sequence[Mapping[str, Any]]], Iterable[tuple[str, Mapping[str, str]]]] = _nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table of master data, its columns and rules. `noun` names one row in a sentence."""

    name: str
    noun: str
    model: type[models.Model]
    help: str = ""
    columns: tuple[Column, ...] = ()
    key: tuple[str, ...] = ("code",)  # columns that tell rows apart
    lookup: tuple[str, ...] = ("code",)  # the same as paths of the model
    ranges: tuple[Ranges, ...] = ()
    hierarchies: tuple[str, ...] = ()  # attributes that point at another row of the same table, without cycles
    concerns: tuple[str, str] = ("", "pk")  # the kind of change and the attribute with the id of what changed
    prepare: Callable[[Load, Row], None] | None = None  # completes the values of one row before its key is taken
    check: Callable[[Load, Sequence[Row]], None] | None = None  # what columns, ranges and hierarchies cannot say
    quality: Quality | None = None  # the rules of quality of its records
    filed: Filed = Filed()

    @property
    def of_files(self) -> Self:
        """The table with the columns that a file may hold."""
        left_out = self.filed.left_out
        return (
            replace(self, columns=tuple(one for one in self.columns if one.name not in left_out)) if left_out else self
        )

    def column(self, name: str) -> Column | None:
        """The column of a name."""
        return next((column for column in self.columns if column.name == name), None)


@dataclass(slots=True, eq=False)
class Row:
    """One row of an input on its way into the database."""

    place: Place
    cells: Mapping[str, Any]  # as given; a column that is not there was not given
    values: dict[str, Any] = field(default_factory=dict)  # as read
    sets: dict[str, Any] = field(default_factory=dict)  # attributes of the model
    pk: int = 0  # given beforehand, the row means this record whatever its key was
    standing: models.Model | None = None  # what the database holds under the same key
    is_bad: bool = False
    wrong: set[str] = field(default_factory=set)  # columns with a problem; empty text for one of the row as such
    is_new: bool = False  # must not stand yet
    is_meant: bool = False  # this very record was chosen, so that its code cannot be another's
    changed: dict[str, tuple[Any, Any]] = field(default_factory=dict)  # attribute to before and after, once written

    @property
    def means_something(self) -> bool:
        """Whether it can be told which record it is about, however wrong some of its columns are."""
        return bool(self.pk) and "" not in self.wrong

    def has(self, column: str) -> bool:
        """Whether the column was given and read."""
        return column in self.values

    def will_be(self, attribute: str, model: type[models.Model]) -> Any:
        """The attribute's value once this row is written."""
        if attribute in self.sets:
            return self.sets[attribute]
        if self.standing is not None:
            return getattr(self.standing, attribute)
        return next(part for part in model._meta.concrete_fields if part.attname == attribute).get_default()


@dataclass(slots=True)
class Counts:
    """What a load did to one table."""

    created: int = 0
    changed: int = 0
    unchanged: int = 0

    def __str__(self) -> str:
        return f"{self.created} created, {self.changed} changed, {self.unchanged} unchanged"


@dataclass(slots=True)
class Result:
    """What a load did, table by table, and what the operator should know of."""

    counts: dict[str, Counts] = field(default_factory=dict)
    warnings: list[Problem] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    @property
    def changes(self) -> int:
        """How many rows were made or changed."""
        return sum(counts.created + counts.changed for counts in self.counts.values())


def span(start: date | None, end: date | None) -> str:
    """A closed range of days in words."""
    return f"{start or 'the beginning'} to {end or 'no end'}"
