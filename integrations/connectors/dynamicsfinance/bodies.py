"""Postings as journal lines and expenses, and these as statement lines. Pure.

Our key begins the text of a line, or stands in a field of its own. What the vendor has not posted yet is not booked.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from integrations.connectors.dynamicsfinance import assumptions
from integrations.connectors.dynamicsfinance.settings import SETTINGS
from integrations.errors import Malformed, Rejected
from integrations.http import plain
from integrations.http.fields import Row, day, number, text
from integrations.protocol import Account, is_ours, other_company
from portal.records import DocumentKind, Posting, StatementLine

TIME, EXPENSE = "time", "expense"


def own_field(account: Account, kind: str) -> str:
    """The field that is for our key alone; empty where the key begins a text."""
    return str(dict(account.setting("key_fields", SETTINGS)).get(kind) or "")


def key_field(account: Account, kind: str) -> str:
    """The field in which our key is looked for."""
    return own_field(account, kind) or assumptions.KEY_FIELDS[kind]


def memo_limit(account: Account) -> int:
    """Characters that are left for a memo behind our key."""
    limit = int(account.setting("description_limit", SETTINGS))
    return limit if own_field(account, TIME) else limit - 33


def told(posting: Posting) -> str:
    """The memo; that of a reversal names the record that it takes back, and the rest where there is room."""
    return f"Rev. {posting.reverses} {posting.memo}".strip() if posting.reverses else posting.memo


def hours(posting: Posting, account: Account) -> dict[str, Any]:
    """The line of an hour journal that a posting becomes, without its place in a journal."""
    amounts = {"SalesPrice": posting.rate} if posting.billable and posting.rate is not None else {}
    return {
        "dataAreaId": account.realm,
        "ProjectID": posting.project,
        "ActivityNumber": _activity(posting),
        "Category": posting.item or str(account.settings.get("category") or ""),
        "LineProperty": _line_property(posting, account),
        "ProjectDate": posting.work_date.isoformat(),
        "VoucherDate": posting.work_date.isoformat(),
        "ResourceId": posting.resource,
        "ResourceCompanyId": account.realm,
        "Hours": posting.hours,
        "CurrencyId": posting.currency,
        **amounts,
        **_dimensions(posting, account),
        **_texts(posting, account, TIME, memo_limit(account)),
    }


def expense(posting: Posting, account: Account) -> dict[str, Any]:
    """The expense that a posting becomes."""
    method = str(account.settings.get("payment_method") or "")
    return {
        "dataAreaId": account.realm,
        "LegalEntityDataAreaId": account.realm,
        "EmployeePersonnelNumber": posting.resource,
        "ProjectID": posting.project,
        "ActivityNumber": _activity(posting),
        "ExpenseCategory": posting.item or str(account.settings.get("expense_category") or ""),
        "TransactionDate": posting.work_date.isoformat(),
        "TransactionAmount": posting.amount,
        "Currency": posting.currency,
        "Billable": _line_property(posting, account),
        "ReceiptNumber": posting.receipt_reference,
        **({"PaymentMethod": method} if method else {}),
        **_dimensions(posting, account),
        **_texts(posting, account, EXPENSE, assumptions.INFORMATION_LIMIT),
    }


def objection(posting: Posting, account: Account) -> Rejected | None:
    """Why a posting cannot be said in the vendor's words, or None. Checked before anything is sent."""
    if not is_ours(posting.key):
        return Rejected(f"The key {posting.key!r} is none of ours.")
    if refused := other_company(posting.entity, account.realm):
        return refused
    is_time = posting.kind is DocumentKind.TIME
    if is_time and posting.hours is None:
        return Rejected("The posting has no hours.", code="amount-invalid")
    if not is_time and posting.amount is None:
        return Rejected("The posting has no amount.", code="amount-invalid")
    setting = "category" if is_time else "expense_category"
    if not (posting.item or account.settings.get(setting)):
        return Rejected(f"The posting names no category. Map its item, or set {setting}.", code="rejected")
    limit = memo_limit(account) if is_time else assumptions.INFORMATION_LIMIT - 33
    shortest = f"Rev. {posting.reverses}" if posting.reverses else posting.memo
    if len(shortest) > limit:
        return Rejected(
            f"The memo has {len(shortest)} characters; Dynamics 365 Finance takes {limit}. Shorten the description.",
            code="text-invalid",
        )
    return None


def line_number(row: Row) -> str:
    """How people and receipts name a journal line."""
    place = number(row, "LineNumber")
    if place is None:
        raise Malformed("LineNumber is empty, not a number.")
    return f"{text(row, 'JournalId')}/{place.normalize():f}"


