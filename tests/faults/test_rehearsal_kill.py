"""A worker is killed in the middle of a rehearsal: nothing half is left, the next one begins anew, and the end is the same."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from portal.models import AccountingPeriod, LedgerEntry
from reconciliation import onboarding
from reconciliation.models import Rehearsal, RehearsedLine
from reconciliation.onboarding import bookings, rehearsing
from tests.faults.workers import Nursery
from tests.reconciliation.newcomer import MONTH, bring_in, weekdays

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.case(60)]


@pytest.fixture(scope="session")
def nursery(django_db_setup: None) -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.close()


@pytest.mark.parametrize("point", ["while-judging", "while-writing"])
def test_a_killed_rehearsal_leaves_nothing_and_is_begun_anew(nursery: Nursery, point: str) -> None:
    newcomer = bring_in()
    newcomer.take(*weekdays(MONTH, 3))
    rows = [f"B{n},{day},ana,ACM-1,{8 - n},960,USD" for n, day in enumerate(weekdays(MONTH, 2))]
    booked = bookings.read("b.csv", "\n".join(["number,date,person,project,hours,amount,currency", *rows]).encode())
    period = AccountingPeriod.objects.get(entity=newcomer.firm.entity, code="2026-10")
    asked = onboarding.request(newcomer.onboarding, period, by=newcomer.cleo, bookings=booked)
    assert nursery.work_all([("rehearsal", asked.pk, point)]) == [signal.SIGKILL]
    asked.refresh_from_db()
    assert (asked.state, asked.deaths) == ("running", 0)
    assert not RehearsedLine.objects.exists()
    assert rehearsing.due() == []  # while the lease of the dead holds
    Rehearsal.objects.filter(pk=asked.pk).update(lease_until="2020-01-01T00:00:00Z")
    assert rehearsing.due() == [asked.pk]
    assert nursery.work_all([("rehearsal", asked.pk, ""), ("rehearsal", asked.pk, "")]) == [0, 0]
    asked.refresh_from_db()
    assert (asked.state, asked.deaths) == ("differs", 1)
    found = sorted(RehearsedLine.objects.values_list("outcome", flat=True))
    assert found == ["agrees", "hours", "missing"]
    assert not LedgerEntry.objects.exists()
