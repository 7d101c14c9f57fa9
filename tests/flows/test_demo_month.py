"""The demo month from its sources to the reconciled books: what goes wrong in it ends as a handful of causes.

The firm comes in by the operator's commands; Harvest, Clockify and NetSuite answer over HTTP; the workers' own functions move it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db.models import Sum
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer

from integrations import statements, webhooks, work
from integrations.demo import bills, load, month, story
from integrations.demo.firm import Month
from integrations.models import InboxMessage, Stream
from integrations.sandbox.server import control, sandbox_server
from integrations.sql import waiting
from portal import tokens
from portal.models import (
    AccountingPeriod,
    BillingBalance,
    Connection,
    Customer,
    Document,
    EntityGrant,
    Invoice,
    LedgerEntry,
    LedgerState,
    LegalEntity,
    Notification,
    PaymentAllocation,
    Project,
    ProposalPart,
    ProposalState,
    Published,
    RejectedValue,
    State,
    TimeEntry,
    User,
)
from reconciliation import invoicing, matching, operations, pairing
from reconciliation.models import (
    Certificate,
    ExceptionCase,
    Match,
    MatchingRule,
    Operation,
    ProjectMonth,
    ReconciliationResult,
    ReconciliationRun,
)
from tests.bills import read
from tests.invariants import assert_all_hold

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

MONTH = Month(date(2026, 10, 1))
BUSY = [State.READY, State.SENDING, State.IN_DOUBT, State.ACCEPTED]


@pytest.fixture
def sandbox() -> Iterator[str]:
    with sandbox_server(names=["harvest", "clockify", "netsuite", "businesscentral", "salesforce", "stripe"]) as base:
        control(base, "POST", "harvest/configure", {"rate": [100_000, 15]})
        yield base


@pytest.fixture
def demo(sandbox: str, tmp_path: Path, settings: Settings) -> str:
    """The firm as `make run` loads it; nothing has been read yet."""
    settings.ALLOW_LOOPBACK = True
    settings.TIME_SCALE = 0.01
    webhooks.forget()
    load.load(MONTH, sandbox, tmp_path / "demo", lambda _: None)
    return sandbox


def move(seconds: float = 60.0, *, pull: bool = True) -> Counter[str]:
    """Do what the workers do until nothing is left to do; the entries by state."""
    until = time.monotonic() + seconds
    sources = list(Connection.objects.filter(is_source=True).values_list("pk", flat=True))
    erps = list(Connection.objects.filter(is_target=True).values_list("pk", flat=True))
    if pull:
        for stream in Stream.objects.all():
            work.pull(stream.pk)
    while time.monotonic() < until:
        for source in sources:
            work.answer_hints(source)
            work.take_in(source)
        work.revalidate()
        for operation in operations.due():
            operations.run(operation)
        for target in waiting.active_targets():
            work.deliver(target)
        for erp in erps:
            work.read_back(erp)
        new = InboxMessage.objects.filter(state=InboxMessage.State.NEW, next_attempt_at=None).exists()
        if not new and not LedgerState.objects.filter(state__in=BUSY).exists():
            break
    return Counter(LedgerState.objects.values_list("state", flat=True))


def causes() -> dict[str, int]:
    """Open causes: rule → held entries."""
    return {case.rule: case.open_holds for case in ExceptionCase.objects.filter(state="open")}


def fix(code: str, rule: str, by: str = "analyst", **parameters: Any) -> Operation:
    """Preview a fix of a cause, confirm it and let the worker do it."""
    user = User.objects.get(username=by)
    case = ExceptionCase.objects.get(rule=rule, state="open")
    planned = operations.plan(code, user=user, parameters=parameters, reason="as agreed", case=case)
    confirmed = operations.confirm(planned, user=user)
    operations.run(confirmed.pk)
    confirmed.refresh_from_db()
    assert confirmed.done == planned.preview["passes"], "the preview's numbers are the result's numbers"
    return confirmed


def duplicates(sandbox: str) -> int:
    """The most records that the ERP holds under one of our keys."""
    return int(control(sandbox, "GET", "netsuite/inspect")["most_records_under_one_external_id"])


@pytest.mark.case(19, 20, 33, 34, 35, 37, 43, 57, 66, 85, 126)
def test_the_month_ends_in_a_handful_of_causes_and_no_duplicate(demo: str) -> None:
    states = move()
    assert set(states) == {State.POSTED, State.HELD}
    assert causes() == {
        "project-unknown": 17,  # NRD-5010
        "rate-missing": 16,  # an analyst at Orchid Bank
        "rate-mismatch": 6,  # the tracker was not told of the new rate
        "period-closed": 3,  # handed in late
        "duplicate-suspected": 4,  # in the contractors' sheet as well
        "project-closed": causes()["project-closed"],
    }
    assert duplicates(demo) == 1
    dutch = LedgerEntry.objects.filter(entity__code="NL")
    assert set(dutch.values_list("target__code", "state_row__state")) == {("bc-nl", State.POSTED)}
    booked = control(demo, "GET", "businesscentral/inspect")["entries_by_key"]
    assert (len(booked), set(booked.values())) == (dutch.count(), {1})
    free = LedgerEntry.objects.filter(resource__code="kaya", state_row__state=State.POSTED)
    assert free.exists()
    assert {entry.amount for entry in free} == {Decimal(0)}
    assert all("zero-by-contract" in entry.tags for entry in free)
    fixed_fee = LedgerEntry.objects.filter(project__code="BLU-1007", state_row__state=State.POSTED)
    assert {(entry.is_cost_only, entry.amount) for entry in fixed_fee} == {(True, None)}
    fee = ProjectMonth.objects.get(project__code="BLU-1007", period__code="2026-10")
    assert (fee.milestones, fee.milestones_ready, fee.unsigned) == (36000, 36000, 0)
    [stone] = invoicing.prepare(fee.project, MONTH.last, by=None)
    assert ([line.description for line in stone.lines.all()], stone.net) == (["Claims intake is live (BLU-M1)"], 36000)
    assert_a_retainer_is_drawn_down_and_what_is_beyond_it_is_billed()
    senior = LedgerEntry.objects.filter(resource__code="jones", state_row__state=State.POSTED)
    assert {entry.rate for entry in senior} == {Decimal(180)}
    assert_all_hold()


def assert_a_retainer_is_drawn_down_and_what_is_beyond_it_is_billed() -> None:
    """Sixty hours of Lumen's month are paid by its instalment; the day that passes them is split, and the rest has a price."""
    hours = LedgerEntry.objects.filter(project__code="LUM-3400", state_row__state=State.POSTED)
    within, beyond = hours.filter(is_cost_only=True), hours.filter(is_cost_only=False)
    assert sum(one.hours or 0 for one in within) == 60
    assert {("beyond-retainer" in one.tags, one.rate) for one in beyond} == {(True, Decimal(150))}
    assert within.filter(document__in=beyond.values("document")).count() == 1
    [proposal] = invoicing.prepare(Project.objects.get(code="LUM-3400"), MONTH.last, by=None)
    instalment, extra = proposal.lines.order_by("position")
    assert (instalment.description, instalment.net) == ("Retainer of the month (LUM-R1)", 7800)
    assert extra.description.endswith("beyond the retainer")
    assert extra.net == sum(one.amount or 0 for one in beyond) == 150 * sum(one.hours or 0 for one in beyond) > 0


