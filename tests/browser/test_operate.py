"""Operations, reconciliation, audit and the first page in a real browser: calm at every width, and done without a mouse."""

from __future__ import annotations

import os
from datetime import date
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.test import Client
from playwright.sync_api import Browser, Page, expect

from integrations import wake, work
from integrations.models import InboxMessage, UploadedFile
from portal.models import Milestone, Project, Published, User
from reconciliation.models import Match, ProjectMonth, ReconciliationResult, ReconciliationRun
from tests.integrations.operate_world import CSV, Operations, operations, told

os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # playwright's loop runs in the thread of the test
pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def firm(monkeypatch: pytest.MonkeyPatch) -> Operations:
    monkeypatch.setattr(wake, "up", lambda *_: False)
    built = operations(monkeypatch)
    told(built)
    return built


def sign_in(page: Page, site: str, person: User) -> None:
    client = Client()
    client.force_login(person)
    page.context.add_cookies([{"name": "tieout_session", "value": client.cookies["tieout_session"].value, "url": site}])


def milestone(firm: Operations) -> Milestone:
    made, _ = Milestone.objects.get_or_create(
        project=Project.objects.filter(entity=firm.us)[0], code="M1",
        defaults={"name": "Go-live", "due_on": date(2026, 10, 20), "amount": 5000, "currency": "USD"},
    )  # fmt: skip
    return made


def two_sides(firm: Operations) -> str:
    """Two open items of one leg that add up to nothing, and the address where they are matched."""
    left, right = (
        ReconciliationResult.objects.standing().filter(period=firm.period, standing="unmatched").order_by("pk")
    )
    rows = ReconciliationResult.objects
    rows.filter(pk=left.pk).update(hours_left=8, hours_right=0, amount_left=960, amount_right=0, currency="USD")
    rows.filter(pk=right.pk).update(
        leg=left.leg, hours_left=0, hours_right=8, amount_left=0, amount_right=960, currency="USD"
    )
    return f"/reconciliation/periods/{firm.period.pk}/match/{left.leg}/"


def screens(firm: Operations) -> list[str]:
    return [
        "/", "/inbox/", f"/inbox/{firm.failed.pk}/", "/runs/", f"/runs/{firm.run.pk}/", f"/streams/{firm.stream.pk}/",
        "/connections/", "/connections/new/", "/connections/new/netsuite/", "/connections/tracker-de/edit/",
        "/connections/erp/", "/connections/tracker-de/", "/uploads/", "/uploads/new/",
        f"/uploads/{firm.upload.pk}/", "/reconciliation/", f"/reconciliation/{firm.comparison.pk}/",
        f"/reconciliation/{firm.comparison.pk}/sheet/", f"/reconciliation/periods/{firm.period.pk}/",
        f"/reconciliation/periods/{firm.period.pk}/items/", f"/reconciliation/periods/{firm.period.pk}/holes/",
        f"/reconciliation/periods/{firm.period.pk}/match/ledger_target/", f"/milestones/{milestone(firm).pk}/",
        "/reconciliation/close/", "/reconciliation/rules/", "/reconciliation/rules/new/", "/audit/",
        "/audit/verify/", "/master/rate/", "/master/crosswalk/", f"/history/connection/{firm.source.pk}/",
        "/readiness/", f"/readiness/{ProjectMonth.objects.order_by('-period__starts_on')[0].pk}/",
        "/published/", f"/published/{Published.objects.get().pk}/",
    ]  # fmt: skip


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (390, "dark")])
def test_axe_finds_nothing_and_nothing_overflows(
    page: Page, live_server: Any, firm: Operations, width: int, theme: Any
) -> None:
    sign_in(page, live_server.url, firm.controller)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in {"error", "warning"} else None)
    page.emulate_media(color_scheme=theme)
    page.set_viewport_size({"width": width, "height": 900})
    for address in screens(firm):
        page.goto(live_server.url + address)
        found = [(one["id"], one["nodes"][0]["html"]) for one in Axe().run(page).response["violations"]]
        assert found == [], address
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), address
    assert [one for one in said if "cannot be parsed" not in one] == []


