"""Admission: the one way onto the ledger."""

from __future__ import annotations

from decimal import Decimal

import pytest
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm, entry, rules_of, state

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    return firms.build()


def test_an_approved_hour_that_every_rule_passes_is_ready_with_its_figures(firm: Firm) -> None:
    admitted = firm.admit(firm.time())
    assert (len(admitted.ready), admitted.held) == (1, [])
    made = entry(admitted.ready[0])
    assert state(made.pk) == "ready"
    assert (made.project, made.resource, made.contract, made.role) == (firm.project, firm.ana, firm.contract, firm.role)
    assert (made.hours, made.rate, made.amount, made.currency) == (Decimal(8), Decimal(120), Decimal(960), "USD")
    assert (made.rate_used, made.rate_version) == (firm.rate, "ACME-2026 v3")
    assert made.target_keys == {"project": f"P{firm.project.pk}", "resource": f"R{firm.ana.pk}"}
    assert rules_of(made.pk) == set()
