"""Bringing in an entity: nothing is owed before, the closed month is rehearsed in shadow, two people let it go live."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, IntegrityError, transaction
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from portal import audit, ledger, sql
from portal.models import (
    AccountingPeriod,
    AuditEvent,
    Crosswalk,
    Customer,
    EntityGrant,
    GrantRole,
    LedgerEntry,
    LedgerState,
    Rate,
    RateCard,
    State,
    StatementLine,
)
from portal.models import IntercompanyRelation as Relation
from reconciliation import invariants, onboarding, validation
from reconciliation.models import Approval, BookedBefore, CutOver, ExceptionCase, Hold, Onboarding, RehearsedLine, Route
from reconciliation.onboarding import bookings, going_live, rehearsing
from reconciliation.onboarding.base import fingerprint
from reconciliation.onboarding.checklist import FAILS, MET, NOT_ASKED
from reconciliation.validation import owing
from tests import world
from tests.reconciliation.firm import build, key, person, project
from tests.reconciliation.newcomer import (
    CUT_OVER,
    MONTH,
    Newcomer,
    bring_in,
    cut_over,
    finish,
    on_27_november,
    was_tested,
    weekdays,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures(on_27_november.__name__)]
__all__ = ["on_27_november"]
Outcome = RehearsedLine.Outcome


@pytest.fixture
def newcomer() -> Newcomer:
    return bring_in()


def outcomes(found: Any, leg: str = "month") -> dict[str, int]:
    counted: dict[str, int] = {}
    for line in RehearsedLine.objects.filter(rehearsal=found, leg=leg):
        counted[line.outcome] = counted.get(line.outcome, 0) + 1
    return counted


def item(newcomer: Newcomer, code: str) -> Any:
    return next(one for one in onboarding.checklist(newcomer.onboarding) if one.code == code)


# Nothing is owed before


@pytest.mark.case(130)
def test_what_arrives_while_an_entity_is_brought_in_is_history_and_owed_to_nobody(newcomer: Newcomer) -> None:
    firm = newcomer.firm
    admitted = firm.admit(firm.time("1", work_date=MONTH), firm.time("2", work_date=date(2026, 11, 5)))
    assert len(admitted.history) == 2
    assert not LedgerEntry.objects.exists()
    assert not ExceptionCase.objects.exists()
    reasons = owing.why_not_of(list(firm.source.documents.select_related("connection").order_by("pk")))
    assert [why.code for why in reasons if why] == [owing.BEING_BROUGHT_IN] * 2
    assert [sentence for one in invariants.INVARIANTS for sentence in one.check()] == []


def test_the_database_refuses_an_entry_of_an_entity_that_is_not_live(newcomer: Newcomer) -> None:
    firm = newcomer.firm
    [document] = newcomer.take(MONTH)
    other = build_figures(newcomer, document)
    with pytest.raises(DatabaseError, match="nothing is owed for US before it goes live"), transaction.atomic():
        ledger.enter([(other, State.READY, "")], actor="somebody", reasons=["sneaked in"])
    assert not LedgerEntry.objects.filter(entity=firm.entity).exists()


def build_figures(newcomer: Newcomer, document_id: int) -> Any:
    from reconciliation.facts import drafts_of, give_routes, load
    from reconciliation.validation.judging import Judge, figures_of

    drafts = drafts_of([document_id])
    _, entities = give_routes(drafts)
    judge = Judge(load(drafts, entities))
    judge.prepare(drafts[0])
    return figures_of(drafts[0])


def test_another_entity_and_another_source_go_on_meanwhile() -> None:
    firm = build()
    cleo = world.user("cleo", GrantRole.CONTROLLER, firm.entity)
    fresh = world.connection("clockify-us", "clockify", firm.entity, is_source=True)
    onboarding.begin(firm.entity, fresh, by=cleo, reason="Harvest is given up")
    assert len(firm.admit(firm.time("1")).ready) == 1
    assert len(firm.admit(firm.time("2", work_date=date(2026, 10, 2)), source=fresh).history) == 1


def test_an_entity_that_is_live_is_not_brought_in_again_nor_one_twice(newcomer: Newcomer) -> None:
    with pytest.raises(onboarding.NotYet, match="is being brought in already"):
        onboarding.begin(newcomer.firm.entity, None, by=newcomer.cleo, reason="again")
    other = world.entity("GB", "GBP")
    with pytest.raises(PermissionDenied):
        onboarding.begin(other, None, by=newcomer.cleo, reason="not hers")


def test_a_live_entity_with_entries_cannot_be_stopped_by_bringing_it_in() -> None:
    firm = build()
    firm.admit(firm.time("1"))
    cleo = world.user("cleo", GrantRole.CONTROLLER, firm.entity)
    with pytest.raises(onboarding.NotYet, match="has entries on the ledger already"):
        onboarding.begin(firm.entity, None, by=cleo, reason="again")


# The rehearsal


def test_a_month_that_was_booked_just_so_ties_out_and_leaves_nothing_but_its_result(newcomer: Newcomer) -> None:
    for number, day in enumerate(weekdays(MONTH, 5)):
        newcomer.take(day, first=number + 1)
        newcomer.book(day)
    found = newcomer.rehearse()
    assert found.state == found.State.TIED_OUT
    assert outcomes(found) == {Outcome.AGREES: 5}
    assert set(RehearsedLine.objects.values_list("confidence", flat=True)) == {"confident"}
    assert found.totals["hours"] == {"left": "40.0000", "right": "40.0000"}
    assert not LedgerEntry.objects.exists()
    assert not LedgerState.objects.exists()
    assert not ExceptionCase.objects.exists()
    assert not Hold.objects.exists()


def test_every_kind_of_difference_is_listed_with_both_sides(newcomer: Newcomer) -> None:
    firm = newcomer.firm
    other = project("ACM-2", firm.entity, firm.customer, firm.contract)
    from tests.reconciliation.firm import key

    key(firm.target, "project", other.pk)
    days = weekdays(MONTH, 8)
    newcomer.take(*days[:7])
    newcomer.book(days[0], hours="7.5", amount="900")
    newcomer.book(days[1], amount="880")
    newcomer.book(days[2], project_key=newcomer.key("project", other.pk))
    newcomer.book(date(2026, 10, 20))  # worked on days[3]
    newcomer.book(days[7], hours="3", amount="360")  # without a document
    newcomer.book(days[4])
    firm.admit(firm.time("90", work_date=date(2026, 10, 28), rate=Decimal(1)))
    found = newcomer.rehearse()
    assert outcomes(found) == {
        Outcome.HOURS: 1, Outcome.AMOUNT: 1, Outcome.PROJECT: 1, Outcome.PERIOD: 1, Outcome.SURPLUS: 1, Outcome.AGREES: 1,
        Outcome.MISSING: 2, Outcome.HELD: 1,
    }  # fmt: skip
    assert found.state == found.State.DIFFERS
    said = {line.outcome: line for line in RehearsedLine.objects.filter(rehearsal=found)}
    assert said[Outcome.HOURS].sentence == "8.00 h would be posted, 7.50 h were booked."
    assert (said[Outcome.HOURS].hours_left, said[Outcome.HOURS].hours_right) == (8, Decimal("7.5"))
    assert "960.00 USD would be posted, 880.00 USD was booked" in said[Outcome.AMOUNT].sentence
    assert "booked on ACM-2" in said[Outcome.PROJECT].sentence
    assert "20 Oct 2026" in said[Outcome.PERIOD].sentence
    assert said[Outcome.SURPLUS].person == "Ana Consultant"  # the ERP's key, in our words
    assert said[Outcome.HELD].rule == "rate-mismatch"
    assert "It was not booked either." in said[Outcome.HELD].sentence


def test_a_month_keyed_in_as_one_sum_agrees_and_says_so(newcomer: Newcomer) -> None:
    newcomer.take(*weekdays(MONTH, 5))
    newcomer.book(date(2026, 10, 31), hours="40", amount="4800")
    found = newcomer.rehearse()
    assert outcomes(found) == {Outcome.AGREES: 5}
    line = RehearsedLine.objects.filter(rehearsal=found).first()
    assert line is not None
    assert (line.confidence, line.sentence) == ("review", "Booked as 1 line for 5 entries of the month.")
    assert found.totals["hours"] == {"left": "40.0000", "right": "40.0000"}


@pytest.mark.case(130)
def test_what_was_booked_by_hand_after_the_cut_over_is_found_before_it_could_be_booked_twice(
    newcomer: Newcomer,
) -> None:
    newcomer.take(MONTH)
    newcomer.book(MONTH)
    sure, unsure, free = newcomer.take(date(2026, 11, 3), date(2026, 11, 4), date(2026, 11, 5), first=10)
    newcomer.book(date(2026, 11, 3))
    newcomer.book(date(2026, 11, 4), hours="6", amount="720")
    found = newcomer.rehearse()
    assert outcomes(found) == {Outcome.AGREES: 1}
    lines = {line.document_id: line for line in RehearsedLine.objects.filter(rehearsal=found, leg="since")}
    assert {pk: (line.outcome, line.confidence) for pk, line in lines.items()} == {
        sure: (Outcome.BOOKED, "confident"), unsure: (Outcome.BOOKED, "review")
    }  # fmt: skip
    assert (found.totals["to_post"], found.totals["owed"]) == (1, {"USD": "960.00"})
    assert going_live.undecided(found) == 1
    with pytest.raises(onboarding.NotYet, match="would be posted a second time"):
        onboarding.decide([lines[unsure].pk], "accepted", by=newcomer.cleo, reason="never mind")
    onboarding.decide([lines[unsure].pk], "same", by=newcomer.cleo, reason="two hours were not billable")
    proposed = onboarding.propose(newcomer.onboarding, by=newcomer.cleo, reason="October ties out")
    waits = Approval.objects.get(kind="live", is_open=True)
    assert (waits.entries, waits.amounts) == (1, {"USD": 960}), "what becomes owed, and nothing of what is history"
    assert going_live.to_post(found) == (1, {"USD": Decimal(960)})
    onboarding.approve(proposed, by=newcomer.carl, comment="seen")
    validation.follow_changes()
    assert list(LedgerEntry.objects.values_list("document_id", flat=True)) == [free]
    assert set(BookedBefore.objects.values_list("document_id", flat=True)) == {sure, unsure}
    documents = list(newcomer.firm.source.documents.select_related("connection").filter(pk__in=[sure]))
    why = owing.why_not_of(documents)[0]
    assert why is not None
    assert (why.code, "H-2" in why.sentence) == (owing.BOOKED_BEFORE, True)
    assert validation.admit([sure, unsure], actor="again").history == [sure, unsure]
    figures = build_figures(newcomer, sure)
    with pytest.raises(DatabaseError, match="was booked before as H-2"), transaction.atomic():
        ledger.enter([(figures, State.READY, "")], actor="somebody", reasons=["sneaked in"])
    assert [sentence for one in invariants.INVARIANTS for sentence in one.check()] == []


def test_a_booking_that_is_surely_of_work_since_the_cut_over_never_serves_a_weaker_likeness_in_the_month(
    newcomer: Newcomer,
) -> None:
    newcomer.take(date(2026, 10, 30))  # never booked, and like the next one but for its day
    [later] = newcomer.take(date(2026, 11, 3), first=10)
    newcomer.book(date(2026, 11, 3))
    found = newcomer.rehearse()
    assert outcomes(found) == {Outcome.MISSING: 1}
    line = RehearsedLine.objects.get(rehearsal=found, leg="since")
    assert (line.document_id, line.outcome, line.confidence) == (later, Outcome.BOOKED, "confident")


def test_a_budget_is_used_up_in_the_order_of_the_days_across_the_whole_month(
    newcomer: Newcomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reconciliation.onboarding import shadow

    monkeypatch.setattr(shadow, "CHUNK", 1)
    newcomer.firm.contract.cap_amount = Decimal(2000)
    newcomer.firm.contract.save()
    newcomer.firm.policy(split_at_cap=False)
    for number, day in enumerate(weekdays(MONTH, 3)):
        newcomer.take(day, first=number + 1)
        newcomer.book(day)
    found = newcomer.rehearse()
    assert outcomes(found) == {Outcome.AGREES: 2, Outcome.HELD: 1}


def test_a_worker_that_lost_its_rehearsal_writes_nothing_and_the_next_one_begins_anew(newcomer: Newcomer) -> None:
    from portal.models import AccountingPeriod

    newcomer.take(MONTH)
    newcomer.book(MONTH)
    period = AccountingPeriod.objects.get(entity=newcomer.firm.entity, code="2026-10")
    asked = onboarding.request(newcomer.onboarding, period, by=newcomer.cleo)
    first = rehearsing.take(asked.pk)
    assert first is not None
    assert rehearsing.take(asked.pk) is None
    assert rehearsing.due() == []
    type(asked).objects.filter(pk=asked.pk).update(lease_until="2020-01-01T00:00:00Z")  # its worker was killed
    assert rehearsing.due() == [asked.pk]
    second = rehearsing.take(asked.pk)
    assert second is not None
    assert second.deaths == 1
    with pytest.raises(rehearsing.RehearsalLost):
        rehearsing.play(first, {newcomer.firm.target.pk: Decimal(0)})
    assert not RehearsedLine.objects.exists()
    rehearsing.play(second, {newcomer.firm.target.pk: Decimal(0)})
    assert RehearsedLine.objects.count() == 1


def test_one_rehearsal_at_a_time_and_only_of_a_closed_month(newcomer: Newcomer) -> None:
    from portal.models import AccountingPeriod

    periods = {one.code: one for one in AccountingPeriod.objects.filter(entity=newcomer.firm.entity)}
    with pytest.raises(onboarding.NotYet, match="is no closed period"):
        onboarding.request(newcomer.onboarding, periods["2026-11"], by=newcomer.cleo)
    onboarding.request(newcomer.onboarding, periods["2026-10"], by=newcomer.cleo)
    with pytest.raises(onboarding.NotYet, match="running already"):
        onboarding.request(newcomer.onboarding, periods["2026-09"], by=newcomer.cleo)


def test_without_a_statement_a_file_of_bookings_is_compared_and_its_faults_are_told_by_row(newcomer: Newcomer) -> None:
    newcomer.take(*weekdays(MONTH, 2))
    head = "number;date;person;project;hours;amount;currency"
    text = f"{head}\nB1;2026-10-01;ana;ACM-1;8;960;USD\nB2;2026-10-02;ana;ACM-1;8,0;960;USD\n"
    found = newcomer.rehearse(bookings=bookings.read("booked.csv", text.encode()))
    assert outcomes(found) == {Outcome.AGREES: 2}
    assert found.basis == "file"
    with pytest.raises(onboarding.NotYet, match=r"Row 2: date “yesterday” is not a day.*Row 3: person is empty"):
        bookings.read("b.csv", b"number,date,person,project,hours\n1,yesterday,ana,ACM-1,8\n2,2026-10-01,,ACM-1,8\n")
    with pytest.raises(onboarding.NotYet, match="Row 2: hours “1,250” is not a decimal number"):
        bookings.read("b.csv", b"number;date;person;project;hours\n1;2026-10-01;ana;ACM-1;1,250\n")
    with pytest.raises(onboarding.NotYet, match="has no column person"):
        bookings.read("b.csv", b"number,date,project,hours\n1,2026-10-01,ACM-1,8\n")
    with pytest.raises(onboarding.NotYet, match="stands twice"):
        bookings.read("b.csv", b"number,date,person,project,hours\n1,2026-10-01,a,P,8\n1,2026-10-01,a,P,8\n")


# The checklist


def test_an_entity_without_anything_fails_each_item_with_what_to_do() -> None:
    newcomer = bring_in(complete=False)
    failing = {one.code for one in onboarding.checklist(newcomer.onboarding) if one.state == FAILS}
    assert failing == {"calendar", "periods", "tested", "cut-over"}
    cleo = Client()
    cleo.force_login(newcomer.cleo)
    page = cleo.get(reverse("onboarding", args=[newcomer.onboarding.pk])).content.decode()
    for one in onboarding.checklist(newcomer.onboarding):
        if one.state == FAILS:
            assert one.remedy
            assert one.mend == "#cut-over" or cleo.get(one.mend).status_code == 200, one
            assert escape(one.mend) in page
    finish(newcomer.firm)
    cut_over(newcomer.onboarding, newcomer.firm.source, newcomer.cleo)
    newcomer.onboarding.refresh_from_db()
    assert [one.code for one in onboarding.checklist(newcomer.onboarding) if one.state == FAILS] == []


def test_each_item_fails_on_its_own_and_leads_to_where_it_is_mended(newcomer: Newcomer) -> None:
    firm, entity = newcomer.firm, newcomer.firm.entity
    cleo = Client()
    cleo.force_login(newcomer.cleo)

    def fails(code: str, words: str) -> None:
        found = item(newcomer, code)
        assert (found.state, words in found.sentence) == (FAILS, True), found
        assert found.mend == "#cut-over" or cleo.get(found.mend).status_code == 200, found.mend

    firm.customer.tax_number = "DE136695970"
    firm.customer.save()
    fails("tax", "the check digits of ACME's tax number DE136695970 do not hold")
    entity.policy = {"no_such_setting": 1}
    entity.save()
    fails("policies", "no_such_setting")
    other = Customer.objects.create(code="NEWC", name="New customer", currency="USD")
    key(firm.target, "customer", firm.customer.pk, "C-77")
    project("ACM-8", entity, other, firm.contract)
    fails("keys-customer", "NEWC has no key in Netsuite-Us")
    assert item(newcomer, "keys-customer").mend.startswith(reverse("mappings"))
    assert "NEWC" in cleo.get(item(newcomer, "keys-customer").mend).content.decode()
    Route.objects.filter(entity=entity).update(valid_to=date(2026, 10, 31))
    fails("routes", "has no route today")
    CutOver.objects.filter(kind="expense").delete()
    fails("cut-over", "expense of")
    EntityGrant.objects.filter(user=newcomer.carl).delete()
    fails("second-person", "fewer than two controllers")


def test_entities_between_which_people_are_lent_divide_their_year_into_as_many_periods(newcomer: Newcomer) -> None:
    gb = world.entity("GB", "GBP")
    Relation.objects.create(provider=gb, receiver=newcomer.firm.entity, valid_from=date(2026, 1, 1))
    assert item(newcomer, "periods").state == MET, "an entity without periods says nothing yet"
    AccountingPeriod.objects.create(entity=gb, code="Q4", starts_on=date(2026, 10, 1), ends_on=date(2026, 12, 31))
    found = item(newcomer, "periods")
    assert found.state == FAILS
    assert "GB, with which people are lent, has 1 periods" in found.sentence


def test_a_month_before_the_last_closed_one_or_one_in_which_nothing_was_done_proves_nothing(newcomer: Newcomer) -> None:
    newcomer.rehearse()
    assert "nothing was worked and nothing booked in 2026-10" in " ".join(
        onboarding.what_is_missing(newcomer.onboarding)
    )
    newcomer.take(MONTH)
    newcomer.book(MONTH)
    newcomer.rehearse()
    assert onboarding.what_is_missing(newcomer.onboarding) == []
    november = AccountingPeriod.objects.get(entity=newcomer.firm.entity, code="2026-11")
    november.state = AccountingPeriod.State.CLOSED
    november.save()
    said = " ".join(onboarding.what_is_missing(newcomer.onboarding))
    assert "2026-10 was replayed, and 2026-11 is the last closed period; replay that" in said


def test_a_cut_over_in_a_closed_month_is_named_because_it_would_be_posted_again(newcomer: Newcomer) -> None:
    cut_over(newcomer.onboarding, newcomer.firm.source, newcomer.cleo, date(2026, 10, 15))
    assert item(newcomer, "cut-over").state == FAILS
    assert "would be posted again" in item(newcomer, "cut-over").sentence


def test_a_connection_that_was_changed_after_its_test_or_did_not_answer_must_be_tested_again(
    newcomer: Newcomer,
) -> None:
    assert item(newcomer, "tested").state == MET
    was_tested(newcomer.firm.target, answers=False)
    assert "did not answer" in item(newcomer, "tested").sentence
    was_tested(newcomer.firm.target)
    newcomer.firm.target.base_url = "http://127.0.0.1:2"
    newcomer.firm.target.save()
    # the history of one transaction bears one moment in tests; a later one is what counts
    newcomer.firm.target.history.filter(base_url="http://127.0.0.1:2").update(history_date="2030-01-01T00:00:00Z")
    assert "was changed since it was tested" in item(newcomer, "tested").sentence


def test_what_was_tried_and_said_in_the_form_of_a_connection_counts_as_it_stands(newcomer: Newcomer) -> None:
    source = newcomer.firm.source
    source.base_url = "http://127.0.0.1:3"
    source.save()
    source.history.filter(base_url="http://127.0.0.1:3").update(history_date="2030-01-01T00:00:00Z")
    assert "was changed since it was tested" in item(newcomer, "tested").sentence
    tried = {"code": source.code, "answers": True, "tested_as": source.tested_as}
    audit.record(newcomer.cleo, "connection-tried", source, entity=source.entity_id, after=tried)
    assert item(newcomer, "tested").state == MET
    source.settings = {**source.settings, "contact": "somebody else"}
    source.save()
    assert item(newcomer, "tested").state == FAILS, "what was tried is not what stands"
    CutOver.objects.all().delete()
    assert item(newcomer, "cut-over").state == FAILS
    source.cut_over_on = date(2026, 10, 15)
    source.save()
    assert "the cut-over of the connection Harvest-Us lies in or before 2026-10" in item(newcomer, "cut-over").sentence
    source.cut_over_on = date(2026, 11, 1)
    source.save()
    found = item(newcomer, "cut-over")
    assert (found.state, "as its connection says" in found.sentence) == (MET, True)


def test_work_without_a_route_is_compared_with_what_was_booked_all_the_same(newcomer: Newcomer) -> None:
    other = MONTH + timedelta(days=1)
    newcomer.take(MONTH, other)
    Route.objects.filter(entity=newcomer.firm.entity).delete()
    text = f"number;date;person;project;hours;amount;currency\nB1;{MONTH};ana;ACM-1;8;960;USD\n"
    found = newcomer.rehearse(bookings=bookings.read("booked.csv", text.encode()))
    said = {line.work_date: (line.outcome, line.sentence, line.number) for line in found.lines.all()}
    outcome, sentence, number = said[MONTH]
    assert (outcome, number) == ("held", "B1")
    assert "It was booked as B1." in sentence
    assert said[other][1].endswith("Whether it was booked is told once a route leads it somewhere.")
    assert len(said) == 2, "and the booking does not stand beside as one without a document"


def test_who_began_it_does_not_let_it_go_live_and_the_database_holds_it(newcomer: Newcomer) -> None:
    tied_out(newcomer)
    cora = world.user("cora", GrantRole.CONTROLLER, newcomer.firm.entity)
    CutOver.history.update(history_user=cora)  # so that nothing but the beginning is cleo's
    proposed = onboarding.propose(newcomer.onboarding, by=cora, reason="October ties out")
    with pytest.raises(onboarding.NotYet, match="You began it; somebody else decides"):
        onboarding.approve(proposed, by=newcomer.cleo, comment="mine")
    with pytest.raises(IntegrityError, match="who_began_it_does_not_let_it_go_live"), transaction.atomic():
        Onboarding.objects.filter(pk=proposed.pk).update(state="live", decided_by=newcomer.cleo)
    client = Client()
    client.force_login(newcomer.carl)
    onboarding.approve(proposed, by=newcomer.carl, comment="seen", signed_in_again=True)
    page = client.get(reverse("onboarding", args=[proposed.pk])).content.decode()
    assert f"Brought in: {proposed}" in page
    assert "Bringing in" not in page


def test_a_project_without_a_key_in_the_erp_is_named(newcomer: Newcomer) -> None:
    firm = newcomer.firm
    project("ACM-7", firm.entity, firm.customer, firm.contract)
    assert item(newcomer, "keys-project").state == FAILS
    assert "ACM-7 has no key in Netsuite-Us" in item(newcomer, "keys-project").sentence
    assert item(newcomer, "keys-task").state == NOT_ASKED


@pytest.mark.case(111)
@pytest.mark.case(112)
def test_people_lent_without_a_relation_or_a_price_list_in_the_lenders_currency_are_found_before_going_live(
    newcomer: Newcomer,
) -> None:
    firm = newcomer.firm
    assert item(newcomer, "intercompany").state == NOT_ASKED
    gb = world.entity("GB", "GBP")
    lent = person("liz", "Liz Lent", gb, firm.role)
    from portal.records import Reference

    firm.admit(firm.time("1", work_date=MONTH, resource=Reference("", lent.code, lent.name)))
    assert item(newcomer, "intercompany").sentence == "people of GB work for US without a relation."
    relation = Relation.objects.create(provider=gb, receiver=firm.entity, valid_from=date(2026, 1, 1))
    assert item(newcomer, "intercompany").state == MET
    assert "GB → US has no price list" in item(newcomer, "price-lists").sentence
    relation.price_list = RateCard.objects.create(code="IC-GB-US", valid_from=date(2026, 1, 1), entity=gb)
    relation.save()
    rate = Rate.objects.create(
        card=relation.price_list, role=firm.role, currency="USD", amount=70, valid_from=date(2026, 1, 1)
    )
    assert "in USD, and GB keeps its books in GBP" in item(newcomer, "price-lists").sentence
    rate.currency = "GBP"
    rate.save()
    assert item(newcomer, "price-lists").state == MET


def test_the_checklist_asks_as_often_for_many_projects_as_for_one(newcomer: Newcomer) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    def asked() -> int:
        with CaptureQueriesContext(connection) as queries:
            onboarding.checklist(newcomer.onboarding)
        return len(queries)

    few = asked()
    for number in range(20):
        project(f"MANY-{number}", newcomer.firm.entity, newcomer.firm.customer, newcomer.firm.contract)
    assert asked() == few


# Going live


def live(newcomer: Newcomer) -> Onboarding:
    proposed = onboarding.propose(newcomer.onboarding, by=newcomer.cleo, reason="October ties out")
    return onboarding.approve(proposed, by=newcomer.carl, comment="seen")


def tied_out(newcomer: Newcomer) -> None:
    newcomer.take(MONTH)
    newcomer.book(MONTH)
    newcomer.rehearse()


def test_going_live_waits_for_a_rehearsal_that_leaves_nothing_open(newcomer: Newcomer) -> None:
    with pytest.raises(onboarding.NotYet, match="was not replayed yet"):
        onboarding.propose(newcomer.onboarding, by=newcomer.cleo, reason="now")
    newcomer.take(MONTH)
    found = newcomer.rehearse()
    with pytest.raises(onboarding.NotYet, match="1 difference is not decided"):
        onboarding.propose(newcomer.onboarding, by=newcomer.cleo, reason="now")
    line = found.lines.get()
    onboarding.decide([line.pk], "accepted", by=newcomer.cleo, reason="it was forgotten by hand")
    assert onboarding.propose(newcomer.onboarding, by=newcomer.cleo, reason="now").state == "proposed"


def test_what_was_decided_of_a_difference_holds_in_the_next_rehearsal_while_it_is_the_same(
    newcomer: Newcomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    newcomer.take(MONTH, date(2026, 10, 2))
    newcomer.book(MONTH, amount="900")
    newcomer.book(date(2026, 10, 2), amount="901")
    first = newcomer.rehearse()
    ids = list(first.lines.values_list("pk", flat=True))
    onboarding.decide(ids, "accepted", by=newcomer.cleo, reason="an old rate, agreed with the client")
    StatementLine.objects.filter(amount=901).update(amount=902)
    monkeypatch.setattr(sql, "now", lambda: datetime(2026, 11, 27, 13, tzinfo=UTC))
    second = newcomer.rehearse()
    assert {(line.amount_right, line.decision, line.decided_by, line.reason) for line in second.lines.all()} == {
        (Decimal(900), "accepted", newcomer.cleo, "an old rate, agreed with the client"), (Decimal(902), "", None, ""),
    }  # fmt: skip
    with pytest.raises(onboarding.NotYet, match="1 difference is not decided"):
        onboarding.propose(newcomer.onboarding, by=newcomer.cleo, reason="now")
    client = Client()
    client.force_login(newcomer.carl)
    page = client.get(f"/onboarding/rehearsals/{second.pk}/?tab=all").content.decode()
    assert "Accepted by cleo on 27 Nov 2026, still the same: an old rate, agreed with the client" in page
    assert "1 difference was decided in the rehearsal before, still the same, and not asked again." in page
    assert "still the same" not in client.get(f"/onboarding/rehearsals/{first.pk}/?tab=all").content.decode()
    assert (
        "Differed, and was rehearsed again" not in client.get(f"/onboarding/{newcomer.onboarding.pk}/").content.decode()
    )
    third = newcomer.rehearse()
    assert third.lines.exclude(decision="").count() == 1, "it is carried on from rehearsal to rehearsal"
    page = client.get(f"/onboarding/{newcomer.onboarding.pk}/").content.decode()
    assert page.count("Differed, and was rehearsed again") == 1, "nothing hangs on the second one any more"


def test_what_was_changed_since_the_rehearsal_is_rehearsed_again(newcomer: Newcomer) -> None:
    tied_out(newcomer)
    newcomer.firm.policy(hours_max=10)
    with pytest.raises(onboarding.NotYet, match="a rate or a mapping changed since"):
        onboarding.propose(newcomer.onboarding, by=newcomer.cleo, reason="now")


def test_a_rate_or_a_key_that_changed_since_has_it_rehearsed_again_and_another_entitys_has_not(
    newcomer: Newcomer,
) -> None:
    tied_out(newcomer)
    firm, found = newcomer.firm, newcomer.onboarding
    before = fingerprint(found)
    other = world.entity("GB", "GBP")
    card = RateCard.objects.create(code="GB", version=1, name="GB", entity=other, valid_from=MONTH)
    Rate.objects.create(card=card, role=firm.role, amount=1, currency="GBP", unit="hour", valid_from=MONTH)
    assert fingerprint(found) == before
    key = Crosswalk.objects.get(kind="resource", internal_id=firm.ana.pk)
    said, key.external_id = key.external_id, "another"
    key.save()
    assert fingerprint(found) != before
    key.external_id = said
    key.save()
    firm.rate.amount += 1
    firm.rate.save()
    with pytest.raises(onboarding.NotYet, match="a rate or a mapping changed since"):
        onboarding.propose(found, by=newcomer.cleo, reason="now")


def test_who_proposed_does_not_decide_and_the_database_holds_it(newcomer: Newcomer) -> None:
    tied_out(newcomer)
    cora = world.user("cora", GrantRole.CONTROLLER, newcomer.firm.entity)
    proposed = onboarding.propose(newcomer.onboarding, by=cora, reason="October ties out")
    with pytest.raises(onboarding.NotYet, match="somebody else decides"):
        onboarding.approve(proposed, by=cora, comment="me too")
    with pytest.raises(IntegrityError, match="a_second_person_let_it_go_live"), transaction.atomic():
        Onboarding.objects.filter(pk=proposed.pk).update(state="live", decided_by=cora)
    with pytest.raises(IntegrityError, match="a_second_person_let_it_go_live"), transaction.atomic():
        Onboarding.objects.filter(pk=proposed.pk).update(state="live")
    analyst = world.user("ana2", GrantRole.ANALYST, newcomer.firm.entity)
    with pytest.raises(PermissionDenied):
        onboarding.approve(proposed, by=analyst, comment="")


def test_who_decided_on_its_differences_or_said_its_cut_over_does_not_let_it_go_live_and_the_database_holds_it(
    newcomer: Newcomer,
) -> None:
    newcomer.take(MONTH)
    (line,) = newcomer.rehearse().lines.all()
    onboarding.decide([line.pk], "accepted", by=newcomer.carl, reason="it was forgotten by hand")
    proposed = onboarding.propose(newcomer.onboarding, by=newcomer.cleo, reason="now")
    with pytest.raises(onboarding.NotYet, match="You decided on differences"):
        onboarding.approve(proposed, by=newcomer.carl, comment="")
    live_by = Onboarding.objects.filter(pk=proposed.pk)
    with pytest.raises(IntegrityError, match="prepared it"), transaction.atomic():
        live_by.update(state="live", decided_by=newcomer.carl)
    for change in ({"decision": "", "decided_by": None}, {"reason": "another one"}):
        with pytest.raises(DatabaseError, match="are decided"), transaction.atomic():
            RehearsedLine.objects.filter(pk=line.pk).update(**change)
    with pytest.raises(DatabaseError, match="are decided"), transaction.atomic():
        RehearsedLine.objects.filter(pk=line.pk).delete()
    cora, late = (world.user(name, GrantRole.CONTROLLER, newcomer.firm.entity) for name in ("cora", "late"))
    with pytest.raises(onboarding.NotYet, match="are decided"):
        onboarding.decide([line.pk], "accepted", by=late, reason="I came too late")
    onboarding.send_back(proposed, by=cora, comment="wait")
    cut_over(newcomer.onboarding, newcomer.firm.source, cora, date(2026, 11, 2))
    newcomer.rehearse()
    (line,) = RehearsedLine.objects.filter(rehearsal__onboarding=proposed).order_by("-pk")[:1]
    onboarding.decide([line.pk], "accepted", by=newcomer.carl, reason="it was forgotten by hand")
    proposed = onboarding.propose(newcomer.onboarding, by=newcomer.cleo, reason="once more")
    with pytest.raises(onboarding.NotYet, match="You said its cut-over"):
        onboarding.approve(proposed, by=cora, comment="")
    with pytest.raises(IntegrityError, match="prepared it"), transaction.atomic():
        live_by.update(state="live", decided_by=cora)
    with pytest.raises(IntegrityError, match="as it was proposed"), transaction.atomic():
        live_by.update(state="live", decided_by=late, proposed_by=newcomer.carl)
    assert onboarding.approve(proposed, by=late, comment="seen").state == "live"


def test_who_brought_the_bookings_that_it_is_compared_with_does_not_let_it_go_live_and_the_database_holds_it(
    newcomer: Newcomer,
) -> None:
    newcomer.take(MONTH)
    text = "number;date;person;project;hours;amount;currency\nB1;2026-10-01;ana;ACM-1;8;960;USD\n"
    newcomer.rehearse(bookings=bookings.read("booked.csv", text.encode()))
    cora, late = (world.user(name, GrantRole.CONTROLLER, newcomer.firm.entity) for name in ("cora", "late"))
    proposed = onboarding.propose(newcomer.onboarding, by=cora, reason="October ties out")
    CutOver.history.update(history_user=cora)  # so that nothing but the file is cleo's
    with pytest.raises(onboarding.NotYet, match="You brought the bookings"):
        onboarding.approve(proposed, by=newcomer.cleo, comment="mine")
    with pytest.raises(IntegrityError, match="brought the bookings"), transaction.atomic():
        Onboarding.objects.filter(pk=proposed.pk).update(state="live", decided_by=newcomer.cleo)
    assert onboarding.approve(proposed, by=late, comment="seen").state == "live"


def test_once_live_the_cut_over_holds_and_history_is_never_posted_again(newcomer: Newcomer) -> None:
    tied_out(newcomer)
    week = newcomer.take(*weekdays(date(2026, 11, 2), 5), first=20)
    live(newcomer)
    validation.follow_changes()
    assert sorted(LedgerEntry.objects.values_list("document_id", flat=True)) == sorted(week)
    late = newcomer.firm.admit(newcomer.firm.time("77", work_date=date(2026, 10, 30)))
    assert (late.ready, len(late.history)) == ([], 1)
    assert len(newcomer.firm.admit(newcomer.firm.time("78", work_date=date(2026, 11, 12))).ready) == 1
    assert AuditEvent.objects.filter(action="onboarding.live", actor=newcomer.carl).count() == 1
    with pytest.raises(DatabaseError, match="is live; that stays"), transaction.atomic():
        Onboarding.objects.filter(pk=newcomer.onboarding.pk).update(state="preparing")
    assert [sentence for one in invariants.INVARIANTS for sentence in one.check()] == []


def test_a_proposal_sent_back_says_why_and_can_be_mended(newcomer: Newcomer) -> None:
    tied_out(newcomer)
    onboarding.propose(newcomer.onboarding, by=newcomer.cleo, reason="now")
    with pytest.raises(onboarding.NotYet, match="stays as it was rehearsed"):
        cut_over(newcomer.onboarding, newcomer.firm.source, newcomer.cleo, date(2026, 12, 1))
    with pytest.raises(onboarding.NotYet, match="what must be done first"):
        onboarding.send_back(newcomer.onboarding, by=newcomer.carl, comment=" ")
    onboarding.send_back(newcomer.onboarding, by=newcomer.carl, comment="wait for the auditors")
    newcomer.onboarding.refresh_from_db()
    assert newcomer.onboarding.state == "preparing"
    assert live(newcomer).state == "live"


def test_expenses_have_a_cut_over_of_their_own(newcomer: Newcomer) -> None:
    firm = newcomer.firm
    days = {(firm.source.pk, "expense"): date(2026, 12, 1)}
    onboarding.set_cut_over(newcomer.onboarding, days, by=newcomer.cleo, reason="expenses follow a month later")
    tied_out(newcomer)
    live(newcomer)
    day = date(2026, 11, 10)
    admitted = firm.admit(firm.time("50", work_date=day), firm.expense("x9", work_date=day))
    assert (len(admitted.ready), len(admitted.history)) == (1, 1)
    assert day > CUT_OVER


@pytest.mark.case(99)
def test_who_bills_for_a_new_entity_is_asked_whether_it_applies_credits_by_itself(newcomer: Newcomer) -> None:
    firm = newcomer.firm
    assert item(newcomer, "policies").state == MET
    Route.objects.create(entity=firm.entity, source=firm.source, target=firm.target, kind="invoice", valid_from=MONTH)
    asked = item(newcomer, "policies")
    assert asked.state == FAILS
    assert f"nobody said whether {firm.target} applies a customer's credit to other bills by itself" in asked.sentence
    firm.entity.policy = {**firm.entity.policy, "credits_applied_by_system": False}
    firm.entity.save()
    newcomer.onboarding.refresh_from_db()
    assert item(newcomer, "policies").state == MET
