"""Dynamics 365 Finance keeps the contract, in batches of many lines and of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from portal.records import Posting
from tests.integrations import finance_account
from tests.integrations.contract import Bench, SourceContract, TargetContract


class TestDynamicsFinanceSource(SourceContract):
    streams = ("customers", "periods", "cost_centres", "projects", "tasks", "employees", "invoices", "payments")

    @pytest.fixture(autouse=True)
    def _bench(self, dynamicsfinance: Bench) -> None:
        self.bench = dynamicsfinance


class TestDynamicsFinanceTarget(TargetContract):
    changed: ClassVar[Mapping[str, Any] | None] = {
        "status": 400,
        "answer": {"error": {"code": "", "message": "An error has occurred.", "innererror": {
            "message": "Write failed for table row of type 'ProjHourJournalTransEntity'. Infolog: Error: An update conflict "
            "occurred due to another user process deleting the record or changing one or more fields in the record."}}},
    }  # fmt: skip

    @pytest.fixture(autouse=True)
    def _bench(self, dynamicsfinance: Bench) -> None:
        self.bench = dynamicsfinance

    def postings(self, count: int) -> list[Posting]:
        return finance_account.time_postings(count)

    def bad_posting(self) -> Posting:
        return finance_account.time_posting(project="000099")

    def booked(self, key: str) -> int:
        count: int = self.bench.control("dynamicsfinance/inspect")["by_key"].get(key, 0)
        return count

    def book(self) -> None:
        self.bench.control("dynamicsfinance/seed", {"actions": [{"do": "post"}]})


class TestDynamicsFinanceTargetOneByOne(TestDynamicsFinanceTarget):
    @pytest.fixture(autouse=True)
    def _bench(self, dynamicsfinance: Bench) -> None:
        account = dynamicsfinance.account
        self.bench = replace(dynamicsfinance, account=replace(account, settings={**account.settings, "batch_size": 1}))
