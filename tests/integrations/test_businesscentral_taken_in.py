"""Business Central on the real way in: subscriptions made and renewed, notifications as hints, bills as versions."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from django.db.models import Sum

from integrations import hints, inbox, streams, subscriptions, webhooks
from integrations.connectors.businesscentral import mapping
from integrations.errors import Malformed
from integrations.models import InboxMessage, RefusedDelivery, Run, Stream
from integrations.protocol import SourceRecord
from integrations.sandbox.businesscentral.vendor import CLIENT_SECRET
from portal.models import Connection, Invoice, InvoiceVersion, Payment, PaymentAllocation
from reconciliation import billing
from reconciliation.models import ExceptionCase
from tests import world
from tests.integrations.bc_account import INVOICE, SEED, guid
from tests.integrations.contract import Bench

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def connection(businesscentral: Bench, live_server: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Connection:
    settings.ALLOW_LOOPBACK = True
    settings.SITE_URL = live_server.url
    monkeypatch.setenv("BC_SECRET", CLIENT_SECRET)
    monkeypatch.setenv("BC_STATE", "state-of-the-test")
    account = businesscentral.account
    made = world.connection(
        "bc-de", "businesscentral", world.entity("DE"), is_source=True, realm=account.realm, settings=account.settings,
        credentials={"client_secret": {"env": "BC_SECRET"}, "client_state": {"env": "BC_STATE"}},
    )  # fmt: skip
    made.base_url = account.base_url
    made.save()
    webhooks.forget()
    return made


@pytest.mark.case(117, 119)
def test_subscriptions_are_made_renewed_and_their_notifications_read_again(
    connection: Connection, businesscentral: Bench
) -> None:
    assert subscriptions.keep(connection.pk) == "0 webhook subscriptions of Business Central were renewed and 3 made."
    assert subscriptions.keep(connection.pk) == "3 webhook subscriptions of Business Central were renewed and 0 made."
    assert [one["renewals"] for one in businesscentral.control("businesscentral/inspect")["subscriptions"]] == [1, 1, 1]

    notify = {"do": "notify", "set": "customers", "ids": [guid(1)]}
    businesscentral.control("businesscentral/seed", {"actions": [notify]})
    hints.answer(connection.pk)
    [record] = InboxMessage.objects.filter(kind="record")
    assert (record.stream, record.external_id) == ("customers", "10000")
    businesscentral.control("businesscentral/seed", {"actions": [{**notify, "ids": [guid(1)], "change": "created"}]})
    hints.answer(connection.pk)
    assert InboxMessage.objects.filter(kind="record").count() == 1, "the same record is no news"

    businesscentral.control("businesscentral/seed", {"actions": [{**notify, "state": "guessed"}]})
    assert RefusedDelivery.objects.count() == 1
    assert businesscentral.control("businesscentral/inspect")["notified"] == [202, 202, 401]


def test_subscriptions_that_ended_tell_nothing_any_more_and_are_made_anew(
    connection: Connection, businesscentral: Bench
) -> None:
    businesscentral.control("businesscentral/configure", {"subscribed_seconds": -1})
    subscriptions.keep(connection.pk)
    notify = {"do": "notify", "set": "customers", "ids": [guid(1)]}
    businesscentral.control("businesscentral/seed", {"actions": [notify]})
    assert businesscentral.control("businesscentral/inspect")["notified"] == []
    businesscentral.control("businesscentral/configure", {"subscribed_seconds": 60})
    assert subscriptions.keep(connection.pk) == "0 webhook subscriptions of Business Central were renewed and 3 made."
    businesscentral.control("businesscentral/seed", {"actions": [notify]})
    assert businesscentral.control("businesscentral/inspect")["notified"] == [202]
    assert subscriptions.keep(connection.pk) == "3 webhook subscriptions of Business Central were renewed and 0 made."


def test_a_subscription_that_somebody_renewed_meanwhile_is_renewed_with_its_new_token(
    connection: Connection, businesscentral: Bench
) -> None:
    subscriptions.keep(connection.pk)
    businesscentral.fault({"method": "PATCH"}, kind="status", status=409)
    assert subscriptions.keep(connection.pk) == "3 webhook subscriptions of Business Central were renewed and 0 made."


def test_without_a_state_of_ours_no_webhook_is_asked_for(connection: Connection, businesscentral: Bench) -> None:
    connection.credentials = {"client_secret": {"env": "BC_SECRET"}}
    connection.save()
    assert "not used" in subscriptions.keep(connection.pk)
    assert businesscentral.control("businesscentral/inspect")["subscriptions"] == []


def read(connection: Connection, name: str) -> list[tuple[str, str]]:
    """Read a stream now and take in what came; every record's number with what became of it."""
    stream, _ = Stream.objects.get_or_create(connection=connection, name=name, defaults={"every_seconds": 900})
    Stream.objects.filter(pk=stream.pk).update(next_due_at=None, usual_volume=0)
    run = streams.pull(stream.pk)
    assert run is not None
    assert run.state == Run.State.DONE, run.failure
    inbox.take_in_everything(connection.pk)
    failed = InboxMessage.objects.filter(connection=connection, stream=name, state="failed")
    return list(failed.values_list("external_id", "failure"))


