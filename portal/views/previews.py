"""What a dry-run said, in one sentence: for whoever reads a decision later, and not the structure that it is kept in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from portal import figures

_SAYS = (
    ("passes", "would pass", "after"), ("new_passes", "without a target would pass", "after"), ("fails", "would fail", ""),
    ("new_fails", "without a target would be held", ""), ("repriced", "would get another amount", "both"),
    ("leaves", "would leave the ledger", ""), ("booked", "are booked and would need a correction", ""),
)  # fmt: skip  # the part of a dry-run, what becomes of its entries, and which side of their money is told


def is_preview(value: Any) -> bool:
    """Whether a stored value is a dry-run."""
    return isinstance(value, Mapping) and any(isinstance(value.get(name), Mapping) for name, _, _ in _SAYS)


def sentence(preview: Mapping[str, Any]) -> str:
    """What would become of open entries, of bills and of causes; that nothing would, where that is so."""
    return "; ".join(_said(preview)) or "no open entry would change"


def _said(preview: Mapping[str, Any]) -> Iterator[str]:
    for name, words, side in _SAYS:
        part = preview.get(name)
        if not isinstance(part, Mapping) or not (count := part.get("entries") or 0):
            continue
        entries = "1 entry" if count == 1 else f"{count:,} entries"
        money = _money(part.get("money") or {}, side)
        billed = part.get("billed") or 0
        yield f"{entries} {words}{f' ({money})' if money else ''}{f', {billed:,} of them billed' if billed else ''}"
    causes = preview.get("causes")
    if isinstance(causes, Mapping):
        for name, words in (("close", "would close"), ("open", "would open")):
            if count := causes.get(name) or 0:
                yield f"{'1 cause' if count == 1 else f'{count:,} causes'} {words}"


def _money(sums: Mapping[str, Any], side: str) -> str:
    told = []
    for currency, of in sorted(sums.items()) if side else ():
        try:
            after, before = (Decimal(str(of.get(one) or 0)) for one in ("after", "before"))
        except (AttributeError, InvalidOperation):
            return ""
        amount = after if side == "after" else after - before
        if amount:
            sign = "+" if side == "both" and amount > 0 else ""
            told.append(f"{sign}{figures.amount(amount, currency)} {currency}")
    return ", ".join(told)
