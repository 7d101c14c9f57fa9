"""From ledger entries to postings, and from what a target holds back to what was sent.

The rule here: a posting says only what the ledger says, in the target's own keys as of admission; and a record is *equal*
when every figure that we sent and the target states has the same value, however it is spelt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec

from portal.models import LedgerEntry
from portal.records import DocumentKind, Posting, StatementLine

_KEYS = ("entity", "resource", "project", "task", "cost_centre", "item")
_COLUMNS = (
    "id", "idempotency_key", "kind", "post_on", "hours", "rate", "amount", "currency", "is_billable", "is_cost_only", "memo",
    "tax_code", "receipt_reference", "target_keys", "reverses__state_row__receipt_number",
)  # fmt: skip
_encoder = msgspec.json.Encoder(decimal_format="string", order="deterministic")
COMPARED = ("work_date", "hours", "rate", "amount", "currency", "billable", "project", "resource", "task", "entity")


def build(entry_ids: Sequence[int]) -> dict[int, Posting]:
    """The postings of some entries, by entry id; one query."""
    rows = LedgerEntry.objects.filter(pk__in=entry_ids).values_list(*_COLUMNS)
    return {row[0]: _posting(dict(zip(_COLUMNS, row, strict=True))) for row in rows}


def _posting(row: dict[str, Any]) -> Posting:
    keys = row["target_keys"]
    kind = DocumentKind(row["kind"])
    is_time = kind is DocumentKind.TIME
    billable = row["is_billable"] and not row["is_cost_only"]
    return Posting(
        key=row["idempotency_key"].hex,
        kind=kind,
        work_date=row["post_on"],
        hours=row["hours"] if is_time else None,
        rate=row["rate"] if is_time and not row["is_cost_only"] else None,
        amount=None if is_time else row["amount"],
        currency=row["currency"],
        billable=billable,
        memo=row["memo"],
        tax_code=row["tax_code"],
        receipt_reference=row["receipt_reference"],
        reverses=row["reverses__state_row__receipt_number"] or "",
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
