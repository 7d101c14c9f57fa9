"""From posted hours to an invoice draft: proposed, held, released, approved by somebody else, handed over once and proved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from integrations import invariants, outbox, registry, thread
from integrations.errors import InDoubt, Rejected
from integrations.protocol import Drafting
from portal.importing.domains import KNOWN, TABLES
from portal.importing.load import Load
from portal.importing.problems import FilePlace, Refused
from portal.models import (
    Allocation,
    AuditEvent,
    BillingBalance,
    Connection,
    Customer,
    GrantRole,
    InvoiceProposal,
    LedgerEntry,
    LedgerState,
    Milestone,
    Notification,
    Project,
    ProposalLine,
    ProposalPart,
    ProposalState,
    PurchaseOrder,
    State,
    User,
)
from portal.records import BillLine, BillStatus, Reference
from reconciliation import billing as followed
from reconciliation import corrections, invoicing, naming, operations, schedules
from reconciliation.billing import explained
from reconciliation.invoicing import NotProposable, handing_over
from reconciliation.invoicing_api import InvoiceProposalRow, InvoiceProposals
from reconciliation.models import ExceptionCase, Operation, Route
from reconciliation.readiness import why_not_billed
from tests import world
from tests.bills import Erp, causes, find, line_of, open_hours, posted, read
from tests.integrations.memory_biller import BILLS, altered, biller, loses
from tests.reconciliation.firm import SINCE, Firm, build, key, post

pytestmark = pytest.mark.django_db
END = date(2026, 9, 30)


@pytest.fixture(autouse=True)
def _memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.CONNECTORS, "memory-biller", "tests.integrations.memory_biller.MemoryBiller")


@pytest.fixture
def firm() -> Firm:
    """A firm whose customers are invoiced by a system in memory, on the last of the month with 30 days to pay."""
    found = build()
    found.customer.invoice_schedule, found.customer.invoice_day = "monthly", 31
    found.customer.payment_terms_days = 30
    found.customer.save()
    billing = biller(found.entity)
    Route.objects.create(entity=found.entity, source=found.source, target=billing, kind="invoice", valid_from=SINCE)
    for kind, pk, theirs in (
        ("customer", found.customer.pk, "C1"), ("project", found.project.pk, "J1"), ("entity", found.entity.pk, "E1")
    ):  # fmt: skip
        key(billing, kind, pk, theirs)
    found.project.manager = world.user("mia", GrantRole.PROJECT_MANAGER, found.entity)
    found.project.save()
    return found


@pytest.fixture
def mia(firm: Firm) -> User:
    """The project's manager."""
    return User.objects.get(username="mia")


@pytest.fixture
def cora(firm: Firm) -> User:
    """A controller of the entity."""
    return world.user("cora", GrantRole.CONTROLLER, firm.entity)


def system() -> Connection:
    return Connection.objects.get(code="billing")


def propose(firm: Firm, through: date = END, how: str = "", by: User | None = None) -> InvoiceProposal:
    [proposal] = invoicing.prepare(firm.project, through, by=by, how=how)
    return proposal


def handed_over(proposal: InvoiceProposal, mia: User, cora: User) -> InvoiceProposal:
    """Released by its manager and approved by finance."""
    released = invoicing.release(proposal, by=mia, seen=proposal.content_hash, accepts=read(proposal))
    return invoicing.approve(released, by=cora, seen=released.content_hash, accepts=read(released))


def deliver(times: int = 3) -> None:
    """Workers come by until everything is through."""
    for _ in range(times):
        LedgerState.objects.filter(target=system()).update(next_attempt_at="2020-01-01T00:00:00Z")
        outbox.deliver(system().pk)


def withdrawn(client: Client, page: str, reason: str) -> Any:
    """Somebody withdraws a proposal on its page, and confirms it."""
    asked = client.post(page, {"action": "withdraw", "with_reason": reason})
    said = {"action": "withdraw", "confirmed": asked.context["confirmed"], "reason": reason}
    return client.post(page, said, follow=True)


def state_of(proposal: InvoiceProposal) -> list[str]:
    """Where the drafts of a proposal stand on the ledger."""
    rows = LedgerState.objects.filter(entry__document__invoice_draft__proposal=proposal)
    return list(rows.order_by("entry__document__invoice_draft__part").values_list("state", flat=True))


def lines_there(external_id: str = "501") -> list[BillLine]:
    """The lines of an invoice as its system states them: each bears the key that it was handed."""
    draft = next(draft for _, draft, held in BILLS["billing"].made if held.number == external_id)
    return [
        BillLine(
            key=f"item:{n}", posting_key=line.key, quantity=line.quantity, unit_price=line.unit_price, net=line.net,
            description=line.description,
        )
        for n, line in enumerate(draft.lines, start=1)
    ]  # fmt: skip


def assert_promises_hold() -> None:
    """Every invariant but those that ask for the attempts behind hours, which these tests post without an outbox."""
    broken = [
        f"{one.code}: {sentence}"
        for one, sentences in invariants.verify()
        if one.code not in ("I1", "I11")
        for sentence in sentences
    ]
    assert not broken, "\n".join(broken)


class Bills(Erp):
    """The system that bills, stating its invoices as its connector would."""

    def says(self, *records: Any) -> None:
        """Taken in from the system that bills."""
        self.firm = replace(self.firm, target=system())
        super().says(*records)


