"""Keys, focus and the live region in a real browser: what screens promise to somebody who never touches the mouse."""

from __future__ import annotations

import time
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.test_screen_kit import complaints, focused, site, violations  # noqa: F401 - fixtures
from tests.portal.screens_site import APPLIED

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("tests.portal.screens_site"),
]


def slowly(route: Route) -> None:
    time.sleep(0.4)
    route.continue_()


def test_the_menu_of_a_row_offers_every_action_with_its_key(page: Page, site: str, complaints: list[str]) -> None:  # noqa: F811
    page.goto(f"{site}/contracts/")
    page.keyboard.press("j")
    page.keyboard.press(".")
    menu = page.get_by_role("menu")
    expect(menu).to_be_visible()
    assert menu.get_by_role("menuitem").all_inner_texts() == [
        "Open\nENTER",
        "Select\nX",
        "Rename\nF",
        "Snooze\nS",
        "Copy link",
    ]
    expect(menu.get_by_role("menuitem").first).to_be_focused()
    assert violations(page) == []
    page.keyboard.press("ArrowUp")
    expect(menu.get_by_role("menuitem").last).to_be_focused()
    page.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    assert focused(page) == "C-00"
    page.keyboard.press(".")
    page.keyboard.press("s")
    expect(page.locator("#toasts")).to_contain_text("Snoozed.")
    assert APPLIED == [("snooze", ["C-00"])]
    page.wait_for_load_state("networkidle")
    page.get_by_role("button", name="actions of the row").click()
    expect(menu).to_be_visible()
    assert complaints == []


def test_a_key_of_ones_own_works_is_shown_and_the_common_one_is_dead(page: Page, site: str) -> None:  # noqa: F811
    page.goto(f"{site}/settings/keyboard/")
    field = page.get_by_label("Snooze")
    field.focus()
    page.keyboard.press("q")
    expect(field).to_have_value("q")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#toasts")).to_contain_text("The keyboard is set.")
    page.goto(f"{site}/contracts/")
    page.keyboard.press("j")
    page.keyboard.press("x")
    button = page.locator(".bulk").get_by_role("button", name="Snooze")
    expect(button).to_have_attribute("aria-keyshortcuts", "Q")
    expect(button).to_have_attribute("title", "Snooze (Q)")
    expect(button.locator("kbd")).to_have_text("Q")
    page.keyboard.press("s")
    page.keyboard.press("q")
    expect(page.locator("#toasts")).to_contain_text("Snoozed.")
    assert APPLIED == [("snooze", ["C-00"])]


def test_every_action_of_the_keyboard_that_is_offered_has_a_visible_control_that_says_its_key(
    page: Page,
    site: str,  # noqa: F811
) -> None:
    page.goto(f"{site}/contracts/")
    page.keyboard.press("j")
    page.keyboard.press("x")
    told = page.evaluate(
        """[...document.querySelectorAll('[data-shortcut]')].filter((one) => one.checkVisibility())
        .map((one) => [one.dataset.shortcut, one.title])"""
    )
    assert {"fix", "snooze", "export", "menu", "help"} <= {action for action, _ in told}
    assert all(title.endswith(")") for _, title in told), told
    assert page.locator("[data-go=e]").get_attribute("title") == "G then E"


def test_no_key_fires_in_a_menu_a_field_or_outside_the_content(page: Page, site: str) -> None:  # noqa: F811
    page.goto(f"{site}/contracts/")
    page.keyboard.press("j")
    page.locator("summary", has_text="Export").click()
    page.keyboard.press("s")
    page.keyboard.press("Escape")
    page.locator("#search-box").focus()
    page.keyboard.type("sfx")
    expect(page.locator("#search-box")).to_have_value("sfx")
    page.keyboard.press("Escape")
    page.locator(".side a").first.focus()
    page.keyboard.press("s")
    page.wait_for_timeout(200)
    assert APPLIED == []
    expect(page.locator("#toasts > *")).to_have_count(0)


def test_g_and_a_letter_goes_to_a_place_and_v_and_a_digit_to_a_view(page: Page, site: str) -> None:  # noqa: F811
    page.goto(f"{site}/contracts/")
    page.evaluate(
        """const link = document.createElement('a'); link.href = '?tab=capped'; link.dataset.view = '2';
        link.textContent = 'Capped'; document.querySelector('.head').append(link)"""
    )
    page.keyboard.press("v")
    page.keyboard.press("2")
    page.wait_for_url("**/contracts/?tab=capped")
    page.keyboard.press("g")
    page.keyboard.press("l")
    page.wait_for_url("**/ledger/")
    page.keyboard.press("g")
    page.keyboard.press("q")
    page.wait_for_timeout(100)
    assert page.url.endswith("/ledger/")


