"""Stripe's invoices, credit notes and payments in our words. Pure: one record in, the bills and payments that it is out.

An invoice also says what no payment object tells: what was written off, what the customer's balance contributed, and what was
paid outside of Stripe without a record of it. Each is a payment of its own, taken back when the invoice no longer says it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from integrations.connectors.stripe import amounts, lines
from integrations.connectors.stripe.reading import identity, paid_by
from integrations.errors import Malformed
from integrations.protocol import SourceRecord
from portal.records import (
    Application,
    BillingRecord,
    BillKind,
    BillRecord,
    BillStatus,
    PaymentKind,
    PaymentRecord,
    PaymentStatus,
    Reference,
    SettledBy,
)

Record = Mapping[str, Any]
KEY, REFERENCE, ENTITY, COMPLETE = "tieout_key", "tieout_reference", "tieout_entity", "tieout_lines"
STATUSES = {
    "draft": BillStatus.DRAFT,
    "open": BillStatus.OPEN,
    "paid": BillStatus.PAID,
    "uncollectible": BillStatus.WRITTEN_OFF,
    "void": BillStatus.VOIDED,
}
_DASHBOARD = "https://dashboard.stripe.com"
_ZERO = Decimal(0)


def records(record: SourceRecord, zone: str, purchase_order_field: str) -> Iterable[BillingRecord]:
    """The bills and payments of one record. Raises Malformed naming the field that cannot be read."""
    said = record.payload
    if not isinstance(said, Mapping):
        raise Malformed(f"A record of {record.stream} is not an object.")
    if record.stream == "invoices":
        if "deleted" in said:
            return [_gone(record)]
        return [_invoice(record, said, zone, purchase_order_field), *_beside(record, said, zone)]
    if record.stream == "credit_notes":
        return [_credit_note(record, said, zone)]
    if record.stream == "payments":
        return [_payment(record, said, zone)]
    raise Malformed(f"Stripe has no stream {record.stream!r}.")


def _gone(record: SourceRecord) -> BillRecord:
    return BillRecord(
        external_id=record.external_id, revision=record.revision, kind=BillKind.INVOICE, status=BillStatus.DELETED
    )


def _invoice(record: SourceRecord, said: Record, zone: str, purchase_order_field: str) -> BillRecord:
    invoice = _part(said, "invoice")
    currency = _currency(invoice)
    total = amounts.money(invoice, "total", currency)
    net = amounts.optional(invoice, "total_excluding_tax", currency)
    net = total - _taxes(invoice, currency) if net is None else net
    left = amounts.optional(invoice, "amount_remaining", currency)
    status = _status(invoice, total, left)
    is_due = status in (BillStatus.OPEN, BillStatus.PART_PAID, BillStatus.PAID)
    return BillRecord(
        **_shared(record, invoice, zone),
        kind=BillKind.INVOICE,
        status=status,
        due_on=_day(invoice, "due_date", zone),
        net=net,
        tax=total - net,
        total=total,
        balance=left if is_due else None,
        purchase_order=purchase_order(invoice, purchase_order_field),
        lines=tuple(lines.billed(_rows(said, "lines"), currency)),
    )


def _status(invoice: Record, total: Decimal, left: Decimal | None) -> BillStatus:
    word = invoice.get("status")
    if word not in STATUSES:
        raise Malformed(f"status is {word!r}, which Stripe's documents do not name.")
    status = STATUSES[word]
    if status == BillStatus.OPEN and left is not None and left < total:
        return BillStatus.PART_PAID
    return status


class _Beside(NamedTuple):
    """What settled an invoice without a payment object of its own; an amount of zero says that it does so no more."""

    what: str
    by: SettledBy
    amount: Decimal
    booked_on: date | None


def _beside(record: SourceRecord, said: Record, zone: str) -> Iterator[PaymentRecord]:
    invoice = _part(said, "invoice")
    for found in (_written_off, _from_balance, _off_stripe):
        beside = found(said, _currency(invoice), zone)
        if beside is not None:
            yield _aside(record, invoice, zone, beside)


def _written_off(said: Record, currency: str, zone: str) -> _Beside | None:
    invoice = _part(said, "invoice")
    moments = _part(invoice, "status_transitions")
    if not moments.get("marked_uncollectible_at"):
        return None
    is_lost = invoice["status"] == "uncollectible"
    left = amounts.money(invoice, "amount_remaining", currency) if is_lost else _ZERO
    return _Beside("written-off", SettledBy.WRITE_OFF, left, _day(moments, "marked_uncollectible_at", zone))


def _from_balance(said: Record, currency: str, zone: str) -> _Beside | None:
    invoice = _part(said, "invoice")
    ending = amounts.optional(invoice, "ending_balance", currency)
    starting = amounts.optional(invoice, "starting_balance", currency)
    if ending is None or ending <= (starting or _ZERO):
        return None
    applied = _ZERO if invoice["status"] == "void" else ending - (starting or _ZERO)
    booked_on = _day(_part(invoice, "status_transitions"), "finalized_at", zone)
    return _Beside("balance", SettledBy.CREDIT, applied, booked_on)


def _off_stripe(said: Record, currency: str, zone: str) -> _Beside | None:
    """Money that came another way, as far as no payment record tells of it."""
    invoice = _part(said, "invoice")
    outside = amounts.optional(invoice, "amount_paid_off_stripe", currency) or _ZERO
    recorded = sum(
        (
            amounts.money(part, "amount_paid", currency)
            for part in _rows(said, "payments")
            if part.get("status") == "paid" and _part(part, "payment").get("type") == "payment_record"
        ),
        _ZERO,
    )
    if outside <= 0 or (recorded and outside <= recorded):
        return None
    bare = _ZERO if invoice["status"] == "void" else outside - recorded
    return _Beside("off-stripe", SettledBy.CASH, bare, _day(_part(invoice, "status_transitions"), "paid_at", zone))


def _aside(record: SourceRecord, invoice: Record, zone: str, beside: _Beside) -> PaymentRecord:
    kind = PaymentKind.WRITE_OFF if beside.by == SettledBy.WRITE_OFF else PaymentKind.PAYMENT
    name = f"{record.external_id}/{beside.what}"
    if beside.amount <= 0:
        return PaymentRecord(external_id=name, revision=record.revision, kind=kind, status=PaymentStatus.DELETED)
    shared = _shared(record, invoice, zone) | {"external_id": name, "memo": beside.what.replace("-", " ").capitalize()}
    shared["booked_on"] = beside.booked_on or shared["booked_on"]
    return PaymentRecord(
        **shared,
        kind=kind,
        status=PaymentStatus.RECEIVED,
        amount=beside.amount,
        unapplied=_ZERO,
        applications=(Application(bill=record.external_id, amount=beside.amount, by=beside.by),),
    )


def _credit_note(record: SourceRecord, said: Record, zone: str) -> BillRecord:
    note = _part(said, "credit_note")
    currency = _currency(note)
    total = amounts.money(note, "total", currency)
    net = amounts.optional(note, "total_excluding_tax", currency)
    net = total - _taxes(note, currency) if net is None else net
    if note.get("status") not in ("issued", "void"):
        raise Malformed(f"status is {note.get('status')!r}, which Stripe's documents do not name.")
    invoice = identity(note.get("invoice"))
    lessened = (amounts.optional(note, "pre_payment_amount", currency) or _ZERO) + _refunded_by(note, currency)
    return BillRecord(
        **_shared(record, note, zone),
        kind=BillKind.CREDIT_NOTE,
        status=BillStatus.PAID if note["status"] == "issued" else BillStatus.VOIDED,
        credits=invoice,
        net=net,
        tax=total - net,
        total=total,
        lines=tuple(lines.credited(_rows(said, "lines"), _rows(said, "invoice_lines"), currency)),
        applications=(Application(bill=invoice, amount=lessened, by=SettledBy.CREDIT),) if lessened > 0 else (),
    )


def _refunded_by(note: Record, currency: str) -> Decimal:
    """What a credit note gave back of money that had come: so much less was received, and the note settles it instead."""
    return sum((amounts.money(one, "amount_refunded", currency) for one in note.get("refunds") or ()), _ZERO)


def _payment(record: SourceRecord, said: Record, zone: str) -> PaymentRecord:
    """A payment as far as it was kept: what was refunded of it settles nothing, the latest part first."""
    payment, parts = _part(said, "payment"), _rows(said, "parts")
    currency = _currency(payment if isinstance(payment.get("currency"), str) else _part(payment, "amount"))
    paid = [part for part in parts if part.get("status") == "paid" and paid_by(part) == record.external_id]
    paid.sort(key=lambda part: (str(part.get("created")), str(part.get("id"))))
    amount = (
        amounts.money(_part(payment, "amount"), "value", currency)
        if isinstance(payment.get("amount"), Mapping)
        else amounts.money(payment, "amount", currency)
    )
    refunded = _refunded_of(payment, currency)
    parts_left = [amounts.money(part, "amount_paid", currency) for part in paid]
    back = max(_ZERO, refunded - max(_ZERO, amount - sum(parts_left, _ZERO)))
    for place in reversed(range(len(parts_left))):
        step = min(back, parts_left[place])
        parts_left[place], back = parts_left[place] - step, back - step
    amount = max(_ZERO, amount - refunded)
    applications = tuple(
        Application(bill=identity(part.get("invoice")), amount=left)
        for part, left in zip(paid, parts_left, strict=True)
        if left > 0
    )
    moments = [int(moment) for part in paid if (moment := _part(part, "status_transitions").get("paid_at"))]
    shared = _shared(record, {**payment, "currency": currency}, zone)
    if moments:
        shared["booked_on"] = _date(min(moments), zone)
    if refunded:
        shared["memo"] = f"{shared['memo']} {refunded} {currency} were refunded.".strip()
    return PaymentRecord(
        **shared,
        kind=PaymentKind.PAYMENT,
        status=_payment_status(payment, paid, amount),
        amount=amount,
        unapplied=max(_ZERO, amount - sum((one.amount for one in applications), _ZERO)),
        reference=_reference(payment),
        refunds=_refunds(payment),
        applications=applications,
    )


def _refunded_of(payment: Record, currency: str) -> Decimal:
    """What of a payment went back to the customer, whoever asked for it."""
    charge = payment.get("latest_charge") if "latest_charge" in payment else payment
    if not isinstance(charge, Mapping):
        return _ZERO
    if isinstance(charge.get("amount_refunded"), Mapping):  # a payment record's
        return amounts.money(_part(charge, "amount_refunded"), "value", currency)
    return amounts.optional(charge, "amount_refunded", currency) or _ZERO


def _refunds(payment: Record) -> tuple[str, ...]:
    """The ids of what of a payment went back, as its charge lists them, in their order."""
    charge = payment.get("latest_charge") if "latest_charge" in payment else payment
    listed = charge.get("refunds") if isinstance(charge, Mapping) else None
    return tuple(sorted(identity(one) for one in _rows(listed, "data"))) if isinstance(listed, Mapping) else ()


def _payment_status(payment: Record, paid: list[Record], kept: Decimal) -> PaymentStatus:
    """Received while a part of it is paid, unless the customer's bank took it back, or all of it was refunded."""
    charge = payment.get("latest_charge") if "latest_charge" in payment else payment
    dispute = charge.get("dispute") if isinstance(charge, Mapping) else None
    if isinstance(dispute, Mapping) and dispute.get("status") == "lost":
        return PaymentStatus.BOUNCED
    return PaymentStatus.RECEIVED if paid and kept > 0 else PaymentStatus.VOIDED


