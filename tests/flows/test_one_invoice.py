"""Where a contract has one invoice for its projects: several drafts, one withdrawn, one billed, and who waits for whom."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from integrations.errors import Rejected
from portal.models import InvoiceProposal, LedgerState, ProposalState, State
from reconciliation import corrections, invoicing
from reconciliation.invoicing import NotProposable
from tests.bills import posted, read
from tests.integrations.memory_biller import BILLS, loses
from tests.shared_invoice import END, Shared, shared_by_two

pytestmark = pytest.mark.django_db


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Shared:
    return shared_by_two(monkeypatch)


def states(*proposals: InvoiceProposal) -> list[str]:
    return [InvoiceProposal.objects.get(pk=one.pk).state for one in proposals]


def drafts_of(proposal: InvoiceProposal) -> list[str]:
    rows = LedgerState.objects.filter(entry__document__invoice_draft__lines__proposal=proposal).distinct()
    return list(rows.order_by("entry_id").values_list("state", flat=True))


def test_a_neighbour_whose_other_draft_may_be_in_the_system_that_bills_is_not_withdrawn_with_a_refused_one(
    shared: Shared,
) -> None:
    posted(shared.firm, 3)
    first, second = shared.first(), shared.second("M1")
    shared.approve(first)
    shared.approve(second)
    BILLS["billing"].faults += [None, loses(Rejected("No.", code="rejected"), kept=False)]
    shared.deliver()
    assert sorted(drafts_of(first)) == [State.POSTED, State.REJECTED]
    assert drafts_of(second) == [State.REJECTED]
    with pytest.raises(
        NotProposable, match=f"one invoice with {first} of ACM-1, and a draft of them may be in the system"
    ):
        invoicing.withdraw(second, by=shared.cora, reason="to be billed apart")
    assert states(first, second) == [ProposalState.HANDED_OVER] * 2
    assert invoicing.prepare(shared.firm.project, END, by=None) == [], (
        "what stands on the first draft is not proposed again"
    )
    invoicing.send_again(second, by=shared.cora, reason="numbered anew there")
    shared.deliver()
    assert drafts_of(first) == [State.POSTED] * 2


def test_all_that_hang_together_by_drafts_that_have_not_gone_are_withdrawn_together(shared: Shared) -> None:
    posted(shared.firm, 3)
    first, second = shared.first(), shared.second("M1")
    shared.approve(first)
    shared.approve(second)
    invoicing.withdraw(second, by=shared.cora, reason="to be billed apart")
    assert states(first, second) == [ProposalState.WITHDRAWN] * 2
    assert set(drafts_of(first)) == {State.CANCELLED}
    assert shared.first().net == Decimal(2880)


def test_the_second_draft_goes_on_when_the_project_on_the_first_one_is_billed(shared: Shared) -> None:
    posted(shared.firm, 2)
    first, second = shared.first(), shared.second("M1")
    shared.approve(first)
    shared.approve(second)
    BILLS["billing"].faults += [None, loses(Rejected("No.", code="rejected"), kept=False)]
    shared.deliver()
    shared.bill("501")
    assert states(first, second) == [ProposalState.BILLED, ProposalState.HANDED_OVER]
    invoicing.send_again(second, by=shared.cora, reason="numbered anew there")
    shared.deliver()
    assert drafts_of(second) == [State.POSTED]
    shared.bill("502")
    assert states(second) == [ProposalState.BILLED]


def test_what_waits_for_another_project_goes_without_it_once_that_is_withdrawn_held_or_bills_nothing_any_more(
    shared: Shared,
) -> None:
    posted(shared.firm, 1)
    first, second = shared.first(), shared.second("M1")
    client = Client()
    client.force_login(shared.cora)
    released = invoicing.release(first, by=shared.mia, seen=first.content_hash, accepts=read(first))
    address = reverse("invoice_proposal", args=[first.pk])
    said: dict[str, Any] = {"action": "approve", "seen": released.content_hash}
    asked = client.post(address, said)
    said |= {"confirmed": asked.context["confirmed"], "told": asked.context["form"].initial["told"], "accepts": "on"}
    page = client.post(address, said, follow=True).content.decode()
    assert f"Approved, and not handed over yet: Contract {shared.firm.contract} has one invoice" in page
    invoicing.withdraw(second, by=shared.max, reason="next month")
    assert states(first, second) == [ProposalState.HANDED_OVER, ProposalState.WITHDRAWN]
    posted(shared.firm, 1, first=9)
    first, second = shared.first(), shared.second()
    shared.approve(first)
    invoicing.hold(second.lines.get(), by=shared.max, reason="the customer objects")
    assert states(first, second) == [ProposalState.HANDED_OVER, ProposalState.OPEN]
    [taken_back] = posted(shared.firm, 1, first=10)
    third = shared.first()
    invoicing.unhold(second.lines.get(), by=shared.max)
    shared.approve(InvoiceProposal.objects.get(pk=second.pk))
    assert states(second) == [ProposalState.APPROVED]
    corrections.reverse([taken_back], by=shared.cora, reason="wrong project")
    assert invoicing.prepare(shared.firm.project, END, by=None) == []
    assert states(second, third) == [ProposalState.HANDED_OVER, ProposalState.WITHDRAWN]
