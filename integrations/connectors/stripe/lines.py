"""The lines of Stripe's invoices and credit notes in our words.

A line that we drafted bears our key in its metadata. A credit note's line names the line that it credits; how many hours go
back it says only where it credits the whole line or a whole number of them. Otherwise it names nothing, and somebody is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from integrations.connectors.stripe import amounts
from integrations.connectors.stripe.reading import identity
from integrations.errors import Malformed
from integrations.http.fields import number
from portal.records import NOTHING, BillLine, Reference

Record = Mapping[str, Any]
NO_HOURS = "none"  # of a line that bills money and no hours
LINE, POSTINGS, MILESTONE, PROJECT, HOURS = (
    "tieout_line", "tieout_postings", "tieout_milestone", "tieout_project", "tieout_hours",
)  # fmt: skip


def billed(rows: Sequence[Record], currency: str) -> Iterator[BillLine]:
    """The lines of an invoice."""
    for row in rows:
        metadata = _metadata(row)
        net, tax, rate = _figures(row, currency)
        yield BillLine(
            key=name_of(row),
            posting_key=str(metadata.get(LINE) or ""),
            posting_number=_only(str(metadata.get(POSTINGS) or "")) if not metadata.get(LINE) else "",
            milestone=_reference(metadata, MILESTONE),
            project=_reference(metadata, PROJECT),
            description=str(row.get("description") or ""),
            quantity=_hours(row, metadata),
            unit_price=_unit_price(row, currency, metadata),
            net=net,
            tax_code=rate,
            tax=tax,
        )


def credited(rows: Sequence[Record], of_invoice: Sequence[Record], currency: str) -> Iterator[BillLine]:
    """The lines of a credit note, beside those of the invoice that it credits."""
    known = {str(line.get("id")): line for line in of_invoice}
    for row in rows:
        net, tax, rate = _figures(row, currency)
        line = known.get(str(row.get("invoice_line_item") or ""))
        hours = None if line is None else _given_back(row, line, currency)
        metadata = _metadata(line) if line is not None and hours is not None else {}
        yield BillLine(
            key=str(row.get("id") or ""),
            posting_key=str(metadata.get(LINE) or ""),
            posting_number=_only(str(metadata.get(POSTINGS) or "")) if not metadata.get(LINE) else "",
            project=_reference(metadata, PROJECT),
            description=str(row.get("description") or ""),
            quantity=hours,
            net=net,
            tax_code=rate,
            tax=tax,
        )


def name_of(row: Record) -> str:
    """What names a line from the draft on: its item, or the line itself where it has none."""
    parent = row.get("parent")
    details = parent.get("invoice_item_details") if isinstance(parent, Mapping) else None
    item = details.get("invoice_item") if isinstance(details, Mapping) else None
    return str(item or row.get("id") or "")


def _given_back(row: Record, line: Record, currency: str) -> Decimal | None:
    """The hours that a credit's line gives back, where it tells them; None where it is about money alone."""
    said = _metadata(row).get(HOURS)
    if said:
        return number({HOURS: said}, HOURS)
    amount, whole = number(row, "amount"), number(line, "amount")
    hours = _hours(line, _metadata(line))
    if amount is not None and amount == whole:
        return hours
    quantity, unit = number(row, "quantity"), _unit_price(line, currency, _metadata(line))
    if quantity is not None and unit is not None and amounts.optional(row, "amount", currency) == quantity * unit:
        return quantity
    return None


def _figures(row: Record, currency: str) -> tuple[Decimal, Decimal | None, str]:
    """Net, tax and the tax rate's id of a line: discounts and inclusive taxes are in its amount, exclusive ones beside it."""
    net = amounts.money(row, "amount", currency)
    net -= sum((amounts.money(one, "amount", currency) for one in row.get("discount_amounts") or ()), Decimal(0))
    taxes = row.get("taxes")
    if taxes is None:
        return net, None, ""
    if not isinstance(taxes, list) or not all(isinstance(tax, Mapping) for tax in taxes):
        raise Malformed("taxes of a line is no list of objects.")
    for tax in taxes:
        if tax.get("tax_behavior") == "inclusive":
            net -= amounts.money(tax, "amount", currency)
    rates = [identity((tax.get("tax_rate_details") or {}).get("tax_rate")) for tax in taxes]
    total = sum((amounts.money(tax, "amount", currency) for tax in taxes), Decimal(0))
    return net, total, " ".join(rate for rate in rates if rate)[:40]


def _hours(row: Record, metadata: Record) -> Decimal | None:
    """The quantity. A line whose amount is told as one piece bears its hours beside it."""
    if HOURS in metadata:
        return None if metadata[HOURS] == NO_HOURS else number(metadata, HOURS)
    found = number(row, "quantity_decimal")
    return number(row, "quantity") if found is None else found


def _unit_price(row: Record, currency: str, metadata: Record) -> Decimal | None:
    if HOURS in metadata:
        return None  # what Stripe calls the price of one is the whole amount
    pricing = row.get("pricing")
    return amounts.optional(pricing, "unit_amount_decimal", currency) if isinstance(pricing, Mapping) else None


def _metadata(row: Record) -> Record:
    found = row.get("metadata")
    return found if isinstance(found, Mapping) else {}


def _reference(metadata: Record, name: str) -> Reference:
    said = str(metadata.get(name) or "")
    return Reference(said) if said else NOTHING


def _only(numbers: str) -> str:
    """A receipt number where there is exactly one; several on one line are told by the line's key."""
    return numbers if "," not in numbers else ""
