"""The legs of a reconciliation run, in words: how much matched, how much differs, and what each side adds up to."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from portal import figures
from reconciliation.models import Certificate, ReconciliationResult

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
    not_compared: str = ""  # why the leg could not be compared

    @property
    def total(self) -> int:
        """All rows of the leg."""
        return self.matched + self.open + self.differing

    @property
    def percent(self) -> str:
        """How much of it matched; never 100 % while anything differs. Of a leg that was not compared: why."""
        if self.not_compared:
            return self.not_compared
        if not self.total:
            return "nothing to match"
        share = Decimal(100 * self.matched) / self.total
        return f"{min(share, Decimal('99.9')) if self.matched < self.total else share:.1f} % matched".replace(
            "100.0", "100"
        )

    @property
    def verdict(self) -> str:
        """The state of the leg in words."""
        if self.not_compared:
            return "Not compared"
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
    def unproved(self) -> str:
        """What of a leg that was not compared stands without proof, in words; empty where nothing does."""
        if not self.not_compared:
            return ""
        return " and ".join(
            f"{figures.amount(amount, code)} {code}" for code, amount, _ in self.sides if amount is not None and amount
        )

    @property
    def tone(self) -> str:
        """Its colour."""
        return "bad" if self.differing else ("warn" if self.open or self.not_compared else "good")


def legs_of(totals: dict[str, Any]) -> list[LegWords]:
    """The legs of a run, from the totals that it kept."""
    return [leg_of(leg, totals[leg]) for leg in Leg.values if leg in totals]


def leg_of(leg: str, totals: dict[str, Any]) -> LegWords:
    """One leg in words. Trackers carry hours and no money, so on that leg the money is the ledger's alone."""
    left, right = (Decimal(totals["hours"][side]) for side in ("left", "right"))
    has_money = leg != Leg.TRACKER_LEDGER
    reason = totals.get("not_compared", "")
    sides = tuple(
        (code, Decimal(sums["left"]) if has_money else None, Decimal(sums["right"]))
        for code, sums in totals["money"].items()
    )
    return LegWords(
        str(Leg(leg).label), totals["matched"], totals["open"], totals["differing"], left - right,
        tuple((code, one - other) for code, one, other in sides if one is not None), left, right, sides, reason,
    )  # fmt: skip


def uncompared_of(signed: Certificate) -> list[str]:
    """What a certificate accepts without proof, a sentence a leg: the money and the reason that was given."""
    return [
        f"{Leg(leg).label} is not compared, and {leg_of(leg, signed.totals[leg]).unproved} are accepted without proof: {reason}"
        for leg, reason in signed.uncompared.items()
    ]


def changes_of(delta: dict[str, Any]) -> list[str]:
    """What of the legs is not as it was signed, a sentence each: rows that differ and what both sides came to."""
    found = []
    for leg in (leg for leg in Leg.values if leg in delta):
        changed = delta[leg]
        words = []
        for word, name in (("differing", "differ"), ("open", "wait"), ("matched", "match")):
            if word in changed:
                before, after = (int(count or 0) for count in changed[word])
                words.append(f"{before:,} → {after:,} {name}")
        words.extend(_sides(changed.get("hours"), "h"))
        was, now = (dict(sums or {}) for sums in changed.get("money", (None, None)))
        for code in sorted({*was, *now}):
            words.extend(_sides((was.get(code), now.get(code)), code))
        found.append(f"{Leg(leg).label}: {'; '.join(words) or 'other rows of the same sums'}")
    return found


def _sides(changed: Any, unit: str) -> list[str]:
    was, now = (dict(sums or {}) for sums in changed or (None, None))
    pairs = [(side, Decimal(was.get(side, 0)), Decimal(now.get(side, 0))) for side in ("left", "right")]
    return [
        f"{side} {_figure(before, unit)} → {_figure(after, unit)}" for side, before, after in pairs if before != after
    ]


def _figure(value: Decimal, unit: str) -> str:
    return f"{figures.hours(value) if unit == 'h' else figures.amount(value, unit)} {unit}"
