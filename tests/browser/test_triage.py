"""Triage in a real browser: by keyboard alone, undone with one key, and its screens looked at by axe."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from portal.models import GrantRole
from reconciliation import teams, triage
from reconciliation.models import ExceptionCase, Team
from tests import world
from tests.browser.test_exceptions import sign_in
from tests.browser.test_screen_kit import violations
from tests.reconciliation import desk
from tests.reconciliation.firm import Firm, build

os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def furnish(firm: Firm) -> tuple[ExceptionCase, ExceptionCase]:
    """Two causes of one rule, a team, and something of everything that triage does."""
    desk.mistyped(firm, 12, code="ACM-2231", start=100)
    desk.mistyped(firm, 3, code="ACM 2231", start=300)
    desk.off_rate(firm, 7)
    desk.periods_closed(firm, 4)
    fay, cora = desk.analyst(firm), world.user("cora", GrantRole.CONTROLLER, firm.entity)
    team = Team(code="collections", name="Collections US")
    teams.save_team(team, entities=[firm.entity], members=[fay, cora], leads=[cora], by=cora, reason="new desk")
    teams.set_ownership(
        firm.entity,
        [teams.Fits(team, "rates"), teams.Fits(team, "", ("project-unknown",), firm.source)],
        by=cora,
        reason="x",
    )
    one, two = ExceptionCase.objects.filter(rule="project-unknown").order_by("pk")
    rate, closed = ExceptionCase.objects.get(rule="rate-mismatch"), ExceptionCase.objects.get(rule="period-closed")
    triage.assign([rate.pk], by=cora, to=team)
    triage.tag([one.pk], ["month-end", "acme"], by=cora)
    triage.take_up(one.pk, by=cora)
    triage.snooze([closed.pk], by=cora, until=timezone.localdate() + timedelta(days=4), reason="waits for the auditor")
    return one, two


def test_a_cause_is_snoozed_by_keyboard_and_the_snooze_is_undone_with_one_key(page: Page, live_server: Any) -> None:
    firm = build()
    one, _ = furnish(firm)
    site = sign_in(page, live_server, desk.analyst(firm, "ken"))
    page.goto(f"{site}/exceptions/{one.pk}/")
    page.keyboard.press("s")
    dialog = page.locator("dialog[open]")
    expect(dialog.get_by_role("group", name="Until")).to_be_visible()
    page.keyboard.press("Control+Enter")
    toast = page.locator(".toast", has_text="Snoozed until").or_(page.locator(".toast", has_text="snoozed until")).first
    expect(toast).to_be_visible()
    one.refresh_from_db()
    assert one.aside == "snoozed"
    page.keyboard.press("z")
    expect(page.locator(".toast", has_text="Taken back")).to_be_visible()
    one.refresh_from_db()
    assert one.aside == ""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_the_screens_of_triage_are_accessible(browser: Browser, live_server: Any, theme: Any, width: int) -> None:
    firm = build()
    one, _ = furnish(firm)
    cora = Team.objects.get().members.get(username="cora")
    cora.preferences = {"theme": theme}
    cora.save()
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    site = sign_in(page, live_server, cora)
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)

    def look(name: str) -> None:
        page.evaluate("Promise.all(document.getAnimations().map((one) => one.finished))")
        assert violations(page) == [], name
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (
            f"{name} is wider than the page"
        )

    try:
        for name, path in (
            ("queue", "/exceptions/"), ("waiting", "/exceptions/?tab=waiting"), ("cause", f"/exceptions/{one.pk}/"),
            ("teams", "/teams/"), ("team", f"/teams/{Team.objects.get().pk}/"), ("ownership", "/ownership/"),
            ("rule", "/ownership/new/"),
        ):  # fmt: skip
            page.goto(site + path)
            look(name)
        page.goto(f"{site}/exceptions/{one.pk}/")
        dialog = page.locator("#dialog[open]")
        for label in ("Assign", "Snooze", "Ignore", "Tag", "Merge"):
            page.locator("main summary", has_text="More").click()
            look(f"the menu before {label}")
            page.locator("main .menu-list").get_by_role("button", name=label).click()
            expect(dialog.get_by_role("heading", name=f"{label}: 1 cause")).to_be_visible()
            look(label)
            dialog.get_by_role("button", name="Close").click()
            expect(dialog).to_have_count(0)
        page.get_by_role("button", name="Assign to me").click()
        expect(page.locator("section#toasts .toast")).to_be_visible()
        look("the message of what was done")
        assert complaints == []
    finally:
        context.close()
