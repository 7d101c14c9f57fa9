"""Settings of a person: kept section by section, refused with a sentence, audited where they decide what reaches whom."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from portal.models import AuditEvent, User
from portal.notifications import wishes
from portal.screens.keyboard import KEYS, clashes, keymap, mistake, sheet
from tests import world

pytestmark = pytest.mark.django_db


@pytest.fixture
def ana() -> User:
    return world.user("ana", owner=world.entity())


@pytest.fixture
def client(ana: User) -> Client:
    made = Client()
    made.force_login(ana)
    return made


def preferences(user: User) -> dict[str, Any]:
    user.refresh_from_db()
    return dict(user.preferences)


def test_appearance_is_kept_and_shown_by_the_page_itself(client: Client, ana: User) -> None:
    said = {
        "section": "appearance",
        "appearance-theme": "dark",
        "appearance-density": "compact",
        "appearance-time": "absolute",
    }
    answer = client.post("/settings/", said)
    assert (answer.status_code, answer["Location"]) == (303, "/settings/#appearance")
    page = client.get("/settings/").content.decode()
    assert 'data-theme="dark" data-density="compact" data-time="absolute"' in page
    assert not AuditEvent.objects.exists(), "taste is nobody's business"


def test_the_page_says_which_view_a_list_opens_with_and_leads_to_the_choice(client: Client, ana: User) -> None:
    assert "No view is kept yet" in client.get("/settings/").content.decode()
    kept = {"views": "save", "name": "Old ones"}
    client.post("/exceptions/?age=30", kept)
    page = client.get("/settings/").content.decode()
    assert "opens without a view" in page
    assert 'href="/exceptions/?views=1"' in page
    client.post("/exceptions/", {"views": "default:old-ones"})
    assert "opens with “Old ones”" in client.get("/settings/").content.decode()
    other = Client()
    other.force_login(world.user("ben", owner=world.entity("DE", "EUR")))
    assert "Old ones" not in other.get("/settings/").content.decode()


def test_the_choice_of_moments_says_what_it_does_not_cover(client: Client) -> None:
    assert "stay lengths of time either way" in client.get("/settings/").content.decode()


def test_what_a_person_is_told_is_kept_and_audited(client: Client, ana: User) -> None:
    said = {"section": "notifications", "notifications-mail": "daily", "notifications-kinds": ["assigned", "export"]}
    client.post("/settings/", said)
    held = wishes(preferences(ana))
    assert (held.mail, held.urgent_at_once) == ("daily", False)
    assert "mentioned" in held.kinds_off
    assert "assigned" not in held.kinds_off
    event = AuditEvent.objects.get()
    assert (event.action, (event.before or {})["mail"], (event.after or {})["mail"]) == (
        "settings.notifications", "gathered", "daily",
    )  # fmt: skip
    client.post("/settings/", said)
    assert AuditEvent.objects.count() == 1, "nothing changed the second time"
    assert 'value="daily" selected' in client.get("/settings/").content.decode()


def test_a_comma_cannot_stand_between_cells_and_in_figures(client: Client, ana: User) -> None:
    answer = client.post("/settings/", {"section": "files", "files-delimiter": "comma", "files-decimal": "comma"})
    assert answer.status_code == 422
    assert "The comma cannot be both" in answer.content.decode()
    assert "csv" not in preferences(ana)
    client.post("/settings/", {"section": "files", "files-delimiter": "semicolon", "files-decimal": "comma"})
    assert preferences(ana)["csv"] == {"delimiter": "semicolon", "decimal": "comma"}
    assert AuditEvent.objects.get().action == "settings.files"


def test_one_section_leaves_the_others_alone(client: Client, ana: User) -> None:
    ana.preferences = {"keys": {"fix": "q"}, "lists": {"exceptions": {"size": 25}}}
    ana.save()
    client.post("/settings/", {"section": "files", "files-delimiter": "tab", "files-decimal": "point"})
    assert preferences(ana)["keys"] == {"fix": "q"}
    assert preferences(ana)["lists"] == {"exceptions": {"size": 25}}
    assert client.post("/settings/", {"section": "nonsense"}).status_code == 400


def test_no_two_actions_of_the_common_map_share_a_key() -> None:
    assert clashes({}) == {}
    assert all(not mistake(one) for key in KEYS for one in key.keys)


def test_a_key_of_ones_own_is_kept_shown_and_taken_back(client: Client, ana: User) -> None:
    assert client.post("/settings/keyboard/", {"fix": "q", "next": "j"}).status_code == 303
    assert preferences(ana)["keys"] == {"fix": "q", "next": "j"}
    page = client.get("/").content.decode()
    assert "&quot;fix&quot;: [&quot;q&quot;]" in page
    client.post("/settings/keyboard/", {"reset": "1"})
    assert "keys" not in preferences(ana)
    assert keymap(preferences(ana))["fix"] == ["f"]


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"fix": "a"}, "The key A already means “Assign”"),
        ({"fix": "q", "assign": "q"}, "The key Q already means “Fix”"),
        ({"fix": "3"}, "Digits choose a saved view"),
        ({"fix": " "}, "belong to the browser"),
        ({"fix": "Tab"}, "belong to the browser"),
        ({"fix": "banana"}, "Give one character, or the name of a key"),
    ],
)
def test_a_key_that_cannot_be_is_refused_with_a_sentence(client: Client, ana: User, said: Any, sentence: str) -> None:
    answer = client.post("/settings/keyboard/", said)
    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert "keys" not in preferences(ana)


def test_two_keys_may_change_places(client: Client, ana: User) -> None:
    assert client.post("/settings/keyboard/", {"fix": "a", "assign": "f"}).status_code == 303
    assert preferences(ana)["keys"] == {"fix": "a", "assign": "f"}


def test_switched_off_there_is_no_key_and_the_sheet_says_so(client: Client, ana: User) -> None:
    client.post("/settings/keyboard/", {"keyboard_off": "on"})
    page = client.get("/").content.decode()
    assert 'data-keymap="{}"' in page
    assert "Single keys are switched off" in page
    assert sheet(preferences(ana)) == []


def test_the_sheet_names_every_action_in_its_group() -> None:
    printed = {label for _, entries in sheet({}) for label, _ in entries}
    assert {key.label for key in KEYS} <= printed
    assert ("Saved view", ["V then a digit"]) in dict(sheet({}))["In a list"]
