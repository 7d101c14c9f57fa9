"""Reversals: what is booked is taken back in an open period, once, and put back at most once."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from portal import audit
from portal.models import AccountingPeriod, AuditEvent, LedgerEntry, State, User
from portal.records import SourceStatus
from reconciliation import corrections, validation
from tests import world
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm, entry, rules_of, state

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    return firms.build()


@pytest.fixture
def ana() -> User:
    return world.user(everywhere=True)


def _posted(firm: Firm, external_id: str = "1") -> int:
    ready = firm.admit(firm.time(external_id)).ready
    firms.post(ready)
    return ready[0]


def test_a_reversal_is_a_ready_entry_with_the_figures_negated(firm: Firm, ana: User) -> None:
    posted = _posted(firm)
    made = entry(corrections.reverse([posted], by=ana, reason="wrong").reversals[posted])
    original = entry(posted)
    assert (made.hours, made.amount, made.rate) == (Decimal(-8), Decimal(-960), original.rate)
    assert (made.project, made.post_on, made.target_keys) == (original.project, original.post_on, original.target_keys)
    assert (state(made.pk), state(posted)) == ("ready", "posted")
    assert AuditEvent.objects.get(action="reverse").reason == "wrong"
    assert audit.verify() == []


def test_a_reversal_goes_into_the_next_open_period_when_its_own_is_closed(firm: Firm, ana: User) -> None:
    posted = _posted(firm)
    AccountingPeriod.objects.filter(code__in=["2026-10", "2026-11"]).update(state="closed")
    made = entry(corrections.reverse([posted], by=ana, reason="wrong").reversals[posted])
    assert (made.work_date, made.post_on) == (date(2026, 10, 1), date(2026, 12, 1))
    assert validation.stands([made.pk]) == {made.pk}
    AccountingPeriod.objects.filter(code="2026-12").update(state="closed")
    assert validation.stands([made.pk]) == set()


def test_without_an_open_period_nothing_is_taken_back(firm: Firm, ana: User) -> None:
    posted = _posted(firm)
    AccountingPeriod.objects.update(state="closed")
    with pytest.raises(corrections.NoOpenPeriod, match="open one"):
        corrections.reverse([posted], by=ana, reason="wrong")
    assert LedgerEntry.objects.count() == 1


def test_what_is_not_receipted_or_taken_back_already_is_not_reversed(firm: Firm, ana: User) -> None:
    ready = firm.admit(firm.time("1")).ready[0]
    with pytest.raises(corrections.NotReversible, match="nothing is receipted"):
        corrections.reverse([ready], by=ana, reason="wrong")
    firms.post([ready], until=State.IN_DOUBT)
    with pytest.raises(corrections.NotReversible, match="wait until its outcome is known"):
        corrections.reverse([ready], by=ana, reason="wrong")
    posted = _posted(firm, "2")
    corrections.reverse([posted], by=ana, reason="wrong")
    with pytest.raises(corrections.NotReversible, match="already"):
        corrections.reverse([posted], by=ana, reason="again")


def test_a_reversal_that_was_called_back_leaves_the_original_and_holds_the_successor(firm: Firm, ana: User) -> None:
    posted = _posted(firm)
    held = firm.admit(firm.time("1", billable=False)).held[0]
    reversal = corrections.reverse([posted], by=ana, reason="wrong").reversals[posted]
    assert state(held) == "ready"
    assert corrections.withdraw_reversal([reversal], by=ana, reason="was right") == [reversal]
    assert (state(posted), state(held), rules_of(held)) == ("posted", "held", {"changed-after-posting"})
    again = corrections.reverse([posted], by=ana, reason="wrong after all").reversals[posted]
    assert (entry(again).generation, entry(reversal).generation) == (1, 0)


@pytest.mark.case(108)
def test_a_reversed_entry_is_put_back_once_and_the_net_is_the_original(firm: Firm, ana: User) -> None:
    posted = _posted(firm)
    reversal = corrections.reverse([posted], by=ana, reason="by mistake").reversals[posted]
    firms.post([reversal])
    corrections.settle([reversal])
    with pytest.raises(corrections.NotReversible, match="put the reversed entry"):
        corrections.reverse([reversal], by=ana, reason="it was right")
    again = corrections.put_back([posted], by=ana, reason="it was right")[posted]
    assert (entry(again).hours, entry(again).generation) == (Decimal(8), 1)
    assert f"puts-back:{posted}" in entry(again).tags
    assert sum(LedgerEntry.objects.values_list("amount", flat=True)) == 960  # type: ignore[arg-type]
    firms.post([again])
    second = corrections.reverse([again], by=ana, reason="no").reversals[again]
    firms.post([second])
    corrections.settle([second])
    with pytest.raises(corrections.NotReversible, match="put back once"):
        corrections.put_back([again], by=ana, reason="yes")


def test_an_entry_of_an_outdated_version_is_not_put_back(firm: Firm, ana: User) -> None:
    posted = _posted(firm)
    firm.admit(firm.time("1", status=SourceStatus.WITHDRAWN))
    reversal = corrections.reverse([posted], by=ana, reason="withdrawn").reversals[posted]
    firms.post([reversal])
    corrections.settle([reversal])
    with pytest.raises(corrections.NotReversible, match="only the current approved version"):
        corrections.put_back([posted], by=ana, reason="please")
