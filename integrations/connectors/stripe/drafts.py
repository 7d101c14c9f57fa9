"""Invoice drafts in Stripe: an invoice, an item for every line, and at last the mark that it is whole.

That is many calls, so a draft can be half made. It bears our key from the first one and counts as made once it bears the mark;
until then it is not shown, and whoever makes it again goes on where it stands. What is sent again was looked for before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from integrations.connectors.stripe import amounts, assumptions, lines, mapping, reading, refusals, writing
from integrations.connectors.stripe.paging import everything
from integrations.connectors.stripe.settings import SETTINGS
from integrations.errors import ConnectorError, Rejected
from integrations.http import Http
from integrations.protocol import Account, Drafting
from portal.records import BillDraft, BillStatus, DraftLine, HeldDraft

DRAFTING = Drafting(
    lines=assumptions.INVOICE_LINES, line_text=assumptions.LINE_TEXT_LIMIT, memo=assumptions.MEMO_LIMIT,
    quantity_places=12, price_places=9,
)  # fmt: skip
Record = Mapping[str, Any]


def body(draft: BillDraft, account: Account) -> dict[str, Any]:
    """The forms of a draft: of the invoice without its lines, and of each line without its invoice. Raises Rejected."""
    return {"invoice": _invoice(draft, account), "lines": [_line(draft, line, account) for line in draft.lines]}


def objection(draft: BillDraft, account: Account) -> Rejected | None:
    """Why a draft cannot be said in Stripe's words, or None. Checked before anything is sent."""
    long = next((line for line in draft.lines if len(line.description) > DRAFTING.line_text), None)
    if long is not None or len(draft.memo) > DRAFTING.memo:
        return Rejected(
            f"A text is longer than the {DRAFTING.line_text} characters that Stripe takes.", code="text-invalid"
        )
    if len(draft.purchase_order) > assumptions.CUSTOM_FIELD_LIMIT:
        return Rejected("The purchase order is longer than Stripe's custom fields.", code="text-invalid")
    if len(draft.lines) > DRAFTING.lines:
        return Rejected(f"The draft has {len(draft.lines)} lines; Stripe takes {DRAFTING.lines}.")
    try:
        body(draft, account)
    except Rejected as refused:
        return refused
    return None


def _invoice(draft: BillDraft, account: Account) -> dict[str, str]:
    form = {
        "customer": draft.customer,
        "currency": draft.currency.lower(),
        "collection_method": "send_invoice",
        "auto_advance": "false",
        "pending_invoice_items_behavior": "exclude",
        "effective_at": _noon(draft.dated_on, account.zone),
        f"metadata[{mapping.KEY}]": draft.key,
        f"metadata[{mapping.REFERENCE}]": f"{draft.reference} {draft.part}/{draft.parts}",
    }
    if draft.due_on is not None:
        form["due_date"] = _noon(draft.due_on, account.zone)
    else:
        form["days_until_due"] = str(account.setting("days_until_due", SETTINGS))
    if draft.memo:
        form["description"] = draft.memo
    if draft.entity:
        form[f"metadata[{mapping.ENTITY}]"] = draft.entity
    if draft.purchase_order:
        form["custom_fields[0][name]"] = str(account.setting("purchase_order_field", SETTINGS))
        form["custom_fields[0][value]"] = draft.purchase_order
    if account.setting("automatic_tax", SETTINGS):
        form["automatic_tax[enabled]"] = "true"
    return form


def _line(draft: BillDraft, line: DraftLine, account: Account) -> dict[str, str]:
    """One line. Where quantity times price is not its net to the cent, the net goes as one piece with the hours beside it."""
    net = amounts.minor(line.net, draft.currency)
    form = {
        "customer": draft.customer,
        "currency": draft.currency.lower(),
        "description": line.description,
        "discountable": "false",
        f"metadata[{lines.LINE}]": line.key,
    }
    if _is_product(line, draft.currency, net):
        form["quantity_decimal"] = f"{(line.quantity or Decimal(0)).normalize():f}"
        form["unit_amount_decimal"] = amounts.minor_price(line.unit_price or Decimal(0), draft.currency)
    else:
        form["amount"] = str(net)
        form[f"metadata[{lines.HOURS}]"] = lines.NO_HOURS if line.quantity is None else f"{line.quantity.normalize():f}"
    beside = {lines.POSTINGS: ",".join(line.postings), lines.MILESTONE: line.milestone, lines.PROJECT: draft.project}
    for name, value in beside.items():
        if value and len(value) <= assumptions.METADATA_LIMIT:
            form[f"metadata[{name}]"] = value
    if line.tax_code:
        form["tax_rates[0]"] = _tax_rate(line.tax_code, account)
    return form


def _is_product(line: DraftLine, currency: str, net: int) -> bool:
    """Whether quantity times price is the net however a fraction is rounded, so that Stripe comes to it as well."""
    if line.quantity is None or line.unit_price is None or line.quantity < 0:
        return False
    exact = line.quantity * line.unit_price.scaleb(amounts.decimals(currency))
    return abs(exact - net) < Decimal("0.5")


