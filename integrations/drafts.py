"""From ledger entries to invoice drafts, and from what a system that bills holds back to what it was handed.

The rule here: a draft says what was approved, line by line, under the system's keys as of the hand-over. It is *equal* when
customer, currency, order, net and every line that the system states are the ones that were handed over. Tax is the system's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from integrations.postings import plain
from portal.records import BillDraft, DraftLine, HeldDraft

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Drafted(NamedTuple):
    """What one entry hands over above its lines. `target_keys` is JSON."""

    entry_id: int
    key: str
    target_keys: str
    proposal_id: int
    part: int
    parts: int
    currency: str
    dated_on: date
    due_on: date | None
    purchase_order: str
    memo: str


class Line(NamedTuple):
    """One line of a draft, with the receipts of what it bills."""

    key: str
    description: str
    quantity: Decimal | None
    unit_price: Decimal | None
    net: Decimal
    tax_code: str
    milestone: str
    postings: list[str]


def build(drafted: Iterable[Drafted], lines: Mapping[int, Sequence[Line]]) -> dict[int, BillDraft]:
    """The drafts of some entries, by entry id."""
    return {row.entry_id: _draft(row, lines.get(row.entry_id, ())) for row in drafted}


def _draft(row: Drafted, lines: Sequence[Line]) -> BillDraft:
    keys = _decode(row.target_keys)
    return BillDraft(
        key=row.key, entity=str(keys.get("entity") or ""), customer=str(keys.get("customer") or ""),
        project=str(keys.get("project") or ""), reference=f"P-{row.proposal_id:06}", part=row.part, parts=row.parts,
        currency=row.currency, dated_on=row.dated_on, due_on=row.due_on, purchase_order=row.purchase_order, memo=row.memo,
        lines=tuple(
            DraftLine(
                key=line.key, description=line.description, quantity=line.quantity, unit_price=line.unit_price, net=line.net,
                item=str(keys.get("item") or ""), tax_code=line.tax_code, milestone=line.milestone,
                postings=tuple(line.postings),
            )
            for line in lines
        ),
    )  # fmt: skip


def differences(sent: BillDraft, held: HeldDraft) -> dict[str, list[str]]:
    """Where what the system holds is not what it was handed: {field: [ours, theirs]}, empty when it is equal."""
    differing = {}
    for name in ("customer", "currency", "purchase_order", "net"):
        ours, theirs = getattr(sent, name), getattr(held, name)
        if theirs not in (None, "") and ours != theirs:
            differing[name] = [plain(ours), plain(theirs)]
    if held.count is not None and held.count != len(sent.lines):
        differing["lines"] = [str(len(sent.lines)), str(held.count)]
    if held.lines:
        for number, line in enumerate(sent.lines, start=1):
            theirs = held.lines.get(line.key)
            if theirs != line.net:
                differing[f"line_{number}"] = [plain(line.net), "nothing" if theirs is None else plain(theirs)]
    return differing


def shown(held: HeldDraft) -> dict[str, str]:
    """What the system holds, as it is kept with a read-back."""
    names = (
        "number",
        "bill_number",
        "status",
        "customer",
        "currency",
        "purchase_order",
        "net",
        "tax",
        "total",
        "count",
    )
    return {name: plain(value) for name in names if (value := getattr(held, name)) not in (None, "")}
