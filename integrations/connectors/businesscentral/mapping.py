"""Business Central's master data and sales documents in our words. Pure: one row in, the records that it is out.

An empty date is 0001-01-01 and an empty GUID all zeros. What API v2.0 does not state, such as the customer of a project, is left
out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from integrations.connectors.businesscentral import assumptions
from integrations.connectors.businesscentral.odata import option
from integrations.connectors.businesscentral.settings import SETTINGS
from integrations.errors import Malformed
from integrations.http import fields
from integrations.http.fields import Row, flag, text
from integrations.protocol import Account, SourceRecord, is_ours
from portal.records import (
    NOTHING,
    Application,
    BillKind,
    BillLine,
    BillRecord,
    BillStatus,
    CanonicalRecord,
    MasterKind,
    MasterRecord,
    PaymentKind,
    PaymentRecord,
    PaymentStatus,
    Reference,
    SettledBy,
)

NO_DAY, NO_ID = "0001-01-01", "00000000-0000-0000-0000-000000000000"
_BESIDE_CREDITS = set(SettledBy) - {SettledBy.CREDIT}  # a credit is a memo of its own, and never a part of a payment


def records(record: SourceRecord, account: Account) -> Iterable[CanonicalRecord]:
    """The records of one row. Raises Malformed naming the field that cannot be read."""
    translate, row = fields.translator(record, _STREAMS, "Business Central")
    if row.get("gone"):
        return [_gone(record, row)]
    return [translate(record, row, account)]


def _gone(record: SourceRecord, row: Row) -> BillRecord:
    """A bill that is not there any more: deleted, or a draft that posting made another bill of, which stands in its place."""
    return BillRecord(
        external_id=record.external_id,
        revision=record.revision,
        kind=BillKind.INVOICE if record.stream == "sales_invoices" else BillKind.CREDIT_NOTE,
        status=BillStatus.VOIDED if text(row, "became") else BillStatus.DELETED,
    )


def _period(record: SourceRecord, payload: Row, _: Account) -> MasterRecord:
    """A period. Its end is the next one's start; the last of a calendar ends its month."""
    row = _inner(payload)
    starts_on = _day(row, "startingDate")
    if starts_on is None:
        raise Malformed(f"Period {record.external_id}: startingDate is missing.")
    following = _day(payload, "next") or (starts_on.replace(day=1) + timedelta(days=32)).replace(day=1)
    month = f"{starts_on:%Y-%m}"
    return fields.master(
        record, MasterKind.PERIOD, code=month, name=text(row, "name") or month, starts_on=starts_on,
        ends_on=following - timedelta(days=1), closed=flag(row, "closed"),
    )  # fmt: skip


def _cost_centre(record: SourceRecord, payload: Row, _: Account) -> MasterRecord:
    return fields.master(record, MasterKind.COST_CENTRE, name=text(_inner(payload), "displayName"))


def _customer(record: SourceRecord, row: Row, account: Account) -> MasterRecord:
    """A customer. One that is blocked for everything may no longer be sold to."""
    return fields.master(
        record,
        MasterKind.CUSTOMER,
        name=text(row, "displayName"),
        is_active=option(row, "blocked") != "All",
        currency=_currency(row, account),
        tax_number=text(row, "taxRegistrationNumber"),
    )


def _project(record: SourceRecord, row: Row, _: Account) -> MasterRecord:
    return fields.master(record, MasterKind.PROJECT, name=text(row, "displayName"))


def _task(record: SourceRecord, row: Row, _: Account) -> MasterRecord:
    """A task of the custom page; headings and totals of the task list are none."""
    return fields.master(
        record, MasterKind.TASK, code=text(row, "number"), name=text(row, "description"),
        is_active=option(row, "type") in ("", "Posting"), project=text(row, "projectNumber"),
    )  # fmt: skip


def _resource(record: SourceRecord, row: Row, _: Account) -> MasterRecord:
    return fields.master(
        record,
        MasterKind.RESOURCE,
        name=text(row, "displayName"),
        is_active=option(row, "status") in ("", "Active"),
        email=text(row, "email"),
        hired_on=_day(row, "employmentDate"),
        released_on=_day(row, "terminationDate"),
    )


def _invoice(record: SourceRecord, row: Row, account: Account) -> BillRecord:
    """A sales invoice. One that is open with less than its total left is paid in part."""
    status = _status(record, row, account)
    total, left = fields.amount(row, "totalAmountIncludingTax"), fields.amount(row, "remainingAmount")
    if status is BillStatus.OPEN and left < total:
        status = BillStatus.PAID if left == 0 else BillStatus.PART_PAID
    return _bill(record, row, account, BillKind.INVOICE, status, balance=None if status is BillStatus.DRAFT else left)


def _credit_memo(record: SourceRecord, row: Row, account: Account) -> BillRecord:
    named = text(row, "invoiceId")
    return _bill(
        record,
        row,
        account,
        BillKind.CREDIT_NOTE,
        _status(record, row, account),
        credits=named if named != NO_ID else "",
    )


