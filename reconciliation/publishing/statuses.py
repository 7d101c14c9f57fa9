"""How bills and payments stand, as other systems are to hold it: the account team's view of what their customer owes.

The rule here: the figures are those of the system that keeps the bill, and a bill is told from the moment that it is more than a
draft. A payment names every bill that it settles, so it goes after them; what it no longer settles is told as nothing left. The
customer's and the bank's own references stay here: they are nothing that a system of contacts needs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from datetime import date
from decimal import Decimal
from typing import Any

from portal.models import Connection
from portal.models.published import key_of
from portal.records import PublishedKind
from reconciliation.publishing.wanted import Wanted, told_to
from reconciliation.sql import publishing as sql
from reconciliation.sql import statuses as statuses_sql

Kind = PublishedKind
STATUSES = (Kind.INVOICE, Kind.PAYMENT)


def wanted(connection: Connection, bill_ids: Collection[int], payment_ids: Collection[int]) -> list[Wanted]:
    """Bills and payments as a system is to hold them now, bills first; nothing of kinds that it is not told.

    A payment names those of its bills that the system was told of before.
    """
    kinds = told_to(connection)
    entities = sql.entities_of(connection.pk)
    told: list[Wanted] = []
    if bill_ids and Kind.INVOICE in kinds:
        told += [_bill(row) for row in statuses_sql.bills(connection.pk, entities, bill_ids)]
    if payment_ids and Kind.PAYMENT in kinds:
        told += _payments(connection, entities, payment_ids)
    return told


def _bill(row: sql.Row) -> Wanted:
    (
        bill_id,
        entity_id,
        kind,
        number,
        status,
        currency,
        net,
        total,
        balance,
        booked,
        due,
        paid,
        customer,
        projects,
        where,
    ) = row
    word = "Invoice" if kind == "invoice" else "Credit note"
    return Wanted(
        kind=Kind.INVOICE, internal_id=bill_id, entity_id=entity_id, title=f"{word} {number}",
        figures={
            "number": number, "kind": kind, "status": status, "currency": currency, "net": _amount(net),
            "total": _amount(total), "balance": None if balance is None else _amount(balance),
            "booked_on": _day(booked), "due_on": _day(due),
            "paid_on": _day(paid), "projects": projects, "booked_in": where,
        },
        names={"customer": key_of(Kind.CUSTOMER, customer)},
    )  # fmt: skip


def _payments(connection: Connection, entities: list[int], payment_ids: Collection[int]) -> list[Wanted]:
    parts: dict[int, dict[int, Decimal]] = defaultdict(dict)
    for payment_id, invoice_id, amount in statuses_sql.settled(payment_ids):
        parts[payment_id][invoice_id] = amount
    known = statuses_sql.told(connection.pk, {bill for of in parts.values() for bill in of})
    return [
        _payment(row, {bill: amount for bill, amount in parts[row[0]].items() if bill in known})
        for row in statuses_sql.payments(entities, payment_ids)
    ]


def _payment(row: sql.Row, settles: dict[int, Decimal]) -> Wanted:
    payment_id, entity_id, kind, number, status, currency, amount, booked, customer, where = row
    bills = {key_of(Kind.INVOICE, bill): amount for bill, amount in sorted(settles.items())}
    word = "Payment" if kind == "payment" else "Write-off"
    return Wanted(
        kind=Kind.PAYMENT, internal_id=payment_id, entity_id=entity_id, title=f"{word} {number}",
        figures={
            "number": number, "kind": kind, "status": status, "currency": currency, "amount": _amount(amount),
            "settles": {bill: _amount(part) for bill, part in bills.items()}, "booked_on": _day(booked), "booked_in": where,
        },
        names={"customer": key_of(Kind.CUSTOMER, customer), **{bill: bill for bill in bills}},
    )  # fmt: skip


def _amount(value: Decimal) -> str:
    """An amount as it is told, without superfluous zeros behind its cents."""
    short = value.normalize()
    exponent: Any = short.as_tuple().exponent
    return f"{value:.2f}" if exponent >= -2 else f"{short:f}"


def _day(value: date | None) -> str | None:
    return value.isoformat() if value is not None else None
