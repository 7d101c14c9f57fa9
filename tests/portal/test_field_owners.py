"""Whose word counts for which field, and what becomes of the others' words."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from portal import master_intake
from portal.field_owners import FieldOwners, problems
from portal.master_intake import rejected
from portal.models import (
    AuditEvent,
    Connection,
    Crosswalk,
    Customer,
    ForeignRecord,
    GrantRole,
    LegalEntity,
    Notification,
    Project,
    ProjectStatus,
    RejectedValue,
)
from portal.records import MasterKind, MasterRecord, Reference
from tests import world

pytestmark = pytest.mark.django_db
VAT, OTHER_VAT = "DE136695976", "DE811569869"


@pytest.fixture
def entity() -> LegalEntity:
    return world.entity("DE", "EUR", zone="Europe/Berlin")


@pytest.fixture
def erp(entity: LegalEntity) -> Connection:
    return system("erp", "customer", "project")


@pytest.fixture
def crm(erp: Connection) -> Connection:
    """A CRM that owns tax numbers and merges, and knows the ERP's customer under a key of its own."""
    connection = system("crm", "customer.tax_number", "customer.merged_into")
    take(erp, customer("e1", "Acme"))
    key(connection, "customer", "c1", Customer.objects.get().pk)
    return connection


def system(code: str, *owns: str, owner: LegalEntity | None = None) -> Connection:
    return world.connection(code, code, owner, is_source=True, settings={"owns": list(owns)})


def key(connection: Connection, kind: str, external_id: str, pk: int) -> None:
    Crosswalk.objects.create(
        system=connection.connector, kind=kind, external_id=external_id, internal_id=pk, valid_from=date(2020, 1, 1)
    )


def customer(external_id: str, name: str = "Acme", revision: str = "1", **attributes: Any) -> MasterRecord:
    parent = Reference(key=attributes.pop("parent", ""))
    return MasterRecord(
        kind=MasterKind.CUSTOMER, external_id=external_id, revision=revision, code=external_id.upper(), name=name,
        parent=parent, attributes={"currency": "EUR", **attributes},
    )  # fmt: skip


def take(connection: Connection, *records: MasterRecord) -> master_intake.Outcome:
    return master_intake.take_in(connection, list(enumerate(records)))


def opened() -> list[tuple[str, str, str, str]]:
    rows = RejectedValue.objects.filter(state="open").order_by("field")
    return list(rows.values_list("connection__code", "field", "stands", "said"))


@pytest.mark.case(31)
def test_a_field_that_another_system_names_is_its_own_though_the_kind_is_not(erp: Connection, crm: Connection) -> None:
    outcome = take(crm, customer("c1", "ACME (new)", "2", tax_number=VAT))
    ours = Customer.objects.get()
    assert (ours.name, ours.tax_number) == ("Acme", VAT)
    assert outcome.left == {
        0: "crm does not own customer records here: name “ACME (new)” was not taken, “Acme” stands."
    }
    take(erp, customer("e1", "Acme Holding", "3", tax_number=OTHER_VAT))
    ours.refresh_from_db()
    assert (ours.name, ours.tax_number) == ("Acme Holding", VAT)
    assert opened() == [("crm", "name", "Acme", "ACME (new)"), ("erp", "tax_number", VAT, OTHER_VAT)]
    assert RejectedValue.objects.get(connection=erp).reason == "It belongs to Crm."


def test_a_system_that_owns_fields_makes_no_records(crm: Connection) -> None:
    outcome = take(crm, customer("c9", "Brand new"))
    assert outcome.left == {0: "crm does not own customer records here, and key c9 is not mapped yet."}
    assert Customer.objects.count() == 1
    assert ForeignRecord.objects.get(external_id="c9").name == "Brand new"


def test_a_connection_of_one_entity_owns_its_fields_there_alone(erp: Connection, entity: LegalEntity) -> None:
    other = world.entity("US", "USD")
    local = system("local", "customer.tax_number", owner=entity)
    ours = Customer.objects.create(code="A", name="A", currency="EUR", entity=entity)
    theirs = Customer.objects.create(code="B", name="B", currency="EUR", entity=other)
    for row in (ours, theirs):
        key(erp, "customer", f"e-{row.code}", row.pk)
        key(local, "customer", f"l-{row.code}", row.pk)
    take(local, customer("l-A", "A", tax_number=VAT), customer("l-B", "B", tax_number=VAT))
    take(erp, customer("e-A", "A", tax_number=OTHER_VAT), customer("e-B", "B", tax_number=OTHER_VAT))
    assert list(Customer.objects.order_by("code").values_list("tax_number", flat=True)) == [VAT, OTHER_VAT]


def test_the_same_word_again_is_counted_and_another_supersedes_it(crm: Connection) -> None:
    for revision in ("2", "3"):
        take(crm, customer("c1", "ACME (new)", revision))
    row = RejectedValue.objects.get()
    assert (row.times, row.state, AuditEvent.objects.filter(action="master-change.rejected").count()) == (2, "open", 1)
    take(crm, customer("c1", "ACME (newer)", "4"))
    assert opened() == [("crm", "name", "Acme", "ACME (newer)")]
    row.refresh_from_db()
    assert row.state == "superseded"


