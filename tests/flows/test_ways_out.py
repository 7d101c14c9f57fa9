"""Every cause that a target gives rise to has a way out that can be gone: asked for on its page, and done by the outbox."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from integrations import outbox, registry, statements
from integrations.errors import ConnectorError, InDoubt, Rejected
from portal import ledger
from portal.models import (
    AccountingPeriod,
    AuditEvent,
    Connection,
    GrantRole,
    LedgerEntry,
    LedgerState,
    LedgerTransition,
    LegalEntity,
    Project,
    ProjectStatus,
    Rate,
    State,
    User,
)
from portal.models import (
    Receipt as StoredReceipt,
)
from portal.records import Posting, Receipt, SourceStatus
from reconciliation import changes, corrections, operations, questions
from reconciliation.fixes import ADVICE, FIXES
from reconciliation.models import ExceptionCase, Hold, Operation, OperationRow, TargetQuestion
from reconciliation.rates import unsettled
from reconciliation.rules import BY_CODE, EVERY
from reconciliation.rules.outside import OUTSIDE
from reconciliation.views.fixing import fixes_of
from tests import bills, world
from tests.integrations import outbound
from tests.integrations.memory_target import BOOKS, Books, altered, fails
from tests.invariants import assert_all_hold
from tests.reconciliation.desk import declared

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _memory(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setitem(registry.CONNECTORS, "memory", "tests.integrations.memory_target.MemoryTarget")
    settings.TIME_SCALE = 0.0


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
def ana(source: Connection) -> User:
    return world.user("ana", GrantRole.ANALYST, source.entity)


@pytest.fixture
def desk(ana: User, client: Client) -> Client:
    client.force_login(ana)
    return client


def ghosts(books: Books, postings: Sequence[Posting]) -> Sequence[Receipt | ConnectorError]:
    """The target gives numbers and keeps nothing."""
    return [Receipt(key=one.key, number=f"GHOST-{one.key[:6]}") for one in postings]


def not_persisted(source: Connection, erp: Connection, books: Books, number: int = 1, start: int = 0) -> list[int]:
    """Entries that the target accepted and does not hold, and whose cause is open."""
    ids = outbound.entries(source, number, start=start)
    books.faults.append(ghosts)
    outbox.deliver(erp.pk)
    for _ in range(5):
        outbound.make_due(ids)
        outbox.read_back(erp.pk)
    assert set(outbound.states(ids).values()) == {"accepted"}
    return ids


def not_booked(source: Connection, erp: Connection, books: Books) -> list[int]:
    """Entries that the target took, and that its posting refuses to book."""
    books.alter = altered(is_booked=False, waits="The voucher is out of balance.")
    ids = outbound.entries(source)
    outbox.deliver(erp.pk)
    return ids


def key_reused(source: Connection, erp: Connection, books: Books) -> list[int]:
    """Entries whose key was sent with another body, which the target did not get."""
    ids = outbound.entries(source)
    LedgerState.objects.filter(entry__in=ids).update(body_hash="0" * 64)
    outbox.deliver(erp.pk)
    assert set(outbound.states(ids).values()) == {"held"}
    return ids


def posted(source: Connection, erp: Connection, books: Books) -> list[int]:
    """Entries in the target's books."""
    ids = outbound.entries(source)
    outbox.deliver(erp.pk)
    assert set(outbound.states(ids).values()) == {"posted"}
    return ids


def gone(source: Connection, erp: Connection, books: Books) -> list[int]:
    """Entries that somebody deleted in the target."""
    ids = posted(source, erp, books)
    books.records.clear()
    outbox.read_back(erp.pk, again=True)
    return ids


def differing(source: Connection, erp: Connection, books: Books) -> list[int]:
    """Entries of which the target changed a figure after it was proved."""
    ids = posted(source, erp, books)
    books.alter = altered(hours=Decimal(7))
    outbox.read_back(erp.pk, again=True)
    return ids


def refused(source: Connection, erp: Connection, books: Books) -> list[int]:
    """Entries that the target said no to."""
    ids = outbound.entries(source)
    books.faults.append(lambda _, sent: [Rejected("inactive", code="project-inactive") for _ in sent])
    outbox.deliver(erp.pk)
    return ids