def test_d_changes_the_height_of_the_rows_at_once_and_keeps_it(page: Page, site: str) -> None:  # noqa: F811
    page.goto(f"{site}/contracts/")
    page.keyboard.press("d")
    expect(page.locator("html")).to_have_attribute("data-density", "compact")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-density", "compact")
    page.keyboard.press("d")
    expect(page.locator("html")).to_have_attribute("data-density", "comfortable")


def test_enter_on_a_control_inside_the_drawer_is_the_control_and_on_the_heading_the_full_page(
    page: Page,
    site: str,  # noqa: F811
) -> None:
    page.goto(f"{site}/contracts/")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    drawer = page.locator("#drawer")
    expect(drawer).to_be_visible()
    expect(drawer.get_by_role("heading", level=2)).to_be_focused()
    drawer.get_by_role("button", name="Close").focus()
    page.keyboard.press("Enter")
    expect(drawer).to_be_hidden()
    assert focused(page) == "C-00"
    page.keyboard.press("Enter")
    expect(drawer.get_by_role("heading", level=2)).to_be_focused()
    drawer.get_by_role("button", name="Next item").click()
    expect(drawer).to_contain_text("C-01")
    expect(drawer.get_by_role("heading", level=2)).to_be_focused()
    address = page.url
    page.keyboard.press("Enter")
    page.wait_for_load_state("load")
    expect(page.get_by_role("heading", level=1)).to_contain_text("C-01")
    assert page.url == address


def test_no_swap_loses_the_focus(page: Page, site: str) -> None:  # noqa: F811
    page.goto(f"{site}/contracts/")
    page.evaluate("window.stayed = true")
    page.locator("#chip-above").focus()
    page.keyboard.press("Enter")
    page.get_by_label("Cap above").fill("120")
    page.keyboard.press("Enter")
    expect(page.locator(".pages")).to_contain_text("of 10")
    expect(page.locator("#chip-above")).to_be_focused()
    page.get_by_label("Remove the filter Cap above").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".pages")).to_contain_text("of 30")
    expect(page.locator("#chip-above")).to_be_focused()
    page.locator("#tab-capped").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#tab-capped")).to_have_attribute("aria-current", "true")
    expect(page.locator("#tab-capped")).to_be_focused()
    page.locator("#page-next").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".pages")).to_contain_text("30 of 30")
    page.wait_for_function("document.activeElement !== document.body")
    page.keyboard.press("j")
    page.keyboard.press("s")
    page.locator("#toasts").get_by_role("button", name="Dismiss").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement !== document.body")
    assert page.evaluate("window.stayed") is True


def test_one_live_region_outlives_every_swap_and_errors_are_alerts(page: Page, site: str) -> None:  # noqa: F811
    page.goto(f"{site}/contracts/")
    page.evaluate("document.getElementById('status').own = 'the first'")
    page.locator("#tab-capped").click()
    expect(page.locator("#tab-capped")).to_have_attribute("aria-current", "true")
    page.keyboard.press("j")
    page.keyboard.press("f")
    dialog = page.locator("#dialog")
    dialog.get_by_label("Reason").fill("forbidden")
    page.keyboard.press("Control+Enter")
    alert = dialog.get_by_role("alert")
    expect(alert).to_contain_text("The name is reserved; choose another.")
    expect(alert).to_be_focused()
    dialog.get_by_label("Reason").fill("tidy")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#status")).to_have_text("1 contracts were renamed.")
    assert page.evaluate("document.getElementById('status').own") == "the first"
    assert page.locator("[role=status]").count() == 1
    inside = page.evaluate("[...document.querySelectorAll('[hx-get], [hx-post], #results, #drawer, #dialog')]"
                           ".some((one) => one.contains(document.getElementById('status')))")  # fmt: skip
    assert inside is False


def test_what_is_asked_for_is_busy_and_what_was_pressed_waits(page: Page, site: str) -> None:  # noqa: F811
    page.goto(f"{site}/contracts/")
    page.keyboard.press("j")
    page.keyboard.press("f")
    dialog = page.locator("#dialog")
    dialog.get_by_label("Reason").fill("tidy")
    page.route("**/contracts/**", slowly)
    confirm: Any = dialog.get_by_role("button", name="Rename")
    confirm.click(no_wait_after=True)
    expect(confirm).to_be_disabled()
    expect(page.locator("#dialog-body")).to_have_attribute("aria-busy", "true")
    expect(page.locator("#toasts")).to_contain_text("renamed")
    assert APPLIED == [("tidy", ["C-00"])], "once, however often it is pressed"
    page.wait_for_load_state("networkidle")
    page.locator("#tab-open").click(no_wait_after=True)
    expect(page.locator("#results")).to_have_attribute("aria-busy", "true")
    expect(page.locator("#results")).to_contain_text("No contract yet")
    expect(page.locator("#results")).not_to_have_attribute("aria-busy", "true")