def test_a_month_is_proposed_released_and_approved_by_two_people_and_made_once_as_a_draft_that_is_proved(
    firm: Firm, mia: User, cora: User
) -> None:
    entries = posted(firm, 3)
    proposal = propose(firm)
    [line] = proposal.lines.all()
    assert (line.description, line.quantity, line.unit_price, line.net) == (
        "Ana Consultant, Senior consultant, 2 Sep 2026 to 4 Sep 2026", 24, 120, Decimal(2880),
    )  # fmt: skip
    assert set(line.parts.values_list("entry_id", flat=True)) == set(entries)
    with pytest.raises(NotProposable, match="project's manager"):
        invoicing.release(proposal, by=cora, seen=proposal.content_hash, accepts=read(proposal))
    released = invoicing.release(proposal, by=mia, seen=proposal.content_hash, accepts=read(proposal))
    assert Notification.objects.filter(person=cora, subject__contains="waits for approval").exists()
    approved = invoicing.approve(released, by=cora, seen=released.content_hash, accepts=read(released))
    assert approved.state == ProposalState.HANDED_OVER
    deliver()
    assert state_of(proposal) == [State.POSTED]
    [(_, draft, held)] = BILLS["billing"].made
    assert (draft.customer, draft.project, draft.entity, draft.currency) == ("C1", "J1", "E1", "USD")
    assert draft.due_on == draft.dated_on + timedelta(days=30)
    assert draft.lines[0].postings == tuple(f"N{pk}" for pk in entries)
    row = proposal.drafts.get()
    assert (row.number, row.bill_number, row.total, row.drift) == ("501", "INV-501", Decimal(2880), {})
    assert {event.action for event in AuditEvent.objects.filter(object_type="invoiceproposal")} == {
        "proposal.prepared", "proposal.released", "proposal.approved",
    }  # fmt: skip
    assert held.number == "501"
    assert_promises_hold()


def test_who_had_the_lines_grouped_anew_does_not_approve_them(firm: Firm, mia: User, cora: User) -> None:
    posted(firm, 3)
    propose(firm)
    grouped = propose(firm, how="entry", by=cora)
    released = invoicing.release(grouped, by=mia, seen=grouped.content_hash, accepts=read(grouped))
    with pytest.raises(NotProposable, match="you edited it"):
        invoicing.approve(released, by=cora, seen=released.content_hash, accepts=read(released))


@pytest.mark.case(76)
@pytest.mark.case(87)
def test_the_bill_that_comes_back_bills_exactly_the_hours_that_were_handed_over_and_none_before_it_is_known(
    firm: Firm, mia: User, cora: User
) -> None:
    entries = posted(firm, 3)
    proposal = handed_over(propose(firm), mia, cora)
    deliver()
    assert not Allocation.objects.exists()  # hours are marked when the bill is known, not when it is asked for
    bills = Bills(firm)
    bills.says(bills.bill("501", *lines_there(), status=BillStatus.DRAFT))
    assert open_hours(entries) == dict.fromkeys(entries, Decimal(0))
    assert set(Allocation.objects.values_list("amount", flat=True)) == {Decimal(960)}
    proposal.refresh_from_db()
    assert proposal.state == ProposalState.BILLED
    assert proposal.drafts.get().invoice == find("501")
    assert not ProposalPart.objects.filter(released_at=None).exists()
    steps, parts = explained(find("501"), find("501").current.lines.get(), {})
    assert sum(part.amount for part in parts) == Decimal(2880)
    assert dict(steps)["Net"].startswith("2,880.00 USD")
    bills.says(bills.bill("501", *lines_there(), status=BillStatus.OPEN))
    assert causes() == set()
    assert invoicing.prepare(firm.project, END, by=None) == []
    bills.says(bills.bill("501", *lines_there(), status=BillStatus.VOIDED))  # and its hours are to be billed again
    proposal.refresh_from_db()
    assert proposal.state == ProposalState.VOIDED
    assert propose(firm).net == Decimal(2880)
    assert_promises_hold()


def test_a_bill_that_is_first_seen_void_gives_its_hours_back(firm: Firm, mia: User, cora: User) -> None:
    entries = posted(firm, 2)
    proposal = handed_over(propose(firm), mia, cora)
    deliver()
    bills = Bills(firm)
    bills.says(bills.bill("501", *lines_there(), status=BillStatus.VOIDED))
    proposal.refresh_from_db()
    assert (proposal.state, proposal.drafts.get().invoice) == (ProposalState.VOIDED, find("501"))
    assert open_hours(entries) == dict.fromkeys(entries, Decimal(8))
    second = handed_over(propose(firm), mia, cora)
    assert second.net == Decimal(1920)
    deliver()
    [line] = lines_there("502")
    bills.says(bills.bill("502", replace(line, quantity=Decimal(12)), status=BillStatus.OPEN))
    assert causes("502") == {"billed-line-unknown"}
    assert invoicing.prepare(firm.project, END, by=None) == []  # nobody knows which of them it bills
    bills.says(bills.bill("502", replace(line, quantity=Decimal(12)), status=BillStatus.VOIDED))
    assert propose(firm).net == Decimal(1920)
    assert_promises_hold()


def test_no_hour_sits_in_two_open_proposals_whatever_writes_it(firm: Firm) -> None:
    [entry] = posted(firm)
    proposal = propose(firm)
    assert invoicing.prepare(firm.project, END, by=None)[0].pk == proposal.pk  # made anew, not doubled
    other = InvoiceProposal.objects.create(
        entity=firm.entity, project=firm.project, customer=firm.customer, currency="USD", through=END,
        prepared_at=timezone.now(),
    )  # fmt: skip
    line = ProposalLine.objects.create(proposal=other, position=1, description="again", net=Decimal(960))
    with pytest.raises(IntegrityError, match="more is proposed of entry"), transaction.atomic():
        ProposalPart.objects.create(
            line=line, entity=firm.entity, entry_id=entry, quantity=Decimal("0.5"), amount=Decimal(60)
        )
    [held] = posted(firm, first=9, billable=False)
    with pytest.raises(IntegrityError, match="not to be proposed"), transaction.atomic():
        ProposalPart.objects.create(line=line, entity=firm.entity, entry_id=held, quantity=1, amount=0)


