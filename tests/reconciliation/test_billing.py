"""Bills, credits and payments as an ERP states them, and what becomes of the hours: the catalogue's stories, one by one."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from django.db import connection
from django.db.models import Sum
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from integrations.thread import billing as thread
from portal.models import (
    Allocation,
    BillingBalance,
    EntityGrant,
    GrantRole,
    InvoiceVersion,
    LedgerEntry,
    Milestone,
    Notification,
    PaymentAllocation,
    Project,
)
from portal.records import (
    Application,
    BillKind,
    BillLine,
    BillStatus,
    PaymentKind,
    PaymentStatus,
    Reference,
    SettledBy,
)
from reconciliation import billing, corrections
from reconciliation.billing.planning import Part
from reconciliation.models import BillingDecision, ExceptionCase
from reconciliation.sql import readiness as readiness_sql
from reconciliation.views import inbox
from tests import world
from tests.bills import Erp, adopt, allocate, bill, causes, find, line_of, open_hours, posted
from tests.reconciliation import firm as firms
from tests.reconciliation.deciding import found_by

pytestmark = pytest.mark.django_db
ZERO = Decimal(0)


@pytest.fixture
def firm() -> firms.Firm:
    made = firms.build()
    firms.key(made.target, "customer", made.customer.pk, "C1")
    return made


@pytest.fixture
def erp(firm: firms.Firm) -> Erp:
    return Erp(firm)


def settled(external_id: str) -> Decimal:
    return sum((row.amount for row in PaymentAllocation.objects.filter(invoice=find(external_id))), ZERO)


@pytest.mark.case(86)
def test_a_bill_takes_the_hours_that_its_lines_name_and_no_others(firm: firms.Firm, erp: Erp) -> None:
    first, second, third = posted(firm, 3)
    erp.says(erp.bill("501", line_of(first), line_of(second, "5")))
    assert open_hours([first, second, third]) == {first: ZERO, second: Decimal(3), third: Decimal(8)}
    assert find("501").current.customer == firm.customer
    assert causes() == set()


def test_an_echo_changes_nothing_and_an_older_word_does_not_count(firm: firms.Firm, erp: Erp) -> None:
    [entry] = posted(firm)
    old = erp.bill("501", line_of(entry))
    paid = erp.again(old, status=BillStatus.PAID, balance=ZERO)
    erp.says(paid)
    erp.says(old, erp.again(paid))
    assert InvoiceVersion.objects.count() == 1
    assert find("501").current.status == "paid"
    assert Allocation.objects.count() == 1


@pytest.mark.case(75)
def test_the_same_hours_on_two_bills_are_billed_once_and_the_second_is_a_case(firm: firms.Firm, erp: Erp) -> None:
    [entry] = posted(firm)
    erp.says(
        erp.bill("501", line_of(entry, "6"), status=BillStatus.DRAFT),
        erp.bill("502", line_of(entry), status=BillStatus.DRAFT),
    )
    assert open_hours([entry]) == {entry: Decimal(2)}
    assert causes("502") == {"hour-billed-twice"}
    assert "of which 2.00 h are open" in ExceptionCase.objects.get(rule="hour-billed-twice").sentence


@pytest.mark.case(85)
@pytest.mark.case(109)
def test_cost_only_hours_and_hours_that_are_not_proved_are_not_taken(firm: firms.Firm, erp: Erp) -> None:
    firm.contract.billing_model = "fixed_fee"
    firm.contract.save()
    [cost_only] = posted(firm)
    erp.says(erp.bill("501", line_of(cost_only)))
    assert causes("501") == {"billed-line-unknown"}
    assert Allocation.objects.count() == 0


@pytest.mark.case(77)
def test_a_void_opens_the_hours_again_and_tells_the_project_manager(firm: firms.Firm, erp: Erp) -> None:
    manager = world.user("mia", "project_manager", firm.entity)
    Project.objects.filter(pk=firm.project.pk).update(manager=manager)
    [entry] = posted(firm)
    said = erp.bill("501", line_of(entry))
    erp.says(said)
    erp.says(erp.again(said, status=BillStatus.VOIDED))
    assert open_hours([entry]) == {entry: Decimal(8)}
    assert [n.subject for n in Notification.objects.filter(person=manager)] == [
        "Invoice INV-501 over 960.00 USD was voided; work worth 960.00 USD is to be billed again."
    ]
    erp.says(erp.bill("502", line_of(entry)))
    assert open_hours([entry]) == {entry: ZERO}
    assert causes() == set()


@pytest.mark.case(78)
@pytest.mark.case(100)
def test_a_void_with_a_payment_on_it_opens_nothing_until_the_payment_is_taken_off(firm: firms.Firm, erp: Erp) -> None:
    [entry] = posted(firm)
    said, paid = erp.bill("501", line_of(entry)), erp.payment("p1", "400", ("501", "400"))
    erp.says(said, paid)
    erp.says(erp.again(said, status=BillStatus.VOIDED))
    assert open_hours([entry]) == {entry: ZERO}
    assert causes("501") == {"void-with-payments"}
    assert "400.00 USD" in ExceptionCase.objects.get(rule="void-with-payments").sentence
    assert causes("p1", "payment") == {"payment-on-dead-bill"}
    erp.says(erp.again(paid, applications=()))
    assert open_hours([entry]) == {entry: Decimal(8)}
    assert causes("501") == set()
    assert causes("p1", "payment") == {"cash-unapplied"}


def test_a_void_bill_that_is_deleted_afterwards_leaves_nothing_to_decide(firm: firms.Firm, erp: Erp) -> None:
    [entry] = posted(firm)
    said = erp.bill("501", line_of(entry))
    erp.says(said)
    erp.says(erp.again(said, status=BillStatus.VOIDED))
    erp.says(erp.gone(said))
    assert open_hours([entry]) == {entry: Decimal(8)}
    assert causes() == set()
    assert billing.choices(find("501")) == []


@pytest.mark.case(79)
@pytest.mark.parametrize("choice", ["adopt", "restore", "correct"])
def test_an_edit_in_the_erp_waits_for_one_of_three_choices(choice: str, firm: firms.Firm, erp: Erp) -> None:
    first, second = posted(firm, 2)
    said = erp.bill("501", line_of(first), line_of(second))
    erp.says(said)
    edited = erp.again(said, lines=(line_of(first, "5"),), net=Decimal(600), total=Decimal(600), number="INV-77")
    erp.says(edited)
    assert open_hours([first, second]) == {first: ZERO, second: ZERO}  # nothing moves before somebody decided
    case = ExceptionCase.objects.get(rule="bill-changed")
    for words in (
        "its number was INV-501 and is INV-77",
        "1,920.00 USD and is 600.00 USD",
        "line 1 is another",
        "line 2 is gone",
    ):
        assert words in case.sentence
    ana = world.user("ana", "analyst", firm.entity)
    decide = {"adopt": billing.adopt, "restore": billing.restore, "correct": billing.correct}[choice]
    decide(find("501"), by=ana, reason="as agreed with the customer")
    with pytest.raises(billing.NotDecidable):
        decide(find("501"), by=ana, reason="once more")
    if choice == "adopt":
        assert open_hours([first, second]) == {first: ZERO, second: ZERO}
        assert (
            "asked to adopt it, which a second person has to agree to"
            in ExceptionCase.objects.get(rule="bill-changed").sentence
        )
        billing.approve(BillingDecision.objects.get(), by=world.user("bob", "controller", firm.entity))
        assert open_hours([first, second]) == {first: Decimal(3), second: Decimal(8)}
        assert causes("501") == set()
        return
    assert open_hours([first, second]) == {first: ZERO, second: ZERO}
    assert causes("501") == {"bill-changed"}
    if choice == "restore":
        erp.says(erp.again(said))
    else:
        erp.says(erp.again(said), erp.credit("601", "501", line_of(second)))
    assert causes("501") == set()
    assert open_hours([second]) == {second: ZERO if choice == "restore" else Decimal(8)}


@pytest.mark.case(80)
def test_what_was_deleted_is_never_brought_back_by_itself_and_made_anew_only_by_two(firm: firms.Firm, erp: Erp) -> None:
    first, second = posted(firm, 2)
    kept, other = erp.bill("501", line_of(first)), erp.bill("502", line_of(second))
    erp.says(kept, other)
    erp.says(erp.gone(kept), erp.gone(other))
    assert open_hours([first, second]) == {first: ZERO, second: ZERO}
    assert causes("501") == {"bill-deleted"}
    assert find("501").current.total == Decimal(960)  # what was known of it stays to be seen
    ana, bob = world.user("ana", "analyst", firm.entity), world.user("bob", "controller", firm.entity)
    gone = billing.adopt(find("501"), by=ana, reason="it was a duplicate")
    assert open_hours([first, second]) == {first: ZERO, second: ZERO}
    assert causes("501") == {"bill-deleted"}
    with pytest.raises(billing.NotDecidable, match="Only a controller"):
        billing.approve(gone, by=world.user("fay", "analyst", firm.entity))
    assert [(one.get_kind_display(), inbox.url_of(one)) for one in found_by(bob)] == [
        ("Bill to decide", f"/bills/{gone.bill_id}/")
    ]
    assert found_by(ana) == []
    billing.approve(gone, by=bob)
    assert found_by(bob) == []
    assert open_hours([first, second]) == {first: Decimal(8), second: ZERO}
    EntityGrant.objects.create(user=ana, entity=firm.entity, role="controller", valid_from=date(2020, 1, 1))
    decision = billing.recreate(find("502"), by=ana, reason="it should not have been deleted")
    assert open_hours([second]) == {second: ZERO}
    with pytest.raises(billing.NotDecidable, match="Somebody else"):
        billing.approve(decision, by=ana)
    billing.approve(decision, by=bob)
    assert open_hours([second]) == {second: Decimal(8)}
    assert causes() == set()


def test_what_came_after_a_bill_was_looked_at_is_neither_adopted_nor_agreed_to(firm: firms.Firm, erp: Erp) -> None:
    first, second = posted(firm, 2)
    said = erp.bill("501", line_of(first), line_of(second))
    erp.says(said)
    erp.says(erp.again(said, lines=said.lines[:1]))
    looked_at = find("501")
    erp.says(erp.again(said, lines=said.lines[1:]))
    ana, bob = world.user("ana", "analyst", firm.entity), world.user("bob", "controller", firm.entity)
    for decide in (billing.adopt, billing.restore, billing.correct):
        with pytest.raises(billing.NotDecidable, match="another version"):
            decide(looked_at, by=ana, reason="the second line was not agreed")
    erp.says(erp.gone(said))
    decision = billing.recreate(find("501"), by=ana, reason="it is owed")
    erp.says(erp.again(said, lines=said.lines[:1]))
    with pytest.raises(billing.NotDecidable, match="another version"):
        billing.approve(decision, by=bob)
    assert open_hours([first, second]) == {first: ZERO, second: ZERO}


def test_two_live_bills_of_one_number_are_told_and_their_hours_untouched(firm: firms.Firm, erp: Erp) -> None:
    first, second = posted(firm, 2)
    erp.says(erp.bill("501", line_of(first), number="INV-1"), erp.bill("502", line_of(second), number="INV-1"))
    assert causes("501") == causes("502") == {"duplicate-bill-number"}
    assert open_hours([first, second]) == {first: ZERO, second: ZERO}


def test_figures_that_do_not_add_up_are_kept_as_booked_and_told(firm: firms.Firm, erp: Erp) -> None:
    [entry] = posted(firm)
    taxed = line_of(entry, tax_rate=Decimal(20), tax=Decimal("191.00"))
    erp.says(erp.bill("501", taxed, net=Decimal("960.01")))
    case = ExceptionCase.objects.get(rule="bill-does-not-add-up")
    assert "its lines come to 960.00 USD and its net is 960.01 USD" in case.sentence
    assert "carries 191.00 USD of tax where 20.00 % of 960.00 USD are 192.00 USD" in case.sentence
    assert find("501").current.tax == Decimal(191)


@pytest.mark.case(90)
def test_a_credit_above_what_was_billed_is_not_taken(firm: firms.Firm, erp: Erp) -> None:
    [entry] = posted(firm)
    erp.says(erp.bill("501", line_of(entry, "5")), erp.credit("601", "501", line_of(entry, "6")))
    assert causes("601") == {"credit-above-billed"}
    assert open_hours([entry]) == {entry: Decimal(3)}


@pytest.mark.case(91)
def test_a_part_payment_leaves_the_rest_open(firm: firms.Firm, erp: Erp) -> None:
    [entry] = posted(firm)
    said = erp.bill("501", line_of(entry), balance=Decimal(960))
    erp.says(said)
    erp.says(
        erp.payment("p1", "400", ("501", "400")), erp.again(said, status=BillStatus.PART_PAID, balance=Decimal(560))
    )
    assert settled("501") == Decimal(400)
    assert billing.review(firm.target.pk, older_than_seconds=0) == (0, 0)
    assert open_hours([entry]) == {entry: ZERO}


@pytest.mark.case(92)
def test_one_payment_settles_many_bills_and_a_part_for_an_unknown_one_waits_for_it(firm: firms.Firm, erp: Erp) -> None:
    entries = posted(firm, 3)
    bills = [erp.bill(f"50{n}", line_of(entry)) for n, entry in enumerate(entries)]
    erp.says(*bills[:2], erp.payment("p1", "2880", *((b.external_id, "960") for b in bills)))
    assert causes("p1", "payment") == {"payment-of-unknown-bill"}
    erp.says(bills[2])
    assert [settled(b.external_id) for b in bills] == [Decimal(960)] * 3
    assert causes("p1", "payment") == set()


@pytest.mark.case(93)
@pytest.mark.case(98)
def test_a_bounced_payment_is_taken_back_and_applied_anew_and_both_stay_to_be_seen(firm: firms.Firm, erp: Erp) -> None:
    first, second = posted(firm, 2)
    paid = erp.payment("p1", "960", ("501", "960"))
    erp.says(erp.bill("501", line_of(first)), erp.bill("502", line_of(second)), paid)
    erp.says(erp.again(paid, applications=(Application(bill="502", amount=Decimal(960)),)))
    assert (settled("501"), settled("502")) == (ZERO, Decimal(960))
    erp.says(erp.again(paid, status=PaymentStatus.BOUNCED))
    assert (settled("501"), settled("502")) == (ZERO, ZERO)
    rows = PaymentAllocation.objects.order_by("pk")
    assert [row.amount for row in rows] == [Decimal(960), Decimal(-960), Decimal(960), Decimal(-960)]
    assert {str(row.booked_on) for row in rows} == {"2026-11-15"}  # the books' day, not ours


@pytest.mark.case(94)
@pytest.mark.case(95)
def test_money_that_settles_nothing_is_not_paid_and_too_much_is_the_customers_credit(
    firm: firms.Firm, erp: Erp
) -> None:
    [entry] = posted(firm)
    erp.says(erp.bill("501", line_of(entry)), erp.payment("p1", "1000", ("501", "960"), unapplied=Decimal(40)))
    assert causes("p1", "payment") == {"cash-unapplied"}
    assert settled("501") == find("501").current.total
    erp.says(erp.payment("p2", "50", ("501", "50")))
    assert causes("501") == {"bill-overpaid"}
    assert "50.00 USD are the customer's credit" in ExceptionCase.objects.get(rule="bill-overpaid").sentence


@pytest.mark.case(97)
@pytest.mark.case(101)
def test_what_settles_a_bill_is_kept_apart_by_what_it_is(firm: firms.Firm, erp: Erp) -> None:
    [entry] = posted(firm)
    parts = (
        Application(bill="501", amount=Decimal(900)),
        Application(bill="501", amount=Decimal("12.50"), by=SettledBy.BANK_FEE),
        Application(bill="501", amount=Decimal("7.50"), by=SettledBy.FX),
    )
    left = erp.payment("w1", "40", kind="write_off", applications=(
        Application(bill="501", amount=Decimal(40), by=SettledBy.WRITE_OFF),
    ))  # fmt: skip
    erp.says(erp.bill("501", line_of(entry), balance=ZERO), erp.payment("p1", "920", applications=parts), left)
    by = {row.by: row.amount for row in PaymentAllocation.objects.all()}
    assert by == {"cash": Decimal(900), "bank_fee": Decimal("12.50"), "fx": Decimal("7.50"), "write_off": Decimal(40)}
    assert billing.review(firm.target.pk, older_than_seconds=0) == (0, 0)


def test_a_balance_that_nothing_explains_is_a_case_until_it_is_explained(firm: firms.Firm, erp: Erp) -> None:
    [entry] = posted(firm)
    erp.says(erp.bill("501", line_of(entry), status=BillStatus.PART_PAID, balance=Decimal(860)))
    assert billing.review(firm.target.pk, older_than_seconds=3600) == (0, 0)  # its payment may still be on its way
    ana = world.user("ana", GrantRole.ANALYST, firm.entity)
    world.user("gus", GrantRole.ANALYST, world.entity("GB", "GBP"))
    for cases in ((1, 0), (1, 0)):
        assert billing.review(firm.target.pk, older_than_seconds=0) == cases
    assert causes("501") == {"balance-differs"}
    [notice] = Notification.objects.filter(subject__contains="INV-501")  # once, however often it is looked at
    assert (notice.person, notice.url) == (ana, reverse("bill", args=[find("501").pk]))
    erp.says(erp.payment("p1", "99.96", ("501", "99.96")))
    assert billing.review(firm.target.pk, older_than_seconds=0) == (
        0,
        1,
    )  # four cents are within what the entity lets pass
    firm.entity.policy = {**firm.entity.policy, "balance_amount": "0.03"}
    firm.entity.save()
    assert billing.review(firm.target.pk, older_than_seconds=0) == (1, 0)


@pytest.mark.case(103)
def test_a_credit_of_some_hours_opens_only_these(firm: firms.Firm, erp: Erp) -> None:
    first, second = posted(firm, 2)
    erp.says(erp.bill("501", line_of(first), line_of(second)))
    erp.says(erp.credit("601", "501", line_of(second, "2.5")))
    assert open_hours([first, second]) == {first: ZERO, second: Decimal("2.5")}
    assert find("601", BillKind.CREDIT_NOTE).credits == find("501")


@pytest.mark.case(104)
@pytest.mark.case(105)
def test_a_credit_made_in_the_erp_locks_the_hours_until_somebody_says_which(firm: firms.Firm, erp: Erp) -> None:
    first, second = posted(firm, 2)
    silent = line_of(first, "1", net="300", key="x")
    erp.says(erp.bill("501", line_of(first), line_of(second)))
    erp.says(erp.credit("601", "501", erp_line(silent)), erp.credit("602", "501", erp_line(silent)))
    assert causes("601") == {"credit-without-hours"}
    assert open_hours([first, second]) == {first: ZERO, second: ZERO}
    ana = world.user("ana", "analyst", firm.entity)
    note = find("601", BillKind.CREDIT_NOTE)
    [billed] = Allocation.objects.filter(entry=second)
    with pytest.raises(billing.NotCreditable, match="come to 240"):
        billing.credit_hours(note, {billed.pk: Part(Decimal(2), Decimal(240))}, by=ana, reason="the second day")
    billing.credit_hours(note, {billed.pk: Part(Decimal("2.5"), Decimal(300))}, by=ana, reason="the second day")
    assert open_hours([first, second]) == {first: ZERO, second: Decimal("2.5")}
    assert causes("601") == set()
    billing.credit_price(find("602", BillKind.CREDIT_NOTE), by=ana, reason="a discount")
    assert open_hours([first, second]) == {first: ZERO, second: Decimal("2.5")}
    assert causes() == set()
    assert sum(a.amount for a in Allocation.objects.all()) == Decimal(1920 - 600)


@pytest.mark.case(106)
def test_a_credit_and_its_re_bill_point_at_the_same_hours_whichever_comes_first(firm: firms.Firm, erp: Erp) -> None:
    [entry] = posted(firm)
    erp.says(erp.bill("501", line_of(entry)))
    erp.says(erp.bill("502", line_of(entry, net="900")))
    assert causes("502") == {"hour-billed-twice"}
    erp.says(erp.credit("601", "501", line_of(entry)), erp.bill("503", line_of(entry, "1")))
    assert causes("503") == set()
    billing.follow([find("502").pk], actor="test")
    assert causes("502") == {"hour-billed-twice"}  # seven hours are open, and it asks for eight
    assert open_hours([entry]) == {entry: Decimal(7)}


@pytest.mark.case(108)
def test_a_void_credit_bills_again_unless_the_hours_are_billed_elsewhere_by_now(firm: firms.Firm, erp: Erp) -> None:
    first, second = posted(firm, 2)
    one, two = erp.credit("601", "501", line_of(first)), erp.credit("602", "501", line_of(second))
    erp.says(erp.bill("501", line_of(first), line_of(second)), one, two)
    assert open_hours([first, second]) == {first: Decimal(8), second: Decimal(8)}
    erp.says(erp.bill("502", line_of(second)))
    erp.says(erp.again(one, status=BillStatus.VOIDED), erp.again(two, status=BillStatus.VOIDED))
    assert open_hours([first, second]) == {first: ZERO, second: ZERO}
    assert causes("602") == {"void-credit-rebilled"}
    erp.says(erp.credit("603", "501", line_of(first)))
    assert open_hours([first]) == {first: Decimal(8)}


@pytest.mark.case(105)
def test_a_note_of_several_silent_lines_gives_back_what_was_named_once_and_no_more(firm: firms.Firm, erp: Erp) -> None:
    first, second = posted(firm, 2)
    silent = erp_line(line_of(first, "4", key="x"))
    erp.says(erp.bill("501", line_of(first), line_of(second)))
    erp.says(erp.credit("601", "501", silent, replace(silent, key="y"), replace(silent, key="z")))
    note = find("601", BillKind.CREDIT_NOTE)
    by = {row.entry_id: row.pk for row in Allocation.objects.all()}
    ana = world.user("ana", "analyst", firm.entity)
    picks = {by[first]: Part(Decimal(8), Decimal(960)), by[second]: Part(Decimal(4), Decimal(480))}
    billing.credit_hours(note, picks, by=ana, reason="the first day and a half")
    for _ in range(2):  # what is left billed is exactly one line of the note
        billing.follow([note.pk], actor="test")
        assert open_hours([first, second]) == {first: Decimal(8), second: Decimal(4)}
        assert causes("601") == set()


@pytest.mark.case(108)
@pytest.mark.parametrize("together", [True, False])
def test_a_void_bill_whose_credit_is_void_too_leaves_all_its_hours_open(
    together: bool, firm: firms.Firm, erp: Erp
) -> None:
    [entry] = posted(firm)
    said, note = erp.bill("501", line_of(entry)), erp.credit("601", "501", line_of(entry, "3"))
    erp.says(said, note)
    void = [erp.again(one, status=BillStatus.VOIDED) for one in (said, note)]
    for words in [void] if together else [[one] for one in void]:
        erp.says(*words)
    assert open_hours([entry]) == {entry: Decimal(8)}
    erp.says(erp.bill("502", line_of(entry)))
    assert open_hours([entry]) == {entry: ZERO}
    assert causes("502") == set()


@pytest.mark.case(108)
def test_of_two_void_credits_of_an_hour_one_is_billed_again_where_there_is_room_for_one(
    firm: firms.Firm, erp: Erp
) -> None:
    [entry] = posted(firm)
    notes = [erp.credit(key, "501", line_of(entry, "4")) for key in ("601", "602")]
    erp.says(erp.bill("501", line_of(entry)), *notes)
    erp.says(erp.bill("502", line_of(entry, "4")))
    erp.says(*(erp.again(note, status=BillStatus.VOIDED) for note in notes))
    assert open_hours([entry]) == {entry: ZERO}
    assert (causes("601"), causes("602")) == (set(), {"void-credit-rebilled"})


@pytest.mark.case(108)
def test_a_void_credit_of_a_milestone_or_of_hours_that_are_billed_corrected_since_then_is_told_and_kept(
    firm: firms.Firm, erp: Erp
) -> None:
    milestone = Milestone.objects.create(
        project=firm.project, code="M1", name="Concept", due_on=date(2026, 9, 20), signed_on=date(2026, 9, 25),
        amount=Decimal(1000), currency="USD",
    )  # fmt: skip
    [first] = posted(firm)
    design = BillLine(key="m", milestone=Reference("M1"), quantity=Decimal(1), net=Decimal(1000), description="Concept")
    notes = [
        erp.credit("601", "501", replace(design, milestone=Reference())),
        erp.credit("602", "502", line_of(first)),
    ]
    erp.says(erp.bill("501", design), erp.bill("502", line_of(first)), *notes)
    cora = world.user("cora", "controller", firm.entity)
    [second] = firm.admit(firm.time("1", work_date=date(2026, 9, 2), hours=Decimal(6))).held
    corrections.reverse([first], by=cora, reason="it was six hours")
    reversal = LedgerEntry.objects.get(reverses=first).pk
    firms.post([reversal])
    corrections.settle([reversal])
    firms.post([second])
    erp.says(erp.bill("503", replace(design, net=Decimal(400))), erp.bill("504", line_of(second, "6")))
    assert causes() == set()
    erp.says(*(erp.again(note, status=BillStatus.VOIDED) for note in notes))
    assert (causes("601"), causes("602")) == ({"void-credit-rebilled"}, {"void-credit-rebilled"})
    assert [find(key, BillKind.CREDIT_NOTE).current.status for key in ("601", "602")] == ["voided", "voided"]
    balance = BillingBalance.objects.get(milestone=milestone)
    assert balance.invoiced - balance.credited == 400
    assert open_hours([first, second]) == {first: Decimal(8), second: ZERO}


@pytest.mark.case(79)
def test_an_edited_credit_note_that_is_adopted_gives_back_what_it_says_now(firm: firms.Firm, erp: Erp) -> None:
    first, second = posted(firm, 2)
    ana, bob = world.user("ana", "analyst", firm.entity), world.user("bob", "controller", firm.entity)
    note = erp.credit("601", "501", line_of(first, "5"))
    erp.says(erp.bill("501", line_of(first), line_of(second)), note)
    for day, hours in ((first, "2"), (first, "6"), (second, "6")):
        line = line_of(day, hours, key="x")
        note = erp.again(note, lines=(line,), net=line.net, total=line.net)
        erp.says(note)
        adopt("601", BillKind.CREDIT_NOTE, by=ana, agreed_by=bob)
        assert open_hours([first, second]) == {first: ZERO, second: ZERO, day: Decimal(hours)}
        assert causes() == set()
    erp.says(erp.bill("502", line_of(second, "6")))
    line = line_of(second, "1", key="x")
    note = erp.again(note, lines=(line,), net=line.net, total=line.net)
    erp.says(note)
    adopt("601", BillKind.CREDIT_NOTE, by=ana, agreed_by=bob)
    assert [one.needs_approval for one in BillingDecision.objects.order_by("pk")] == [True, True, True, False]
    assert open_hours([first, second]) == {first: ZERO, second: ZERO}
    assert causes("601") == {"void-credit-rebilled"}


def test_an_hour_whose_credit_is_void_stands_on_its_invoice_again(firm: firms.Firm, erp: Erp) -> None:
    [entry_id] = posted(firm)
    note = erp.credit("601", "501", line_of(entry_id))
    erp.says(erp.bill("501", line_of(entry_id)), note)
    entry = LedgerEntry.objects.get(pk=entry_id)
    assert [one.key for one in thread.stations(entry, list(entry.allocations.order_by("pk")), [])] == [
        "invoice",
        "credit",
    ]
    erp.says(erp.again(note, status=BillStatus.VOIDED))
    found = thread.stations(entry, list(entry.allocations.order_by("pk")), [])
    assert [one.key for one in found] == ["invoice", "payment"]
    assert readiness_sql.invoices_of("entry_id", [entry_id]) == {entry_id: ["INV-501"]}


def test_a_draft_in_another_currency_since_gives_back_what_it_billed_in_the_first(firm: firms.Firm, erp: Erp) -> None:
    [entry] = posted(firm)
    said = erp.bill("501", line_of(entry), status=BillStatus.DRAFT)
    erp.says(said)
    said = erp.again(said, currency="EUR")
    erp.says(said)
    assert list(Allocation.objects.order_by("pk").values_list("currency", "quantity")) == [
        ("USD", Decimal(8)), ("USD", Decimal(-8)), ("EUR", Decimal(8)),
    ]  # fmt: skip
    erp.says(erp.again(said, status=BillStatus.VOIDED))
    assert open_hours([entry]) == {entry: Decimal(8)}
    assert Allocation.objects.filter(currency="EUR").aggregate(Sum("amount"))["amount__sum"] == ZERO


@pytest.mark.case(79)
def test_another_customer_or_currency_is_a_change_that_somebody_adopts_knowing_it(firm: firms.Firm, erp: Erp) -> None:
    [entry] = posted(firm)
    said = erp.bill("501", line_of(entry))
    erp.says(said)
    ana = world.user("ana", "analyst", firm.entity)
    erp.says(erp.again(said, customer=Reference("C2", "", "Beta Ltd"), currency="EUR"))
    words = ExceptionCase.objects.get(rule="bill-changed").sentence
    assert "its currency was USD and is EUR; its customer was Acme Inc. and is Beta Ltd" in words
    assert set(Allocation.objects.values_list("currency", flat=True)) == {"USD"}
    billing.adopt(find("501"), by=ana, reason="it was the wrong company")
    assert causes("501") == set()
    assert open_hours([entry]) == {entry: ZERO}
    assert Allocation.objects.order_by("pk").last().currency == "EUR"  # type: ignore[union-attr]


@pytest.mark.case(103)
def test_what_was_credited_of_a_line_stays_credited_when_the_line_is_edited(firm: firms.Firm, erp: Erp) -> None:
    [entry] = posted(firm)
    ana, bob = world.user("ana", "analyst", firm.entity), world.user("bob", "controller", firm.entity)
    said = erp.bill("501", line_of(entry))
    erp.says(said, erp.credit("601", "501", line_of(entry, "3")))
    assert open_hours([entry]) == {entry: Decimal(3)}
    erp.says(erp.bill("502", line_of(entry, "3")))
    said = erp.again(said, lines=(line_of(entry, "6"),), net=Decimal(720), total=Decimal(720))
    erp.says(said)
    adopt("501", by=ana, agreed_by=bob)
    assert causes() == set()
    assert open_hours([entry]) == {entry: Decimal(2)}, "six less three on the first bill, three on the second"
    rows = list(Allocation.objects.filter(entry=entry).order_by("pk"))
    [station] = [one for one in thread.stations(LedgerEntry.objects.get(pk=entry), rows, []) if one.key == "credit"]
    assert station.words == "CM-601 gave back 3.00 h, 360.00 USD"
    erp.says(erp.again(said, lines=(line_of(entry, "2"),), net=Decimal(240), total=Decimal(240)))
    adopt("501", by=ana, agreed_by=bob)
    assert causes() == {"credit-above-billed"}, "no more is credited than is billed"
    assert open_hours([entry]) == {entry: Decimal(3)}


def test_an_expense_that_is_billed_in_another_currency_is_billed_whole(firm: firms.Firm, erp: Erp) -> None:
    [expense] = firm.admit(firm.expense()).ready
    firms.post([expense])
    line = replace(line_of(expense, "1", "101.15"), quantity=None, unit_price=None)
    erp.says(erp.bill("501", line, currency="EUR"))
    assert causes() == set()
    balance = LedgerEntry.objects.get(pk=expense).billing_balance
    assert (balance.invoiced, balance.credited, balance.delivered) == (Decimal(119), ZERO, Decimal(119))
    erp.says(erp.credit("601", "501", line, currency="EUR"))
    balance.refresh_from_db()
    assert balance.credited == Decimal(119)


@pytest.mark.case(99)
def test_a_credit_that_its_system_applied_to_another_bill_by_itself_is_told_until_it_is_applied_or_agreed(
    firm: firms.Firm, erp: Erp
) -> None:
    first, second = posted(firm, 2)
    note = erp.credit(
        "601",
        "501",
        line_of(first, "2"),
        applications=(Application(bill="502", amount=Decimal(240), by=SettledBy.CREDIT),),
    )
    erp.says(erp.bill("501", line_of(first)), erp.bill("502", line_of(second)), note)
    assert (causes("501"), causes("502")) == (set(), {"credit-applied-elsewhere"})
    assert ExceptionCase.objects.get(rule="credit-applied-elsewhere").sentence == (
        "Invoice INV-502 is settled by 240.00 USD of CM-601, which is a credit of INV-501. Its system applied it by itself. "
        "Apply it to the bill that it is of, or agree in the policy of the entity that the system applies credits."
    )
    right = (Application(bill="501", amount=Decimal(240), by=SettledBy.CREDIT),)
    note = erp.again(note, applications=right)
    erp.says(note)
    assert (settled("501"), settled("502"), causes()) == (Decimal(240), ZERO, set())
    on_account = erp.credit("602", "", BillLine(key="x", net=Decimal(50), description="Goodwill"))
    erp.says(erp.again(on_account, applications=(Application(bill="502", amount=Decimal(50), by=SettledBy.CREDIT),)))
    assert causes("502") == {"credit-applied-elsewhere"}, "a note that is of no bill is the customer's balance"
    erp.says(erp.again(on_account, applications=()))
    assert causes("502") == set()
    balance = erp.payment(
        "p1", "100", applications=(Application(bill="502", amount=Decimal(100), by=SettledBy.CREDIT),)
    )
    erp.says(balance)
    assert (
        "100.00 USD of PAY-p1, which is the customer's balance"
        in ExceptionCase.objects.get(rule="credit-applied-elsewhere", state="open").sentence
    )
    firm.entity.policy = {"credits_applied_by_system": True}
    firm.entity.save()
    erp.says(erp.again(balance, memo="read again"))
    assert causes() == set()


def test_a_credit_of_a_whole_bill_needs_to_name_no_hours(firm: firms.Firm, erp: Erp) -> None:
    first, second = posted(firm, 2)
    erp.says(erp.bill("501", line_of(first), line_of(second)))
    erp.says(erp.credit("601", "501", erp_line(line_of(first, "16", key="x"))))
    assert open_hours([first, second]) == {first: Decimal(8), second: Decimal(8)}
    assert causes() == set()


def test_hours_that_are_split_over_customers_stand_on_both_bills_and_add_up(firm: firms.Firm, erp: Erp) -> None:
    [entry] = posted(firm)
    erp.says(
        erp.bill("501", line_of(entry, "4.8", net="576.00")),
        erp.bill("502", line_of(entry, "3.2", net="384.00"), customer=Reference("C2", "", "Acme GmbH")),
    )
    assert open_hours([entry]) == {entry: ZERO}
    assert sum(a.amount for a in Allocation.objects.filter(entry=entry)) == Decimal(960)


def test_nothing_of_another_entity_is_allocated(firm: firms.Firm, erp: Erp) -> None:
    [entry] = posted(firm)
    other = world.entity("GB", "GBP")
    shared = world.connection("erp-2", "netsuite", None, is_target=True, realm="R1")
    firms.key(shared, "entity", other.pk, "2")
    type(firm.target).objects.filter(pk=firm.target.pk).update(realm="R1")
    erp.firm.target = shared
    erp.says(erp.bill("501", line_of(entry), entity=Reference("2")))
    assert find("501").entity == other
    assert causes("501") == {"billed-line-unknown"}
    assert open_hours([entry]) == {entry: Decimal(8)}


def test_only_finance_of_the_entity_decides(firm: firms.Firm, erp: Erp) -> None:
    [entry] = posted(firm)
    said = erp.bill("501", line_of(entry))
    erp.says(said)
    erp.says(erp.gone(said))
    for person in (
        world.user("mia", "project_manager", firm.entity),
        world.user("gus", "analyst", world.entity("GB", "GBP")),
    ):
        with pytest.raises(billing.NotDecidable, match="Only finance"):
            billing.adopt(find("501"), by=person, reason="so it is")
    assert not BillingDecision.objects.exists()


def test_a_hundred_bills_are_followed_with_as_many_statements_as_ten(firm: firms.Firm, erp: Erp) -> None:
    entries = posted(firm, 24)
    few = [erp.bill(f"5{n:02d}", line_of(entry)) for n, entry in enumerate(entries[:4])]
    many = [erp.bill(f"6{n:02d}", line_of(entry)) for n, entry in enumerate(entries[4:])]
    counts = []
    for records in (few, many):
        with CaptureQueriesContext(connection) as counted:
            erp.says(*records)
        counts.append(len(counted))
    assert counts[1] <= counts[0]
    assert set(open_hours(entries).values()) == {ZERO}


def test_what_was_allocated_by_hand_on_a_line_without_names_stays(firm: firms.Firm, erp: Erp) -> None:
    [entry] = posted(firm)
    made = bill(firm, "777")
    allocate(made, entry)
    billing.follow([made.pk], actor="test")
    assert open_hours([entry]) == {entry: ZERO}


def erp_line(line: BillLine) -> BillLine:
    """The line as somebody types it in the ERP: without naming what it is about."""
    return replace(line, posting_number="")


@pytest.mark.case(96)
def test_a_bill_that_is_short_by_a_bank_fee_or_a_discount_is_written_off_by_its_reason_and_else_stays_part_paid(
    firm: firms.Firm,
) -> None:
    firm.entity.policy = {
        "short_payment": {
            "bank_fee": {"amount": "25", "account": "6855"}, "discount": {"percent": "2", "account": "4730"}
        }
    }  # fmt: skip
    firm.entity.save()
    erp, [entry] = Erp(firm), posted(firm)
    said = erp.bill("501", line_of(entry), status=BillStatus.PART_PAID)
    erp.says(said, erp.payment("p1", "800", ("501", "800")))
    assert causes("501") == set()  # too much for any reason: it stays part-paid
    erp.says(erp.payment("p2", "141", ("501", "141")))
    [case] = ExceptionCase.objects.filter(rule="short-within-tolerance", state="open")
    assert (
        "is short by 19.00 USD, which may be written off as bank fee (account 6855) or discount (account 4730)"
        in case.sentence
    )
    fee = erp.payment(
        "w1",
        "19",
        kind=PaymentKind.WRITE_OFF,
        applications=(Application(bill="501", amount=Decimal(19), by=SettledBy.BANK_FEE),),
    )
    erp.says(fee, erp.again(said, status=BillStatus.PAID))
    assert causes("501") == set()


@pytest.mark.case(102)
def test_what_a_customer_holds_back_as_agreed_is_expected_until_its_day_and_asked_for_from_then_on(
    firm: firms.Firm,
) -> None:
    firm.entity.policy = {"held_back": {"ACME": {"percent": "5", "days": 365}}}
    firm.entity.save()
    erp, [entry] = Erp(firm), posted(firm)
    said = erp.bill("501", line_of(entry), status=BillStatus.PART_PAID)
    erp.says(said, erp.payment("p1", "912", ("501", "912")))
    assert causes("501") == set()
    short = billing.short_of(find("501"), Decimal(912))
    assert short is not None
    assert (short.held_back, short.due_on, short.rest) == (Decimal(48), date(2027, 10, 31), Decimal(0))
    erp.says(erp.again(said, booked_on=date(2025, 10, 31)))  # a year and more ago
    [case] = ExceptionCase.objects.filter(rule="held-back-is-due", state="open")
    assert "Acme Inc. holds 48.00 USD of Invoice INV-501 back, as agreed; it was due on 31 Oct 2026" in case.sentence
    assert billing.review_short() == (1, 0)  # the night's look finds the same and opens no second case
    erp.says(
        erp.payment("p2", "48", ("501", "48")), erp.again(said, booked_on=date(2025, 10, 31), status=BillStatus.PAID)
    )
    assert causes("501") == set()


@pytest.mark.case(75)
def test_a_line_that_cannot_be_billed_as_it_says_now_keeps_what_it_bills(firm: firms.Firm, erp: Erp) -> None:
    """An adopted edit asks for more than there is: what was billed stays billed, credits included, and no bill gets it."""
    first, second = posted(firm, 2)
    ana, bob = world.user("ana", "analyst", firm.entity), world.user("bob", "controller", firm.entity)
    said = erp.bill("501", line_of(first, "5", key="l1"))
    erp.says(said, erp.credit("601", "501", line_of(first, "2")))
    assert open_hours([first]) == {first: Decimal(5)}
    more = line_of(first, "11", key="l1")
    erp.says(erp.again(said, lines=(more,), net=more.net, total=more.net))
    adopt("501", by=ana, agreed_by=bob)
    assert causes("501") == {"hour-billed-twice"}
    assert open_hours([first]) == {first: Decimal(5)}, "what was billed and credited stays so"
    erp.says(erp.bill("502", line_of(first, "8")))
    assert causes("502") == {"hour-billed-twice"}
    assert open_hours([first]) == {first: Decimal(5)}
    erp.says(other := erp.again(said, lines=(line_of(second, "9", key="l1"),), net=Decimal(1080), total=Decimal(1080)))
    adopt("501", by=ana, agreed_by=bob)
    assert open_hours([first, second]) == {first: Decimal(8), second: Decimal(8)}, "the line bills other work now"
    assert causes("501") == {"hour-billed-twice"}
    erp.says(erp.again(other, lines=(line_of(second, key="l1"),), net=Decimal(960), total=Decimal(960)))
    adopt("501", by=ana, agreed_by=bob)
    assert (causes("501"), open_hours([second])) == (set(), {second: ZERO})


@pytest.mark.case(106)
def test_an_hour_that_is_credited_and_billed_again_twice_in_one_batch_stands_on_the_last_bill(
    firm: firms.Firm, erp: Erp
) -> None:
    """Each bill needs what the credit of the one before gives back, and all of them arrive together."""
    [entry] = posted(firm)
    erp.says(erp.bill("501", line_of(entry)))
    erp.says(
        erp.credit("601", "501", line_of(entry)), erp.bill("502", line_of(entry)), erp.credit("602", "502", line_of(entry)),
        erp.bill("503", line_of(entry)),
    )  # fmt: skip
    assert open_hours([entry]) == {entry: ZERO}
    stands = Allocation.objects.filter(line__version__invoice=find("503"), takes_back=None).get()
    assert (stands.entry_id, stands.quantity) == (entry, Decimal(8))
    assert causes() == set()
