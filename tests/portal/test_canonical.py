"""Records become documents once, newer versions follow older ones, and nothing is lost or overwritten."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from django.db import DatabaseError, transaction

from portal import canonical
from portal.models import Connection, Document, Expense, TimeEntry
from portal.records import ExpenseRecord, Reference, SourceStatus
from tests import world

pytestmark = pytest.mark.django_db


@pytest.fixture
def source() -> Connection:
    return world.connection("harvest-us", "harvest", world.entity(), is_source=True)


def test_a_new_record_is_stored_as_version_one_with_the_sources_words(source: Connection) -> None:
    taken = canonical.take_in(source, [(7, world.time_record("4711"))])
    assert taken.done == [7]
    entry = TimeEntry.objects.get(document__external_id="4711")
    assert (entry.version, entry.hours, entry.rate, entry.project_code) == (1, Decimal(8), Decimal(120), "ACM-2213")
    assert (entry.work_date, entry.zone, entry.message_id) == (date(2026, 10, 1), "America/New_York", 7)
    assert entry.document.entity == source.entity


@pytest.mark.case(15)
def test_an_edit_makes_a_second_version_and_keeps_the_first(source: Connection) -> None:
    canonical.take_in(source, [(1, world.time_record())])
    taken = canonical.take_in(source, [(2, world.time_record(revision="2026-10-03T00:00:00Z", hours=Decimal(6)))])
    assert len(taken.documents) == 1
    assert list(TimeEntry.objects.order_by("version").values_list("version", "hours")) == [(1, 8), (2, 6)]
    assert Document.objects.get().current_version == 2


@pytest.mark.case(118)
def test_an_older_copy_that_comes_late_changes_nothing(source: Connection) -> None:
    canonical.take_in(source, [(1, world.time_record(revision="2026-10-05T00:00:00Z", hours=Decimal(6)))])
    taken = canonical.take_in(source, [(2, world.time_record(revision="2026-10-02T00:00:00Z"))])
    assert taken.superseded == [2]
    assert TimeEntry.objects.get().hours == 6


@pytest.mark.case(74)
def test_an_echo_with_a_newer_stamp_and_the_same_content_makes_no_version(source: Connection) -> None:
    canonical.take_in(source, [(1, world.time_record(hours=Decimal(8)))])
    taken = canonical.take_in(
        source, [(2, world.time_record(revision="2026-10-09T00:00:00Z", hours=Decimal("8.0000")))]
    )
    assert (taken.unchanged, taken.documents) == ([2], [])
    assert Document.objects.get().seen_revision == "2026-10-09T00:00:00Z"


@pytest.mark.case(7)
def test_the_same_id_twice_in_one_page_is_one_document_of_the_newest_copy(source: Connection) -> None:
    batch = [(1, world.time_record()), (2, world.time_record(revision="2026-10-04T00:00:00Z", hours=Decimal(3)))]
    taken = canonical.take_in(source, batch)
    assert (taken.done, taken.superseded) == ([2], [1])
    assert TimeEntry.objects.get().hours == 3


@pytest.mark.case(5)
@pytest.mark.parametrize("status", [SourceStatus.DRAFT, SourceStatus.SUBMITTED])
def test_what_is_not_approved_is_seen_and_left(source: Connection, status: SourceStatus) -> None:
    taken = canonical.take_in(source, [(1, world.time_record(status=status))])
    assert taken.ignored == [1]
    assert not Document.objects.exists()


@pytest.mark.case(50)
@pytest.mark.parametrize("status", [SourceStatus.WITHDRAWN, SourceStatus.SUBMITTED, SourceStatus.DELETED])
def test_an_approval_taken_back_is_a_version_that_says_so(source: Connection, status: SourceStatus) -> None:
    canonical.take_in(source, [(1, world.time_record())])
    taken = canonical.take_in(source, [(2, world.time_record(revision="2026-10-03T00:00:00Z", status=status))])
    assert len(taken.documents) == 1
    assert TimeEntry.objects.get(version=2).status == status


def test_an_expense_keeps_its_amount_tax_and_receipt(source: Connection) -> None:
    base = world.time_record("x1")
    record = ExpenseRecord(
        external_id="x1", revision="1", status=base.status, resource=base.resource, project=base.project,
        work_date=base.work_date, billable=True, currency="USD", amount=Decimal("84.50"), category="Travel",
        tax_code="US-NY", tax_amount=Decimal("6.91"), receipt_reference="scan-17.pdf",
    )  # fmt: skip
    canonical.take_in(source, [(1, record), (2, world.time_record("x1"))])
    expense = Expense.objects.get()
    assert (expense.amount, expense.tax_amount, expense.receipt_reference) == (
        Decimal("84.5"),
        Decimal("6.91"),
        "scan-17.pdf",
    )
    assert Document.objects.filter(external_id="x1").count() == 2  # a time entry of the same number is another document


def test_finance_corrects_by_a_version_of_its_own_and_the_source_goes_on_after_it(source: Connection) -> None:
    canonical.take_in(source, [(1, world.time_record())])
    document = Document.objects.get()
    ana = world.user()
    ids = canonical.correct(
        [document.pk], {"project_code": "ACM-9", "project_key": ""}, author=ana, reason="wrong engagement"
    )
    assert ids == [document.pk]
    corrected = TimeEntry.objects.get(version=2)
    assert (corrected.project_code, corrected.author, corrected.reason) == ("ACM-9", ana, "wrong engagement")
    assert canonical.take_in(source, [(2, world.time_record(revision="2026-10-02T11:00:00Z"))]).unchanged == [2]
    canonical.take_in(source, [(3, world.time_record(revision="2026-10-06T00:00:00Z", hours=Decimal(5)))])
    assert TimeEntry.objects.get(version=3).project_code == "ACM-2213"


def test_what_belongs_to_the_source_cannot_be_corrected(source: Connection) -> None:
    canonical.take_in(source, [(1, world.time_record())])
    with pytest.raises(ValueError, match="status"):
        canonical.correct([Document.objects.get().pk], {"status": "approved"}, author=world.user(), reason="because")
    with pytest.raises(ValueError, match="reason"):
        canonical.correct([Document.objects.get().pk], {"project_code": "X"}, author=world.user("bo"), reason=" ")


def test_a_version_cannot_be_changed_after_it_was_written(source: Connection) -> None:
    canonical.take_in(source, [(1, world.time_record(resource=Reference("r2", "", "Bo")))])
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        TimeEntry.objects.update(hours=Decimal(9))
