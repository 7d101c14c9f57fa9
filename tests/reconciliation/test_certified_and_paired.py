"""A period is signed by two people and loses the signature by itself; what differs is matched by sense, by rule or by hand."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, IntegrityError, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.timezone import localdate

from portal import tokens
from portal.models import AccountingPeriod, ApiAnswer, AuditEvent, GrantRole, Notification, StatementLine, User
from portal.packs import Range
from portal.sql import now
from reconciliation import certifying, matching, pairing
from reconciliation.models import Certificate, Match, MatchingRule, ReconciliationResult, ReconciliationRun
from reconciliation.views.pack import PARTS
from tests import world
from tests.bills import Erp, bill, line_of, posted
from tests.reconciliation.deciding import found_by
from tests.reconciliation.firm import Firm, build

CERTIFICATES = next(part for part in PARTS if part.name == "certificates")
pytestmark = pytest.mark.django_db
UNPROVED = {"target_invoice": "They are invoiced by hand."}  # where no bill was ever taken in


@pytest.fixture
def firm() -> Firm:
    return build()


@pytest.fixture
def period(firm: Firm) -> AccountingPeriod:
    return AccountingPeriod.objects.get(entity=firm.entity, code="2026-09")


@pytest.fixture
def ana(firm: Firm) -> User:
    return world.user("ana", GrantRole.ANALYST, firm.entity)


@pytest.fixture
def cleo(firm: Firm) -> User:
    return world.user("cleo", GrantRole.CONTROLLER, firm.entity)


def line(firm: Firm, number: str, hours: str, day: date, person: str = "", amount: str = "") -> StatementLine:
    return StatementLine.objects.create(
        connection=firm.target, entity=firm.entity, kind="time", number=number, work_date=day, resource_key=person,
        hours=Decimal(hours), amount=Decimal(amount) if amount else Decimal(hours) * 120, currency="USD", read_at=now(),
    )  # fmt: skip


def booked(firm: Firm, *entries: int) -> None:
    """The target's statement holds these entries as they were posted."""
    for entry in entries:
        day = date(2026, 9, 1) + timedelta(days=entry - entries[0] + 1)
        line(firm, f"N{entry}", "8", day)


def compare(firm: Firm, period: AccountingPeriod) -> ReconciliationRun:
    return matching.run(firm.entity, period)


def items(period: AccountingPeriod, leg: str = "ledger_target") -> list[ReconciliationResult]:
    found = ReconciliationResult.objects.standing().filter(period=period, leg=leg).select_related("run__entity")
    return list(found.order_by("subject"))


def test_two_people_certify_and_one_changed_hour_takes_it_back_with_what_changed(
    firm: Firm, period: AccountingPeriod, ana: User, cleo: User
) -> None:
    entries = posted(firm, 2)
    booked(firm, *entries)
    assert compare(firm, period).state == "balanced"
    prepared = certifying.prepare(period, ana, uncompared=UNPROVED)
    with pytest.raises(PermissionDenied):
        certifying.certify(prepared, ana)
    waits = found_by(cleo)
    assert [(one.get_kind_display(), one.title) for one in waits] == [
        ("Certificate to sign", f"Certify {period.entity.code} {period.code}")
    ]
    assert found_by(ana) == []
    certified = certifying.certify(prepared, cleo)
    assert found_by(cleo) == []
    assert (certified.state, certified.certified_by) == ("certified", cleo)
    compare(firm, period)
    assert certifying.live(period) == certified  # a run that finds the same leaves it
    firm.admit(firm.time("1", work_date=date(2026, 9, 2), hours=Decimal(7)))
    assert matching.watch() == 1
    certified.refresh_from_db()
    assert certified.state == "dropped"
    assert certified.delta["legs"]["tracker_ledger"]["hours"] == [
        {"left": "16.0000", "right": "16.0000"}, {"left": "15.0000", "right": "23.0000"},
    ]  # fmt: skip
    assert any("does not add up to the current version" in item for item in certified.delta["items"])
    assert any(item.startswith("Found since: Ana Consultant on 2 Sep 2026, ") for item in certified.delta["items"])
    told = Notification.objects.filter(subject__contains="dropped").values_list("person__username", flat=True)
    assert set(told) == {"ana", "cleo"}
    assert AuditEvent.objects.filter(action="certificate.drop").count() == 1
    told_to_auditors = dict(zip(CERTIFICATES.columns, next(iter(CERTIFICATES.rows(_today(firm, cleo)))), strict=True))
    said = {
        name: told_to_auditors[name] for name in ("entity", "state", "prepared_by", "certified_by", "ended_by", "why")
    }
    assert said == {
        "entity": "US", "state": "Dropped", "prepared_by": "ana", "certified_by": "cleo", "ended_by": "by itself",
        "why": certified.why,
    }  # fmt: skip
    assert told_to_auditors["changed"] == " ".join(certified.changes) != ""
    assert not list(CERTIFICATES.rows(_today(firm, world.user("gus", GrantRole.AUDITOR, world.entity("GB", "GBP")))))
    with pytest.raises(DatabaseError, match="stays as it ended"), transaction.atomic():
        Certificate.objects.filter(pk=certified.pk).update(why="no")


