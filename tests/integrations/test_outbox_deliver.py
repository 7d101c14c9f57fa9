"""Entries go out once, are proved, and every answer that a target can give has one consequence."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from pytest_django.fixtures import Settings

from integrations import outbox, registry, tasks, work
from integrations.errors import InDoubt, Rejected, Unauthorised, Unavailable
from integrations.http import PUSH_SECONDS
from integrations.http.client import TOTAL_SECONDS
from integrations.models import Breaker
from integrations.outbox import claim
from integrations.outbox.claim import DIED
from integrations.protocol import Capabilities
from portal import ledger, sql
from portal.models import (
    Attempt,
    AttemptLine,
    Connection,
    LedgerState,
    LedgerTransition,
    ProjectStatus,
    ReadBack,
    State,
)
from portal.records import Receipt
from reconciliation.models import ExceptionCase, Hold
from tests import world
from tests.integrations import outbound
from tests.integrations.memory_target import BOOKS, Books, altered, answers, fails

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


def test_an_attempt_is_not_lost_while_what_it_sends_is_under_its_lease(
    source: Connection, erp: Connection, books: Books
) -> None:
    ids = outbound.entries(source)
    claim.pushes(erp, registry.receiver(erp), 5, 60.0, idle=True)
    Attempt.objects.update(started_at="2020-01-01T00:00:00Z")
    LedgerState.objects.filter(entry__in=ids).update(lease_until="2100-01-01T00:00:00Z")
    outbox.recover(erp.pk)
    assert (Attempt.objects.get().outcome, outbound.state_of(ids[0]).state) == ("", "sending")
    LedgerState.objects.filter(entry__in=ids).update(lease_until="2020-01-01T00:00:00Z")
    outbox.recover(erp.pk)
    assert (Attempt.objects.get().outcome, outbound.state_of(ids[0]).state) == ("lost", "in_doubt")


@pytest.mark.parametrize("task", [tasks.deliver, tasks.read_back])
def test_a_worker_lets_the_longest_push_end(task: Any, erp: Connection) -> None:
    target = registry.receiver(erp)
    target.capabilities = Capabilities(push_within=PUSH_SECONDS)
    longest = claim.longest_push(target, TOTAL_SECONDS)
    assert task.time_limit > task.soft_time_limit > work.SECONDS + longest


def test_what_is_ready_is_booked_once_read_back_and_posted(source: Connection, erp: Connection, books: Books) -> None:
    ids = outbound.entries(source, 23)
    told = outbox.deliver(erp.pk)
    assert (told.accepted, told.proved) == (23, 23)
    assert set(outbound.states(ids).values()) == {"posted"}
    assert books.by_key() == dict.fromkeys(books.by_key(), 1)
    assert books.hours() == Decimal(184)
    assert [len(keys) for keys in books.pushes] == [5, 5, 5, 5, 3]
    assert ReadBack.objects.filter(is_equal=True).count() == 23
    moves = LedgerTransition.objects.filter(entry=ids[0]).values_list("to_state", flat=True)
    assert list(moves) == ["ready", "sending", "accepted", "posted"]
    pushes = Attempt.objects.filter(purpose="push")
    assert set(pushes.values_list("outcome", flat=True)) == {"accepted"}
    assert not Attempt.objects.filter(ended_at=None).exists()
    assert AttemptLine.objects.filter(attempt__purpose="push", outcome="accepted").exclude(body_hash="").count() == 23


def test_a_second_delivery_sends_nothing(source: Connection, erp: Connection, books: Books) -> None:
    outbound.entries(source, 3)
    outbox.deliver(erp.pk)
    outbox.deliver(erp.pk)
    assert len(books.pushes) == 1


def test_a_shift_pushes_no_more_than_its_limit(source: Connection, erp: Connection, books: Books) -> None:
    ids = outbound.entries(source, 12)
    assert outbox.deliver(erp.pk, limit=7).accepted == 7
    assert sorted(outbound.states(ids).values()) == ["posted"] * 7 + ["ready"] * 5


@pytest.mark.case(56)
def test_entities_take_turns_at_one_target(erp: Connection, books: Books) -> None:
    many = outbound.entries(outbound.firm(erp, "US"), 200)
    small = outbound.entries(outbound.firm(erp, "GB"), 10)
    outbox.deliver(erp.pk, limit=40)
    states = outbound.states(many + small)
    assert [states[i] for i in small] == ["posted"] * 10
    assert sum(states[i] == "posted" for i in many) == 30


@pytest.mark.case(62)
def test_a_partly_accepted_batch_keeps_what_was_taken_and_stops_what_was_refused(
    source: Connection, erp: Connection, books: Books
) -> None:
    ids = outbound.entries(source, 4)
    refusal = Rejected(
        "Project is closed for time entry", status=400, code="project-inactive", vendor_code="PRJ_CLOSED"
    )
    books.faults.append(answers(lambda said: [said[0], refusal, said[2], refusal]))
    outbox.deliver(erp.pk)
    assert [outbound.states(ids)[i] for i in ids] == ["posted", "rejected", "posted", "rejected"]
    case = ExceptionCase.objects.get()
    assert case.rule == "rejected-by-target"
    assert case.open_holds == 2
    assert Hold.objects.filter(sentence__contains="Project is closed for time entry").count() == 2
    assert AttemptLine.objects.filter(outcome="rejected", code="project-inactive").count() == 2


@pytest.mark.case(126)
def test_a_cause_that_refuses_400_postings_is_one_case(source: Connection, erp: Connection, books: Books) -> None:
    books.capabilities = type(books.capabilities)(batch_size=100, concurrency=4)
    outbound.entries(source, 400)
    refusal = Rejected("Time entry is not allowed", code="schema-changed", vendor_code="USER_ERROR")
    books.faults.extend([answers(lambda said: [refusal] * len(said))] * 4)
    outbox.deliver(erp.pk)
    assert ExceptionCase.objects.get().open_holds == 400


@pytest.mark.case(57)
def test_a_time_out_after_the_commit_is_looked_up_and_adopted_never_sent_again(
    source: Connection, erp: Connection, books: Books
) -> None:
    [entry] = outbound.entries(source)
    books.faults.append(fails(InDoubt("no answer within 55 seconds"), booked=True))
    outbox.deliver(erp.pk)
    assert outbound.state_of(entry).state == "in_doubt"
    outbox.deliver(erp.pk)
    assert len(books.pushes) == 1
    assert books.finds == []  # too early to ask
    outbound.make_due([entry])
    outbox.settle_doubts(erp.pk)
    assert outbound.state_of(entry).state == "accepted"
    outbox.read_back(erp.pk)
    assert outbound.state_of(entry).state == "posted"
    assert len(books.pushes) == 1
    assert len(books.records) == 1


def _age(entry: int, seconds: float) -> None:
    """Let an entry have stood where it stands for some seconds."""
    LedgerState.objects.filter(entry=entry).update(moved_at=sql.now() - timedelta(seconds=seconds))


@pytest.mark.case(57)
def test_an_absent_entry_goes_again_with_the_same_key_only_when_the_lost_call_can_no_longer_be_booked() -> None:
    erp = outbound.target(upstream_timeout=300.0)
    books = BOOKS[erp.code]
    source = outbound.firm(erp)
    [entry] = outbound.entries(source)
    books.faults.append(fails(InDoubt("connection reset")))
    outbox.deliver(erp.pk)
    for look_up, age in enumerate((31, 121, 290), start=1):
        _age(entry, age)
        outbound.make_due([entry])
        outbox.deliver(erp.pk)
        assert outbound.state_of(entry).state == "in_doubt"
        assert outbound.state_of(entry).look_ups == look_up
    _age(entry, 361)
    outbound.make_due([entry])
    outbox.deliver(erp.pk)
    assert outbound.state_of(entry).state == "posted"
    assert [len(books.pushes), len(set(books.pushes[0] + books.pushes[1])), len(books.records)] == [2, 1, 1]


def test_where_the_same_key_overwrites_one_look_up_is_enough() -> None:
    erp = outbound.target(upsert=True)
    books = BOOKS[erp.code]
    source = outbound.firm(erp)
    [entry] = outbound.entries(source)
    books.faults.append(fails(InDoubt("connection reset")))
    outbox.deliver(erp.pk)
    outbound.make_due([entry])
    outbox.deliver(erp.pk)
    assert outbound.state_of(entry).state == "posted"
    assert len(books.records) == 1


def test_a_target_that_cannot_be_asked_books_at_most_once_and_calls_a_person() -> None:
    erp = outbound.target(find_by_key=False)
    books = BOOKS[erp.code]
    source = outbound.firm(erp)
    [entry] = outbound.entries(source)
    books.faults.append(fails(InDoubt("connection reset")))
    outbox.deliver(erp.pk)
    outbound.make_due([entry])
    outbox.deliver(erp.pk)
    assert outbound.state_of(entry).state == "in_doubt"
    assert ExceptionCase.objects.get().rule == "in-doubt-too-long"
    assert len(books.pushes) == 1


def test_a_doubt_that_is_not_settled_in_half_an_hour_becomes_a_case_and_resolves_with_it(
    source: Connection, erp: Connection, books: Books
) -> None:
    [entry] = outbound.entries(source)
    books.faults.append(fails(InDoubt("connection reset"), booked=True))
    outbox.deliver(erp.pk)
    books.find_error = Unavailable("down", status=500)
    _age(entry, 1900)
    outbound.make_due([entry])
    outbox.settle_doubts(erp.pk)
    case = ExceptionCase.objects.get(rule="in-doubt-too-long")
    assert case.state == "open"
    books.find_error = None
    outbox.check_now([entry])
    assert outbound.state_of(entry).state == "posted"
    case.refresh_from_db()
    assert case.state == "resolved"


@pytest.mark.case(58)
def test_an_entry_whose_worker_died_is_in_doubt_and_looked_up_at_once(
    source: Connection, erp: Connection, books: Books
) -> None:
    [entry] = outbound.entries(source)
    ledger.send([(entry, 1, "hash")], lease_seconds=0, actor="a worker that dies")
    assert outbox.recover(erp.pk) == 1
    assert outbound.state_of(entry).state == "in_doubt"
    assert LedgerTransition.objects.filter(entry=entry, reason=DIED).count() == 1
    outbox.settle_doubts(erp.pk)
    assert len(books.finds) == 1
    assert books.pushes == []


@pytest.mark.case(61)
def test_errors_that_differ_from_call_to_call_are_each_kept_with_their_entries(
    source: Connection, erp: Connection, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vendors put a number of their own into every error; a round of answers is still one move, not one for each error."""
    ids = outbound.entries(source, 20)
    rounds: list[int] = []
    doubt = ledger.doubt

    def counted(refs: Sequence[ledger.Ref], **more: Any) -> list[int]:
        rounds.append(len(refs))
        return doubt(refs, **more)

    monkeypatch.setattr(ledger, "doubt", counted)
    books.faults.extend(fails(InDoubt(f"operation {number} timed out")) for number in range(4))
    outbox.deliver(erp.pk)
    doubts = LedgerTransition.objects.filter(entry__in=ids, to_state="in_doubt").values_list("entry", "reason", "at")
    assert {entry for entry, _, _ in doubts} == set(ids)
    assert {reason.partition(" timed")[0] for _, reason, _ in doubts} == {f"operation {number}" for number in range(4)}
    assert sum(rounds) == 20
    assert len(rounds) == len({at for _, _, at in doubts})  # one move for each transaction


