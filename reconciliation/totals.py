"""What stands of a period, added up: per leg how much matched, waits and differs, and what both sides come to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from reconciliation.models import ReconciliationResult
from reconciliation.sql import legs

Standing = ReconciliationResult.Standing


def totals_of(period_id: int, compared: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Per leg: rows by outcome and standing, how many are matched, open and differing, and hours and money of both sides."""
    found: dict[str, dict[str, Any]] = {}
    hours: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    money: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    for leg in compared:
        found[leg] = {
            "outcomes": {}, "standing": dict.fromkeys(Standing.values, 0), "matched": 0, "open": 0, "differing": 0, "digest": 0,
            "engine": legs.ENGINE,
        }  # fmt: skip
    for (
        leg,
        outcome,
        standing,
        currency,
        rows,
        hours_left,
        hours_right,
        amount_left,
        amount_right,
        digest,
    ) in legs.totals(period_id):
        if leg not in found:
            continue
        totals = found[leg]
        totals["outcomes"][outcome] = totals["outcomes"].get(outcome, 0) + int(rows)
        totals["standing"][standing] += int(rows)
        totals["digest"] = (totals["digest"] + int(digest)) % 2**53
        hours[leg, "left"] += hours_left
        hours[leg, "right"] += hours_right
        if currency:
            money[leg, currency, "left"] += amount_left
            money[leg, currency, "right"] += amount_right
    for leg, totals in found.items():
        by_standing = totals["standing"]
        totals["matched"], totals["open"] = by_standing[Standing.MATCHED], by_standing[Standing.TIMING]
        totals["differing"] = by_standing[Standing.UNMATCHED] + by_standing[Standing.SUGGESTED]
        totals["hours"] = {side: str(hours[leg, side]) for side in ("left", "right")}
        totals["money"] = {
            currency: {side: str(money[leg, currency, side]) for side in ("left", "right")}
            for currency in sorted({key[1] for key in money if key[0] == leg})
        }
    return found