def _today(firm: Firm, person: User) -> Range:
    today = timezone.now().date()
    return Range(person, [firm.entity], today, today)


def test_the_database_refuses_one_person_twice_and_open_items_without_a_reason(
    firm: Firm, period: AccountingPeriod, ana: User, cleo: User
) -> None:
    line(firm, "X1", "3", date(2026, 9, 3))
    with pytest.raises(certifying.NotCertifiable, match="was not compared"):
        certifying.prepare(period, cleo, uncompared=UNPROVED)
    compare(firm, period)
    with pytest.raises(certifying.NotCertifiable, match="1 open item would be accepted"):
        certifying.prepare(period, cleo, uncompared=UNPROVED)
    prepared = certifying.prepare(period, cleo, "The landlord books here; it is not ours.", UNPROVED)
    with pytest.raises(certifying.NotCertifiable, match="a second person"):
        certifying.certify(prepared, cleo)
    with pytest.raises(IntegrityError), transaction.atomic():
        Certificate.objects.filter(pk=prepared.pk).update(state="certified", certified_by=cleo, certified_at=now())
    with pytest.raises(DatabaseError, match="is not changed"), transaction.atomic():
        Certificate.objects.filter(pk=prepared.pk).update(note="other")
    certifying.withdraw(prepared, ana, "One more to look at.")
    assert certifying.live(period) is None


@pytest.mark.case(49)
def test_opening_the_books_again_takes_the_certificate_back(
    firm: Firm, period: AccountingPeriod, ana: User, cleo: User
) -> None:
    AccountingPeriod.objects.filter(pk=period.pk)
    period.state = "closed"
    period.save()
    compare(firm, period)
    certified = certifying.certify(certifying.prepare(period, ana, uncompared=UNPROVED), cleo)
    period.state = "open"
    period.save()
    matching.watch()
    certified.refresh_from_db()
    assert (certified.state, certified.why) == ("dropped", "The books were opened again.")


def test_what_belongs_together_is_matched_by_hand_down_to_zero_and_breaks_when_it_changes(
    firm: Firm, period: AccountingPeriod, ana: User
) -> None:
    [entry] = posted(firm, 1)  # 8 h, booked by hand as two records
    line(firm, "X1", "5", date(2026, 9, 2))
    second = line(firm, "X2", "2.5", date(2026, 9, 2))
    run = compare(firm, period)
    assert run.totals["ledger_target"]["differing"] == 3
    with pytest.raises(pairing.NotMatchable, match="left over"):
        pairing.match(items(period), ana)
    second.hours, second.amount, second.changed_at = Decimal(3), Decimal(360), now()
    second.save()
    compare(firm, period)
    made = pairing.match(items(period), ana)
    assert (made.items, made.hours_left, made.hours_right) == (3, Decimal(8), Decimal(8))
    run = compare(firm, period)
    assert run.state == "balanced"
    assert run.totals["ledger_target"]["matched"] == 3
    second.hours, second.changed_at = Decimal(4), now()
    second.save()
    assert compare(firm, period).state == "out_of_balance"
    made.refresh_from_db()
    assert (made.state, made.why) == ("broken", "An item of it changed underneath.")
    assert not ReconciliationResult.objects.standing().filter(match__isnull=False).exists()
    assert entry


