"""The queue of causes: its order, columns, facets, tiles, totals, and what it says without moving a row."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from integrations.models import Stream
from portal.models import AccountingPeriod, Connection, Customer, EntityGrant, GrantRole, LedgerEntry, Project, User
from portal.screens import live
from reconciliation import cases, cash, schedules, triage
from reconciliation.models import CaseReach, CaseTotal, ExceptionCase, Hold
from reconciliation.views.queue import FACETS
from tests import world
from tests.reconciliation import desk
from tests.reconciliation.firm import Firm, build, case

pytestmark = pytest.mark.django_db
QUEUE = "/exceptions/"


@pytest.fixture
def firm() -> Firm:
    """The firm."""
    made = build()
    desk.near(made)
    return made


@pytest.fixture
def fay(client: Client, firm: Firm) -> Client:
    """A browser in which a finance analyst of the firm is signed in."""
    client.force_login(desk.analyst(firm))
    return client


def page(client: Client, address: str = QUEUE, **more: Any) -> str:
    response = client.get(address, **more)
    assert response.status_code == 200, response.content[:400]
    return response.content.decode()


def rows(text: str) -> list[int]:
    """The causes of a page, in order."""
    return [int(key) for key in re.findall(r'<tr[^>]* data-key="(\d+)"', text)]


def values(client: Client, facet: str, more: str = "") -> dict[str, int]:
    """The values of a facet with their counts, as the menu gets them."""
    text = page(client, f"{QUEUE}?facet={facet}{more}", headers={"hx-request": "true"})
    found = re.findall(r'value="([^"]*)"[^>]*> <span>[^<]*</span> <span class="badge">([\d,]+)</span>', text)
    return {value: int(count) for value, count in found}


def elsewhere() -> ExceptionCase:
    """A cause of another entity, with a customer, a project and a manager of its own."""
    entity = world.entity("GB", "GBP")
    customer = Customer.objects.create(code="SECRET", name="Secret plc", currency="GBP", entity=entity)
    boss = User.objects.create_user("secret-boss")
    project = Project.objects.create(code="SEC-1", name="Secret", entity=entity, customer=customer, manager=boss)
    source = Connection.objects.create(code="secret-src", name="Secret source", connector="fake", entity=entity)
    found = ExceptionCase.objects.create(
        rule="period-closed", entity=entity, subject_type="period", subject_key="1", sentence="Secret period is closed.",
        connection=source, opened_at=timezone.now(), seen_at=timezone.now(), owner=boss, tags=["secret-tag"], open_holds=7,
        open_hours=70, held_currency="GBP", held_amount=777_777, cash_at_risk=9_999_999,
        compared_in="GBP", compared_amount=777_777, compared_risk=9_999_999, oldest_work_date="2020-01-01",
        newest_work_date="2020-01-01",
    )  # fmt: skip
    CaseTotal.objects.create(case=found, currency="GBP", holds=7, amount=777_777)
    CaseReach.objects.create(
        case=found, project=project, customer=customer, currency="GBP", holds=7, hours=70, amount=777_777, estimate=0,
        billable=777_777,
    )  # fmt: skip
    return found


# The order


def test_the_most_cash_at_risk_comes_first_and_not_the_most_money(fay: Client, firm: Firm) -> None:
    desk.off_rate(firm, 3)  # 2,880 for Acme
    desk.periods_closed(firm, 2)
    weekly, monthly = case("rate-mismatch"), case("period-closed")
    assert monthly.held_amount < weekly.held_amount
    firm.customer.invoice_schedule, firm.customer.invoice_day = "weekly", 5
    firm.customer.save()
    slow = Customer.objects.create(
        code="SLOW", name="Slow", currency="USD", invoice_schedule="monthly", invoice_day=1, payment_terms_days=90
    )
    CaseReach.objects.filter(case=monthly).update(customer=slow, contract=None)
    cash.weigh([weekly.pk, monthly.pk])
    assert rows(page(fay)) == [monthly.pk, weekly.pk]
    assert "By cash at risk: amount times the days its invoice would come later." in page(fay)


def test_currencies_are_ordered_each_by_itself_and_the_page_says_so(client: Client, firm: Firm) -> None:
    desk.off_rate(firm, 1)
    other = elsewhere()
    client.force_login(world.user("everybody", GrantRole.ANALYST, everywhere=True))
    text = page(client)
    assert rows(text) == [other.pk, case("rate-mismatch").pk]
    assert "each currency by itself, as no group currency is set." in text


def test_a_cause_names_the_next_invoice_that_it_blocks_and_an_unknown_one_as_unknown(fay: Client, firm: Firm) -> None:
    desk.off_rate(firm, 1)
    assert re.search(r'<span class="quiet">unknown</span><small>Acme Inc.</small>', page(fay))
    firm.customer.invoice_schedule, firm.customer.invoice_day = "monthly", 31
    firm.customer.save()
    runs = schedules.Terms("monthly", 31).runs(timezone.localdate())
    assert runs is not None
    assert f"{runs[0]:%d %b}".lstrip("0") + "<small>Acme Inc.</small>" in page(fay)


# Filters and facets


def test_facets_count_what_the_other_filters_leave(fay: Client, firm: Firm) -> None:
    desk.off_rate(firm, 2)
    desk.mistyped(firm, 1)
    desk.mistyped(firm, 1, start=1500, code="GONE")
    assert values(fay, "rule") == {"project-unknown": 2, "rate-mismatch": 1}
    assert values(fay, "rule", "&customer=ACME&rule=project-unknown") == {"project-unknown": 0, "rate-mismatch": 1}
    assert values(fay, "customer") == {"ACME": 1}
    assert values(fay, "project") == {"ACM-1": 1}
    assert values(fay, "entity") == {"US": 3}
    assert values(fay, "currency") == {"USD": 3}


def test_each_filter_finds_its_causes(fay: Client, firm: Firm) -> None:
    desk.off_rate(firm, 2)
    desk.mistyped(firm, 1)
    rate, code = case("rate-mismatch"), case("project-unknown")
    ExceptionCase.objects.filter(pk=rate.pk).update(tags=["month-end"], owner=User.objects.get(username="fay"))
    manager = world.user("pm", GrantRole.PROJECT_MANAGER, firm.entity)
    Project.objects.filter(pk=firm.project.pk).update(manager=manager)
    both = {rate.pk, code.pk}
    for query, expected in (
        ("rule=rate-mismatch", {rate.pk}), ("rule=rate-mismatch&rule=project-unknown", both), ("entity=US", both),
        ("entity=GB", set()), ("connection=harvest-us", both),
        ("connection=erp", set()), ("owner=fay", {rate.pk}), ("tag=month-end", {rate.pk}),
        ("project=ACM-1", {rate.pk}), ("customer=ACME", {rate.pk}), ("manager=pm", {rate.pk}), ("currency=USD", both),
        ("amount_from=1000", {rate.pk}), ("amount_to=1000", {code.pk}), ("worked_from=2026-10-02", {rate.pk}),
        ("worked_to=2026-09-30", set()), ("age=7", both),
        ("suggestion=yes", {rate.pk}), ("suggestion=no", {code.pk}), ("others=1", set()), ("text=ACM-2231", {code.pk}),
    ):  # fmt: skip
        assert set(rows(page(fay, f"{QUEUE}?{query}"))) == expected, query


def test_a_facet_is_a_page_of_its_own_without_scripts(fay: Client, firm: Firm) -> None:
    desk.off_rate(firm, 1)
    text = page(fay, f"{QUEUE}?facet=rule&sort=-amount&entity=US")
    assert "<h1>Filter by rule</h1>" in text
    assert '<input type="hidden" name="entity" value="US">' in text
    assert '<input type="hidden" name="sort" value="-amount">' in text


@pytest.mark.parametrize("name", list(FACETS))
def test_no_facet_tells_of_another_entity(fay: Client, firm: Firm, name: str) -> None:
    desk.off_rate(firm, 1)
    elsewhere()
    text = page(fay, f"{QUEUE}?facet={name}")
    for word in ("secret", "Secret", "SECRET", "SEC-1", "GBP"):
        assert word not in text, word


def test_no_count_total_or_tile_tells_of_another_entity(fay: Client, firm: Firm) -> None:
    desk.off_rate(firm, 2)
    elsewhere()
    text = page(fay)
    assert "777" not in text
    assert "Secret" not in text
    assert '<b class="figure">1,920.00</b>' in text
    assert 'id="count-open">1</span>' in text
    for query in (
        "customer=SECRET",
        "project=SEC-1",
        "manager=secret-boss",
        "tag=secret-tag",
        "entity=GB",
        "currency=GBP",
    ):
        assert rows(page(fay, f"{QUEUE}?{query}")) == [], query


@pytest.mark.parametrize(
    "query",
    ["facet=password", "rule=" + "x" * 400, "&".join(f"rule=r{n}" for n in range(60)), "age=999",
     "amount_from=NaN", "worked_from=yesterday", "sort=reach__project__manager__password", "news=abc",
     "news=99999999999999999999",
     "shown=1,2,x,,-4&news=1", "columns=password,detail", "view=../../etc", "after=zzz", "tag=%F0%9F%92%A9"],
)  # fmt: skip
def test_a_hostile_address_is_answered_with_a_page(fay: Client, firm: Firm, query: str) -> None:
    desk.off_rate(firm, 1)
    table = page(fay, f"{QUEUE}?{query}").partition("<tbody>")[2]
    assert "password" not in table.partition("</tbody>")[0]


# What the page says of the whole


def test_totals_are_of_the_filter_and_tiles_are_filters(fay: Client, firm: Firm) -> None:
    desk.off_rate(firm, 2)
    desk.periods_closed(firm, 1)
    text = page(fay, f"{QUEUE}?rule=rate-mismatch")
    assert "2 entries · 16.00 h" in text
    assert '<td class="num strong">1,920.00</td>' in text
    for words, query in (("Oldest", "sort=oldest"), ("New today", "opened_since="), ("Waiting on others", "others=1")):
        tile = text[text.index(f'<span class="label">{words}') :][:300]
        assert query in tile
    other = world.user("gil", GrantRole.ANALYST, firm.entity)
    ExceptionCase.objects.filter(rule="period-closed").update(owner=other)
    assert rows(page(fay, f"{QUEUE}?others=1")) == [case("period-closed").pk]
    assert "1 cause" in page(fay).split("Waiting on others")[1][:200]


def test_an_entry_under_two_causes_is_one_entry_and_its_money_is_there_once(fay: Client, firm: Firm) -> None:
    desk.off_rate(firm, 2)
    both = [firm.time(str(n), rate=Decimal("110.00"), work_date=date(2026, 8, n)) for n in (3, 4)]
    AccountingPeriod.objects.filter(entity=firm.entity, code="2026-08").update(state="closed")
    twice = list(firm.admit(*both).held)
    assert Hold.objects.filter(entry__in=twice, closed_at=None).count() == 4
    money = sum((entry.amount or 0 for entry in LedgerEntry.objects.filter(state_row__state="held")), Decimal(0))
    text = page(fay)
    assert "2 causes hold <b>4 entries</b>" in text
    assert f'<b class="figure">{money:,.2f}</b>' in text
    assert "each counted once, though some stand under several causes" in text
    assert "4 entries · 32.00 h" in text
    assert f'<td class="num strong">{money:,.2f}</td>' in text
    assert f"{money:,.2f}" in text.split("Open amount")[1][:300]
    one = page(fay, f"{QUEUE}?rule=period-closed")
    assert "2 entries · 16.00 h" in one  # a cause by itself holds what it holds
    ExceptionCase.objects.filter(rule="period-closed").update(aside=ExceptionCase.Aside.IGNORED)
    assert "each counted once" in page(fay)


def test_a_tile_counts_what_its_list_shows_and_what_is_set_aside_is_told_apart(fay: Client, firm: Firm) -> None:
    desk.off_rate(firm, 2)
    desk.periods_closed(firm, 1)
    ExceptionCase.objects.filter(rule="period-closed").update(aside=ExceptionCase.Aside.IGNORED)
    text = page(fay)
    assert "2 causes hold <b>3 entries</b>" in text
    assert "1 of them set aside" in text
    assert "1 cause" in text.split("New today")[1][:200]
    first = case("rate-mismatch").oldest_work_date
    assert first is not None
    oldest = (timezone.localdate() - first).days
    assert f"{oldest} days" in text.split("Oldest")[1][:200]


def test_who_may_not_fix_is_shown_the_way_out_and_led_nowhere(client: Client, firm: Firm) -> None:
    desk.off_rate(firm, 2)
    client.force_login(world.user("ann", GrantRole.AUDITOR, firm.entity))
    text = page(client)
    assert "Use the contract&#x27;s rate" in text
    assert "/fix/" not in text


def test_a_row_offers_each_way_out_that_has_a_key(fay: Client, firm: Firm) -> None:
    desk.off_rate(firm, 2)
    text, pk = page(fay), case("rate-mismatch").pk
    for keys, fix in (("fix", "use-contract-rate"), ("waive", "waive"), ("hand_back", "hand-back")):
        assert re.search(rf'/exceptions/{pk}/fix/{fix}/"[^>]*data-shortcut="{keys}"', text), keys


def test_a_colleague_is_seen_at_work_and_oneself_is_not(fay: Client, firm: Firm) -> None:
    desk.off_rate(firm, 2)
    for name in ("fay", "gil"):
        user = User.objects.filter(username=name).first() or world.user(name, GrantRole.ANALYST, firm.entity)
        triage.take_up(case("rate-mismatch").pk, by=user)
    text = page(fay)
    assert "gil is on it" in text
    assert "fay is on it" not in text


def test_a_source_that_was_not_read_for_long_is_named_with_the_age_of_its_data(fay: Client, firm: Firm) -> None:
    desk.off_rate(firm, 1)
    hidden = Connection.objects.create(
        code="s", name="Secret source", connector="fake", entity=world.entity("GB", "GBP")
    )
    for source in (firm.source, hidden):
        Stream.objects.create(
            connection=source, name="entries", every_seconds=300, succeeded_at=timezone.now() - timedelta(minutes=42)
        )
    text = page(fay)
    assert "Harvest-Us: data is 42 min old." in text
    assert "Secret source" not in text
    Stream.objects.update(succeeded_at=timezone.now())
    assert "data is" not in page(fay)


# Live


def test_a_poll_says_how_many_are_new_and_moves_no_row(fay: Client, firm: Firm) -> None:
    desk.off_rate(firm, 1)
    poll = re.search(r'id="news" hx-get="([^"]+)"', page(fay))
    assert poll
    address = QUEUE + poll[1].replace("&amp;", "&")
    assert "new" not in page(fay, address).split("<span")[0]
    desk.mistyped(firm, 2)
    text = page(fay, address)
    assert "<p>1 new</p>" in text
    assert '<span class="badge" id="count-open" hx-swap-oob="true">2</span>' in text
    assert rows(text) == []


def test_a_row_whose_figures_changed_is_drawn_again_in_its_place(fay: Client, firm: Firm) -> None:
    held = desk.off_rate(firm, 3)
    desk.periods_closed(firm, 1)
    since = live.stamp()
    cases.close_holds(held[:1], reason="done")
    shown = ",".join(str(pk) for pk in ExceptionCase.objects.values_list("pk", flat=True))
    text = page(fay, f"{QUEUE}?news={since}&shown={shown}")
    assert rows(text) == [case("rate-mismatch").pk]
    assert 'hx-swap-oob="true"' in text
    other = elsewhere()
    ExceptionCase.objects.filter(pk=other.pk).update(counted_at=timezone.now())
    assert rows(page(fay, f"{QUEUE}?news={since}&shown={other.pk}")) == []


# Columns and files


def test_what_is_chosen_is_what_is_seen_and_exported(fay: Client, firm: Firm) -> None:
    desk.off_rate(firm, 2)
    columns = "risk,sentence,projects,hours,state,seen,tags"
    text = page(fay, f"{QUEUE}?columns={columns}")
    head = re.sub(r"<[^>]+>", " ", text.split("<thead>")[1].split("</thead>")[0]).split()
    assert " ".join(head).endswith("Cash at risk Cause Projects Hours State Last seen Tags")
    response: Any = fay.get(f"{QUEUE}?columns={columns}&export=csv")
    lines = b"".join(response.streaming_content).decode().splitlines()
    assert "Cash at risk,Cause,Projects,Hours,State,Last seen,Tags" in lines
    found = case("rate-mismatch")
    assert lines[-1].startswith(f"{found.cash_at_risk:.2f},")
    assert ",1,16.00,open," in lines[-1]


# Cost


def asked(act: Callable[[], Any]) -> int:
    act()
    with CaptureQueriesContext(connection) as counted:
        assert act().status_code == 200
    return len(counted)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?facet=project",
        "?facet=rule&customer=ACME",
        "?customer=ACME&manager=x&tag=a",
        "?news=1&drawn=x&shown=1,2,3",
    ],
)
def test_list_facets_and_polls_ask_as_often_for_many_causes_as_for_few(fay: Client, firm: Firm, query: str) -> None:
    def furnish(count: int, start: int) -> None:
        desk.off_rate(firm, count, start=20_000 + start, rate=f"{100 + start % 17}.00")
        for number in range(count):
            desk.mistyped(firm, 2, start=30_000 + start + 2 * number, code=f"GONE-{start}-{number}")

    furnish(3, 1)
    few = asked(lambda: fay.get(QUEUE + query))
    furnish(20, 100)
    assert asked(lambda: fay.get(QUEUE + query)) <= few
    assert few <= 45


def test_the_page_of_a_cause_asks_as_often_for_many_entries_as_for_few(fay: Client, firm: Firm) -> None:
    desk.off_rate(firm, 3)
    address = reverse("cause", args=[case("rate-mismatch").pk])
    few = asked(lambda: fay.get(address))
    desk.off_rate(firm, 60, start=9000)
    assert asked(lambda: fay.get(address)) <= few


def test_grants_that_ended_show_nothing(fay: Client, firm: Firm) -> None:
    desk.off_rate(firm, 1)
    EntityGrant.objects.update(valid_to=timezone.localdate() - timedelta(days=1))
    assert fay.get(QUEUE).status_code == 403
    assert fay.get(f"{QUEUE}?facet=rule").status_code == 403
    assert fay.get(f"{QUEUE}?news=1").status_code == 403


def test_the_tile_of_money_says_apart_what_has_no_price_yet(fay: Client, firm: Firm) -> None:
    desk.off_rate(firm, 1)
    desk.mistyped(firm, 1)
    tile = page(fay).split("Open amount")[1].split("</li>")[0]
    assert "≈ 1,440.00" in tile
    assert '<span class="note">of it ≈ 480.00 USD unpriced</span>' in tile
