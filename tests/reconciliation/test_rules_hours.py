"""Rules about hours: their number, a day's worth, overlaps, the same work twice, and texts for the target."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from portal import changes_watch
from portal.models import Connection
from portal.records import Reference, SourceStatus
from reconciliation import validation
from reconciliation.models import ExceptionCase, Route
from tests import world
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm, case, entry, hold, rules_of, state

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    return firms.build()


@pytest.fixture
def jira(firm: Firm) -> Connection:
    """A second tool of the same people."""
    other = world.connection("tempo-us", "tempo", firm.entity, is_source=True)
    Route.objects.create(entity=firm.entity, source=other, target=firm.target, kind="time", valid_from=firms.SINCE)
    return other


@pytest.mark.case(9)
@pytest.mark.parametrize("hours", ["0", "-2", "24.25"])
def test_hours_that_cannot_be_are_held(firm: Firm, hours: str) -> None:
    held = firm.admit(firm.time(hours=Decimal(hours))).held[0]
    assert "hours-out-of-range" in rules_of(held)
    assert "expected are more than 0 and at most 24.00" in hold(held, "hours-out-of-range").sentence


@pytest.mark.case(9)
def test_a_negative_correction_goes_when_a_person_names_the_entry_that_it_corrects(firm: Firm) -> None:
    held = firm.admit(firm.time(hours=Decimal(-2))).held[0]
    controller = world.user(everywhere=True)
    validation.waive([hold(held, "hours-out-of-range").pk], by=controller, reason="corrects entry 17 of September")
    assert (state(held), entry(held).amount) == ("ready", Decimal(-240))


@pytest.mark.case(9)
def test_more_than_a_day_s_hours_over_all_entries_are_held(firm: Firm) -> None:
    admitted = firm.admit(
        firm.time("1", hours=Decimal(10)), firm.time("2", hours=Decimal(9), description="b"),
        firm.time("3", hours=Decimal(6), description="c"), firm.time("4", work_date=date(2026, 10, 2)),
    )  # fmt: skip
    assert (len(admitted.ready), len(admitted.held)) == (1, 3)
    found = case("day-over-limit")
    assert found.sentence == "Ana Consultant has 25.00 hours on 2026-10-01."
    assert found.open_holds == 3


@pytest.mark.case(9)
def test_hours_that_came_before_count_and_those_that_went_away_do_not(firm: Firm) -> None:
    firm.admit(firm.time("1", hours=Decimal(20)))
    held = firm.admit(firm.time("2", hours=Decimal(5), description="b")).held[0]
    assert rules_of(held) == {"day-over-limit"}
    firm.admit(firm.time("1", hours=Decimal(20), status=SourceStatus.WITHDRAWN))
    validation.recheck([held], actor="test", reason="the other entry was withdrawn")
    assert (state(held), rules_of(held)) == ("ready", set())


def _between(start: int, end: int) -> dict[str, datetime]:
    return {
        "starts_at": datetime(2026, 10, 1, start, tzinfo=UTC),
        "ends_at": datetime(2026, 10, 1, end, tzinfo=UTC),
        "hours": Decimal(end - start),  # type: ignore[dict-item]
    }


@pytest.mark.case(8)
def test_overlapping_intervals_of_one_person_are_held_and_both_shown(firm: Firm) -> None:
    admitted = firm.admit(
        firm.time("1", **_between(9, 12)), firm.time("2", **_between(11, 13)), firm.time("3", **_between(13, 15))
    )
    assert (len(admitted.ready), len(admitted.held)) == (1, 2)
    found = hold(admitted.held[0], "overlap")
    assert "09:00 to 12:00 and, on entry 2, 11:00 to 13:00 UTC" in found.sentence
    assert len(found.detail["documents"]) == 2


@pytest.mark.case(8)
def test_overlaps_pass_where_neither_is_billed_or_the_policy_allows_them(firm: Firm) -> None:
    first = firm.admit(
        firm.time("1", billable=False, **_between(9, 12)), firm.time("2", billable=False, **_between(11, 13))
    )
    assert first.held == []
    firm.policy(overlaps_allowed=True)
    day: dict[str, Any] = {"work_date": date(2026, 10, 2)}
    second = firm.admit(firm.time("3", **_between(9, 12), **day), firm.time("4", **_between(11, 13), **day))
    assert second.held == []


@pytest.mark.case(6)
def test_the_same_work_from_two_tools_is_held_once(firm: Firm, jira: Connection) -> None:
    firm.admit(firm.time("77", hours=Decimal(3)))
    admitted = firm.admit(firm.time("10001", hours=Decimal(3), description="  workshop "), source=jira)
    assert rules_of(admitted.held[0]) == {"duplicate-suspected"}
    assert "already reported as entry 77" in hold(admitted.held[0], "duplicate-suspected").sentence


@pytest.mark.case(6)
def test_the_same_provenance_is_the_same_work_whatever_the_text(firm: Firm, jira: Connection) -> None:
    firm.admit(firm.time("77", hours=Decimal(3), provenance="jira:10001/37"))
    admitted = firm.admit(
        firm.time("5", hours=Decimal("2.75"), description="other words", provenance="jira:10001/37"), source=jira
    )
    assert rules_of(admitted.held[0]) == {"duplicate-suspected"}


@pytest.mark.case(6)
def test_two_equal_entries_of_one_tool_are_not_suspected_unless_the_policy_says_so(firm: Firm) -> None:
    assert firm.admit(firm.time("1", hours=Decimal(1)), firm.time("2", hours=Decimal(1))).held == []
    firm.policy(duplicates_within_source=True)
    day = date(2026, 10, 2)
    admitted = firm.admit(
        firm.time("3", hours=Decimal(1), work_date=day), firm.time("4", hours=Decimal(1), work_date=day)
    )
    assert (len(admitted.ready), len(admitted.held)) == (1, 1)


@pytest.mark.case(6)
def test_the_same_work_is_left_out_with_a_reason_and_stays_out(firm: Firm, jira: Connection) -> None:
    firm.admit(firm.time("77", hours=Decimal(3)))
    record = firm.time("10001", hours=Decimal(3))
    documents = firm.take(record, source=jira)
    held = validation.admit(documents, actor="test").held[0]
    assert validation.exclude([held], by=world.user(everywhere=True), reason="the same as Harvest 77") == [held]
    assert (state(held), rules_of(held)) == ("cancelled", set())
    assert case("duplicate-suspected").state == "resolved"
    again = validation.admit(documents, actor="test")
    assert (again.ready, again.held, again.unchanged) == ([], [], documents)


@pytest.mark.case(17)
def test_a_text_is_adapted_to_the_target_and_the_original_stays(firm: Firm) -> None:
    firm.policy(memo_limit=20, memo_forbidden=':"', memo_beyond_bmp=False)
    documents = firm.take(firm.time(description='Call: "Q3" \U0001f600 and the long rest of it'))
    made = entry(validation.admit(documents, actor="test").ready[0])
    assert made.memo == "Call Q3 and the lon…"
    assert "text-adapted" in made.tags
    assert made.document.time_entries.get().description == 'Call: "Q3" \U0001f600 and the long rest of it'


@pytest.mark.case(17)
def test_control_characters_become_blanks_and_a_plain_text_is_left_alone(firm: Firm) -> None:
    assert entry(firm.admit(firm.time("1", description="a\x07b\tc")).ready[0]).memo == "a b c"
    plain = entry(firm.admit(firm.time("2", description="Übung: 3 Cafés", hours=Decimal(1))).ready[0])
    assert (plain.memo, plain.tags) == ("Übung: 3 Cafés", [])


@pytest.mark.case(17)
def test_a_text_of_which_nothing_is_left_is_held(firm: Firm) -> None:
    firm.policy(memo_beyond_bmp=False)
    held = firm.admit(firm.time("1", description="\U0001f600\U0001f600")).held[0]
    assert rules_of(held) == {"text-not-acceptable"}
    firm.policy(memo_required=True)
    assert rules_of(firm.admit(firm.time("2", description="", hours=Decimal(1))).held[0]) == {"text-not-acceptable"}


# Days off


@pytest.mark.case(115)
def test_each_entity_has_its_own_weekend_and_holidays(firm: Firm) -> None:
    dubai = world.entity("AE", "AED", calendar={"weekend": [5, 6], "holidays": ["2026-10-07"], "hours_per_day": "8"})
    omar_himself = firms.person("omar", "Omar Consultant", dubai, firm.role)
    firms.periods(dubai)
    firms.key(firm.target, "resource", omar_himself.pk)
    firms.lends(dubai, firm)
    firm.entity.calendar = {"holidays": ["2026-10-12"]}
    firm.entity.save()
    firm.policy(days_off="hold")
    omar = Reference("", "omar", "Omar Consultant")
    days = {
        "friday": date(2026, 10, 9), "sunday": date(2026, 10, 11), "theirs": date(2026, 10, 7), "ours": date(2026, 10, 12),
    }  # fmt: skip
    held = {
        who: {name for name, day in days.items() if firm.admit(firm.time(f"{who}-{name}", work_date=day, **more)).held}
        for who, more in (("ana", {}), ("omar", {"resource": omar}))
    }
    assert held == {"ana": {"sunday", "ours"}, "omar": {"friday", "theirs"}}
    sentences = set(ExceptionCase.objects.values_list("sentence", flat=True))
    assert "Hours were worked on Friday 2026-10-09, a weekend in the calendar of AE (Firm AE)." in sentences
    assert "Hours were worked on Monday 2026-10-12, a holiday in the calendar of US (Firm US)." in sentences


@pytest.mark.case(115)
def test_a_calendar_that_changes_is_asked_again_and_nobody_is_asked_unless_the_policy_says_so(firm: Firm) -> None:
    sunday = date(2026, 10, 11)
    assert firm.admit(firm.time("1", work_date=sunday)).ready
    firm.policy(days_off="hold_billable")
    assert firm.admit(firm.time("2", work_date=sunday, billable=False)).ready
    held = firm.admit(firm.time("3", work_date=sunday)).held[0]
    assert rules_of(held) == {"worked-on-day-off"}
    firm.entity.calendar = {"weekend": [5, 6]}
    firm.entity.save()
    changes_watch.note("entity", [firm.entity.pk])
    validation.follow_changes()
    assert state(held) == "ready"
