"""Explain the cents of a bill's line: hours times rate, rounding, limit, share, tax and exchange, each with what it rests on.

The rule here: an amount is told from what was booked, and where it was booked otherwise than our figures say, so much is told;
what we placed ourselves on a line that we proposed is told as ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import QuerySet, Sum

from portal import figures, money
from portal.models import Allocation, Invoice, InvoiceLine, InvoiceVersion, LedgerEntry, PaymentAllocation, ProposalPart
from portal.models.billing import SETTLED_BY
from portal.records import BillStatus, SettledBy
from reconciliation import amounts, naming, placing

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


def settled_by_kind(rows: QuerySet[PaymentAllocation]) -> dict[str, Decimal]:
    """What settles a bill, by the kinds of SettledBy."""
    return dict(rows.order_by().values_list("by").annotate(total=Sum("amount")))


def explained(
    bill: Invoice, line: InvoiceLine, settled: Mapping[str, Decimal]
) -> tuple[list[tuple[str, str]], list[Part]]:
    """How the amount of one line came about: steps of the line itself, then each thing on it.

    `settled` is what settles the bill, by the kinds of SettledBy: only cash is paid.
    """
    version = line.version
    proposed = _proposed(line)
    parts = list(_parts(line, proposed))
    return list(_steps(bill, version, line, parts, settled, proposed)), parts


def _parts(line: InvoiceLine, proposed: Sequence[ProposalPart]) -> Iterator[Part]:
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
            [*steps, *_booked(line, row, quantity, amount, _part_of(row, proposed))],
        )  # fmt: skip


def _says_otherwise(back: Allocation, line: InvoiceLine) -> bool:
    """Whether a later version of this very bill put something else in the place of what it takes back."""
    is_same = back.cause.invoice_id == line.version.invoice_id
    return is_same and back.cause.status not in (BillStatus.VOIDED, BillStatus.DELETED)


def _net(back: Sequence[Allocation]) -> tuple[Decimal, Decimal]:
    """What taking back came to, hours and amount, after what was put back again; never above zero."""
    every = [*back, *(again for taken in back for again in taken.taken_back_by.all())]
    return sum((one.quantity for one in every), ZERO), sum((one.amount for one in every), ZERO)


def _proposed(line: InvoiceLine) -> list[ProposalPart]:
    """The parts of the line that we proposed and handed over under the key that this line bears."""
    key = naming.key_of(line.posting_key)
    if key is None:
        return []
    handed = ProposalPart.objects.filter(line__key=key, line__draft__isnull=False).select_related(
        "line__proposal__customer", "line__proposal__contract", "entry", "milestone"
    )
    return list(handed.order_by("pk"))


def _part_of(row: Allocation, proposed: Sequence[ProposalPart]) -> ProposalPart | None:
    """The part that an allocation bills: of the same entry or milestone, or of the same record where it was booked anew since."""
    same = [part for part in proposed if (part.entry_id, part.milestone_id) == (row.entry_id, row.milestone_id)]
    record = row.entry.document_id if row.entry is not None else None
    same = same or [part for part in proposed if part.entry is not None and part.entry.document_id == record]
    return same[0] if len(same) == 1 else None


def _booked(
    line: InvoiceLine, row: Allocation, quantity: Decimal, amount: Decimal, part: ProposalPart | None
) -> Iterator[tuple[str, str]]:
    """Which part of the thing this line bills, and how the amount booked for it stands to our figures."""
    if part is None or (part.quantity, part.line.proposal.currency) != (quantity, row.currency):
        yield from _unproposed(row, quantity, amount)
        return
    yield from placing.placed(part)
    proposal = part.line.proposal
    if part.amount == amount:
        yield "Booked", f"{_money(amount, row.currency)}, equal to our figures on {proposal}"
        return
    off = placing.signed(amount - part.amount, row.currency)
    asked = f"{_money(amount, row.currency)} where {proposal} asks for {_money(part.amount, row.currency)}"
    if line.net == part.line.net:
        yield "Booked", f"{asked}: {off}, as somebody allocated it"
        return
    yield (
        "Booked",
        f"{asked}: {off} as booked, its line over {_money(line.net, row.currency)} where {_money(part.line.net, row.currency)} "
        "were handed over",
    )


def _unproposed(row: Allocation, quantity: Decimal, amount: Decimal) -> Iterator[tuple[str, str]]:
    """The same of a line that was not handed over by us."""
    entry = row.entry
    if entry is None or entry.amount is None:
        return
    if entry.kind == "time" and entry.hours and quantity != entry.hours:
        of = f"{figures.exact(quantity)} of {figures.exact(entry.hours)} h are on this line"
        yield "Part", f"{of}; the rest is open or billed elsewhere"
    whole = entry.amount if not entry.hours else entry.amount * quantity / entry.hours
    whole = money.round_money(whole, entry.currency)
    if entry.currency != row.currency:
        yield "Currency", f"priced in {entry.currency}, billed in {row.currency} as the system booked it"
    elif whole != amount:
        ours = f"{_money(amount, row.currency)} where our figures give {_money(whole, row.currency)}"
        yield "Booked", f"{ours}: {placing.signed(amount - whole, row.currency)} as booked"
    else:
        yield "Booked", f"{_money(amount, row.currency)}, equal to our figures"


def _steps(  # noqa: PLR0917 -- what a line is told from
    bill: Invoice,
    version: InvoiceVersion,
    line: InvoiceLine,
    parts: Sequence[Part],
    settled: Mapping[str, Decimal],
    proposed: Sequence[ProposalPart],
) -> Iterator[tuple[str, str]]:
    currency = version.currency
    if line.quantity is not None and line.unit_price is not None:
        exact = line.quantity * line.unit_price
        words = f"{figures.exact(line.quantity)} × {figures.exact(line.unit_price)} = {figures.exact(exact)} {currency}"  # noqa: RUF001
        if money.round_money(exact, currency) != line.net:
            ours = next((part.line for part in proposed if part.line.net == line.net), None)
            by = f", as {ours.proposal} asks for by the largest remainder" if ours is not None else ""
            words += f"; booked are {_money(line.net, currency)}{by}"
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