def test_a_planned_project_is_in_the_tracker_before_its_first_hour(demo: str) -> None:
    move()
    records = control(demo, "GET", "harvest/inspect")
    [theirs] = [project for project in records["projects"] if project.get("code") == "ACM-2300"]
    assert (theirs["client"]["name"], theirs["bill_by"]) == ("Acme Industrial", "People")
    people = [one for one in records["user_assignments"] if one["project"]["id"] == theirs["id"]]
    assert {one["user"]["name"]: one["is_project_manager"] for one in people} == {
        "Grace Adams": True, "Marcus Jones": True, "Ngozi Okafor": False,
    }  # fmt: skip
    assert {one["hourly_rate"] for one in people} == {240, 189, 150}
    assert [one["task"]["name"] for one in records["task_assignments"]] == ["Research"]
    told = Published.objects.get(kind="project", title="ACM-2300 Acme data room")
    assert told.number == str(theirs["id"])
    assert len([client for client in records["clients"] if client["name"] == "Acme Industrial"]) == 1
    [renamed] = RejectedValue.objects.all()  # sales renamed a customer in the CRM, which owns no names
    assert (renamed.connection.code, renamed.field, renamed.stands, renamed.said, renamed.state) == (
        "salesforce-us", "name", "Bluewater Health", "Bluewater Healthcare Group", "open",
    )  # fmt: skip
    assert Customer.objects.get(code="BLU").name == "Bluewater Health"
    assert Notification.objects.filter(person__username="controller", url__contains="/rejected/").exists()


