"""The inbox: a batch becomes documents and ledger entries, and what cannot is set aside alone."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from django.db import OperationalError
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from integrations import inbox
from integrations.models import InboxMessage
from integrations.protocol import SourceRecord
from integrations.sql import inbound as sql
from portal import canonical
from portal.models import AuditEvent, Customer, Document, TimeEntry
from reconciliation import validation
from tests import world
from tests.integrations import inbound
from tests.integrations.inbound import Inbound, put

pytestmark = pytest.mark.django_db


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Inbound:
    return inbound.build(monkeypatch)


def states() -> dict[str, str]:
    return dict(InboxMessage.objects.values_list("external_id", "state"))


def test_records_become_documents_and_their_messages_are_done(source: Inbound) -> None:
    put(source.vendor, range(5))
    source.pull()
    taken = inbox.take_in(source.connection.pk)
    assert (taken.messages, taken.documents, taken.failed) == (5, 5, 0)
    assert set(states().values()) == {"done"}
    assert source.versions(3) == [(1, "approved")]
    message = InboxMessage.objects.get(external_id="3")
    assert TimeEntry.objects.get(document__external_id="3").message_id == message.pk
    assert message.handled_at is not None
    assert inbox.take_in(source.connection.pk).messages == 0


@pytest.mark.case(5)
def test_what_is_not_final_is_seen_and_left(source: Inbound) -> None:
    put(source.vendor, [1], status="draft")
    put(source.vendor, [2], status="submitted")
    source.pull()
    taken = inbox.take_in(source.connection.pk)
    assert (taken.ignored, taken.documents) == (2, 0)
    assert states() == {"1": "ignored", "2": "ignored"}
    assert not Document.objects.exists()


@pytest.mark.case(118)
def test_an_older_copy_that_comes_later_changes_nothing(source: Inbound) -> None:
    source.vendor.put(1, "2026-10-03", hours="6")
    source.pull()
    inbox.take_in(source.connection.pk)
    source.stream.cursor = ""
    source.stream.save()
    source.vendor.put(1, "2026-10-02", hours="8")
    source.pull()
    taken = inbox.take_in(source.connection.pk)
    assert (taken.superseded, taken.documents) == (1, 0)
    assert [entry.hours for entry in TimeEntry.objects.all()] == [6]


@pytest.mark.case(7)
def test_copies_of_one_record_in_one_batch_are_one_document_in_its_last_state(source: Inbound) -> None:
    for stamp, hours in (("2026-10-01", "7"), ("2026-10-02", "8"), ("2026-10-03", "6")):
        source.vendor.put(1, stamp, hours=hours)
        source.pull()
    taken = inbox.take_in(source.connection.pk)
    assert (taken.messages, taken.documents, taken.superseded) == (3, 1, 2)
    assert [entry.hours for entry in TimeEntry.objects.all()] == [6]


def test_changes_within_one_second_of_the_vendors_stamp_are_told_apart_and_repeats_are_not(source: Inbound) -> None:
    source.vendor.is_coarse = True
    for hours in ("7", "7", "8", "7", "6.5"):
        source.vendor.put(1, "2026-10-02T10:00:00Z", hours=hours)
        source.pull()
        inbox.take_in(source.connection.pk)
    assert [str(entry.hours.normalize()) for entry in TimeEntry.objects.order_by("version")] == ["7", "8", "7", "6.5"]
    source.vendor.put(1, "2026-10-02T10:00:01Z", hours="5")
    source.pull()
    inbox.take_in(source.connection.pk)
    assert [entry.hours for entry in TimeEntry.objects.order_by("version")][-1] == 5
    revisions = list(InboxMessage.objects.order_by("id").values_list("revision", flat=True))
    assert revisions == [
        "2026-10-02T10:00:00Z",
        *(f"2026-10-02T10:00:00Z #00{n}" for n in (2, 3, 4)),
        "2026-10-02T10:00:01Z",
    ]


def test_changes_within_one_second_that_come_in_one_batch_are_all_filed_in_their_order_and_once(
    source: Inbound,
) -> None:
    stamp = "2026-10-02T10:00:00Z"

    def batch(*hours: str) -> int:
        records = [
            SourceRecord(stream="time", external_id="1", revision=stamp, payload={"hours": each}, is_coarse=True)
            for each in hours
        ]
        return sql.file_records(source.connection.pk, records)

    assert (batch("7", "8", "8", "7"), batch("7", "8", "8", "7"), batch("7", "6")) == (3, 0, 1)
    assert list(InboxMessage.objects.order_by("id").values_list("revision", "payload__hours")) == [
        (stamp, "7"), (f"{stamp} #002", "8"), (f"{stamp} #003", "7"), (f"{stamp} #004", "6"),
    ]  # fmt: skip


@pytest.mark.case(70)
def test_a_record_that_cannot_be_read_fails_alone_with_its_field(source: Inbound) -> None:
    put(source.vendor, [1, 3])
    put(source.vendor, [2], hours="eight")
    put(source.vendor, [4], bug=True)
    source.pull()
    taken = inbox.take_in(source.connection.pk)
    assert (taken.documents, taken.failed) == (2, 2)
    assert states() == {"1": "done", "2": "failed", "3": "done", "4": "failed"}
    assert InboxMessage.objects.get(external_id="2").failure == "hours is 'eight', not a number."
    assert "ZeroDivisionError" in InboxMessage.objects.get(external_id="4").failure


def test_a_record_that_could_not_be_read_waits_for_nobody_once_its_source_mended_it(source: Inbound) -> None:
    source.vendor.put(1, "2026-10-02", hours="eight")
    source.pull()
    inbox.take_in(source.connection.pk)
    assert states() == {"1": "failed"}
    source.vendor.put(1, "2026-10-03", hours="8")
    source.pull()
    inbox.take_in(source.connection.pk)
    first, second = InboxMessage.objects.order_by("pk")
    assert (first.state, second.state) == ("superseded", "done")
    assert first.failure == "hours is 'eight', not a number."  # the evidence stays
    source.vendor.put(1, "2026-10-04", hours="nine")
    source.pull()
    inbox.take_in(source.connection.pk)
    assert InboxMessage.objects.filter(state="failed").count() == 1  # a later mistake is another one


@pytest.mark.case(70)
def test_a_record_that_breaks_its_batch_is_found_and_the_rest_goes_on(source: Inbound) -> None:
    put(source.vendor, range(1, 12))
    put(source.vendor, [7], hours="123456789.0")
    source.pull()
    taken = inbox.take_in(source.connection.pk)
    assert (taken.messages, taken.documents, taken.failed) == (11, 10, 1)
    assert [number for number, state in states().items() if state == "failed"] == ["7"]
    assert "It cannot be taken in" in InboxMessage.objects.get(external_id="7").failure
    assert InboxMessage.objects.filter(state="new").count() == 0


@pytest.mark.case(70)
def test_what_breaks_every_record_alike_is_no_records_fault(source: Inbound, monkeypatch: pytest.MonkeyPatch) -> None:
    source.vendor.page_size = 100
    put(source.vendor, range(60))
    source.pull()

    def broken(*_: Any, **__: Any) -> None:
        raise NameError("a bug in a rule")

    with monkeypatch.context() as patched:
        patched.setattr(validation, "admit", broken)
        with pytest.raises(NameError):
            inbox.take_in(source.connection.pk)
    assert set(states().values()) == {"new"}
    assert inbox.take_in(source.connection.pk).documents == 60


def test_a_fault_of_the_database_is_no_records_fault(source: Inbound, monkeypatch: pytest.MonkeyPatch) -> None:
    put(source.vendor, [1, 2])
    source.pull()

    def deadlock(*_: Any) -> canonical.Taken:
        raise OperationalError("deadlock detected")

    with monkeypatch.context() as patched:
        patched.setattr(canonical, "take_in", deadlock)
        with pytest.raises(OperationalError):
            inbox.take_in(source.connection.pk)
    assert set(states().values()) == {"new"}
    assert inbox.take_in(source.connection.pk).documents == 2


def test_documents_of_a_connection_without_an_entity_fail_with_the_reason(source: Inbound) -> None:
    put(source.vendor, [1])
    source.pull()
    source.connection.entity = None
    source.connection.save()
    assert inbox.take_in(source.connection.pk).failed == 1
    assert "has no legal entity" in InboxMessage.objects.get().failure


def test_a_replay_reads_a_failed_message_again_and_leaves_a_trace(
    source: Inbound, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(source.vendor, [1], bug=True)
    source.pull()
    inbox.take_in(source.connection.pk)
    person = world.user(owner=source.entity)
    message = InboxMessage.objects.get()
    monkeypatch.setattr("tests.integrations.fake_source.FakeSource.map", lambda self, record: [world.time_record("1")])
    assert inbox.replay([message.pk], user=person, reason="Mapping mended") == 1
    assert inbox.take_in(source.connection.pk).documents == 1
    message.refresh_from_db()
    assert (message.state, message.failure) == ("done", "")
    event = AuditEvent.objects.get(action="messages-replayed")
    assert (event.actor, event.reason) == (person, "Mapping mended")
    assert event.after == {"messages": 1, "first": message.pk, "last": message.pk}


def test_a_replay_of_what_was_taken_in_well_changes_nothing(source: Inbound) -> None:
    put(source.vendor, [1, 2])
    source.pull()
    inbox.take_in(source.connection.pk)
    ids = InboxMessage.objects.values_list("pk", flat=True)
    assert inbox.replay(ids, user=world.user(owner=source.entity), reason="To be sure") == 2
    assert inbox.take_in(source.connection.pk).documents == 0
    assert set(states().values()) == {"done"}
    assert TimeEntry.objects.count() == 2


def test_a_replay_needs_a_reason(source: Inbound) -> None:
    with pytest.raises(ValueError, match="needs a reason"):
        inbox.replay([1], user=world.user(owner=source.entity), reason=" ")


def test_a_mended_mapping_makes_a_new_version_when_the_message_is_replayed(
    source: Inbound, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(source.vendor, [1], hours="8")
    source.pull()
    inbox.take_in(source.connection.pk)
    mended = world.time_record("1", "2026-10-02T10:00:00Z", hours=Decimal("7.5"))
    monkeypatch.setattr("tests.integrations.fake_source.FakeSource.map", lambda self, record: [mended])
    inbox.replay([InboxMessage.objects.get().pk], user=world.user(owner=source.entity), reason="Half hours were lost")
    assert inbox.take_in(source.connection.pk).documents == 1
    assert list(TimeEntry.objects.order_by("version").values_list("version", "hours")) == [
        (1, 8),
        (2, Decimal("7.5")),
    ]


@pytest.mark.django_db(transaction=True)
def test_two_workers_share_a_batch_and_take_every_record_once(source: Inbound) -> None:
    source.vendor.page_size = 100
    put(source.vendor, range(200))
    source.pull()
    totals: list[inbox.TakenIn] = []

    def work() -> None:
        try:
            totals.append(inbox.take_in_everything(source.connection.pk, 20))
        finally:
            database.close()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert sum(total.messages for total in totals) == 200
    assert Document.objects.count() == TimeEntry.objects.count() == 200


def statements(source: Inbound, numbers: Sequence[int]) -> int:
    put(source.vendor, numbers, stamp=f"2026-11-{len(numbers):04}")
    source.pull()
    with CaptureQueriesContext(database) as captured:
        assert inbox.take_in(source.connection.pk).messages >= len(numbers)
    return len(captured)


def test_a_batch_is_a_fixed_number_of_statements(source: Inbound) -> None:
    source.vendor.page_size = 1000
    put(source.vendor, [900])
    statements(source, [901])
    assert statements(source, range(3)) == statements(source, range(100, 500))


def test_an_older_copy_of_a_master_record_never_overwrites_a_newer_one(source: Inbound) -> None:
    source.connection.settings = {"owns": ["customer"]}
    source.connection.save()
    values = {"kind": "customer", "code": "ACME", "attributes": {"currency": "USD"}}
    source.vendor.put("c1", "2026-10-02", name="New name", **values)
    source.pull()
    inbox.take_in(source.connection.pk)
    source.stream.cursor = ""
    source.stream.save()
    source.vendor.put("c1", "2026-10-01", name="Old name", **values)
    source.pull()
    assert inbox.take_in(source.connection.pk).superseded == 1
    assert Customer.objects.get().name == "New name"


@pytest.mark.case(29)
def test_a_record_that_comes_before_its_parent_waits_in_the_inbox(source: Inbound) -> None:
    source.connection.settings = {"owns": ["customer"]}
    source.connection.save()
    merged = {"currency": "USD", "merged_into": "c1"}
    source.vendor.put("c2", "2026-10-01", kind="customer", code="BETA", name="Beta", attributes=merged)
    source.pull()
    inbox.take_in(source.connection.pk)
    message = InboxMessage.objects.get()
    assert (message.state, message.attempts) == ("new", 1)
    assert "names customer c1, which is not known here yet" in message.failure
    assert inbox.take_in(source.connection.pk).messages == 0
    source.vendor.put("c1", "2026-10-01", kind="customer", code="ACME", name="Acme", attributes={"currency": "USD"})
    source.pull()
    InboxMessage.objects.update(next_attempt_at=None)
    inbox.take_in(source.connection.pk)
    assert states() == {"c1": "done", "c2": "done"}
    assert Customer.objects.get(code="BETA").merged_into == Customer.objects.get(code="ACME")


def test_master_data_comes_through_the_same_door(source: Inbound) -> None:
    source.connection.settings = {"owns": ["customer"]}
    source.connection.save()
    source.vendor.put("c1", "2026-10-01", kind="customer", code="ACME", name="Acme Ltd", attributes={"currency": "USD"})
    source.vendor.put("c2", "2026-10-01", kind="customer", code="BETA", name="Beta", attributes={"colour": "blue"})
    source.pull()
    inbox.take_in(source.connection.pk)
    assert states() == {"c1": "done", "c2": "failed"}
    assert "colour: no such attribute" in InboxMessage.objects.get(external_id="c2").failure
    assert Customer.objects.get().name == "Acme Ltd"
