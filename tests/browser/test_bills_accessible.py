"""The screens of bills and payments, in both themes, wide and narrow: no word from axe, nothing cut off, all by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Browser, BrowserContext, expect

from portal.models import LedgerEntry, Payment
from portal.records import BillKind, SourceStatus
from reconciliation import validation
from reconciliation.models import ExceptionCase, Operation
from tests import world
from tests.bills import Erp, find, line_of, posted
from tests.browser.test_desk_accessible import FITS, SMALL
from tests.browser.test_screen_kit import violations
from tests.reconciliation.firm import build, key

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def screens() -> tuple[Any, dict[str, str]]:
    """An analyst, and an address for each screen of bills and payments, with something to decide on each."""
    firm = build()
    key(firm.target, "customer", firm.customer.pk, "C1")
    crm = world.connection(
        "crm", "salesforce", firm.entity, is_recipient=True, settings={"subscribes": ["invoice", "payment"]}
    )
    key(crm, "customer", firm.customer.pk, "001000000000001AAA")
    erp, days = Erp(firm), posted(firm, 6)
    taxed = [line_of(day, tax_code="S20", tax_rate=Decimal(20), tax=Decimal(192)) for day in days[:3]]
    edited, gone = erp.bill("501", *taxed), erp.bill("502", line_of(days[3]))
    silent = erp.credit("601", "501", replace(line_of(days[0], "2", key="x"), posting_number=""))
    paid = erp.payment("701", "1500", ("501", "1200"), ("999", "200"), reference="BANK-4711")
    erp.says(edited, gone, erp.bill("503", line_of(days[4]), line_of(days[5])), silent, paid)
    erp.says(erp.again(edited, lines=tuple(taxed[:2]), net=Decimal(1920), tax=Decimal(384), total=Decimal(2304)))
    erp.says(erp.gone(gone), erp.credit("602", "503", line_of(days[5], "3")))
    fay = world.user("fay", "analyst", firm.entity)
    firm.admit(
        firm.time("5", work_date=LedgerEntry.objects.get(pk=days[4]).work_date, hours=Decimal(6)),
        firm.time("6", work_date=LedgerEntry.objects.get(pk=days[5]).work_date, status=SourceStatus.WITHDRAWN),
    )
    desk = Client()
    desk.force_login(fay)
    changed = ExceptionCase.objects.get(rule="changed-after-posting")
    selected = list(changed.holds.values_list("entry", flat=True))
    desk.post(reverse("fix", args=[changed.pk, "reverse-and-rebook"]), {"selected": selected})
    validation.follow_changes()  # which owes the CRM how all of them stand
    bill, note = find("501"), find("601", BillKind.CREDIT_NOTE)
    return fay, {
        "bills": reverse("bills"), "bills, to decide": f"{reverse('bills')}?tab=changed", "payments": reverse("payments"),
        "bill that was edited": reverse("bill", args=[bill.pk]), "bill that is gone": reverse("bill", args=[find("502").pk]),
        "credit note": reverse("bill", args=[note.pk]), "hours of a credit": reverse("bill_credit", args=[note.pk]),
        "line": reverse("bill_line", args=[bill.pk, bill.agreed.lines.earliest("pk").pk]),  # type: ignore[union-attr]
        "payment": reverse("payment", args=[Payment.objects.get().pk]),
        "bill that owes a credit": reverse("bill", args=[find("503").pk]),
        "dry-run of what is invoiced": reverse("operation", args=[Operation.objects.get().pk]),
    }  # fmt: skip


@pytest.fixture(params=["light", "dark"])
def context(request: Any, browser: Browser, live_server: Any, screens: Any) -> Iterator[BrowserContext]:
    client = Client()
    client.force_login(screens[0])
    cookie = client.cookies["tieout_session"].value
    made = browser.new_context(
        viewport={"width": 1440, "height": 900}, color_scheme=request.param, base_url=live_server.url
    )
    made.add_cookies([{"name": "tieout_session", "value": cookie, "url": live_server.url}])
    yield made
    made.close()


def test_axe_finds_nothing_and_nothing_is_cut_off(context: BrowserContext, screens: Any) -> None:
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    found: dict[str, Any] = {}
    for name, address in screens[1].items():
        page.goto(address)
        found[name] = violations(page)
        assert page.evaluate(SMALL) == [], name
        for width in (390, 320):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate(FITS), f"{name} at {width} px"
        page.set_viewport_size({"width": 1440, "height": 900})
    assert {name: told for name, told in found.items() if told} == {}
    assert complaints == []


def test_a_line_opens_beside_the_bill_and_a_decision_is_taken_by_keyboard(
    context: BrowserContext, screens: Any
) -> None:
    page = context.new_page()
    page.goto(screens[1]["bill that was edited"])
    page.get_by_role("link", name="Consulting").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#drawer")).to_contain_text("The line, explained")
    page.keyboard.press("Escape")
    expect(page.locator("#drawer")).to_be_hidden()
    page.get_by_label("Reason").focus()
    page.keyboard.type("as agreed with the customer")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Messages")).to_contain_text("Decided, and kept in the audit trail.")
    expect(page.get_by_role("heading", name="What shall hold?")).to_have_count(0)