def test_a_small_rest_needs_a_reason_and_what_is_to_come_a_day(firm: Firm, period: AccountingPeriod, ana: User) -> None:
    posted(firm, 1)
    line(firm, "X1", "8", date(2026, 9, 2), amount="959.50")
    compare(firm, period)
    with pytest.raises(pairing.NotMatchable, match="say what it is and why"):
        pairing.match(items(period), ana)
    made = pairing.match(items(period), ana, code="rounding", reason="The ERP rounds its rate.")
    assert compare(firm, period).state == "balanced"
    pairing.take_apart(made, ana, "It was another one.")
    rows = [row for row in items(period) if row.outcome == "missing_right"]
    with pytest.raises(pairing.NotMatchable, match="has passed"):
        pairing.wait(rows, ana, expected_on=date(2020, 1, 1), reason="The clerk is on holiday.")
    waiting = pairing.wait(rows, ana, expected_on=localdate() + timedelta(days=3), reason="The clerk is on holiday.")
    assert [row.standing for row in items(period)] == ["unmatched", "timing"]
    Match.objects.filter(pk=waiting.pk).update(expected_on=localdate() - timedelta(days=1))
    compare(firm, period)
    assert [row.standing for row in items(period)] == ["unmatched", "unmatched"]


def test_a_rule_is_tested_on_history_and_let_go_by_a_second_person_before_it_suggests(
    firm: Firm, period: AccountingPeriod, ana: User, cleo: User
) -> None:
    posted(firm, 2)
    line(firm, "X1", "8", date(2026, 9, 2))
    line(firm, "X2", "5", date(2026, 9, 3))
    line(firm, "X3", "3", date(2026, 9, 3))
    compare(firm, period)
    pairing.match([row for row in items(period) if row.dated == date(2026, 9, 2)], ana)
    rule = MatchingRule.objects.create(
        entity=firm.entity, leg="ledger_target", name="Same day", criteria=["day"], made_by=ana
    )
    with pytest.raises(pairing.NotMatchable, match="not tested"):
        pairing.activate(rule, cleo)
    pairing.test(rule, ana)
    assert rule.tested == {"groups": 2, "agreed": 1, "contradicted": 0, "new": 1}
    with pytest.raises(IntegrityError), transaction.atomic():
        MatchingRule.objects.filter(pk=rule.pk).update(state="active", activated_by=ana)
    pairing.activate(rule, cleo)
    run = compare(firm, period)
    assert run.totals["ledger_target"]["standing"] == {"matched": 2, "suggested": 3, "unmatched": 0, "timing": 0}
    suggestion = Match.objects.get(state="suggested")
    pairing.take_apart(suggestion, ana, "Two people, by chance on one day.")
    compare(firm, period)
    assert not Match.objects.filter(state="suggested").exists()  # what was refused is not suggested again


@pytest.mark.case(94, 100)
def test_bills_and_payments_of_the_fourth_leg_are_matched_across_customers_cash(
    firm: Firm, period: AccountingPeriod, ana: User
) -> None:
    bill(firm, "501", lines=1, booked_on=date(2026, 9, 30), due_on=date(2026, 10, 1))
    Erp(firm).says(Erp(firm).payment("P1", "960", unapplied=Decimal(960), booked_on=date(2026, 9, 30)))
    run = compare(firm, period)
    assert run.totals["invoice_payment"]["outcomes"] == {"missing_left": 1, "missing_right": 1}
    assert sorted(row.reason for row in items(period, "invoice_payment")) == [
        "Invoice INV-501 is not paid; due on 1 Oct 2026.", "Payment PAY-P1 has 960.00 USD applied to no bill.",
    ]  # fmt: skip
    pairing.match(items(period, "invoice_payment"), ana)
    assert compare(firm, period).totals["invoice_payment"]["differing"] == 0