def test_a_sentence_where_a_number_belongs_is_no_receipt(source: Connection, erp: Connection, books: Books) -> None:
    [entry] = outbound.entries(source)
    books.faults.append(lambda _, sent: [Receipt(key=sent[0].key, number="Error: the record could not be saved")])
    outbox.deliver(erp.pk)
    assert outbound.state_of(entry).state == "in_doubt"


def test_a_receipt_for_another_key_or_too_few_outcomes_prove_nothing(
    source: Connection, erp: Connection, books: Books
) -> None:
    ids = outbound.entries(source, 5)
    books.faults.append(answers(lambda said: said[:4]))
    outbox.deliver(erp.pk)
    assert set(outbound.states(ids).values()) == {"in_doubt"}
    [other] = outbound.entries(source, 1, start=50)
    books.faults.append(answers(lambda said: [Receipt(key="somebody else's", number="M-9")]))
    outbox.deliver(erp.pk)
    assert outbound.state_of(other).state == "in_doubt"


def test_one_number_never_proves_two_entries(source: Connection, erp: Connection, books: Books) -> None:
    ids = outbound.entries(source, 2)
    books.faults.append(lambda _, sent: [Receipt(key=one.key, number="M-1") for one in sent])
    outbox.deliver(erp.pk)
    assert sorted(outbound.states(ids).values()) == ["accepted", "in_doubt"]


