"""Finance's desk in a real browser: a cause of 100 entries mended by keyboard alone, and every screen looked at by axe."""

from __future__ import annotations

import os
import re
import threading
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from playwright.sync_api import Browser, Page, expect

from portal.models import GrantRole, LedgerEntry, LedgerState, State
from reconciliation import operations
from reconciliation.models import ExceptionCase, Operation
from tests import world
from tests.browser.test_screen_kit import violations
from tests.reconciliation import desk
from tests.reconciliation.firm import Firm, build, case

os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # playwright's loop runs in the thread of the test
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def firm() -> Firm:
    """The firm, with a project whose code is near a mistyped one."""
    made = build()
    desk.near(made)
    return made


def sign_in(page: Page, live_server: Any, person: Any) -> str:
    client = Client()
    client.force_login(person)
    cookie = client.cookies["tieout_session"].value
    page.context.add_cookies([{"name": "tieout_session", "value": cookie, "url": live_server.url}])
    return str(live_server.url)


def work_off() -> threading.Thread:
    """The worker: everything that is confirmed, in a thread with a connection of its own."""

    def run() -> None:
        try:
            for operation_id in operations.due():
                operations.run(operation_id)
        finally:
            connection.close()

    worker = threading.Thread(target=run)
    worker.start()
    return worker


@pytest.mark.case(19, 126)
def test_a_cause_of_a_hundred_entries_is_fixed_by_keyboard_in_at_most_seven_keys(
    page: Page, live_server: Any, firm: Firm
) -> None:
    desk.mistyped(firm, 100)
    site = sign_in(page, live_server, desk.analyst(firm))
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.goto(f"{site}/exceptions/")
    keys = []

    def press(key: str) -> None:
        keys.append(key)
        page.keyboard.press(key)

    press("j")
    press("Enter")
    drawer = page.locator("#drawer")
    expect(drawer.get_by_role("heading", name="Project “ACM-2231” is not in the master data.")).to_be_visible()
    press("f")
    expect(drawer.get_by_role("heading", name="Map “ACM-2231” to ACM-2213: 100 entries")).to_be_visible()
    expect(drawer.locator(".tiles")).to_contain_text("of 100 entries")
    assert page.evaluate(
        "document.getElementById('drawer').scrollWidth <= document.getElementById('drawer').clientWidth"
    )
    press("Control+Enter")
    page.wait_for_url("**/operations/*/")
    assert len(keys) <= 7
    expect(page.locator("#progress")).to_contain_text("waiting for a worker")
    worker = work_off()
    expect(page.locator("#chip-posting")).to_contain_text("100", timeout=20_000)
    worker.join()
    expect(page.locator("#results tbody")).not_to_contain_text("Pending")
    assert case("project-unknown").state == ExceptionCase.State.RESOLVED
    assert LedgerState.objects.filter(state=State.READY).count() == 100
    assert complaints == []


