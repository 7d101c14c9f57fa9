"""Re-validation: new facts release, hold, refigure or replace what is open, and nothing that was booked."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from portal import changes_watch, ledger
from portal.models import AccountingPeriod, LedgerEntry, LedgerState, ProjectStatus, Rate, State
from portal.records import Reference
from reconciliation import cases, corrections, validation
from reconciliation.models import ExceptionCase, Route
from tests import world
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm, case, entry, hold, rules_of, state

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    return firms.build()


def _recheck(*entries: int) -> validation.Rechecked:
    return validation.recheck(entries, actor="test", reason="facts changed")


@pytest.mark.case(19, 126, 127)
def test_one_alias_releases_every_entry_with_the_code_without_anybody_re_trying(firm: Firm) -> None:
    held = firm.admit(
        *(firm.time(str(n), project=Reference("", "AMC-1"), hours=Decimal("0.05")) for n in range(400))
    ).held
    found = case("project-unknown")
    assert (found.open_holds, found.open_hours) == (400, Decimal(20))
    alias = firms.alias("project", "AMC-1", firm.project.pk, firm.source)
    changes_watch.note("alias", [alias.pk])
    assert validation.follow_changes() == 1
    assert LedgerState.objects.filter(entry__in=held, state="ready").count() == 400
    found.refresh_from_db()
    assert (found.state, found.open_holds) == ("resolved", 0)
    assert found.closed_at is not None
    assert set(LedgerEntry.objects.values_list("project", flat=True)) == {firm.project.pk}
    assert validation.follow_changes() == 0


def test_a_corrected_rate_refigures_under_the_same_key(firm: Firm) -> None:
    made = entry(firm.admit(firm.time(rate=Decimal(130))).held[0])
    firm.rate.amount = Decimal(130)
    firm.rate.save()
    rechecked = _recheck(made.pk)
    assert (rechecked.released, rechecked.refigured) == ([made.pk], [made.pk])
    after = entry(made.pk)
    assert (after.rate, after.amount, after.idempotency_key) == (Decimal(130), Decimal(1040), made.idempotency_key)


def test_a_ready_entry_that_a_rule_stops_now_is_held(firm: Firm) -> None:
    ready = firm.admit(firm.time()).ready[0]
    ProjectStatus.objects.filter(project=firm.project).update(status="closed")
    assert validation.stands([ready]) == set()
    assert _recheck(ready).held == [ready]
    assert (state(ready), rules_of(ready)) == ("held", {"project-closed"})


def test_a_hold_that_passes_closes_while_another_stays(firm: Firm) -> None:
    held = firm.admit(firm.time(rate=Decimal(110), approved_by=Reference("", "ana"))).held[0]
    assert rules_of(held) == {"rate-mismatch", "approver-is-worker"}
    firm.policy(rate_tolerance="10")
    rechecked = _recheck(held)
    assert (rechecked.released, state(held), rules_of(held)) == ([], "held", {"approver-is-worker"})


def test_a_hold_whose_cause_is_another_now_moves_to_that_cause(firm: Firm) -> None:
    held = firm.admit(firm.time(rate=Decimal(110))).held[0]
    before = hold(held, "rate-mismatch").case
    firm.rate.amount = Decimal(115)
    firm.rate.save()
    _recheck(held)
    after = hold(held, "rate-mismatch").case
    before.refresh_from_db()
    assert (before.state, before.open_holds) == ("resolved", 0)
    assert (after.open_holds, after.pk != before.pk) == (1, True)


def test_an_entry_whose_key_was_used_gets_a_new_key_when_its_content_changes(firm: Firm) -> None:
    sent = firm.admit(firm.time()).ready[0]
    firms.post([sent], until=State.REJECTED)
    assert _recheck(sent).replaced == {}
    assert state(sent) == "rejected"
    firm.rate.amount = Decimal(121)
    firm.rate.save()
    firm.policy(rate_tolerance="5")
    replaced = _recheck(sent).replaced
    made = entry(replaced[sent])
    assert (state(sent), made.generation, made.amount) == ("cancelled", 1, Decimal(968))
    assert made.idempotency_key != entry(sent).idempotency_key


def test_an_entry_on_its_way_or_booked_is_left_alone(firm: Firm) -> None:
    first, second = firm.admit(firm.time("1"), firm.time("2", work_date=date(2026, 10, 2))).ready
    firms.post([first], until=State.SENDING)
    firms.post([second])
    ProjectStatus.objects.filter(project=firm.project).update(status="closed")
    rechecked = _recheck(first, second)
    assert (rechecked.held, rechecked.cancelled) == ([], [])
    assert (state(first), state(second)) == ("sending", "posted")


@pytest.mark.case(46)
def test_a_period_closed_between_validation_and_the_call_is_the_same_cause(firm: Firm) -> None:
    held = firm.admit(firm.time("1"), firm.time("2", work_date=date(2026, 10, 2))).ready
    firms.post(held[:1], until=State.REJECTED)
    period = AccountingPeriod.objects.get(code="2026-10")
    cases.raise_rejections(
        [cases.Refusal(entry_id=held[0], code="period-closed", sentence="The target's accounting period is closed.")],
        connection_id=firm.target.pk,
        connection_name="NetSuite",
    )
    period.state = "closed"
    period.save()
    _recheck(held[1])
    found = case("period-closed")
    assert (found.subject_key, found.open_holds) == (str(period.pk), 2)


@pytest.mark.case(26)
def test_a_person_inactive_in_the_target_is_one_cause_with_the_way_out(firm: Firm) -> None:
    sent = firm.admit(firm.time("1"), firm.time("2", work_date=date(2026, 10, 2))).ready
    firms.post(sent, until=State.REJECTED)
    cases.raise_rejections(
        [
            cases.Refusal(
                entry_id=made, code="resource-inactive", sentence="The person is inactive or unknown in the target.",
                vendor_code="INVALID_KEY_OR_REF", detail="employee 77 is inactive",
            )
            for made in sent
        ],
        connection_id=firm.target.pk,
        connection_name="NetSuite",
    )  # fmt: skip
    found = case("rejected-by-target")
    assert (found.subject_type, found.subject_key, found.open_holds) == (
        "resource",
        f"resource-inactive:{firm.ana.pk}",
        2,
    )
    assert "re-activate the person there for posting" in hold(sent[0], "rejected-by-target").sentence
    assert corrections.repost(sent, by=world.user(everywhere=True), reason="re-activated in NetSuite") == sent
    assert {state(made) for made in sent} == {"ready"}
    assert entry(sent[0]).generation == 0
    found.refresh_from_db()
    assert found.state == "resolved"


@pytest.mark.case(29)
def test_an_arrived_parent_lets_its_children_go_with_its_key(firm: Firm) -> None:
    firm.policy(parent_missing="wait")
    fresh = firms.project("NEW-1", firm.entity, firm.customer, firm.contract)
    waiting = firm.admit(firm.time(project=Reference("", "NEW-1"))).ready[0]
    assert ledger.claimable(firm.target.pk, 10) == []
    row = firms.key(firm.target, "project", fresh.pk, "4711")
    changes_watch.note("crosswalk", [row.pk])
    validation.follow_changes()
    assert entry(waiting).state_row.waits_on == ""
    assert entry(waiting).target_keys["project"] == "4711"
    assert [claim.entry_id for claim in ledger.claimable(firm.target.pk, 10)] == [waiting]


@pytest.mark.case(29)
def test_a_parent_that_does_not_arrive_becomes_a_case(firm: Firm) -> None:
    firm.policy(parent_missing="wait", parent_wait_hours="4")
    firms.project("NEW-1", firm.entity, firm.customer, firm.contract)
    waiting = firm.admit(firm.time(project=Reference("", "NEW-1"))).ready[0]
    row = LedgerState.objects.get(entry=waiting)
    LedgerState.objects.filter(entry=waiting).update(moved_at=row.moved_at - timedelta(hours=3))
    validation.overdue_parents()
    assert state(waiting) == "ready"
    LedgerState.objects.filter(entry=waiting).update(moved_at=row.moved_at - timedelta(hours=5))
    assert validation.overdue_parents() == 1
    assert (state(waiting), rules_of(waiting)) == ("held", {"crosswalk-missing"})


@pytest.mark.case(83)
def test_a_raised_cap_releases_the_rest_or_as_much_of_it_as_fits(firm: Firm) -> None:
    firm.contract.cap_amount = Decimal(480)
    firm.contract.save()
    rest = firm.admit(firm.time()).held[0]
    firm.contract.cap_amount = Decimal(720)
    firm.contract.save()
    rechecked = _recheck(rest)
    assert rechecked.released == [rest]
    parts = LedgerEntry.objects.order_by("part").values_list("part", "hours", "state_row__state")
    assert list(parts) == [(0, Decimal(4), "ready"), (1, Decimal(2), "ready"), (2, Decimal(2), "held")]
    firm.contract.cap_amount = None
    firm.contract.save()
    last = LedgerEntry.objects.get(part=2).pk
    assert _recheck(last).released == [last]
    assert sum(LedgerEntry.objects.values_list("amount", flat=True)) == Decimal(960)  # type: ignore[arg-type]


def test_a_waiver_lets_an_entry_go_and_outlives_a_re_check(firm: Firm) -> None:
    held = firm.admit(firm.time(rate=Decimal(110))).held[0]
    ana = world.user(everywhere=True)
    assert validation.waive([hold(held, "rate-mismatch").pk], by=ana, reason="agreed by mail").released == [held]
    _recheck(held)
    assert (state(held), rules_of(held)) == ("ready", set())
    assert validation.stands([held]) == {held}


def test_what_would_book_twice_is_not_waived(firm: Firm) -> None:
    firms.post(firm.admit(firm.time("1")).ready)
    held = firm.admit(firm.time("1", hours=Decimal(6))).held[0]
    with pytest.raises(cases.NotWaivable, match="Changed after posting"):
        validation.waive([hold(held, "changed-after-posting").pk], by=world.user(everywhere=True), reason="please")
    assert state(held) == "held"


def test_a_waiver_needs_a_reason(firm: Firm) -> None:
    held = firm.admit(firm.time(rate=Decimal(110))).held[0]
    with pytest.raises(ValueError, match="needs a reason"):
        validation.waive([hold(held, "rate-mismatch").pk], by=world.user(everywhere=True), reason=" ")


def test_an_entry_that_lost_its_route_waits_for_one(firm: Firm) -> None:
    ready = firm.admit(firm.time()).ready[0]
    firm.route.valid_to = date(2026, 9, 30)
    firm.route.save()
    assert _recheck(ready).held == [ready]
    assert rules_of(ready) == {"no-route"}
    firm.route.valid_to = None
    firm.route.save()
    assert _recheck(ready).released == [ready]


def test_an_open_entry_follows_its_route_to_another_target(firm: Firm) -> None:
    ready = firm.admit(firm.time()).ready[0]
    other = world.connection("bc", "business_central", firm.entity, is_target=True)
    for kind, record in (("project", firm.project.pk), ("resource", firm.ana.pk)):
        firms.key(other, kind, record)
    Route.objects.filter(pk=firm.route.pk).update(target=other)
    rechecked = _recheck(ready)
    assert (rechecked.cancelled, state(ready)) == ([ready], "cancelled")
    assert entry(rechecked.released[0]).target == other


def test_a_changed_rate_touches_its_open_entries_and_no_others(firm: Firm) -> None:
    other = firms.project("FREE-1", firm.entity, firm.customer, None)
    firms.key(firm.target, "project", other.pk)
    by_card = firm.admit(firm.time("1")).ready[0]
    posted = firm.admit(firm.time("2", work_date=date(2026, 10, 2))).ready[0]
    firms.post([posted])
    elsewhere = firm.admit(firm.time("3", project=Reference("", "FREE-1"), work_date=date(2026, 10, 3))).held[0]
    assert rules_of(elsewhere) == {"rate-missing"}
    assert validation.affected_by("rate_card", [firm.card.pk]) == [by_card]
    assert validation.affected_by("project", [other.pk]) == [elsewhere]
    assert validation.affected_by("entity", [firm.entity.pk]) == [by_card, elsewhere]


@pytest.mark.parametrize(
    "kind",
    ["entity", "period", "cost_centre", "customer", "contract", "project", "role", "resource", "rate_card", "exchange_rate",
     "intercompany", "crosswalk", "alias", "connection", "route"],
)  # fmt: skip
def test_every_kind_of_master_change_can_be_followed(firm: Firm, kind: str) -> None:
    firm.admit(firm.time("1"), firm.time("2", project=Reference("", "NOPE"), work_date=date(2026, 10, 2)))
    changes_watch.note(kind, [1, 2, 3])
    assert validation.follow_changes() == 3
    assert LedgerEntry.objects.count() == 2


def test_a_cause_that_is_back_soon_re_opens_its_case_as_regressed(firm: Firm) -> None:
    held = firm.admit(firm.time("1", rate=Decimal(110))).held[0]
    validation.waive([hold(held, "rate-mismatch").pk], by=world.user(everywhere=True), reason="once")
    first = case("rate-mismatch")
    assert first.state == "resolved"
    firm.admit(firm.time("2", rate=Decimal(110), work_date=date(2026, 10, 2)))
    first.refresh_from_db()
    assert (first.state, first.regressions, first.open_holds) == ("open", 1, 1)
    assert list(first.history.order_by("history_id").values_list("state", "regressions")) == [
        ("open", 0), ("resolved", 0), ("open", 1),
    ]  # fmt: skip


def test_a_cause_that_is_back_after_long_makes_a_new_case(firm: Firm) -> None:
    held = firm.admit(firm.time("1", rate=Decimal(110))).held[0]
    validation.waive([hold(held, "rate-mismatch").pk], by=world.user(everywhere=True), reason="once")
    first = case("rate-mismatch")
    ExceptionCase.objects.filter(pk=first.pk).update(closed_at=first.closed_at - timedelta(days=31))  # type: ignore[operator]
    firm.admit(firm.time("2", rate=Decimal(110), work_date=date(2026, 10, 2)))
    assert ExceptionCase.objects.filter(rule="rate-mismatch").count() == 2


def test_only_the_case_of_the_rate_changes_when_a_rate_in_mid_week_changes(firm: Firm) -> None:
    firm.rate.valid_to = date(2026, 10, 6)
    firm.rate.save()
    Rate.objects.create(
        card=firm.card, role=firm.role, currency="USD", amount=Decimal(125), valid_from=date(2026, 10, 7)
    )
    admitted = firm.admit(
        firm.time("1", work_date=date(2026, 10, 6)), firm.time("2", work_date=date(2026, 10, 7), rate=Decimal(125))
    )
    assert [entry(made).amount for made in admitted.ready] == [960, 1000]