@pytest.mark.case(94, 95)
def test_a_payment_is_matched_with_an_invoice_of_an_earlier_month_and_both_months_know_it(
    firm: Firm, period: AccountingPeriod, ana: User, client: Client
) -> None:
    later = AccountingPeriod.objects.get(entity=firm.entity, code="2026-10")
    bill(firm, "501", lines=1, booked_on=date(2026, 9, 30), due_on=date(2026, 10, 1))
    erp = Erp(firm)
    paid = erp.payment("P1", "960", unapplied=Decimal(960), booked_on=date(2026, 10, 20))
    erp.says(paid)
    compare(firm, period), compare(firm, later)
    client.force_login(ana)
    there = client.get(reverse("matching", args=[later.pk]))
    assert there["Location"] == reverse("matching_panes", args=[later.pk, "invoice_payment"])
    page = client.get(there["Location"]).content.decode()
    assert page.count('name="selected"') == 2
    assert '<span class="tag">2026-09</span>' in page
    both = items(period, "invoice_payment") + items(later, "invoice_payment")
    told = {"do": "match", "selected": [str(item.pk) for item in both]}
    assert client.post(there["Location"], told).status_code == 302
    made = Match.objects.get()
    assert (made.items, made.amount_left, made.amount_right) == (2, Decimal(960), Decimal(960))
    for month in (period, later):
        assert compare(firm, month).totals["invoice_payment"]["differing"] == 0
    erp.says(erp.again(paid, amount=Decimal(900), unapplied=Decimal(900)))
    assert compare(firm, later).totals["invoice_payment"]["differing"] == 1
    made.refresh_from_db()
    assert (made.state, made.why) == ("broken", "An item of it changed underneath.")
    assert [row.standing for row in items(period, "invoice_payment")] == ["unmatched"]
    line(firm, "X1", "8", date(2026, 9, 2))
    line(firm, "X2", "8", date(2026, 10, 2))
    compare(firm, period), compare(firm, later)
    with pytest.raises(pairing.NotMatchable, match="one period is matched at a time"):
        pairing.match(items(period) + items(later), ana)


def test_a_rule_suggests_the_money_of_another_month_for_a_bill_that_is_not_due_yet(
    firm: Firm, period: AccountingPeriod, ana: User, cleo: User, client: Client
) -> None:
    later = AccountingPeriod.objects.get(entity=firm.entity, code="2026-10")
    due = localdate() + timedelta(days=30)
    for number in ("501", "502"):
        bill(firm, number, lines=1 if number == "501" else 2, booked_on=date(2026, 9, 30), due_on=due)
    rule = MatchingRule(entity=firm.entity, leg="invoice_payment", name="Same sum", criteria=["amount"])
    pairing.activate(pairing.test(pairing.write(rule, ana), ana), cleo)
    Erp(firm).says(Erp(firm).payment("P1", "960", unapplied=Decimal(960), booked_on=date(2026, 10, 20)))
    compare(firm, period), compare(firm, later)
    suggestion = Match.objects.get()
    assert (suggestion.state, suggestion.items, suggestion.amount_left) == ("suggested", 2, Decimal(960))
    assert [row.standing for row in items(later, "invoice_payment")] == ["suggested"]
    assert [row.standing for row in items(period, "invoice_payment")] == ["timing", "timing"]
    client.force_login(ana)
    address = reverse("matching_panes", args=[later.pk, "invoice_payment"])
    assert client.get(address).content.decode().count("Suggested: Same sum: 2 items") == 2
    chosen = [row.pk for row in items(later, "invoice_payment")]
    client.post(address, {"do": "confirm", "selected": chosen})
    assert [row.standing for row in items(later, "invoice_payment")] == ["matched"]
    assert compare(firm, later).totals["invoice_payment"]["differing"] == 0
    assert compare(firm, period).totals["invoice_payment"]["open"] == 2  # its system has still to apply the money
    assert pairing.hit_rates([rule.pk]) == {rule.pk: (1, 1, 0)}
    pairing.take_apart(suggestion, ana, "It is for the other bill, in part.")
    compare(firm, period), compare(firm, later)
    assert Match.objects.count() == 1, "what was refused is not suggested again, whichever month is compared"


def test_hours_of_a_tracker_are_matched_by_hours_alone_because_it_states_no_money(
    firm: Firm, period: AccountingPeriod, ana: User
) -> None:
    posted(firm, 2)
    compare(firm, period)
    rows = list(ReconciliationResult.objects.standing().filter(leg="tracker_ledger"))
    for row, sides in zip(rows, ((8, 0, None, 960), (0, 8, None, 960)), strict=False):
        row.hours_left, row.hours_right, row.amount_left, row.amount_right = sides
    assert pairing.sides_of(rows).is_even


