"""Values that were not taken, on screen: seen where they are of, decided by those who may, kept with a reason."""

from __future__ import annotations

from datetime import date
from importlib import import_module

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from portal import master_intake
from portal.master_intake import rejected
from portal.models import AuditEvent, Crosswalk, Customer, GrantRole, LegalEntity, RejectedValue, User
from portal.records import MasterKind, MasterRecord
from portal.screens import Refused
from reconciliation import changes
from reconciliation.changes import drafting
from reconciliation.models import ChangeSet
from reconciliation.views.rejected import ProposeTheChange
from tests import world

pytestmark = pytest.mark.django_db


@pytest.fixture
def entity() -> LegalEntity:
    return world.entity()


@pytest.fixture
def value(entity: LegalEntity) -> RejectedValue:
    """A CRM says another name than the one that stands."""
    crm = world.connection("crm", is_source=True, settings={"owns": []})
    ours = Customer.objects.create(code="ACME", name="Acme Inc.", currency="USD", entity=entity)
    Crosswalk.objects.create(
        system="fake", kind="customer", external_id="c1", internal_id=ours.pk, valid_from=date(2020, 1, 1)
    )
    said = MasterRecord(kind=MasterKind.CUSTOMER, external_id="c1", revision="2", code="C1", name="ACME Holding")
    master_intake.take_in(crm, [(0, said)])
    return RejectedValue.objects.get()


def person(client: Client, role: str, entity: LegalEntity, name: str = "carla") -> User:
    user = world.user(name, role, entity)
    client.force_login(user)
    return user


@pytest.mark.case(31)
def test_a_controller_keeps_what_stands_with_a_reason(
    client: Client, value: RejectedValue, entity: LegalEntity
) -> None:
    person(client, GrantRole.CONTROLLER, entity)
    shown = client.get(reverse("rejected_values")).content.decode()
    assert "ACME Holding" in shown
    page = client.get(reverse("rejected_value", args=[value.pk])).content.decode()
    assert "Keep what stands" in page
    assert "Which fields of master data it owns" in page  # the way to give its system the say
    asked = client.post(reverse("rejected_value", args=[value.pk]), {"action": "keep"})
    confirmed = asked.context["confirmed"]
    answer = client.post(
        reverse("rejected_value", args=[value.pk]),
        {"action": "keep", "confirmed": confirmed, "reason": "As in the contract."},
    )
    assert answer.status_code == 303
    value.refresh_from_db()
    assert (value.state, str(value.decided_by), value.decision) == ("kept", "carla", "As in the contract.")
    assert AuditEvent.objects.filter(action="rejected-value.kept").count() == 1
    assert "Keep what stands</button>" not in client.get(reverse("rejected_value", args=[value.pk])).content.decode()


def test_an_analyst_reads_and_does_not_decide(client: Client, value: RejectedValue, entity: LegalEntity) -> None:
    person(client, GrantRole.ANALYST, entity)
    address = reverse("rejected_value", args=[value.pk])
    assert "ACME Holding" in client.get(address).content.decode()
    assert client.post(address, {"action": "keep"}).status_code == 403


def test_nobody_sees_the_values_of_another_entity(client: Client, value: RejectedValue) -> None:
    person(client, GrantRole.CONTROLLER, world.entity("GB", "GBP"))
    assert "ACME" not in client.get(reverse("rejected_values")).content.decode()
    assert client.get(reverse("rejected_value", args=[value.pk])).status_code == 404


@pytest.mark.case(31)
def test_what_was_said_is_proposed_as_a_change_and_holds_once_another_agrees(
    client: Client, value: RejectedValue, entity: LegalEntity
) -> None:
    carla = person(client, GrantRole.CONTROLLER, entity)
    address = reverse("rejected_value", args=[value.pk])
    asked = client.post(address, {"action": "propose"})
    said = {"action": "propose", "confirmed": asked.context["confirmed"], "reason": "Renamed in the register."}
    assert client.post(address, said).status_code == 303
    change_set = ChangeSet.objects.get()
    value.refresh_from_db()
    assert (value.state, value.decision) == ("proposed", f"Renamed in the register. (change {change_set.pk})")
    changes.submit(change_set, carla)
    changes.approve(change_set, world.user("cleo", GrantRole.CONTROLLER, entity), "Yes.", signed_in_again=True)
    changes.run(change_set.pk)
    assert Customer.objects.get(code="ACME").name == "ACME Holding"
    value.refresh_from_db()
    assert (value.state, value.stands) == ("taken", "ACME Holding")
    page = client.get(address).content.decode()
    assert "Accepted by carla" in page
    assert "Proposed as a change" not in page
    assert "<dt>Stands</dt><dd>ACME Holding</dd>" in page
    assert AuditEvent.objects.get(action="rejected-value.taken").reason == f"Change set {change_set.pk} was applied."


def says(value: RejectedValue, name: str) -> None:
    """The CRM states its customer once more."""
    revision = str(RejectedValue.objects.count() + value.times + 2)
    said = MasterRecord(kind=MasterKind.CUSTOMER, external_id="c1", revision=revision, code="C1", name=name)
    master_intake.take_in(value.connection, [(0, said)])


def proposed(client: Client, value: RejectedValue) -> ChangeSet:
    address = reverse("rejected_value", args=[value.pk])
    asked = client.post(address, {"action": "propose"})
    client.post(address, {"action": "propose", "confirmed": asked.context["confirmed"], "reason": "Renamed."})
    value.refresh_from_db()
    assert value.state == "proposed"
    return ChangeSet.objects.latest("pk")


