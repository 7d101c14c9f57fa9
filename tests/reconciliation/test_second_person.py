"""A fix above the limit of one person: it waits, somebody else decides on what is still true, and both are on record."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse

from portal.models import AuditEvent, GrantRole, LedgerState, Notification, User
from portal.records import Reference
from reconciliation import operations
from reconciliation.models import Operation
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


def limit(firm: Firm, **policy: Any) -> None:
    firm.entity.policy = policy
    firm.entity.save()


def planned(user: User, code: str = "use-contract-rate", rule: str = "rate-mismatch", **more: Any) -> Operation:
    return operations.plan(code, **{"user": user, "parameters": {}, "reason": "as agreed", "case": case(rule), **more})


def waiting(firm: Firm, user: User, count: int = 3) -> Operation:
    """A fix that is one row above the limit, confirmed."""
    limit(firm, second_person_rows=count - 1)
    desk.off_rate(firm, count)
    return operations.confirm(planned(user), user=user)


def test_a_fix_above_the_rows_of_one_person_waits_and_runs_when_another_agrees(
    firm: Firm, fay: User, cleo: User
) -> None:
    operation = waiting(firm, fay)
    assert operation.state == "awaiting"
    assert operation.second_person.startswith("3 entries are more than the 2 that one person may decide.")
    operations.run(operation.pk)
    assert LedgerState.objects.filter(state="held").count() == 3
    operations.approve(operation, user=cleo, comment="seen")
    operations.run(operation.pk)
    operation.refresh_from_db()
    assert (operation.state, operation.done, operation.decided_by, operation.decision) == ("done", 3, cleo, "seen")
    told = AuditEvent.objects.filter(object_type="operation").order_by("id").values_list("action", "actor_name")
    assert list(told) == [("operation.use-contract-rate", "fay"), ("operation.approved", "cleo")]
    notices = Notification.objects.order_by("pk").values_list("person__username", "subject")
    assert list(notices) == [("cleo", f"Waits for you: {operation.title}"), ("fay", f"Approved: {operation.title}")]


@pytest.mark.parametrize(
    ("limits", "needed"),
    [
        ({"*": "2880.00"}, False),  # three entries of 8 h at 120.00: the limit itself is allowed
        ({"*": "2879.99"}, True),
        ({"USD": "2879.99"}, True),
        ({"EUR": "1.00"}, False),  # of another currency
        ({"USD": "5000", "*": "1"}, False),
    ],
)
def test_the_amount_limit_is_the_entitys_by_currency(
    firm: Firm, fay: User, limits: dict[str, str], needed: bool
) -> None:
    limit(firm, second_person_amount=limits)
    desk.off_rate(firm, 3)
    assert bool(operations.confirm(planned(fay), user=fay).second_person) == needed


def test_what_decides_nothing_needs_nobody_else(firm: Firm, fay: User) -> None:
    limit(firm, second_person_rows=1)
    desk.off_rate(firm, 3)
    assert operations.confirm(planned(fay, "recheck"), user=fay).state == "running"


def test_many_small_fixes_within_an_hour_count_together_and_say_so(firm: Firm, fay: User) -> None:
    limit(firm, second_person_rows=3)
    held = desk.off_rate(firm, 5)
    first = operations.confirm(planned(fay, entry_ids=held[:2]), user=fay)
    assert first.state == "running"
    operations.run(first.pk)
    second = operations.confirm(planned(fay, entry_ids=held[2:4]), user=fay)
    assert second.state == "awaiting"
    assert "Counted together with one other fix of fay within 60 minutes: 4 entries are more than the 3" in (
        second.second_person
    )
    Operation.objects.filter(pk=first.pk).update(confirmed_at=first.created_at - timedelta(minutes=61))
    assert operations.confirm(planned(fay, entry_ids=held[4:]), user=fay).state == "running"


@pytest.mark.case(125)
def test_what_was_done_before_an_operation_was_cancelled_counts_as_well(firm: Firm, fay: User) -> None:
    limit(firm, second_person_rows=3)
    held = desk.off_rate(firm, 5)
    first = operations.confirm(planned(fay, entry_ids=held[:3]), user=fay)
    operations.run(first.pk)
    Operation.objects.filter(pk=first.pk).update(state="cancelled")
    second = operations.confirm(planned(fay, entry_ids=held[3:]), user=fay)
    assert second.state == "awaiting"
    Operation.objects.filter(pk=first.pk).update(done=0)
    Operation.objects.filter(pk=second.pk).delete()
    assert operations.confirm(planned(fay, entry_ids=held[3:]), user=fay).state == "running"


def test_who_planned_it_does_not_approve_it_and_the_database_says_so_too(firm: Firm, cleo: User) -> None:
    operation = waiting(firm, cleo)
    with pytest.raises(operations.OperationRefused, match="somebody else has to agree"):
        operations.approve(operation, user=cleo)
    with pytest.raises(IntegrityError, match="who_decides_neither_planned_nor_confirmed"), transaction.atomic():
        Operation.objects.filter(pk=operation.pk).update(
            decided_by=cleo, decided_at=operation.created_at, state="running"
        )
    with pytest.raises(IntegrityError, match="what_needs_a_second_person_runs_after_one"), transaction.atomic():
        Operation.objects.filter(pk=operation.pk).update(state="running")


def test_an_analyst_and_another_entitys_controller_do_not_approve(firm: Firm, fay: User) -> None:
    operation = waiting(firm, fay)
    for other in (
        desk.analyst(firm, "gil"),
        world.user("gus", GrantRole.CONTROLLER, world.entity("GB", "GBP")),
        world.user("ada", GrantRole.ADMIN, firm.entity),
    ):
        with pytest.raises(PermissionDenied):
            operations.approve(operation, user=other)
    operation.refresh_from_db()
    assert operation.state == "awaiting"


def test_a_refusal_needs_words_and_leaves_everything_as_it_was(firm: Firm, fay: User, cleo: User) -> None:
    operation = waiting(firm, fay)
    with pytest.raises(operations.OperationRefused, match="Say why"):
        operations.refuse(operation, user=cleo, comment=" ")
    operations.refuse(operation, user=cleo, comment="ask the customer first")
    operations.run(operation.pk)
    assert (operation.state, operation.decision) == ("refused", "ask the customer first")
    assert set(operation.rows.values_list("result", flat=True)) == {"cancelled"}
    assert LedgerState.objects.filter(state="held").count() == 3
    with pytest.raises(operations.OperationRefused, match="is refused"):
        operations.approve(operation, user=cleo)


def test_a_rate_changed_between_preview_and_confirmation_is_noticed(firm: Firm, fay: User) -> None:
    desk.off_rate(firm, 2)
    operation = planned(fay)
    firm.rate.amount = Decimal("130.00")
    firm.rate.save()
    with pytest.raises(operations.Moved, match=r"1,920.00 USD would be 2,080.00 USD now; a rate") as refusal:
        operations.confirm(operation, user=fay)
    assert refusal.value.difference.changed == []
    operations.renew(operation, user=fay)
    assert operation.preview["money"]["USD"]["after"] == "2080.0000"
    assert operations.confirm(operation, user=fay).state == "running"


def test_a_count_that_moved_asks_again_with_the_old_and_the_new_count(firm: Firm, fay: User) -> None:
    desk.off_rate(firm, 2)
    operation = planned(fay)
    came = desk.off_rate(firm, 1, start=3100)
    with pytest.raises(operations.Moved, match="2 entries when you looked, 3 now") as refusal:
        operations.confirm(operation, user=fay)
    difference = refusal.value.difference
    assert (difference.was, difference.now, difference.came) == (2, 3, came)
    operations.renew(operation, user=fay)
    assert (operation.total, operations.confirm(operation, user=fay).state) == (3, "running")


def test_a_chosen_set_does_not_grow_with_the_cause(firm: Firm, fay: User) -> None:
    held = desk.off_rate(firm, 2)
    operation = planned(fay, entry_ids=held)
    desk.off_rate(firm, 1, start=3100)
    assert operations.confirm(operation, user=fay).total == 2


def test_what_moved_before_the_approval_goes_back_to_its_planner_with_a_new_dry_run(
    firm: Firm, fay: User, cleo: User
) -> None:
    operation = waiting(firm, fay)
    firm.rate.amount = Decimal("130.00")
    firm.rate.save()
    with pytest.raises(operations.Moved, match="would be"):
        operations.approve(operation, user=cleo)
    operation.refresh_from_db()
    assert (operation.state, operation.confirmed_by, operation.decided_by) == ("planned", None, None)
    assert operation.preview["money"]["USD"]["after"] == "3120.0000"
    assert AuditEvent.objects.filter(action="operation.sent-back", actor=cleo).exists()
    operations.approve(operations.confirm(operation, user=fay), user=cleo)
    operations.run(operation.pk)
    operation.refresh_from_db()
    assert (operation.state, operation.done) == ("done", 3)


@pytest.mark.parametrize("code", ["use-contract-rate", "accept-source-rate", "make-non-billable", "recheck", "waive"])
def test_the_numbers_of_the_dry_run_are_the_numbers_of_the_result(firm: Firm, fay: User, code: str) -> None:
    for number, rate in enumerate(("110.00", "90.50", "133.33")):
        desk.off_rate(firm, number + 1, start=4000 + 100 * number, rate=rate)
    found = list(case_ids())
    for pk in found:
        operation = operations.plan(code, user=fay, parameters={}, reason="agreed", case=one(pk))
        check_promise(operation, fay)


def case_ids() -> list[int]:
    from reconciliation.models import ExceptionCase

    return list(ExceptionCase.objects.filter(rule="rate-mismatch", state="open").values_list("pk", flat=True))


def one(pk: int) -> Any:
    from reconciliation.models import ExceptionCase

    return ExceptionCase.objects.get(pk=pk)


def check_promise(operation: Operation, user: User) -> None:
    """Run it, and compare each row and the sums with what was promised."""
    from reconciliation.fixes import outcomes

    rows = {
        row.entry_id: (row.will_pass, row.amount_after, row.currency_after, row.project_after, row.promised)
        for row in operation.rows.all()
    }
    operations.run(operations.confirm(operation, user=user).pk)
    operation.refresh_from_db()
    now = outcomes(list(rows))
    assert {
        entry: (after.passes, after.amount, after.currency, after.project, after.sentence)
        for entry, after in now.items()
    } == rows
    after = sum((found.amount for found in now.values() if found.amount is not None), Decimal(0))
    promised = sum((Decimal(sums["after"]) for sums in operation.preview["money"].values()), Decimal(0))
    assert after == promised
    assert operation.preview["passes"] == sum(found.passes for found in now.values())


def test_a_mapped_code_ends_as_promised_whatever_the_hours(firm: Firm, fay: User) -> None:
    desk.near(firm)
    for number in range(12):
        firm.admit(
            firm.time(
                str(9000 + number), project=Reference("", desk.MISTYPED, ""), hours=Decimal(number * 7 % 11 + 1) / 4,
                rate=Decimal(120 if number % 3 else 95), work_date=date(2026, 10, 1) + timedelta(days=number),
            )
        )  # fmt: skip
    operation = operations.plan(
        "map-code", user=fay, parameters={"record": desk.near_id()}, reason="typo", case=case("project-unknown")
    )
    assert operation.preview["still_held"] == 4
    check_promise(operation, fay)


# On screen


def test_the_screens_of_an_approval_say_who_may_and_what_happened(
    client: Client, firm: Firm, fay: User, cleo: User
) -> None:
    limit(firm, second_person_rows=2)
    desk.off_rate(firm, 3)
    operation = planned(fay)
    address = reverse("operation", args=[operation.pk])
    client.force_login(fay)
    assert "A second person has to agree." in client.get(address).content.decode()
    assert client.post(address, {"action": "confirm", "reason": "As agreed."}).status_code == 303
    assert "A controller of US other than you decides" in client.get(address).content.decode()
    assert 'value="approve"' not in client.get(address).content.decode()
    assert client.post(address, {"action": "approve"}).status_code == 403
    client.force_login(cleo)
    listed = client.get(reverse("approvals")).content.decode()
    assert address in listed
    assert "Decisions that wait for you" in listed
    assert client.post(address, {"action": "refuse", "comment": ""}).status_code == 422
    assert client.post(address, {"action": "approve", "comment": "fine"}).status_code == 303
    operation.refresh_from_db()
    assert operation.state == "running"
    again = client.post(address, {"action": "approve", "comment": "fine"}, follow=True)
    assert "You have decided so already: it is running." in again.content.decode()
    assert (
        "You approved this: it is running."
        in client.post(address, {"action": "refuse", "comment": "no"}).content.decode()
    )
    client.force_login(world.user("dora", GrantRole.CONTROLLER, firm.entity))
    assert (
        "cleo approved this before you: it is running." in client.post(address, {"action": "approve"}).content.decode()
    )
    client.force_login(world.user("gus", GrantRole.CONTROLLER, world.entity("GB", "GBP")))
    assert address not in client.get(reverse("approvals") + "?tab=decided").content.decode()
    assert client.post(address, {"action": "approve"}).status_code == 404


def told_of(client: Client, operation: Operation) -> str:
    return " ".join(client.get(reverse("operation", args=[operation.pk])).content.decode().split())


def test_the_operations_page_says_who_agreed_when_with_which_words_and_what_was_frozen(
    client: Client, firm: Firm, fay: User, cleo: User
) -> None:
    operation = waiting(firm, fay)
    client.force_login(fay)
    assert "Frozen: All 3 entries that the cause held." in told_of(client, operation)
    operations.approve(operation, user=cleo, comment="As in the contract")
    operations.run(operation.pk)
    client.force_login(cleo)
    text = told_of(client, operation)
    assert "<dt>Approved by</dt><dd>cleo" in text
    assert "<q>As in the contract</q>" in text
    event = AuditEvent.objects.get(action="operation.approved")
    assert f'<a href="{reverse("audit_event", args=[event.pk])}">The decision</a>' in text
    assert "All 3 entries that the cause held" in text
    decided = client.get(reverse("audit") + f"?object_type=operation&object_id={operation.pk}").content.decode()
    assert "As in the contract" in decided
    assert f"object_type=operation&amp;object_id={operation.pk}" in text
    assert "3 entries are more than the 2 that one person may decide." in text
    export = client.get(reverse("operation", args=[operation.pk]) + "?export=csv")
    body = b"".join(export) if export.streaming else export.content
    assert "Approved by cleo" in body.decode()


def test_chosen_entries_are_told_as_chosen(client: Client, firm: Firm, fay: User) -> None:
    held = desk.off_rate(firm, 3)
    operation = operations.confirm(planned(fay, entry_ids=held[:2]), user=fay)
    client.force_login(fay)
    assert "2 chosen entries" in told_of(client, operation)
    assert "Approved by" not in told_of(client, operation)


def test_a_refused_fix_says_that_nothing_was_changed_and_who_did_not_agree(
    client: Client, firm: Firm, fay: User, cleo: User
) -> None:
    operation = waiting(firm, fay)
    operations.refuse(operation, user=cleo, comment="Ask the client first")
    client.force_login(fay)
    text = told_of(client, operation)
    assert '<span class="state bad">Refused</span>' in text
    assert "A second person did not agree; nothing was changed" in text
    assert "<dt>Refused by</dt><dd>cleo" in text
    assert "<q>Ask the client first</q>" in text
    assert "Left as it was: the second person did not agree." in text
    assert 'hx-trigger="every' not in text[text.index('id="progress"') : text.index("</section>")]
    listed = client.get(reverse("operations")).content.decode()
    assert '<span class="state bad">Refused</span>' in listed
    assert '<span class="telling">nothing was changed</span>' in listed
    assert "<progress" not in text


def test_what_waits_for_approval_stands_in_the_header_and_in_the_list_of_who_asked(
    client: Client, firm: Firm, fay: User, cleo: User
) -> None:
    operation = waiting(firm, fay)
    client.force_login(fay)
    page = client.get(reverse("exceptions")).content.decode()
    assert "1 to be approved" in page
    assert "Waits for approval · nothing changed yet, 3 entries" in page
    assert client.get(reverse("operations_running")).status_code == 286  # nothing moves, so nothing is asked again
    listed = client.get(reverse("operations") + "?tab=awaiting").content.decode()
    assert reverse("operation", args=[operation.pk]) in listed
    assert '<span class="state warn">Waits for approval</span>' in listed
    client.force_login(cleo)
    assert "to be approved" not in client.get(reverse("exceptions")).content.decode()


def test_rows_that_changed_are_named_with_their_links(client: Client, firm: Firm, fay: User) -> None:
    held = desk.off_rate(firm, 3)
    operation = planned(fay)
    LedgerState.objects.filter(entry=held[0]).update(fence=9)
    client.force_login(fay)
    address = reverse("operation", args=[operation.pk])
    response = client.post(address, {"action": "confirm", "reason": "As agreed."})
    text = response.content.decode()
    assert response.status_code == 422
    assert "1 row changed since you looked" in text
    assert f'<a href="{reverse("entry", args=[held[0]])}">Entry {held[0]}</a>' in text
    assert client.post(address, {"action": "again"}).status_code == 303
    assert client.post(address, {"action": "confirm", "reason": "As agreed."}).status_code == 303
