"""Dynamics 365 Finance on the real way: approved hours wait for a journal to be posted, sets and bills come in as versions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from integrations import inbox, registry, streams, work
from integrations.models import InboxMessage, Run, Stream
from integrations.sandbox.dynamicsfinance.vendor import CLIENT_SECRET
from portal.models import AttemptLine, Connection, Customer, Invoice, InvoiceVersion, PaymentVersion, Project, State
from reconciliation.models import ExceptionCase
from tests import world
from tests.integrations import outbound
from tests.integrations.contract import Bench
from tests.invariants import assert_all_hold

pytestmark = pytest.mark.django_db(transaction=True)


def connect(bench: Bench, monkeypatch: pytest.MonkeyPatch, settings: Any, **more: Any) -> Connection:
    """A connection to the sandbox's company."""
    settings.ALLOW_LOOPBACK = True
    monkeypatch.setenv("FO_SECRET", CLIENT_SECRET)
    account = bench.account
    made = world.connection(
        "fo-us", "dynamicsfinance", realm=account.realm, settings={**account.settings, **more.pop("also", {})},
        credentials={"client_secret": {"env": "FO_SECRET"}}, **more,
    )  # fmt: skip
    made.base_url = account.base_url
    made.save()
    return made


def deliver(target: Connection, *entries: int) -> None:
    """Two rounds of the outbox, with whatever waits made due."""
    for _ in range(2):
        outbound.make_due(entries)
        work.deliver(target.pk)


@pytest.mark.case(57, 63)
def test_hours_are_accepted_when_they_stand_in_a_journal_and_posted_when_people_post_it(
    dynamicsfinance: Bench, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    target = connect(dynamicsfinance, monkeypatch, settings, is_target=True)
    source = outbound.firm(target, keys={"project": "000057", "resource": "000018"})
    ids = outbound.entries(source, 6)
    registry.target(target).check()  # signed in, so that the answer is lost and not the sign-in
    dynamicsfinance.fault({"method": "POST", "path": "$batch"}, kind="reset_after")
    deliver(target, *ids)
    deliver(target, *ids)
    assert set(outbound.states(ids).values()) == {State.ACCEPTED}, "taken, and nobody posted the journal yet"
    assert AttemptLine.objects.filter(entry__in=ids, outcome="unbooked").exists()
    assert not ExceptionCase.objects.exists()
    held = dynamicsfinance.control("dynamicsfinance/inspect")["by_key"]
    assert sorted(held.values()) == [1] * 6

    dynamicsfinance.control("dynamicsfinance/seed", {"actions": [{"do": "post"}]})
    deliver(target, *ids)
    assert set(outbound.states(ids).values()) == {State.POSTED}
    assert_all_hold()


@pytest.mark.case(43, 46)
def test_a_journal_that_nobody_posts_in_time_is_one_cause_for_all_its_hours(
    dynamicsfinance: Bench, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    target = connect(dynamicsfinance, monkeypatch, settings, is_target=True, also={"posts_within_hours": "0.000001"})
    source = outbound.firm(target, keys={"project": "000057", "resource": "000018"})
    ids = outbound.entries(source, 3)
    dynamicsfinance.control("dynamicsfinance/configure", {"closed": ["2026-10"]})
    dynamicsfinance.control("dynamicsfinance/seed", {"actions": [{"do": "post"}]})
    deliver(target, *ids)
    case = ExceptionCase.objects.get()
    assert (case.rule, case.open_holds) == ("not-booked", 3)
    dynamicsfinance.control("dynamicsfinance/configure", {"closed": []})
    dynamicsfinance.control("dynamicsfinance/seed", {"actions": [{"do": "post"}]})
    deliver(target, *ids)
    case.refresh_from_db()
    assert (case.state, set(outbound.states(ids).values())) == ("resolved", {State.POSTED})


def read(connection: Connection, name: str) -> Run:
    """Read a stream now and take in what came; nothing of it fails."""
    stream, _ = Stream.objects.get_or_create(connection=connection, name=name, defaults={"every_seconds": 900})
    Stream.objects.filter(pk=stream.pk).update(next_due_at=None, usual_volume=0)
    run = streams.pull(stream.pk)
    assert run is not None
    assert run.state == Run.State.DONE, run.failure
    inbox.take_in_everything(connection.pk)
    failed = InboxMessage.objects.filter(connection=connection, stream=name, state="failed")
    assert list(failed.values_list("external_id", "failure")) == []
    return run


def test_sets_come_in_whole_and_only_what_changed_is_news(
    dynamicsfinance: Bench, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    owns = {"owns": ["customer", "project", "task", "resource", "cost_centre", "period"]}
    connection = connect(
        dynamicsfinance, monkeypatch, settings, is_source=True, owner=world.entity("US"), also=owns
    )  # fmt: skip
    for name in ("cost_centres", "customers", "employees", "projects", "tasks"):
        read(connection, name)
    assert Customer.objects.get(code="US-001").name == "Contoso Retail"
    assert Project.objects.get(code="000057").customer == Customer.objects.get(code="US-001")
    run = read(connection, "customers")
    assert (run.read, run.filed) == (2, 0)
    rename = {"do": "change", "set": "CustomersV3", "key": "usmf/US-001", "fields": {"OrganizationName": "Contoso Inc"}}
    dynamicsfinance.control("dynamicsfinance/seed", {"actions": [rename]})
    run = read(connection, "customers")
    assert (run.read, run.filed) == (2, 1)
    assert Customer.objects.get(code="US-001").name == "Contoso Inc"


@pytest.mark.case(91)
def test_bills_and_payments_come_in_as_versions_and_settle_what_they_mark(
    dynamicsfinance: Bench, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    connection = connect(dynamicsfinance, monkeypatch, settings, is_source=True, owner=world.entity("US"))
    read(connection, "payments")  # before the invoice that it settles: it waits for it
    read(connection, "invoices")

    def bill(number: str) -> list[tuple[int, str, Decimal | None]]:
        found = InvoiceVersion.objects.filter(number=number).order_by("version")
        return list(found.values_list("version", "status", "balance"))

    assert bill("FTI-00000001") == [(1, "part_paid", Decimal(700))]
    assert bill("") == [(1, "draft", None)]
    note = Invoice.objects.get(current__number="FTI-00000002")
    assert note.credits is not None
    assert note.credits.current.number == "FTI-00000001"
    pay = {"do": "pay", "invoice": "FTI-00000001", "amount": 700, "on": "2026-09-20"}
    dynamicsfinance.control("dynamicsfinance/seed", {"actions": [pay]})
    read(connection, "invoices")
    read(connection, "payments")
    assert bill("FTI-00000001")[1:] == [(2, "paid", Decimal(0))]
    assert sorted(PaymentVersion.objects.values_list("amount", flat=True)) == [400, 700]