def _tax_rate(code: str, account: Account) -> str:
    known = account.setting("tax_rates", SETTINGS)
    if code.startswith("txr_"):
        return code
    if code not in known:
        raise Rejected(
            f"The connection names no tax rate of Stripe for {code}. Add it to the setting tax_rates.",
            code="dimension-missing",
        )
    return str(known[code])


def _noon(day: date, zone: str) -> str:
    """A day as a moment that is this day in the account's zone and in those around it."""
    return str(int(datetime.combine(day, time(12), ZoneInfo(zone)).timestamp()))


class Drafts:
    """The invoice drafts of one account."""

    def __init__(self, http: Http, account: Account, own: Sequence[refusals.Pattern]) -> None:
        self.http, self.account, self.own = http, account, own

    def make(self, draft: BillDraft) -> str:
        """Make one draft, or go on with one that was half made; its id. Under one key there is never a second one."""
        refused = objection(draft, self.account)
        if refused is not None:
            raise refused
        forms = body(draft, self.account)
        invoice = self._standing(draft)
        if invoice is not None and _is_whole(invoice):
            return str(invoice["id"])
        if invoice is None:
            invoice = writing.make(
                self.http, "/v1/invoices", forms["invoice"], draft.key, self.own,
                is_there=lambda made: self._is_there(str(made["id"])),
            )  # fmt: skip
        key = str(invoice["id"])
        if invoice.get("status", "draft") != "draft":
            raise Rejected(
                f"Invoice {invoice.get('number') or key} was finalised in Stripe before all its lines stood. Void it there.",
                code="record-locked",
            )
        try:
            self._complete(draft, key, forms["lines"])
        except Rejected:
            with suppress(ConnectorError):  # what is left of it bears our key, and is gone on with or found
                self.http.request("DELETE", f"/v1/invoices/{key}")
            raise
        writing.change(
            self.http, f"/v1/invoices/{key}", {f"metadata[{mapping.COMPLETE}]": str(len(draft.lines))}, self.own
        )
        return key

    def held(self, drafts: Iterable[BillDraft]) -> dict[str, HeldDraft]:
        """What stands whole under our keys, a draft or not any more."""
        wanted: dict[str, set[str]] = {}
        for draft in drafts:
            wanted.setdefault(draft.customer, set()).add(draft.key)
        found: dict[str, HeldDraft] = {}
        for customer, keys in wanted.items():
            for invoice in self._of(customer):
                key = _key(invoice)
                if key in keys and _is_whole(invoice):
                    found[key] = self._held(invoice)
        return found

    def _standing(self, draft: BillDraft) -> Record | None:
        """The invoice under a draft's key, whole or not. Lists show at once what was made; Search does not."""
        return next((invoice for invoice in self._of(draft.customer) if _key(invoice) == draft.key), None)

    def _of(self, customer: str) -> Iterator[Record]:
        try:
            yield from everything(self.http, "/v1/invoices", {"customer": customer})
        except ConnectorError as error:
            named = refusals.narrow(error, self.own, writes=False)
            if not (isinstance(named, Rejected) and named.code == "gone"):
                raise named from None

    def _is_there(self, key: str) -> bool:
        """Whether an invoice that an old answer names still stands; a draft may have been deleted since."""
        return reading.invoice(self.http, key) is not None

    def _complete(self, draft: BillDraft, key: str, forms: Sequence[Mapping[str, str]]) -> None:
        """Make the items that are missing."""
        rows = everything(self.http, f"/v1/invoices/{key}/lines", {})
        there = {str((row.get("metadata") or {}).get(lines.LINE)) for row in rows}
        for line, form in zip(draft.lines, forms, strict=True):
            if line.key not in there:
                writing.make(
                    self.http, "/v1/invoiceitems", {**form, "invoice": key}, f"{draft.key}/{line.key}/{key}", self.own
                )

    def _held(self, shown: Record) -> HeldDraft:
        whole = reading.whole_invoice(self.http, shown)
        currency = str(shown["currency"]).upper()
        rows = list(lines.billed(whole["lines"], currency))
        total = amounts.money(shown, "total", currency)
        net = amounts.optional(shown, "total_excluding_tax", currency)
        net = total if net is None else net
        field = str(self.account.setting("purchase_order_field", SETTINGS))
        return HeldDraft(
            number=str(shown["id"]), bill_number=str(shown.get("number") or ""), status=_status(shown),
            customer=reading.identity(shown.get("customer")), currency=currency, net=net, tax=total - net, total=total,
            purchase_order=mapping.purchase_order(shown, field), count=len(rows),
            lines={row.posting_key: row.net for row in rows if row.posting_key},
        )  # fmt: skip


def _status(shown: Record) -> BillStatus | None:
    return mapping.STATUSES.get(str(shown.get("status")))


def _key(invoice: Record) -> str:
    return str((invoice.get("metadata") or {}).get(mapping.KEY) or "")


def _is_whole(invoice: Record) -> bool:
    return bool((invoice.get("metadata") or {}).get(mapping.COMPLETE))
