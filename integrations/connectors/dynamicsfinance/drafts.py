"""Invoice drafts as free text invoices that are not posted: a header under our key, and all of its lines in one change set.

The header's number is drawn by Finance and named by its lines, so there are two calls. A header that has no lines yet is not a
draft: it is finished by the next call under the same key, and taken out again where its lines are refused. Each line bears its
key in `ExternalInvoiceId`, which the stream of invoices gives back. Tax and number are Finance's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from integrations.connectors.dynamicsfinance import assumptions, bills, refusals
from integrations.connectors.dynamicsfinance.entities import ROOT, Entities
from integrations.errors import ConnectorError, InDoubt, Rejected
from integrations.http import Http, multipart
from integrations.http.fields import Row, needed_number, text
from integrations.http.odata import quoted
from integrations.protocol import Account, Drafting, other_company
from portal.records import BillDraft, BillStatus, HeldDraft

DRAFTING = Drafting(
    lines=assumptions.INVOICE_LINES, line_text=assumptions.INVOICE_LINE_TEXT, memo=assumptions.INVOICE_MEMO,
    quantity_places=4, price_places=4,
)  # fmt: skip


class Found(NamedTuple):
    """A free text invoice under a key of ours, with its lines."""

    header: Row
    lines: Sequence[Row]

    @property
    def identifier(self) -> str:
        """Finance's own number of it."""
        return text(self.header, "InvoiceIdentifier")

    @property
    def is_whole(self) -> bool:
        """Whether its lines are there; they are written all together."""
        return bool(self.lines) or bills.is_posted(self.header)


class FreeTextInvoices:
    """Drafts of one company."""

    def __init__(self, account: Account, http: Http, own: Sequence[refusals.Pattern]) -> None:
        self._account = account
        self._http = http
        self._own = own
        self._entities = Entities(account, http, own)

    def make(self, draft: BillDraft) -> str:
        """Make the invoice of a draft, or finish it; its identifier."""
        refused = objection(draft, self._account)
        if refused is not None:
            raise refused
        found = self._found([draft.key]).get(draft.key)
        if found is not None and found.is_whole:
            return found.identifier
        identifier = found.identifier if found is not None else self._header(draft)
        told = [line(draft, place, int(identifier), self._account) for place in range(len(draft.lines))]
        members = [multipart.Member("POST", f"{ROOT}/{bills.LINES}", body) for body in told]
        try:
            multipart.together(self._http, f"{ROOT}/$batch", members)
        except ConnectorError as error:
            named = refusals.narrow(error, self._own)
            if isinstance(named, Rejected):
                self._take_out(identifier)
            raise named from None
        return identifier

    def held(self, drafts: Sequence[BillDraft]) -> dict[str, HeldDraft]:
        """What stands under the keys of drafts; a header without lines is no invoice yet."""
        found = self._found([draft.key for draft in drafts])
        return {key: _held(one) for key, one in found.items() if one.is_whole}

    def _header(self, draft: BillDraft) -> str:
        """Make the header of a draft; its identifier."""
        try:
            body = self._http.request("POST", f"{ROOT}/{bills.HEADERS}", json=header(draft, self._account)).body
        except ConnectorError as error:
            raise refusals.narrow(error, self._own) from None
        identifier = text(body, "InvoiceIdentifier") if isinstance(body, Mapping) else ""
        if not identifier.isdigit():
            raise InDoubt(f"Dynamics 365 Finance took {draft.key} and did not say its identifier.")
        return identifier

    def _found(self, keys: Sequence[str]) -> dict[str, Found]:
        """What there is under our keys."""
        found = {}
        for row in self._entities.among(bills.HEADERS, assumptions.DRAFT_KEY, keys):
            wanted = f"ParentRecId eq {text(row, 'InvoiceIdentifier')}"
            found[text(row, assumptions.DRAFT_KEY)] = Found(row, list(self._entities.rows(bills.LINES, wanted)))
        return found

    def _take_out(self, identifier: str) -> None:
        """Delete a header whose lines were refused. Where that is not answered, the draft is in doubt."""
        key = f"dataAreaId={quoted(self._account.realm)},InvoiceIdentifier={identifier}"
        try:
            self._http.request("DELETE", f"{ROOT}/{bills.HEADERS}({key})")
        except ConnectorError as error:
            lost = f"The lines were refused, and the invoice {identifier} could not be deleted: {error}"
            raise InDoubt(lost) from None


