"""List screens: what a person sees, how the address says it, and how much it costs."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import pytest
from django.test import Client
from python_calamine import CalamineWorkbook

from portal import keys
from portal.models import Contract, Customer, GrantRole, LegalEntity
from tests.world import entity, user

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.portal.screens_site")]


@pytest.fixture
def us() -> LegalEntity:
    return entity("US", "USD")


@pytest.fixture
def de() -> LegalEntity:
    return entity("DE", "EUR")


def contract(code: str, owner: LegalEntity, cap: str | None = "1000", **more: Any) -> Contract:
    customer, _ = Customer.objects.get_or_create(code="ACME", defaults={"name": "Acme", "currency": "USD"})
    return Contract.objects.create(
        code=code,
        name=more.pop("name", code.title()),
        customer=customer,
        entity=owner,
        currency=owner.currency,
        cap_amount=None if cap is None else Decimal(cap),
        **more,
    )


def signed_in(client: Client, owner: LegalEntity | None = None, role: str = GrantRole.ANALYST, **more: Any) -> Client:
    client.force_login(user("ana", role, owner, **more))
    return client


def exported(client: Client, address: str) -> bytes:
    response: Any = client.get(address)
    return b"".join(response.streaming_content)


def page(client: Client, address: str = "/contracts/", **more: Any) -> str:
    response = client.get(address, **more)
    assert response.status_code == 200
    return response.content.decode()


def test_a_stranger_is_sent_to_sign_in(client: Client) -> None:
    response = client.get("/contracts/")
    assert response.status_code == 302
    assert response["Location"] == "/accounts/login/?next=/contracts/"


def test_somebody_without_any_role_is_refused_with_a_page_that_says_whom_to_ask(client: Client) -> None:
    response = signed_in(client).get("/contracts/")
    assert response.status_code == 403
    assert "An admin or a controller of the entity can grant it" in response.content.decode()


def test_a_screen_for_controllers_refuses_an_analyst_and_names_the_role(client: Client, us: LegalEntity) -> None:
    response = signed_in(client, us).get("/controllers/")
    assert response.status_code == 403
    assert "This page is for: controller." in response.content.decode()


def test_rows_counts_totals_and_tabs_leak_nothing_of_another_entity(
    client: Client, us: LegalEntity, de: LegalEntity
) -> None:
    contract("US-1", us)
    contract("DE-1", de, "77777")
    text = page(signed_in(client, us))
    assert "US-1" in text
    assert "DE-1" not in text
    assert "77,777" not in text
    assert "1,000.00" in text
    assert '<span class="badge" id="count-all">1</span>' in text


def test_the_entities_chosen_in_the_session_or_in_the_address_narrow_the_list(
    client: Client, us: LegalEntity, de: LegalEntity
) -> None:
    contract("US-1", us)
    contract("DE-1", de)
    signed_in(client, everywhere=True)
    client.post("/entities/", {"entity": ["US"], "next": "/contracts/"})
    assert "DE-1" not in page(client)
    text = page(client, "/contracts/?entities=DE")
    assert "DE-1" in text
    assert "US-1" not in text


def test_an_entity_without_a_grant_cannot_be_chosen(client: Client, us: LegalEntity, de: LegalEntity) -> None:
    contract("US-1", us)
    contract("DE-1", de)
    signed_in(client, us)
    client.post("/entities/", {"entity": ["DE"], "next": "/contracts/"})
    for address in ("/contracts/", "/contracts/?entities=DE"):
        assert "DE-1" not in page(client, address)


def test_amounts_of_two_currencies_are_never_added_up(client: Client, us: LegalEntity, de: LegalEntity) -> None:
    contract("US-1", us, "1000")
    contract("DE-1", de, "2000")
    text = page(signed_in(client, everywhere=True))
    assert "3,000" not in text
    assert "<span>2,000.00 EUR</span><span>1,000.00 USD</span>" in text
    assert "<tfoot>" not in text


def test_totals_are_over_the_filter_and_not_over_the_page(client: Client, us: LegalEntity) -> None:
    for number in range(30):
        contract(f"C-{number:02}", us, "100")
    text = page(signed_in(client, us))
    assert "25</b> of 30" in text
    assert '<td class="num strong">3,000.00</td>' in text


def test_a_filter_that_cannot_be_read_shows_no_rows_and_says_so(client: Client, us: LegalEntity) -> None:
    contract("US-1", us)
    text = page(signed_in(client, us), "/contracts/?above=plenty")
    assert "US-1" not in text
    assert "No row matches this filter" in text
    assert "Cap above: not understood" in text


def test_a_filter_is_a_chip_that_a_link_takes_off_and_keeps_the_rest(client: Client, us: LegalEntity) -> None:
    contract("US-1", us)
    text = page(signed_in(client, us), "/contracts/?above=10&billing_model=fixed_fee&sort=-code&tab=capped")
    assert "Cap above: <b>10</b>" in text
    assert "Billing: <b>Fixed fee</b>" in text
    assert 'href="?billing_model=fixed_fee&amp;sort=-code&amp;tab=capped"' in text
    assert 'href="?sort=-code&amp;tab=capped"' in text  # clear all keeps order and tab


def test_an_empty_list_says_what_to_do_next(client: Client, us: LegalEntity) -> None:
    text = page(signed_in(client, us))
    assert "No contract yet" in text
    assert "Import master data first." in text


def test_a_tab_narrows_and_an_unknown_one_is_the_first(client: Client, us: LegalEntity) -> None:
    contract("CAPPED", us)
    contract("OPEN", us, None)
    signed_in(client, us)
    assert "CAPPED" not in page(client, "/contracts/?tab=open")
    text = page(client, "/contracts/?tab=nonsense")
    assert "CAPPED" in text
    assert "OPEN" in text


@pytest.mark.parametrize("number", ["0", "-3", "999999", "two", "", "1e9", "²"])
def test_a_page_that_does_not_exist_is_the_nearest_one(client: Client, us: LegalEntity, number: str) -> None:
    contract("US-1", us)
    assert "US-1" in page(signed_in(client, us), f"/contracts/?page={number}")


@pytest.mark.parametrize("text", ["²", "٣", "9" * 5000, "-1", "1e9", ""])
def test_what_only_looks_like_a_number_is_no_error(client: Client, us: LegalEntity, text: str) -> None:
    contract("US-1", us)
    assert "US-1" in page(signed_in(client, us), f"/contracts/?size={text}")
    assert client.post("/contracts/", {"action": "none", "selected": text}).status_code == 400
    assert keys.keys([text, "7"]) == [7]


def test_the_order_of_the_address_is_kept_and_shown(client: Client, us: LegalEntity) -> None:
    contract("A", us, "1")
    contract("B", us, "2")
    text = page(signed_in(client, us), "/contracts/?sort=-cap_amount")
    assert text.index("/contracts/" + str(Contract.objects.get(code="B").pk)) < text.index(
        "/contracts/" + str(Contract.objects.get(code="A").pk)
    )
    assert 'aria-sort="descending"' in text


@pytest.mark.parametrize("order", ["entity__grants__user__password", "-pk; drop table", "customer", "currency"])
def test_only_columns_meant_for_it_can_order(client: Client, us: LegalEntity, order: str) -> None:
    contract("US-1", us)
    text = page(signed_in(client, us), f"/contracts/?sort={order}")
    assert "aria-sort" not in text


def test_htmx_gets_only_the_results_and_everybody_else_the_page(client: Client, us: LegalEntity) -> None:
    contract("US-1", us)
    signed_in(client, us)
    part = page(client, headers={"HX-Request": "true", "HX-Target": "results"})
    assert part.lstrip().startswith('<div id="results"')
    assert "<html" not in part
    assert "<html" in page(client)
    restored = {"HX-Request": "true", "HX-Target": "results", "HX-History-Restore-Request": "true"}
    assert "<html" in page(client, headers=restored)


def test_a_list_costs_the_same_statements_for_one_row_and_for_many(
    client: Client, us: LegalEntity, django_assert_num_queries: Any, django_assert_max_num_queries: Any
) -> None:
    signed_in(client, us)
    contract("FIRST", us)
    page(client)
    with django_assert_max_num_queries(20) as counted:  # ten of the list, the others of the navigation's badges
        page(client)
    for number in range(40):
        contract(f"C-{number:02}", us)
    with django_assert_num_queries(len(counted)):
        page(client)


def test_markup_in_the_data_is_shown_and_never_run(client: Client, us: LegalEntity) -> None:
    contract("<script>alert(1)</script>", us, name='"><img src=x onerror=alert(1)>')
    text = page(signed_in(client, us))
    assert "<script>alert(1)" not in text
    assert "<img src=x" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


class Strict(HTMLParser):
    """Collects what the content security policy would refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "style" or (tag == "script" and not named.get("src")):
            self.refused.append(f"<{tag}>")
        self.refused += [name for name in named if name == "style" or name.startswith(("on", "hx-on"))]


