"""Business Central keeps the contract, in journals of many lines and of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from portal.records import Posting
from tests.integrations import bc_account
from tests.integrations.contract import Bench, SourceContract, TargetContract


class TestBusinessCentralSource(SourceContract):
    streams = (
        "customers", "periods", "cost_centres", "projects", "tasks", "employees", "sales_invoices", "sales_credit_memos",
        "payments",
    )  # fmt: skip

    @pytest.fixture(autouse=True)
    def _bench(self, businesscentral: Bench) -> None:
        self.bench = businesscentral


class TestBusinessCentralTarget(TargetContract):
    changed: ClassVar[Mapping[str, Any] | None] = {
        "status": 409,
        "answer": {
            "error": {"code": "Request_EntityChanged", "message": "Another user has already changed the record."}
        },
    }

    @pytest.fixture(autouse=True)
    def _bench(self, businesscentral: Bench) -> None:
        self.bench = businesscentral

    def postings(self, count: int) -> list[Posting]:
        return bc_account.time_postings(count)

    def bad_posting(self) -> Posting:
        return bc_account.time_posting(project="J99")

    def booked(self, key: str) -> int:
        count: int = self.bench.control("businesscentral/inspect")["entries_by_key"].get(key, 0)
        return count


class TestBusinessCentralTimeSheets(TestBusinessCentralTarget):
    """The same promises where time goes into time sheets, whose entries bear no key: they are counted by what they say."""

    @pytest.fixture(autouse=True)
    def _bench(self, businesscentral: Bench) -> None:
        self.bench = bc_account.mirror_bench(businesscentral)
        self.made: dict[str, Posting] = {}

    def postings(self, count: int) -> list[Posting]:
        made = bc_account.time_postings(count)
        self.made |= {posting.key: posting for posting in made}
        return made

    def booked(self, key: str) -> int:
        return bc_account.mirrored(self.bench, self.made[key]) if key in self.made else 0


class TestBusinessCentralTargetOneByOne(TestBusinessCentralTarget):
    every_call = False

    @pytest.fixture(autouse=True)
    def _bench(self, businesscentral: Bench) -> None:
        account = businesscentral.account
        self.bench = replace(businesscentral, account=replace(account, settings={**account.settings, "batch_size": 1}))
