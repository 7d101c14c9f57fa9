"""Where two tools report the same work, one tool's rejection stands against the other's approval until somebody's word counts."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from portal import canonical
from portal.models import Connection, Document, TimeEntry
from portal.records import SourceStatus
from reconciliation import validation
from tests import world
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm, case, hold, rules_of, state

pytestmark = [pytest.mark.django_db, pytest.mark.case(54)]

REJECTED = SourceStatus.REJECTED


@pytest.fixture
def firm() -> Firm:
    return firms.build()


@pytest.fixture
def tempo(firm: Firm) -> Connection:
    return world.connection("tempo-us", "tempo", firm.entity, is_source=True)


def test_a_rejected_entry_is_kept_although_nothing_is_owed_for_it(firm: Firm, tempo: Connection) -> None:
    admitted = firm.admit(firm.time("t1", status=REJECTED), source=tempo)
    assert (admitted.ready, admitted.held, len(admitted.unapproved)) == ([], [], 1)
    assert TimeEntry.objects.get().status == "rejected"
    draft = canonical.take_in(tempo, [(1, firm.time("t2", status=SourceStatus.DRAFT))])
    assert draft.ignored == [1]


def test_what_one_tool_approves_and_another_rejects_is_held_while_nobodys_word_counts(
    firm: Firm, tempo: Connection
) -> None:
    firm.admit(firm.time("t1", status=REJECTED), source=tempo)
    [held] = firm.admit(firm.time("1")).held
    assert rules_of(held) == {"approval-conflict"}
    said = hold(held, "approval-conflict").sentence
    assert "Harvest-Us approved 8.00 hours of Ana Consultant on 2026-10-01, Tempo-Us rejected them as entry t1" in said
    assert "no source is set as the one whose word counts for project ACM-1" in said
    assert case("approval-conflict").open_holds == 1


def test_the_authoritative_sources_approval_goes_and_its_rejection_holds(firm: Firm, tempo: Connection) -> None:
    firm.policy(authoritative_sources={"ACM-1": "harvest-us"})
    firm.admit(firm.time("t1", status=REJECTED), source=tempo)
    assert firm.admit(firm.time("1")).ready
    firm.policy(authoritative_sources={"*": "tempo-us"})
    other = date(2026, 10, 2)
    firm.admit(firm.time("t2", status=REJECTED, work_date=other), source=tempo)
    [held] = firm.admit(firm.time("2", work_date=other)).held
    assert "Tempo-Us's word counts for project ACM-1" in hold(held, "approval-conflict").sentence


@pytest.mark.parametrize(
    ("changes", "is_same"),
    [
        ({"hours": Decimal(3)}, False),
        ({"description": "something else"}, False),
        ({"work_date": date(2026, 10, 2)}, False),
        ({"description": " workshop  "}, True),
        ({"hours": Decimal(3), "description": "x", "provenance": "jira:1/1"}, True),
    ],
)
def test_only_the_same_work_is_a_conflict(
    changes: dict[str, Any], is_same: bool, firm: Firm, tempo: Connection
) -> None:
    firm.admit(firm.time("t1", status=REJECTED, **changes), source=tempo)
    admitted = firm.admit(firm.time("1", provenance=changes.get("provenance", "")))
    assert bool(admitted.held) is is_same


def test_a_tools_own_rejection_of_another_entry_is_no_conflict(firm: Firm) -> None:
    firm.admit(firm.time("1", status=REJECTED))
    assert firm.admit(firm.time("2")).ready


def test_a_rejection_that_comes_later_stops_at_the_door_what_has_not_gone(firm: Firm, tempo: Connection) -> None:
    [ready] = firm.admit(firm.time("1")).ready
    assert validation.stands([ready]) == {ready}
    firm.admit(firm.time("t1", status=REJECTED), source=tempo)
    assert validation.stands([ready]) == set()
    validation.recheck([ready], actor="outbox", reason="checked again before it was sent")
    assert rules_of(ready) == {"approval-conflict"}


def test_an_approval_taken_back_elsewhere_is_a_conflict_too(firm: Firm, tempo: Connection) -> None:
    firm.admit(firm.time("t1", status=SourceStatus.WITHDRAWN), source=tempo)
    [held] = firm.admit(firm.time("1")).held
    assert "took back the approval of them" in hold(held, "approval-conflict").sentence


@pytest.mark.parametrize("now", [SourceStatus.DELETED, SourceStatus.SUBMITTED])
def test_when_the_other_tool_takes_its_rejection_back_the_entry_goes_by_itself(
    now: SourceStatus, firm: Firm, tempo: Connection
) -> None:
    firm.admit(firm.time("t1", status=REJECTED), source=tempo)
    [held] = firm.admit(firm.time("1")).held
    admitted = firm.admit(firm.time("t1", status=now), source=tempo)
    assert admitted.ready == [held]
    assert (state(held), case("approval-conflict").state) == ("ready", "resolved")


def test_an_entry_that_was_approved_and_is_rejected_afterwards_is_not_owed_any_more(firm: Firm) -> None:
    [ready] = firm.admit(firm.time("1")).ready
    firm.admit(firm.time("1", status=REJECTED))
    assert state(ready) == "cancelled"
    assert Document.objects.get().current_version == 2
