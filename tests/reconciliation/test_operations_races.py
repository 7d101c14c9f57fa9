"""Bulk fixes under contention, with real threads: one confirmation counts, one worker works, cancelling meets running."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse

from portal.models import AuditEvent, LedgerState, LedgerTransition, User
from portal.records import Reference
from reconciliation import operations
from reconciliation.models import ExceptionCase, Operation
from reconciliation.operations import applying, running
from tests import world
from tests.invariants import assert_all_hold
from tests.reconciliation import desk
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def firm() -> Firm:
    return firms.build()


@pytest.fixture
def ana(firm: Firm) -> User:
    return world.user("ana", "analyst", firm.entity)


def day(number: int) -> date:
    return date(2026, 10, 1) + timedelta(days=number % 28)


def planned(firm: Firm, ana: User, number: int = 12) -> Operation:
    desk.mistyped(firm, number, code="ACM-9")
    return operations.plan(
        "map-code", user=ana, parameters={"record": firm.project.pk, "valid_from": ""}, reason="a typing error",
        case=ExceptionCase.objects.get(rule="project-unknown"),
    )  # fmt: skip


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """Do all of it in threads of their own that start together; what each gave or raised."""
    start, found = threading.Barrier(len(acts)), [None] * len(acts)

    def one(number: int) -> None:
        start.wait()
        try:
            found[number] = acts[number]()
        except Exception as error:
            found[number] = error  # type: ignore[call-overload]
        finally:
            connection.close()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


def test_who_cancels_while_a_worker_plans_ends_it_after_the_chunk(
    firm: Firm, ana: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PLAN_AT_ONCE = 5
    monkeypatch.setattr(applying, "CHUNK", 4)
    operation = planned(firm, ana)
    assert operation.state == "planning"
    real, chunks = applying.apply, []

    def meanwhile(fix: Any, work: Any, ids: Any) -> dict[int, str]:
        chunks.append(ids)
        found = at_once(lambda: operations.cancel(Operation.objects.get(pk=operation.pk), user=ana).state)
        assert found == ["planning"]  # it waits for no worker
        return real(fix, work, ids)

    monkeypatch.setattr(applying, "apply", meanwhile)
    assert not operations.run(operation.pk)
    operation.refresh_from_db()
    assert (operation.state, len(chunks)) == ("cancelled", 1)
    assert set(operation.rows.values_list("result", flat=True)) == {"cancelled"}
    assert LedgerState.objects.filter(state="held").count() == 12


@pytest.mark.case(126)
def test_of_two_who_approve_at_once_one_counts(firm: Firm, ana: User) -> None:
    firm.entity.policy = {"second_person_rows": 3}
    firm.entity.save()
    people = [world.user(name, "controller", firm.entity) for name in ("cleo", "dora", "emil")]
    operation = operations.confirm(planned(firm, ana), user=ana)
    assert operation.state == "awaiting"

    def approve(user: User) -> Callable[[], Any]:
        return lambda: operations.approve(Operation.objects.get(pk=operation.pk), user=user, comment=user.username)

    def refuse(user: User) -> Callable[[], Any]:
        return lambda: operations.refuse(Operation.objects.get(pk=operation.pk), user=user, comment="no")

    found = at_once(*[approve(user) for user in people], *[refuse(user) for user in people])
    agreed = [one for one in found if isinstance(one, Operation)]
    assert len(agreed) == 1
    late = [one for one in found if isinstance(one, operations.OperationRefused)]
    assert len(late) == 5
    operation.refresh_from_db()
    what = "refused" if operation.state == "refused" else "approved"
    for one in late:
        assert str(one).startswith(
            (f"{operation.decided_by} {what} this before you: it is ", f"You {what} this: it is ")
        )
    assert operation.decided_by == agreed[0].decided_by
    assert AuditEvent.objects.filter(action__in=["operation.approved", "operation.refused"]).count() == 1
    operations.run(operation.pk)
    kinds = set(operation.rows.values_list("result", flat=True))
    assert kinds == ({"done"} if operation.state == "running" else {"cancelled"})
    assert_all_hold()


def test_of_two_who_press_approve_at_once_one_agrees_and_a_double_click_of_one_is_no_error(
    firm: Firm, ana: User
) -> None:
    firm.entity.policy = {"second_person_rows": 3}
    firm.entity.save()
    people = {name: world.user(name, "controller", firm.entity) for name in ("cleo", "dora")}
    operation = operations.confirm(planned(firm, ana), user=ana)
    page = reverse("operation", args=[operation.pk])

    def press(name: str) -> Callable[[], Any]:
        client = Client()
        client.force_login(people[name])
        return lambda: (name, client.post(page, {"action": "approve", "comment": "seen"}))

    found = at_once(press("cleo"), press("cleo"), press("dora"), press("dora"))
    operation.refresh_from_db()
    first = str(operation.decided_by)
    for name, answer in found:
        assert answer.status_code == (303 if name == first else 422), name
        if name != first:
            assert f"{first} approved this before you: it is running." in answer.content.decode()
    assert AuditEvent.objects.filter(action="operation.approved").count() == 1


@pytest.mark.case(60)
def test_of_two_confirmations_one_counts(firm: Firm, ana: User) -> None:
    operation = planned(firm, ana)
    found = at_once(*[lambda: operations.confirm(Operation.objects.get(pk=operation.pk), user=ana)] * 4)
    refused = [one for one in found if isinstance(one, operations.OperationRefused)]
    assert (len(refused), {str(one) for one in refused}) == (3, {"This operation was confirmed or cancelled before."})
    assert AuditEvent.objects.filter(action="operation.map-code").count() == 1


@pytest.mark.case(59)
def test_of_many_workers_one_works_and_each_row_ends_once(
    firm: Firm, ana: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "CHUNK", 3)
    operation = operations.confirm(planned(firm, ana), user=ana)
    assert at_once(*[lambda: operations.run(operation.pk)] * 4) == [False] * 4
    operation.refresh_from_db()
    assert (operation.state, operation.done, operation.failed) == ("done", 12, 0)
    assert set(operation.rows.values_list("result", flat=True)) == {"done"}
    replaced = LedgerTransition.objects.filter(from_state="held", to_state="cancelled")
    assert replaced.count() == LedgerState.objects.filter(state="ready").count() == 12
    assert_all_hold()


def test_two_workers_after_a_lost_lease_still_do_each_row_once(
    firm: Firm, ana: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first was only slow: it goes on while the second has begun."""
    monkeypatch.setattr(running, "CHUNK", 2)
    monkeypatch.setattr(running, "LEASE_SECONDS", 0)
    operation = operations.confirm(planned(firm, ana), user=ana)
    assert at_once(*[lambda: operations.run(operation.pk)] * 3) == [False] * 3
    operation.refresh_from_db()
    assert (operation.state, operation.done, operation.failed) == ("done", 12, 0)
    assert LedgerState.objects.filter(state="ready").count() == 12