def test_what_a_payment_leaves_is_found_where_its_system_does_not_say_it_and_a_line_is_named_by_its_place(
    firm: Firm, period: AccountingPeriod
) -> None:
    erp = Erp(firm)
    erp.says(erp.bill("501", line_of(10_000_001, "3"), booked_on=date(2026, 9, 30)))
    erp.says(erp.payment("P1", "100", unapplied=None, booked_on=date(2026, 9, 30)))
    compare(firm, period)
    assert [row.reason for row in items(period, "target_invoice")] == [
        "Line 1 of invoice INV-501 bills nothing that was delivered."
    ]
    assert "Payment PAY-P1 has 100.00 USD applied to no bill." in [
        row.reason for row in items(period, "invoice_payment")
    ]


def test_watching_compares_with_the_tolerance_of_the_run_that_was_signed(
    firm: Firm, period: AccountingPeriod, ana: User, cleo: User
) -> None:
    first, second = posted(firm, 2)
    line(firm, f"N{first}", "8.004", date(2026, 9, 2), amount="960")
    booked_line = line(firm, f"N{second}", "8", date(2026, 9, 3))
    run = matching.run(firm.entity, period, targets={firm.target.pk: Decimal("0.005")})
    assert (run.state, run.tolerances) == ("balanced", {str(firm.target.pk): "0.005"})
    certified = certifying.certify(certifying.prepare(period, ana, uncompared=UNPROVED), cleo)
    booked_line.changed_at = now()
    booked_line.save()
    assert matching.watch() == 1
    assert certifying.live(period) == certified
    latest = ReconciliationRun.objects.order_by("-pk").first()
    assert latest is not None
    assert (latest.pk > run.pk, latest.basis == run.basis) == (True, True)


