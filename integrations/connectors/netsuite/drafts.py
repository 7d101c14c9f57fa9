"""Invoice drafts as NetSuite invoices: written by PUT under our key as external id, pending approval, read back whole.

Every line is an item line that bears our line key in the account's field for it (`posting_column`); without such a field the
bill that comes back could not say which hours it bills, and a draft is refused. Tax and number are NetSuite's. Pure but for
the two functions that are handed `http`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from integrations.connectors.netsuite import assumptions, refusals, statements
from integrations.errors import ConnectorError, InDoubt, Rejected, Unavailable
from integrations.http import Http
from integrations.http.fields import number
from integrations.protocol import Drafting
from portal.records import BillDraft, BillStatus, HeldDraft

DRAFTING = Drafting(
    lines=assumptions.INVOICE_LINES, line_text=assumptions.INVOICE_LINE_TEXT, memo=assumptions.EXPENSE_MEMO_LIMIT,
    quantity_places=5, price_places=8, requires_item=True,
)  # fmt: skip
_PATH = f"{statements.RECORD_PATH}/invoice/eid:"


def objection(draft: BillDraft, settings: Mapping[str, Any]) -> Rejected | None:
    """Why a draft cannot be said in NetSuite's words, or None. Checked before anything is sent."""
    if not settings.get("posting_column"):
        return Rejected(
            "The connection names no field of invoice lines for our key. Add one to the account and to the setting "
            "posting_column.",
            code="dimension-missing",
        )
    if any(not (line.item or _item(settings)) for line in draft.lines):
        return Rejected(
            "An invoice line needs an item. Add one to the setting invoice_item or service_item.",
            code="dimension-missing",
        )
    if len(draft.lines) > DRAFTING.lines:
        return Rejected(
            f"The draft has {len(draft.lines)} lines; NetSuite takes {DRAFTING.lines}.",
            code="rejected",
        )
    if draft.currency not in settings.get("currencies", {}):
        return Rejected(
            f"The connection names no NetSuite currency id for {draft.currency}. Add it to the setting currencies.",
            code="amount-invalid",
        )
    long = next((line for line in draft.lines if len(line.description) > DRAFTING.line_text), None)
    if long is not None or len(draft.memo) > DRAFTING.memo:
        return Rejected(
            f"A text is longer than the {DRAFTING.line_text} characters that NetSuite takes.", code="text-invalid"
        )
    return None


def _item(settings: Mapping[str, Any]) -> str:
    return str(settings.get("invoice_item") or settings.get("service_item") or "")


def body(draft: BillDraft, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The invoice's body, without its external id, which is in the path."""
    column = str(settings.get("posting_column") or "")
    written: dict[str, Any] = {
        **settings.get("invoice_defaults", {}),
        "entity": {"id": draft.customer},
        "tranDate": draft.dated_on.isoformat(),
        "currency": {"id": str(settings.get("currencies", {}).get(draft.currency, ""))},
        "approvalStatus": {"id": assumptions.PENDING_APPROVAL},
        "memo": _memo(draft),
        "item": {"items": [_line(draft, number, column, settings) for number in range(len(draft.lines))]},
    }
    if draft.entity:
        written["subsidiary"] = {"id": draft.entity}
    if draft.due_on is not None:
        written["dueDate"] = draft.due_on.isoformat()
    if draft.purchase_order:
        written["otherRefNum"] = draft.purchase_order
    return written


def _memo(draft: BillDraft) -> str:
    part = f" ({draft.part} of {draft.parts})" if draft.parts > 1 else ""
    return f"{draft.reference}{part} {draft.memo}".strip()[: DRAFTING.memo]


def _line(draft: BillDraft, number: int, column: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    line = draft.lines[number]
    written: dict[str, Any] = {
        **settings.get("invoice_line_defaults", {}),
        "item": {"id": line.item or _item(settings)},
        "description": line.description,
        "amount": line.net,
    }
    if line.quantity is not None:
        written["quantity"] = line.quantity
    if line.unit_price is not None:
        written["rate"] = line.unit_price
    if draft.project:
        written["job"] = {"id": draft.project}
    if column:
        written[column] = line.key
    return written


def make(http: Http, draft: BillDraft, settings: Mapping[str, Any], own: Sequence[refusals.Pattern]) -> str:
    """Write the invoice of a draft; its internal id. The same key again writes the same invoice."""
    refused = objection(draft, settings)
    if refused is not None:
        raise refused
    try:
        answer = http.request(
            "PUT", f"{_PATH}{draft.key}", params={"replace": "item"}, json=body(draft, settings),
            headers={"X-NetSuite-PropertyNameValidation": "Error"},
        )  # fmt: skip
    except ConnectorError as error:
        raise refusals.narrow(error, own) from None
    number = urlsplit(answer.headers.get("Location", "")).path.rsplit("/", 1)[-1]
    if number.isdigit():
        return number
    try:
        found = one(http, draft, settings, own)
    except ConnectorError as error:
        raise InDoubt(f"NetSuite took {draft.key}; its number could not be read: {error.detail}") from None
    if found is None:
        raise InDoubt(f"NetSuite took {draft.key} and does not show it yet.")
    return found.number


def one(http: Http, draft: BillDraft, settings: Mapping[str, Any], own: Sequence[refusals.Pattern]) -> HeldDraft | None:
    """What NetSuite holds under a draft's key; None only when it says in its own words that there is nothing."""
    try:
        answer = http.request("GET", f"{_PATH}{draft.key}", params={"expandSubResources": "true"}).body
    except ConnectorError as error:
        if statements.is_absent(error):
            return None
        raise refusals.narrow(error, own, writes=False) from None
    if not isinstance(answer, Mapping):
        raise Unavailable(f"The invoice {draft.key} came without a body.")
    return held(answer, settings)


def held(record: Mapping[str, Any], settings: Mapping[str, Any]) -> HeldDraft:
    """An invoice record as what is held of a draft."""
    sublist = record.get("item")
    lines = sublist.get("items", []) if isinstance(sublist, Mapping) else []
    column = str(settings.get("posting_column") or "")
    codes = {str(number): code for code, number in settings.get("currencies", {}).items()}
    tax = number(record, "taxTotal") or Decimal(0)
    total, net = number(record, "total"), number(record, "subtotal")
    return HeldDraft(
        number=str(record.get("id", "")), bill_number=str(record.get("tranId") or ""), status=_status(record, settings),
        customer=_id(record, "entity"), currency=codes.get(_id(record, "currency"), ""),
        purchase_order=str(record.get("otherRefNum") or ""), net=total - tax if net is None and total is not None else net,
        tax=tax, total=total, count=len(lines),
        lines={str(line.get(column)): number(line, "amount") or Decimal(0) for line in lines if line.get(column)},
    )  # fmt: skip


def _status(record: Mapping[str, Any], settings: Mapping[str, Any]) -> BillStatus | None:
    value = record.get("status")
    text = str(value.get("refName", "")) if isinstance(value, Mapping) else ""
    own = {str(name).lower(): word for name, word in (settings.get("bill_statuses") or {}).items()}
    word = {**assumptions.BILL_STATUSES, **own}.get(text.rpartition(":")[2].strip().lower())
    return BillStatus(word) if word else None


def _id(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    return str(value.get("id", "")) if isinstance(value, Mapping) else ""