def test_a_fix_of_chosen_rows_leaves_the_others_alone(page: Page, live_server: Any, firm: Firm) -> None:
    desk.off_rate(firm, 5)
    site = sign_in(page, live_server, desk.analyst(firm))
    page.goto(f"{site}/exceptions/{case('rate-mismatch').pk}/")
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.keyboard.press("f")
    drawer = page.locator("#drawer")
    expect(drawer.get_by_role("heading", name="Use the contract's rate: 2 entries")).to_be_visible()
    drawer.get_by_label("Reason").fill("The tracker has last year's rate.")
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**/operations/*/")
    work_off().join()
    operation = Operation.objects.get()
    assert (operation.total, operation.done, operation.reason) == (2, 2, "The tracker has last year's rate.")
    assert case("rate-mismatch").open_holds == 3


def test_a_set_that_moved_is_refused_with_a_sentence_and_a_new_preview(
    page: Page, live_server: Any, firm: Firm
) -> None:
    desk.off_rate(firm, 3)
    site = sign_in(page, live_server, desk.analyst(firm))
    page.goto(f"{site}/exceptions/{case('rate-mismatch').pk}/")
    page.keyboard.press("f")
    drawer = page.locator("#drawer")
    expect(drawer.get_by_role("heading", name="Use the contract's rate: 3 entries")).to_be_visible()
    LedgerState.objects.filter(entry=LedgerEntry.objects.order_by("pk").first()).update(fence=9)
    page.keyboard.press("Control+Enter")
    expect(drawer.locator(".error-summary")).to_contain_text("1 row changed since you looked.")
    expect(drawer.locator(".error-summary").get_by_role("link")).to_have_text(re.compile(r"Entry \d+"))
    drawer.get_by_role("button", name="Look again at 3 entries").click()
    expect(drawer.locator(".error-summary")).to_have_count(0)
    expect(drawer.get_by_role("heading", name="Use the contract's rate: 3 entries")).to_be_visible()
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**/operations/*/")
    assert Operation.objects.filter(state=Operation.State.RUNNING).count() == 1


def test_f_on_a_row_of_the_queue_means_the_way_out_of_that_row(page: Page, live_server: Any, firm: Firm) -> None:
    desk.off_rate(firm, 3)
    desk.periods_closed(firm, 1)
    site = sign_in(page, live_server, desk.analyst(firm))
    page.goto(f"{site}/exceptions/")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("f")
    expect(page.locator("#drawer").get_by_role("heading", name="Post 1 entry in 2026-09")).to_be_visible()


def test_ctrl_enter_confirms_what_the_page_is_there_for_and_a_key_leads_to_each_way_out(
    page: Page, live_server: Any, firm: Firm
) -> None:
    desk.off_rate(firm, 3)
    fay, cleo = desk.analyst(firm), world.user("cleo", GrantRole.CONTROLLER, firm.entity)
    firm.entity.policy = {"second_person_rows": 2}
    firm.entity.save()
    found = case("rate-mismatch")
    site = sign_in(page, live_server, fay)
    page.goto(f"{site}/exceptions/")
    page.keyboard.press("j")
    page.keyboard.press("h")
    drawer = page.locator("#drawer")
    expect(drawer.get_by_role("heading", name="Hand back to the source")).to_be_visible()
    page.goto(f"{site}/exceptions/{found.pk}/")
    page.keyboard.press("c")
    page.keyboard.type("It is the old card.")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#timeline q")).to_have_text("It is the old card.")
    page.keyboard.press("w")
    expect(drawer.get_by_role("heading", name="Waive with reason: 3 entries")).to_be_visible()
    planned = operations.plan("use-contract-rate", user=fay, parameters={}, reason="the card holds", case=found)
    page.goto(f"{site}/operations/{planned.pk}/")
    page.keyboard.press("Control+Enter")
    expect(page.locator("main")).to_contain_text("Waits for approval")
    sign_in(page, live_server, cleo)
    page.goto(f"{site}/operations/{planned.pk}/")
    page.keyboard.press("y")
    expect(page.get_by_role("button", name="Approve")).to_be_focused()
    page.keyboard.press("n")
    expect(page.get_by_label("Comment")).to_be_focused()
    page.keyboard.press("Control+Enter")
    expect(page.locator("#progress")).to_be_visible()
    planned.refresh_from_db()
    assert (planned.state, planned.decided_by) == (Operation.State.RUNNING, cleo)


def test_a_fix_works_without_scripts(browser: Browser, page: Page, live_server: Any, firm: Firm) -> None:
    desk.mistyped(firm, 4)
    site = sign_in(page, live_server, desk.analyst(firm))
    plain = browser.new_context(java_script_enabled=False)
    plain.add_cookies(page.context.cookies())  # type: ignore[arg-type]
    still = plain.new_page()
    still.goto(f"{site}/exceptions/")
    still.get_by_role("link", name="Project “ACM-2231” is not in the master data.").click()
    still.get_by_role("link", name="Map the code").first.click()
    still.get_by_role("button", name="Try it on 4 entries").click()
    expect(still.get_by_role("heading", level=1)).to_have_text("Map “ACM-2231” to ACM-2213: 4 entries")
    still.get_by_role("button", name="Map the code: 4 entries").click()
    expect(still.locator("#progress")).to_contain_text("0 of 4 done")
    plain.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing_and_nothing_overflows(
    page: Page, live_server: Any, firm: Firm, theme: str, width: int
) -> None:
    entries = desk.furnish(firm)
    person = desk.analyst(firm)
    site = sign_in(page, live_server, person)
    planned = operations.plan("use-contract-rate", user=person, parameters={}, reason="x", case=case("rate-mismatch"))
    done = operations.plan("recheck", user=person, parameters={}, case=case("project-unknown"))
    operations.run(operations.confirm(done, user=person).pk)
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 900})
    cause = case("project-unknown").pk
    shots = os.environ.get("TIEOUT_SHOTS")
    for name, address in (
        ("queue", "/exceptions/"),
        ("queue-empty", "/exceptions/?tab=mine"),
        ("cause", f"/exceptions/{cause}/"),
        ("fix", f"/exceptions/{cause}/fix/move-project/"),
        ("preview", f"/operations/{planned.pk}/"),
        ("operations", "/operations/"),
        ("operation", f"/operations/{done.pk}/"),
        ("ledger", "/ledger/"),
        ("entry-held", f"/ledger/{entries['held']}/"),
        ("entry-posted", f"/ledger/{entries['posted']}/"),
        ("entry-doubt", f"/ledger/{entries['in_doubt']}/"),
        ("search", "/search/?q=acm"),
    ):
        page.goto(site + address)
        page.wait_for_load_state("load")
        if shots:
            page.screenshot(path=f"{shots}/{name}-{width}-{theme}.png", full_page=True)
        assert violations(page) == [], address
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), address
    page.goto(f"{site}/exceptions/")
    page.locator("tbody [data-main]").first.click()
    expect(page.locator("#drawer .ways")).to_be_visible()
    page.wait_for_timeout(200)  # the drawer slides in
    assert page.evaluate(
        "document.getElementById('drawer').scrollWidth <= document.getElementById('drawer').clientWidth"
    )
    if shots:
        page.screenshot(path=f"{shots}/drawer-{width}-{theme}.png")
    assert violations(page) == []


def test_a_key_pressed_right_after_the_sheet_of_keys_was_closed_is_not_lost(
    page: Page, live_server: Any, firm: Firm
) -> None:
    """A closed dialog keeps the focus until the browser's next frame; that is nowhere, and no place outside the list."""
    desk.mistyped(firm, 2)
    page.goto(f"{sign_in(page, live_server, desk.analyst(firm))}/exceptions/")
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.evaluate(
        """() => { document.getElementById("keys").close();
            document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "j", bubbles: true })); }"""
    )
    expect(page.locator("tr[data-focus]")).to_have_count(1)