@pytest.mark.case(63)
def test_accepted_without_a_record_is_never_posted_and_becomes_a_case(
    source: Connection, erp: Connection, books: Books
) -> None:
    [entry] = outbound.entries(source)
    books.faults.append(lambda _, postings: [Receipt(key=postings[0].key, number="GHOST-1")])
    outbox.deliver(erp.pk)
    assert outbound.state_of(entry).state == "accepted"
    assert not ExceptionCase.objects.exists()  # it may only be slow to show it
    for _ in range(5):
        outbound.make_due([entry])
        outbox.read_back(erp.pk)
    assert outbound.state_of(entry).state == "accepted"
    assert ExceptionCase.objects.get().rule == "not-persisted"
    assert ReadBack.objects.filter(entry=entry, is_equal=False, found={}).exists()


def test_a_target_that_shows_its_records_late_is_read_back_until_it_does(
    source: Connection, erp: Connection, books: Books
) -> None:
    [entry] = outbound.entries(source)
    books.lag = 2
    outbox.deliver(erp.pk)
    assert outbound.state_of(entry).state == "accepted"
    for _ in range(2):
        outbound.make_due([entry])
        outbox.read_back(erp.pk)
    assert outbound.state_of(entry).state == "posted"


@pytest.mark.case(65)
def test_a_key_that_was_sent_with_another_body_is_not_sent_again(
    source: Connection, erp: Connection, books: Books
) -> None:
    [entry] = outbound.entries(source)
    LedgerState.objects.filter(entry=entry).update(body_hash="0" * 64)
    outbox.deliver(erp.pk)
    assert outbound.state_of(entry).state == "held"
    assert ExceptionCase.objects.get().rule == "key-reused"
    assert books.pushes == []


