"""The CRM on both ends: a deal that is won is a project in the tracker, and what the customer owes is told to its account."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from integrations import hints, inbox, outbox, streams, webhooks, work
from integrations.models import InboxMessage, RefusedDelivery, Run, Stream
from integrations.sandbox import harvest as harvest_sandbox
from integrations.sandbox import salesforce as salesforce_sandbox
from integrations.sandbox.server import control, sandbox_server
from integrations.sql import inbound as inbound_sql
from integrations.sql import streams as stream_sql
from portal.models import Connection, Crosswalk, Customer, LedgerState, LegalEntity, Project, Published
from portal.records import BillStatus
from reconciliation.models import ExceptionCase
from tests import world
from tests.bills import Erp, line_of, posted
from tests.integrations.test_salesforce import SEED, account_row, opportunity
from tests.reconciliation import firm as firms

ACME, NEW = account_row(1)["Id"], opportunity(7)["Id"]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[str]:
    with sandbox_server(names=["harvest", "salesforce"]) as base:
        yield base


@dataclass
class Crm:
    """The org of a firm, as one of its connections reads and is told it."""

    base: str
    connection: Connection

    def read(self, name: str) -> None:
        """Read a stream now, take in what came and follow it, as the workers do."""
        stream, _ = Stream.objects.get_or_create(connection=self.connection, name=name, defaults={"every_seconds": 900})
        Stream.objects.filter(pk=stream.pk).update(next_due_at=None, usual_volume=0)
        run = streams.pull(stream.pk)
        assert run is not None
        assert run.state == Run.State.DONE, run.failure
        self.take_in()

    def take_in(self) -> None:
        inbox.take_in_everything(self.connection.pk)
        work.revalidate()

    def act(self, do: str, **how: Any) -> None:
        control(self.base, "POST", "salesforce/seed", {"actions": [{"do": do, **how}]})

    def holds(self, name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = control(self.base, "GET", "salesforce/inspect")[name]
        return found

    def deliver(self, connection: Connection | None = None, times: int = 8) -> None:
        """Workers come by until everything is through."""
        target = connection or self.connection
        for _ in range(times):
            LedgerState.objects.filter(target=target).update(next_attempt_at="2020-01-01T00:00:00Z")
            LedgerState.objects.filter(state="in_doubt").update(moved_at="2020-01-01T00:00:00Z")
            outbox.deliver(target.pk)

    def states(self) -> set[str]:
        owed = LedgerState.objects.filter(target=self.connection).exclude(state__in=["reversed", "cancelled"])
        return set(owed.values_list("state", flat=True))


def crm(base: str, entity: LegalEntity, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Crm:
    control(base, "POST", "reset")
    control(base, "DELETE", "faults")
    control(base, "POST", "salesforce/seed", SEED)
    monkeypatch.setenv("SF_SECRET", salesforce_sandbox.CLIENT_SECRET)
    monkeypatch.setenv("SF_HINTS", "hint-secret-of-the-test")
    made = Connection.objects.create(
        code="salesforce", name="Salesforce", connector="salesforce", entity=entity, base_url=f"{base}/salesforce",
        is_source=True, is_recipient=bool(settings.get("subscribes")),
        credentials={"client_secret": {"env": "SF_SECRET"}, "webhook_secret": {"env": "SF_HINTS"}},
        settings={"client_id": salesforce_sandbox.CLIENT_ID, "read_timeout": 0.5, "currency": "EUR", **settings},
    )  # fmt: skip
    webhooks.forget()
    return Crm(base, made)


@pytest.mark.django_db
@pytest.mark.case(118)
def test_a_change_event_has_the_account_read_again_and_what_was_not_heard_in_time_has_the_stream_read(
    sandbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = "/data/AccountChangeEvent"
    org = crm(
        sandbox, world.entity(), monkeypatch, owns=["customer"], channels={channel: "changes"}, listen_seconds=0.2
    )
    control(sandbox, "POST", "salesforce/seed", {"channels": [channel]})
    org.read("customers")
    customers = Stream.objects.get(connection=org.connection, name="customers")
    assert customers.next_due_at is not None
    org.read("hints")
    customers.refresh_from_db()
    assert customers.pk in {
        stream_id for stream_id, _, _ in stream_sql.due_streams()
    }  # from when on it is heard, nobody knows
    org.read("customers")
    org.act("edit", object="Account", ids=[ACME], changes={"Name": "Acme Holding"})
    org.act("edit", object="Account", ids=[ACME], changes={"Name": "Acme Group"})
    org.read("hints")
    told = InboxMessage.objects.filter(connection=org.connection, kind="hint")
    assert list(told.values_list("stream", "external_id", "state").distinct()) == [("customers", ACME, "new")]
    answered = hints.answer(org.connection.pk)
    assert (answered.hints, answered.records) == (2, 1)  # one thing is read once however often it moved
    org.take_in()
    assert Customer.objects.filter(name="Acme Group").exists()
    org.read("hints")
    assert told.count() == 2, "what was heard is not heard again"

    monkeypatch.setattr(inbound_sql, "ask_named", _dies)  # before the hints are filed
    org.act("delete", object="Account", ids=[account_row(3)["Id"]])
    stream = Stream.objects.get(connection=org.connection, name="hints")
    run = streams.pull(stream.pk)
    assert run is not None
    assert run.state == Run.State.FAILED
    monkeypatch.undo()
    monkeypatch.setenv("SF_SECRET", salesforce_sandbox.CLIENT_SECRET)
    monkeypatch.setenv("SF_HINTS", "hint-secret-of-the-test")
    org.read("hints")
    assert told.filter(external_id=account_row(3)["Id"]).count() == 1, "and what was not filed is heard again"

    control(sandbox, "POST", "salesforce/configure", {"events_expire": True})
    org.read("hints")
    assert customers.pk in {stream_id for stream_id, _, _ in stream_sql.due_streams()}


def _dies(*_args: Any, **_more: Any) -> None:
    raise RuntimeError("the worker dies")


@pytest.mark.django_db
def test_a_deal_that_is_won_is_a_project_and_stands_in_the_tracker_under_its_customer(
    sandbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entity = world.entity("DE", "EUR")
    org = crm(sandbox, entity, monkeypatch, owns=["customer", "project"])
    monkeypatch.setenv("HARVEST_TOKEN", harvest_sandbox.TOKEN)
    tracker = Connection.objects.create(
        code="harvest", name="Harvest", connector="harvest", entity=entity, base_url=f"{sandbox}/harvest/v2",
        realm=harvest_sandbox.ACCOUNT_ID, credentials={"token": {"env": "HARVEST_TOKEN"}}, is_source=True, is_recipient=True,
        settings={"provisions": ["customer", "project"]},
    )  # fmt: skip
    control(sandbox, "POST", "salesforce/seed", {"Opportunity": [opportunity(7, won=False)]})
    org.read("customers")
    org.read("projects")
    assert set(Project.objects.values_list("name", flat=True)) == {"Rollout 1"}
    org.act("edit", object="Opportunity", ids=[NEW], changes={"IsWon": True})
    org.read("projects")
    won = Project.objects.get(name="Rollout 7")
    assert won.customer == Customer.objects.get(name="Acme 1")
    org.deliver(tracker)
    held = control(sandbox, "GET", "harvest/inspect")
    assert {(one["name"], one["client"]["name"]) for one in held["projects"]} == {
        ("Rollout 1", "Acme 1"), ("Rollout 7", "Acme 1"),
    }  # fmt: skip
    assert Crosswalk.objects.filter(system="harvest", kind="project").count() == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.case(117, 118, 119)
def test_a_flow_of_the_org_is_a_hint_that_is_read_again_once_and_a_strangers_is_refused(
    sandbox: str, monkeypatch: pytest.MonkeyPatch, live_server: Any, settings: Any
) -> None:
    settings.ALLOW_LOOPBACK = True
    org = crm(sandbox, world.entity("DE", "EUR"), monkeypatch, owns=["customer", "project"])
    org.read("customers")
    org.read("projects")
    control(sandbox, "POST", "salesforce/seed", {"Opportunity": [opportunity(7)]})
    said = {
        "url": f"{live_server.url}/hooks/salesforce/", "secret": "hint-secret-of-the-test", "id": "event-1",
        "records": [{"object": "Opportunity", "id": NEW}, {"object": "Case", "id": "500"}],
    }  # fmt: skip
    org.act("flow", **said)
    org.act("flow", **said)
    org.act("flow", **{**said, "secret": "guessed", "id": "event-2"})
    answered = hints.answer(org.connection.pk)
    assert answered is not None
    org.take_in()
    assert Project.objects.filter(name="Rollout 7").count() == 1
    assert RefusedDelivery.objects.count() == 1
    assert control(sandbox, "GET", "salesforce/inspect")["flows"] == [202, 200, 401]


@pytest.mark.django_db
@pytest.mark.parametrize("cut", ["", "reset_after", "reset_before", "timeout_after"])
def test_what_a_customer_owes_reaches_its_account_once_whatever_happens_on_the_way(
    sandbox: str, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    firm = firms.build()
    org = crm(sandbox, firm.entity, monkeypatch, subscribes=["invoice", "payment"])
    firms.key(firm.target, "customer", firm.customer.pk, "C1")
    firms.key(org.connection, "customer", firm.customer.pk, ACME)
    erp = Erp(firm)
    first, second = posted(firm, 2)
    if cut:
        control(
            sandbox, "POST", "faults", [{"vendor": "salesforce", "kind": cut, "path": "/composite/", "seconds": 1.2}]
        )
    bill, other = erp.bill("501", line_of(first)), erp.bill("502", line_of(second))
    erp.says(bill, other)
    work.revalidate()
    org.deliver()
    erp.says(erp.payment("9", "1460.00", ("501", "960.00"), ("502", "500.00")))
    erp.says(erp.again(bill, status=BillStatus.PAID), erp.again(other, status=BillStatus.PART_PAID))
    work.revalidate()
    org.deliver()
    bills = {row["Number__c"]: row for row in org.holds("Billing_Invoice__c")}
    assert {number: (row["Status__c"], row["Balance__c"], row["Account__c"]) for number, row in bills.items()} == {
        "INV-501": ("paid", 0.0, ACME), "INV-502": ("part_paid", 460.0, ACME),
    }  # fmt: skip
    [payment] = org.holds("Billing_Payment__c")
    parts = {row["Invoice__c"]: row["Amount__c"] for row in org.holds("Billing_Payment_Part__c")}
    assert parts == {bills["INV-501"]["Id"]: 960.0, bills["INV-502"]["Id"]: 500.0}
    assert {row["Payment__c"] for row in org.holds("Billing_Payment_Part__c")} == {payment["Id"]}
    assert org.states() == {"posted"}
    assert not ExceptionCase.objects.filter(rule__in=["in-doubt-too-long", "publication-refused"]).exists()


@pytest.mark.django_db
@pytest.mark.case(80)
def test_a_status_that_somebody_deleted_in_the_org_is_a_case_and_is_made_again_only_when_it_is_told_again(
    sandbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    firm = firms.build()
    org = crm(sandbox, firm.entity, monkeypatch, subscribes=["invoice"])
    firms.key(firm.target, "customer", firm.customer.pk, "C1")
    firms.key(org.connection, "customer", firm.customer.pk, ACME)
    erp = Erp(firm)
    [entry] = posted(firm)
    bill = erp.bill("501", line_of(entry))
    erp.says(bill)
    work.revalidate()
    org.deliver()
    [row] = org.holds("Billing_Invoice__c")
    org.act("delete", object="Billing_Invoice__c", ids=[row["Id"]])
    Published.objects.update(read_at="2020-01-01T00:00:00Z")
    LedgerState.objects.filter(target=org.connection).update(proved_at="2020-01-01T00:00:00Z")
    outbox.read_back(org.connection.pk, again=True)
    assert Published.objects.get().drift == {"record": ["there", "gone"]}
    assert len(org.holds("Billing_Invoice__c")) == 1
    erp.says(erp.again(bill, status=BillStatus.PAID))
    work.revalidate()
    org.deliver()
    assert [one["Status__c"] for one in org.holds("Billing_Invoice__c") if not one["IsDeleted"]] == ["paid"]
    assert Published.objects.get().drift == {}