def a_refused_reversal(source: Connection, erp: Connection, books: Books) -> list[int]:
    """The reversal of a booked entry, refused."""
    ids = posted(source, erp, books)
    made = corrections.reverse(ids, by=None, reason="by mistake")
    books.faults.append(lambda _, sent: [Rejected("inactive", code="project-inactive") for _ in sent])
    outbox.deliver(erp.pk)
    return list(made.reversals.values())


def into_other_books(source: Connection, erp: Connection, books: Books) -> list[int]:
    """The reversal of a booked entry, whose approval was withdrawn, that was due while its target was another entity's."""
    made = corrections.reverse(withdrawn(source, erp, books), by=None, reason="approval withdrawn")
    for owner in (world.entity("GB", "GBP"), source.entity):
        erp.entity = owner
        erp.save()
        if owner != source.entity:
            outbox.deliver(erp.pk)
    return list(made.reversals.values())


def not_taken_back(source: Connection, erp: Connection, books: Books) -> list[int]:
    """The reversal of a booked entry at a target that takes no negative postings, which its people deleted there."""
    ids = posted(source, erp, books)
    made = corrections.reverse(ids, by=None, reason="by mistake")
    books.faults.append(lambda _, sent: [Rejected("none below zero", code="no-opposite") for _ in sent])
    outbox.deliver(erp.pk)
    books.records.clear()
    return list(made.reversals.values())


def doubtful(source: Connection, erp: Connection, books: Books) -> list[int]:
    """Entries that got no answer, for longer than anybody waits."""
    ids = outbound.entries(source)
    books.find_error = InDoubt("no answer")
    books.faults.append(fails(InDoubt("no answer"), booked=True))
    outbox.deliver(erp.pk)
    outbox.recover(erp.pk)
    return ids


def poisoned(source: Connection, erp: Connection, books: Books) -> list[int]:
    """Entries that came to no result again and again."""
    ids = outbound.entries(source)
    LedgerState.objects.filter(entry__in=ids).update(attempts=5)
    outbox.deliver(erp.pk)
    return ids


def withdrawn(source: Connection, erp: Connection, books: Books) -> list[int]:
    """Entries whose approval was taken back after they were posted."""
    ids = posted(source, erp, books)
    outbound.withdraw(source, 0)
    return ids


def deleted(source: Connection, erp: Connection, books: Books) -> list[int]:
    """Entries that the source deleted after they were posted."""
    ids = posted(source, erp, books)
    outbound.take_in(source, [outbound.record(source, 0, 9, status=SourceStatus.DELETED)])
    return ids


def _october(source: Connection) -> tuple[LegalEntity, AccountingPeriod]:
    return outbound.entity_of(source), AccountingPeriod.objects.get(entity=source.entity, code="2026-10")


def off_balance(source: Connection, erp: Connection, books: Books) -> list[int]:
    """Entries that the target's statement does not hold."""
    ids = posted(source, erp, books)
    books.records.clear()
    statements.reconcile(*_october(source))
    return ids


def priced_otherwise(source: Connection, erp: Connection, books: Books) -> list[int]:
    """Entries that are booked at a rate of which an emergency agreed another since."""
    ids = posted(source, erp, books)
    cleo, _ = (world.user(name, GrantRole.CONTROLLER, source.entity) for name in ("cleo", "zoe"))
    lines = [changes.Line("rate", rate.pk, "change", {"amount": "131"}) for rate in Rate.objects.all()]
    made = changes.draft(by=cleo, title="At once", reason="the customer waits", lines=lines, emergency=True)
    changes.apply(declared(made, cleo))
    assert unsettled.look(made.pk) == len(ids)
    return ids


