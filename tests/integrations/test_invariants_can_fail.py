"""Every promise can be broken, and is then found and said: each test breaks one on purpose and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.utils.timezone import now

from integrations import breaker, invariants, outbox, registry
from integrations.errors import InDoubt, Unavailable
from integrations.models import BreakerMove, InboxMessage, MaintenanceWindow, Run, Stream
from portal import changes_watch
from portal.models import (
    Attempt,
    AttemptLine,
    BillingBalance,
    Connection,
    GrantRole,
    InvoiceProposal,
    LedgerEntry,
    LedgerState,
    LedgerTransition,
    MasterChange,
    ProposalLine,
    ProposalPart,
    TimeEntry,
)
from portal.models.access import ScopedQuerySet
from portal.records import Reference
from tests import world
from tests.bills import Erp, line_of
from tests.integrations import outbound
from tests.integrations.memory_target import BOOKS, fails
from tests.invariants import assert_all_hold
from tests.reconciliation.firm import key

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.CONNECTORS, "memory", "tests.integrations.memory_target.MemoryTarget")


@pytest.fixture
def erp() -> Connection:
    return outbound.target(concurrency=2)


@pytest.fixture
def posted(erp: Connection) -> list[int]:
    """Three entries that went well: every promise holds before it is broken."""
    ids = outbound.entries(outbound.firm(erp), 3)
    outbox.deliver(erp.pk)
    assert set(outbound.states(ids).values()) == {"posted"}
    assert_all_hold()
    return ids


def broken() -> dict[str, str]:
    """The promises that do not hold, by number, with what is said."""
    found: dict[str, str] = {}
    for invariant, sentences in invariants.verify(live=False):
        if sentences:
            found[invariant.code] = " ".join([found.get(invariant.code, ""), *sentences]).strip()
    return found


def unguarded(statement: str, parameters: Sequence[Any] = ()) -> None:
    """Do what the triggers forbid, as somebody with the database's own rights could."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(statement, parameters)
        cursor.execute("SET LOCAL session_replication_role = origin")


def called(erp: Connection, *spans: tuple[datetime, float], purpose: str = "push") -> list[Attempt]:
    """Attempts whose calls began at given moments and took some seconds each."""
    return [
        Attempt.objects.create(
            connection=erp, purpose=purpose, worker="test", started_at=at, ended_at=at, outcome="accepted",
            exchanges=[{"started_at": at.isoformat(), "duration_ms": round(seconds * 1000)}],
        )
        for at, seconds in spans
    ]  # fmt: skip


def test_every_promise_of_the_book_is_asked_for() -> None:
    asked = {invariant.code for invariant in invariants.INVARIANTS}
    assert {f"I{number}" for number in range(1, 26)} <= asked


def test_i11_an_intent_without_its_attempt_is_found(posted: list[int]) -> None:
    unguarded("DELETE FROM portal_attemptline WHERE entry_id = %s", [posted[0]])
    assert broken() == {"I11": f"Entry {posted[0]} was sent at fence 2, and no attempt says so."}


def test_i11_an_attempt_that_ended_and_says_nothing_of_an_entry_is_found(posted: list[int]) -> None:
    line = AttemptLine.objects.filter(entry=posted[0]).earliest("pk")
    unguarded("UPDATE portal_attemptline SET outcome = '' WHERE id = %s", [line.pk])
    assert broken()["I11"] == (f"Attempt {line.attempt_id} has ended and does not say what came of entry {posted[0]}.")


