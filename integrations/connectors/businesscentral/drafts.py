"""Invoice drafts as sales invoices: made whole or not at all, known by our key, posted where the connection says so.

Business Central knows no idempotency key. Ours is the invoice's external document number, which is looked for before one is
made. Every line bears its own key in a field of its text, so that the bill that comes back says which hours it bills.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from integrations.connectors.businesscentral import assumptions, mapping, odata, refusals, units
from integrations.connectors.businesscentral.odata import Request, Row
from integrations.connectors.businesscentral.settings import SETTINGS
from integrations.connectors.businesscentral.streams import INVOICES, ROOT, STREAMS, record
from integrations.errors import ConnectorError, InDoubt, Rejected
from integrations.http import Http
from integrations.http.odata import of_a_look
from integrations.protocol import Account, Drafting, other_company
from portal.records import BillDraft, BillRecord, DraftLine, HeldDraft

DRAFTING = Drafting(
    lines=assumptions.INVOICE_LINES, line_text=assumptions.MEMO_LIMIT, memo=assumptions.MEMO_LIMIT - 30, quantity_places=5,
    price_places=5,
)  # fmt: skip
_CENT = Decimal("0.01")


def objection(draft: BillDraft, account: Account) -> Rejected | None:
    """Why a draft cannot be said in a sales invoice, or None. Checked before anything is sent."""
    if refused := other_company(draft.entity, account.realm):
        return refused
    if not account.settings.get("invoice_account") and not all(line.item for line in draft.lines):
        return Rejected(
            "An invoice line needs a G/L account, an item or a resource. Add one to the setting invoice_account.",
            code="dimension-missing",
        )
    long = next((line for line in draft.lines if len(line.description) > DRAFTING.line_text), None)
    if long is not None:
        return Rejected(
            f"A line has {len(long.description)} characters; Business Central takes {DRAFTING.line_text}.",
            code="text-invalid",
        )
    return None


def body(draft: BillDraft, account: Account) -> dict[str, Any]:
    """The sales invoice of a draft with its lines; the first one tells what we call it."""
    dimension = str(account.settings.get("project_dimension") or "")
    told: dict[str, Any] = {
        "externalDocumentNumber": _code(draft.key),
        "customerNumber": draft.customer,
        "invoiceDate": draft.dated_on.isoformat(),
        "postingDate": draft.dated_on.isoformat(),
        "currencyCode": "" if draft.currency == mapping.books(account) else draft.currency,
        "pricesIncludeTax": False,
        "salesInvoiceLines": [
            {"lineType": "Comment", "description": _title(draft)},
            *(_line(line, account) for line in draft.lines),
        ],
    }
    if draft.due_on is not None:
        told["dueDate"] = draft.due_on.isoformat()
    if draft.purchase_order:
        told["customerPurchaseOrderReference"] = draft.purchase_order
    if dimension and draft.project:
        told["dimensionSetLines"] = [{"code": dimension, "valueCode": draft.project}]
    return told


def _title(draft: BillDraft) -> str:
    part = f" ({draft.part} of {draft.parts})" if draft.parts > 1 else ""
    return f"{draft.reference}{part} {draft.memo}".strip()[: assumptions.MEMO_LIMIT]


def _line(line: DraftLine, account: Account) -> dict[str, Any]:
    """One line. Business Central multiplies; where that does not come to the amount, the amount is the price of one.

    A resource counts in its base unit where the line names none; its hours are named as such.
    """
    quantity, price = line.quantity, line.unit_price
    is_hours = quantity is not None and price is not None
    if quantity is None or price is None or (quantity * price).quantize(_CENT, ROUND_HALF_UP) != line.net:
        quantity, price, is_hours = Decimal(-1 if line.net < 0 else 1), abs(line.net), False
    kind = str(account.setting("invoice_line_type", SETTINGS))
    told: dict[str, Any] = {
        "lineType": kind,
        "lineObjectNumber": line.item or str(account.settings.get("invoice_account") or ""),
        "description": line.description,
        assumptions.LINE_KEY: line.key,
        **({"unitOfMeasureCode": units.hour(account)} if is_hours and kind == assumptions.TIME_TYPE else {}),
        "quantity": quantity,
        "unitPrice": price,
    }
    if line.tax_code:
        told["taxCode"] = line.tax_code
    return told


class SalesInvoices:
    """The sales invoices of one company that were drafted by us."""

    def __init__(self, account: Account, http: Http, own: Sequence[refusals.Pattern]) -> None:
        self._account = account
        self._http = http
        self._own = own
        self._size = int(account.setting("page_size", SETTINGS))
        self._posts = bool(account.setting("post_invoices", SETTINGS))
        self._company = f"companies({account.realm})"
        self._path = f"{ROOT}/{self._company}/salesInvoices"

    def make(self, draft: BillDraft) -> str:
        """Make the invoice of a draft where there is none under its key, and post it where that is wanted; its id.

        What is refused leaves nothing behind: an invoice whose posting is refused is taken out again.
        """
        if (refused := objection(draft, self._account)) is not None:
            raise refused
        row = next(iter(self._rows([draft.key])), None)
        if row is None:
            row = self._create(draft)
        if self._posts and mapping.is_draft(row):
            return self._post(draft, row)
        return str(row["id"])

    def held(self, drafts: Sequence[BillDraft]) -> dict[str, HeldDraft]:
        """What the company holds under our keys, drafts and posted ones."""
        keys = [draft.key for draft in drafts]
        found: dict[str, HeldDraft] = {}
        for start in range(0, len(keys), odata.KEYS_AT_ONCE):
            for row in self._rows(keys[start : start + odata.KEYS_AT_ONCE]):
                found[str(row["externalDocumentNumber"]).lower()] = held(row, self._account)
        return found

    def _create(self, draft: BillDraft) -> Row:
        """One request of a batch, so that an invoice of which a line is refused is rolled back with it."""
        wanted = Request("POST", f"{self._company}/salesInvoices?$expand=salesInvoiceLines", body(draft, self._account))
        answers = odata.batch(self._http, ROOT, [wanted])
        if not answers:
            raise InDoubt("Business Central did not say what became of an invoice.")
        if answers[0].status >= 300:
            raise refusals.member(answers[0].status, answers[0].body, self._own)
        made = answers[0].body
        if not isinstance(made, Mapping) or not made.get("id"):
            raise InDoubt("Business Central made an invoice and did not say which.")
        return made

    def _post(self, draft: BillDraft, row: Row) -> str:
        path = f"{self._path}({row['id']})"
        try:
            self._http.request("POST", f"{path}/{assumptions.POST}")
        except ConnectorError as error:
            named = refusals.narrow(error, self._own)
            if isinstance(named, Rejected):
                self._take_out(path, str(row.get("@odata.etag") or ""), named)
            raise InDoubt(named.detail, status=408) if named.status == 408 else named from None
        try:
            posted = next(iter(self._rows([draft.key])), None)
        except ConnectorError as error:
            raise InDoubt(f"The invoice was posted; it could not be read: {error.detail}") from None
        if posted is None:
            raise InDoubt("The invoice was posted, and Business Central does not show it yet.")
        return str(posted["id"])

    def _take_out(self, path: str, tag: str, refused: Rejected) -> None:
        """Delete a draft whose posting was refused, as it was read; one that stays is no refusal, and is looked up.

        One that its accountant changed meanwhile stays: nobody's work is deleted unseen.
        """
        if not tag:
            raise InDoubt(
                f"Posting was refused ({refused.detail}), and the draft stays: it was read without its state."
            )
        try:
            self._http.request("DELETE", path, headers={"If-Match": tag})
        except ConnectorError as error:
            raise InDoubt(f"Posting was refused ({refused.detail}), and the draft stays: {error.detail}") from None

    def _rows(self, keys: Sequence[str]) -> list[Row]:
        wanted = odata.any_of("externalDocumentNumber", [_code(key) for key in keys])
        params = {"$filter": wanted, "$expand": "salesInvoiceLines"}
        try:
            return list(odata.rows(self._http, self._path, params, self._size))
        except ConnectorError as error:
            raise of_a_look(refusals.narrow(error, self._own, writes=False), odata.VENDOR) from None


def held(row: Row, account: Account) -> HeldDraft:
    """A sales invoice as what is held of a draft. Raises Malformed naming the field that cannot be read."""
    said = mapping.records(record(STREAMS[INVOICES], row), account)
    bill = next(one for one in said if isinstance(one, BillRecord))
    return HeldDraft(
        number=str(row["id"]), bill_number=bill.number, status=bill.status, customer=bill.customer.key, currency=bill.currency,
        purchase_order=bill.purchase_order, net=bill.net, tax=bill.tax, total=bill.total, count=len(bill.lines),
        lines={line.posting_key: line.net for line in bill.lines if line.posting_key},
    )  # fmt: skip


def _code(key: str) -> str:
    """A key as a field of type Code keeps it."""
    return key.upper()
