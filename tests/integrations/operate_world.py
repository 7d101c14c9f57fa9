"""A firm in operation for the screens: sources that read well and badly, a target with a queue, messages and files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.utils import timezone

from integrations import outbox, registry, statements, uploads
from integrations.models import Breaker, InboxMessage, MaintenanceWindow, Run, Slot, Stream, UploadedFile
from portal import canonical
from portal.models import AccountingPeriod, Connection, GrantRole, LegalEntity, Published, User
from reconciliation import publishing, validation
from reconciliation.models import ReconciliationRun
from tests import world
from tests.integrations import outbound
from tests.integrations.memory_target import BOOKS

CSV = """Person;Projekt;Datum;Stunden;Text;Status
Lena Vogt;ACM-US;05.10.2026;7,50;Workshop;approved
Lena Vogt;ACM-US;06.10.2026;acht;Workshop;approved
Jonas Beck;ACM-US;07.10.2026;6,00;Migration plan;approved
"""
COLUMNS = {"person_name": "Person", "project": "Projekt", "date": "Datum", "hours": "Stunden", "description": "Text"}


@dataclass(frozen=True, slots=True)
class Operations:
    """What the screens show."""

    us: LegalEntity
    de: LegalEntity
    source: Connection
    foreign: Connection
    target: Connection
    files: Connection
    stream: Stream
    run: Run
    failed: InboxMessage
    taken: InboxMessage
    foreign_message: InboxMessage
    foreign_run: Run
    upload: UploadedFile
    period: AccountingPeriod
    comparison: ReconciliationRun
    foreign_comparison: ReconciliationRun
    analyst: User
    controller: User
    manager: User
    auditor: User
    stranger: User


def message(connection: Connection, external_id: str, **more: Any) -> InboxMessage:
    """A message that came an hour ago."""
    values: dict[str, Any] = {
        "stream": "time_entries", "revision": "2026-10-02T10:00:00Z", "payload": {"id": external_id, "hours": 7.5},
        "state": InboxMessage.State.DONE, "received_at": timezone.now() - timedelta(hours=1), **more,
    }  # fmt: skip
    return InboxMessage.objects.create(connection=connection, external_id=external_id, **values)


def run(connection: Connection, stream: str = "time_entries", hours_ago: float = 1, **more: Any) -> Run:
    """A run that ended some hours ago."""
    started = timezone.now() - timedelta(hours=hours_ago)
    values: dict[str, Any] = {
        "trigger": Run.Trigger.SCHEDULE, "state": Run.State.DONE, "started_at": started, "heartbeat_at": started,
        "finished_at": started + timedelta(seconds=42), "pages": 1, "read": 120, "filed": 8, "repeated": 112,
        "cursor_from": "2026-11-21T08:00:00Z", "cursor_to": "2026-11-22T08:00:00Z", **more,
    }  # fmt: skip
    return Run.objects.create(connection=connection, stream=stream, **values)


def operations(monkeypatch: Any) -> Operations:
    """Two entities; Harvest of the first reads well, its Clockify is refused, and its ERP has a queue."""
    monkeypatch.setitem(registry.CONNECTORS, "memory", "tests.integrations.memory_target.MemoryTarget")
    monkeypatch.setenv("TIEOUT_TEST_TOKEN", "kept out of every page")
    target = outbound.target("erp")
    source = outbound.firm(target, "US")
    us = outbound.entity_of(source)
    de = world.entity("DE", "EUR")
    foreign = world.connection("tracker-de", "clockify", de, is_source=True)
    names = {source: ("Harvest US", {"token": {"env": "TIEOUT_TEST_TOKEN"}}), foreign: ("Clockify DE", {}),
             target: ("NetSuite", {"private_key": {"env": "TIEOUT_TEST_TOKEN"}})}  # fmt: skip
    for connection, (name, credentials) in names.items():
        connection.name, connection.credentials = name, credentials
        connection.save()
    files = world.connection("files-us", "files", us, is_source=True)
    files.name, files.base_url, files.settings = "Upload US", "", {
        "time_columns": COLUMNS, "decimal": ",", "date_formats": "DD.MM.YYYY", "currency": "USD",
    }  # fmt: skip
    files.save()
    now = timezone.now()
    stream = Stream.objects.create(
        connection=source, name="time_entries", cursor="2026-11-22T08:00:00Z", succeeded_at=now - timedelta(minutes=6),
        next_due_at=now + timedelta(minutes=9), usual_volume=130.0,
    )  # fmt: skip
    Stream.objects.create(
        connection=source, name="expenses", succeeded_at=now - timedelta(days=2), next_due_at=now,
        held_reason="0 records came where about 40 are usual; the cursor stays until more comes or a person releases the stream.",
    )  # fmt: skip
    Stream.objects.create(connection=foreign, name="approvals", every_seconds=0)
    Breaker.objects.create(
        connection=foreign, changed_at=now, unauthorised_at=now - timedelta(hours=3), probe_at=now + timedelta(minutes=4),
        reason="Clockify answered 401: the token was revoked.",
    )  # fmt: skip
    Breaker.objects.create(
        connection=source, changed_at=now - timedelta(days=9), succeeded_at=now - timedelta(minutes=6)
    )
    Slot.objects.create(connection=target, number=0, holder="worker", lease_until=now + timedelta(minutes=1))
    runs = [run(source, hours_ago=n * 0.75) for n in range(24)]
    run(
        source, "expenses", 5, state=Run.State.HELD, failure="0 records came where about 40 are usual.", filed=0, read=0
    )
    run(source, "expenses", 9, state=Run.State.FAILED, failure="Unavailable: Harvest answered 503.", filed=0, read=0)
    run(source, hours_ago=0.4, state=Run.State.RUNNING, finished_at=None)
    foreign_run = run(foreign, "approvals", 3, state=Run.State.FAILED, failure="Unauthorised: the token was revoked.")
    taken = message(source, "4711", pk=90_001, run_id=runs[0].pk)
    admitted = validation.admit(
        canonical.take_in(source, [(taken.pk, outbound.record(source, 400))]).documents, actor="test"
    )
    assert admitted.ready
    outbound.entries(source, 30)
    outbox.deliver(target.pk)
    books = BOOKS[target.code]
    books.records[3] = replace(books.records[3], hours=Decimal("9.00"))
    books.records.append(replace(books.records[4], number="M-900", key="", memo="Booked by hand"))
    period = AccountingPeriod.objects.get(entity=us)
    AccountingPeriod.objects.create(entity=us, code="2026-11", starts_on="2026-11-01", ends_on="2026-11-30")
    foreign_period = AccountingPeriod.objects.create(
        entity=de, code="2026-10", starts_on="2026-10-01", ends_on="2026-10-31"
    )
    comparison = statements.reconcile(us, period)
    foreign_comparison = statements.reconcile(de, foreign_period)
    MaintenanceWindow.objects.create(
        connection=target, weekday=7, start_time="06:00", minutes=120, zone="Europe/Berlin", reason="Weekly upgrade"
    )
    outbound.entries(source, 12, start=40)
    failed = message(
        source, "636709355", pk=90_002, state=InboxMessage.State.FAILED, attempts=1, run_id=runs[0].pk,
        failure="Field “hours” is “eight”, expected a number.",
    )  # fmt: skip
    for number in range(40):
        state = (InboxMessage.State.DONE, InboxMessage.State.NEW, InboxMessage.State.IGNORED)[number % 3]
        message(source, f"63670{number:04}", pk=91_000 + number, state=state)
    message(
        source, "approval-9", pk=92_000, kind=InboxMessage.Kind.HINT, revision="d-1", headers={"X-Event": "approved"}
    )
    foreign_message = message(foreign, "hidden-1", pk=92_001)
    people = {
        "analyst": world.user("ana", GrantRole.ANALYST, us),
        "controller": world.user("cleo", GrantRole.CONTROLLER, everywhere=True),
        "manager": world.user("pat", GrantRole.PROJECT_MANAGER, us),
        "auditor": world.user("otto", GrantRole.AUDITOR, us),
        "stranger": world.user("gil", GrantRole.ANALYST, de),
    }
    upload = uploads.receive(files, "time", "week-40.csv", CSV.encode(), user=people["analyst"])
    return Operations(
        us=us, de=de, source=source, foreign=foreign, target=target, files=files, stream=stream, run=runs[0],
        failed=failed, taken=taken, foreign_message=foreign_message, foreign_run=foreign_run, upload=upload, period=period,
        comparison=comparison, foreign_comparison=foreign_comparison, **people,
    )  # fmt: skip


def told(firm: Operations) -> Published:
    """The customer of the first entity as its tracker is told it, and as it differs there."""
    firm.source.is_recipient = True
    firm.source.settings = {**firm.source.settings, "provisions": ["customer"]}
    firm.source.save()
    with transaction.atomic():
        publishing.owe(firm.source, reason="its connection changed")
    row = Published.objects.get(connection=firm.source)
    row.number, row.drift, row.drifted_at = "21", {"name": ["Acme", "ACME Inc."]}, timezone.now()
    row.save()
    return row
