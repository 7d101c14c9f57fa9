"""What is left of a maximum and of a purchase order: the same two figures on every page, each with its word."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse

from portal.models import Contract, Customer, GrantRole, PurchaseOrder, User
from portal.records import BillKind, BillLine, Reference
from reconciliation import billing, budgets, invoicing, readiness
from reconciliation.models import ProjectMonth
from tests import world
from tests.bills import Erp, find, line_of, posted
from tests.reconciliation import firm as firms

pytestmark = pytest.mark.django_db
END = date(2026, 9, 30)


@pytest.fixture
def firm() -> firms.Firm:
    found = firms.build()
    contract = found.project.contract
    assert contract is not None
    contract.cap_amount = Decimal(10_000)
    contract.save()
    PurchaseOrder.objects.create(
        contract=contract, number="PO-7", amount=Decimal(5000), currency="USD", valid_from=date(2026, 9, 1)
    )
    found.project.manager = world.user("mia", GrantRole.PROJECT_MANAGER, found.entity)
    found.project.save()
    world.user("fay", GrantRole.ANALYST, found.entity)
    return found


def left(firm: firms.Firm) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    """Of the maximum, then of the order: left to work, left to bill; as the checklist and the page of the proposal say."""
    contract = Contract.objects.get(projects=firm.project)
    maximum = budgets.of_contracts([contract])[contract.pk]
    [order] = budgets.of_orders(contract.purchase_orders.all()).values()
    month = ProjectMonth.objects.select_related("project__contract", "project__customer", "period").get(
        period__code="2026-09"
    )
    [said] = [one.says for one in readiness.checklist(month) if one.code == "budget"]
    assert said == f"Left are {maximum.words}; {order.words}."
    client = Client()
    client.force_login(User.objects.get(username="mia"))
    file = client.get(reverse("readiness"), {"period": "2026-09", "tab": "all", "export": "csv"})
    written = b"".join(file.streaming_content).decode("utf-8-sig")  # type: ignore[attr-defined]
    assert f"{maximum.to_work.normalize():f}" in written
    assert f"{maximum.to_bill.normalize():f}" in written
    for proposal in firm.project.invoice_proposals.exclude(state="withdrawn"):
        assert [one.rest for one in invoicing.limits_of(proposal)] == [order.to_bill, maximum.to_bill]
        page = client.get(reverse("invoice_proposal", args=[proposal.pk])).content.decode()
        assert f"left to bill of 10,000.00, {maximum.to_work:,.2f} left to work" in page
        assert f"left to bill of 5,000.00, {order.to_work:,.2f} left to work" in page
    return maximum.to_work, maximum.to_bill, order.to_work, order.to_bill


def test_what_is_left_to_work_and_left_to_bill_is_told_alike_and_a_thing_counts_once(firm: firms.Firm) -> None:
    first, *_ = posted(firm, 3)
    assert left(firm) == (7120, 10_000, 2120, 5000)
    [proposal] = invoicing.prepare(firm.project, END, by=None, how="entry")
    assert left(firm) == (7120, 7120, 2120, 2120)

    mia = User.objects.get(username="mia")
    invoicing.hold(proposal.lines.order_by("-position")[0], by=mia, reason="disputed")
    assert left(firm) == (7120, 8080, 2120, 3080)

    erp = Erp(firm)
    erp.says(erp.bill("501", line_of(first)))  # billed elsewhere, while it stands on the proposal still
    assert left(firm) == (7120, 8080, 2120, 3080)

    erp.says(erp.credit("601", "501", BillLine(key="x", net=Decimal(100), description="A discount")))
    billing.credit_price(find("601", BillKind.CREDIT_NOTE), by=User.objects.get(username="fay"), reason="a discount")
    assert left(firm) == (7120, 8180, 2120, 3180)


def test_an_order_is_of_its_customer_and_what_others_share_of_the_work_is_neither_on_it_nor_uses_it(
    firm: firms.Firm,
) -> None:
    beta = Customer.objects.create(code="BETA", name="Beta", currency="USD")
    firms.key(firm.target, "customer", beta.pk, "C2")
    firm.contract.shares, firm.contract.requires_purchase_order = {"ACME": "60", "BETA": "40"}, True
    firm.contract.save()
    [entry] = posted(firm)
    acme, other = invoicing.prepare(firm.project, END, by=None)
    order = PurchaseOrder.objects.get()
    assert (acme.purchase_order, acme.net) == (order, Decimal(576))
    assert (other.purchase_order, other.customer, other.net) == (None, beta, Decimal(384))
    assert [one.code for one in invoicing.blockers(other)] == []
    assert budgets.of_orders([order])[order.pk].to_bill == Decimal(5000 - 576)
    erp = Erp(firm)
    erp.says(erp.bill("502", line_of(entry, "3.2"), customer=Reference("C2", "", "Beta")))
    assert budgets.of_orders([order])[order.pk].to_bill == Decimal(5000 - 576)
    erp.says(erp.bill("501", line_of(entry, "4.8")))
    assert budgets.of_orders([order])[order.pk].to_bill == Decimal(5000 - 576)
