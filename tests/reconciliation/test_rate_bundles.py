"""A rate that changes in the past: open work is priced anew, booked work is booked anew, and bills get a difference."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal import invariants
from portal.models import (
    AccountingPeriod,
    AuditEvent,
    GrantRole,
    LedgerEntry,
    Notification,
    Rate,
    State,
    User,
)
from portal.models import Receipt as StoredReceipt
from reconciliation import billing, changes, corrections
from reconciliation.models import BillDifference, BundleRow, ChangeSet, ExceptionCase, RateBundle
from reconciliation.rates import booking, planning
from reconciliation.rates.lines import Wanted, alike, lines_for
from reconciliation.rates.matrix import Span, span_of
from reconciliation.rates.planning import NotPlannable
from reconciliation.sql import rates as rates_sql
from tests import bills, world
from tests.reconciliation import desk
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm, entry, post, state

pytestmark = pytest.mark.django_db
SEPTEMBER = Span(date(2026, 9, 1), date(2026, 9, 30))


@pytest.fixture
def firm() -> Firm:
    return firms.build()


@pytest.fixture
def fay(firm: Firm) -> User:
    return desk.analyst(firm)


@pytest.fixture
def cleo(firm: Firm) -> User:
    return world.user("cleo", GrantRole.CONTROLLER, firm.entity)


@pytest.fixture
def zoe(firm: Firm) -> User:
    return world.user("zoe", GrantRole.CONTROLLER, firm.entity)


def drafted(firm: Firm, by: User, amount: str = "130", span: Span = SEPTEMBER) -> tuple[ChangeSet, RateBundle]:
    wanted = Wanted(firm.rate, Decimal(amount), "hour", span)
    change_set = changes.draft(
        by=by, title="Senior rate of September", reason="agreed by letter", lines=lines_for(wanted, alike(firm.rate))
    )
    return change_set, planning.begin(change_set, by=by)


def approved(change_set: ChangeSet, by: User, other: User) -> None:
    changes.submit(change_set, by)
    plan = RateBundle.objects.get(change_set=change_set)
    changes.approve(change_set, other, "read the letter", plan=plan.version, signed_in_again=True)
    changes.apply(change_set)
    assert change_set.state == ChangeSet.State.APPLIED


def worked_off() -> None:
    """What the sweeper would do with every bundle that waits."""
    for bundle_id, _ in booking.due():
        booking.run(bundle_id)


def rows(bundle: RateBundle) -> list[tuple[str, str, Decimal | None, Decimal | None]]:
    found = bundle.rows.order_by("entry_id").values_list("way", "result", "amount_before", "amount_after")
    return [(way, result, before, after) for way, result, before, after in found]


def receipts(reversal_ids: Sequence[int]) -> None:
    """The reversals are receipted by the target, and what waits for them goes."""
    post(reversal_ids)
    corrections.settle(reversal_ids)


# The story


@pytest.mark.case(36)
def test_a_change_of_the_past_is_one_bundle_of_change_reversals_new_bookings_and_differences_of_bills(
    firm: Firm, fay: User, cleo: User
) -> None:
    firm.rate.history.update(history_date=datetime(2026, 1, 1, tzinfo=UTC))  # it stood before
    posted = bills.posted(firm, 3)
    billed = bills.posted(firm, 2, first=10)
    invoice = bills.bill(firm, lines=2)
    for number, entry_id in enumerate(billed):
        bills.allocate(invoice, entry_id, line=invoice.current.lines.get(position=number))
    october = desk.ready(firm, 1)
    waiting = firm.admit(firm.time("20", work_date=date(2026, 9, 29))).ready
    change_set, bundle = drafted(firm, fay)
    assert (bundle.state, bundle.total) == ("planned", 5)
    assert rows(bundle) == [
        *[("rebook", "pending", Decimal(960), Decimal(1040))] * 3, *[("bill", "pending", Decimal(960), Decimal(1040))] * 2,
    ]  # fmt: skip
    assert [(one.billed, one.would_be, one.net, one.proposed_at) for one in bundle.bills.all()] == [
        (Decimal(1920), Decimal(2080), Decimal(160), None)
    ]
    before = {pk: state(pk) for pk in (*posted, *billed)}
    worked_off()
    assert {pk: state(pk) for pk in (*posted, *billed)} == before  # nothing before somebody else agreed

    approved(change_set, fay, cleo)
    assert entry(waiting[0]).amount == Decimal(1040)  # open work follows at once
    assert entry(october[0]).amount == Decimal(960)
    worked_off()
    bundle.refresh_from_db()
    assert (bundle.state, bundle.done, bundle.approved_by) == ("done", 5, cleo)
    pairs = list(
        bundle.rows.filter(way="rebook").order_by("entry_id").values_list("entry_id", "reversal_id", "rebooked_id")
    )
    for original, reversal_id, rebooked_id in pairs:
        taken, anew = entry(reversal_id), entry(rebooked_id)
        assert (taken.reverses_id, taken.amount, taken.hours) == (original, Decimal(-960), Decimal(-8))
        assert (anew.amount, anew.rate, anew.state_row.state) == (Decimal(1040), Decimal(130), "ready")
        assert (anew.version, anew.document_id) == (2, entry(original).document_id)
        assert anew.state_row.waits_on == f"reversal:{reversal_id}"
    assert {state(pk) for pk in billed} == {"posted"}  # the bill gets a difference; its entries stay
    difference = BillDifference.objects.get()
    assert difference.proposed_at is not None
    assert AuditEvent.objects.filter(action="rates.rebooked", actor=cleo).count() == 1
    assert Notification.objects.filter(person=fay, subject__startswith="Bills are off").count() == 1

    receipts([pair[1] for pair in pairs])
    assert {state(pk) for pk in posted} == {"reversed"}
    post([pair[2] for pair in pairs])
    for line in LedgerEntry.objects.filter(state_row__state="posted", reverses=None).exclude(pk__in=billed):
        assert line.rate_used is not None
        assert span_of(line.rate_used).overlap(Span(line.work_date, line.work_date)) is not None
        assert line.rate == line.rate_used.amount
    broken = [told for one in invariants.INVARIANTS if one.code in ("I9", "I10", "I17", "I22") for told in one.check()]
    assert broken == []


@pytest.mark.case(36)
def test_a_lower_rate_proposes_a_credit_that_is_a_cause_until_it_was_credited(
    firm: Firm, fay: User, cleo: User
) -> None:
    [billed] = bills.posted(firm)
    invoice = bills.bill(firm)
    allocation = bills.allocate(invoice, billed)
    change_set, bundle = drafted(firm, fay, "100")
    approved(change_set, fay, cleo)
    worked_off()
    bundle.bills.update(proposed_at=timezone.now())  # after the allocation, as with transactions of their own
    difference = bundle.bills.get()
    assert difference.net == Decimal(-160)
    assert billing.tell_of_rates([invoice.pk])[1] == 0
    cause = ExceptionCase.objects.get(rule="bill-off-by-rate")
    assert (cause.state, cause.entity, cause.detail["amount"]) == ("open", firm.entity, "160.0000")
    assert "160.00 USD are to be credited" in cause.sentence
    asked = [(invoice.pk, difference.proposed_at)]
    assert rates_sql.credited_since(asked, {invoice.pk: [billed]}) == {}
    note = bills.bill(firm, "601", "credit_note")
    bills.allocate(
        invoice, billed, "0", "-60.00", line=note.current.lines.get(), cause=note.current, takes_back=allocation
    )
    assert rates_sql.credited_since(asked, {invoice.pk: [billed]}) == {invoice.pk: Decimal(60)}
    assert billing.tell_of_rates([invoice.pk])[1] == 0
    cause.refresh_from_db()
    assert "100.00 USD are to be credited" in cause.sentence
    bills.allocate(
        invoice, billed, "0", "-100.00", line=note.current.lines.get(), cause=note.current, takes_back=allocation
    )
    assert billing.tell_of_rates([invoice.pk])[1] == 1
    cause.refresh_from_db()
    assert cause.state == "resolved"


def test_only_the_part_that_stands_on_a_bill_counts_to_the_cent(firm: Firm, fay: User) -> None:
    [partly] = bills.posted(firm)
    invoice = bills.bill(firm)
    bills.allocate(invoice, partly, "3", "360.00")
    _, bundle = drafted(firm, fay, "133.33")
    assert rows(bundle) == [("bill", "pending", Decimal(360), Decimal("399.99"))]


@pytest.mark.case(36)
def test_a_bill_that_is_partly_credited_is_told_by_what_stands_of_it_and_one_in_another_currency_at_its_own_rate(
    firm: Firm, fay: User, cleo: User
) -> None:
    hours_back, money_back, abroad = bills.posted(firm, 3)
    first = bills.bill(firm, "501", lines=2)
    lines = list(first.current.lines.order_by("position"))
    taken = [bills.allocate(first, pk, line=line) for pk, line in zip((hours_back, money_back), lines, strict=True)]
    note = bills.bill(firm, "601", "credit_note")
    credit = {"line": note.current.lines.get(), "cause": note.current}
    bills.allocate(first, hours_back, "-3", "-360.00", takes_back=taken[0], **credit)  # five of eight hours stand
    bills.allocate(first, money_back, "0", "-60.00", takes_back=taken[1], **credit)  # all of them stand, for less
    second = bills.bill(firm, "502", currency="EUR")
    in_euros = bills.allocate(second, abroad, "8", "883.20", currency="EUR")  # 0.92 EUR for 1 USD
    note = bills.bill(firm, "602", "credit_note", currency="EUR")
    back = {"line": note.current.lines.get(), "cause": note.current, "currency": "EUR"}
    bills.allocate(second, abroad, "-2", "-220.80", takes_back=in_euros, **back)
    change_set, bundle = drafted(firm, fay, "133.33")
    assert rows(bundle) == [
        ("bill", "pending", Decimal("600.00"), Decimal("666.65")),  # 5 h at 133.33
        ("bill", "pending", Decimal("900.00"), Decimal("1066.64")),  # 8 h at 133.33, of which 60.00 were given back
        ("bill", "pending", Decimal("662.40"), Decimal("735.98")),  # 6 h at 122.6636 EUR
    ]
    told = [
        (one.invoice_id, one.currency, one.billed, one.would_be, one.net) for one in bundle.bills.order_by("invoice")
    ]
    assert told == [
        (first.pk, "USD", Decimal(1500), Decimal("1733.29"), Decimal("233.29")),
        (second.pk, "EUR", Decimal("662.40"), Decimal("735.98"), Decimal("73.58")),
    ]
    approved(change_set, fay, cleo)
    worked_off()
    bundle.bills.update(proposed_at=timezone.now())  # after the credits, as with transactions of their own
    billing.tell_of_rates([first.pk, second.pk])
    sentences = list(
        ExceptionCase.objects.filter(rule="bill-off-by-rate").order_by("pk").values_list("sentence", flat=True)
    )
    assert [amount in one for amount, one in zip(("233.29 USD", "73.58 EUR"), sentences, strict=True)] == [True, True]


# Nothing twice, and nothing silent


def test_a_second_run_and_a_worker_that_dies_in_the_middle_book_nothing_twice(
    firm: Firm, fay: User, cleo: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    bills.posted(firm, 7)
    change_set, bundle = drafted(firm, fay)
    approved(change_set, fay, cleo)
    monkeypatch.setattr(booking, "CHUNK", 3)
    real, calls = corrections.reverse, []

    def dies(*args: Any, **more: Any) -> Any:
        done = real(*args, **more)
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt  # everything of this chunk is written, and nothing committed
        return done

    monkeypatch.setattr(corrections, "reverse", dies)
    with pytest.raises(KeyboardInterrupt):
        booking.run(bundle.pk)
    bundle.refresh_from_db()
    assert (bundle.state, bundle.done) == ("running", 3)
    assert LedgerEntry.objects.filter(reverses__isnull=False).count() == 3
    assert booking.run(bundle.pk, goes_on=lambda: False)  # a turn that ends after one chunk
    worked_off()
    worked_off()
    assert booking.run(bundle.pk) is False
    bundle.refresh_from_db()
    assert (bundle.state, bundle.done) == ("done", 7)
    assert LedgerEntry.objects.filter(reverses__isnull=False).count() == 7
    assert LedgerEntry.objects.filter(version=2, reverses=None).count() == 7
    with pytest.raises(DatabaseError, match="has ended as done"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE reconciliation_bundlerow SET result = 'failed' WHERE bundle_id = %s", [bundle.pk])


def test_what_moved_since_it_was_shown_is_left_with_its_reason_and_taken_up_by_a_plan_that_another_agrees_to(
    firm: Firm, fay: User, cleo: User, zoe: User
) -> None:
    first, second, third = bills.posted(firm, 3)
    change_set, bundle = drafted(firm, fay)
    approved(change_set, fay, cleo)
    corrections.reverse([first], by=zoe, reason="wrong project")
    invoice = bills.bill(firm)
    bills.allocate(invoice, second)
    worked_off()
    told = dict(bundle.rows.values_list("entry_id", "detail"))
    assert told[first] == "It is being taken back already."
    assert "stands on a bill by now" in told[second]
    assert bundle.rows.get(entry=third).result == "done"

    later = planning.begin(change_set, by=fay)
    assert later.round == 2
    assert list(later.rows.order_by("entry_id").values_list("entry_id", "way")) == [(first, "left"), (second, "bill")]
    with pytest.raises(NotPlannable, match="planned it yourself"):
        booking.approve(later, by=fay)
    worked_off()
    later.refresh_from_db()
    assert later.state == "planned"
    booking.approve(later, by=zoe)
    worked_off()
    later.refresh_from_db()
    assert (later.state, later.bills.get().net) == ("done", Decimal(80))
    with pytest.raises(IntegrityError, match="who_agrees_to_a_bundle_did_not_plan_it"), transaction.atomic():
        RateBundle.objects.filter(pk=later.pk).update(approved_by=later.planned_by_id)


def test_an_entry_whose_later_version_waits_is_listed_as_left_with_its_reason(firm: Firm, fay: User) -> None:
    [posted] = bills.posted(firm)
    invoice = bills.bill(firm)
    bills.allocate(invoice, posted, quantity="4", amount="480")
    held = firm.admit(firm.time("1", work_date=entry(posted).work_date, hours=Decimal(6), rate=None)).held
    assert len(held) == 1
    _, bundle = drafted(firm, fay)
    told = bundle.rows.get(entry=posted)
    assert (told.way, told.result) == ("left", "skipped")
    assert "A later version of these hours waits" in told.detail


def test_a_change_that_was_edited_after_it_was_planned_books_nothing(firm: Firm, fay: User, cleo: User) -> None:
    [posted] = bills.posted(firm)
    change_set, bundle = drafted(firm, fay)
    wanted = Wanted(firm.rate, Decimal(140), "hour", SEPTEMBER)
    changes.edit(change_set, fay, lines_for(wanted, alike(firm.rate)))
    approved(change_set, fay, cleo)
    worked_off()
    bundle.refresh_from_db()
    assert (bundle.state, state(posted)) == ("outdated", "posted")
    assert Notification.objects.filter(person=fay, subject__startswith="Plan it again").exists()
    later = planning.begin(change_set, by=fay)
    assert (later.round, rows(later)) == (2, [("rebook", "pending", Decimal(960), Decimal(1120))])


def test_an_emergency_of_one_person_books_nothing_by_itself(firm: Firm, cleo: User, zoe: User) -> None:
    [posted] = bills.posted(firm)
    lines = lines_for(Wanted(firm.rate, Decimal(130), "hour", SEPTEMBER), alike(firm.rate))
    change_set = changes.draft(by=cleo, title="At once", reason="the customer waits", lines=lines, emergency=True)
    bundle = planning.begin(change_set, by=cleo)
    desk.declared(change_set, cleo)
    changes.apply(change_set)
    worked_off()
    bundle.refresh_from_db()
    assert (bundle.state, state(posted)) == ("outdated", "posted")
    later = planning.begin(change_set, by=cleo)
    booking.approve(later, by=zoe)
    worked_off()
    assert later.rows.get().result == "done"


@pytest.mark.case(43)
def test_a_closed_month_is_corrected_in_the_next_open_one_and_keeps_its_work_date(
    firm: Firm, fay: User, cleo: User
) -> None:
    [posted] = bills.posted(firm)
    firm.policy(closed_period="next_open")
    AccountingPeriod.objects.filter(code="2026-09").update(state="closed")
    change_set, bundle = drafted(firm, fay)
    approved(change_set, fay, cleo)
    worked_off()
    row = bundle.rows.get()
    for made in (entry(row.reversal_id or 0), entry(row.rebooked_id or 0)):
        assert (made.work_date, made.post_on, made.period and made.period.code) == (
            entry(posted).work_date, date(2026, 10, 1), "2026-10",
        )  # fmt: skip


def test_what_a_rule_would_hold_or_nobody_can_answer_for_is_left_and_says_so(firm: Firm, fay: User) -> None:
    closed, doubtful = bills.posted(firm, 1)[0], firm.admit(firm.time("30", work_date=date(2026, 9, 30))).ready[0]
    post([doubtful], State.IN_DOUBT)
    AccountingPeriod.objects.filter(code="2026-09").update(state="closed")
    _, bundle = drafted(firm, fay)
    told = dict(bundle.rows.values_list("entry_id", "detail"))
    assert "It would not be booked anew:" in told[closed]
    assert told[doubtful] == "It is in doubt; plan again once its outcome is known."
    assert {row.result for row in bundle.rows.all()} == {"skipped"}


def test_work_that_another_entity_books_is_left_to_people_there(firm: Firm, fay: User) -> None:
    firm.contract.entity = world.entity("GB", "GBP")
    firm.contract.save()
    bills.posted(firm)
    gus = world.user("gus", GrantRole.ANALYST, firm.contract.entity)
    lines = lines_for(Wanted(firm.rate, Decimal(130), "hour", SEPTEMBER), alike(firm.rate))
    change_set = changes.draft(by=gus, title="Another rate", reason="agreed by letter", lines=lines)
    bundle = planning.begin(change_set, by=gus)
    assert [row.detail for row in bundle.rows.all()] == [
        "It is booked by an entity that this change set does not touch; somebody there decides."
    ]
    assert not BundleRow.objects.visible_to(gus).exists()
    assert not RateBundle.objects.visible_to(fay).exists()
    assert RateBundle.objects.visible_to(gus).exists()


def test_only_rates_are_planned_and_only_by_who_writes_the_draft(firm: Firm, fay: User, cleo: User) -> None:
    line = changes.Line("project", firm.project.pk, "change", {"name": "Another name"})
    other = changes.draft(by=fay, title="A name", reason="spelling", lines=[line])
    with pytest.raises(NotPlannable, match="no rate"):
        planning.begin(other, by=fay)
    change_set, _ = drafted(firm, fay)
    with pytest.raises(NotPlannable, match="by who writes it"):
        planning.begin(change_set, by=cleo)
    changes.submit(change_set, fay)
    with pytest.raises(NotPlannable, match="while it is a draft"):
        planning.begin(change_set, by=fay)


def test_many_entries_are_planned_by_a_worker_and_booked_in_a_fixed_number_of_statements(
    firm: Firm, fay: User, cleo: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    bills.posted(firm, 20)
    monkeypatch.setattr(planning, "INLINE", 5)
    change_set, bundle = drafted(firm, fay)
    assert (bundle.state, bundle.total) == ("planning", 0)
    worked_off()
    bundle.refresh_from_db()
    assert (bundle.state, bundle.total) == ("planned", 20)
    approved(change_set, fay, cleo)
    monkeypatch.setattr(booking, "CHUNK", 2)

    def statements() -> int:
        with CaptureQueriesContext(connection) as counted:
            booking.run(bundle.pk, goes_on=lambda: False)
        return len(counted)

    statements()  # begins
    few = statements()
    monkeypatch.setattr(booking, "CHUNK", 12)
    assert statements() <= few
    worked_off()
    bundle.refresh_from_db()
    assert (bundle.state, bundle.done) == ("done", 20)
    assert StoredReceipt.objects.count() == 20  # of the originals; nothing was sent by the bundle itself


def test_a_plan_that_lands_after_its_approver_looked_is_not_agreed_to(
    firm: Firm, fay: User, cleo: User, zoe: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    [posted] = bills.posted(firm)
    with monkeypatch.context() as patched:
        patched.setattr(planning, "INLINE", 0)
        change_set, bundle = drafted(firm, fay)
    changes.submit(change_set, fay)
    client = Client()
    client.force_login(cleo)
    dialog = client.get(reverse("change_decide", args=[change_set.pk, "approve"])).content.decode()
    assert "agrees to the change set alone" in dialog
    form = dict(re.findall(r'<input type="hidden" name="(hash|fingerprint|plan)" value="([^"]+)">', dialog))
    booking.run(bundle.pk)  # it lands while they read
    bundle.refresh_from_db()
    assert bundle.state == "planned"
    address = reverse("change_set", args=[change_set.pk])
    assert client.post(address, {"action": "approve", **form}).status_code == 303
    change_set.refresh_from_db()
    assert (change_set.state, change_set.agreed_plan) == ("applied", "")
    worked_off()
    bundle.refresh_from_db()
    assert (bundle.state, state(posted)) == ("outdated", "posted")
    later = planning.begin(change_set, by=fay)
    booking.approve(later, by=zoe)
    worked_off()
    assert later.rows.get().result == "done"


def test_money_that_only_the_plan_moves_counts_towards_the_limit_of_a_session(
    firm: Firm, fay: User, cleo: User
) -> None:
    bills.posted(firm, 2)
    change_set, bundle = drafted(firm, fay)
    changes.submit(change_set, fay)
    ChangeSet.objects.filter(pk=change_set.pk).update(
        preview={}
    )  # what was booked after the dry-run is planned all the same
    change_set.refresh_from_db()
    firm.entity.policy = {"step_up_amount": {"USD": "2000"}}
    firm.entity.save()
    assert "2,080.00 USD" in changes.over_limit(change_set)
    with pytest.raises(changes.SignInAgain):
        changes.approve(change_set, cleo, plan=bundle.version)


# The lines of a change


days = st.integers(0, 59).map(lambda number: date(2026, 9, 1) + timedelta(days=number))
spans = st.tuples(days, st.none() | st.integers(0, 30)).map(
    lambda pair: Span(pair[0], date(9999, 12, 31) if pair[1] is None else pair[0] + timedelta(days=pair[1]))
)


@pytest.mark.case(36, 38)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    standing=st.lists(st.tuples(spans, st.integers(100, 105), st.sampled_from(["hour", "hour", "day"])), max_size=5),
    wanted=st.tuples(spans, st.integers(100, 105), st.sampled_from(["hour", "day"])),
)
def test_a_rate_for_some_days_moves_these_days_and_no_other_and_nothing_overlaps(
    firm: Firm, fay: User, standing: list[Any], wanted: tuple[Span, int, str]
) -> None:
    with transaction.atomic():
        Rate.objects.all().delete()
        for span, amount, unit in standing:
            end = None if span.end.year == 9999 else span.end
            try:
                with transaction.atomic():
                    Rate.objects.create(
                        card=firm.card,
                        role=firm.role,
                        currency="USD",
                        amount=amount,
                        unit=unit,
                        valid_from=span.start,
                        valid_to=end,
                    )
            except IntegrityError:
                continue
        like = Rate(card=firm.card, role=firm.role, currency="USD", amount=Decimal(1), unit="hour")
        looked_at = [date(2026, 8, 25) + timedelta(days=number) for number in range(110)]

        def told() -> list[tuple[Decimal, str] | None]:
            held = [(span_of(one), (one.amount, one.unit)) for one in Rate.objects.filter(card=firm.card)]
            found = []
            for day in looked_at:
                here = [what for span, what in held if span.start <= day <= span.end]
                assert len(here) <= 1
                found.append(here[0] if here else None)
            return found

        before = told()
        span, amount, unit = wanted
        lines = lines_for(Wanted(like, Decimal(amount), unit, span), list(Rate.objects.filter(card=firm.card)))
        if lines:
            zoe = User.objects.filter(username="zoe").first() or world.user("zoe", GrantRole.CONTROLLER, firm.entity)
            change_set = changes.submit(
                changes.draft(by=fay, title="Another rate", reason="a letter", lines=lines), fay
            )
            changes.apply(changes.approve(change_set, zoe, signed_in_again=True))
            assert change_set.state == ChangeSet.State.APPLIED
        after = told()
        for day, was, now in zip(looked_at, before, after, strict=True):
            assert now == ((Decimal(amount), unit) if span.start <= day <= span.end else was), day
        transaction.set_rollback(True)