@pytest.mark.case(31)
def test_a_value_whose_change_is_rejected_withdrawn_or_left_out_is_asked_about_again(
    client: Client, value: RejectedValue, entity: LegalEntity
) -> None:
    carla = person(client, GrantRole.CONTROLLER, entity)
    cleo = world.user("cleo", GrantRole.CONTROLLER, entity)
    change_set = changes.submit(proposed(client, value), carla)
    changes.reject(change_set, cleo, "The register says otherwise.")
    value.refresh_from_db()
    assert (value.state, value.decided_by, value.decision) == ("open", None, "")
    page = client.get(reverse("rejected_value", args=[value.pk])).content.decode()
    assert "is rejected (“The register says otherwise.”)" in page
    assert "Keep what stands</button>" in page
    told = AuditEvent.objects.get(action="rejected-value.reopened")
    assert (told.actor, told.reason) == (cleo, f"Change set {change_set.pk} was rejected: The register says otherwise.")

    changes.withdraw(proposed(client, value), carla)
    value.refresh_from_db()
    assert value.state == "open"

    change_set = proposed(client, value)
    customer = Customer.objects.get(code="ACME")
    changes.edit(change_set, carla, [changes.Line("customer", customer.pk, "change", {"name": "ACME SE"})])
    value.refresh_from_db()
    assert (value.state, change_set.takes_up.count()) == ("open", 0)
    says(value, "ACME Holding")
    value.refresh_from_db()
    assert (RejectedValue.objects.count(), value.times, value.state) == (1, 2, "open")


def other_of(value: RejectedValue, said: str, **more: object) -> RejectedValue:
    """The same field of the same record, stated otherwise later."""
    return RejectedValue.objects.create(
        connection=value.connection, kind=value.kind, internal_id=value.internal_id, record=value.record, entity=value.entity,
        field=value.field, stands=value.stands, said=said, reason="x", first_at=value.first_at, last_at=value.last_at, **more,
    )  # fmt: skip


def test_of_two_values_of_one_field_the_one_that_was_said_last_is_asked_again(
    client: Client, value: RejectedValue, entity: LegalEntity
) -> None:
    carla = person(client, GrantRole.CONTROLLER, entity)
    decided = {"state": "proposed", "decided_by": carla, "decided_at": value.last_at, "decision": "yes"}
    RejectedValue.objects.filter(pk=value.pk).update(**decided)
    later = other_of(value, "ACME Group", **decided)
    assert rejected.reopen([later, value], by=carla, reason="It is not to come.") == 2
    assert [one.state for one in RejectedValue.objects.order_by("pk")] == ["superseded", "open"]
    RejectedValue.objects.filter(pk=later.pk).update(**decided)
    RejectedValue.objects.filter(pk=value.pk).update(state="open")
    rejected.reopen([later], by=carla, reason="It is not to come.")
    assert [one.state for one in RejectedValue.objects.order_by("pk")] == ["superseded", "open"]


def test_values_of_changes_that_were_rejected_before_they_were_tied_are_asked_again_by_the_migration(
    client: Client, value: RejectedValue, entity: LegalEntity
) -> None:
    carla = person(client, GrantRole.CONTROLLER, entity)
    change_set = proposed(client, value)
    ask_again = import_module("reconciliation.migrations.0042_values_of_changes_that_are_not_to_come").ASK_AGAIN

    def state() -> str:
        with connection.cursor() as cursor:
            cursor.execute(ask_again)
        return RejectedValue.objects.get(pk=value.pk).state

    assert state() == "proposed", "its change set is a draft"
    ChangeSet.objects.filter(pk=change_set.pk).update(state="withdrawn")
    assert state() == "open"
    decided = {"state": "proposed", "decided_by": carla, "decided_at": value.last_at, "decision": "yes"}
    RejectedValue.objects.filter(pk=value.pk).update(**decided)
    other_of(value, "ACME Group")
    assert state() == "superseded"


def test_what_somebody_else_decided_meanwhile_is_not_proposed_and_nothing_else_is(
    client: Client, value: RejectedValue, entity: LegalEntity
) -> None:
    carla = person(client, GrantRole.CONTROLLER, entity)
    other_of(value, "ACME Group", state="superseded")
    both = RejectedValue.objects.all()
    form = ProposeTheChange({"reason": "Renamed."}, queryset=both, user=carla)
    assert form.is_valid()
    with pytest.raises(Refused, match="1 of these 2 were decided before"):
        form.apply(both, carla)
    assert not ChangeSet.objects.exists()


def test_a_value_that_is_written_otherwise_in_the_line_is_still_proposed_by_it() -> None:
    assert drafting._says("task", "is_billable", {"is_billable": True}, "yes")
    assert drafting._says("task", "is_billable", {"is_billable": "true"}, "yes")
    assert not drafting._says("task", "is_billable", {"is_billable": "no"}, "yes")
    assert drafting._says("contract", "cap_amount", {"cap_amount": "1000"}, "1000.00")
    assert drafting._says("contract", "ends_on", {"ends_on": ""}, "")
    assert not drafting._says("contract", "ends_on", {}, "")


def test_a_proposed_value_is_superseded_by_a_later_one_and_settles_once_it_holds(
    client: Client, value: RejectedValue, entity: LegalEntity
) -> None:
    carla = person(client, GrantRole.CONTROLLER, entity)
    change_set = proposed(client, value)
    says(value, "ACME Group")
    later = RejectedValue.objects.exclude(pk=value.pk).get()
    changes.withdraw(change_set, carla)
    value.refresh_from_db()
    assert (value.state, later.state) == ("superseded", "open")
    change_set = changes.submit(proposed(client, later), carla)
    changes.approve(change_set, world.user("cleo", GrantRole.CONTROLLER, entity), signed_in_again=True)
    changes.apply(change_set)
    says(value, "ACME Group")
    later.refresh_from_db()
    assert (later.state, later.stands) == ("taken", "ACME Group")