def _bill(
    record: SourceRecord, row: Row, account: Account, kind: BillKind, status: BillStatus, **more: Any
) -> BillRecord:
    prefix = "invoice" if kind is BillKind.INVOICE else "creditMemo"
    lines = row.get("salesInvoiceLines" if kind is BillKind.INVOICE else "salesCreditMemoLines") or ()
    total, net = fields.amount(row, "totalAmountIncludingTax"), fields.amount(row, "totalAmountExcludingTax")
    applied = _applied(more.get("credits", ""), total) if kind is BillKind.CREDIT_NOTE else ()
    return BillRecord(
        external_id=record.external_id,
        revision=record.revision,
        kind=kind,
        status=status,
        customer=Reference(text(row, "customerNumber"), text(row, "customerNumber"), text(row, "customerName")),
        number=text(row, "number"),
        currency=_currency(row, account),
        booked_on=_day(row, "postingDate") or _day(row, f"{prefix}Date"),
        due_on=_day(row, "dueDate"),
        net=net,
        tax=fields.amount(row, "totalTaxAmount"),
        total=total,
        purchase_order=text(row, "customerPurchaseOrderReference"),
        memo=text(row, "externalDocumentNumber"),
        applications=applied if status is BillStatus.PAID else (),
        lines=tuple(_line(line) for line in lines if option(line, "lineType") not in ("", "Comment")),
        **more,
    )


def _payment(record: SourceRecord, row: Row, account: Account) -> PaymentRecord:
    """A payment of the custom page with the invoices that it is applied to. One that was reversed was taken back."""
    parts = [part for part in row.get(assumptions.APPLIED) or () if not flag(part, "unapplied")]
    return PaymentRecord(
        external_id=record.external_id,
        revision=record.revision,
        kind=PaymentKind.PAYMENT,
        status=PaymentStatus.VOIDED if flag(row, "reversed") else PaymentStatus.RECEIVED,
        customer=Reference(text(row, "customerNumber"), text(row, "customerNumber"), text(row, "customerName")),
        number=text(row, "documentNumber"),
        currency=_currency(row, account),
        booked_on=_day(row, "postingDate"),
        amount=abs(fields.amount(row, "amount")),
        unapplied=abs(fields.amount(row, "remainingAmount")),
        reference=text(row, "externalDocumentNumber"),
        applications=tuple(_settles(record, parts, account)),
    )


def _settles(record: SourceRecord, parts: Iterable[Row], account: Account) -> Iterator[Application]:
    """What a payment settles, each part by what it is; what moves the books alone settles nothing."""
    own = {theirs.lower(): ours for theirs, ours in account.setting("settled_by", SETTINGS).items()}
    known = {**assumptions.SETTLED_BY, **own}
    for part in parts:
        amount, written = abs(fields.amount(part, "amount")), option(part, "entryType")
        by = known.get(written.lower()) or known.get(_whole(written.lower()))
        if by not in _BESIDE_CREDITS:
            raise Malformed(f"{record.stream} {record.external_id}: entryType is “{written}”, which we do not know.")
        if amount:
            yield Application(bill=text(part, "invoiceId"), amount=amount, by=SettledBy(by))


def _whole(entry_type: str) -> str:
    """The type of which this is a part, where VAT is adjusted."""
    for part in assumptions.PARTS_OF_A_TYPE:
        entry_type = entry_type.removesuffix(part)
    return entry_type


def _applied(invoice: str, total: Decimal) -> tuple[Application, ...]:
    """What a credit memo that names its invoice settles of it, once it is applied in full."""
    return (Application(bill=invoice, amount=total, by=SettledBy.CREDIT),) if invoice else ()


def _line(row: Row) -> BillLine:
    key = text(row, assumptions.LINE_KEY).lower()
    return BillLine(
        key=text(row, "sequence") or text(row, "id"),
        posting_key=key if is_ours(key) else "",
        project=NOTHING,
        description=text(row, "description"),
        quantity=fields.amount(row, "quantity"),
        unit_price=fields.amount(row, "unitPrice"),
        net=fields.amount(row, "netAmount"),
        tax_code=text(row, "taxCode"),
        tax_rate=fields.amount(row, "taxPercent"),
        tax=fields.amount(row, "netTaxAmount"),
    )


def _status(record: SourceRecord, row: Row, account: Account) -> BillStatus:
    written = option(row, "status").lower()
    own = {theirs.lower(): ours for theirs, ours in account.setting("bill_statuses", SETTINGS).items()}
    known = {**assumptions.BILL_STATUSES, **own}
    if known.get(written) not in set(assumptions.BILL_STATUSES.values()):
        raise Malformed(f"{record.stream} {record.external_id}: status is “{written}”, which we do not know.")
    return BillStatus(known[written])


def is_draft(row: Row) -> bool:
    """Whether a sales invoice is not posted yet."""
    return assumptions.BILL_STATUSES.get(option(row, "status").lower()) == BillStatus.DRAFT


def books(account: Account) -> str:
    """The currency of the company's books, which Business Central writes as none."""
    return str(account.settings.get("currency") or "").upper()


def _currency(row: Row, account: Account) -> str:
    """The currency of a row; an empty one is that of the books."""
    return text(row, "currencyCode").upper() or books(account)


def _inner(payload: Row) -> Row:
    """The row of a set that is read whole, beside what was read with it."""
    row = payload.get("row")
    return row if isinstance(row, Mapping) else payload


def _day(row: Row, name: str) -> date | None:
    return fields.day(row, name, empty=(NO_DAY,))


_STREAMS: Mapping[str, Callable[[SourceRecord, Row, Account], CanonicalRecord]] = {
    "periods": _period,
    "cost_centres": _cost_centre,
    "customers": _customer,
    "projects": _project,
    "tasks": _task,
    "employees": _resource,
    "sales_invoices": _invoice,
    "sales_credit_memos": _credit_memo,
    "payments": _payment,
}
