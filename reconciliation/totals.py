"""What stands of a period, added up: per leg how much matched, waits and differs, and what both sides come to.

The rule here: a leg that cannot be compared is named with the reason and with what it would have been about, so that nobody takes
its silence for a proof.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.utils.timezone import localdate

from portal.models import AccountingPeriod
from reconciliation.models import ReconciliationResult
from reconciliation.sql import legs

Standing = ReconciliationResult.Standing
Leg = ReconciliationResult.Leg
_OF_BILLS = (Leg.TARGET_INVOICE, Leg.INVOICE_PAYMENT)


def of_period(period: AccountingPeriod, *, has_bills: bool) -> dict[str, dict[str, Any]]:
    """All four legs of a period; those about bills with what is to be billed where no bill of its entity was ever taken in."""
    if has_bills:
        return totals_of(period.pk, Leg.values)
    found = totals_of(period.pk, [leg for leg in Leg.values if leg not in _OF_BILLS])
    for leg in _OF_BILLS:
        found[leg] = {
            **_nothing(), "not_compared": f"no bill of {period.entity.code} was ever taken in",
            "hours": {"left": "0", "right": "0"}, "money": {},
        }  # fmt: skip
    due = legs.to_be_billed(period.entity_id, period.starts_on, period.ends_on, localdate())
    unproved = found[Leg.TARGET_INVOICE]
    unproved["hours"]["left"] = str(sum((hours for _, hours, _ in due), Decimal(0)))
    unproved["money"] = {currency: {"left": str(amount), "right": "0"} for currency, _, amount in due}
    return found


def _nothing() -> dict[str, Any]:
    return {
        "outcomes": {}, "standing": dict.fromkeys(Standing.values, 0), "matched": 0, "open": 0, "differing": 0, "digest": 0,
        "engine": legs.ENGINE,
    }  # fmt: skip


def totals_of(period_id: int, compared: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Per leg: rows by outcome and standing, how many are matched, open and differing, and hours and money of both sides."""
    found: dict[str, dict[str, Any]] = {}
    hours: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    money: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    for leg in compared:
        found[leg] = _nothing()
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
