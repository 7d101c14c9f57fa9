"""Project Operations keeps the contract, in batches of many lines and of one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from portal.records import Posting
from tests.integrations import operations_account
from tests.integrations.contract import Bench, SourceContract, TargetContract


class TestProjectOperationsSource(SourceContract):
    streams = ("customers", "projects", "tasks", "employees", "invoices")

    @pytest.fixture(autouse=True)
    def _bench(self, projectoperations: Bench) -> None:
        self.bench = projectoperations


class TestProjectOperationsTarget(TargetContract):
    changed = None

    @pytest.fixture(autouse=True)
    def _bench(self, projectoperations: Bench) -> None:
        self.bench = projectoperations

    def postings(self, count: int) -> list[Posting]:
        return operations_account.time_postings(count)

    def bad_posting(self) -> Posting:
        return operations_account.time_posting(project=operations_account.guid(99))

    def booked(self, key: str) -> int:
        count: int = self.bench.control("projectoperations/inspect")["by_key"].get(key, 0)
        return count

    def book(self) -> None:
        self.bench.control("projectoperations/seed", {"actions": [{"do": "approve"}, {"do": "make_actuals"}]})


class TestProjectOperationsTargetOneByOne(TestProjectOperationsTarget):
    @pytest.fixture(autouse=True)
    def _bench(self, projectoperations: Bench) -> None:
        account = projectoperations.account
        self.bench = replace(
            projectoperations, account=replace(account, settings={**account.settings, "batch_size": 1})
        )