Situation = Callable[[Connection, Connection, Books], list[int]]
SITUATIONS: dict[str, Situation] = {
    "rejected-by-target": refused,
    "not-taken-back": not_taken_back,
    "in-doubt-too-long": doubtful,
    "not-persisted": not_persisted,
    "not-booked": not_booked,
    "poison": poisoned,
    "divergent-read-back": differing,
    "gone-in-target": gone,
    "key-reused": key_reused,
    "books-of-another-entity": into_other_books,
    "approval-withdrawn-after-posting": withdrawn,
    "deleted-at-source": deleted,
    "out-of-balance": off_balance,
    "books-at-other-rates": priced_otherwise,
}
INPUTS: dict[str, Callable[[], dict[str, Any]]] = {
    "move-project": lambda: {"project": Project.objects.get(code="ACM-2").pk},
    "hand-back": lambda: {"message": "Please put it right."},
}
WAYS = [(rule.code, code) for rule in OUTSIDE for code in rule.remedies if code in FIXES]


def case_of(rule: str) -> ExceptionCase:
    """The open case of a rule."""
    return ExceptionCase.objects.get(rule=rule, state="open")


def take(desk: Client, rule: str, fix: str, *, reason: str = "Agreed with the bookkeeper.") -> Operation:
    """Take a remedy on the page of its cause, see its dry-run, confirm it with a reason, and let the worker do it."""
    asked = {**INPUTS.get(fix, dict)(), "reason": reason}
    response = desk.post(reverse("fix", args=[case_of(rule).pk, fix]), asked)
    assert response.status_code == 303, response.content.decode()
    operation = Operation.objects.latest("pk")
    desk.post(reverse("operation", args=[operation.pk]), {"action": "confirm", "reason": reason})
    operations.run(operation.pk)
    operation.refresh_from_db()
    return operation


@pytest.mark.parametrize("rule", EVERY, ids=lambda rule: rule.code)
def test_every_remedy_is_an_advice_or_a_fix_that_works_in_the_state_in_which_its_rule_leaves_entries(rule: Any) -> None:
    fixes = [FIXES[code] for code in rule.remedies if code in FIXES]
    assert {code for code in rule.remedies if code not in FIXES} <= set(ADVICE)
    for fix in fixes:
        assert fix.states & rule.leaves, f"{rule.code} leaves entries {sorted(rule.leaves)}, and {fix.code} takes none"
    for state in rule.leaves:
        ways = [code for code in rule.remedies if code in ADVICE or state in FIXES[code].states]
        assert ways, f"{rule.code} leaves entries {state}, and none of its remedies can be taken then"
    assert "waive" not in rule.remedies or rule.waivable


def test_every_cause_outside_of_the_rules_that_holds_entries_is_walked_here() -> None:
    walked = {rule.code for rule in OUTSIDE if rule.leaves and any(code in FIXES for code in rule.remedies)}
    assert walked == set(SITUATIONS)


@pytest.mark.parametrize(("rule", "fix"), WAYS, ids=["-".join(way) for way in WAYS])
def test_every_way_out_can_be_gone_from_where_its_cause_leaves_the_entries(
    rule: str, fix: str, desk: Client, source: Connection, erp: Connection, books: Books
) -> None:
    second_project(erp, source)
    refusal = (rule, fix) == ("rejected-by-target", "call-back-reversal")
    situation = a_refused_reversal if refusal else SITUATIONS[rule]
    ids = situation(source, erp, books)
    assert {str(state) for state in outbound.states(ids).values()} <= {str(state) for state in BY_CODE[rule].leaves}
    operation = take(desk, rule, fix)
    said = list(operation.rows.values_list("result", "message"))
    assert {result for result, _ in said} == {OperationRow.Result.DONE}, said
    books.find_error, books.alter = None, None
    for _ in range(4):
        outbound.make_due([*ids, *LedgerEntry.objects.filter(state_row__state="in_doubt").values_list("pk", flat=True)])
        outbox.deliver(erp.pk)
    assert_all_hold()


def second_project(erp: Connection, source: Connection) -> None:
    """Another open project of the same contract that both sides know."""
    first = Project.objects.get()
    made = Project.objects.create(
        code="ACM-2", name="Acme phase 2", entity=first.entity, customer=first.customer, contract=first.contract
    )
    ProjectStatus.objects.create(project=made, status="open", valid_from=outbound.BEGINNING)
    outbound._known("project", source, erp, "p2", "1515", made.pk)


