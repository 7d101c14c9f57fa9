"""Tryton keeps the contract: a real server, and a wire to it that breaks where the contract says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from portal.records import Posting
from tests.integrations import tryton_account
from tests.integrations.contract import Bench, SourceContract, TargetContract
from tests.tryton.server import Tryton

pytestmark = pytest.mark.timeout(900)  # the first of a machine installs the server


class TestTrytonSource(SourceContract):
    streams = ("customers", "companies", "periods", "projects", "tasks", "employees", "invoices", "payments")
    small = {"page_size": 5}

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """The wire answers again what the server said once, so that every fault can be met without asking it each time."""
        self.bench.control("tryton/configure", {"remembers": True})
        yield
        self.bench.control("tryton/configure", {"remembers": False})

    @pytest.fixture(autouse=True)
    def _bench(self, tryton: Bench, tryton_server: Tryton, billed: None) -> None:
        tryton_account.long_ago(tryton_server)
        self.bench = tryton


class TestTrytonTarget(TargetContract):
    changed: ClassVar[Mapping[str, Any] | None] = {
        "status": 200, "answer": {"error": ["ConcurrencyException", "Records were modified in the meanwhile"]}
    }  # fmt: skip

    forgets: ClassVar[Mapping[str, Any]] = {
        "kind": "says", "status": 200, "answer": {"id": 1, "result": [999999]}, "commits": False
    }  # fmt: skip

    @pytest.fixture(autouse=True)
    def _bench(self, tryton: Bench, tryton_server: Tryton) -> None:
        self.bench = tryton
        self.server = tryton_server

    def postings(self, count: int) -> list[Posting]:
        return tryton_account.postings(self.server, count)

    def bad_posting(self) -> Posting:
        return tryton_account.posting(self.server, task=str(self.server.ids["tasks"]["locked"]))

    def booked(self, key: str) -> int:
        count: int = self.bench.control("tryton/inspect")["lines_by_key"].get(key, 0)
        return count


class TestTrytonTargetOneByOne(TestTrytonTarget):
    @pytest.fixture(autouse=True)
    def _bench(self, tryton: Bench, tryton_server: Tryton) -> None:
        account = tryton.account
        self.bench = replace(tryton, account=replace(account, settings={**account.settings, "batch_size": 1}))
        self.server = tryton_server