@pytest.mark.parametrize("address", ["/contracts/", "/styleguide/", "/settings/keyboard/", "/accounts/login/"])
def test_no_page_holds_an_inline_style_or_script(client: Client, us: LegalEntity, address: str) -> None:
    contract("US-1", us)
    if "login" not in address:
        signed_in(client, us)
    parser = Strict()
    parser.feed(page(client, address))
    assert parser.refused == []


FORMULAS = ["=1+1", "+1", "-1+2", "@SUM(A1)", "\t=1", "  =1+1", "＝1"]  # noqa: RUF001


@pytest.mark.parametrize("canary", FORMULAS)
def test_an_export_holds_no_formula_and_keeps_figures_as_figures(client: Client, us: LegalEntity, canary: str) -> None:
    contract(canary, us, "-12.5")
    signed_in(client, us)
    lines = list(csv.reader(io.StringIO(exported(client, "/contracts/?export=csv").decode("utf-8-sig"))))
    row = lines[-1]
    assert row[0] == f"'{canary}"
    assert Decimal(row[2]) == Decimal("-12.5")
    book = exported(client, "/contracts/?export=xlsx")
    sheet = CalamineWorkbook.from_filelike(io.BytesIO(book)).get_sheet_by_index(0)
    last = sheet.to_python()[-1]
    assert last[0] == canary  # a string cell: shown, never run
    assert last[2] == -12.5


def test_an_export_is_the_filter_with_every_row_and_says_so(client: Client, us: LegalEntity, de: LegalEntity) -> None:
    for number in range(60):
        contract(f"C-{number:02}", us, "100")
    contract("SMALL", us, "1")
    contract("DE-1", de)
    signed_in(client, us)
    response: Any = client.get("/contracts/?export=csv&above=50&page=2")
    text = b"".join(response.streaming_content).decode("utf-8-sig")
    assert 'filename="contracts-' in response["Content-Disposition"]
    lines = list(csv.reader(io.StringIO(text)))
    assert lines[1] == ["Filter", "All; Cap above: 50; Entities: US"]
    assert lines[2] == ["Exported by", "ana"]
    assert lines[4] == ["Rows", "60"]
    assert lines[5] == ["Total cap amount", "6000.00", "USD"]
    assert lines[7] == ["Contract", "Entity", "Cap", "Currency"]
    assert len(lines) == 8 + 60
    assert "SMALL" not in text
    assert "DE-1" not in text
