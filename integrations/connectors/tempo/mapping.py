"""Tempo's worklogs, each with the approval of its author's period, as documents; pure.

Hours come from the seconds that were spent. A worklog of which only a part is billable is one amount of hours with two meanings:
which of them is billed is the connection's to say, and until it does the worklog waits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from integrations.connectors.tempo import assumptions
from integrations.connectors.tempo.cursor import moment, stamp_of
from integrations.errors import Malformed
from integrations.protocol import Account, SourceRecord
from portal.records import NOTHING, Reference, SourceStatus, TimeEntryRecord

PLACES = Decimal("0.0001")
_LOGS = {"approval": "approval log", "deletion": "paper trail"}
PARTLY_BILLABLE = ("refuse", "billable", "worked")


def document(record: SourceRecord, account: Account) -> TimeEntryRecord:
    """One vendor record as a document. Raises Malformed naming the field that cannot be read."""
    payload = record.payload
    worklog = payload.get("worklog") if isinstance(payload, Mapping) else None
    if isinstance(payload, Mapping) and (what := next((name for name in _LOGS if name in payload), "")) and not worklog:
        raise Malformed(
            f"A row of Tempo's {_LOGS[what]} cannot be followed: {json.dumps(payload[what], default=str)[:300]}"
        )
    if not isinstance(worklog, Mapping):
        raise Malformed(f"Tempo {record.stream} {record.external_id} is not a worklog with its approval.")
    stamp_of(worklog, f"worklog {_id(worklog)}")
    day = work_day(worklog)
    approval = payload.get("approval")
    if approval is None:
        raise Malformed(_why_without(worklog, day))
    status = approval.get("status") or {}
    stated = _status(worklog, status)
    is_approved = stated is SourceStatus.APPROVED
    hours, billable = _hours(worklog, account)
    starts_at = _starts_at(worklog, day, account.zone)
    issue = str((worklog.get("issue") or {}).get("id") or "")
    return TimeEntryRecord(
        external_id=record.external_id,
        revision=record.revision,
        status=stated,
        resource=_person(worklog.get("author")),
        project=_project(worklog, issue, account),
        task=Reference(key=issue),
        work_date=day,
        zone=account.zone,
        billable=billable,
        currency=str(account.settings.get("currency") or "").upper(),
        description=str(worklog.get("description") or ""),
        approved_by=_person(status.get("actor") or approval.get("reviewer")) if is_approved else NOTHING,
        approved_at=_decided_at(worklog, status) if is_approved else None,
        provenance=f"jira:{issue}/{record.external_id}" if issue else "",
        hours=hours,
        starts_at=starts_at,
        ends_at=starts_at + timedelta(seconds=float(worklog["timeSpentSeconds"])) if starts_at else None,
    )


def work_day(worklog: Mapping[str, Any]) -> date:
    """The day of a worklog, which a webhook writes with a time of day that means nothing."""
    written = str(worklog.get("startDate") or "")
    try:
        return date.fromisoformat(written[:10])
    except ValueError as error:
        raise Malformed(f"Tempo worklog {_id(worklog)}: startDate is “{written}”, not a date.") from error


def day_of(worklog: Mapping[str, Any]) -> date | None:
    """The day of a worklog; None where it cannot be read."""
    try:
        return work_day(worklog)
    except Malformed:
        return None


def status_of(approval: Mapping[str, Any]) -> Mapping[str, Any]:
    """What was decided of a period, and when; empty where the row does not say."""
    status = approval.get("status")
    return status if isinstance(status, Mapping) else {}


def author_of(worklog: Mapping[str, Any]) -> str:
    """Who worked, by Atlassian's id; empty where the worklog does not say."""
    return _person(worklog.get("author")).key


def _why_without(worklog: Mapping[str, Any], day: date) -> str:
    """Why nobody could be asked for the approval of a worklog."""
    if not author_of(worklog):
        return f"Tempo worklog {_id(worklog)}: author.accountId is missing."
    return f"Tempo worklog {_id(worklog)}: Tempo names no period for {day}, so its approval cannot be asked for."


def _status(worklog: Mapping[str, Any], status: Mapping[str, Any]) -> SourceStatus:
    """How far the author's period has come; a worklog without an approval is a draft."""
    key = status.get("key")
    if key is None:
        return SourceStatus.DRAFT
    if key not in assumptions.STATUSES:
        known = ", ".join(assumptions.STATUSES)
        raise Malformed(f"Tempo worklog {_id(worklog)}: the status of its period is “{key}”; known are {known}.")
    return assumptions.STATUSES[key]


def _hours(worklog: Mapping[str, Any], account: Account) -> tuple[Decimal, bool]:
    """The hours of a worklog and whether they are billable."""
    worked = _seconds(worklog, "timeSpentSeconds")
    billable = worked if worklog.get("billableSeconds") is None else _seconds(worklog, "billableSeconds")
    choice = str(account.settings.get("partly_billable") or PARTLY_BILLABLE[0])
    if billable in (0, worked) or choice == "worked":
        return _in_hours(worked), billable > 0
    if choice == "billable":
        return _in_hours(billable), True
    raise Malformed(
        f"Tempo worklog {_id(worklog)}: {_in_hours(billable).normalize():f} of {_in_hours(worked).normalize():f} hours are "
        "billable. Say in the setting partly_billable of the connection which of the two is posted."
    )


def _seconds(worklog: Mapping[str, Any], name: str) -> Decimal:
    value = worklog.get(name)
    try:
        number = None if value is None or isinstance(value, bool) else Decimal(str(value))
        if number is not None and number.is_finite():
            return number
    except InvalidOperation:
        pass
    raise Malformed(f"Tempo worklog {_id(worklog)}: {name} is “{value}”, not a number of seconds.")


def _in_hours(seconds: Decimal) -> Decimal:
    return (seconds / 3600).quantize(PLACES, ROUND_HALF_UP)


def _project(worklog: Mapping[str, Any], issue: str, account: Account) -> Reference:
    """The Tempo account of a worklog, or its Jira issue where the connection says so. The Jira project is in neither."""
    if account.settings.get("project_from") == "issue":
        return Reference(key=issue)
    wanted = str(account.settings.get("account_attribute") or assumptions.ACCOUNT_ATTRIBUTE)
    values = (worklog.get("attributes") or {}).get("values") or ()
    found = next((item.get("value") for item in values if item.get("key") == wanted), None)
    return Reference(key=str(found), code=str(found)) if found else NOTHING


def _person(value: Any) -> Reference:
    return Reference(key=str(value.get("accountId") or "")) if isinstance(value, Mapping) else NOTHING


def _decided_at(worklog: Mapping[str, Any], status: Mapping[str, Any]) -> datetime | None:
    try:
        return moment(status.get("updatedAt"))
    except ValueError as error:
        raise Malformed(f"Tempo worklog {_id(worklog)}: status.updatedAt cannot be read.") from error


def _starts_at(worklog: Mapping[str, Any], day: date, zone: str) -> datetime | None:
    """When the work began, written 08:00:00 or as the seconds of the day; only to find overlaps."""
    written = worklog.get("startTime")
    if written in (None, ""):
        return None
    try:
        if isinstance(written, int):
            return datetime.combine(day, time(), ZoneInfo(zone or "UTC")) + timedelta(seconds=written)
        return datetime.combine(day, time.fromisoformat(str(written)), ZoneInfo(zone or "UTC"))
    except ValueError:
        return None


def _id(worklog: Mapping[str, Any]) -> Any:
    return worklog.get("tempoWorklogId")
