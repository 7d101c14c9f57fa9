"""The screens of the audit trail in a real browser, in both themes: no word from axe, nothing cut off, reached by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, expect

from portal import audit
from portal.history import update_each_with_reason
from portal.models import GrantRole
from tests import world
from tests.browser.test_desk_accessible import FITS, SMALL
from tests.browser.test_screen_kit import violations
from tests.reconciliation import desk
from tests.reconciliation.firm import build

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def screens() -> tuple[Any, dict[str, str]]:
    """A controller, and an address for each screen."""
    firm = build()
    desk.off_rate(firm, 3)
    cleo = world.user("cleo", GrantRole.CONTROLLER, firm.entity)
    update_each_with_reason(
        type(firm.project), [(firm.project, {"name": "Acme, renamed"})], reason="as ordered", actor=cleo
    )
    audit.record(
        cleo, "period-opened", firm.entity, entity=firm.entity, reason="late hours", before={"state": "closed"}
    )
    event = audit.record(
        cleo, "project-renamed", firm.project, entity=firm.entity, reason="as ordered",
        before={"name": "Acme roll-out"}, after={"name": "Acme, renamed"},
    )  # fmt: skip
    audit.prove(cleo)
    return cleo, {
        "audit": "/audit/", "event": f"/audit/{event.pk}/", "proof": "/audit/verify/", "pack": "/audit/pack/",
        "history": f"/history/project/{firm.project.pk}/",
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
        page.set_viewport_size({"width": 320, "height": 900})
        assert page.evaluate(FITS), f"{name} at 320 px"
        page.set_viewport_size({"width": 1440, "height": 900})
    assert {name: told for name, told in found.items() if told} == {}
    assert complaints == []


def test_the_chain_is_verified_by_keyboard_alone(context: BrowserContext, screens: Any) -> None:
    page = context.new_page()
    page.goto("/audit/verify/")
    page.get_by_label("Head noted before").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="The chain holds")).to_be_visible()
    assert violations(page) == []
