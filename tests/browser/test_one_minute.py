"""A hundred faulty hours of one cause, cleared: by keyboard alone, with the mouse, on a narrow screen and in the dark.

The ERP of the sandbox answers in half a second and takes five calls at once. Ninety-eight are posted and read back while the page
of the operation is watched; the two that no rate covers are named. Requests and the server's time are written into the output;
no test fails for being slow.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import connection
from playwright.sync_api import Browser, Page, Response, expect

from integrations import outbox, registry
from integrations.protocol import Capabilities
from integrations.sandbox import VENDORS
from integrations.sandbox.server import control, sandbox_server
from portal.models import Connection, Engagement, LedgerState, Role, User
from portal.records import Reference
from reconciliation import operations
from reconciliation.models import ExceptionCase
from tests import world
from tests.faults.plain import PlainTarget
from tests.faults.workers import SCALE
from tests.integrations import outbound

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

ROWS, WITHOUT_RATE = 100, 2
ANSWERS_AFTER = 0.5  # seconds
PASSWORD = "correct horse battery staple"
MISTYPED = "ACM-SU"
PATIENCE = {"connect_timeout": "5", "read_timeout": "20", "total_timeout": "30"}
POSTED = "98 of 100 posted"
WATCHED = 120_000  # milliseconds that the page is watched at most


class FiveAtOnce(PlainTarget):
    """The connector as an ERP with five seats: one posting a call, five calls at once."""

    capabilities = Capabilities(batch_size=1, concurrency=5)


@pytest.fixture(scope="module")
def erp() -> Iterator[str]:
    VENDORS["plain"] = "tests.faults.plain:PlainErp"
    registry.CONNECTORS["plain"] = "tests.browser.test_one_minute.FiveAtOnce"
    with sandbox_server(names=["plain"]) as address:
        yield address
    del VENDORS["plain"], registry.CONNECTORS["plain"]


@dataclass
class Desk:
    """The analyst, the target, and the hundred held entries of one mistyped code."""

    site: str
    analyst: User
    target: Connection


@pytest.fixture
def desk(erp: str, live_server: Any, settings: Any) -> Desk:
    settings.TIME_SCALE = SCALE
    control(erp, "POST", "reset", {})
    control(erp, "POST", "faults", [
        {"vendor": "plain", "kind": "slow", "path": "/records", "seconds": ANSWERS_AFTER, "times": None},
    ])  # fmt: skip
    target = world.connection("plain", "plain", is_target=True, concurrency=5, settings=PATIENCE)
    Connection.objects.filter(pk=target.pk).update(base_url=f"{erp}/plain")
    source = outbound.firm(target)
    junior = Role.objects.create(code="junior", name="Junior consultant")
    unpriced = Engagement.objects.get(resource__code="P-US-19")
    unpriced.role = junior
    unpriced.save()
    lost = Reference("?", MISTYPED, "Acme roll-out")
    numbers = [*range(ROWS - WITHOUT_RATE), *(19 * outbound.DAYS + day for day in range(WITHOUT_RATE))]
    held = outbound.take_in(source, [outbound.record(source, number, project=lost) for number in numbers]).held
    assert len(held) == ROWS
    analyst = world.user("fay", "analyst", outbound.entity_of(source))
    analyst.set_password(PASSWORD)
    analyst.save()
    return Desk(str(live_server.url), analyst, target)


@dataclass
class Watch:
    """What the browser asked of the server, and how long the server took."""

    told: list[tuple[str, float]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def begin(self, page: Page) -> None:
        page.on("response", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)

    def _heard(self, response: Response) -> None:
        if "/static/" not in response.url and "/bell/" not in response.url and "/running/" not in response.url:
            timing = response.request.timing
            self.told.append((response.url, max(0.0, timing["responseStart"] - timing["requestStart"])))

    def report(self, name: str, keys: int, record_property: Any) -> None:
        asked, took = len(self.told), sum(took for _, took in self.told)
        record_property(name, f"{keys} keys, {asked} requests, {took:.0f} ms of the server until confirmed")
        print(f"\n{name}: {keys} keys, {asked} requests, {took:.0f} ms of the server until confirmed")  # noqa: T201


def work(desk: Desk) -> threading.Thread:
    """The worker: what was confirmed is worked off, and what is ready is posted and read back."""

    def run() -> None:
        try:
            for operation_id in operations.due():
                operations.run(operation_id)
            until = time.monotonic() + 100
            open_states = ("ready", "sending", "accepted")
            while time.monotonic() < until and LedgerState.objects.filter(state__in=open_states).exists():
                outbox.deliver(desk.target.pk)
            operations.follow()
        finally:
            connection.close()

    worker = threading.Thread(target=run)
    worker.start()
    return worker


def sign_in_by_keyboard(page: Page, site: str) -> None:
    page.goto(f"{site}/")
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type("fay")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Password")).to_be_focused()
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("My work", timeout=30_000)
    page.wait_for_load_state("load")  # the keys are there


def watched_to_the_end(page: Page, desk: Desk) -> None:
    """Ninety-eight posted on the page that is looked at, two named as still failing, and none twice in the books."""
    begun = time.monotonic()
    worker = work(desk)
    expect(page.locator("#progress")).to_contain_text(POSTED, timeout=WATCHED)
    expect(page.locator("#progress")).to_contain_text("2 failed")
    expect(page.locator("main")).to_contain_text("Person 19 of US")
    print(f"98 posted {time.monotonic() - begun:.1f} s after the worker began")  # noqa: T201
    worker.join()
    standing = LedgerState.objects.exclude(state="cancelled")  # those that a corrected version took the place of
    states = Counter(standing.values_list("state", flat=True))
    assert states == {"posted": ROWS - WITHOUT_RATE, "held": WITHOUT_RATE}
    assert not ExceptionCase.objects.filter(rule="project-unknown", state="open").exists()
    rest = ExceptionCase.objects.get(rule="rate-missing", state="open")
    assert rest.open_holds == WITHOUT_RATE


def test_by_keyboard_alone_in_at_most_seven_keys(page: Page, desk: Desk, record_property: Any) -> None:
    sign_in_by_keyboard(page, desk.site)
    page.keyboard.press("g")
    page.keyboard.press("e")
    expect(page.get_by_role("heading", level=1)).to_have_text("Exceptions")
    watch = Watch()
    watch.begin(page)
    pressed: list[str] = []

    def press(key: str) -> None:
        pressed.append(key)
        page.keyboard.press(key)

    drawer = page.locator("#drawer")
    press("j")
    press("Enter")
    expect(drawer.get_by_role("heading", name=f"Project “{MISTYPED}” is not in the master data.")).to_be_visible()
    press("f")
    expect(drawer.locator(".tiles")).to_contain_text("of 100 entries")
    expect(drawer.locator(".tiles")).to_contain_text("98")
    press("Control+Enter")
    page.wait_for_url("**/operations/*/")
    assert len(pressed) <= 7
    watch.report("by keyboard", len(pressed), record_property)
    watched_to_the_end(page, desk)
    assert watch.complaints == []


def by_pointer(page: Page, desk: Desk) -> None:
    page.goto(f"{desk.site}/exceptions/")
    page.get_by_role("link", name=f"Project “{MISTYPED}” is not in the master data.").click()
    drawer = page.locator("#drawer")
    expect(drawer.get_by_role("heading", name=f"Project “{MISTYPED}” is not in the master data.")).to_be_visible()
    drawer.locator("[data-shortcut=fix]").first.click()
    expect(drawer.locator(".tiles")).to_contain_text("of 100 entries")
    drawer.locator("button[data-confirm]").last.click()
    page.wait_for_url("**/operations/*/")


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (390, "dark")])
def test_with_the_mouse_on_a_wide_and_on_a_narrow_dark_screen(
    browser: Browser, desk: Desk, width: int, theme: Any, record_property: Any
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme, has_touch=width < 500)
    page = context.new_page()
    page.goto(f"{desk.site}/")
    page.get_by_label("Name").fill("fay")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    watch = Watch()
    watch.begin(page)
    by_pointer(page, desk)
    watch.report(f"with the mouse, {width} px, {theme}", 0, record_property)
    watched_to_the_end(page, desk)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert watch.complaints == []
    context.close()