def booked_hours(row: Row, account: Account, *, is_posted: bool) -> StatementLine:
    """A line of an hour journal as a statement line. Raises Malformed naming the field that cannot be read."""
    is_billable = text(row, "LineProperty") == _names(account)["billable"]
    key, memo = _apart(row, account, TIME)
    return StatementLine(
        number=line_number(row),
        key=key,
        kind=DocumentKind.TIME,
        work_date=_day(row, "ProjectDate"),
        entity=text(row, "dataAreaId"),
        resource=text(row, "ResourceId"),
        project=text(row, "ProjectID"),
        task=_task(row),
        hours=number(row, "Hours"),
        rate=number(row, "SalesPrice") if is_billable else None,
        currency=text(row, "CurrencyId"),
        billable=is_billable,
        memo=memo,
        is_booked=is_posted,
        raw=plain(dict(row)),
    )


def booked_expense(row: Row, account: Account) -> StatementLine:
    """An expense as a statement line. It is booked once it has a voucher; until then its posting may have said why not."""
    key, memo = _apart(row, account, EXPENSE)
    is_posted = bool(text(row, "Voucher"))
    return StatementLine(
        number=text(row, "ExpenseTransactionNumber"),
        key=key,
        kind=DocumentKind.EXPENSE,
        work_date=_day(row, "TransactionDate"),
        entity=text(row, "dataAreaId"),
        resource=text(row, "EmployeePersonnelNumber"),
        project=text(row, "ProjectID"),
        task=_task(row),
        amount=number(row, "TransactionAmount"),
        currency=text(row, "Currency"),
        billable=text(row, "Billable") == _names(account)["billable"],
        memo=memo,
        is_booked=is_posted,
        waits="" if is_posted else text(row, "PostingErrors").strip(),
        raw=plain(dict(row)),
    )


def booked_actual(row: Row) -> StatementLine | None:
    """A posted project transaction as a statement line; None where it is neither hours nor an expense."""
    kind = assumptions.ACTUAL_KINDS.get(text(row, "ProjTransType"))
    if kind is None:
        return None
    is_time = kind == TIME
    return StatementLine(
        number=text(row, "TransId"),
        kind=DocumentKind(kind),
        work_date=_day(row, "ProjTransDate"),
        entity=text(row, "dataAreaId"),
        resource=text(row, "ResourceId"),
        project=text(row, "ProjId"),
        hours=number(row, "Qty") if is_time else None,
        raw=plain(dict(row)),
    )


def found_key(row: Row, account: Account, kind: str) -> str:
    """Our key in a row; empty where it bears none."""
    return _apart(row, account, kind)[0]


def _apart(row: Row, account: Account, kind: str) -> tuple[str, str]:
    """Our key and the memo of a row."""
    written = text(row, assumptions.KEY_FIELDS[kind])
    if field := own_field(account, kind):
        key = text(row, field)
        return (key if is_ours(key) else ""), written
    key, _, memo = written.partition(" ")
    return (key, memo) if is_ours(key) else ("", written)


def _texts(posting: Posting, account: Account, kind: str, limit: int) -> dict[str, str]:
    whole = told(posting)
    memo = whole if len(whole) <= limit else f"Rev. {posting.reverses}"
    if field := own_field(account, kind):
        return {assumptions.KEY_FIELDS[kind]: memo, field: posting.key}
    return {assumptions.KEY_FIELDS[kind]: f"{posting.key} {memo}".strip()}


def _activity(posting: Posting) -> str:
    """The activity: the task's id within its project."""
    return posting.task.removeprefix(f"{posting.project}/")


def _task(row: Row) -> str:
    """The task as the stream names it: the ids of tasks are told apart by their project only."""
    activity = text(row, "ActivityNumber")
    return f"{text(row, 'ProjectID')}/{activity}" if activity else ""


def _line_property(posting: Posting, account: Account) -> str:
    return _names(account)["billable" if posting.billable else "not_billable"]


def _names(account: Account) -> Mapping[str, str]:
    return {**assumptions.LINE_PROPERTIES, **dict(account.setting("line_properties", SETTINGS))}


def _dimensions(posting: Posting, account: Account) -> dict[str, str]:
    form = str(account.settings.get("dimension_format") or "")
    return {"DimensionDisplayValue": form.replace("{cost_centre}", posting.cost_centre)} if form else {}


def _day(row: Row, name: str) -> date:
    found = day(row, name, empty=assumptions.NO_DAYS)
    if found is None:
        raise Malformed(f"{name} is empty, not a day.")
    return found
