"""Single entries: edited in their rows and staged, or handled outside with a document that proves it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from portal.models import AccountingPeriod, GrantRole, LedgerEntry, LedgerTransition, StatementLine, TimeEntry, User
from portal.sql import now
from reconciliation import operations
from reconciliation.models import ExceptionCase, Operation
from tests import world
from tests.reconciliation import desk
from tests.reconciliation.firm import Firm, build, case, entry, state

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    made = build()
    desk.near(made)
    return made


@pytest.fixture
def fay(firm: Firm) -> User:
    return desk.analyst(firm)


@pytest.fixture
def cleo(firm: Firm) -> User:
    return world.user("cleo", GrantRole.CONTROLLER, firm.entity)


RULE: dict[str, Any] = {"rule": "project-unknown"}


def test_rows_are_staged_tried_together_and_changed_only_when_confirmed(client: Client, firm: Firm, cleo: User) -> None:
    held = desk.mistyped(firm, 3)
    period = AccountingPeriod.objects.get(entity=firm.entity, code="2026-11")
    client.force_login(cleo)
    address = reverse("cause_edit", args=[case(**RULE).pk])
    page = client.get(address, {"selected": held[:2]}).content.decode()
    assert f'name="{held[0]}-project"' in page
    assert f'name="{held[2]}-project"' not in page
    response = client.post(
        address,
        {
            "selected": held[:2],
            f"{held[0]}-project": firm.project.pk,
            f"{held[0]}-rate": "99.50",
            f"{held[1]}-project": desk.near_id(),
            f"{held[1]}-period": period.pk,
        },
    )
    assert response.status_code == 303
    operation = Operation.objects.get()
    assert [state(one) for one in held] == ["held"] * 3
    assert (operation.total, operation.preview["passes"], operation.reach) == (2, 2, "selected")
    assert f"operation={operation.pk}" in client.get(response["Location"]).content.decode()
    operations.run(operations.confirm(operation, user=cleo).pk)
    live = {
        one.document_id: one for one in LedgerEntry.objects.filter(state_row__state="ready").select_related("project")
    }
    first, second = live[entry(held[0]).document_id], live[entry(held[1]).document_id]
    assert (first.project, first.rate) == (firm.project, Decimal("99.50"))
    assert (second.project_id, second.post_on, second.work_date) == (
        desk.near_id(), date(2026, 11, 1), entry(held[1]).work_date,
    )  # fmt: skip
    assert state(held[2]) == "held"
    assert TimeEntry.objects.filter(version=1, rate=120).count() == 3


def test_an_analyst_sets_no_rate_on_the_page_nor_past_it(client: Client, firm: Firm, fay: User) -> None:
    held = desk.mistyped(firm, 1)
    client.force_login(fay)
    address = reverse("cause_edit", args=[case(**RULE).pk])
    assert f'name="{held[0]}-rate"' not in client.get(address).content.decode()
    assert client.post(address, {"selected": held, f"{held[0]}-rate": "1"}).status_code == 422
    with pytest.raises(operations.OperationRefused, match="set by a controller"):
        operations.plan(
            "edit-entries",
            user=fay,
            parameters={"rows": {str(held[0]): {"rate": "1"}}},
            case=case(**RULE),
            entry_ids=held,
        )


def test_nobody_edits_another_entitys_rows(client: Client, firm: Firm) -> None:
    held = desk.mistyped(firm, 1)
    address = reverse("cause_edit", args=[case(**RULE).pk])
    client.force_login(world.user("gus", GrantRole.CONTROLLER, world.entity("GB", "GBP")))
    assert client.get(address).status_code == 404
    assert client.post(address, {"selected": held}).status_code == 404
    pam = world.user("pam", GrantRole.PROJECT_MANAGER, firm.entity)
    client.force_login(pam)
    assert client.get(address).status_code == 404  # a cause of no project of hers
    ExceptionCase.objects.update(owner=pam)
    assert client.get(address).status_code == 403


def line(firm: Firm, entry_id: int, number: str = "M-7", **more: Any) -> StatementLine:
    about = entry(entry_id)
    values = {"work_date": about.work_date, "hours": about.hours, "amount": about.amount, **more}
    return StatementLine.objects.create(
        connection=firm.target, entity=firm.entity, kind="time", number=number, read_at=now(), **values
    )


def outside(user: User, held: list[int], number: str = "") -> Operation:
    return operations.plan(
        "handled-outside", user=user, parameters={"number": number}, reason="keyed in by hand", case=case("rate-mismatch"),
        entry_ids=held,
    )  # fmt: skip


@pytest.mark.case(125)
def test_a_document_counts_as_handled_outside_only_when_the_targets_statement_holds_it_equal(
    firm: Firm, fay: User
) -> None:
    first, second = desk.off_rate(firm, 2)
    with pytest.raises(operations.OperationRefused, match="holds no document M-7"):
        outside(fay, [first], "M-7")
    line(firm, first, hours=Decimal(7))
    with pytest.raises(operations.OperationRefused, match=r"hours 8\.0000 here, 7\.0000 there"):
        outside(fay, [first], "M-7")
    line(firm, first, "M-8")
    with pytest.raises(operations.OperationRefused, match="proves one entry"):
        outside(fay, [first, second], "M-8")
    operation = operations.confirm(outside(fay, [first], "M-8"), user=fay)
    assert (operation.state, operation.second_person) == ("running", "")
    operations.run(operation.pk)
    assert [state(first), state(second)] == ["cancelled", "held"]
    said = LedgerTransition.objects.filter(entry=first).latest("pk").reason
    assert said == "left out: handled outside, document M-8: keyed in by hand"
    StatementLine.objects.filter(number="M-8").update(work_date=entry(second).work_date)
    with pytest.raises(operations.OperationRefused, match="named for another entry"):
        outside(fay, [second], "M-8")


@pytest.mark.case(125)
def test_without_a_document_a_second_person_has_to_agree_whatever_the_amount(firm: Firm, fay: User, cleo: User) -> None:
    [held] = desk.off_rate(firm, 1)
    operation = operations.confirm(outside(fay, [held]), user=fay)
    assert operation.state == "awaiting"
    assert operation.second_person.startswith("No document of the target proves that it was booked.")
    operations.run(operation.pk)
    assert state(held) == "held"
    operations.run(operations.approve(operation, user=cleo, comment="seen in the ERP").pk)
    assert state(held) == "cancelled"
