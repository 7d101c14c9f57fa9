"""From the source to the ledger: an approved hour comes by reading, by webhook and by file of the night, and is owed once."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.test import Client

from integrations import inbox, registry, sweeper, tasks, wake, webhooks, work
from integrations.models import InboxMessage, Stream
from portal import changes_watch, history
from portal.models import LedgerState, Project, ProjectStatus
from portal.sql import now
from tests.integrations import fake_source
from tests.integrations.fake_source import Vendor, signature
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm

pytestmark = pytest.mark.django_db

DAY = firms.DAY.isoformat()


class Office:
    """A firm whose tracker is in memory; hints go nowhere unless the test works as the worker."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fake_source.VENDORS.clear()
        monkeypatch.setitem(registry.CONNECTORS, "fake", "tests.integrations.fake_source.FakeSource")
        monkeypatch.setenv("HOOK_SECRET", "s3cret")
        monkeypatch.setattr(wake, "up", self._up)
        monkeypatch.setattr(webhooks._waker, "wake", lambda connection_id: self._up("answer_hints", connection_id))
        webhooks.forget()
        self.woken: list[tuple[str, int]] = []
        self.firm: Firm = firms.build()
        self.source = self.firm.source
        self.source.connector = "fake"
        self.source.credentials = {"secret": {"env": "HOOK_SECRET"}}
        self.source.save()
        self.vendor = fake_source.VENDORS[self.source.code] = Vendor()
        self.stream = Stream.objects.create(connection=self.source, name="time", every_seconds=900)

    def _up(self, task: str, number: int) -> bool:
        self.woken.append((task, number))
        return True

    def approve(self, number: int, stamp: str = "2026-10-02T10:00:00Z", **values: object) -> None:
        self.vendor.put(number, stamp, **{"day": DAY, **values})

    def read(self) -> None:
        work.pull(self.stream.pk)

    def notify(self, *numbers: int, delivery: str = "d-1") -> int:
        body = json.dumps({"delivery": delivery, "ids": numbers}).encode()
        answer = Client().post(
            f"/hooks/{self.source.code}/", body, content_type="application/json",
            headers={"X-Signature": signature("s3cret", body)},
        )  # fmt: skip
        return answer.status_code

    def states(self, number: int) -> list[tuple[int, str]]:
        """Version and state of what is owed for an entry."""
        rows = LedgerState.objects.filter(entry__document__external_id=str(number)).order_by("entry_id")
        return list(rows.values_list("entry__version", "state"))


@pytest.fixture
def office(monkeypatch: pytest.MonkeyPatch) -> Office:
    return Office(monkeypatch)


def test_an_approved_hour_is_read_and_owed_to_the_target_which_is_woken(office: Office) -> None:
    office.approve(1)
    office.read()
    assert office.states(1) == [(1, "ready")]
    assert ("deliver", office.firm.target.pk) in office.woken


def test_a_webhook_brings_the_hour_without_waiting_for_the_next_reading(office: Office) -> None:
    office.approve(1)
    assert office.notify(1) == 202
    assert office.woken == [("answer_hints", office.source.pk)]
    tasks.answer_hints(office.source.pk)
    assert office.states(1) == [(1, "ready")]
    assert office.woken[-1] == ("deliver", office.firm.target.pk)


@pytest.mark.case(117, 118, 120)
def test_webhook_repeat_and_reading_meet_in_one_document(office: Office) -> None:
    office.approve(1)
    office.notify(1)
    assert office.notify(1) == 200
    office.notify(1, delivery="d-2")
    tasks.answer_hints(office.source.pk)
    office.read()
    assert office.states(1) == [(1, "ready")]
    assert InboxMessage.objects.filter(kind="record").count() == 1


@pytest.mark.case(5)
def test_hours_that_nobody_approved_yet_are_not_owed(office: Office) -> None:
    office.approve(1, status="submitted")
    office.read()
    assert office.states(1) == []
    office.approve(1, "2026-10-03T10:00:00Z")
    office.read()
    assert office.states(1) == [(1, "ready")]


