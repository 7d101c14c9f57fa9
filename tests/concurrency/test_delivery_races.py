"""Real threads on PostgreSQL: whoever comes second changes nothing, and the target sees each key once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import close_old_connections, connection, transaction

from integrations import outbox, registry, slots
from integrations.errors import Rejected
from integrations.outbox import claim, settle
from integrations.outbox.crew import Answer, make
from portal import ledger
from portal.models import AttemptLine, Connection, LedgerEntry, LedgerState, LedgerTransition
from portal.records import SourceStatus
from tests.integrations import outbound
from tests.integrations.memory_target import BOOKS, Books
from tests.invariants import assert_all_hold

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.CONNECTORS, "memory", "tests.integrations.memory_target.MemoryTarget")


@pytest.fixture
def erp() -> Connection:
    return outbound.target(batch_size=5, concurrency=4)


@pytest.fixture
def source(erp: Connection) -> Connection:
    return outbound.firm(erp)


@pytest.fixture
def books(erp: Connection) -> Books:
    return BOOKS[erp.code]


def _at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Run work in threads that start together; their results. An error in any of them fails the test."""
    start = threading.Barrier(count)
    results: list[Any] = [None] * count
    errors: list[BaseException] = []

    def body(number: int) -> None:
        try:
            start.wait(10)
            results[number] = work(number)
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=body, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    close_old_connections()
    if errors:
        raise errors[0]
    return results


@pytest.mark.case(59)
def test_eight_threads_deliver_one_entry_and_it_is_booked_once(
    source: Connection, erp: Connection, books: Books
) -> None:
    [entry] = outbound.entries(source)
    books.latency = 0.05
    _at_once(8, lambda _: outbox.deliver(erp.pk))
    outbox.deliver(erp.pk)
    assert outbound.state_of(entry).state == "posted"
    assert (len(books.pushes), len(books.records)) == (1, 1)
    assert AttemptLine.objects.filter(attempt__purpose="push").count() == 1
    assert_all_hold()


@pytest.mark.case(59)
def test_two_workers_that_claim_one_batch_share_it_without_overlap(
    source: Connection, erp: Connection, books: Books
) -> None:
    ids = outbound.entries(source, 60)
    books.latency = 0.02
    _at_once(4, lambda _: outbox.deliver(erp.pk))
    outbox.deliver(erp.pk)
    assert set(outbound.states(ids).values()) == {"posted"}
    assert set(books.by_key().values()) == {1}
    assert sum(len(keys) for keys in books.pushes) == 60
    assert LedgerTransition.objects.filter(to_state="sending").count() == 60
    assert_all_hold()


@pytest.mark.case(66)
def test_all_workers_together_never_have_more_calls_under_way_than_the_target_allows() -> None:
    erp = outbound.target(batch_size=1, concurrency=3)
    books = BOOKS[erp.code]
    outbound.entries(outbound.firm(erp), 120)
    books.latency = 0.05
    _at_once(6, lambda _: outbox.deliver(erp.pk))
    outbox.deliver(erp.pk)
    assert 2 <= books.most_in_flight <= 3
    assert len(books.records) == 120


def test_slots_are_leased_once_and_come_free_when_their_holder_is_gone(erp: Connection, settings: Any) -> None:
    held = _at_once(8, lambda _: _hold_for(erp.pk, 0.4))
    assert sorted(number for numbers in held for number in numbers) == [0, 1, 2, 3]
    settings.TIME_SCALE = 0.002
    lease = slots.Lease(erp.pk, [], "a worker that dies")
    lease.fit(4)
    assert len(lease) == 4
    with slots.lease(erp.pk, 4) as other:
        assert other.numbers == []
    time.sleep(0.3)
    with slots.lease(erp.pk, 4) as other:
        assert len(other) == 4
        lease.renew()
        assert len(lease) == 0


def _hold_for(connection_id: int, seconds: float) -> list[int]:
    with slots.lease(connection_id, 4, wanted=2) as held:
        time.sleep(seconds)
        return list(held.numbers)


def _claim_one(erp: Connection, *, lease_over: bool) -> Any:
    """What a worker holds between its intent and the answer; its lease over or not."""
    target = registry.target(erp)
    [call] = claim.pushes(erp, target, 5, 60.0, idle=True).calls
    if lease_over:
        LedgerState.objects.filter(state="sending").update(lease_until="2020-01-01T00:00:00Z")
    return target, call


@pytest.mark.case(58)
def test_a_worker_that_comes_back_after_its_lease_changes_nothing(
    source: Connection, erp: Connection, books: Books
) -> None:
    [entry] = outbound.entries(source)
    target, call = _claim_one(erp, lease_over=True)
    assert outbox.recover(erp.pk) == 1
    late = make(call, target)  # the frozen worker wakes up and calls after all
    told = settle.record(erp, target.capabilities, [late])
    assert (told.accepted, told.late) == (0, 1)
    assert outbound.state_of(entry).state == "in_doubt"
    line = AttemptLine.objects.get(attempt_id=call.attempt_id)
    assert line.outcome == "accepted"
    assert line.detail.startswith("Came after the lease")
    outbox.settle_doubts(erp.pk)
    outbox.read_back(erp.pk)
    assert outbound.state_of(entry).state == "posted"
    assert len(books.records) == 1
    assert_all_hold()


