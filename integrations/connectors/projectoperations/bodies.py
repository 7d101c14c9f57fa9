"""Postings as time entries and expenses of Dataverse, and these as statement lines. Pure.

Our key is the record's own id. Time is whole minutes: 0.33 h is twenty of them, while 0.01 h is no number of minutes and is
refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from integrations.connectors.projectoperations import assumptions
from integrations.connectors.projectoperations.dataverse import guid_of, integer, key_of, lookup
from integrations.connectors.projectoperations.settings import SETTINGS
from integrations.errors import Rejected
from integrations.http import plain
from integrations.http.fields import Row, needed_day, number, text
from integrations.protocol import Account
from portal.records import DocumentKind, Posting, StatementLine

LIMITS = (
    "Its entries keep neither a rate nor whether they are billed: Project Operations prices them by its own price lists, and its "
    "contracts say what is chargeable. An hour that is not billable here has to be so there as well.",
)
TIME, EXPENSES = "msdyn_timeentries", "msdyn_expenses"


def table(posting: Posting) -> str:
    """The table in which a posting becomes a record."""
    return TIME if posting.kind is DocumentKind.TIME else EXPENSES


def body(posting: Posting, account: Account) -> dict[str, Any]:
    """The record that a posting becomes, without its id, which is in its address."""
    return _time(posting, account) if posting.kind is DocumentKind.TIME else _expense(posting, account)


def _time(posting: Posting, account: Account) -> dict[str, Any]:
    role = posting.item or str(account.settings.get("role") or "")
    return {
        "msdyn_date": _moment(posting.work_date),
        "msdyn_duration": minutes(posting.hours or Decimal(0)),
        "msdyn_type": assumptions.WORK,
        "msdyn_entrystatus": _status(account, assumptions.TIME_STATUSES),
        "msdyn_description": posting.memo,
        **_bound("msdyn_bookableresource", "bookableresources", posting.resource),
        **_bound("msdyn_project", "msdyn_projects", posting.project),
        **_bound("msdyn_projectTask", "msdyn_projecttasks", posting.task),
        **_bound("msdyn_resourceCategory", "bookableresourcecategories", role),
    }


def _expense(posting: Posting, account: Account) -> dict[str, Any]:
    category = posting.item or str(account.settings.get("expense_category") or "")
    return {
        "msdyn_transactiondate": _moment(posting.work_date),
        "msdyn_amount": posting.amount,
        "msdyn_expensestatus": _status(account, assumptions.EXPENSE_STATUSES),
        "msdyn_name": posting.memo,
        "msdyn_externaldescription": posting.receipt_reference,
        **_bound("msdyn_bookableresource", "bookableresources", posting.resource),
        **_bound("msdyn_Project", "msdyn_projects", posting.project),
        **_bound("msdyn_ExpenseCategory", "msdyn_expensecategories", category),
        **_bound("transactioncurrencyid", "transactioncurrencies", _currencies(account).get(posting.currency, "")),
    }


def objection(posting: Posting, account: Account) -> Rejected | None:
    """Why a posting cannot be said in the vendor's words, or None. Checked before anything is sent."""
    try:
        guid_of(posting.key)
    except ValueError:
        return Rejected(f"The key {posting.key!r} is none of ours.")
    limit = int(account.setting("memo_limit", SETTINGS))
    if len(posting.memo) > limit:
        return Rejected(
            f"The memo has {len(posting.memo)} characters; Project Operations takes {limit}. Shorten the description.",
            code="text-invalid",
        )
    return _time_objection(posting) if posting.kind is DocumentKind.TIME else _expense_objection(posting, account)


def _time_objection(posting: Posting) -> Rejected | None:
    if posting.hours is None:
        return Rejected("The posting has no hours.", code="amount-invalid")
    if posting.hours < 0:
        return _no_opposite(posting, "hours")
    if abs(minutes(posting.hours) / assumptions.MINUTES - posting.hours) > assumptions.HOURS_TOLERANCE:
        return Rejected(
            f"{posting.hours} h is not a whole number of minutes, and Project Operations keeps minutes. "
            "Correct the hours at the source.",
            code="amount-invalid",
        )
    return None


def _expense_objection(posting: Posting, account: Account) -> Rejected | None:
    if posting.amount is None:
        return Rejected("The posting has no amount.", code="amount-invalid")
    if posting.amount < 0:
        return _no_opposite(posting, "expenses")
    if posting.currency not in _currencies(account):
        return Rejected(
            f"The connection names no GUID for {posting.currency or 'an empty currency'}. Add it to currencies.",
            code="amount-invalid",
        )
    if not (posting.item or account.settings.get("expense_category")):
        return Rejected("The expense names no category. Map it, or set expense_category.")
    return None


