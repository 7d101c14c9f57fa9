"""The screens of rates: what they show, whom they show it to, their files, and the question whose answer can be sent on."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from portal.models import GrantRole, Rate, RateCard, Role, Task
from reconciliation import changes
from reconciliation.models import ChangeSet, RateBundle
from tests import world
from tests.portal.test_every_screen import INLINE
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import SINCE, Firm

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    return firms.build()


@pytest.fixture
def site(client: Client, firm: Firm) -> Client:
    client.force_login(world.user("ana-lyst", GrantRole.ANALYST, firm.entity))
    return client


def text(answer: Any, status: int = 200) -> str:
    assert answer.status_code == status
    page = str(answer.content.decode())
    assert INLINE.findall(page) == []
    return page


def lines(answer: Any) -> list[str]:
    return b"".join(answer.streaming_content).decode().splitlines()


def question(firm: Firm, **more: Any) -> dict[str, Any]:
    return {"person": firm.ana.pk, "project": firm.project.pk, "day": "2026-10-01", **more}


def later_version(firm: Firm) -> RateCard:
    firm.card.valid_to = date(2026, 12, 31)
    firm.card.save()
    made = RateCard.objects.create(code="ACME-2026", version=4, contract=firm.contract, valid_from=date(2027, 1, 1))
    Rate.objects.create(
        card=made, role=firm.role, currency="USD", amount=Decimal("132.50"), valid_from=date(2027, 1, 1)
    )
    return made


def strangers(firm: Firm) -> Client:
    client = Client()
    client.force_login(world.user("gus", GrantRole.CONTROLLER, world.entity("GB", "GBP")))
    return client


def test_the_list_leads_to_the_matrix_of_a_card(site: Client, firm: Firm) -> None:
    listed = text(site.get("/rates/"))
    assert "ACME-2026 v3" in listed
    assert "contract ACME-2026" in listed
    page = text(site.get(f"/rates/{firm.card.pk}/"))
    assert "from 1 Jan 2026" in page
    assert f'<a href="/history/rate/{firm.rate.pk}/" title="from 1 Jan 2026">120.00</a>' in page


def test_a_card_s_days_without_a_rate_are_marked_and_its_matrix_is_a_file(site: Client, firm: Firm) -> None:
    firm.rate.valid_to = date(2026, 6, 30)
    firm.rate.save()
    page = text(site.get(f"/rates/{firm.card.pk}/"))
    assert "1 row has days without a rate" in page
    assert '<span class="state warn">no rate</span>' in page
    file = lines(site.get(f"/rates/{firm.card.pk}/?export=csv"))
    assert file[-2:] == [
        "For,Narrowed to,Currency,Unit,1 Jan 2026 to 30 Jun 2026,from 1 Jul 2026",
        "Senior consultant,,USD,hour,120.00,",
    ]


def test_versions_are_compared_side_by_side(site: Client, firm: Firm) -> None:
    assert site.get(f"/rates/{firm.card.pk}/compare/").status_code == 404
    later = later_version(firm)
    assert "Compare with v3" in text(site.get(f"/rates/{later.pk}/"))
    page = text(site.get(f"/rates/{later.pk}/compare/"))
    assert "1 changed, 0 added, 0 ended, 0 the same" in page
    assert "12.50" in page
    assert "10.4 %" in page
    assert lines(site.get(f"/rates/{later.pk}/compare/?export=csv"))[-1] == (
        "Senior consultant,,USD,120.00,132.50,12.50,10.42,changed"
    )


def test_cards_and_people_of_another_entity_are_not_found(site: Client, firm: Firm) -> None:
    later_version(firm)
    stranger = strangers(firm)
    for address in (f"/rates/{firm.card.pk}/", f"/rates/{firm.card.pk}/compare/", "/rates/999999/"):
        assert stranger.get(address).status_code == 404
    own = RateCard.objects.create(code="LIST", valid_from=SINCE)
    Rate.objects.create(card=own, resource=firm.ana, currency="USD", amount=Decimal(200), valid_from=SINCE)
    Rate.objects.create(card=own, role=firm.role, currency="USD", amount=Decimal(150), valid_from=SINCE)
    page = text(stranger.get(f"/rates/{own.pk}/"))
    assert "150.00" in page
    assert "Ana Consultant" not in page
    assert "1 rate of people and tasks of other entities is not shown" in page
    assert "Ana Consultant" in text(site.get(f"/rates/{own.pk}/"))
    assert stranger.get(f"/rates/{own.pk}/compare/?with={firm.card.pk}").status_code == 404
    for address in ("/rates/", "/rates/gaps/", "/rates/test/"):
        said = text(stranger.get(address))
        assert [word for word in ("ACME-2026", "Ana Consultant", "ACM-1", "Acme", "Harvest") if word in said] == []


def test_an_answer_is_an_address_and_names_every_candidate(site: Client, firm: Firm) -> None:
    listed = RateCard.objects.create(code="LIST", valid_from=SINCE)
    Rate.objects.create(card=listed, role=firm.role, currency="USD", amount=Decimal(150), valid_from=SINCE)
    page = text(site.get("/rates/test/", question(firm)))
    assert "costs 120.00 USD an hour, as agreed in rate card ACME-2026 v3 for Senior consultant." in page
    assert "A more exact rate was found first (contract, role)." in page
    assert f'<a href="/rates/{listed.pk}/">LIST v1</a>' in page


def test_a_question_that_cannot_be_read_or_is_about_others_is_asked_again(site: Client, firm: Firm) -> None:
    assert "Names every rate that could price such hours" in text(site.get("/rates/test/"))
    text(site.get("/rates/test/", question(firm, day="soon")), status=422)
    other = firms.project("OTHER-1", firm.entity, firm.customer, None)
    task = Task.objects.create(project=other, code="DEV", name="Development")
    assert "Task DEV is of another project" in text(site.get("/rates/test/", question(firm, task=task.pk)), status=422)
    page = text(strangers(firm).get("/rates/test/", question(firm)), status=422)
    assert "120.00" not in page


def test_gaps_say_what_is_at_stake_and_lead_to_the_question(site: Client, firm: Firm) -> None:
    assert "No gap" in text(site.get("/rates/gaps/"))
    Rate.objects.all().delete()
    firm.admit(firm.time("1", rate=Decimal(120)))
    page = text(site.get("/rates/gaps/?kind=open"))
    assert "Ana Consultant as senior consultant on ACM-1, 1 Oct 2026" in page
    assert "Rate card ACME-2026 v3 has no rate for senior consultant." in page
    assert f"/rates/test/?person={firm.ana.pk}&amp;project={firm.project.pk}&amp;day=2026-10-01" in page
    assert "about 960.00 USD" in page
    file = lines(site.get("/rates/gaps/?export=csv&kind=open"))
    assert file[-1] == (
        "Held,US,ACM-1,ACME-2026,Ana Consultant,Senior consultant,,2026-10-01,2026-10-01,1,8.00,960.00,USD,"
        "the source's rate,Rate card ACME-2026 v3 has no rate for senior consultant."
    )


def test_a_bigger_card_costs_no_more_statements(site: Client, firm: Firm) -> None:
    def asked(address: str) -> int:
        site.get(address)
        with CaptureQueriesContext(connection) as counted:
            assert site.get(address).status_code == 200
        return len(counted)

    later = later_version(firm)
    addresses = [f"/rates/{later.pk}/", f"/rates/{later.pk}/compare/", "/rates/gaps/"]
    few = [asked(address) for address in addresses]
    for number in range(20):
        role = Role.objects.create(code=f"role-{number}", name=f"Role {number}")
        for card in (firm.card, later):
            Rate.objects.create(
                card=card, role=role, currency="USD", amount=Decimal(number), valid_from=card.valid_from
            )
    firm.admit(*(firm.time(str(number), rate=None) for number in range(20)))
    assert [asked(address) for address in addresses] == few


def test_a_card_grows_by_a_role_and_by_its_next_version_as_drafts_that_others_agree_to(
    site: Client, firm: Firm
) -> None:
    page = text(site.get(f"/rates/{firm.card.pk}/"))
    assert f'href="/rates/{firm.card.pk}/add/"' in page
    assert f'href="/rates/{firm.card.pk}/version/"' in page
    given = {
        "role": "", "new_role": "Data engineer", "person": "", "amount": "140", "currency": "usd", "unit": "hour",
        "first": "2026-06-01", "last": "", "reason": "Letter of May.",
    }  # fmt: skip
    both = text(site.post(f"/rates/{firm.card.pk}/add/", {**given, "role": "senior"}), 422)
    assert "Take a role that there is, or name a new one" in both
    assert "outside of it" in text(
        site.post(f"/rates/{firm.card.pk}/add/", {**given, "last": "2020-01-01", "first": "2019-01-01"}), 422
    )
    overlapping = {**given, "role": "senior", "new_role": ""}
    assert "overlaps one that stands already" in text(site.post(f"/rates/{firm.card.pk}/add/", overlapping), 422)
    assert site.post(f"/rates/{firm.card.pk}/add/", given).status_code == 303
    added = ChangeSet.objects.latest("pk")
    assert added.title == "Data engineer on ACME-2026 v3: 140.00 USD an hour, from 1 Jun 2026"
    assert [(line.model, line.action, line.record) for line in added.lines.order_by("position")] == [
        ("role", "add", "data-engineer · Data engineer"),
        ("rate", "add", "ACME-2026 · 3 · data-engineer · USD · 2026-06-01"),
    ]
    assert not Role.objects.filter(code="data-engineer").exists()

    early = {"first": str(firm.card.valid_from), "last": "", "percent": "3.5", "name": "", "reason": "Indexed."}
    assert "take a later day" in text(site.post(f"/rates/{firm.card.pk}/version/", early), 422)
    assert site.post(f"/rates/{firm.card.pk}/version/", {**early, "first": "2027-01-01"}).status_code == 303
    indexed = ChangeSet.objects.latest("pk")
    agree(indexed, firm)
    firm.card.refresh_from_db()
    assert firm.card.valid_to == date(2026, 12, 31)
    made = RateCard.objects.get(code="ACME-2026", version=4)
    assert (made.contract, made.valid_from, made.valid_to) == (firm.contract, date(2027, 1, 1), None)
    assert [(rate.role, rate.amount, rate.valid_from) for rate in made.rates.all()] == [
        (firm.role, Decimal("124.20"), date(2027, 1, 1))
    ]
    assert "/version/" not in text(site.get(f"/rates/{firm.card.pk}/")), "the next one follows the latest"


def agree(change_set: ChangeSet, firm: Firm) -> None:
    changes.submit(change_set, change_set.created_by)
    carla = world.user("carla", GrantRole.CONTROLLER, firm.entity)
    changes.approve(
        change_set, carla, "Agreed.", plan=RateBundle.objects.get(change_set=change_set).version, signed_in_again=True
    )
    changes.run(change_set.pk)
