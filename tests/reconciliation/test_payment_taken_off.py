"""A payment that is gone, bounced or given back while its bills stay as they were: who is told, what is shown, which case."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from portal.models import Notification, User
from portal.records import Application, BillStatus, PaymentStatus
from reconciliation import billing
from reconciliation.models import ExceptionCase
from tests import world
from tests.bills import Erp, adopt, causes, find, line_of, posted
from tests.reconciliation import firm as firms
from tests.reconciliation.test_bill_views import signed_in, text

pytestmark = pytest.mark.django_db
PAID = {"status": BillStatus.PAID, "balance": Decimal(0)}


@pytest.fixture
def firm() -> firms.Firm:
    made = firms.build()
    firms.key(made.target, "customer", made.customer.pk, "C1")
    made.project.manager = world.user("mia", "project_manager", made.entity)
    made.project.save()
    return made


@pytest.fixture
def erp(firm: firms.Firm) -> Erp:
    return Erp(firm)


def told(name: str = "mia") -> list[str]:
    return list(Notification.objects.filter(person__username=name).order_by("pk").values_list("subject", flat=True))


def look() -> tuple[int, int]:
    """The look of the day, once everything had time to arrive."""
    return billing.review_lately(older_than_seconds=0)


def rows_of(client: Client, screen: str, **query: Any) -> str:
    return text(client.get(reverse(screen), query))


@pytest.mark.case(93)
def test_a_payment_that_is_deleted_while_its_bills_say_paid_is_told_shown_and_a_case(
    firm: firms.Firm, erp: Erp, client: Client
) -> None:
    entries = posted(firm, 3)
    said = [erp.bill(f"50{n}", line_of(entry), **PAID) for n, entry in enumerate(entries)]
    paid = erp.payment("p1", "2880", *((one.external_id, "960") for one in said))
    erp.says(*said, paid)
    signed_in(client, "ana", "analyst", firm.entity)
    assert "INV-500" in rows_of(client, "bills", tab="paid")
    assert "2,880.00" in rows_of(client, "payments")

    erp.says(erp.gone(paid))

    assert [one for one in told() if "no longer" in one] == [
        f"Payment PAY-p1 was deleted in its system: 960.00 USD no longer settle Invoice INV-50{n}, of which 960.00 USD are "
        "open, although its system still says that it is paid."
        for n in range(3)
    ]
    assert "INV-500" not in rows_of(client, "bills", tab="paid")
    assert "INV-500" in rows_of(client, "bills", tab="open")
    assert "INV-500" in rows_of(client, "bills", status="open")
    assert "INV-500" not in rows_of(client, "bills", status="paid")
    page = text(client.get(reverse("bill", args=[find("500").pk])))
    assert "its system says paid" in page
    footer = rows_of(client, "payments")
    footer = footer[footer.rindex("Total") :]
    assert "2,880.00" not in footer

    assert billing.review_lately() == (0, 0), "the system's own word may still be on its way"
    assert look() == (3, 0)
    assert causes("500") == {"balance-differs"}
    case = ExceptionCase.objects.filter(rule="balance-differs").earliest("pk")
    assert case.sentence == (
        "Invoice INV-500 over 960.00 USD has 0.00 USD open in its system, and what is known to settle it leaves 960.00 USD. "
        "Payment PAY-p1 was deleted in its system, which took 960.00 USD off it. Money that was given back or never came is "
        "asked for again: have it paid by another payment, or have its balance put right in its system."
    )
    assert (case.held_amount, case.held_currency) == (Decimal(960), "USD")
    assert look() == (3, 0), "the same again is no other case"
    assert "INV-500" in rows_of(client, "bills", tab="changed"), "it waits for somebody"

    erp.says(erp.again(said[0], status=BillStatus.OPEN, balance=Decimal(960)))
    assert look() == (2, 1)
    assert causes("500") == set()
    listed = rows_of(client, "bills", tab="changed")
    assert "INV-500" not in listed
    assert "INV-501" in listed
    assert causes("501") == {"balance-differs"}


@pytest.mark.case(93)
def test_money_that_was_given_back_in_part_is_told_with_its_amount_and_leaves_its_bill_paid_in_part(
    firm: firms.Firm, erp: Erp, client: Client
) -> None:
    [entry] = posted(firm)
    paid = erp.payment("p1", "960", ("501", "960"))
    erp.says(erp.bill("501", line_of(entry), **PAID), paid)
    less = (Application(bill="501", amount=Decimal(560)),)
    erp.says(erp.again(paid, amount=Decimal(560), applications=less))
    assert told()[-1] == (
        "Payment PAY-p1 was changed in its system: 400.00 USD no longer settle Invoice INV-501, of which 400.00 USD are "
        "open, although its system still says that it is paid."
    )
    signed_in(client, "ana", "analyst", firm.entity)
    assert "Part paid" in rows_of(client, "bills", tab="open")
    assert look() == (1, 0)
    assert "took 400.00 USD off it" in ExceptionCase.objects.get(rule="balance-differs").sentence


def test_a_bill_that_its_system_says_is_paid_and_of_which_no_payment_was_ever_read_stays_as_it_says(
    firm: firms.Firm, erp: Erp, client: Client
) -> None:
    first, second = posted(firm, 2)
    erp.says(erp.bill("501", line_of(first), **PAID), erp.bill("502", line_of(second)))
    erp.says(erp.payment("p1", "960", ("502", "960")))
    signed_in(client, "ana", "analyst", firm.entity)
    listed = rows_of(client, "bills", tab="paid")
    assert "INV-501" in listed
    assert "INV-502" in listed, "what stands on it settles it, whatever its system says until then"
    erp.says(erp.again(erp.payment("p1", "960", ("502", "960")), status=PaymentStatus.BOUNCED))
    assert "INV-502" not in rows_of(client, "bills", tab="paid")


def test_a_draft_asks_for_no_money_and_who_agrees_to_a_lower_price_opens_no_hours(
    firm: firms.Firm, erp: Erp, client: Client
) -> None:
    [entry] = posted(firm)
    said = erp.bill("501", line_of(entry))
    erp.says(erp.again(said, status=BillStatus.DRAFT))
    signed_in(client, "ana", "analyst", firm.entity)
    page = text(client.get(reverse("bill", args=[find("501").pk])))
    assert "nothing yet: it is a draft" in page
    erp.says(erp.again(said))
    erp.says(erp.again(said, lines=(line_of(entry, net="950"),), net=Decimal(950), total=Decimal(950)))
    cora = world.user("cora", "controller", firm.entity)
    adopt("501", by=User.objects.get(username="ana"), agreed_by=cora)
    expected = (
        "cora agreed: Invoice INV-501, adopt what the system says. 950.00 USD instead of 960.00 USD stand billed "
        "(\N{MINUS SIGN}10.00 USD)."
    )
    assert told("ana")[-1] == told()[-1] == expected