def _reference(payment: Record) -> str:
    processor = payment.get("processor_details")
    custom = processor.get("custom") if isinstance(processor, Mapping) else None
    return str(custom.get("payment_reference") or "") if isinstance(custom, Mapping) else ""


def _shared(record: SourceRecord, said: Record, zone: str) -> dict[str, Any]:
    """What bills and payments have in common."""
    moments, metadata = said.get("status_transitions") or {}, said.get("metadata") or {}
    effective = said.get("effective_at") or moments.get("finalized_at") or said.get("created")
    test = "" if said.get("livemode") else "/test"
    kind = {"cn": "credit_notes", "in": "invoices"}.get(record.external_id.partition("_")[0], "payments")
    return {
        "external_id": record.external_id,
        "revision": record.revision,
        "entity": Reference(str(metadata.get(ENTITY) or "")),
        "customer": Reference(identity(said.get("customer")), "", str(said.get("customer_name") or "")),
        "number": str(said.get("number") or ""),
        "currency": str(said["currency"]).upper(),
        "booked_on": _date(effective, zone) if effective else None,
        "memo": str(said.get("description") or said.get("memo") or ""),
        "link": f"{_DASHBOARD}{test}/{kind}/{record.external_id.partition('/')[0]}",
    }


def _taxes(said: Record, currency: str) -> Decimal:
    return sum((amounts.money(tax, "amount", currency) for tax in said.get("total_taxes") or ()), _ZERO)


