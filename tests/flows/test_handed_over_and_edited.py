"""Bills of handed-over lines that are edited later: what stands billed stays so unless somebody else may bill it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from integrations import outbox, registry
from portal.models import Allocation, BillingBalance, GrantRole, InvoiceProposal, LedgerState, Milestone, User
from portal.records import BillKind, BillLine
from reconciliation import billing, corrections, invoicing
from reconciliation.billing import Part
from reconciliation.models import Route
from tests import world
from tests.bills import Erp, adopt, causes, find, open_hours, posted, read
from tests.integrations.memory_biller import BILLS, biller
from tests.reconciliation.firm import SINCE, Firm, build, key, post

pytestmark = pytest.mark.django_db
ZERO = Decimal(0)


@pytest.fixture
def firm(monkeypatch: pytest.MonkeyPatch) -> Firm:
    """A firm whose bills are made, and kept, by a system in memory."""
    monkeypatch.setitem(registry.CONNECTORS, "memory-biller", "tests.integrations.memory_biller.MemoryBiller")
    made = build()
    system = biller(made.entity)
    Route.objects.create(entity=made.entity, source=made.source, target=system, kind="invoice", valid_from=SINCE)
    for kind, pk, theirs in (
        ("customer", made.customer.pk, "C1"), ("project", made.project.pk, "J1"), ("entity", made.entity.pk, "E1")
    ):  # fmt: skip
        key(system, kind, pk, theirs)
    made.project.manager = world.user("mia", GrantRole.PROJECT_MANAGER, made.entity)
    made.project.save()
    return made


@pytest.fixture
def cora(firm: Firm) -> User:
    return world.user("cora", GrantRole.CONTROLLER, firm.entity)


@pytest.fixture
def ana(firm: Firm) -> User:
    return world.user("ana", GrantRole.ANALYST, firm.entity)


def made(firm: Firm, cora: User, how: str = "") -> list[BillLine]:
    """What is left to bill, proposed, approved and made as a draft; the lines of its bill."""
    [proposal] = invoicing.prepare(firm.project, date(2026, 9, 30), by=None, how=how)
    mia = proposal.project.manager
    assert mia is not None
    released = invoicing.release(proposal, by=mia, seen=proposal.content_hash, accepts=read(proposal))
    invoicing.approve(released, by=cora, seen=released.content_hash, accepts=read(released))
    for _ in range(3):
        LedgerState.objects.filter(entry__kind="invoice").update(next_attempt_at="2020-01-01T00:00:00Z")
        outbox.deliver(Route.objects.get(kind="invoice").target_id)
    _, draft, _ = BILLS["billing"].made[-1]
    assert InvoiceProposal.objects.get(pk=proposal.pk).state == "handed_over"
    return [
        BillLine(key=f"item:{n}", posting_key=line.key, quantity=line.quantity, unit_price=line.unit_price, net=line.net,
                 description=line.description)
        for n, line in enumerate(draft.lines, start=1)
    ]  # fmt: skip


def keeper(firm: Firm) -> Erp:
    """The system that bills, as a source of bills."""
    return Erp(replace(firm, target=Route.objects.get(kind="invoice").target))


def test_a_price_that_is_edited_after_a_part_was_credited_and_billed_elsewhere_leaves_no_hour_open(
    firm: Firm, cora: User, ana: User
) -> None:
    [entry] = posted(firm)
    bills = keeper(firm)
    said = bills.bill("501", *made(firm, cora))
    bills.says(said, bills.credit("601", "501", BillLine(key="c1", net=Decimal(360), description="Three hours")))
    first = Allocation.objects.get(entry=entry, takes_back=None)
    billing.credit_hours(
        find("601", BillKind.CREDIT_NOTE), {first.pk: Part(Decimal(3), Decimal(360))}, by=ana, reason="too many"
    )
    bills.says(bills.bill("502", *made(firm, cora)))
    assert open_hours([entry]) == {entry: ZERO}
    [line] = said.lines
    bills.says(bills.again(said, lines=(replace(line, net=Decimal(1000)),), net=Decimal(1000), total=Decimal(1000)))
    adopt("501", by=ana, agreed_by=cora)
    assert causes() == set()
    assert open_hours([entry]) == {entry: ZERO}, "five on the first bill, three on the second"


@pytest.mark.case(103)
@pytest.mark.case(105)
@pytest.mark.parametrize("net", ["100", "0"])
def test_a_note_that_names_our_line_and_gives_back_less_than_its_hours_cost_opens_none_of_them(
    net: str, firm: Firm, cora: User
) -> None:
    entries = posted(firm, 2)
    bills = keeper(firm)
    [line] = made(firm, cora)
    bills.says(bills.bill("501", line), bills.credit("601", "501", replace(line, net=Decimal(net))))
    assert open_hours(entries) == dict.fromkeys(entries, ZERO)
    assert causes("601") == {"credit-without-hours"}


@pytest.mark.case(103)
def test_a_note_that_names_the_line_of_one_hour_never_gives_back_another(firm: Firm, cora: User) -> None:
    """The first day was reversed before its bill came, so that only the second stands billed; the note is of the first."""
    first, second = posted(firm, 2)
    bills = keeper(firm)
    lines = made(firm, cora, how="entry")
    reversal = corrections.reverse([first], by=cora, reason="on the wrong project").reversals[first]
    post([reversal])
    corrections.settle([reversal])
    bills.says(bills.bill("501", *lines))
    assert open_hours([second]) == {second: ZERO}
    bills.says(bills.credit("601", "501", replace(lines[0], key="c")))
    assert open_hours([second]) == {second: ZERO}
    assert not Allocation.objects.filter(takes_back__isnull=False).exists()


def test_another_currency_on_a_milestones_line_is_told_and_opens_nothing_by_one_person(
    firm: Firm, cora: User, ana: User
) -> None:
    stone = Milestone.objects.create(
        project=firm.project, code="M1", name="Design", due_on=date(2026, 9, 20), amount=Decimal(5000), currency="USD",
        signed_on=date(2026, 9, 25),
    )  # fmt: skip
    bills = keeper(firm)
    said = bills.bill("501", *made(firm, cora))
    bills.says(said)
    bills.says(bills.again(said, currency="EUR"))
    assert not billing.adopt(find("501"), by=ana, reason="they pay in euro").needs_approval
    assert causes("501") == {"billed-line-unknown"}
    balance = BillingBalance.objects.get(milestone=stone)
    assert balance.invoiced - balance.credited == Decimal(5000)
    assert invoicing.prepare(firm.project, date(2026, 9, 30), by=None) == []
