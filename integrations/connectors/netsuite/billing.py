"""NetSuite's invoices, credit memos and payments in our words. Pure: one record in, the bill or payment that it is out.

A line of billable time names the time bill that it bills (`time.items[].doc`), and one of a cost its expense report; item lines
name nothing unless a field of the account does (`posting_column`). Write-offs are journals there and are not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from integrations.connectors.netsuite import assumptions, bodies
from integrations.errors import Malformed
from integrations.http import fields
from integrations.protocol import SourceRecord
from portal.records import (
    NOTHING,
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

Record = Mapping[str, Any]
STREAMS = frozenset(name for name, _, _ in assumptions.BILLING_STREAMS)


def is_deleted_bill(record: SourceRecord) -> bool:
    """Whether a row of the deleted records is about a bill or a payment."""
    return (
        record.stream == "deleted" and isinstance(record.payload, Mapping) and _deleted_kind(record.payload) is not None
    )


def records(record: SourceRecord, settings: Mapping[str, Any]) -> Iterable[BillingRecord]:
    """The bill or payment of one record. Raises Malformed naming the field that cannot be read."""
    if not isinstance(record.payload, Mapping):
        raise Malformed(f"A record of {record.stream} is not an object.")
    if record.stream == "deleted":
        return [_gone(record)]
    row, whole = record.payload.get("row"), record.payload.get("record")
    if not isinstance(row, Mapping) or not isinstance(whole, Mapping):
        raise Malformed(f"A record of {record.stream} comes as its row and its record.")
    said = {**whole, "status": row.get("status", ""), "currency": row.get("currency", "")}
    if record.stream == "payments":
        return [_payment(record, said, settings)]
    kind = BillKind.INVOICE if record.stream == "invoices" else BillKind.CREDIT_NOTE
    return [_bill(record, said, settings, kind)]


def _deleted_kind(row: Record) -> str | None:
    return assumptions.DELETED_BILLS.get(str(row.get("type", "")).lower().replace(" ", ""))


def _gone(record: SourceRecord) -> BillingRecord:
    kind, identity = _deleted_kind(record.payload), str(record.payload.get("id", ""))
    if kind == "payment":
        return PaymentRecord(
            external_id=identity, revision=record.revision, kind=PaymentKind.PAYMENT, status=PaymentStatus.DELETED
        )
    return BillRecord(
        external_id=identity, revision=record.revision, kind=BillKind(str(kind)), status=BillStatus.DELETED
    )


def _bill(record: SourceRecord, said: Record, settings: Mapping[str, Any], kind: BillKind) -> BillRecord:
    total, balance = fields.needed_number(said, "total"), fields.number(said, "amountRemaining")
    net, tax = fields.number(said, "subtotal"), fields.number(said, "taxTotal") or Decimal(0)
    return BillRecord(
        **_shared(record, said, customer="entity"),
        kind=kind,
        status=_bill_status(said, settings, total, balance),
        credits=_id(said, "createdFrom") if kind == BillKind.CREDIT_NOTE else "",
        due_on=fields.day(said, "dueDate"),
        net=total - tax if net is None else net,
        tax=tax,
        total=total,
        balance=balance,
        purchase_order=str(said.get("otherRefNum") or ""),
        lines=tuple(_lines(said, settings)),
        applications=tuple(_applied(said, SettledBy.CREDIT)) if kind == BillKind.CREDIT_NOTE else (),
    )


def _payment(record: SourceRecord, said: Record, settings: Mapping[str, Any]) -> PaymentRecord:
    words = {**assumptions.PAYMENT_STATUSES, **_lower(settings.get("payment_statuses") or {})}
    return PaymentRecord(
        **_shared(record, said, customer="customer"),
        kind=PaymentKind.PAYMENT,
        status=PaymentStatus(_status(said, words)),
        amount=fields.needed_number(said, "payment"),
        unapplied=fields.number(said, "unapplied"),
        reference=str(said.get("checkNumber") or ""),
        applications=(*_applied(said, SettledBy.CASH), *_discounts(said)),
    )


def _shared(record: SourceRecord, said: Record, *, customer: str) -> dict[str, Any]:
    return {
        "external_id": record.external_id,
        "revision": record.revision,
        "entity": Reference(_id(said, "subsidiary")),
        "customer": Reference(_id(said, customer), "", _name(said, customer)),
        "number": str(said.get("tranId") or ""),
        "currency": str(said["currency"]),
        "booked_on": fields.day(said, "tranDate"),
        "exchange_rate": fields.number(said, "exchangeRate"),
        "memo": str(said.get("memo") or ""),
    }


def _bill_status(said: Record, settings: Mapping[str, Any], total: Decimal, balance: Decimal | None) -> BillStatus:
    words = {**assumptions.BILL_STATUSES, **_lower(settings.get("bill_statuses") or {})}
    status = BillStatus(_status(said, words))
    if status == BillStatus.OPEN and balance is not None and balance < total:
        return BillStatus.PART_PAID if balance > 0 else BillStatus.PAID
    return status


def _status(said: Record, words: Mapping[str, str]) -> str:
    text = str(said["status"]).rpartition(":")[2].strip()  # as in "Invoice : Paid In Full"
    if text.lower() not in words:
        raise Malformed(f"status is {text!r}; the connection's settings may say what it means.")
    return words[text.lower()]


def _lines(said: Record, settings: Mapping[str, Any]) -> Iterator[BillLine]:
    details = _tax_details(said)
    for line in _items(said, "time"):
        if line.get("apply", True):
            doc = _id(line, "doc")
            yield BillLine(
                key=f"time:{doc}", posting_number=doc, quantity=_hours(line), unit_price=fields.number(line, "rate"),
                net=fields.needed_number(line, "amount"), description=str(line.get("memo") or ""),
                project=_reference(line, "job"), **_tax(line, details),
            )  # fmt: skip
    for line in _items(said, "expCost"):
        if line.get("apply", True):
            doc = _id(line, "doc")
            yield BillLine(
                key=f"expense:{doc}:{line.get('line', 1)}", posting_number=doc, net=fields.needed_number(line, "amount"),
                description=str(line.get("memo") or ""), project=_reference(line, "job"), **_tax(line, details),
            )  # fmt: skip
    column = settings.get("posting_column") or ""
    for number, line in enumerate(_items(said, "item"), start=1):
        named = str(line.get(column) or "") if column else ""
        is_key = _is_key(named)
        yield BillLine(
            key=f"item:{line.get('line', number)}", posting_key=named if is_key else "",
            posting_number="" if is_key else named, quantity=fields.number(line, "quantity"),
            unit_price=fields.number(line, "rate"),
            net=fields.needed_number(line, "amount"), description=str(line.get("description") or ""),
            project=_reference(line, "job"), **_tax(line, details),
        )  # fmt: skip


def _tax_details(said: Record) -> dict[str, list[Record]]:
    """The taxes of lines by the reference of the line, as SuiteTax tells them (`taxDetails.items[]` of the record)."""
    found: dict[str, list[Record]] = {}
    for one in _items(said, "taxDetails"):
        found.setdefault(_id(one, "taxDetailsReference"), []).append(one)
    return found


def _tax(line: Record, details: Mapping[str, Sequence[Record]]) -> dict[str, Any]:
    """The tax of one line as booked: its details, else its own fields (of both engines); nothing where only the bill tells it.

    Where several taxes are on a line they add up, and no one rate is told.
    """
    own = details.get(str(line.get("taxDetailsReference") or ""), ())
    if own:
        rates = [fields.number(one, "taxRate") for one in own]
        return {
            "tax": sum((fields.number(one, "taxAmount") or Decimal(0) for one in own), Decimal(0)),
            "tax_rate": rates[0] if len(rates) == 1 else None,
            "tax_code": ", ".join(filter(None, (_name(one, "taxCode") or _id(one, "taxCode") for one in own)))[:60],
        }
    tax, older = fields.number(line, "taxAmount"), fields.number(line, "tax1Amt")
    return {
        "tax": older if tax is None else tax,
        "tax_rate": fields.number(line, "taxRate1"),
        "tax_code": _name(line, "taxCode") or _id(line, "taxCode"),
    }


def _applied(said: Record, by: SettledBy) -> Iterator[Application]:
    for line in _items(said, "apply"):
        amount = fields.number(line, "amount") or Decimal(0)
        if line.get("apply", True) and amount > 0:
            yield Application(bill=_id(line, "doc"), amount=amount, by=by)


def _discounts(said: Record) -> Iterator[Application]:
    """What a payment in good time takes off each bill beside the money that settles it."""
    for line in _items(said, "apply"):
        taken = fields.number(line, assumptions.DISCOUNT_TAKEN) or Decimal(0)
        if line.get("apply", True) and taken > 0:
            yield Application(bill=_id(line, "doc"), amount=taken, by=SettledBy.DISCOUNT)


def _items(said: Record, sublist: str) -> list[Record]:
    found = said.get(sublist)
    items = found.get("items", []) if isinstance(found, Mapping) else []
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise Malformed(f"{sublist} has no list of lines.")
    return items


def _id(said: Record, name: str) -> str:
    value = said.get(name)
    return str(value.get("id", "")) if isinstance(value, Mapping) else ""


def _name(said: Record, name: str) -> str:
    value = said.get(name)
    return str(value.get("refName", "")) if isinstance(value, Mapping) else ""


def _reference(said: Record, name: str) -> Reference:
    key = _id(said, name)
    return Reference(key, "", _name(said, name)) if key else NOTHING


def _hours(line: Record) -> Decimal | None:
    value = line.get("quantity")
    if value in (None, ""):
        return None
    try:
        return bodies.hours_of(str(value))
    except (ValueError, InvalidOperation):
        raise Malformed(f"quantity is {value!r}, neither h:mm nor a number.") from None


def _is_key(text: str) -> bool:
    try:
        return UUID(hex=text).hex == text.lower()
    except ValueError:
        return False


def _lower(mapping: Mapping[str, str]) -> dict[str, str]:
    return {key.lower(): value for key, value in mapping.items()}