@pytest.mark.case(66)
def test_a_429_is_waited_out_without_an_attempt_burnt_a_breaker_or_a_case(
    source: Connection, erp: Connection, books: Books
) -> None:
    ids = outbound.entries(source, 30)
    books.faults.append(fails(Unavailable("slow down", status=429, retry_after=0.0)))
    outbox.deliver(erp.pk)
    outbox.deliver(erp.pk)
    assert set(outbound.states(ids).values()) == {"posted"}
    assert not ExceptionCase.objects.exists()
    assert Breaker.objects.get().state == "closed"
    assert LedgerState.objects.filter(attempts__gt=1).count() == 0
    assert books.by_key() == dict.fromkeys(books.by_key(), 1)


@pytest.mark.case(67)
def test_refused_credentials_are_one_case_and_everything_waits_until_they_hold_again(
    source: Connection, erp: Connection, books: Books
) -> None:
    ids = outbound.entries(source, 40)
    refusal = Unauthorised("invalid_grant", status=401)
    books.faults.extend([fails(refusal)] * 8)
    books.check_error = refusal
    outbox.deliver(erp.pk)
    waiting = LedgerState.objects.filter(entry__in=ids)
    assert set(waiting.values_list("state", "waits_on", "attempts")) == {("ready", "unauthorised", 0)}
    assert ExceptionCase.objects.get().rule == "connection-unauthorised"
    pushed = len(books.pushes)
    Breaker.objects.update(probe_at="2020-01-01T00:00:00Z")
    outbox.deliver(erp.pk)
    assert len(books.pushes) == pushed
    books.check_error = None
    books.faults.clear()
    Breaker.objects.update(probe_at="2020-01-01T00:00:00Z")
    outbox.deliver(erp.pk)
    assert set(outbound.states(ids).values()) == {"posted"}
    assert ExceptionCase.objects.get().state == "resolved"
    assert LedgerState.objects.filter(attempts__gt=1).count() == 0


