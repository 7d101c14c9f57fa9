"""Tryton's customer invoices, credit notes and payments in our words. Pure.

A credit note is an invoice whose amounts are negative. An invoice line bills several lines of time sheets, which name it; it
becomes one line of ours for each of them, its amount split by their hours to the cent. A credit line names the line that it
credits: where it takes back all of it, it is about the same hours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from integrations.connectors.tryton import assumptions
from integrations.connectors.tryton.lines import SECONDS
from integrations.connectors.tryton.rpc import amount, day, several, within
from integrations.errors import Malformed
from integrations.http.fields import Row, text
from integrations.protocol import SourceRecord
from portal.money import split
from portal.records import (
    Application,
    BillingRecord,
    BillKind,
    BillLine,
    BillRecord,
    BillStatus,
    PaymentKind,
    PaymentRecord,
    PaymentStatus,
    Reference,
    SettledBy,
)

STREAMS = ("invoices", "payments")
_INVOICE, _LINE = "account.invoice,", "account.invoice.line,"


def record(record: SourceRecord) -> BillingRecord:
    """The bill or the payment of one record. Raises Malformed naming the field that cannot be read."""
    if record.payload.get("gone"):
        return _gone(record)
    row = record.payload.get("row")
    if not isinstance(row, Mapping):
        raise Malformed(f"A record of {record.stream} has no row.")
    return _bill(record, row) if record.stream == "invoices" else _payment(record, row)


def _gone(record: SourceRecord) -> BillingRecord:
    """What was open and is not there any more. Only drafts can be deleted."""
    if record.stream == "payments":
        return PaymentRecord(
            external_id=record.external_id, revision=record.revision, kind=PaymentKind.PAYMENT, status=PaymentStatus.DELETED
        )  # fmt: skip
    kind = BillKind.CREDIT_NOTE if record.payload.get("credit") else BillKind.INVOICE
    return BillRecord(external_id=record.external_id, revision=record.revision, kind=kind, status=BillStatus.DELETED)


def _bill(record: SourceRecord, row: Row) -> BillRecord:
    signed, currency = _money(row, "total_amount"), text(within(row, "currency"), "code")
    kind = BillKind.CREDIT_NOTE if signed < 0 else BillKind.INVOICE
    sign = -1 if signed < 0 else 1
    total, left = signed * sign, _money(row, "amount_to_pay") * sign
    status = _status(record, row, total, left)
    credited = several(row, "origin_invoices")
    due = [day(line, "maturity_date") for line in several(row, "lines_to_pay")]
    return BillRecord(
        external_id=record.external_id,
        revision=record.revision,
        kind=kind,
        status=status,
        entity=Reference(_id(row, "company")),
        customer=Reference(_id(row, "party"), "", text(within(row, "party"), "rec_name")),
        number=text(row, "number"),
        currency=currency,
        exchange_rate=Decimal(1) if currency == text(_books(row), "code") else None,
        booked_on=day(row, "accounting_date") or day(row, "invoice_date"),
        due_on=max((one for one in due if one), default=None),
        net=_money(row, "untaxed_amount") * sign,
        tax=_money(row, "tax_amount") * sign,
        total=total,
        balance=None if status in (BillStatus.DRAFT, BillStatus.VOIDED) else left,
        memo=text(row, "reference") or text(row, "description"),
        credits=str(credited[0]["id"]) if kind is BillKind.CREDIT_NOTE and len(credited) == 1 else "",
        applications=_credited(row, credited, total)
        if kind is BillKind.CREDIT_NOTE and status is BillStatus.PAID
        else (),
        lines=tuple(_lines(row, _hours(record), currency, sign)),
    )


def _hours(record: SourceRecord) -> list[Row]:
    """The lines of time sheets that were read with an invoice. Raises Malformed."""
    found = record.payload.get("hours") or []
    if not isinstance(found, list) or not all(isinstance(one, Mapping) and "id" in one for one in found):
        raise Malformed(f"Invoice {record.external_id}: hours is no list of lines.")
    return found


def _books(row: Row) -> Row:
    return within(within(row, "company"), "currency")


def _status(record: SourceRecord, row: Row, total: Decimal, left: Decimal) -> BillStatus:
    state = text(row, "state")
    if state not in assumptions.BILL_STATUSES:
        raise Malformed(f"Invoice {record.external_id}: state is “{state}”, which we do not know.")
    status = BillStatus(assumptions.BILL_STATUSES[state])
    if status is BillStatus.OPEN and left < total:
        return BillStatus.PART_PAID if left > 0 else BillStatus.PAID
    return status


def _credited(row: Row, credited: list[Row], total: Decimal) -> tuple[Application, ...]:
    """What a settled credit note settles of the invoice that it credits, where both are reconciled with each other."""
    moves = {_id(line, "move") for line in several(row, "reconciliation_lines")}
    bills = [str(one["id"]) for one in credited if _id(one, "move") in moves]
    return (Application(bill=bills[0], amount=total, by=SettledBy.CREDIT),) if len(bills) == 1 else ()


def _lines(row: Row, hours: list[Row], currency: str, sign: int) -> Iterator[BillLine]:
    by_line: dict[str, list[Row]] = {}
    for one in hours:
        by_line.setdefault(text(one, "invoice_line"), []).append(one)
    for line in several(row, "lines"):
        if text(line, "type") != "line":
            continue
        number, net = str(line["id"]), _money(line, "amount") * sign
        is_hours = text(within(line, "unit"), "symbol") == assumptions.HOUR
        quantity = amount(line, "quantity")
        shared: dict[str, Any] = {
            "description": text(line, "description"),
            "unit_price": amount(line, "unit_price") if is_hours else None,
            **_tax(line),
        }
        billed = by_line.get(number) or _taken_back(by_line, line, quantity)
        if not billed:
            yield BillLine(key=number, quantity=quantity * sign if is_hours and quantity else None, net=net, **shared)
            continue
        worked = [_money(one, "duration") / SECONDS for one in billed]
        for one, part, spent in zip(billed, split(net, worked, currency), worked, strict=True):
            yield BillLine(
                key=f"{number}:{one['id']}", posting_number=str(one["id"]), quantity=spent, net=part, **shared
            )


def _taken_back(by_line: Mapping[str, list[Row]], line: Row, quantity: Decimal | None) -> list[Row]:
    """The hours of the line that a credit line takes back as a whole; empty where it takes back some of it."""
    billed = by_line.get(text(line, "origin").removeprefix(_LINE), [])
    worked = sum((_money(one, "duration") / SECONDS for one in billed), Decimal(0))
    return billed if quantity is not None and round(worked + quantity, 4) == 0 else []


def _tax(line: Row) -> dict[str, Any]:
    """The taxes of a line; a rate only where all of them are percentages. Tryton keeps amounts of tax by invoice."""
    taxes = several(line, "taxes")
    rates = [amount(tax, "rate") for tax in taxes]
    known = [
        rate for tax, rate in zip(taxes, rates, strict=True) if text(tax, "type") == "percentage" and rate is not None
    ]
    whole = len(known) == len(taxes)
    return {
        "tax_code": ", ".join(text(tax, "name") for tax in taxes),
        "tax_rate": sum(known, Decimal(0)) * 100 if taxes and whole else None,
    }


def _payment(record: SourceRecord, row: Row) -> PaymentRecord:
    """A credit to what customers owe: a payment, or what was written off. One that was cancelled settles nothing."""
    move = within(row, "move")
    is_write_off = text(within(move, "journal"), "type") == "write-off"
    currency, paid = _paid(row, move)
    linked, reconciled = several(row, "invoice_payments"), _moves(row)
    bills = _settled(linked, reconciled)
    is_void = row.get("reconciliation") is not None and not bills and not _others(reconciled, _id(row, "move"))
    by = SettledBy.WRITE_OFF if is_write_off else SettledBy.CASH
    applied = () if is_void or len(bills) != 1 else (Application(bill=bills[0], amount=paid, by=by),)
    return PaymentRecord(
        external_id=record.external_id,
        revision=record.revision,
        kind=PaymentKind.WRITE_OFF if is_write_off else PaymentKind.PAYMENT,
        status=PaymentStatus.VOIDED if is_void else PaymentStatus.RECEIVED,
        entity=Reference(_id(move, "company")),
        customer=Reference(_id(row, "party"), "", text(within(row, "party"), "rec_name")),
        number=text(move, "number"),
        currency=currency,
        booked_on=day(row, "date"),
        amount=paid,
        unapplied=None if len(bills) > 1 else Decimal(0) if applied else paid,
        reference=text(row, "move_description_used"),
        applications=applied,
    )


def _paid(row: Row, move: Row) -> tuple[str, Decimal]:
    """The currency and amount of a payment: its second currency where it has one, else that of the books."""
    second = text(within(row, "second_currency"), "code")
    if second:
        return second, abs(_money(row, "amount_second_currency"))
    return text(_books(move), "code"), _money(row, "credit") - _money(row, "debit")


def _moves(row: Row) -> list[Row]:
    """The moves whose lines are reconciled with a payment's."""
    return [within(line, "move") for line in several(within(row, "reconciliation"), "lines")]


def _settled(linked: list[Row], reconciled: list[Row]) -> list[str]:
    """The invoices that a payment settles.

    That is the one it is linked to, unless it was reconciled with something else; without a link, those it is reconciled with.
    """
    if linked:
        moves = {text(move, "id") for move in reconciled}
        return [str(one["id"]) for one in linked if not reconciled or _id(one, "move") in moves]
    return sorted(
        {origin.removeprefix(_INVOICE) for move in reconciled if (origin := text(move, "origin")).startswith(_INVOICE)}
    )


def _others(reconciled: list[Row], own: str) -> bool:
    """Whether a payment is reconciled with more than the move that cancels it."""
    named = [text(move, "origin") for move in reconciled if text(move, "id") != own]
    return any(not origin.startswith("account.move,") for origin in named)


def _id(row: Row, name: str) -> str:
    """The id of a reference, whether it was read alone or with something of it."""
    inner = row.get(f"{name}.")
    return text(inner, "id") if isinstance(inner, Mapping) else text(row, name)


def _money(row: Row, name: str) -> Decimal:
    value = amount(row, name)
    if value is None:
        raise Malformed(f"{name} is missing.")
    return value
