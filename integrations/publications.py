"""From ledger entries to publications, and from what a system holds back to what it was told: master data, bills, payments.

The rule here: a publication says only what its version says, under the system's keys as of admission; it is *equal* when every
figure that the system states has the value that was told, however it is spelt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

import msgspec

from portal.records import Held, Publication, PublishedKind

_decode = msgspec.json.Decoder(dict[str, Any]).decode
NOTHING = "nothing"


class Owed(NamedTuple):
    """What one entry tells its system. `target_keys` and `figures` are JSON; `known_as` is the record's number as known now."""

    entry_id: int
    key: str
    kind: str
    version: int
    entity_id: int
    target_keys: str
    figures: str
    known_as: str
    record: str


def build(owed: Iterable[Owed], *, asking: bool = False) -> dict[int, Publication]:
    """The publications of some entries, by entry id. When the system is asked about them the number known now is named."""
    return {row.entry_id: _publication(row, asking=asking) for row in owed}


def _publication(row: Owed, *, asking: bool) -> Publication:
    keys = _decode(row.target_keys)
    number = keys.pop("number", "")
    return Publication(
        key=row.key,
        kind=PublishedKind(row.kind),
        version=row.version,
        record=row.record,
        entity=str(row.entity_id),
        number=(row.known_as or number) if asking else number,
        names={name: str(key) for name, key in keys.items()},
        figures=_decode(row.figures),
    )


def differences(told: Publication, held: Held) -> dict[str, list[str]]:
    """Where what the system holds is not what it was told: {field: [ours, theirs]}, empty when it is equal."""
    differing = {
        name: [shown_value(told.figures[name]), shown_value(theirs)]
        for name, theirs in held.figures.items()
        if name in told.figures and not _same(told.figures[name], theirs)
    }
    for name, theirs in held.names.items():
        if told.names.get(name) and told.names[name] != theirs:
            differing[name] = [told.names[name], theirs]
    return differing


def _same(ours: Any, theirs: Any) -> bool:
    if ours == theirs:
        return True
    if isinstance(ours, bool) or isinstance(theirs, bool) or ours in (None, "") or theirs in (None, ""):
        return ours in (None, "") and theirs in (None, "")
    try:
        return Decimal(str(ours)) == Decimal(str(theirs))
    except InvalidOperation:
        return str(ours).strip() == str(theirs).strip()


def shown_value(value: Any) -> str:
    """A figure as people read it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{amount} of {record.replace(':', ' ')}" for record, amount in value.items()) or NOTHING
    return NOTHING if value in (None, "") else str(value)


def shown(held: Held) -> dict[str, str]:
    """What the system holds, as it is kept with a read-back."""
    return {
        "number": held.number,
        **{name: shown_value(value) for name, value in {**held.names, **held.figures}.items()},
    }
