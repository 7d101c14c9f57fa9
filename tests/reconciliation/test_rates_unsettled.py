"""What stays booked at other rates than are agreed is a cause with an owner, until the books agree or people accept it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from integrations import sweeper, work
from portal import ledger
from portal.models import GrantRole, LedgerEntry, Notification, State, User
from portal.records import Receipt
from reconciliation import billing, changes, corrections, operations
from reconciliation.models import ChangeSet, ExceptionCase, Hold, RateBundle
from reconciliation.rates import booking, planning, unsettled
from reconciliation.rates.lines import Wanted, alike, lines_for
from reconciliation.rules import UNSETTLED
from reconciliation.sql import rates as rates_sql
from tests import bills, world
from tests.reconciliation import desk
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm, post, state
from tests.reconciliation.test_rate_bundles import SEPTEMBER, approved, drafted, receipts

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("zoe")]  # who may review an emergency


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


def swept() -> None:
    """What the sweeper does with plans and with books that nobody looked at yet."""
    for bundle_id, _ in booking.due():
        booking.run(bundle_id)
    for change_set_id in ChangeSet.objects.filter(state="applied").order_by("pk").values_list("pk", flat=True):
        work.rate_look(change_set_id)  # the clock of the database stands still here


def emergency(firm: Firm, by: User, amount: str = "130") -> ChangeSet:
    lines = lines_for(Wanted(firm.rate, Decimal(amount), "hour", SEPTEMBER), alike(firm.rate))
    change_set = changes.draft(by=by, title="At once", reason="the customer waits", lines=lines, emergency=True)
    desk.declared(change_set, by)
    changes.apply(change_set)
    return change_set


def held() -> list[tuple[int, str]]:
    found = Hold.objects.filter(rule=UNSETTLED, closed_at=None).order_by("entry")
    return list(found.values_list("entry_id", "sentence"))


def accepted(case: ExceptionCase, by: User) -> None:
    """By the way out of the cause, as its form asks for it."""
    made = operations.plan(
        "accept-booked", user=by, parameters={}, reason="agreed so with the customer", case=case, entry_ids=None
    )
    operations.confirm(made, user=by)
    operations.run(made.pk)


@pytest.mark.case(36)
def test_work_that_an_emergency_left_booked_is_a_cause_of_its_declarer_until_a_plan_of_two_people_books_it_anew(
    firm: Firm, cleo: User, zoe: User
) -> None:
    posted = bills.posted(firm, 2)
    change_set = emergency(firm, cleo)
    assert [number for number, _ in unsettled.due()] == [change_set.pk]
    assert ("rate_look", change_set.pk) in [due[:2] for due in sweeper._due()]
    work.rate_look(change_set.pk)
    case = ExceptionCase.objects.get()
    assert (case.rule, case.subject_key, case.owner, case.open_holds, case.held_amount) == (
        UNSETTLED, str(change_set.pk), cleo, 2, Decimal(1920),
    )  # fmt: skip
    assert case.sentence == (
        f"Work is booked at other rates than are agreed since change set {change_set.pk}, “At once”: "
        "1,920.00 USD in the books, 2,080.00 USD agreed, net +160.00 USD."
    )
    assert held()[0][1] == "Booked at 120.00 USD an hour, 960.00 USD; 130.00 USD an hour are agreed, 1,040.00 USD."
    assert Notification.objects.filter(person=cleo, url=reverse("cause", args=[case.pk])).count() == 1
    assert unsettled.due() == []
    client = Client()
    client.force_login(cleo)
    page = client.get(reverse("cause", args=[case.pk])).content.decode()
    assert f'href="{reverse("change_set", args=[change_set.pk])}">Go there</a>' in page
    assert "Accept as booked" in page
    assert f'href="{reverse("cause", args=[case.pk])}"' in client.get(f"/changes/{change_set.pk}/").content.decode()

    bundle = planning.begin(change_set, by=cleo)
    page = client.get(reverse("rate_bundle", args=[bundle.pk])).content.decode()
    assert f'href="{reverse("cause", args=[case.pk])}"' in page
    swept()
    assert len(held()) == 2  # a plan that nobody agreed to settles nothing
    booking.approve(bundle, by=zoe)
    swept()
    case.refresh_from_db()
    assert (case.state, case.open_holds, held()) == ("resolved", 0, [])
    receipts(list(bundle.rows.values_list("reversal_id", flat=True)))
    assert {state(entry_id) for entry_id in posted} == {"reversed"}
    post(list(LedgerEntry.objects.filter(state_row__state="ready").values_list("pk", flat=True)))
    assert unsettled.look(change_set.pk) == 0


@pytest.mark.case(36)
def test_what_a_plan_left_is_a_cause_and_closes_by_itself_when_the_rate_is_taken_back(
    firm: Firm, fay: User, cleo: User, zoe: User
) -> None:
    first, second = bills.posted(firm, 2)
    change_set, _ = drafted(firm, fay)
    changes.submit(change_set, fay)
    changes.approve(change_set, cleo, "read the letter", plan="", signed_in_again=True)  # not the plan
    changes.apply(change_set)
    assert unsettled.due() == []  # its plan is not over yet
    swept()
    assert RateBundle.objects.get().state == "outdated"
    assert [entry_id for entry_id, _ in held()] == [first, second]
    case = ExceptionCase.objects.get()
    assert case.owner == fay
    emergency(firm, cleo, "140")
    swept()
    later = ExceptionCase.objects.get(state="open")  # the same work, and the change that is the reason by now
    assert (later.owner, later.open_holds, later.held_amount) == (cleo, 2, Decimal(1920))
    assert "2,240.00 USD agreed" in later.sentence
    emergency(firm, cleo, "120")
    swept()
    assert not ExceptionCase.objects.filter(state="open").exists()
    assert {hold.reason for hold in Hold.objects.filter(case=later)} == {"the books agree"}


def test_work_in_doubt_is_looked_at_again_and_is_a_cause_once_it_is_booked(firm: Firm, cleo: User) -> None:
    [doubtful] = firm.admit(firm.time("30", work_date=SEPTEMBER.end)).ready
    post([doubtful], State.IN_DOUBT)
    change_set = emergency(firm, cleo)
    swept()
    assert held() == []
    assert change_set.rate_look.waits
    [(_, fence)] = ledger.refs_of([doubtful]).values()
    found = [(doubtful, fence, Receipt(key="30", number="N30"))]
    ledger.accept(found, State.IN_DOUBT, connection_id=firm.target.pk, actor="outbox")
    swept()
    assert [entry_id for entry_id, _ in held()] == [doubtful]
    change_set.rate_look.refresh_from_db()
    assert not change_set.rate_look.waits


def test_what_people_accepted_as_booked_is_asked_about_again_only_at_another_rate(
    firm: Firm, fay: User, cleo: User
) -> None:
    [posted] = bills.posted(firm, 1)
    change_set = emergency(firm, cleo)
    swept()
    accepted(ExceptionCase.objects.get(), fay)
    hold = Hold.objects.get()
    assert (hold.outcome, hold.closed_by, hold.reason) == ("waived", fay, "agreed so with the customer")
    assert unsettled.look(change_set.pk) == 0
    assert (held(), state(posted)) == ([], "posted")
    emergency(firm, cleo, "140")
    swept()
    assert [entry_id for entry_id, _ in held()] == [posted]


def test_work_on_a_bill_is_the_matter_of_its_difference_once_that_is_proposed(
    firm: Firm, fay: User, cleo: User, zoe: User
) -> None:
    [billed] = bills.posted(firm, 1)
    invoice = bills.bill(firm)
    bills.allocate(invoice, billed)
    change_set = emergency(firm, cleo)
    swept()
    assert [entry_id for entry_id, _ in held()] == [billed]  # nobody asks for the difference yet
    bundle = planning.begin(change_set, by=fay)
    booking.approve(bundle, by=zoe)
    swept()
    assert held() == []
    assert ExceptionCase.objects.get(rule=UNSETTLED).state == "resolved"
    assert bundle.bills.get().proposed_at is not None


def test_a_change_that_was_agreed_to_with_its_plan_leaves_no_cause(firm: Firm, fay: User, cleo: User) -> None:
    posted = bills.posted(firm, 2)
    change_set, bundle = drafted(firm, fay)
    approved(change_set, fay, cleo)
    swept()
    assert bundle.rows.filter(result="done").count() == 2
    corrections.settle(list(bundle.rows.values_list("reversal_id", flat=True)))
    assert {state(entry_id) for entry_id in posted} <= {"posted", "reversed"}
    assert not ExceptionCase.objects.filter(rule=UNSETTLED).exists()


def test_a_bill_is_no_longer_off_once_its_work_is_agreed_at_what_was_billed_again(
    firm: Firm, fay: User, cleo: User
) -> None:
    [billed] = bills.posted(firm)
    invoice = bills.bill(firm)
    bills.allocate(invoice, billed)
    change_set, bundle = drafted(firm, fay, "130")
    approved(change_set, fay, cleo)
    swept()
    bundle.bills.update(proposed_at=timezone.now())  # after the allocation, as with transactions of their own
    billing.tell_of_rates([invoice.pk])
    cause = ExceptionCase.objects.get(rule="bill-off-by-rate")
    assert (cause.state, "80.00 USD are to be invoiced besides" in cause.sentence) == ("open", True)

    back = changes.roll_back(change_set, by=fay, reason="the letter was withdrawn")
    changes.apply(changes.approve(changes.submit(back, fay), cleo, signed_in_again=True))
    swept()

    cause.refresh_from_db()
    assert cause.state == "resolved"
    assert held() == []
    assert bundle.bills.get().over_at is not None

    again, _ = drafted(firm, fay, "130")  # what was over asks for nothing, and settles nothing either
    approved(again, fay, cleo)
    assert rates_sql.settled_otherwise([billed], UNSETTLED) == {}
