"""The frame of every page: appearance, keyboard, navigation, signing in, and the pages for when something is wrong."""

from __future__ import annotations

import json
from html import unescape
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client, override_settings
from django.urls import reverse

from portal.models import GrantRole, User
from portal.screens import navigation
from portal.screens.keyboard import KEYS, keymap, sheet
from portal.screens.navigation import Badge, NavItem
from tests.world import entity, user

pytestmark = pytest.mark.django_db


@pytest.fixture
def person(client: Client) -> User:
    someone = user("ana", GrantRole.ANALYST, entity("US"))
    client.force_login(someone)
    return someone


def text_of(client: Client, address: str = "/styleguide/") -> str:
    return client.get(address).content.decode()


def test_the_server_renders_the_theme_so_that_nothing_flashes(client: Client, person: User) -> None:
    assert 'data-theme="system" data-density="comfortable"' in text_of(client)
    client.post("/preferences/", {"theme": "dark"})
    client.post("/preferences/", {"density": "compact"})
    assert 'data-theme="dark" data-density="compact"' in text_of(client)
    client.post("/accounts/logout/")  # only the session ends; the browser's own cookie stays
    assert 'data-theme="dark"' in text_of(client, "/accounts/login/")


@pytest.mark.parametrize(
    "address", ["/audit/?text=a%00b", "/causes/?text=%00", "/master/%00/", "/mappings/?system=%00"]
)
def test_the_nul_character_is_refused_in_words_wherever_it_stands(client: Client, person: User, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 400
    assert "a character that is no text" in answer.content.decode()


def test_the_nul_character_in_a_form_a_file_name_or_a_body_changes_nothing(client: Client, person: User) -> None:
    file = SimpleUploadedFile("a.csv", b"\x00 is fine within a file")
    for said in ({"theme": "dark\x00"}, {"the\x00me": "dark"}):
        assert client.post("/preferences/", {**said, "file": file}).status_code == 400
    json_body = "application/json"
    assert client.post("/preferences/", b'{"theme": "\\u0000"}', json_body).status_code == 400
    assert client.post("/preferences/", b'{"theme": "\\\\u0000"}', json_body).status_code != 400, (
        "a backslash and digits"
    )
    assert client.post("/preferences/", {"theme": "dark", "file": file}).status_code in (204, 302, 303)
    told = client.get("/api/v1/documents/?q=%00")
    assert (told.status_code, told.json()["detail"][:34]) == (400, "The request holds the NUL characte")
    person.refresh_from_db()
    assert person.preferences["theme"] == "dark"


def test_an_unknown_theme_is_not_kept(client: Client, person: User) -> None:
    client.post("/preferences/", {"theme": '"><script>'})
    person.refresh_from_db()
    assert "theme" not in person.preferences


def test_with_scripts_a_change_of_appearance_needs_no_reload(client: Client, person: User) -> None:
    response = client.post("/preferences/", {"theme": "light"}, headers={"HX-Request": "true"})
    assert response.status_code == 204
    assert json.loads(response["HX-Trigger"]) == {"tieout:appearance": {"theme": "light", "density": "comfortable"}}


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example", "javascript:alert(1)", ""])
def test_nobody_is_sent_to_another_site(client: Client, person: User, elsewhere: str) -> None:
    for address in ("/preferences/", "/entities/"):
        response = client.post(address, {"theme": "dark", "next": elsewhere})
        assert response["Location"] == "/"


def test_places_are_shown_to_those_whose_roles_open_them(
    client: Client, person: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = (
        NavItem(label="Keys", url_name="keyboard", position=1, key="k", badge=lambda one: Badge("Waiting", 3, "warn")),
        NavItem(label="Secrets", url_name="entities", position=2, roles=frozenset({GrantRole.ADMIN})),
        NavItem(label="Not built", url_name="no_such_address", position=3),
    )
    monkeypatch.setattr(navigation, "items", lambda: made)
    text = text_of(client, reverse("keyboard"))
    assert "Secrets" not in text
    assert "Not built" not in text
    assert 'data-go="k"' in text
    assert 'aria-current="page"' in text
    assert '<span class="sr">Waiting: </span>3' in text


def test_a_group_folded_in_this_browser_stays_so_unless_it_holds_the_page(client: Client, person: User) -> None:
    client.cookies["tieout_folded"] = "master-data.operate"
    text = " ".join(text_of(client).split())
    assert 'data-fold="master-data" > <summary>Master data</summary>' in text
    assert 'data-fold="govern" open>' in text
    text = " ".join(text_of(client, reverse("rates")).split())
    assert 'data-fold="master-data" open>' in text
    assert 'data-fold="operate" >' in text


def test_every_place_has_a_group_of_the_page_and_a_key_of_its_own() -> None:
    keys = [item.key for item in navigation.items() if item.key]
    assert len(keys) == len(set(keys))
    assert all(item.group in navigation.GROUPS for item in navigation.items())


def test_no_two_actions_share_a_key() -> None:
    keys = [key for entry in KEYS for key in entry.keys]
    assert len(keys) == len(set(keys))


def test_a_person_may_change_a_key_or_switch_them_off(client: Client, person: User) -> None:
    client.post("/settings/keyboard/", {"fix": "b"})
    person.refresh_from_db()
    assert keymap(person.preferences)["fix"] == ["b"]
    page = unescape(text_of(client))
    assert '"fix": ["b"]' in page
    client.post("/settings/keyboard/", {"keyboard_off": "on"})
    person.refresh_from_db()
    assert keymap(person.preferences) == {}
    assert sheet(person.preferences) == []


def test_one_key_cannot_mean_two_things(client: Client, person: User) -> None:
    response = client.post("/settings/keyboard/", {"fix": "j"})
    assert response.status_code == 422
    assert "already means" in response.content.decode()
    person.refresh_from_db()
    assert person.preferences == {}


def test_the_sign_in_page_names_people_only_in_a_trial(client: Client) -> None:
    user("ana", GrantRole.ANALYST, entity("US"))
    with override_settings(DEMO=True, DEMO_PASSWORD="tie-out-demo"):
        text = text_of(client, "/accounts/login/")
        assert 'data-fill="ana"' in text
        assert "Finance analyst, US" in text
    with override_settings(DEMO=False, DEMO_PASSWORD=""):
        text = text_of(client, "/accounts/login/")
        assert "data-fill" not in text
        assert "tie-out-demo" not in text


def test_signing_in_and_out_works_with_the_site_s_own_pages(client: Client) -> None:
    someone = user("ana", GrantRole.ANALYST, entity("US"))
    someone.set_password("tie-out-demo")
    someone.save()
    wrong = client.post("/accounts/login/", {"login": "ana", "password": "wrong"})
    assert 'class="errorlist' in wrong.content.decode()
    right = client.post("/accounts/login/", {"login": "ana", "password": "tie-out-demo"})
    assert right.status_code == 302
    assert client.get("/accounts/logout/").status_code == 200
    assert client.post("/accounts/logout/").status_code == 302
    assert client.get("/settings/keyboard/").status_code == 302


@pytest.mark.parametrize(
    "address",
    ["/accounts/password/change/", "/accounts/2fa/", "/accounts/reauthenticate/", "/accounts/2fa/totp/activate/"],
)
def test_account_pages_are_drawn_in_the_site_s_frame(client: Client, person: User, address: str) -> None:
    person.set_password("tie-out-demo")
    person.save()
    client.post("/accounts/login/", {"login": "ana", "password": "tie-out-demo"})
    response = client.get(address, follow=True)
    assert response.status_code == 200
    text = response.content.decode()
    assert "css/tokens.css" in text
    assert "Menu:" not in text


def test_a_person_without_a_role_is_told_whom_to_ask(client: Client) -> None:
    client.force_login(user("nobody"))
    assert "hold no role yet" in text_of(client, "/")


@override_settings(DEBUG=False)
@pytest.mark.parametrize(("address", "words"), [("/nowhere/", "This is not here")])
def test_a_wrong_address_is_answered_calmly(client: Client, person: User, address: str, words: str) -> None:
    response = client.get(address)
    assert response.status_code == 404
    assert words in response.content.decode()


def test_the_page_of_last_resort_needs_nothing_but_itself(rf: Any) -> None:
    from django.views.defaults import server_error

    response = server_error(rf.get("/"))
    assert response.status_code == 500
    assert "what was not confirmed was not done" in response.content.decode()


def test_the_style_guide_is_for_trials_and_work_on_the_code(client: Client, person: User) -> None:
    assert client.get("/styleguide/").status_code == 200
    with override_settings(DEMO=False, DEBUG=False):
        assert client.get("/styleguide/").status_code == 404


def test_the_live_region_is_outside_everything_that_is_swapped(client: Client, person: User) -> None:
    text = text_of(client)
    assert text.count('role="status"') == 1
    assert text.index('id="status"') > text.index("</main>")


def test_the_policy_of_the_browser_allows_only_our_own_files(client: Client, person: User) -> None:
    policy = client.get("/styleguide/")["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "script-src 'self'" in policy
    assert "style-src 'self'" in policy