def test_a_match_that_is_taken_apart_and_a_day_that_passes_take_the_certificate_back(
    firm: Firm, period: AccountingPeriod, ana: User, cleo: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciliation.sql.certifying.is_touched", lambda *_: False)  # no entry, line or bill moves
    posted(firm, 1)
    line(firm, "X1", "8", date(2026, 9, 2))
    compare(firm, period)
    made = pairing.match(items(period), ana)
    assert compare(firm, period).state == "balanced"
    certified = certifying.certify(certifying.prepare(period, ana, uncompared=UNPROVED), cleo)
    assert matching.watch() == 0
    pairing.take_apart(made, ana, "It was another one.")
    assert matching.watch() == 1
    certified.refresh_from_db()
    assert certified.state == "dropped"
    waiting = [
        pairing.wait([row], ana, expected_on=localdate() + timedelta(days=3), reason="The clerk is on holiday.")
        for row in items(period)
    ]
    compare(firm, period)
    again = certifying.certify(certifying.prepare(period, ana, uncompared=UNPROVED), cleo)
    assert matching.watch() == 0
    Match.objects.filter(pk__in=[one.pk for one in waiting]).update(expected_on=localdate() - timedelta(days=1))
    assert matching.watch() == 1
    again.refresh_from_db()
    assert again.state == "dropped"


def test_a_rule_keeps_to_the_tolerance_of_its_entity_and_ties_no_hours_to_bills(
    firm: Firm, period: AccountingPeriod, ana: User, cleo: User
) -> None:
    wide = {"entity": firm.entity, "leg": "ledger_target", "name": "Same day", "criteria": ["day"], "made_by": ana}
    with pytest.raises(pairing.NotMatchable, match="a rule keeps to it"):
        pairing.write(MatchingRule(**wide, hours_tolerance=Decimal(2)), ana)
    with pytest.raises(pairing.NotMatchable, match="not by a rule"):
        pairing.write(MatchingRule(**{**wide, "leg": "target_invoice"}), ana)
    rule = MatchingRule.objects.create(**wide, amount_tolerance=Decimal(100), tested_at=now())
    with pytest.raises(pairing.NotMatchable, match="a rule keeps to it"):
        pairing.activate(rule, cleo)
    rule.state, rule.activated_by = "active", cleo
    rule.save()
    posted(firm, 1)
    stated = line(firm, "X1", "8", date(2026, 9, 2), amount="900")
    compare(firm, period)
    assert not Match.objects.exists()  # 60 USD are more than the entity accepts
    stated.amount, stated.changed_at = Decimal("959.50"), now()
    stated.save()
    compare(firm, period)
    suggestion = Match.objects.get(state="suggested")
    firm.entity.policy = {"match_amount": "0.1"}
    firm.entity.save()
    with pytest.raises(pairing.NotMatchable, match="are left over"):
        pairing.confirm(Match.objects.get(pk=suggestion.pk), cleo)


def test_a_certificate_from_before_tolerances_were_kept_is_compared_with_the_targets_own_unit(
    firm: Firm, period: AccountingPeriod, ana: User, cleo: User
) -> None:
    [entry] = posted(firm, 1)
    line(firm, f"N{entry}", "8.004", date(2026, 9, 2), amount="960")
    run = matching.run(firm.entity, period, targets={firm.target.pk: Decimal("0.005")})
    certified = certifying.certify(certifying.prepare(period, ana, uncompared=UNPROVED), cleo)
    ReconciliationRun.objects.update(tolerances={})
    assert [matching.watch(), matching.watch()] == [0, 0]
    asked = ReconciliationRun.objects.get(pk__gt=run.pk)
    assert (asked.state, asked.requested_by) == ("running", None)  # who reads the statement knows the unit
    assert certifying.live(period) == certified
    asked.delete()
    other = AccountingPeriod.objects.get(entity=firm.entity, code="2026-10")
    matching.run(firm.entity, other, targets={firm.target.pk: Decimal("0.005")})
    assert matching.watch() == 1
    assert certifying.live(period) == certified
    assert ReconciliationRun.objects.filter(period=period).latest("pk").tolerances == {str(firm.target.pk): "0.005"}


def test_the_digests_of_another_engine_are_taken_anew_once_and_count_from_then_on(
    firm: Firm, period: AccountingPeriod, ana: User, cleo: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = posted(firm, 2)
    booked(firm, *entries)
    foreign = line(firm, "X1", "8", date(2026, 9, 2))
    compare(firm, period)
    certified = certifying.certify(certifying.prepare(period, ana, "booked by hand", UNPROVED), cleo)
    for name in ("reconciliation.sql.legs.ENGINE", "reconciliation.sql.legs.touched.ENGINE"):
        monkeypatch.setattr(name, 1000)
    assert compare(firm, period).compared is None
    assert certifying.live(period) == certified
    StatementLine.objects.filter(pk=foreign.pk).update(gone_at=now(), changed_at=now())
    line(firm, "X2", "8", date(2026, 9, 2))  # another record with the same figures
    run = compare(firm, period)
    certified.refresh_from_db()
    assert certified.state == "dropped"
    same = {word: run.totals["ledger_target"][word] for word in ("matched", "differing", "hours", "money")}
    assert same.items() <= certified.totals["ledger_target"].items()


def test_another_day_for_the_customers_bills_is_a_reason_to_compare_what_was_signed(
    firm: Firm, period: AccountingPeriod, ana: User, cleo: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciliation.sql.certifying.is_touched", lambda *_: False)
    compare(firm, period)
    certifying.certify(certifying.prepare(period, ana, uncompared=UNPROVED), cleo)
    assert matching.watch() == 0
    firm.customer.invoice_schedule, firm.customer.invoice_day = "weekly", 1
    firm.customer.save()
    assert [matching.watch(), matching.watch()] == [1, 0]


@pytest.mark.django_db(transaction=True)
def test_what_came_while_a_run_was_on_its_way_is_looked_at_before_anybody_signs() -> None:
    firm = build()
    period = AccountingPeriod.objects.get(entity=firm.entity, code="2026-09")
    ana, cleo = (world.user(name, GrantRole.CONTROLLER, firm.entity) for name in ("ana", "cleo"))
    compare(firm, period)
    prepared = certifying.prepare(period, ana, uncompared=UNPROVED)
    firm.admit(firm.time("1", work_date=date(2026, 9, 2)))
    # The run had looked before, and took until after it to add up.
    ReconciliationRun.objects.update(finished_at=timezone.now() + timedelta(minutes=1))
    with pytest.raises(certifying.NotCertifiable, match="changed since it was prepared"):
        certifying.certify(prepared, cleo)
    certifying.withdraw(prepared, ana, "One more came.")
    with pytest.raises(certifying.NotCertifiable, match="Something moved since"):
        certifying.prepare(period, ana, uncompared=UNPROVED)


def test_programs_match_open_items_and_certify_as_two_people_do_and_are_refused_in_the_same_words(
    firm: Firm, period: AccountingPeriod, ana: User, cleo: User
) -> None:
    bill(firm, "501", lines=1, booked_on=date(2026, 9, 30), due_on=date(2026, 10, 1))
    Erp(firm).says(Erp(firm).payment("P1", "960", unapplied=Decimal(960), booked_on=date(2026, 9, 30)))
    compare(firm, period)

    def posts(who: User, address: str, **said: Any) -> tuple[int, Any]:
        headers = {
            "Authorization": f"Bearer {tokens.issue(who, 'program', may_decide=True)}",
            "Idempotency-Key": f"key-{ApiAnswer.objects.count():08}",
        }
        answer = Client(headers=headers).post(f"/api/v1/{address}/", said, content_type="application/json")
        return answer.status_code, answer.json()

    ids = [item.pk for item in items(period, "invoice_payment")]
    assert posts(ana, "matches/make", items=ids[:1])[1]["detail"].startswith("One item alone belongs to nothing")
    assert posts(ana, "matches/make", items=[*ids, 10**9])[0] == 404
    assert posts(ana, "matches/make", items=ids)[0] == 200
    made = Match.objects.get(state="confirmed")
    assert sorted(made.subjects) == sorted(item.subject for item in items(period, "invoice_payment"))
    assert (
        posts(ana, f"matches/{made.pk}/acts", act="take-apart")[1]["detail"] == "Say why they do not belong together."
    )
    assert posts(ana, f"matches/{made.pk}/acts", act="take-apart", reason="another customer")[1]["state"] == "broken"
    status, waits = posts(ana, "matches/make", items=ids, expected_on="2099-01-31", reason="the bank is asked")
    assert (status, waits["kind"], waits["expected_on"]) == (200, "timing", "2099-01-31")

    rule = {"entity": firm.entity.code, "leg": "invoice_payment", "name": "Same amount", "criteria": ["amount"]}
    assert posts(ana, "matching-rules/propose", **rule | {"leg": "target_invoice"})[0] == 422
    assert posts(ana, "matching-rules/propose", **rule | {"entity": "GB"})[0] == 404
    status, draft = posts(ana, "matching-rules/propose", **rule)
    assert (status, draft["state"], draft["made_by"]) == (200, "draft", "ana")
    acts = f"matching-rules/{draft['id']}/acts"
    assert posts(cleo, acts, act="activate")[1]["detail"] == "It was not tested on history yet."
    assert posts(ana, acts, act="test")[1]["tested"] == {"groups": 0, "agreed": 0, "contradicted": 0, "new": 0}
    assert posts(ana, acts, act="activate")[0] == 403
    assert posts(cleo, acts, act="activate")[1]["activated_by"] == "cleo"
    assert "retire it instead" in posts(cleo, acts, act="decline", reason="Too wide.")[1]["detail"]
    assert posts(ana, acts, act="retire")[1]["state"] == "retired"
    other = posts(ana, "matching-rules/propose", **rule | {"name": "Another"})[1]
    declined = posts(cleo, f"matching-rules/{other['id']}/acts", act="decline", reason="Too wide.")[1]
    assert declined["state"] == "retired"
    assert MatchingRule.objects.get(pk=other["id"]).history.latest().history_change_reason == "declined: Too wide."

    run = compare(firm, period)
    signs = {"entity": firm.entity.code, "period": period.code}
    status, signed = posts(ana, "certificates/prepare", **signs, note="the bank is asked", uncompared={})
    assert (status, signed["state"], signed["run"]) == (200, "prepared", run.pk)
    assert "prepared already" in posts(ana, "certificates/prepare", **signs, note="again")[1]["detail"]
    assert posts(ana, f"certificates/{signed['id']}/acts", act="certify")[0] == 403
    status, certified = posts(cleo, f"certificates/{signed['id']}/acts", act="certify")
    assert (status, certified["state"], certified["certified_by"]) == (200, "certified", cleo.username)
