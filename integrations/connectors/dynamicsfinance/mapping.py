"""Master data, invoices and payments of Dynamics 365 Finance in our words. Pure: one row in, the records that it is out.

Moments of noon stand for days, and a day of 1900 for none. What an entity does not state, such as whether a period is open, is
left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from integrations.connectors.dynamicsfinance import assumptions, bills
from integrations.connectors.dynamicsfinance.entities import is_yes, unescaped
from integrations.errors import Malformed
from integrations.http.fields import Row, amount, day, master, number, text, translator
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
)


def records(record: SourceRecord, account: Account) -> Iterable[CanonicalRecord]:
    """The records of one row. Raises Malformed naming the field that cannot be read."""
    translate, row = translator(record, _STREAMS, "Dynamics 365 Finance")
    return [translate(record, row, account)]


def _period(record: SourceRecord, row: Row, _: Account) -> MasterRecord:
    starts_on = _day(row, "StartDate")
    if starts_on is None:
        raise Malformed(f"Period {record.external_id}: StartDate is missing.")
    name = text(row, "PeriodName")
    return master(
        record,
        MasterKind.PERIOD,
        code=f"{starts_on:%Y-%m}",
        name=name,
        starts_on=starts_on,
        ends_on=_day(row, "EndDate"),
    )


def _cost_centre(record: SourceRecord, row: Row, _: Account) -> MasterRecord:
    return master(
        record,
        MasterKind.COST_CENTRE,
        name=text(row, "Description"),
        is_active=not is_yes(row, "IsSuspended"),
        valid_from=_day(row, "ActiveFrom"),
        valid_to=_day(row, "ActiveTo"),
    )


def _customer(record: SourceRecord, row: Row, _: Account) -> MasterRecord:
    """A customer. One that is on hold for everything may no longer be sold to."""
    person = " ".join(part for part in (text(row, "PersonFirstName"), text(row, "PersonLastName")) if part)
    return master(
        record,
        MasterKind.CUSTOMER,
        name=text(row, "OrganizationName") or person,
        is_active=text(row, "OnHoldStatus") not in assumptions.BLOCKED,
        currency=text(row, "SalesCurrencyCode").upper(),
        tax_number=text(row, "TaxExemptNumber"),
    )


def _project(record: SourceRecord, row: Row, account: Account) -> MasterRecord:
    return master(
        record,
        MasterKind.PROJECT,
        name=text(row, "ProjectName"),
        customer=text(row, "CustomerAccountNumber"),
        status=_status(record, row, account),
        starts_on=_day(row, "ActualStartDate") or _day(row, "ProjectedStartDate"),
        ends_on=_day(row, "ActualEndDate") or _day(row, "ProjectedEndDate"),
        manager=text(row, "ProjectManagerPersonnelNumber"),
        requires_task=is_yes(row, "IsActivityRequiredForHourTransaction"),
    )


def _status(record: SourceRecord, row: Row, account: Account) -> str:
    """The stage in our words; that of a customer's own making is told by a setting."""
    stage = text(row, "ProjectStage")
    own = {str(name).lower(): str(word) for name, word in dict(account.settings.get("project_stages") or {}).items()}
    known = {**assumptions.PROJECT_STAGES, **own}
    if stage and stage.lower() not in known:
        raise Malformed(
            f"Project {record.external_id}: ProjectStage is “{stage}”; say what it means in project_stages."
        )
    return known.get(stage.lower(), "")


def _task(record: SourceRecord, row: Row, _: Account) -> MasterRecord:
    return master(
        record, MasterKind.TASK, code=text(row, "TaskId"), name=text(row, "TaskName"), project=text(row, "ProjectId")
    )


def _resource(record: SourceRecord, row: Row, _: Account) -> MasterRecord:
    return master(
        record,
        MasterKind.RESOURCE,
        name=text(row, "Name"),
        is_active=text(row, "WorkerStatus") in ("", "Employed"),
        email=text(row, "PrimaryContactEmail"),
        hired_on=_day(row, "OriginalHireDateTime"),
    )


def _invoice(record: SourceRecord, payload: Row, account: Account) -> BillRecord:
    """A free text invoice, or with a negative amount a credit note. Booked totals win over what its lines add up to."""
    if payload.get("gone"):
        kind = BillKind.CREDIT_NOTE if payload.get("credit") else BillKind.INVOICE
        return BillRecord(
            external_id=record.external_id, revision=record.revision, kind=kind, status=BillStatus.DELETED
        )
    header = _part(payload, "header")
    lines = [line for line in payload.get("lines") or () if isinstance(line, Mapping)]
    net, tax = bills.totals(payload)
    sign = -1 if net + tax < 0 else 1
    total = sign * (net + tax)
    status, balance = _settlement(header, payload, total, sign)
    customer = text(header, "InvoiceAccount") or text(header, "CustomerAccount")
    hours = payload.get("hours") or {}
    return BillRecord(
        external_id=record.external_id,
        revision=record.revision,
        kind=BillKind.INVOICE if sign > 0 else BillKind.CREDIT_NOTE,
        status=status,
        customer=Reference(customer, customer, text(header, "InvoiceName")),
        entity=Reference(key=account.realm, code=account.realm),
        number=text(header, "FreeTextNumber") if bills.is_posted(header) else "",
        currency=text(header, "CurrencyCode").upper(),
        booked_on=_day(header, "InvoiceDate"),
        due_on=_day(header, "DueDate"),
        net=sign * net,
        tax=sign * tax,
        total=total,
        balance=balance,
        credits=text(payload, "corrects") if sign < 0 else "",
        purchase_order=text(header, "CustomerRequisition"),
        memo=text(header, "CustomerReference"),
        lines=tuple(_line(line, hours, sign) for line in lines),
    )


