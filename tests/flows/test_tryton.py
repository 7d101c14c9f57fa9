"""A firm on a real Tryton: approved hours become lines there, an invoice, its payments, and a month that ties out.

The server is installed and started by the test; the wire to it is cut after Tryton has committed. Nothing stands there twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from integrations import inbox, registry, statements, streams, work
from integrations.models import InboxMessage, Run, Stream
from integrations.sandbox.server import control
from portal.models import (
    AccountingPeriod,
    BillingBalance,
    Connection,
    Contract,
    Customer,
    InvoiceVersion,
    LedgerEntry,
    LedgerState,
    Payment,
    Project,
    Rate,
    RateCard,
    Receipt,
    Resource,
    Role,
    State,
    Task,
)
from reconciliation import corrections, questions
from reconciliation.models import ExceptionCase, Hold, Operation, ReconciliationRun, Route
from tests import world
from tests.conftest import free_port
from tests.integrations import fake_source, tryton_account
from tests.integrations.fake_source import Vendor
from tests.invariants import assert_all_hold
from tests.tryton import server as tryton_program
from tests.tryton.server import PASSWORDS, Tryton
from tests.tryton.wire import wired

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(900),  # the first of a machine installs the server
]

SINCE = date(2026, 1, 1)
MASTER = ("companies", "periods", "customers", "projects", "tasks", "employees")
MOVING = (State.READY, State.SENDING, State.ACCEPTED, State.IN_DOUBT)


@pytest.fixture
def tryton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tryton]:
    """A Tryton of the test's own: it closes months and locks work."""
    with tryton_program.running(tmp_path_factory.mktemp("tryton"), free_port()) as server:
        yield server


@pytest.fixture
def wire(tryton: Tryton) -> Iterator[str]:
    with wired(tryton) as base:
        yield base