def test_who_released_or_edited_does_not_approve_and_the_database_says_so_too(
    firm: Firm, mia: User, cora: User
) -> None:
    posted(firm, 2)
    world.user("otto", GrantRole.ANALYST, firm.entity)
    both = world.user("bea", GrantRole.CONTROLLER, firm.entity)
    both.grants.create(entity=firm.entity, role=GrantRole.PROJECT_MANAGER, valid_from=SINCE)
    firm.project.manager = both
    firm.project.save()
    proposal = propose(firm)
    released = invoicing.release(proposal, by=both, seen=proposal.content_hash, accepts=read(proposal))
    with pytest.raises(NotProposable, match="you released it"):
        invoicing.approve(released, by=both, seen=released.content_hash, accepts=read(released))
    with pytest.raises(IntegrityError, match="did_not_release_it"), transaction.atomic():
        InvoiceProposal.objects.filter(pk=proposal.pk).update(approved_by=both)
    opened = invoicing.send_back(released, by=cora, reason="the text is missing")
    invoicing.word(opened, by=cora, memo="September")
    firm.project.manager = mia
    firm.project.save()
    opened = InvoiceProposal.objects.get(pk=opened.pk)
    released = invoicing.release(opened, by=mia, seen=opened.content_hash, accepts=read(opened))
    with pytest.raises(NotProposable, match="you edited it"):
        invoicing.approve(released, by=cora, seen=released.content_hash, accepts=read(released))
    with pytest.raises(IntegrityError, match="edited none of it"), transaction.atomic():
        InvoiceProposal.objects.filter(pk=proposal.pk).update(approved_by=cora)
    with pytest.raises(IntegrityError, match="is not edited"), transaction.atomic():
        ProposalLine.objects.filter(proposal=proposal).update(net=1)
    with pytest.raises(NotProposable, match="changed meanwhile"):
        invoicing.approve(released, by=both, seen="something else")
    otto = User.objects.get(username="otto")
    assert (
        invoicing.approve(released, by=otto, seen=released.content_hash, accepts=read(released)).state
        == ProposalState.HANDED_OVER
    )


def test_a_line_on_hold_stays_off_this_invoice_and_on_hold_in_the_next_until_its_day(
    firm: Firm, mia: User, cora: User, client: Client
) -> None:
    first, _ = posted(firm, 2)
    proposal = propose(firm, how="entry")
    line = proposal.lines.get(parts__entry=first)
    with pytest.raises(NotProposable, match="for a reason"):
        invoicing.hold(line, by=mia, reason=" ")
    invoicing.hold(line, by=mia, reason="the customer disputes it", until=timezone.localdate() + timedelta(days=9))
    proposal.refresh_from_db()
    assert proposal.net == Decimal(960)
    handed_over(proposal, mia, cora)
    deliver()
    [(_, draft, _)] = BILLS["billing"].made
    assert draft.net == Decimal(960)
    again = propose(firm)
    assert (again.net, again.lines.get().hold_reason) == (Decimal(0), "the customer disputes it")
    with pytest.raises(NotProposable, match="Every line is on hold"):
        invoicing.release(again, by=mia, seen=again.content_hash, accepts=read(again))
    client.force_login(mia)
    asked = client.post(reverse("invoice_proposal", args=[again.pk]), {"action": "release"})
    assert "Stops it</b>: Every line is on hold" in asked.content.decode(), "told before it is refused"
    invoicing.unhold(again.lines.get(), by=cora)
    again.refresh_from_db()
    assert again.net == Decimal(960)
    assert propose(firm).net == Decimal(960)  # what was put back stays so when it is made anew


@pytest.mark.case(84)
def test_work_that_two_customers_share_is_split_by_the_largest_remainder_and_adds_up_hour_by_hour(
    firm: Firm, mia: User, cora: User
) -> None:
    other = Customer.objects.create(code="BETA", name="Beta", currency="USD")
    key(system(), "customer", other.pk, "C2")
    firm.contract.shares = {"ACME": "66.6667", "BETA": "33.3333"}
    firm.contract.save()
    entries = posted(firm, 3, hours=Decimal("1.25"))
    proposals = invoicing.prepare(firm.project, END, by=None)
    assert [(p.customer.code, p.share.normalize()) for p in proposals] == [
        ("ACME", Decimal("66.6667")), ("BETA", Decimal("33.3333"))
    ]  # fmt: skip
    assert sum(p.net for p in proposals) == Decimal(450)
    for entry in entries:
        parts = ProposalPart.objects.filter(entry=entry)
        assert parts.count() == 2
        assert (sum(p.quantity for p in parts), sum(p.amount for p in parts)) == (Decimal("1.25"), Decimal(150))
    for proposal in proposals:
        handed_over(proposal, mia, cora)
    deliver()
    bills = Bills(firm)
    beta = Reference("C2", "", "Beta")
    key(firm.target, "customer", other.pk, "C2")
    bills.says(bills.bill("501", *lines_there("501")), bills.bill("502", *lines_there("502"), customer=beta))
    assert open_hours(entries) == dict.fromkeys(entries, Decimal(0))
    assert causes() == set()
    assert_promises_hold()


def test_a_customer_is_billed_their_share_whatever_became_of_the_others_and_nothing_goes_that_was_billed_elsewhere(
    firm: Firm, mia: User, cora: User
) -> None:
    other = Customer.objects.create(code="BETA", name="Beta", currency="USD")
    key(system(), "customer", other.pk, "C2")
    firm.contract.shares = {"ACME": "60", "BETA": "40"}
    firm.contract.save()
    [entry] = posted(firm)
    mine, theirs = invoicing.prepare(firm.project, END, by=None)
    handed_over(mine, mia, cora)
    deliver()
    assert [p.pk for p in invoicing.prepare(firm.project, END, by=None)] == [theirs.pk]  # all of the rest is Beta's
    theirs.refresh_from_db()
    assert (theirs.net, theirs.lines.get().quantity) == (Decimal(384), Decimal("3.2"))
    bills = Bills(firm)
    bills.says(bills.bill("501", *lines_there("501")))
    [theirs] = invoicing.prepare(firm.project, END, by=None)
    assert (theirs.customer, theirs.net) == (other, Decimal(384))
    bills.says(bills.bill("501", *lines_there("501"), status=BillStatus.VOIDED))
    mine, theirs = invoicing.prepare(firm.project, END, by=None)
    assert (mine.net, theirs.net) == (Decimal(576), Decimal(384))
    assert invoicing.blockers(mine) == []
    elsewhere = LedgerEntry.objects.get(pk=entry).idempotency_key.hex
    Erp(firm).says(bills.bill("900", BillLine(key="1", posting_key=elsewhere, quantity=Decimal(3), net=Decimal(360))))
    assert open_hours([entry]) == {entry: Decimal(5)}
    assert [[one.code for one in invoicing.blockers(p)] for p in (mine, theirs)] == [["outdated"]] * 2
    assert_promises_hold()


