"""From ledger entries to postings, and from what a target holds back to what was sent.

The rule here: a posting says only what the ledger says, in the target's own keys as of admission; and a record is *equal*
when every figure that we sent and the target states has the same value, however it is spelt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from portal.records import DocumentKind, Posting, StatementLine

_KEYS = ("entity", "resource", "project", "task", "cost_centre", "item")
_KINDS = {str(kind): kind for kind in DocumentKind}
_encoder = msgspec.json.Encoder(decimal_format="string", order="deterministic")
_decode = msgspec.json.Decoder(dict[str, Any]).decode
COMPARED = ("work_date", "hours", "rate", "amount", "currency", "billable", "project", "resource", "task", "entity")


class Booked(NamedTuple):
    """What one entry books, as it is said to its target. `target_keys` is JSON; `reverses` the number it takes back, or empty."""

    entry_id: int
    key: str
    kind: str
    post_on: date
    hours: Decimal | None
    rate: Decimal | None
    amount: Decimal | None
    currency: str
    is_billable: bool
    is_cost_only: bool
    memo: str
    tax_code: str
    receipt_reference: str
    target_keys: str
    reverses: str


def build(booked: Iterable[Booked]) -> dict[int, Posting]:
    """The postings of some entries, by entry id."""
    return {row.entry_id: _posting(row) for row in booked}


def _posting(row: Booked) -> Posting:
    keys = _decode(row.target_keys)
    is_time = row.kind == DocumentKind.TIME
    return Posting(
        key=row.key,
        kind=_KINDS[row.kind],
        work_date=row.post_on,
        hours=row.hours if is_time else None,
        rate=row.rate if is_time and not row.is_cost_only else None,
        amount=None if is_time else row.amount,
        currency=row.currency,
        billable=row.is_billable and not row.is_cost_only,
        memo=row.memo,
        tax_code=row.tax_code,
        receipt_reference=row.receipt_reference,
        reverses=row.reverses,
        **{name: str(keys.get(name) or "") for name in _KEYS},
    )


def digest(body: Any) -> str:
    """SHA-256 of a body as the connector builds it: the same content has the same digest, whatever the order of its fields."""
    return hashlib.sha256(_encoder.encode(body)).hexdigest()


def differences(sent: Posting, found: StatementLine, hours_tolerance: Decimal = Decimal(0)) -> dict[str, list[str]]:
    """Where what the target holds is not what was sent: {field: [sent, found]}, empty when it is equal.

    A figure that we did not send, or that the target does not state, is not compared. `hours_tolerance` is what the target's
    own unit of time cannot tell apart.
    """
    differing = {}
    for name in COMPARED:
        ours, theirs = getattr(sent, name), getattr(found, name)
        if ours is None or theirs is None or ours == "" or theirs == "":
            continue
        if name == "hours" and abs(ours - theirs) <= hours_tolerance:
            continue
        if not _same(ours, theirs):
            differing[name] = [plain(ours), plain(theirs)]
    if found.key and found.key != sent.key:
        differing["key"] = [sent.key, found.key]
    return differing


def _same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, str) and isinstance(theirs, str):
        return ours.strip() == theirs.strip()
    return bool(ours == theirs)


def plain(value: Any) -> str:
    """A figure as people read it: no exponent, no superfluous zeros."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal):
        text = format(value.normalize(), "f")
        return "0" if text == "-0" else text
    return value.isoformat() if isinstance(value, date) else str(value)


def shown(found: StatementLine) -> dict[str, str]:
    """What the target holds, as it is kept with a read-back."""
    names = ("number", "key", "kind", *COMPARED, "memo")
    return {name: plain(value) for name in names if (value := getattr(found, name)) not in (None, "")}