@pytest.mark.case(41, 69)
def test_a_target_that_holds_other_figures_leaves_the_entry_accepted_with_a_case_that_names_them(
    source: Connection, erp: Connection, books: Books
) -> None:
    ids = outbound.entries(source, 2)
    books.alter = altered(rate=Decimal("121.00"), project="9999")
    outbox.deliver(erp.pk)
    assert set(outbound.states(ids).values()) == {"accepted"}
    case = ExceptionCase.objects.get()
    assert (case.rule, case.open_holds) == ("divergent-read-back", 2)
    assert "project and rate" in case.sentence
    assert ReadBack.objects.earliest("id").differences == {"rate": ["120", "121"], "project": ["1514-US", "9999"]}
    books.alter = altered(hours=Decimal("8.0"), rate=Decimal(120))  # the same values, spelt otherwise
    outbox.check_now(ids)
    assert set(outbound.states(ids).values()) == {"posted"}
    case.refresh_from_db()
    assert case.state == "resolved"


@pytest.mark.case(69)
def test_a_posted_record_that_changes_later_is_noticed_and_stays_in_evidence(
    source: Connection, erp: Connection, books: Books, settings: Settings
) -> None:
    ids = outbound.entries(source, 2)
    outbox.deliver(erp.pk)
    books.records[0] = altered(hours=Decimal("7.50"))(books.records[0])
    settings.TIME_SCALE = 0  # a day has passed
    outbox.read_back(erp.pk, again=True)
    assert set(outbound.states(ids).values()) == {"posted"}
    case = ExceptionCase.objects.get()
    assert (case.rule, case.open_holds) == ("divergent-read-back", 1)
    assert ReadBack.objects.filter(is_equal=True).count() == 3


@pytest.mark.case(70)
def test_an_entry_that_never_comes_to_a_result_is_stopped_and_the_others_flow() -> None:
    erp = outbound.target(batch_size=1, upsert=True)
    books = BOOKS[erp.code]
    source = outbound.firm(erp)
    [bad, *good] = outbound.entries(source, 6)
    key = LedgerState.objects.get(entry=bad).entry.idempotency_key.hex
    original = books.book

    def book(postings):  # type: ignore[no-untyped-def]
        if postings[0].key == key:
            raise InDoubt("connection reset")
        return original(postings)

    books.book = book  # type: ignore[method-assign]
    for _ in range(12):
        outbound.make_due([bad])
        outbox.deliver(erp.pk)
    assert set(outbound.states(good).values()) == {"posted"}
    assert outbound.state_of(bad).state == "held"
    case = ExceptionCase.objects.get()
    assert (case.rule, case.open_holds) == ("poison", 1)
    assert sum(key in keys for keys in books.pushes) == 5


@pytest.mark.case(73)
def test_a_record_that_changed_meanwhile_is_applied_again_once(
    source: Connection, erp: Connection, books: Books
) -> None:
    ids = outbound.entries(source, 1)
    stale = Rejected("Record has been changed", code="record-changed", vendor_code="RCRD_HAS_BEEN_CHANGED")
    books.faults.append(answers(lambda said: [stale]))
    books.records.clear()
    outbox.deliver(erp.pk)
    assert set(outbound.states(ids).values()) == {"posted"}
    others = outbound.entries(source, 1, start=10)
    books.faults.extend([answers(lambda said: [stale])] * 2)
    outbox.deliver(erp.pk)
    assert set(outbound.states(others).values()) == {"rejected"}


