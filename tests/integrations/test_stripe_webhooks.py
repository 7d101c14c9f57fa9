"""What Stripe's webhooks must prove, and what they name."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from dataclasses import replace
from typing import Any

import pytest

from integrations.connectors.stripe import StripeConnector
from integrations.connectors.stripe.connector import EVENTS
from integrations.connectors.stripe.streams import STREAMS
from integrations.errors import Malformed, Unauthorised
from integrations.http import Http
from integrations.protocol import Delivery, Hint
from integrations.sandbox.stripe.endpoints import signature
from tests.integrations import stripe_account
from tests.integrations.stripe_account import HOOK_SECRET

NOWHERE = "http://127.0.0.1:9"
INVOICE = {"id": "in_1", "object": "invoice"}


def event(kind: str = "invoice.paid", about: Any = INVOICE, **more: Any) -> bytes:
    return json.dumps({"id": "evt_1", "object": "event", "type": kind, "data": {"object": about}, **more}).encode()


def receive(body: bytes, header: str | None = None, **secrets: str) -> Delivery:
    told = stripe_account.account(NOWHERE)
    told = replace(told, secrets={**told.secrets, **secrets})
    if header is None:
        header = signature([HOOK_SECRET], body.decode(), int(time.time()))
    headers = {"stripe-signature": header} if header else {}
    return StripeConnector(told, Http(told, allow_loopback=True)).receive(headers, body)


def test_the_signature_is_the_one_that_is_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'{"id":"evt_test","object":"event","type":"invoice.paid"}'
    known = "02b5890a3376a18a176fde670ba47bc920bc30c6ae0deb7adf58049a4ead9aff"
    assert hmac.new(b"whsec_test_secret", b"1700000000." + body, hashlib.sha256).hexdigest() == known
    monkeypatch.setattr(time, "time", lambda: 1700000299.0)
    with pytest.raises(Malformed, match=r"data\.object"):  # which is looked at only once the signature held
        receive(body, f"t=1700000000,v1={known}", webhook_secret="whsec_test_secret")
    monkeypatch.setattr(time, "time", lambda: 1700000301.0)
    with pytest.raises(Unauthorised, match="300 seconds"):
        receive(body, f"t=1700000000,v1={known}", webhook_secret="whsec_test_secret")


@pytest.mark.case(119)
@pytest.mark.parametrize("minutes", [-10, 10])
def test_a_signature_ten_minutes_away_from_our_clock_is_refused_in_either_direction(minutes: int) -> None:
    body = event()
    for seconds, good in ((minutes * 60, False), (minutes * 24, True)):
        header = signature([HOOK_SECRET], body.decode(), int(time.time()) + seconds)
        if good:
            assert receive(body, header).delivery_id == "evt_1"
        else:
            with pytest.raises(Unauthorised, match="300 seconds"):
                receive(body, header)


@pytest.mark.case(119)
def test_a_forged_changed_or_missing_signature_is_refused() -> None:
    body, now = event(), int(time.time())
    good = signature([HOOK_SECRET], body.decode(), now)
    proof = good.partition("v1=")[2]
    for wrong in (
        "", "v1=", f"v1={proof}", f"t={now}", f"t={now},v1=", f"t={now + 1},v1={proof}", f"t=now,v1={proof}",
        f"t={now},v0={proof}",
        signature(["whsec_of_somebody"], body.decode(), now), f"t={now},v1={proof[:-1]}",
    ):  # fmt: skip
        with pytest.raises(Unauthorised):
            receive(body, wrong)
    with pytest.raises(Unauthorised):
        receive(body + b" ", good)
    with pytest.raises(Unauthorised, match="no secret webhook_secret"):
        receive(body, good, webhook_secret="")


@pytest.mark.case(123)
def test_while_a_secret_is_rolled_over_either_one_holds_on_either_side() -> None:
    body, now = event(), int(time.time())
    old, new = signature([HOOK_SECRET], body.decode(), now), signature(["whsec_new"], body.decode(), now)
    both = signature(["whsec_new", HOOK_SECRET], body.decode(), now)
    assert receive(body, both).delivery_id == "evt_1", "Stripe signs with both, and we know the old one"
    assert receive(body, old, webhook_secret_2="whsec_new").delivery_id == "evt_1"
    assert receive(body, new, webhook_secret_2="whsec_new").delivery_id == "evt_1"
    with pytest.raises(Unauthorised):
        receive(body, new)


@pytest.mark.parametrize(
    ("kind", "about", "named"),
    [
        ("invoice.finalized", INVOICE, [("invoices", "in_1")]),
        ("credit_note.voided", {"id": "cn_1", "invoice": "in_1"}, [("credit_notes", "cn_1"), ("invoices", "in_1")]),
        ("credit_note.created", {"id": "cn_1", "invoice": INVOICE}, [("credit_notes", "cn_1"), ("invoices", "in_1")]),
        ("invoice_payment.paid",
         {"id": "inpay_1", "invoice": "in_1", "payment": {"type": "payment_record", "payment_record": "pr_1"}},
         [("payments", "pr_1"), ("invoices", "in_1")]),
        ("charge.refunded", {"id": "ch_1", "object": "charge", "payment_intent": "pi_1"}, [("payments", "pi_1")]),
        ("charge.dispute.closed", {"id": "du_1", "payment_intent": None, "charge": "ch_1"}, [("payments", "ch_1")]),
        ("customer.updated", {"id": "cus_1"}, []),
        ("invoice.upcoming", {"object": "invoice"}, []),
    ],
)  # fmt: skip
def test_an_event_names_what_moved_and_nothing_else(kind: str, about: Any, named: list[tuple[str, str]]) -> None:
    found = receive(event(kind, about))
    assert found.hints == [Hint(stream=stream, external_id=key) for stream, key in named]


def test_what_is_signed_and_cannot_be_read_is_malformed() -> None:
    for body in (
        b"{",
        b"[]",
        b'{"type": "invoice.paid"}',
        event(about=None),
        event("invoice_payment.paid", {"id": "inpay_1"}),
    ):
        with pytest.raises(Malformed):
            receive(body)


@pytest.mark.case(121)
def test_the_same_event_is_the_same_delivery_whenever_it_is_signed_and_whatever_else_it_carries() -> None:
    first = receive(event(pending_webhooks=2))
    again = receive(
        event(pending_webhooks=1), signature([HOOK_SECRET], event(pending_webhooks=1).decode(), int(time.time()) - 60)
    )
    assert first == again


def test_a_list_of_events_is_asked_for_no_more_types_than_stripe_takes() -> None:
    assert all(len(stream.types) <= 20 for stream in STREAMS.values())
    assert set(EVENTS) == {kind for stream in STREAMS.values() for kind in stream.types}
