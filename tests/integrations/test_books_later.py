"""A target that takes now and books later: accepted until it is booked, and every lamp says so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from integrations import abilities, outbox, registry, timing
from integrations.errors import InDoubt
from integrations.outbox import proof
from integrations.protocol import Capabilities
from portal.models import AttemptLine, Connection, GrantRole, LedgerState, ReadBack
from reconciliation.models import ExceptionCase
from tests import world
from tests.integrations import outbound
from tests.integrations.memory_target import BOOKS, Books, altered, fails
from tests.invariants import assert_all_hold

pytestmark = pytest.mark.django_db

HOUR = 3600.0


@pytest.fixture(autouse=True)
def _memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.CONNECTORS, "memory", "tests.integrations.memory_target.MemoryTarget")


@pytest.fixture
def erp() -> Connection:
    return outbound.target(books_within=HOUR)


@pytest.fixture
def books(erp: Connection) -> Books:
    found = BOOKS[erp.code]
    found.alter = altered(is_booked=False)
    return found


@pytest.fixture
def source(erp: Connection) -> Connection:
    return outbound.firm(erp)


def look(erp: Connection, *entries: int) -> None:
    """The next look at the target."""
    outbound.make_due(entries)
    outbox.read_back(erp.pk)


def page(client: Client, source: Connection, entry: int) -> str:
    """The proof on the page of an entry, as a person of the entity sees it."""
    if "_auth_user_id" not in client.session:
        client.force_login(world.user("ana", GrantRole.ANALYST, source.entity))
    whole = client.get(reverse("entry", args=[entry])).content.decode()
    return whole.split('<ol class="lamps upright">')[1].split("</ol>")[0]


def test_what_is_taken_stays_accepted_until_it_is_booked_and_is_posted_then(
    source: Connection, erp: Connection, books: Books, client: Client
) -> None:
    [entry] = outbound.entries(source)
    outbox.deliver(erp.pk)
    look(erp, entry)
    assert outbound.state_of(entry).state == "accepted"
    assert set(AttemptLine.objects.filter(attempt__purpose="read_back").values_list("outcome", flat=True)) == {
        "unbooked"
    }
    assert not ReadBack.objects.exists(), "nothing was compared"
    assert not ExceptionCase.objects.exists(), "its time is not over"
    shown = page(client, source, entry)
    assert shown.count('class="lamp lit"') == 2
    assert "Not booked yet" in shown
    assert "taken by Erp, which books within 1 h; last looked at" in shown

    books.alter = None
    look(erp, entry)
    assert outbound.state_of(entry).state == "posted"
    assert len(books.pushes) == 1
    assert "Not booked" not in page(client, source, entry)
    assert_all_hold()


@pytest.mark.case(63)
def test_what_is_not_booked_in_time_is_one_cause_that_ends_by_itself(
    source: Connection, erp: Connection, books: Books, client: Client
) -> None:
    ids = outbound.entries(source, 3)
    outbox.deliver(erp.pk)
    books.capabilities = replace(books.capabilities, books_within=0.0)
    look(erp, *ids)
    case = ExceptionCase.objects.get()
    assert (case.rule, case.open_holds) == ("not-booked", 3)
    assert "Not booked" in page(client, source, ids[0])
    assert 'class="lamp broken"' in page(client, source, ids[1])
    books.alter = None
    look(erp, *ids)
    case.refresh_from_db()
    assert case.state == "resolved"
    assert set(outbound.states(ids).values()) == {"posted"}


def test_what_the_target_says_stands_against_it_is_a_cause_at_once_in_its_own_words(
    source: Connection, erp: Connection, books: Books, client: Client
) -> None:
    [entry] = outbound.entries(source)
    books.alter = altered(is_booked=False, waits="Fiscal period 2026-10 is on hold.")
    outbox.deliver(erp.pk)
    case = ExceptionCase.objects.get()
    assert case.rule == "not-booked"
    assert "Fiscal period 2026-10 is on hold." in case.sentence
    assert "Fiscal period 2026-10 is on hold; last looked at" in page(client, source, entry)


@pytest.mark.case(57)
def test_a_lost_answer_about_something_taken_and_unbooked_is_adopted_and_not_sent_again(
    source: Connection, erp: Connection, books: Books
) -> None:
    [entry] = outbound.entries(source)
    books.faults.append(fails(InDoubt("no answer"), booked=True))
    outbox.deliver(erp.pk)
    outbound.make_due([entry])
    outbox.settle_doubts(erp.pk)
    look(erp, entry)
    assert outbound.state_of(entry).state == "accepted"
    assert len(books.pushes) == 1


def test_other_figures_once_it_is_booked_are_a_difference_and_nothing_else(
    source: Connection, erp: Connection, books: Books
) -> None:
    ids = outbound.entries(source)
    books.capabilities = replace(books.capabilities, books_within=0.0)
    outbox.deliver(erp.pk)
    books.alter = altered(hours=outbound.record(source, 0).hours + 1)
    look(erp, *ids)
    assert list(ExceptionCase.objects.filter(state="open").values_list("rule", flat=True)) == ["divergent-read-back"]
    assert set(outbound.states(ids).values()) == {"accepted"}


def test_what_was_booked_and_is_unbooked_again_is_no_longer_equal(
    source: Connection, erp: Connection, books: Books, settings: Any
) -> None:
    settings.TIME_SCALE = 0.0
    ids = outbound.entries(source)
    books.alter = None
    outbox.deliver(erp.pk)
    books.alter = altered(is_booked=False)
    outbox.read_back(erp.pk, again=True)
    assert ReadBack.objects.latest("pk").differences == {"booked": ["yes", "no"]}
    assert ExceptionCase.objects.get().rule == "divergent-read-back"
    assert set(LedgerState.objects.filter(entry__in=ids).values_list("state", flat=True)) == {"posted"}


def test_it_is_looked_at_several_times_within_its_time_and_the_connection_says_that_it_books_later(
    erp: Connection, books: Books
) -> None:
    assert proof._read_back_every(books.capabilities) == HOUR / 6
    assert proof._read_back_every(Capabilities()) == timing.READ_BACK_EVERY
    erp.is_target = True
    assert any("It books later" in sentence for sentence in abilities.cannot(erp))
