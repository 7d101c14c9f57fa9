"""Bulk fixes of several people at once, with real threads: each row ends once, and the ERP has each key once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from integrations import registry
from integrations.sandbox import VENDORS
from integrations.sandbox.server import control, sandbox_server
from portal.models import AuditEvent
from reconciliation import operations
from reconciliation.models import Operation
from reconciliation.operations import applying, running
from tests.faults import judged
from tests.faults.judged import Desk
from tests.faults.workers import SCALE

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def erp() -> Iterator[str]:
    VENDORS["plain"] = "tests.faults.plain:PlainErp"
    registry.CONNECTORS["plain"] = "tests.faults.plain.PlainTarget"
    with sandbox_server(names=["plain"]) as base_url:
        yield base_url
    del VENDORS["plain"], registry.CONNECTORS["plain"]


@pytest.fixture
def desk(erp: str, settings: Any) -> Desk:
    settings.TIME_SCALE = SCALE
    control(erp, "POST", "reset", {})
    return judged.desk(erp)


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """Do all of it in threads of their own that start together; what each gave, or the refusal that it met."""
    start, found = threading.Barrier(len(acts)), [None] * len(acts)

    def one(number: int) -> None:
        start.wait()
        try:
            found[number] = acts[number]()
        except operations.OperationRefused as refusal:
            found[number] = refusal  # type: ignore[call-overload]
        finally:
            connection.close()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    return found


def confirm(operation: Operation, user: Any) -> Callable[[], Operation]:
    return lambda: operations.confirm(Operation.objects.get(pk=operation.pk), user=user)


@pytest.mark.case(60)
def test_of_two_analysts_who_fix_one_cause_at_once_the_second_is_told_whose_it_is(desk: Desk) -> None:
    desk.held(10)
    both = [desk.plan(desk.ana), desk.plan(desk.ben)]
    found = at_once(confirm(both[0], desk.ana), confirm(both[1], desk.ben))
    [refusal] = [one for one in found if isinstance(one, operations.OperationRefused)]
    [first] = Operation.objects.filter(state="running")
    assert str(refusal).startswith(f"10 of 10 entries are in progress by {first.created_by} since ")
    assert first.title in str(refusal)
    operations.run(first.pk)
    desk.deliver()
    assert desk.judge(first) == {"done": 10}
    [second] = Operation.objects.filter(state="planned")
    with pytest.raises(operations.OperationRefused, match="10 entries when you looked, none now"):
        operations.confirm(second, user=second.created_by)
    assert AuditEvent.objects.filter(action="operation.map-code").count() == 1


@pytest.mark.case(60)
def test_of_a_double_click_one_confirmation_counts_and_both_lead_to_the_operation(desk: Desk) -> None:
    desk.held(4)
    operation = desk.plan(desk.ana)
    page = reverse("operation", args=[operation.pk])

    def click() -> tuple[int, str]:
        client = Client()
        client.force_login(desk.ana)
        answer = client.post(page, {"action": "confirm", "reason": "a typing error"})
        return answer.status_code, answer.get("Location", "")

    assert at_once(*[click] * 4) == [(303, page)] * 4
    assert AuditEvent.objects.filter(action="operation.map-code").count() == 1
    operations.run(operation.pk)
    desk.deliver()
    assert desk.judge(operation) == {"done": 4}


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_cancelled_while_it_finishes_every_row_is_done_or_cancelled_and_the_person_is_told_which(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(running, "CHUNK", 1)
    desk.held(rows)
    operation = operations.confirm(desk.plan(desk.ana), user=desk.ana)
    again = Operation.objects.get(pk=operation.pk)
    _, told = at_once(lambda: operations.run(operation.pk), lambda: operations.cancel(again, user=desk.ben))
    desk.deliver()
    results = desk.judge(operation)
    assert operation.state == ("cancelled" if results["cancelled"] else "done")
    assert results["done"] + results["cancelled"] == rows
    assert sum(desk.booked().values()) == results["done"]
    if isinstance(told, operations.OperationRefused):
        assert str(told) == "The operation is done already."


def test_cancelling_does_not_wait_for_the_chunk_that_is_open(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "CHUNK", 3)
    desk.held(8)
    operation = operations.confirm(desk.plan(desk.ana), user=desk.ana)
    work_off, is_open, goes_on = running.work_off, threading.Event(), threading.Event()

    def waiting(*arguments: Any) -> Any:
        found = work_off(*arguments)
        is_open.set()
        assert goes_on.wait(30)
        return found

    monkeypatch.setattr(running, "work_off", waiting)

    def cancel() -> str:
        assert is_open.wait(30)
        told = operations.cancel(Operation.objects.get(pk=operation.pk), user=desk.ana)
        goes_on.set()
        return str(told.state)

    assert at_once(lambda: operations.run(operation.pk), cancel)[1] == "running"
    desk.deliver()
    assert desk.judge(operation) == {"done": 3, "cancelled": 5}
    assert operation.state == "cancelled"


def test_what_failed_is_tried_again_while_the_rest_still_runs(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "CHUNK", 2)
    held = desk.held(9)

    def breaking(fix: Any, work: Any, entry_ids: Any) -> dict[int, str]:
        return applying.apply(fix, work, [one for one in entry_ids if one != held[0]]) | (
            {held[0]: "not now"} if held[0] in entry_ids else {}
        )

    operation = operations.confirm(desk.plan(desk.ana), user=desk.ana)
    with monkeypatch.context() as patch:
        patch.setattr(running, "apply", breaking)
        assert operations.run(operation.pk, goes_on=lambda: False)
    again = operations.retry_failed(operation, user=desk.ben)
    assert list(again.rows.values_list("entry_id", flat=True)) == [held[0]]
    operations.confirm(again, user=desk.ben)
    with pytest.raises(operations.OperationRefused, match="1 of 1 entries are in progress by ben"):
        operations.confirm(operations.retry_failed(operation, user=desk.ana), user=desk.ana)
    at_once(lambda: operations.run(operation.pk), lambda: operations.run(again.pk))
    desk.deliver()
    assert desk.judge(operation) == {"done": 8, "failed": 1}
    assert desk.judge(again) == {"done": 1}
    assert sum(desk.booked().values()) == 9


def test_a_result_is_final_in_the_database_itself(desk: Desk) -> None:
    desk.held(2)
    operation = operations.confirm(desk.plan(desk.ana), user=desk.ana)
    operations.run(operation.pk)
    with connection.cursor() as cursor:
        for change in (
            "UPDATE reconciliation_operationrow SET result = 'failed'",
            "DELETE FROM reconciliation_operationrow",
        ):
            with pytest.raises(Exception, match="a result is neither changed nor deleted"):
                cursor.execute(change)
        with pytest.raises(Exception, match="an_operation_ends_no_row_twice"):
            cursor.execute("UPDATE reconciliation_operation SET done = done + 1")