def _no_opposite(posting: Posting, what: str) -> Rejected:
    """Why a reversal is not sent, and what is done there instead."""
    return Rejected(
        f"Project Operations takes no negative {what}. Have record {posting.reverses or '(unknown)'} recalled there and delete "
        "it, as long as it is not invoiced; what is invoiced is corrected there, and its reversal called back.",
        code="no-opposite",
    )


def minutes(hours: Decimal) -> int:
    """Hours as minutes, to the nearest."""
    return int((hours * assumptions.MINUTES).to_integral_value(ROUND_HALF_UP))


def held(row: Row, kind: DocumentKind, account: Account, *, has_actual: bool) -> StatementLine:
    """A record as a statement line: booked once it is approved and has become an actual. Raises Malformed."""
    is_time = kind is DocumentKind.TIME
    statuses = assumptions.TIME_STATUSES if is_time else assumptions.EXPENSE_STATUSES
    status = statuses.get(integer(row, "msdyn_entrystatus" if is_time else "msdyn_expensestatus") or 0, "draft")
    duration = integer(row, "msdyn_duration")
    guid = text(row, "msdyn_timeentryid" if is_time else "msdyn_expenseid").lower()
    names = {value.lower(): code for code, value in _currencies(account).items()}
    return StatementLine(
        number=guid,
        key=key_of(guid),
        kind=kind,
        work_date=needed_day(row, "msdyn_date" if is_time else "msdyn_transactiondate"),
        resource=lookup(row, "msdyn_bookableresource"),
        project=lookup(row, "msdyn_project"),
        task=lookup(row, "msdyn_projecttask") if is_time else "",
        hours=None if duration is None else Decimal(duration) / assumptions.MINUTES,
        amount=None if is_time else number(row, "msdyn_amount"),
        currency="" if is_time else names.get(lookup(row, "transactioncurrencyid"), ""),
        memo=text(row, "msdyn_description" if is_time else "msdyn_name"),
        is_booked=status in assumptions.BOOKED and has_actual,
        waits=assumptions.TURNED_DOWN.get(status, ""),
        raw=plain(dict(row)),
    )


def actual(row: Row, origin: str) -> StatementLine | None:
    """An actual as a statement line, under the entry that it came from; None where it is neither time nor an expense."""
    kind = assumptions.CLASSES.get(integer(row, "msdyn_transactionclassification") or 0)
    if kind is None:
        return None
    is_time = kind == "time"
    return StatementLine(
        number=origin or text(row, "msdyn_actualid").lower(),
        key=key_of(origin),
        kind=DocumentKind(kind),
        work_date=needed_day(row, "msdyn_documentdate"),
        resource=lookup(row, "msdyn_bookableresource"),
        project=lookup(row, "msdyn_project"),
        hours=number(row, "msdyn_quantity") if is_time else None,
        amount=None if is_time else number(row, "msdyn_amount"),
        raw=plain(dict(row)),
    )


def together(lines: Iterable[StatementLine]) -> Iterator[StatementLine]:
    """The actuals of each entry as one line. Those of one that was recalled take each other back and are none."""
    found: dict[str, list[StatementLine]] = {}
    for line in lines:
        found.setdefault(line.number, []).append(line)
    for some in found.values():
        hours, amount = _sum(line.hours for line in some), _sum(line.amount for line in some)
        if len(some) == 1 or hours or amount:
            yield replace(some[-1], hours=hours, amount=amount)


def _sum(figures: Iterable[Decimal | None]) -> Decimal | None:
    known = [figure for figure in figures if figure is not None]
    return sum(known, Decimal(0)) if known else None


def _currencies(account: Account) -> dict[str, str]:
    return {str(code): str(guid) for code, guid in dict(account.setting("currencies", SETTINGS)).items()}


def _status(account: Account, statuses: dict[int, str]) -> int:
    wanted = str(account.setting("written_as", SETTINGS))
    return next(value for value, name in statuses.items() if name == wanted)


def _bound(name: str, path: str, guid: str) -> dict[str, str]:
    return {f"{name}@odata.bind": f"/{path}({guid})"} if guid else {}


def _moment(on: date) -> str:
    return f"{on.isoformat()}T00:00:00Z"
