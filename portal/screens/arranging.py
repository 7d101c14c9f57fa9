"""How one person looks at one list: which columns in which order, and how many rows a page.

The rule here: the address says it (`columns=a,b`, `size=100`), else the person's own choice, else the table. A name that the
table does not have is passed over, and a choice of which nothing is left falls back: a list is never without its columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from portal.screens.paging import PAGE_SIZES
from portal.screens.tables import CurrencyColumn, Table

LISTS = "lists"  # where a person's preferences keep it, by list
MOST = 60  # columns that an address may name


@dataclass(frozen=True, slots=True)
class Choice:
    """One column as a person chooses it; those that only belong to it (a currency beside its amount) come along."""

    name: str
    label: str
    is_optional: bool  # not shown until somebody asks for it
    is_fixed: bool  # names the row, and cannot be left out
    along: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Arrangement:
    """The columns shown, by name and in order, and whether somebody chose them."""

    columns: tuple[str, ...]
    is_own: bool


def choices(table: type[Table]) -> list[Choice]:
    """The columns of a table that can be chosen, in the table's own order."""
    found: list[Choice] = []
    hidden = set(getattr(table._meta, "exclude", ()) or ())
    for name, column in table.base_columns.items():
        if name in hidden:
            continue
        if isinstance(column, CurrencyColumn) and found:
            last = found[-1]
            found[-1] = Choice(last.name, last.label, last.is_optional, last.is_fixed, (*last.along, name))
            continue
        label = str(column.verbose_name or name.replace("_", " ").capitalize())
        found.append(Choice(name, label, bool(getattr(column, "optional", False)), bool(column.heads_row)))
    return found


def arrangement(table: type[Table], asked: str | None, kept: Any) -> Arrangement:
    """What is shown, for whatever an address asks and whatever was kept once."""
    known = choices(table)
    for wanted in (asked.split(",")[:MOST] if asked else [], kept if isinstance(kept, list) else []):
        names = _known([name for name in wanted if isinstance(name, str)], known)
        if names:
            return Arrangement(names, is_own=True)
    return Arrangement(tuple(one.name for one in known if not one.is_optional or one.is_fixed), is_own=False)


def _known(wanted: Sequence[str], known: Sequence[Choice]) -> tuple[str, ...]:
    """Those of the wanted names that the table has, once each, after the column that names the row."""
    possible = {one.name: one for one in known}
    names = [name for name in dict.fromkeys(wanted) if name in possible]
    if not names:
        return ()
    fixed = [one.name for one in known if one.is_fixed and one.name not in names]
    return (*fixed, *names)


def expanded(table: type[Table], names: Sequence[str]) -> list[str]:
    """Chosen columns with those that come along."""
    along = {one.name: one.along for one in choices(table)}
    return [each for name in names for each in (name, *along.get(name, ()))]


def in_order(table: type[Table], shown: Sequence[str]) -> list[tuple[Choice, bool]]:
    """Every column with whether it is shown: the shown ones in their order, then the others."""
    known = {one.name: one for one in choices(table)}
    first = [known[name] for name in shown if name in known]
    return [*((one, True) for one in first), *((one, False) for one in known.values() if one.name not in shown)]


def moved(names: Sequence[str], name: str, up: bool) -> list[str]:
    """The names with one of them a place further up or down."""
    order = list(names)
    if name in order:
        at = order.index(name)
        to = max(0, min(len(order) - 1, at + (-1 if up else 1)))
        order.insert(to, order.pop(at))
    return order


def kept_for(preferences: Mapping[str, Any], key: str) -> dict[str, Any]:
    """What a person keeps for one list; nothing where what is kept cannot be understood."""
    lists = preferences.get(LISTS)
    own = lists.get(key) if isinstance(lists, dict) else None
    return own if isinstance(own, dict) else {}


def with_kept(preferences: Mapping[str, Any], key: str, **changes: Any) -> dict[str, Any]:
    """The preferences with changes to what is kept for one list; None takes a thing out."""
    lists = preferences.get(LISTS)
    own = {**kept_for(preferences, key), **changes}
    own = {name: value for name, value in own.items() if value is not None}
    return {**preferences, LISTS: {**(lists if isinstance(lists, dict) else {}), key: own}}


def kept_size(kept: Mapping[str, Any], otherwise: int) -> int:
    """The person's own page size, when it is one of those offered."""
    size = kept.get("size")
    return size if isinstance(size, int) and size in PAGE_SIZES else otherwise
