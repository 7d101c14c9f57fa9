"""Cases: one cause, one case; counted by what changes their holds; open while something waits."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import pytest
from django.db import connection, transaction

from portal import ledger
from portal.models import AuditEvent
from portal.records import Reference
from reconciliation import cases, validation
from reconciliation.models import ExceptionCase
from reconciliation.policies import SETTINGS, merged, problems
from reconciliation.rules import BY_CODE, EVERY, RULES, STANDING
from tests import world
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm, case, hold, rules_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    return firms.build()


@pytest.mark.case(126)
def test_entries_of_one_cause_wait_in_one_case_with_their_hours_and_money(firm: Firm) -> None:
    firm.admit(
        *(
            firm.time(str(n), rate=Decimal(110), hours=Decimal("0.5"), work_date=date(2026, 10, 1 + n % 3))
            for n in range(30)
        )
    )
    found = ExceptionCase.objects.get()
    assert (found.open_holds, found.open_hours, found.open_people) == (30, Decimal(15), 1)
    assert list(found.totals.values_list("currency", "amount")) == [("USD", Decimal(1800))]


def test_money_of_a_case_is_never_added_over_currencies(firm: Firm) -> None:
    firm.policy(rate_scopes=["contract"])
    firm.contract.billing_model = "fixed_fee"
    firm.contract.save()
    first = firm.expense("1", currency="USD", receipt_reference="")
    second = firm.expense("2", currency="EUR", billable=False, receipt_reference="")
    firm.admit(first, second)
    totals = case("expense-receipt-missing").totals.order_by("currency").values_list("currency", "amount", "holds")
    assert list(totals) == [("EUR", Decimal(119), 1), ("USD", Decimal(119), 1)]


def test_a_waiver_is_a_decision_with_a_person_a_reason_and_a_place_in_the_audit_trail(firm: Firm) -> None:
    held = firm.admit(firm.time(rate=Decimal(110))).held[0]
    found = hold(held, "rate-mismatch")
    ana = world.user(everywhere=True)
    cases.waive([found.pk], by=ana, reason="agreed by mail")
    found.refresh_from_db()
    assert (found.outcome, found.closed_by, found.reason) == ("waived", ana, "agreed by mail")
    event = AuditEvent.objects.get()
    assert (event.action, event.actor, event.after) == ("waive", ana, {"rule": "rate-mismatch", "entries": [held]})


def test_waiving_one_of_two_keeps_the_case_open(firm: Firm) -> None:
    held = firm.admit(
        firm.time("1", rate=Decimal(110)), firm.time("2", rate=Decimal(110), work_date=date(2026, 10, 2))
    ).held
    validation.waive([hold(held[0], "rate-mismatch").pk], by=world.user(everywhere=True), reason="agreed")
    found = case("rate-mismatch")
    assert (found.state, found.open_holds, found.open_hours) == ("open", 1, Decimal(8))


def test_a_case_without_entries_stays_open_until_its_cause_is_said_to_be_gone(firm: Firm) -> None:
    first = cases.raise_case(
        "connection-unauthorised", firm.entity.pk, "connection", "ns", "NetSuite refuses our credentials.",
        connection_id=firm.target.pk,
    )  # fmt: skip
    again = cases.raise_case("connection-unauthorised", firm.entity.pk, "connection", "ns", "NetSuite refuses.")
    assert first == again
    assert case("connection-unauthorised").state == "open"
    assert cases.resolve("connection-unauthorised", "connection", "ns", reason="answers again") == [first]
    assert case("connection-unauthorised").state == "resolved"
    assert cases.resolve("connection-unauthorised", "connection", "ns", reason="answers again") == []


def test_a_case_found_elsewhere_holds_its_entries_and_resolves_with_them(firm: Firm) -> None:
    ready = firm.admit(firm.time()).ready
    case_id = cases.raise_case("poison", firm.entity.pk, "connection", "1", "Stopped after 5 claims.", entries=ready)
    assert rules_of(ready[0]) == {"poison"}
    assert cases.close_holds(ready, ["poison"], reason="sent again") == {case_id}
    assert case("poison").state == "resolved"


def test_an_unknown_code_raises_no_case(firm: Firm) -> None:
    with pytest.raises(KeyError):
        cases.raise_case("no-such-rule", firm.entity.pk, "x", "1", "?")


def test_every_change_of_a_case_s_state_leaves_history_with_a_reason(firm: Firm) -> None:
    held = firm.admit(firm.time(project=Reference("", "NOPE"))).held[0]
    firms.alias("project", "NOPE", firm.project.pk)
    validation.recheck([held], actor="test", reason="mapped")
    history = ExceptionCase.history.order_by("history_id").values_list("history_type", "state", "history_change_reason")
    assert list(history) == [("+", "open", "found by validation"), ("~", "resolved", "The last hold is closed")]


def test_every_rule_has_a_stable_code_a_title_and_a_way_out() -> None:
    codes = [rule.code for rule in EVERY]
    assert len(codes) == len(set(codes)) == len(BY_CODE)
    for rule in EVERY:
        assert rule.code == rule.code.lower().replace("_", "-")
        assert rule.title
        assert rule.subject
        assert rule.remedies or rule.check is None  # what a source does heals by itself
        assert "waive" not in rule.remedies or rule.waivable
    assert {"changed-after-posting", "not-approved", "approver-is-worker"} <= STANDING
    assert all(rule.check for rule in RULES)


def test_policies_are_checked_by_key_and_value() -> None:
    wrong = problems(
        {"rate_tolerance": 0.5, "closed_period": "skip", "colour": "red", "rules_off": ["changed-after-posting"]},
        standing=STANDING,
    )
    assert len(wrong) == 4
    assert "Policy “colour” is not known" in wrong[2]
    assert problems({setting.key: _written(setting.default) for setting in SETTINGS}) == []


def _written(value: object) -> object:
    """A default as somebody would write it in a file."""
    if isinstance(value, Decimal):
        return str(value)
    return sorted(value) if isinstance(value, frozenset) else value


def test_a_route_s_policy_refines_its_entity_s_table_by_table() -> None:
    policy = merged(
        {"memo_limit": 100},
        {"expense_limits": {"Travel": "100", "Meals": "50"}, "hours_max": 12},
        {"expense_limits": {"Meals": "60"}},
    )
    assert (policy.memo_limit, policy.hours_max) == (100, Decimal(12))
    assert policy.expense_limits == {"Travel": Decimal(100), "Meals": Decimal(60)}
    with pytest.raises(ValueError, match="memo_limit"):
        merged({"memo_limit": 0})


class TestAtOnce:
    """Workers that find the same cause, or spend the same limit, at the same time."""

    pytestmark = pytest.mark.django_db(transaction=True)

    def _admit_at_once(self, batches: Sequence[list[int]]) -> None:
        failures: list[BaseException] = []
        start = threading.Barrier(len(batches))

        def work(documents: list[int]) -> None:
            try:
                start.wait()
                with transaction.atomic():
                    validation.admit(documents, actor="test")
            except BaseException as error:
                failures.append(error)
            finally:
                connection.close()

        threads = [threading.Thread(target=work, args=(batch,)) for batch in batches]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []

    def test_eight_batches_of_one_cause_make_one_case(self, firm: Firm) -> None:
        self._admit_at_once([firm.take(firm.time(str(n), rate=Decimal(110), hours=Decimal("0.5"))) for n in range(8)])
        found = ExceptionCase.objects.get()
        assert (found.open_holds, found.open_hours) == (8, Decimal(4))

    @pytest.mark.case(83)
    def test_eight_batches_spend_one_cap_once(self, firm: Firm) -> None:
        firm.contract.cap_amount = Decimal(1000)
        firm.contract.save()
        self._admit_at_once(
            [firm.take(firm.time(str(n), work_date=date(2026, 10, 1 + n), hours=Decimal(3))) for n in range(8)]
        )
        going, waiting = firms.money("ready"), firms.money("held")
        assert Decimal(998) < going <= Decimal(1000)
        assert going + waiting == Decimal(2880)

    @pytest.mark.case(16)
    def test_an_edit_that_races_its_own_delivery_waits_and_is_held(self, firm: Firm) -> None:
        ready = firm.admit(firm.time("1")).ready
        edited = firm.take(firm.time("1", hours=Decimal(6)))
        made: list[validation.Admitted] = []

        def admit() -> None:
            try:
                with transaction.atomic():
                    made.append(validation.admit(edited, actor="test"))
            finally:
                connection.close()

        with transaction.atomic():
            ledger.claimable(firm.target.pk, 10)
            ledger.send([(ready[0], 1, "hash")], lease_seconds=180, actor="outbox")
            thread = threading.Thread(target=admit)
            thread.start()
            thread.join(timeout=1)
            assert thread.is_alive()
        thread.join()
        assert (made[0].ready, made[0].cancelled) == ([], [])
        assert rules_of(made[0].held[0]) == {"changed-after-posting"}
        assert firms.state(ready[0]) == "sending"
