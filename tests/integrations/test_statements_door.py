"""A statement, and a look for a record by hand, go through the same door and under the same slots as everything else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils.timezone import now

from integrations import breaker, invariants, outbox, registry, statements, sweeper
from integrations.errors import InDoubt, Unauthorised, Unavailable
from integrations.models import Breaker, MaintenanceWindow, Slot
from portal.models import AccountingPeriod, Connection, GrantRole, LegalEntity
from portal.records import StatementLine
from reconciliation.models import ExceptionCase, ReconciliationRun
from tests import world
from tests.integrations import outbound
from tests.integrations.memory_target import BOOKS, Books, MemoryTarget, fails

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.CONNECTORS, "memory", "tests.integrations.memory_target.MemoryTarget")
    monkeypatch.setattr("integrations.wake.up", lambda *_: False)


@pytest.fixture
def erp() -> Connection:
    return outbound.target(concurrency=1)


@pytest.fixture
def source(erp: Connection) -> Connection:
    return outbound.firm(erp)


@pytest.fixture
def books(erp: Connection) -> Books:
    return BOOKS[erp.code]


def month(source: Connection) -> tuple[LegalEntity, AccountingPeriod]:
    """The entity and its open month."""
    entity = outbound.entity_of(source)
    return entity, AccountingPeriod.objects.get(entity=entity)


def window(erp: Connection) -> None:
    MaintenanceWindow.objects.create(
        connection=erp, starts_at=now(), ends_at=now() + timedelta(hours=1), reason="upgrade"
    )


def pause(erp: Connection) -> None:
    Connection.objects.filter(pk=erp.pk).update(paused_at=now(), pause_reason="year end")


def open_breaker(erp: Connection) -> None:
    breaker.record(erp.pk, [breaker.hear(Unavailable("refused"))] * breaker.FAILURES_IN_A_ROW)


def slow_down(erp: Connection) -> None:
    breaker.record(erp.pk, [breaker.hear(Unavailable("slow down", status=429, retry_after=60.0))])


def no_slot(erp: Connection) -> None:
    Slot.objects.create(connection=erp, number=0, holder="somebody", lease_until=now() + timedelta(minutes=1))


CLOSED = {
    window: "Maintenance window: upgrade.",
    pause: "is paused: year end.",
    open_breaker: "The breaker is open",
    slow_down: "told us to slow down",
    no_slot: "As many calls as",
}


@pytest.mark.parametrize("close", CLOSED, ids=lambda close: close.__name__)
def test_a_comparison_waits_at_a_closed_door_and_says_why(
    close: Any, source: Connection, erp: Connection, books: Books, capsys: pytest.CaptureFixture[str]
) -> None:
    entity, period = month(source)
    close(erp)
    with pytest.raises(SystemExit):
        call_command("reconcile", entity=entity.code, period=period.code)
    assert books.statements == []
    run = ReconciliationRun.objects.get()
    assert (run.state, run.lease_until, CLOSED[close] in run.waits_for) == ("running", None, True), run.waits_for
    assert "It goes on by itself." in capsys.readouterr().out
    assert run.next_try_at is not None
    assert run.next_try_at > now()
    MaintenanceWindow.objects.all().delete()
    Slot.objects.all().delete()
    Connection.objects.update(paused_at=None)
    Breaker.objects.all().delete()
    ReconciliationRun.objects.update(next_try_at=now())
    sweeper.sweep()
    run.refresh_from_db()
    assert (run.state, run.waits_for, len(books.statements)) == ("balanced", "", 1)


def test_a_statement_takes_a_slot_and_gives_it_back(source: Connection, erp: Connection, books: Books) -> None:
    taken: list[int] = []

    def counting(target: MemoryTarget, start: date, end: date, entity: str = "") -> Iterator[StatementLine]:
        taken.append(Slot.objects.filter(connection=erp).exclude(holder="").count())
        return iter(())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryTarget, "statement", counting)
        assert statements.reconcile(*month(source)).state == "balanced"
    assert taken == [1]
    assert not Slot.objects.exclude(holder="").exists()


def test_reading_stops_when_a_window_begins_in_its_midst(
    source: Connection, erp: Connection, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbound.entries(source, 6)
    outbox.deliver(erp.pk)
    monkeypatch.setattr(statements, "_LOOK", 0.0)
    read: list[str] = []
    plain = MemoryTarget.statement

    def slow(target: MemoryTarget, start: date, end: date, entity: str = "") -> Iterator[StatementLine]:
        for line in plain(target, start, end, entity):
            read.append(line.number)
            if len(read) == 3:
                window(erp)
            yield line

    monkeypatch.setattr(MemoryTarget, "statement", slow)
    run = statements.reconcile(*month(source))
    assert (run.state, "Maintenance window" in run.waits_for, len(read)) == ("running", True, 3)
    assert Breaker.objects.filter(failures__gt=0).count() == 0


def test_a_statement_that_is_told_to_slow_down_waits_and_one_that_fails_ends_the_run(
    source: Connection, erp: Connection, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[Exception] = [
        Unavailable("slow down", status=429, retry_after=30.0), Unavailable("not reached"), Unauthorised("revoked", status=401),
    ]  # fmt: skip

    def fail(*_: Any, **__: Any) -> Any:
        raise errors.pop(0)

    monkeypatch.setattr(MemoryTarget, "statement", fail)
    throttled = statements.reconcile(*month(source))
    assert (throttled.state, "slow down" in throttled.waits_for) == ("running", True)
    Breaker.objects.update(probe_at=None)
    assert "not reached" in statements.reconcile(*month(source)).failure
    assert "revoked" in statements.reconcile(*month(source)).failure
    assert ExceptionCase.objects.get(state="open").rule == "connection-unauthorised"


def test_a_record_is_not_looked_for_by_hand_while_the_door_is_closed(
    source: Connection, erp: Connection, books: Books
) -> None:
    [entry] = outbound.entries(source)
    books.faults.append(fails(InDoubt("no answer"), booked=True))
    outbox.deliver(erp.pk)
    finds = len(books.finds)
    window(erp)
    with pytest.raises(outbox.NotConfirmed, match="Maintenance window: upgrade"):
        outbox.adopt(entry, "M-1", world.user(everywhere=True), "found it")
    assert len(books.finds) == finds
    MaintenanceWindow.objects.all().delete()
    outbox.adopt(entry, "M-1", world.user("bo", everywhere=True), "found it")
    assert outbound.state_of(entry).state == "posted"


def test_the_nightly_question_for_duplicates_waits_for_the_door_as_well(
    source: Connection, erp: Connection, books: Books, capsys: pytest.CaptureFixture[str]
) -> None:
    outbound.entries(source)
    outbox.deliver(erp.pk)
    books.records.append(books.records[0])
    window(erp)
    assert invariants.booked_once(erp) == []
    assert invariants.not_asked() == [f"{erp} is not asked now. Maintenance window: upgrade."]
    assert books.statements == []
    call_command("verify_invariants")
    assert "not asked" in capsys.readouterr().out
    MaintenanceWindow.objects.all().delete()
    assert invariants.booked_once(erp)


@pytest.mark.case(67)
def test_a_shared_connections_refused_credentials_are_a_case_in_every_entity_that_goes_over_it(
    erp: Connection, books: Books, client: Client
) -> None:
    sources = [outbound.firm(erp, code) for code in ("US", "GB")]
    world.entity("SG", "SGD")  # goes over nothing of it
    ids = outbound.entries(sources[0], 3)
    refusal = Unauthorised("invalid_grant", status=401)
    books.faults.append(fails(refusal))
    books.check_error = refusal
    outbox.deliver(erp.pk)
    found = ExceptionCase.objects.filter(rule="connection-unauthorised", state="open")
    assert sorted(found.values_list("entity__code", flat=True)) == ["GB", "US"]
    gus = world.user("gus", GrantRole.ANALYST, sources[1].entity)
    assert [case.entity.code for case in found.visible_to(gus)] == ["GB"]
    client.force_login(gus)
    page = client.get("/exceptions/").content.decode()
    assert "refuses our credentials" in page
    outbox.deliver(erp.pk)
    assert found.count() == 2  # one each, however often it is met
    books.check_error = None
    Breaker.objects.update(probe_at="2020-01-01T00:00:00Z")
    outbox.deliver(erp.pk)
    assert set(outbound.states(ids).values()) == {"posted"}
    assert not found.exists()


@pytest.mark.case(67)
def test_credentials_that_a_person_renewed_are_believed_when_the_connection_answers(
    source: Connection, erp: Connection, books: Books
) -> None:
    outbound.entries(source, 2)
    books.faults.append(fails(Unauthorised("invalid_grant", status=401)))
    outbox.deliver(erp.pk)
    assert ExceptionCase.objects.get().state == "open"
    breaker.close_by_hand(erp, world.user(everywhere=True), "renewed")
    assert ExceptionCase.objects.get().state == "open"  # nobody's word counts before an answer
    outbox.deliver(erp.pk)
    assert ExceptionCase.objects.get().state == "resolved"
