"""Master data and project invoices of Dataverse in our words. Pure: one row in, the records that it is out.

Records are known by their GUIDs. What a table does not state, such as who is billed how, is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from integrations.connectors.projectoperations import assumptions
from integrations.connectors.projectoperations.dataverse import integer, lookup
from integrations.errors import Malformed
from integrations.http.fields import Row, amount, day, master, number, text, translator
from integrations.protocol import Account, SourceRecord
from portal.records import (
    NOTHING,
    BillKind,
    BillLine,
    BillRecord,
    BillStatus,
    CanonicalRecord,
    MasterKind,
    MasterRecord,
    Reference,
)


def records(record: SourceRecord, account: Account) -> Iterable[CanonicalRecord]:
    """The records of one row. Raises Malformed naming the field that cannot be read."""
    del account
    translate, payload = translator(record, _STREAMS, "Project Operations")
    if payload.get("gone"):
        return [_gone(record, payload)]
    row = payload.get("row")
    if not isinstance(row, Mapping):
        raise Malformed(f"A row of {record.stream} is not an object.")
    return [translate(record, row, payload)]


def _gone(record: SourceRecord, payload: Row) -> BillRecord:
    """A draft invoice that was deleted."""
    kind = BillKind.CREDIT_NOTE if payload.get("credit") else BillKind.INVOICE
    return BillRecord(external_id=record.external_id, revision=record.revision, kind=kind, status=BillStatus.DELETED)


def _made(record: SourceRecord, kind: MasterKind, row: Row, *, code: str = "", name: str, **more: Any) -> MasterRecord:
    is_active = (integer(row, "statecode") or 0) == 0
    return master(record, kind, code=code or name, name=name, is_active=is_active, **more)


def _customer(record: SourceRecord, row: Row, payload: Row) -> MasterRecord:
    """An account. One that was merged names the one that survives it."""
    above = lookup(row, "parentaccountid")
    survivor = lookup(row, assumptions.SURVIVOR) if row.get(assumptions.MERGED) else ""
    return _made(
        record,
        MasterKind.CUSTOMER,
        row,
        code=text(row, "accountnumber"),
        name=text(row, "name"),
        parent=Reference(key=above) if above else NOTHING,
        currency=text(payload, "currency").upper(),
        merged_into=survivor,
    )


def _project(record: SourceRecord, row: Row, payload: Row) -> MasterRecord:
    """A project. One that is inactive is closed; what else its stage says is not read."""
    del payload
    return _made(
        record,
        MasterKind.PROJECT,
        row,
        name=text(row, "msdyn_subject"),
        customer=lookup(row, "msdyn_customer"),
        status="closed" if integer(row, "statecode") else "open",
        starts_on=day(row, "msdyn_scheduledstart"),
        ends_on=day(row, "msdyn_finish"),
    )


def _task(record: SourceRecord, row: Row, payload: Row) -> MasterRecord:
    """A task, whose name is unique in no way; so its code is its id."""
    del payload
    name = text(row, "msdyn_subject")
    return _made(record, MasterKind.TASK, row, code=record.external_id, name=name, project=lookup(row, "msdyn_project"))


def _resource(record: SourceRecord, row: Row, payload: Row) -> MasterRecord:
    email = text(payload, "email")
    return _made(record, MasterKind.RESOURCE, row, code=email, name=text(row, "name"), email=email)


def _invoice(record: SourceRecord, row: Row, payload: Row) -> BillRecord:
    """A project invoice; a negative one is a credit note. What is left of it is told only where nothing or all is."""
    total, tax = amount(row, "totalamount"), amount(row, "totaltax")
    sign = -1 if total < 0 else 1
    status = _status(record, row)
    customer = lookup(row, "customerid")
    left = {BillStatus.OPEN: sign * total, BillStatus.PAID: Decimal(0)}
    lines = [line for line in payload.get("lines") or () if isinstance(line, Mapping)]
    return BillRecord(
        external_id=record.external_id,
        revision=record.revision,
        kind=BillKind.INVOICE if sign > 0 else BillKind.CREDIT_NOTE,
        status=status,
        customer=Reference(key=customer) if customer else NOTHING,
        number=text(row, "invoicenumber"),
        currency=text(payload, "currency").upper(),
        booked_on=day(row, "msdyn_invoicedate"),
        due_on=day(row, "duedate"),
        net=sign * (total - tax),
        tax=sign * tax,
        total=sign * total,
        balance=left.get(status),
        memo=text(row, "name"),
        lines=tuple(_line(line, sign) for line in lines),
    )


def _line(row: Row, sign: int) -> BillLine:
    net = amount(row, "extendedamount") - amount(row, "tax")
    quantity = number(row, "quantity")
    project = lookup(row, "msdyn_project")
    return BillLine(
        key=text(row, "invoicedetailid").lower(),
        project=Reference(key=project) if project else NOTHING,
        description=text(row, "productdescription") or text(row, "invoicedetailname"),
        quantity=abs(quantity) if quantity is not None else None,
        unit_price=number(row, "priceperunit"),
        net=sign * net,
        tax=sign * amount(row, "tax"),
    )


def _status(record: SourceRecord, row: Row) -> BillStatus:
    state = integer(row, "statecode") or 0
    if state not in assumptions.INVOICE_STATES:
        raise Malformed(f"Invoice {record.external_id}: statecode is {state}, which we do not know.")
    status = BillStatus(assumptions.INVOICE_STATES[state])
    if status is BillStatus.OPEN and (integer(row, "msdyn_projectinvoicestatus") or 0) in assumptions.DRAFTS:
        return BillStatus.DRAFT
    if status is BillStatus.PAID and integer(row, "statuscode") == assumptions.PARTLY:
        return BillStatus.PART_PAID
    return status


_STREAMS: Mapping[str, Callable[[SourceRecord, Row, Row], CanonicalRecord]] = {
    "customers": _customer,
    "projects": _project,
    "tasks": _task,
    "employees": _resource,
    "invoices": _invoice,
}