def test_bills_come_in_as_versions_and_a_payment_that_keeps_the_stamp_is_one_of_them(
    connection: Connection, businesscentral: Bench
) -> None:
    assert read(connection, "sales_invoices") == []
    assert read(connection, "sales_credit_memos") == []

    def bill(number: str) -> list[tuple[int, str, Decimal | None]]:
        found = InvoiceVersion.objects.filter(number=number).order_by("version")
        return list(found.values_list("version", "status", "balance"))

    assert bill("PS-INV100001") == [(1, "open", Decimal(1190))]
    assert bill("PS-INV100002") == [(1, "draft", None)]
    assert bill("PS-CR100001") == [(1, "paid", None)]
    note = Invoice.objects.get(current__number="PS-CR100001")
    assert note.credits is not None
    assert note.credits.current.number == "PS-INV100001"

    for paid in (500, 690):
        pay = {"do": "pay", "invoice": INVOICE.format(1), "amount": paid, "moves_stamp": False}
        businesscentral.control("businesscentral/seed", {"actions": [pay]})
        assert read(connection, "sales_invoices") == []
    assert bill("PS-INV100001")[1:] == [(2, "part_paid", Decimal(690)), (3, "paid", Decimal(0))]


@pytest.mark.case(91, 93)
def test_a_payment_of_the_custom_page_settles_its_invoice_and_one_that_is_reversed_settles_nothing(
    connection: Connection, businesscentral: Bench
) -> None:
    pay = {"do": "pay", "invoice": INVOICE.format(1), "amount": 400}
    businesscentral.control("businesscentral/seed", {"actions": [pay]})
    assert read(connection, "sales_invoices") == []
    assert read(connection, "payments") == []
    bill = Invoice.objects.get(current__number="PS-INV100001")
    assert (bill.current.status, bill.current.balance) == ("part_paid", Decimal(790))
    settled = PaymentAllocation.objects.filter(invoice=bill, payment_version__isnull=False)
    assert sorted(settled.values_list("amount", flat=True)) == [Decimal(100), Decimal(300)]
    [payment] = SEED["customerPaymentEntries"]
    reversed_one = {**payment, "reversed": True, "lastModifiedDateTime": "2026-10-01T08:00:00.000Z"}
    businesscentral.control("businesscentral/seed", {"customerPaymentEntries": [reversed_one]})
    assert read(connection, "payments") == []
    assert Payment.objects.get().current.status == "voided"
    assert sum(settled.values_list("amount", flat=True)) == 0


