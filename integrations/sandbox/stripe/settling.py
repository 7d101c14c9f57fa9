"""What settles invoices: payments on Stripe and outside of it, and credit notes before and after payment."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from integrations.sandbox.stripe import figures
from integrations.sandbox.stripe.errors import Refused
from integrations.sandbox.stripe.forms import allowed, whole
from integrations.sandbox.stripe.invoices import Invoices
from integrations.sandbox.stripe.records import Record, Records, described, refuse_state

REASONS = ("duplicate", "fraudulent", "order_change", "product_unsatisfactory")


class Settling:
    """What is done about payments and credit notes. `off_stripe` says what paying outside at one go leaves behind."""

    def __init__(self, records: Records, invoices: Invoices) -> None:
        self.records = records
        self.invoices = invoices
        self.off_stripe = "record"

    def make_intent(self, form: Mapping[str, Any]) -> Record:
        """POST /v1/payment_intents with confirm=true: the customer's card or bank pays at once."""
        allowed(form, "customer confirm payment_method description payment_method_types", required="amount currency")
        made = self.records.add(
            "payment_intents",
            {
                "object": "payment_intent", "amount": whole(form, "amount"), "amount_received": whole(form, "amount"),
                "currency": form["currency"], "customer": form.get("customer"), "status": "succeeded", "description": None,
                **described(form, "description"),
            },
        )  # fmt: skip
        charge = {
            "id": made["id"].replace("pi_", "ch_"), "object": "charge", "amount": made["amount"], "amount_refunded": 0,
            "currency": made["currency"], "disputed": False, "dispute": None, "payment_intent": made["id"],
        }  # fmt: skip
        return self.records.change("payment_intents", made["id"], latest_charge=charge)

    def report_payment(self, form: Mapping[str, Any]) -> Record:
        """POST /v1/payment_records/report_payment: money that came by another way."""
        allowed(form, "customer_details processor_details guaranteed outcome description payment_method_details",
                required="amount_requested initiated_at")  # fmt: skip
        amount = {
            "value": int(form["amount_requested"]["value"]),
            "currency": form["amount_requested"]["currency"],
        }
        return self.records.add(
            "payment_records",
            {
                "object": "payment_record", "amount": amount, "amount_requested": amount, "amount_guaranteed": amount,
                "amount_refunded": {**amount, "value": 0}, "reported_by": "self", **described(form, "description"),
                "processor_details": form.get("processor_details") or {"type": "custom", "custom": None},
                "customer_details": form.get("customer_details"),
            },
        )  # fmt: skip

    def attach(self, form: Mapping[str, Any], key: str) -> Record:
        """POST /v1/invoices/{id}/attach_payment: what of it the invoice needs, or all of it where it needs less."""
        allowed(form, "payment_intent payment_record amount_requested")
        invoice = self.records.one("invoices", key)
        refuse_state(invoice, "open", "uncollectible", doing="pay")
        kind = "payment_intent" if "payment_intent" in form else "payment_record"
        payment = self.records.one(f"{kind}s", form.get(kind), kind)
        amount = int(payment["amount"]["value"] if kind == "payment_record" else payment["amount"])
        left = amount - sum(int(part["amount_paid"]) for part in self._parts(kind, payment["id"]))
        asked = whole(form, "amount_requested")
        return self._paid(invoice, kind, payment["id"], left if asked is None else asked)

    def pay(self, form: Mapping[str, Any], key: str) -> Record:
        """POST /v1/invoices/{id}/pay: all that is left, by card or outside of Stripe."""
        allowed(form, "paid_out_of_band payment_method forgive off_session source")
        invoice = self.records.one("invoices", key)
        refuse_state(invoice, "open", "uncollectible", doing="pay")
        left = int(invoice["amount_remaining"])
        if form.get("paid_out_of_band") != "true":
            made = self.make_intent(
                {"amount": str(left), "currency": invoice["currency"], "customer": invoice["customer"]}
            )
            return self._paid(invoice, "payment_intent", made["id"], left)
        if self.off_stripe == "bare":
            return self._less(invoice, left, off_stripe=True)
        requested = {"value": str(left), "currency": invoice["currency"]}
        record = self.report_payment({"amount_requested": requested, "initiated_at": str(self.records.now())})
        return self._paid(invoice, "payment_record", record["id"], left)

    def dispute(self, intent: str) -> None:
        """The customer's bank takes a payment back, and the dispute is lost; the invoice stays as it is."""
        known = self.records.one("payment_intents", intent)
        made = self.records.add(
            "disputes",
            {"object": "dispute", "amount": known["amount"], "currency": known["currency"], "status": "lost",
             "payment_intent": intent, "charge": known["latest_charge"]["id"]},
        )  # fmt: skip
        charge = {**known["latest_charge"], "disputed": True, "dispute": made["id"]}
        self.records.change("payment_intents", intent, latest_charge=charge)
        self.records.emit("charge.dispute.closed", made)

    def refund(self, form: Mapping[str, Any]) -> Record:
        """POST /v1/refunds: money of a payment goes back to the customer; the invoice stays as it is."""
        allowed(form, "amount reason", required="payment_intent")
        known = self.records.one("payment_intents", form["payment_intent"], "payment_intent")
        charge = known["latest_charge"]
        left = int(charge["amount"]) - int(charge["amount_refunded"])
        asked = whole(form, "amount")
        amount = left if asked is None else asked
        if not 0 < amount <= left:
            raise Refused(400, "charge_already_refunded" if not left else "amount_too_large",
                          "Refund amount is greater than unrefunded amount on charge.")  # fmt: skip
        made = self.records.add(
            "refunds",
            {"object": "refund", "amount": amount, "currency": known["currency"], "status": "succeeded",
             "payment_intent": known["id"], "charge": charge["id"], "reason": form.get("reason")},
        )  # fmt: skip
        charge = {**charge, "amount_refunded": int(charge["amount_refunded"]) + amount, "refunded": amount == left}
        self.records.change("payment_intents", known["id"], latest_charge=charge)
        self.records.emit("charge.refunded", charge)
        return made

    def _refund_of(self, invoice: str, amount: int) -> list[Record]:
        """What a credit note gives back of an invoice's payments, as it names its refunds."""
        refunds = []
        for part in self.records.of("invoice_payments", invoice=invoice):
            intent = part["payment"].get("payment_intent")
            step = min(amount, int(part["amount_paid"]))
            if intent and step:
                made = self.refund({"payment_intent": intent, "amount": str(step)})
                refunds.append({"amount_refunded": step, "refund": made["id"], "type": "refund"})
                amount -= step
        if amount:
            raise Refused(400, "credit_note_refund_amount", "There is no payment of so much to refund.")
        return refunds

    def make_credit_note(self, form: Mapping[str, Any]) -> Record:
        """POST /v1/credit_notes: it lessens what is open, and says of what was paid how it goes back."""
        allowed(form, "amount lines reason memo refund_amount credit_amount out_of_band_amount effective_at email_type",
                required="invoice")  # fmt: skip
        invoice = self.records.one("invoices", form["invoice"], "invoice")
        refuse_state(invoice, "open", "paid", doing="credit")
        if form.get("reason", REASONS[0]) not in REASONS:
            raise Refused(
                400, "parameter_invalid_empty", f"Invalid reason: {form['reason']}", param="reason", kept=False
            )
        lines = [self._credited(invoice["id"], line) for line in form.get("lines", [])]
        if amount := whole(form, "amount"):
            lines = [_custom({"type": "custom_line_item", "quantity": "1", "unit_amount": str(amount)}, 0)]
        sums = figures.summed(lines)
        before = min(int(sums["total"]), int(invoice["amount_remaining"]))
        after = int(sums["total"]) - before
        ways = {name: whole(form, name) or 0 for name in ("refund_amount", "credit_amount", "out_of_band_amount")}
        if sums["total"] <= 0 or after > int(invoice["amount_paid"]):
            raise Refused(400, "credit_note_amount_too_large", "The credit note is larger than what can be credited.")
        if sum(ways.values()) != after:
            raise Refused(400, "credit_note_post_payment_amount", "Say how what was paid goes back.")
        refunds = self._refund_of(invoice["id"], ways["refund_amount"])
        number = sum(1 for _ in self.records.of("credit_notes", invoice=invoice["id"])) + 1
        made = self.records.add(
            "credit_notes",
            {
                "object": "credit_note", "invoice": invoice["id"], "customer": invoice["customer"],
                "currency": invoice["currency"],
                "status": "issued", "number": f"{invoice['number']}-CN-{number:02}", **sums, "amount": sums["total"],
                "pre_payment_amount": before, "post_payment_amount": after,
                "out_of_band_amount": ways["out_of_band_amount"] or None,
                "type": "mixed" if before and after else "post_payment" if after else "pre_payment", "voided_at": None,
                "lines": {"object": "list", "data": lines, "has_more": False}, "reason": form.get("reason"),
                "memo": form.get("memo"), "effective_at": whole(form, "effective_at") or self.records.now(),
                "customer_balance_transaction": None, "refunds": refunds, **described(form, ""),
            },
        )  # fmt: skip
        if ways["credit_amount"]:
            customer = self.records.one("customers", invoice["customer"])
            self.records.change("customers", customer["id"], balance=int(customer["balance"]) - ways["credit_amount"])
        self._recredit(invoice, before, after)
        self.records.emit("credit_note.created", made)
        return made

    def void_credit_note(self, form: Mapping[str, Any], key: str) -> Record:
        """POST /v1/credit_notes/{id}/void: only while nothing of it went back."""
        allowed(form, "")
        known = self.records.one("credit_notes", key)
        if known["status"] != "issued" or known["post_payment_amount"]:
            raise Refused(400, "credit_note_not_voidable", "Only an issued credit note before payment can be voided.")
        made = self.records.change("credit_notes", key, status="void", voided_at=self.records.now())
        self._recredit(self.records.one("invoices", known["invoice"]), -int(known["pre_payment_amount"]), 0)
        self.records.emit("credit_note.voided", made)
        return made

    def _parts(self, kind: str, payment: str) -> list[Record]:
        return [part for part in self.records.of("invoice_payments") if part["payment"].get(kind) == payment]

    def _paid(self, invoice: Record, kind: str, payment: str, amount: int) -> Record:
        part = self.records.add(
            "invoice_payments",
            {
                "object": "invoice_payment", "invoice": invoice["id"], "amount_paid": amount, "amount_requested": amount,
                "currency": invoice["currency"], "is_default": False, "status": "paid",
                "payment": {"type": kind, kind: payment},
                "status_transitions": {"paid_at": self.records.now(), "canceled_at": None},
            },
        )  # fmt: skip
        made = self._less(invoice, amount, off_stripe=kind == "payment_record")
        self.records.emit("invoice_payment.paid", part)
        return made

    def _less(self, invoice: Record, amount: int, *, off_stripe: bool) -> Record:
        """An invoice with a payment; what is too much becomes the customer's credit."""
        key = invoice["id"]
        over = max(0, amount - int(invoice["amount_remaining"]))
        outside = int(invoice["amount_paid_off_stripe"]) + (amount if off_stripe else 0)
        self.records.change(
            "invoices", key, amount_paid=int(invoice["amount_paid"]) + amount, amount_paid_off_stripe=outside,
            amount_overpaid=int(invoice["amount_overpaid"]) + over,
        )  # fmt: skip
        if over:
            customer = self.records.one("customers", invoice["customer"])
            self.records.change("customers", customer["id"], balance=int(customer["balance"]) - over)
        made = self.records.recount(key)
        if made["amount_remaining"]:
            self.records.emit("invoice.updated", made)
            return made
        made = self.invoices.become(key, "paid", "invoice.updated", "invoice.paid", "invoice.payment_succeeded")
        if over:
            self.records.emit("invoice.overpaid", made)
        return made

    def _recredit(self, invoice: Record, before: int, after: int) -> None:
        key = invoice["id"]
        self.records.change(
            "invoices", key,
            pre_payment_credit_notes_amount=int(invoice["pre_payment_credit_notes_amount"]) + before,
            post_payment_credit_notes_amount=int(invoice["post_payment_credit_notes_amount"]) + after,
        )  # fmt: skip
        made = self.records.recount(key)
        if before > 0 and made["status"] == "open" and made["amount_remaining"] == 0:
            made = self.invoices.become(key, "paid", "invoice.paid")
        elif before < 0 and made["status"] == "paid" and made["amount_remaining"]:
            made = self.records.change("invoices", key, status="open")
        self.records.emit("invoice.updated", made)

    def _credited(self, invoice: str, form: Mapping[str, Any]) -> Record:
        """One line of a credit note, with its part of the taxes of the line that it credits."""
        number = self.records.store.next_id("order")
        if form.get("type") != "invoice_line_item":
            return _custom(form, number)
        line = next((one for one in self.records.lines(invoice) if one["id"] == form.get("invoice_line_item")), None)
        if line is None:
            raise Refused(404, "resource_missing", f"No such invoice line item: '{form.get('invoice_line_item')}'")
        quantity = whole(form, "quantity")
        unit = Decimal(line["pricing"]["unit_amount_decimal"])
        amount = whole(form, "amount") if quantity is None else figures.rounded(unit * quantity)
        amount = int(line["amount"]) if amount is None else amount
        share = Decimal(amount) / Decimal(line["amount"])
        taxes = [
            {**tax, "amount": figures.rounded(tax["amount"] * share), "taxable_amount": amount} for tax in line["taxes"]
        ]
        return {
            "id": f"cnli_{number:08}", "object": "credit_note_line_item", "amount": amount, "type": "invoice_line_item",
            "invoice_line_item": line["id"], "quantity": quantity, "description": line["description"], "discount_amount": 0,
            "discount_amounts": [], "unit_amount_decimal": line["pricing"]["unit_amount_decimal"] if quantity else None,
            "taxes": taxes, "metadata": dict(form.get("metadata", {})),
        }  # fmt: skip


def _custom(form: Mapping[str, Any], number: int) -> Record:
    quantity, unit = whole(form, "quantity") or 1, whole(form, "unit_amount") or 0
    return {
        "id": f"cnli_{number:08}", "object": "credit_note_line_item", "amount": quantity * unit, "type": "custom_line_item",
        "invoice_line_item": None, "quantity": quantity, "description": form.get("description"), "discount_amount": 0,
        "discount_amounts": [], "unit_amount_decimal": str(unit), "taxes": [], "metadata": dict(form.get("metadata", {})),
    }  # fmt: skip
