"""A Stripe account of the tests, and the people of the firm who work in it: what they do goes through the API as well."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

from integrations.connectors.stripe import StripeConnector
from integrations.http import Http
from integrations.protocol import Account
from integrations.sandbox.server import control
from integrations.sandbox.stripe.vendor import ACCOUNT_ID, API_KEY
from tests.integrations.contract import Bench

HOOK_SECRET = "whsec_tieout_tests"
CUSTOMERS = [
    {"id": "cus_acme", "name": "Acme Ltd", "email": "ap@acme.example"},
    {"id": "cus_umbrella", "name": "Umbrella KK"},
]
TAX_RATES = [
    {"id": "txr_vat20", "display_name": "VAT", "percentage": 20.0},
    {"id": "txr_incl", "display_name": "MwSt", "percentage": 19.0, "inclusive": True},
]


def bracketed(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Nested values as Stripe's forms spell them."""
    if isinstance(value, Mapping):
        return [pair for key, inner in value.items() for pair in bracketed(inner, f"{name}[{key}]" if name else key)]
    if isinstance(value, list):
        return [pair for n, inner in enumerate(value) for pair in bracketed(inner, f"{name}[{n}]")]
    return [(name, str(value).lower() if isinstance(value, bool) else str(value))]


class Office:
    """The firm's own people in Stripe: they draft, finalise, take payments and give credits."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.seconds = 0

    def do(self, path: str, refused: int = 0, key: str = "", **form: Any) -> dict[str, Any]:
        """Post a form; `refused` is the status that is expected instead of a good answer."""
        headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/x-www-form-urlencoded"}
        headers |= {"Idempotency-Key": key} if key else {}
        connection = HTTPConnection(urlsplit(self.base).netloc)
        connection.request("POST", f"/stripe/v1/{path}", urlencode(bracketed(form)), headers)
        answer = connection.getresponse()
        body: dict[str, Any] = json.loads(answer.read())
        connection.close()
        assert answer.status == (refused or 200), body
        return body

    def delete(self, path: str) -> None:
        connection = HTTPConnection(urlsplit(self.base).netloc)
        connection.request("DELETE", f"/stripe/v1/{path}", headers={"Authorization": f"Bearer {API_KEY}"})
        assert connection.getresponse().status == 200
        connection.close()

    def draft(self, *items: dict[str, Any], customer: str = "cus_acme", currency: str = "usd", **more: Any) -> str:
        """A draft with its lines; the id."""
        made = self.do("invoices", customer=customer, currency=currency, auto_advance=False, days_until_due=30, **more)
        for item in items:
            self.do("invoiceitems", customer=customer, invoice=made["id"], currency=currency, **item)
        return str(made["id"])

    def invoice(self, *items: dict[str, Any], **more: Any) -> str:
        """A finalised one."""
        made = self.draft(*(items or (hours("7.5"),)), **more)
        self.do(f"invoices/{made}/finalize")
        return made

    def wire(self, amount: int, *parts: tuple[str, int], currency: str = "usd", reference: str = "BANK-1") -> str:
        """Money that came by bank transfer, and what of it is for which invoice; the id of its record."""
        record = self.do(
            "payment_records/report_payment", amount_requested={"value": amount, "currency": currency}, initiated_at=1,
            outcome="guaranteed", processor_details={"type": "custom", "custom": {"payment_reference": reference}},
        )  # fmt: skip
        for invoice, part in parts:
            self.do(f"invoices/{invoice}/attach_payment", payment_record=record["id"], amount_requested=part)
        return str(record["id"])

    def lines(self, invoice: str) -> list[dict[str, Any]]:
        return list(control(self.base, "GET", "stripe/inspect")["invoices"][invoice]["lines"])

    def act(self, do: str, **how: Any) -> None:
        control(self.base, "POST", "stripe/seed", {"actions": [{"do": do, **how}]})

    def configure(self, **settings: Any) -> None:
        control(self.base, "POST", "stripe/configure", settings)

    def later(self) -> None:
        """Some seconds go by on Stripe's clock: what happens within one of its seconds has one stamp."""
        self.seconds += 3
        self.configure(clock_skew=self.seconds)

    def inspect(self) -> dict[str, Any]:
        found: dict[str, Any] = control(self.base, "GET", "stripe/inspect")
        return found

    def calls(self, method: str) -> list[str]:
        return [call["path"] for call in control(self.base, "GET", "stripe/calls") if call["method"] == method]


def hours(quantity: str, price: str = "15000", **more: Any) -> dict[str, Any]:
    """A line of hours at 150.00 an hour."""
    return {"quantity_decimal": quantity, "unit_amount_decimal": price, "description": "Consulting", **more}


def account(base: str, **settings: Any) -> Account:
    return Account(
        code="stripe-us", base_url=f"{base}/stripe", realm=ACCOUNT_ID, zone="America/New_York", settings=settings,
        secrets={"api_key": API_KEY, "webhook_secret": HOOK_SECRET},
    )  # fmt: skip


def connector(base: str, **settings: Any) -> StripeConnector:
    told = account(base, **settings)
    return StripeConnector(told, Http(told, allow_loopback=True))


def fresh(base: str) -> Office:
    """An empty account with two customers and two tax rates."""
    control(base, "POST", "stripe/reset", {})
    control(base, "DELETE", "faults")
    control(base, "POST", "stripe/configure", {"rate": [100_000, 1]})
    control(base, "POST", "stripe/seed", {"customers": CUSTOMERS, "tax_rates": TAX_RATES})
    return Office(base)


def bench(base: str, age: float = 120) -> Bench:
    """What the contract suite needs: so many seconds ago somebody worked on five invoices."""
    office = fresh(base)
    office.configure(clock_skew=-age)
    office.draft(hours("2"))
    open_one = office.invoice(hours("7.5", tax_rates=["txr_vat20"]), hours("1"))
    paid = office.invoice()
    for lost in (office.invoice(), office.invoice()):
        office.do(f"invoices/{lost}/{'void' if lost > paid else 'mark_uncollectible'}")
    office.wire(131000, (open_one, 30000), (paid, 100000))
    office.do(f"invoices/{paid}/pay", paid_out_of_band=True)
    line = office.lines(open_one)[1]["id"]
    office.do(
        "credit_notes",
        invoice=open_one,
        lines=[{"type": "invoice_line_item", "invoice_line_item": line, "amount": 15000}],
    )
    office.configure(clock_skew=0)

    def change(stream: str, key: str, at: datetime) -> None:
        match stream:
            case "invoices":
                office.do(f"invoices/{key}", description=f"Changed at {at}")
            case "credit_notes":
                office.do(f"credit_notes/{key}/void")
            case _:
                office.do(f"invoices/{open_one}/attach_payment", payment_record=key, amount_requested=100)

    return Bench(
        connector=StripeConnector, account=account(base), sandbox=base, vendor="stripe",
        read={"method": "GET", "path": "/v1/invoices"}, write={"method": "POST", "path": "/v1/invoices"}, change=change,
    )  # fmt: skip
