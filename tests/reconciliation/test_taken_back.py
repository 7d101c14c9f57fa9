"""Hours that were invoiced and are taken back: warned of before, a credit proposed on the bill, billed anew only after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pytest
from django.db import IntegrityError
from django.test import Client
from django.urls import reverse

from portal.models import GrantRole, LedgerEntry, Notification, Project, User
from portal.records import BillStatus, Reference, SourceStatus
from reconciliation import billing, corrections, operations
from reconciliation.billing import following
from reconciliation.models import ExceptionCase, Operation
from reconciliation.readiness import why_not_billed
from tests import world
from tests.bills import Erp, adopt, causes, find, line_of, open_hours, posted
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm, entry, state

pytestmark = pytest.mark.django_db
ZERO = Decimal(0)
RULE = "billed-work-taken-back"


@pytest.fixture
def firm() -> Firm:
    made = firms.build()
    firms.key(made.target, "customer", made.customer.pk, "C1")
    return made


@pytest.fixture
def erp(firm: Firm) -> Erp:
    return Erp(firm)


@pytest.fixture
def ana(firm: Firm) -> User:
    return world.user("ana", GrantRole.ANALYST, firm.entity)


@pytest.fixture
def desk(ana: User) -> Client:
    client = Client()
    client.force_login(ana)
    return client


def fixed(desk: Client, code: str, entry_ids: list[int], reason: str = "as the customer was told") -> Operation:
    """Plan a fix of entries on the screen, look at its dry-run, confirm it, and let the worker do it."""
    case = ExceptionCase.objects.filter(holds__entry__in=entry_ids, state="open").first()
    assert case is not None
    desk.post(reverse("fix", args=[case.pk, code]), {"selected": entry_ids})
    operation = Operation.objects.latest("pk")
    desk.post(reverse("operation", args=[operation.pk]), {"action": "confirm", "reason": reason})
    operations.run(operation.pk)
    operation.refresh_from_db()
    return operation


def receipted(entry_id: int) -> int:
    """The reversal of an entry goes and is read back; what waited for it may go."""
    reversal = LedgerEntry.objects.get(reverses=entry_id).pk
    firms.post([reversal])
    corrections.settle([reversal])
    return int(reversal)


@pytest.mark.case(107)
def test_hours_that_move_to_another_project_after_invoicing_are_reversed_credited_and_billed_there(
    firm: Firm, erp: Erp, ana: User, desk: Client
) -> None:
    there = firms.project("ACM-2", firm.entity, firm.customer, firm.contract)
    firms.key(firm.target, "project", there.pk)
    mia, mo = (world.user(name, GrantRole.PROJECT_MANAGER, firm.entity) for name in ("mia", "mo"))
    Project.objects.filter(pk=firm.project.pk).update(manager=mia)
    Project.objects.filter(pk=there.pk).update(manager=mo)
    [first] = posted(firm)
    erp.says(erp.bill("501", line_of(first)))
    bill = find("501")
    held = firm.admit(
        firm.time("1", work_date=entry(first).work_date, project=Reference("", "ACM-2", ""), hours=Decimal(6))
    ).held[0]
    assert causes("501") == set()

    case = ExceptionCase.objects.get(rule="changed-after-posting")
    desk.post(reverse("fix", args=[case.pk, "reverse-and-rebook"]), {"selected": [held]})
    operation = Operation.objects.latest("pk")
    shown = desk.get(reverse("operation", args=[operation.pk])).content.decode()
    assert "Invoiced already" in shown
    assert operation.preview["invoiced"] == {
        "entries": 1,
        "bills": [{"id": bill.pk, "number": "INV-501", "entries": 1, "amount": "960.0000", "currency": "USD"}],
    }
    assert causes("501") == set(), "a dry-run proposes nothing"

    desk.post(reverse("operation", args=[operation.pk]), {"action": "confirm", "reason": "worked on the other project"})
    operations.run(operation.pk)
    cause = ExceptionCase.objects.get(rule=RULE, state="open")
    assert cause.sentence == (
        "Invoice INV-501 bills 1 entry of ACM-1 that the books take back, 8.00 h: 960.00 USD are to be credited. "
        "Once they are, 720.00 USD may be billed in their place, 240.00 USD less in all."
    )
    told = set(Notification.objects.filter(url=reverse("bill", args=[bill.pk])).values_list("person", "subject"))
    sentence = "Invoice INV-501: 960.00 USD on ACM-1 are taken back and to be credited; the work goes to ACM-2."
    assert {(mia.pk, sentence), (mo.pk, sentence)} <= told
    page = desk.get(reverse("bill", args=[bill.pk])).content.decode()
    assert "To be made up for" in page
    assert "to be credited" in page

    receipted(first)
    firms.post([held])
    assert (state(first), state(held)) == ("reversed", "posted")
    erp.says(erp.bill("502", line_of(held, "6")))
    assert causes("502") == {"hour-billed-twice"}, "not before the first one is credited"
    assert why_not_billed(entry(held)).words == (
        f"It waits for a credit: entry {first}, which it replaces, still stands on invoice INV-501."
    )
    erp.says(erp.credit("601", "501", line_of(first)))
    assert causes() == set()
    assert ExceptionCase.objects.get(rule=RULE).state == "resolved"
    assert open_hours([held]) == {held: ZERO}


@pytest.mark.case(52)
@pytest.mark.parametrize("status", [SourceStatus.WITHDRAWN, SourceStatus.DELETED])
def test_an_approval_that_is_revoked_after_invoicing_proposes_a_credit_and_ends_when_it_is_approved_again(
    status: SourceStatus, firm: Firm, erp: Erp, desk: Client
) -> None:
    first, second = posted(firm, 2)
    said = erp.bill("501", line_of(first), line_of(second))
    erp.says(said)
    day = entry(first).work_date
    firm.admit(firm.time("1", work_date=day, status=status))
    assert state(first) == "posted", "nothing of what is invoiced goes by itself"
    assert not LedgerEntry.objects.filter(reverses=first).exists()
    cause = ExceptionCase.objects.get(rule=RULE, state="open")
    assert cause.sentence == (
        "Invoice INV-501 bills 1 entry of ACM-1 that the source or the books took back, 8.00 h: 960.00 USD are to be "
        "credited. Nothing is billed in their place."
    )
    assert cause.detail["entries"] == [first]

    firm.admit(firm.time("1", work_date=day))
    assert causes() == set()
    firm.admit(firm.time("1", work_date=day, status=status))
    fixed(desk, "reverse", [first])
    receipted(first)
    assert causes("501") == {RULE}
    erp.says(erp.again(said, memo="read again"))
    assert causes("501") == {RULE}, "reading the bill again does not end it"
    erp.says(erp.credit("601", "501", line_of(first, "3")))
    assert "5.00 h: 600.00 USD are to be credited" in ExceptionCase.objects.get(rule=RULE, state="open").sentence
    erp.says(erp.credit("602", "501", line_of(first, "5")))
    assert causes() == set()
    assert open_hours([second]) == {second: ZERO}


@pytest.mark.case(110)
@pytest.mark.case(106)
def test_a_correction_of_what_is_not_billed_leaves_the_invoice_untouched_and_it_bills_the_new_version(
    firm: Firm, erp: Erp, desk: Client
) -> None:
    [first] = posted(firm)
    said = erp.bill("501", line_of(first))
    erp.says(said, erp.credit("601", "501", line_of(first, "3")))
    held = firm.admit(firm.time("1", work_date=entry(first).work_date, description="Workshop, second day")).held[0]
    old_line = line_of(first, "5")
    fixed(desk, "reverse-and-rebook", [held])
    assert causes() == set(), "nothing is to be credited: the same is billed"
    receipted(first)
    firms.post([held])
    billing.booked_anew([held])
    assert causes() == set()
    assert find("501").versions.count() == 1
    assert open_hours([first, held]) == {first: Decimal(8), held: Decimal(3)}
    assert why_not_billed(entry(held)).words.endswith("A credit note gave it back.")
    erp.says(erp.bill("502", line_of(held, "3")), erp.again(said, memo="read again"))
    assert causes() == set()
    assert open_hours([held]) == {held: ZERO}
    assert why_not_billed(entry(held)).is_billed
    erp.says(erp.credit("602", "501", old_line))
    assert causes() == set(), "the old number names the same work"
    assert open_hours([held]) == {held: Decimal(5)}


@pytest.mark.case(110)
@pytest.mark.parametrize("is_followed", [True, False], ids=["a line that names it no more", "a bill not looked at yet"])
def test_what_was_booked_anew_is_not_billed_elsewhere_while_a_line_keeps_what_it_replaces(
    is_followed: bool, firm: Firm, erp: Erp, ana: User
) -> None:
    [first] = posted(firm)
    said = erp.bill("501", line_of(first))
    erp.says(said)
    if is_followed:
        bare = replace(said.lines[0], posting_number="", description="Consulting in September")
        erp.says(erp.again(said, lines=(bare,)))
        adopt("501", by=ana, agreed_by=world.user("bob", GrantRole.CONTROLLER, firm.entity))
    held = firm.admit(firm.time("1", work_date=entry(first).work_date, description="Workshop, second day")).held[0]
    corrections.reverse([first], by=ana, reason="another text")
    receipted(first)
    firms.post([held])
    if is_followed:
        billing.booked_anew([held])
    other = erp.bill("502", line_of(held))
    erp.says(other)
    assert causes("502") == {"hour-billed-twice"}
    assert (open_hours([first, held]), causes("501")) == ({first: ZERO, held: Decimal(8)}, set())
    erp.says(erp.again(said, status=BillStatus.VOIDED), erp.again(other, memo="read again"))
    assert causes("502") == set()
    assert open_hours([first, held]) == {first: Decimal(8), held: ZERO}


@pytest.mark.case(110)
def test_work_that_is_booked_anew_twice_stays_as_it_was_billed_while_one_of_its_bills_is_gone_and_undecided(
    firm: Firm, erp: Erp, ana: User
) -> None:
    [first] = posted(firm)
    line = line_of(first, "4")
    gone = erp.bill("502", line_of(first, "1"))
    erp.says(erp.bill("501", line), gone)

    def booked_anew(was: int, text: str) -> int:
        held = firm.admit(firm.time("1", work_date=entry(was).work_date, description=text)).held[0]
        reversal = corrections.reverse([was], by=ana, reason="another text").reversals[was]
        firms.post([reversal])
        corrections.settle([reversal])
        firms.post([held])
        billing.booked_anew([held])
        return held

    second = booked_anew(first, "Workshop, second day")
    assert open_hours([first, second]) == {first: Decimal(8), second: Decimal(3)}
    erp.says(erp.gone(gone))
    third = booked_anew(second, "Workshop, second day, with the board")
    assert (causes("501"), causes("502")) == (set(), {"bill-deleted"}), "its number still names what stands on it"
    assert open_hours([second, third]) == {second: Decimal(3), third: Decimal(8)}
    assert why_not_billed(entry(third)).words.startswith(f"It waits for a credit: entry {second}")
    erp.says(erp.credit("601", "501", replace(line, quantity=Decimal(1), net=Decimal(120))))
    assert causes() == {"bill-deleted"}, "so does the number on a credit note"
    assert open_hours([second, third]) == {second: Decimal(4), third: Decimal(8)}
    adopt("502", by=ana, agreed_by=world.user("bob", GrantRole.CONTROLLER, firm.entity))
    billing.review_every()
    assert causes() == set()
    assert open_hours([first, second, third]) == {first: Decimal(8), second: Decimal(8), third: Decimal(5)}


def test_a_reversal_that_is_called_back_and_a_void_end_the_proposal_too(firm: Firm, erp: Erp, ana: User) -> None:
    [first] = posted(firm)
    said = erp.bill("501", line_of(first))
    erp.says(said)
    reversal = corrections.reverse([first], by=ana, reason="wrong").reversals[first]
    assert causes("501") == {RULE}
    corrections.withdraw_reversal([reversal], by=ana, reason="right after all")
    assert causes("501") == set()
    corrections.reverse([first], by=ana, reason="wrong")
    erp.says(erp.again(said, status=BillStatus.VOIDED))
    assert causes("501") == set()


def test_what_was_invoiced_after_it_was_looked_at_is_not_reversed_unseen(firm: Firm, erp: Erp, desk: Client) -> None:
    [first] = posted(firm)
    held = firm.admit(firm.time("1", work_date=entry(first).work_date, hours=Decimal(6))).held[0]
    case = ExceptionCase.objects.get(rule="changed-after-posting")
    desk.post(reverse("fix", args=[case.pk, "reverse-and-rebook"]), {"selected": [held]})
    operation = Operation.objects.latest("pk")
    assert operation.preview["invoiced"]["entries"] == 0
    erp.says(erp.bill("501", line_of(first)))
    answer = desk.post(reverse("operation", args=[operation.pk]), {"action": "confirm", "reason": "corrected"})
    assert answer.status_code == 422
    assert "what of them stands on bills is something else now" in answer.content.decode()
    assert not LedgerEntry.objects.filter(reverses=first).exists()


@pytest.mark.case(110)
def test_a_bill_that_the_database_refuses_fails_no_proof_and_stops_no_other_bill_and_is_followed_again_at_night(
    firm: Firm, erp: Erp, ana: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    were = posted(firm, 2)
    erp.says(erp.bill("501", line_of(were[0])), erp.bill("502", line_of(were[1])))
    anew: list[int] = []
    for was in map(entry, were):
        name = was.document.external_id
        anew += firm.admit(firm.time(name, work_date=was.work_date, description="Another text")).held
        reversal = corrections.reverse([was.pk], by=ana, reason="another text").reversals[was.pk]
        firms.post([reversal])
        corrections.settle([reversal])
    firms.post(anew)
    bad, follow = find("501").pk, following.follow

    def refuses(bill_ids: Sequence[int], *more: Sequence[int], actor: str) -> following.Followed:
        if bad in bill_ids:
            raise IntegrityError("entry is not to be billed")
        return follow(bill_ids, *more, actor=actor)

    with monkeypatch.context() as refusing:
        refusing.setattr(following, "follow", refuses)
        billing.booked_anew(anew)
    assert open_hours(anew) == {anew[0]: Decimal(8), anew[1]: ZERO}
    billing.review_every()
    assert open_hours(anew) == dict.fromkeys(anew, ZERO)
    assert causes() == set()