@pytest.mark.case(63, 64)
def test_what_was_accepted_and_never_kept_goes_again_under_a_new_key_after_a_second_look(
    desk: Client, ana: User, source: Connection, erp: Connection, books: Books
) -> None:
    ids = not_persisted(source, erp, books, 3)
    looked = len(books.finds)
    operation = take(desk, "not-persisted", "book-again", reason="The ERP lost them in its upgrade.")
    assert (operation.done, books.pushes[1:]) == (3, [])  # decided, and nothing was sent before the target was asked
    assert set(outbound.states(ids).values()) == {"accepted"}
    outbox.deliver(erp.pk)
    assert len(books.finds) > looked
    assert set(outbound.states(ids).values()) == {"cancelled"}
    again = {entry.document_id: entry for entry in LedgerEntry.objects.filter(generation=1)}
    outbox.deliver(erp.pk)
    for entry in LedgerEntry.objects.filter(pk__in=ids):
        made = again[entry.document_id]
        assert (made.hours, made.version, made.part) == (entry.hours, entry.version, entry.part)
        assert made.idempotency_key != entry.idempotency_key
        asked = TargetQuestion.objects.get(entry=entry)
        assert (asked.answer, asked.successor_id, asked.by, asked.reason) == (
            "absent", made.pk, ana, "The ERP lost them in its upgrade.",
        )  # fmt: skip
    assert set(outbound.states([made.pk for made in again.values()]).values()) == {"posted"}
    assert sorted(books.by_key().values()) == [1, 1, 1]
    assert StoredReceipt.objects.filter(entry__in=ids).count() == 3  # kept as evidence
    move = LedgerTransition.objects.get(entry=ids[0], to_state="cancelled")
    assert (move.actor, "upgrade" in move.reason) == ("ana", True)
    assert AuditEvent.objects.get(action="operation.book-again").reason == "The ERP lost them in its upgrade."
    assert not ExceptionCase.objects.filter(state="open").exists()
    assert_all_hold()


@pytest.mark.case(63)
def test_a_record_that_shows_up_at_the_second_look_is_adopted_and_nothing_goes_again(
    desk: Client, source: Connection, erp: Connection, books: Books
) -> None:
    [entry] = outbound.entries(source)
    books.lag = 100
    outbox.deliver(erp.pk)
    for _ in range(5):
        outbound.make_due([entry])
        outbox.read_back(erp.pk)
    assert case_of("not-persisted").open_holds == 1
    books.lag = 0
    take(desk, "not-persisted", "book-again")
    outbox.deliver(erp.pk)
    assert outbound.state_of(entry).state == "posted"
    assert (TargetQuestion.objects.get().answer, len(books.pushes)) == ("holds", 1)
    assert not ExceptionCase.objects.filter(state="open").exists()
    assert_all_hold()


@pytest.mark.case(63, 69)
def test_a_record_that_shows_up_after_it_was_booked_again_is_loud_in_the_reconciliation(
    desk: Client, source: Connection, erp: Connection, books: Books
) -> None:
    [entry] = not_persisted(source, erp, books)
    receipt = outbound.state_of(entry).receipt_number
    take(desk, "not-persisted", "book-again")
    outbox.deliver(erp.pk)
    outbox.deliver(erp.pk)
    [line] = books.records
    late = LedgerEntry.objects.get(pk=entry).idempotency_key.hex
    books.records.append(altered(key=late, number=receipt)(line))
    run = statements.reconcile(*_october(source))
    assert run.state == "out_of_balance"
    assert [result.reason for result in run.results.filter(outcome="missing_left")] == [
        f"Record {receipt} bears our key, while the entry is cancelled."
    ]


@pytest.mark.case(63)
def test_while_the_target_cannot_be_asked_nothing_is_decided(
    desk: Client, source: Connection, erp: Connection, books: Books
) -> None:
    [entry] = not_persisted(source, erp, books)
    take(desk, "not-persisted", "book-again")
    books.find_error = InDoubt("no answer")
    outbox.deliver(erp.pk)
    assert outbound.state_of(entry).state == "accepted"
    assert TargetQuestion.objects.get().answered_at is None
    books.find_error = None
    outbound.make_due([entry])
    outbox.deliver(erp.pk)
    assert outbound.state_of(entry).state == "cancelled"


