"""One invoice for several projects, decided on by several people at once, with real threads: once, whole, and to the cent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction

from integrations import outbox
from portal.models import (
    AuditEvent,
    Document,
    InvoiceDraft,
    InvoiceProposal,
    LedgerEntry,
    LedgerState,
    Milestone,
    Notification,
    Project,
    ProposalLine,
    ProposalPart,
    ProposalState,
    State,
    User,
)
from portal.models.access import GrantRole
from portal.models.documents import INVOICE
from reconciliation import invoicing
from reconciliation.invoicing import NotProposable
from reconciliation.sql import invoicing as invoicing_sql
from tests import world
from tests.bills import posted, read
from tests.integrations.memory_biller import BILLS
from tests.shared_invoice import END, Shared, shared_by_two

pytestmark = pytest.mark.django_db(transaction=True)
Act = Callable[[], Any]


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Shared:
    return shared_by_two(monkeypatch)


def at_once(*acts: Act) -> list[Any]:
    """Do all of it in threads that start together; what each gave, or the refusal that it met. Any other error is raised."""
    start, found = threading.Barrier(len(acts)), [None] * len(acts)
    failed: list[BaseException] = []

    def one(number: int) -> None:
        start.wait()
        try:
            found[number] = acts[number]()
        except NotProposable as refusal:
            found[number] = refusal  # type: ignore[call-overload]
        except BaseException as error:
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    if failed:
        raise failed[0]
    return found


def fresh(proposal: InvoiceProposal) -> InvoiceProposal:
    return InvoiceProposal.objects.select_related("project", "contract").get(pk=proposal.pk)


def released(proposal: InvoiceProposal, by: User) -> InvoiceProposal:
    return invoicing.release(fresh(proposal), by=by, seen=proposal.content_hash, accepts=read(proposal))


def approving(proposal: InvoiceProposal, by: User) -> Act:
    seen = fresh(proposal)
    return lambda: invoicing.approve(seen, by=by, seen=seen.content_hash, accepts=read(seen))


def refusals(found: Iterable[Any]) -> list[str]:
    return [str(one) for one in found if isinstance(one, NotProposable)]


def states(*proposals: InvoiceProposal) -> list[str]:
    return [fresh(one).state for one in proposals]


def stands_whole(*proposals: InvoiceProposal) -> None:
    """What was handed over stands on one set of drafts that adds up to it, each owed once; nothing is taken twice."""
    handed = [fresh(one) for one in proposals if fresh(one).state == ProposalState.HANDED_OVER]
    drafts = list(InvoiceDraft.objects.of(*handed))
    assert InvoiceDraft.objects.count() == Document.objects.filter(kind=INVOICE).count() == len(drafts)
    assert LedgerEntry.objects.filter(kind=INVOICE).count() == len(drafts)
    assert len({draft.proposal_id for draft in drafts}) <= 1, "they stand on one invoice"
    assert sum((draft.net for draft in drafts), Decimal(0)) == sum((one.net for one in handed), Decimal(0))
    for one in handed:
        assert not one.lines.filter(held_by=None, draft=None).exists(), "every line of it goes"
        assert not one.lines.exclude(held_by=None).exclude(draft=None).exists(), "what is held stays"
        assert one.approved_by_id != one.released_by_id
    for field in ("entry", "milestone"):
        live = ProposalPart.objects.filter(released_at=None).exclude(**{field: None}).values_list(field, flat=True)
        assert len(live) == len(set(live)), "nothing sits in two proposals"


def test_managers_release_at_once_and_finance_approves_at_once_and_it_is_one_invoice(shared: Shared) -> None:
    """Three projects: their managers release in the same moment, three people of finance approve in the same moment."""
    posted(shared.firm, 3)
    maya = world.user("maya", GrantRole.PROJECT_MANAGER, shared.firm.entity)
    Project.objects.create(
        code="ACM-3", name="Phase three", entity=shared.firm.entity, customer=shared.firm.customer,
        contract=shared.firm.contract, manager=maya,
    )  # fmt: skip
    third_project = Project.objects.get(code="ACM-3")
    Milestone.objects.create(
        project=third_project, code="M9", name="M9", due_on=END, amount=Decimal("333.33"), currency="USD", signed_on=END
    )
    three = [shared.first(), shared.second("M1"), invoicing.prepare(third_project, END, by=None)[0]]
    at_once(
        *(
            lambda one=one, by=by: released(one, by)
            for one, by in zip(three, (shared.mia, shared.max, maya), strict=True)
        )
    )
    assert states(*three) == [ProposalState.RELEASED] * 3
    finance = [shared.cora, *(world.user(name, "controller", shared.firm.entity) for name in ("carl", "cleo"))]
    found = at_once(*(approving(one, by) for one, by in zip(three, finance, strict=True)))
    assert refusals(found) == []
    assert states(*three) == [ProposalState.HANDED_OVER] * 3
    stands_whole(*three)
    assert AuditEvent.objects.filter(action="proposal.approved").count() == 3
    shared.deliver()
    assert sum((draft.net for _, draft, _ in BILLS["billing"].made), Decimal(0)) == Decimal("8213.33")


def test_of_two_approvers_at_once_one_hands_it_over_and_the_other_is_told(shared: Shared) -> None:
    posted(shared.firm, 1)
    first, second = shared.first(), shared.second("M1")
    shared.approve(second)
    one = released(first, shared.mia)
    carl = world.user("carl", "controller", shared.firm.entity)
    found = at_once(approving(one, shared.cora), approving(one, carl))
    first.refresh_from_db()
    assert refusals(found) == [
        f"{first.approved_by} approved it before you: it is handed over by now; look at it again."
    ]
    assert AuditEvent.objects.filter(action="proposal.approved", object_id=str(first.pk)).count() == 1
    with pytest.raises(invoicing.Decided, match="You have decided so already: it is handed over"):
        invoicing.approve(first, by=first.approved_by, seen="whatever")  # type: ignore[arg-type]
    stands_whole(first, second)


def test_who_is_told_of_a_decision_is_who_released_it_even_where_the_approver_came_before_the_release_was_through(
    shared: Shared,
) -> None:
    """An approver who asks while the release is on its way waits for it, and then sees who released it."""
    shared.firm.contract.one_invoice = False
    shared.firm.contract.save()
    shared.firm.project.manager = None
    shared.firm.project.save()
    posted(shared.firm, 1)
    first = shared.first()
    found = at_once(approving(first, shared.cora), lambda: released(first, shared.mia))
    if refusals(found):  # the approver was first
        invoicing.approve(fresh(first), by=shared.cora, seen=first.content_hash, accepts=read(first))
    told = Notification.objects.filter(person=shared.mia, subject__contains="was approved")
    assert told.count() == 1
    stands_whole(first)


@pytest.mark.parametrize("_turn", range(2))
def test_an_approval_while_another_manager_holds_a_line_goes_with_it_or_without_it_and_never_with_half_of_it(
    shared: Shared, _turn: int
) -> None:
    posted(shared.firm, 2)
    first, second = shared.first(), shared.second("M1", "M2")
    one = released(first, shared.mia)
    lines = list(second.lines.order_by("position"))
    other = fresh(second)
    found = at_once(
        approving(one, shared.cora),
        *(lambda line=line: invoicing.hold(line, by=shared.max, reason="the customer objects") for line in lines),
        lambda: invoicing.release(other, by=shared.max, seen=other.content_hash, accepts=read(other)),
    )
    assert all("changed meanwhile" in said or "is released by now" in said for said in refusals(found))
    if fresh(second).state == ProposalState.RELEASED:  # before a line of it was held
        invoicing.approve(fresh(second), by=shared.cora, seen=second.content_hash, accepts=read(second))
    assert states(first) == [ProposalState.HANDED_OVER], "it waits for nothing that bills"
    stands_whole(first, second)
    assert not ProposalLine.objects.filter(draft__isnull=False).exclude(held_by=None).exists()


def test_a_draft_is_planned_once_whoever_else_plans_it_in_the_same_moment(shared: Shared) -> None:
    """Of two that wait for each other: one is withdrawn, handed over by hand, proposed anew and approved, all at once."""
    posted(shared.firm, 2)
    first, second = shared.first(), shared.second("M1")
    shared.approve(first)
    carl = world.user("carl", "controller", shared.firm.entity)
    found = at_once(
        lambda: invoicing.withdraw(fresh(second), by=shared.max, reason="next month"),
        lambda: invoicing.hand_over_again(fresh(first), by=shared.cora),
        lambda: invoicing.hand_over_again(fresh(first), by=carl),
        lambda: invoicing.prepare(shared.other, END, by=None),
        lambda: invoicing.prepare(shared.firm.project, END, by=None),
    )
    assert all("still to be approved" in said or "by now" in said for said in refusals(found))
    stands_whole(first, second)
    for one in InvoiceProposal.objects.filter(project=shared.other, state=ProposalState.OPEN):
        invoicing.withdraw(one, by=shared.max, reason="next month")
    assert states(first) == [ProposalState.HANDED_OVER]
    stands_whole(first, second)


@pytest.mark.parametrize("_turn", range(2))
def test_a_withdrawal_while_the_drafts_go_takes_all_of_it_back_or_nothing(shared: Shared, _turn: int) -> None:
    posted(shared.firm, 3)
    first, second = shared.first(), shared.second("M1")
    shared.approve(first)
    shared.approve(second)
    LedgerState.objects.filter(target=shared.system).update(next_attempt_at="2020-01-01T00:00:00Z")
    at_once(
        lambda: outbox.deliver(shared.system.pk),
        lambda: invoicing.withdraw(fresh(second), by=shared.cora, reason="to be billed apart"),
    )
    shared.deliver()
    found = set(LedgerState.objects.filter(target=shared.system).values_list("state", flat=True))
    assert len(set(states(first, second))) == 1
    if states(first) == [ProposalState.WITHDRAWN]:
        assert (found, BILLS["billing"].made) == ({State.CANCELLED}, [])
        assert not ProposalPart.objects.filter(released_at=None).exists(), "its work is open again"
    else:
        assert (found, len(BILLS["billing"].made)) == ({State.POSTED}, 2)
        stands_whole(first, second)


def test_two_runs_and_a_release_at_once_propose_nothing_twice_and_release_only_what_was_seen(shared: Shared) -> None:
    posted(shared.firm, 2)
    first = shared.first()
    posted(shared.firm, 1, first=3)
    found = at_once(
        lambda: invoicing.prepare(shared.firm.project, END, by=None),
        lambda: invoicing.prepare(shared.firm.project, END, by=shared.mia),
        lambda: released(first, shared.mia),
    )
    assert all("changed meanwhile" in said for said in refusals(found))
    taken = list(ProposalPart.objects.filter(released_at=None).values_list("entry", flat=True))
    assert len(taken) == len(set(taken)) == 3
    if fresh(first).state == ProposalState.RELEASED:
        assert fresh(first).net == Decimal(1920)


def test_what_ceases_to_hold_while_a_release_waits_is_read_and_accepted_before_it_goes_on(shared: Shared) -> None:
    """Somebody holds the proposal while an hour of its month is stopped: the release that waited does not go on unread."""
    posted(shared.firm, 1)
    first = shared.first()
    accepted, found = read(first), list[Any]()
    behind = threading.Thread(target=lambda: found.extend(at_once(lambda: released_as(first, shared.mia, accepted))))
    with transaction.atomic():
        invoicing_sql.lock_proposals([first.pk])
        behind.start()
        shared.firm.admit(shared.firm.time("99", work_date=date(2026, 9, 28), rate=Decimal(999)))
        waits_for_a_lock()
    behind.join(60)
    assert refusals(found) == ["What does not hold of it changed meanwhile; read it again."]
    assert states(first) == [ProposalState.OPEN]
    assert not AuditEvent.objects.filter(action="proposal.released").exists()
    released_as(first, shared.mia, read(first))
    assert len((AuditEvent.objects.get(action="proposal.released").after or {})["accepted"]) > 1


def released_as(proposal: InvoiceProposal, by: User, accepts: str) -> InvoiceProposal:
    return invoicing.release(fresh(proposal), by=by, seen=proposal.content_hash, accepts=accepts)


def waits_for_a_lock() -> None:
    """Until another session waits for what this one holds."""
    asked = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid)))"
    for _ in range(600):
        with connection.cursor() as cursor:
            cursor.execute(asked)
            if cursor.fetchone() == (True,):
                return
        threading.Event().wait(0.05)
    raise AssertionError("nobody waits")
