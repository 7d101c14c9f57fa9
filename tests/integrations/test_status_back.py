"""How bills and payments stand goes back to whoever subscribes: as entries of their own, in order, proved, once."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from integrations import registry, work
from integrations.errors import InDoubt
from portal.models import (
    Connection,
    Customer,
    LedgerEntry,
    LedgerState,
    MasterChange,
    Payment,
    Published,
    PublishedVersion,
    State,
)
from portal.records import BillStatus, PaymentStatus, PublishedKind
from reconciliation import publishing, validation
from reconciliation.models import ExceptionCase
from tests import world
from tests.bills import Erp, find, line_of, posted
from tests.integrations.memory_recipient import RECORDS, Records, loses, recipient
from tests.integrations.test_publishing import deliver, follow
from tests.reconciliation import firm as firms

pytestmark = pytest.mark.django_db
Kind = PublishedKind


@pytest.fixture(autouse=True)
def _memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.CONNECTORS, "memory-recipient", "tests.integrations.memory_recipient.MemoryRecipient")


@pytest.fixture
def firm() -> firms.Firm:
    made = firms.build()
    firms.key(made.target, "customer", made.customer.pk, "C1")
    return made


@pytest.fixture
def erp(firm: firms.Firm) -> Erp:
    return Erp(firm)


def crm(firm: firms.Firm, *kinds: Kind, account: str = "001A") -> tuple[Connection, Records]:
    """A CRM that is told how bills and payments stand, and knows the customer."""
    system = recipient(firm.entity, *(kinds or (Kind.INVOICE, Kind.PAYMENT)), code="crm")
    if account:
        firms.key(system, "customer", firm.customer.pk, account)
    return system, RECORDS["crm"]


def states() -> dict[str, str]:
    """Where the current entry of every record that was told stands."""
    rows = LedgerState.objects.filter(entry__kind="master").exclude(state__in=["reversed", "cancelled"])
    titles = dict(Published.objects.values_list("pk", "title"))
    return {titles[row.entry.document_id]: row.state for row in rows.select_related("entry")}


def of(records: Records, kind: Kind, number: str) -> dict[str, Any]:
    return next(record for record in records.held[kind].values() if record["number"] == number)


def test_a_bill_its_part_payment_and_its_payment_reach_the_crm_as_entries_of_their_own(
    firm: firms.Firm, erp: Erp, client: Client
) -> None:
    system, records = crm(firm)
    [entry] = posted(firm)
    bill = erp.bill("501", line_of(entry))
    erp.says(bill)
    validation.follow_changes()
    deliver(system)
    told = of(records, Kind.INVOICE, "INV-501")
    assert {name: told[name] for name in ("status", "total", "balance", "projects", "due_on", "booked_in")} == {
        "status": "open", "total": "960.00", "balance": "960.00", "projects": "ACM-1", "due_on": "2026-11-30",
        "booked_in": firm.target.code,
    }  # fmt: skip
    assert told["names"] == {"customer": "001A"}
    erp.says(erp.payment("9", "400.00", ("501", "400.00")), erp.again(bill, status=BillStatus.PART_PAID))
    validation.follow_changes()
    deliver(system)
    told = of(records, Kind.INVOICE, "INV-501")
    assert (told["status"], told["balance"]) == ("part_paid", "560.00")
    number = next(iter(records.held[Kind.INVOICE]))
    paid = of(records, Kind.PAYMENT, "PAY-9")
    invoice = f"invoice:{find('501').pk}"
    assert (paid["amount"], paid["settles"]) == ("400.00", {invoice: "400.00"})
    assert paid["names"] == {"customer": "001A", invoice: number}
    assert "reference" not in paid
    erp.says(erp.payment("10", "560.00", ("501", "560.00")), erp.again(bill, status=BillStatus.PAID))
    validation.follow_changes()
    deliver(system)
    told = of(records, Kind.INVOICE, "INV-501")
    assert (told["status"], told["balance"], told["paid_on"]) == ("paid", "0.00", "2026-11-15")
    assert set(states().values()) == {"posted"}
    assert len(records.held[Kind.INVOICE]) == 1
    assert LedgerEntry.objects.filter(kind="master").count() == 5  # the bill three times, and two payments
    client.force_login(world.user("mia", "project_manager", firm.entity))
    for address in (
        reverse("bill", args=[find("501").pk]),
        reverse("payment", args=[Payment.objects.earliest("pk").pk]),
    ):
        page = client.get(address).content.decode()
        assert "Who is told of it" in page
        assert "Posted" in page
        assert reverse("published_record", args=[Published.objects.earliest("pk").pk])[:11] in page
    found = client.get(reverse("search"), {"q": number})
    assert (found.status_code, found["Location"]) == (302, reverse("bill", args=[find("501").pk]))
    client.force_login(world.user("eve", "analyst", world.entity("FR", "EUR")))
    assert client.get(reverse("search"), {"q": number}).status_code == 200, "nothing that she may see"
    assert client.get(reverse("bill", args=[find("501").pk])).status_code == 404


def test_a_draft_is_told_to_nobody_and_an_echo_makes_no_version(firm: firms.Firm, erp: Erp) -> None:
    system, records = crm(firm)
    [entry] = posted(firm)
    bill = erp.bill("501", line_of(entry), status=BillStatus.DRAFT)
    erp.says(bill)
    validation.follow_changes()
    assert not Published.objects.exists()
    bill = erp.again(bill, status=BillStatus.OPEN)
    erp.says(bill)
    erp.says(erp.again(bill))
    validation.follow_changes()
    follow("bill", find("501").pk)
    deliver(system)
    assert PublishedVersion.objects.count() == 1
    assert len(records.calls) == 1


def test_a_payment_that_bounced_leaves_nothing_settled_and_the_bill_open_again(firm: firms.Firm, erp: Erp) -> None:
    system, records = crm(firm)
    [entry] = posted(firm)
    bill = erp.bill("501", line_of(entry))
    payment = erp.payment("9", "960.00", ("501", "960.00"))
    erp.says(bill, payment, erp.again(bill, status=BillStatus.PAID))
    validation.follow_changes()
    deliver(system)
    erp.says(erp.again(payment, status=PaymentStatus.BOUNCED, applications=()), erp.again(bill, status=BillStatus.OPEN))
    validation.follow_changes()
    deliver(system)
    paid, told = of(records, Kind.PAYMENT, "PAY-9"), of(records, Kind.INVOICE, "INV-501")
    assert (paid["status"], list(paid["settles"].values())) == ("bounced", ["0.00"])
    assert (told["status"], told["balance"], told["paid_on"]) == ("open", "960.00", None)


def test_a_payment_waits_for_the_bill_that_it_settles_and_the_bill_for_its_customers_key(
    firm: firms.Firm, erp: Erp
) -> None:
    system, records = crm(firm, account="")
    [entry] = posted(firm)
    erp.says(erp.bill("501", line_of(entry)), erp.payment("9", "400.00", ("501", "400.00")))
    validation.follow_changes()
    deliver(system)
    assert set(states().values()) == {"held"}
    case = ExceptionCase.objects.get(rule="crosswalk-missing")
    assert "does not know customer" in case.sentence
    assert case.holds.count() == 2
    follow("crosswalk", firms.key(system, "customer", firm.customer.pk, "001A").pk)
    waiting = LedgerState.objects.get(waits_on__startswith="parent:")
    assert waiting.waits_on == f"parent:invoice:{find('501').pk}"
    deliver(system)
    assert [kind for kind, _ in records.calls] == ["invoice", "payment"]
    assert set(states().values()) == {"posted"}


@pytest.mark.case(24)
def test_a_customer_that_is_two_accounts_is_told_to_neither_until_one_is_its_own(firm: firms.Firm, erp: Erp) -> None:
    system, records = crm(firm, account="")
    for key in ("001A", "001B"):
        firms.key(system, "customer", firm.customer.pk, key, allows_many=True)
    [entry] = posted(firm)
    erp.says(erp.bill("501", line_of(entry)))
    validation.follow_changes()
    deliver(system)
    assert not records.calls
    assert "has several records of customer" in ExceptionCase.objects.get(rule="crosswalk-missing").sentence
    chosen = firms.key(system, "customer", firm.customer.pk, "001C")
    follow("crosswalk", chosen.pk)
    deliver(system)
    assert of(records, Kind.INVOICE, "INV-501")["names"] == {"customer": "001C"}


def test_a_lost_answer_is_looked_up_and_the_bill_is_told_once(firm: firms.Firm, erp: Erp) -> None:
    system, records = crm(firm)
    [entry] = posted(firm)
    records.faults.append(loses(InDoubt("the connection was cut"), kept=True))
    erp.says(erp.bill("501", line_of(entry)))
    validation.follow_changes()
    deliver(system, 12)
    assert states() == {"Invoice INV-501": "posted"}
    assert len(records.held[Kind.INVOICE]) == 1


def test_who_subscribes_later_is_told_what_stands_and_what_was_lost_is_found_within_a_day(
    firm: firms.Firm, erp: Erp
) -> None:
    [entry, other] = posted(firm, 2)
    bill = erp.bill("501", line_of(entry))
    erp.says(bill)
    validation.follow_changes()
    system, records = crm(firm)
    follow("connection", system.pk)
    deliver(system)
    assert of(records, Kind.INVOICE, "INV-501")["status"] == "open"
    erp.says(erp.again(bill, status=BillStatus.VOIDED), erp.bill("502", line_of(other)))
    MasterChange.objects.update(handled_at=timezone.now())
    publishing.owe_everything()
    deliver(system)
    assert of(records, Kind.INVOICE, "INV-501")["status"] == "voided"
    assert of(records, Kind.INVOICE, "INV-501")["balance"] == "0.00"
    assert of(records, Kind.INVOICE, "INV-502")["status"] == "open"


def test_customers_that_are_merged_have_their_bills_told_under_the_one_that_survives(
    firm: firms.Firm, erp: Erp
) -> None:
    system, records = crm(firm)
    [entry] = posted(firm)
    erp.says(erp.bill("501", line_of(entry)))
    validation.follow_changes()
    deliver(system)
    survivor = Customer.objects.create(code="ACME2", name="Acme Group", entity=firm.entity, currency="USD")
    firms.key(system, "customer", survivor.pk, "001S")
    firm.customer.merged_into = survivor
    firm.customer.save()
    follow("customer", firm.customer.pk)
    deliver(system)
    assert of(records, Kind.INVOICE, "INV-501")["names"] == {"customer": "001S"}
    assert LedgerEntry.objects.filter(kind="master", state_row__state=State.REVERSED).count() == 1


def test_another_entitys_bills_and_kinds_that_are_not_named_are_told_to_nobody(firm: firms.Firm, erp: Erp) -> None:
    elsewhere = recipient(world.entity("GB", "GBP"), Kind.INVOICE, Kind.PAYMENT, code="crm-gb")
    system, _ = crm(firm, Kind.INVOICE)
    [entry] = posted(firm)
    erp.says(erp.bill("501", line_of(entry)), erp.payment("9", "400.00", ("501", "400.00")))
    work.revalidate()
    deliver(system)
    deliver(elsewhere)
    assert set(states()) == {"Invoice INV-501"}
    assert not RECORDS["crm-gb"].calls


def test_a_balance_that_nobody_stated_is_told_as_unknown_and_not_as_the_whole(firm: firms.Firm, erp: Erp) -> None:
    [entry] = posted(firm)
    system, records = crm(firm, Kind.INVOICE)
    erp.says(erp.bill("501", line_of(entry), status=BillStatus.PART_PAID, balance=None))
    validation.follow_changes()
    deliver(system)
    told = of(records, Kind.INVOICE, "INV-501")
    assert (told["status"], told["total"], told["balance"]) == ("part_paid", "960.00", None)
    assert set(states().values()) == {"posted"}