def test_cancelling_while_it_runs_leaves_every_row_done_or_cancelled(
    firm: Firm, ana: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "CHUNK", 1)
    operation = operations.confirm(planned(firm, ana), user=ana)

    def cancel() -> None:
        operations.cancel(Operation.objects.get(pk=operation.pk), user=ana)

    at_once(lambda: operations.run(operation.pk), cancel)
    operation.refresh_from_db()
    results = list(operation.rows.values_list("result", flat=True))
    assert operation.state in ("cancelled", "done")
    assert set(results) <= {"done", "cancelled"}
    assert operation.done == results.count("done") == LedgerState.objects.filter(state="ready").count()


def test_a_version_that_comes_while_the_fix_runs_is_never_fixed_in_its_old_form(firm: Firm, ana: User) -> None:
    operation = operations.confirm(planned(firm, ana), user=ana)
    newer = [
        firm.time(str(1000 + n), project=Reference("", "ACM-9", "x"), work_date=day(n), hours=Decimal(2))
        for n in range(12)
    ]

    def newer_versions() -> None:
        with transaction.atomic():  # as the inbox does
            firm.admit(*newer)

    found = at_once(lambda: operations.run(operation.pk), newer_versions)
    assert not [one for one in found if isinstance(one, Exception)]
    operation.refresh_from_db()
    assert operation.state == "done"
    live = LedgerState.objects.exclude(state="cancelled").values_list("entry__version", "entry__hours", "state")
    fixed_first = operation.done == 12  # either before the new versions came, or all of them are seen to have moved
    assert list(live) == [(3 if fixed_first else 2, Decimal(2), "held")] * 12
    assert set(operation.rows.values_list("result", flat=True)) == {"done" if fixed_first else "skipped"}
