"""The database itself holds that no hour is billed twice, whoever writes, with whatever code, at the same moment."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from portal.models import Allocation, BillingBalance, InvoiceVersion, LedgerEntry
from portal.records import BillKind
from tests.bills import allocate, bill, open_hours, posted
from tests.reconciliation import firm as firms

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> firms.Firm:
    return firms.build()


def refused(match: str) -> Any:
    return pytest.raises((IntegrityError, DatabaseError), match=match)


@pytest.mark.case(75)
def test_an_hour_stands_on_one_bill_only(firm: firms.Firm) -> None:
    [entry] = posted(firm)
    allocate(bill(firm, "501"), entry, "6", "720.00")
    second = bill(firm, "502")
    with refused("nothing_is_billed_twice"), transaction.atomic():
        allocate(second, entry, "2.5", "300.00")
    allocate(second, entry, "2", "240.00")
    assert open_hours([entry]) == {entry: Decimal(0)}


@pytest.mark.case(103)
def test_only_the_credited_hours_are_open_again_and_never_more_than_was_billed(firm: firms.Firm) -> None:
    [entry] = posted(firm)
    billed = allocate(bill(firm), entry)
    credit = bill(firm, "601", BillKind.CREDIT_NOTE)
    allocate(credit, entry, "-3", "-360.00", takes_back=billed)
    assert open_hours([entry]) == {entry: Decimal(3)}
    with refused("more is taken back"), transaction.atomic():
        allocate(credit, entry, "-5.5", "-600.00", takes_back=billed)
    with refused("more is taken back"), transaction.atomic():
        allocate(credit, entry, "-1", "-700.00", takes_back=billed)
    with refused("nothing_is_billed_twice"), transaction.atomic():
        allocate(bill(firm, "502"), entry, "3.25", "390.00")
    allocate(bill(firm, "503"), entry, "3", "360.00")
    assert open_hours([entry]) == {entry: Decimal(0)}


@pytest.mark.case(104)
def test_a_credit_of_the_price_leaves_the_hours_billed(firm: firms.Firm) -> None:
    [entry] = posted(firm)
    billed = allocate(bill(firm), entry)
    allocate(bill(firm, "601", BillKind.CREDIT_NOTE), entry, "0", "-96.00", takes_back=billed)
    assert open_hours([entry]) == {entry: Decimal(0)}
    with refused("what_is_billed_has_a_quantity"), transaction.atomic():
        allocate(bill(firm, "502"), entry, "0", "96.00")


@pytest.mark.case(109)
def test_what_is_not_posted_not_billable_or_being_reversed_is_not_billed(firm: firms.Firm) -> None:
    firm.admit(firm.time("7"))
    waiting = LedgerEntry.objects.get(document__external_id="7").pk
    with refused("is not to be billed"), transaction.atomic():
        allocate(bill(firm), waiting)
    [cost_only] = posted(firm, first=8, billable=False)
    with refused("is not to be billed"), transaction.atomic():
        allocate(bill(firm, "502"), cost_only)


def test_a_later_version_is_not_billed_while_the_earlier_one_stands_billed(firm: firms.Firm) -> None:
    from reconciliation import corrections
    from tests import world

    [first] = posted(firm)
    billed = allocate(bill(firm), first)
    corrections.reverse_standing(
        [first], by=world.user("cora", "controller", firm.entity), reason="the hours were wrong"
    )
    firms.post([LedgerEntry.objects.get(reverses=first).pk])
    firm.admit(firm.time("1", hours=Decimal("7.5")))
    second = LedgerEntry.objects.get(document__external_id="1", version=2)
    firms.post([second.pk])
    again = bill(firm, "502")
    with refused("its document stands billed"), transaction.atomic():
        allocate(again, second.pk, "7.5", "900.00")
    allocate(bill(firm, "601", BillKind.CREDIT_NOTE), first, "-8", "-960.00", takes_back=billed)
    allocate(again, second.pk, "7.5", "900.00")
    assert open_hours([second.pk]) == {second.pk: Decimal(0)}


def test_evidence_of_billing_is_neither_changed_nor_deleted_and_nobody_writes_the_balance(firm: firms.Firm) -> None:
    [entry] = posted(firm)
    billed = allocate(bill(firm), entry)
    for statement in (
        "UPDATE portal_allocation SET quantity = 1",
        "DELETE FROM portal_allocation",
        "UPDATE portal_invoiceversion SET total = 1",
        "DELETE FROM portal_invoiceline",
        "DELETE FROM portal_invoice",
        "UPDATE portal_invoice SET external_id = 'x'",
        "UPDATE portal_billingbalance SET invoiced = 0",
        "DELETE FROM portal_billingbalance",
    ):
        with (
            refused("append-only|is evidence|its identity|by nobody"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)
    assert BillingBalance.objects.get(entry=entry).invoiced == 8
    assert Allocation.objects.get().pk == billed.pk
    assert InvoiceVersion.objects.get().total == Decimal("960.00")


def test_raw_sql_does_not_get_round_it_and_one_bad_row_of_many_writes_none(firm: firms.Firm) -> None:
    entries = posted(firm, 3)
    invoice = bill(firm)
    line = invoice.current.lines.get().pk
    statement = (
        "INSERT INTO portal_allocation (entity_id, entry_id, line_id, cause_id, quantity, amount, currency, actor, reason,"
        " recorded_at) SELECT %s, e, %s, %s, q, 1, 'USD', 'sql', '', now() FROM unnest(%s::bigint[], %s::numeric[]) AS w(e, q)"
    )
    with connection.cursor() as cursor:
        with refused("nothing_is_billed_twice"), transaction.atomic():
            cursor.execute(
                statement, [firm.entity.pk, line, invoice.current_id, [*entries, entries[0]], ["8", "8", "8", "0.5"]]
            )
        assert not Allocation.objects.exists()
        cursor.execute(statement, [firm.entity.pk, line, invoice.current_id, entries, ["8", "8", "8"]])
    assert set(open_hours(entries).values()) == {Decimal(0)}


@pytest.mark.django_db(transaction=True)
def test_bills_that_race_for_one_hour_get_it_once(firm: firms.Firm) -> None:
    entries = posted(firm, 4)
    bills = [bill(firm, f"5{n:02d}") for n in range(6)]
    start, lost = threading.Barrier(len(bills)), []

    def take(number: int) -> None:
        try:
            start.wait()
            for entry in entries if number % 2 else reversed(entries):
                try:
                    allocate(bills[number], entry, "3", "360.00")
                except IntegrityError:
                    lost.append(entry)
        finally:
            connection.close()

    threads = [threading.Thread(target=take, args=(n,)) for n in range(len(bills))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(open_hours(entries).values()) == {Decimal(2)}  # two bills of three hours each, and no third
    assert Allocation.objects.count() == 8
    assert len(lost) == 16
