"""The screens of rates in a real browser: no word from axe in either theme and width, nothing cut off, asked without a mouse."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import Page, expect

from portal.models import GrantRole, Rate, RateCard, Role
from reconciliation import changes, corrections
from reconciliation.models import RateBundle
from reconciliation.rates import planning
from reconciliation.rates.lines import Wanted, alike, lines_for
from reconciliation.rates.matrix import Span
from tests import bills, world
from tests.browser.test_desk_accessible import FITS, SMALL
from tests.browser.test_screen_kit import violations
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def firm(page: Page, live_server: Any) -> Firm:
    made = firms.build()
    furnish(made)
    client = Client()
    client.force_login(world.user("carla", GrantRole.CONTROLLER, made.entity))
    cookie = client.cookies["tieout_session"].value
    page.context.add_cookies([{"name": "tieout_session", "value": cookie, "url": live_server.url}])
    return made


def furnish(firm: Firm) -> RateCard:
    """A card with a hole, people's and tasks' own rates and two currencies, a later version, and work without a rate."""
    firm.card.valid_to, firm.rate.valid_to = date(2026, 12, 31), date(2026, 9, 30)
    firm.card.save()
    firm.rate.save()
    analyst, manager = (Role.objects.create(code=code, name=code.title()) for code in ("analyst", "manager"))
    rows: list[dict[str, Any]] = [
        {"role": analyst, "amount": "90"}, {"role": manager, "amount": "1500", "unit": "day"},
        {"role": firm.role, "amount": "126", "valid_from": date(2026, 11, 1)},
        {"resource": firm.ana, "amount": "150", "valid_from": date(2026, 11, 1), "valid_to": date(2026, 11, 30)},
        {"role": analyst, "amount": "82", "currency": "EUR"},
    ]  # fmt: skip
    later = RateCard.objects.create(code="ACME-2026", version=4, contract=firm.contract, valid_from=date(2027, 1, 1))
    for card, since in ((firm.card, firms.SINCE), (later, date(2027, 1, 1))):
        for row in rows if card == firm.card else rows[:3]:
            values = {"currency": "USD", "valid_from": since, **row}
            values["valid_from"] = max(values["valid_from"], since)
            values["amount"] = Decimal(row["amount"]) * (1 if card == firm.card else Decimal("1.05"))
            Rate.objects.create(card=card, **values)
    listed = RateCard.objects.create(code="LIST", valid_from=firms.SINCE)
    Rate.objects.create(card=listed, role=manager, currency="USD", amount=Decimal(200), valid_from=firms.SINCE)
    firm.admit(*(firm.time(str(number), work_date=date(2026, 10, 5 + number)) for number in range(4)))
    return later


def plan(firm: Firm) -> RateBundle:
    """A change of September with a bill that is off, posted entries to book anew, and one that is left."""
    fay = world.user("fay", GrantRole.ANALYST, firm.entity)
    bills.posted(firm, 3)
    [billed, taken] = bills.posted(firm, 2, first=20)
    bills.allocate(bills.bill(firm), billed)
    corrections.reverse([taken], by=fay, reason="wrong project")
    september = Span(date(2026, 9, 1), date(2026, 9, 30))
    lines = lines_for(Wanted(firm.rate, Decimal(112), "hour", september), alike(firm.rate))
    title = "Senior consultant USD of ACME-2026 v3: 112.00 an hour, for 1 Sep 2026 to 30 Sep 2026"
    change_set = changes.draft(by=fay, title=title, reason="Agreed by letter of 12 October.", lines=lines)
    return planning.begin(change_set, by=fay)


def addresses(firm: Firm) -> dict[str, str]:
    later = RateCard.objects.get(version=4)
    bundle = RateBundle.objects.first() or plan(firm)
    question = f"/rates/test/?person={firm.ana.pk}&project={firm.project.pk}"
    return {
        "cards": "/rates/", "card": f"/rates/{firm.card.pk}/", "versions": f"/rates/{later.pk}/compare/",
        "gaps": "/rates/gaps/", "question": "/rates/test/", "answer": f"{question}&day=2026-11-05",
        "change": f"/rates/{firm.card.pk}/change/", "bundle": f"/rates/bundles/{bundle.pk}/",
        "change set": f"/changes/{bundle.change_set_id}/", "no answer": f"{question}&day=2026-10-05",
        "not understood": f"{question}&day=never", "coming work": f"/changes/{bundle.change_set_id}/coming/",
        "next version": f"/rates/{firm.card.pk}/version/", "new rate": f"/rates/{firm.card.pk}/add/",
    }  # fmt: skip


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (1440, "dark"), (390, "light"), (390, "dark")])
def test_axe_finds_nothing_and_nothing_overflows(
    page: Page, live_server: Any, firm: Firm, width: int, theme: Any
) -> None:
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.emulate_media(color_scheme=theme)
    page.set_viewport_size({"width": width, "height": 900})
    for name, address in addresses(firm).items():
        page.goto(live_server.url + address)
        assert violations(page) == [], name
        assert page.evaluate(FITS), name
        assert page.evaluate(SMALL) == [], name
    assert said == []


def test_a_rate_is_asked_for_by_keyboard_alone(page: Page, live_server: Any, firm: Firm) -> None:
    page.goto(f"{live_server.url}/rates/")
    page.get_by_role("link", name="Which rate?").focus()
    page.keyboard.press("Enter")
    person = page.get_by_role("combobox", name="Person")
    person.focus()
    page.keyboard.type("ana")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("acm")
    page.keyboard.press("Enter")
    page.get_by_label("Work date").fill("2026-11-05")
    page.keyboard.press("Control+Enter")
    expect(page.locator("tr.won")).to_contain_text("Ana Consultant")
    expect(page.get_by_role("status").first).to_contain_text("costs 150.00 USD an hour")
    page.goto(f"{live_server.url}/rates/gaps/")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Would have fitted on another day")).to_be_visible()
