"""Salesforce's accounts, projects and users in our words. Pure: one row in, the records that it is out.

An account that was merged is gone and names the one that survives it. An opportunity becomes a project once it is won.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any

from integrations.connectors.salesforce import soql
from integrations.connectors.salesforce.settings import SETTINGS
from integrations.errors import Malformed
from integrations.protocol import Account, SourceRecord
from portal.records import NOTHING, MasterKind, MasterRecord, Reference

Row = Mapping[str, Any]


def records(record: SourceRecord, account: Account) -> Iterable[MasterRecord]:
    """The master records of one row. Raises Malformed naming the field that cannot be read."""
    translate = _STREAMS.get(record.stream)
    if translate is None:
        raise Malformed(f"Salesforce has no stream “{record.stream}”.")
    if not isinstance(record.payload, Mapping):
        raise Malformed(f"A row of {record.stream} is not an object.")
    return translate(record, record.payload, account)


def _customer(record: SourceRecord, row: Row, account: Account) -> list[MasterRecord]:
    survivor = _text(row, "MasterRecordId")
    gone = _flag(row, "IsDeleted")
    return [
        MasterRecord(
            external_id=record.external_id,
            revision=record.revision,
            kind=MasterKind.CUSTOMER,
            code=_text(row, str(account.settings.get("account_number") or "Id")) or record.external_id,
            name=_text(row, "Name") or record.external_id,
            parent=_parent(row),
            is_active=not gone,
            deleted=gone and not survivor,
            attributes=_stated(currency=_currency(row, account), merged_into=survivor),
        )
    ]


def _project(record: SourceRecord, row: Row, account: Account) -> list[MasterRecord]:
    """A project; nothing for an opportunity that is not won. One that was deleted is gone."""
    fields = soql.project_fields(account)
    if not _flag(row, "IsDeleted") and "won" in fields and not _flag(row, fields["won"]):
        return []

    def of(word: str) -> str:
        return _text(row, fields[word]) if fields.get(word) else ""

    gone = _flag(row, "IsDeleted")
    return [
        MasterRecord(
            external_id=record.external_id,
            revision=record.revision,
            kind=MasterKind.PROJECT,
            code=of("code") or record.external_id,
            name=of("name") or record.external_id,
            is_active=not gone,
            deleted=gone,
            attributes=_stated(
                customer=of("customer"),
                manager=of("manager"),
                status=_status(of("status"), account),
                starts_on=_day(of("starts_on")),
                ends_on=_day(of("ends_on")),
            ),
        )
    ]


def _resource(record: SourceRecord, row: Row, _: Account) -> list[MasterRecord]:
    return [
        MasterRecord(
            external_id=record.external_id,
            revision=record.revision,
            kind=MasterKind.RESOURCE,
            code=_text(row, "EmployeeNumber") or _text(row, "Username") or record.external_id,
            name=_text(row, "Name") or record.external_id,
            is_active=_flag(row, "IsActive"),
            attributes=_stated(email=_text(row, "Email")),
        )
    ]


def _status(written: str, account: Account) -> str:
    """Our status of a project; none where the org's word is not mapped, so that it stays as it is."""
    known = {str(key).lower(): value for key, value in dict(account.setting("project_statuses", SETTINGS)).items()}
    return str(known.get(written.lower(), ""))


def _currency(row: Row, account: Account) -> str:
    return (_text(row, "CurrencyIsoCode") or str(account.settings.get("currency") or "")).upper()


def _parent(row: Row) -> Reference:
    key = _text(row, "ParentId")
    return Reference(key=key) if key else NOTHING


def _stated(**attributes: Any) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value not in (None, "")}


def _text(row: Row, name: str) -> str:
    value = row.get(name)
    return "" if value is None else str(value).strip()


def _flag(row: Row, name: str) -> bool:
    value = row.get(name, False)
    if not isinstance(value, bool):
        raise Malformed(f"{name} is {value!r}, neither true nor false.")
    return value


def _day(written: str) -> date | None:
    if not written:
        return None
    try:
        return date.fromisoformat(written[:10])
    except ValueError:
        raise Malformed(f"“{written}” of a project is not a day.") from None


_STREAMS: Mapping[str, Callable[[SourceRecord, Row, Account], list[MasterRecord]]] = {
    "customers": _customer,
    "projects": _project,
    "employees": _resource,
}
