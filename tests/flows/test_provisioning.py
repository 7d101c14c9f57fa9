"""A project made in the ERP arrives in the time tracker of its entity, whole and once, whatever happens on the way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction

from integrations import outbox, work
from integrations.sandbox import clockify as clockify_sandbox
from integrations.sandbox import harvest as harvest_sandbox
from integrations.sandbox.server import control, sandbox_server
from portal import changes_watch, master_intake
from portal.models import (
    ApprovalStep,
    Assignment,
    Attempt,
    Connection,
    Contract,
    Crosswalk,
    Customer,
    Engagement,
    LedgerState,
    LegalEntity,
    Project,
    Published,
    Rate,
    RateCard,
    Resource,
    Role,
)
from portal.records import MasterKind, MasterRecord
from reconciliation.models import ExceptionCase, Hold
from tests import world
from tests.invariants import assert_all_hold

BEGINNING = date(2020, 1, 1)
KINDS = {"provisions": ["customer", "project", "task", "assignment"]}
PEOPLE = {"harvest": {"ada": "11", "pat": "12"}, "clockify": {"ada": f"{'a' * 24}", "pat": f"{'b' * 24}"}}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[str]:
    with sandbox_server(names=["harvest", "clockify"]) as base:
        yield base


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARVEST_TOKEN", harvest_sandbox.TOKEN)
    monkeypatch.setenv("CLOCKIFY_KEY", clockify_sandbox.API_KEY)


@dataclass
class Office:
    """A firm with an ERP that owns its projects, and a time tracker that is told them."""

    base: str
    vendor: str
    entity: LegalEntity
    erp: Connection
    tracker: Connection

    def erp_says(
        self, kind: MasterKind, external_id: str, code: str, name: str, revision: str = "1", **attributes: Any
    ) -> None:
        """The ERP's record is taken in, and what it changes is followed, as the workers do."""
        record = MasterRecord(
            external_id=external_id, revision=revision, kind=kind, code=code, name=name, attributes=attributes
        )
        with transaction.atomic():
            outcome = master_intake.take_in(self.erp, [(1, record)])
        assert not outcome.failed, outcome
        work.revalidate()

    def project_comes(self) -> Project:
        """A customer with a project and a task, people and their rate."""
        self.erp_says(MasterKind.CUSTOMER, "201", "ACM", "Acme Industrial", currency="GBP")
        self.erp_says(MasterKind.PROJECT, "1501", "ACM-2213", "Acme roll-out", customer="201", status="open")
        self.erp_says(MasterKind.TASK, "77", "DSG", "Design", project="1501")
        return Project.objects.get(code="ACM-2213")

    def deliver(self, times: int = 10) -> None:
        """Workers come by until everything is through."""
        for _ in range(times):
            LedgerState.objects.filter(target=self.tracker).update(next_attempt_at="2020-01-01T00:00:00Z")
            outbox.deliver(self.tracker.pk)

    def holds(self, name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = control(self.base, "GET", f"{self.vendor}/inspect")[name]
        return found

    def fault(self, **fault: Any) -> None:
        control(self.base, "POST", "faults", [{"vendor": self.vendor, **fault}])

    def states(self) -> set[str]:
        """Where everything stands that the tracker is owed."""
        owed = LedgerState.objects.filter(target=self.tracker).exclude(state__in=["reversed", "cancelled"])
        return set(owed.values_list("state", flat=True))


def office(base: str, vendor: str, **settings: Any) -> Office:
    control(base, "POST", "reset")
    control(base, "DELETE", "faults")
    entity = world.entity("GB", "GBP")
    erp = world.connection(
        "erp", "netsuite", entity, is_source=True, settings={"owns": ["customer", "project", "task"]}
    )
    people = PEOPLE[vendor]
    users = [{"id": int(key) if vendor == "harvest" else key, "name": name} for name, key in people.items()]
    control(base, "POST", f"{vendor}/seed", {"users": users})
    control(base, "POST", f"{vendor}/configure", {"rate": [100_000, 1]})
    where = {
        "harvest": ("/harvest/v2", harvest_sandbox.ACCOUNT_ID, {"token": {"env": "HARVEST_TOKEN"}}),
        "clockify": ("/clockify/api/v1", clockify_sandbox.WORKSPACE_ID, {"api_key": {"env": "CLOCKIFY_KEY"}}),
    }[vendor]
    tracker = Connection.objects.create(
        code=f"{vendor}-gb", name=f"{vendor.capitalize()} GB", connector=vendor, entity=entity, base_url=base + where[0],
        realm=where[1], credentials=where[2], is_source=True, is_recipient=True,
        settings={"read_timeout": 0.5, **KINDS, **settings},
    )  # fmt: skip
    role = Role.objects.create(code="senior", name="Senior consultant")
    for code, key in people.items():
        person = Resource.objects.create(code=code, name=code.capitalize())
        Engagement.objects.create(resource=person, entity=entity, role=role, valid_from=BEGINNING)
        Crosswalk.objects.create(
            system=vendor,
            realm=tracker.realm,
            kind="resource",
            external_id=key,
            internal_id=person.pk,
            valid_from=BEGINNING,
        )
    return Office(base, vendor, entity, erp, tracker)


@pytest.fixture(params=["harvest", "clockify"])
def firm(request: pytest.FixtureRequest, sandbox: str, secrets: None, db: None) -> Office:
    return office(sandbox, request.param)


def test_a_project_of_the_erp_is_whole_in_the_tracker_with_the_erps_name_and_one_of_each(firm: Office) -> None:
    project = firm.project_comes()
    Assignment.objects.create(project=project, resource=Resource.objects.get(code="ada"), valid_from=BEGINNING)
    ApprovalStep.objects.create(project=project, approver=Resource.objects.get(code="pat"))
    firm.erp_says(MasterKind.PROJECT, "1501", "ACM-2213", "Acme roll-out, phase 1", "2", customer="201", status="open")
    firm.deliver()
    assert [client["name"] for client in firm.holds("clients")] == ["Acme Industrial"]
    assert [theirs["name"] for theirs in firm.holds("projects")] == ["Acme roll-out, phase 1"]
    assert [task["name"] for task in firm.holds("tasks")] == ["Design"]
    [theirs] = firm.holds("projects")
    if firm.vendor == "harvest":
        assert theirs["client"]["name"] == "Acme Industrial"
        assert (theirs["code"], theirs["bill_by"], theirs["is_fixed_fee"]) == ("ACM-2213", "People", False)
        people = {one["user"]["id"]: one["is_project_manager"] for one in firm.holds("user_assignments")}
        assert people == {11: False, 12: True}
    else:
        assert (theirs["note"], theirs["billable"]) == ("ACM-2213", True)
        assert {one["userId"] for one in theirs["memberships"]} == set(PEOPLE["clockify"].values())
    assert firm.states() == {"posted"}
    key = Crosswalk.objects.get(system=firm.vendor, kind="project")
    assert (key.external_id, key.internal_id) == (str(theirs["id"]), project.pk)
    assert key.history.count() == 1
    assert_all_hold()


def test_a_project_that_is_closed_in_the_erp_is_closed_in_the_tracker_and_not_made_where_it_never_was(
    firm: Office,
) -> None:
    firm.project_comes()
    firm.deliver()
    firm.erp_says(MasterKind.PROJECT, "1501", "ACM-2213", "Acme roll-out", "2", customer="201", status="closed")
    firm.erp_says(MasterKind.PROJECT, "1600", "OLD-1", "Long over", customer="201", status="closed")
    firm.deliver()
    [theirs] = firm.holds("projects")
    assert (theirs.get("is_active"), theirs.get("archived")) in ((False, None), (None, True))
    assert firm.states() == {"posted"}


@pytest.mark.parametrize("place", ["clients", "projects", "task"])
@pytest.mark.parametrize("kind", ["reset_after", "timeout_after", "reset_before"])
def test_a_connection_that_is_cut_leaves_nothing_twice(firm: Office, kind: str, place: str) -> None:
    path = {"clients": "/clients", "projects": "/projects", "task": "task"}[place]
    firm.fault(kind=kind, method="POST", path=path, seconds=1.2)
    firm.project_comes()
    firm.deliver(4)
    LedgerState.objects.filter(state="in_doubt").update(moved_at="2020-01-01T00:00:00Z")
    firm.deliver(14)
    assert [client["name"] for client in firm.holds("clients")] == ["Acme Industrial"]
    assert [theirs["name"] for theirs in firm.holds("projects")] == ["Acme roll-out"]
    assert [task["name"] for task in firm.holds("tasks")] == ["Design"]
    if firm.vendor == "harvest":
        assert len(firm.holds("task_assignments")) == 1
    assert firm.states() == {"posted"}
    assert_all_hold()


def test_a_client_of_the_same_name_is_a_case_for_people_and_no_second_client(firm: Office) -> None:
    seeded: dict[str, Any] = {"id": 21 if firm.vendor == "harvest" else "c" * 24, "name": "ACME industrial"}
    control(firm.base, "POST", f"{firm.vendor}/seed", {"clients": [seeded]})
    firm.project_comes()
    firm.deliver()
    assert len(firm.holds("clients")) == 1
    case = ExceptionCase.objects.get(state="open")
    assert case.rule == "twin-in-target"
    assert not firm.holds("projects")
    customer = Customer.objects.get()
    Crosswalk.objects.create(
        system=firm.vendor, realm=firm.tracker.realm, kind="customer", external_id=str(seeded["id"]), internal_id=customer.pk,
        valid_from=BEGINNING,
    )  # fmt: skip
    changes_watch.note("crosswalk", Crosswalk.objects.filter(kind="customer").values_list("pk", flat=True))
    work.revalidate()
    firm.deliver()
    assert [client["name"] for client in firm.holds("clients")] == ["Acme Industrial"]
    assert len(firm.holds("projects")) == 1
    assert not Hold.objects.filter(closed_at=None).exists()
    assert_all_hold()


def test_credentials_that_are_refused_are_one_case_and_everything_waits(
    firm: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARVEST_TOKEN", "wrong")
    monkeypatch.setenv("CLOCKIFY_KEY", "wrong")
    firm.project_comes()
    firm.deliver(3)
    assert firm.states() == {"ready"}
    assert ExceptionCase.objects.get(state="open").rule == "connection-unauthorised"
    assert set(LedgerState.objects.filter(waits_on="unauthorised").values_list("attempts", flat=True)) == {0}


def test_rates_and_contracts_are_published_to_the_tracker_that_subscribes_to_them(
    sandbox: str, secrets: None, db: None
) -> None:
    firm = office(sandbox, "harvest", subscribes=["contract", "rate"])
    project = firm.project_comes()
    contract = Contract.objects.create(
        code="ACM-2026", name="Acme", customer=project.customer, entity=firm.entity, currency="GBP",
        cap_amount=Decimal(25_000),
    )  # fmt: skip
    project.contract = contract
    project.save()
    card = RateCard.objects.create(code="ACM-2026", contract=contract, valid_from=BEGINNING)
    rate = Rate.objects.create(
        card=card, role=Role.objects.get(), currency="GBP", amount=Decimal("112.50"), valid_from=BEGINNING
    )
    Assignment.objects.create(project=project, resource=Resource.objects.get(code="ada"), valid_from=BEGINNING)
    firm.erp_says(MasterKind.PROJECT, "1501", "ACM-2213", "Acme", "2", customer="201", status="open")
    firm.deliver()
    [theirs] = firm.holds("projects")
    assert (theirs["budget_by"], theirs["cost_budget"]) == ("project_cost", 25000)
    [person] = firm.holds("user_assignments")
    assert (person["hourly_rate"], person["use_default_rates"]) == (112.5, False)
    rate.amount = Decimal(120)
    rate.save()
    changes_watch.note("rate_card", [card.pk])
    work.revalidate()
    firm.deliver()
    [person] = firm.holds("user_assignments")
    assert person["hourly_rate"] == 120
    assert Published.objects.get(kind="rate").document.current_version == 2
    assert firm.states() == {"posted"}
    assert_all_hold()


def the_tasks(firm: Office) -> list[str]:
    """The tasks on which time may be recorded; a task of Harvest belongs to its account, and a project leaves its former name."""
    if firm.vendor == "harvest":
        return [one["task"]["name"] for one in firm.holds("task_assignments") if one["is_active"]]
    return [one["name"] for one in firm.holds("tasks")]


def the_members(firm: Office) -> dict[str, Any]:
    """Who may record time on the project in the tracker, with the rate."""
    if firm.vendor == "harvest":
        return {
            str(one["user"]["id"]): one["hourly_rate"] for one in firm.holds("user_assignments") if one["is_active"]
        }
    [theirs] = firm.holds("projects")
    return {one["userId"]: (one.get("hourlyRate") or {}).get("amount", 0) / 100 for one in theirs["memberships"]}


@pytest.mark.parametrize("vendor", ["harvest", "clockify"])
def test_whatever_changes_of_a_project_is_changed_in_the_tracker_after_its_parents_and_nothing_is_made_anew(
    sandbox: str, secrets: None, db: None, vendor: str
) -> None:
    firm = office(sandbox, vendor, subscribes=["rate"])
    ada, pat = (PEOPLE[vendor][code] for code in ("ada", "pat"))
    project = firm.project_comes()
    card = RateCard.objects.create(code="ACM-2026", customer=project.customer, valid_from=BEGINNING)
    rate = Rate.objects.create(
        card=card, role=Role.objects.get(), currency="GBP", amount=Decimal(110), valid_from=BEGINNING
    )
    Assignment.objects.create(project=project, resource=Resource.objects.get(code="ada"), valid_from=BEGINNING)
    step = ApprovalStep.objects.create(project=project, approver=Resource.objects.get(code="pat"))
    changes_watch.note("project", [project.pk])
    work.revalidate()
    waiting = LedgerState.objects.filter(target=firm.tracker, waits_on__startswith="parent:")
    assert set(waiting.values_list("entry__document__published__kind", flat=True)) == {
        "project", "task", "assignment", "rate",
    }  # fmt: skip
    firm.deliver()
    assert not waiting.exists(), "each was released by the arrival of what it names"
    assert set(LedgerState.objects.filter(target=firm.tracker).values_list("attempts", flat=True)) == {1}
    assert firm.states() == {"posted"}
    assert {person: the_members(firm)[person] for person in (ada,)} == {ada: 110}
    assert set(the_members(firm)) == {ada, pat}

    firm.erp_says(MasterKind.CUSTOMER, "201", "ACM", "Acme Industries", "2", currency="GBP")
    firm.erp_says(MasterKind.TASK, "77", "DSG", "Design and build", "2", project="1501")
    step.delete()
    rate.amount = Decimal(125)
    rate.save()
    changes_watch.note("project", [project.pk])
    changes_watch.note("rate_card", [card.pk])
    work.revalidate()
    firm.deliver()
    assert [client["name"] for client in firm.holds("clients")] == ["Acme Industries"]
    assert the_tasks(firm) == ["Design and build"]
    assert the_members(firm) == {ada: 125}
    project.refresh_from_db()
    project.billing_model = "fixed_fee"
    project.save()
    changes_watch.note("project", [project.pk])
    work.revalidate()
    firm.deliver()
    [theirs] = firm.holds("projects")
    assert theirs["is_fixed_fee"] if vendor == "harvest" else not theirs["billable"]
    assert firm.states() == {"posted"}
    assert_all_hold()


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_make_one_of_each(sandbox: str, secrets: None) -> None:
    firm = office(sandbox, "harvest")
    control(sandbox, "POST", "harvest/configure", {"latency": 0.05})
    firm.project_comes()
    problems: list[BaseException] = []

    def worker() -> None:
        try:
            for _ in range(6):
                outbox.deliver(firm.tracker.pk)
        except BaseException as error:
            problems.append(error)
        finally:
            database.close()

    workers = [threading.Thread(target=worker) for _ in range(2)]
    for one in workers:
        one.start()
    for one in workers:
        one.join(60)
    assert not problems
    firm.deliver(4)
    assert [len(firm.holds(name)) for name in ("clients", "projects", "tasks", "task_assignments")] == [1, 1, 1, 1]
    assert firm.states() == {"posted"}
    assert Attempt.objects.filter(purpose="push", outcome="accepted").count() == 3
    assert_all_hold()
