"""A fix too large for a request: a worker plans it, it covers the whole cause, and what was shown is what is done."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.db.models import Sum
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from portal.models import EntityGrant, GrantRole, LedgerState, Notification, Rate, User
from reconciliation import operations
from reconciliation.models import Operation
from reconciliation.operations import applying
from tests import world
from tests.reconciliation import desk
from tests.reconciliation.firm import Firm, build, case

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    return build()


@pytest.fixture
def fay(firm: Firm) -> User:
    return desk.analyst(firm)


@pytest.fixture
def cleo(firm: Firm) -> User:
    return world.user("cleo", GrantRole.CONTROLLER, firm.entity)


@pytest.fixture(autouse=True)
def small(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.PLAN_AT_ONCE = 3
    monkeypatch.setattr(applying, "CHUNK", 2)


def plan(user: User, **more: Any) -> Operation:
    values = {"user": user, "parameters": {}, "reason": "as agreed", "case": case("rate-mismatch"), **more}
    return operations.plan("use-contract-rate", **values)


def turn(operation: Operation) -> Operation:
    """A worker's turn at it."""
    operations.run(operation.pk)
    operation.refresh_from_db()
    return operation


def text_of(client: Client, operation: Operation) -> str:
    page = client.get(reverse("operation", args=[operation.pk])).content.decode()
    return " ".join(page.split())


def test_a_large_fix_is_planned_by_a_worker_confirmed_by_a_person_and_done_to_the_whole_cause(
    client: Client, firm: Firm, fay: User
) -> None:
    held = desk.off_rate(firm, 7)
    client.force_login(fay)
    address = reverse("fix", args=[case("rate-mismatch").pk, "use-contract-rate"])
    asked = " ".join(client.get(f"{address}?edit=1").content.decode().split())
    assert "All <b>7</b> entries of this cause" in asked
    assert "for so many a worker looks" in asked
    assert client.post(address).status_code == 303
    operation = Operation.objects.get()
    assert (operation.state, operation.total, operation.rows.count()) == ("planning", 7, 7)
    text = text_of(client, operation)
    assert "of 7 entries · waiting for a worker" in text
    assert 'name="action" value="confirm"' not in text
    assert "0 of 7 dry-run" in client.get(reverse("exceptions")).content.decode()
    assert (
        f'data-key="{operation.pk}"' not in client.get(reverse("operations")).content.decode()
    )  # nobody has let it go
    part = reverse("operation_planning", args=[operation.pk])
    assert 'hx-trigger="every 1s"' in client.get(f"{part}?where=drawer").content.decode()

    turn(operation)
    assert client.get(part)["HX-Redirect"] == reverse("operation", args=[operation.pk])
    assert 'hx-target="#drawer-body"' in client.get(f"{part}?where=drawer").content.decode()
    text = text_of(client, operation)
    assert '<span class="value">7</span><span class="note">of 7 entries</span>' in text
    assert sorted(operation.rows.values_list("entry_id", flat=True)) == sorted(held)
    assert Notification.objects.get().subject == f"Look at the dry-run: {operation.title}"

    assert (
        client.post(reverse("operation", args=[operation.pk]), {"action": "confirm", "reason": "Agreed"}).status_code
        == 303
    )
    operation.refresh_from_db()
    assert (operation.state, operation.confirmed_at) == ("planning", None)
    assert "You confirmed it. It begins by itself" in text_of(client, operation)
    turn(operation)
    assert (operation.state, operation.confirmed_by, operation.reason, operation.asked) == (
        "running",
        fay,
        "Agreed",
        {},
    )
    turn(operation)
    assert (operation.state, operation.done, operation.failed) == ("done", 7, 0)
    assert "All 7 entries that the cause held" in text_of(client, operation)


def test_what_a_worker_plans_is_what_a_request_plans(firm: Firm, fay: User, settings: Any) -> None:
    desk.off_rate(firm, 7)
    by_worker = turn(plan(fay))
    settings.PLAN_AT_ONCE = 100
    at_once = plan(fay)
    assert (by_worker.fingerprint, by_worker.preview) == (at_once.fingerprint, at_once.preview)
    kept = ("entry_id", "fence", "promised", "will_pass", "amount_after", "currency_after", "project_after")
    assert list(by_worker.rows.order_by("pk").values_list(*kept)) == list(
        at_once.rows.order_by("pk").values_list(*kept)
    )


