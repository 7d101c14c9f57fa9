"""Salesforce is told how bills and payments stand, over real HTTP: by upsert, many at once, each outcome its own, none twice."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from integrations import breaker, publications
from integrations.connectors.salesforce import publishing, refusals
from integrations.errors import ConnectorError, InDoubt, Malformed, Rejected, Unauthorised, Unavailable
from integrations.http import recording
from integrations.protocol import BatchRecipient, Page, Recipient, Takes
from integrations.sandbox.server import control
from portal.records import FIGURES, Publication, PublishedKind
from tests.integrations.contract import WRITE_FAULTS, _named
from tests.integrations.test_salesforce import SEED, Org, account_row

Kind = PublishedKind
ACCOUNT = account_row(1)["Id"]
BILL: dict[str, Any] = {
    "number": "INV-501", "kind": "invoice", "status": "open", "currency": "EUR", "net": "960.00", "total": "1142.40",
    "balance": "1142.40", "booked_on": "2026-10-31", "due_on": "2026-11-30", "paid_on": None, "projects": "ACM-1",
    "booked_in": "netsuite-us",
}  # fmt: skip
PAYMENT: dict[str, Any] = {
    "number": "PAY-9", "kind": "payment", "status": "received", "currency": "EUR", "amount": "1142.40",
    "booked_on": "2026-11-15", "booked_in": "netsuite-us",
}  # fmt: skip


@pytest.fixture
def org(sandbox: str) -> Org:
    control(sandbox, "POST", "salesforce/reset", {})
    control(sandbox, "DELETE", "faults")
    control(sandbox, "POST", "salesforce/seed", SEED)
    return Org(sandbox)


def bill(number: int = 501, account: str = ACCOUNT, **figures: Any) -> Publication:
    return Publication(
        key=uuid.uuid4().hex, kind=Kind.INVOICE, version=1, record=f"invoice:{number}", names={"customer": account},
        figures={**BILL, "number": f"INV-{number}", **figures},
    )  # fmt: skip


def payment(number: int, settles: Mapping[int, tuple[str, str]], **figures: Any) -> Publication:
    """A payment that settles bills: {bill: (its number in the org, amount)}."""
    names = {f"invoice:{one}": key for one, (key, _) in settles.items()}
    parts = {f"invoice:{one}": amount for one, (_, amount) in settles.items()}
    return Publication(
        key=uuid.uuid4().hex, kind=Kind.PAYMENT, version=1, record=f"payment:{number}", names={"customer": ACCOUNT, **names},
        figures={**PAYMENT, "number": f"PAY-{number}", "settles": parts, **figures},
    )  # fmt: skip


def told(org: Org, name: str = "Billing_Invoice__c") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = control(org.base, "GET", "salesforce/inspect")[name]
    return found


def push(org: Org, *said: Publication) -> list[str | ConnectorError]:
    return list(org.connector.publish_together(said))


def test_it_is_a_recipient_that_takes_many_and_says_of_each_figure_whether_it_takes_it(org: Org) -> None:
    connector: Any = org.connector
    assert isinstance(connector, Recipient)
    assert isinstance(connector, BatchRecipient)
    assert set(connector.publishes) == {Kind.INVOICE, Kind.PAYMENT}
    for kind, takes in connector.publishes.items():
        assert isinstance(takes, Takes)
        assert takes.figures | set(takes.refuses) == FIGURES[kind]
    assert connector.publication_body(bill()) == connector.publication_body(bill())
    json.dumps(connector.publication_body(payment(9, {501: ("a01", "1.00")})), default=str)


def test_a_bill_is_made_once_and_changed_ever_after_and_is_held_as_it_was_told(org: Org) -> None:
    [number] = push(org, bill())
    [row] = told(org)
    assert (row["Id"], row["External_Id__c"], row["Account__c"]) == (number, "tieout-invoice-501", ACCOUNT)
    assert (row["Balance__c"], row["Status__c"], row["Due_Date__c"]) == (1142.4, "open", "2026-11-30")
    for status, balance in (("part_paid", "142.40"), ("paid", "0.00")):
        said = bill(status=status, balance=balance)
        assert push(org, said) == [number]
        held = org.connector.held([said])[said.key]
        assert held.number == number
        assert not publications.differences(said, held)
    assert len(told(org)) == 1
    held = org.connector.held([said := bill(status="open", balance="142.40")])[said.key]
    assert publications.differences(said, held) == {"status": ["open", "paid"], "balance": ["142.40", "0.0"]}


def test_a_payment_and_what_it_settles_are_kept_together_and_what_it_no_longer_settles_is_nothing(org: Org) -> None:
    first, second = push(org, bill(501), bill(502))
    assert isinstance(first, str)
    assert isinstance(second, str)
    said = payment(9, {501: (first, "1000.00"), 502: (second, "142.40")})
    [number] = push(org, said)
    parts = {row["Invoice__c"]: (row["Payment__c"], row["Amount__c"]) for row in told(org, "Billing_Payment_Part__c")}
    assert parts == {first: (number, 1000.0), second: (number, 142.4)}
    assert not publications.differences(said, org.connector.held([said])[said.key])
    moved = payment(9, {501: (first, "1142.40"), 502: (second, "0.00")})
    assert publications.differences(moved, org.connector.held([moved])[moved.key]) == {
        "settles": ["1142.40 of invoice 501, 0.00 of invoice 502", "1000.0 of invoice 501, 142.4 of invoice 502"]
    }
    assert push(org, moved) == [number]
    assert [row["Amount__c"] for row in told(org, "Billing_Payment_Part__c")] == [1142.4, 0.0]


@pytest.mark.case(62, 113)
def test_of_a_graph_nothing_is_kept_when_one_part_is_refused_and_the_other_payments_stand(org: Org) -> None:
    [first] = push(org, bill(501))
    assert isinstance(first, str)
    good, bad = (
        payment(9, {501: (first, "1.00")}),
        payment(10, {501: (first, "1.00"), 502: ("a01000000000999AAA", "2.00")}),
    )
    taken, refused = push(org, good, bad)
    assert isinstance(taken, str)
    assert isinstance(refused, Rejected)
    assert "invalid cross reference" in refused.detail
    assert [row["Number__c"] for row in told(org, "Billing_Payment__c")] == ["PAY-9"]
    assert len(told(org, "Billing_Payment_Part__c")) == 1


@pytest.mark.case(62)
def test_of_a_collection_each_record_stands_or_falls_alone(org: Org) -> None:
    org.configure(locked=["tieout-invoice-3"], required={"Billing_Invoice__c": ["Due_Date__c"]})
    one, two, three, four = push(org, bill(1), bill(2, due_on=None), bill(3), bill(4, account="001000000000999AAA"))
    assert isinstance(one, str)
    assert isinstance(two, Rejected)
    assert (two.code, two.vendor_code) == ("schema-changed", "REQUIRED_FIELD_MISSING")
    assert isinstance(three, Unavailable)
    assert isinstance(four, Rejected)
    assert four.vendor_code == "INVALID_CROSS_REFERENCE_KEY"
    assert [row["Number__c"] for row in told(org)] == ["INV-1"]
    assert isinstance(push(org, bill(3))[0], str)


def test_a_record_that_our_user_may_not_write_is_its_own_refusal_and_closes_nothing(org: Org) -> None:
    org.configure(readonly=["tieout-invoice-2", "tieout-payment-9"])
    one, two = push(org, bill(1), bill(2))
    assert isinstance(one, str)
    [paid] = push(org, payment(9, {1: (one, "142.40")}))
    for refused in (two, paid):
        assert isinstance(refused, Rejected)
        assert (refused.code, refused.vendor_code) == ("rejected", "INSUFFICIENT_ACCESS_OR_READONLY")
        assert breaker.hear(refused).kind is breaker.Kind.GOOD
    several = refusals.of_a_record(["/services/data/v60.0/sobjects/Billing_Invoice__c/a01", "/…/a02"], ())
    assert isinstance(several, Rejected), "an answer 300 names the records that have one external id"
    assert (several.vendor_code, "a02" in several.detail) == ("DUPLICATE_EXTERNAL_ID", True)
    whole = [{"message": "insufficient access", "errorCode": "INSUFFICIENT_ACCESS", "fields": []}]
    fault = {"vendor": "salesforce", "kind": "says", "path": "composite/sobjects", "status": 403, "answer": whole}
    control(org.base, "POST", "faults", [fault])
    assert [type(said) for said in push(org, bill(3), bill(4))] == [Unauthorised] * 2


@pytest.mark.case(73)
def test_what_somebody_else_writes_at_once_is_waited_for_and_what_they_changed_is_told_and_put_right_in_place(
    org: Org,
) -> None:
    [number] = push(org, bill())
    org.configure(locked=["tieout-invoice-501"])
    said = bill(status="part_paid", balance="142.40")
    [outcome] = push(org, said)
    assert isinstance(outcome, Unavailable), "the row is locked by another's write, and nothing was changed"
    assert [row["Status__c"] for row in told(org)] == ["open"]
    assert push(org, said) == [number]
    org.act("edit", object="Billing_Invoice__c", ids=[number], changes={"Balance__c": 7.0})
    assert publications.differences(said, org.connector.held([said])[said.key]) == {"balance": ["142.40", "7.0"]}
    assert push(org, said) == [number]
    assert not publications.differences(said, org.connector.held([said])[said.key])


def test_four_hundred_bills_are_three_calls_and_none_is_made_twice(org: Org) -> None:
    before = control(org.base, "GET", "salesforce/inspect")["daily"]
    said = [bill(number) for number in range(1, 402)]
    outcomes = push(org, *said)
    assert len({outcome for outcome in outcomes if isinstance(outcome, str)}) == 401
    assert before - control(org.base, "GET", "salesforce/inspect")["daily"] == 3
    assert push(org, *said) == outcomes
    assert len(told(org)) == 401


def test_many_payments_go_in_as_many_calls_as_graphs_and_their_requests_need(org: Org) -> None:
    numbers = [one for one in push(org, *(bill(n) for n in range(1, 31))) if isinstance(one, str)]
    wide = {n: (numbers[n - 1], "1.00") for n in range(1, 31)}
    said = [payment(n, wide) for n in range(1, 21)] + [payment(n, {}) for n in range(100, 180)]
    portions = list(publishing._graph_portions(said))
    assert [len(portion) for portion in portions] == [16, 75, 9]
    assert all(isinstance(outcome, str) for outcome in push(org, *said))
    assert len(told(org, "Billing_Payment_Part__c")) == 600


@pytest.mark.parametrize(
    ("fault", "expected", "kept"), WRITE_FAULTS, ids=[_named(fault) for fault, _, _ in WRITE_FAULTS]
)
@pytest.mark.parametrize("kind", [Kind.INVOICE, Kind.PAYMENT])
@pytest.mark.case(57)
def test_a_call_that_goes_wrong_is_the_error_that_says_what_to_do_next_and_nothing_is_made_twice(
    org: Org,
    kind: Kind,
    fault: dict[str, Any],
    expected: type[ConnectorError],
    kept: bool,
) -> None:
    said = bill() if kind is Kind.INVOICE else payment(9, {})
    name = "Billing_Invoice__c" if kind is Kind.INVOICE else "Billing_Payment__c"
    org.connector.check()  # so that the call is signed already
    org.bench.fault({"path": "/composite/"}, **fault)
    [outcome] = push(org, said)
    assert type(outcome) is expected, outcome
    org.bench.clear()
    assert (said.key in org.connector.held([said])) == kept
    assert len(told(org, name)) == int(kept)
    assert isinstance(push(org, said)[0], str)
    assert len(told(org, name)) == 1


@pytest.mark.case(67)
def test_a_session_that_ends_between_two_calls_is_begun_anew_and_nothing_is_lost(org: Org) -> None:
    org.pages("customers")
    org.configure(forget_tokens=True)
    assert all(isinstance(outcome, str) for outcome in push(org, bill(1), bill(2)))


@pytest.mark.case(67)
def test_credentials_that_end_at_any_call_of_a_batch_tell_each_record_once(org: Org) -> None:
    [account_bill, _] = push(org, bill(501), bill(502))
    assert isinstance(account_bill, str)

    def batches(number: int) -> tuple[list[Publication], list[Publication]]:
        some = [bill(number), bill(number + 1)]
        return some, [payment(one, {501: (account_bill, "1.00")}) for one in (number, number + 1)]

    first = iter(range(1000, 9000, 10))
    for kind in (0, 1):
        with recording() as exchanges:
            push(org, *batches(next(first))[kind])
        for call in range(len(exchanges)):
            for times in (1, None):
                said = batches(next(first))[kind]
                fault = {"vendor": "salesforce", "kind": "status", "status": 401, "after": call, "times": times}
                control(org.base, "POST", "faults", [fault])
                try:
                    outcomes = push(org, *said)
                except Unauthorised as refused:
                    outcomes = [refused for _ in said]
                control(org.base, "DELETE", "faults")
                assert all(isinstance(outcome, str | Unauthorised | InDoubt) for outcome in outcomes), (call, times)
                numbers = push(org, *said)
                for one, outcome, number in zip(said, outcomes, numbers, strict=True):
                    assert isinstance(number, str)
                    assert outcome == number or not isinstance(outcome, str)
                    kept = told(org, ("Billing_Invoice__c", "Billing_Payment__c")[kind])
                    name = f"tieout-{one.record.replace(':', '-')}"
                    assert [row["Id"] for row in kept if row["External_Id__c"] == name] == [number], (call, times)


@pytest.mark.case(66)
def test_a_limit_of_the_day_is_waited_for_in_every_record_and_burns_no_attempt(org: Org) -> None:
    org.pages("customers")
    org.configure(daily=0)
    outcomes = push(org, bill(1), bill(2))
    assert all(isinstance(outcome, Unavailable) and outcome.retry_after == 900 for outcome in outcomes)
    assert {outcome.status for outcome in outcomes if isinstance(outcome, Unavailable)} == {429}


@pytest.mark.case(66)
def test_a_reading_ends_after_its_page_when_few_calls_are_left_and_writing_goes_on(org: Org) -> None:
    org.configure(page=1, daily=400)
    seen: list[Page] = []
    with pytest.raises(Unavailable, match="kept for writing") as waits:
        seen.extend(org.connector.pull("customers", None))
    assert len(seen) == 1
    assert waits.value.retry_after == 900
    assert isinstance(push(org, bill())[0], str)
    org.having(keep_calls=1)
    assert len(list(org.connector.pull("customers", seen[0].cursor))) >= 2


@pytest.mark.case(68, 132)
def test_an_org_without_our_objects_is_a_question_of_the_connection_and_its_test_says_so(org: Org) -> None:
    org.having(subscribes=["invoice", "payment"])
    assert org.connector.check().startswith("Salesforce answers")
    org.configure(package=False)
    with pytest.raises(Unauthorised, match="Billing_Invoice__c"):
        org.connector.check()
    [outcome] = push(org, bill())
    assert isinstance(outcome, Unauthorised)


def test_objects_and_fields_are_named_as_the_org_names_them_and_what_has_no_field_is_not_told(org: Org) -> None:
    org.seed(objects={"Receivable__c": ["Key__c", "Customer__c", "State__c", "Open__c", "Total__c", "No__c"]})
    nothing = dict.fromkeys(("kind", "currency", "net", "booked_on", "due_on", "paid_on", "projects", "booked_in"), "")
    org.having(
        invoice_object="Receivable__c", external_id_field="Key__c", external_id_prefix="north",
        invoice_fields={
            **nothing, "customer": "Customer__c", "status": "State__c", "balance": "Open__c", "total": "Total__c",
            "number": "No__c",
        },
    )  # fmt: skip
    said = bill()
    assert isinstance(push(org, said)[0], str)
    held = org.connector.held([said])[said.key]
    assert set(held.figures) == {"status", "balance", "total", "number"}
    assert not publications.differences(said, held)


@pytest.mark.parametrize(
    "settings",
    [
        {"invoice_object": "Account; DROP"}, {"external_id_field": "Id' OR"}, {"external_id_prefix": "a'b"},
        {"invoice_fields": {"status": "x y"}}, {"invoice_fields": {"colour": "Colour__c"}}, {"invoice_fields": {"customer": ""}},
    ],
)  # fmt: skip
def test_a_setting_that_is_no_name_never_becomes_a_call(org: Org, settings: dict[str, Any]) -> None:
    org.having(**settings)
    with pytest.raises(Malformed):
        push(org, bill())
    assert told(org) == []


def test_an_account_of_fifteen_characters_is_the_same_account(org: Org) -> None:
    push(org, bill())
    said = replace(bill(), names={"customer": ACCOUNT[:15]})
    assert not publications.differences(said, org.connector.held([said])[said.key])
    other = replace(bill(), names={"customer": account_row(2)["Id"]})
    assert publications.differences(other, org.connector.held([other])[other.key]) == {
        "customer": [account_row(2)["Id"], ACCOUNT]
    }