class Firm:
    """A firm whose ERP is Tryton, whose tracker is in memory, and whose rates are kept here."""

    def __init__(self, tryton: Tryton, wire: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tryton, self.wire = tryton, wire
        monkeypatch.setitem(registry.CONNECTORS, "fake", "tests.integrations.fake_source.FakeSource")
        monkeypatch.setenv("TRYTON_PASSWORD", PASSWORDS["sync"])
        monkeypatch.setenv("HOOK_SECRET", "s3cret")
        self.entity = world.entity("ACME", "USD")
        role = Role.objects.create(code="senior", name="Senior consultant")
        account = tryton_account.account(tryton, f"{wire}/tryton")
        owns = ["entity", "period", "customer", "project", "task", "resource"]
        self.erp = world.connection(
            "tryton", "tryton", self.entity, is_source=True, is_target=True, realm=account.realm, zone=account.zone,
            settings={**account.settings, "owns": owns, "default_role": "senior"},
            credentials={"password": {"env": "TRYTON_PASSWORD"}},
        )  # fmt: skip
        Connection.objects.filter(pk=self.erp.pk).update(base_url=account.base_url)
        self.erp.refresh_from_db()
        for name in MASTER:
            self.read(name)
        self.project = Project.objects.get(name="Rollout")
        self.contract(role)
        self.vendor = fake_source.VENDORS["tracker"] = Vendor()
        self.tracker = world.connection(
            "tracker", "fake", self.entity, is_source=True, credentials={"secret": {"env": "HOOK_SECRET"}}
        )
        self.time = Stream.objects.create(connection=self.tracker, name="time", every_seconds=900)
        self.route = Route.objects.create(
            entity=self.entity, source=self.tracker, target=self.erp, kind="time", valid_from=SINCE
        )
        Resource.objects.create(code="pat", name="Pat Manager")

    def contract(self, role: Role) -> None:
        customer = Customer.objects.get(name="Northwind Ltd")
        self.project.contract = Contract.objects.create(
            code="NW-2026", name="Northwind", customer=customer, entity=self.entity, currency="USD"
        )
        self.project.save()
        card = RateCard.objects.create(code="NW-2026", contract=self.project.contract, valid_from=SINCE)
        Rate.objects.create(card=card, role=role, currency="USD", amount=Decimal(120), valid_from=SINCE)

    def read(self, name: str) -> None:
        """Read a stream of the ERP now and take in what came; nothing of it fails."""
        stream, _ = Stream.objects.get_or_create(connection=self.erp, name=name, defaults={"every_seconds": 900})
        Stream.objects.filter(pk=stream.pk).update(next_due_at=None, usual_volume=0)
        run = streams.pull(stream.pk)
        assert run is not None
        assert run.state == Run.State.DONE, run.failure
        inbox.take_in_everything(self.erp.pk)
        failed = InboxMessage.objects.filter(connection=self.erp, state="failed")
        assert list(failed.values_list("stream", "external_id", "failure")) == []

    def approve(self, number: int, day: str, hours: str, revision: int = 1) -> None:
        """Somebody approves hours in the tracker, which is read."""
        person = Resource.objects.get(name="Annette Hill").code
        self.vendor.put(
            number, f"2026-11-0{revision}T10:00:00Z", day=day, hours=hours, person=person, project=self.project.code
        )
        Stream.objects.filter(pk=self.time.pk).update(next_due_at=None)
        work.pull(self.time.pk)

    def entry(self, number: int) -> LedgerEntry:
        found: LedgerEntry = (
            LedgerEntry.objects.select_related("state_row")
            .filter(document__external_id=str(number), document__connection=self.tracker, reverses=None)
            .latest("pk")
        )
        return found

    def state(self, number: int) -> str:
        return str(self.entry(number).state_row.state)

    def deliver(self) -> None:
        """Let the worker come until nothing moves any more."""
        for _ in range(8):
            LedgerState.objects.filter(state__in=MOVING).update(next_attempt_at="2020-01-01T00:00:00Z")
            work.deliver(self.erp.pk)
            if not LedgerState.objects.filter(state__in=MOVING).exists():
                return

    def stands(self) -> dict[str, int]:
        """How many lines stand in Tryton under each key: the judge."""
        found: dict[str, int] = control(self.wire, "GET", "tryton/inspect")["lines_by_key"]
        return found

    def fault(self, **fault: Any) -> None:
        control(self.wire, "POST", "faults", [{"vendor": "tryton", "body": "model.timesheet.line.create", **fault}])

    def project_key(self) -> int:
        """Tryton's id of the project."""
        return int(self.tryton.ids["project"])

    def line(self, number: int) -> dict[str, Any]:
        """The line of an entry as Tryton holds it."""
        [row] = self.tryton.call(
            "model.timesheet.line.search_read", [["uuid", "=", self.entry(number).idempotency_key.hex]], 0, None, None,
            ["date", "duration", "employee", "work.origin", "invoice_line"],
        )  # fmt: skip
        return dict(row)


@pytest.fixture
def firm(tryton: Tryton, wire: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Firm:
    settings.ALLOW_LOOPBACK = True
    settings.TIME_SCALE = 0.0
    fake_source.VENDORS.clear()
    return Firm(tryton, wire, monkeypatch)


def test_master_data_comes_from_tryton_and_is_owned_by_it(firm: Firm) -> None:
    closed = AccountingPeriod.objects.filter(entity=firm.entity, state="closed").order_by("starts_on")
    assert [period.code for period in closed] == [f"2026-0{month}" for month in range(1, 7)]
    assert set(Customer.objects.values_list("name", flat=True)) == {"Northwind Ltd", "Survivor plc"}
    assert set(Task.objects.filter(project=firm.project).values_list("name", flat=True)) == {
        "Design", "Build", "Locked", "Testing",
    }  # fmt: skip
    assert firm.project.customer.name == "Northwind Ltd"


@pytest.mark.case(57, 58)
def test_from_the_approved_hour_to_the_payment_with_the_wire_cut_after_tryton_committed(firm: Firm) -> None:
    firm.approve(1, "2026-10-05", "4")
    firm.approve(2, "2026-10-06", "2")
    assert [firm.state(number) for number in (1, 2)] == [State.READY, State.READY]

    registry.target(firm.erp).check()  # signed in, so that the answer that is lost is that of the booking
    firm.fault(kind="reset_after")
    work.deliver(firm.erp.pk)
    keys = {firm.entry(number).idempotency_key.hex for number in (1, 2)}
    assert firm.stands() == dict.fromkeys(keys, 1), "Tryton committed before the wire was cut"
    assert {firm.state(number) for number in (1, 2)} <= {State.IN_DOUBT, State.ACCEPTED, State.POSTED}
    firm.deliver()
    assert [firm.state(number) for number in (1, 2)] == [State.POSTED, State.POSTED]
    assert firm.stands() == dict.fromkeys(keys, 1)

    invoice = firm.tryton.invoice(firm.project_key(), "2026-10-31")
    firm.read("invoices")
    versions = InvoiceVersion.objects.filter(invoice__external_id=str(invoice)).order_by("version")
    assert list(versions.values_list("status", "total", "balance")) == [("open", Decimal(792), Decimal(792))]
    billed = {balance.entry_id: (balance.invoiced, balance.credited) for balance in BillingBalance.objects.all()}
    assert billed == {firm.entry(1).pk: (Decimal(4), Decimal(0)), firm.entry(2).pk: (Decimal(2), Decimal(0))}

    firm.tryton.pay(invoice, "100.00", "2026-11-05")
    for name in ("invoices", "payments"):
        firm.read(name)
    firm.tryton.pay(invoice, "692.00", "2026-11-20")
    for name in ("invoices", "payments", "invoices", "payments"):
        firm.read(name)
    assert list(versions.values_list("status", "balance")) == [
        ("open", Decimal(792)), ("part_paid", Decimal(692)), ("paid", Decimal(0)),
    ]  # fmt: skip
    assert sorted(payment.current.amount for payment in Payment.objects.select_related("current")) == [100, 692]
    assert not ExceptionCase.objects.filter(state="open").exists()

    october = AccountingPeriod.objects.get(entity=firm.entity, code="2026-10")
    compared = statements.reconcile(firm.entity, october)
    assert compared.state == ReconciliationRun.State.BALANCED, compared.totals
    assert [firm.state(number) for number in (1, 2)] == [State.RECONCILED, State.RECONCILED]
    assert firm.stands() == dict.fromkeys(keys, 1)
    assert_all_hold()


@pytest.mark.case(36)
def test_hours_of_a_month_that_tryton_closed_are_a_case_and_go_into_the_next_open_one(
    firm: Firm, client: Client
) -> None:
    firm.approve(1, "2026-06-29", "3")
    firm.approve(2, "2026-06-30", "5")
    assert [firm.state(number) for number in (1, 2)] == [State.HELD, State.HELD]
    cause = ExceptionCase.objects.get(state="open")
    assert (cause.rule, cause.open_holds) == ("period-closed", 2)

    client.force_login(world.user("fay", "analyst", firm.entity))
    july = AccountingPeriod.objects.get(entity=firm.entity, code="2026-07")
    client.post(reverse("fix", args=[cause.pk, "post-next-period"]), {"period": july.pk})
    operation = Operation.objects.get()
    here = reverse("operation", args=[operation.pk])
    assert client.post(here, {"action": "confirm", "reason": "June is closed."}).status_code == 303
    work.operation(operation.pk)
    firm.deliver()

    assert [firm.state(number) for number in (1, 2)] == [State.POSTED, State.POSTED]
    assert {(line["date"]["month"], line["date"]["day"]) for line in map(firm.line, (1, 2))} == {(7, 1)}
    assert len(firm.stands()) == 2
    cause.refresh_from_db()
    assert cause.state == ExceptionCase.State.RESOLVED
    assert_all_hold()


def test_what_tryton_locks_is_a_case_in_its_words_and_is_posted_once_it_is_open(firm: Firm, client: Client) -> None:
    work_id = firm.project_key()
    [sheet] = firm.tryton.call(
        "model.timesheet.work.search", [["origin", "=", f"project.work,{work_id}"]], 0, None, None
    )
    lock = {"__class__": "date", "year": 2026, "month": 6, "day": 30}
    firm.tryton.call("model.timesheet.work.write", [sheet], {"timesheet_end_date": lock})
    firm.approve(1, "2026-10-05", "4")
    firm.deliver()
    assert firm.state(1) == State.REJECTED
    assert firm.stands() == {}
    cause = ExceptionCase.objects.get(state="open")
    client.force_login(world.user("fay", "analyst", firm.entity))
    page = client.get(reverse("cause", args=[cause.pk])).content.decode()
    assert "not valid according to its domain" in page

    firm.tryton.call("model.timesheet.work.write", [sheet], {"timesheet_end_date": None})
    client.post(reverse("fix", args=[cause.pk, "re-post"]), {"reason": "It is open again."})
    operation = Operation.objects.get()
    client.post(reverse("operation", args=[operation.pk]), {"action": "confirm", "reason": "It is open again."})
    work.operation(operation.pk)
    firm.deliver()
    assert firm.state(1) == State.POSTED
    assert list(firm.stands().values()) == [1]
    assert_all_hold()


def test_an_invoiced_line_stays_as_it_is_and_taking_it_back_is_a_case(firm: Firm) -> None:
    firm.approve(1, "2026-10-05", "4")
    firm.deliver()
    firm.tryton.invoice(firm.project_key(), "2026-10-31")
    firm.read("invoices")
    before = firm.line(1)
    assert before["invoice_line"] is not None

    made = corrections.reverse([firm.entry(1).pk], by=None, reason="by mistake")
    firm.deliver()
    [reversal] = made.reversals.values()
    assert LedgerState.objects.get(entry=reversal).state == State.REJECTED
    number = Receipt.objects.get(entry=firm.entry(1)).number
    cause = ExceptionCase.objects.get(state="open", rule="not-taken-back")
    assert f"Delete line {number} in Tryton" in Hold.objects.get(case=cause).sentence
    fay = world.user("fay", "analyst", firm.entity)
    with pytest.raises(questions.NotAskable, match="stands on an invoice; credit that first"):
        questions.taken_back_there([reversal], by=fay, reason="deleted")
    assert firm.line(1) == before
    assert list(firm.stands().values()) == [1]
    assert_all_hold()


@pytest.mark.case(16, 108)
def test_a_line_that_is_deleted_in_tryton_leaves_with_its_reversal_and_the_correction_is_booked(
    firm: Firm, client: Client
) -> None:
    firm.approve(1, "2026-10-05", "4")
    firm.deliver()
    first = firm.entry(1)
    firm.approve(1, "2026-10-05", "3", revision=2)
    corrected = firm.entry(1)
    fay = world.user("fay", "analyst", firm.entity)
    [reversal] = corrections.reverse_standing([corrected.pk], by=fay, reason="three hours").reversals.values()
    firm.deliver()
    cause = ExceptionCase.objects.get(state="open")
    assert (cause.rule, LedgerState.objects.get(entry=reversal).state) == ("not-taken-back", State.REJECTED)

    firm.tryton.call("model.timesheet.line.delete", [int(Receipt.objects.get(entry=first).number)])
    client.force_login(fay)
    client.post(reverse("fix", args=[cause.pk, "taken-back-there"]), {"reason": "Deleted in Tryton."})
    operation = Operation.objects.get()
    client.post(reverse("operation", args=[operation.pk]), {"action": "confirm", "reason": "Deleted in Tryton."})
    work.operation(operation.pk)
    firm.deliver()
    firm.deliver()
    assert LedgerState.objects.get(entry=first).state == State.CANCELLED
    assert LedgerState.objects.get(entry=reversal).state == State.CANCELLED
    assert LedgerState.objects.get(entry=corrected).state == State.POSTED
    assert firm.stands() == {corrected.idempotency_key.hex: 1}
    assert not ExceptionCase.objects.filter(state="open").exists()
    assert_all_hold()
