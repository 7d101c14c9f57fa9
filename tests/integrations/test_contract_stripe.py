"""Stripe keeps the contracts: as a source of bills and payments, as who is told customers, and as who takes invoice drafts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from integrations.connectors.stripe import StripeConnector
from integrations.sandbox.server import control
from portal.records import PublishedKind
from tests.integrations import stripe_account
from tests.integrations.biller_contract import BillerContract
from tests.integrations.contract import Bench, SourceContract
from tests.integrations.recipient_contract import RecipientContract
from tests.integrations.stripe_account import Office


@pytest.fixture
def office(sandbox: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    monkeypatch.setattr(StripeConnector, "rate", None)
    yield stripe_account.fresh(sandbox)
    control(sandbox, "DELETE", "faults")


def writing(office: Office, path: str, body: str = "") -> Bench:
    return Bench(
        connector=StripeConnector, account=stripe_account.account(office.base), sandbox=office.base, vendor="stripe",
        write={"method": "POST", "path": path, "body": body},
    )  # fmt: skip


class TestStripeSource(SourceContract):
    streams = ("invoices", "credit_notes", "payments")
    small = {"page_size": 3}

    @pytest.fixture(autouse=True)
    def _bench(self, sandbox: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
        monkeypatch.setattr(StripeConnector, "rate", None)
        is_skewed = "skew" in request.fixturenames  # a clock that is off by minutes was so when people worked
        self.bench = stripe_account.bench(sandbox, 1200 if is_skewed else 120)
        yield
        control(sandbox, "DELETE", "faults")


class TestStripeRecipient(RecipientContract):
    person = "nobody"

    @pytest.fixture(autouse=True)
    def _bench(self, office: Office) -> None:
        self.office = office
        self.bench = writing(office, "/v1/customers")

    def count(self, kind: PublishedKind) -> int:
        assert kind is PublishedKind.CUSTOMER
        return sum(1 for customer in self.office.inspect()["customers"] if customer["metadata"])


class TestStripeBiller(BillerContract):
    """Faults strike the last of the many calls that make a draft; those before it have tests of their own."""

    names = {"entity": "1", "customer": "cus_acme", "project": "ACM-1", "currency": "USD"}
    unknown_customer = "cus_nobody"

    @pytest.fixture(autouse=True)
    def _bench(self, office: Office) -> None:
        self.office = office
        self.bench = writing(office, "/v1/invoices/in_", "tieout_lines")

    def count(self) -> int:
        return sum("tieout_lines" in one["metadata"] for one in self.office.inspect()["invoices"].values())
