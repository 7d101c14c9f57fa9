"""What stands billed is one figure: readiness, its file, the interface, the plot of a period and the leg of bills."""

from __future__ import annotations

import csv
import io
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from portal import tokens
from portal.models import AccountingPeriod, BillingBalance, GrantRole, Milestone, User
from portal.records import BillKind, BillLine, BillStatus, Reference
from reconciliation import billing, matching
from reconciliation.models import ProjectMonth
from reconciliation.sql import closing
from reconciliation.views.readiness.telling import unstopped
from tests import world
from tests.bills import Erp, find, line_of, posted
from tests.reconciliation import firm as firms

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> firms.Firm:
    found = firms.build()
    world.user("fay", GrantRole.ANALYST, found.entity)
    return found


def stands(firm: firms.Firm) -> Decimal:
    """What stands billed of September, which every screen says alike."""
    period = AccountingPeriod.objects.get(entity=firm.entity, code="2026-09")
    fay = User.objects.get(username="fay")
    client = Client()
    client.force_login(fay)
    month = ProjectMonth.objects.get(period=period)
    asked = {"period": "2026-09", "tab": "all", "columns": "project,invoiced"}
    file: Any = client.get(reverse("readiness"), {**asked, "export": "csv"})
    [row] = csv.DictReader(io.StringIO(b"".join(file.streaming_content).decode("utf-8-sig").split("\r\n\r\n", 1)[1]))
    lake = Client(headers={"authorization": f"Bearer {tokens.issue(fay, 'lake')}"})
    [told] = lake.get(reverse("api_readiness-list"), {"period": "2026-09"}).json()["results"]
    [drawn] = closing.waterfall(firm.entity.pk, period.starts_on, period.ends_on).amounts
    run = matching.run(firm.entity, period)
    said = {
        "page": month.all_invoiced,
        "interface": Decimal(told["invoiced"]),
        "file": Decimal(row["Invoiced"]),
        "plot": drawn.invoiced,
        "leg": Decimal(run.totals["target_invoice"]["money"]["USD"]["right"]),
    }
    assert len(set(said.values())) == 1, said
    parts = {
        name: getattr(month, name)
        for name in ("blocked", "under_way", "ready", "drafted", "on_hold", "invoiced", "gone", "off_price")
    }
    assert sum(parts.values()) == month.amount == 2880, parts
    return said["page"]


def test_a_credit_of_the_price_a_void_and_a_new_bill_are_told_alike_everywhere(firm: firms.Firm) -> None:
    first, second, third = posted(firm, 3)
    erp = Erp(firm)
    said = erp.bill("501", line_of(first), line_of(second), booked_on=date(2026, 9, 30))
    draft = erp.bill("502", line_of(third), booked_on=date(2026, 9, 30), status=BillStatus.DRAFT)
    erp.says(said, draft)
    assert stands(firm) == 1920
    assert ProjectMonth.objects.get(period__code="2026-09").drafted == 960

    erp.says(erp.again(draft, status=BillStatus.OPEN))
    assert stands(firm) == 2880

    silent = BillLine(key="x", net=Decimal(100), description="A discount")
    note = erp.credit("601", "501", silent, booked_on=date(2026, 9, 30))
    erp.says(note)
    billing.credit_price(find("601", BillKind.CREDIT_NOTE), by=User.objects.get(username="fay"), reason="a discount")
    assert stands(firm) == 2780
    client = Client()
    client.force_login(User.objects.get(username="fay"))
    month = ProjectMonth.objects.get(period__code="2026-09")
    page = client.get(reverse("readiness_project", args=[month.pk])).content.decode()
    assert "100.00 less than was agreed" in page
    assert (month.off_price, month.ready) == (100, 0)
    assert unstopped(month)[0] == "Invoiced", "nothing of it needs another invoice"

    erp.says(erp.again(note, status=BillStatus.VOIDED))
    assert stands(firm) == 2880

    erp.says(erp.gone(draft))
    assert stands(firm) == 1920
    assert ProjectMonth.objects.get(period__code="2026-09").gone == 960

    erp.says(erp.again(said, status=BillStatus.VOIDED))
    assert stands(firm) == 0
    erp.says(erp.bill("503", line_of(first, net="950"), line_of(second), booked_on=date(2026, 9, 30)))
    assert stands(firm) == 1910
    period = AccountingPeriod.objects.get(entity=firm.entity, code="2026-09")
    whole = matching.run(firm.entity, period, whole=True).totals["target_invoice"]["money"]["USD"]
    assert Decimal(whole["right"]) == 1910


def test_an_invoice_that_is_void_while_it_is_paid_blocks_the_month_by_name(firm: firms.Firm) -> None:
    [first, *_] = posted(firm, 3)
    erp = Erp(firm)
    said = erp.bill("501", line_of(first), booked_on=date(2026, 9, 30))
    erp.says(said)
    erp.says(erp.payment("701", "960", ("501", "960")))
    erp.says(erp.again(said, status=BillStatus.VOIDED))
    assert stands(firm) == 0
    month = ProjectMonth.objects.get(period__code="2026-09")
    client = Client()
    client.force_login(User.objects.get(username="fay"))
    listed = client.get(reverse("readiness"), {"period": "2026-09", "tab": "held-up"}).content.decode()
    if month.gone:  # its hours are open again only once the payment is dealt with
        assert f"Invoice INV-501 was voided in {firm.target}: 960.00 USD" in listed
    else:
        assert month.ready == 2880


def test_what_a_milestone_was_credited_in_price_is_not_invoiced_and_needs_no_other_bill(firm: firms.Firm) -> None:
    stone = Milestone.objects.create(
        project=firm.project, code="M1", name="Design", amount=Decimal(6000), currency="USD",
        due_on=date(2026, 9, 30), signed_on=date(2026, 9, 30),
    )  # fmt: skip
    erp = Erp(firm)
    line = BillLine(key="m", net=Decimal(6000), description="Design", milestone=Reference("", "M1"))
    erp.says(erp.bill("501", line, booked_on=date(2026, 9, 30)))
    note = erp.credit(
        "601", "501", BillLine(key="x", net=Decimal(500), description="A discount"), booked_on=date(2026, 9, 30)
    )
    erp.says(note)
    billing.credit_price(find("601", BillKind.CREDIT_NOTE), by=User.objects.get(username="fay"), reason="a discount")
    assert BillingBalance.objects.get(milestone=stone).amount == 5500
    month = ProjectMonth.objects.get(period__code="2026-09")
    assert (month.milestones_invoiced, month.off_price, month.milestones_ready) == (5500, 500, 0)
    assert month.all_billed == month.to_bill == 6000