def purchase_order(invoice: Record, name: str) -> str:
    """What stands in the custom field of the purchase order."""
    fields = [field for field in invoice.get("custom_fields") or () if isinstance(field, Mapping)]
    return next((str(field.get("value") or "") for field in fields if field.get("name") == name), "")


def _part(said: Record, name: str) -> Record:
    found = said.get(name)
    if not isinstance(found, Mapping):
        raise Malformed(f"{name} is no object.")
    return found


def _rows(said: Record, name: str) -> list[Record]:
    found = said.get(name)
    if not isinstance(found, list) or not all(isinstance(row, Mapping) for row in found):
        raise Malformed(f"{name} is no list of objects.")
    return found


def _currency(said: Record) -> str:
    found = str(said.get("currency") or "").upper()
    if len(found) != 3:
        raise Malformed(f"currency is {said.get('currency')!r}.")
    return found


def _day(said: Record, name: str, zone: str) -> date | None:
    value = said.get(name)
    return None if value is None else _date(value, zone, name)


def _date(value: Any, zone: str, name: str = "created") -> date:
    if isinstance(value, bool) or not str(value).isdigit():
        raise Malformed(f"{name} is {value!r}, not a moment in seconds.")
    return datetime.fromtimestamp(int(value), UTC).astimezone(ZoneInfo(zone)).date()
