"""The promises are checked on the rows, each breach has a sentence, and any id leads to the whole thread."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from integrations import invariants, outbox, registry, thread
from integrations.errors import InDoubt, Rejected
from portal.models import Connection, LedgerEntry, LedgerState, Receipt
from portal.records import Reference
from tests.integrations import outbound
from tests.integrations.memory_target import BOOKS, Books, answers, fails
from tests.invariants import assert_all_hold

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.CONNECTORS, "memory", "tests.integrations.memory_target.MemoryTarget")


@pytest.fixture
def erp() -> Connection:
    return outbound.target(batch_size=50)


@pytest.fixture
def source(erp: Connection) -> Connection:
    return outbound.firm(erp)


@pytest.fixture
def books(erp: Connection) -> Books:
    return BOOKS[erp.code]


def _broken() -> set[str]:
    return {invariant.code for invariant, sentences in invariants.verify() if sentences}


def test_a_pipeline_that_worked_breaks_no_promise(source: Connection, erp: Connection, books: Books) -> None:
    outbound.entries(source, 4)
    outbound.take_in(source, [outbound.record(source, 60, project=Reference("nobody knows it"))])
    books.faults.append(answers(lambda said: [Rejected("no", code="text-invalid"), *said[1:3], InDoubt("reset")]))
    outbox.deliver(erp.pk)
    assert_all_hold()
    call_command("verify_invariants")


def test_each_breach_is_found_and_said(
    source: Connection, erp: Connection, books: Books, capsys: pytest.CaptureFixture[str]
) -> None:
    [first, second, third] = outbound.entries(source, 3)
    outbox.deliver(erp.pk)
    books.records.append(books.records[0])
    LedgerState.objects.filter(entry=second).update(state="held")
    LedgerState.objects.filter(entry=third).update(receipt_number="M-99")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE portal_ledgerstate SET body_hash = 'other' WHERE entry_id = %s", [first])
    assert {"I1", "I3", "I4", "I5", "I9"} <= _broken()
    with pytest.raises(SystemExit):
        call_command("verify_invariants")
    told = capsys.readouterr().out
    assert "2 times, as M-1, M-1." in told
    assert f"Entry {second} is held, and no case says why." in told
    assert "BROKEN I9" in told


def test_every_id_leads_to_the_same_thread(
    source: Connection, erp: Connection, books: Books, capsys: pytest.CaptureFixture[str]
) -> None:
    [entry_id] = outbound.entries(source, 1)
    books.faults.append(fails(InDoubt("no answer within 55 seconds"), booked=True))
    outbox.deliver(erp.pk)
    outbox.check_now([entry_id])
    entry = LedgerEntry.objects.select_related("document").get(pk=entry_id)
    number = Receipt.objects.get(entry=entry).number
    names = [entry.document.external_id, str(entry.pk), number, str(entry.idempotency_key), entry.idempotency_key.hex]
    for name in names:
        assert entry.document in thread.find(name)
    call_command("explain", number)
    told = capsys.readouterr().out
    for part in (
        "version 1: approved, 8 h on 2026-10-01",
        "ACME-2026-US v1",
        "ready → sending by outbox",
        "sending → in_doubt by outbox: no answer within 55 seconds",
        "look-up",
        "found: number M-1",
        "receipt M-1",
        "read back",
        "equal",
    ):
        assert part in told, part
    with pytest.raises(CommandError, match="Nothing is known under 'nonsense'"):
        call_command("explain", "nonsense")
