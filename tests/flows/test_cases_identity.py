"""Who is who between systems: many keys of one record, two systems on one record, and names that prove nothing."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from portal import audit, master_intake
from portal.models import AuditEvent, Connection, Crosswalk, Customer, LegalEntity, MasterChange, Project, Resource
from portal.records import MasterKind, MasterRecord, Reference
from reconciliation import validation
from tests import world
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm, entry, hold, rules_of, state

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    return firms.build()


@pytest.mark.case(24)
def test_two_keys_mean_one_record_only_where_that_is_allowed(firm: Firm) -> None:
    firms.key(firm.source, "project", firm.project.pk, "A")
    with pytest.raises(IntegrityError, match="a_record_has_one_external_id"), transaction.atomic():
        firms.key(firm.source, "project", firm.project.pk, "B")
    firms.key(firm.source, "project", firm.project.pk, "B", allows_many=True)
    ready = firm.admit(
        firm.time("1", project=Reference("A", "", "")),
        firm.time("2", project=Reference("B", "", ""), work_date=date(2026, 10, 2)),
    ).ready
    assert {entry(each).project for each in ready} == {firm.project}


@pytest.mark.case(24)
def test_a_record_whose_keys_are_many_is_not_named_by_one_of_them(firm: Firm) -> None:
    theirs = Crosswalk.objects.get(system="netsuite", kind="project", internal_id=firm.project.pk)
    Crosswalk.objects.filter(pk=theirs.pk).update(allows_many=True)  # in the target, two keys mean our project
    firms.key(firm.target, "project", firm.project.pk, "OTHER", allows_many=True)
    held = firm.admit(firm.time()).held
    assert rules_of(held[0]) == {"crosswalk-missing"}
    assert "has no key for project ACM-1" in hold(held[0], "crosswalk-missing").sentence
    Crosswalk.objects.filter(pk=theirs.pk).update(allows_many=False)  # one of them is said to be the one to write to
    validation.recheck(held, actor="test", reason="mended")
    assert (state(held[0]), entry(held[0]).target_keys["project"]) == ("ready", theirs.external_id)


@pytest.mark.case(24)
def test_none_of_many_keys_changes_the_record_that_they_share() -> None:
    crm = owner("crm", "customer")
    ours = Customer.objects.create(code="ACME", name="Acme Inc.", currency="USD")
    for key in ("a", "b"):
        Crosswalk.objects.create(
            system="crm", kind="customer", external_id=key, internal_id=ours.pk, allows_many=True,
            valid_from=date(2020, 1, 1),
        )  # fmt: skip
    master_intake.take_in(crm, [(0, customer("a", "Acme East")), (1, customer("b", "Acme West"))])
    ours.refresh_from_db()
    assert (ours.name, Customer.objects.count()) == ("Acme Inc.", 1)


def owner(code: str, *kinds: str) -> Connection:
    return world.connection(code, code, is_source=True, settings={"owns": list(kinds)})


def customer(key: str, name: str, revision: str = "1", **attributes: Any) -> MasterRecord:
    return MasterRecord(
        kind=MasterKind.CUSTOMER, external_id=key, revision=revision, code="ACME", name=name,
        attributes={"currency": "USD", **attributes},
    )  # fmt: skip


@pytest.fixture
def two_systems() -> tuple[Connection, Connection, Customer]:
    """An ERP that owns customers, a CRM that does not, and a customer that both know."""
    erp, crm = owner("erp", "customer"), owner("crm", "project")
    master_intake.take_in(erp, [(0, customer("e1", "Acme Inc."))])
    ours = Customer.objects.get()
    Crosswalk.objects.create(
        system="crm", kind="customer", external_id="c1", internal_id=ours.pk, valid_from=date(2020, 1, 1)
    )
    MasterChange.objects.all().delete()
    return erp, crm, ours


@pytest.mark.case(31)
@pytest.mark.parametrize("crm_first", [True, False])
def test_of_two_systems_that_change_one_record_only_its_owner_writes(
    two_systems: tuple[Connection, Connection, Customer], crm_first: bool
) -> None:
    erp, crm, ours = two_systems
    says = [(erp, customer("e1", "Acme Holding", "2")), (crm, customer("c1", "ACME (new)", "2", tax_number="X1"))]
    left = {}
    for connection, record in reversed(says) if crm_first else says:
        left.update(master_intake.take_in(connection, [(connection.pk, record)]).left)
    ours.refresh_from_db()
    assert (ours.name, ours.tax_number, ours.history.count()) == ("Acme Holding", "", 2)
    stood = "Acme Inc." if crm_first else "Acme Holding"
    assert left == {
        crm.pk: f"crm does not own customer records here: name “ACME (new)” was not taken, “{stood}” stands; "
        "tax_number “X1” was not taken, “” stands."
    }
    event = AuditEvent.objects.get(action="master-change.rejected")
    assert (event.object_type, event.object_id, event.actor_name) == ("customer", str(ours.pk), "system")
    assert event.after == {"name": "ACME (new)", "tax_number": "X1"}
    assert event.before == {"name": stood, "tax_number": ""}
    assert audit.verify() == []


@pytest.mark.case(31)
def test_a_system_that_agrees_with_the_owner_is_no_rejected_change(
    two_systems: tuple[Connection, Connection, Customer],
) -> None:
    _, crm, _ = two_systems
    outcome = master_intake.take_in(crm, [(7, customer("c1", "Acme Inc.", "2"))])
    assert outcome.left == {7: "crm does not own customer records here."}
    assert not AuditEvent.objects.exists()
    assert not MasterChange.objects.exists()


@pytest.mark.case(131)
def test_a_customer_of_our_name_is_another_customer_until_a_person_says_so() -> None:
    ours = Customer.objects.create(code="ACME", name="Acme Inc.", currency="USD")
    record = MasterRecord(
        kind=MasterKind.CUSTOMER, external_id="c9", revision="1", code="CUST-9", name="Acme Inc.",
        attributes={"currency": "USD"},
    )  # fmt: skip
    master_intake.take_in(owner("crm", "customer"), [(0, record)])
    made = Customer.objects.exclude(pk=ours.pk).get()
    assert Crosswalk.objects.get(external_id="c9").internal_id == made.pk
    ours.refresh_from_db()
    assert ours.history.count() == 1


@pytest.mark.case(131)
def test_a_name_alone_names_neither_a_project_nor_a_person(firm: Firm) -> None:
    held = firm.admit(
        firm.time("1", project=Reference("", "", firm.project.name)),
        firm.time("2", resource=Reference("", "", firm.ana.name), work_date=date(2026, 10, 2)),
    ).held
    found = {rule: each for each in held for rule in rules_of(each)}
    assert {"project-unknown", "resource-unknown"} <= set(found)
    assert entry(found["project-unknown"]).project is None
    assert entry(found["resource-unknown"]).resource is None
    assert (Project.objects.count(), Resource.objects.count()) == (1, 2)
    assert not Crosswalk.objects.filter(system=firm.source.connector).exists()


@pytest.mark.case(131)
def test_nothing_that_is_unknown_is_made_up(firm: Firm) -> None:
    firm.admit(
        firm.time("1", project=Reference("x9", "NEW-1", "New project"), resource=Reference("u9", "new", "Newman"))
    )
    assert not Project.objects.filter(code="NEW-1").exists()
    assert not Resource.objects.filter(code="new").exists()
    assert LegalEntity.objects.count() == 1
