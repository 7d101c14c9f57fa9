"""Stripe's bills and payments over real HTTP against its sandbox: what they mean in our words, how changes are found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from integrations.connectors.stripe import StripeConnector, amounts, refusals
from integrations.errors import ConnectorError, InDoubt, Malformed, Rejected, Unauthorised, Unavailable
from integrations.http.outcomes import Response, judge
from integrations.protocol import Hint, SourceRecord
from integrations.sandbox.server import control
from portal.records import (
    Application,
    BillingRecord,
    BillKind,
    BillRecord,
    BillStatus,
    PaymentKind,
    PaymentRecord,
    PaymentStatus,
    SettledBy,
)
from tests.integrations import stripe_account
from tests.integrations.stripe_account import Office, hours

OURS: dict[str, Any] = {"metadata": {"tieout_line": "0f" * 16}}


@pytest.fixture
def office(sandbox: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    monkeypatch.setattr(StripeConnector, "rate", None)
    yield stripe_account.fresh(sandbox)
    control(sandbox, "DELETE", "faults")


def read(office: Office, stream: str, key: str) -> list[BillingRecord]:
    connector = stripe_account.connector(office.base)
    [record] = connector.fetch(Hint(stream=stream, external_id=key))
    found = list(connector.map(record))
    assert all(isinstance(one, BillingRecord) for one in found)
    return found  # type: ignore[return-value]


def bill(office: Office, key: str) -> BillRecord:
    found = read(office, "invoices", key)[0]
    assert isinstance(found, BillRecord)
    return found


def beside(office: Office, key: str) -> list[PaymentRecord]:
    return [one for one in read(office, "invoices", key)[1:] if isinstance(one, PaymentRecord)]


def payment(office: Office, key: str) -> PaymentRecord:
    [found] = read(office, "payments", key)
    assert isinstance(found, PaymentRecord)
    return found


def note(office: Office, key: str) -> BillRecord:
    [found] = read(office, "credit_notes", key)
    assert isinstance(found, BillRecord)
    return found


def take(office: Office, stream: str, since: str | None) -> tuple[dict[str, SourceRecord], str]:
    pages = list(stripe_account.connector(office.base).pull(stream, since))
    assert pages[-1].cursor is not None
    return {record.external_id: record for page in pages for record in page.records}, pages[-1].cursor


@pytest.mark.case(87, 88, 89)
def test_an_invoice_has_a_line_for_every_rate_with_its_tax_and_totals_as_stripe_booked_them(office: Office) -> None:
    field = [{"name": "Purchase order", "value": "PO-7"}]
    key = office.invoice(
        hours("7.5", "15033.5", tax_rates=["txr_vat20"], **OURS), hours("0.3333", "9999", tax_rates=["txr_incl"]),
        description="October", custom_fields=field,
    )  # fmt: skip
    found = bill(office, key)
    assert (found.kind, found.status, found.currency, found.number) == (BillKind.INVOICE, "open", "USD", "NWA-0001")
    assert (found.customer.key, found.customer.name, found.purchase_order) == ("cus_acme", "Acme Ltd", "PO-7")
    first, second = found.lines
    assert (first.posting_key, first.quantity, first.unit_price) == ("0f" * 16, Decimal("7.5"), Decimal("150.335"))
    assert (first.net, first.tax, first.tax_code) == (Decimal("1127.51"), Decimal("225.50"), "txr_vat20")
    assert (second.net, second.tax, second.posting_key) == (Decimal("28.01"), Decimal("5.32"), "")
    assert (found.net, found.tax, found.total) == tuple(map(Decimal, ("1155.52", "230.82", "1386.34")))
    assert found.net == sum(line.net for line in found.lines), "totals come from rounded lines"
    assert found.balance == found.total
    assert found.booked_on is not None
    assert found.due_on == found.booked_on + timedelta(days=30)
    assert beside(office, key) == []


@pytest.mark.parametrize(
    ("currency", "unit", "total"),
    [("jpy", "15000", "112500"), ("kwd", "15000", "112.5"), ("isk", "1500000", "112500"), ("usd", "15000", "1125"),
     ("ugx", "15000", "1125"), ("huf", "15000", "1125")],
)  # fmt: skip
def test_an_integer_has_the_decimals_that_stripe_gives_its_currency(
    office: Office, currency: str, unit: str, total: str
) -> None:
    key = office.invoice(hours("7.5", unit), customer="cus_umbrella", currency=currency)
    found = bill(office, key)
    assert (found.currency, found.total, found.lines[0].net) == (currency.upper(), Decimal(total), Decimal(total))


def test_what_stripe_cannot_hold_is_refused_before_it_is_sent() -> None:
    assert [amounts.minor(Decimal("12.34"), "USD"), amounts.minor(Decimal(120), "JPY")] == [1234, 120]
    assert [amounts.minor(Decimal("1.25"), "KWD"), amounts.minor(Decimal(70), "ISK")] == [1250, 7000]
    for amount, currency in (("12.345", "USD"), ("1.5", "JPY"), ("1.001", "KWD"), ("0.5", "ISK"), ("9999999", "USD")):
        with pytest.raises(Rejected) as refused:
            amounts.minor(Decimal(amount), currency)
        assert refused.value.code == "amount-invalid"


@pytest.mark.case(92)
def test_one_transfer_over_three_invoices_is_one_payment_with_its_parts_and_what_is_left(office: Office) -> None:
    keys = [office.invoice(hours("1")) for _ in range(3)]
    wire = office.wire(50000, (keys[0], 15000), (keys[1], 15000), (keys[2], 10000))
    found = payment(office, wire)
    assert (found.status, found.amount, found.unapplied, found.reference) == (
        PaymentStatus.RECEIVED, 500, 100, "BANK-1",
    )  # fmt: skip
    assert found.applications == tuple(
        Application(bill=key, amount=Decimal(part)) for key, part in zip(keys, (150, 150, 100), strict=True)
    )
    assert [bill(office, key).status for key in keys] == ["paid", "paid", "part_paid"]
    assert bill(office, keys[2]).balance == 50
    assert not any(beside(office, key) for key in keys), "a payment record tells of what was paid outside of Stripe"


@pytest.mark.parametrize("leaves", ["record", "bare"])
def test_what_was_paid_outside_of_stripe_at_one_go_is_one_payment_whatever_stripe_leaves_of_it(
    office: Office, leaves: str
) -> None:
    office.configure(off_stripe=leaves)
    key = office.invoice(hours("1"))
    office.do(f"invoices/{key}/pay", paid_out_of_band=True)
    found = bill(office, key)
    assert (found.status, found.balance) == (BillStatus.PAID, 0)
    paid = beside(office, key)
    if leaves == "record":
        assert paid == []
        [told] = [payment(office, name) for name in take(office, "payments", None)[0]]
    else:
        [told] = paid
        assert take(office, "payments", None)[0] == {}
    assert (told.status, told.amount, told.unapplied) == (PaymentStatus.RECEIVED, 150, 0)
    assert told.applications == (Application(bill=key, amount=Decimal(150)),)


@pytest.mark.case(93)
def test_a_payment_that_the_bank_took_back_bounced_although_the_invoice_stays_paid_in_stripe(office: Office) -> None:
    key = office.invoice(hours("1"))
    office.do(f"invoices/{key}/pay")
    (name,), cursor = take(office, "payments", None)
    assert payment(office, name).status == PaymentStatus.RECEIVED
    office.act("dispute", payment_intent=name)
    moved, _ = take(office, "payments", cursor)
    [told] = list(stripe_account.connector(office.base).map(moved[name]))
    assert isinstance(told, PaymentRecord)
    assert told.status == PaymentStatus.BOUNCED
    assert bill(office, key).status == BillStatus.PAID


@pytest.mark.case(95)
def test_what_was_paid_too_much_stays_with_the_payment_and_settles_the_next_invoice_as_credit(office: Office) -> None:
    first = office.invoice(hours("1"))
    wire = office.wire(20000, (first, 20000))
    assert payment(office, wire).applications == (Application(bill=first, amount=Decimal(200)),)
    following = office.invoice(hours("1"))
    [used] = beside(office, following)
    assert used.applications == (Application(bill=following, amount=Decimal(50), by=SettledBy.CREDIT),)
    assert (bill(office, following).balance, used.kind) == (100, PaymentKind.PAYMENT)
    office.do(f"invoices/{following}/void")
    [given_back] = beside(office, following)
    assert given_back.status == PaymentStatus.DELETED


@pytest.mark.case(101)
def test_uncollectible_is_a_write_off_and_not_paid_and_is_taken_back_when_the_money_comes_after_all(
    office: Office,
) -> None:
    key = office.invoice(hours("2"))
    office.wire(10000, (key, 10000))
    office.do(f"invoices/{key}/mark_uncollectible")
    [lost] = beside(office, key)
    assert (lost.kind, lost.status, lost.amount) == (PaymentKind.WRITE_OFF, PaymentStatus.RECEIVED, 200)
    assert lost.applications == (Application(bill=key, amount=Decimal(200), by=SettledBy.WRITE_OFF),)
    assert (bill(office, key).status, bill(office, key).balance) == (BillStatus.WRITTEN_OFF, None)
    office.wire(20000, (key, 20000))
    [taken_back] = beside(office, key)
    assert (taken_back.external_id, taken_back.status) == (lost.external_id, PaymentStatus.DELETED)
    assert bill(office, key).status == BillStatus.PAID


@pytest.mark.case(90, 104, 105)
def test_a_credit_note_names_hours_only_where_it_says_how_many(office: Office) -> None:
    key = office.invoice(hours("3", **OURS), hours("2", "10000", **OURS), hours("1", "7000", tax_rates=["txr_vat20"]))
    ids = [line["id"] for line in office.lines(key)]

    def credit(line: str, **how: Any) -> BillRecord:
        item = {"type": "invoice_line_item", "invoice_line_item": line, **how}
        return note(office, office.do("credit_notes", invoice=key, reason="order_change", lines=[item])["id"])

    [by_hours] = credit(ids[0], quantity=2).lines
    assert (by_hours.posting_key, by_hours.quantity, by_hours.net) == ("0f" * 16, 2, 300)
    [by_money] = credit(ids[0], amount=1000).lines
    assert (by_money.posting_key, by_money.quantity, by_money.net) == ("", None, 10)
    whole = credit(ids[1])
    assert (whole.lines[0].posting_key, whole.lines[0].quantity, whole.lines[0].net) == ("0f" * 16, 2, 200)
    assert (whole.kind, whole.status, whole.credits) == (BillKind.CREDIT_NOTE, BillStatus.PAID, key)
    assert whole.applications == (Application(bill=key, amount=Decimal(200), by=SettledBy.CREDIT),)
    taxed = credit(ids[2], amount=3500)
    assert (taxed.net, taxed.tax, taxed.total) == (35, 7, 42)
    assert bill(office, key).balance == Decimal(734) - 300 - 10 - 200 - 42
    office.do(f"credit_notes/{whole.external_id}/void")
    assert note(office, whole.external_id).status == BillStatus.VOIDED
    assert bill(office, key).balance == Decimal(734) - 300 - 10 - 42
    office.do("credit_notes", invoice=key, amount=100_000, refused=400)


def test_a_credit_note_after_payment_settles_of_its_invoice_what_it_refunds_and_so_much_less_was_received(
    office: Office,
) -> None:
    key = office.invoice(hours("2"))
    office.do(f"invoices/{key}/pay")
    office.do("credit_notes", invoice=key, amount=10000, refused=400)
    made = office.do("credit_notes", invoice=key, amount=10000, credit_amount=4000, refund_amount=6000)
    found = note(office, made["id"])
    assert (found.total, found.lines[0].posting_key) == (100, "")
    assert found.applications == (Application(bill=key, amount=Decimal(60), by=SettledBy.CREDIT),)
    [told] = [payment(office, name) for name in take(office, "payments", None)[0]]
    assert (told.status, told.amount, told.unapplied) == (PaymentStatus.RECEIVED, 240, 0)
    assert told.applications == (Application(bill=key, amount=Decimal(240)),)
    assert (bill(office, key).status, bill(office, key).balance) == (BillStatus.PAID, 0)


def test_money_that_was_refunded_was_not_received_and_all_of_it_is_taken_back(office: Office) -> None:
    key = office.invoice(hours("2"))
    office.do(f"invoices/{key}/pay")
    (name,), cursor = take(office, "payments", None)
    first = office.do("refunds", payment_intent=name, amount=12_000)["id"]
    moved, cursor = take(office, "payments", cursor)
    [told] = list(stripe_account.connector(office.base).map(moved[name]))
    assert isinstance(told, PaymentRecord)
    assert (told.status, told.amount, told.memo) == (PaymentStatus.RECEIVED, 180, "120.00 USD were refunded.")
    assert told.applications == (Application(bill=key, amount=Decimal(180)),)
    office.do("refunds", payment_intent=name, amount=20_000, refused=400)
    rest = office.do("refunds", payment_intent=name)["id"]
    assert told.refunds == (first,)
    moved, _ = take(office, "payments", cursor)
    [told] = list(stripe_account.connector(office.base).map(moved[name]))
    assert isinstance(told, PaymentRecord)
    assert set(told.refunds) == {first, rest}
    assert (told.status, told.amount, told.applications) == (PaymentStatus.VOIDED, 0, ())


def test_an_invoice_of_more_lines_than_are_shown_is_read_whole(office: Office) -> None:
    key = office.invoice(*(hours("1", str(100 * n), description=f"Day {n}") for n in range(1, 24)))
    found = bill(office, key)
    assert [line.description for line in found.lines] == [f"Day {n}" for n in range(1, 24)]
    assert found.total == sum(range(1, 24))
    records, _ = take(office, "invoices", None)
    assert len(records[key].payload["lines"]) == 23


@pytest.mark.case(80)
def test_a_draft_that_was_deleted_is_told_as_gone_by_its_event(office: Office) -> None:
    key = office.draft(hours("1"))
    records, cursor = take(office, "invoices", None)
    office.delete(f"invoices/{key}")
    gone, _ = take(office, "invoices", cursor)
    assert gone[key].revision > records[key].revision
    [told] = list(stripe_account.connector(office.base).map(gone[key]))
    assert isinstance(told, BillRecord)
    assert told.status == BillStatus.DELETED
    assert list(stripe_account.connector(office.base).fetch(Hint(stream="invoices", external_id=key))) == []


@pytest.mark.case(118)
def test_a_later_word_is_later_however_it_was_read(office: Office) -> None:
    key = office.draft(hours("1"))
    office.configure(clock_skew=60)
    connector = stripe_account.connector(office.base)
    [before] = connector.fetch(Hint(stream="invoices", external_id=key))
    office.do(f"invoices/{key}/finalize")
    [after] = connector.fetch(Hint(stream="invoices", external_id=key))
    office.configure(clock_skew=65)
    pulled, cursor = take(office, "invoices", None)
    assert pulled[key].revision > before.revision
    assert pulled[key].revision > after.revision or pulled[key].payload == after.payload
    office.wire(1000, (key, 1000))
    office.configure(clock_skew=70)
    again, _ = take(office, "invoices", cursor)
    assert again[key].revision > pulled[key].revision, "a payment moves the invoice"
    assert take(office, "invoices", cursor)[0][key].revision == again[key].revision, "an echo is the same copy"


def test_a_cursor_that_is_older_than_events_are_kept_reads_everything_and_nothing_before_itself(
    office: Office,
) -> None:
    office.configure(clock_skew=-40 * 86400)
    forgotten = office.invoice(hours("1"))
    first, cursor = take(office, "invoices", None)
    office.wire(1000, (forgotten, 1000))
    office.configure(clock_skew=0)
    moved, _ = take(office, "invoices", cursor)
    assert moved[forgotten].revision > first[forgotten].revision
    assert moved[forgotten].payload["invoice"]["amount_paid"] == 1000
    assert "events" in office.inspect()


@pytest.mark.parametrize(
    ("stream", "change", "field"),
    [
        ("invoices", {"total": "a lot"}, "total"), ("invoices", {"status": "settled"}, "status"),
        ("invoices", {"currency": None}, "currency"), ("invoices", {"due_date": "soon"}, "due_date"),
        ("invoices", {"total": True}, "total"), ("invoices", {"status_transitions": None}, "status_transitions"),
        ("credit_notes", {"status": "gone"}, "status"), ("credit_notes", {"total": None}, "total"),
        ("payments", {"amount": None}, "amount"), ("payments", {"currency": "x", "amount": 1}, "currency"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_names_its_field(office: Office, stream: str, change: dict[str, Any], field: str) -> None:
    key = office.invoice(hours("1"))
    office.do("credit_notes", invoice=key, amount=1000)
    office.do(f"invoices/{key}/pay")
    records, _ = take(office, stream, None)
    record = next(iter(records.values()))
    part = {"invoices": "invoice", "credit_notes": "credit_note", "payments": "payment"}[stream]
    broken = {**record.payload, part: {**record.payload[part], **change}}
    with pytest.raises(Malformed, match=field):
        list(
            stripe_account.connector(office.base).map(
                SourceRecord(stream=stream, external_id=record.external_id, revision="1", payload=broken)
            )
        )


def test_discounts_and_a_missing_tax_are_as_they_are_booked(office: Office) -> None:
    key = office.invoice(hours("2"))
    [record] = stripe_account.connector(office.base).fetch(Hint(stream="invoices", external_id=key))
    line = {**record.payload["lines"][0], "discount_amounts": [{"amount": 5000, "discount": "di_1"}], "taxes": None}
    whole = {**record.payload["invoice"], "total": 25000, "total_excluding_tax": None, "total_taxes": None}
    changed = {**record.payload, "invoice": whole, "lines": [line]}
    [found] = stripe_account.connector(office.base).map(
        SourceRecord(stream="invoices", external_id=key, revision="1", payload=changed)
    )
    assert isinstance(found, BillRecord)
    assert (found.net, found.tax, found.lines[0].net, found.lines[0].tax) == (250, 0, 250, None)


def error_body(kind: str = "invalid_request_error", code: str = "", message: str = "No.", param: str = "") -> Any:
    return {"error": {"type": kind, "code": code, "message": message, "param": param, "doc_url": "https://stripe.com"}}


@pytest.mark.parametrize(
    ("status", "body", "error", "code"),
    [
        (400, error_body("idempotency_error", message="Keys for idempotent requests can only be used with the same parameters"),
         Rejected, "duplicate"),
        (409, error_body("idempotency_error", "idempotency_key_in_use"), InDoubt, ""),
        (429, error_body(code="rate_limit"), Unavailable, ""),
        (429, error_body(code="lock_timeout"), Unavailable, ""),
        (400, error_body(code="lock_timeout"), Unavailable, ""),
        (401, error_body(message="Invalid API Key provided"), Unauthorised, ""),
        (401, error_body(code="api_key_expired"), Unauthorised, ""),
        (403, error_body(message="The provided key does not have the required permissions"), Unauthorised, ""),
        (404, error_body(code="resource_missing", param="customer", message="No such customer: 'cus_1'"), Rejected, "gone"),
        (404, error_body(code="resource_missing", param="customer", message="No such customer: 'cus_1'; a similar object "
                         "exists in test mode, but a live mode key was used to make this request."), Unauthorised, ""),
        (404, error_body(code="resource_missing", param="tax_rates[0]", message="No such tax rate: 'txr_9'"), Rejected,
         "dimension-missing"),
        (400, error_body(code="invoice_not_editable", message="This invoice is no longer editable"), Rejected, "record-locked"),
        (400, error_body(code="parameter_unknown", param="quantity_dec", message="Received unknown parameter: q"), Rejected,
         "amount-invalid"),
        (400, error_body(code="parameter_unknown", param="colour", message="Received unknown parameter: colour"), Rejected,
         "schema-changed"),
        (400, error_body(code="amount_too_large", param="amount"), Rejected, "amount-invalid"),
        (400, error_body(code="customer_currency_mismatch", param="currency"), Rejected, "amount-invalid"),
        (400, error_body(code="parameter_invalid_string", param="description", message="at most 500 characters"), Rejected,
         "text-invalid"),
        (402, error_body("card_error", "card_declined", "Your card was declined."), Rejected, "rejected"),
        (500, error_body("api_error"), InDoubt, ""),
        (503, error_body("api_error"), Unavailable, ""),
    ],
    ids=lambda value: str(value) if isinstance(value, int | str) else "",
)  # fmt: skip
@pytest.mark.case(68)
def test_every_error_is_named_by_what_we_do_next(
    status: int, body: Any, error: type[ConnectorError], code: str
) -> None:
    answer = Response(status=status, headers={}, content=b"{}", body=body)
    judged = judge(answer, writes=True, unreadable="", excerpt="")
    assert judged is not None
    named = refusals.narrow(judged)
    assert type(named) is error
    assert not code or (isinstance(named, Rejected) and named.code == code)


def test_the_accounts_own_words_for_no_go_before_ours() -> None:
    own = refusals.own_patterns([{"match": "quarter is closed", "means": "period-closed"}])
    refused = Rejected("400", status=400)
    refused.body = error_body(code="parameter_invalid_string", message="The quarter is closed.")
    named = refusals.narrow(refused, own)
    assert isinstance(named, Rejected)
    assert named.code == "period-closed"


def test_a_key_that_may_not_read_payments_is_told_by_the_test_of_the_connection(office: Office) -> None:
    assert stripe_account.connector(office.base).check() == "Stripe account Northwind Advisory answers, in test mode."
    other = stripe_account.connector(office.base)
    other.account = replace(other.account, realm="acct_of_others")
    with pytest.raises(Unauthorised, match="acct_of_others"):
        other.check()
    office.configure(forbidden=["invoice_payments"])
    with pytest.raises(Unauthorised, match="permissions"):
        stripe_account.connector(office.base).check()
    office.invoice()
    assert office.inspect()["versions"] == ["", "2026-10-28.endive"]


def test_the_limit_of_test_mode_is_kept_under_load(sandbox: str) -> None:
    office = stripe_account.fresh(sandbox)
    office.invoice(hours("1"))
    office.configure(rate=[25, 1.0])
    connector = stripe_account.connector(sandbox)
    connector.http.rate = StripeConnector.rate
    [key] = {record.external_id for page in connector.pull("invoices", None) for record in page.records}
    for _ in range(40):
        [record] = connector.fetch(Hint(stream="invoices", external_id=key))
    assert record.external_id == key
    assert not any(call["status"] == 429 for call in control(sandbox, "GET", "stripe/calls"))