@pytest.mark.case(63)
def test_a_decision_without_a_reason_or_about_what_was_not_missed_is_refused(
    ana: User, source: Connection, erp: Connection, books: Books
) -> None:
    [entry] = not_persisted(source, erp, books)
    with pytest.raises(ValueError, match="Say why"):
        questions.ask([entry], by=ana, reason=" ", if_absent="book_again")
    outbox.deliver(erp.pk)
    [fine] = outbound.entries(source, 1, start=40)
    outbox.deliver(erp.pk)
    with pytest.raises(questions.NotAskable, match="was not missed"):
        questions.ask([fine], by=ana, reason="to be sure", if_absent="book_again")
    with pytest.raises(operations.OperationRefused, match="was not missed"):
        operations.plan("book-again", user=ana, parameters={}, reason="to be sure", entry_ids=[fine])
    assert not TargetQuestion.objects.exists()


@pytest.mark.case(63, 50)
def test_what_was_withdrawn_meanwhile_is_taken_off_and_not_booked_again(
    ana: User, source: Connection, erp: Connection, books: Books
) -> None:
    [entry] = not_persisted(source, erp, books)
    questions.ask([entry], by=ana, reason="lost", if_absent="book_again")
    outbound.withdraw(source, 0)
    outbox.deliver(erp.pk)
    assert outbound.state_of(entry).state == "cancelled"
    assert LedgerEntry.objects.count() == 1
    assert AuditEvent.objects.get(action="target-asked").reason == "lost"
    assert not ExceptionCase.objects.filter(state="open").exists()
    assert_all_hold()


@pytest.mark.case(80)
def test_what_was_deleted_in_the_target_is_left_out_for_good_when_that_was_right(
    desk: Client, source: Connection, erp: Connection, books: Books
) -> None:
    [entry] = gone(source, erp, books)
    take(desk, "gone-in-target", "leave-out", reason="Billed by hand instead.")
    outbox.deliver(erp.pk)
    assert outbound.state_of(entry).state == "cancelled"
    outbound.take_in(source, [outbound.record(source, 0)])
    assert LedgerEntry.objects.count() == 1
    assert_all_hold()


@pytest.mark.case(80)
def test_what_was_deleted_in_the_target_is_booked_again_only_when_a_person_says_so(
    desk: Client, source: Connection, erp: Connection, books: Books
) -> None:
    [entry] = gone(source, erp, books)
    outbox.deliver(erp.pk)
    assert (outbound.state_of(entry).state, len(books.pushes)) == ("posted", 1)
    take(desk, "gone-in-target", "book-again")
    outbox.deliver(erp.pk)
    outbox.deliver(erp.pk)
    assert outbound.state_of(entry).state == "cancelled"
    assert [line.key for line in books.records] == [LedgerEntry.objects.get(generation=1).idempotency_key.hex]
    assert_all_hold()


@pytest.mark.case(65)
def test_a_key_that_the_target_holds_is_adopted_and_its_figures_decide(
    desk: Client, source: Connection, erp: Connection, books: Books
) -> None:
    [equal] = outbound.entries(source)
    books.faults.append(fails(InDoubt("no answer"), booked=True))
    outbox.deliver(erp.pk)
    LedgerState.objects.filter(entry=equal).update(body_hash="0" * 64)
    outbound.make_due([equal])
    stop(equal, erp)
    take(desk, "key-reused", "check-in-target")
    outbox.deliver(erp.pk)
    assert outbound.state_of(equal).state == "posted"
    assert (len(books.pushes), TargetQuestion.objects.get().answer) == (1, "holds")
    assert not ExceptionCase.objects.filter(state="open").exists()


def stop(entry_id: int, erp: Connection) -> None:
    """Let the outbox find that an entry's key was used otherwise, without asking the target first."""
    from portal import ledger

    state = outbound.state_of(entry_id)
    if state.state == State.IN_DOUBT:
        ledger.retry(
            [(entry_id, state.fence)], from_state=State.IN_DOUBT, after_seconds=0, actor="test", reason="believed lost"
        )
    outbox.deliver(erp.pk)
    assert outbound.state_of(entry_id).state == "held"