@pytest.mark.case(19, 127)
def test_one_fix_of_a_mistyped_code_posts_every_entry_that_carries_it(demo: str) -> None:
    before = move()
    nordwind = Project.objects.get(code="NRD-5100")
    done = fix("map-code", "project-unknown", record=nordwind.pk, valid_from="")
    assert (done.state, done.done, done.failed) == (Operation.State.DONE, 17, 0)
    after = move(pull=False)
    assert after[State.POSTED] == before[State.POSTED] + 17
    case = ExceptionCase.objects.get(rule="project-unknown")
    assert (case.state, case.open_holds) == ("resolved", 0)
    assert_all_hold()


def left_to_bill() -> dict[str, Decimal]:
    """Hours of each billed project that are delivered and not on a bill, or credited."""
    found: dict[str, Decimal] = dict.fromkeys(bills.BILLED, Decimal(0))
    for one in BillingBalance.objects.filter(entry__project__code__in=found).select_related("entry__project"):
        assert one.entry is not None
        assert one.entry.project is not None
        found[one.entry.project.code] += one.delivered - one.invoiced + one.credited
    return found


@pytest.mark.case(75, 78, 79, 80, 92, 93, 103)
def test_the_month_is_billed_and_what_happens_to_the_bills_ends_in_named_items(
    demo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(story, "PATIENCE", 0)
    move()
    story.bills_are_written(MONTH, demo, "", lambda _: None, 0)
    move()
    assert Invoice.objects.filter(kind="invoice").count() == sum(bills.BILLED.values())
    assert set(left_to_bill().values()) == {0}
    assert_the_journey_stands_on_the_bill(demo)
    before = causes()

    story.bills_change(MONTH, demo, "", lambda _: None, 0)
    for _ in range(3):
        move()
    stands = {one.current.number: one.current.status for one in Invoice.objects.select_related("current")}
    assert stands == {
        "ACM-2213-2610-1": "open", "C-ACM-2213-2610-1": "paid", "ACM-2240-2610-1": "voided", "ACM-2240-2610-1A": "paid",
        "THM-3301-2610-1": "part_paid", "MRL-6100-2610-1": "paid", "MRL-6100-2610-2": "paid", "MRL-6100-2610-3": "paid",
        "NRD-5100-2610-1": "open", "CRN-4100-2610-1": "deleted",
    }  # fmt: skip
    assert left_to_bill() == {**dict.fromkeys(bills.BILLED, Decimal(0)), "ACM-2213": Decimal(4)}
    assert set(causes()) - set(before) == {"bill-changed", "bill-deleted"}
    crm = control(demo, "GET", "salesforce/inspect")
    assert {one["Number__c"]: one["Status__c"] for one in crm["Billing_Invoice__c"]} == {
        number: status for number, status in stands.items() if "ACM" in number
    }
    assert [one["Number__c"] for one in crm["Billing_Payment__c"]] == ["PAY-ACM-2240-2610-1A"]
    assert_all_hold()
    assert_the_dutch_bill_goes_from_its_proposal_to_its_payment_and_to_the_account_team(demo)
    assert_the_four_legs_end_in_named_items()
    assert_a_certificate_drops_when_an_hour_changes(demo)
    assert_the_rest_of_the_dutch_bill_is_paid_and_written_off(demo)
    assert_a_rule_that_two_people_agreed_on_suggests_what_a_payment_is_for(demo)


def assert_the_journey_stands_on_the_bill(demo: str) -> None:
    """A flight and a cab of the tracker are expense reports of the ERP, and lines of the customer's bill beside the hours."""
    expenses = LedgerEntry.objects.filter(kind="expense").order_by("amount")
    assert [(one.amount, one.category, one.state_row.state) for one in expenses] == [
        (Decimal(38), "Travel", State.POSTED), (Decimal("412.6"), "Travel", State.POSTED),
    ]  # fmt: skip
    reports = control(demo, "GET", "netsuite/inspect")["expensereports"]
    assert sorted(one["expense"]["items"][0]["amount"] for one in reports) == [38, 412.6]
    balances = BillingBalance.objects.filter(entry__in=expenses)
    assert sorted(balances.values_list("delivered", "invoiced")) == [(Decimal(38),) * 2, (Decimal("412.6"),) * 2]
    bill = Invoice.objects.get(current__number="ACM-2213-2610-1").current
    costs = bill.lines.filter(key__startswith="expense:").order_by("net")
    assert list(costs.values_list("description", "net")) == [
        ("Cab to the site", Decimal(38)), ("Flight to the client", Decimal("412.6")),
    ]  # fmt: skip
    assert bill.net == sum(bill.lines.values_list("net", flat=True))


def assert_the_dutch_bill_goes_from_its_proposal_to_its_payment_and_to_the_account_team(demo: str) -> None:
    """Business Central gives its calendar and its customers, makes the draft, posts it and is paid in part; Salesforce hears."""
    assert Customer.objects.get(code="TUL").tax_number == "NL004495445B01"
    for act in (story.the_dutch_bill, story.the_dutch_post, story.the_dutch_are_paid):
        act(MONTH, demo, "", lambda _: None, 0)
        for _ in range(2):
            move()
    bill = Invoice.objects.get(connection__code="bc-nl")
    assert list(bill.versions.order_by("version").values_list("status", flat=True)) == ["draft", "open", "part_paid"]
    hours = LedgerEntry.objects.filter(entity__code="NL", kind="time")
    balances = BillingBalance.objects.filter(entry__in=hours)
    assert balances.count() == hours.count()
    assert {one.delivered - one.invoiced for one in balances} == {Decimal(0)}
    crm = control(demo, "GET", "salesforce/inspect")
    [told] = [one for one in crm["Billing_Invoice__c"] if one["Booked_In__c"] == "bc-nl"]
    assert (told["Account__c"], told["Status__c"], told["Projects__c"]) == (
        "001000000C00010AAA",
        "part_paid",
        "TUL-8100",
    )
    assert Decimal(str(told["Balance__c"])) == bill.current.balance
    assert (
        Decimal(str(told["Total__c"]))
        == bill.current.total
        == (bill.current.net * Decimal("1.21")).quantize(Decimal("0.01"))
    )
    [paid] = [one for one in crm["Billing_Payment__c"] if one["Booked_In__c"] == "bc-nl"]
    assert Decimal(str(paid["Amount__c"])) == bill.current.total - Decimal(str(told["Balance__c"]))
    entry = hours.filter(amount__gt=0, reverses=None)[0]
    client = Client()
    client.force_login(User.objects.get(username="auditor"))
    page = " ".join(client.get(reverse("entry", args=[entry.pk])).content.decode().split())
    assert f"Salesforce NL holds {bill.current.number} as it stands" in page
    [record] = Published.objects.filter(connection__code="salesforce-nl", kind="invoice")
    assert "part_paid" in client.get(reverse("published_record", args=[record.pk])).content.decode()


def assert_the_four_legs_end_in_named_items() -> None:
    """What is left open after the month was billed: what is held, what nobody billed, and which bills are not paid."""
    left: dict[str, set[str]] = {leg: set() for leg in ReconciliationResult.Leg.values}
    for code in ("US", "GB", "DE", "SG", "NL"):
        entity = LegalEntity.objects.get(code=code)
        period = AccountingPeriod.objects.get(entity=entity, code="2026-10")
        run = statements.reconcile(entity, period, User.objects.get(username="analyst"))
        assert set(run.totals) == set(ReconciliationResult.Leg.values)
        standing = ReconciliationResult.objects.standing().filter(period=period).exclude(outcome="matched")
        for item in standing.select_related("entry__project", "bill__current", "milestone__project"):
            assert item.reason
            left[item.leg].add(_about(item))
    assert (
        left
        == {
            "tracker_ledger": {"open"},  # what is held, each with its rule
            "ledger_target": set(),
            "target_invoice": {
                "ACM-2213",
                "THM-3302",
                "ORC-7100",
                "CRN-4100",
                "BLU-1007",
                "LUM-3400",
            },  # half a day that was credited, what nobody billed yet, what stood on the deleted bill, a signed milestone, and a
            # retainer's instalment with the hours beyond it
            "invoice_payment": {
                "ACM-2213-2610-1",
                "THM-3301-2610-1",
                "NRD-5100-2610-1",
            },  # the Dutch bill is of the next month
        }
    )


def _about(item: ReconciliationResult) -> str:
    """What is open: on the first leg how, else the bill or the project."""
    if item.milestone is not None:
        return str(item.milestone.project.code)
    if item.leg == ReconciliationResult.Leg.TRACKER_LEDGER or item.entry is None:
        return str(item.bill.current.number if item.bill else item.outcome)
    return item.entry.project.code if item.entry.project else "no project"


def assert_a_certificate_drops_when_an_hour_changes(demo: str) -> None:
    """Singapore's month is signed by two people; one hour of it changes, and its certificate says which."""
    story.singapore_is_certified(MONTH, demo, "", lambda _: None, 0)
    certificate = Certificate.objects.get(period__entity__code="SG")
    assert (certificate.state, certificate.prepared_by.username) == ("certified", "analyst")
    assert matching.watch() == 0
    story.an_hour_changes(MONTH, demo, "", lambda _: None, 0)
    move()
    assert matching.watch() == 1
    certificate.refresh_from_db()
    assert certificate.state == "dropped"
    assert certificate.delta["legs"]["tracker_ledger"]["hours"][0]["left"] == "522.0000"
    assert certificate.delta["legs"]["tracker_ledger"]["hours"][1]["left"] == "520.0000"
    changed = [item for item in certificate.delta["items"] if " of wong: " in item]
    assert len(changed) == 1
    assert changed[0].startswith("Time entry SG-")
    assert " → " in changed[0]


def assert_the_rest_of_the_dutch_bill_is_paid_and_written_off(demo: str) -> None:
    """A few euros are given up in Business Central: the bill is paid, and what was not money is told apart from what was."""
    story.the_dutch_rest_is_given_up(MONTH, demo, "", lambda _: None, 0)
    move()
    bill = Invoice.objects.get(connection__code="bc-nl")
    assert (bill.current.status, bill.current.balance) == ("paid", Decimal(0))
    settled = dict(PaymentAllocation.objects.filter(invoice=bill).values_list("by").annotate(Sum("amount")))
    assert settled == {"cash": bill.current.total - story.DUTCH_GIVEN_UP, "write_off": story.DUTCH_GIVEN_UP}
    client = Client()
    client.force_login(User.objects.get(username="auditor"))
    page = client.get(reverse("bill", args=[bill.pk])).content.decode()
    assert "write off" in page.lower()
    assert f"{story.DUTCH_GIVEN_UP}" in page
    assert_all_hold()


def assert_a_rule_that_two_people_agreed_on_suggests_what_a_payment_is_for(demo: str) -> None:
    """The rest of the Thames bill comes and is applied to nothing; the rule finds the two, and a person confirms it."""
    story.a_rule_suggests(MONTH, demo, "", lambda _: None, 0)
    move()
    gb, analyst = LegalEntity.objects.get(code="GB"), User.objects.get(username="analyst")
    for code in ("2026-10", "2026-11"):
        statements.reconcile(gb, AccountingPeriod.objects.get(entity=gb, code=code), analyst)
    rule = MatchingRule.objects.get()
    assert (rule.made_by, rule.activated_by) == (analyst, User.objects.get(username="controller"))
    [found] = Match.objects.filter(rule=rule)
    assert (found.state, found.items, found.amount_left) == ("suggested", 2, found.amount_right)
    held = ReconciliationResult.objects.standing().filter(match=found)
    about = held.values_list("bill__current__number", "payment__current__number")
    assert set(about) == {("THM-3301-2610-1", None), (None, "PAY-REST-THM-3301-2610-1")}
    pairing.confirm(found, analyst)
    assert set(held.values_list("standing", flat=True)) == {"matched"}


@pytest.mark.case(1, 16, 50, 51, 117, 118)
@pytest.mark.case(76)
def test_singapore_bills_through_stripe_whose_customers_it_is_told(demo: str) -> None:
    move()
    customers = {one["name"]: one["id"] for one in control(demo, "GET", "stripe/inspect")["customers"]}
    assert set(customers) == {"Merlion Ports", "Orchid Bank"}
    manager, controller = User.objects.get(username="pm"), User.objects.get(username="controller")
    project = Project.objects.get(code="ORC-7100")
    [proposal] = invoicing.prepare(project, date(2026, 10, 31), by=manager)
    released = invoicing.release(proposal, by=manager, seen=proposal.content_hash, accepts=read(proposal))
    invoicing.approve(released, by=controller, seen=released.content_hash, accepts=read(released))
    move()
    [(key, record)] = control(demo, "GET", "stripe/inspect")["invoices"].items()
    assert (record["status"], record["customer"]) == ("draft", customers["Orchid Bank"])
    assert Decimal(record["total"]) / 100 == proposal.net
    draft = proposal.drafts.get()
    assert (draft.number, draft.drift, draft.total) == (key, {}, proposal.net)
    move()
    proposal.refresh_from_db()
    assert proposal.state == ProposalState.BILLED
    assert invoicing.prepare(proposal.project, date(2026, 10, 31), by=controller) == []
    assert_all_hold()


def test_what_changes_after_posting_is_told_reversed_and_rebooked(demo: str, live_server: LiveServer) -> None:
    move()
    for act in (story.approvals_come_in, story.things_change):
        act(MONTH, demo, live_server.url, lambda _: None, 0)
    until = time.monotonic() + 60
    expected = {"changed-after-posting", "approval-withdrawn-after-posting", "deleted-at-source"}
    while time.monotonic() < until and not expected <= set(causes()):
        for stream in Stream.objects.filter(connection__code="harvest-us", name="time_entries"):
            work.sweep_ids(stream.pk)
        move(5)
    assert expected <= set(causes())
    changed = ExceptionCase.objects.get(rule="changed-after-posting")
    edited = changed.holds.get(closed_at=None).entry
    fix("reverse-and-rebook", "changed-after-posting")
    fix("reverse", "approval-withdrawn-after-posting", by="controller")
    fix("reverse", "deleted-at-source", by="controller")
    move()
    assert not expected & set(causes())
    rebooked = (
        LedgerEntry.objects.filter(document=edited.document).exclude(state_row__state=State.CANCELLED).order_by("id")
    )
    assert [(entry.hours, entry.state_row.state) for entry in rebooked] == [
        (Decimal("7.5"), State.REVERSED),
        (Decimal(6), State.POSTED),
        (Decimal("-7.5"), State.POSTED),
    ]
    assert duplicates(demo) == 1
    assert_all_hold()


def test_the_month_is_reconciled_and_every_difference_has_a_reason(demo: str) -> None:
    move()
    entity = LegalEntity.objects.get(code="SG")
    period = AccountingPeriod.objects.get(entity=entity, code="2026-10")
    run = statements.reconcile(entity, period, User.objects.get(username="analyst"))
    assert run.state == ReconciliationRun.State.BALANCED  # what is booked agrees; what is not booked is named
    open_items = run.results.exclude(outcome="matched")
    assert Counter(open_items.values_list("outcome", flat=True))["open"] == open_items.count()
    assert open_items.values("entry").distinct().count() == 16  # the entries without a rate
    assert all(result.reason for result in open_items)
    booked = LedgerState.objects.filter(entry__entity=entity, entry__post_on__range=(period.starts_on, period.ends_on))
    assert Counter(booked.values_list("state", flat=True))[State.RECONCILED] == 50


def test_an_outside_program_can_compare_every_source_entry_with_what_became_of_it(demo: str) -> None:
    move()
    reader = User.objects.create_user("warehouse")
    EntityGrant.objects.create(user=reader, entity=None, role="auditor", valid_from=date(2020, 1, 1))
    client = Client(headers={"authorization": f"Bearer {tokens.issue(reader, 'nightly comparison')}"})
    rows = _all(client, "/api/v1/ledger-entries/?kind=time&page_size=100")
    assert len(rows) == LedgerEntry.objects.filter(kind="time").count()
    by_source = {(row["connection"], row["external_id"]): row for row in rows}
    for item in load.of(month.worked(MONTH), "US"):
        row = by_source["harvest-us", str(1_500_000_000 + item.number)]
        assert (row["work_date"], Decimal(row["hours"])) == (item.on.isoformat(), item.hours)
        assert (row["project"], row["resource"]) == (item.project, item.person)
        if row["state"] == "posted":
            assert (row["read_back"], row["holds"]) == ("equal", [])
            assert row["receipt"]
        else:
            assert row["holds"][0]["rule"] in causes()
    entries = _all(client, "/api/v1/time-entries/?current=true")
    assert len(entries) == TimeEntry.objects.count() == Document.objects.filter(kind="time").count()
    parts = Counter(len(entry["ledger"]) for entry in entries)
    assert parts == {1: len(entries) - 1, 2: 1}, "one day is split where it passes the hours of a retainer"


def _all(client: Client, address: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    while address:
        answer = client.get(address)
        assert answer.status_code == 200, answer.content
        page = answer.json()
        rows += page["results"]
        address = page["next"] or ""
    return rows


def test_a_token_sees_its_users_entities_only(demo: str) -> None:
    move()
    reader = User.objects.create_user("berlin")
    germany = LegalEntity.objects.get(code="DE")
    EntityGrant.objects.create(user=reader, entity=germany, role="auditor", valid_from=date(2020, 1, 1))
    client = Client(headers={"authorization": f"Bearer {tokens.issue(reader, 'berlin')}"})
    for name in ("ledger-entries", "time-entries", "expenses", "cases", "holds"):
        rows = _all(client, f"/api/v1/{name}/")
        assert {row.get("entity", "DE") for row in rows} <= {"DE"}
    foreign = LedgerEntry.objects.exclude(entity=germany).first()
    assert foreign is not None
    assert client.get(f"/api/v1/ledger-entries/{foreign.pk}/").status_code == 404
    assert Client().get("/api/v1/ledger-entries/").status_code == 401
    assert client.get("/api/v1/ledger-entries/?colour=red").status_code == 400
    assert client.post("/api/v1/ledger-entries/", {}).status_code == 405


@pytest.mark.case(72, 76, 87)
def test_an_invoice_is_proposed_released_approved_and_made_in_the_erp_and_comes_back_to_the_hours_that_it_bills(
    demo: str,
) -> None:
    move()
    project = Project.objects.get(code="THM-3301")
    pm, controller = User.objects.get(username="pm"), User.objects.get(username="controller")
    [proposal] = invoicing.prepare(project, date(2026, 10, 31), by=pm)
    entries = set(ProposalPart.objects.filter(line__proposal=proposal).values_list("entry_id", flat=True))
    [order] = invoicing.limits_of(proposal)
    assert (order.name, order.rest) == ("Order PO-4500071123", 90000 - proposal.net)
    released = invoicing.release(proposal, by=pm, seen=proposal.content_hash, accepts=read(proposal))
    invoicing.approve(released, by=controller, seen=released.content_hash, accepts=read(released))
    move()
    draft = proposal.drafts.get()
    [record] = [one for one in control(demo, "GET", "netsuite/inspect")["invoices"] if one["externalId"]]
    assert (draft.number, draft.bill_number, Decimal(str(record["subtotal"]))) == (
        str(record["id"]), f"INV-{record['id']}", proposal.net,
    )  # fmt: skip
    assert (record["status"]["refName"], record["otherRefNum"]) == ("Pending Approval", "PO-4500071123")
    move()
    proposal.refresh_from_db()
    draft.refresh_from_db()
    assert draft.invoice is not None
    assert (proposal.state, draft.invoice.current.status) == (ProposalState.BILLED, "draft")
    balances = BillingBalance.objects.filter(entry__in=entries)
    assert {balance.delivered - balance.invoiced for balance in balances} == {Decimal(0)}
    assert balances.count() == len(entries)
    assert not set(causes()) & {"billed-line-unknown", "hour-billed-twice", "draft-differs"}
    assert_all_hold()
