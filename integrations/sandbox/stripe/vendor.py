"""A stand-in for Stripe's API of invoicing, version 2026-10-28.endive: forms in, JSON out, amounts in minor units.

People and their browsers are played by the API itself: what a test does to an invoice, it does with the same calls. Seed:

    {"customers": [..], "tax_rates": [..], "invoices": [..]}     records in the vendor's shape; seeded ones have no event
    {"actions": [{"do": "deliver", "events": [ids] (default: all that wait), "times": 1, "reverse": false,
                  "secret": .., "at": epoch}]}                   webhooks to every endpoint, or forged and stale ones
    {"actions": [{"do": "dispute", "payment_intent": ..}]}       the customer's bank takes a payment back
    {"actions": [{"do": "roll", "endpoint": .., "secret": ..}]}  a second secret signs as well, until the first one ends
    {"actions": [{"do": "fail", "path": .., "commits": false}]}  the next POST there answers 500, and keeps it under its key

Settings: `keys` (API keys), `forbidden` (parts of paths that the key may not call), `rate` ([calls, seconds], for reads and for
writes), `locked` (ids that somebody else is changing), `forget_keys` (24 hours are over), `off_stripe` (whether what is paid
outside of Stripe at one go makes a payment record: "record" or "bare"), `void_paid` (whether what has payments can be voided).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from integrations.sandbox import outgoing
from integrations.sandbox.store import Store
from integrations.sandbox.stripe import errors, forms
from integrations.sandbox.stripe.endpoints import Endpoints, signature
from integrations.sandbox.stripe.errors import Refused
from integrations.sandbox.stripe.invoices import Invoices
from integrations.sandbox.stripe.records import Records
from integrations.sandbox.stripe.settling import Settling
from integrations.sandbox.vendor import Request, Response, Route, Vendor, Window

API_KEY = "sk_test_tieout_sandbox"
ACCOUNT_ID = "acct_sandbox"
KEY_LIFE = 24 * 3600
EVENT_LIFE = 30 * 24 * 3600
Verb = Callable[..., dict[str, Any]]


class StripeSandbox(Vendor):
    """One Stripe account."""

    name = "stripe"

    def __init__(self, store: Store) -> None:
        self.records = Records(store, lambda: int(self.now().timestamp()))
        self.invoices = Invoices(self.records)
        self.settling = Settling(self.records, self.invoices)
        self.endpoints = Endpoints(self.records)
        self.delivered: dict[str, list[int]] = {}  # what endpoints answered to the last delivery of each event
        super().__init__(store)
        self._defaults()

    def _defaults(self) -> None:
        self.keys = {API_KEY}
        self.forbidden: list[str] = []
        self.reads, self.writes = Window(100, 1.0), Window(100, 1.0)
        self.locked: set[str] = set()
        self.failing: list[Mapping[str, Any]] = []
        self.versions: set[str] = set()
        self.settling.off_stripe, self.void_paid = "record", False

    def routes(self) -> Sequence[Route]:
        """What the documents describe and a billing platform needs."""
        invoices, settling, endpoints = self.invoices, self.settling, self.endpoints
        return [
            Route("GET", "/v1/account", self._account),
            *self._record("customers", invoices.make_customer, invoices.change_customer),
            *self._record("tax_rates", invoices.make_tax_rate, None),
            *self._record("invoices", invoices.make_invoice, invoices.change_invoice),
            Route("GET", "/v1/invoices/{id}/lines", self._lines),
            Route("POST", "/v1/invoices/{id}/finalize", self._post(invoices.finalize)),
            Route("POST", "/v1/invoices/{id}/send", self._post(invoices.send)),
            Route("POST", "/v1/invoices/{id}/void", self._post(self._void)),
            Route("POST", "/v1/invoices/{id}/mark_uncollectible", self._post(invoices.write_off)),
            Route("POST", "/v1/invoices/{id}/pay", self._post(settling.pay)),
            Route("POST", "/v1/invoices/{id}/attach_payment", self._post(settling.attach)),
            Route("DELETE", "/v1/invoices/{id}", self._deleted(invoices.delete_invoice)),
            *self._record("invoiceitems", invoices.make_item, None),
            Route("DELETE", "/v1/invoiceitems/{id}", self._deleted(invoices.delete_item)),
            *self._record("credit_notes", settling.make_credit_note, None),
            Route("POST", "/v1/credit_notes/{id}/void", self._post(settling.void_credit_note)),
            *self._record("invoice_payments", None, None),
            *self._record("refunds", settling.refund, None),
            *self._record("payment_intents", settling.make_intent, None),
            Route("POST", "/v1/payment_records/report_payment", self._post(settling.report_payment)),
            *self._record("payment_records", None, None),
            *self._record("events", None, None),
            *self._record("webhook_endpoints", endpoints.make, endpoints.change),
        ]

    def _void(self, form: Mapping[str, Any], key: str) -> dict[str, Any]:
        return self.invoices.void(form, key, void_paid=self.void_paid)

    def authenticate(self, request: Request) -> Response | None:
        """A secret key as bearer token, its permissions, and the limits of reads and writes."""
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or key not in self.keys:
            return errors.of_status(401)
        self.versions.add(request.headers.get("Stripe-Version", ""))
        if any(part in request.path for part in self.forbidden):
            return errors.of_status(403)
        window = self.reads if request.method == "GET" else self.writes
        if window.refuses(key) is not None:
            refused = errors.of_status(429)
            refused.headers["Stripe-Rate-Limited-Reason"] = "global-rate"
            return refused
        return None

    def error(self, status: int, request: Request) -> Response:
        """Stripe's own body."""
        del request
        return errors.of_status(status)

    def not_found(self, request: Request) -> Response:
        """A path that is not there."""
        message = f"Unrecognized request URL ({request.method}: {request.path})."
        return Response(404, errors.body("invalid_request_error", "", message))

    def _account(self, request: Request) -> Response:
        del request
        name = {"dashboard": {"display_name": "Northwind Advisory"}}
        return Response(body={"id": ACCOUNT_ID, "object": "account", "default_currency": "usd", "settings": name})

    def _record(self, name: str, make: Verb | None, change: Verb | None) -> Iterable[Route]:
        yield Route("GET", f"/v1/{name}", partial(self._list, name))
        yield Route("GET", f"/v1/{name}/{{id}}", partial(self._read, name))
        if make is not None:
            yield Route("POST", f"/v1/{name}", self._post(make))
        if change is not None:
            yield Route("POST", f"/v1/{name}/{{id}}", self._post(change))

    def _post(self, verb: Verb) -> Callable[[Request], Response]:
        """A call that writes, once under its idempotency key."""

        def handle(request: Request) -> Response:
            text = request.body.decode()
            key = request.headers.get("Idempotency-Key", "")
            digest = hashlib.sha256(f"{request.path}?{text}".encode()).hexdigest()
            known = self._kept(key)
            if known is not None:
                if known["digest"] != digest:
                    message = (
                        "Keys for idempotent requests can only be used with the same parameters they were first used with. "
                        f"Try using a key other than '{key}' if you meant to execute a different request."
                    )
                    return Response(400, errors.body("idempotency_error", "", message))
                return Response(known["status"], known["body"], {"Idempotent-Replayed": "true"})
            if self.locked & {*request.params.values(), *self._named(text)}:
                message = "This object cannot be accessed right now because another API request is accessing it."
                return Response(429, errors.body("invalid_request_error", "lock_timeout", message))
            status, body, keep = self._carried_out(verb, request, text)
            if key and keep:
                at = int(self.now().timestamp())
                self.store.collection("keys")[key] = {"digest": digest, "status": status, "body": body, "at": at}
            return Response(status, body)

        return handle

    def _carried_out(self, verb: Verb, request: Request, text: str) -> tuple[int, Any, bool]:
        fails = next((fail for fail in self.failing if fail["path"] in request.path), None)
        if fails is not None:
            self.failing.remove(fails)
        try:
            made = verb(forms.parsed(text), *request.params.values()) if fails is None or fails["commits"] else {}
        except Refused as refused:
            return refused.status, refused.body, refused.kept
        if fails is not None:
            answer = errors.of_status(500)
            return answer.status, answer.body, True
        return 200, self.records.shown(made, forms.parsed(text).get("expand") or []), True

    def _kept(self, key: str) -> dict[str, Any] | None:
        known = self.store.collection("keys").get(key) if key else None
        return known if known is not None and known["at"] > self.now().timestamp() - KEY_LIFE else None

    def _named(self, text: str) -> set[str]:
        return {str(value) for value in forms.parsed(text).values() if isinstance(value, str)}

    def _deleted(self, verb: Verb) -> Callable[[Request], Response]:
        def handle(request: Request) -> Response:
            try:
                return Response(body=verb(request.params["id"]))
            except Refused as refused:
                return Response(refused.status, refused.body)

        return handle

    def _read(self, name: str, request: Request) -> Response:
        found = self.store.collection(name).get(request.params["id"])
        if found is None:
            refused = errors.missing(name.removesuffix("s"), request.params["id"])
            return Response(refused.status, refused.body)
        return Response(body=self.records.shown(found, forms.parsed(request.query_string).get("expand") or []))

    def _list(self, name: str, request: Request) -> Response:
        query = forms.parsed(request.query_string)
        items = [item for item in self.store.collection(name).values() if _matches(item, query)]
        if name == "events":
            oldest = self.now().timestamp() - EVENT_LIFE
            items = [item for item in items if item["created"] >= oldest]
        items.sort(key=lambda item: (item["created"], item["_order"]), reverse=True)
        expand = [part.removeprefix("data.") for part in query.get("expand") or []]
        return self._page(request, query, [self.records.shown(item, expand) for item in items])

    def _lines(self, request: Request) -> Response:
        if request.params["id"] not in self.store.collection("invoices"):
            refused = errors.missing("invoice", request.params["id"])
            return Response(refused.status, refused.body)
        lines = self.records.lines(request.params["id"])
        return self._page(request, forms.parsed(request.query_string), lines)

    def _page(self, request: Request, query: Mapping[str, Any], items: Sequence[Any]) -> Response:
        try:
            start, limit = _range(query, [str(item["id"]) for item in items])
        except Refused as refused:
            return Response(refused.status, refused.body)
        page = items[start : start + limit]
        return Response(
            body={"object": "list", "data": page, "has_more": start + limit < len(items), "url": request.path}
        )

    def seed(self, data: Mapping[str, Any]) -> None:
        """Take records, then play the actions."""
        if unknown := set(data) - {"customers", "tax_rates", "invoices", "actions"}:
            raise ValueError(f"Stripe has no {min(unknown)!r}")
        for name in ("customers", "tax_rates", "invoices"):
            for given in data.get(name, ()):
                self.invoices.put(name, given)
        for action in data.get("actions", ()):
            self._act(**action)

    def _act(self, do: str, **how: Any) -> None:
        if do == "deliver":
            self._deliver(**how)
        elif do == "dispute":
            self.settling.dispute(str(how["payment_intent"]))
        elif do == "fail":
            self.failing.append({"commits": False, **how})
        elif do == "roll":
            self.endpoints.roll(str(how["endpoint"]), str(how["secret"]))
        else:
            raise ValueError(f"Stripe has no action {do!r}")

    def _deliver(
        self, events: Sequence[str] = (), times: int = 1, secret: str = "", at: int | None = None, *, reverse: bool = False
    ) -> None:  # fmt: skip
        """Send events to every endpoint that listens to them; one that is not taken waits on."""
        known = self.store.collection("events")
        chosen = list(events) or [key for key, event in known.items() if event["pending_webhooks"]]
        for key in reversed(chosen) if reverse else chosen:
            statuses = []
            text = json.dumps(self.records.shown(known[key], []))
            for endpoint in self.records.listening(known[key]["type"]):
                stamp = int(self.now().timestamp()) if at is None else at
                header = signature([secret] if secret else endpoint["_secrets"], text, stamp)
                headers = {"Stripe-Signature": header}
                statuses += [outgoing.call("POST", endpoint["url"], text, headers)[0] for _ in range(times)]
            self.delivered[key] = statuses
            if statuses and all(status < 300 for status in statuses):
                known[key] = {**known[key], "pending_webhooks": 0}

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Take the settings named at the top of this module."""
        rest = dict(settings)
        if "keys" in rest:
            self.keys = set(map(str, rest.pop("keys")))
        if "rate" in rest:
            calls, seconds = rest.pop("rate")
            self.reads, self.writes = (Window(int(calls), float(seconds)) for _ in range(2))
        if rest.pop("forget_keys", False):
            kept = self.store.collection("keys")
            for key in list(kept):
                del kept[key]
        self.locked = set(map(str, rest.pop("locked", self.locked)))
        self.forbidden = list(map(str, rest.pop("forbidden", self.forbidden)))
        self.settling.off_stripe = str(rest.pop("off_stripe", self.settling.off_stripe))
        self.void_paid = bool(rest.pop("void_paid", self.void_paid))
        super().configure(rest)

    def reset(self) -> None:
        """Forget records and settings."""
        super().reset()
        self.delivered.clear()
        self._defaults()

    def inspect(self) -> Mapping[str, Any]:
        """Invoices by our key, everything that stands, and what endpoints answered."""
        by_key: dict[str, list[str]] = {}
        invoices = {
            key: {**self.records.shown(item, []), "lines": self.records.lines(key)}
            for key, item in self.store.collection("invoices").items()
        }
        for key, invoice in invoices.items():
            if ours := invoice["metadata"].get("tieout_key"):
                by_key.setdefault(ours, []).append(key)
        return {
            "invoices": invoices,
            "invoices_by_key": by_key,
            "customers": [self.records.shown(item, []) for item in self.store.collection("customers").values()],
            "events": [
                {"id": key, "type": event["type"], "pending": event["pending_webhooks"]}
                for key, event in self.store.collection("events").items()
            ],
            "items": len(self.store.collection("invoiceitems")),
            "endpoints": [dict(item) for item in self.store.collection("webhook_endpoints").values()],
            "delivered": self.delivered,
            "versions": sorted(self.versions),
        }


def _range(query: Mapping[str, Any], ids: Sequence[str]) -> tuple[int, int]:
    limit = forms.whole(query, "limit") or 10
    if not 1 <= limit <= 100:
        raise Refused(400, "parameter_invalid_integer", "limit is between 1 and 100.", param="limit")
    after = query.get("starting_after")
    if after and after not in ids:
        raise errors.missing("object", str(after), "starting_after")
    return (ids.index(str(after)) + 1 if after else 0), limit


def _matches(item: Mapping[str, Any], query: Mapping[str, Any]) -> bool:
    for name in ("customer", "status", "invoice"):
        if name in query and item.get(name) != query[name]:
            return False
    if "types" in query and item.get("type") not in query["types"]:
        return False
    if payment := query.get("payment"):
        kind = payment["type"]
        if item["payment"]["type"] != kind or item["payment"].get(kind) != payment.get(kind):
            return False
    created = query.get("created") or {}
    stamp = int(item["created"])
    return int(created.get("gte", 0)) <= stamp <= int(created.get("lte", 1 << 40)) and stamp > int(
        created.get("gt", -1)
    )
