"""What one Stripe account holds, how it is shown, and the events that tell of every change of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from integrations.sandbox.store import Store
from integrations.sandbox.stripe import figures
from integrations.sandbox.stripe.errors import Refused, missing

PREFIXES = {
    "customers": "cus", "tax_rates": "txr", "invoices": "in", "invoiceitems": "ii", "credit_notes": "cn",
    "invoice_payments": "inpay", "payment_intents": "pi", "payment_records": "pr", "events": "evt",
    "webhook_endpoints": "we", "disputes": "du", "refunds": "re", "lines": "il",
}  # fmt: skip
LINES_SHOWN = 10  # of an invoice; the others are paged
_EXPANDED = {"payment_intent": "payment_intents", "payment_record": "payment_records", "dispute": "disputes"}
Record = dict[str, Any]


class Records:
    """The collections of an account, in the order in which things were made. Names that begin with a blank rule are ours."""

    def __init__(self, store: Store, now: Callable[[], int]) -> None:
        self.store = store
        self.now = now

    def add(self, name: str, record: Mapping[str, Any]) -> Record:
        """Keep a new record under an id of its own."""
        number = self.store.next_id("order")
        key = str(record.get("id") or f"{PREFIXES[name]}_{number:08}")
        made = {"created": self.now(), "livemode": False, "metadata": {}, **record, "id": key, "_order": number}
        self.store.collection(name)[key] = made
        return made

    def change(self, collection: str, key: str, /, **changes: Any) -> Record:
        """Change a record that stands."""
        made: Record = {**self.store.collection(collection)[key], **changes}
        self.store.collection(collection)[key] = made
        return made

    def one(self, name: str, key: Any, param: str = "id") -> Record:
        """A record; Refused where there is none."""
        found = self.store.collection(name).get(str(key))
        if found is None:
            raise missing(name.removesuffix("s"), str(key), param)
        return found

    def drop(self, name: str, key: str) -> None:
        """Take a record away."""
        del self.store.collection(name)[key]

    def of(self, name: str, **having: Any) -> list[Record]:
        """Records of some figures."""
        return [
            record
            for record in self.store.collection(name).values()
            if all(record.get(field) == value for field, value in having.items())
        ]

    def emit(self, kind: str, record: Mapping[str, Any], previous: Mapping[str, Any] | None = None) -> None:
        """Note that something happened."""
        data: Record = {"object": json.loads(json.dumps(self.shown(record, [])))}
        if previous is not None:
            data["previous_attributes"] = dict(previous)
        self.add(
            "events",
            {
                "object": "event", "type": kind, "api_version": "2025-06-30.basil", "data": data,
                "pending_webhooks": len(self.listening(kind)), "request": {"id": None, "idempotency_key": None},
            },
        )  # fmt: skip

    def listening(self, kind: str) -> list[Record]:
        """The endpoints that are told events of a kind."""
        endpoints = self.store.collection("webhook_endpoints").values()
        return [one for one in endpoints if one["status"] == "enabled" and {kind, "*"} & set(one["enabled_events"])]

    def lines(self, invoice: str) -> list[Record]:
        """The lines of an invoice, in the order in which they were written."""
        return [self._plain(item["_line"]) for item in self.of("invoiceitems", invoice=invoice)]

    def recount(self, key: str) -> Record:
        """Work an invoice's sums out anew."""
        invoice = self.one("invoices", key)
        sums = figures.summed(self.lines(key)) if invoice["status"] == "draft" else {}
        invoice = self.change("invoices", key, **sums)
        return self.change("invoices", key, **figures.due(invoice))

    def shown(self, record: Mapping[str, Any], expand: Sequence[str]) -> Record:
        """A record as it is answered, with what was asked to be expanded."""
        made = self._plain(record)
        if made.get("object") == "invoice":
            lines = self.lines(made["id"])
            path = f"/v1/invoices/{made['id']}/lines"
            made["lines"] = {
                "object": "list", "data": lines[:LINES_SHOWN], "has_more": len(lines) > LINES_SHOWN, "url": path,
            }  # fmt: skip
            if "payments" in expand:
                paid = [self._plain(one) for one in self.of("invoice_payments", invoice=made["id"])]
                made["payments"] = {"object": "list", "data": paid[:10], "has_more": len(paid) > 10}
        for path in expand:
            _expand(self, made, path.split("."))
        return made

    def _plain(self, record: Mapping[str, Any]) -> Record:
        return {name: value for name, value in record.items() if not name.startswith("_")}


def _expand(records: Records, within: Record, path: list[str]) -> None:
    """Replace the id at the end of a path by its record."""
    head, rest = path[0], path[1:]
    value = within.get(head)
    if head in _EXPANDED and isinstance(value, str):
        value = within[head] = records._plain(records.one(_EXPANDED[head], value))
    if head == "refunds" and within.get("object") == "charge":
        found = [records._plain(one) for one in records.of("refunds", charge=within["id"])]
        value = within[head] = {"object": "list", "data": found[:10], "has_more": len(found) > 10}
    if rest and isinstance(value, dict):
        _expand(records, value, rest)


def described(form: Mapping[str, Any], names: str) -> Record:
    """The texts of a form that a record keeps as they are."""
    kept = {name: form[name] for name in names.split() if name in form}
    return {**kept, **({"metadata": dict(form["metadata"])} if "metadata" in form else {})}


def merged(record: Mapping[str, Any], form: Mapping[str, Any]) -> Record:
    """Metadata with what a form changes of it; an empty value takes a name away."""
    both = {**record["metadata"], **form.get("metadata", {})}
    return {name: value for name, value in both.items() if value != ""}


def refuse_state(invoice: Mapping[str, Any], *good: str, doing: str) -> None:
    """Refuse what an invoice's state does not allow."""
    if invoice["status"] not in good:
        code = "invoice_not_editable" if good == ("draft",) else "invoice_not_open"
        raise Refused(400, code, f"You can't {doing} an invoice that is {invoice['status']}.")