def test_i11_evidence_whose_guard_is_switched_off_is_found(posted: list[int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE portal_ledgertransition DISABLE TRIGGER USER")
        assert "is switched off" in broken()["I11"]
        cursor.execute("ALTER TABLE portal_ledgertransition ENABLE TRIGGER USER")
    assert broken() == {}


def test_i12_a_change_that_nobody_followed_is_found(posted: list[int]) -> None:
    changes_watch.note("project", [1])
    assert broken() == {}
    MasterChange.objects.filter(handled_at=None).update(changed_at=now() - timedelta(hours=2))
    assert "was never followed by the entries it touches" in broken()["I12"]


def test_i12_a_move_that_is_missing_is_found(posted: list[int]) -> None:
    unguarded("DELETE FROM portal_ledgertransition WHERE entry_id = %s AND fence = 3", [posted[0]])
    assert broken()["I12"] == f"Entry {posted[0]} is at fence 4 and has 3 moves up to 4: one is missing."


@pytest.fixture
def read(posted: list[int]) -> Stream:
    """A stream whose last reading filed one record."""
    source = Connection.objects.get(code="tracker-us")
    stream = Stream.objects.create(connection=source, name="time", cursor="c-2", every_seconds=0)
    run = Run.objects.create(
        connection=source, stream="time", trigger="schedule", state="done", cursor_from="c-1", cursor_to="c-2",
        started_at=now(), heartbeat_at=now(), finished_at=now(), read=1, filed=1,
    )  # fmt: skip
    InboxMessage.objects.create(
        connection=source, stream="time", external_id="1", revision="1", payload={}, run_id=run.pk, state="done",
        received_at=now(),
    )  # fmt: skip
    assert broken() == {}
    return stream


def test_i14_a_record_that_was_counted_and_is_not_there_is_found(read: Stream) -> None:
    InboxMessage.objects.all().delete()
    assert "counted 1 records as filed, and 0 are in the inbox" in broken()["I14"]


def test_i14_a_cursor_that_no_reading_moved_is_found(read: Stream) -> None:
    Stream.objects.filter(pk=read.pk).update(cursor="c-9")
    assert broken()["I14"] == f"Stream {read.pk} stands at cursor 'c-9', to which no reading moved it."


def test_i14_a_record_that_was_passed_and_never_taken_in_is_found(read: Stream) -> None:
    InboxMessage.objects.update(state="new", received_at=now() - timedelta(hours=2))
    assert "was passed by the cursor and never taken in" in broken()["I14"]


def test_i16_what_its_worker_approved_is_found_once_it_is_booked(posted: list[int]) -> None:
    document = LedgerEntry.objects.get(pk=posted[0]).document_id
    unguarded(
        "UPDATE portal_timeentry SET approver_key = resource_key WHERE document_id = %s AND resource_key <> ''",
        [document],
    )
    assert TimeEntry.objects.get(document=document).approver_key
    assert "nobody else approved it" in broken()["I16"]


def test_i19_a_call_while_the_breaker_was_open_is_found_and_one_under_way_is_not(
    erp: Connection, posted: list[int]
) -> None:
    breaker.record(erp.pk, [breaker.hear(Unavailable("refused"))] * breaker.FAILURES_IN_A_ROW)
    move = BreakerMove.objects.get(to_state="open")
    called(erp, (move.at + timedelta(seconds=1), 50))
    assert broken() == {}
    [late] = called(erp, (move.at + timedelta(seconds=60), 1))
    assert broken()["I19"].startswith(f"Attempt {late.pk} of ")
    breaker.probed(erp.pk, None)
    BreakerMove.objects.filter(to_state="half_open").update(at=move.at + timedelta(seconds=30))
    assert broken() == {}  # it was closed again by then


def test_i20_a_call_inside_a_window_is_found_and_one_as_it_began_is_not(erp: Connection, posted: list[int]) -> None:
    begins = now() + timedelta(days=1)
    MaintenanceWindow.objects.create(connection=erp, starts_at=begins, ends_at=begins + timedelta(hours=2))
    called(erp, (begins + timedelta(seconds=1), 1))
    assert broken() == {}
    [late] = called(erp, (begins + timedelta(minutes=20), 1))
    assert broken()["I20"].startswith(f"Attempt {late.pk} of ")


def test_i21_more_calls_at_once_than_allowed_are_found(erp: Connection, posted: list[int]) -> None:
    at = now() + timedelta(days=1)
    called(erp, (at, 2), (at + timedelta(seconds=1), 2), (at + timedelta(seconds=2), 1))
    assert broken() == {}
    called(erp, (at + timedelta(seconds=1.5), 1), purpose="find")
    assert "3 calls to connection" in broken()["I21"]
    assert "and 2 are allowed" in broken()["I21"]


def test_i24_a_query_that_shows_another_entitys_rows_is_found(
    posted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = world.entity("GB", "GBP")
    world.user("gus", GrantRole.ANALYST, other)
    world.user("otto", GrantRole.AUDITOR, everywhere=True)
    assert broken() == {}
    monkeypatch.setattr(ScopedQuerySet, "visible_to", lambda rows, *_, **__: rows)
    said = broken()["I24"]
    assert "gus sees ledger entry" in said
    assert "otto" not in said


def test_i7_what_was_posted_is_not_cancelled_by_itself(posted: list[int]) -> None:
    state = outbound.state_of(posted[0])
    LedgerTransition.objects.create(
        entry_id=posted[0], fence=state.fence + 1, from_state="posted", to_state="cancelled", actor="nobody", at=now()
    )
    LedgerState.objects.filter(entry=posted[0]).update(state="cancelled", fence=state.fence + 1)
    assert "went from posted to cancelled by nobody's decision" in broken()["I7"]
    assert "does not say that the target holds nothing" in broken()["I7"]


def test_i29_what_may_stand_at_a_target_is_not_cancelled_unasked(erp: Connection) -> None:
    [entry] = outbound.entries(outbound.firm(erp))
    BOOKS[erp.code].faults.append(fails(InDoubt("no answer")))
    outbox.deliver(erp.pk)
    LedgerState.objects.filter(entry=entry).update(may_stand=False, state="ready")
    fence = outbound.state_of(entry).fence
    LedgerTransition.objects.create(
        entry_id=entry, fence=fence + 1, from_state="ready", to_state="cancelled", actor="nobody", at=now()
    )
    LedgerState.objects.filter(entry=entry).update(state="cancelled", fence=fence + 1)
    assert "nobody looked for it since" in broken()["I29"]


def test_a_balance_that_is_not_what_its_allocations_say_is_found(posted: list[int]) -> None:
    entry = LedgerEntry.objects.select_related("target").get(pk=posted[0])
    key(entry.target, "entity", entry.entity_id, "E1")
    erp = Erp(SimpleNamespace(target=entry.target))  # type: ignore[arg-type]
    erp.says(erp.bill("501", line_of(entry.pk, str(entry.hours)), entity=Reference("E1")))
    assert BillingBalance.objects.get(entry=entry).invoiced == entry.hours
    assert_all_hold()
    unguarded("UPDATE portal_billingbalance SET invoiced = invoiced - 1")
    assert "its allocations say" in broken()["I26"]


def test_a_proposal_whose_drafts_do_not_add_up_to_what_was_approved_is_found(posted: list[int]) -> None:
    entry = LedgerEntry.objects.select_related("project__customer").get(pk=posted[0])
    assert entry.project is not None
    mia, cora = world.user("mia", GrantRole.PROJECT_MANAGER), world.user("cora", GrantRole.CONTROLLER)
    proposal = InvoiceProposal.objects.create(
        entity=entry.entity, project=entry.project, customer=entry.project.customer, currency="USD", through=entry.work_date,
        net=960, prepared_at=now(),
    )  # fmt: skip
    line = ProposalLine.objects.create(proposal=proposal, position=1, description="Work", net=960)
    ProposalPart.objects.create(line=line, entity=entry.entity, entry=entry, quantity=8, amount=959)
    assert broken()["I27"] == f"Line 1 of proposal {proposal.pk} comes to 960.0000, and what is on it to 959.0000."
    ProposalPart.objects.all().delete()
    InvoiceProposal.objects.update(state="handed_over", released_by=mia, approved_by=cora)
    assert (
        broken()["I27"]
        == f"Proposal {proposal.pk} was approved over 960.0000, and what was handed over of it comes to 0."
    )


def test_i28_what_was_sent_into_the_books_of_another_entity_is_found(posted: list[int], erp: Connection) -> None:
    other = world.entity("GB", "GBP")
    erp.entity = other
    erp.save()
    assert broken() == {}, "it was shared when they were sent"
    unguarded("UPDATE portal_historicalconnection SET history_date = '2020-01-01', entity_id = %s", [other.pk])
    assert broken() == {
        "I28": " ".join(f"Entry {entry} of US was sent to Erp, which kept the books of GB." for entry in posted)
    }


def test_i28_work_of_two_entities_in_one_companys_books_that_does_not_say_whose_it_is_is_found(
    posted: list[int], erp: Connection
) -> None:
    outbox.deliver(erp.pk)
    outbound.entries(outbound.firm(erp, "GB"), 1)
    outbox.deliver(erp.pk)
    assert broken() == {}
    books = BOOKS[erp.code]
    books.capabilities = replace(books.capabilities, one_company=True)
    assert broken() == {
        "I28": "Erp is the books of one company and took work of GB, US, of which none says whose it is."
    }