@pytest.mark.case(15)
def test_an_edit_before_posting_replaces_what_is_owed(office: Office) -> None:
    office.approve(1, hours="8")
    office.read()
    office.approve(1, "2026-10-03T10:00:00Z", hours="6")
    office.read()
    assert office.states(1) == [(1, "cancelled"), (2, "ready")]


@pytest.mark.case(50)
def test_an_approval_that_is_taken_back_before_posting_takes_the_entry_back(office: Office) -> None:
    office.approve(1)
    office.read()
    office.approve(1, "2026-10-03T10:00:00Z", status="withdrawn")
    office.read()
    assert office.states(1) == [(1, "cancelled")]


@pytest.mark.case(1, 14)
def test_an_entry_deleted_at_the_source_is_found_by_night_and_no_longer_owed(office: Office) -> None:
    for number in (1, 2, 3):
        office.approve(number)
    office.read()
    del office.vendor.items["2"]
    tasks.sweep_ids(office.stream.pk)
    assert office.states(2) == [(1, "ready")]
    InboxMessage.objects.filter(state="new").update(next_attempt_at=now() - timedelta(seconds=1))
    tasks.answer_hints(office.source.pk)
    assert office.states(2) == [(1, "cancelled")]
    assert office.states(1) == [(1, "ready")]


@pytest.mark.case(70)
def test_one_unreadable_record_does_not_keep_the_others_from_the_ledger(office: Office) -> None:
    for number in range(1, 6):
        office.approve(number, hours="?" if number == 3 else "1", text=f"Work {number}")
    office.read()
    assert [office.states(number) for number in (1, 2, 3, 4, 5)] == [[(1, "ready")]] * 2 + [[]] + [[(1, "ready")]] * 2
    assert InboxMessage.objects.filter(state="failed").count() == 1


@pytest.mark.case(127)
def test_master_data_that_is_put_right_releases_what_waited_without_anybody_asking(office: Office) -> None:
    status = ProjectStatus.objects.get(project=Project.objects.get(code="ACM-1"))
    history.update_each_with_reason(ProjectStatus, [(status, {"status": "closed"})], reason="Closed by mistake")
    office.approve(1)
    office.read()
    assert office.states(1) == [(1, "held")]
    history.update_each_with_reason(ProjectStatus, [(status, {"status": "open"})], reason="Opened again")
    changes_watch.note("project", [status.project_id])
    office.woken.clear()
    sweeper.sweep()
    assert office.states(1) == [(1, "ready")]
    assert ("deliver", office.firm.target.pk) in office.woken


@pytest.mark.case(2)
def test_a_back_dated_entry_is_read_by_its_stamp_whatever_its_day(office: Office) -> None:
    office.approve(1, "2026-10-02T10:00:00Z")
    office.read()
    office.approve(2, "2026-10-05T10:00:00Z", day="2026-01-15")
    office.read()
    assert office.states(2) == [(1, "ready")]


@pytest.mark.case(135)
def test_after_two_days_down_everything_is_caught_up_and_nothing_twice(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.approve(0)
    office.read()
    for number in range(1, 40):
        office.approve(
            number, f"2026-10-0{3 + number // 20}T{number % 20:02}:00:00Z", text=f"Day {number}", hours="0.5"
        )
    assert office.notify(5, delivery="buffered") == 202
    Stream.objects.update(next_due_at=now() - timedelta(days=2))
    monkeypatch.setattr(wake, "up", lambda task, number: False)
    sweeper.sweep()
    assert [len(office.states(number)) for number in range(40)] == [1] * 40
    assert Stream.objects.get().cursor == max(item["stamp"] for item in office.vendor.items.values())
    assert inbox.take_in(office.source.pk).messages == 0