@pytest.mark.case(96, 97, 102)
def test_what_was_not_paid_in_money_settles_the_bill_by_what_the_ledger_says_that_it_is(
    connection: Connection, businesscentral: Bench
) -> None:
    """1190 is paid less a discount, the bank's fee, tax held back and a rounding of exchange; a loss of the books is no part."""
    connection.settings = {
        **connection.settings,
        "settled_by": {"Payment Tolerance": "bank_fee", "Withheld Tax": "withholding"},
    }
    connection.save()
    parts = {
        "Application": -1100, "Payment_x0020_Discount_x0020__x0028_VAT_x0020_Excl._x0029_": -20,
        "Payment Discount (VAT Adjustment)": -3.8, "Payment Tolerance": -6.2, "Withheld Tax": -59.5, "Appln. Rounding": -0.5,
        "Realized Loss": 0,
    }  # fmt: skip
    [template] = SEED["customerPaymentEntries"]
    named = {"invoiceId": INVOICE.format(1), "invoiceNumber": "PS-INV100001", "unapplied": False}
    payment = {
        **template, "amount": -1100, "lastModifiedDateTime": "2026-10-01T08:00:00.000Z",
        "applications": [{**named, "entryType": kind, "amount": amount} for kind, amount in parts.items()],
    }  # fmt: skip
    pay = {"do": "pay", "invoice": INVOICE.format(1), "amount": 1190}
    businesscentral.control("businesscentral/seed", {"actions": [pay], "customerPaymentEntries": [payment]})
    assert read(connection, "sales_invoices") == read(connection, "payments") == []
    bill = Invoice.objects.get(current__number="PS-INV100001")
    assert (bill.current.status, bill.current.balance) == ("paid", Decimal(0))
    settled = PaymentAllocation.objects.filter(invoice=bill, payment_version__isnull=False)
    by = dict(settled.values_list("by").annotate(Sum("amount")))
    assert by == {
        "cash": Decimal(1100), "discount": Decimal("23.8"), "bank_fee": Decimal("6.2"), "withholding": Decimal("59.5"),
        "fx": Decimal("0.5"),
    }  # fmt: skip
    assert billing.review(connection.pk, older_than_seconds=0) == (0, 0), "nothing of its balance is unexplained"


@pytest.mark.parametrize("written", ["Charitable Gift", "Credit"])
def test_a_type_of_entry_that_is_not_known_is_not_guessed(written: str, businesscentral: Bench) -> None:
    [template] = SEED["customerPaymentEntries"]
    [part, *_] = template["applications"]
    row = {**template, "applications": [{**part, "entryType": written}]}
    record = SourceRecord(stream="payments", external_id="1", revision="1", payload=row)
    account = replace(
        businesscentral.account, settings={**businesscentral.account.settings, "settled_by": {"Credit": "credit"}}
    )
    with pytest.raises(Malformed, match=written):
        list(mapping.records(record, account))


@pytest.mark.case(80)
def test_a_draft_that_is_deleted_there_is_a_case_until_two_people_say_that_it_stays_so(
    connection: Connection, businesscentral: Bench
) -> None:
    assert read(connection, "sales_invoices") == []
    draft = Invoice.objects.get(external_id=INVOICE.format(2))
    company = f"/api/v2.0/companies({businesscentral.account.realm})"
    businesscentral.build().http.request("DELETE", f"{company}/salesInvoices({INVOICE.format(2)})")
    assert read(connection, "sales_invoices") == []
    draft.refresh_from_db()
    assert (draft.current.status, draft.current.number) == ("deleted", "PS-INV100002"), "what was known of it stays"
    assert ExceptionCase.objects.get(state="open").rule == "bill-deleted"

    entity = connection.entity
    ana, cora = world.user("ana", "analyst", entity), world.user("cora", "controller", entity)
    billing.approve(billing.adopt(draft, by=ana, reason="made by mistake"), by=cora)
    assert not ExceptionCase.objects.filter(state="open").exists()
    assert read(connection, "sales_invoices") == []
    assert not ExceptionCase.objects.filter(state="open").exists(), "it is told once"
