"""NetSuite's invoices, credit memos and payments: read from the sandbox over HTTP, and what they mean in our words."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from integrations.connectors.netsuite import NetSuiteConnector, mapping
from integrations.errors import Malformed
from integrations.http import Http
from integrations.protocol import Hint, SourceRecord
from integrations.sandbox.server import control
from portal.records import Application, BillKind, BillRecord, BillStatus, PaymentRecord, PaymentStatus, SettledBy
from tests.integrations.contract import Bench


def source(netsuite: Bench, **settings: Any) -> NetSuiteConnector:
    account = replace(netsuite.account, settings={**netsuite.account.settings, **settings})
    return NetSuiteConnector(account, Http(account, allow_loopback=True))


def pulled(connector: NetSuiteConnector, stream: str) -> list[Any]:
    records = [record for page in connector.pull(stream, None) for record in page.records]
    return [one for record in records for one in connector.map(record)]


def _bill(record: Any) -> BillRecord:
    assert isinstance(record, BillRecord)
    return record


@pytest.mark.case(74)
def test_an_invoice_names_the_time_bills_that_it_bills_with_its_figures_as_booked(netsuite: Bench) -> None:
    first, second = pulled(source(netsuite), "invoices")
    assert (first.external_id, first.number, first.status, first.currency) == (
        "501",
        "INV-501",
        BillStatus.PART_PAID,
        "USD",
    )
    assert (first.net, first.tax, first.total, first.balance) == tuple(
        map(Decimal, ("1087.5", "87", "1174.5", "674.5"))
    )
    assert (first.entity.key, first.customer.key, first.customer.name) == ("1", "220", "Acme Ltd")
    assert (first.booked_on, first.due_on, first.purchase_order) == (date(2026, 9, 30), date(2026, 10, 30), "PO-7")
    [line] = first.lines
    assert (line.key, line.posting_number, line.quantity, line.unit_price, line.net) == (
        "time:1001", "1001", Decimal("7.5"), Decimal(145), Decimal("1087.5"),
    )  # fmt: skip
    assert (second.status, second.currency, second.exchange_rate) == (BillStatus.PAID, "EUR", Decimal("1.1"))
    assert [(line.posting_number, line.quantity, line.net) for line in second.lines] == [("", Decimal(2), Decimal(100))]


def test_the_tax_of_a_line_is_told_by_its_details_by_its_own_fields_or_by_the_bill_alone(netsuite: Bench) -> None:
    def lines(*each: dict[str, Any], **more: Any) -> list[Any]:
        items = [{"amount": 50, **one} for one in each]
        whole = {"total": 110, "subtotal": 100, "taxTotal": 10, "item": {"items": items}, **more}
        payload = {"row": {"status": "Invoice : Open", "currency": "USD"}, "record": whole}
        record = SourceRecord(stream="invoices", external_id="9", revision="1", payload=payload)
        [made] = map(_bill, source(netsuite).map(record))
        return [(line.tax, line.tax_rate, line.tax_code) for line in made.lines]

    [first, _] = pulled(source(netsuite), "invoices")
    assert [(line.tax, line.tax_rate, line.tax_code) for line in first.lines] == [(Decimal(87), Decimal(8), "S-US")]
    details = [
        {"taxDetailsReference": {"id": "1"}, "taxAmount": 2.5, "taxRate": 5, "taxCode": {"id": "3", "refName": "GST"}},
        {"taxDetailsReference": {"id": "1"}, "taxAmount": 3.5, "taxRate": 7, "taxCode": {"id": "4", "refName": "PST"}},
    ]
    assert lines(
        {"taxDetailsReference": "1"}, {"taxDetailsReference": "2"}, taxDetails={"items": details}
    ) == [(Decimal(6), None, "GST, PST"), (None, None, "")]  # fmt: skip
    assert lines({"tax1Amt": 5, "taxRate1": 10, "taxCode": {"id": "5"}}, {"taxAmount": 4}) == [
        (Decimal(5), Decimal(10), "5"), (Decimal(4), None, ""),
    ]  # fmt: skip


def test_a_credit_memo_names_its_invoice_and_by_a_field_of_the_account_the_hours(netsuite: Bench) -> None:
    [silent] = pulled(source(netsuite), "credit-memos")
    assert (silent.kind, silent.credits, silent.status) == (BillKind.CREDIT_NOTE, "501", BillStatus.PAID)
    assert silent.applications == (Application(bill="501", amount=Decimal(145), by=SettledBy.CREDIT),)
    assert silent.lines[0].posting_number == ""
    [named] = pulled(source(netsuite, posting_column="custcol_tieout_posting"), "credit-memos")
    assert (named.lines[0].posting_number, named.lines[0].quantity) == ("1001", Decimal(1))


def test_a_payment_says_what_it_settles_and_what_is_left(netsuite: Bench) -> None:
    [paid] = pulled(source(netsuite), "payments")
    assert isinstance(paid, PaymentRecord)
    assert (paid.status, paid.amount, paid.unapplied, paid.reference) == (PaymentStatus.RECEIVED, 520, 20, "BANK-1")
    assert paid.booked_on == date(2026, 10, 12)
    assert paid.applications == (Application(bill="501", amount=Decimal(500)),)


@pytest.mark.case(96)
def test_a_discount_that_was_taken_for_paying_early_settles_the_invoice_beside_the_money(netsuite: Bench) -> None:
    early = {
        "id": "702", "tranId": "PAY-702", "customer": {"id": "220"}, "subsidiary": {"id": "1"}, "currency": {"id": "1"},
        "tranDate": "2026-10-13", "payment": 661, "applied": 661, "unapplied": 0, "status": {"refName": "Deposited"},
        "apply": {"items": [
            {"doc": {"id": "501"}, "apply": True, "amount": 661, "disc": 13.5, "discAmt": 13.5, "discDate": "2026-10-14"},
            {"doc": {"id": "502"}, "apply": False, "amount": 0, "disc": 2},
        ]},
    }  # fmt: skip
    control(netsuite.sandbox, "POST", "netsuite/seed", {"records": {"customerPayment": [early]}})
    [paid] = [one for one in pulled(source(netsuite), "payments") if one.external_id == "702"]
    assert (paid.amount, paid.unapplied) == (Decimal(661), Decimal(0))
    assert paid.applications == (
        Application(bill="501", amount=Decimal(661)),
        Application(bill="501", amount=Decimal("13.5"), by=SettledBy.DISCOUNT),
    )


def test_what_was_deleted_is_told_by_the_stream_of_the_deleted_and_read_again_as_gone(netsuite: Bench) -> None:
    connector = source(netsuite)
    control(netsuite.sandbox, "POST", "netsuite/seed", {"delete": [{"type": "invoice", "id": "502"}]})
    gone = [one for one in pulled(connector, "deleted") if isinstance(one, BillRecord)]
    assert [(one.external_id, one.kind, one.status) for one in gone] == [("502", BillKind.INVOICE, BillStatus.DELETED)]
    assert list(connector.fetch(Hint(stream="invoices", external_id="502"))) == []
    assert [one.external_id for one in pulled(connector, "invoices")] == ["501"]


def test_a_hint_reads_the_whole_record_again(netsuite: Bench) -> None:
    connector = source(netsuite)
    [record] = connector.fetch(Hint(stream="payments", external_id="701"))
    [paid] = connector.map(record)
    assert isinstance(paid, PaymentRecord)
    assert paid.number == "PAY-701"


@pytest.mark.parametrize(
    ("change", "field"),
    [({"status": "Invoice : Verbucht"}, "status"), ({"total": "a lot"}, "total"), ({"dueDate": "soon"}, "dueDate")],
)
def test_what_cannot_be_read_names_its_field(change: dict[str, Any], field: str, netsuite: Bench) -> None:
    connector = source(netsuite)
    record = next(record for page in connector.pull("invoices", None) for record in page.records)
    row, whole = record.payload["row"], record.payload["record"]
    broken = {"row": {**row, **({k: v for k, v in change.items() if k == "status"})}, "record": {**whole, **change}}
    with pytest.raises(Malformed, match=field):
        list(mapping.records(replace(record, payload=broken), {}))
    if field == "status":
        known = SourceRecord(stream="invoices", external_id="501", revision="1", payload=broken)
        [bill] = mapping.records(known, {"bill_statuses": {"Verbucht": "open"}})
        assert isinstance(bill, BillRecord)
        assert bill.status == BillStatus.PART_PAID
