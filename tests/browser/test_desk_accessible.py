"""Every screen of the desk, in both themes: no word from axe, nothing cut off at 320 px, targets of 24 px, focus never hidden."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, expect

from portal import exports, sql
from portal.models import Export, NotificationKind
from portal.notifications import notify
from reconciliation import operations
from reconciliation.models import Operation
from tests.browser.test_screen_kit import violations
from tests.reconciliation import desk
from tests.reconciliation.firm import Firm, build, case

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

SMALL = """[...document.querySelectorAll('button, summary, .chip-x, thead a, .sel label, .tabs a, .side a, select, .bell')]
    .filter((one) => one.checkVisibility() && !one.closest('p, .hint'))
    .map((one) => [one.outerHTML.slice(0, 100), one.getBoundingClientRect()])
    .filter(([, box]) => box.width < 24 || box.height < 24).map(([html]) => html)"""
COVERED = """(() => { const one = document.activeElement; if (!one || one === document.body) return '';
    const box = one.getBoundingClientRect(); if (!box.width || !box.height) return '';
    const x = box.x + Math.min(5, box.width / 2), y = box.y + box.height / 2;
    if (y < 0 || y > innerHeight) return 'outside: ' + one.outerHTML.slice(0, 120);
    const top = document.elementFromPoint(x, y);
    return !top || top === one || one.contains(top) || top.contains(one) ? '' : one.outerHTML.slice(0, 120); })()"""
FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"


@pytest.fixture
def screens(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, dict[str, str]]:
    """The analyst, and an address for each screen of the desk."""
    monkeypatch.setattr(exports, "AT_ONCE", 5)
    firm: Firm = build()
    desk.near(firm)
    entries = desk.furnish(firm)
    fay = desk.analyst(firm)
    told = "Assigned to you: Project “ACM-2231” is not in the master data."
    notify([fay], NotificationKind.ASSIGNED, told, url="/exceptions/", entity=firm.entity, note="12 entries")
    common: dict[str, Any] = {
        "person": fay, "title": "Exceptions", "form": "csv", "address": "/exceptions/", "filters": ["Open"],
        "expected": 34_112, "asked_at": sql.now(),
    }  # fmt: skip
    Export.objects.create(state="running", started_at=sql.now(), rows=14_000, **common)
    Export.objects.create(state="failed", problem="Excel holds 1,048,576 rows a sheet.", **common)
    Export.objects.create(state="ready", file="none.csv", expires_at=sql.now(), rows=34_112, **common)
    planned = operations.plan("use-contract-rate", user=fay, parameters={}, reason="x", case=case("rate-mismatch"))
    done = operations.plan("recheck", user=fay, parameters={}, case=case("project-unknown"))
    operations.run(operations.confirm(done, user=fay).pk)
    large = operations.plan(
        "move-project", user=fay, parameters={"project": desk.near_id()}, case=case("project-unknown")
    )
    Operation.objects.filter(pk=large.pk).update(state="planning", total=61_200, planned=24_500, turn=1)
    cause = case("project-unknown").pk
    return fay, {
        "my work": "/", "queue": "/exceptions/", "queue, nothing found": "/exceptions/?text=nothing-is-called-so",
        "cause": f"/exceptions/{cause}/", "fix": f"/exceptions/{cause}/fix/map-code/",
        "preview": f"/operations/{planned.pk}/", "planning": f"/operations/{large.pk}/",
        "operations": "/operations/", "operation": f"/operations/{done.pk}/",
        "entry held": f"/ledger/{entries['held']}/", "entry posted": f"/ledger/{entries['posted']}/",
        "entry in doubt": f"/ledger/{entries['in_doubt']}/", "ledger": "/ledger/", "settings": "/settings/",
        "keyboard": "/settings/keyboard/", "exports": "/exports/", "notifications": "/notifications/",
        "a long export": "/exceptions/?export=csv&of=entries",
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


def test_axe_finds_nothing_on_any_screen(context: BrowserContext, screens: Any) -> None:
    page = context.new_page()
    complaints: list[str] = []
    page.on(
        "console",
        lambda said: complaints.append(f"{said.text} {said.location['url']}") if said.type == "error" else None,
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    found: dict[str, Any] = {}
    addresses = dict(screens[1])
    page.goto(addresses["queue"])
    for link in page.locator("nav.tabs a").all():
        name = link.inner_text().split("\n")[0]
        addresses[f"queue, {name}"] = f"/exceptions/{link.get_attribute('href')}"
    for name, address in addresses.items():
        page.goto(address)
        found[name] = violations(page)
        page.set_viewport_size({"width": 320, "height": 900})
        assert page.evaluate(FITS), f"{name} at 320 px"
        page.set_viewport_size({"width": 1440, "height": 900})
        small = page.evaluate(SMALL)
        assert small == [], f"{name}: {small}"
    page.goto(addresses["queue"])
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    found["sheet of keys"] = violations(page)
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()
    page.keyboard.press("j")
    expect(page.locator("tr[data-focus]")).to_have_count(1)
    page.keyboard.press(".")
    expect(page.get_by_role("menu")).to_be_visible()
    found["menu of a row"] = violations(page)
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    expect(page.locator("#drawer")).to_be_visible()
    page.wait_for_timeout(200)  # it slides in
    found["drawer"] = violations(page)
    assert {name: told for name, told in found.items() if told} == {}
    assert complaints == []


def test_tabbing_through_the_queue_with_the_bulk_bar_shown_never_hides_the_focus(
    page: Page, live_server: Any, screens: Any
) -> None:
    client = Client()
    client.force_login(screens[0])
    cookie = client.cookies["tieout_session"].value
    page.context.add_cookies([{"name": "tieout_session", "value": cookie, "url": live_server.url}])
    page.set_viewport_size({"width": 1440, "height": 520})
    page.goto(f"{live_server.url}/exceptions/")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.locator(".bulk")).to_be_visible()
    page.locator("body").evaluate("document.activeElement.blur()")
    for _ in range(60):
        page.keyboard.press("Tab")
        assert page.evaluate(COVERED) == ""
