"""Master data from its owner: matched by key, changed with history, and told to who validates."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from portal import master_intake
from portal.models import (
    AccountingPeriod,
    AuditEvent,
    Connection,
    CostCentre,
    Crosswalk,
    Customer,
    Engagement,
    GrantRole,
    LegalEntity,
    MasterChange,
    Project,
    ProjectStatus,
    Resource,
    Role,
    Task,
)
from portal.records import MasterKind, MasterRecord, Reference
from portal.sql import now
from tests import world

pytestmark = pytest.mark.django_db


@pytest.fixture
def erp() -> Connection:
    """A system that owns everything, speaking for one entity whose key it knows."""
    entity = world.entity()
    connection = world.connection("erp", is_source=True, settings={"owns": [str(kind) for kind in MasterKind]})
    Crosswalk.objects.create(
        system="fake", kind="entity", external_id="e1", internal_id=entity.pk, valid_from=date(2000, 1, 1)
    )
    return connection


def record(kind: MasterKind, external_id: str, revision: str = "1", **more: Any) -> MasterRecord:
    values: dict[str, Any] = {"code": external_id.upper(), "name": external_id.title(), **more}
    return MasterRecord(kind=kind, external_id=external_id, revision=revision, **values)


def take(connection: Connection, *records: MasterRecord) -> master_intake.Outcome:
    return master_intake.take_in(connection, list(enumerate(records)))


def customer(external_id: str = "c1", revision: str = "1", **more: Any) -> MasterRecord:
    attributes = {"entity": "e1", "currency": "USD", **more.pop("attributes", {})}
    return record(MasterKind.CUSTOMER, external_id, revision, attributes=attributes, **more)


def project(external_id: str = "p1", revision: str = "1", **attributes: Any) -> MasterRecord:
    stated = {"entity": "e1", "customer": "c1", "status": "open", "starts_on": date(2026, 1, 1), **attributes}
    return record(MasterKind.PROJECT, external_id, revision, attributes=stated)


def told() -> set[str]:
    return {str(kind) for kind in MasterChange.objects.values_list("kind", flat=True)}


def yesterday() -> date:
    return now().date() - timedelta(days=1)


def test_a_new_customer_is_made_tied_to_its_key_and_told(erp: Connection) -> None:
    assert take(erp, customer()) == master_intake.Outcome()
    made = Customer.objects.get()
    assert (made.code, made.name, made.currency, str(made.entity)) == ("C1", "C1", "USD", "US")
    assert Crosswalk.objects.get(kind="customer", external_id="c1").internal_id == made.pk
    assert made.history.get().history_change_reason == "fake says so (erp)"
    assert told() == {"customer", "crosswalk"}


def test_the_same_record_again_changes_nothing(erp: Connection) -> None:
    take(erp, customer())
    MasterChange.objects.all().delete()
    take(erp, customer())
    assert Customer.objects.get().history.count() == 1
    assert not MasterChange.objects.exists()


def test_a_change_is_one_history_row_and_leaves_what_is_not_stated(erp: Connection) -> None:
    take(erp, customer(attributes={"tax_number": "DE136695976"}))
    take(erp, customer(revision="2", name="Acme Ltd"))
    found = Customer.objects.get()
    assert (found.name, found.tax_number, found.history.count()) == ("Acme Ltd", "DE136695976", 2)


def test_a_record_with_our_code_is_tied_and_one_with_our_name_is_not(erp: Connection) -> None:
    ours = Customer.objects.create(code="C1", name="Old name", currency="USD")
    Customer.objects.create(code="X", name="C2", currency="USD")
    take(erp, customer("c1"), customer("c2"))
    assert Crosswalk.objects.get(external_id="c1").internal_id == ours.pk
    assert Customer.objects.count() == 3


def test_a_system_leaves_what_it_does_not_own(erp: Connection) -> None:
    erp.settings = {"owns": ["project"]}
    outcome = take(erp, customer())
    assert outcome.left == {0: "erp does not own customer records here."}
    assert not Customer.objects.exists()


def test_what_was_not_taken_of_a_person_is_told_where_the_person_works(erp: Connection) -> None:
    Role.objects.create(code="senior", name="Senior consultant")
    take(erp, record(MasterKind.RESOURCE, "r1", name="Ana Diaz", attributes={"entity": "e1", "role": "senior"}))
    erp.settings = {"owns": ["project"]}
    take(erp, record(MasterKind.RESOURCE, "r1", "2", name="Ana Roth"))
    event = AuditEvent.objects.get(action="master-change.rejected")
    assert (event.after, event.entity) == ({"name": "Ana Roth"}, LegalEntity.objects.get())
    foreign = world.user("dieter", GrantRole.AUDITOR, world.entity("DE", "EUR"))
    assert not AuditEvent.objects.visible_to(foreign).filter(pk=event.pk).exists()


def test_an_unknown_attribute_is_refused_by_name(erp: Connection) -> None:
    assert take(erp, customer(attributes={"colour": "red"})).failed == {0: "colour: no such attribute of a customer."}


@pytest.mark.case(29)
def test_a_child_that_comes_before_its_parent_waits(erp: Connection) -> None:
    outcome = take(erp, project())
    assert outcome.waiting == {0: "project P1 names customer c1, which is not known here yet."}
    take(erp, customer())
    assert take(erp, project()) == master_intake.Outcome()
    assert Project.objects.get().customer.code == "C1"


def test_parents_and_children_of_one_batch_come_in_the_right_order(erp: Connection) -> None:
    task = record(MasterKind.TASK, "t1", attributes={"project": "p1", "is_billable": False})
    assert take(erp, task, project(), customer()) == master_intake.Outcome()
    assert (Task.objects.get().project.code, Task.objects.get().is_billable) == ("P1", False)
    assert told() == {"customer", "project", "crosswalk"}


def test_a_hierarchy_in_one_batch_comes_from_the_top_whatever_its_order(erp: Connection) -> None:
    above = {"parent": Reference(key="c1")}
    assert take(
        erp, customer("c3", "1", parent=Reference(key="c2")), customer("c2", "2", **above), customer("c1", "3")
    ) == (master_intake.Outcome())
    assert [str(each.parent.code) for each in Customer.objects.order_by("code") if each.parent] == ["C1", "C2"]


@pytest.mark.case(20)
def test_a_project_that_closes_is_closed_from_today_and_stays_open_before(erp: Connection) -> None:
    take(erp, customer(), project())
    take(erp, project(revision="2", status="closed"))
    before, after = ProjectStatus.objects.order_by("valid_from")
    assert (before.status, before.valid_to) == ("open", yesterday())
    assert (after.status, after.valid_from, after.valid_to) == ("closed", now().date(), None)
    take(erp, project(revision="3", status="open"))
    assert list(ProjectStatus.objects.order_by("valid_from").values_list("status", flat=True)) == ["open", "open"]


@pytest.mark.case(23)
def test_a_customer_that_becomes_inactive_or_is_deleted_ends_yesterday(erp: Connection) -> None:
    take(erp, customer("c1"), customer("c2"))
    take(
        erp,
        customer("c1", revision="2", is_active=False),
        record(MasterKind.CUSTOMER, "c2", "2", code="", name="", is_active=False, deleted=True),
    )
    assert set(Customer.objects.values_list("active_to", flat=True)) == {yesterday()}
    take(erp, customer("c1", revision="3"))
    assert Customer.objects.get(code="C1").active_to is None


@pytest.mark.case(22)
def test_a_merged_customer_points_at_its_survivor_and_so_does_its_key(erp: Connection) -> None:
    take(erp, customer("c1"), customer("c2"))
    survivor, loser = Customer.objects.get(code="C1"), Customer.objects.get(code="C2")
    MasterChange.objects.all().delete()
    take(erp, customer("c2", revision="2", is_active=False, attributes={"merged_into": "c1"}))
    loser.refresh_from_db()
    assert loser.merged_into == survivor
    key = Crosswalk.objects.get(external_id="c2")
    assert (key.internal_id, key.allows_many, key.history.count()) == (survivor.pk, True, 2)
    assert told() == {"customer", "crosswalk"}
    assert set(MasterChange.objects.filter(kind="customer").values_list("internal_id", flat=True)) == {
        survivor.pk,
        loser.pk,
    }


@pytest.mark.case(22, 24)
def test_the_loser_of_a_merge_that_is_stated_again_does_not_overwrite_the_survivor(erp: Connection) -> None:
    take(erp, customer("c1"), customer("c2"))
    merged = {"merged_into": "c1"}
    take(erp, customer("c2", revision="2", attributes=merged))
    take(erp, customer("c2", revision="3", name="The loser's name", attributes=merged))
    assert list(Customer.objects.order_by("code").values_list("name", flat=True)) == ["C1", "C2"]


@pytest.mark.case(30)
def test_a_second_key_for_one_record_is_refused_and_changes_nothing(erp: Connection) -> None:
    take(erp, customer("c1"))
    outcome = take(erp, customer("c9", code="C1", name="Somebody else"))
    assert outcome.failed == {0: "customer c9: our record has key c1 in fake already; mend the crosswalk."}
    assert Customer.objects.get().name == "C1"


def test_periods_open_and_close_as_the_owner_says_for_every_entity_it_knows(erp: Connection) -> None:
    gb = world.entity("GB", "GBP")
    Crosswalk.objects.create(
        system="fake", kind="entity", external_id="e2", internal_id=gb.pk, valid_from=date(2000, 1, 1)
    )
    days = {"starts_on": date(2026, 10, 1), "ends_on": date(2026, 10, 31)}
    take(erp, record(MasterKind.PERIOD, "77", code="Oct 2026", attributes={**days, "closed": False}))
    assert list(AccountingPeriod.objects.values_list("entity__code", "state")) == [("GB", "open"), ("US", "open")]
    MasterChange.objects.all().delete()
    take(
        erp, record(MasterKind.PERIOD, "77", "2", code="Oct 2026", attributes={**days, "closed": True, "entity": "e2"})
    )
    assert list(AccountingPeriod.objects.values_list("entity__code", "state")) == [("GB", "closed"), ("US", "open")]
    assert told() == {"period"}


def test_a_period_that_closes_here_is_not_reopened_by_an_owner_that_knows_only_open(erp: Connection) -> None:
    days = {"starts_on": date(2026, 10, 1), "ends_on": date(2026, 10, 31)}
    take(erp, record(MasterKind.PERIOD, "77", attributes=days))
    AccountingPeriod.objects.update(state="closing")
    take(erp, record(MasterKind.PERIOD, "77", "2", attributes={**days, "closed": False}))
    assert AccountingPeriod.objects.get().state == "closing"


def test_people_come_with_their_engagement_where_their_role_is_known(erp: Connection) -> None:
    Role.objects.create(code="senior", name="Senior consultant")
    erp.settings["default_role"] = "senior"
    centre = record(MasterKind.COST_CENTRE, "d1", attributes={"entity": "e1"})
    person = record(
        MasterKind.RESOURCE, "r1", name="Ana Diaz",
        attributes={"entity": "e1", "cost_centre": "d1", "hired_on": date(2025, 3, 1), "email": "ana@example.com"},
    )  # fmt: skip
    take(erp, person, centre)
    found = Engagement.objects.get()
    assert (found.resource.name, found.role.code, found.valid_from, found.external_id) == (
        "Ana Diaz", "senior", date(2025, 3, 1), "r1",
    )  # fmt: skip
    assert found.cost_centre == CostCentre.objects.get()


@pytest.mark.case(26)
def test_a_person_who_is_merely_inactive_keeps_the_engagement_and_one_who_leaves_does_not(erp: Connection) -> None:
    Role.objects.create(code="senior", name="Senior consultant")
    stated = {"entity": "e1", "role": "senior"}
    take(erp, record(MasterKind.RESOURCE, "r1", attributes=stated))
    take(erp, record(MasterKind.RESOURCE, "r1", "2", is_active=False, attributes=stated))
    assert Engagement.objects.get().valid_to is None
    take(erp, record(MasterKind.RESOURCE, "r1", "3", attributes={**stated, "released_on": date(2026, 9, 30)}))
    assert Engagement.objects.get().valid_to == date(2026, 9, 30)
    assert Resource.objects.count() == 1


def test_a_company_is_not_made_by_an_erp(erp: Connection) -> None:
    outcome = take(erp, record(MasterKind.ENTITY, "e9", code="FR"))
    assert "Legal entity FR is not configured" in outcome.failed[0]
    assert LegalEntity.objects.count() == 1


def test_the_latest_of_two_copies_counts(erp: Connection) -> None:
    take(erp, customer(revision="2", name="New"), customer(revision="1", name="Old"))
    assert Customer.objects.get().name == "New"
