"""Several causes of the list at once: one fix over all that they hold, and an export of exactly those that were ticked."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from portal.models import EntityGrant, GrantRole, LedgerState, State, User
from reconciliation import operations
from reconciliation.models import ExceptionCase, Operation
from tests import world
from tests.reconciliation import desk
from tests.reconciliation.firm import Firm, build

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    return build()


@pytest.fixture
def fay(firm: Firm) -> User:
    return desk.analyst(firm)


def two_causes(firm: Firm) -> list[ExceptionCase]:
    """Hours at two wrong rates: two causes of one rule."""
    desk.off_rate(firm, 4)
    desk.off_rate(firm, 3, start=3500, rate="95.00")
    found = list(ExceptionCase.objects.filter(rule="rate-mismatch").order_by("pk"))
    assert [one.open_holds for one in found] == [4, 3]
    return found


def tick(client: Client, causes: list[ExceptionCase], action: str, **more: Any) -> Any:
    return client.post(reverse("exceptions"), {"action": action, "selected": [one.pk for one in causes], **more})


def confirmed(page: Any) -> str:
    return str(page.context["confirmed"])


def test_causes_that_share_a_way_out_are_fixed_as_one_operation(client: Client, firm: Firm, fay: User) -> None:
    causes = two_causes(firm)
    client.force_login(fay)
    asked = tick(client, causes, "fix_together")
    assert "Fix 2 causes together" in asked.content.decode()
    assert "use-contract-rate" in dict(asked.context["form"].fields["fix"].choices)
    answer = tick(
        client,
        causes,
        "fix_together",
        confirmed=confirmed(asked),
        fix="use-contract-rate",
        reason="As agreed with Acme",
    )
    operation = Operation.objects.get()
    assert answer["Location"] == reverse("operation", args=[operation.pk])
    assert (operation.state, operation.total, operation.preview["passes"]) == ("planned", 7, 7)
    assert LedgerState.objects.filter(state=State.HELD).count() == 7
    operations.run(operations.confirm(operation, user=fay).pk)
    operation.refresh_from_db()
    assert (operation.state, operation.done, operation.failed) == ("done", 7, 0)
    assert not ExceptionCase.objects.filter(state="open", open_holds__gt=0).exists()


def test_causes_without_a_shared_way_out_or_of_two_companies_are_refused_in_words(
    client: Client, firm: Firm, fay: User
) -> None:
    [first, _] = two_causes(firm)
    desk.mistyped(firm, 2)
    unknown = ExceptionCase.objects.get(rule="project-unknown")
    client.force_login(fay)
    asked = tick(client, [first, unknown], "fix_together")
    offered = dict(asked.context["form"].fields["fix"].choices)
    assert "use-contract-rate" not in offered
    assert "map-code" not in offered
    britain = world.entity("GB", "GBP")
    EntityGrant.objects.create(user=fay, entity=britain, role=GrantRole.ANALYST, valid_from=date(2020, 1, 1))
    other = ExceptionCase.objects.get(pk=first.pk)
    other.pk, other.entity, other.subject_key = None, britain, "elsewhere"
    other.save(force_insert=True)
    refused = tick(client, [first, other], "fix_together")
    assert "of several companies" in refused.content.decode()
    assert refused.context["form"].fields["fix"].choices == []


def test_the_ticked_causes_are_exported_and_no_others(client: Client, firm: Firm, fay: User) -> None:
    causes = two_causes(firm)
    client.force_login(fay)
    answer = tick(client, causes[:1], "export_csv")
    assert answer.status_code == 303
    file = client.get(answer["Location"])
    text = file.getvalue().decode()
    assert file["Content-Disposition"].startswith("attachment")
    assert causes[0].sentence in text
    assert causes[1].sentence not in text


def test_a_colleague_of_another_company_can_neither_fix_nor_export_them(client: Client, firm: Firm) -> None:
    causes = two_causes(firm)
    client.force_login(world.user("olga", GrantRole.ANALYST, world.entity("GB", "GBP")))
    for action in ("fix_together", "export_csv"):
        assert tick(client, causes, action).status_code == 303
    assert not Operation.objects.exists()
    only = ",".join(str(one.pk) for one in causes)
    file = client.get(f"{reverse('exceptions')}?only={only}&export=csv")
    text = file.getvalue().decode()
    assert all(one.sentence not in text for one in causes)