def test_only_the_projects_own_manager_acts_for_it_and_finance_where_it_may(firm: Firm, mia: User, cora: User) -> None:
    posted(firm, 1)
    stranger = world.user("nils", GrantRole.PROJECT_MANAGER, firm.entity)
    proposal = propose(firm)
    for refused in (
        lambda: invoicing.prepare(firm.project, END, by=stranger),
        lambda: invoicing.hold(proposal.lines.get(), by=stranger, reason="not mine"),
        lambda: invoicing.release(proposal, by=stranger, seen=proposal.content_hash, accepts=read(proposal)),
        lambda: invoicing.withdraw(proposal, by=stranger, reason="not mine"),
    ):
        with pytest.raises(NotProposable, match="project's manager"):
            refused()
    invoicing.withdraw(proposal, by=mia, reason="not yet")
    invoicing.withdraw(propose(firm), by=cora, reason="not yet either")


@pytest.mark.case(72)
def test_a_proposal_with_more_lines_than_the_system_takes_becomes_several_drafts_that_add_up_to_it(
    firm: Firm, mia: User, cora: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.integrations.memory_biller.MemoryBiller.drafting", Drafting(lines=2))
    posted(firm, 5)
    proposal = handed_over(propose(firm, how="entry"), mia, cora)
    deliver()
    made = [draft for _, draft, _ in BILLS["billing"].made]
    assert [(d.part, d.parts, len(d.lines)) for d in made] == [(1, 3, 2), (2, 3, 2), (3, 3, 1)]
    assert sum(d.net for d in made) == proposal.net == Decimal(4800)
    assert state_of(proposal) == [State.POSTED] * 3
    # What a system takes is declared by its connector; a connection may ask for fewer lines, and not for more.
    lines = [ProposalLine(position=n) for n in range(600)]
    for connector, at_most in (("stripe", [250, 250, 100]), ("businesscentral", [500, 100]), ("netsuite", [600])):
        for settings, parts in (({}, at_most), ({"lines_on_a_bill": 5000}, at_most), ({"lines_on_a_bill": 300}, None)):
            most = handing_over.lines_at_most(Connection(connector=connector, settings=settings))
            found = handing_over.split(lines, most)
            assert [len(part) for part in found] == (parts or ([300, 300] if connector != "stripe" else at_most))
            assert [line for part in found for line in part] == lines


@pytest.mark.case(82)
@pytest.mark.case(83)
def test_orders_and_maximum_stop_a_proposal_before_the_draft_and_say_what_is_left(firm: Firm, mia: User) -> None:
    firm.contract.requires_purchase_order = True
    firm.contract.save()
    order = PurchaseOrder.objects.create(
        contract=firm.contract, number="PO-7", amount=Decimal(1920), currency="USD", valid_from=SINCE
    )
    posted(firm, 2)
    proposal = propose(firm)
    assert proposal.purchase_order == order
    order.amount = Decimal(1000)
    order.save()
    with pytest.raises(
        NotProposable, match=r"1,920.00 USD pass purchase order PO-7, of which 1,000.00 USD of 1,000.00"
    ):
        invoicing.release(proposal, by=mia, seen=proposal.content_hash, accepts=read(proposal))
    order.amount = Decimal(5000)
    order.save()
    firm.contract.cap_amount = Decimal(1500)
    firm.contract.save()
    assert [one.code for one in invoicing.blockers(InvoiceProposal.objects.get(pk=proposal.pk))] == ["CAP_EXCEEDED"]


@pytest.mark.case(82)
def test_a_limit_counts_its_own_currency_and_milestones_and_an_order_is_asked_for_its_days(
    firm: Firm, mia: User, cora: User
) -> None:
    posted(firm, 1)  # before anybody asked for an order
    firm.contract.requires_purchase_order = True
    firm.contract.cap_amount = Decimal(9000)
    firm.contract.save()
    Milestone.objects.create(
        project=firm.project, code="M1", name="Design", due_on=date(2026, 9, 20), amount=Decimal(5000), currency="USD",
        signed_on=date(2026, 9, 25),
    )  # fmt: skip
    [proposal] = invoicing.prepare(firm.project, END, by=None)
    assert [(one.code, "needs a purchase order in USD" in one.words) for one in invoicing.blockers(proposal)] == [
        ("PO_REQUIRED", True)
    ]
    order = PurchaseOrder.objects.create(
        contract=firm.contract, number="PO-7", amount=Decimal(6000), currency="USD", valid_from=SINCE,
        valid_to=date(2026, 9, 30),
    )  # fmt: skip
    [proposal] = invoicing.prepare(firm.project, END, by=None)
    assert (proposal.purchase_order, proposal.net) == (order, Decimal(5960))  # the hours and the milestone of its days
    assert invoicing.blockers(proposal) == []
    order.valid_to = date(2026, 9, 10)
    order.save()
    [expired] = invoicing.blockers(InvoiceProposal.objects.get(pk=proposal.pk))
    assert expired.code == "PO_EXPIRED"
    assert "valid from 1 Jan 2026 to 10 Sep 2026, and 1 thing on the invoice is of 25 Sep 2026." in expired.words
    order.valid_to = None
    order.save()
    handed_over(proposal, mia, cora)
    # What is signed counts when hours are admitted: 1,000.00 are left on the order, then 40.00.
    firm.admit(firm.time("2", work_date=date(2026, 9, 4)))
    firm.admit(firm.time("3", work_date=date(2026, 9, 5)))
    holds = (
        LedgerEntry.objects.filter(document__external_id__in=["2", "3"])
        .order_by("pk")
        .values_list("holds__rule", flat=True)
    )
    assert list(holds) == [None, None, "purchase-order-exceeded"]  # the last one is split at what is left
    # In another currency nothing counts, and is said.
    Milestone.objects.create(
        project=firm.project, code="M2", name="Paris", due_on=date(2026, 9, 20), amount=Decimal(70000), currency="EUR",
        signed_on=date(2026, 9, 25),
    )  # fmt: skip
    [other] = invoicing.prepare(firm.project, END, by=None)
    assert [one.code for one in invoicing.blockers(other)] == ["PO_REQUIRED"]
    [cap] = invoicing.limits_of(other)
    assert (cap.left, cap.rest, cap.beside) == (Decimal(3040), Decimal(3040), "70,000.00 EUR")
    assert_promises_hold()


def test_a_milestone_that_changes_is_billed_with_what_is_new_and_never_lowered_below_what_is_billed(
    firm: Firm, mia: User, cora: User
) -> None:
    milestone = Milestone.objects.create(
        project=firm.project, code="M1", name="Design", due_on=date(2026, 9, 20), amount=Decimal(5000), currency="USD",
        signed_on=date(2026, 9, 25),
    )  # fmt: skip
    handed_over(propose(firm), mia, cora)
    deliver()
    bills = Bills(firm)
    bills.says(bills.bill("501", *lines_there()))
    milestone.amount = Decimal(6000)
    milestone.save()
    assert BillingBalance.objects.get(milestone=milestone).delivered == Decimal(6000)
    posted(firm, 1)
    again = propose(firm)  # the hours of the project go on too
    assert next((line.description, line.net) for line in again.lines.all()) == ("Design (M1)", Decimal(1000))
    assert again.net == Decimal(1960)
    milestone.amount = Decimal(5500)
    milestone.save()
    assert [one.code for one in invoicing.blockers(again)] == ["outdated"]
    assert propose(firm).net == Decimal(1460)
    for name, value, said in (
        ("amount", Decimal(4999), "does not go below that"), ("currency", "EUR", "stays in that currency")
    ):  # fmt: skip
        row = Milestone.objects.get(pk=milestone.pk)
        setattr(row, name, value)
        with pytest.raises(IntegrityError, match=said), transaction.atomic():
            row.save()
    with connection.cursor() as cursor:  # one that was lowered before that was watched is saved and raised all the same
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("UPDATE portal_milestone SET amount = 4000 WHERE id = %s", [milestone.pk])
        cursor.execute("SET LOCAL session_replication_role = DEFAULT")
    for amount in (4000, 4500, 6000):
        row = Milestone.objects.get(pk=milestone.pk)
        row.amount = Decimal(amount)
        row.save()
        assert BillingBalance.objects.get(milestone=milestone).delivered == max(Decimal(5000), row.amount)
    load = Load(TABLES, KNOWN)
    place = FilePlace("milestones.csv", 2)
    load.add("milestones", [(place, {
        "project": firm.project.code, "code": "M1", "name": "Design", "due_on": "2026-09-20", "amount": "4000", "currency": "USD",
    })])  # fmt: skip
    with pytest.raises(Refused) as refusal:
        load.check()
    [problem] = refusal.value.problems
    assert "is less than what is billed: 5000 USD of it are invoiced; have that credited first." in str(problem)
    assert_promises_hold()


@pytest.mark.case(88)
def test_tax_that_cannot_be_right_stops_before_the_draft_and_the_systems_own_is_told_and_never_forced(
    firm: Firm, mia: User, cora: User
) -> None:
    posted(firm, 1)
    firm.customer.tax_treatment = "reverse_charge"
    firm.customer.save()
    proposal = propose(firm)
    with pytest.raises(NotProposable, match="has no tax number"):
        invoicing.release(proposal, by=mia, seen=proposal.content_hash, accepts=read(proposal))
    firm.customer.tax_number = "DE136695976"
    firm.customer.save()
    BILLS["billing"].tax_percent = Decimal(19)
    handed_over(propose(firm), mia, cora)
    deliver()
    proposal.refresh_from_db()
    row = proposal.drafts.get()
    assert state_of(proposal) == [State.POSTED]  # net is what was approved; the tax is theirs
    assert (row.tax, row.total) == (Decimal("182.40"), Decimal("1142.40"))
    assert invoicing.tax_variance(proposal, row.tax) == (
        "182.40 USD of tax, while Acme Inc. is treated as reverse charge"
    )


@pytest.mark.case(89)
@pytest.mark.parametrize(("rounding", "nets"), [("entry", ["3.36"]), ("line", ["3.33"]), ("invoice", ["3.33"])])
def test_totals_are_built_from_rounded_lines_as_the_contract_rounds_and_parts_add_up_to_the_cent(
    firm: Firm, rounding: str, nets: Sequence[str]
) -> None:
    firm.contract.rounding = rounding
    firm.contract.save()
    firm.rate.amount = Decimal("11.10")
    firm.rate.save()
    posted(firm, 6, hours=Decimal("0.05"), rate=Decimal("11.10"))
    proposal = propose(firm)
    assert [str(line.net.quantize(Decimal("0.01"))) for line in proposal.lines.all()] == list(nets)
    parts = ProposalPart.objects.filter(line__proposal=proposal)
    assert sum(part.amount for part in parts) == proposal.net
    assert all(part.amount == part.amount.quantize(Decimal("0.01")) for part in parts)


@pytest.mark.case(85)
def test_milestones_are_billed_when_signed_and_instalments_of_a_retainer_by_their_day_and_hours_are_cost(
    firm: Firm, mia: User, cora: User
) -> None:
    firm.contract.billing_model = "milestone"
    firm.contract.save()
    posted(firm, 2)
    milestone = Milestone.objects.create(
        project=firm.project, code="M1", name="Design", due_on=date(2026, 9, 20), amount=Decimal(5000), currency="USD"
    )
    assert invoicing.prepare(firm.project, END, by=None) == []
    milestone.signed_on = date(2026, 9, 25)
    milestone.save()
    proposal = propose(firm)
    assert [(line.description, line.net) for line in proposal.lines.all()] == [("Design (M1)", Decimal(5000))]
    handed_over(proposal, mia, cora)
    deliver()
    bills = Bills(firm)
    bills.says(bills.bill("501", *lines_there()))
    balance = BillingBalance.objects.get(milestone=milestone)
    assert (balance.delivered, balance.invoiced) == (Decimal(5000), Decimal(5000))
    bills.says(bills.bill("900", BillLine(key="1", milestone=Reference("M1"), net=Decimal(5000))))
    assert causes("900") == {"hour-billed-twice"}
    firm.contract.billing_model = "retainer"
    firm.contract.save()
    Milestone.objects.create(
        project=firm.project, code="RET-9", name="Retainer September", due_on=date(2026, 9, 30), amount=Decimal(3000),
        currency="USD",
    )  # fmt: skip
    firm.project.refresh_from_db()
    assert propose(firm).net == Decimal(3000)
    assert_promises_hold()


@pytest.mark.case(48, 81)
def test_a_draft_whose_answer_is_lost_is_looked_up_and_never_made_twice_and_a_refused_one_goes_again_by_hand(
    firm: Firm, mia: User, cora: User
) -> None:
    entries = posted(firm, 2)
    BILLS["billing"].faults.append(loses(InDoubt("no answer"), kept=True))
    proposal = handed_over(propose(firm), mia, cora)
    deliver(5)
    assert (state_of(proposal), len(BILLS["billing"].made)) == ([State.POSTED], 1)
    assert proposal.drafts.get().number == "501"
    posted(firm, 1, first=12)
    BILLS["billing"].faults.append(loses(Rejected("Document number INV-502 is taken.", code="rejected"), kept=False))
    second = handed_over(propose(firm), mia, cora)
    deliver()
    assert second.lines.get().is_late  # worked in days that the first invoice was to bill
    assert state_of(second) == [State.REJECTED]
    case = ExceptionCase.objects.get(rule="draft-refused", state="open")
    assert "INV-502 is taken" in case.sentence
    assert open_hours(entries) == dict.fromkeys(entries, Decimal(8))  # hours untouched
    invoicing.send_again(second, by=cora, reason="numbered anew there")
    deliver()
    case.refresh_from_db()
    assert (state_of(second), case.state) == ([State.POSTED], "resolved")
    assert_promises_hold()


def test_a_draft_that_is_held_with_other_figures_is_a_case_and_not_proved_until_they_are_put_right(
    firm: Firm, mia: User, cora: User
) -> None:
    posted(firm, 1)
    BILLS["billing"].alter = altered(net=Decimal(900), total=Decimal(900))
    proposal = handed_over(propose(firm), mia, cora)
    deliver()
    case = ExceptionCase.objects.get(rule="draft-differs", state="open")
    assert "net 960 was approved, 900 is there" in case.sentence
    assert state_of(proposal) == [State.ACCEPTED]
    BILLS["billing"].alter = None
    deliver()
    case.refresh_from_db()
    assert (state_of(proposal), case.state) == ([State.POSTED], "resolved")


def test_hours_that_are_taken_back_after_approval_stop_the_draft_at_the_door_and_a_withdrawal_opens_the_rest(
    firm: Firm, mia: User, cora: User
) -> None:
    first, second = posted(firm, 2)
    proposal = handed_over(propose(firm), mia, cora)
    corrections.reverse([first], by=cora, reason="wrong project")
    deliver()
    assert (state_of(proposal), BILLS["billing"].made) == ([State.HELD], [])
    assert "is being reversed" in ExceptionCase.objects.get(rule="draft-outdated", state="open").sentence
    invoicing.withdraw(proposal, by=cora, reason="an hour was wrong")
    assert state_of(proposal) == [State.CANCELLED]
    assert set(propose(firm).lines.get().parts.values_list("entry_id", flat=True)) == {second}
    assert not ExceptionCase.objects.filter(rule="draft-outdated", state="open").exists()


@pytest.mark.case(80)
def test_a_draft_that_its_system_lost_is_taken_off_and_its_proposal_withdrawn_gives_its_hours_back(
    firm: Firm, mia: User, cora: User, client: Client
) -> None:
    entries = posted(firm, 2)
    proposal = handed_over(propose(firm), mia, cora)
    deliver()
    BILLS["billing"].made = [("", *kept[1:]) for kept in BILLS["billing"].made]  # it answers to no key of ours any more
    client.force_login(cora)
    page = reverse("invoice_proposal", args=[proposal.pk])
    assert ">Withdraw<" not in client.get(page).content.decode()
    with pytest.raises(NotProposable, match="void it there"):
        invoicing.withdraw(proposal, by=cora, reason="it is gone there")
    [draft] = LedgerEntry.objects.filter(document__invoice_draft__proposal=proposal)
    LedgerState.objects.filter(entry=draft).update(proved_at="2020-01-01T00:00:00Z")
    proposal.drafts.update(read_at="2020-01-01T00:00:00Z")
    outbox.read_back(system().pk, again=True)
    case = ExceptionCase.objects.get(holds__entry=draft, state="open")
    client.post(reverse("fix", args=[case.pk, "leave-out"]), {"reason": "deleted there"})
    operation = Operation.objects.latest("pk")
    client.post(reverse("operation", args=[operation.pk]), {"action": "confirm", "reason": "deleted there"})
    operations.run(operation.pk)
    deliver()
    assert state_of(proposal) == [State.CANCELLED]
    assert invoicing.prepare(firm.project, END, by=None) == []  # until somebody withdraws it, the work is taken
    withdrawn(client, page, "it was deleted there")
    proposal.refresh_from_db()
    assert (proposal.state, proposal.reason) == (ProposalState.WITHDRAWN, "it was deleted there")
    assert AuditEvent.objects.filter(action="proposal.withdrawn", actor=cora).count() == 1
    again = propose(firm)
    assert set(again.lines.get().parts.values_list("entry_id", flat=True)) == set(entries)
    handed_over(again, mia, cora)
    deliver()
    assert state_of(again) == [State.POSTED]
    assert not ExceptionCase.objects.filter(state="open").exists()
    assert_promises_hold()


@pytest.mark.case(110)
def test_a_line_of_which_nobody_knows_what_it_bills_keeps_it_and_who_bills_what_was_booked_anew_is_told(
    firm: Firm, mia: User, cora: User
) -> None:
    first, second = posted(firm, 2)
    handed_over(propose(firm), mia, cora)
    deliver()
    bills, books = Bills(firm), Erp(firm)
    [line] = lines_there()
    bills.says(bills.bill("501", line, status=BillStatus.DRAFT))
    bills.says(bills.bill("501", replace(line, quantity=Decimal(12), net=Decimal(1440)), status=BillStatus.DRAFT))
    assert causes("501") == {"billed-line-unknown"}
    [anew] = firm.admit(
        firm.time("1", work_date=LedgerEntry.objects.get(pk=first).work_date, description="Workshop, second day")
    ).held
    reversal = corrections.reverse([first], by=cora, reason="another text").reversals[first]
    post([reversal])
    corrections.settle([reversal])
    post([anew])
    followed.booked_anew([anew])
    assert open_hours([first, second, anew]) == {first: 0, second: 0, anew: 8}
    books.says(books.bill("502", line_of(anew)))
    assert causes("502") == {"hour-billed-twice"}
    assert open_hours([first, second, anew]) == {first: 0, second: 0, anew: 8}
    assert why_not_billed(LedgerEntry.objects.get(pk=anew)).words == (
        f"It waits for a credit: entry {first}, which it replaces, still stands on invoice INV-501."
    )
    bills.says(bills.bill("501", line, status=BillStatus.OPEN))  # and now it is known
    assert (causes("501"), causes("502")) == (set(), {"hour-billed-twice"})
    assert open_hours([first, second, anew]) == {first: 8, second: 0, anew: 0}
    bills.says(bills.bill("501", line, status=BillStatus.VOIDED))
    followed.review_every(older_than_seconds=0)
    assert causes() == set()
    assert open_hours([first, second, anew]) == {first: 8, second: 8, anew: 0}


def test_who_bills_is_a_route_and_without_one_an_approved_proposal_waits_and_says_what_is_missing(
    firm: Firm, mia: User, cora: User
) -> None:
    posted(firm, 1)
    Route.objects.filter(kind="invoice").delete()
    approved = handed_over(propose(firm), mia, cora)
    assert approved.state == ProposalState.APPROVED
    assert "No route says which system bills" in invoicing.biller_of(approved).problem
    other = biller(firm.entity, "other-biller")
    other.realm = "other"
    other.save()
    Route.objects.create(entity=firm.entity, source=firm.source, target=other, kind="invoice", valid_from=SINCE)
    with pytest.raises(NotProposable, match="has no key for ACME"):
        invoicing.hand_over_again(approved, by=cora)
    key(other, "customer", firm.customer.pk, "cus_9")
    invoicing.hand_over_again(approved, by=cora)
    outbox.deliver(other.pk)
    assert [draft.customer for _, draft, _ in BILLS["other-biller"].made] == ["cus_9"]
    assert not BILLS["billing"].made


def test_the_invoice_run_proposes_what_is_due_once_through_the_day_of_the_schedule(firm: Firm, mia: User) -> None:
    posted(firm, 2)
    made = invoicing.run_due(date(2026, 9, 30))
    assert [(p.through, p.net, p.prepared_by) for p in made] == [(END, Decimal(1920), None)]
    assert Notification.objects.filter(person=mia, subject__contains="waits for your release").exists()
    assert invoicing.run_due(date(2026, 9, 30)) == []
    line = made[0].lines.get()
    for over in (timezone.localdate() - timedelta(days=1), timezone.localdate()):
        with pytest.raises(NotProposable, match="is over already"):
            invoicing.hold(line, by=mia, reason="not yet", until=over)
    invoicing.hold(line, by=mia, reason="not yet", until=timezone.localdate() + timedelta(days=1))
    made[0].refresh_from_db()
    assert made[0].net == 0
    assert invoicing.run_due(date(2026, 9, 30)) == []
    ProposalLine.objects.filter(pk=line.pk).update(held_until=timezone.localdate())  # its day has come
    assert [p.pk for p in invoicing.run_due(date(2026, 11, 28))] == [
        made[0].pk
    ]  # and the next run: prepared once all the same
    made[0].refresh_from_db()
    assert made[0].net == Decimal(1920)
    InvoiceProposal.objects.update(through=date(2026, 9, 2))
    line = ProposalLine.objects.get()
    invoicing.hold(line, by=mia, reason="until tomorrow", until=timezone.localdate() + timedelta(days=1))
    ProposalLine.objects.update(held_until=timezone.localdate())
    invoicing.run_due(END)  # made anew as far as it went, which is not the month that is due
    made[0].refresh_from_db()
    assert (made[0].through, made[0].net) == (END, Decimal(1920))
    fifth = schedules.Terms("monthly", 5)
    assert (fifth.last_run(date(2026, 10, 7)), fifth.through(date(2026, 10, 5))) == (date(2026, 10, 5), END)
    friday = schedules.Terms("weekly", 5)
    assert friday.last_run(date(2026, 11, 27)) == friday.through(date(2026, 11, 27)) == date(2026, 11, 27)
    assert friday.last_run(date(2026, 11, 26)) == date(2026, 11, 20)


def test_a_contract_has_one_invoice_over_its_projects_each_released_by_its_own_manager(
    firm: Firm, mia: User, cora: User
) -> None:
    firm.contract.one_invoice = True
    firm.contract.save()
    max_ = world.user("max", GrantRole.PROJECT_MANAGER, firm.entity)
    other = Project.objects.create(
        code="ACM-2",
        name="Acme phase two",
        entity=firm.entity,
        customer=firm.customer,
        contract=firm.contract,
        manager=max_,
    )

    def stone(code: str, amount: int) -> Milestone:
        return Milestone.objects.create(
            project=other, code=code, name="Design", due_on=date(2026, 9, 20), amount=Decimal(amount), currency="USD",
            signed_on=date(2026, 9, 25),
        )  # fmt: skip

    def approve(proposal: InvoiceProposal, by: User) -> InvoiceProposal:
        handed_over(proposal, by, cora)
        return InvoiceProposal.objects.get(pk=proposal.pk)

    signed = stone("M1", 5000)
    [entry] = posted(firm, 1)
    first = propose(firm)
    [second] = invoicing.prepare(other, END, by=None)
    with pytest.raises(NotProposable, match="Only the project's manager releases it"):
        invoicing.release(second, by=mia, seen=second.content_hash, accepts=read(second))
    assert approve(first, mia).state == ProposalState.APPROVED
    with pytest.raises(
        NotProposable, match=f"has one invoice for its projects: {second} of ACM-2 is still to be approved"
    ):
        invoicing.hand_over_again(first, by=cora)
    client = Client()
    client.force_login(cora)
    page = client.get(reverse("invoice_proposal", args=[first.pk])).content.decode()
    assert "On one invoice with" in page
    assert "still to be approved, or to be withdrawn from this invoice." in page
    assert approve(second, max_).state == ProposalState.HANDED_OVER
    first.refresh_from_db()
    assert first.state == ProposalState.HANDED_OVER
    deliver()
    [(_, draft, _)] = BILLS["billing"].made
    assert [(line.description.split(",")[0], line.net) for line in draft.lines] == [
        ("Acm-1: Ana Consultant", Decimal(960)), ("Acme phase two: Design (M1)", Decimal(5000))
    ]  # fmt: skip
    assert (draft.net, draft.project, draft.parts) == (Decimal(5960), "", 1)
    assert set(naming.proposals("501")) == {first, second}
    assert list(thread.milestones_named("501")) == [signed]
    one, other_one = (list(thread.proposals_told(str(proposal))) for proposal in (first, second))
    key = LedgerEntry.objects.get(kind="invoice").idempotency_key
    assert set(naming.proposals(key.hex)) == set(naming.proposals(str(key))) == {first, second}
    assert (len(other_one), other_one[1:]) == (2, one[1:])
    for proposal in (first, second):
        page = client.get(reverse("invoice_proposal", args=[proposal.pk])).content.decode()
        assert "In the system that bills" in page
        told = InvoiceProposalRow(InvoiceProposals.rows.get(pk=proposal.pk)).data
        assert [one["number"] for one in told["drafts"]] == ["501"]
    bills = Bills(firm)
    bills.says(bills.bill("501", *lines_there()))
    assert set(InvoiceProposal.objects.values_list("state", flat=True)) == {ProposalState.BILLED}
    assert open_hours([entry]) == {entry: Decimal(0)}
    assert BillingBalance.objects.get(milestone=signed).invoiced == Decimal(5000)
    # One does not go without the other: what is withdrawn takes along what stands on the same draft.
    posted(firm, 1, first=2)
    stone("M2", 700)
    first, [second] = propose(firm), invoicing.prepare(other, END, by=None)
    approve(second, max_)
    approve(first, mia)
    invoicing.withdraw(second, by=cora, reason="the customer wants two invoices")
    states = InvoiceProposal.objects.filter(pk__in=[first.pk, second.pk]).values_list("state", flat=True)
    assert list(states) == [ProposalState.WITHDRAWN] * 2
    deliver()
    assert len(BILLS["billing"].made) == 1
    assert propose(firm).net == Decimal(960)
    assert_promises_hold()


def test_who_manages_a_project_and_finance_hear_why_the_invoice_run_left_it_out_and_once(
    firm: Firm, mia: User, cora: User
) -> None:
    posted(firm, 1)
    firm.contract.shares = {"ACME": "60", "GONE": "40"}
    firm.contract.save()
    assert invoicing.run_due(END) == []
    assert invoicing.run_due(END) == []
    told = Notification.objects.filter(subject__contains="The invoice run left").order_by("person__username")
    assert [(one.person, one.subject) for one in told] == [
        (person, f"The invoice run left {firm.project.code} out: The work is shared with GONE, which is no customer that is "
                 "known here.")
        for person in (cora, mia)
    ]  # fmt: skip
    assert told[0].url == f"/readiness/?text={firm.project.code}"


def test_a_partial_credit_opens_only_its_hours_and_only_these_are_proposed_again(
    firm: Firm, mia: User, cora: User
) -> None:
    entries = posted(firm, 2)
    handed_over(propose(firm, how="entry"), mia, cora)
    deliver()
    bills = Bills(firm)
    bills.says(bills.bill("501", *lines_there()))
    [line] = [
        one for one in lines_there() if one.posting_key == ProposalLine.objects.get(parts__entry=entries[0]).key.hex
    ]
    bills.says(bills.credit("601", "501", replace(line, key="c1")))
    assert open_hours(entries) == {entries[0]: Decimal(8), entries[1]: Decimal(0)}
    again = propose(firm)
    assert list(again.lines.get().parts.values_list("entry_id", flat=True)) == [entries[0]]
    assert LedgerEntry.objects.filter(kind="invoice").count() == 1
    assert_promises_hold()