def test_a_failed_message_is_found_opened_beside_the_list_and_replayed_by_keyboard(
    page: Page, live_server: Any, firm: Operations
) -> None:
    sign_in(page, live_server.url, firm.analyst)
    page.goto(f"{live_server.url}/inbox/?tab=failed")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    drawer = page.locator("#drawer")
    expect(drawer).to_contain_text("Field “hours” is “eight”, expected a number.")
    drawer.get_by_role("button", name="Replay").click()
    dialog = page.locator("#dialog")
    dialog.get_by_label("Reason").fill("mapping mended")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#toasts")).to_contain_text("1 message is taken in again.")
    expect(page.locator("#results")).to_contain_text("Everything could be read")
    assert InboxMessage.objects.get(pk=firm.failed.pk).state == "new"


def test_a_comparison_is_asked_for_and_the_page_follows_it_by_itself(
    page: Page, live_server: Any, firm: Operations
) -> None:
    sign_in(page, live_server.url, firm.analyst)
    page.goto(f"{live_server.url}/reconciliation/periods/{firm.period.pk}/")
    page.get_by_role("button", name="Reconcile now").click()
    expect(page.locator("main")).to_contain_text("Statements are read, then everything is compared.")
    run = ReconciliationRun.objects.latest("pk")
    assert page.url.endswith(f"/reconciliation/{run.pk}/")
    work.reconcile(run.pk)
    expect(page.locator("main")).to_contain_text("Record M-900 was booked in the target without us.", timeout=10_000)


def test_both_sides_are_chosen_by_keyboard_while_what_is_left_over_follows(
    page: Page, live_server: Any, firm: Operations
) -> None:
    address = two_sides(firm)
    sign_in(page, live_server.url, firm.analyst)
    page.goto(live_server.url + address)
    weighing = page.locator("#weighing")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(weighing).to_contain_text("Too much is left over")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(weighing).to_contain_text("Nothing is left over")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#toasts")).to_contain_text("2 items are matched.")
    assert Match.objects.get().items == 2


def test_without_scripts_both_sides_are_added_up_and_matched(
    browser: Browser, page: Page, live_server: Any, firm: Operations
) -> None:
    address = two_sides(firm)
    sign_in(page, live_server.url, firm.analyst)
    plain = browser.new_context(java_script_enabled=False)
    plain.add_cookies(page.context.cookies())  # type: ignore[arg-type]
    still = plain.new_page()
    still.goto(live_server.url + address)
    for box in still.locator("input[name=selected]").all():
        box.check()
    still.get_by_role("button", name="Add up").click()
    expect(still.locator("#weighing")).to_contain_text("Nothing is left over")
    still.get_by_role("button", name="Match").click()
    expect(still.locator("body")).to_contain_text("2 items are matched.")
    plain.close()
    assert Match.objects.get().state == "confirmed"


def test_without_scripts_a_file_is_uploaded_filed_and_a_connection_paused(
    browser: Browser, page: Page, live_server: Any, firm: Operations
) -> None:
    sign_in(page, live_server.url, firm.controller)
    plain = browser.new_context(java_script_enabled=False)
    plain.add_cookies(page.context.cookies())  # type: ignore[arg-type]
    still = plain.new_page()
    still.goto(f"{live_server.url}/uploads/new/")
    content = CSV.replace("acht", "8,00").encode()
    still.locator("input[type=file]").set_input_files(
        {"name": "week-42.csv", "mimeType": "text/csv", "buffer": content}
    )
    still.get_by_role("button", name="Show what it becomes").click()
    expect(still.locator("main")).to_contain_text("Every row can be read.")
    still.get_by_role("button", name="File these rows").click()
    expect(still.locator("#toasts")).to_contain_text("3 of 3 rows are new and are being taken in.")
    assert UploadedFile.objects.latest("pk").state == "filed"
    still.goto(f"{live_server.url}/connections/tracker-us/")
    still.get_by_role("button", name="Pause").click()
    still.get_by_label("Reason").fill("token is being renewed")
    still.get_by_role("button", name="Pause it").click()
    expect(still.locator("main")).to_contain_text("token is being renewed")
    plain.close()