def _settlement(header: Row, payload: Row, total: Decimal, sign: int) -> tuple[BillStatus, Decimal | None]:
    """How far a bill is settled by the posted payments that are marked against it; unknown where one is in another currency."""
    if not bills.is_posted(header):
        return BillStatus.DRAFT, None
    settled = [line for line in payload.get("settled") or () if isinstance(line, Mapping)]
    if any(_is_foreign(line, text(header, "CurrencyCode")) for line in settled):
        return BillStatus.OPEN, None
    paid = sign * sum((amount(line, "CreditAmount") - amount(line, "DebitAmount") for line in settled), Decimal(0))
    left = total - paid
    if paid <= 0:
        return BillStatus.OPEN, left
    return (BillStatus.PAID, Decimal(0)) if left <= 0 else (BillStatus.PART_PAID, left)


def _line(row: Row, hours: Mapping[str, Any], sign: int) -> BillLine:
    """A line. It bills the hour whose project transaction it names."""
    hour = hours.get(text(row, "TransactionID"))
    named: Mapping[str, Any] = hour if isinstance(hour, Mapping) else {}
    quantity = number(row, "Quantity")
    project = text(row, "ProjectID")
    return BillLine(
        key=f"{amount(row, 'LineNumber').normalize():f}",
        posting_key=text(named, "key") or _line_key(row),
        posting_number=text(named, "number"),
        project=Reference(project, project) if project else NOTHING,
        description=text(row, "Description"),
        quantity=abs(quantity) if quantity is not None else None,
        unit_price=number(row, "UnitPrice"),
        net=sign * amount(row, "TransactionCurrencyAmount"),
        tax_code=text(row, "SalesTaxItemGroupId"),
        tax=sign * amount(row, "SalesTaxAmount"),
    )


def _line_key(row: Row) -> str:
    """The key that we put on a line of a draft; empty on every other line."""
    written = text(row, assumptions.DRAFT_KEY)
    return written if is_ours(written) else ""


def _payment(record: SourceRecord, payload: Row, account: Account) -> PaymentRecord:
    """A posted line of a customer payment journal. It settles the invoice that it is marked against, in full.

    What it settles of one in another currency is not told by its line, so that part is neither applied nor called free.
    """
    row = _part(payload, "line")
    paid = amount(row, "CreditAmount") - amount(row, "DebitAmount")
    customer = unescaped(text(row, "AccountDisplayValue"))
    bill, is_foreign = text(payload, "bill"), _is_foreign(row, text(payload, "bill_currency"))
    free = Decimal(0) if text(row, "MarkedInvoice") else abs(paid)
    return PaymentRecord(
        external_id=record.external_id,
        revision=record.revision,
        kind=PaymentKind.PAYMENT,
        status=PaymentStatus.RECEIVED if paid >= 0 else PaymentStatus.BOUNCED,
        entity=Reference(key=account.realm, code=account.realm),
        customer=Reference(customer, customer, text(row, "CustomerName")),
        number=text(row, "Voucher"),
        currency=text(row, "CurrencyCode").upper(),
        booked_on=_day(row, "TransactionDate"),
        amount=abs(paid),
        unapplied=None if is_foreign else free,
        reference=text(row, "PaymentReference"),
        memo=text(row, "TransactionText"),
        applications=(Application(bill=bill, amount=paid),) if bill and paid > 0 and not is_foreign else (),
    )


def _is_foreign(line: Row, currency: str) -> bool:
    """Whether a payment line is in another currency than the bill that it is marked against."""
    return bool(currency) and text(line, "CurrencyCode").upper() != currency.upper()


def _part(payload: Row, name: str) -> Row:
    found = payload.get(name)
    if not isinstance(found, Mapping):
        raise Malformed(f"{name} is missing.")
    return found


def _day(row: Row, name: str) -> date | None:
    return day(row, name, empty=assumptions.NO_DAYS)


_STREAMS: Mapping[str, Callable[[SourceRecord, Row, Account], CanonicalRecord]] = {
    "periods": _period,
    "cost_centres": _cost_centre,
    "customers": _customer,
    "projects": _project,
    "tasks": _task,
    "employees": _resource,
    "invoices": _invoice,
    "payments": _payment,
}
