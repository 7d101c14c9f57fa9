"""Salesforce's accounts, projects and users in our words. Pure: one row in, the records that it is out.

An account that was merged is gone and names the one that survives it. An opportunity becomes a project once it is won; one
that is not is filed as a project that is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date

from integrations.connectors.salesforce import soql
from integrations.connectors.salesforce.settings import SETTINGS
from integrations.http import fields
from integrations.http.fields import Row, flag, text
from integrations.protocol import Account, SourceRecord
from portal.records import NOTHING, MasterKind, MasterRecord, Reference


def records(record: SourceRecord, account: Account) -> Iterable[MasterRecord]:
    """The master records of one row. Raises Malformed naming the field that cannot be read."""
    translate, row = fields.translator(record, _STREAMS, "Salesforce")
    return translate(record, row, account)


def _customer(record: SourceRecord, row: Row, account: Account) -> list[MasterRecord]:
    survivor = text(row, "MasterRecordId")
    gone = flag(row, "IsDeleted")
    code = text(row, str(account.settings.get("account_number") or "Id"))
    return [
        fields.master(
            record, MasterKind.CUSTOMER, code=code, name=text(row, "Name") or record.external_id, parent=_parent(row),
            is_active=not gone, deleted=gone and not survivor, currency=_currency(row, account), merged_into=survivor,
        )
    ]  # fmt: skip


def _project(record: SourceRecord, row: Row, account: Account) -> list[MasterRecord]:
    """A project. An opportunity that is not won is one that is gone, like a deleted one: its deal may have been opened again."""
    names = soql.project_fields(account)

    def of(word: str) -> str:
        return text(row, names[word]) if names.get(word) else ""

    def on(word: str) -> date | None:
        return fields.day(row, names[word]) if names.get(word) else None

    gone = flag(row, "IsDeleted") or ("won" in names and not flag(row, names["won"]))
    return [
        fields.master(
            record, MasterKind.PROJECT, code=of("code"), name=of("name") or record.external_id, is_active=not gone, deleted=gone,
            customer=of("customer"), manager=of("manager"), status=_status(of("status"), account), starts_on=on("starts_on"),
            ends_on=on("ends_on"),
        )
    ]  # fmt: skip


def _resource(record: SourceRecord, row: Row, _: Account) -> list[MasterRecord]:
    return [
        fields.master(
            record, MasterKind.RESOURCE, code=text(row, "EmployeeNumber", "Username"),
            name=text(row, "Name") or record.external_id, is_active=flag(row, "IsActive"), email=text(row, "Email"),
        )
    ]  # fmt: skip


def _status(written: str, account: Account) -> str:
    """Our status of a project; none where the org's word is not mapped, so that it stays as it is."""
    known = {str(key).lower(): value for key, value in dict(account.setting("project_statuses", SETTINGS)).items()}
    return str(known.get(written.lower(), ""))


def _currency(row: Row, account: Account) -> str:
    return (text(row, "CurrencyIsoCode") or str(account.settings.get("currency") or "")).upper()


def _parent(row: Row) -> Reference:
    key = text(row, "ParentId")
    return Reference(key=key) if key else NOTHING


_STREAMS: Mapping[str, Callable[[SourceRecord, Row, Account], list[MasterRecord]]] = {
    "customers": _customer,
    "projects": _project,
    "employees": _resource,
}
