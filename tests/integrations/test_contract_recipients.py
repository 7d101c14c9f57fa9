"""Harvest and Clockify as systems that are told master data, over real HTTP: the contract, and what each cannot take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from integrations.connectors.clockify.connector import ClockifyConnector
from integrations.connectors.harvest.connector import HarvestConnector
from integrations.errors import Rejected
from integrations.protocol import Account
from integrations.sandbox import clockify as clockify_sandbox
from integrations.sandbox import harvest as harvest_sandbox
from integrations.sandbox.server import control, sandbox_server
from portal.records import PublishedKind
from tests.integrations.contract import Bench
from tests.integrations.recipient_contract import DemandingContract

Kind = PublishedKind
HARVEST_PARTS = {
    Kind.CUSTOMER: "clients", Kind.PROJECT: "projects", Kind.TASK: "task_assignments", Kind.ASSIGNMENT: "user_assignments",
    Kind.CONTRACT: "projects", Kind.RATE: "user_assignments",
}  # fmt: skip


@pytest.fixture(scope="module")
def sandbox() -> Iterator[str]:
    with sandbox_server(names=["harvest", "clockify"]) as base:
        yield base


def harvest_account(base: str) -> Account:
    return Account(
        code="harvest-gb", base_url=f"{base}/harvest/v2", realm=harvest_sandbox.ACCOUNT_ID,
        secrets={"token": harvest_sandbox.TOKEN},
    )  # fmt: skip


def clockify_account(base: str) -> Account:
    return Account(
        code="clockify-gb", base_url=f"{base}/clockify/api/v1", realm=clockify_sandbox.WORKSPACE_ID,
        secrets={"api_key": clockify_sandbox.API_KEY},
    )  # fmt: skip


class TestHarvest(DemandingContract):
    person = "11"

    @pytest.fixture(autouse=True)
    def _bench(self, sandbox: str) -> Iterator[None]:
        control(sandbox, "POST", "reset")
        control(sandbox, "DELETE", "faults")
        control(sandbox, "POST", "harvest/seed", {"users": [{"id": 11, "name": "Ada Ito"}]})
        control(sandbox, "POST", "harvest/configure", {"rate": [100_000, 15]})
        self.bench = Bench(
            connector=HarvestConnector, account=harvest_account(sandbox), sandbox=sandbox, vendor="harvest",
            write={"method": "POST", "path": "/v2/clients"},
        )  # fmt: skip
        yield
        control(sandbox, "DELETE", "faults")

    def records(self, name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = control(self.bench.sandbox, "GET", "harvest/inspect")[name]
        return found

    def count(self, kind: Kind) -> int:
        return len(self.records(HARVEST_PARTS[kind]))

    def test_a_task_of_the_account_is_used_and_a_new_name_puts_another_one_on_the_project(self) -> None:
        control(self.bench.sandbox, "POST", "harvest/seed", {"tasks": [{"id": 41, "name": "design"}]})
        names = self.family()
        number = self.recipient().publish(self.told(Kind.TASK, names))
        assert number == f"{names['project']}/41"
        number = self.recipient().publish(self.told(Kind.TASK, names, number, name="Analysis"))
        assert [task["name"] for task in self.records("tasks")] == ["design", "Analysis"]
        standing = {one["task"]["name"]: one["is_active"] for one in self.records("task_assignments")}
        assert standing == {"design": False, "Analysis": True}
        assert number != f"{names['project']}/41"

    def test_a_rate_of_somebody_who_is_not_on_the_project_is_refused_before_anything_is_sent(self) -> None:
        names = self.family()
        with pytest.raises(Rejected, match="not on the project"):
            self.recipient().publish(self.told(Kind.RATE, names))

    def test_a_project_of_the_same_code_is_a_twin_whatever_its_name_and_client(self) -> None:
        names = self.family()
        other = self.recipient().publish(self.told(Kind.CUSTOMER, names, name="Bluewater"))
        told = self.told(Kind.PROJECT, {**names, "customer": other}, name="Something else")
        with pytest.raises(Rejected) as refused:
            self.recipient().publish(told)
        assert refused.value.code == "twin"
        assert "ACM-1" in str(refused.value)


class TestClockify(DemandingContract):
    person = "5ab0000000000000000000a1"

    @pytest.fixture(autouse=True)
    def _bench(self, sandbox: str) -> Iterator[None]:
        control(sandbox, "POST", "reset")
        control(sandbox, "DELETE", "faults")
        control(sandbox, "POST", "clockify/seed", {"users": [{"id": self.person, "name": "Ada Ito"}]})
        control(sandbox, "POST", "clockify/configure", {"rate": [100_000, 1]})
        self.bench = Bench(
            connector=ClockifyConnector, account=clockify_account(sandbox), sandbox=sandbox, vendor="clockify",
            write={"method": "POST", "path": "/clients"},
        )  # fmt: skip
        yield
        control(sandbox, "DELETE", "faults")

    def count(self, kind: Kind) -> int:
        state = control(self.bench.sandbox, "GET", "clockify/inspect")
        if kind in (Kind.ASSIGNMENT, Kind.RATE):
            return sum(len(project.get("memberships") or ()) for project in state["projects"])
        return len(state[{Kind.CUSTOMER: "clients", Kind.PROJECT: "projects", Kind.TASK: "tasks"}[kind]])

    def test_it_takes_no_contract_and_says_why_it_takes_no_approver(self) -> None:
        publishes = self.recipient().publishes
        assert Kind.CONTRACT not in publishes
        assert "manager on the project's page" in publishes[Kind.ASSIGNMENT].refuses["is_approver"]

    def test_a_person_who_leaves_a_project_is_taken_off_it(self) -> None:
        names = self.family()
        number = self.recipient().publish(self.told(Kind.ASSIGNMENT, names))
        gone = self.told(Kind.ASSIGNMENT, names, number, is_active=False)
        self.recipient().publish(gone)
        held = self.held(gone)
        assert held is not None
        assert held.figures == {"is_active": False}

    def test_a_rate_with_more_decimals_than_hundredths_is_refused_and_not_rounded(self) -> None:
        names = self.family()
        self.recipient().publish(self.told(Kind.ASSIGNMENT, names))
        with pytest.raises(Rejected) as refused:
            self.recipient().publish(self.told(Kind.RATE, names, amount="112.505"))
        assert refused.value.code == "amount-invalid"
