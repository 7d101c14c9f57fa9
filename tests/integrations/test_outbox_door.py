"""A closed door stops everything and burns nothing; when it opens, what waited goes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from integrations import breaker, outbox, registry
from integrations.errors import InDoubt, Unavailable
from integrations.models import Breaker, MaintenanceWindow
from portal import sql
from portal.models import Connection, LedgerState, LegalEntity
from reconciliation import corrections, validation
from reconciliation.models import ExceptionCase
from tests import world
from tests.integrations import outbound
from tests.integrations.memory_target import BOOKS, Books, fails

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.CONNECTORS, "memory", "tests.integrations.memory_target.MemoryTarget")


@pytest.fixture
def erp() -> Connection:
    return outbound.target(batch_size=1)


@pytest.fixture
def source(erp: Connection) -> Connection:
    return outbound.firm(erp)


@pytest.fixture
def books(erp: Connection) -> Books:
    return BOOKS[erp.code]


def _waits(ids: list[int]) -> set[tuple[str, str, int]]:
    return set(LedgerState.objects.filter(entry__in=ids).values_list("state", "waits_on", "attempts"))


def test_in_a_maintenance_window_nothing_is_sent_and_everything_waits_for_its_end(
    source: Connection, erp: Connection, books: Books
) -> None:
    ids = outbound.entries(source, 3)
    window = MaintenanceWindow.objects.create(
        connection=erp,
        starts_at=sql.now() - timedelta(hours=1),
        ends_at=sql.now() + timedelta(hours=1),
        reason="upgrade",
    )
    outbox.deliver(erp.pk)
    assert _waits(ids) == {("ready", "maintenance", 0)}
    assert (books.pushes, books.finds, books.checks) == ([], [], 0)
    queue = outbox.queue(erp)
    assert (queue.waiting, queue.door.until, queue.door.sentence) == (3, window.ends_at, "Maintenance window: upgrade.")
    window.ends_at = sql.now() - timedelta(minutes=1)
    window.save()
    outbox.deliver(erp.pk)
    assert set(outbound.states(ids).values()) == {"posted"}


def test_a_target_that_is_down_opens_the_breaker_and_a_good_probe_lets_everything_go(
    source: Connection, erp: Connection, books: Books
) -> None:
    ids = outbound.entries(source, 60)
    books.faults.extend([fails(Unavailable("down", status=503))] * 60)
    books.check_error = Unavailable("down", status=503)
    outbox.deliver(erp.pk)
    assert Breaker.objects.get().state == "open"
    sent = len(books.pushes)
    assert sent < 20
    outbound.make_due(ids)
    for _ in range(3):
        outbox.deliver(erp.pk)
    Breaker.objects.update(probe_at="2020-01-01T00:00:00Z")
    outbox.deliver(erp.pk)  # a probe that fails
    assert (len(books.pushes), books.checks) == (sent, 1)
    assert _waits(ids) == {("ready", "breaker", 0)}
    books.faults.clear()
    books.check_error = None
    Breaker.objects.update(probe_at="2020-01-01T00:00:00Z")
    outbox.deliver(erp.pk)
    assert set(outbound.states(ids).values()) == {"posted"}
    assert LedgerState.objects.filter(attempts__gt=1).count() == 0
    assert Breaker.objects.get().state == "closed"


def test_a_breaker_opened_by_hand_stays_open_until_a_person_closes_it(
    source: Connection, erp: Connection, books: Books
) -> None:
    ids = outbound.entries(source, 2)
    person = world.user("adam")
    breaker.open_by_hand(erp, person, "the ERP is being moved")
    outbox.deliver(erp.pk)
    assert _waits(ids) == {("ready", "breaker", 0)}
    assert books.checks == 0
    breaker.close_by_hand(erp, person, "moved")
    outbox.deliver(erp.pk)
    assert set(outbound.states(ids).values()) == {"posted"}


@pytest.mark.parametrize(
    ("change", "back", "event"),
    [
        ({"is_active": False}, {"is_active": True}, "connection"),
        ({"paused_at": "2026-10-01T00:00:00Z"}, {"paused_at": None}, "paused"),
    ],
)
def test_a_connection_that_is_off_or_paused_keeps_its_entries_waiting(
    source: Connection, erp: Connection, books: Books, change: dict[str, object], back: dict[str, object], event: str
) -> None:
    ids = outbound.entries(source, 2)
    Connection.objects.filter(pk=erp.pk).update(**change)
    outbox.deliver(erp.pk)
    assert _waits(ids) == {("ready", event, 0)}
    Connection.objects.filter(pk=erp.pk).update(**back)
    outbox.deliver(erp.pk)
    assert set(outbound.states(ids).values()) == {"posted"}


def test_a_doubt_that_a_closed_door_keeps_open_becomes_a_case_after_half_an_hour(
    source: Connection, erp: Connection, books: Books
) -> None:
    [entry] = outbound.entries(source, 1)
    books.faults.append(fails(InDoubt("connection reset"), booked=True))
    outbox.deliver(erp.pk)
    breaker.open_by_hand(erp, world.user("adam"), "the ERP is being moved")
    LedgerState.objects.filter(entry=entry).update(moved_at=sql.now() - timedelta(minutes=31))
    outbox.recover()
    assert ExceptionCase.objects.get().rule == "in-doubt-too-long"
    assert (outbound.state_of(entry).state, books.finds) == ("in_doubt", [])


@pytest.mark.case(67)
def test_a_credential_that_is_not_there_is_one_case_and_no_call(
    source: Connection, erp: Connection, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = outbound.entries(source, 2)
    Connection.objects.filter(pk=erp.pk).update(credentials={"token": {"env": "ERP_TOKEN_OF_THIS_TEST"}})
    outbox.deliver(erp.pk)
    assert _waits(ids) == {("ready", "unauthorised", 0)}
    monkeypatch.setenv("ERP_TOKEN_OF_THIS_TEST", "a token")
    Breaker.objects.update(probe_at="2020-01-01T00:00:00Z")
    outbox.deliver(erp.pk)
    assert set(outbound.states(ids).values()) == {"posted"}


def test_the_queue_tells_how_fast_it_goes_and_when_it_will_be_through(
    source: Connection, erp: Connection, books: Books
) -> None:
    outbound.entries(source, 30)
    outbox.deliver(erp.pk, limit=20)
    queue = outbox.queue(erp)
    assert (queue.due, queue.per_minute) == (10, 20)
    assert queue.done_at is not None
    assert timedelta(seconds=20) < queue.done_at - sql.now() < timedelta(seconds=60)


def _owned(erp: Connection, owner: LegalEntity | None) -> None:
    erp.entity = owner
    erp.save()


@pytest.mark.case(111)
def test_what_would_go_into_the_books_of_another_entity_is_not_sent_and_says_so(
    source: Connection, erp: Connection, books: Books
) -> None:
    ids = outbound.entries(source, 3)
    _owned(erp, world.entity("GB", "GBP"))
    outbox.deliver(erp.pk)
    assert (set(outbound.states(ids).values()), books.pushes) == ({"held"}, [])
    cause = ExceptionCase.objects.get(rule="target-wrong-entity")
    assert (cause.holds.count(), "books of GB" in cause.sentence) == (3, True)
    _owned(erp, source.entity)
    validation.recheck(ids, actor="test", reason="the owner was mended")
    outbox.deliver(erp.pk)
    assert set(outbound.states(ids).values()) == {"posted"}


@pytest.mark.case(111)
def test_a_reversal_does_not_go_into_books_that_became_another_entitys_and_goes_once_they_are_given_back(
    source: Connection, erp: Connection, books: Books
) -> None:
    [entry] = outbound.entries(source)
    outbox.deliver(erp.pk)
    user = world.user("fin", owner=source.entity)
    reversal = corrections.reverse([entry], by=user, reason="wrong project").reversals[entry]
    _owned(erp, world.entity("GB", "GBP"))
    outbox.deliver(erp.pk)
    assert (outbound.state_of(reversal).state, len(books.pushes)) == ("held", 1)
    cause = ExceptionCase.objects.get(rule="books-of-another-entity")
    assert "keeps the books of GB" in cause.holds.get().sentence
    _owned(erp, source.entity)
    corrections.repost([reversal], by=user, reason="given back")
    outbox.deliver(erp.pk)
    assert outbound.state_of(reversal).state == "posted"
    assert outbound.state_of(entry).state == "reversed"


@pytest.mark.case(111)
def test_one_companys_books_that_entities_share_take_what_says_whose_it_is_and_nothing_else() -> None:
    erp = outbound.target(batch_size=1, one_company=True)
    alone = outbound.entries(outbound.firm(erp, "US"), 2)
    outbox.deliver(erp.pk)
    assert set(outbound.states(alone).values()) == {"posted"}, "of one entity alone nobody asks"
    second = outbound.firm(erp, "GB")
    ids = outbound.entries(second, 2)
    outbox.deliver(erp.pk)
    assert set(outbound.states(ids).values()) == {"held"}
    cause = ExceptionCase.objects.get(rule="books-of-another-entity")
    assert {"does not say whose work it is" in hold.sentence for hold in cause.holds.all()} == {True}
    known = outbound.firm(outbound.target("other", one_company=True), "DE", {"entity": "C1", "resource": "7"})
    outbound.firm(Connection.objects.get(code="other"), "FR", {"entity": "C2", "resource": "8"})
    told = outbound.entries(known)
    outbox.deliver(Connection.objects.get(code="other").pk)
    assert set(outbound.states(told).values()) == {"posted"}
