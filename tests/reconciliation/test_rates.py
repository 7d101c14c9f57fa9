"""Rates under governance: the matrix of a card, versions compared, overlaps, gaps with what is at stake, and the tester."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from portal.models import Connection, Engagement, LegalEntity, ProjectStatus, Rate, RateCard, Role, Task, User
from portal.records import Reference, SourceStatus
from reconciliation import changes, validation
from reconciliation.models import Route
from reconciliation.rates import coming, gaps, matrix, overlaps, tester
from reconciliation.rates.gaps import Standing
from reconciliation.rates.matrix import Span
from tests import world
from tests.reconciliation import desk
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import DAY, SINCE, Firm, alias, entry

pytestmark = pytest.mark.django_db
TODAY = date(2026, 10, 30)


@pytest.fixture
def firm() -> Firm:
    return firms.build()


def rate(card: RateCard, amount: str, **more: Any) -> Rate:
    values: dict[str, Any] = {"currency": "USD", "valid_from": SINCE, **more}
    return Rate.objects.create(card=card, amount=Decimal(amount), **values)


def card(code: str, version: int = 1, **more: Any) -> RateCard:
    return RateCard.objects.create(**{"code": code, "version": version, "valid_from": SINCE, **more})


def rates_of(one: RateCard) -> list[Rate]:
    return list(
        Rate.objects.filter(card=one).select_related("resource", "role", "task__project").order_by("valid_from")
    )


# The matrix


def test_a_card_is_cut_wherever_a_rate_begins_or_ends_and_shows_the_days_without_one(firm: Firm) -> None:
    firm.rate.valid_to = date(2026, 6, 30)
    firm.rate.save()
    rate(firm.card, "125", role=firm.role, valid_from=date(2026, 8, 1))
    analyst = Role.objects.create(code="analyst", name="Analyst")
    rate(firm.card, "90", role=analyst)
    own = rate(firm.card, "150", resource=firm.ana, valid_from=date(2026, 8, 1), valid_to=date(2026, 8, 31))
    found = matrix.of(firm.card, rates_of(firm.card))
    assert [span.label for span in found.spans] == [
        "1 Jan 2026 to 30 Jun 2026", "1 Jul 2026 to 31 Jul 2026", "1 Aug 2026 to 31 Aug 2026", "from 1 Sep 2026",
    ]  # fmt: skip
    shown = {
        row.name: [(cell.rate.amount if cell.rate else None, cell.width, cell.is_gap) for cell in row.cells]
        for row in found.rows
    }
    assert list(shown) == ["Analyst", "Senior consultant", "Ana Consultant"]  # roles first, exceptions after them
    assert shown["Analyst"] == [(Decimal(90), 4, False)]
    assert shown["Senior consultant"] == [(Decimal(120), 1, False), (None, 1, True), (Decimal(125), 2, False)]
    assert shown["Ana Consultant"] == [(None, 2, False), (own.amount, 1, False), (None, 1, False)]


def test_what_is_agreed_in_two_currencies_stands_in_two_rows_that_say_so(firm: Firm) -> None:
    rate(firm.card, "110", role=firm.role, currency="EUR", valid_from=date(2026, 5, 1))
    rows = matrix.of(firm.card, rates_of(firm.card)).rows
    assert [(row.currency, row.other_currencies) for row in rows] == [("EUR", ("USD",)), ("USD", ("EUR",))]


def test_two_versions_stand_side_by_side_with_what_changed_first(firm: Firm) -> None:
    firm.card.valid_to = date(2026, 12, 31)
    firm.card.save()
    firm.rate.valid_to = date(2026, 6, 30)
    firm.rate.save()
    rate(firm.card, "126", role=firm.role, valid_from=date(2026, 7, 1))
    analyst, manager = (Role.objects.create(code=code, name=code.title()) for code in ("analyst", "manager"))
    rate(firm.card, "90", role=analyst)
    rate(firm.card, "1000", role=manager, unit="day")
    later = card("ACME-2026", 4, contract=firm.contract, valid_from=date(2027, 1, 1))
    for amount, role, unit in (("132.30", firm.role, "hour"), ("90", analyst, "hour"), ("140", manager, "hour")):
        rate(later, amount, role=role, unit=unit, valid_from=date(2027, 1, 1))
    rate(later, "160", resource=firm.ana, valid_from=date(2027, 1, 1))
    found = [
        (row.name, row.standing, row.difference, row.percent)
        for row in matrix.compare(rates_of(firm.card), rates_of(later))
    ]
    assert found == [
        ("Manager", "changed", None, None),  # another unit
        ("Senior consultant", "changed", Decimal("6.30"), Decimal(5)),  # from 126.00 at the end to 132.30 at the start
        ("Ana Consultant", "added", None, None),
        ("Analyst", "same", Decimal(0), Decimal(0)),
    ]


# Overlaps


def test_overlaps_name_rates_beyond_their_card_two_currencies_and_the_card_that_is_asked_first(firm: Firm) -> None:
    firm.card.valid_to, firm.rate.valid_to = date(2026, 6, 30), date(2026, 12, 31)
    firm.card.save()
    firm.rate.save()
    rate(firm.card, "115", valid_from=date(2026, 2, 1))  # without an end of its own: it ends with the card
    rate(firm.card, "110", role=firm.role, currency="EUR", valid_to=date(2026, 3, 31))
    listed = card("LIST")
    rate(listed, "150", role=firm.role)
    found = [
        (one.card.code, one.tone, one.sentence)
        for one in overlaps.find([firm.card, listed], [*rates_of(firm.card), *rates_of(listed)])
    ]
    assert found == [
        (
            "ACME-2026", "warn", "Senior consultant: 120.00 USD is agreed from 1 Jan 2026 to 31 Dec 2026, and the card "
            "holds from 1 Jan 2026 to 30 Jun 2026. It prices work only within the card's days.",
        ),
        (
            "ACME-2026", "info", "Senior consultant: both 110.00 EUR and 120.00 USD from 1 Jan 2026 to 31 Mar 2026. The "
            "currency of the contract decides.",
        ),
        (
            "ACME-2026", "info", "It holds from 1 Jan 2026 to 30 Jun 2026 beside LIST v1 of everybody, and is asked first; the "
            "other prices only what it leaves out.",
        ),
    ]  # fmt: skip


# The tester


def ask(firm: Firm, day: date = DAY, **more: Any) -> tester.Answer:
    return tester.ask(person=firm.ana, project=firm.project, day=day, **more)


@pytest.mark.case(40)
def test_the_answer_names_the_rate_the_card_and_why(firm: Firm) -> None:
    rate(card("LIST"), "150", role=firm.role)
    rate(firm.card, "110")
    answer = ask(firm)
    assert answer.sentence == (
        "Ana Consultant (senior consultant) on ACM-1 on 1 Oct 2026 costs 120.00 USD an hour, as agreed in rate card "
        "ACME-2026 v3 for Senior consultant."
    )
    assert answer.draft.amount == Decimal("960.00")
    assert [(one.agreed.version, tester.named(answer.draft, one.agreed), one.wins) for one in answer.candidates] == [
        ("ACME-2026 v3", "Senior consultant", True), ("ACME-2026 v3", "everybody", False),
        ("LIST v1", "Senior consultant", False),
    ]  # fmt: skip
    Rate.objects.all().delete()
    rate(firm.card, "1000", role=firm.role, unit="day")
    firm.contract.hours_per_day = Decimal("7.5")
    firm.contract.save()
    assert ask(firm, hours=Decimal("7.5")).draft.amount == Decimal("1000.00")
    assert "1000.00 USD a day of 7.50 hours" in ask(firm).notes[0].replace(",", "")


def test_what_missed_the_day_is_named_when_nothing_holds(firm: Firm) -> None:
    firm.rate.valid_to = date(2026, 9, 30)
    firm.rate.save()
    old = card("ACME-2026", 2, contract=firm.contract, valid_from=date(2025, 1, 1), valid_to=date(2025, 12, 31))
    rate(old, "100", role=firm.role, valid_from=date(2025, 1, 1))
    answer = ask(firm)
    assert answer.winner is None
    assert answer.sentence.startswith(
        "No agreed rate holds for Ana Consultant (senior consultant) on ACM-1 on 1 Oct 2026."
    )
    assert [one.reason for one in answer.missed] == [
        "Card ACME-2026 v2 holds from 1 Jan 2025 to 31 Dec 2025.", "The rate holds from 1 Jan 2026 to 30 Sep 2026.",
    ]  # fmt: skip


@pytest.mark.case(42)
def test_a_rate_in_another_currency_is_shown_and_never_converted(firm: Firm) -> None:
    Rate.objects.all().delete()
    rate(firm.card, "110", role=firm.role, currency="EUR")
    answer = ask(firm)
    assert "is in EUR, and the hours are billed in USD" in answer.sentence
    assert (answer.draft.rate, answer.draft.amount) == (None, None)


def test_hours_that_are_not_billed_by_the_hour_say_so(firm: Firm) -> None:
    firm.project.billing_model = "fixed_fee"
    firm.project.save()
    assert ask(firm).sentence.endswith("are not billed by the hour: fixed fee. They are cost only.")
    firm.project.billing_model = ""
    firm.project.save()
    task = Task.objects.create(project=firm.project, code="TRAVEL", name="Travel", is_billable=False)
    assert "task TRAVEL is not billable" in ask(firm, task=task).sentence


def test_the_policy_of_the_route_decides_which_cards_are_asked(firm: Firm) -> None:
    Rate.objects.all().delete()
    rate(card("LIST"), "150", role=firm.role)
    assert ask(firm).draft.rate == Decimal(150)
    firm.policy(rate_scopes=["contract", "customer"])
    answer = ask(firm)
    assert answer.winner is None
    assert [one.reason for one in answer.candidates] == ["The policy does not let default cards price hours."]


def test_an_alias_on_our_own_code_does_not_mislead_the_question(firm: Firm) -> None:
    other = firms.project("OTHER-1", firm.entity, firm.customer, None)
    alias("project", "ACM-1", other.pk)
    answer = ask(firm)
    assert answer.draft.project is not None
    assert answer.draft.project.code == "ACM-1"


def test_without_a_route_the_entity_s_policy_is_asked_and_without_a_source_nothing_is(firm: Firm) -> None:
    Route.objects.all().delete()
    answer = ask(firm)
    assert answer.draft.rate == Decimal(120)
    assert "No route leads time of" in answer.notes[0]
    Connection.objects.filter(is_source=True).update(is_source=False)
    with pytest.raises(tester.Unanswerable):
        ask(firm)


def test_the_command_prints_the_same_answer(firm: Firm) -> None:
    out = StringIO()
    call_command("explain_rate", "ana", "ACM-1", "2026-10-01", stdout=out)
    lines = out.getvalue().splitlines()
    assert lines[0].endswith("costs 120.00 USD an hour, as agreed in rate card ACME-2026 v3 for Senior consultant.")
    assert lines[-1].strip().startswith("1. wins  ACME-2026 v3, Senior consultant: 120.00 USD a hour.")
    with pytest.raises(CommandError, match="no project 'NOPE'"):
        call_command("explain_rate", "ana", "NOPE", "2026-10-01")


# Gaps


def look(firm: Firm, today: date = TODAY) -> list[gaps.Gap]:
    return gaps.find([firm.entity.pk], today).gaps


def test_held_work_without_a_rate_is_a_gap_with_hours_and_an_estimate(firm: Firm) -> None:
    firm.rate.valid_to = date(2026, 9, 30)
    firm.rate.save()
    firm.admit(
        firm.time("1", rate=Decimal(120)),
        firm.time("2", work_date=date(2026, 10, 5), hours=Decimal(4), rate=Decimal(120)),
    )
    gap = next(one for one in look(firm) if one.standing == Standing.OPEN)
    assert gap.sentence == (
        "No rate covers Ana Consultant as senior consultant on ACM-1 from 1 Oct 2026 to 5 Oct 2026. ACME-2026 v3: The rate "
        "holds from 1 Jan 2026 to 30 Sep 2026."
    )
    assert (gap.hours, gap.pieces, gap.amount, gap.currency, gap.basis) == (
        Decimal(12), 2, Decimal("1440.00"), "USD", "the source's rate",
    )  # fmt: skip


def test_a_gap_that_nobody_can_value_is_unknown_and_not_zero(firm: Firm) -> None:
    Rate.objects.all().delete()
    firm.admit(firm.time("1", rate=None))
    gap = look(firm)[0]
    assert gap.amount is None
    assert gap.reason == "Rate card ACME-2026 v3 has no rate for senior consultant."
    assert gaps.find([firm.entity.pk], TODAY).money() == {}


def test_work_that_is_corrected_at_its_source_is_asked_before_it_comes_back(firm: Firm) -> None:
    Rate.objects.all().delete()
    firm.admit(firm.time("1"), firm.time("2"))
    firm.admit(firm.time("1", status=SourceStatus.SUBMITTED), firm.time("2", status=SourceStatus.REJECTED))
    found = [gap for gap in look(firm) if gap.standing == Standing.REOPENED]
    assert [gap.hours for gap in found] == [Decimal(8)]


def test_a_rate_in_another_currency_is_a_gap_that_says_so(firm: Firm) -> None:
    Rate.objects.all().delete()
    rate(firm.card, "110", role=firm.role, currency="EUR")
    firm.admit(firm.time("1", rate=None))
    assert look(firm)[0].reason == "Rate card ACME-2026 v3 has it in EUR only; the hours are billed in USD."


@pytest.mark.case(115)
def test_the_card_that_ends_is_seen_before_it_does_at_the_pace_and_calendar_of_the_entity(firm: Firm) -> None:
    firm.entity.calendar = {"weekend": [5, 6], "holidays": ["2026-12-09"], "hours_per_day": "8"}  # Friday and Saturday
    firm.entity.save()
    for number in range(10):
        firm.admit(firm.time(str(number), work_date=date(2026, 10, 18) + timedelta(days=number)))
    firm.card.valid_to = date(2026, 11, 30)
    firm.card.save()
    gap = next(one for one in look(firm, TODAY) if one.standing == Standing.EXPECTED)
    assert (gap.first, gap.last) == (date(2026, 12, 1), date(2026, 12, 29))
    assert "Card ACME-2026 v3 holds from 1 Jan 2026 to 30 Nov 2026" in gap.reason
    worked_days = 33  # of 15 Sep to 30 Oct, without Fridays and Saturdays
    days = 20  # of 1 to 29 Dec, without Fridays, Saturdays and the holiday
    assert gap.pieces == days
    assert gap.hours == (Decimal(80) / worked_days * days).quantize(Decimal("0.01"))
    assert gap.amount == (gap.hours * 120).quantize(Decimal("0.01"))
    assert gap.basis == "the last rate, at the present pace"


def test_what_comes_is_worth_the_rate_that_was_agreed_last_and_work_of_two_systems_is_one_gap(firm: Firm) -> None:
    for number in range(10):
        firm.admit(firm.time(str(number), work_date=date(2026, 10, 18) + timedelta(days=number)))
    firm.rate.amount = Decimal(130)  # agreed since, and nothing was booked at it yet
    firm.rate.save()
    firm.card.valid_to = date(2026, 11, 30)
    firm.card.save()
    (gap,) = [one for one in look(firm, TODAY) if one.standing == Standing.EXPECTED]
    assert gap.amount == (gap.hours * 130).quantize(Decimal("0.01"))
    elsewhere = replace(gap, hours=Decimal(2), amount=Decimal(260))
    hours, amount = gap.hours, gap.amount
    (both,) = gaps._as_one([gap, elsewhere])
    assert (both.hours, both.amount) == (hours + 2, amount + 260)
    assert len(gaps._as_one([replace(gap), replace(gap, amount=None, basis="")])) == 2  # half of a worth is no worth


def test_nothing_is_expected_of_a_closed_project_or_of_somebody_who_left(firm: Firm) -> None:
    firm.admit(firm.time("1", work_date=date(2026, 10, 20)))
    firm.card.valid_to = date(2026, 11, 30)
    firm.card.save()
    assert [gap.standing for gap in look(firm)] == [Standing.EXPECTED]
    ProjectStatus.objects.update(valid_to=date(2026, 11, 30))
    assert look(firm) == []
    ProjectStatus.objects.update(valid_to=None)
    Engagement.objects.filter(resource=firm.ana).update(valid_to=date(2026, 12, 5))
    assert [(gap.first, gap.last) for gap in look(firm)] == [(date(2026, 12, 1), date(2026, 12, 5))]


def test_only_the_work_of_the_entities_asked_for_is_looked_at(firm: Firm) -> None:
    Rate.objects.all().delete()
    firm.admit(firm.time("1", rate=None))
    other = LegalEntity.objects.create(code="GB", name="Firm GB", currency="GBP")
    assert gaps.find([other.pk], TODAY).gaps == []
    assert len(look(firm)) == 2  # what is held, and what comes at this pace


def test_more_work_costs_no_more_statements(firm: Firm) -> None:
    Rate.objects.all().delete()

    def asked() -> int:
        with CaptureQueriesContext(connection) as counted:
            look(firm)
        return len(counted)

    firm.admit(firm.time("0", rate=None))
    few = asked()
    firm.admit(
        *(firm.time(str(number), rate=None, work_date=DAY + timedelta(days=number % 20)) for number in range(1, 60))
    )
    assert asked() == few


@pytest.mark.case(37)
def test_a_rate_that_changes_in_mid_week_is_answered_by_the_day(firm: Firm) -> None:
    firm.rate.valid_to = date(2026, 10, 6)
    firm.rate.save()
    rate(firm.card, "125", role=firm.role, valid_from=date(2026, 10, 7))
    assert [ask(firm, day).draft.rate for day in (date(2026, 10, 6), date(2026, 10, 7))] == [Decimal(120), Decimal(125)]


def test_a_task_named_by_the_question_is_the_one_that_is_priced(firm: Firm) -> None:
    task = Task.objects.create(project=firm.project, code="DEV", name="Development")
    default = Task.objects.create(project=firm.project, code="GEN", name="General", is_default=True)
    rate(firm.card, "130", role=firm.role, task=task)
    rate(firm.card, "115", role=firm.role, task=default)
    assert ask(firm, task=task).draft.rate == Decimal(130)
    assert ask(firm).draft.rate == Decimal(115)
    made = entry(firm.admit(firm.time("1", rate=None, task=Reference("", "DEV"))).ready[0])
    assert made.rate == Decimal(130)
    assert validation.recheck([made.pk], actor="test", reason="again").refigured == []


def test_a_span_of_one_day_is_told_as_a_day() -> None:
    assert Span(DAY, DAY).label == "1 Oct 2026"


def test_a_card_that_a_change_ends_tells_which_coming_work_loses_its_rate_and_leaves_nothing_behind(firm: Firm) -> None:
    for number in range(4):
        firm.admit(firm.time(str(900 + number), work_date=TODAY - timedelta(days=number)))
    ends = date(2026, 11, 8)
    line = changes.Line("rate_card", firm.card.pk, "change", {"valid_to": ends.isoformat()})
    change_set = changes.draft(by=desk.analyst(firm), title="It ends", reason="by letter", lines=[line])
    before = [gap for gap in look(firm) if gap.standing == Standing.EXPECTED]
    (one,) = coming.lost(change_set, [firm.entity.pk], TODAY)
    assert before == []
    assert (one.gap.person, one.gap.first) == (firm.ana.name, ends + timedelta(days=1))
    assert one.hours > 0
    assert one.amount == one.hours * 120
    assert [gap for gap in look(firm) if gap.standing == Standing.EXPECTED] == before  # nothing of it stays
    assert coming.lost(change_set, [world.entity("GB", "GBP").pk], TODAY) == []
    client = Client()
    client.force_login(User.objects.get(username="fay"))
    page = client.get(reverse("change_coming", args=[change_set.pk])).content.decode()
    assert 'id="coming"' in page
    stranger = Client()
    stranger.force_login(world.user("gus", "controller", LegalEntity.objects.get(code="GB")))
    assert stranger.get(reverse("change_coming", args=[change_set.pk])).status_code == 404
