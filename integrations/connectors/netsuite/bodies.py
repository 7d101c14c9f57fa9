"""Postings as NetSuite records. Pure: the same posting always gives the same body.

Time becomes a `timeBill`, an expense an `expenseReport` with one line. Hours are written h:mm, so only what whole minutes
can say may be sent: 0.33 h is 0:20 because twenty minutes rounded to two decimals are 0.33 h, while 0.01 h is no number of
minutes and is refused rather than booked as something else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from integrations.connectors.netsuite import assumptions
from integrations.errors import Rejected
from portal.records import DocumentKind, Posting

HOURS_TOLERANCE = Decimal("0.005")  # two decimals of an hour and whole minutes are never further apart
_EXTERNAL_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")


def record_type(posting: Posting) -> str:
    """The record that a posting becomes, as it is written in a path."""
    return "timebill" if posting.kind is DocumentKind.TIME else "expensereport"


def body(posting: Posting, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The record's body, without its external id, which is in the path or beside it in a batch."""
    if posting.kind is DocumentKind.TIME:
        return _time_bill(posting, settings)
    return _expense_report(posting, settings)


def objection(posting: Posting, settings: Mapping[str, Any]) -> Rejected | None:
    """Why a posting cannot be said in NetSuite's words, or None. Checked before anything is sent."""
    if not _EXTERNAL_ID.fullmatch(posting.key):
        return Rejected(f"The key {posting.key!r} cannot be an external id: letters, digits, _ and - only.")
    name, usual = ("memo_limit", assumptions.MEMO_LIMIT)
    if posting.kind is not DocumentKind.TIME:
        name, usual = ("expense_memo_limit", assumptions.EXPENSE_MEMO_LIMIT)
    limit = int(settings.get(name) or usual)
    text = memo(posting)
    if len(text) > limit:
        return Rejected(
            f"The memo has {len(text)} characters; NetSuite takes {limit}. Shorten the description.",
            code="text-invalid",
        )
    if posting.kind is DocumentKind.EXPENSE:
        return _expense_objection(posting, settings)
    if posting.hours is None:
        return Rejected("The posting has no hours.", code="amount-invalid")
    if not whole_minutes(posting.hours):
        return Rejected(
            f"{posting.hours} h is not a whole number of minutes, and NetSuite keeps hours and minutes. "
            "Correct the hours at the source.",
            code="amount-invalid",
        )
    return None


def _expense_objection(posting: Posting, settings: Mapping[str, Any]) -> Rejected | None:
    if posting.amount is None:
        return Rejected("The posting has no amount.", code="amount-invalid")
    if posting.currency not in settings.get("currencies", {}):
        return Rejected(
            f"The connection names no NetSuite currency id for {posting.currency or 'an empty currency'}. "
            "Add it to the setting currencies.",
            code="amount-invalid",
        )
    return None


def minutes(hours: Decimal) -> int:
    """Hours as minutes, to the nearest."""
    return int((hours * 60).to_integral_value(ROUND_HALF_UP))


def whole_minutes(hours: Decimal) -> bool:
    """Whether hours are what some whole number of minutes is when rounded to as many decimals, at least two."""
    places = max(2, -int(hours.normalize().as_tuple().exponent))
    exact = Decimal(minutes(hours)) / 60
    return exact.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP) == hours


def duration(hours: Decimal) -> str:
    """Hours as NetSuite writes them: 7.5 is 7:30, and a reversal's -0.25 is -0:15."""
    total = minutes(hours)
    return f"{'-' if total < 0 else ''}{abs(total) // 60}:{abs(total) % 60:02}"


def hours_of(text: str) -> Decimal:
    """Hours from h:mm or from decimal hours, to four decimals. Raises ValueError."""
    sign = -1 if text.startswith("-") else 1
    whole, colon, rest = text.lstrip("-").partition(":")
    total = sign * (int(whole or 0) * 60 + int(rest)) if colon else minutes(Decimal(text))
    return (Decimal(total) / 60).quantize(Decimal("0.0001"), ROUND_HALF_UP)


def memo(posting: Posting) -> str:
    """The memo, which for a reversal names the record that it takes back."""
    if not posting.reverses:
        return posting.memo
    return f"Reversal of {posting.reverses}. {posting.memo}".strip()


def _reference(key: str) -> dict[str, str]:
    return {"id": key}


def _time_bill(posting: Posting, settings: Mapping[str, Any]) -> dict[str, Any]:
    item = posting.item or str(settings.get("service_item") or "")
    written: dict[str, Any] = {
        **settings.get("time_defaults", {}),
        "employee": _reference(posting.resource),
        "customer": _reference(posting.project),
        "tranDate": posting.work_date.isoformat(),
        "hours": duration(posting.hours or Decimal(0)),
        "isBillable": posting.billable,
        "memo": memo(posting),
    }
    optional = {
        "caseTaskEvent": posting.task,
        "item": item,
        "department": posting.cost_centre,
        "subsidiary": posting.entity,
    }
    written |= {name: _reference(key) for name, key in optional.items() if key}
    if posting.rate is not None:
        written |= {"rate": posting.rate, "overrideRate": True}
    return written


def _expense_report(posting: Posting, settings: Mapping[str, Any]) -> dict[str, Any]:
    text = memo(posting)
    currency = _reference(str(settings.get("currencies", {}).get(posting.currency, "")))
    line: dict[str, Any] = {
        **settings.get("expense_line_defaults", {}),
        "expensedate": posting.work_date.isoformat(),
        "amount": posting.amount,
        "currency": currency,
        "isBillable": posting.billable,
        "memo": text,
        "receipt": bool(posting.receipt_reference),
    }
    optional = {
        "category": posting.item or str(settings.get("expense_category") or ""),
        "customer": posting.project,
        "projecttask": posting.task,
        "department": posting.cost_centre,
        "taxCode": posting.tax_code,
    }
    line |= {name: _reference(key) for name, key in optional.items() if key}
    written: dict[str, Any] = {
        **settings.get("expense_defaults", {}),
        "entity": _reference(posting.resource),
        "tranDate": posting.work_date.isoformat(),
        "memo": text,
        "expensereportcurrency": currency,
        "expense": {"items": [line]},
    }
    if posting.entity:
        written["subsidiary"] = _reference(posting.entity)
    return written
