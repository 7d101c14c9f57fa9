"""The screens of reconciliation: what they show, whom they show it to, and asking for another comparison."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils.timezone import now

from integrations import sweeper, work
from integrations.errors import Unavailable
from integrations.models import MaintenanceWindow
from portal.models import User
from reconciliation import matching
from reconciliation.models import ReconciliationResult, ReconciliationRun
from reconciliation.views.legs import legs_of
from tests.integrations.memory_target import BOOKS
from tests.integrations.operate_world import Operations, operations

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm(monkeypatch: pytest.MonkeyPatch) -> Operations:
    monkeypatch.setattr("integrations.wake.up", lambda *_: False)
    return operations(monkeypatch)


def get(client: Client, user: User, address: str, **more: Any) -> Any:
    client.force_login(user)
    return client.get(address, **more)


def text(response: Any) -> str:
    assert response.status_code == 200
    return str(response.content.decode())


def test_the_overview_shows_both_legs_of_the_entities_a_person_sees(client: Client, firm: Operations) -> None:
    page = text(get(client, firm.analyst, "/reconciliation/"))
    assert "2026-10" in page
    assert "Tracker ↔ ledger" in page
    assert "2 differ" in page
    assert "Not run" in page  # November
    assert f"/reconciliation/periods/{firm.foreign_comparison.period_id}/" not in page
    everything = text(get(client, firm.controller, "/reconciliation/"))
    assert f"/reconciliation/periods/{firm.foreign_comparison.period_id}/" in everything


def test_a_run_shows_its_differences_first_with_the_reason_in_words(client: Client, firm: Operations) -> None:
    page = text(get(client, firm.analyst, f"/reconciliation/{firm.comparison.pk}/"))
    assert "8.00 h were posted, the target holds 9.00 h" in page
    assert "Record M-900 was booked in the target without us." in page
    everything = text(get(client, firm.analyst, f"/reconciliation/{firm.comparison.pk}/?tab=all&leg=ledger_target"))
    assert "Hours differ" in everything
    assert "% matched" in everything


def test_runs_sheets_and_periods_of_another_entity_are_not_found(client: Client, firm: Operations) -> None:
    other = firm.foreign_comparison
    for address in (
        f"/reconciliation/{other.pk}/", f"/reconciliation/{other.pk}/sheet/", f"/reconciliation/periods/{other.period_id}/",
        f"/reconciliation/{other.pk}/?export=csv",
    ):  # fmt: skip
        assert get(client, firm.analyst, address).status_code == 404, address
        assert get(client, firm.stranger, address).status_code == 200, address


def test_the_sheet_lists_open_items_and_has_room_for_two_signatures(client: Client, firm: Operations) -> None:
    page = text(get(client, firm.auditor, f"/reconciliation/{firm.comparison.pk}/sheet/"))
    assert "Record M-900 was booked in the target without us." in page
    assert page.count("by, date") == 2


def test_the_export_holds_every_row_of_the_filter(client: Client, firm: Operations) -> None:
    answer: Any = get(client, firm.auditor, f"/reconciliation/{firm.comparison.pk}/?tab=all&export=csv")
    lines = b"".join(answer.streaming_content).decode().splitlines()
    assert sum("Matched" in line for line in lines) == firm.comparison.results.filter(outcome="matched").count()
    assert any("Record M-900" in line for line in lines)


def test_asking_writes_one_row_that_the_sweeper_answers_outside_the_request(client: Client, firm: Operations) -> None:
    client.force_login(firm.analyst)
    address = f"/reconciliation/periods/{firm.period.pk}/"
    answer = client.post(address, {"action": "reconcile"})
    run = ReconciliationRun.objects.latest("pk")
    assert answer.headers["Location"] == f"/reconciliation/{run.pk}/"
    assert run.state == "running"
    assert run.requested_by == firm.analyst
    assert "It is being compared" not in text(client.get(f"/reconciliation/{firm.comparison.pk}/"))
    assert "Statements are read" in text(client.get(f"/reconciliation/{run.pk}/"))
    client.post(address, {"action": "reconcile"})
    assert ReconciliationRun.objects.latest("pk") == run  # one question at a time
    swept = sweeper.sweep()
    assert swept is not None
    assert swept.failed == 0
    run.refresh_from_db()
    assert run.state == "out_of_balance"
    assert run.statement_read_at is not None
    assert matching.requested() == []
    work.reconcile(run.pk)  # a second hint finds nothing to do
    assert "Record M-900" in text(client.get(f"/reconciliation/{run.pk}/"))


def test_a_statement_that_cannot_be_read_ends_the_run_with_the_reason(
    client: Client, firm: Operations, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise Unavailable("The ERP is in maintenance.")

    monkeypatch.setattr("tests.integrations.memory_target.MemoryTarget.statement", refuse)
    client.force_login(firm.controller)
    client.post(f"/reconciliation/periods/{firm.period.pk}/", {"action": "reconcile"})
    run = ReconciliationRun.objects.latest("pk")
    work.reconcile(run.pk)
    page = text(client.get(f"/reconciliation/{run.pk}/"))
    assert "The ERP is in maintenance." in page
    assert "No statement is no proof" in page


def test_a_run_waits_while_its_target_is_not_to_be_asked_and_says_why(client: Client, firm: Operations) -> None:
    MaintenanceWindow.objects.create(
        connection=firm.target, starts_at=now() - timedelta(hours=1), ends_at=now() + timedelta(hours=1),
        reason="quarterly upgrade",
    )  # fmt: skip
    looked = len(BOOKS[firm.target.code].statements)
    client.force_login(firm.controller)
    client.post(f"/reconciliation/periods/{firm.period.pk}/", {"action": "reconcile"})
    run = ReconciliationRun.objects.latest("pk")
    sweeper.sweep()
    run.refresh_from_db()
    assert (run.state, run.lease_until) == ("running", None)
    assert run.next_try_at is not None
    assert matching.requested() == []  # it is not tried again before the window ends
    page = text(client.get(f"/reconciliation/{run.pk}/"))
    assert "Maintenance window: quarterly upgrade. It goes on by itself." in page
    assert "It is tried again" in page
    assert len(BOOKS[firm.target.code].statements) == looked
    MaintenanceWindow.objects.all().delete()
    ReconciliationRun.objects.filter(pk=run.pk).update(next_try_at=now())
    sweeper.sweep()
    run.refresh_from_db()
    assert (run.state, run.waits_for, run.next_try_at) == ("out_of_balance", "", None)


def test_a_run_whose_worker_was_killed_is_finished_by_the_sweeper(client: Client, firm: Operations) -> None:
    run = matching.begin(firm.comparison.entity, firm.period)
    assert matching.requested() == []  # a living worker has it
    ReconciliationRun.objects.filter(pk=run.pk).update(lease_until=now() - timedelta(seconds=1))
    client.force_login(firm.controller)
    assert "The worker that compared it has ended" in text(client.get(f"/reconciliation/{run.pk}/"))
    sweeper.sweep()
    run.refresh_from_db()
    assert (run.state, run.deaths, run.fence) == ("out_of_balance", 1, 2)


def test_a_worker_that_comes_back_after_its_lease_changes_nothing(firm: Operations) -> None:
    slow = matching.begin(firm.comparison.entity, firm.period)
    ReconciliationRun.objects.filter(pk=slow.pk).update(lease_until=now() - timedelta(seconds=1))
    work.reconcile(slow.pk)
    before = ReconciliationResult.objects.filter(run=slow.pk).count()
    with pytest.raises(matching.RunLost):
        matching.compare(slow)
    with pytest.raises(matching.RunLost):
        matching.hold_on(slow)
    assert matching.give_up(slow, "too late").state == "out_of_balance"
    assert ReconciliationResult.objects.filter(run=slow.pk).count() == before


def test_a_run_that_kills_its_workers_is_given_up(firm: Operations) -> None:
    run = matching.begin(firm.comparison.entity, firm.period)
    ReconciliationRun.objects.filter(pk=run.pk).update(lease_until=now() - timedelta(seconds=1), deaths=2)
    sweeper.sweep()
    run.refresh_from_db()
    assert (run.state, "ended 3 times" in run.failure) == ("failed", True)


def test_only_those_who_may_fix_ask_for_a_comparison(client: Client, firm: Operations) -> None:
    before = ReconciliationRun.objects.count()
    for person in (firm.auditor, firm.manager):
        client.force_login(person)
        assert "Reconcile now" not in text(client.get(f"/reconciliation/periods/{firm.period.pk}/"))
        assert client.post(f"/reconciliation/periods/{firm.period.pk}/", {"action": "reconcile"}).status_code == 403
    client.force_login(firm.stranger)
    assert client.post(f"/reconciliation/periods/{firm.period.pk}/", {"action": "reconcile"}).status_code == 404
    assert ReconciliationRun.objects.count() == before


def test_a_matched_share_is_never_rounded_up_to_everything() -> None:

    side = {"left": "8", "right": "8"}
    totals = {"matched": 9999, "open": 0, "differing": 1, "hours": side, "money": {}}
    found = legs_of({"tracker_ledger": totals})[0]
    assert found.percent == "99.9 % matched"
    assert legs_of({"tracker_ledger": {**totals, "differing": 0}})[0].percent == "100 % matched"


def test_a_leg_whose_sides_add_up_differently_is_balanced_only_with_its_rest_explained() -> None:
    equal = {"left": "580.00", "right": "580.00"}
    totals = {"matched": 2, "open": 0, "differing": 0, "hours": {"left": "8", "right": "8"}, "money": {"SGD": equal}}
    assert legs_of({"target_invoice": totals})[0].verdict == "Balanced"
    credited = {"SGD": {**equal, "right": "0.00"}}
    found = legs_of({"target_invoice": {**totals, "money": credited}})[0]
    assert (found.verdict, found.percent) == ("Balanced, its rest explained", "100 % matched")
