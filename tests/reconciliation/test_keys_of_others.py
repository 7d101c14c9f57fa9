"""Keys in an account in which several entities work: whoever is ruled by one has a say in it, and nobody else reads of it."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from portal.models import Crosswalk, EntityGrant, ForeignRecord, GrantRole, LegalEntity, User
from reconciliation import changes, mappings
from reconciliation.changes import ChangeRefused, Line
from reconciliation.models import ChangeSet, Mapping
from tests import world
from tests.reconciliation import desk
from tests.reconciliation.firm import Firm, build

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    made = build()
    desk.near(made)
    return made


@pytest.fixture
def gb(firm: Firm) -> LegalEntity:
    """Another entity, with an account of its own."""
    made = world.entity("GB", "GBP")
    world.connection("harvest-gb", "harvest", made, is_source=True, realm="gb-77")
    return made


def of_both(name: str, role: str, firm: Firm, gb: LegalEntity) -> User:
    person = world.user(name, role, firm.entity)
    EntityGrant.objects.create(user=person, entity=gb, role=role, valid_from=date(2020, 1, 1))
    return person


def key_of(realm: str, external_id: str = "k-1", **more: Any) -> Line:
    return Line("crosswalk", None, "add", {
        "system": "harvest", "realm": realm, "kind": "project", "external_id": external_id, "code": "ACM-2213", **more,
    })  # fmt: skip


def drafted(by: User, *lines: Line) -> ChangeSet:
    return changes.draft(by=by, title="A key", reason="seen in their list", lines=lines)


def test_a_key_in_an_account_that_a_person_does_not_see_is_not_known_to_them(firm: Firm, gb: LegalEntity) -> None:
    fay = desk.analyst(firm)
    for line in (key_of("gb-77"), key_of("nowhere"), key_of("gb-77", connection="harvest-gb")):
        with pytest.raises(ChangeRefused, match="is not known as"):
            drafted(fay, line)
    assert drafted(fay, key_of("")).state == "draft"  # the account of their own entity
    assert not ChangeSet.objects.filter(lines__values__realm="gb-77").exists()


def test_a_key_in_an_account_of_two_entities_is_proposed_and_agreed_to_by_people_of_both(
    firm: Firm, gb: LegalEntity
) -> None:
    firm.source.realm = "gb-77"
    firm.source.save()
    fay, una = desk.analyst(firm), of_both("una", GrantRole.ANALYST, firm, gb)
    cleo, bea = world.user("cleo", GrantRole.CONTROLLER, firm.entity), of_both("bea", GrantRole.CONTROLLER, firm, gb)
    with pytest.raises(ChangeRefused, match="somebody with a role in each of them"):
        drafted(fay, key_of("gb-77"))
    with pytest.raises(PermissionDenied):
        drafted(world.user("pam", GrantRole.PROJECT_MANAGER, firm.entity), key_of("gb-77"))
    change_set = changes.submit(drafted(una, key_of("gb-77")), una)
    assert set(change_set.entities.all()) == {firm.entity, gb}
    assert "every entity that it touches" in changes.why_not(change_set, cleo)
    assert change_set not in ChangeSet.objects.visible_to(cleo)
    with pytest.raises(ChangeRefused):
        changes.approve(change_set, cleo)
    changes.apply(changes.approve(change_set, bea))
    assert change_set.state == "applied"
    made = Crosswalk.objects.get(external_id="k-1")
    with pytest.raises(ChangeRefused, match="somebody with a role in each of them"):
        drafted(fay, Line("crosswalk", made.pk, "change", {"valid_to": "2026-12-31"}))
    gil = world.user("gil", GrantRole.ANALYST, gb)
    with pytest.raises(ChangeRefused, match="is not known as a crosswalk"):  # whose record it means, gil does not see
        drafted(gil, Line("crosswalk", made.pk, "change", {"valid_to": "2026-12-31"}))


def test_who_came_into_the_account_since_it_was_submitted_is_asked_too(firm: Firm, gb: LegalEntity) -> None:
    fay, cleo = desk.analyst(firm), world.user("cleo", GrantRole.CONTROLLER, firm.entity)
    change_set = changes.submit(drafted(fay, key_of("")), fay)
    late = world.connection("harvest-gb-2", "harvest", gb, is_source=True)
    with pytest.raises(ChangeRefused, match="touches other entities than when it was submitted"):
        changes.approve(change_set, cleo)
    late.delete()
    changes.approve(change_set, cleo)
    world.connection("harvest-gb-3", "harvest", gb, is_source=True)
    changes.apply(change_set)
    assert (change_set.state, "so that people there decide" in change_set.problem) == ("draft", True)
    assert not Crosswalk.objects.filter(external_id="k-1").exists()


def test_what_a_shared_system_says_is_another_entitys_is_theirs_to_agree_to(firm: Firm, gb: LegalEntity) -> None:
    shared = world.connection("crm", "salesforce", None, is_source=True, realm="org-1")
    ForeignRecord.objects.create(
        connection=shared, system="salesforce", realm="org-1", kind="project", external_id="k-9", entity=gb,
        seen_at=timezone.now(),
    )  # fmt: skip
    fay = desk.analyst(firm)
    with pytest.raises(ChangeRefused, match="somebody with a role in each of them"):
        drafted(fay, key_of("org-1", "k-9", system="salesforce"))
    assert set(drafted(fay, key_of("org-1", "k-2", system="salesforce")).entities.all()) == {firm.entity}


def test_mapping_as_suggested_obeys_the_same_and_says_so_on_the_screen(firm: Firm, gb: LegalEntity) -> None:
    firm.source.realm = "gb-77"
    firm.source.save()
    ForeignRecord.objects.create(
        connection=firm.source, system="harvest", realm="gb-77", kind="project", external_id="k-1", code="ACM-2213",
        name="Acme roll-out phase 2", entity=firm.entity, seen_at=timezone.now(),
    )  # fmt: skip
    mappings.bring_up_to_date()
    row = Mapping.objects.get(system="harvest", kind="project", external_id="k-1")
    client = Client()
    client.force_login(desk.analyst(firm))
    chosen = {"action": "map", "selected": [row.pk]}
    asked = client.post(reverse("mappings"), chosen)
    answer = client.post(reverse("mappings"), {**chosen, "confirmed": asked.context["confirmed"], "reason": "the same"})
    assert "somebody with a role in each of them" in answer.content.decode()
    assert not ChangeSet.objects.exists()
