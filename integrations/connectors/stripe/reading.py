"""Whole records: an invoice with all its lines and payments, a credit note with what it credits, a payment with its parts.

A record is read as it is now and in the version that we pin; what an event shows is of its own moment and version.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from integrations.connectors.stripe.paging import everything
from integrations.errors import Malformed, Rejected, Unavailable
from integrations.http import Http, Response

Record = Mapping[str, Any]
PAYMENT_PATHS = {
    "pi": "payment_intents",
    "pr": "payment_records",
    "pyr": "payment_records",
    "ch": "charges",
    "py": "charges",
}
KINDS = {"payment_intents": "payment_intent", "payment_records": "payment_record", "charges": "charge"}


def invoice(http: Http, key: str) -> tuple[Response, Record] | None:
    """An invoice, with the answer that brought it; None when Stripe says that it is gone."""
    answer = _one(http, "invoices", key, {"expand[]": ["payments"]})
    return None if answer is None else (answer, whole_invoice(http, answer.body))


def whole_invoice(http: Http, shown: Record) -> Record:
    """An invoice as it was shown, with the lines and payments that did not fit."""
    key = str(shown["id"])
    return {
        "invoice": shown,
        "lines": _all(http, shown.get("lines"), f"/v1/invoices/{key}/lines", {}),
        "payments": _all(http, shown.get("payments"), "/v1/invoice_payments", {"invoice": key}),
    }


def credit_note(http: Http, key: str) -> tuple[Response, Record] | None:
    """A credit note with the lines of its invoice; None when it is gone."""
    answer = _one(http, "credit_notes", key, {})
    return None if answer is None else (answer, whole_credit_note(http, answer.body))


def whole_credit_note(http: Http, shown: Record) -> Record:
    """A credit note as it was shown, with its lines, and the lines of the invoice that it credits."""
    credited = identity(shown.get("invoice"))
    return {
        "credit_note": shown,
        "lines": _all(http, shown.get("lines"), f"/v1/credit_notes/{shown['id']}/lines", {}),
        "invoice_lines": list(everything(http, f"/v1/invoices/{quote(credited, safe='')}/lines", {}))
        if credited
        else [],
    }


def payment(http: Http, key: str) -> tuple[Response, Record] | None:
    """A payment with what of it went to which invoice; None where there is no such payment, or none of an invoice."""
    path = PAYMENT_PATHS.get(key.partition("_")[0])
    if path is None:
        return None
    expand = {
        "payment_intents": ["latest_charge.dispute", "latest_charge.refunds"],
        "charges": ["dispute", "refunds"],
    }.get(path)
    answer = _one(http, path, key, {"expand[]": expand} if expand else {})
    if answer is None:
        return None
    if path == "charges":  # invoices of before, whose payments cannot be asked for by charge
        parts = [part for part in everything(http, "/v1/invoice_payments", {}) if paid_by(part) == key]
    else:
        kind = KINDS[path]
        parts = list(everything(http, "/v1/invoice_payments", {"payment[type]": kind, f"payment[{kind}]": key}))
    return (answer, {"payment": answer.body, "parts": parts}) if parts else None


def paid_by(part: Record) -> str:
    """The id of the payment that a part is of. Raises Malformed."""
    said = part.get("payment")
    kind = said.get("type") if isinstance(said, Mapping) else None
    found = identity(said.get(kind)) if isinstance(said, Mapping) and kind in KINDS.values() else ""
    if not found:
        raise Malformed(f"payment of invoice payment {part.get('id')} is of the kind {kind!r}, which we do not know.")
    return found


def identity(value: Any) -> str:
    """The id of what may be an id or the object itself; empty where there is none."""
    return str(value.get("id") or "") if isinstance(value, Mapping) else str(value or "")


def _one(http: Http, path: str, key: str, params: Mapping[str, Any]) -> Response | None:
    try:
        answer = http.request("GET", f"/v1/{path}/{quote(key, safe='')}", params=params)
    except Rejected as refused:
        if refused.status in (404, 410):
            return None
        raise
    if not isinstance(answer.body, Mapping) or str(answer.body.get("id")) != key:
        raise Unavailable(f"Stripe answered something that is not {key}.")
    return None if answer.body.get("deleted") is True else answer


def _all(http: Http, shown: Any, path: str, params: Mapping[str, Any]) -> list[Record]:
    """The rows of a list within a record, read by themselves where the record does not show all of them."""
    rows = shown.get("data") if isinstance(shown, Mapping) else None
    if isinstance(rows, list) and not shown.get("has_more"):
        return rows
    return list(everything(http, path, params))
