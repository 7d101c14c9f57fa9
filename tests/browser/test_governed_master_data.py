"""Master data under governance in a real browser: nothing for axe to say in both themes and widths, and done without a mouse."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.test import Client
from playwright.sync_api import Browser, FilePayload, Page, expect

from portal.models import ForeignRecord, GrantRole, RejectedValue, User
from portal.sql import now
from reconciliation import imports, mappings
from reconciliation.models import ChangeSet, Mapping
from tests import world
from tests.portal.test_importing_sheets import sheets
from tests.reconciliation import desk
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm, build

os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # playwright's loop runs in the thread of the test
pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
CSV = (
    "code,name,currency,entity,tax_number\nACME,Acme Holding Inc.,USD,US,\nBETA,Beta Ltd,USD,US,\n"
    "GAMMA,Gamma GmbH,XXX,US,\nDELTA,Delta GmbH,USD,US,DE136695970\n"
)


@pytest.fixture
def firm() -> Firm:
    made = build()
    made.customer.entity = made.entity
    made.customer.save()
    desk.furnish(made)
    for code, name in (("ACM-2", "Acme audit 2026"), ("ACM-3", "Acme warehouse"), ("ACM-4", "Acme data platform")):
        project = firms.project(code, made.entity, made.customer, made.contract)
        project.name = name
        project.save()
    for key, code, name, kind in (
        ("991", "P-991", "Acme audit", "project"), ("992", "P-992", "Audit of Acme 2026", "project"),
        ("993", "ACM-3", "Acme warehouse", "project"), ("77", "CUST-77", "ACME Inc", "customer"),
    ):  # fmt: skip
        ForeignRecord.objects.create(
            connection=made.target, system=made.target.connector, kind=kind, external_id=key, code=code, name=name,
            entity=made.entity, seen_at=now(),
        )  # fmt: skip
    RejectedValue.objects.create(
        connection=made.source, kind="project", internal_id=made.project.pk, record=str(made.project), entity=made.entity,
        field="name", stands="Acme roll-out", said="Acme rollout (EMEA)", reason="It belongs to NetSuite.", times=3,
        first_at=now(), last_at=now(),
    )  # fmt: skip
    return made


@pytest.fixture
def carla(firm: Firm) -> User:
    return world.user("carla", GrantRole.CONTROLLER, firm.entity)


def sign_in(page: Page, site: str, person: User) -> None:
    client = Client()
    client.force_login(person)
    page.context.add_cookies([{"name": "tieout_session", "value": client.cookies["tieout_session"].value, "url": site}])


def screens(firm: Firm, carla: User) -> dict[str, str]:
    file = imports.receive("customer", "customers.csv", CSV.encode(), by=carla)
    unmatched = imports.receive("customer", "debtors.csv", b"Kdnr,Bezeichnung,currency\nBETA,Beta,USD\n", by=carla)
    good = imports.receive("customer", "good.csv", CSV.partition("GAMMA")[0].encode(), by=carla)
    book = sheets(Notes=[("For Fay",)], Customers=[("code", "name", "currency", ""), ("BETA", "Beta", "USD", "?")])
    workbook = imports.receive("customer", "customers.xlsx", book, by=carla)
    another = imports.receive("task", "of another kind.csv", CSV.encode(), by=carla)
    mappings.bring_up_to_date()
    lost = Mapping.objects.get(kind="project", code="ACM-2", state="unmapped")
    mapped = Mapping.objects.get(kind="project", code="ACM-1", state="mapped")
    return {
        "mappings": "/mappings/", "theirs": "/mappings/?tab=theirs", "mapping": f"/mappings/{lost.pk}/",
        "mapped": f"/mappings/{mapped.pk}/", "imports": "/imports/", "import new": "/imports/new/",
        "import": f"/imports/{file.pk}/", "import to match": f"/imports/{unmatched.pk}/", "import good": f"/imports/{good.pk}/",
        "import workbook": f"/imports/{workbook.pk}/", "import of another kind": f"/imports/{another.pk}/",
        "rejected": "/rejected/", "rejected value": f"/rejected/{RejectedValue.objects.get().pk}/",
        "projects": "/master/project/", "project": f"/master/project/{firm.project.pk}/",
        "customer": f"/master/customer/{firm.customer.pk}/", "resource": f"/master/resource/{firm.ana.pk}/",
    }  # fmt: skip


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (1440, "dark"), (390, "light"), (390, "dark")])
def test_axe_finds_nothing_and_nothing_overflows(
    browser: Browser, live_server: Any, firm: Firm, carla: User, width: int, theme: Any
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
    sign_in(page, live_server.url, carla)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in {"error", "warning"} else None)
    shots = os.environ.get("TIEOUT_SHOTS")
    found: dict[str, Any] = {}
    for name, address in screens(firm, carla).items():
        page.goto(live_server.url + address)
        if shots:
            page.screenshot(path=Path(shots) / f"{name.replace(' ', '-')}-{width}-{theme}.png", full_page=True)
        found[name] = [(one["id"], one["nodes"][0]["html"]) for one in Axe().run(page).response["violations"]]
        if not page.evaluate(FITS):
            found[name].append(("overflow", address))
    page.close()
    assert {name: told for name, told in found.items() if told} == {}
    assert said == []


def test_a_mapping_is_found_opened_beside_the_list_and_drafted_by_keyboard(
    page: Page, live_server: Any, firm: Firm, carla: User
) -> None:
    sign_in(page, live_server.url, carla)
    page.goto(f"{live_server.url}/mappings/?text=ACM-3")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    drawer = page.locator("#drawer")
    expect(drawer).to_contain_text("Likely matches")
    expect(drawer.get_by_role("radio").first).to_be_checked()
    drawer.get_by_label("Why").fill("The same project.")
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**/changes/*/")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Map Project ACM-3")
    assert ChangeSet.objects.get().lines.get().values["external_id"] == "993"


def test_a_file_is_uploaded_looked_at_and_drafted_by_keyboard(
    page: Page, live_server: Any, firm: Firm, carla: User
) -> None:
    sign_in(page, live_server.url, carla)
    page.goto(f"{live_server.url}/imports/new/?kind=customer")
    content = CSV.partition("GAMMA")[0].encode()
    file = FilePayload(name="customers.csv", mimeType="text/csv", buffer=content)
    page.get_by_label("File").set_input_files(file)
    page.get_by_role("button", name="Look at the file").press("Enter")
    expect(page.locator("main")).to_contain_text("Acme Holding Inc.")
    page.get_by_label("Why").fill("As agreed with sales.")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Customer: 2 from customers.csv")
    assert ChangeSet.objects.get().lines.count() == 2


def test_what_stands_is_kept_by_keyboard(page: Page, live_server: Any, firm: Firm, carla: User) -> None:
    sign_in(page, live_server.url, carla)
    page.goto(f"{live_server.url}/rejected/")
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.get_by_role("button", name="Keep what stands").press("Enter")
    page.locator("#dialog").get_by_label("Reason").fill("As in the contract.")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#toasts")).to_contain_text("What stands is kept in 1 field.")
    assert RejectedValue.objects.get().state == "kept"
