"""Stripe on the real way in: bills and payments through the inbox by schedule and by signed webhooks."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from integrations import hints, inbox, streams, subscriptions, webhooks
from integrations.connectors.stripe import StripeConnector
from integrations.connectors.stripe.connector import EVENTS
from integrations.models import InboxMessage, RefusedDelivery, Run, Stream
from integrations.sandbox.server import sandbox_server
from integrations.sandbox.stripe.vendor import API_KEY
from portal.models import Connection, Invoice, Payment, PaymentAllocation
from reconciliation import billing, naming
from reconciliation.models import ExceptionCase
from tests import bills, world
from tests.integrations import stripe_account
from tests.integrations.stripe_account import HOOK_SECRET, Office, hours
from tests.reconciliation import firm as firms

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def vendors() -> Iterator[str]:
    with sandbox_server(names=["stripe"]) as base:
        yield base


@pytest.fixture
def office(vendors: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Office:
    settings.ALLOW_LOOPBACK = True
    monkeypatch.setattr(StripeConnector, "rate", None)
    monkeypatch.setenv("STRIPE_KEY", API_KEY)
    monkeypatch.setenv("STRIPE_HOOK", HOOK_SECRET)
    webhooks.forget()
    return stripe_account.fresh(vendors)


@pytest.fixture
def connection(office: Office) -> Connection:
    firm = firms.build()
    made = world.connection(
        "stripe-us", "stripe", firm.entity, is_source=True, zone="America/New_York",
        credentials={"api_key": {"env": "STRIPE_KEY"}, "webhook_secret": {"env": "STRIPE_HOOK"}},
    )  # fmt: skip
    made.base_url = stripe_account.account(office.base).base_url
    made.save()
    firms.key(made, "customer", firm.customer.pk, "cus_acme")
    return made


def read(connection: Connection) -> int:
    """Read every stream now; how many records were new."""
    filed = 0
    for name in StripeConnector.streams:
        stream, _ = Stream.objects.get_or_create(connection=connection, name=name, defaults={"every_seconds": 900})
        Stream.objects.filter(pk=stream.pk).update(next_due_at=None, usual_volume=0)
        run = streams.pull(stream.pk)
        assert run is not None
        assert run.state == Run.State.DONE, run.failure
        filed += run.filed
    inbox.take_in_everything(connection.pk)
    return filed


def answer(connection: Connection) -> None:
    InboxMessage.objects.filter(kind="hint", state="new").update(next_attempt_at=None)
    hints.answer(connection.pk)
    inbox.take_in_everything(connection.pk)


def status(key: str) -> str:
    return str(Invoice.objects.get(external_id=key, kind="invoice").current.status)


def settled(key: str) -> Decimal:
    return sum((row.amount for row in PaymentAllocation.objects.filter(invoice__external_id=key)), Decimal(0))


def differences(connection: Connection) -> list[str]:
    """What the nightly comparison of balances finds."""
    billing.review(connection.pk, older_than_seconds=0)
    return list(ExceptionCase.objects.filter(rule="balance-differs", state="open").values_list("sentence", flat=True))


@pytest.mark.case(91, 92, 98, 101)
def test_a_months_bills_and_payments_tie_out_to_the_balances_that_stripe_states(
    office: Office, connection: Connection
) -> None:
    paid, part, credited, lost, void = (office.invoice(hours("4", tax_rates=["txr_vat20"])) for _ in range(5))
    office.wire(100_000, (paid, 72_000), (part, 28_000))
    line = {"type": "invoice_line_item", "invoice_line_item": office.lines(credited)[0]["id"], "amount": 15_000}
    note = office.do("credit_notes", invoice=credited, lines=[line])["id"]
    office.do(f"invoices/{credited}/pay")
    office.do(f"invoices/{lost}/mark_uncollectible")
    office.do(f"invoices/{void}/void")
    read(connection)
    assert [status(key) for key in (paid, part, credited, lost, void)] == [
        "paid", "part_paid", "paid", "written_off", "voided",
    ]  # fmt: skip
    assert [settled(key) for key in (paid, part, credited, lost, void)] == [720, 280, 720, 720, 0]
    found = Invoice.objects.get(external_id=note, kind="credit_note")
    assert found.credits is not None
    assert (found.credits.external_id, found.current.total) == (credited, 180)
    assert Payment.objects.filter(kind="write_off").count() == 1
    assert {str(i.current.customer) for i in Invoice.objects.select_related("current__customer")} == {"ACME Acme Inc."}
    assert differences(connection) == []
    office.later()
    office.wire(72_000, (lost, 72_000), reference="LATE")
    read(connection)
    assert (status(lost), settled(lost)) == ("paid", 720)
    assert differences(connection) == []
    office.later()
    read(connection)
    assert read(connection) == 0, "the same again is nothing new"


@pytest.mark.django_db(transaction=True)
@pytest.mark.case(117, 118, 119, 120, 123)
def test_webhooks_come_through_our_own_door_signed_twice_and_in_disorder_and_what_never_came_is_found_by_the_sweep(
    office: Office, connection: Connection, live_server: Any, settings: Any
) -> None:
    settings.SITE_URL = live_server.url
    address = subscriptions.address_of(connection)
    office.do("webhook_endpoints", url=address, enabled_events=list(EVENTS), metadata={"secret": HOOK_SECRET})
    key = office.invoice(hours("2"))
    office.wire(10_000, (key, 10_000))
    for _ in range(3):  # what was not answered in time is sent again
        office.act("deliver", reverse=True, times=2)
    assert {code for codes in office.inspect()["delivered"].values() for code in codes} <= {200, 202}
    filed = InboxMessage.objects.filter(kind="hint").count()
    office.act("deliver", events=[event["id"] for event in office.inspect()["events"]])
    assert InboxMessage.objects.filter(kind="hint").count() == filed, "what is sent again is known"
    answer(connection)
    assert (status(key), settled(key)) == ("part_paid", 100)
    [endpoint] = office.inspect()["endpoints"]
    office.act("roll", endpoint=endpoint["id"], secret="whsec_that_comes")
    last = office.inspect()["events"][-1]["id"]
    office.act("deliver", events=[last])
    assert office.inspect()["delivered"][last] == [200], "one of the two proofs is by the secret that we know"
    for trick in ({"secret": "whsec_forged"}, {"at": 1_700_000_000}):
        office.act("deliver", events=[last], **trick)
    assert RefusedDelivery.objects.count() == 2
    office.do(f"webhook_endpoints/{endpoint['id']}", disabled=True)
    office.later()
    office.do(f"invoices/{key}/pay", paid_out_of_band=True)
    office.act("deliver")
    answer(connection)
    assert status(key) == "part_paid", "nobody told us"
    assert subscriptions.keep(connection.pk) == "1 of 1 webhook endpoints of Stripe were enabled again."
    read(connection)
    assert (status(key), settled(key)) == ("paid", 300)
    assert differences(connection) == []


@pytest.mark.case(77, 80)
def test_a_void_lets_go_of_what_it_billed_and_a_deleted_draft_is_gone(office: Office, connection: Connection) -> None:
    draft, key = office.draft(hours("1")), office.invoice(hours("2"))
    read(connection)
    assert (status(draft), status(key)) == ("draft", "open")
    office.later()
    office.do(f"invoices/{key}/void")
    office.delete(f"invoices/{draft}")
    read(connection)
    assert (status(draft), status(key)) == ("deleted", "voided")
    assert bills.find(key).current.number == "NWA-0001"


@pytest.mark.case(93)
def test_a_payment_that_bounced_is_taken_back_and_the_difference_is_told(
    office: Office, connection: Connection
) -> None:
    key = office.invoice(hours("2"))
    office.do(f"invoices/{key}/pay")
    read(connection)
    assert settled(key) == 300
    office.later()
    office.act("dispute", payment_intent=Payment.objects.get().external_id)
    read(connection)
    assert settled(key) == 0
    assert PaymentAllocation.objects.count() == 2, "both stay to be seen"
    [sentence] = differences(connection)
    assert "300.00 USD" in sentence


@pytest.mark.case(93)
def test_refunded_money_is_no_longer_received_and_is_told_unless_a_credit_note_gave_it_back(
    office: Office, connection: Connection
) -> None:
    bare, credited = (office.invoice(hours("2")) for _ in range(2))
    for key in (bare, credited):
        office.do(f"invoices/{key}/pay")
    read(connection)
    assert (settled(bare), settled(credited)) == (300, 300)
    office.later()
    by_bill = {
        key: Payment.objects.distinct().get(versions__allocations__invoice__external_id=key) for key in (bare, credited)
    }
    given = office.do("refunds", payment_intent=by_bill[bare].external_id, amount=10_000)["id"]
    note = office.do("credit_notes", invoice=credited, amount=10_000, refund_amount=10_000)
    read(connection)
    for refund, key in ((given, bare), (note["refunds"][0]["refund"], credited)):
        assert list(naming.payments(refund)) == [by_bill[key]], "a refund is found by the id that Stripe gave it"
    assert not naming.payments("re_unknown").exists()
    assert (settled(bare), settled(credited)) == (200, 300)
    assert by_bill[credited].versions.latest("version").amount == 200
    [sentence] = differences(connection)
    assert "leaves 100.00 USD" in sentence
    assert "was given back" in sentence
    assert PaymentAllocation.objects.filter(invoice__external_id=bare, takes_back__isnull=False).count() == 1


@pytest.mark.case(78)
def test_an_invoice_that_was_voided_with_a_payment_on_it_opens_nothing_and_is_told_with_the_amount(
    office: Office, connection: Connection
) -> None:
    key = office.invoice(hours("2"))
    office.wire(10_000, (key, 10_000))
    office.do(f"invoices/{key}/void", refused=400)
    office.configure(void_paid=True)
    office.do(f"invoices/{key}/void")
    read(connection)
    assert (status(key), settled(key)) == ("voided", 100)
    found = ExceptionCase.objects.get(rule="void-with-payments", state="open")
    assert "100.00 USD" in found.sentence
