"""Where each cent of a bill comes from: a customer's share, the largest remainder that we placed, and what the system booked."""

# ruff: noqa: F811 -- fixtures of the invoicing stories
from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse

from portal.models import Customer, InvoiceProposal, LedgerEntry, User
from portal.records import BillLine
from reconciliation import billing, invoicing
from tests.bills import Erp, find, posted
from tests.flows.test_invoicing import END, _memory, cora, deliver, firm, handed_over, mia, system  # noqa: F401 -- fixtures
from tests.reconciliation.firm import Firm, key, post

pytestmark = pytest.mark.django_db


def _lines(proposal: InvoiceProposal) -> list[BillLine]:
    """The lines of a proposal as the system that bills states them."""
    return [
        BillLine(
            key=f"k{line.pk}", posting_key=line.key.hex, quantity=line.quantity, net=line.net, unit_price=line.unit_price,
            description=line.description,
        )
        for line in proposal.lines.order_by("position")
    ]  # fmt: skip


def _told(external_id: str, position: int = 0) -> tuple[dict[str, str], dict[str, str]]:
    """How a line of a bill is explained: the line, and the one thing on it."""
    bill = find(external_id)
    steps, [part] = billing.explained(bill, bill.current.lines.order_by("position")[position], {})
    return dict(steps), dict(part.steps)


def test_a_customers_share_names_them_the_contract_and_the_largest_remainder(
    firm: Firm,
    mia: User,
    cora: User,
    client: Client,
) -> None:
    beta = Customer.objects.create(code="BETA", name="Beta", currency="USD")
    key(system(), "customer", beta.pk, "C2")
    firm.contract.shares = {"ACME": "33.33", "BETA": "66.67"}
    firm.contract.save()
    firm.contract.history.update(
        history_date=datetime(2026, 9, 1, 9, tzinfo=UTC)
    )  # it was agreed before this transaction
    posted(firm, 1, hours=Decimal("8.01"))
    first, second = invoicing.prepare(firm.project, END, by=mia)
    client.force_login(mia)
    line = first.lines.get()
    page = client.get(reverse("invoice_proposal_line", args=[first.pk, line.pk])).content.decode()
    assert "33.33 % of 8.01 h are for Acme Inc. (ACME) to pay (contract ACME-2026, as written on 1 Sep 2026)" in page
    erp = Erp(firm)
    for proposal in (first, second):
        handed_over(proposal, mia, cora)
        deliver()
        erp.says(erp.bill(f"Y{proposal.customer.code}", *_lines(proposal)))
    _, acme = _told("YACME")
    assert "33.33 % of 8.01 h are for Acme Inc. (ACME) to pay" in acme["Share"]
    assert "exactly 2.669733 h; 2.6697 h are on this line, to four decimals by the largest remainder" in acme["Share"]
    assert acme["To the cent"] == "exactly 320.36796 USD, half up to 320.37 USD"
    assert acme["Booked"] == f"320.37 USD, equal to our figures on {first}"
    _, other = _told("YBETA")
    assert "66.67 % of 8.01 h are for Beta (BETA) to pay" in other["Share"]


def test_a_cent_that_we_placed_is_not_told_as_one_that_the_system_booked(
    firm: Firm,
    mia: User,
    cora: User,
) -> None:
    firm.contract.rounding = "invoice"
    firm.contract.save()
    firm.rate.amount = Decimal("33.33")
    firm.rate.save()
    days = (date(2026, 9, day) for day in range(1, 8))
    firm.admit(*(firm.time(f"r{day.day}", hours=Decimal("0.37"), rate=Decimal("33.33"), work_date=day) for day in days))
    post(list(LedgerEntry.objects.filter(kind="time").order_by("pk").values_list("pk", flat=True)))
    [proposal] = invoicing.prepare(firm.project, END, by=mia, how="entry")
    handed_over(proposal, mia, cora)
    deliver()
    erp = Erp(firm)
    erp.says(erp.bill("X1", *_lines(proposal)))
    steps, placed = _told("X1")
    assert steps["On the line"].endswith(f"booked are 12.34 USD, as {proposal} asks for by the largest remainder")
    assert placed["To the cent"] == (
        "exactly 12.3321 USD, half up 12.33 USD; 12.34 USD are on this line: +0.01 USD by the largest remainder, so that the "
        f"lines of {proposal} add up to its total"
    )
    assert placed["Booked"] == f"12.34 USD, equal to our figures on {proposal}"


def test_what_the_system_booked_otherwise_than_was_handed_over_is_its_own(
    firm: Firm,
    mia: User,
    cora: User,
) -> None:
    posted(firm, 1)
    [proposal] = invoicing.prepare(firm.project, END, by=mia)
    handed_over(proposal, mia, cora)
    deliver()
    [line] = _lines(proposal)
    erp = Erp(firm)
    erp.says(
        erp.bill(
            "Z1", BillLine(key=line.key, posting_key=line.posting_key, quantity=line.quantity, net=Decimal("960.01"))
        )
    )
    _, part = _told("Z1")
    assert part["Booked"] == (
        f"960.01 USD where {proposal} asks for 960.00 USD: +0.01 USD as booked, its line over 960.01 USD where 960.00 USD were "
        "handed over"
    )
