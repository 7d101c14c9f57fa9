"""What an entry books, its key, and how entries come onto the ledger; what was sent is not changed.

Every verb joins the caller's transaction.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date
from decimal import Decimal
from operator import attrgetter
from typing import Any

import msgspec

from portal import sql
from portal.ledger.states import IllegalTransition
from portal.models import State

NAMESPACE = uuid.UUID("6f1d9a0e-7c51-5b7e-9a55-1d2f0c7e4b10")


class FrozenFigures(Exception):
    """Figures of an entry that may have been sent already."""


@dataclass(slots=True, kw_only=True)
class Figures:
    """What one ledger entry books. The names are the columns of `LedgerEntry`."""

    document_id: int
    version: int
    part: int = 0
    generation: int = 0
    kind: str
    entity_id: int
    source_id: int
    target_id: int
    reverses_id: int | None = None
    project_id: int | None = None
    contract_id: int | None = None
    customer_id: int | None = None
    task_id: int | None = None
    resource_id: int | None = None
    role_id: int | None = None
    cost_centre_id: int | None = None
    purchase_order_id: int | None = None
    period_id: int | None = None
    work_date: date
    post_on: date
    hours: Decimal | None = None
    rate: Decimal | None = None
    rate_used_id: int | None = None
    rate_version: str = ""
    amount: Decimal | None = None
    currency: str = ""
    is_billable: bool
    is_cost_only: bool = False
    tags: Sequence[str] = ()
    category: str = ""
    tax_code: str = ""
    receipt_reference: str = ""
    memo: str = ""
    target_keys: Mapping[str, str] = field(default_factory=dict)


COLUMNS = tuple(item.name for item in fields(Figures))
_IDENTITY = ("document_id", "version", "part", "generation", "kind", "source_id", "target_id", "reverses_id")
MUTABLE = tuple(name for name in COLUMNS if name not in _IDENTITY)
_JSON = frozenset({"tags", "target_keys"})


def key_of(
    document_id: int, version: int, target_id: int, part: int = 0, generation: int = 0, *, reversal: bool = False
) -> uuid.UUID:
    """The idempotency key: the same fact owed to the same target always has the same one."""
    return uuid.UUID(_key(document_id, version, target_id, part, generation, reversal=reversal))


def _key(document_id: int, version: int, target_id: int, part: int, generation: int, *, reversal: bool) -> str:
    """The key in hexadecimal: a UUID of version 5, without the object that `uuid.uuid5` makes of it."""
    fact = f"{document_id}:{version}:{target_id}:{part}:{generation}:{'r' if reversal else 'e'}"
    digest = bytearray(hashlib.sha1(NAMESPACE.bytes + fact.encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return digest.hex()


_read = attrgetter(*COLUMNS)
_encode = msgspec.json.Encoder().encode
_TAGS, _KEYS = COLUMNS.index("tags"), COLUMNS.index("target_keys")


def _values(figures: Figures) -> list[Any]:
    values = list(_read(figures))
    values[_TAGS] = _encode(figures.tags).decode() if figures.tags else "[]"
    values[_KEYS] = _encode(figures.target_keys).decode() if figures.target_keys else "{}"
    return values


def enter(
    rows: Sequence[tuple[Figures, State, str]], *, actor: str, reason: str = "", reasons: Sequence[str] | None = None
) -> list[int]:
    """Write new entries, each HELD or READY and waiting on nothing (empty) or on a named event; their ids, in order.

    `reasons` gives each entry's first transition a sentence of its own. Three COPYs and two short queries, whatever the size.
    """
    if not rows:
        return []
    for _, state, _ in rows:
        if state not in (State.HELD, State.READY):
            raise IllegalTransition(f"An entry begins held or ready, not {state}.")
    moment = sql.now()
    ids = sql.draw_ids("portal_ledgerentry", len(rows))
    sql.copy_in(
        "portal_ledgerentry",
        ("id", "idempotency_key", "created_at", *COLUMNS),
        (
            [
                entry_id,
                _key(
                    figures.document_id,
                    figures.version,
                    figures.target_id,
                    figures.part,
                    figures.generation,
                    reversal=figures.reverses_id is not None,
                ),
                moment,
                *_values(figures),
            ]
            for entry_id, (figures, _, _) in zip(ids, rows, strict=True)
        ),
    )
    sql.copy_in(
        "portal_ledgerstate",
        ("entry_id", "state", "fence", "target_id", "entity_id", "attempts", "look_ups", "next_attempt_at", "waits_on",
         "body_hash", "receipt_number", "moved_at"),
        (
            [entry_id, str(state), 1, figures.target_id, figures.entity_id, 0, 0, moment, waits_on, "", "", moment]
            for entry_id, (figures, state, waits_on) in zip(ids, rows, strict=True)
        ),
    )  # fmt: skip
    sql.copy_in(
        "portal_ledgertransition",
        ("entry_id", "fence", "from_state", "to_state", "actor", "reason", "at"),
        (
            [entry_id, 1, "", str(state), actor, (reasons[index] if reasons else reason)[:500], moment]
            for index, (entry_id, (_, state, _)) in enumerate(zip(ids, rows, strict=True))
        ),
    )
    return ids


_TYPES = {
    "document_id": "bigint", "version": "int", "part": "smallint", "generation": "smallint", "work_date": "date",
    "post_on": "date", "hours": "numeric", "rate": "numeric", "amount": "numeric", "is_billable": "boolean",
    "is_cost_only": "boolean", "tags": "jsonb", "target_keys": "jsonb",
}  # fmt: skip


def _type_of(name: str) -> str:
    return _TYPES.get(name) or ("bigint" if name.endswith("_id") else "text")


def refigure(rows: Sequence[tuple[int, Figures]], *, only: Collection[str] = MUTABLE) -> None:
    """Give entries that were never sent new figures (their identity stays). Raises FrozenFigures naming any that were.

    `only` are the columns in which some of them differ from what stands; who owes them is always written.
    """
    if not rows:
        return
    ids = sql.as_array(entry_id for entry_id, _ in rows)
    frozen = sql.rows(
        "SELECT entry_id, state FROM portal_ledgerstate WHERE entry_id = ANY(%s::bigint[])"
        " AND (state NOT IN ('held', 'ready') OR body_hash <> '') FOR UPDATE",
        [ids],
    )
    if frozen:
        raise FrozenFigures(f"Entry {frozen[0][0]} is {frozen[0][1]}; what was sent is not changed.")
    names = [name for name in MUTABLE if name in only or name == "entity_id"]
    columns = ", ".join(names)
    unnested = ", ".join(f"%s::{_type_of(name)}[]" for name in names)
    assignments = ", ".join(f"{name} = w.{name}" for name in names)
    sql.execute(
        f"UPDATE portal_ledgerentry e SET {assignments} FROM unnest(%s::bigint[], {unnested}) AS w(entry_id, {columns})"  # noqa: S608
        " WHERE e.id = w.entry_id AND e.id = ANY(%s::bigint[])",
        [ids, *(_array(name, [getattr(figures, name) for _, figures in rows]) for name in names), ids],
    )
    sql.execute(
        "UPDATE portal_ledgerstate s SET entity_id = e.entity_id FROM portal_ledgerentry e"
        " WHERE e.id = s.entry_id AND s.entry_id = ANY(%s::bigint[]) AND e.id = ANY(%s::bigint[])"
        " AND s.entity_id <> e.entity_id",
        [ids, ids],
    )


def _array(name: str, values: Sequence[Any]) -> str:
    """The values of one column as the literal of an array."""
    if name not in _JSON:
        return sql.as_array(values)
    return sql.as_array(_encode(value or ([] if name == "tags" else {})).decode() for value in values)
