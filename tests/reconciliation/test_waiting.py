"""Causes that hold nothing, a missing route or refused credentials: what waits because of them, with its money, in the queue."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from portal.models import GrantRole
from portal.records import Reference
from reconciliation import cases, validation, waiting
from reconciliation.invariants import INVARIANTS
from reconciliation.models import ExceptionCase
from reconciliation.sql import cases as cases_sql
from tests import world
from tests.reconciliation.firm import DAY, Firm, build

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    return build()


def in_order(client: Client) -> list[int]:
    """The causes of the queue as they stand there, the most cash at risk first."""
    page = client.get("/exceptions/").content.decode()
    return [int(pk) for pk in dict.fromkeys(re.findall(r'href="/exceptions/(\d+)/"', page))]


def test_documents_without_a_route_stand_in_the_queue_with_their_money_and_are_listed(
    firm: Firm, client: Client
) -> None:
    small = firm.admit(firm.time("9", project=Reference("", "NO-SUCH"), hours=Decimal(1), rate=Decimal(10))).held
    firm.route.valid_to = DAY - timedelta(days=1)
    firm.route.save()
    firm.admit(firm.time("1", rate=Decimal(120), currency="USD"))
    firm.admit(firm.time("2", rate=Decimal(120), currency="USD", work_date=DAY + timedelta(days=2), hours=Decimal(2)))
    firm.admit(firm.time("3", rate=None, work_date=DAY + timedelta(days=1)))
    case = ExceptionCase.objects.get(rule="no-route")
    assert (case.open_holds, case.waiting, case.entries, case.open_hours) == (0, 3, 3, Decimal(18))
    assert (
        case.sentence
        == f"Time entries of {firm.source.name} have no target from 1 Oct 2026 to 3 Oct 2026; add a route."
    )
    assert (case.held_currency, case.held_amount) == ("USD", Decimal(1200))
    assert case.cash_at_risk > 0
    client.force_login(world.user("fay", GrantRole.ANALYST, firm.entity))
    other = ExceptionCase.objects.exclude(pk=case.pk).get(holds__entry=small[0])
    assert in_order(client) == [case.pk, other.pk]
    page = client.get(f"/exceptions/{case.pk}/").content.decode()
    assert "What waits because of it" in page
    places = [page.index(f'<span class="mono">{one}</span>') for one in (1, 3, 2)]
    assert places == sorted(places)  # the oldest work first
    assert "240.00" in page
    firm.route.valid_to = None
    firm.route.save()
    validation.admit_unrouted(firm.source.pk, actor="test")
    case.refresh_from_db()
    assert (case.state, case.waiting) == ("resolved", 0)


def test_entries_before_a_target_that_refuses_us_are_counted_once_with_what_they_are_worth(
    firm: Firm, client: Client
) -> None:
    ready = firm.admit(firm.time("1"), firm.time("2", hours=Decimal(2))).ready
    case_id = cases.raise_case(
        "connection-unauthorised", firm.entity.pk, "connection", firm.target.code, "ERP refuses our credentials.",
        connection_id=firm.target.pk,
    )  # fmt: skip
    case = ExceptionCase.objects.get(pk=case_id)
    assert (case.entries, case.open_holds) == (len(ready), 0)
    assert case.held_amount == 10 * firm.rate.amount
    with CaptureQueriesContext(connection) as queries:
        assert waiting.count() == 0  # nothing moved: one statement, and nothing is written
    assert len(queries) == 1
    firm.admit(firm.time("3", hours=Decimal(1)))
    assert waiting.count() == 1
    case.refresh_from_db()
    assert (case.entries, case.held_amount) == (3, 11 * firm.rate.amount)
    client.force_login(world.user("fay", GrantRole.ANALYST, firm.entity))
    assert in_order(client) == [case.pk]
    cases.resolve("connection-unauthorised", "connection", firm.target.code, reason="the credentials hold again")
    case.refresh_from_db()
    assert (case.state, case.entries) == ("resolved", 0)


def test_what_a_cause_holds_and_what_waits_for_it_are_counted_together_and_it_ends_with_both(firm: Firm) -> None:
    first = firm.admit(firm.time("1")).ready
    firm.route.valid_to = DAY - timedelta(days=1)
    firm.route.save()
    validation.recheck(first, actor="test", reason="the route ended")
    firm.admit(firm.time("2", hours=Decimal(2)))
    waiting.count()
    case = ExceptionCase.objects.get(rule="no-route")
    assert (case.open_holds, case.waiting, case.open_hours) == (1, 1, Decimal(10))
    cases.close_holds(first)
    case.refresh_from_db()
    assert case.state == "open"  # what waits still does
    assert cases_sql.open_holds_of(first) == []
    for invariant in INVARIANTS:
        if invariant.code == "C1":
            assert invariant.check() == []
