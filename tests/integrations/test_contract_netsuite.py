"""NetSuite keeps the contract, signed in to by certificate and by tokens, one by one and in batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from portal.records import Posting
from tests.integrations import netsuite_account
from tests.integrations.contract import Bench, SourceContract, TargetContract


class TestNetSuiteSource(SourceContract):
    streams = (
        "customers",
        "projects",
        "employees",
        "subsidiaries",
        "departments",
        "periods",
        "tasks",
        "invoices",
        "credit-memos",
        "payments",
        "deleted",
    )
    of_the_gone = frozenset({"deleted"})

    @pytest.fixture(autouse=True)
    def _bench(self, netsuite: Bench) -> None:
        self.bench = netsuite


class TestNetSuiteTarget(TargetContract):
    changed: ClassVar[Mapping[str, Any] | None] = {
        "status": 400,
        "answer": {"title": "Bad Request", "status": 400, "o:errorDetails": [
            {"detail": "Record has been changed", "o:errorCode": "RCRD_HAS_BEEN_CHANGED"}]},
    }  # fmt: skip

    @pytest.fixture(autouse=True)
    def _bench(self, netsuite: Bench) -> None:
        self.bench = netsuite

    def postings(self, count: int) -> list[Posting]:
        return netsuite_account.time_postings(count)

    def bad_posting(self) -> Posting:
        return netsuite_account.time_posting(project="1515")

    def booked(self, key: str) -> int:
        seen = self.bench.control("netsuite/inspect")["records_by_external_id"]
        return sum(counts.get(key, 0) for counts in seen.values())


class TestNetSuiteTargetByToken(TestNetSuiteTarget):
    every_call = False

    @pytest.fixture(autouse=True)
    def _bench(self, netsuite: Bench) -> None:
        self.bench = replace(netsuite, account=netsuite_account.token_account(netsuite.sandbox))
