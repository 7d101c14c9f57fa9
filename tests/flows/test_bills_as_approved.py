"""An invoice that somebody changed in the billing system before it was final: told, put right, or agreed to by two people."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from portal import tokens
from portal.models import (
    AccountingPeriod,
    GrantRole,
    InvoiceProposal,
    LedgerEntry,
    ProposalPart,
    ProposalState,
    PurchaseOrder,
    User,
)
from portal.records import BillLine, BillStatus, Reference, SourceStatus
from reconciliation import billing, budgets, invoicing, matching, triage
from reconciliation.billing import tying
from reconciliation.models import ExceptionCase, ProjectMonth, ReconciliationResult
from reconciliation.readiness import why_not_billed
from tests import world
from tests.bills import Erp, causes, find, open_hours, posted
from tests.flows.test_invoicing import END, _memory, cora, deliver, firm, handed_over, mia  # noqa: F401 -- fixtures
from tests.reconciliation.firm import Firm, key

pytestmark = pytest.mark.django_db
RULE = "bill-not-as-approved"


def _drafted(firm: Firm, mia: User, cora: User, entries: int = 2) -> tuple[InvoiceProposal, list[BillLine], list[int]]:  # noqa: F811
    """A proposal of some entries, a line each, handed over; the lines as their system took them."""
    ids = posted(firm, entries)
    [proposal] = invoicing.prepare(firm.project, END, by=mia, how="entry")
    handed_over(proposal, mia, cora)
    deliver()
    lines = [
        BillLine(
            key=f"k{line.pk}", posting_key=line.key.hex, quantity=line.quantity, net=line.net, unit_price=line.unit_price,
            description=line.description,
        )
        for line in proposal.lines.order_by("position")
    ]  # fmt: skip
    return proposal, lines, ids


def _sentence() -> str:
    return ExceptionCase.objects.get(rule=RULE, state="open").sentence


def fred_of(firm: Firm) -> User:  # noqa: F811
    """An analyst of the entity."""
    return User.objects.filter(username="fred").first() or world.user("fred", GrantRole.ANALYST, firm.entity)


def _why(entry_id: int) -> str:
    found = LedgerEntry.objects.select_related("state_row", "project", "contract", "target", "billing_balance")
    return why_not_billed(found.get(pk=entry_id)).words


@pytest.mark.case(79)
def test_a_draft_that_was_changed_before_it_was_final_is_a_cause_until_it_bills_what_was_approved(
    firm: Firm, mia: User, cora: User  # noqa: F811
) -> None:  # fmt: skip
    _, lines, _ = _drafted(firm, mia, cora)
    erp = Erp(firm)
    record = erp.bill("940", *lines, status=BillStatus.DRAFT, number="")
    erp.says(record)
    changed = (
        replace(lines[0], net=Decimal("540.00")),
        lines[1],
        BillLine(key="x", net=Decimal(5000), description="Advice"),
    )
    record = erp.again(record, lines=changed, net=Decimal("6500.00"), total=Decimal("6500.00"))
    erp.says(record)
    assert causes("940") == set()  # a draft is still being worked on

    record = erp.again(record, status=BillStatus.OPEN, number="INV-940")
    erp.says(record)

    assert causes("940") == {RULE}
    said = _sentence()
    assert "line 1 bills 540.00 USD where 960.00 USD were approved" in said
    assert "line 3 (Advice) over 5,000.00 USD was not approved" in said
    assert ExceptionCase.objects.get(rule=RULE).held_amount == Decimal("5420.00")

    erp.says(erp.again(record, lines=tuple(lines), net=Decimal("1920.00"), total=Decimal("1920.00")))
    assert causes("940") == set()


def test_another_customer_and_another_currency_than_approved_are_told_with_all_the_money(
    firm: Firm, mia: User, cora: User  # noqa: F811
) -> None:  # fmt: skip
    _, lines, _ = _drafted(firm, mia, cora, 1)
    beta = type(firm.customer).objects.create(code="BETA", name="Beta", currency="EUR")
    key(firm.target, "customer", beta.pk, "C2")
    erp = Erp(firm)
    erp.says(erp.bill("941", *lines, currency="EUR", customer=Reference("C2", "", "Beta")))
    said = _sentence()
    assert f"its customer is Beta where {firm.customer.name} was approved" in said
    assert "it is in EUR where USD was approved" in said
    assert ExceptionCase.objects.get(rule=RULE).held_amount == Decimal("960.00")


def test_a_line_taken_out_of_a_draft_is_neither_lost_nor_proposed_twice_and_two_people_open_it(
    firm: Firm, mia: User, cora: User, client: Client  # noqa: F811
) -> None:  # fmt: skip
    proposal, lines, (first, second) = _drafted(firm, mia, cora)
    erp = Erp(firm)
    erp.says(erp.bill("942", lines[0]))

    assert causes("942") == {RULE}
    assert "(8.00 h, 960.00 USD) was approved and is on no bill" in _sentence()
    assert "its invoice came without it" in _why(second)
    assert invoicing.prepare(firm.project, END, by=mia) == []  # it may still come back
    fred, bill = fred_of(firm), find("942")
    assert billing.choices(bill) == [billing.Choice.ADOPT, billing.Choice.RESTORE]
    client.force_login(fred)
    page = client.get(reverse("bill", args=[bill.pk])).content.decode()
    assert "A bill is not what was approved" in page
    assert "The work of the line that was taken out is open to be billed again." in page

    decision = billing.adopt(bill, by=fred, reason="The customer pays it next month.")
    assert decision.needs_approval
    assert causes("942") == {RULE}
    with pytest.raises(billing.NotDecidable):
        billing.approve(decision, by=fred)
    assert invoicing.prepare(firm.project, END, by=mia) == []
    billing.approve(decision, by=cora)

    assert causes("942") == set()
    [anew] = invoicing.prepare(firm.project, END, by=mia)
    assert [part.entry_id for line in anew.lines.all() for part in line.parts.all()] == [second]
    proposal.refresh_from_db()
    assert proposal.state == ProposalState.BILLED
    assert open_hours([first, second]) == {first: Decimal(0), second: Decimal(8)}


def test_what_was_left_out_is_open_again_when_the_bill_is_voided_and_a_payment_keeps_what_was_agreed(
    firm: Firm, mia: User, cora: User  # noqa: F811
) -> None:  # fmt: skip
    _, lines, ids = _drafted(firm, mia, cora)
    erp = Erp(firm)
    record = erp.bill("943", replace(lines[0], net=Decimal("900.00")))
    erp.says(record)
    billing.approve(billing.adopt(find("943"), by=fred_of(firm), reason="A discount."), by=cora)
    record = erp.again(record, status=BillStatus.PART_PAID, balance=Decimal("100.00"))
    erp.says(record)
    assert causes("943") == set()

    erp.says(erp.again(record, status=BillStatus.VOIDED))
    [anew] = invoicing.prepare(firm.project, END, by=mia)
    assert {part.entry_id for line in anew.lines.all() for part in line.parts.all()} == set(ids)


def test_a_void_bill_gives_back_what_was_left_out_of_it_without_any_decision(
    firm: Firm, mia: User, cora: User  # noqa: F811
) -> None:  # fmt: skip
    _, lines, ids = _drafted(firm, mia, cora)
    erp = Erp(firm)
    record = erp.bill("944", lines[0])
    erp.says(record)
    assert causes("944") == {RULE}
    erp.says(erp.again(record, status=BillStatus.VOIDED))
    assert causes("944") == set()
    [anew] = invoicing.prepare(firm.project, END, by=mia)
    assert {part.entry_id for line in anew.lines.all() for part in line.parts.all()} == set(ids)


def test_who_is_asked_to_put_it_right_is_reminded_until_it_bills_what_was_approved(
    firm: Firm, mia: User, cora: User  # noqa: F811
) -> None:  # fmt: skip
    _, lines, _ = _drafted(firm, mia, cora)
    erp = Erp(firm)
    record = erp.bill("945", lines[0])
    erp.says(record)
    fred = fred_of(firm)
    decision = billing.restore(find("945"), by=fred, reason="The line is to come back.")
    triage.ask(decision, fred, by=fred)
    assert triage.remind(timezone.now() + timedelta(days=30)) == 1
    assert ExceptionCase.objects.get(rule=RULE).owner == fred
    erp.says(erp.again(record, lines=tuple(lines), net=Decimal("1920.00"), total=Decimal("1920.00")))
    assert causes("945") == set()
    assert triage.remind(timezone.now() + timedelta(days=60)) == 0


def test_why_names_what_stops_posted_work_whose_source_took_it_back_or_changed_it(firm: Firm) -> None:  # noqa: F811
    [gone, shorter] = posted(firm, 2)
    firm.admit(firm.time("1", work_date=date(2026, 9, 2), status=SourceStatus.SUBMITTED))
    firm.admit(firm.time("2", work_date=date(2026, 9, 3), hours=Decimal(5)))
    for entry_id in (gone, shorter):
        assert "ready: the next invoice run" not in _why(entry_id)
    assert "is not billed while this stands" in _why(gone)


def test_a_line_that_bills_fewer_hours_than_were_handed_over_is_tied_by_hand_and_the_rest_is_proposed(
    firm: Firm, mia: User, cora: User  # noqa: F811
) -> None:  # fmt: skip
    first, second = posted(firm, 2)
    [proposal] = invoicing.prepare(firm.project, END, by=mia)
    handed_over(proposal, mia, cora)
    deliver()
    [line] = proposal.lines.all()
    shorter = BillLine(key="k1", posting_key=line.key.hex, quantity=Decimal(12), net=Decimal(1440), description="Work")
    Erp(firm).says(Erp(firm).bill("946", shorter, booked_on=date(2026, 9, 30)))
    assert causes("946") == {RULE, "billed-line-unknown"}
    assert invoicing.prepare(firm.project, END, by=mia) == []

    matching.run(firm.entity, AccountingPeriod.objects.get(entity=firm.entity, code="2026-09"))
    items = list(
        ReconciliationResult.objects.standing().filter(leg="target_invoice").exclude(outcome="matched")
        .select_related("run__entity", "period").order_by("subject")
    )  # fmt: skip
    assert len(items) == 3
    tying.match(items, fred_of(firm), reason="Twelve hours, so the customer says", in_part=True)

    assert causes("946") == {RULE}
    month = ProjectMonth.objects.get(project=firm.project, period__code="2026-09")
    assert (month.ready, month.blocked, month.invoiced) == (0, 480, 1440)
    assert open_hours([first, second]) == {first: Decimal(0), second: Decimal(4)}
    billing.approve(billing.adopt(find("946"), by=fred_of(firm), reason="Twelve are paid now."), by=cora)
    assert causes("946") == set()
    assert not ProposalPart.objects.filter(released_at=None).exists()  # the four hours left are open to be proposed


@pytest.mark.case(79)
def test_what_a_bill_leaves_out_is_neither_ready_nor_left_to_bill_while_its_proposal_takes_it(
    firm: Firm, mia: User, cora: User, client: Client  # noqa: F811
) -> None:  # fmt: skip
    contract = firm.project.contract
    assert contract is not None
    contract.cap_amount = Decimal(10_000)
    contract.save()
    order = PurchaseOrder.objects.create(
        contract=contract, number="PO-4500071123", amount=Decimal(5000), currency="USD", valid_from=date(2026, 9, 1)
    )
    _, lines, (_, second, third) = _drafted(firm, mia, cora, 3)

    def left() -> tuple[Decimal, Decimal]:
        return budgets.of_orders([order])[order.pk].to_bill, budgets.of_contracts([contract])[contract.pk].to_bill

    assert left() == (2120, 7120)
    erp = Erp(firm)
    record = erp.bill("946", lines[0], replace(lines[1], quantity=Decimal(5), net=Decimal(600)))
    erp.says(record)
    assert RULE in causes("946")
    assert left() == (2120, 7120)
    month = ProjectMonth.objects.get(project=firm.project, period__code="2026-09")
    assert (month.ready, month.blocked, month.invoiced, month.drafted) == (0, 1920, 960, 0)
    case = ExceptionCase.objects.get(rule=RULE)
    client.force_login(fred_of(firm))
    page = client.get(reverse("readiness_project", args=[month.pk]))
    assert sum(part.ready for part in page.context["parts"]) == 0
    [check] = [one for one in page.context["failing"] if one.code == "exceptions"]
    assert (check.says, check.url) == (case.sentence, reverse("cause", args=[case.pk]))
    for tab in ("all", "held-up"):
        told = client.get(reverse("readiness"), {"period": "2026-09", "tab": tab}).content.decode()
        assert reverse("cause", args=[case.pk]) in told, tab
    listed = client.get(reverse("invoice_proposals"), {"tab": "all"}).content.decode()
    assert f'href="{reverse("cause", args=[case.pk])}">finance: its bill is not what was approved' in listed
    for entry_id in (second, third):
        found = LedgerEntry.objects.select_related("state_row", "project", "contract", "target", "billing_balance")
        why = why_not_billed(found.get(pk=entry_id))
        assert case.sentence in why.words
        assert (why.url, why.since) == (reverse("cause", args=[case.pk]), case.opened_at)
        assert why.who == "nobody yet"

    url = reverse("invoice_proposal", args=[InvoiceProposal.objects.get().pk])
    bearer = Client(headers={"authorization": f"Bearer {tokens.issue(User.objects.get(username='fred'), 'program')}"})
    for name in (lines[2].posting_key, "po-4500071123"):
        assert client.get(reverse("search"), {"q": name}).headers["Location"] == url, name
        assert len(bearer.get(reverse("api_thread"), {"id": name}).json()["documents"]) == 3, name

    erp.says(erp.again(record, lines=tuple(lines), net=Decimal(2880), total=Decimal(2880)))
    assert left() == (2120, 7120)
    month = ProjectMonth.objects.get(project=firm.project, period__code="2026-09")
    assert (month.ready, month.blocked, month.invoiced) == (0, 0, 2880)
    listed = client.get(reverse("invoice_proposals"), {"tab": "all"}).content.decode()
    assert "its bill is not what was approved" not in listed
