"""Stripe keeps the contract as a source of bills and payments."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from integrations.connectors.stripe import StripeConnector
from integrations.sandbox.server import control
from tests.integrations import stripe_account
from tests.integrations.contract import SourceContract


class TestStripeSource(SourceContract):
    streams = ("invoices", "credit_notes", "payments")

    @pytest.fixture(autouse=True)
    def _bench(self, sandbox: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr(StripeConnector, "rate", None)
        self.bench = stripe_account.bench(sandbox)
        yield
        control(sandbox, "DELETE", "faults")
