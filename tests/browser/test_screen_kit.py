"""The screen kit in a real browser: by keyboard alone, in both themes, at a narrow width, and without a word from axe."""

from __future__ import annotations

import os
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.test import Client
from playwright.sync_api import Browser, Page, expect

from portal.models import LegalEntity
from tests.portal.screens_site import APPLIED
from tests.portal.test_screens_lists import contract
from tests.world import entity, user

os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # playwright's loop runs in the thread of the test
pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("tests.portal.screens_site"),
]


@pytest.fixture
def site(live_server: Any, page: Page) -> str:
    """The address of the small site, with Ana signed in and thirty contracts."""
    owner: LegalEntity = entity("US", "USD")
    for number in range(30):
        contract(f"C-{number:02}", owner, str(100 + number))
    client = Client()
    client.force_login(user("ana", owner=owner))
    cookie = client.cookies["tieout_session"].value
    page.context.add_cookies([{"name": "tieout_session", "value": cookie, "url": live_server.url}])
    APPLIED.clear()
    return str(live_server.url)


@pytest.fixture
def complaints(page: Page) -> list[str]:
    """What the browser complains of: errors of scripts and refusals of the content security policy."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    return said


def violations(page: Page) -> list[tuple[str, str]]:
    found = Axe().run(page).response["violations"]
    return [(one["id"], one["nodes"][0]["html"]) for one in found]


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.closest('tr')?.querySelector('[data-main]').textContent ?? ''"))


def test_rows_are_walked_chosen_and_acted_on_by_keyboard(page: Page, site: str, complaints: list[str]) -> None:
    page.goto(f"{site}/contracts/")
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert focused(page) == "C-01"
    page.keyboard.press("x")
    expect(page.locator("[data-count]")).to_have_text("1 selected")
    page.keyboard.press("j")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Shift+X")
    expect(page.locator("[data-count]")).to_have_text("3 selected")
    page.keyboard.press("f")
    dialog = page.locator("#dialog")
    expect(dialog.get_by_role("heading")).to_have_text("Rename 3 contracts")
    dialog.get_by_label("Reason").fill("tidy")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#toasts")).to_contain_text("3 contracts were renamed.")
    expect(page.locator("#status")).to_have_text("3 contracts were renamed.")
    expect(dialog).to_be_hidden()
    page.wait_for_function("document.activeElement.closest('tr')?.dataset.key")
    assert focused(page) == "C-03"
    assert APPLIED == [("tidy", ["C-01", "C-02", "C-03"])]
    assert complaints == []


def test_the_current_row_is_what_an_action_means_when_nothing_is_chosen(page: Page, site: str) -> None:
    page.goto(f"{site}/contracts/")
    page.keyboard.press("j")
    page.keyboard.press("s")
    expect(page.locator("#toasts")).to_contain_text("Snoozed.")
    expect(page.locator("#toasts").get_by_role("button", name="Undo")).to_be_visible()
    assert APPLIED == [("snooze", ["C-00"])]


def test_all_that_match_is_one_key_and_goes_beyond_the_page(page: Page, site: str) -> None:
    page.goto(f"{site}/contracts/?above=105")
    page.keyboard.press("j")
    page.keyboard.press("Shift+A")
    page.keyboard.press("f")
    expect(page.locator("#dialog").get_by_role("heading")).to_have_text("Rename 25 contracts")
    page.goto(f"{site}/contracts/")
    page.keyboard.press("j")
    page.keyboard.press("Shift+A")
    expect(page.locator("[data-count]")).to_have_text("30 selected")
    page.keyboard.press("f")
    expect(page.locator("#dialog").get_by_role("heading")).to_have_text("Rename 30 contracts")


def test_an_error_keeps_the_dialog_open_with_the_focus_on_its_summary(page: Page, site: str) -> None:
    page.goto(f"{site}/contracts/")
    page.keyboard.press("j")
    page.keyboard.press("f")
    page.locator("#dialog").get_by_label("Reason").fill("forbidden")
    page.keyboard.press("Control+Enter")
    summary = page.locator("#dialog .error-summary")
    expect(summary).to_contain_text("The name is reserved; choose another.")
    expect(summary).to_be_focused()
    assert APPLIED == []


def test_escape_closes_and_gives_the_focus_back_to_the_row(page: Page, site: str) -> None:
    page.goto(f"{site}/contracts/")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("f")
    expect(page.locator("#dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#dialog")).to_be_hidden()
    assert focused(page) == "C-01"


def test_no_shortcut_fires_in_a_field(page: Page, site: str) -> None:
    page.goto(f"{site}/contracts/")
    page.keyboard.press("j")
    page.keyboard.press("f")
    field = page.locator("#dialog").get_by_label("Reason")
    field.press_sequentially("jfsx?/")
    expect(field).to_have_value("jfsx?/")
    assert APPLIED == []


def test_the_sheet_of_keys_opens_and_keys_can_be_switched_off(page: Page, site: str) -> None:
    page.goto(f"{site}/contracts/")
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    page.goto(f"{site}/settings/keyboard/")
    page.get_by_label("Switch single-key shortcuts off").check()
    page.get_by_role("button", name="Save").click()
    page.goto(f"{site}/contracts/")
    page.keyboard.press("j")
    assert focused(page) == ""


def test_filters_tabs_and_pages_change_the_address_without_a_reload(page: Page, site: str) -> None:
    page.goto(f"{site}/contracts/")
    page.evaluate("window.stayed = true")
    page.locator("#chip-above").click()
    page.get_by_label("Cap above").fill("120")
    page.keyboard.press("Enter")
    expect(page.locator(".pages")).to_contain_text("of 10")
    assert "above=120" in page.url
    page.get_by_label("Remove the filter Cap above").click()
    expect(page.locator(".pages")).to_contain_text("of 30")
    page.locator("#page-next").click()
    expect(page.locator(".pages")).to_contain_text("30 of 30")
    assert "page=2" in page.url
    page.locator("#tab-open").click()
    expect(page.locator("#results")).to_contain_text("No contract yet")
    assert page.evaluate("window.stayed") is True


def test_a_theme_is_changed_at_once_and_kept(page: Page, site: str) -> None:
    page.goto(f"{site}/contracts/")
    page.locator("summary.avatar").click()
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390, 320])
def test_axe_finds_nothing_and_nothing_overflows(
    page: Page, site: str, theme: str, width: int, complaints: list[str]
) -> None:
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 900})
    for address in ("/contracts/?above=105", "/styleguide/", "/settings/keyboard/", "/accounts/password/change/"):
        page.goto(site + address)
        page.wait_for_load_state("networkidle")
        assert violations(page) == [], address
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), address
    assert [one for one in complaints if "cannot be parsed" not in one] == []


def test_targets_are_at_least_24_pixels(page: Page, site: str) -> None:
    page.goto(f"{site}/contracts/?above=105")
    page.keyboard.press("j")
    page.keyboard.press("x")
    small = page.evaluate(
        """[...document.querySelectorAll('button, summary, .chip-x, thead a, .sel label, .tabs a, .side a, select')]
        .filter((one) => one.checkVisibility())
        .map((one) => [one.outerHTML.slice(0, 80), one.getBoundingClientRect()])
        .filter(([, box]) => box.width < 24 || box.height < 24).map(([html]) => html)"""
    )
    assert small == []


def test_the_bulk_bar_and_the_head_never_hide_the_focus(page: Page, site: str) -> None:
    page.set_viewport_size({"width": 1440, "height": 500})
    page.goto(f"{site}/contracts/")
    page.keyboard.press("j")
    page.keyboard.press("x")
    for _ in range(24):
        page.keyboard.press("j")
        covered = page.evaluate(
            """(() => { const box = document.activeElement.getBoundingClientRect();
            const top = document.elementFromPoint(box.x + 5, box.y + box.height / 2);
            return !(top === document.activeElement || document.activeElement.contains(top)); })()"""
        )
        assert not covered, focused(page)


def test_without_scripts_everything_still_works(browser: Browser, page: Page, site: str) -> None:
    plain = browser.new_context(java_script_enabled=False)
    plain.add_cookies(page.context.cookies())  # type: ignore[arg-type]
    still = plain.new_page()
    still.goto(f"{site}/contracts/")
    still.locator("tbody .sel input").nth(2).check()
    still.get_by_role("button", name="Rename").click()
    still.get_by_label("Reason").fill("tidy")
    still.get_by_role("button", name="Rename").click()
    expect(still.locator("#toasts")).to_contain_text("1 contracts were renamed.")
    assert APPLIED == [("tidy", ["C-02"])]
    plain.close()
