"""How an amount came about: hours, rate, unit, rounding and limit, each with the version of what it rests on.

The rule here: an amount that is not known is never shown as zero, and every step names the record that somebody agreed to.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

from portal import figures, money
from portal.models import LedgerEntry
from reconciliation.readiness.agreements import retainer_words
from reconciliation.validation.judging import SPLIT_AT_CAP

PER_DAY = "day"


def explained(entry: LedgerEntry, priced_at: datetime | None = None) -> list[tuple[str, str]]:
    """How the amount came about, step by step: (what, how). `priced_at` is when its figures were last settled, now if open.

    The contract is read as it was at that moment, from its history.
    """
    return list(_steps(entry, priced_at))


def _steps(entry: LedgerEntry, priced_at: datetime | None) -> Iterator[tuple[str, str]]:
    if entry.hours is not None and entry.kind == "time":
        yield "Hours", _hours(entry, entry.hours)
    if entry.kind == "time" and (words := retainer_words(entry, of := as_of(entry.contract, priced_at))):
        yield "Retainer", f"{words}{version_of(of)}"
    if entry.is_cost_only:
        yield "Amount", "posted as cost only: its hours reach the ERP, no amount is billed"
        return
    if not entry.is_billable:
        yield "Amount", "not billable, so nothing is priced"
        return
    if entry.kind == "time" and entry.rate is not None:
        yield "Rate", _rate(entry, entry.rate)
    if entry.amount is None:
        yield "Amount", "unknown: no rate is agreed, and a missing rate is never taken for zero"
        return
    contract = as_of(entry.contract, priced_at)
    if entry.kind == "time" and entry.rate_used is not None and entry.rate_used.unit == PER_DAY:
        yield "Unit", _unit(contract)
    if entry.kind == "time" and entry.hours is not None and entry.rate is not None:
        yield "Amount", _product(entry, entry.hours, entry.rate, entry.amount)
        yield "Rounding", _rounding(entry, contract)
    else:
        yield "Amount", f"{_money(entry.amount, entry.currency)}, as on the receipt"
    if SPLIT_AT_CAP in entry.tags or entry.part:
        yield "Limit", _limit(entry, contract)


def _hours(entry: LedgerEntry, hours: Decimal) -> str:
    if entry.reverses_id:
        return f"{figures.exact(hours)} h, which take back entry {entry.reverses_id}"
    if SPLIT_AT_CAP in entry.tags or entry.part:
        return f"{figures.exact(hours)} h, this entry's part of what was approved at source"
    return f"{figures.exact(hours)} h, as approved at source"


def _rate(entry: LedgerEntry, rate: Decimal) -> str:
    words = f"{figures.exact(rate)} {entry.currency} an hour"
    if entry.rate_version == "source":
        return f"{words}, the source's own, accepted by finance"
    used = entry.rate_used
    if used is None:
        return f"{words}, {entry.rate_version}" if entry.rate_version else words
    until = f" to {figures.day(used.valid_to)}" if used.valid_to else ""
    per = f", agreed as {figures.exact(used.amount)} a day" if used.unit == PER_DAY else ""
    return f"{words}, rate card {entry.rate_version}, valid from {figures.day(used.valid_from)}{until}{per}"


def _product(entry: LedgerEntry, hours: Decimal, rate: Decimal, amount: Decimal) -> str:
    exact = hours * rate
    words = f"{figures.exact(hours)} × {figures.exact(rate)} = {figures.exact(exact)}"  # noqa: RUF001
    if exact == amount:
        whole = exact == money.round_money(exact, entry.currency)
        return f"{words} {entry.currency}, no rounding needed" if whole else f"{words} {entry.currency}"
    if amount == money.round_money(exact, entry.currency):
        return f"{words}, rounded half up to {_money(amount, entry.currency)}"
    return f"{words}; booked are {figures.exact(amount)} {entry.currency}, from the rate as it was agreed"


def _rounding(entry: LedgerEntry, contract: Any) -> str:
    if contract is None:
        return f"half up to the cent of {entry.currency}, entry by entry; no contract says otherwise"
    rule = {
        "entry": f"half up to the cent of {entry.currency}, entry by entry",
        "line": "to the cent only on the invoice line; the entry keeps four decimals",
        "invoice": "to the cent only on the invoice; the entry keeps four decimals",
    }[contract.rounding]
    return f"{rule}{version_of(contract)}"


def _unit(contract: Any) -> str:
    if contract is None:
        return "one day is 8.00 h; no contract says otherwise"
    return f"one day is {figures.exact(contract.hours_per_day)} h{version_of(contract)}"


def _limit(entry: LedgerEntry, contract: Any) -> str:
    limits = []
    if entry.purchase_order is not None:
        order = entry.purchase_order
        limits.append(f"purchase order {order.number} over {_money(order.amount, order.currency)}")
    if contract is not None and contract.cap_amount is not None:
        cap = _money(contract.cap_amount, contract.currency)
        limits.append(f"the not-to-exceed amount of {cap}{version_of(contract)}")
    if contract is not None and contract.retainer_hours is not None:
        limits.append(f"the {figures.hours(contract.retainer_hours)} h a month of the retainer{version_of(contract)}")
    side = "the part beyond it" if entry.part else "the part within it"
    return f"split at {' or '.join(limits) or 'a limit'}; this is {side} (part {entry.part + 1})"


def as_of(contract: Any, moment: datetime | None) -> Any:
    """The contract as it stood when something was settled; as it stands where its history does not reach back so far."""
    if contract is None:
        return None
    versions = contract.history.order_by("-history_date", "-history_id")
    if moment is not None:
        versions = versions.filter(history_date__lte=moment)
    return versions.first() or contract


def version_of(contract: Any) -> str:
    """Which version of a contract something rests on, in brackets; empty where there is none."""
    if contract is None:
        return ""
    since = getattr(contract, "history_date", None)
    return f" (contract {contract.code}{f', as written on {figures.day(since)}' if since else ''})"


def _money(value: Decimal, currency: str) -> str:
    return f"{figures.amount(value, currency)} {currency}"
