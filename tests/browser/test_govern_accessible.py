"""The audit trail and onboarding in a real browser, in both themes: no word from axe, nothing cut off, by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, expect

from integrations import forgetting
from portal import audit
from portal.history import update_each_with_reason
from portal.models import Engagement
from reconciliation import onboarding
from reconciliation.onboarding import rehearsing
from tests.browser.test_desk_accessible import FITS, SMALL
from tests.browser.test_screen_kit import violations
from tests.reconciliation.firm import person
from tests.reconciliation.newcomer import MONTH, Newcomer, bring_in, on_27_november, weekdays

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]
__all__ = ["on_27_november"]


@pytest.fixture
def screens(on_27_november: None) -> tuple[Any, dict[str, str]]:
    """A controller, and an address for each screen."""
    newcomer = bring_in()
    firm, cleo = newcomer.firm, newcomer.cleo
    update_each_with_reason(
        type(firm.project), [(firm.project, {"name": "Acme, renamed"})], reason="as ordered", actor=cleo
    )
    audit.record(
        cleo, "period-opened", firm.entity, entity=firm.entity, reason="late hours", before={"state": "closed"}
    )
    event = audit.record(
        cleo, "project-renamed", firm.project, entity=firm.entity, reason="as ordered",
        before={"name": "Acme roll-out"}, after={"name": "Acme, renamed"},
    )  # fmt: skip
    audit.prove(cleo)
    where, running, done = an_entity_on_its_way(newcomer)
    gone = person("gone", "Gone Away", firm.entity, firm.ana.engagements.get().role)
    Engagement.objects.filter(resource=gone).update(valid_to=MONTH)
    request = forgetting.ask(gone, by=newcomer.carl, reason="letter of 2 November")
    return cleo, {
        "onboardings": "/onboarding/", "bringing in": "/onboarding/new/", "onboarding": where, "rehearsal running": running,
        "rehearsal": done, "rehearsal, all": f"{done}?tab=all",
        "audit": "/audit/", "event": f"/audit/{event.pk}/", "proof": "/audit/verify/", "pack": "/audit/pack/",
        "history": f"/history/project/{firm.project.pk}/",
        "people to forget": "/people/forgotten/", "person to forget": f"/people/forgotten/{request.pk}/",
        "asking to forget": f"/people/{firm.ana.pk}/forget/",
    }  # fmt: skip


def an_entity_on_its_way(newcomer: Newcomer) -> tuple[str, str, str]:
    """Pages of one that is being brought in, of a rehearsal under way, and of one with every kind of difference."""
    days = weekdays(MONTH, 6)
    newcomer.take(*days, first=900)
    newcomer.book(days[0])
    newcomer.book(days[1], hours="7.5", amount="900")
    newcomer.book(days[2], amount="880")
    newcomer.book(date(2026, 10, 22))
    newcomer.take(date(2026, 11, 3), first=950)
    newcomer.book(date(2026, 11, 3))
    found = newcomer.rehearse()
    asked = onboarding.request(newcomer.onboarding, found.period, by=newcomer.cleo)
    taken = rehearsing.take(asked.pk)
    assert taken is not None
    rehearsing.go_on(taken, "Judging work of 1 to 31 October", documents=4_000, judged=1_200)
    base = "/onboarding/"
    return f"{base}{newcomer.onboarding.pk}/", f"{base}rehearsals/{asked.pk}/", f"{base}rehearsals/{found.pk}/"


@pytest.fixture(params=["light", "dark"])
def context(request: Any, browser: Browser, live_server: Any, screens: Any) -> Iterator[BrowserContext]:
    client = Client()
    client.force_login(screens[0])
    cookie = client.cookies["tieout_session"].value
    made = browser.new_context(
        viewport={"width": 1440, "height": 900}, color_scheme=request.param, base_url=live_server.url
    )
    made.add_cookies([{"name": "tieout_session", "value": cookie, "url": live_server.url}])
    yield made
    made.close()


def test_axe_finds_nothing_and_nothing_is_cut_off(context: BrowserContext, screens: Any) -> None:
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    found: dict[str, Any] = {}
    for name, address in screens[1].items():
        page.goto(address)
        found[name] = violations(page)
        assert page.evaluate(SMALL) == [], name
        page.set_viewport_size({"width": 320, "height": 900})
        assert page.evaluate(FITS), f"{name} at 320 px"
        page.set_viewport_size({"width": 1440, "height": 900})
    assert {name: told for name, told in found.items() if told} == {}
    assert complaints == []


def test_the_chain_is_verified_by_keyboard_alone(context: BrowserContext, screens: Any) -> None:
    page = context.new_page()
    page.goto("/audit/verify/")
    page.get_by_label("Head noted before").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="The chain holds")).to_be_visible()
    assert violations(page) == []
