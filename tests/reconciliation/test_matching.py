"""A month ties out when tracker, ledger and target say the same, and every way in which they do not has a name."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command

from integrations import outbox, registry, statements
from integrations.errors import Unavailable
from portal.models import AccountingPeriod, Connection, LedgerState, StatementLine
from portal.records import DocumentKind
from portal.records import StatementLine as Line
from portal.sql import now
from reconciliation import corrections, matching
from reconciliation.models import ExceptionCase, ReconciliationResult, ReconciliationRun, Route
from tests import world
from tests.integrations import outbound
from tests.integrations.memory_target import BOOKS, Books, altered

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


def _reconcile(source: Connection) -> ReconciliationRun:
    entity = outbound.entity_of(source)
    return statements.reconcile(entity, AccountingPeriod.objects.get(entity=entity))


def test_a_shared_target_that_knows_no_key_of_the_entity_is_not_read_as_its_statement(
    source: Connection, erp: Connection
) -> None:
    other = world.entity("OTHER", "GBP")
    Route.objects.create(entity=other, source=source, target=erp, kind="time", valid_from=date(2026, 1, 1))
    found = _reconcile(source)
    assert (found.state, "has no key for" in found.failure) == ("failed", True)
    assert not StatementLine.objects.exists()


def _found(run: ReconciliationRun, leg: str) -> dict[str, int]:
    return dict(run.totals[leg]["outcomes"])


def _reasons(run: ReconciliationRun) -> list[str]:
    return list(run.results.exclude(outcome="matched").order_by("id").values_list("reason", flat=True))


@pytest.mark.case(74)
def test_a_month_in_which_all_three_say_the_same_is_balanced_and_settles_its_entries(
    source: Connection, erp: Connection, books: Books
) -> None:
    ids = outbound.entries(source, 30)
    outbox.deliver(erp.pk)
    run = _reconcile(source)
    assert run.state == "balanced"
    assert _found(run, "tracker_ledger") == {"matched": 30}
    assert _found(run, "ledger_target") == {"matched": 30}
    assert set(outbound.states(ids).values()) == {"reconciled"}
    assert outbound.documents(source) == 30  # the target's echo of our own writes is recognised by its key
    leg = run.totals["ledger_target"]
    assert (Decimal(leg["hours"]["left"]), Decimal(leg["hours"]["right"])) == (Decimal(240), Decimal(240))
    assert Decimal(leg["money"]["USD"]["left"]) == Decimal(leg["money"]["USD"]["right"]) == Decimal(28800)
    again = _reconcile(source)
    assert again.state == "balanced"
    assert again.totals == run.totals
    assert LedgerState.objects.filter(fence=6).count() == 0  # a second run moves nothing


def test_what_waits_is_open_with_its_reason_and_not_out_of_balance(
    source: Connection, erp: Connection, books: Books
) -> None:
    outbound.entries(source, 2)
    stopped = outbound.take_in(source, [outbound.record(source, 40, hours=Decimal(30))])
    assert len(stopped.held) == 1
    books.lag = 10
    outbox.deliver(erp.pk)
    run = _reconcile(source)
    assert run.state == "balanced"
    assert _found(run, "tracker_ledger") == {"matched": 2, "open": 1}
    assert _found(run, "ledger_target") == {"open": 2}
    assert "Held: hours-out-of-range" in _reasons(run)[0]
    assert "not read back equal yet" in _reasons(run)[1]


def test_withdrawn_history_and_cancelled_documents_match_because_nothing_is_owed(
    source: Connection, erp: Connection
) -> None:
    outbound.entries(source, 1)
    outbound.withdraw(source, 0)
    Connection.objects.filter(pk=source.pk).update(cut_over_on=date(2026, 10, 2))
    outbound.take_in(source, [outbound.record(source, 28)])  # on the first, before the cut-over
    run = _reconcile(source)
    assert run.state == "balanced"
    reasons = sorted(run.results.values_list("reason", flat=True))
    assert reasons == [
        "Before the cut-over on 2 Oct 2026: history, not posted.",
        "Before the cut-over on 2 Oct 2026: history, not posted.",
    ]


def test_an_approval_withdrawn_after_posting_is_a_surplus_until_the_reversal_stands(
    source: Connection, erp: Connection, books: Books
) -> None:
    ids = outbound.entries(source, 2)
    outbox.deliver(erp.pk)
    outbound.withdraw(source, 0)
    run = _reconcile(source)
    assert run.state == "out_of_balance"
    assert _found(run, "tracker_ledger") == {"matched": 1, "missing_left": 1}
    assert "It is withdrawn at the source, while it stands on the ledger" in _reasons(run)[0]
    corrections.reverse([ids[0]], by=world.user(everywhere=True), reason="withdrawn")
    outbox.deliver(erp.pk)
    assert books.hours() == Decimal(8)
    after = _reconcile(source)
    assert after.state == "balanced"
    assert outbound.states(ids)[ids[0]] == "reversed"
    assert Decimal(after.totals["ledger_target"]["hours"]["right"]) == Decimal(8)


@pytest.mark.case(71)
def test_a_correction_after_posting_ties_out_when_the_reversal_and_the_new_version_stand(
    source: Connection, erp: Connection, books: Books
) -> None:
    [entry] = outbound.entries(source, 1)
    outbox.deliver(erp.pk)
    outbound.take_in(source, [outbound.record(source, 0, 2, hours=Decimal("6.00"))])
    run = _reconcile(source)
    assert _found(run, "tracker_ledger") == {"hours_differ": 1}
    assert "version 1 is posted" in _reasons(run)[0]
    assert "Held: changed-after-posting" in _reasons(run)[0]
    corrections.reverse([entry], by=world.user(everywhere=True), reason="edited")
    outbox.deliver(erp.pk)
    outbox.deliver(erp.pk)
    assert [line.hours for line in books.records] == [Decimal(8), Decimal(-8), Decimal(6)]
    assert _reconcile(source).state == "balanced"


@pytest.mark.case(69, 80)
def test_every_way_in_which_the_target_differs_has_a_name_and_a_case(
    source: Connection, erp: Connection, books: Books
) -> None:
    outbound.entries(source, 8)
    outbox.deliver(erp.pk)
    lines = books.records
    lines[0] = altered(hours=Decimal("7.50"))(lines[0])
    lines[1] = altered(rate=Decimal("100.00"))(lines[1])
    lines[2] = altered(work_date=date(2026, 10, 20))(lines[2])
    lines[3] = altered(project="9999")(lines[3])
    lines[4] = altered(currency="EUR")(lines[4])
    double = replace(lines[5], number="M-99")
    foreign = Line(
        number="M-77", kind=DocumentKind.TIME, work_date=date(2026, 10, 5), hours=Decimal(3), rate=Decimal(1),
        currency="USD",
    )  # fmt: skip
    del lines[6]
    lines += [double, foreign]
    run = _reconcile(source)
    assert run.state == "out_of_balance"
    assert _found(run, "ledger_target") == {
        "hours_differ": 1, "amount_differs": 2, "date_differs": 1, "project_differs": 1, "duplicate": 1,
        "missing_left": 1, "missing_right": 1, "matched": 2,
    }  # fmt: skip
    told = " ".join(_reasons(run))
    assert "Record M-99 bears the same key as" in told
    assert "Record M-77 was booked in the target without us." in told
    assert "is not in the statement: it was deleted, or never kept." in told
    assert "Posted on 3 Oct 2026, the target holds 20 Oct 2026." in told
    cases = ExceptionCase.objects.filter(rule="out-of-balance", state="open")
    assert cases.count() == 7
    assert Counter(LedgerState.objects.values_list("state", flat=True)) == {"posted": 6, "reconciled": 2}
    _reconcile(source)
    assert cases.count() == 7


def test_hours_that_the_target_holds_for_another_person_are_told(
    source: Connection, erp: Connection, books: Books
) -> None:
    outbound.entries(source, 2)
    outbox.deliver(erp.pk)
    ours = books.records[0].resource
    books.records[0] = altered(resource="22-US-9")(books.records[0])
    books.records[1] = altered(resource="")(books.records[1])  # does not say whose they are
    run = _reconcile(source)
    assert _found(run, "ledger_target") == {"person_differs": 1, "matched": 1}
    assert _reasons(run) == [f"Posted for person {ours}, the target holds 22-US-9."]
    assert run.totals["ledger_target"]["money"]["USD"] == {"left": "1920.0000", "right": "1920.0000"}
    books.records[0] = altered(resource=f" {ours} ")(books.records[0])
    assert _reconcile(source).state == "balanced"


def test_a_record_in_the_books_of_another_entity_is_missing_here_and_nobodys_there(
    source: Connection, erp: Connection, books: Books
) -> None:
    [entry, _] = outbound.entries(source, 2)
    outbox.deliver(erp.pk)
    assert _reconcile(source).state == "balanced"
    there = world.entity("OTHER", "USD")
    period = AccountingPeriod.objects.create(entity=there, code="2026-10", starts_on="2026-10-01", ends_on="2026-10-31")
    moved = StatementLine.objects.get(number=LedgerState.objects.get(pk=entry).receipt_number)
    moved.entity, moved.changed_at = there, now()
    moved.save()
    ours = AccountingPeriod.objects.get(entity=outbound.entity_of(source))
    for whole in (False, True):
        run = matching.run(ours.entity, ours, whole=whole)
        assert _found(run, "ledger_target") == {"missing_right": 1, "matched": 1}
        [found] = ReconciliationResult.objects.standing().filter(period=ours, outcome="missing_right")
        assert found.reason == f"Receipt {moved.number} stands in the books of another legal entity."
        assert (found.entry_id, found.line) == (entry, None)
        theirs = matching.run(there, period, targets={erp.pk: Decimal(0)}, whole=whole)
        assert _found(theirs, "ledger_target") == {"missing_left": 1}
        [left] = ReconciliationResult.objects.standing().filter(period=period)
        assert left.reason == (
            f"Record {moved.number} was posted for another legal entity, and stands in the books of this one."
        )
        assert (left.entry, left.document, left.line) == (None, None, moved)
    moved.entity, moved.changed_at = ours.entity, now()
    moved.save()
    assert matching.run(ours.entity, ours).state == "balanced"
    assert matching.run(there, period).state == "balanced"


def test_cases_of_a_run_close_when_a_later_run_ties_out(source: Connection, erp: Connection, books: Books) -> None:
    outbound.entries(source, 3)
    outbox.deliver(erp.pk)
    gone = books.records.pop()
    assert _reconcile(source).state == "out_of_balance"
    assert ExceptionCase.objects.get(rule="out-of-balance").open_holds == 1
    books.records.append(gone)
    assert _reconcile(source).state == "balanced"
    assert ExceptionCase.objects.get(rule="out-of-balance").state == "resolved"


def test_a_line_that_a_later_statement_does_not_hold_is_gone_and_comes_back_with_a_third(
    source: Connection, erp: Connection, books: Books
) -> None:
    outbound.entries(source, 2)
    outbox.deliver(erp.pk)
    _reconcile(source)
    gone = books.records.pop()
    _reconcile(source)
    assert StatementLine.objects.exclude(gone_at=None).get().number == gone.number
    books.records.append(gone)
    _reconcile(source)
    assert not StatementLine.objects.exclude(gone_at=None).exists()


def test_hours_that_the_targets_unit_cannot_tell_apart_match(books: Books, erp: Connection, source: Connection) -> None:
    books.capabilities = replace(books.capabilities, hours_tolerance=Decimal("0.01"))
    outbound.entries(source, 1, hours=Decimal("7.33"))
    books.alter = altered(hours=Decimal("7.3333"))
    outbox.deliver(erp.pk)
    run = _reconcile(source)
    assert run.state == "balanced"


def test_a_statement_that_cannot_be_read_proves_nothing(
    source: Connection, erp: Connection, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbound.entries(source, 1)
    outbox.deliver(erp.pk)
    _reconcile(source)

    def broken(*_: object) -> object:
        raise Unavailable("down", status=500)

    monkeypatch.setattr("tests.integrations.memory_target.MemoryTarget.statement", broken)
    run = _reconcile(source)
    assert run.state == "failed"
    assert "down" in run.failure
    assert not StatementLine.objects.exclude(gone_at=None).exists()


def test_the_command_prints_the_table_and_tells_by_its_exit(
    source: Connection, erp: Connection, books: Books, capsys: pytest.CaptureFixture[str]
) -> None:
    outbound.entries(source, 2)
    outbox.deliver(erp.pk)
    call_command("reconcile", entity="US", period="2026-10")
    assert "US 2026-10: Balanced" in capsys.readouterr().out
    books.records.pop()
    with pytest.raises(SystemExit) as ended:
        call_command("reconcile", entity="US", period="2026-10")
    assert ended.value.code == 1
    assert "Only on the left" in capsys.readouterr().out
    with pytest.raises(CommandError, match="its periods are 2026-10"):
        call_command("reconcile", entity="US", period="2026-13")
