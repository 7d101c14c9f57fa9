"""Silence is an exception: whoever is engaged and of whom nothing arrives on a working day is named, per source."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from portal import sql
from portal.models import AccountingPeriod, Engagement, SubmittedTime
from portal.records import SourceStatus
from reconciliation import holes
from reconciliation.models import ExceptionCase
from tests import world
from tests.reconciliation.firm import Firm, build, periods

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    return build()


def test_days_of_which_nothing_arrived_are_named_by_person_and_become_one_cause_per_source(firm: Firm) -> None:
    firm.entity.calendar = {"holidays": ["2026-09-07"]}
    firm.entity.save()
    days = [date(2026, 9, day) for day in range(1, 31) if date(2026, 9, day).isoweekday() < 6 and day not in (7, 15)]
    firm.admit(*(firm.time(f"a{day}", work_date=day, hours=Decimal(8)) for day in days))
    period = AccountingPeriod.objects.get(entity=firm.entity, code="2026-09")
    found = {row.person: row for row in holes.of_period(period)}
    ana, pat = found["Ana Consultant"], found["Pat Manager"]
    assert (ana.silent, ana.source, ana.expected) == ([date(2026, 9, 15)], firm.source.name, Decimal(8) * 21)
    assert (ana.arrived, ana.posted, ana.invoiced) == (Decimal(8) * 20, 0, 0)
    assert (len(pat.silent), pat.source) == (21, "")
    assert holes.tell(period) == 2
    told = ExceptionCase.objects.filter(rule="nothing-arrived", state="open")
    assert sorted(told.values_list("connection_id", flat=True), key=str) == sorted([firm.source.pk, None], key=str)
    assert f"nothing arrived for 1 working days of 1 people, 8.0 h expected: {ana.person} (1)." in " ".join(
        told.values_list("sentence", flat=True)
    )
    firm.admit(firm.time("late", work_date=date(2026, 9, 15)))
    assert holes.tell(period) == 1
    assert told.count() == 1


def test_hours_for_another_entity_end_the_silence_and_are_neither_summed_nor_shown(firm: Firm) -> None:
    firm.admit(*(firm.time(f"a{day}", work_date=date(2026, 9, day), hours=Decimal(8)) for day in (1, 16)))
    other = world.entity("GB", "GBP")
    periods(other)
    here = Engagement.objects.get(resource__name="Ana Consultant")
    here.valid_to = date(2026, 9, 14)
    here.save()
    Engagement.objects.create(resource=here.resource, entity=other, role=here.role, valid_from=date(2026, 9, 15))
    [ana] = holes.of_period(AccountingPeriod.objects.get(entity=other, code="2026-09"))
    assert (ana.person, ana.source, ana.arrived, len(ana.silent)) == ("Ana Consultant", "", 0, 11)
    assert date(2026, 9, 16) not in ana.silent
    SubmittedTime.objects.create(
        connection=firm.source, entity=firm.entity, external_id="s1", revision="1", resource_name=ana.person, message_id=1,
        work_date=date(2026, 9, 17), hours=Decimal("7.5"), seen_at=sql.now(),
    )  # fmt: skip
    firm.admit(firm.time("d1", work_date=date(2026, 9, 18), status=SourceStatus.REJECTED))
    [ana] = holes.of_period(AccountingPeriod.objects.get(entity=other, code="2026-09"))
    assert (ana.source, ana.arrived, ana.submitted, len(ana.silent)) == ("", 0, 0, 9)


def test_what_nobody_approved_yet_and_what_is_not_owed_has_arrived_all_the_same(firm: Firm) -> None:
    source, ana = firm.source, firm.ana
    SubmittedTime.objects.create(
        connection=source, entity=firm.entity, external_id="s1", revision="1", resource_name=ana.name.upper(), message_id=1,
        work_date=date(2026, 9, 15), hours=Decimal("7.5"), seen_at=sql.now(),
    )  # fmt: skip
    firm.admit(
        firm.time("d1", work_date=date(2026, 9, 16), hours=Decimal(6), status=SourceStatus.REJECTED),
        firm.time("p1", work_date=date(2026, 9, 17), hours=Decimal(8)),
    )
    period = AccountingPeriod.objects.get(entity=firm.entity, code="2026-09")
    ana_days = next(row for row in holes.of_period(period) if row.person == ana.name)
    assert not {date(2026, 9, 15), date(2026, 9, 16), date(2026, 9, 17)} & set(ana_days.silent)
    assert (ana_days.arrived, ana_days.submitted) == (Decimal(8), Decimal("13.5"))


def test_nothing_is_expected_any_more_of_a_period_that_was_closed(firm: Firm) -> None:
    period = AccountingPeriod.objects.get(entity=firm.entity, code="2026-09")
    assert holes.tell(period) > 0
    period.state = "closed"
    period.save()
    holes.look()
    assert not ExceptionCase.objects.filter(
        rule="nothing-arrived", state="open", subject_key__startswith=f"{period.pk}:"
    ).exists()
