"""Tryton's master data in our words. Pure: one row in, the record that it is out.

Every record is known by its id. What Tryton does not state, such as what a customer is billed in, is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from integrations.connectors.tryton import assumptions, billing
from integrations.connectors.tryton.rpc import amount, day, several, within
from integrations.connectors.tryton.settings import SETTINGS
from integrations.errors import Malformed
from integrations.http.fields import Row, master, text
from integrations.protocol import Account, SourceRecord
from portal.records import CanonicalRecord, MasterKind, MasterRecord

_PROJECT_STATUSES = ("planned", "open", "on_hold", "closed")


def records(record: SourceRecord, account: Account) -> Iterable[CanonicalRecord]:
    """The records of one row. Raises Malformed naming the field that cannot be read."""
    if not isinstance(record.payload, Mapping):
        raise Malformed(f"A record of {record.stream} is not an object.")
    if record.stream in billing.STREAMS:
        return [billing.record(record)]
    translate = _STREAMS.get(record.stream)
    row = record.payload.get("row")
    if translate is None or not isinstance(row, Mapping):
        raise Malformed(f"A record of {record.stream} has no row.")
    return [translate(record, row, account)]


def _company(record: SourceRecord, row: Row, _: Account) -> MasterRecord:
    party = within(row, "party")
    return master(
        record, MasterKind.ENTITY, code=text(party, "code"), name=text(party, "rec_name"),
        currency=text(within(row, "currency"), "code"), zone=text(row, "timezone"),
    )  # fmt: skip


def _period(record: SourceRecord, row: Row, _: Account) -> MasterRecord:
    """A period. One that is closed or locked takes no postings."""
    starts_on, ends_on = day(row, "start_date"), day(row, "end_date")
    if starts_on is None or ends_on is None:
        raise Malformed(f"Period {record.external_id}: start_date or end_date is missing.")
    return master(
        record, MasterKind.PERIOD, code=text(row, "name"), name=text(row, "name"), starts_on=starts_on, ends_on=ends_on,
        closed=text(row, "state") != "open", entity=text(row, "company"),
    )  # fmt: skip


def _customer(record: SourceRecord, row: Row, _: Account) -> MasterRecord:
    return master(
        record, MasterKind.CUSTOMER, code=text(row, "code"), name=text(row, "name"), is_active=bool(row.get("active", True)),
        tax_number=text(within(row, "tax_identifier"), "code"), merged_into=text(row, "replaced_by"),
    )  # fmt: skip


def _project(record: SourceRecord, row: Row, account: Account) -> MasterRecord:
    ends = [day(sheet, "timesheet_end_date") for sheet in several(row, "timesheet_works")]
    return master(
        record, MasterKind.PROJECT, code=text(row, "number"), name=text(row, "name"), customer=text(row, "party"),
        entity=text(row, "company"), status=_status(row, account),
        billing_model=assumptions.BILLING_MODELS.get(text(row, "project_invoice_method"), ""),
        ends_on=max((end for end in ends if end), default=None) if all(ends) else None,
    )  # fmt: skip


def _task(record: SourceRecord, row: Row, account: Account) -> MasterRecord:
    return master(
        record, MasterKind.TASK, code=text(row, "number"), name=text(row, "name"),
        project=text(record.payload, "project"), closed=_status(row, account) == "closed",
    )  # fmt: skip


def _employee(record: SourceRecord, row: Row, _: Account) -> MasterRecord:
    party = within(row, "party")
    return master(
        record, MasterKind.RESOURCE, code=text(party, "code"), name=text(party, "rec_name"), email=text(party, "email"),
        entity=text(row, "company"), hired_on=day(row, "start_date"), released_on=day(row, "end_date"),
    )  # fmt: skip


def _status(row: Row, account: Account) -> str:
    """The status in the firm's words, else closed where all of it is done. Raises Malformed for a word that is none of ours."""
    status = within(row, "status")
    named = dict(account.setting("project_statuses", SETTINGS)).get(text(status, "name"))
    if named is None:
        return "closed" if amount(status, "progress") == 1 else "open"
    if named not in _PROJECT_STATUSES:
        raise Malformed(f"project_statuses says {named!r}; know {', '.join(_PROJECT_STATUSES)}.")
    return str(named)


_STREAMS: Mapping[str, Callable[[SourceRecord, Row, Account], CanonicalRecord]] = {
    "companies": _company,
    "periods": _period,
    "customers": _customer,
    "projects": _project,
    "tasks": _task,
    "employees": _employee,
}
