"""Clockify's entries and expenses, each with the approval that covers it, as documents; pure.

Hours come from the ISO 8601 duration, never from end minus start. The day is the local one of the interval's own zone. Money is
in minor units. A null rate is no rate; an amount of 0 is zero.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from integrations.connectors.clockify import assumptions
from integrations.errors import Malformed
from integrations.protocol import Account, SourceRecord
from portal.records import NOTHING, DocumentRecord, ExpenseRecord, Reference, SourceStatus, TimeEntryRecord

PLACES = Decimal("0.0001")
_STATUS = {
    "PENDING": SourceStatus.SUBMITTED,
    "APPROVED": SourceStatus.APPROVED,
    "WITHDRAWN_APPROVAL": SourceStatus.WITHDRAWN,
    "WITHDRAWN_SUBMISSION": SourceStatus.DRAFT,
    "REJECTED": SourceStatus.REJECTED,
}
_DURATION = re.compile(r"(-?)P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?", re.ASCII)
_NOT_WORK = frozenset({"BREAK", "HOLIDAY", "TIME_OFF"})


def documents(record: SourceRecord, account: Account) -> Iterable[DocumentRecord]:
    """One vendor record as a document; breaks and days off are none. Raises Malformed naming the field."""
    payload = record.payload
    item = payload.get("expense" if record.stream == "expenses" else "entry") if isinstance(payload, Mapping) else None
    if not isinstance(item, Mapping):
        raise Malformed(f"Clockify {record.stream} {record.external_id} is not a record with its approval.")
    approval = payload.get("approvalRequest") or {}
    if record.stream == "expenses":
        return [_expense(record, item, approval, account)]
    if str(item.get("type") or "REGULAR") in _NOT_WORK:
        return []
    return [_time(record, item, approval, account)]


def _time(
    record: SourceRecord, entry: Mapping[str, Any], approval: Mapping[str, Any], account: Account
) -> TimeEntryRecord:
    interval = _part(entry, "timeInterval")
    zone = zone_of(interval, approval, account)
    starts_at, ends_at = _moment(entry, interval, "start"), _moment(entry, interval, "end")
    if starts_at is None:
        raise Malformed(f"Clockify entry {entry.get('id')}: timeInterval.start is missing.")
    rate = entry.get("hourlyRate")
    stated = rate if isinstance(rate, Mapping) else {}
    is_running = interval.get("duration") is None and ends_at is None
    return TimeEntryRecord(
        **_common(record, entry, approval, account),
        status=SourceStatus.DRAFT if is_running else _status(entry, approval),
        work_date=starts_at.astimezone(ZoneInfo(zone)).date(),
        zone=zone,
        currency=str(stated.get("currency") or account.settings.get("currency") or "").upper(),
        hours=Decimal(0) if is_running else _hours(entry, interval.get("duration")),
        rate=None if stated.get("amount") is None else _money(entry, "hourlyRate.amount", stated["amount"]),
        starts_at=starts_at,
        ends_at=ends_at,
    )


def _expense(
    record: SourceRecord, expense: Mapping[str, Any], approval: Mapping[str, Any], account: Account
) -> ExpenseRecord:
    category = expense.get("category") or {}
    currency = str(expense.get("currency") or account.settings.get("currency") or "").upper()
    if not currency:
        raise Malformed(f"Clockify expense {expense.get('id')}: currency is missing and no default is set.")
    written = str(expense.get("date") or "")
    try:
        day = date.fromisoformat(written[:10])
    except ValueError as error:
        raise Malformed(f"Clockify expense {expense.get('id')}: date is “{written}”, not a date.") from error
    return ExpenseRecord(
        **_common(record, expense, approval, account),
        status=_status(expense, approval),
        work_date=day,
        zone=zone_of({}, approval, account),
        currency=currency,
        amount=_money(expense, "total", expense.get("total")),
        category=str(category.get("name") or expense.get("categoryName") or ""),
        receipt_reference=str(expense.get("fileUrl") or expense.get("fileName") or expense.get("fileId") or "")[:300],
    )


def _common(
    record: SourceRecord, item: Mapping[str, Any], approval: Mapping[str, Any], account: Account
) -> dict[str, Any]:
    """What entries and expenses have in common, but for status, day and currency."""
    owner, status = approval.get("owner") or {}, approval.get("status") or {}
    project = item.get("project") if isinstance(item.get("project"), Mapping) else {}
    billable = item.get("billable")
    if not isinstance(billable, bool):
        raise Malformed(f"Clockify record {item.get('id')}: billable is “{billable}”, not true or false.")
    is_approved = status.get("state") == "APPROVED"
    user = item.get("user") if isinstance(item.get("user"), Mapping) else {}
    return {
        "external_id": record.external_id,
        "revision": record.revision,
        "resource": _reference(
            item.get("userId") or owner.get("userId") or (user or {}).get("id"),
            owner.get("userName") or (user or {}).get("name"),
        ),
        "project": _reference((project or {}).get("id") or item.get("projectId"), (project or {}).get("name")),
        "task": _named(item.get("task"), item.get("taskId")),
        "customer": _reference((project or {}).get("clientId"), (project or {}).get("clientName")),
        "billable": billable,
        "description": str(item.get("description") or item.get("notes") or ""),
        "approved_by": _reference(status.get("updatedBy"), status.get("updatedByUserName")) if is_approved else NOTHING,
        "approved_at": _stamp(status.get("updatedAt")) if is_approved else None,
        "provenance": _provenance(item, str(account.settings.get("provenance_field") or "")),
    }


def _status(item: Mapping[str, Any], approval: Mapping[str, Any]) -> SourceStatus:
    """How far the approval has come; a record that no approval covers is a draft."""
    state = (approval.get("status") or {}).get("state")
    if state is None:
        return SourceStatus.DRAFT
    if state not in _STATUS:
        raise Malformed(f"Clockify record {item.get('id')}: state is “{state}”; known are {', '.join(_STATUS)}.")
    return _STATUS[state]


def zone_of(interval: Mapping[str, Any], approval: Mapping[str, Any], account: Account) -> str:
    """The zone in which the work was done: the interval's, else its owner's, else the account's."""
    owner = approval.get("owner") or {}
    for name in (interval.get("timeZone"), owner.get("timeZone"), owner.get("timezone"), account.zone):
        if name and _is_zone(str(name)):
            return str(name)
    return "UTC"


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _hours(entry: Mapping[str, Any], duration: Any) -> Decimal:
    match = _DURATION.fullmatch(str(duration or ""))
    if match is None or str(duration).endswith(("P", "T")):
        raise Malformed(f"Clockify entry {entry.get('id')}: duration is “{duration}”, not one such as PT1H30M.")
    sign, days, hours, minutes, seconds = match.groups()
    total = int(days or 0) * 86400 + int(hours or 0) * 3600 + int(minutes or 0) * 60 + Decimal(seconds or 0)
    worked = (total / 3600).quantize(PLACES, ROUND_HALF_UP)
    return -worked if sign else worked


