"""Postings as lines of the project journal, and entries of the project ledger as statement lines. Pure.

Time is a line of type Resource, an expense one of type G/L Account. What the books' own currency is is written as no currency.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from integrations.connectors.businesscentral import assumptions, units
from integrations.connectors.businesscentral.odata import option
from integrations.connectors.businesscentral.settings import SETTINGS
from integrations.errors import Malformed, Rejected
from integrations.http import plain
from integrations.http.odata import day, number
from integrations.protocol import Account, is_ours, other_company
from portal.records import DocumentKind, Posting, StatementLine

HOURS_TOLERANCE = Decimal("0.00001")


def fields(account: Account) -> dict[str, str]:
    """The page's name of each field."""
    return {**assumptions.FIELDS, **dict(account.settings.get("fields") or {})}


def line(posting: Posting, account: Account) -> dict[str, Any]:
    """The journal line that a posting becomes."""
    is_time = posting.kind is DocumentKind.TIME
    amount = posting.amount or Decimal(0)
    price = posting.rate if is_time else abs(amount)
    told: dict[str, Any] = {
        "key": posting.key,
        "journal": str(account.setting("journal", SETTINGS)),
        "project": posting.project,
        "task": posting.task.removeprefix(f"{posting.project}/"),  # the stream tells tasks apart by project and number
        "type": assumptions.TIME_TYPE if is_time else str(account.setting("expense_type", SETTINGS)),
        "number": posting.resource if is_time else posting.item or str(account.settings.get("expense_account") or ""),
        "day": posting.work_date.isoformat(),
        "work_type": posting.item if is_time else "",  # it may bring a unit of its own, so it stands before the unit
        "unit": units.hour(account) if is_time else "",
        "quantity": posting.hours if is_time else Decimal(-1 if amount < 0 else 1),
        "cost": None if is_time else abs(amount),
        "price": price if posting.billable else None,
        "billable": posting.billable,
        "currency": "" if posting.currency == _books(account) else posting.currency,
        "cost_centre": posting.cost_centre,
        "memo": memo(posting, account),
    }
    names = fields(account)
    kept = {"currency", "billable", "memo"}
    return {names[name]: value for name, value in told.items() if value not in (None, "") or name in kept}


def memo_limit(account: Account) -> int:
    """How many characters a description has at most."""
    return int(account.setting("memo_limit", SETTINGS))


def memo(posting: Posting, account: Account) -> str:
    """The description; that of a reversal names the entry that it takes back, and the rest where there is room."""
    if not posting.reverses:
        return posting.memo
    first = f"Reversal of {posting.reverses}."
    whole = f"{first} {posting.memo}".strip()
    return whole if len(whole) <= memo_limit(account) else first


def objection(posting: Posting, account: Account) -> Rejected | None:
    """Why a posting cannot be said in a journal line, or None. Checked before anything is sent."""
    if not is_ours(posting.key):
        return Rejected(f"The key {posting.key!r} is none of ours.")
    if refused := other_company(posting.entity, account.realm):
        return refused
    if len(memo(posting, account)) > memo_limit(account):
        return Rejected(
            f"The memo has {len(posting.memo)} characters; Business Central takes {memo_limit(account)}. "
            "Shorten the description.",
            code="text-invalid",
        )
    if posting.kind is DocumentKind.TIME and posting.hours is None:
        return Rejected("The posting has no hours.", code="amount-invalid")
    if posting.kind is DocumentKind.EXPENSE:
        if posting.amount is None:
            return Rejected("The posting has no amount.", code="amount-invalid")
        if not (posting.item or account.settings.get("expense_account")):
            return Rejected(
                "The expense names no G/L account. Map its category, or set expense_account.", code="amount-invalid"
            )
    return None


def _task(row: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """The task as the stream names it: numbers of tasks are told apart by their project only."""
    number = str(row.get(names["task"]) or "")
    return f"{row.get(names['project'])}/{number}" if number else ""


def booked(row: Mapping[str, Any], account: Account) -> StatementLine:
    """An entry of the project ledger as a statement line. Raises Malformed naming the field that cannot be read.

    Hours and rate are those of the unit in which the entry counts. Where nobody told us how long that is, it states neither, and
    is not taken for what was sent.
    """
    names = fields(account)
    is_time = option(row, names["type"]) == assumptions.TIME_TYPE
    quantity = number(row, names["quantity"]) or Decimal(0)
    cost, price = number(row, names["cost"]), number(row, names["price"])
    billable = row.get(names["billable"])
    key = _key(row, names)
    unit = str(row.get(names["unit"]) or "")
    one = units.hours_of_one(unit, account) if is_time else None
    return StatementLine(
        number=str(row.get(names["entry"]) or ""),
        key=key if is_ours(key) else "",
        kind=DocumentKind.TIME if is_time else DocumentKind.EXPENSE,
        work_date=_day(row, names["day"]),
        resource=str(row.get(names["number"]) or "") if is_time else "",
        project=str(row.get(names["project"]) or ""),
        task=_task(row, names),
        hours=quantity * one if one else None,
        rate=price / one if one and billable and price is not None else None,
        amount=None if is_time or cost is None else cost * quantity,
        currency=str(row.get(names["currency"]) or _books(account)),
        billable=billable if isinstance(billable, bool) else None,
        memo=str(row.get(names["memo"]) or ""),
        is_booked=bool(one) or not is_time,
        waits=units.untold(unit, account) if is_time and not one else "",
        raw=plain(dict(row)),
    )


def bears_our_key(row: Mapping[str, Any], account: Account) -> bool:
    """Whether a line or an entry bears a key of ours."""
    return is_ours(_key(row, fields(account)))


def key_of(row: Mapping[str, Any], account: Account) -> str:
    """The key that a line or an entry bears, ours or not; empty where it bears none."""
    return _key(row, fields(account))


def _key(row: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """The key that a row bears; a field of type Code keeps it in capitals."""
    return str(row.get(names["key"]) or "").lower()


def _books(account: Account) -> str:
    return str(account.settings.get("currency") or "").upper()


def _day(row: Mapping[str, Any], name: str) -> date:
    found = day(row, name)
    if found is None:
        raise Malformed(f"{name} is empty, not a day.")
    return found