def test_an_answer_that_comes_while_another_worker_sends_the_entry_again_is_not_taken_for_its_answer() -> None:
    erp = outbound.target("erp-2", upsert=True)
    source = outbound.firm(erp, "GB")
    [entry] = outbound.entries(source)
    target, frozen = _claim_one(erp, lease_over=True)
    outbox.recover(erp.pk)
    outbox.settle_doubts(erp.pk)  # absent, and the same key overwrites: due again
    assert outbound.state_of(entry).state == "ready"
    _, second = _claim_one(erp, lease_over=False)
    assert outbound.state_of(entry).state == "sending"
    refused = Answer(call=frozen, outcomes=[Rejected("no")])
    assert settle.record(erp, target.capabilities, [refused]).late == 1
    assert outbound.state_of(entry).state == "sending"
    assert settle.record(erp, target.capabilities, [make(second, target)]).accepted == 1
    assert len(BOOKS[erp.code].records) == 1


def test_an_answer_that_is_written_twice_counts_once(source: Connection, erp: Connection, books: Books) -> None:
    [entry] = outbound.entries(source)
    target, call = _claim_one(erp, lease_over=False)
    answer: Answer = make(call, target)
    told = _at_once(2, lambda _: settle.record(erp, target.capabilities, [answer]))
    assert sorted(one.accepted for one in told) == [0, 1]
    assert LedgerTransition.objects.filter(entry=entry, to_state="accepted").count() == 1


@pytest.mark.case(50, 60)
def test_a_withdrawal_that_races_a_delivery_is_either_not_sent_or_waits_to_be_taken_back(
    source: Connection, erp: Connection, books: Books
) -> None:
    ids = outbound.entries(source, 40)
    books.latency = 0.02

    def work(number: int) -> object:
        if number == 0:
            return outbox.deliver(erp.pk)
        time.sleep(0.05)
        with transaction.atomic():
            gone = [outbound.record(source, n, 9, status=SourceStatus.WITHDRAWN) for n in range(40)]
            return outbound.take_in(source, gone)

    _at_once(2, work)
    outbox.deliver(erp.pk)
    states = outbound.states(ids)
    booked = {line.key for line in books.records}
    keys = {entry.pk: entry.idempotency_key.hex for entry in LedgerEntry.objects.filter(pk__in=ids)}
    for entry_id, state in states.items():
        assert (state == "posted") == (keys[entry_id] in booked), (entry_id, state)
        assert state in ("posted", "cancelled")
    assert_all_hold()


@pytest.mark.case(15, 28)
def test_a_change_that_races_a_delivery_never_books_both_versions(
    source: Connection, erp: Connection, books: Books
) -> None:
    outbound.entries(source, 40)
    books.latency = 0.02

    def work(number: int) -> object:
        if number == 0:
            return outbox.deliver(erp.pk)
        time.sleep(0.05)
        with transaction.atomic():
            return outbound.take_in(source, [outbound.record(source, n, 2, hours=Decimal(6)) for n in range(40)])

    _at_once(2, work)
    outbox.deliver(erp.pk)
    per_day: dict[object, int] = {}
    for line in books.records:
        per_day[line.work_date, line.resource] = per_day.get((line.work_date, line.resource), 0) + 1
    assert set(per_day.values()) == {1}
    assert len(per_day) == 40
    assert_all_hold()


def test_a_closed_door_gives_back_what_was_claimed_and_burns_nothing(
    source: Connection, erp: Connection, books: Books
) -> None:
    ids = outbound.entries(source, 400)
    books.latency = 0.3

    def shift() -> None:
        outbox.deliver(erp.pk)
        connection.close()

    worker = threading.Thread(target=shift)
    worker.start()
    time.sleep(0.5)
    Connection.objects.filter(pk=erp.pk).update(paused_at="2026-10-01T00:00:00Z", pause_reason="month end")
    worker.join(30)
    states = LedgerState.objects.filter(entry__in=ids)
    assert not states.filter(state__in=("sending", "in_doubt")).exists()
    waiting = states.filter(state="ready")
    assert waiting.count() > 200
    assert set(waiting.values_list("waits_on", "attempts")) == {("paused", 0)}
    Connection.objects.filter(pk=erp.pk).update(paused_at=None)
    books.latency = 0.0
    outbox.deliver(erp.pk)
    assert set(outbound.states(ids).values()) == {"posted"}
    assert ledger.wake("paused", target_id=erp.pk) == 0
    assert set(books.by_key().values()) == {1}