@pytest.mark.case(65, 69)
def test_a_key_that_the_target_holds_with_other_figures_becomes_a_difference(
    desk: Client, source: Connection, erp: Connection, books: Books
) -> None:
    [entry] = outbound.entries(source)
    books.faults.append(fails(InDoubt("no answer"), booked=True))
    outbox.deliver(erp.pk)
    books.alter = altered(hours=Decimal(3))
    LedgerState.objects.filter(entry=entry).update(body_hash="0" * 64)
    stop(entry, erp)
    take(desk, "key-reused", "book-again")
    outbox.deliver(erp.pk)
    assert outbound.state_of(entry).state == "accepted"
    assert set(Hold.objects.filter(entry=entry, closed_at=None).values_list("rule", flat=True)) == {
        "divergent-read-back"
    }
    assert LedgerEntry.objects.count() == 1


@pytest.mark.case(65)
def test_a_key_under_which_the_target_holds_nothing_gives_way_to_a_new_one(
    desk: Client, source: Connection, erp: Connection, books: Books
) -> None:
    [entry] = key_reused(source, erp, books)
    take(desk, "key-reused", "check-in-target")
    for _ in range(3):
        outbound.make_due([entry])
        outbox.deliver(erp.pk)
    assert (outbound.state_of(entry).state, case_of("key-reused").regressions) == ("held", 0)
    assert books.pushes == []
    take(desk, "key-reused", "book-again")
    for _ in range(4):
        outbound.make_due([entry])
        outbox.deliver(erp.pk)
    assert outbound.state_of(entry).state == "cancelled"
    [line] = books.records
    assert line.key == LedgerEntry.objects.get(generation=1).idempotency_key.hex
    assert_all_hold()


@pytest.mark.case(69, 108)
def test_what_the_target_changed_is_reversed_and_booked_again_unchanged(
    desk: Client, source: Connection, erp: Connection, books: Books
) -> None:
    [entry] = differing(source, erp, books)
    books.alter = None
    take(desk, "divergent-read-back", "reverse-and-rebook")
    reversal, again = LedgerEntry.objects.exclude(pk=entry).order_by("pk")
    assert (again.generation, again.hours, outbound.state_of(again.pk).waits_on) == (1, 8, f"reversal:{reversal.pk}")
    outbox.deliver(erp.pk)
    outbox.deliver(erp.pk)
    assert outbound.states([entry, reversal.pk, again.pk]) == {
        entry: "reversed", reversal.pk: "posted", again.pk: "posted",
    }  # fmt: skip
    assert [line.hours for line in books.records] == [8, -8, 8]
    assert_all_hold()


@pytest.mark.case(108)
def test_a_reversal_is_called_back_and_what_was_reversed_is_put_back_on_the_entrys_own_page(
    desk: Client, source: Connection, erp: Connection, books: Books
) -> None:
    [entry] = posted(source, erp, books)
    on_entry(desk, entry, "reverse")
    reversal = LedgerEntry.objects.get(reverses=entry)
    page = desk.get(reverse("entry", args=[reversal.pk])).content.decode()
    assert "Call the reversal back" in page
    on_entry(desk, reversal.pk, "call-back-reversal")
    assert outbound.states([entry, reversal.pk]) == {entry: "posted", reversal.pk: "cancelled"}
    on_entry(desk, entry, "reverse")
    outbox.deliver(erp.pk)
    assert outbound.state_of(entry).state == "reversed"
    assert "Put back" in desk.get(reverse("entry", args=[entry])).content.decode()
    on_entry(desk, entry, "put-back")
    outbox.deliver(erp.pk)
    [again] = LedgerEntry.objects.filter(generation=1, reverses=None)
    assert (outbound.state_of(again.pk).state, again.tags) == ("posted", [f"puts-back:{entry}"])
    assert books.hours() == 8
    assert_all_hold()


