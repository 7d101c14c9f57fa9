"""Keys that never replay an old answer, and the order in which things that belong together go."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import pytest
from django.test import Client

from integrations import outbox, registry
from integrations.errors import ConnectorError, InDoubt, Rejected
from portal.models import AuditEvent, Connection, LedgerEntry, LedgerState, Project, ProjectStatus, Rate, State, User
from portal.records import Posting, Receipt, Reference, SourceStatus
from reconciliation import certifying, corrections, matching, operations, readiness, validation
from reconciliation.models import ExceptionCase, ProjectMonth, Route
from tests import world
from tests.integrations import outbound
from tests.integrations.memory_target import BOOKS, Books, fails
from tests.reconciliation import firm as firms

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.CONNECTORS, "memory", "tests.integrations.memory_target.MemoryTarget")


@pytest.fixture
def erp() -> Connection:
    return outbound.target()


@pytest.fixture
def source(erp: Connection) -> Connection:
    return outbound.firm(erp)


@pytest.fixture
def books(erp: Connection) -> Books:
    return BOOKS[erp.code]


@pytest.fixture
def ana() -> User:
    return world.user(everywhere=True)


def refuses(books: Books, postings: Sequence[Posting]) -> Sequence[Receipt | ConnectorError]:
    """The target refuses everything once."""
    return [Rejected("project is inactive", code="project-inactive") for _ in postings]


class Replaying:
    """A target that answers a key it has seen as it answered then, whatever is sent now; the first is refused."""

    def __init__(self) -> None:
        self.answers: dict[str, Receipt | ConnectorError] = {}

    def __call__(self, books: Books, postings: Sequence[Posting]) -> Sequence[Receipt | ConnectorError]:
        for posting in postings:
            if posting.key not in self.answers:
                [self.answers[posting.key]] = books.book([posting]) if self.answers else refuses(books, [posting])
        return [self.answers[posting.key] for posting in postings]


def re_post(user: User, entry_id: int) -> int:
    """Re-post as a person does; the live entry of the document."""
    operation = operations.plan("re-post", user=user, parameters={}, reason="cause is gone", entry_ids=[entry_id])
    operations.run(operations.confirm(operation, user=user).pk)
    row = operation.rows.get()
    assert row.result == "done", row.message
    return row.successor_id or row.entry_id


def entry_of(entry_id: int) -> LedgerEntry:
    return LedgerEntry.objects.select_related("state_row", "project", "contract", "customer").get(pk=entry_id)


def key_of(entry_id: int) -> str:
    return LedgerEntry.objects.get(pk=entry_id).idempotency_key.hex


@pytest.mark.case(64)
def test_content_that_changed_after_a_refusal_goes_under_a_key_that_has_no_answer_yet(
    source: Connection, erp: Connection, books: Books, ana: User
) -> None:
    [entry] = outbound.entries(source)
    replaying = Replaying()
    books.faults.extend([replaying, replaying])
    outbox.deliver(erp.pk)
    assert outbound.states([entry])[entry] == "rejected"
    Rate.objects.update(amount=Decimal(130))
    Route.objects.update(policy={"rate_tolerance": "50"})
    again = re_post(ana, entry)
    assert (again != entry, key_of(again) != key_of(entry)) == (True, True)
    assert LedgerEntry.objects.get(pk=again).generation == 1
    outbox.deliver(erp.pk)
    assert outbound.states([entry, again]) == {entry: "cancelled", again: "posted"}
    assert books.pushes == [[key_of(entry)], [key_of(again)]]
    assert [line.rate for line in books.records] == [130]


@pytest.mark.case(64, 65)
def test_the_same_content_goes_again_under_the_same_key(
    source: Connection, erp: Connection, books: Books, ana: User
) -> None:
    [entry] = outbound.entries(source)
    books.faults.append(refuses)
    outbox.deliver(erp.pk)
    assert re_post(ana, entry) == entry
    outbox.deliver(erp.pk)
    assert books.pushes == [[key_of(entry)]] * 2
    assert outbound.states([entry])[entry] == "posted"


@pytest.mark.case(64, 80)
def test_what_was_deleted_in_the_erp_is_booked_again_under_a_key_of_the_next_generation(
    source: Connection, erp: Connection, books: Books, ana: User
) -> None:
    [entry] = outbound.entries(source)
    outbox.deliver(erp.pk)
    books.records.clear()  # somebody deletes it there; its key would still be answered
    reversal = corrections.reverse([entry], by=ana, reason="deleted in the ERP").reversals[entry]
    outbox.deliver(erp.pk)
    again = corrections.put_back([entry], by=ana, reason="it was right")[entry]
    outbox.deliver(erp.pk)
    keys = [key_of(each) for each in (entry, reversal, again)]
    assert len(set(keys)) == 3
    assert books.pushes == [[key] for key in keys]
    assert [line.key for line in books.records] == keys[1:]
    assert outbound.states([entry, again]) == {entry: "reversed", again: "posted"}


@pytest.mark.case(64)
def test_what_was_deleted_at_source_and_comes_back_has_a_key_of_its_own_version(
    source: Connection, erp: Connection, books: Books
) -> None:
    [entry] = outbound.entries(source)
    books.faults.append(refuses)
    outbox.deliver(erp.pk)
    outbound.take_in(source, [outbound.record(source, 0, 2, status=SourceStatus.DELETED)])
    [again] = outbound.take_in(source, [outbound.record(source, 0, 3, hours=Decimal(6))]).ready
    assert outbound.states([entry])[entry] == "cancelled"
    outbox.deliver(erp.pk)
    assert books.pushes == [[key_of(entry)], [key_of(again)]]
    assert [(line.key, line.hours) for line in books.records] == [(key_of(again), 6)]


@pytest.mark.case(71, 16, 113)
def test_a_reversal_goes_before_its_successor_and_a_refused_one_keeps_it_back(
    source: Connection, erp: Connection, books: Books, ana: User
) -> None:
    [entry] = outbound.entries(source)
    outbox.deliver(erp.pk)
    [held] = outbound.take_in(source, [outbound.record(source, 0, 2, hours=Decimal(6))]).held
    reversal = corrections.reverse([entry], by=ana, reason="edited").reversals[entry]
    books.faults.append(refuses)
    outbox.deliver(erp.pk)
    outbox.deliver(erp.pk)
    assert outbound.states([entry, reversal, held]) == {entry: "posted", reversal: "rejected", held: "ready"}
    assert books.pushes == [[key_of(entry)], [key_of(reversal)]]
    re_post(ana, reversal)
    outbox.deliver(erp.pk)
    outbox.deliver(erp.pk)
    assert books.pushes[2:] == [[key_of(reversal)], [key_of(held)]]
    assert [line.hours for line in books.records] == [8, -8, 6]
    assert outbound.states([entry, reversal, held]) == {entry: "reversed", reversal: "posted", held: "posted"}


@pytest.mark.case(113)
def test_of_a_reversal_and_its_new_version_neither_is_done_while_the_other_is_in_doubt_or_refused(
    source: Connection, erp: Connection, books: Books, ana: User, client: Client
) -> None:
    """Two legs of one correction through the outbox: the first is lost on its way, then the second is refused."""
    [entry] = outbound.entries(source)
    outbox.deliver(erp.pk)
    [anew] = outbound.take_in(source, [outbound.record(source, 0, 2, hours=Decimal(6))]).held
    reversal = corrections.reverse([entry], by=ana, reason="edited").reversals[entry]
    both = [entry, reversal, anew]
    books.faults.append(fails(InDoubt("no answer within 55 seconds"), booked=True))
    outbox.deliver(erp.pk)
    outbox.deliver(erp.pk)
    assert outbound.states(both) == {entry: "posted", reversal: "in_doubt", anew: "ready"}
    assert LedgerState.objects.get(entry=anew).waits_on
    assert books.pushes == [[key_of(entry)], [key_of(reversal)]], (
        "nobody knows of the first leg, so the second does not go"
    )
    books.faults.append(refuses)
    outbound.make_due([reversal])
    outbox.deliver(erp.pk)
    outbox.deliver(erp.pk)
    assert outbound.states(both) == {entry: "reversed", reversal: "posted", anew: "rejected"}
    case = ExceptionCase.objects.get(state="open")
    assert case.open_holds == 1
    [hold] = case.holds.filter(closed_at=None)
    assert (hold.entry_id, "project is inactive" in hold.sentence) == (anew, True)
    assert books.hours() == 0, "the work stands nowhere, and says so until the second leg is through"
    month = ProjectMonth.objects.get(
        project=Project.objects.get(), period__starts_on=entry_of(anew).work_date.replace(day=1)
    )
    assert (month.stopped, month.under_way) == (1, 0)
    assert "project is inactive" in readiness.why_not_billed(entry_of(anew)).words
    client.force_login(ana)
    hangs = f"reversal {reversal} took entry {entry} out of the books, and entry {anew} in its place is rejected"
    for leg in both:
        page = client.get(f"/ledger/{leg}/").content.decode()
        assert hangs in page
        assert f'href="/ledger/{reversal if leg == anew else anew}/"' in page
    period = entry_of(anew).period
    assert period is not None
    matching.run(period.entity, period)
    with pytest.raises(certifying.NotCertifiable, match="A correction hangs with one leg"):
        certifying.prepare(period, ana, "It is being looked at.", {"target_invoice": "by hand"})
    re_post(ana, anew)
    outbox.deliver(erp.pk)
    case.refresh_from_db()
    assert (case.state, books.hours()) == ("resolved", 6)
    assert [line.hours for line in books.records] == [8, -8, 6], "each leg is booked once"
    assert outbound.states(both) == {entry: "reversed", reversal: "posted", anew: "posted"}
    assert "Only one of two legs" not in client.get(f"/ledger/{anew}/").content.decode()
    matching.run(period.entity, period)
    assert certifying.prepare(period, ana, "So far.", {"target_invoice": "by hand"}).state == "prepared"


@pytest.mark.case(109)
def test_nothing_is_taken_back_before_it_is_known_to_be_booked(
    source: Connection, erp: Connection, books: Books, ana: User
) -> None:
    """Ready, in doubt, refused: each is refused with what to do instead, and no reversal exists."""
    [entry] = outbound.entries(source)
    for fault, state, hint in (
        (None, "ready", "cancel or correct it instead"),
        (fails(InDoubt("no answer within 55 seconds"), booked=True), "in_doubt", "wait until its outcome is known"),
    ):
        if fault is not None:
            books.faults.append(fault)
            outbox.deliver(erp.pk)
        assert outbound.states([entry]) == {entry: state}
        with pytest.raises(corrections.NotReversible, match=f"nothing is receipted; {hint}"):
            corrections.reverse([entry], by=ana, reason="edited")
        assert not LedgerEntry.objects.exclude(reverses=None).exists()
    outbound.make_due([entry])
    outbox.deliver(erp.pk)
    reversal = corrections.reverse([entry], by=ana, reason="edited").reversals[entry]
    with pytest.raises(corrections.NotReversible, match=f"being taken back already by entry {reversal}"):
        corrections.reverse([entry], by=ana, reason="once more")
    outbox.deliver(erp.pk)
    assert outbound.states([entry, reversal]) == {entry: "reversed", reversal: "posted"}


@pytest.mark.case(71, 29)
def test_work_on_a_project_that_the_erp_does_not_know_yet_goes_when_it_does(
    source: Connection, erp: Connection, books: Books
) -> None:
    Route.objects.update(policy={"parent_missing": "wait"})
    ours = Project.objects.get()
    fresh = Project.objects.create(
        code="NEW-1", name="New", entity=ours.entity, customer=ours.customer, contract=ours.contract
    )
    ProjectStatus.objects.create(project=fresh, status="open", valid_from=date(2020, 1, 1))
    child, other = outbound.take_in(
        source,
        [outbound.record(source, 0, project=Reference("", "NEW-1", "")), outbound.record(source, 1)],
    ).ready
    outbox.deliver(erp.pk)
    assert outbound.states([child, other]) == {child: "ready", other: "posted"}
    row = LedgerState.objects.get(entry=child)
    assert (row.waits_on, row.attempts) == (f"parent:project:{fresh.pk}", 0)
    from portal import changes_watch

    arrived = firms.key(erp, "project", fresh.pk, "1600")
    changes_watch.note("crosswalk", [arrived.pk])
    validation.follow_changes()
    outbox.deliver(erp.pk)
    assert outbound.states([child])[child] == "posted"
    assert books.records[-1].project == "1600"


@pytest.mark.case(55)
def test_an_edit_after_posting_is_seen_by_its_content_and_told(
    source: Connection, erp: Connection, books: Books
) -> None:
    """A source that locks nothing: the same stamp with another content is an edit as well."""
    [entry] = outbound.entries(source)
    outbox.deliver(erp.pk)
    echo = outbound.take_in(source, [outbound.record(source, 0, 2)])
    assert (echo.ready, echo.held) == ([], [])
    [held] = outbound.take_in(source, [outbound.record(source, 0, 3, hours=Decimal("7.50"))]).held
    case = ExceptionCase.objects.get(rule="changed-after-posting")
    assert (case.open_holds, outbound.states([entry, held])) == (1, {entry: State.POSTED, held: State.HELD})
    assert [line.hours for line in books.records] == [8]
    assert not AuditEvent.objects.exists()
