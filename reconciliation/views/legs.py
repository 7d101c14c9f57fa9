"""The legs of a reconciliation run, in words: how much matched, how much differs, and what each side adds up to."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from reconciliation.models import ReconciliationResult

Leg = ReconciliationResult.Leg


@dataclass(frozen=True, slots=True)
class LegWords:
    """One leg of a run: how much matched, how much differs, in rows, hours and money."""

    label: str
    matched: int
    open: int
    differing: int
    hours: Decimal
    money: tuple[tuple[str, Decimal], ...]
    left_hours: Decimal
    right_hours: Decimal
    sides: tuple[tuple[str, Decimal | None, Decimal], ...]

    @property
    def total(self) -> int:
        """All rows of the leg."""
        return self.matched + self.open + self.differing

    @property
    def percent(self) -> str:
        """How much of it matched; never 100 % while anything differs."""
        if not self.total:
            return "nothing to match"
        share = Decimal(100 * self.matched) / self.total
        return f"{min(share, Decimal('99.9')) if self.matched < self.total else share:.1f} % matched".replace(
            "100.0", "100"
        )

    @property
    def verdict(self) -> str:
        """The state of the leg in words."""
        if self.differing:
            return f"{self.differing:,} differ"
        if self.open:
            return f"{self.open:,} open"
        return "Balanced, its rest explained" if self.has_rest else "Balanced"

    @property
    def has_rest(self) -> bool:
        """Whether the sides add up to different figures; each row says why, as a credit of the price alone does."""
        return bool(self.hours) or any(amount for _, amount in self.money)

    @property
    def tone(self) -> str:
        """Its colour."""
        return "bad" if self.differing else ("warn" if self.open else "good")


def legs_of(totals: dict[str, Any]) -> list[LegWords]:
    """The legs of a run, from the totals that it kept."""
    return [leg_of(leg, totals[leg]) for leg in Leg.values if leg in totals]


def leg_of(leg: str, totals: dict[str, Any]) -> LegWords:
    """One leg in words. Trackers carry hours and no money, so on that leg the money is the ledger's alone."""
    left, right = (Decimal(totals["hours"][side]) for side in ("left", "right"))
    has_money = leg != Leg.TRACKER_LEDGER
    sides = tuple(
        (code, Decimal(sums["left"]) if has_money else None, Decimal(sums["right"]))
        for code, sums in totals["money"].items()
    )
    return LegWords(
        str(Leg(leg).label), totals["matched"], totals["open"], totals["differing"], left - right,
        tuple((code, one - other) for code, one, other in sides if one is not None), left, right, sides,
    )  # fmt: skip
