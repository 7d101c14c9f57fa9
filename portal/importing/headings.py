"""Which column of a file is which of ours: by its heading, by what people said before, by usual words or by likeness."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches

from portal.importing.sheets import plain
from portal.importing.tables import Table

_ALIKE = 0.8  # of 1
_FIRST = ("valid_from", "starts_on", "active_from")
_LAST = ("valid_to", "ends_on", "active_to")
_USUAL: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("from", "since", "start", "start_date", "begin", "begins_on", "valid_since", "first_day"), _FIRST),
    **dict.fromkeys(("until", "to", "till", "end", "end_date", "valid_until", "last_day"), _LAST),
    **dict.fromkeys(("rate_card", "price_list"), ("card", "price_list", "code")),
    "version": ("card_version", "price_list_version"),
    **dict.fromkeys(("rate", "price", "value"), ("amount",)),
    **dict.fromkeys(("ccy", "currency_code", "iso_currency"), ("currency",)),
    **dict.fromkeys(("per",), ("unit",)),
    **dict.fromkeys(("person", "consultant", "employee", "colleague"), ("resource",)),
    **dict.fromkeys(("client", "account"), ("customer",)),
    **dict.fromkeys(("company", "legal_entity", "business_unit"), ("entity",)),
    **dict.fromkeys(("vat", "vat_id", "vat_number", "tax_id", "tax_no"), ("tax_number",)),
    **dict.fromkeys(("user_name", "username", "login"), ("user",)),
    **dict.fromkeys(("key", "their_key", "external_key"), ("external_id",)),
    **dict.fromkeys(("po_number", "order_number"), ("number",)),
    **dict.fromkeys(("title", "description"), ("name",)),
    **dict.fromkeys(("no", "id", "short_code"), ("code",)),
}  # what people write over a column, and what that may be of ours


def known_headings(table: Table) -> frozenset[str]:
    """The headings that a table's columns go by."""
    return frozenset(plain(column.name) for column in table.columns)


def usual_headings(table: Table) -> frozenset[str]:
    """Those, and what people usually write instead."""
    names = {column.name for column in table.columns}
    return known_headings(table) | {word for word, meant in _USUAL.items() if names & {*meant}}


def match(table: Table, header: Sequence[str], remembered: Mapping[str, str]) -> dict[int, str]:
    """The column of ours for each column of the file; none where nothing is near. Each of ours is taken once.

    `remembered` goes from a plain heading to the column that a person chose for it before.
    """
    found: dict[int, str] = {}
    free = dict.fromkeys(column.name for column in table.columns)
    ways: tuple[Callable[[str], str], ...] = (
        lambda word: remembered.get(word, ""),
        lambda word: word,
        lambda word: next((name for name in _meant(table, word) if name in free), ""),
        lambda word: next(iter(get_close_matches(word, free, n=1, cutoff=_ALIKE)), ""),
    )
    for told in ways:
        for index, heading in enumerate(header):
            if index in found or not heading:
                continue
            name = told(plain(heading))
            if name in free:
                found[index] = name
                del free[name]
    return found


def _meant(table: Table, word: str) -> Sequence[str]:
    """What a usual word may mean; the noun of the table before a code or a name is the table's own."""
    noun = plain(table.noun.partition(" ")[2])
    own = {noun: ("code",), f"{noun}_code": ("code",), f"{noun}_name": ("name",)}
    return (*own.get(word, ()), *_USUAL.get(word, ()), word.removesuffix("_code"))