def on_entry(desk: Client, entry_id: int, fix: str) -> None:
    """Take a fix on an entry's own page."""
    response = desk.post(reverse("fix_entry", args=[entry_id, fix]), {"reason": "By mistake."})
    assert response.status_code == 303, response.content.decode()
    operation = Operation.objects.latest("pk")
    desk.post(reverse("operation", args=[operation.pk]), {"action": "confirm", "reason": "By mistake."})
    operations.run(operation.pk)
    operation.refresh_from_db()
    assert operation.done == 1, list(operation.rows.values_list("message", flat=True))


@pytest.mark.case(16, 108)
def test_what_a_target_without_opposites_shows_no_more_leaves_with_its_reversal_and_the_new_version_goes(
    desk: Client, source: Connection, erp: Connection, books: Books
) -> None:
    [entry] = posted(source, erp, books)
    [held] = outbound.take_in(source, [outbound.record(source, 0, 2, hours=Decimal(6))]).held
    take(desk, "changed-after-posting", "reverse-and-rebook")
    reversal = LedgerEntry.objects.get(reverses=entry)
    books.faults.append(lambda _, sent: [Rejected("none below zero", code="no-opposite") for _ in sent])
    outbox.deliver(erp.pk)
    states = {entry: "posted", reversal.pk: "rejected", held: "ready"}
    assert outbound.states(list(states)) == states

    operation = take(desk, "not-taken-back", "taken-back-there", reason="Deleted in the ERP.")
    assert "holds the record no more" in operation.rows.get().promised, "nothing changes before the target has answered"
    outbox.deliver(erp.pk)
    assert outbound.states(list(states)) == states, "the target still holds the record"
    assert TargetQuestion.objects.get(entry=entry).answer == "holds"
    assert case_of("not-taken-back").open_holds == 1

    books.records.clear()
    take(desk, "not-taken-back", "taken-back-there", reason="Deleted now.")
    outbox.deliver(erp.pk)
    outbox.deliver(erp.pk)
    assert outbound.states(list(states)) == {entry: "cancelled", reversal.pk: "cancelled", held: "posted"}
    assert [line.hours for line in books.records] == [6]
    assert not ExceptionCase.objects.exclude(rule__in=("not-taken-back", "changed-after-posting")).exists(), (
        "the absence of what was taken back surprises nobody"
    )
    assert not ExceptionCase.objects.filter(state="open").exists()
    assert_all_hold()


@pytest.mark.case(108)
def test_what_is_taken_back_there_and_booked_again_unchanged_goes_under_a_new_key(
    desk: Client, source: Connection, erp: Connection, books: Books
) -> None:
    [entry] = differing(source, erp, books)
    take(desk, "divergent-read-back", "reverse-and-rebook")
    reversal, again = LedgerEntry.objects.exclude(pk=entry).order_by("pk")
    books.faults.append(lambda _, sent: [Rejected("none below zero", code="no-opposite") for _ in sent])
    outbox.deliver(erp.pk)
    books.alter = None
    books.records.clear()
    on_entry(desk, reversal.pk, "taken-back-there")
    outbox.deliver(erp.pk)
    outbox.deliver(erp.pk)
    assert outbound.states([entry, reversal.pk, again.pk]) == {
        entry: "cancelled", reversal.pk: "cancelled", again.pk: "posted",
    }  # fmt: skip
    assert [line.key for line in books.records] == [again.idempotency_key.hex]
    assert_all_hold()


def billed(entry_id: int) -> None:
    """A customer is billed for an entry, by the system that took it."""
    entry = LedgerEntry.objects.get(pk=entry_id)
    firm: Any = SimpleNamespace(target=entry.target, entity=entry.entity, customer=entry.customer)
    bills.allocate(bills.bill(firm), entry_id)


def said_to_be_taken_back(ana: User, source: Connection, erp: Connection, books: Books) -> tuple[int, int]:
    """A booked entry whose reversal the target refused, and which its people are said to have taken back; its reversal."""
    [reversal] = not_taken_back(source, erp, books)
    original = LedgerEntry.objects.get(pk=reversal).reverses_id
    assert original is not None
    questions.taken_back_there([reversal], by=ana, reason="deleted there")
    return original, reversal


