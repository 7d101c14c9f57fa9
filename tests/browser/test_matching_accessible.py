"""The screens of matching and of signing, in both themes, wide and narrow: no word from axe, nothing cut off."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Browser, BrowserContext, expect

from portal.models import AccountingPeriod, GrantRole, User
from reconciliation import certifying, matching
from reconciliation.billing import tying
from tests import world
from tests.bills import Erp, posted
from tests.browser.test_desk_accessible import FITS, SMALL
from tests.browser.test_screen_kit import violations
from tests.reconciliation.firm import build
from tests.reconciliation.test_tying import LEG, items, silent

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def screens() -> tuple[User, dict[str, str]]:
    """An analyst, and the addresses: one match that ties a line, more to match, and a month that is signed unproved."""
    firm = build()
    ana = world.user("ana", GrantRole.ANALYST, firm.entity)
    month = AccountingPeriod.objects.get(entity=firm.entity, code="2026-09")
    matching.run(firm.entity, month)
    posted(firm, 4)
    signed = matching.run(firm.entity, month)
    certifying.prepare(month, ana, "It is being looked at.", {LEG: "Invoiced by hand until the route is there."})
    paper = reverse("reconciliation_sheet", args=[signed.pk])
    other = AccountingPeriod.objects.get(entity=firm.entity, code="2026-10")
    Erp(firm).says(Erp(firm).bill("501", silent("a", "959.50", "8"), silent("b", "1440"), booked_on=date(2026, 10, 5)))
    for one in (month, other):
        matching.run(firm.entity, one)
    rows = items(month)
    work = [row for row in rows if row.entry_id is not None]
    [line] = [row for row in rows if row.bill_line is not None and row.bill_line.key == "a"]
    tying.match([work[0], line], ana, code="rounding", reason="The ERP rounds its rate.")
    return ana, {
        "sheet": paper,
        "period": reverse("reconciliation_period", args=[month.pk]),
        "panes": reverse("matching_panes", args=[month.pk, LEG]),
        "matches": reverse("matches", args=[month.pk]),
        "open items": f"{reverse('open_items', args=[month.pk])}?tab=all",
        "rules": reverse("matching_rules"),
        "close board": reverse("close_board"),
        "exceptions": reverse("exceptions"),
    }


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


def test_axe_finds_nothing_and_what_is_chosen_adds_up_as_one_ticks(context: BrowserContext, screens: Any) -> None:
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    found: dict[str, Any] = {}
    for name, address in screens[1].items():
        page.goto(address)
        if name == "panes":
            boxes = page.locator('input[name="selected"]')
            boxes.first.check()
            boxes.last.check()
            expect(page.locator("#weighing")).to_contain_text("2 chosen")
            expect(page.get_by_role("button", name="Tie in part")).to_be_visible()
        found[name] = violations(page)
        assert page.evaluate(SMALL) == [], name
        for width in (390, 320):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate(FITS), f"{name} at {width} px"
        page.set_viewport_size({"width": 1440, "height": 900})
    assert {name: told for name, told in found.items() if told} == {}
    assert complaints == []
