"""A fix too large for a request is dry-run by a worker, and once more before what a person asked for is done.

The rule here: what a person agrees to is what the worker then finds. It looks within one transaction that is rolled back,
holding the operation's lock, which the database takes from the dead; a worker that dies has changed nothing, and the next one
begins anew. A look is one turn, however long it takes: half of one tells nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.urls import reverse

from portal import access
from portal.models import NotificationKind, User
from portal.notifications import notify
from reconciliation.fixes import FIXES
from reconciliation.models import Operation
from reconciliation.operations import confirming
from reconciliation.operations.applying import NothingToFix, OperationRefused
from reconciliation.operations.planning import Look, freeze, look_again
from reconciliation.sql import operations as sql

LEASE_SECONDS = 30  # after which the next worker begins anew when one died

State = Operation.State


class _Ended(Exception):
    """The dry-run goes no further: somebody cancelled it."""


def work_out(operation: Operation, turn: int) -> bool:
    """Dry-run one operation and do what was asked for; whether it is to be worked off now, in another turn."""
    try:
        with transaction.atomic():
            sql.hold(operation.pk)
            if not sql.has_turn(operation.pk, turn):
                return False
            _look_and_conclude(operation, turn)
    except _Ended:
        with transaction.atomic():
            sql.hold(operation.pk)
            sql.close_if_over(operation.pk)
    sql.give_back(operation.pk, turn)
    return Operation.objects.filter(pk=operation.pk, state=State.RUNNING).exists()


def _look_and_conclude(operation: Operation, turn: int) -> None:
    problem: OperationRefused | None = None
    found, given = None, None
    with _showing(operation.pk, turn) as show:

        def seen(count: int) -> None:
            if sql.is_to_stop(operation.pk):
                raise _Ended
            show(count)

        try:
            found, given = look_again(operation, seen=seen)
        except OperationRefused as refused:
            problem = refused
    locked = Operation.objects.select_for_update(of=("self",)).select_related("created_by", "case").get(pk=operation.pk)
    if locked.cancel_requested_at is not None:
        raise _Ended
    asked, locked.asked = locked.asked, {}

    def renewed() -> None:
        if found is None:
            raise NothingToFix(str(problem))
        freeze(locked, FIXES[locked.fix](), found, given)

    if asked:
        _do_what_was_asked(locked, asked, found, problem, renewed)
    else:
        _show_what_was_found(locked, problem, renewed)


def _show_what_was_found(operation: Operation, problem: OperationRefused | None, renewed: Callable[[], None]) -> None:
    """The first dry-run, or a new one that was asked for: its planner sees it; where the fix helps no row, it is over."""
    try:
        renewed()
    except NothingToFix:
        _end(operation, str(problem))
    else:
        operation.state = State.PLANNED
        operation.save(update_fields=["state", "asked"])
    notify(
        [operation.created_by_id], NotificationKind.FINISHED,
        f"{'Look at the dry-run' if operation.state == State.PLANNED else 'Nothing to fix'}: {operation.title}",
        url=reverse("operation", args=[operation.pk]), entity=operation.entity_id, note=operation.moved.get("says", ""),
        key=confirming.planned_key(operation),
    )  # fmt: skip


def _do_what_was_asked(
    operation: Operation, asked: dict[str, Any], found: Look | None, problem: OperationRefused | None,
    renewed: Callable[[], None],
) -> None:  # fmt: skip
    """Confirm or approve in the name of who asked, if they still may and the numbers hold; else say why not."""
    user = User.objects.get(pk=asked["by"])
    confirms = asked["step"] == "confirm"
    before = State.PLANNED if confirms else State.AWAITING
    try:
        access.require(user, FIXES[operation.fix].roles if confirms else access.APPROVERS, operation.entity_id)
        if found is None:
            nothing = problem if isinstance(problem, NothingToFix) else NothingToFix(str(problem))
            raise confirming.gone(operation, nothing)
        confirming.compare(operation, found)
        confirming.refuse_where_under_way(operation)
    except confirming.Moved as moved:
        operation.moved = {"says": str(moved), **asdict(moved.difference)}
        confirming.send_back(operation, user, str(moved), renewed)
        operation.save(update_fields=["moved", "asked"])
    except (OperationRefused, PermissionDenied) as refusal:
        operation.state, operation.moved = before, {"says": str(refusal)}
        operation.save(update_fields=["state", "moved", "asked"])
        notify(
            [user], NotificationKind.HELD, f"Not done: {operation.title}", url=reverse("operation", args=[operation.pk]),
            entity=operation.entity_id, note=str(refusal), key=f"operation:{operation.pk}:not-done",
        )  # fmt: skip
    else:
        (confirming.let_go if confirms else confirming.agree)(operation, user, asked["words"])


def _end(operation: Operation, why: str) -> None:
    """Nothing came of it, and this is why."""
    operation.state, operation.finished_at, operation.moved = State.CANCELLED, sql.clock(), {"says": why}
    operation.rows.filter(result="pending").update(result="cancelled", finished_at=operation.finished_at)
    operation.save(update_fields=["state", "finished_at", "moved", "asked"])


@contextmanager
def _showing(operation_id: int, turn: int) -> Iterator[Callable[[int], None]]:
    """Show how far the dry-run is, over a connection of its own: what its own transaction writes, nobody sees."""

    def show(count: int) -> None:
        sql.keep_planned(operation_id, turn, count, LEASE_SECONDS)

    def leave() -> None:
        connection.close()  # that of the thread in which it is called

    with ThreadPoolExecutor(1) as beside:
        try:
            yield lambda count: beside.submit(show, count).result()
        finally:
            beside.submit(leave).result()
