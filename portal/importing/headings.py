"""Which column of a file is which of ours: by its heading, by what people said before, and by what looks alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from portal.importing.sheets import plain
from portal.importing.tables import Table

_ALIKE = 0.8  # of 1


def known_headings(table: Table) -> frozenset[str]:
    """The headings that a table's columns go by."""
    return frozenset(plain(column.name) for column in table.columns)


def match(table: Table, header: Sequence[str], remembered: Mapping[str, str]) -> dict[int, str]:
    """The column of ours for each column of the file; none where nothing is near. Each of ours is taken once.

    `remembered` goes from a plain heading to the column that a person chose for it before.
    """
    names = [column.name for column in table.columns]
    found: dict[int, str] = {}
    free = dict.fromkeys(names)
    for exact in (True, False):
        for index, heading in enumerate(header):
            if index in found or not heading:
                continue
            word = plain(heading)
            name = remembered.get(word) or (word if word in free else "")
            if not exact and not name:
                near = get_close_matches(word, free, n=1, cutoff=_ALIKE)
                name = near[0] if near else ""
            if name in free:
                found[index] = name
                del free[name]
    return found