@pytest.mark.case(108)
def test_a_reversal_that_is_called_back_takes_its_question_along_and_the_hour_stays(
    desk: Client, ana: User, source: Connection, erp: Connection, books: Books
) -> None:
    entry, reversal = said_to_be_taken_back(ana, source, erp, books)
    on_entry(desk, reversal, "call-back-reversal")
    assert TargetQuestion.objects.get(entry=entry).answer == "withdrawn"
    outbox.deliver(erp.pk)
    outbox.read_back(erp.pk, again=True)
    assert outbound.states([entry, reversal]) == {entry: "posted", reversal: "cancelled"}
    assert_all_hold()


@pytest.mark.case(108)
@pytest.mark.parametrize("is_billed", [False, True])
def test_what_is_not_taken_back_any_more_stays_whatever_the_target_shows(
    ana: User, source: Connection, erp: Connection, books: Books, is_billed: bool
) -> None:
    entry, reversal = said_to_be_taken_back(ana, source, erp, books)
    state = LedgerState.objects.get(entry=reversal)  # by a road that knows no questions
    ledger.cancel([(reversal, state.fence)], State.REJECTED, actor="test", reason="called back")
    if is_billed:
        billed(entry)
    outbox.deliver(erp.pk)
    assert outbound.states([entry, reversal]) == {entry: "posted", reversal: "cancelled"}
    assert TargetQuestion.objects.get(entry=entry).answer == "withdrawn"


@pytest.mark.case(108)
def test_a_reversal_that_was_refused_for_another_reason_is_not_said_to_be_taken_back_there(
    ana: User, source: Connection, erp: Connection, books: Books
) -> None:
    ids = posted(source, erp, books)
    made = corrections.reverse(ids, by=None, reason="by mistake")
    books.faults.append(lambda _, sent: [Rejected("no such project", code="project-inactive") for _ in sent])
    outbox.deliver(erp.pk)
    [reversal] = made.reversals.values()
    assert outbound.state_of(reversal).state == "rejected"
    assert "taken-back-there" not in {fix.code for fix in fixes_of("rejected", is_reversal=True)}
    with pytest.raises(questions.NotAskable, match="refused for another reason"):
        questions.taken_back_there([reversal], by=ana, reason="deleted there")


def test_what_was_billed_before_the_target_was_looked_at_is_not_left_out(
    desk: Client, ana: User, source: Connection, erp: Connection, books: Books
) -> None:
    [entry] = gone(source, erp, books)
    questions.ask([entry], by=ana, reason="billed by hand", if_absent="leave_out")
    billed(entry)
    outbox.deliver(erp.pk)
    assert outbound.state_of(entry).state == "posted"
    assert TargetQuestion.objects.get(entry=entry).answer == "withdrawn"
    with pytest.raises(questions.NotAskable, match="stands on an invoice"):
        questions.ask([entry], by=ana, reason="billed by hand", if_absent="leave_out")


@pytest.mark.case(108)
def test_only_a_refused_reversal_is_said_to_be_taken_back_there(
    ana: User, source: Connection, erp: Connection, books: Books
) -> None:
    [entry] = posted(source, erp, books)
    with pytest.raises(questions.NotAskable, match="no reversal that its target refused"):
        questions.taken_back_there([entry], by=ana, reason="deleted")
    with pytest.raises(ValueError, match="who took it back"):
        questions.taken_back_there([entry], by=ana, reason=" ")
    assert not TargetQuestion.objects.exists()


@pytest.mark.case(16)
def test_asking_about_a_held_new_version_asks_about_what_stands_for_it(
    desk: Client, source: Connection, erp: Connection, books: Books
) -> None:
    [entry] = posted(source, erp, books)
    [held] = outbound.take_in(source, [outbound.record(source, 0, 2, hours=Decimal(6))]).held
    books.records.clear()
    take(desk, "changed-after-posting", "check-in-target")
    assert TargetQuestion.objects.get().entry_id == entry
    outbox.deliver(erp.pk)
    assert case_of("gone-in-target").open_holds == 1
    take(desk, "gone-in-target", "leave-out")
    outbox.deliver(erp.pk)
    outbox.deliver(erp.pk)
    assert outbound.states([entry, held]) == {entry: "cancelled", held: "posted"}
    assert_all_hold()
