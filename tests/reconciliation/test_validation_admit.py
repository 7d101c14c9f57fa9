"""Admission: the one way onto the ledger, and what becomes of earlier versions."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from portal import canonical, ledger
from portal.models import LedgerEntry, State
from portal.records import Reference, SourceStatus
from reconciliation import corrections, validation
from reconciliation.invariants import INVARIANTS
from reconciliation.models import Route
from reconciliation.validation.affected import admit_unrouted
from tests import world
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm, case, entry, hold, rules_of, state

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    return firms.build()


def test_an_approved_hour_that_every_rule_passes_is_ready_with_its_figures(firm: Firm) -> None:
    admitted = firm.admit(firm.time())
    assert (len(admitted.ready), admitted.held) == (1, [])
    made = entry(admitted.ready[0])
    assert state(made.pk) == "ready"
    assert (made.project, made.resource, made.contract, made.role) == (firm.project, firm.ana, firm.contract, firm.role)
    assert (made.hours, made.rate, made.amount, made.currency) == (Decimal(8), Decimal(120), Decimal(960), "USD")
    assert (made.rate_used, made.rate_version) == (firm.rate, "ACME-2026 v3")
    assert made.target_keys == {"project": f"P{firm.project.pk}", "resource": f"R{firm.ana.pk}"}
    assert rules_of(made.pk) == set()


def test_admitting_the_same_version_twice_makes_one_entry(firm: Firm) -> None:
    documents = firm.take(firm.time())
    first = validation.admit(documents, actor="test")
    second = validation.admit(documents, actor="test")
    assert (len(first.ready), second.ready, second.held) == (1, [], [])
    assert LedgerEntry.objects.count() == 1


def test_a_batch_takes_the_same_number_of_statements_whatever_its_size(firm: Firm) -> None:
    def statements(count: int, day: date) -> int:
        documents = firm.take(
            *(
                firm.time(f"{day}-{n}", hours=Decimal("0.1"), work_date=day, rate=Decimal(110 if n % 3 else 120))
                for n in range(count)
            )
        )
        with CaptureQueriesContext(connection) as captured:
            validation.admit(documents, actor="test")
        return len(captured)

    statements(2, date(2026, 10, 2))  # opens the case
    assert statements(5, date(2026, 10, 5)) == statements(60, date(2026, 10, 6))


@pytest.mark.case(15)
def test_an_edit_before_posting_replaces_what_was_owed_and_keeps_the_old_version(firm: Firm) -> None:
    first = firm.admit(firm.time("1", hours=Decimal(8)))
    second = firm.admit(firm.time("1", hours=Decimal(6)))
    assert second.cancelled == first.ready
    assert state(first.ready[0]) == "cancelled"
    made = entry(second.ready[0])
    assert (made.version, made.hours) == (2, Decimal(6))
    assert made.document.time_entries.count() == 2


@pytest.mark.case(15)
def test_an_edit_that_lost_its_approval_leaves_nothing_owed(firm: Firm) -> None:
    first = firm.admit(firm.time("1"))
    second = firm.admit(firm.time("1", hours=Decimal(6), status=SourceStatus.SUBMITTED))
    assert (second.ready, second.held, second.cancelled) == ([], [], first.ready)


def owed() -> list[tuple[str, str, int]]:
    """What stands on the ledger: (target, state, generation) of each entry that is not cancelled."""
    return list(
        LedgerEntry.objects.exclude(state_row__state="cancelled").values_list(
            "target__code", "state_row__state", "generation"
        )
    )


def nowhere() -> list[str]:
    """What the invariant of completeness says."""
    return [said for each in INVARIANTS if each.code == "I4" for said in each.check()]


def test_a_route_that_is_changed_and_changed_back_loses_nothing(firm: Firm) -> None:
    first = firm.admit(firm.time()).ready
    other = world.connection("other", "netsuite", firm.entity, is_target=True)
    firm.route.target = other
    firm.route.save()
    validation.recheck(first, actor="test", reason="another route")
    assert owed() == [("other", "ready", 0)]
    firm.route.target = firm.target
    firm.route.save()
    validation.recheck([LedgerEntry.objects.get(target=other).pk], actor="test", reason="the old route")
    assert owed() == [(firm.target.code, "ready", 1)]
    assert state(first[0]) == "cancelled"
    assert nowhere() == []


def test_a_version_that_came_while_there_was_no_route_is_owed_once_there_is_one(firm: Firm) -> None:
    first = firm.admit(firm.time("1", hours=Decimal(8))).ready
    firm.route.valid_to = date(2026, 9, 1)
    firm.route.save()
    assert firm.admit(firm.time("1", hours=Decimal(6))).unrouted
    assert state(first[0]) == "cancelled"
    firm.route.valid_to = None
    firm.route.save()
    assert len(nowhere()) == 1
    assert len(admit_unrouted(firm.source.pk, actor="test")) == 1
    assert LedgerEntry.objects.get(state_row__state="ready").hours == Decimal(6)
    assert nowhere() == []


def test_what_a_person_left_out_is_not_owed_again_and_is_not_missed(firm: Firm) -> None:
    documents = firm.take(firm.time())
    first = validation.admit(documents, actor="test").ready
    validation.exclude(first, by=world.user(everywhere=True), reason="the other tool counts")
    assert validation.admit(documents, actor="test").unchanged == documents
    assert len(admit_unrouted(firm.source.pk, actor="test")) == 1
    assert owed() == []
    assert nowhere() == []


@pytest.mark.case(50)
def test_an_approval_withdrawn_before_posting_cancels_and_closes_what_was_held(firm: Firm) -> None:
    held = firm.admit(firm.time("1", project=Reference("", "NOPE"))).held
    withdrawn = firm.admit(firm.time("1", project=Reference("", "NOPE"), status=SourceStatus.WITHDRAWN))
    assert withdrawn.cancelled == held
    assert rules_of(held[0]) == set()
    assert case("project-unknown").state == "resolved"


@pytest.mark.case(16)
@pytest.mark.parametrize("stands", [State.SENDING, State.IN_DOUBT, State.ACCEPTED, State.POSTED])
def test_an_edit_after_posting_holds_the_new_version_with_the_delta(firm: Firm, stands: State) -> None:
    posted = firm.admit(firm.time("1")).ready
    firms.post(posted, until=stands)
    held = firm.admit(firm.time("1", hours=Decimal(6))).held[0]
    assert rules_of(held) == {"changed-after-posting"}
    found = hold(held, "changed-after-posting")
    assert (Decimal(found.detail["hours"]), Decimal(found.detail["amount"])) == (Decimal(-2), Decimal(-240))
    assert "replaces version 1" in found.sentence
    assert state(posted[0]) == stands
    assert entry(posted[0]).hours == 8


@pytest.mark.case(18)
def test_a_billable_flag_that_flips_after_posting_asks_for_both_approvals(firm: Firm) -> None:
    firms.post(firm.admit(firm.time("1")).ready)
    held = firm.admit(firm.time("1", billable=False)).held[0]
    found = hold(held, "changed-after-posting")
    assert found.detail["billable_changed"] is True
    assert found.detail["needs"] == ["project_manager", "controller"]
    assert Decimal(found.detail["amount"]) == Decimal(-960)


@pytest.mark.case(55)
def test_an_echo_after_posting_changes_nothing(firm: Firm) -> None:
    firms.post(firm.admit(firm.time("1")).ready)
    assert firm.take(firm.time("1")) == []


@pytest.mark.case(16)
def test_the_new_version_goes_only_when_the_reversal_is_receipted(firm: Firm) -> None:
    posted = firm.admit(firm.time("1")).ready
    firms.post(posted)
    held = firm.admit(firm.time("1", hours=Decimal(6))).held[0]
    made = corrections.reverse_standing([held], by=world.user(everywhere=True), reason="edited at source")
    reversal = made.reversals[posted[0]]
    assert (entry(reversal).hours, entry(reversal).amount, entry(reversal).reverses_id) == (
        Decimal(-8),
        Decimal(-960),
        posted[0],
    )
    assert made.waiting == [held]
    assert (state(held), entry(held).state_row.waits_on) == ("ready", f"reversal:{reversal}")
    assert held not in validation.stands([held])
    firms.post([reversal], until=State.ACCEPTED)
    assert corrections.settle([reversal]) == posted
    assert state(posted[0]) == "reversed"
    assert (state(held), entry(held).state_row.waits_on) == ("ready", "")
    assert validation.stands([held]) == {held}
    assert corrections.settle([reversal]) == []


@pytest.mark.case(51)
def test_an_approval_withdrawn_after_posting_asks_for_a_reversal(firm: Firm) -> None:
    posted = firm.admit(firm.time("1")).ready
    firms.post(posted)
    firm.admit(firm.time("1", status=SourceStatus.WITHDRAWN))
    assert state(posted[0]) == "posted"
    assert rules_of(posted[0]) == {"approval-withdrawn-after-posting"}
    reversal = corrections.reverse(posted, by=world.user(everywhere=True), reason="approval withdrawn").reversals[
        posted[0]
    ]
    firms.post([reversal], until=State.ACCEPTED)
    corrections.settle([reversal])
    assert (state(posted[0]), rules_of(posted[0])) == ("reversed", set())
    assert case("approval-withdrawn-after-posting").state == "resolved"


@pytest.mark.case(51)
def test_an_entry_that_is_approved_again_unchanged_needs_no_reversal(firm: Firm) -> None:
    posted = firm.admit(firm.time("1")).ready
    firms.post(posted)
    firm.admit(firm.time("1", status=SourceStatus.WITHDRAWN))
    again = firm.admit(firm.time("1"))
    assert (again.ready, again.held, len(again.unchanged)) == ([], [], 1)
    assert rules_of(posted[0]) == set()


@pytest.mark.case(1)
def test_a_deletion_at_source_cancels_before_and_asks_for_a_reversal_after_posting(firm: Firm) -> None:
    unposted, posted = firm.admit(firm.time("1"), firm.time("2", work_date=date(2026, 10, 2))).ready
    firms.post([posted])
    firm.admit(
        firm.time("1", status=SourceStatus.DELETED),
        firm.time("2", work_date=date(2026, 10, 2), status=SourceStatus.DELETED),
    )
    assert (state(unposted), state(posted)) == ("cancelled", "posted")
    assert rules_of(posted) == {"deleted-at-source"}
    assert "was deleted at Harvest-Us" in hold(posted, "deleted-at-source").sentence


def test_finance_s_correction_takes_the_same_path_as_the_vendor_s_edit(firm: Firm) -> None:
    held = firm.admit(firm.time("1", project=Reference("", "NOPE"))).held[0]
    corrected = canonical.correct(
        [entry(held).document_id], {"project_code": "ACM-1"}, author=world.user(everywhere=True), reason="mistyped"
    )
    admitted = validation.admit(corrected, actor="ana")
    assert (admitted.cancelled, len(admitted.ready)) == ([held], 1)
    assert case("project-unknown").state == "resolved"


def test_finance_s_accepted_source_rate_is_what_is_booked(firm: Firm) -> None:
    held = firm.admit(firm.time("1", rate=Decimal(110))).held[0]
    corrected = canonical.correct(
        [entry(held).document_id],
        {"rate_source": "source"},
        author=world.user(everywhere=True),
        reason="agreed by mail",
    )
    made = entry(validation.admit(corrected, actor="ana").ready[0])
    assert (made.rate, made.amount, made.rate_version, made.rate_used) == (Decimal(110), Decimal(880), "source", None)


@pytest.mark.case(43)
def test_finance_s_posting_date_moves_an_entry_into_an_open_period(firm: Firm) -> None:
    firm.entity.periods.filter(code="2026-10").update(state="closed")
    held = firm.admit(firm.time("1")).held[0]
    corrected = canonical.correct(
        [entry(held).document_id], {"post_on": date(2026, 11, 1)}, author=world.user(everywhere=True), reason="late"
    )
    made = entry(validation.admit(corrected, actor="ana").ready[0])
    assert (made.work_date, made.post_on, made.tags) == (date(2026, 10, 1), date(2026, 11, 1), ["late"])


@pytest.mark.case(130)
def test_documents_from_before_the_cut_over_are_history_and_not_posted(firm: Firm) -> None:
    firm.source.cut_over_on = date(2026, 10, 1)
    firm.source.save()
    admitted = firm.admit(firm.time("1", work_date=date(2026, 9, 30)), firm.time("2"))
    assert (len(admitted.history), len(admitted.ready)) == (1, 1)
    assert LedgerEntry.objects.count() == 1


def test_documents_without_a_route_are_a_case_and_go_when_there_is_one(firm: Firm) -> None:
    Route.objects.filter(kind="time").delete()
    admitted = firm.admit(firm.time("1"), firm.time("2", work_date=date(2026, 10, 2)))
    assert len(admitted.unrouted) == 2
    assert "have no target from 1 Oct 2026 to 2 Oct 2026; add a route" in case("no-route").sentence
    Route.objects.create(
        entity=firm.entity, source=firm.source, target=firm.target, kind="time", valid_from=firms.SINCE
    )
    from reconciliation.validation.affected import admit_unrouted

    assert len(admit_unrouted(firm.source.pk, actor="test")) == 2
    assert LedgerEntry.objects.filter(state_row__state="ready").count() == 2
    assert case("no-route").state == "resolved"


def test_a_version_that_is_booked_in_one_target_is_not_booked_in_another(firm: Firm) -> None:
    documents = firm.take(firm.time("1"))
    firms.post(validation.admit(documents, actor="test").ready)
    other = world.connection("bc", "business_central", firm.entity, is_target=True)
    firm.route.target = other
    firm.route.save()
    again = validation.admit(documents, actor="test")
    assert (again.ready, again.held, again.unchanged) == ([], [], documents)


def test_a_batch_that_spends_one_cap_does_so_in_the_order_of_the_work_dates(firm: Firm) -> None:
    firm.contract.cap_amount = Decimal(960)
    firm.contract.save()
    admitted = firm.admit(
        firm.time("late", work_date=date(2026, 10, 9)), firm.time("early", work_date=date(2026, 10, 1))
    )
    assert entry(admitted.ready[0]).document.external_id == "early"
    assert entry(admitted.held[0]).document.external_id == "late"


@pytest.mark.case(65)
def test_a_changed_version_never_goes_under_the_key_of_the_old_one(firm: Firm) -> None:
    first = entry(firm.admit(firm.time("1")).ready[0])
    second = entry(firm.admit(firm.time("1", hours=Decimal(6))).ready[0])
    assert first.idempotency_key != second.idempotency_key
    assert second.idempotency_key == ledger.key_of(second.document_id, 2, firm.target.pk)


def test_an_expense_and_a_time_entry_of_one_batch_are_admitted_together(firm: Firm) -> None:
    admitted = firm.admit(firm.time("1"), firm.expense("x1"))
    assert {entry(made).kind for made in admitted.ready} == {"time", "expense"}
