"""Each fix does what it says, and every remedy that a rule names is a fix or an advice."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from integrations.errors import REJECTION_CODES
from portal import ledger
from portal.models import (
    AccountingPeriod,
    Alias,
    GrantRole,
    LedgerEntry,
    LedgerState,
    LedgerTransition,
    ProjectStatus,
    Receipt,
    State,
    TimeEntry,
    User,
)
from portal.records import Reference, SourceStatus
from reconciliation import cases, corrections, operations
from reconciliation.fixes import ADVICE, FIXES, outcomes
from reconciliation.models import ExceptionCase, HandBack, Hold, Operation, Route
from reconciliation.rules import EVERY
from tests import world
from tests.reconciliation import desk
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm, document_of, entry, rules_of, state

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    return firms.build()


@pytest.fixture
def ana(firm: Firm) -> User:
    return world.user("ana", GrantRole.ANALYST, firm.entity)


def fix(code: str, user: User, *, reason: str = "as agreed", **selection: Any) -> Operation:
    """Plan, confirm and work off; what the preview promised is what came of it."""
    parameters = selection.pop("parameters", {})
    operation = operations.plan(code, user=user, parameters=parameters, reason=reason, **selection)
    assert not Operation.objects.exclude(pk=operation.pk).filter(state="running").exists()
    promised = set(operation.rows.values_list("entry_id", "promised"))
    operations.run(operations.confirm(operation, user=user).pk)
    operation.refresh_from_db()
    assert set(operation.rows.values_list("entry_id", "message")) == promised
    return operation


def live(external_id: str = "1") -> LedgerEntry:
    """The newest entry of a document."""
    rows = LedgerEntry.objects.filter(document=document_of(external_id), reverses=None).exclude(
        state_row__state="cancelled"
    )
    return rows.select_related("state_row").latest("version", "generation", "pk")


def version(external_id: str = "1") -> TimeEntry:
    """The newest version of a document."""
    return TimeEntry.objects.filter(document=document_of(external_id)).latest("version")


def only_case(rule: str) -> ExceptionCase:
    return ExceptionCase.objects.get(rule=rule, state="open")


@pytest.mark.parametrize("rule", EVERY, ids=lambda rule: rule.code)
def test_every_remedy_that_a_rule_names_can_be_taken(rule: Any) -> None:
    for remedy in rule.remedies:
        assert remedy in FIXES or remedy in ADVICE, f"{rule.code} names {remedy}"
    assert rule.remedies, f"{rule.code} names no way out"
    assert ("waive" in rule.remedies) <= rule.waivable


def test_every_fix_and_advice_says_what_it_does() -> None:
    assert not set(FIXES) & set(ADVICE)
    for code, each in FIXES.items():
        assert (each.code, bool(each.label), each.help[-1], bool(each.roles), bool(each.states)) == (
            code, True, ".", True, True,
        )  # fmt: skip
    assert all(text.endswith(".") for text in ADVICE.values())


@pytest.mark.case(19)
def test_map_code_corrects_what_is_held_and_decides_nothing_for_what_is_to_come(firm: Firm, ana: User) -> None:
    held = firm.admit(firm.time("1", project=Reference("", "ACM-9", ""))).held
    assert rules_of(held[0]) == {"project-unknown"}
    operation = fix("map-code", ana, case=only_case("project-unknown"), parameters={"record": firm.project.pk})
    assert (operation.done, state(held[0]), live().project, live().state_row.state) == (
        1, "cancelled", firm.project, "ready",
    )  # fmt: skip
    assert (version().author, version().reason, TimeEntry.objects.get(version=1).project_code) == (
        ana, "as agreed", "ACM-9",
    )  # fmt: skip
    assert firm.admit(firm.time("2", project=Reference("", "ACM-9", ""), work_date=date(2026, 10, 2))).held
    assert not Alias.objects.exists()


@pytest.mark.case(20)
def test_move_project_makes_a_version_on_the_other_project(firm: Firm, ana: User) -> None:
    other = firms.project("ACM-2", firm.entity, firm.customer, firm.contract)
    firms.key(firm.target, "project", other.pk)
    ProjectStatus.objects.filter(project=firm.project).update(status="closed")
    held = firm.admit(firm.time()).held
    operation = fix("move-project", ana, case=only_case("project-closed"), parameters={"project": other.pk})
    assert operation.title == "Move 1 entry to ACM-2"
    row = operation.rows.get()
    assert (row.result, row.entry_id, row.successor_id) == ("done", held[0], live().pk)
    assert (state(held[0]), live().project, live().state_row.state) == ("cancelled", other, "ready")
    assert (version().version, version().author, version().reason) == (2, ana, "as agreed")
    assert TimeEntry.objects.get(version=1).project_code == "ACM-1"


@pytest.mark.case(35)
def test_use_contract_rate_prices_by_the_card_and_keeps_what_the_source_said(firm: Firm, ana: User) -> None:
    firm.admit(firm.time(rate=Decimal(110)))
    fix("use-contract-rate", ana, case=only_case("rate-mismatch"))
    assert (live().rate, live().amount, live().state_row.state, version().rate) == (120, 960, "ready", 110)


@pytest.mark.case(35)
def test_accept_source_rate_prices_by_what_the_source_said(firm: Firm, ana: User) -> None:
    firm.admit(firm.time(rate=Decimal(110)))
    fix("accept-source-rate", ana, case=only_case("rate-mismatch"))
    assert (live().rate, live().amount, live().state_row.state) == (110, 880, "ready")


def test_make_non_billable_posts_as_cost_only(firm: Firm, ana: User) -> None:
    firm.admit(firm.time(rate=Decimal(110)))
    fix("make-non-billable", ana, case=only_case("rate-mismatch"))
    assert (live().is_billable, live().amount, live().state_row.state) == (False, None, "ready")


@pytest.mark.case(43)
def test_post_next_period_keeps_the_work_date_and_books_in_the_open_period(firm: Firm, ana: User) -> None:
    AccountingPeriod.objects.filter(code="2026-10").update(state="closed")
    firm.admit(firm.time())
    november = AccountingPeriod.objects.get(code="2026-11")
    operation = fix("post-next-period", ana, case=only_case("period-closed"), parameters={"period": november.pk})
    assert operation.title == "Post 1 entry in 2026-11"
    found = live()
    assert (found.work_date, found.post_on, found.period) == (date(2026, 10, 1), date(2026, 11, 1), november)
    assert found.state_row.state == "ready"


@pytest.mark.case(6)
def test_same_work_leaves_entries_out_for_good(firm: Firm, ana: User) -> None:
    other = world.connection("jira", "clockify", firm.entity, is_source=True)
    Route.objects.create(entity=firm.entity, source=other, target=firm.target, kind="time", valid_from=firms.SINCE)
    firm.admit(firm.time("1"))
    held = firm.admit(firm.time("j1"), source=other).held
    operation = fix("same-work", ana, case=only_case("duplicate-suspected"), entry_ids=held)
    assert (operation.done, state(held[0])) == (1, "cancelled")
    assert operation.rows.get().message == "Not owed any more."
    assert LedgerTransition.objects.filter(entry=held[0]).latest("pk").reason == "left out: as agreed"
    assert not firm.admit(firm.time("j1"), source=other).ready


def booked(firm: Firm) -> int:
    ready = firm.admit(firm.time()).ready
    firms.post(ready)
    return ready[0]


def test_reverse_books_a_reversal_and_leaves_the_original_as_it_is(firm: Firm, ana: User) -> None:
    posted = booked(firm)
    operation = fix("reverse", ana, entry_ids=[posted])
    reversal = LedgerEntry.objects.get(reverses=posted)
    assert (reversal.hours, reversal.amount, state(reversal.pk), state(posted)) == (-8, -960, "ready", "posted")
    assert operation.rows.get().message == "Posted; its reversal is on its way."
    with pytest.raises(operations.OperationRefused, match="already"):
        operations.plan("reverse", user=ana, parameters={}, reason="again", entry_ids=[posted])


@pytest.mark.case(16)
def test_reverse_and_rebook_lets_the_new_version_go_after_the_receipt(firm: Firm, ana: User) -> None:
    posted = booked(firm)
    held = firm.admit(firm.time("1", hours=Decimal(6))).held
    fix("reverse-and-rebook", ana, case=only_case("changed-after-posting"))
    reversal = LedgerEntry.objects.get(reverses=posted)
    assert (state(held[0]), LedgerState.objects.get(entry=held[0]).waits_on) == ("ready", f"reversal:{reversal.pk}")
    firms.post([reversal.pk])
    corrections.settle([reversal.pk])
    assert (state(posted), state(held[0]), LedgerState.objects.get(entry=held[0]).waits_on) == ("reversed", "ready", "")


def test_one_entry_that_is_not_booked_does_not_stop_the_reversal_of_the_others(firm: Firm, ana: User) -> None:
    posted = booked(firm)
    held = firm.admit(firm.time("2", rate=Decimal(110), work_date=date(2026, 10, 2))).held
    operation = operations.plan("reverse", user=ana, parameters={}, reason="wrong", entry_ids=[posted, *held])
    assert (operation.preview["passes"], operation.preview["still_held"]) == (1, 1)
    operations.run(operations.confirm(operation, user=ana).pk)
    operation.refresh_from_db()
    assert (operation.done, operation.failed) == (1, 1)
    assert "Nothing of the document" in operation.rows.get(result="failed").message
    assert LedgerEntry.objects.filter(reverses=posted).exists()


def test_waive_lets_one_rule_pass_with_name_and_reason(firm: Firm, ana: User) -> None:
    held = firm.admit(firm.time(rate=Decimal(110))).held
    fix("waive", ana, case=only_case("rate-mismatch"))
    hold = Hold.objects.get(entry=held[0])
    assert (state(held[0]), hold.outcome, hold.closed_by, hold.reason) == ("ready", "waived", ana, "as agreed")


def test_what_may_not_be_waived_is_refused_by_name(firm: Firm, ana: User) -> None:
    held = firm.admit(firm.time(project=Reference("", "ACM-9", ""))).held
    with pytest.raises(operations.OperationRefused, match="cannot be waived"):
        operations.plan("waive", user=ana, parameters={}, reason="go", case=only_case("project-unknown"))
    assert state(held[0]) == "held"


def test_hand_back_waits_for_the_sources_next_version(firm: Firm, ana: User) -> None:
    held = firm.admit(firm.time(rate=Decimal(110))).held
    operation = fix("hand-back", ana, case=only_case("rate-mismatch"), parameters={"message": "Which rate?"})
    assert (operation.done, operation.failed, state(held[0])) == (1, 0, "held")
    note = HandBack.objects.get(answered_at=None)
    assert (note.entry_id, note.by, note.message) == (held[0], ana, "Which rate?")
    firm.admit(firm.time("2", work_date=date(2026, 10, 2)))
    assert HandBack.objects.filter(answered_at=None).exists()
    ready = firm.admit(firm.time("1", rate=Decimal(120))).ready
    assert not HandBack.objects.filter(answered_at=None).exists()
    assert (state(held[0]), state(ready[0])) == ("cancelled", "ready")


def test_what_was_handed_back_is_handed_back_again_after_an_answer_that_did_not_help(firm: Firm, ana: User) -> None:
    firm.admit(firm.time(rate=Decimal(110)))
    fix("hand-back", ana, case=only_case("rate-mismatch"), parameters={"message": "Which rate?"})
    fix("hand-back", ana, case=only_case("rate-mismatch"), parameters={"message": "Hello?"})
    assert HandBack.objects.get().message == "Which rate?"
    firm.admit(firm.time("1", rate=Decimal(115)))
    fix("hand-back", ana, case=only_case("rate-mismatch"), parameters={"message": "Still wrong"})
    assert list(HandBack.objects.order_by("pk").values_list("message", flat=True)) == ["Which rate?", "Still wrong"]
    assert HandBack.objects.filter(answered_at=None).count() == 1


@pytest.mark.case(57)
def test_check_in_target_makes_the_look_up_due_and_sends_nothing(firm: Firm, ana: User) -> None:
    doubtful = firm.admit(firm.time()).ready
    firms.post(doubtful, until=State.IN_DOUBT)
    LedgerState.objects.update(next_attempt_at="2099-01-01T00:00Z")
    operation = fix("check-in-target", ana, entry_ids=doubtful)
    row = LedgerState.objects.get(entry=doubtful[0])
    assert (operation.done, row.state) == (1, "in_doubt")
    assert row.next_attempt_at is None or row.next_attempt_at.year < 2099


def refused(firm: Firm, code: str, external_id: str = "1", **changes: Any) -> int:
    """An entry that its target refused, with the case that the outbox opens."""
    ready = firm.admit(firm.time(external_id, **changes)).ready
    firms.post(ready, until=State.REJECTED)
    cases.raise_rejections(
        [cases.Refusal(entry_id=ready[0], code=code, sentence=REJECTION_CODES[code])],
        connection_id=firm.target.pk,
        connection_name=firm.target.name,
    )
    return ready[0]


@pytest.mark.case(46)
def test_what_the_target_refused_for_its_closed_period_is_posted_in_an_open_one(firm: Firm, ana: User) -> None:
    rejected = refused(firm, "period-closed")
    november = AccountingPeriod.objects.get(code="2026-11")
    operation = fix("post-next-period", ana, case=only_case("period-closed"), parameters={"period": november.pk})
    assert (operation.done, state(rejected), rules_of(rejected)) == (1, "cancelled", set())
    assert (live().post_on, live().state_row.state) == (date(2026, 11, 1), "ready")


def test_hours_that_a_target_would_bill_though_they_are_not_billable_are_a_case_of_their_project_with_its_ways_out(
    firm: Firm,
) -> None:
    rejected = refused(firm, "unbillable")
    hold = Hold.objects.get(entry=rejected, closed_at=None)
    assert hold.sentence.endswith("once nothing there invoices them, then re-post.")
    assert hold.case.subject_type == "project"


@pytest.mark.parametrize("code", ["project-inactive", "period-closed"])
def test_re_post_sends_what_was_refused_again_under_the_same_key(firm: Firm, ana: User, code: str) -> None:
    rejected = refused(firm, code)
    key = entry(rejected).idempotency_key
    case = ExceptionCase.objects.get(state="open")
    operation = fix("re-post", ana, case=case)
    assert (operation.done, state(rejected), rules_of(rejected)) == (1, "ready", set())
    assert (entry(rejected).idempotency_key, LedgerEntry.objects.count()) == (key, 1)
    case.refresh_from_db()
    assert case.state == "resolved"


@pytest.mark.case(64)
def test_re_post_of_changed_content_goes_under_a_new_key(firm: Firm, ana: User) -> None:
    rejected = refused(firm, "project-inactive")
    key = entry(rejected).idempotency_key
    firm.rate.amount = Decimal(130)
    firm.rate.save()
    firm.policy(rate_tolerance="50")
    case = ExceptionCase.objects.get(state="open")
    operation = operations.plan("re-post", user=ana, parameters={}, case=case)
    operations.run(operations.confirm(operation, user=ana).pk)
    again = live()
    assert (state(rejected), again.generation, again.version) == ("cancelled", 1, 1)
    assert again.idempotency_key != key


@pytest.mark.case(127)
def test_recheck_sees_what_was_mended_meanwhile(firm: Firm, ana: User) -> None:
    ProjectStatus.objects.filter(project=firm.project).update(status="closed")
    held = firm.admit(firm.time()).held
    ProjectStatus.objects.filter(project=firm.project).update(status="open")
    operation = fix("recheck", ana, reason="", case=only_case("project-closed"))
    assert (operation.done, state(held[0])) == (1, "ready")


@pytest.mark.case(1)
def test_what_was_deleted_at_source_after_posting_is_reversed_from_its_cause(firm: Firm, ana: User) -> None:
    posted = booked(firm)
    firm.admit(firm.time("1", status=SourceStatus.DELETED))
    case = only_case("deleted-at-source")
    assert "reverse" in " ".join(next(rule for rule in EVERY if rule.code == case.rule).remedies)
    fix("reverse", ana, case=case)
    reversal = LedgerEntry.objects.get(reverses=posted)
    firms.post([reversal.pk])
    corrections.settle([reversal.pk])
    case.refresh_from_db()
    assert (state(posted), case.state) == ("reversed", "resolved")
    assert Receipt.objects.filter(entry=posted).exists()
    assert ledger.refs_of([posted])[posted][0] == State.REVERSED


def test_where_entries_stand_is_looked_up_by_document_and_key_whatever_the_statistics(firm: Firm) -> None:
    held = desk.off_rate(firm, 3)
    with CaptureQueriesContext(connection) as asked:
        assert set(outcomes(held)) == set(held)
    [query] = [one["sql"] for one in asked]
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {query}")
        plan = [line for (line,) in cursor.fetchall()]
    by_index = [line for line in plan if "Index Cond" in line]
    assert any("document_id = e.document_id" in line for line in by_index), plan
    assert not any("target_id" in line for line in by_index), plan  # that would read all of the target for each entry
