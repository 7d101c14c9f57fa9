"""The screens of invoice proposals, in both themes, wide and narrow: no word from axe, nothing cut off, a hold by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Browser, BrowserContext, expect

from integrations import outbox, registry
from portal.models import (
    Contract,
    EntityGrant,
    GrantRole,
    InvoiceProposal,
    LedgerState,
    Milestone,
    Project,
    PurchaseOrder,
    User,
)
from reconciliation import invoicing
from reconciliation.models import ProjectMonth, Route
from tests import world
from tests.bills import posted, read
from tests.browser.test_desk_accessible import FITS, SMALL
from tests.browser.test_screen_kit import violations
from tests.integrations.memory_biller import BILLS, biller
from tests.reconciliation.firm import SINCE, Firm, build, key, project

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]
END = date(2026, 9, 30)


@pytest.fixture
def screens(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, dict[str, str]]:
    """A manager who is of finance as well, and an address for each screen, with a proposal in each state."""
    monkeypatch.setitem(registry.CONNECTORS, "memory-biller", "tests.integrations.memory_biller.MemoryBiller")
    firm = build()
    billing = biller(firm.entity)
    BILLS["billing"].tax_percent = Decimal(19)
    Route.objects.create(entity=firm.entity, source=firm.source, target=billing, kind="invoice", valid_from=SINCE)
    key(billing, "customer", firm.customer.pk, "C1")
    firm.contract.cap_amount = Decimal(20000)
    firm.contract.save()
    PurchaseOrder.objects.create(
        contract=firm.contract, number="PO-4711", amount=Decimal(9000), currency="USD", valid_from=SINCE
    )
    mia, fay = world.user("mia", GrantRole.PROJECT_MANAGER, firm.entity), world.user("fay", "analyst", firm.entity)
    EntityGrant.objects.create(user=mia, entity=firm.entity, role=GrantRole.ANALYST, valid_from=SINCE)
    firm.project.manager = mia
    firm.project.save()
    posted(firm, 3)
    [gone] = invoicing.prepare(firm.project, date(2026, 9, 15), by=mia)
    gone = invoicing.release(gone, by=mia, seen=gone.content_hash, accepts=read(gone))
    invoicing.approve(gone, by=fay, seen=gone.content_hash, accepts=read(gone))
    outbox.deliver(billing.pk)
    LedgerState.objects.filter(target=billing).update(next_attempt_at="2020-01-01T00:00:00Z")
    outbox.deliver(billing.pk)
    posted(firm, 6, first=16)
    [open_one] = invoicing.prepare(firm.project, END, by=mia, how="entry")
    invoicing.hold(
        open_one.lines.order_by("position")[1],
        by=mia,
        reason="The customer disputes the workshop",
        until=date(2027, 1, 15),
    )
    other = project("ACM-2", firm.entity, firm.customer, None, manager=mia, billing_model="milestone")
    Milestone.objects.create(
        project=other, code="M1", name="Design accepted", due_on=date(2026, 9, 20), signed_on=date(2026, 9, 25),
        amount=Decimal(12500), currency="USD",
    )  # fmt: skip
    [to_approve] = invoicing.prepare(other, END, by=None)
    invoicing.release(to_approve, by=mia, seen=to_approve.content_hash, accepts=read(to_approve))
    line = open_one.lines.order_by("position")[0]
    waiting = _on_one_invoice(firm, mia, fay)
    months = ProjectMonth.objects.filter(period__code="2026-09", project__code__in=["ACM-2", "ACM-3"])
    [stones, shared] = months.order_by("project__code").values_list("pk", flat=True)
    return mia, {
        "proposals": reverse("invoice_proposals"), "open proposal": reverse("invoice_proposal", args=[open_one.pk]),
        "released proposal": reverse("invoice_proposal", args=[to_approve.pk]),
        "handed over": reverse("invoice_proposal", args=[gone.pk]),
        "breakdown": reverse("invoice_parts", args=[open_one.pk]),
        "line": reverse("invoice_proposal_line", args=[open_one.pk, line.pk]),
        "waits for another project": reverse("invoice_proposal", args=[waiting.pk]),
        "a month with a milestone": reverse("readiness_project", args=[stones]),
        "a month with milestones that are open": reverse("readiness_project", args=[shared]),
    }  # fmt: skip


def _on_one_invoice(firm: Firm, mia: User, fay: User) -> InvoiceProposal:
    """An approved proposal that waits for another project of its contract, which has one invoice."""
    contract = Contract.objects.create(
        code="K-ONE", name="Acme programme", customer=firm.customer, entity=firm.entity, currency="USD",
        billing_model="milestone", one_invoice=True, cap_amount=Decimal(40000),
    )  # fmt: skip
    for code, amount, currency, signed in (
        ("ACM-3", 4000, "USD", True), ("ACM-3", 900, "USD", False), ("ACM-3", 700, "EUR", True), ("ACM-4", 2500, "USD", True)
    ):  # fmt: skip
        one = Project.objects.filter(code=code).first() or project(
            code, firm.entity, firm.customer, contract, manager=mia
        )
        Milestone.objects.create(
            project=one, code=f"{code}-{amount}", name="Concept", due_on=date(2026, 9, 20), amount=Decimal(amount),
            currency=currency, signed_on=date(2026, 9, 25) if signed else None,
        )  # fmt: skip
    made = [
        proposal
        for code in ("ACM-4", "ACM-3")
        for proposal in invoicing.prepare(Project.objects.get(code=code), END, by=None)
    ]
    [first] = [one for one in made if one.project.code == "ACM-3" and one.currency == "USD"]
    first = invoicing.release(first, by=mia, seen=first.content_hash, accepts=read(first))
    return invoicing.approve(first, by=fay, seen=first.content_hash, accepts=read(first))


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


def test_axe_finds_nothing_nothing_is_cut_off_and_a_line_is_held_by_keyboard(
    context: BrowserContext, screens: Any
) -> None:
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
    page.goto(screens[1]["open proposal"])
    page.get_by_role("link", name="17 Sep 2026").focus()
    page.keyboard.press("Enter")
    drawer = page.locator("#drawer")
    expect(drawer).to_contain_text("Hold this line")
    drawer.get_by_label("Reason").focus()
    page.keyboard.type("Not agreed yet")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    drawer.get_by_role("button", name="Hold").press("Enter")
    expect(page.get_by_role("region", name="Messages")).to_contain_text("The line is on hold")
    page.goto(screens[1]["open proposal"])
    page.get_by_role("button", name="Release for billing").click()
    dialog = page.locator("#dialog-body")
    expect(dialog).to_contain_text("Does not hold")
    dialog.get_by_label("I have read it").check()
    dialog.get_by_role("button", name="Release").click()
    expect(page.locator(".head .state")).to_have_text("Released")  # the page itself follows
    assert complaints == []
