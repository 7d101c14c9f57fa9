"""The numbers of a dry-run are the numbers that come: random changes of master data over a desk with work on it."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from portal.models import AccountingPeriod, GrantRole, ProjectStatus, User
from reconciliation import changes
from reconciliation.changes import ChangeRefused, Line, measuring
from reconciliation.models import ChangeSet
from tests import world
from tests.reconciliation import desk
from tests.reconciliation.firm import Firm, build, post

pytestmark = pytest.mark.django_db
FIRST = date(2026, 10, 1)

days = st.integers(0, 30).map(lambda number: (FIRST + timedelta(days=number)).isoformat())
amounts = st.decimals(0, 400, places=2).map(str)
hours = st.sampled_from(["3", "4.5", "6", "8", "24"])


def rate(firm: Firm, amount: str, last: str | None) -> Line:
    values = {"amount": amount, **({"valid_to": last} if last else {})}
    return Line("rate", firm.rate.pk, "change", values)


def person(firm: Firm, amount: str, first: str) -> Line:
    values = {
        "card": "ACME-2026",
        "card_version": "3",
        "resource": "ana",
        "currency": "USD",
        "amount": amount,
        "valid_from": first,
    }
    return Line("rate", None, "add", values)


def tolerance(firm: Firm, amount: str) -> Line:
    return Line("contract", firm.contract.pk, "change", {"rate_tolerance": amount})


def cap(firm: Firm, amount: str) -> Line:
    return Line("contract", firm.contract.pk, "change", {"cap_amount": amount})


def closing(firm: Firm, last: str) -> Line:
    status = ProjectStatus.objects.get(project=firm.project)
    return Line("project_status", status.pk, "end", {"valid_to": last})


def period(firm: Firm, state: str) -> Line:
    month = AccountingPeriod.objects.get(entity=firm.entity, code="2026-10")
    return Line("period", month.pk, "change", {"state": state})


def alias(firm: Firm, code: str, first: str) -> Line:
    values = {"kind": "project", "alias": desk.MISTYPED, "code": code, "valid_from": first}
    return Line("alias", None, "add", values)


def policy(firm: Firm, most: str, turned_off: bool) -> Line:
    off = ["rate-mismatch"] if turned_off else []
    return Line("route", firm.route.pk, "change", {"policy": {"hours_max": most, "rules_off": off}})


asked = st.one_of(
    st.tuples(st.just(rate), amounts, st.none() | days),
    st.tuples(st.just(person), amounts, days),
    st.tuples(st.just(tolerance), st.sampled_from(["0", "5", "10", "1000"])),
    st.tuples(st.just(cap), st.sampled_from(["0", "1000", "5000.5", "100000"])),
    st.tuples(st.just(closing), days),
    st.tuples(st.just(period), st.sampled_from(["closed", "closing", "future"])),
    st.tuples(st.just(alias), st.sampled_from(["ACM-2213", "ACM-1"]), days),
    st.tuples(st.just(policy), hours, st.booleans()),
)


@pytest.fixture
def furnished() -> tuple[Firm, User, User]:
    """Entries that are ready, held for three causes, and posted; and two people of all entities."""
    firm = build()
    desk.near(firm)
    desk.mistyped(firm, 4)
    desk.off_rate(firm, 3)
    post(desk.ready(firm, 6)[:2])
    zoe, yan = (world.user(name, GrantRole.CONTROLLER, everywhere=True) for name in ("zoe", "yan"))
    return firm, zoe, yan


def of_different_records(lines: list[Line]) -> list[Line]:
    """One line for a record."""
    found: dict[Any, Line] = {}
    for number, line in enumerate(lines):
        found.setdefault((line.model, line.key or number), line)
    return list(found.values())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(asked, min_size=1, max_size=4))
def test_the_numbers_of_the_dry_run_are_the_numbers_that_come(
    furnished: tuple[Firm, User, User], wanted: list[tuple[Any, ...]]
) -> None:
    firm, zoe, yan = furnished
    with measuring.rolled_back():
        lines = of_different_records([make(firm, *values) for make, *values in wanted])
        change_set = written(zoe, lines)
        assume(change_set is not None)  # what cannot stand is refused, and changes nothing
        assert change_set is not None
        changes.apply(changes.approve(change_set, yan, signed_in_again=True))
        assert change_set.state == "applied"
        assert change_set.done == change_set.total
        assert change_set.result == change_set.preview
        assert changes.due() == []


def written(by: User, lines: list[Line]) -> ChangeSet | None:
    try:
        change_set = changes.draft(by=by, title=f"As of {timezone.localdate()}", reason="at random", lines=lines)
        return changes.submit(change_set, by)
    except ChangeRefused:
        return None
