"""Master data is told to the systems that take it: once, in order, proved, and never twice after a lost answer."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from integrations import outbox, registry
from integrations.errors import InDoubt, Rejected, Unavailable
from portal import changes_watch
from portal.models import (
    ApprovalStep,
    Assignment,
    Connection,
    Contract,
    Crosswalk,
    Customer,
    Engagement,
    GrantRole,
    LedgerEntry,
    LedgerState,
    Project,
    ProjectStatus,
    Published,
    PublishedVersion,
    Rate,
    RateCard,
    Resource,
    Role,
    Task,
)
from portal.records import PublishedKind
from reconciliation import changes, publishing, validation
from reconciliation.changes import Line
from reconciliation.models import ExceptionCase, Hold
from tests import world
from tests.integrations.memory_recipient import RECORDS, Records, loses, recipient
from tests.invariants import assert_all_hold

pytestmark = pytest.mark.django_db
BEGINNING = date(2020, 1, 1)
Kind = PublishedKind


@pytest.fixture(autouse=True)
def _memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.CONNECTORS, "memory-recipient", "tests.integrations.memory_recipient.MemoryRecipient")


@pytest.fixture
def project() -> Project:
    """A project with a contract, a task, a person and their rate, and the one who approves."""
    entity = world.entity()
    customer = Customer.objects.create(code="ACME", name="Acme", entity=entity, currency="USD")
    contract = Contract.objects.create(
        code="ACME-2026", name="Acme", customer=customer, entity=entity, currency="USD", cap_amount=Decimal(9000)
    )
    project = Project.objects.create(code="ACM-1", name="Roll-out", entity=entity, customer=customer, contract=contract)
    ProjectStatus.objects.create(project=project, status="open", valid_from=BEGINNING)
    Task.objects.create(project=project, code="DSG", name="Design")
    role = Role.objects.create(code="senior", name="Senior consultant")
    card = RateCard.objects.create(code="ACME-2026", contract=contract, valid_from=BEGINNING)
    Rate.objects.create(card=card, role=role, currency="USD", amount=Decimal(180), valid_from=BEGINNING)
    for code, name in (("ada", "Ada Ito"), ("pat", "Pat Moss")):
        person = Resource.objects.create(code=code, name=name)
        Engagement.objects.create(resource=person, entity=entity, role=role, valid_from=BEGINNING)
    Assignment.objects.create(project=project, resource=Resource.objects.get(code="ada"), valid_from=BEGINNING)
    ApprovalStep.objects.create(project=project, approver=Resource.objects.get(code="pat"))
    return project


def told(project: Project, *kinds: Kind) -> tuple[Connection, Records]:
    """A system that is told this project, its people known there already."""
    system = recipient(project.entity, *kinds)
    for person in Resource.objects.all():
        key(system, "resource", f"person-{person.code}", person.pk)
    return system, RECORDS[system.code]


def key(system: Connection, kind: str, external_id: str, internal_id: int) -> Crosswalk:
    return Crosswalk.objects.create(
        system=system.connector, realm=system.realm, kind=kind, external_id=external_id, internal_id=internal_id,
        valid_from=BEGINNING,
    )  # fmt: skip


def follow(kind: str, *ids: int) -> None:
    """Leave word of a change, as whoever makes it does, and have it followed."""
    changes_watch.note(kind, ids)
    validation.follow_changes()


def deliver(system: Connection, times: int = 8) -> None:
    """Workers come by until everything is through."""
    for _ in range(times):
        LedgerState.objects.filter(target=system).update(next_attempt_at="2020-01-01T00:00:00Z")
        outbox.deliver(system.pk)


def states() -> dict[str, str]:
    """Where the current entry of every record stands."""
    rows = LedgerEntry.objects.exclude(state_row__state__in=["reversed", "cancelled"]).order_by("pk")
    return {
        Published.objects.get(pk=entry.document_id).kind: entry.state_row.state
        for entry in rows.select_related("state_row")
    }


def test_a_project_arrives_with_everything_below_it_in_order_is_proved_and_its_numbers_become_keys(
    project: Project,
) -> None:
    system, records = told(project)
    follow("project", project.pk)
    deliver(system)
    assert [kind for kind, _ in records.calls] == [
        "customer", "project", "task", "assignment", "assignment", "contract", "rate", "rate"
    ]  # fmt: skip
    assert set(states().values()) == {"posted"}
    assert {row.number != "" for row in Published.objects.all()} == {True}
    theirs = {item.kind: item for item in Crosswalk.objects.exclude(kind="resource")}
    assert theirs["project"].external_id in records.held[Kind.PROJECT]
    assert theirs["project"].history.get().history_change_reason.startswith("Tracker took it")
    rate = next(iter(records.held[Kind.RATE].values()))
    assert (rate["amount"], rate["agreed_in"]) == ("180", "ACME-2026 v1")
    assert rate["names"]["project"] == theirs["project"].external_id
    approver = [record["is_approver"] for record in records.held[Kind.ASSIGNMENT].values()]
    assert sorted(approver) == [False, True]
    assert_all_hold()


def test_an_unchanged_record_makes_no_version_and_a_changed_one_is_changed_there_and_not_made_again(
    project: Project,
) -> None:
    system, records = told(project, Kind.CUSTOMER, Kind.PROJECT)
    follow("project", project.pk)
    deliver(system)
    follow("project", project.pk)
    publishing.owe_everything()
    assert PublishedVersion.objects.count() == 2
    project.name = "Roll-out, phase 2"
    project.save()
    follow("project", project.pk)
    deliver(system)
    assert records.names(Kind.PROJECT) == ["Roll-out, phase 2"]
    assert len(records.calls) == 3
    row = Published.objects.get(kind="project")
    assert row.document.current_version == 2
    assert list(row.document.entries.order_by("pk").values_list("state_row__state", flat=True)) == [
        "reversed",
        "posted",
    ]
    assert_all_hold()


def test_what_is_mapped_already_is_changed_and_never_made_a_second_time(project: Project) -> None:
    system, records = told(project, Kind.CUSTOMER, Kind.PROJECT)
    records.held[Kind.CUSTOMER]["c-9"] = {"name": "ACME Inc.", "names": {}}
    key(system, "customer", "c-9", project.customer_id)
    follow("connection", system.pk)
    deliver(system)
    assert records.names(Kind.CUSTOMER) == ["Acme"]
    assert list(records.held[Kind.CUSTOMER]) == ["c-9"]


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "lost"])
def test_an_answer_that_is_lost_is_looked_up_and_nothing_is_made_twice(project: Project, kept: bool) -> None:
    system, records = told(project, Kind.CUSTOMER, Kind.PROJECT)
    records.faults.append(loses(InDoubt("the connection was cut"), kept=kept))
    follow("project", project.pk)
    deliver(system, 12)
    assert records.names(Kind.CUSTOMER) == ["Acme"]
    assert records.names(Kind.PROJECT) == ["Roll-out"]
    assert set(states().values()) == {"posted"}
    assert len([kind for kind, _ in records.calls if kind == "customer"]) == (1 if kept else 2)
    assert_all_hold()


def test_a_change_whose_answer_is_lost_goes_again_only_while_it_is_not_there(project: Project) -> None:
    system, records = told(project, Kind.CUSTOMER)
    follow("project", project.pk)
    deliver(system)
    project.customer.name = "Acme Group"
    project.customer.save()
    records.faults.append(loses(InDoubt("the connection was cut"), kept=False))
    follow("customer", project.customer_id)
    deliver(system, 12)
    assert records.names(Kind.CUSTOMER) == ["Acme Group"]
    assert states() == {"customer": "posted"}
    assert_all_hold()


def test_a_record_of_the_same_name_there_is_a_case_and_no_duplicate_and_goes_on_once_its_key_is_confirmed(
    project: Project,
) -> None:
    system, records = told(project, Kind.CUSTOMER, Kind.PROJECT)
    records.held[Kind.CUSTOMER]["c-9"] = {"name": "Acme", "names": {}}
    follow("project", project.pk)
    deliver(system)
    case = ExceptionCase.objects.get()
    assert (case.rule, case.entity) == ("twin-in-target", project.entity)
    assert "say that it is the same" in case.sentence
    assert Published.objects.get(kind="customer").twin["number"] == "c-9"
    assert states() == {"customer": "rejected", "project": "ready"}
    assert list(records.held[Kind.CUSTOMER]) == ["c-9"]
    follow("crosswalk", key(system, "customer", "c-9", project.customer_id).pk)
    deliver(system)
    assert set(states().values()) == {"posted"}
    assert records.held[Kind.CUSTOMER] == {"c-9": {**records.held[Kind.CUSTOMER]["c-9"], "currency": "USD"}}
    assert not Hold.objects.filter(closed_at=None).exists()
    assert_all_hold()


def test_what_nobody_tells_the_system_holds_what_names_it_and_its_key_lets_it_go(project: Project) -> None:
    system, records = told(project, Kind.PROJECT)
    follow("project", project.pk)
    deliver(system)
    case = ExceptionCase.objects.get()
    assert case.rule == "crosswalk-missing"
    assert "no key for customer ACME Acme" in Hold.objects.get().sentence
    assert not records.calls
    follow("crosswalk", key(system, "customer", "c-1", project.customer_id).pk)
    deliver(system)
    assert states() == {"project": "posted"}
    assert next(iter(records.held[Kind.PROJECT].values()))["names"] == {"customer": "c-1"}
    assert_all_hold()


def test_a_refusal_is_a_case_children_wait_and_a_correction_goes_as_the_next_version(project: Project) -> None:
    system, records = told(project, Kind.CUSTOMER, Kind.PROJECT)
    records.faults.append(loses(Rejected("Name is too long."), kept=False))
    follow("project", project.pk)
    deliver(system)
    assert ExceptionCase.objects.get().rule == "publication-refused"
    assert states() == {"customer": "rejected", "project": "ready"}
    waiting = LedgerState.objects.get(state="ready")
    assert waiting.waits_on == f"parent:customer:{project.customer_id}"
    assert waiting.attempts == 0
    project.customer.name = "Ac"
    project.customer.save()
    follow("customer", project.customer_id)
    deliver(system)
    assert set(states().values()) == {"posted"}
    assert not Hold.objects.filter(closed_at=None).exists()
    assert_all_hold()


def test_a_version_made_while_the_earlier_one_is_on_its_way_waits_for_its_end(project: Project) -> None:
    system, records = told(project, Kind.CUSTOMER)
    records.faults.append(loses(InDoubt("the connection was cut"), kept=True))
    follow("project", project.pk)
    outbox.deliver(system.pk)
    project.customer.name = "Acme Group"
    project.customer.save()
    follow("customer", project.customer_id)
    assert LedgerState.objects.get(state="ready").waits_on.startswith("settled:")
    deliver(system, 12)
    assert records.names(Kind.CUSTOMER) == ["Acme Group"]
    assert len(records.held[Kind.CUSTOMER]) == 1
    assert_all_hold()


@pytest.mark.case(74, 122)
def test_an_echo_of_our_own_change_makes_nothing_and_rejects_nothing(project: Project) -> None:
    from portal import master_intake
    from portal.models import AuditEvent
    from portal.records import MasterKind, MasterRecord

    system, records = told(project, Kind.CUSTOMER, Kind.PROJECT)
    follow("project", project.pk)
    deliver(system)
    number = Published.objects.get(kind="project").number
    says: dict[str, Any] = {"kind": MasterKind.PROJECT, "code": "ACM-1", "name": "Roll-out"}
    echo = MasterRecord(external_id=number, revision="1", **says)
    before = AuditEvent.objects.count()
    outcome = master_intake.take_in(system, [(1, echo)])
    validation.follow_changes()
    assert outcome.left[1] == "tracker does not own project records here."
    assert AuditEvent.objects.count() == before
    assert PublishedVersion.objects.count() == 2
    deliver(system)
    assert len(records.calls) == 2


def test_nothing_is_told_to_a_connection_that_is_not_to_be_told(project: Project) -> None:
    quiet = world.connection(
        "quiet", "memory-recipient", project.entity, is_source=True, settings={"provisions": ["project"]}
    )
    follow("project", project.pk)
    follow("connection", quiet.pk)
    assert not Published.objects.exists()


def test_unavailable_is_tried_again_under_the_same_key(project: Project) -> None:
    system, records = told(project, Kind.CUSTOMER)
    records.faults.append(loses(Unavailable("503", status=503), kept=False))
    follow("project", project.pk)
    deliver(system)
    assert LedgerEntry.objects.count() == 1
    assert states() == {"customer": "posted"}


def test_the_policy_of_an_entity_changes_although_master_data_of_it_was_told_to_others(project: Project) -> None:
    system, _ = told(project)
    follow("project", project.pk)
    deliver(system)
    assert set(states().values()) == {"posted"}
    fay = world.user("fay", GrantRole.CONTROLLER, project.entity)
    line = Line("entity", project.entity_id, "change", {"policy": {"rate_tolerance": "0.50"}})
    change_set = changes.submit(changes.draft(by=fay, title="Half a cent", reason="agreed", lines=[line]), fay)
    assert (change_set.preview["booked"]["looked_at"], change_set.preview["booked"]["entries"]) == (0, 0)


def test_what_a_change_set_changes_is_told_at_once_and_not_with_the_next_sweep(project: Project) -> None:
    system, records = told(project, Kind.CUSTOMER, Kind.PROJECT)
    follow("project", project.pk)
    deliver(system)
    fay, cleo = (world.user(name, GrantRole.CONTROLLER, project.entity) for name in ("fay", "cleo"))
    line = Line("project", project.pk, "change", {"name": "Roll-out, phase 2"})
    change_set = changes.submit(changes.draft(by=fay, title="Phase 2", reason="agreed", lines=[line]), fay)
    changes.apply(changes.approve(change_set, cleo))
    assert states()["project"] == "ready"
    deliver(system)
    assert records.names(Kind.PROJECT) == ["Roll-out, phase 2"]


def test_the_key_of_a_told_record_leads_to_it_and_nowhere_for_who_may_not_see_it(
    client: Client, project: Project
) -> None:
    system, _ = told(project, Kind.CUSTOMER)
    follow("project", project.pk)
    deliver(system)
    entry = LedgerEntry.objects.get(kind="master")
    client.force_login(world.user("fay", GrantRole.CONTROLLER, project.entity))
    found = client.get(reverse("search"), {"q": entry.idempotency_key.hex})
    assert found["Location"] == reverse("published_record", args=[entry.document_id])
    assert client.get(found["Location"]).status_code == 200
    client.force_login(world.user("eve", GrantRole.CONTROLLER, world.entity("SG", "SGD")))
    assert client.get(reverse("search"), {"q": entry.idempotency_key.hex}).status_code == 200