def test_a_system_that_comes_to_say_what_stands_settles_it(erp: Connection, crm: Connection) -> None:
    take(crm, customer("c1", "Acme Holding", "2"))
    take(crm, customer("c1", "Acme", "3"))
    assert RejectedValue.objects.get().state == "settled"


def test_what_a_person_keeps_is_not_asked_again_but_another_value_is(crm: Connection, entity: LegalEntity) -> None:
    take(crm, customer("c1", "ACME (new)", "2"))
    by = world.user("carla", GrantRole.CONTROLLER, everywhere=True)
    with pytest.raises(ValueError, match="Say why"):
        rejected.decide(list(RejectedValue.objects.all()), "kept", by=by, reason=" ")
    assert (
        rejected.decide(list(RejectedValue.objects.all()), "kept", by=by, reason="The ERP's name is on the contract.")
        == 1
    )
    assert rejected.decide(list(RejectedValue.objects.all()), "kept", by=by, reason="again") == 0
    take(crm, customer("c1", "ACME (new)", "3"))
    assert opened() == []
    take(crm, customer("c1", "ACME (other)", "4"))
    assert opened() == [("crm", "name", "Acme", "ACME (other)")]
    event = AuditEvent.objects.get(action="rejected-value.kept")
    assert (event.actor_name, event.before, event.after) == ("carla", {"name": "Acme"}, {"name": "Acme"})


def test_controllers_of_the_entity_are_told_once(erp: Connection, entity: LegalEntity) -> None:
    world.user("ana", GrantRole.ANALYST, entity)
    carla = world.user("carla", GrantRole.CONTROLLER, entity)
    world.user("cara", GrantRole.CONTROLLER, world.entity("US", "USD"))
    crm = system("crm", "customer.tax_number")
    ours = Customer.objects.create(code="A", name="A", currency="EUR", entity=entity)
    key(crm, "customer", "c1", ours.pk)
    take(crm, customer("c1", "B", "2"))
    take(crm, customer("c1", "C", "3"))
    notice = Notification.objects.get()
    assert (notice.person, notice.subject) == (carla, "Crm says name of A A: “B”")


def test_a_status_that_is_not_the_systems_to_say_leaves_the_project_as_it_is(erp: Connection, crm: Connection) -> None:
    ours = Project.objects.create(
        code="P1", name="P", entity=LegalEntity.objects.get(), customer=Customer.objects.get()
    )
    ProjectStatus.objects.create(project=ours, status="open", valid_from=date(2026, 1, 1))
    key(crm, "project", "p1", ours.pk)
    said = MasterRecord(
        kind=MasterKind.PROJECT, external_id="p1", revision="1", code="P1", name="P", attributes={"status": "closed"}
    )
    assert take(crm, said).left == {
        0: "crm does not own project records here: status “closed” was not taken, “open” stands."
    }
    assert ProjectStatus.objects.get().status == "open"


@pytest.mark.case(22)
def test_a_merge_by_whoever_owns_merges_is_followed_and_by_another_is_not(erp: Connection, crm: Connection) -> None:
    take(erp, customer("e2", "Acme GmbH"))
    loser, survivor = Customer.objects.get(code="E2"), Customer.objects.get(code="E1")
    key(crm, "customer", "c2", loser.pk)
    take(erp, customer("e2", "Acme GmbH", "2", merged_into="e1"))
    assert Customer.objects.get(code="E2").merged_into is None
    assert opened() == [("erp", "merged_into", "", "E1")]
    take(crm, customer("c2", "Acme GmbH", "2", merged_into="c1"))
    loser.refresh_from_db()
    assert loser.merged_into == survivor
    assert Crosswalk.objects.get(system="crm", external_id="c2").internal_id == survivor.pk


def test_an_unknown_reference_of_a_field_that_is_not_its_own_holds_up_nothing(crm: Connection) -> None:
    outcome = take(crm, customer("c1", "Acme", "2", parent="c-unknown", tax_number=VAT))
    assert outcome == master_intake.Outcome()
    assert Customer.objects.get().tax_number == VAT


def test_what_a_connection_owns_is_checked_word_by_word() -> None:
    assert problems(["customer", "project.status"]) == []
    assert problems("customer") == ["owns is a list of kinds and fields, as [“customer”, “project.status”]."]
    assert problems(["client"])[0].startswith("owns names “client”, which is no kind; expected one of")
    assert problems(["customer.colour"])[0].startswith("owns names “customer.colour”, which is no field of a customer")


def test_a_field_that_nobody_names_is_kept_here(entity: LegalEntity) -> None:
    system("crm", "customer.tax_number")
    owners = FieldOwners()
    assert (owners.in_words("customer", "tax_number", None), owners.in_words("customer", "name", None)) == (
        "Crm",
        "Tieout",
    )
