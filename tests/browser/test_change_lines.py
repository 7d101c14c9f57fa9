"""Forms of change lines, cards that grow, tokens and the trail in a real browser: readable, for axe too, and without a mouse."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.urls import reverse
from playwright.sync_api import Browser, Page, expect

from portal import audit, tokens
from portal.models import EntityGrant, GrantRole, LegalEntity, User
from reconciliation import changes, imports
from reconciliation.changes import Line
from tests import world
from tests.browser.test_governed_master_data import FITS, sign_in
from tests.reconciliation import desk
from tests.reconciliation.firm import Firm, build

os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # playwright's loop runs in the thread of the test
pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

HOLIDAYS = {"2026-01-01": "New Year", "2026-07-03": "Independence Day, observed", "2026-12-25": "Christmas"}


@pytest.fixture
def firm() -> Firm:
    made = build()
    desk.furnish(made)
    calendar = {"weekend": [6, 7], "holidays": [*HOLIDAYS], "hours_per_day": "8", "names": HOLIDAYS}
    LegalEntity.objects.filter(pk=made.entity.pk).update(calendar=calendar)
    return made


@pytest.fixture
def ada(firm: Firm) -> User:
    made = world.user("ada", GrantRole.ADMIN, firm.entity)
    EntityGrant.objects.create(user=made, entity=firm.entity, role=GrantRole.CONTROLLER, valid_from="2026-01-01")
    return made


def screens(firm: Firm, ada: User) -> dict[str, str]:
    fay = world.user("fay", GrantRole.ANALYST, firm.entity)
    rows = b"project,code,name\nACM-1,ANA,Analysis\nACM-1,RUN,Running it until somebody else does\n"
    file = imports.receive("task", "tasks of the roll-out.csv", rows, by=fay)
    imports.draft(
        file, by=fay, reason="Tasks as agreed with the practice leads in July, for the months until the hand-over."
    )
    new = {
        "project": "ACM-1",
        "code": "M9",
        "name": "Hand-over",
        "due_on": "2026-12-01",
        "amount": "9000",
        "currency": "USD",
    }
    lines = [Line("rate", firm.rate.pk, "change", {"amount": "155"}), Line("milestone", None, "add", new)]
    change_set = changes.draft(by=fay, title="Senior consultants in 2027", reason="Letter of 2 March.", lines=lines)
    changes.submit(change_set, fay)
    EntityGrant.objects.create(user=ada, entity=firm.entity, role=GrantRole.AUDITOR, valid_from="2026-01-01")
    draft = changes.draft(by=ada, title="Another word", reason="Agreed by letter.")
    tokens.issue(ada, "nightly comparison")
    audit.prove(ada)
    line = reverse("change_line_new", args=[draft.pk])
    card = firm.card.pk
    return {
        "entity line": f"{line}?model=entity&key={firm.entity.pk}", "project line": f"{line}?model=project&action=add",
        "change set": f"/changes/{change_set.pk}/", "card": f"/rates/{card}/", "rate add": f"/rates/{card}/add/",
        "rate version": f"/rates/{card}/version/", "rate change": f"/rates/{card}/change/", "settings": "/settings/",
        "tokens": "/settings/tokens/", "audit": "/audit/", "audit verify": "/audit/verify/", "routes": "/master/route/",
        "grants": "/master/entitygrant/", "import of another": f"/imports/{file.pk}/", "import new": "/imports/new/?kind=grant",
    }  # fmt: skip


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (1440, "dark"), (390, "light"), (390, "dark")])
def test_axe_finds_nothing_and_nothing_overflows(
    browser: Browser, live_server: Any, firm: Firm, ada: User, width: int, theme: Any
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
    sign_in(page, live_server.url, ada)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in {"error", "warning"} else None)
    shots = os.environ.get("TIEOUT_SHOTS")
    found: dict[str, Any] = {}
    for name, address in screens(firm, ada).items():
        page.goto(live_server.url + address)
        if shots:
            page.screenshot(path=Path(shots) / f"{name.replace(' ', '-')}-{width}-{theme}.png", full_page=True)
        found[name] = [(one["id"], one["nodes"][0]["html"]) for one in Axe().run(page).response["violations"]]
        if not page.evaluate(FITS):
            found[name].append(("overflow", address))
        if width == 1440 and page.locator(".table-scroll").evaluate_all(
            "all => all.some((one) => one.scrollWidth > one.clientWidth)"
        ):
            found[name].append(("a table wider than the page", address))
    page.close()
    assert {name: told for name, told in found.items() if told} == {}
    assert said == []


def test_codes_are_offered_as_one_types_and_n_begins_a_change(
    page: Page, live_server: Any, firm: Firm, ada: User
) -> None:
    sign_in(page, live_server.url, ada)
    page.goto(f"{live_server.url}/changes/")
    page.keyboard.press("n")
    page.wait_for_url("**/changes/new/")
    page.get_by_label("What changes").fill("A project")
    page.get_by_label("Why").fill("Signed.")
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**/lines/new/")
    page.get_by_label("Kind of record").select_option("project")
    page.get_by_role("button", name="New", exact=True).click()
    field = page.get_by_label("Customer", exact=True)
    options = page.locator("#codes_customer option")
    with page.expect_response("**/changes/codes/project/customer/**"):
        field.press_sequentially("nothing like it")
    expect(options).to_have_count(0)
    field.fill("")
    with page.expect_response("**/changes/codes/project/customer/**"):
        field.press_sequentially("inc")
    expect(options).to_have_count(1)
    assert options.first.get_attribute("value") == "ACME"
