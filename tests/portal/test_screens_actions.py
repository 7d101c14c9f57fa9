"""Actions on chosen rows: what is applied is what was shown, by who may, where they may."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from django.test import Client

from portal.models import EntityGrant, GrantRole, LegalEntity
from tests.portal.screens_site import APPLIED
from tests.portal.test_screens_lists import contract, de, signed_in, us
from tests.world import entity

__all__ = ["de", "us"]
pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.portal.screens_site")]
HTMX = {"HX-Request": "true", "HX-Target": "dialog-body"}


@pytest.fixture(autouse=True)
def nothing_applied() -> Iterator[None]:
    APPLIED.clear()
    yield
    APPLIED.clear()


def token(html: str) -> str:
    found = re.search(r'name="confirmed" value="([^"]+)"', html)
    assert found
    return found[1]


def ask(client: Client, **data: object) -> str:
    response = client.post("/contracts/", {"action": "rename", **data})
    assert response.status_code == 200
    return response.content.decode()


def test_an_action_with_fields_asks_first_and_does_nothing_yet(client: Client, us: LegalEntity) -> None:
    row = contract("A", us)
    signed_in(client, us)
    text = ask(client, selected=[row.pk])
    assert "Rename 1 contracts" in text
    assert "<html" in text
    assert APPLIED == []


def test_what_is_confirmed_is_done_to_exactly_the_rows_shown(client: Client, us: LegalEntity) -> None:
    rows = [contract(code, us) for code in "ABC"]
    signed_in(client, us)
    chosen = [rows[0].pk, rows[2].pk]
    text = ask(client, selected=chosen)
    data = {"action": "rename", "selected": chosen, "confirmed": token(text), "reason": "tidy"}
    response = client.post("/contracts/", data)
    assert response.status_code == 303
    assert APPLIED == [("tidy", ["A", "C"])]
    assert "2 contracts were renamed." in client.get("/contracts/").content.decode()


def test_all_that_match_means_the_filter_of_the_address(client: Client, us: LegalEntity) -> None:
    contract("BIG", us, "500")
    contract("SMALL", us, "5")
    signed_in(client, us)
    asked = client.post("/contracts/?above=100", {"action": "rename", "all_matching": "1"}).content.decode()
    data = {"action": "rename", "all_matching": "1", "confirmed": token(asked), "reason": "tidy"}
    client.post("/contracts/?above=100", data)
    assert APPLIED == [("tidy", ["BIG"])]


def test_rows_that_moved_since_the_question_are_asked_again_and_nothing_happens(
    client: Client, us: LegalEntity
) -> None:
    contract("A", us)
    signed_in(client, us)
    text = ask(client, all_matching="1")
    contract("B", us)
    data = {"action": "rename", "all_matching": "1", "confirmed": token(text), "reason": "tidy"}
    response = client.post("/contracts/", data)
    assert response.status_code == 422
    assert "it is now about 2" in response.content.decode()
    assert APPLIED == []
    client.post("/contracts/", data | {"confirmed": token(response.content.decode())})
    assert APPLIED == [("tidy", ["A", "B"])]


@pytest.mark.parametrize("forged", ["", "nonsense", "eyJhIjoxfQ:1tEst:abc"])
def test_a_forged_confirmation_is_asked_again(client: Client, us: LegalEntity, forged: str) -> None:
    row = contract("A", us)
    signed_in(client, us)
    data = {"action": "rename", "selected": [row.pk], "confirmed": forged, "reason": "tidy"}
    assert client.post("/contracts/", data).status_code == 422
    assert APPLIED == []


def test_a_field_left_out_comes_back_with_its_error_and_status_422(client: Client, us: LegalEntity) -> None:
    row = contract("A", us)
    signed_in(client, us)
    data = {"action": "rename", "selected": [row.pk], "confirmed": token(ask(client, selected=[row.pk])), "reason": ""}
    response = client.post("/contracts/", data, headers=HTMX)
    text = response.content.decode()
    assert response.status_code == 422
    assert "<html" not in text
    assert 'class="error-summary"' in text
    assert 'href="#id_reason"' in text
    assert 'aria-invalid="true"' in text
    assert 'aria-describedby="id_reason_error"' in text


def test_a_refusal_is_a_sentence_above_the_form(client: Client, us: LegalEntity) -> None:
    row = contract("A", us)
    signed_in(client, us)
    confirmed = token(ask(client, selected=[row.pk]))
    data = {"action": "rename", "selected": [row.pk], "confirmed": confirmed, "reason": "forbidden"}
    response = client.post("/contracts/", data)
    assert response.status_code == 422
    assert "The name is reserved; choose another." in response.content.decode()


def test_rows_where_the_role_is_not_held_are_left_out_and_counted(
    client: Client, us: LegalEntity, de: LegalEntity
) -> None:
    mine, theirs = contract("US-1", us), contract("DE-1", de)
    signed_in(client, us)
    person = us.grants.get().user
    EntityGrant.objects.create(user=person, entity=de, role=GrantRole.AUDITOR)
    text = ask(client, selected=[mine.pk, theirs.pk])
    assert "1 of the chosen rows lie in entities where you may not do this" in text
    data = {
        "action": "rename",
        "selected": [mine.pk, theirs.pk],
        "confirmed": token(text),
        "reason": "tidy",
    }
    client.post("/contracts/", data)
    assert APPLIED == [("tidy", ["US-1"])]


def test_rows_of_an_entity_without_a_grant_cannot_be_named_by_their_keys(
    client: Client, us: LegalEntity, de: LegalEntity
) -> None:
    theirs = contract("DE-1", de)
    signed_in(client, us)
    response = client.post("/contracts/", {"action": "snooze", "selected": [theirs.pk]}, follow=True)
    assert "nothing was changed" in response.content.decode()
    assert APPLIED == []


def test_an_auditor_is_offered_no_action_and_refused_one(client: Client, us: LegalEntity) -> None:
    row = contract("A", us)
    signed_in(client, us, GrantRole.AUDITOR)
    assert 'name="action"' not in client.get("/contracts/").content.decode()
    assert client.post("/contracts/", {"action": "rename", "selected": [row.pk]}).status_code == 403


def test_an_unknown_action_is_a_bad_request(client: Client, us: LegalEntity) -> None:
    signed_in(client, us)
    assert client.post("/contracts/", {"action": "delete_everything"}).status_code == 400


def test_triage_happens_at_once_and_offers_undo_beside_the_page(client: Client, us: LegalEntity) -> None:
    row = contract("A", us)
    signed_in(client, us)
    response = client.post("/contracts/", {"action": "snooze", "selected": [row.pk]}, headers=HTMX)
    assert response.status_code == 204
    told = json.loads(response["HX-Trigger"])
    assert told["tieout:notice"] == {"text": "Snoozed.", "tone": "good", "undo": "/undo/"}
    assert "tieout:changed" in told
    assert APPLIED == [("snooze", ["A"])]


def test_without_scripts_undo_is_a_button_on_the_next_page(client: Client, us: LegalEntity) -> None:
    row = contract("A", us)
    signed_in(client, us)
    text = client.post("/contracts/", {"action": "snooze", "selected": [row.pk]}, follow=True).content.decode()
    assert 'action="/undo/"' in text


def test_nothing_chosen_changes_nothing_and_says_so(client: Client, us: LegalEntity) -> None:
    signed_in(client, us)
    response = client.post("/contracts/", {"action": "snooze"}, headers=HTMX)
    assert "No row is chosen" in json.loads(response["HX-Trigger"])["tieout:notice"]["text"]
    assert "tieout:changed" not in response["HX-Trigger"]


def test_an_action_needs_the_token_of_the_form(us: LegalEntity) -> None:
    client = Client(enforce_csrf_checks=True)
    row = contract("A", us)
    signed_in(client, us)
    response = client.post("/contracts/", {"action": "snooze", "selected": [row.pk]}, headers=HTMX)
    assert response.status_code == 403
    assert APPLIED == []


def test_the_page_of_a_row_of_another_entity_is_not_found(client: Client, us: LegalEntity, de: LegalEntity) -> None:
    theirs = contract("DE-1", de)
    signed_in(client, us)
    assert client.get(f"/contracts/{theirs.pk}/").status_code == 404
    assert client.post(f"/contracts/{theirs.pk}/", {"action": "rename"}).status_code == 404


def test_the_page_of_a_row_acts_on_that_row_only(client: Client, us: LegalEntity) -> None:
    row, other = contract("A", us), contract("B", us)
    signed_in(client, us)
    text = client.post(f"/contracts/{row.pk}/", {"action": "rename", "selected": [other.pk]}).content.decode()
    data = {"action": "rename", "selected": [other.pk], "confirmed": token(text), "reason": "tidy"}
    client.post(f"/contracts/{row.pk}/", data)
    assert APPLIED == [("tidy", ["A"])]


def test_what_all_entities_share_takes_a_right_in_all_of_them(client: Client, us: LegalEntity) -> None:
    from portal.models import Customer
    from portal.screens.actions import select
    from tests.portal.screens_site import Rename
    from tests.world import user

    shared = Customer.objects.create(code="SHARED", name="Shared", currency="USD")
    own = Customer.objects.create(code="OWN", name="Own", currency="USD", entity=us)
    local, everywhere = user("local", owner=us), user("all", everywhere=True)
    assert select(Customer.objects.all(), Rename, local).keys == (own.pk,)
    assert select(Customer.objects.all(), Rename, local).left_out == 1
    assert set(select(Customer.objects.all(), Rename, everywhere).keys) == {shared.pk, own.pk}
    assert entity("GB", "GBP").grants.count() == 0
