"""Change sets of several people at once, with real threads: one decision, one application, no approval of what was edited."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, connection

from portal.models import AuditEvent, GrantRole, Rate, User
from reconciliation import changes
from reconciliation.changes import ChangeRefused, Line
from reconciliation.models import ChangeSet
from tests import world
from tests.reconciliation import desk
from tests.reconciliation.firm import Firm, build

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def firm() -> Firm:
    return build()


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """Do all of it in threads of their own that start together; what each gave, or the refusal that it met."""
    start, found = threading.Barrier(len(acts)), [None] * len(acts)

    def one(number: int) -> None:
        start.wait()
        try:
            found[number] = acts[number]()
        except (ChangeRefused, DatabaseError) as refusal:
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


def controller(firm: Firm, name: str) -> User:
    return world.user(name, GrantRole.CONTROLLER, firm.entity)


def submitted(firm: Firm, by: User) -> ChangeSet:
    line = Line("rate", firm.rate.pk, "change", {"amount": "125"})
    change_set = changes.draft(by=by, title="Another rate", reason="a letter", lines=[line])
    return changes.submit(change_set, by)


def approval(change_set: ChangeSet, user: User) -> Callable[[], Any]:
    seen = ChangeSet.objects.get(pk=change_set.pk)
    return lambda: changes.approve(seen, user)


@pytest.mark.parametrize("_turn", range(3))
def test_of_two_approvers_at_once_one_decides_and_the_other_is_told_who(firm: Firm, _turn: int) -> None:
    change_set = submitted(firm, desk.analyst(firm))
    both = [controller(firm, "cleo"), controller(firm, "carl")]
    found = at_once(*(approval(change_set, user) for user in both))
    [refusal] = [one for one in found if isinstance(one, ChangeRefused)]
    change_set.refresh_from_db()
    assert str(refusal) == f"This does not wait for a decision any more: it is approved by {change_set.decided_by}."
    assert AuditEvent.objects.filter(action="change.approved").count() == 1


@pytest.mark.parametrize("_turn", range(3))
def test_an_edit_and_an_approval_at_once_never_approve_what_was_not_seen(firm: Firm, _turn: int) -> None:
    fay, cleo = desk.analyst(firm), controller(firm, "cleo")
    change_set = submitted(firm, fay)
    line = Line("rate", firm.rate.pk, "change", {"amount": "999"})
    at_once(approval(change_set, cleo), lambda: changes.edit(ChangeSet.objects.get(pk=change_set.pk), fay, [line]))
    change_set.refresh_from_db()
    assert (change_set.state, change_set.decided_by) == ("draft", None)


@pytest.mark.parametrize("_turn", range(3))
def test_who_becomes_an_editor_while_approving_is_never_both(firm: Firm, _turn: int) -> None:
    cleo = controller(firm, "cleo")
    change_set = submitted(firm, desk.analyst(firm))

    def enter() -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO reconciliation_changeeditor (change_set_id, user_id, since) VALUES (%s, %s, now())",
                [change_set.pk, cleo.pk],
            )

    at_once(approval(change_set, cleo), enter)
    change_set.refresh_from_db()
    assert (change_set.decided_by == cleo) != change_set.editors.filter(user=cleo).exists()  # one of both, and only one


@pytest.mark.case(59)
def test_two_workers_apply_it_once_and_validate_every_entry_once(firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    from reconciliation.changes import applying

    monkeypatch.setattr(applying, "AT_ONCE", 2)
    monkeypatch.setattr(applying, "CHUNK", 3)
    desk.ready(firm, 10)
    change_set = changes.approve(submitted(firm, desk.analyst(firm)), controller(firm, "cleo"))
    at_once(*(lambda: changes.run(change_set.pk) for _ in range(3)))
    changes.run(change_set.pk)  # whoever found it taken left; the sweeper comes back
    change_set.refresh_from_db()
    assert (change_set.state, change_set.total, change_set.done) == ("applied", 10, 10)
    assert change_set.result == change_set.preview
    assert AuditEvent.objects.filter(action="change.applied").count() == 1
    rate = Rate.objects.get(pk=firm.rate.pk)
    assert [str(one.amount) for one in rate.history.order_by("history_id")] == ["120.0000", "125.0000"]


def test_a_worker_that_is_stopped_leaves_the_rest_and_says_how_far_it_is(
    firm: Firm, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reconciliation.changes import applying

    monkeypatch.setattr(applying, "AT_ONCE", 2)
    monkeypatch.setattr(applying, "CHUNK", 4)
    desk.ready(firm, 10)
    change_set = changes.approve(submitted(firm, desk.analyst(firm)), controller(firm, "cleo"))
    turns = iter([True, False])
    assert changes.run(change_set.pk, goes_on=lambda: next(turns)) is True
    change_set.refresh_from_db()
    assert (change_set.state, change_set.total, change_set.done) == ("applying", 10, 4)
    assert [pk for pk, _ in changes.due()] == [change_set.pk]
    assert changes.run(change_set.pk) is False
    change_set.refresh_from_db()
    assert (change_set.state, change_set.done) == ("applied", 10)
