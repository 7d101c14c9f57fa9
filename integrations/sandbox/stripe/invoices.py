"""Customers, invoices and their items: drafts that move, and invoices that do not any more."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from integrations.sandbox.stripe import figures
from integrations.sandbox.stripe.errors import Refused
from integrations.sandbox.stripe.forms import allowed, whole
from integrations.sandbox.stripe.records import Record, Records, described, merged, refuse_state

ITEMS = 250  # on one invoice
_INVOICE = (
    "auto_advance collection_method currency custom_fields days_until_due default_tax_rates description discounts due_date "
    "effective_at footer number pending_invoice_items_behavior"
)
_ITEM = (
    "amount currency description discountable invoice period quantity quantity_decimal tax_rates unit_amount_decimal "
    "price_data pricing tax_behavior tax_code"
)
_NOTHING = {"finalized_at": None, "paid_at": None, "voided_at": None, "marked_uncollectible_at": None}


class Invoices:
    """What is done to customers and invoices."""

    def __init__(self, records: Records) -> None:
        self.records = records

    def put(self, name: str, given: Mapping[str, Any]) -> None:
        """Take a record as it stands, without an event; an invoice with its `lines` as items."""
        if name == "customers":
            self.records.add(name, {**_customer({}), **given})
        elif name == "tax_rates":
            self.records.add(name, {"object": "tax_rate", "inclusive": False, **given})
        else:
            items = given.get("items", [])
            customer = self.records.one("customers", given["customer"])
            made = self.records.add(
                "invoices", {**self._blank(customer, str(given["currency"])), **_without(given, "items")}
            )
            for item in items:
                self._item({"customer": made["customer"], "invoice": made["id"], **item}, made)
            status = made["status"]
            self.records.change("invoices", made["id"], status="draft")
            self.records.recount(made["id"])
            self.records.change("invoices", made["id"], status=status)
            self.records.recount(made["id"])

    def make_customer(self, form: Mapping[str, Any]) -> Record:
        """POST /v1/customers."""
        allowed(form, "name email description phone address tax_exempt balance preferred_locales")
        made = self.records.add("customers", _customer(form))
        self.records.emit("customer.created", made)
        return made

    def change_customer(self, form: Mapping[str, Any], key: str) -> Record:
        """POST /v1/customers/{id}."""
        allowed(form, "name email description phone address tax_exempt balance")
        known = self.records.one("customers", key)
        made = self.records.change(
            "customers", key, **{**described(form, "name email description"), "metadata": merged(known, form)}
        )
        self.records.emit("customer.updated", made)
        return made

    def make_tax_rate(self, form: Mapping[str, Any]) -> Record:
        """POST /v1/tax_rates."""
        allowed(form, "", required="display_name percentage inclusive")
        return self.records.add(
            "tax_rates",
            {
                "object": "tax_rate", "display_name": form["display_name"], "percentage": float(form["percentage"]),
                "inclusive": form["inclusive"] == "true", "active": True,
            },
        )  # fmt: skip

    def make_invoice(self, form: Mapping[str, Any]) -> Record:
        """POST /v1/invoices: a draft."""
        allowed(form, _INVOICE, required="customer")
        customer = self._customer(form["customer"])
        currency = str(form.get("currency") or customer.get("currency") or "usd")
        if customer.get("currency") not in (None, currency):
            message = f"You cannot combine currencies on a single customer. This customer has {customer['currency']}."
            raise Refused(400, "customer_currency_mismatch", message, param="currency")
        days = whole(form, "days_until_due")
        due = whole(form, "due_date") or (self.records.now() + days * 86400 if days is not None else None)
        rates = [self.records.one("tax_rates", key) for key in form.get("default_tax_rates", [])]
        made = self.records.add(
            "invoices",
            {
                **self._blank(customer, currency), **described(form, "description footer collection_method"),
                "custom_fields": form.get("custom_fields"), "due_date": due, "default_tax_rates": rates,
                "effective_at": whole(form, "effective_at"), "number": form.get("number"), "_numbered": bool(form.get("number")),
            },
        )  # fmt: skip
        made = self.records.recount(made["id"])
        self.records.emit("invoice.created", made)
        return made

    def change_invoice(self, form: Mapping[str, Any], key: str) -> Record:
        """POST /v1/invoices/{id}: anything of a draft, and little of what was finalised."""
        allowed(form, _INVOICE)
        known = self.records.one("invoices", key)
        if known["status"] != "draft" and set(form) - {"metadata", "description", "due_date", "footer"}:
            refuse_state(known, "draft", doing="edit")
        changes = {**described(form, "description footer number"), "metadata": merged(known, form)}
        if "due_date" in form:
            changes["due_date"] = whole(form, "due_date")
        before = {name: known.get(name) for name in changes}
        made = self.records.change("invoices", key, **changes)
        self.records.emit("invoice.updated", made, before)
        return made

    def delete_invoice(self, key: str) -> Record:
        """DELETE /v1/invoices/{id}: of a draft only."""
        known = self.records.one("invoices", key)
        refuse_state(known, "draft", doing="delete")
        for item in self.records.of("invoiceitems", invoice=key):
            self.records.drop("invoiceitems", item["id"])
        self.records.emit("invoice.deleted", known)
        self.records.drop("invoices", key)
        return {"id": key, "object": "invoice", "deleted": True}

    def make_item(self, form: Mapping[str, Any]) -> Record:
        """POST /v1/invoiceitems: one line of a draft."""
        allowed(form, _ITEM, required="customer")
        invoice = self.records.one("invoices", form.get("invoice"), "invoice")
        refuse_state(invoice, "draft", doing="add items to")
        if len(self.records.of("invoiceitems", invoice=invoice["id"])) >= ITEMS:
            raise Refused(400, "invoice_max_items", f"You can add at most {ITEMS} items to an invoice.")
        if str(form.get("currency") or invoice["currency"]) != invoice["currency"]:
            raise Refused(400, "invoice_currency_mismatch", "The currency of the item and of its invoice differ.")
        made = self._item(form, invoice)
        self.records.emit("invoiceitem.created", made)
        self.records.emit("invoice.updated", self.records.recount(invoice["id"]))
        return made

    def delete_item(self, key: str) -> Record:
        """DELETE /v1/invoiceitems/{id}: of a draft only."""
        known = self.records.one("invoiceitems", key)
        refuse_state(self.records.one("invoices", known["invoice"]), "draft", doing="edit")
        self.records.drop("invoiceitems", key)
        self.records.emit("invoiceitem.deleted", known)
        self.records.emit("invoice.updated", self.records.recount(known["invoice"]))
        return {"id": key, "object": "invoiceitem", "deleted": True}

    def finalize(self, form: Mapping[str, Any], key: str) -> Record:
        """POST /v1/invoices/{id}/finalize: numbered, dated, and less what the customer has as credit."""
        allowed(form, "auto_advance")
        known = self.records.one("invoices", key)
        refuse_state(known, "draft", doing="finalize")
        if not self.records.lines(key):
            raise Refused(400, "invoice_no_customer_line_items", "Nothing to invoice for customer.")
        customer = self.records.one("customers", known["customer"])
        balance = int(customer["balance"])
        applied = min(max(-balance, 0), int(known["total"]))
        self.records.change("customers", customer["id"], balance=balance + applied, currency=known["currency"])
        now = self.records.now()
        made = self.records.change(
            "invoices", key, status="open", starting_balance=balance, ending_balance=balance + applied,
            number=known["number"] or self._number(customer), effective_at=known["effective_at"] or now,
            hosted_invoice_url=f"https://invoice.stripe.com/i/acct/{key}", invoice_pdf=f"https://pay.stripe.com/i/{key}/pdf",
            status_transitions={**known["status_transitions"], "finalized_at": now},
        )  # fmt: skip
        made = self.records.recount(key)
        self.records.emit("invoice.finalized", made)
        if made["amount_remaining"] == 0:
            made = self.become(key, "paid", "invoice.paid")
        return made

    def send(self, form: Mapping[str, Any], key: str) -> Record:
        """POST /v1/invoices/{id}/send."""
        allowed(form, "")
        made = self.records.one("invoices", key)
        refuse_state(made, "open", doing="send")
        self.records.emit("invoice.sent", made)
        return made

    def void(self, form: Mapping[str, Any], key: str, *, void_paid: bool) -> Record:
        """POST /v1/invoices/{id}/void; the credit that was used on it is the customer's again."""
        allowed(form, "")
        known = self.records.one("invoices", key)
        refuse_state(known, "open", "uncollectible", doing="void")
        if known["amount_paid"] and not void_paid:
            raise Refused(400, "invoice_not_editable", "You can't void an invoice that has payments.")
        customer = self.records.one("customers", known["customer"])
        given_back = int(known["ending_balance"]) - int(known["starting_balance"])
        self.records.change("customers", customer["id"], balance=int(customer["balance"]) - given_back)
        return self.become(key, "void", "invoice.voided")

    def write_off(self, form: Mapping[str, Any], key: str) -> Record:
        """POST /v1/invoices/{id}/mark_uncollectible."""
        allowed(form, "")
        refuse_state(self.records.one("invoices", key), "open", doing="mark uncollectible")
        return self.become(key, "uncollectible", "invoice.marked_uncollectible")

    def become(self, key: str, status: str, *events: str) -> Record:
        """Let an invoice go on to a state, with its moment and its events."""
        stamp = {"paid": "paid_at", "void": "voided_at", "uncollectible": "marked_uncollectible_at"}[status]
        known = self.records.one("invoices", key)
        moments = {**known["status_transitions"], stamp: self.records.now()}
        made = self.records.change("invoices", key, status=status, status_transitions=moments)
        for event in events:
            self.records.emit(event, made)
        return made

    def _blank(self, customer: Mapping[str, Any], currency: str) -> Record:
        return {
            "object": "invoice", "customer": customer["id"], "customer_name": customer["name"],
            "customer_email": customer["email"], "currency": currency, "status": "draft", "number": None,
            "collection_method": "send_invoice", "auto_advance": False, "automatic_tax": {"enabled": False, "status": None},
            "amount_paid": 0, "amount_overpaid": 0, "amount_paid_off_stripe": 0, "amount_shipping": 0,
            "total_discount_amounts": [],
            "pre_payment_credit_notes_amount": 0, "post_payment_credit_notes_amount": 0, "default_tax_rates": [],
            "starting_balance": int(customer["balance"]), "ending_balance": None, "effective_at": None, "due_date": None,
            "description": None, "custom_fields": None, "hosted_invoice_url": None, "invoice_pdf": None, "total": 0,
            "status_transitions": _NOTHING, "last_finalization_error": None, "deleted": None,
        }  # fmt: skip

    def _customer(self, key: Any) -> Record:
        customer = self.records.one("customers", key, "customer")
        if customer.get("deleted"):
            raise Refused(404, "resource_missing", f"No such customer: '{key}'", param="customer")
        return customer

    def _number(self, customer: Mapping[str, Any]) -> str:
        return f"{customer['invoice_prefix']}-{self.records.store.next_id('number ' + str(customer['id'])):04}"

    def _item(self, form: Mapping[str, Any], invoice: Mapping[str, Any]) -> Record:
        quantity, unit = _decimal(form, "quantity_decimal", "quantity"), _decimal(form, "unit_amount_decimal")
        if (unit is None) == (whole(form, "amount") is None):
            raise Refused(400, "parameter_missing", "Give either amount or unit_amount_decimal.", param="amount")
        quantity = Decimal(1) if quantity is None else quantity
        amount = whole(form, "amount") if unit is None else figures.rounded(quantity * unit)
        rates = [self.records.one("tax_rates", key, "tax_rates") for key in form.get("tax_rates", [])]
        made = self.records.add(
            "invoiceitems",
            {
                "object": "invoiceitem", "customer": invoice["customer"], "invoice": invoice["id"], "amount": amount,
                "currency": invoice["currency"], **described(form, "description"),
            },
        )  # fmt: skip
        line = {
            "id": f"il_{made['_order']:08}", "object": "line_item", "amount": amount, "subtotal": amount,
            "currency": invoice["currency"], "description": form.get("description"), "discount_amounts": [],
            "invoice": invoice["id"], "livemode": False, "metadata": dict(form.get("metadata", {})),
            "parent": {"type": "invoice_item_details", "invoice_item_details": {"invoice_item": made["id"], "proration": False}},
            "period": {"start": self.records.now(), "end": self.records.now(), **_period(form)},
            "pricing": {"type": "price_details", "unit_amount_decimal": _text(Decimal(amount or 0) if unit is None else unit)},
            "quantity": int(quantity) if quantity == int(quantity) else None, "quantity_decimal": _text(quantity),
            "taxes": figures.taxes(amount or 0, rates or invoice["default_tax_rates"]),
        }  # fmt: skip
        return self.records.change("invoiceitems", made["id"], _line=line)


def _customer(form: Mapping[str, Any]) -> Record:
    return {
        "object": "customer", "name": None, "email": None, "description": None, "currency": None, "metadata": {},
        "balance": whole(form, "balance") or 0, "invoice_prefix": "NWA", "deleted": None,
        **described(form, "name email description"),
    }  # fmt: skip


def _period(form: Mapping[str, Any]) -> dict[str, int]:
    period = form.get("period") or {}
    return {name: int(value) for name, value in period.items() if name in ("start", "end")}


def _decimal(form: Mapping[str, Any], *names: str) -> Decimal | None:
    for name in names:
        if name in form:
            try:
                value = Decimal(str(form[name]))
            except InvalidOperation:
                raise Refused(
                    400, "parameter_invalid_empty", f"Invalid decimal: {form[name]}", param=name, kept=False
                ) from None
            if -int(value.as_tuple().exponent) > 12:
                raise Refused(400, "decimal_precision", "At most 12 decimal places.", param=name, kept=False)
            return value
    return None


def _text(value: Decimal) -> str:
    return f"{value.normalize():f}"


def _without(given: Mapping[str, Any], name: str) -> Record:
    return {key: value for key, value in given.items() if key != name}
