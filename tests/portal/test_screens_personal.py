"""What a list remembers of a person: columns, page size, saved views; and how far its pages and polls reach."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from portal.models import AuditEvent, Contract, EntityGrant, GrantRole, LegalEntity, SavedView, User
from portal.screens import paging
from tests.portal.test_screens_lists import contract, exported, page, signed_in
from tests.world import entity, user

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.portal.screens_site")]


@pytest.fixture
def us() -> LegalEntity:
    return entity("US", "USD")


@pytest.fixture
def ana(client: Client, us: LegalEntity) -> Client:
    return signed_in(client, us)


def heads(text: str) -> list[str]:
    head = text[text.index("<thead>") : text.index("</thead>")]
    return [re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<th.*?</th>", head, re.DOTALL)][1:]


def shown(text: str) -> list[str]:
    return re.findall(r"data-main[^>]*>([^<]+)</a>", text)


def arrange(client: Client, *columns: str, act: str = "keep", **more: str) -> Any:
    return client.post("/contracts/", {"arrange": act, "order": columns, "column": columns, **more})


# Columns


def test_chosen_columns_are_shown_in_their_order_and_stay_chosen(ana: Client, us: LegalEntity) -> None:
    contract("US-1", us)
    assert heads(page(ana)) == ["Contract", "Entity", "Cap", "Currency"]
    assert arrange(ana, "code", "cap_amount", size="100").status_code == 303
    assert heads(page(ana)) == ["Contract", "Cap", "Currency"]  # a currency goes with its amount
    assert "100 a page" in page(ana) or Contract.objects.count() <= 25
    kept = User.objects.get(username="ana").preferences["lists"]["contracts"]
    assert kept == {"columns": ["code", "cap_amount"], "size": 100}
    arrange(ana, act="reset")
    assert heads(page(ana)) == ["Contract", "Entity", "Cap", "Currency"]


def test_a_column_is_moved_by_a_button_and_nothing_is_kept_before_it_is_said(ana: Client) -> None:
    response = arrange(ana, "code", "entity", "cap_amount", act="up:cap_amount")
    order = re.findall(r'name="order" value="(\w+)"', response.content.decode())
    assert order == ["code", "cap_amount", "entity"]
    assert User.objects.get(username="ana").preferences == {}


@pytest.mark.parametrize(
    "columns", ["nonsense", "code,code,entity__grants", ",,,", "pk;drop", "entity__grants__user__password", "x," * 5000]
)
def test_hostile_columns_in_an_address_never_break_a_list(ana: Client, us: LegalEntity, columns: str) -> None:
    contract("US-1", us)
    text = page(ana, f"/contracts/?columns={columns}")
    assert heads(text)[0] == "Contract"
    assert not any("assword" in head for head in heads(text))


@pytest.mark.parametrize(
    "kept",
    ["text", 7, [], {"contracts": "text"}, {"contracts": {"columns": {"a": 1}, "size": "many", "view": [1]}},
     {"contracts": {"columns": [1, None, ["code"]], "size": 10**9}}],
)  # fmt: skip
def test_a_kept_choice_that_cannot_be_understood_falls_back(ana: Client, us: LegalEntity, kept: Any) -> None:
    contract("US-1", us)
    User.objects.filter(username="ana").update(preferences={"lists": kept})
    assert heads(page(ana)) == ["Contract", "Entity", "Cap", "Currency"]
    assert arrange(ana, "code").status_code == 303
    assert heads(page(ana)) == ["Contract"]


def test_the_address_says_columns_before_the_persons_own(ana: Client, us: LegalEntity) -> None:
    contract("US-1", us)
    arrange(ana, "code")
    assert heads(page(ana, "/contracts/?columns=entity")) == ["Contract", "Entity"]


# Saved views


def keep(client: Client, address: str, name: str, **more: str) -> Any:
    return client.post(address, {"views": "save", "name": name, **more})


def test_a_filter_too_long_to_be_kept_is_refused_and_not_cut(ana: Client) -> None:
    answer = keep(ana, f"/contracts/?code={'x' * 2100}", "Long")
    assert answer.status_code == 422
    assert "too long to be kept" in answer.text
    assert not SavedView.objects.exists()


def test_a_view_is_a_name_for_tab_filter_order_and_columns(ana: Client, us: LegalEntity) -> None:
    contract("CAPPED", us, "5000")
    contract("SMALL", us, "10")
    address = "/contracts/?tab=capped&above=1000&sort=-code&columns=code,cap_amount&page=3&entities=US"
    response = keep(ana, address, "Month end: big ones")
    assert response["Location"] == "/contracts/?view=month-end-big-ones"
    assert "entities" not in SavedView.objects.get().query
    text = page(ana, "/contracts/?view=month-end-big-ones")
    assert shown(text) == ["CAPPED"]
    assert heads(text) == ["Contract", "Cap", "Currency"]
    assert 'aria-sort="descending"' in text
    assert 'href="?tab=capped&amp;sort=-code&amp;columns=code%2Ccap_amount"' in text  # a filter taken off spells it out
    assert shown(page(ana, "/contracts/?view=month-end-big-ones&above=1")) == ["SMALL", "CAPPED"]


def test_a_list_opens_with_the_default_view_and_can_be_left(ana: Client, us: LegalEntity) -> None:
    contract("CAPPED", us)
    contract("OPEN", us, None)
    keep(ana, "/contracts/?tab=open", "Without", default="on")
    response = ana.get("/contracts/")
    assert (response.status_code, response["Location"]) == (302, "/contracts/?view=without")
    assert shown(page(ana, response["Location"])) == ["OPEN"]
    assert len(shown(page(ana, "/contracts/?view=none"))) == 2
    ana.post("/contracts/", {"views": "default:"})
    assert len(shown(page(ana))) == 2


def test_a_private_view_is_nobody_elses(ana: Client, us: LegalEntity) -> None:
    keep(ana, "/contracts/?tab=open", "Mine alone")
    other = Client()
    other.force_login(user("gil", GrantRole.CONTROLLER, us))
    assert "Mine alone" not in page(other) + page(other, "/contracts/?views=1")
    page(other, "/contracts/?view=mine-alone")  # as if it were not there
    assert other.post("/contracts/", {"views": "delete:mine-alone"}).status_code == 404
    assert SavedView.objects.count() == 1


def test_a_shared_view_is_seen_in_its_entity_and_nowhere_else(client: Client, us: LegalEntity) -> None:
    de = entity("DE", "EUR")
    contract("DE-1", de)
    signed_in(client, us, GrantRole.CONTROLLER)
    keep(client, "/contracts/?above=4711", "Close US", share="US")
    colleague, stranger = Client(), Client()
    colleague.force_login(user("cole", GrantRole.ANALYST, us))
    stranger.force_login(user("dora", GrantRole.CONTROLLER, de))
    assert "Close US" in page(colleague)
    assert "Above" in page(colleague, "/contracts/?view=close-us") or "4711" in page(
        colleague, "/contracts/?view=close-us"
    )
    text = page(stranger) + page(stranger, "/contracts/?views=1") + page(stranger, "/contracts/?view=close-us")
    assert "Close US" not in text
    assert "4711" not in text
    assert "DE-1" in page(stranger, "/contracts/?view=close-us")  # their own rows, and the view as if it were not there
    assert stranger.post("/contracts/", {"views": "delete:close-us"}).status_code == 404
    assert colleague.post("/contracts/", {"views": "delete:close-us"}).status_code == 403
    assert AuditEvent.objects.get(action="share-view").entity == us


def test_only_who_configures_an_entity_shares_in_it(ana: Client, us: LegalEntity) -> None:
    assert (
        keep(ana, "/contracts/?tab=open", "For all", share="US").status_code == 303
    )  # without a right there is no choice
    assert SavedView.objects.get().is_shared is False
    de = entity("DE", "EUR")
    EntityGrant.objects.create(
        user=User.objects.get(username="ana"), entity=de, role=GrantRole.ADMIN, valid_from="2020-01-01"
    )
    assert keep(ana, "/contracts/", "Elsewhere", share="US").status_code == 422
    assert keep(ana, "/contracts/", "Everywhere", share="everybody").status_code == 422
    assert keep(ana, "/contracts/", "There", share="DE").status_code == 303


@pytest.mark.parametrize("name", ["", "   ", "…", "x" * 61])
def test_a_view_needs_a_name_that_can_stand_in_an_address(ana: Client, name: str) -> None:
    assert keep(ana, "/contracts/", name).status_code == 422
    assert not SavedView.objects.exists()


@pytest.mark.parametrize(
    "query", ["%", "sort=" + "a" * 1900, "tab[]=1&page=%00", "columns=%00&size=-1&above=NaN", "view=self"]
)
def test_a_view_whose_state_is_nonsense_shows_a_list_all_the_same(ana: Client, us: LegalEntity, query: str) -> None:
    contract("US-1", us)
    SavedView.objects.create(
        screen="contracts", owner=User.objects.get(username="ana"), slug="odd", name="Odd", query=query
    )
    assert "Contracts" in page(ana, "/contracts/?view=odd")


def test_two_shared_views_of_one_name_are_told_apart(ana: Client, us: LegalEntity) -> None:
    contract("CAPPED", us)
    contract("OPEN", us, None)
    for name, tab in (("bea", "open"), ("cal", "capped")):
        SavedView.objects.create(
            screen="contracts", owner=user(name, GrantRole.CONTROLLER, us), slug="same", name="Same", query=f"tab={tab}",
            is_shared=True, entity=us,
        )  # fmt: skip
    second = SavedView.objects.get(owner__username="cal")
    assert shown(page(ana, "/contracts/?view=same")) == ["OPEN"]
    assert shown(page(ana, f"/contracts/?view=same.{second.pk}")) == ["CAPPED"]


# Pages beyond the numbered ones


@pytest.mark.parametrize("sort", ["", "code", "-cap_amount", "cap_amount", "-entity"])
def test_pages_go_on_beyond_the_numbered_ones_and_back_again(
    ana: Client, us: LegalEntity, monkeypatch: pytest.MonkeyPatch, sort: str
) -> None:
    monkeypatch.setattr(paging, "FARTHEST_ROW", 50)
    monkeypatch.setattr("portal.screens.leaf.FARTHEST_ROW", 50)
    for number in range(130):
        contract(f"C-{number:03}", us, None if number % 7 == 0 else str(number % 5))
    whole = shown_all(ana, sort)
    seen, address, ways = [], f"/contracts/?size=25&sort={sort}", []
    while address:
        text = page(ana, address)
        seen += shown(text)
        ways.append(address)
        found = re.search(r'id="page-next" href="([^"]+)"', text)
        address = "/contracts/" + found[1].replace("&amp;", "&") if found else ""
    assert seen == whole
    assert "126–130</b> of 130" in text  # noqa: RUF001
    back: list[str] = []
    address = ways[-1]
    while address:
        text = page(ana, address)
        back = shown(text) + back
        found = re.search(r'id="page-previous" href="([^"]+)"', text)
        address = "/contracts/" + found[1].replace("&amp;", "&") if found else ""
    assert back == whole


def shown_all(client: Client, sort: str) -> list[str]:
    lines = exported(client, f"/contracts/?export=csv&sort={sort}").decode().splitlines()
    return [line.split(",")[0] for line in lines if line.startswith("C-")]


@pytest.mark.parametrize("place", ["nonsense", "eyJhIjoxfQ:1:2", "", "." * 3000])
def test_a_place_that_is_none_of_ours_is_the_first_page(ana: Client, us: LegalEntity, place: str) -> None:
    contract("US-1", us)
    assert shown(page(ana, f"/contracts/?after={place}")) == ["US-1"]


# Cost


def test_views_and_columns_cost_a_fixed_number_of_queries(ana: Client, us: LegalEntity) -> None:
    def asked(address: str) -> int:
        page(ana, address)
        with CaptureQueriesContext(connection) as counted:
            page(ana, address)
        return len(counted)

    contract("US-1", us)
    keep(ana, "/contracts/?tab=capped", "One")
    few = asked("/contracts/?view=one")
    for number in range(30):
        contract(f"C-{number}", us)
        keep(ana, "/contracts/?tab=capped", f"View {number}")
    assert asked("/contracts/?view=one") == few
