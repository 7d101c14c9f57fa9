"""Expenses on the lines of bills: billed as a whole, whatever their price, unless the line bills a part of one."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from portal.models import AccountingPeriod, BillingBalance
from portal.records import BillLine
from reconciliation import invoicing, matching
from reconciliation.models import ReconciliationResult
from tests.bills import Erp, causes
from tests.reconciliation import firm as firms

pytestmark = pytest.mark.django_db
END = date(2026, 9, 30)


@pytest.fixture
def firm() -> firms.Firm:
    made = firms.build()
    firms.key(made.target, "customer", made.customer.pk, "C1")
    return made


def expense(firm: firms.Firm) -> int:
    """A train ticket of 119.00 that stands in the books."""
    [entry] = firm.admit(firm.expense("t1", amount=Decimal("119.00"), work_date=date(2026, 9, 3))).ready
    firms.post([entry])
    return entry


def line(entry: int, net: str, quantity: str | None = None, key: str = "1") -> BillLine:
    return BillLine(
        key=key, posting_number=f"N{entry}", net=Decimal(net), description="Train",
        quantity=None if quantity is None else Decimal(quantity),
    )  # fmt: skip


def left(entry: int) -> Decimal:
    found = BillingBalance.objects.get(entry=entry)
    return found.delivered - found.invoiced + found.credited


@pytest.mark.parametrize("quantity", [None, "1"])
def test_an_expense_billed_without_its_tax_is_billed_whole_and_the_lower_price_is_told(
    quantity: str | None, firm: firms.Firm
) -> None:
    entry, erp = expense(firm), Erp(firm)
    erp.says(erp.bill("501", line(entry, "100", quantity), tax=Decimal(19), total=Decimal(119), booked_on=END))
    assert left(entry) == 0
    assert causes() == set()
    assert invoicing.prepare(firm.project, END, by=None) == []
    matching.run(firm.entity, AccountingPeriod.objects.get(entity=firm.entity, code="2026-09"))
    [told] = ReconciliationResult.objects.filter(leg="target_invoice")
    assert (told.amount_left, told.amount_right) == (Decimal(119), Decimal(100))
    assert told.outcome != "matched"


def test_a_line_that_bills_a_part_of_an_expense_leaves_the_rest_open_for_another(firm: firms.Firm) -> None:
    entry, erp = expense(firm), Erp(firm)
    erp.says(erp.bill("501", line(entry, "71.40", "0.6")))
    assert left(entry) == Decimal("47.60")
    erp.says(erp.bill("502", line(entry, "47.60", "0.4")))
    assert left(entry) == 0
    assert causes() == set()
    erp.says(erp.bill("503", line(entry, "47.60", "0.4")))
    assert causes("503") == {"hour-billed-twice"}
