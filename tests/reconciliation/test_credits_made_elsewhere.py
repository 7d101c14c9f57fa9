"""Credits that people make in the system that keeps the bills: what they give back is never told by a sum that fits by chance."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from http import HTTPStatus

import pytest
from django.test import Client
from django.urls import reverse

from portal.models import Allocation, User
from portal.records import BillKind, BillLine, BillStatus
from reconciliation import billing, invoicing
from reconciliation.billing import Part
from reconciliation.models import ExceptionCase
from tests import world
from tests.bills import Erp, causes, find, line_of, open_hours, posted
from tests.reconciliation import firm as firms

pytestmark = pytest.mark.django_db
ZERO = Decimal(0)
END = date(2026, 9, 30)


@pytest.fixture
def firm() -> firms.Firm:
    made = firms.build()
    firms.key(made.target, "customer", made.customer.pk, "C1")
    return made


@pytest.fixture
def erp(firm: firms.Firm) -> Erp:
    return Erp(firm)


def silent(net: str, said: str = "Credit", key: str = "c") -> BillLine:
    """A line of a credit note that names nothing."""
    return BillLine(key=key, quantity=Decimal(1), net=Decimal(net), description=said)


def signed_in(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def billed_for(entry_id: int) -> Decimal:
    """The money for which an entry stands billed."""
    return sum(Allocation.objects.filter(entry=entry_id).values_list("amount", flat=True), ZERO)


def sentence(rule: str) -> str:
    return ExceptionCase.objects.get(rule=rule, state="open").sentence


@pytest.mark.case(104)
@pytest.mark.case(105)
def test_what_a_note_credits_beside_the_hours_opens_none_of_them(firm: firms.Firm, erp: Erp) -> None:
    """The licence costs as much as the hours do, and is returned."""
    [entry] = posted(firm)
    erp.says(erp.bill("501", line_of(entry), silent("960", "Licence", "lic")))
    erp.says(erp.credit("601", "501", silent("960", "Licence returned")))
    assert open_hours([entry]) == {entry: ZERO}
    assert causes("601") == {"credit-without-hours"}
    assert invoicing.prepare(firm.project, END, by=None) == [], "nobody is asked to pay the hours again"
    note, ana = find("601", BillKind.CREDIT_NOTE), world.user("ana", "analyst", firm.entity)
    billing.credit_beside(note, by=ana, reason="the licence was returned")
    billing.follow([note.pk], actor="test")
    assert causes() == set()
    assert (open_hours([entry]), billed_for(entry)) == ({entry: ZERO}, Decimal(960))
    billing.take_back(note, by=ana, reason="it was the price of the hours")
    assert causes("601") == {"credit-without-hours"}
    billing.credit_price(note, by=ana, reason="it was the price of the hours")
    assert (causes(), open_hours([entry]), billed_for(entry)) == (set(), {entry: ZERO}, ZERO)


@pytest.mark.case(104)
def test_a_note_of_hours_and_of_the_rest_of_a_licence_is_answered_as_both_and_never_beyond_the_licence(
    firm: firms.Firm, erp: Erp
) -> None:
    [entry] = posted(firm)
    erp.says(erp.bill("501", line_of(entry), silent("1000", "Licence", "lic")))
    erp.says(erp.credit("601", "501", silent("400", "Licence, partly")))
    erp.says(erp.credit("602", "501", silent("1560", "The rest")))
    ana = world.user("ana", "analyst", firm.entity)
    billing.credit_beside(find("601", BillKind.CREDIT_NOTE), by=ana, reason="part of the licence")
    note = find("602", BillKind.CREDIT_NOTE)
    with pytest.raises(billing.NotCreditable, match=r"Only 600\.00 USD of the invoice bill none of our work"):
        billing.credit_beside(note, by=ana, reason="all of it")
    [row] = Allocation.objects.filter(entry=entry, takes_back=None)
    client, form = signed_in(ana), {f"{row.pk}-hours": "8", f"{row.pk}-amount": "960", "reason": "cancelled"}
    address = reverse("bill_credit", args=[note.pk])
    assert client.post(address, {**form, "action": "hours"}).status_code == 422
    assert client.post(address, {**form, "action": "hours-and-beside"}).status_code == 303
    assert (causes(), open_hours([entry]), billed_for(entry)) == (set(), {entry: Decimal(8)}, ZERO)
    billing.take_back(note, by=ana, reason="looked at again")
    assert (causes("602"), open_hours([entry])) == ({"credit-without-hours"}, {entry: ZERO})


@pytest.mark.case(104)
def test_a_goodwill_that_equals_what_is_left_of_the_bill_by_chance_is_asked_about(firm: firms.Firm, erp: Erp) -> None:
    [entry] = posted(firm)
    erp.says(erp.bill("501", line_of(entry)))
    erp.says(erp.credit("601", "501", line_of(entry, "4")))
    erp.says(erp.credit("602", "501", silent("480", "Price reduction")))
    assert open_hours([entry]) == {entry: Decimal(4)}
    assert (causes("601"), causes("602")) == (set(), {"credit-without-hours"})
    billing.credit_price(
        find("602", BillKind.CREDIT_NOTE), by=world.user("ana", "analyst", firm.entity), reason="goodwill"
    )
    assert open_hours([entry]) == {entry: Decimal(4)}
    assert causes() == set()


def test_a_note_over_a_whole_bill_with_its_licence_gives_the_hours_back_by_itself(firm: firms.Firm, erp: Erp) -> None:
    [entry] = posted(firm)
    erp.says(erp.bill("501", line_of(entry), silent("860", "Licence", "lic")))
    erp.says(erp.credit("601", "501", silent("1820", "Cancelled")))
    for _ in range(2):
        assert open_hours([entry]) == {entry: Decimal(8)}
        assert causes() == set()
        billing.follow([find("601", BillKind.CREDIT_NOTE).pk], actor="test")


@pytest.mark.case(103)
@pytest.mark.case(105)
@pytest.mark.parametrize("net", ["100", "0"])
def test_hours_that_are_given_back_for_less_than_they_were_billed_for_are_asked_about(
    net: str, firm: firms.Firm, erp: Erp
) -> None:
    [entry] = posted(firm)
    erp.says(erp.bill("501", line_of(entry)))
    erp.says(erp.credit("601", "501", replace(line_of(entry), net=Decimal(net))))
    assert open_hours([entry]) == {entry: ZERO}
    assert causes("601") == {"credit-without-hours"}
    assert f"gives back 8.00 h for {net}.00 USD, which stand billed at 960.00 USD" in sentence("credit-without-hours")
    assert invoicing.prepare(firm.project, END, by=None) == []


@pytest.mark.case(104)
def test_of_hours_that_were_credited_too_low_a_person_says_what_is_meant_and_may_say_it_otherwise(
    firm: firms.Firm, erp: Erp
) -> None:
    first, second = posted(firm, 2)
    erp.says(erp.bill("501", line_of(first), line_of(second)))
    erp.says(erp.credit("601", "501", line_of(first), replace(line_of(second), net=Decimal(120))))
    assert open_hours([first, second]) == {first: Decimal(8), second: ZERO}
    note, ana = find("601", BillKind.CREDIT_NOTE), world.user("ana", "analyst", firm.entity)
    held = standing_of(second)
    billing.credit_hours(note, {held: Part(Decimal(1), Decimal(120))}, by=ana, reason="one hour of the second day")
    assert open_hours([first, second]) == {first: Decimal(8), second: Decimal(1)}
    assert causes() == set()
    billing.take_back(note, by=ana, reason="it was the price")
    assert open_hours([first, second]) == {first: Decimal(8), second: ZERO}
    assert causes("601") == {"credit-without-hours"}
    billing.credit_price(note, by=ana, reason="a discount")
    assert open_hours([first, second]) == {first: Decimal(8), second: ZERO}
    assert causes() == set()


def standing_of(entry_id: int) -> int:
    """What stands billed of an entry."""
    return Allocation.objects.get(entry=entry_id, takes_back=None).pk


@pytest.mark.case(80)
def test_of_a_credit_note_that_is_gone_it_is_said_that_its_hours_may_be_billed_again(
    firm: firms.Firm, erp: Erp
) -> None:
    [entry] = posted(firm)
    note = erp.credit("601", "501", line_of(entry))
    erp.says(erp.bill("501", line_of(entry)), note)
    erp.says(erp.gone(note))
    assert open_hours([entry]) == {entry: Decimal(8)}
    assert "What it gave back may be billed again until somebody decides." in sentence("bill-deleted")
    found = find("601", BillKind.CREDIT_NOTE)
    effects = billing.effects_of(found, billing.compared(found))
    assert effects["adopt"] == "Nothing stays credited: what the note gave back for 960.00 USD stands billed again."
    ana, bob = world.user("ana", "analyst", firm.entity), world.user("bob", "controller", firm.entity)
    billing.approve(billing.adopt(found, by=ana, reason="it was a mistake"), by=bob)
    assert open_hours([entry]) == {entry: ZERO}
    assert causes() == set()


@pytest.mark.case(75)
def test_an_hour_that_was_billed_twice_is_in_order_once_the_second_bill_credits_it(firm: firms.Firm, erp: Erp) -> None:
    first, second = posted(firm, 2)
    erp.says(erp.bill("501", line_of(first)), erp.bill("502", line_of(first), line_of(second)))
    assert causes("502") == {"hour-billed-twice"}
    half = erp.credit("601", "502", line_of(first, "4"))
    erp.says(half)
    assert (causes("502"), causes("601")) == ({"hour-billed-twice"}, set()), "the other half is still asked for"
    erp.says(erp.credit("602", "502", line_of(first, "4")))
    note = find("602", BillKind.CREDIT_NOTE)
    for one in (find("501"), find("502"), note, find("601", BillKind.CREDIT_NOTE)):
        assert causes() == set()
        assert open_hours([first, second]) == {first: ZERO, second: ZERO}
        assert Allocation.objects.get(entry=first).line.version.invoice == find("501"), "it stays on the first bill"
        billing.follow([one.pk], actor="test")
    erp.says(erp.credit("603", "502", line_of(first, "1")))
    assert causes("603") == {"credit-above-billed"}
    erp.says(erp.again(half, status=BillStatus.VOIDED))
    assert causes("502") == {"hour-billed-twice"}


@pytest.mark.case(75)
def test_a_bill_of_an_hour_that_was_billed_before_is_in_order_once_all_of_it_is_credited(
    firm: firms.Firm, erp: Erp
) -> None:
    first, second = posted(firm, 2)
    erp.says(erp.bill("501", line_of(first)), erp.bill("502", line_of(first), line_of(second)))
    erp.says(erp.credit("601", "502", silent("1920", "Cancelled")))
    assert open_hours([first, second]) == {first: ZERO, second: Decimal(8)}
    assert causes() == set()


def test_a_duplicate_that_is_credited_without_a_name_opens_no_other_hour(firm: firms.Firm, erp: Erp) -> None:
    first, second = posted(firm, 2)
    erp.says(erp.bill("501", line_of(first)), erp.bill("502", line_of(first), line_of(second)))
    erp.says(erp.credit("601", "502", silent("960", "Billed twice")))
    assert open_hours([first, second]) == {first: ZERO, second: ZERO}
    assert causes("601") == {"credit-without-hours"}
    ana, note = world.user("ana", "analyst", firm.entity), find("601", BillKind.CREDIT_NOTE)
    client = signed_in(ana)
    said = client.post(reverse("bill_credit", args=[note.pk]), {"action": "beside", "reason": "billed twice"})
    assert said.status_code == HTTPStatus.SEE_OTHER
    assert causes() == set(), "the duplicate is credited"
    assert open_hours([first, second]) == {first: ZERO, second: ZERO}
    erp.says(erp.credit("602", "501", silent("100")))
    other = find("602", BillKind.CREDIT_NOTE)
    refused = client.post(reverse("bill_credit", args=[other.pk]), {"action": "beside", "reason": "billed twice"})
    assert refused.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert "Only 0.00 USD of the invoice bill none of our work" in refused.content.decode()
