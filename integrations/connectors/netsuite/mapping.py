"""NetSuite's master data in our words. Pure: one row in, the records that it is out.

Quarters, years and adjustment periods of the accounting calendar are no periods of ours and give nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from integrations.connectors.netsuite import assumptions, billing
from integrations.errors import Malformed
from integrations.http import fields
from integrations.http.fields import Row
from integrations.protocol import SourceRecord
from portal.records import NOTHING, CanonicalRecord, MasterKind, MasterRecord, Reference


def records(record: SourceRecord, settings: Mapping[str, Any]) -> Iterable[CanonicalRecord]:
    """The records of one row. Raises Malformed naming the field that cannot be read."""
    if record.stream in billing.STREAMS or billing.is_deleted_bill(record):
        return billing.records(record, settings)
    translate, row = fields.translator(record, _STREAMS, "NetSuite")
    return translate(record, row, settings)


def _made(
    record: SourceRecord, kind: MasterKind, row: Row, *, code: str, name: str, parent: str = "", **attributes: Any
) -> list[MasterRecord]:
    if not code:
        raise Malformed(f"{record.stream} {record.external_id} has no code or name.")
    above, is_active = Reference(key=parent) if parent else NOTHING, not _flag(row, "isinactive")
    return [fields.master(record, kind, code=code, name=name, parent=above, is_active=is_active, **attributes)]


def _text(row: Row, *names: str) -> str:
    """The first of some columns that says something."""
    return fields.text(row, *names).strip()


def _flag(row: Row, name: str) -> bool:
    value = row.get(name, "F")
    if value not in ("T", "F"):
        raise Malformed(f"{name} is {value!r}, neither T nor F.")
    return bool(value == "T")


def _entity(record: SourceRecord, row: Row, _: Mapping[str, Any]) -> list[MasterRecord]:
    return _made(
        record,
        MasterKind.ENTITY,
        row,
        code=_text(row, "name"),
        name=_text(row, "legalname", "name"),
        parent=_text(row, "parent"),
        currency=_text(row, "currency"),
    )


def _cost_centre(record: SourceRecord, row: Row, _: Mapping[str, Any]) -> list[MasterRecord]:
    return _made(
        record,
        MasterKind.COST_CENTRE,
        row,
        code=_text(row, "name"),
        name=_text(row, "fullname", "name"),
        parent=_text(row, "parent"),
        entity=_text(row, "subsidiary"),
    )


def _period(record: SourceRecord, row: Row, _: Mapping[str, Any]) -> list[MasterRecord]:
    if any(_flag(row, name) for name in ("isadjust", "isquarter", "isyear")):
        return []
    starts_on, ends_on = fields.day(row, "startdate"), fields.day(row, "enddate")
    if starts_on is None or ends_on is None:
        raise Malformed(f"periods {record.external_id} has no startdate or enddate.")
    return _made(
        record,
        MasterKind.PERIOD,
        row,
        code=_text(row, "periodname"),
        name=_text(row, "periodname"),
        starts_on=starts_on,
        ends_on=ends_on,
        closed=_flag(row, "closed") or _flag(row, "alllocked"),
    )


def _customer(record: SourceRecord, row: Row, _: Mapping[str, Any]) -> list[MasterRecord]:
    return _made(
        record,
        MasterKind.CUSTOMER,
        row,
        code=_text(row, "entityid"),
        name=_text(row, "companyname", "altname", "entityid"),
        parent=_text(row, "parent"),
        entity=_text(row, "subsidiary"),
        currency=_text(row, "currency"),
        tax_number=_text(row, "defaulttaxreg"),
        active_from=fields.day(row, "startdate"),
        active_to=fields.day(row, "enddate"),
    )


def _project(record: SourceRecord, row: Row, settings: Mapping[str, Any]) -> list[MasterRecord]:
    statuses = {**assumptions.PROJECT_STATUSES, **_lower(settings.get("project_statuses", {}))}
    billing = {**assumptions.BILLING_TYPES, **_lower(settings.get("billing_types", {}))}
    status = "closed" if _flag(row, "isinactive") else statuses.get(_text(row, "status").lower(), "open")
    return _made(
        record,
        MasterKind.PROJECT,
        row,
        code=_text(row, "entityid"),
        name=_text(row, "companyname", "altname", "entityid"),
        customer=_text(row, "parent"),
        entity=_text(row, "subsidiary"),
        status=status,
        starts_on=fields.day(row, "startdate"),
        ends_on=fields.day(row, "enddate"),
        billing_model=billing.get(_text(row, "billing").lower()),
        manager=_text(row, "projectmanager"),
    )


def _task(record: SourceRecord, row: Row, _: Mapping[str, Any]) -> list[MasterRecord]:
    return _made(
        record,
        MasterKind.TASK,
        row,
        code=record.external_id,
        name=_text(row, "title"),
        project=_text(row, "project"),
        is_billable=not _flag(row, "nonbillabletask"),
        closed=_text(row, "status") == "COMPLETE",
    )


def _resource(record: SourceRecord, row: Row, _: Mapping[str, Any]) -> list[MasterRecord]:
    return _made(
        record,
        MasterKind.RESOURCE,
        row,
        code=_text(row, "entityid"),
        name=" ".join(part for part in (_text(row, "firstname"), _text(row, "lastname")) if part),
        email=_text(row, "email"),
        entity=_text(row, "subsidiary"),
        cost_centre=_text(row, "department"),
        hired_on=fields.day(row, "hiredate"),
        released_on=fields.day(row, "releasedate"),
    )


def _deleted(record: SourceRecord, row: Row, _: Mapping[str, Any]) -> list[MasterRecord]:
    """A record that is gone. Types that we do not read give nothing."""
    kind = assumptions.DELETED_TYPES.get(_text(row, "type").lower().replace(" ", ""))
    if kind is None:
        return []
    return [
        MasterRecord(
            external_id=_text(row, "id"),
            revision=record.revision,
            kind=MasterKind(kind),
            code="",
            name="",
            is_active=False,
            deleted=True,
        )
    ]


def _lower(mapping: Mapping[str, str]) -> dict[str, str]:
    return {key.lower(): value for key, value in mapping.items()}


_STREAMS: Mapping[str, Callable[[SourceRecord, Row, Mapping[str, Any]], list[MasterRecord]]] = {
    "subsidiaries": _entity,
    "departments": _cost_centre,
    "periods": _period,
    "customers": _customer,
    "projects": _project,
    "tasks": _task,
    "employees": _resource,
    "deleted": _deleted,
}