def objection(draft: BillDraft, account: Account) -> Rejected | None:
    """Why a draft cannot be said in the vendor's words, or None. Checked before anything is sent."""
    if refused := other_company(draft.entity, account.realm):
        return refused
    if not account.settings.get("revenue_account") and any(not one.item for one in draft.lines):
        return Rejected(
            "An invoice line needs a main account or a billing code. Map its item, or set revenue_account.",
            code="dimension-missing",
        )
    if any(len(one.description) > DRAFTING.line_text for one in draft.lines) or len(memo(draft)) > DRAFTING.memo:
        return Rejected("A text is longer than Dynamics 365 Finance takes.", code="text-invalid")
    return None


def memo(draft: BillDraft) -> str:
    """What we call the draft, which part of it this is, and the rest where there is room."""
    part = f" ({draft.part} of {draft.parts})" if draft.parts > 1 else ""
    first = f"{draft.reference}{part}"
    whole = f"{first} {draft.memo}".strip()
    return whole if len(whole) <= DRAFTING.memo else first


def header(draft: BillDraft, account: Account) -> dict[str, Any]:
    """The header of a draft."""
    due = {"DueDate": draft.due_on.isoformat()} if draft.due_on is not None else {}
    return {
        "dataAreaId": account.realm,
        "CustomerAccount": draft.customer,
        "InvoiceAccount": draft.customer,
        "InvoiceDate": draft.dated_on.isoformat(),
        "CurrencyCode": draft.currency,
        "CustomerRequisition": draft.purchase_order,
        "CustomerReference": memo(draft),
        assumptions.DRAFT_KEY: draft.key,
        **due,
    }


def line(draft: BillDraft, place: int, identifier: int, account: Account) -> dict[str, Any]:
    """One line of a draft, below its header."""
    one = draft.lines[place]
    told: dict[str, Any] = {
        "dataAreaId": account.realm,
        "ParentRecId": identifier,
        "LineNumber": place + 1,
        "Description": one.description,
        "Quantity": one.quantity,
        "UnitPrice": one.unit_price,
        "TransactionCurrencyAmount": one.net,
        "CurrencyCode": draft.currency,
        "ProjectID": draft.project,
        "BillingCode": one.item,
        "MainAccountDisplayValue": "" if one.item else str(account.settings.get("revenue_account") or ""),
        "SalesTaxItemGroupId": one.tax_code,
        assumptions.DRAFT_KEY: one.key,
    }
    return {name: value for name, value in told.items() if value not in (None, "")}


def body(draft: BillDraft, account: Account) -> dict[str, Any]:
    """Everything that would be sent for a draft; the header's number is Finance's."""
    lines = [line(draft, place, 0, account) for place in range(len(draft.lines))]
    return {"header": header(draft, account), "lines": lines}


def _held(found: Found) -> HeldDraft:
    is_posted = bills.is_posted(found.header)
    net = sum((needed_number(one, "TransactionCurrencyAmount") for one in found.lines), Decimal(0))
    tax = sum((needed_number(one, "SalesTaxAmount") for one in found.lines), Decimal(0))
    return HeldDraft(
        number=found.identifier,
        bill_number=text(found.header, "FreeTextNumber") if is_posted else "",
        status=BillStatus.OPEN if is_posted else BillStatus.DRAFT,
        customer=text(found.header, "CustomerAccount"),
        currency=text(found.header, "CurrencyCode"),
        purchase_order=text(found.header, "CustomerRequisition"),
        net=net,
        tax=tax,
        total=net + tax,
        count=len(found.lines),
        lines={
            text(one, assumptions.DRAFT_KEY): needed_number(one, "TransactionCurrencyAmount") for one in found.lines
        },
    )
