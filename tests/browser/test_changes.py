"""Change sets in a real browser: written, submitted and decided by keyboard, and every screen of them looked at by axe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, expect

from portal.models import GrantRole, User
from reconciliation import changes
from reconciliation.changes import Line
from reconciliation.models import ChangeSet
from tests import world
from tests.browser.test_desk_accessible import FITS, SMALL
from tests.browser.test_screen_kit import violations
from tests.reconciliation import desk
from tests.reconciliation.firm import Firm, build, post

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def firm() -> Firm:
    made = build()
    desk.near(made)
    desk.mistyped(made, 12)
    desk.off_rate(made, 7, rate="125.00")
    post(desk.ready(made, 9)[:4])
    return made


@pytest.fixture
def people(firm: Firm) -> tuple[User, User]:
    """An analyst who proposes, and a controller who decides."""
    return desk.analyst(firm), world.user("cleo", GrantRole.CONTROLLER, firm.entity)


@pytest.fixture
def screens(firm: Firm, people: tuple[User, User]) -> dict[str, str]:
    """An address for each screen."""
    fay, cleo = people
    rate = Line("rate", firm.rate.pk, "change", {"amount": "125.00"})
    status = {"project": "ACM-2213", "status": "closed", "valid_from": "2019-01-01", "valid_to": "2019-12-31"}

    def written(title: str, *lines: Line) -> ChangeSet:
        return changes.draft(by=fay, title=title, reason="agreed by letter of 3 November", lines=lines)

    applied = changes.submit(written("ACM-2213 was closed in 2019", Line("project_status", None, "add", status)), fay)
    changes.apply(changes.approve(applied, cleo, "as the project manager says"))
    rejected = changes.submit(
        written("Senior consultants at 90", Line("rate", firm.rate.pk, "change", {"amount": "90"})), fay
    )
    changes.reject(rejected, cleo, "the letter says 125")
    waiting = changes.submit(written("Senior consultants at 125 from October", rate), fay)
    draft = written("A cap for ACME", Line("contract", firm.contract.pk, "change", {"cap_amount": "50000"}))
    return {
        "list": "/changes/", "to decide": "/changes/?tab=open", "inbox": "/approvals/", "waiting": f"/changes/{waiting.pk}/",
        "approve": f"/changes/{waiting.pk}/approve/", "applied": f"/changes/{applied.pk}/",
        "rejected": f"/changes/{rejected.pk}/", "draft": f"/changes/{draft.pk}/", "new": "/changes/new/",
        "edit": f"/changes/{draft.pk}/edit/", "record": f"/changes/{draft.pk}/lines/new/?model=project",
        "fields": f"/changes/{draft.pk}/lines/1/",
    }  # fmt: skip


def cookies(context: BrowserContext, user: User, url: str) -> None:
    client = Client()
    client.force_login(user)
    context.add_cookies([{"name": "tieout_session", "value": client.cookies["tieout_session"].value, "url": url}])


@pytest.fixture(params=["light", "dark"])
def context(
    request: Any, browser: Browser, live_server: Any, people: tuple[User, User], screens: dict[str, str]
) -> Iterator[BrowserContext]:
    made = browser.new_context(
        viewport={"width": 1440, "height": 900}, color_scheme=request.param, base_url=live_server.url
    )
    cookies(made, people[1], live_server.url)
    yield made
    made.close()


def test_axe_finds_nothing_and_nothing_is_cut_off(context: BrowserContext, screens: dict[str, str]) -> None:
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    found: dict[str, Any] = {}
    for name, address in screens.items():
        page.goto(address)
        found[name] = violations(page)
        for width in (390, 320):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate(FITS), f"{name} at {width} px"
        found[f"{name}, narrow"] = violations(page)
        page.set_viewport_size({"width": 1440, "height": 900})
        assert page.evaluate(SMALL) == [], name
    page.goto(screens["waiting"])
    page.keyboard.press("y")
    expect(page.locator("#dialog")).to_be_visible()
    page.wait_for_timeout(200)  # it slides in
    found["dialog"] = violations(page)
    assert {name: told for name, told in found.items() if told} == {}
    assert complaints == []


def test_a_change_is_submitted_and_decided_by_keyboard_alone(
    browser: Browser, live_server: Any, people: tuple[User, User], screens: dict[str, str]
) -> None:
    fay, cleo = people
    analysts, controllers = (browser.new_context(base_url=live_server.url) for _ in range(2))
    cookies(analysts, fay, live_server.url)
    cookies(controllers, cleo, live_server.url)
    mine: Page = analysts.new_page()
    mine.goto(screens["draft"])
    mine.keyboard.press("Control+Enter")
    expect(mine.locator("h1 + .sub")).to_contain_text("Waits for approval")
    theirs: Page = controllers.new_page()
    theirs.goto(screens["draft"])
    theirs.keyboard.press("n")
    expect(theirs.locator("#dialog")).to_be_visible()
    theirs.get_by_label("Why").fill("fifty thousand is too little")
    theirs.keyboard.press("Control+Enter")
    expect(theirs.locator("h1 + .sub")).to_contain_text("Rejected")
    theirs.goto(screens["to decide"])
    theirs.keyboard.press("j")
    theirs.keyboard.press("y")
    expect(theirs.locator("#dialog")).to_contain_text("Senior consultants at 125")
    theirs.keyboard.press("Control+Enter")
    expect(theirs.locator(".toasts")).to_contain_text("Approved and applied")
    expect(theirs.locator("#results")).not_to_contain_text("Senior consultants at 125")
    theirs.goto(screens["waiting"])
    expect(theirs.locator("h1 + .sub")).to_contain_text("Applied")
    expect(theirs.locator("main")).to_contain_text("Exactly what the dry-run said")
    mine.goto(screens["waiting"])
    mine.get_by_role("link", name="Roll back").click()
    mine.locator("#dialog").get_by_label("Why").fill("it was 124")
    mine.keyboard.press("Control+Enter")
    expect(mine.locator("main")).to_contain_text("It undoes")
    analysts.close()
    controllers.close()