def _money(item: Mapping[str, Any], name: str, value: Any) -> Decimal:
    """An amount in major units, to four decimals."""
    try:
        minor = None if value is None or isinstance(value, bool) else Decimal(str(value))
        if minor is not None and minor.is_finite():
            return assumptions.major(minor).quantize(PLACES, ROUND_HALF_UP)
    except InvalidOperation:
        pass
    raise Malformed(f"Clockify record {item.get('id')}: {name} is “{value}”, not an amount.")


def _moment(entry: Mapping[str, Any], interval: Mapping[str, Any], name: str) -> datetime | None:
    value = interval.get(name)
    if value is None:
        return None
    found = _stamp(value)
    if found is None:
        raise Malformed(f"Clockify entry {entry.get('id')}: timeInterval.{name} is “{value}”, not a moment.")
    return found


def _stamp(value: Any) -> datetime | None:
    try:
        parsed = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)


def _part(item: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = item.get(name)
    if not isinstance(value, Mapping):
        raise Malformed(f"Clockify entry {item.get('id')}: {name} is missing.")
    return value


def _reference(key: Any, name: Any) -> Reference:
    return Reference(key=str(key or ""), name=str(name or ""))


def _named(part: Any, key: Any) -> Reference:
    if isinstance(part, Mapping):
        return _reference(part.get("id") or key, part.get("name"))
    return _reference(key, "")


def _provenance(item: Mapping[str, Any], wanted: str) -> str:
    """The identity in the tool where the work was first recorded, from the custom field that the settings name."""
    for value in item.get("customFieldValues") or ():
        if wanted and isinstance(value, Mapping) and str(value.get("name") or "").casefold() == wanted.casefold():
            return str(value.get("value") or "").lower()[:200]
    return ""