def test_a_connector_that_fails_itself_leaves_its_entries_in_doubt_and_the_others_go(
    source: Connection, erp: Connection, books: Books, caplog: pytest.LogCaptureFixture
) -> None:
    ids = outbound.entries(source, 10)

    def broken(_: Books, __: object) -> list[Receipt]:
        raise KeyError("a bug")

    books.faults.append(broken)
    outbox.deliver(erp.pk)
    assert sorted(outbound.states(ids).values()) == ["in_doubt"] * 5 + ["posted"] * 5
    assert "a bug" in caplog.text


@pytest.mark.case(125)
def test_a_number_that_a_person_names_counts_only_when_the_target_confirms_it(
    source: Connection, erp: Connection, books: Books
) -> None:
    person = world.user(everywhere=True)
    ids = outbound.entries(source, 2)
    books.faults.append(fails(InDoubt("connection reset"), booked=True))
    outbox.deliver(erp.pk)
    with pytest.raises(outbox.NotConfirmed, match="holds this entry as M-1, not as M-7"):
        outbox.adopt(ids[0], "M-7", person, "found it")
    books.records[0] = altered(key="", hours=Decimal("7.00"))(books.records[0])
    with pytest.raises(outbox.NotConfirmed, match="hours: sent 8, found 7"):
        outbox.adopt(ids[0], "M-1", person, "found it")
    with pytest.raises(outbox.NotConfirmed, match="no record M-9"):
        outbox.adopt(ids[0], "M-9", person, "found it")
    books.records[0] = altered(hours=Decimal("8.00"))(books.records[0])
    call_command("adopt", str(ids[0]), "M-1", by=person.username, reason="found it")
    assert [outbound.states(ids)[i] for i in ids] == ["posted", "in_doubt"]
    second = books.records[1].work_date
    books.records[:] = [altered(work_date=second)(books.records[0])]
    with pytest.raises(outbox.NotConfirmed, match="already proves entry"):
        outbox.adopt(ids[1], "M-1", person, "found it")


@pytest.mark.case(60)
def test_asking_for_the_same_entry_twice_sends_it_once(source: Connection, erp: Connection, books: Books) -> None:
    [entry] = outbound.entries(source)
    books.faults.append(fails(InDoubt("connection reset"), booked=True))
    outbox.deliver(erp.pk)
    first, second = outbox.check_now([entry]), outbox.check_now([entry])
    assert first == second
    assert first[entry].startswith("Posted")
    assert len(books.pushes) == 1
    assert len(books.finds) == 3  # looked up, read back, and read back once more for the second question
    assert State(outbound.state_of(entry).state) is State.POSTED


@pytest.mark.case(46)
def test_a_period_that_the_target_closed_meanwhile_is_the_same_cause_as_our_own_rule(
    source: Connection, erp: Connection, books: Books
) -> None:
    ids = outbound.entries(source, 3)
    refusal = Rejected("The posting period is closed", status=400, code="period-closed", vendor_code="PERIOD_CLOSED")
    books.faults.append(answers(lambda said: [refusal] * len(said)))
    outbox.deliver(erp.pk)
    assert set(outbound.states(ids).values()) == {"rejected"}
    case = ExceptionCase.objects.get()
    assert (case.rule, case.subject_type, case.open_holds) == ("period-closed", "period", 3)


@pytest.mark.case(68)
def test_a_field_that_the_target_no_longer_knows_is_one_case_for_all_entries(
    source: Connection, erp: Connection, books: Books
) -> None:
    outbound.entries(source, 5)
    refusal = Rejected("Field custcol_x is mandatory", status=400, code="schema-changed", vendor_code="USER_ERROR")
    books.faults.append(answers(lambda said: [refusal] * len(said)))
    outbox.deliver(erp.pk)
    case = ExceptionCase.objects.get()
    assert (case.open_holds, case.detail["code"]) == (5, "schema-changed")


def test_a_project_that_was_closed_after_admission_is_stopped_at_the_door(
    source: Connection, erp: Connection, books: Books
) -> None:
    ids = outbound.entries(source, 3)
    ProjectStatus.objects.all().delete()
    outbox.deliver(erp.pk)
    assert set(outbound.states(ids).values()) == {"held"}
    assert books.pushes == []
    assert ExceptionCase.objects.get().rule == "project-closed"