def test_six_thousand_entries_are_one_fix_and_the_dry_runs_numbers_are_the_results(
    firm: Firm, fay: User, cleo: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PLAN_AT_ONCE = 1_000
    monkeypatch.setattr(applying, "CHUNK", 500)
    firm.policy(day_hours_max="100000")  # a great many in few days
    desk.off_rate(firm, 6_100)
    operation = turn(plan(fay))
    assert (operation.state, operation.total, operation.preview["passes"]) == ("planned", 6_100, 6_100)
    turn(operations.confirm(operation, user=fay))
    assert (operation.state, operation.second_person[:13]) == ("awaiting", "6,100 entries")
    turn(operations.approve(operation, user=cleo, comment="seen"))
    assert (operation.state, operation.decided_by) == ("running", cleo)
    turn(operation)
    assert (operation.state, operation.done, operation.failed) == ("done", 6_100, 0)
    posted = operation.rows.aggregate(total=Sum("successor__amount"))["total"]
    assert str(posted) == operation.preview["money"]["USD"]["passing"]


def test_what_moved_before_a_confirmation_was_looked_at_comes_back_with_the_new_numbers(
    client: Client, firm: Firm, fay: User
) -> None:
    held = desk.off_rate(firm, 5)
    operation = operations.confirm(turn(plan(fay)), user=fay)
    LedgerState.objects.filter(entry=held[0]).update(fence=9)
    more = desk.off_rate(firm, 1, start=4000)
    turn(operation)
    assert (operation.state, operation.total, operation.confirmed_at) == ("planned", 6, None)
    assert (operation.moved["changed"], operation.moved["came"]) == ([held[0]], more)
    client.force_login(fay)
    text = text_of(client, operation)
    assert "The numbers moved: this is the new dry-run" in text
    assert "5 entries when you looked, 6 now. 1 row changed since you looked." in text
    assert "Look again, the numbers moved" in Notification.objects.latest("pk").subject
    turn(operations.confirm(operation, user=fay))
    assert (operation.state, operation.moved) == ("running", {})


def test_an_approval_is_done_in_the_name_of_who_gave_it_only_while_they_may(firm: Firm, fay: User, cleo: User) -> None:
    firm.entity.policy = {"second_person_rows": 2}
    firm.entity.save()
    desk.off_rate(firm, 5)
    operation = turn(operations.confirm(turn(plan(fay)), user=fay))
    assert operation.state == "awaiting"
    operations.approve(operation, user=cleo, comment="fine")
    EntityGrant.objects.filter(user=cleo).delete()
    turn(operation)
    assert (operation.state, operation.decided_by) == ("awaiting", None)
    assert operation.moved["says"]
    dora = world.user("dora", GrantRole.CONTROLLER, firm.entity)
    Rate.objects.update(amount=Decimal("121.00"))
    turn(operations.approve(operation, user=dora, comment=""))
    assert (operation.state, operation.decided_by, operation.confirmed_by) == ("planned", None, None)
    assert "a rate, a project or a period changed" in operation.moved["says"]


def test_what_helps_no_row_ends_and_says_why(client: Client, firm: Firm, fay: User) -> None:
    desk.off_rate(firm, 5)
    operation = plan(fay)
    operations.run(
        operations.confirm(
            plan(fay, entry_ids=list(operation.rows.values_list("entry_id", flat=True))[:3]), user=fay
        ).pk
    )
    LedgerState.objects.filter(state="held").update(state="ready")
    turn(operation)
    assert (operation.state, set(operation.rows.values_list("result", flat=True))) == ("cancelled", {"cancelled"})
    client.force_login(fay)
    assert "nothing was changed" in text_of(client, operation)
    assert Notification.objects.get().subject.startswith("Nothing to fix: ")


def test_cancelling_ends_it_before_a_worker_came(firm: Firm, fay: User) -> None:
    desk.off_rate(firm, 5)
    assert operations.cancel(plan(fay), user=fay).state == "cancelled"


def test_a_dry_run_takes_the_same_number_of_statements_for_every_chunk_whatever_its_size(
    firm: Firm, fay: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.off_rate(firm, 12)

    def statements(size: int) -> int:
        monkeypatch.setattr(applying, "CHUNK", size)
        operation = plan(fay)
        with CaptureQueriesContext(connection) as asked:
            turn(operation)
        assert operation.state == "planned"
        return len(asked)

    one, two, four, six = (statements(size) for size in (12, 6, 3, 2))
    assert (four - two, six - four) == (2 * (two - one), 2 * (two - one))
