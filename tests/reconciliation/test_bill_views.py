"""The screens of bills and payments, used as a person of finance uses them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from portal import tokens
from portal.models import AuditEvent, Notification, Payment, PaymentAllocation, User
from portal.records import Application, BillKind, BillStatus, SettledBy
from reconciliation.models import BillingDecision
from reconciliation.views.bills.lists import BillList
from tests import world
from tests.bills import Erp, adopt, find, line_of, open_hours, posted
from tests.reconciliation import firm as firms

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> firms.Firm:
    return firms.build()


@pytest.fixture
def erp(firm: firms.Firm) -> Erp:
    return Erp(firm)


def signed_in(client: Client, name: str, role: str, entity: Any) -> Client:
    client.force_login(world.user(name, role, entity))
    return client


def text(answer: Any, status: int = 200) -> str:
    assert answer.status_code == status
    return str(answer.content.decode())


def test_a_bill_shows_its_hours_what_settles_it_and_how_each_cent_came_about(
    firm: firms.Firm, erp: Erp, client: Client
) -> None:
    [entry] = posted(firm)
    taxed = line_of(entry, "6", tax_code="S20", tax_rate=Decimal(20), tax=Decimal(144))
    erp.says(erp.bill("501", taxed, exchange_rate=Decimal("1.0000")), erp.payment("p1", "432", ("501", "432")))
    erp.says(erp.credit("601", "501", line_of(entry, "1")))
    signed_in(client, "ana", "analyst", firm.entity)
    listed = text(client.get(reverse("bills")))
    for words in ("Invoice INV-501", "Credit note CM-601", "credits INV-501", "864.00", "432.00"):
        assert words in listed, words
    bill = find("501")
    page = text(client.get(reverse("bill", args=[bill.pk])))
    for words in (
        "Ana Consultant on ACM-1",
        "Payment PAY-p1",
        "Left to settle",
        "120.00 credited",
        reverse("entry", args=[entry]),
    ):
        assert words in page, words
    line = bill.current.lines.get()
    told = text(client.get(reverse("bill_line", args=[bill.pk, line.pk])))
    for words in (
        "144.00 USD: 20.00 % of 720.00 USD, code S20", "120.00 USD were taken back",
        "6.00 of 8.00 h are on this line", "rate card ACME-2026 v3", "720.00 USD, equal to our figures",
        "360.00 USD net, its share of the 432.00 USD paid on the bill",
    ):  # fmt: skip
        assert words in told, words


def test_an_adopted_edit_is_no_credit_and_a_credit_note_is_no_payment(
    firm: firms.Firm, erp: Erp, client: Client
) -> None:
    [entry] = posted(firm)
    said = erp.bill("501", line_of(entry))
    erp.says(said)
    erp.says(erp.again(said, lines=(line_of(entry, net="1460"),), net=Decimal(1460), total=Decimal(1460)))
    ana = signed_in(client, "ana", "analyst", firm.entity)
    adopt("501", by=User.objects.get(username="ana"), agreed_by=world.user("bob", "controller", firm.entity))
    credit = Application(bill="501", amount=Decimal(360), by=SettledBy.CREDIT)
    paid = erp.payment("p1", "1000", ("501", "1000"))
    erp.says(replace(paid, applications=(*paid.applications, credit)))
    bill = find("501")
    told = text(ana.get(reverse("bill_line", args=[bill.pk, bill.current.lines.get().pk])))
    for words in (
        "1,000.00 USD net, its share of the 1,000.00 USD paid", "of the whole bill: credit 360.00 USD",
        "1,460.00 USD where our figures give 960.00 USD: +500.00 USD as booked",
    ):  # fmt: skip
        assert words in told, words
    for words in ("taken back", "tied to nothing of ours"):
        assert words not in told, words


def test_an_analyst_decides_on_the_page_and_without_a_reason_nothing_happens(
    firm: firms.Firm, erp: Erp, client: Client
) -> None:
    [entry] = posted(firm)
    said = erp.bill("501", line_of(entry))
    erp.says(said)
    erp.says(erp.gone(said))
    address = reverse("bill", args=[find("501").pk])
    first, seen = {"seen": "1"}, {"seen": "2"}
    signed_in(client, "mia", "project_manager", firm.entity)
    assert "What shall hold?" not in text(client.get(address))
    assert "Only finance" in text(client.post(address, {"action": "adopt", "reason": "so", **seen}), 422)
    signed_in(client, "ana", "analyst", firm.entity)
    page = text(client.get(address))
    assert "What shall hold?" in page
    assert '<input type="hidden" name="seen" value="2">' in page
    assert "needs a reason" in text(client.post(address, {"action": "recreate", "reason": " ", **seen}), 422)
    assert "another version" in text(client.post(address, {"action": "recreate", "reason": "it is owed", **first}), 422)
    assert client.post(address, {"action": "recreate", "reason": "it is owed"}).status_code == 400
    assert client.post(address, {"action": "recreate", "reason": "it is owed", **seen}).status_code == 303
    assert "A controller other than ana agrees" in text(client.get(address))
    assert "Only a controller" in text(client.post(address, {"action": "approve", **seen}), 422)
    signed_in(client, "bob", "controller", firm.entity)
    assert client.post(address, {"action": "approve", **seen}).status_code == 303
    assert open_hours([entry]) == {entry: Decimal(8)}
    assert BillingDecision.objects.get().approved_by is not None
    assert set(AuditEvent.objects.values_list("action", flat=True)) >= {"bill.recreate", "bill-recreation.approved"}


def test_the_hours_of_a_silent_credit_are_named_on_its_form(firm: firms.Firm, erp: Erp, client: Client) -> None:
    first, second = posted(firm, 2)
    erp.says(erp.bill("501", line_of(first), line_of(second)))
    silent = erp.bill("601", line_of(first, "2", key="x"), kind=BillKind.CREDIT_NOTE, credits="501", number="CM-1")
    erp.says(replace(silent, lines=tuple(replace(line, posting_number="") for line in silent.lines)))
    note = find("601", BillKind.CREDIT_NOTE)
    signed_in(client, "ana", "analyst", firm.entity)
    assert "Name the hours" in text(client.get(reverse("bill", args=[note.pk])))
    address = reverse("bill_credit", args=[note.pk])
    billed = find("501").current.lines.get(key=f"t{second}").allocations.get().pk
    assert "Hours that stand billed" in text(client.get(address))
    short = {f"{billed}-hours": "1", f"{billed}-amount": "120", "reason": "one day", "action": "hours"}
    assert "come to 120" in text(client.post(address, short), 422)
    for wrong in ("one", "NaN", "-1", "Infinity", "1e99"):
        assert "is no figure from 0 on" in text(client.post(address, {**short, f"{billed}-hours": wrong}), 422)
    half = text(client.post(address, {**short, f"{billed}-hours": "0,5", f"{billed}-amount": "60"}), 422)
    assert "come to 60" in half
    assert "write it with a point" in text(client.post(address, {**short, f"{billed}-amount": "1,250"}), 422)
    cheap = text(client.post(address, {**short, f"{billed}-hours": "5", f"{billed}-amount": "240"}), 422)
    assert "5.00 h stand billed at 600.00 USD and are credited with 240.00" in cheap
    more = text(client.post(address, {**short, f"{billed}-hours": "9", f"{billed}-amount": "240"}), 422)
    assert "9.00 h and 240.00 are chosen where 8.00 h and 960.00 USD stand billed" in more
    shown = text(client.get(address))
    assert 'data-hours="8.0000" data-amount="960.0000"' in shown
    assert "An amount without hours lowers the price, and no hour is open again by it." in shown
    right = {**short, f"{billed}-hours": "2,0", f"{billed}-amount": "240"}
    said = text(client.post(address, right, follow=True))
    assert "The hours are named. 2.00 h, and only these, are open to be billed again." in said
    assert open_hours([first, second]) == {first: Decimal(0), second: Decimal(2)}


def test_an_amount_without_hours_is_a_price_credit_and_says_so(firm: firms.Firm, erp: Erp, client: Client) -> None:
    [entry] = posted(firm)
    erp.says(erp.bill("501", line_of(entry)))
    silent = erp.bill("601", line_of(entry, "2", key="x"), kind=BillKind.CREDIT_NOTE, credits="501", number="CM-1")
    erp.says(replace(silent, lines=tuple(replace(line, posting_number="") for line in silent.lines)))
    note = find("601", BillKind.CREDIT_NOTE)
    signed_in(client, "ana", "analyst", firm.entity)
    billed = find("501").current.lines.get().allocations.get().pk
    form = {f"{billed}-hours": "0", f"{billed}-amount": "240", "reason": "a discount", "action": "hours"}
    said = text(client.post(reverse("bill_credit", args=[note.pk]), form, follow=True))
    assert "It lowers the price alone: no hour is open to be billed again." in said
    assert open_hours([entry]) == {entry: Decimal(0)}
    here = reverse("bill_credit", args=[note.pk])
    assert "Take it back" in said
    assert "Say why it is named otherwise." in text(client.post(here, {"action": "take-back", "reason": " "}), 422)
    undone = text(client.post(here, {"action": "take-back", "reason": "two hours were meant"}, follow=True))
    assert "Taken back. What it gives back is to be named again." in undone
    assert "Name the hours" in undone
    text(client.post(here, {**form, f"{billed}-hours": "2", "reason": "two hours"}, follow=True))
    assert open_hours([entry]) == {entry: Decimal(2)}
    erp.says(erp.bill("502", line_of(entry, "2")))
    assert open_hours([entry]) == {entry: Decimal(0)}
    refused = text(client.post(here, {"action": "take-back", "reason": "once more"}), 422)
    assert "stands billed on another bill since then" in refused


def test_a_manager_hears_of_a_void_invoice_what_its_case_says(firm: firms.Firm, erp: Erp) -> None:
    [entry] = posted(firm)
    firm.project.manager = world.user("mia", "project_manager", firm.entity)
    firm.project.save()
    said = erp.bill("501", line_of(entry))
    erp.says(said, erp.payment("p1", "100", ("501", "100")))
    erp.says(erp.again(said, status=BillStatus.VOIDED))
    [notice] = Notification.objects.filter(person__username="mia", subject__contains="voided")
    assert notice.subject == (
        "Invoice INV-501 over 960.00 USD was voided while a payment stands on it; its hours are not open again."
    )
    assert open_hours([entry]) == {entry: Decimal(0)}


def test_a_payment_shows_which_bills_it_settles_and_what_was_taken_back(
    firm: firms.Firm, erp: Erp, client: Client
) -> None:
    first, second = posted(firm, 2)
    paid = erp.payment("p1", "1000", ("501", "400"), ("502", "500"), reference="BANK-7")
    erp.says(erp.bill("501", line_of(first)), erp.bill("502", line_of(second)), paid)
    erp.says(erp.again(paid, applications=paid.applications[:1]))
    signed_in(client, "ana", "analyst", firm.entity)
    assert "Payment PAY-p1" in text(client.get(reverse("payments"), {"number": "bank-7"}))
    page = text(client.get(reverse("payment", args=[Payment.objects.get().pk])))
    for words in (
        "Invoice INV-501",
        "Invoice INV-502",
        "taken back",
        "\N{MINUS SIGN}500.00",
        "600.00",
        "Money that settles nothing",
    ):
        assert words in page, words


@pytest.mark.parametrize("name", ["bill", "bill_line", "bill_credit", "payment"])
def test_no_page_shows_anything_to_another_entity(name: str, firm: firms.Firm, erp: Erp, client: Client) -> None:
    [entry] = posted(firm)
    erp.says(
        erp.bill("501", line_of(entry)), erp.credit("601", "501", line_of(entry)), erp.payment("p1", "9", ("501", "9"))
    )
    bill, note = find("501"), find("601", BillKind.CREDIT_NOTE)
    arguments = {
        "bill": [bill.pk], "bill_line": [bill.pk, bill.current.lines.get().pk], "bill_credit": [note.pk],
        "payment": [Payment.objects.get().pk],
    }[name]  # fmt: skip
    signed_in(client, "ana", "analyst", firm.entity)
    text(client.get(reverse(name, args=arguments)))
    signed_in(client, "gus", "analyst", world.entity("GB", "GBP"))
    text(client.get(reverse(name, args=arguments)), 404)


def test_lists_and_pages_ask_as_often_for_many_rows_as_for_few(firm: firms.Firm, erp: Erp, client: Client) -> None:
    entries = posted(firm, 12)
    erp.says(erp.bill("501", *(line_of(entry) for entry in entries[:2])), erp.payment("p1", "9", ("501", "9")))
    signed_in(client, "ana", "analyst", firm.entity)

    def asked(number: str) -> list[int]:
        counts = []
        for place in (reverse("bills"), reverse("payments"), reverse("bill", args=[find(number).pk])):
            client.get(place)
            with CaptureQueriesContext(connection) as counted:
                assert client.get(place).status_code == 200
            counts.append(len(counted))
        return counts

    few = asked("501")
    erp.says(
        *(erp.bill(f"6{n:02d}", line_of(entry)) for n, entry in enumerate(entries[7:])),
        *(erp.payment(f"q{n}", "9", ("700", "9")) for n in range(8)),
        erp.bill("700", *(line_of(entry) for entry in entries[2:7])),
    )
    many = asked("700")
    assert all(now <= before for now, before in zip(many, few, strict=True)), (few, many)


def test_the_api_says_what_the_pages_say_in_as_many_queries_for_many_rows(firm: firms.Firm, erp: Erp) -> None:
    entries = posted(firm, 5)
    day = entries[0]
    erp.says(erp.bill("501", line_of(day)), erp.credit("601", "501", line_of(day, "2")))
    erp.says(erp.payment("p1", "100", ("501", "60")))
    reader = world.user("reader", "auditor", firm.entity)
    token = tokens.issue(reader, "test", days=1)
    client = Client(headers={"authorization": f"Bearer {token}"})

    def asked(name: str) -> tuple[list[Any], int]:
        client.get(reverse(name))
        with CaptureQueriesContext(connection) as counted:
            answer = client.get(reverse(name))
        assert answer.status_code == 200, answer.content
        return answer.json()["results"], len(counted)

    (bill, note), few = asked("api_bill-list")
    assert (bill["number"], bill["total"], bill["lines"][0]["net"]) == ("INV-501", "960.0000", "960.0000")
    assert [(row["entry"], row["quantity"]) for row in bill["allocations"]] == [(entries[0], "8.0000")]
    assert [(row["by"], row["amount"]) for row in bill["settled_by"]] == [("cash", "60.0000")]
    assert [(row["quantity"], row["takes_back"]) for row in note["allocations"]] == [
        ("-2.0000", bill["allocations"][0]["id"])
    ]
    [paid], _ = asked("api_payment-list")
    assert [(row["bill"], row["amount"]) for row in paid["settles"]] == [(bill["id"], "60.0000")]
    erp.says(*(erp.bill(f"7{n}", line_of(entry)) for n, entry in enumerate(entries[1:])))
    assert asked("api_bill-list")[1] <= few


def test_the_api_tells_no_settlement_of_an_entity_that_the_token_may_not_see(firm: firms.Firm, erp: Erp) -> None:
    [entry] = posted(firm)
    erp.says(erp.bill("501", line_of(entry)))
    erp.says(erp.payment("p1", "100", ("501", "60")))
    own = PaymentAllocation.objects.get()
    PaymentAllocation.objects.create(
        entity=world.entity("GB", "GBP"), payment_version=own.payment_version, invoice=own.invoice, invoice_key="501",
        by=own.by, amount=Decimal(7), recorded_at=own.recorded_at,
    )  # fmt: skip
    for reader, amounts in (
        (world.user("reader", "auditor", firm.entity), ["60.0000"]),
        (world.user("all", "auditor", everywhere=True), ["60.0000", "7.0000"]),
    ):
        client = Client(headers={"authorization": f"Bearer {tokens.issue(reader, 'test', days=1)}"})
        [bill] = client.get(reverse("api_bill-list")).json()["results"]
        [paid] = client.get(reverse("api_payment-list")).json()["results"]
        assert [row["amount"] for row in bill["settled_by"]] == amounts
        assert [row["amount"] for row in paid["settles"]] == amounts


def test_the_total_of_bills_less_what_settles_them_is_what_is_open(firm: firms.Firm, erp: Erp, client: Client) -> None:
    first, second, third = posted(firm, 3)
    void = erp.bill("501", line_of(first))
    erp.says(void, erp.payment("p1", "960", ("501", "960")))
    erp.says(erp.again(void, status=BillStatus.VOIDED))
    erp.says(erp.bill("502", line_of(second)), erp.bill("503", line_of(third)))
    note = erp.credit("601", "502", line_of(second, "2"), applications=(Application(bill="502", amount=Decimal(240)),))
    erp.says(note, erp.payment("p2", "720", ("502", "720")))
    totals = BillList.queryset.aggregate(**BillList.totals)
    assert (totals["total"], totals["settled"]) == (960 - 240 + 960, 720)


def test_a_deleted_bill_that_was_agreed_to_says_what_stood_billed_on_it(
    firm: firms.Firm, erp: Erp, client: Client
) -> None:
    [entry] = posted(firm)
    record = erp.bill("501", line_of(entry))
    erp.says(record)
    erp.says(erp.gone(record))
    adopt("501", by=world.user("ana", "analyst", firm.entity), agreed_by=world.user("con", "controller", firm.entity))
    client.force_login(User.objects.get(username="ana"))
    page = text(client.get(reverse("bill", args=[find("501").pk])))
    assert "nothing of it stands billed" in page
    assert "Stood billed</th>" in page
    assert "Stands billed" not in page
