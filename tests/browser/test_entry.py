"""The page of one entry in a real browser: its banner moves nothing, and a doubt is settled by keyboard."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.test import Client
from playwright.sync_api import Page, expect

from integrations import registry
from integrations.models import Settlement
from integrations.protocol import Capabilities
from portal import sql
from portal.models import Crosswalk, LedgerState, State
from tests.integrations.memory_target import BOOKS, Books
from tests.reconciliation import desk
from tests.reconciliation.firm import Firm, build, post

os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # playwright's loop runs in the thread of the test
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
BLIND = Capabilities(find_by_key=False, statement=False)


@pytest.fixture
def firm(monkeypatch: pytest.MonkeyPatch) -> Firm:
    """The firm, whose target keeps the protocol in memory."""
    monkeypatch.setitem(registry.CONNECTORS, "memory", "tests.integrations.memory_target.MemoryTarget")
    made = build()
    Crosswalk.objects.filter(system=made.target.connector).update(system="memory")
    made.target.connector = "memory"
    made.target.save()
    BOOKS[made.target.code] = Books()
    return made


def sign_in(page: Page, live_server: Any, firm: Firm) -> str:
    client = Client()
    client.force_login(desk.analyst(firm))
    cookie = client.cookies["tieout_session"].value
    page.context.add_cookies([{"name": "tieout_session", "value": cookie, "url": live_server.url}])
    return str(live_server.url)


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (390, "dark")])
def test_axe_finds_nothing_and_nothing_overflows(
    page: Page, live_server: Any, firm: Firm, width: int, theme: Any
) -> None:
    site = sign_in(page, live_server, firm)
    found = desk.furnish(firm)
    BOOKS[firm.target.code].capabilities = BLIND
    page.emulate_media(color_scheme=theme)
    page.set_viewport_size({"width": width, "height": 900})
    pages = [f"/ledger/{entry_id}/" for entry_id in found.values()]
    for address in [*pages, f"/ledger/{found['in_doubt']}/settle/"]:
        page.goto(site + address)
        violations = [(one["id"], one["nodes"][0]["html"]) for one in Axe().run(page).response["violations"]]
        assert violations == [], address
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), address


def test_the_banner_asks_by_itself_and_moves_nothing(page: Page, live_server: Any, firm: Firm) -> None:
    site = sign_in(page, live_server, firm)
    (entry_id,) = desk.ready(firm, 1)
    post([entry_id], State.IN_DOUBT)
    row = LedgerState.objects.filter(entry=entry_id)
    row.update(next_attempt_at=sql.now() + timedelta(minutes=5), look_ups=1)
    page.goto(f"{site}/ledger/{entry_id}/")
    below = page.locator("#lineage-title")
    before = below.bounding_box()
    expect(page.locator("#doubt")).to_contain_text("(2 of 3). Re-post is disabled until then.")
    row.update(look_ups=2)
    expect(page.locator("#doubt")).to_contain_text("(3 of 3)", timeout=20_000)
    expect(page.locator("#status")).to_contain_text("(3 of 3)")
    assert below.bounding_box() == before
    row.update(state=State.READY)
    expect(page.locator("#doubt")).to_contain_text("known now: ready", timeout=20_000)
    assert below.bounding_box() == before


def test_a_doubt_is_settled_beside_the_page_by_keyboard(page: Page, live_server: Any, firm: Firm) -> None:
    site = sign_in(page, live_server, firm)
    BOOKS[firm.target.code].capabilities = BLIND
    (entry_id,) = desk.ready(firm, 1)
    post([entry_id], State.IN_DOUBT)
    page.goto(f"{site}/ledger/{entry_id}/")
    page.get_by_role("link", name="Settle by hand").press("Enter")
    drawer = page.locator("#drawer")
    drawer.get_by_role("radio", name="It is not there").press("Space")
    drawer.get_by_label("How you found it").fill("Not in the list of that day")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#toasts")).to_contain_text("A second person has to look and confirm it")
    expect(page.locator("#doubt")).to_contain_text("See what you said")
    assert Settlement.objects.get().verdict == Settlement.Verdict.ABSENT
