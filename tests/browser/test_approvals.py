"""The approvals inbox in a real browser: decided by keyboard alone, the next row in focus, and looked at by axe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import reverse
from playwright.sync_api import Browser, BrowserContext, Page, expect

from portal.models import GrantRole, User
from reconciliation.models import Approval, ChangeSet
from tests.browser.test_changes import cookies
from tests.browser.test_desk_accessible import FITS, SMALL
from tests.browser.test_screen_kit import violations
from tests.reconciliation import desk
from tests.reconciliation import firm as firms
from tests.reconciliation.deciding import KINDS, ask, grant
from tests.reconciliation.firm import Firm, build
from tests.reconciliation.test_approvals_dialogs import address, deleted_bill, later_plan

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]
FOCUSED = "document.activeElement?.closest('tr')?.dataset.key ?? ''"


@pytest.fixture
def cleo() -> User:
    """A controller for whom one decision of each kind waits."""
    firm: Firm = build()
    found = grant("cleo", GrantRole.CONTROLLER, firm)
    ask(firm, desk.analyst(firm))
    return found


@pytest.fixture(params=["light", "dark"])
def context(request: Any, browser: Browser, live_server: Any, cleo: User) -> Iterator[BrowserContext]:
    made = browser.new_context(
        viewport={"width": 1440, "height": 900}, color_scheme=request.param, base_url=live_server.url
    )
    cookies(made, cleo, live_server.url)
    yield made
    made.close()


def test_axe_finds_nothing_and_nothing_is_cut_off(context: BrowserContext) -> None:
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    found: dict[str, Any] = {}
    live = Approval.objects.get(kind="live")
    decided = {step: reverse("approval_decide", args=["live", live.key, step]) for step in ("approve", "refuse")}
    for tab, where in {**{tab: f"/approvals/?tab={tab}" for tab in ("open", "mine", "decided")}, **decided}.items():
        page.goto(where)
        found[tab] = violations(page)
        for width in (390, 320):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate(FITS), f"{tab} at {width} px"
        found[f"{tab}, narrow"] = violations(page)
        page.set_viewport_size({"width": 1440, "height": 900})
        assert page.evaluate(SMALL) == [], tab
    assert {name: told for name, told in found.items() if told} == {}
    assert complaints == []


def test_bills_and_plans_are_decided_over_the_list_in_either_theme_and_width(
    browser: Browser, live_server: Any
) -> None:
    firm: Firm = build()
    firms.key(firm.target, "customer", firm.customer.pk, "C1")
    bob, _ = (grant(name, GrantRole.CONTROLLER, firm) for name in ("bob", "cleo"))
    desk.analyst(firm)
    deleted_bill(firm)
    later_plan(firm)
    context = browser.new_context(base_url=live_server.url)
    cookies(context, bob, live_server.url)
    page: Page = context.new_page()
    found: dict[str, Any] = {}
    for theme, width in (("light", 1440), ("dark", 390)):
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        page.set_viewport_size({"width": width, "height": 900})
        for kind in ("bill", "bundle"):
            for step in ("approve", "refuse"):
                page.goto("/approvals/")
                page.locator(f'a[href="{address(kind, step)}"]').first.click()
                expect(page.locator("#dialog").get_by_role("link", name="See it")).to_be_visible()
                found[f"{kind}, {step}, {theme}"] = violations(page)
                page.goto(address(kind, step))
                assert page.evaluate(FITS), (kind, step, width)
    context.close()
    assert {name: told for name, told in found.items() if told} == {}


def test_decisions_are_taken_by_keyboard_and_the_next_row_is_in_focus(
    browser: Browser, live_server: Any, cleo: User
) -> None:
    context = browser.new_context(base_url=live_server.url, viewport={"width": 1440, "height": 900})
    cookies(context, cleo, live_server.url)
    page: Page = context.new_page()
    page.goto("/approvals/")
    rows = [row.get_attribute("data-key") for row in page.locator("tr[data-key]").all()]
    kinds = [Approval.objects.get(pk=key).kind for key in rows if key]
    assert set(kinds) == KINDS

    def reach(kind: str) -> int:
        """Walk down to the row of a kind; its place."""
        at = kinds.index(kind)
        for _ in range(len(kinds)):
            page.keyboard.press("k")
        for _ in range(at):
            page.keyboard.press("j")
        assert page.evaluate(FOCUSED) == rows[at]
        return at

    page.keyboard.press("j")
    at = reach("change")
    page.keyboard.press("n")
    expect(page.locator("#dialog")).to_contain_text("A dearer rate")
    page.get_by_label("Why").fill("the letter says 120")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".toasts")).to_contain_text("Rejected")
    expect(page.locator(f"#row-{rows[at]}")).to_have_count(0)
    page.wait_for_function(f"({FOCUSED}) === '{rows[at + 1]}'")
    assert page.url.endswith("/approvals/")
    assert ChangeSet.objects.get().state == "rejected"
    del rows[at], kinds[at]

    at = reach("rule")
    page.keyboard.press("y")
    expect(page.locator("#dialog")).to_contain_text("Let 1 rule be used")
    page.keyboard.press("Control+Enter")
    expect(page.locator(f"#row-{rows[at]}")).to_have_count(0)
    del rows[at], kinds[at]

    at = reach("live")
    page.keyboard.press("n")
    expect(page.locator("#dialog")).to_contain_text("It goes back to who prepares it")
    page.get_by_label("What must be done first").fill("the two differences of September")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".toasts")).to_contain_text("reads why")
    expect(page.locator(f"#row-{rows[at]}")).to_have_count(0)
    del rows[at], kinds[at]

    at = reach("fix")
    page.keyboard.press("y")
    expect(page.locator("#drawer")).to_contain_text("Approve: 3 entries")
    page.locator("#drawer").get_by_label("Comment").fill("the card was agreed anew")
    page.locator("#drawer").get_by_role("button", name="Refuse").press("Enter")
    expect(page.locator(".toasts")).to_contain_text("Refused: Use the contract's rate")
    expect(page.locator(f"#row-{rows[at]}")).to_have_count(0)
    assert page.url.endswith("/approvals/")
    expect(page.locator("#count-open")).to_have_text(str(len(KINDS) - 4))
    context.close()
