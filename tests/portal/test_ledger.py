"""The state machine, its evidence, and what the database refuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from portal import canonical, ledger
from portal.ledger import TRANSITIONS, Figures, IllegalTransition
from portal.models import Connection, LedgerEntry, LedgerState, LedgerTransition, State
from portal.models import Receipt as StoredReceipt
from portal.records import Receipt
from tests import world

pytestmark = pytest.mark.django_db


@pytest.fixture
def target() -> Connection:
    return world.connection("netsuite", "netsuite", is_target=True)


@pytest.fixture
def source() -> Connection:
    return world.connection("harvest-us", "harvest", world.entity(), is_source=True)


def _figures(source: Connection, target: Connection, document_id: int, **changes: object) -> Figures:
    values: dict[str, object] = {
        "document_id": document_id, "version": 1, "kind": "time", "entity_id": source.entity_id, "source_id": source.pk,
        "target_id": target.pk, "work_date": date(2026, 10, 1), "post_on": date(2026, 10, 1), "hours": Decimal(8),
        "rate": Decimal(120), "amount": Decimal(960), "currency": "USD", "is_billable": True,
        "tags": ["new"], "target_keys": {"project": "1514"}, **changes,
    }  # fmt: skip
    return Figures(**values)  # type: ignore[arg-type]


def _entries(source: Connection, target: Connection, count: int = 1, state: State = State.READY) -> list[int]:
    taken = canonical.take_in(source, [(i, world.time_record(str(i))) for i in range(count)])
    rows = [(_figures(source, target, document), state, "") for document in taken.documents]
    return ledger.enter(rows, actor="test", reason="admitted")


def _states(ids: Sequence[int]) -> set[str]:
    return set(LedgerState.objects.filter(entry__in=ids).values_list("state", flat=True))


def _sending(ids: Sequence[int]) -> list[tuple[int, int]]:
    ledger.send([(i, 1, f"hash-{i}") for i in ids], lease_seconds=180, actor="worker")
    return [(i, 2) for i in ids]


def test_an_entry_goes_from_ready_to_reconciled_with_a_row_for_every_move(
    source: Connection, target: Connection
) -> None:
    ids = _entries(source, target, 3)
    refs = _sending(ids)
    receipts = [(i, f, Receipt(key="k", number=f"NS-{i}", raw={"location": f"/timebill/{i}"})) for i, f in refs]
    assert ledger.accept(receipts, State.SENDING, connection_id=target.pk, actor="worker") == ids
    assert ledger.prove([(i, 3) for i in ids], actor="worker") == ids
    assert ledger.reconcile([(i, 4) for i in ids], actor="worker", reason="run 1") == ids
    assert _states(ids) == {"reconciled"}
    moves = list(LedgerTransition.objects.filter(entry=ids[0]).values_list("fence", "from_state", "to_state"))
    assert moves == [
        (1, "", "ready"),
        (2, "ready", "sending"),
        (3, "sending", "accepted"),
        (4, "accepted", "posted"),
        (5, "posted", "reconciled"),
    ]
    assert StoredReceipt.objects.get(entry=ids[1]).number == f"NS-{ids[1]}"
    state = LedgerState.objects.get(entry=ids[0])
    assert state.proved_at is not None
    assert state.attempts == 1


def test_every_move_the_table_does_not_name_is_refused(source: Connection, target: Connection) -> None:
    ids = _entries(source, target)
    for origin, reachable in TRANSITIONS.items():
        for goal in set(State) - reachable:
            with pytest.raises(IllegalTransition):
                ledger.move([(ids[0], 1)], origin, goal, actor="test")
    assert _states(ids) == {"ready"}


@pytest.mark.case(60)
def test_a_worker_that_read_an_older_fence_moves_nothing(source: Connection, target: Connection) -> None:
    ids = _entries(source, target)
    refs = _sending(ids)
    ledger.doubt(refs, look_up_after_seconds=30, actor="sweeper", reason="lease expired")
    late = [(ids[0], 2, Receipt(key="k", number="NS-1"))]
    assert ledger.accept(late, State.SENDING, connection_id=target.pk, actor="slow worker") == []
    assert _states(ids) == {"in_doubt"}
    assert StoredReceipt.objects.count() == 0


@pytest.mark.case(65)
def test_a_key_is_bound_to_its_first_body(source: Connection, target: Connection) -> None:
    ids = _entries(source, target)
    refs = _sending(ids)
    ledger.retry(refs, from_state=State.SENDING, after_seconds=0, actor="worker", reason="not reached")
    sent = ledger.send([(ids[0], 3, "another body")], lease_seconds=180, actor="worker")
    assert (sent.moved, sent.refused) == ([], ids)
    assert ledger.send([(ids[0], 3, f"hash-{ids[0]}")], lease_seconds=180, actor="worker").moved == ids


def test_giving_an_attempt_back_leaves_the_count_as_it_was(source: Connection, target: Connection) -> None:
    ids = _entries(source, target)
    refs = _sending(ids)
    ledger.retry(
        refs, from_state=State.SENDING, after_seconds=0, waits_on="unauthorised", burn=False, actor="w", reason="401"
    )
    state = LedgerState.objects.get(entry=ids[0])
    assert (state.attempts, state.waits_on) == (0, "unauthorised")
    assert ledger.claimable(target.pk, 10) == []
    assert ledger.wake("unauthorised", target_id=target.pk) == 1
    assert [claim.entry_id for claim in ledger.claimable(target.pk, 10)] == ids


def test_claims_are_taken_in_turn_from_every_entity(source: Connection, target: Connection) -> None:
    other = world.connection("clockify-gb", "clockify", world.entity("GB", "GBP"), is_source=True)
    _entries(source, target, 50)
    few = _entries(other, target, 2)
    claimed = [claim.entry_id for claim in ledger.claimable(target.pk, 4)]
    assert set(few) <= set(claimed)
    assert len(claimed) == 4


def test_what_was_sent_is_frozen_in_the_database(source: Connection, target: Connection) -> None:
    ids = _entries(source, target)
    figures = _figures(source, target, LedgerEntry.objects.get(pk=ids[0]).document_id, hours=Decimal("7.5"), tags=[])
    ledger.refigure([(ids[0], figures)])
    assert LedgerEntry.objects.get(pk=ids[0]).hours == Decimal("7.5")
    _sending(ids)
    with pytest.raises(ledger.FrozenFigures):
        ledger.refigure([(ids[0], replace(figures, hours=Decimal(1)))])
    with pytest.raises(DatabaseError, match="frozen"), transaction.atomic():
        LedgerEntry.objects.filter(pk=ids[0]).update(hours=Decimal(1))


def test_evidence_can_be_neither_changed_nor_deleted(source: Connection, target: Connection) -> None:
    ids = _entries(source, target)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        LedgerTransition.objects.filter(entry__in=ids).update(actor="somebody else")
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        LedgerTransition.objects.filter(entry__in=ids).delete()


@pytest.mark.case(61)
def test_accepted_without_a_receipt_and_posted_without_a_proof_are_refused(
    source: Connection, target: Connection
) -> None:
    ids = _entries(source, target)
    with pytest.raises(IntegrityError, match="accepted_means_receipted"), transaction.atomic():
        LedgerState.objects.filter(entry__in=ids).update(state="accepted")
    with pytest.raises(IntegrityError, match="posted_means_read_back_equal"), transaction.atomic():
        LedgerState.objects.filter(entry__in=ids).update(state="posted", receipt_number="NS-1")
    with pytest.raises(IntegrityError, match="sending_means_intent_and_lease"), transaction.atomic():
        LedgerState.objects.filter(entry__in=ids).update(state="sending")


def test_the_same_part_of_a_version_is_owed_to_a_target_once(source: Connection, target: Connection) -> None:
    ids = _entries(source, target)
    document = LedgerEntry.objects.get(pk=ids[0]).document_id
    with pytest.raises(IntegrityError), transaction.atomic():
        ledger.enter([(_figures(source, target, document), State.READY, "")], actor="test")


def test_a_batch_costs_the_same_number_of_statements_whatever_its_size(source: Connection, target: Connection) -> None:
    counts = []
    for size, offset in ((2, 0), (200, 1000)):
        records = [(i, world.time_record(str(i))) for i in range(offset, offset + size)]
        with CaptureQueriesContext(connection) as queries:
            taken = canonical.take_in(source, records)
            ids = ledger.enter([(_figures(source, target, d), State.READY, "") for d in taken.documents], actor="test")
            refs = _sending(ids)
            ledger.accept(
                [(i, f, Receipt(key="", number=f"N{i}")) for i, f in refs],
                State.SENDING,
                connection_id=target.pk,
                actor="w",
            )
        counts.append(len(queries))
    assert counts[0] == counts[1]
