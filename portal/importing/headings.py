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
    **dict.fromkeys(("client",), ("customer",)),
    "account": ("customer", "realm"),
    **dict.fromkeys(("vendor", "product"), ("connector",)),
    **dict.fromkeys(("address", "url"), ("base_url",)),
    **dict.fromkeys(("account_id", "workspace", "tenant"), ("realm",)),
    **dict.fromkeys(("company", "legal_entity", "business_unit"), ("entity",)),
    **dict.fromkeys(("vat", "vat_id", "vat_number", "tax_id", "tax_no"), ("tax_number",)),
    **dict.fromkeys(("user_name", "username", "login"), ("user",)),
    **dict.fromkeys(("key", "their_key", "external_key"), ("external_id",)),
    **dict.fromkeys(("po_number", "order_number"), ("number",)),
    **dict.fromkeys(("title", "description"), ("name",)),
    **dict.fromkeys(("no", "id", "short_code"), ("code",)),
}  # what people write over a column, and what that may be of ours


_LABELS: Mapping[str, str] = {
    "allows_many": "Several keys for one record", "base_url": "Address", "card": "Rate card",
    "card_version": "Version of the rate card",
    "concurrency": "Calls at once", "connector": "Vendor", "cut_over_on": "Cut-over", "every_seconds": "Read every … seconds",
    "external_id": "Key in the other system", "is_active": "Active", "is_billable": "Billable", "is_default": "Default task",
    "price_list_version": "Version of the price list", "realm": "Account at the vendor",
    "requires_task": "Every hour names a task",
    "resource": "Person", "sequence": "Place in the chain", "zone": "Time zone", "email": "E-mail address", "active": "Used",
    "biller": "Takes invoice drafts", "recipient": "Is told master data", "source": "Source", "target": "Target",
    "vat_rate": "VAT rate", "active_to": "Last day", "ends_on": "Last day", "starts_on": "First day",
}  # fmt: skip


def label(name: str) -> str:
    """A column, or one setting within it, as people say it."""
    whole, _, part = name.partition(".")
    said = _LABELS.get(whole, whole.replace("_", " ").capitalize())
    return f"{said}: {part.replace('_', ' ')}" if part else said


def one_word(verbose_name: object) -> str:
    """A field or a kind of record as it is called on every screen: who works is a person, whatever the code says."""
    said = str(verbose_name).capitalize()
    return {"Resource": "Person", "Card": "Rate card"}.get(said, said)


def known_headings(table: Table) -> frozenset[str]:
    """The headings that a table's columns go by."""
    names = [column.name for column in table.columns]
    return frozenset(plain(said) for name in names for said in (name, label(name)))


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
    labelled = {plain(label(name)): name for name in free}
    ways: tuple[Callable[[str], str], ...] = (
        lambda word: remembered.get(word, ""),
        lambda word: word,
        lambda word: labelled.get(word, ""),
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
