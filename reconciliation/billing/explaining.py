"""Explain the cents of a bill's line: hours times rate, rounding, limit, share, tax and exchange, each with what it rests on.

The rule here: an amount is told from what was booked, and where it was booked otherwise than our figures say, so much is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from portal import figures, money
from portal.models import Allocation, Invoice, InvoiceLine, InvoiceVersion, LedgerEntry
from portal.models.billing import SETTLED_BY
from portal.records import BillStatus, SettledBy
from reconciliation import amounts

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Part:
    """One delivered thing on a line: what of it was billed, what of it stands, and how its amount came about.

    What a later version of the same bill says instead is no credit: only what is billed now counts as billed.
    """

    entry: LedgerEntry | None
    billed: Decimal  # hours, or money of an expense
    amount: Decimal
    standing: Decimal
    standing_amount: Decimal
    steps: Sequence[tuple[str, str]]


def explained(
    bill: Invoice, line: InvoiceLine, settled: Mapping[str, Decimal]
) -> tuple[list[tuple[str, str]], list[Part]]:
    """How the amount of one line came about: steps of the line itself, then each thing on it.

    `settled` is what settles the bill, by the kinds of SettledBy: only cash is paid.
    """
    version = line.version
    parts = list(_parts(line))
    return list(_steps(bill, version, line, parts, settled)), parts


def _parts(line: InvoiceLine) -> Iterator[Part]:
    rows = Allocation.objects.filter(
        line__key=line.key, line__version__invoice=line.version.invoice_id
    ).select_related(
        "entry__rate_used__card", "entry__contract", "entry__purchase_order", "entry__project", "entry__resource",
        "entry__document", "milestone",
    ).prefetch_related("taken_back_by__taken_back_by", "taken_back_by__cause").order_by("pk")  # fmt: skip
    for row in rows:
        if row.takes_back_id is not None:
            continue
        replaced = [one for one in row.taken_back_by.all() if _says_otherwise(one, line)]
        credited = [one for one in row.taken_back_by.all() if one not in replaced]
        quantity, amount = (
            part + given for part, given in zip((row.quantity, row.amount), _net(replaced), strict=True)
        )
        if not quantity and not amount:
            continue
        back_quantity, back_amount = _net(credited)
        steps = amounts.explained(row.entry) if row.entry else [("Milestone", str(row.milestone))]
        yield Part(
            row.entry, quantity, amount, quantity + back_quantity, amount + back_amount,
            [*steps, *_share(row, quantity, amount)],
        )  # fmt: skip


def _says_otherwise(back: Allocation, line: InvoiceLine) -> bool:
    """Whether a later version of this very bill put something else in the place of what it takes back."""
    is_same = back.cause.invoice_id == line.version.invoice_id
    return is_same and back.cause.status not in (BillStatus.VOIDED, BillStatus.DELETED)


def _net(back: Sequence[Allocation]) -> tuple[Decimal, Decimal]:
    """What taking back came to, hours and amount, after what was put back again; never above zero."""
    every = [*back, *(again for taken in back for again in taken.taken_back_by.all())]
    return sum((one.quantity for one in every), ZERO), sum((one.amount for one in every), ZERO)


def _share(row: Allocation, quantity: Decimal, amount: Decimal) -> Iterator[tuple[str, str]]:
    """Which part of the thing this line bills, and how the amount booked for it stands to our figures."""
    entry = row.entry
    if entry is None or entry.amount is None:
        return
    if entry.kind == "time" and entry.hours and quantity != entry.hours:
        yield (
            "Share",
            (
                f"{figures.exact(quantity)} of {figures.exact(entry.hours)} h are on this line; the rest is open or "
                "billed elsewhere"
            ),
        )
    whole = entry.amount if not entry.hours else entry.amount * quantity / entry.hours
    whole = money.round_money(whole, entry.currency)
    if entry.currency != row.currency:
        yield "Currency", f"priced in {entry.currency}, billed in {row.currency} as the system booked it"
    elif whole != amount:
        yield (
            "Booked",
            (
                f"{figures.amount(amount, row.currency)} {row.currency} where our figures give "
                f"{figures.amount(whole, row.currency)} {row.currency}: {_signed(amount - whole, row.currency)} as booked"
            ),
        )
    else:
        yield "Booked", f"{figures.amount(amount, row.currency)} {row.currency}, equal to our figures"


def _steps(
    bill: Invoice,
    version: InvoiceVersion,
    line: InvoiceLine,
    parts: Sequence[Part],
    settled: Mapping[str, Decimal],
) -> Iterator[tuple[str, str]]:
    currency = version.currency
    if line.quantity is not None and line.unit_price is not None:
        exact = line.quantity * line.unit_price
        words = f"{figures.exact(line.quantity)} × {figures.exact(line.unit_price)} = {figures.exact(exact)} {currency}"  # noqa: RUF001
        if money.round_money(exact, currency) != line.net:
            words += f"; booked are {_money(line.net, currency)}"
        yield "On the line", words
    yield "Net", f"{_money(line.net, currency)}, as booked in version {version.version}"
    tied = sum((part.amount for part in parts), ZERO)
    if parts and tied != line.net:
        yield "Without hours", f"{_money(line.net - tied, currency)} of it are tied to nothing of ours"
    if line.tax is not None:
        rate = (
            f"{figures.exact(line.tax_rate)} % of {_money(line.net, currency)}"
            if line.tax_rate is not None
            else "as booked"
        )
        code = f", code {line.tax_code}" if line.tax_code else ""
        yield "Tax", f"{_money(line.tax, currency)}: {rate}{code}, in version {version.version}"
    elif version.tax:
        yield (
            "Tax",
            f"told for the whole bill and not by line: {_money(version.tax, currency)} on {_money(version.net, currency)} net, "
            f"as booked in version {version.version}",
        )
    credited = tied - sum((part.standing_amount for part in parts), ZERO)
    if credited:
        yield (
            "Credited",
            f"{_money(credited, currency)} were taken back; {_money(tied - credited, currency)} stand billed",
        )
    if version.exchange_rate is not None and currency != bill.entity.currency:
        books = money.round_money(line.net * version.exchange_rate, bill.entity.currency)
        when = f" on {figures.day(version.booked_on)}" if version.booked_on else ""
        yield (
            "Exchange",
            (
                f"1 {currency} = {figures.exact(version.exchange_rate)} {bill.entity.currency} as the system booked it{when}, "
                f"version {version.version}: {_money(books, bill.entity.currency)}"
            ),
        )
    paid = settled.get(SettledBy.CASH, ZERO)
    if version.total:
        share = money.round_money(line.net * paid / version.total, currency)
        yield (
            "Paid",
            f"{_money(share, currency)} net, its share of the {_money(paid, currency)} paid on the bill, by amount",
        )
    others = [
        f"{label.lower()} {_money(settled[kind], currency)}"
        for kind, label in SETTLED_BY
        if kind != SettledBy.CASH and settled.get(kind)
    ]
    if others:
        yield "Settled otherwise", f"of the whole bill: {', '.join(others)}"


def _money(value: Decimal, currency: str) -> str:
    return f"{figures.amount(value, currency)} {currency}"


def _signed(value: Decimal, currency: str) -> str:
    return f"{'+' if value > 0 else ''}{figures.amount(value, currency)} {currency}"
