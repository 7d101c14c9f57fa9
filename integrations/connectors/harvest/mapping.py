"""Harvest's time entries and expenses as documents; pure.

Amounts are decimals in major units, hours are Harvest's own `hours`, and a rate of null is no rate while 0 is zero.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from integrations.connectors.harvest import assumptions
from integrations.errors import Malformed
from integrations.protocol import Account, SourceRecord
from portal.records import NOTHING, DocumentRecord, ExpenseRecord, Reference, SourceStatus, TimeEntryRecord

PLACES = Decimal("0.0001")
_STATUS = {
    "unsubmitted": SourceStatus.DRAFT,
    "submitted": SourceStatus.SUBMITTED,
    "approved": SourceStatus.APPROVED,
}
_TIME_OF_DAY = re.compile(r"(\d{1,2}):(\d{2})\s*([ap]m)?", re.IGNORECASE)


def document(record: SourceRecord, account: Account) -> DocumentRecord:
    """One vendor record as a document. Raises Malformed naming the field that cannot be read."""
    entry = record.payload
    if not isinstance(entry, Mapping):
        raise Malformed(f"Harvest {record.stream} {record.external_id} is not an object.")
    if record.stream == "expenses":
        expense = ExpenseRecord(**_common(record, entry, account), **_expense(entry))
        if not expense.currency:
            raise Malformed(f"Harvest expense {entry.get('id')}: client.currency is missing and no default is set.")
        return expense
    return TimeEntryRecord(**_common(record, entry, account), **_time(entry, account))


def _common(record: SourceRecord, entry: Mapping[str, Any], account: Account) -> dict[str, Any]:
    day = work_day(entry)
    user = _named(entry, "user")
    return {
        "external_id": record.external_id,
        "revision": record.revision,
        "status": _status(entry),
        "resource": user,
        "project": _named(entry, "project"),
        "task": _named(entry, "task"),
        "customer": _named(entry, "client"),
        "work_date": day,
        "zone": account.zone,
        "billable": _flag(entry, "billable"),
        "currency": str((entry.get("client") or {}).get("currency") or account.settings.get("currency") or "").upper(),
        "description": str(entry.get("notes") or ""),
        "provenance": _provenance(entry.get("external_reference")),
        "link": assumptions.day_page(str(account.settings.get("web_address") or ""), day, user.key),
    }


def _time(entry: Mapping[str, Any], account: Account) -> dict[str, Any]:
    name = "rounded_hours" if account.settings.get("use_rounded_hours") else "hours"
    starts_at, ends_at = _span(entry, account.zone)
    return {
        "hours": _number(entry, name),
        "rate": None if entry.get("billable_rate") is None else _number(entry, "billable_rate"),
        "starts_at": starts_at,
        "ends_at": ends_at,
    }


def _expense(entry: Mapping[str, Any]) -> dict[str, Any]:
    category = entry.get("expense_category") or {}
    receipt = entry.get("receipt") or {}
    return {
        "amount": _number(entry, "total_cost"),
        "category": str(category.get("name") or ""),
        "receipt_reference": str(receipt.get("url") or receipt.get("file_name") or "")[:300],
    }


def _status(entry: Mapping[str, Any]) -> SourceStatus:
    """A running timer is a draft whatever else it says."""
    if entry.get("is_running"):
        return SourceStatus.DRAFT
    stated = assumptions.approval_status(entry)
    if stated not in _STATUS:
        raise Malformed(
            f"Harvest entry {entry.get('id')}: approval_status is “{stated}”; known are {', '.join(_STATUS)}."
        )
    return _STATUS[stated]


def work_day(entry: Mapping[str, Any]) -> date:
    """The day of an entry, as Harvest states it in the account's zone."""
    try:
        return date.fromisoformat(str(entry.get("spent_date")))
    except ValueError as error:
        raise Malformed(
            f"Harvest entry {entry.get('id')}: spent_date is “{entry.get('spent_date')}”, not a date."
        ) from error


def _named(entry: Mapping[str, Any], name: str) -> Reference:
    value = entry.get(name)
    if not isinstance(value, dict):
        return NOTHING
    read = value.get
    return Reference(str(read("id") or ""), str(read("code") or ""), str(read("name") or ""))


def _number(entry: Mapping[str, Any], name: str) -> Decimal:
    """A number to four decimals, the most that a document keeps."""
    value = entry.get(name)
    try:
        number = None if value is None or isinstance(value, bool) else Decimal(str(value))
        if number is not None and number.is_finite():
            return number if number == number.quantize(PLACES) else number.quantize(PLACES, ROUND_HALF_UP)
    except InvalidOperation:
        pass
    raise Malformed(f"Harvest entry {entry.get('id')}: {name} is “{value}”, not a number.")


def _flag(entry: Mapping[str, Any], name: str) -> bool:
    value = entry.get(name)
    if not isinstance(value, bool):
        raise Malformed(f"Harvest entry {entry.get('id')}: {name} is “{value}”, not true or false.")
    return value


def _provenance(reference: Any) -> str:
    """The tool where the work was first recorded, such as `jira:10001/37`."""
    if not isinstance(reference, Mapping) or not reference.get("id"):
        return ""
    place = "/".join(str(part) for part in (reference.get("group_id"), reference["id"]) if part)
    return f"{reference.get('service') or 'unknown'}:{place}".lower()[:200]


def _span(entry: Mapping[str, Any], zone: str) -> tuple[datetime | None, datetime | None]:
    """When the work began and ended, for accounts that record it; never used to compute hours."""
    started, ended = _time_of_day(entry.get("started_time")), _time_of_day(entry.get("ended_time"))
    if started is None or ended is None:
        return None, None
    day, place = work_day(entry), ZoneInfo(zone or "UTC")
    begins = datetime.combine(day, started, place)
    ends = datetime.combine(day + timedelta(days=1 if ended < started else 0), ended, place)
    return begins, ends


def _time_of_day(written: Any) -> time | None:
    """8:00am or 08:00; None where an account records none or writes it in a way that we do not know."""
    match = _TIME_OF_DAY.fullmatch(str(written).strip()) if written else None
    if match is None:
        return None
    hour, minute, half = int(match.group(1)), int(match.group(2)), (match.group(3) or "").lower()
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0)
    return time(hour, minute) if hour < 24 and minute < 60 else None
