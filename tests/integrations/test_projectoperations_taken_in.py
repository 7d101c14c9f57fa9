"""Project Operations on the real way: hours are accepted at once and posted when they are booked; tables come in."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from integrations import inbox, registry, statements, streams, work
from integrations.models import InboxMessage, Run, Stream
from integrations.sandbox.projectoperations.vendor import CLIENT_SECRET
from portal.models import AccountingPeriod, AttemptLine, Connection, Customer, GrantRole, InvoiceVersion, Project, State
from reconciliation import corrections, questions
from reconciliation.models import ExceptionCase, Hold
from tests import world
from tests.integrations import outbound
from tests.integrations.contract import Bench
from tests.integrations.operations_account import JULIA, OPEN_INVOICE, ROLLOUT
from tests.invariants import assert_all_hold

pytestmark = pytest.mark.django_db(transaction=True)


def connect(bench: Bench, monkeypatch: pytest.MonkeyPatch, settings: Any, **more: Any) -> Connection:
    """A connection to the sandbox's environment."""
    settings.ALLOW_LOOPBACK = True
    monkeypatch.setenv("PO_SECRET", CLIENT_SECRET)
    account = bench.account
    made = world.connection(
        "po", "projectoperations", realm=account.realm, settings={**account.settings, **more.pop("also", {})},
        credentials={"client_secret": {"env": "PO_SECRET"}}, **more,
    )  # fmt: skip
    made.base_url = account.base_url
    made.save()
    return made


def act(bench: Bench, *names: str) -> None:
    """What people and jobs do there."""
    bench.control("projectoperations/seed", {"actions": [{"do": name} for name in names]})


def deliver(target: Connection, *entries: int) -> None:
    """Two rounds of the outbox, with whatever waits made due."""
    for _ in range(2):
        outbound.make_due(entries)
        work.deliver(target.pk)


@pytest.mark.case(57, 63, 67)
def test_hours_are_accepted_at_once_and_posted_when_approval_made_actuals_of_them(
    projectoperations: Bench, monkeypatch: pytest.MonkeyPatch, settings: Any, client: Client
) -> None:
    target = connect(projectoperations, monkeypatch, settings, is_target=True)
    source = outbound.firm(target, keys={"project": ROLLOUT, "resource": JULIA})
    ids = outbound.entries(source, 6)
    registry.target(target).check()  # signed in, so that the answer is lost and not the sign-in
    projectoperations.fault({"method": "POST", "path": "$batch"}, kind="reset_after")
    projectoperations.fault({"method": "POST", "path": "$batch"}, kind="status", status=401, after=1)
    deliver(target, *ids)
    deliver(target, *ids)
    assert set(outbound.states(ids).values()) == {State.ACCEPTED}
    assert AttemptLine.objects.filter(entry__in=ids, outcome="unbooked").exists()
    assert sorted(projectoperations.control("projectoperations/inspect")["by_key"].values()) == [1] * 6

    client.force_login(world.user("ana", GrantRole.ANALYST, source.entity))
    page = client.get(reverse("entry", args=[ids[0]])).content.decode()
    assert "Not booked yet" in page
    assert "which books within 1 h" in page

    act(projectoperations, "approve")
    deliver(target, *ids)
    assert set(outbound.states(ids).values()) == {State.ACCEPTED}, "approved is not booked"
    act(projectoperations, "make_actuals")
    deliver(target, *ids)
    assert set(outbound.states(ids).values()) == {State.POSTED}
    assert not ExceptionCase.objects.exists()
    assert_all_hold()


def test_an_entry_that_its_approver_returns_is_a_cause_in_those_words_and_ends_when_it_is_booked(
    projectoperations: Bench, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    target = connect(projectoperations, monkeypatch, settings, is_target=True)
    source = outbound.firm(target, keys={"project": ROLLOUT, "resource": JULIA})
    [entry] = outbound.entries(source)
    deliver(target, entry)
    number = outbound.state_of(entry).receipt_number
    returned = {"do": "status", "table": "msdyn_timeentries", "id": number, "value": 192350001}
    projectoperations.control("projectoperations/seed", {"actions": [returned]})
    deliver(target, entry)
    case = ExceptionCase.objects.get()
    assert case.rule == "not-booked"
    assert "Its approver returned it." in case.sentence
    again = {**returned, "value": 192350003}
    projectoperations.control("projectoperations/seed", {"actions": [again]})
    act(projectoperations, "approve", "make_actuals")
    deliver(target, entry)
    case.refresh_from_db()
    assert (case.state, outbound.state_of(entry).state) == ("resolved", State.POSTED)


@pytest.mark.case(16, 108)
def test_what_must_be_taken_back_is_recalled_and_deleted_there_and_its_correction_goes_then(
    projectoperations: Bench, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    target = connect(projectoperations, monkeypatch, settings, is_target=True)
    source = outbound.firm(target, keys={"project": ROLLOUT, "resource": JULIA})
    [entry] = outbound.entries(source)
    deliver(target, entry)
    act(projectoperations, "approve", "make_actuals")
    deliver(target, entry)
    assert outbound.state_of(entry).state == State.POSTED
    [corrected] = outbound.take_in(source, [outbound.record(source, 0, 2, hours=Decimal(6))]).held

    ana = world.user("ana", GrantRole.ANALYST, source.entity)
    made = corrections.reverse_standing([corrected], by=ana, reason="six hours")
    [reversal] = made.reversals.values()
    deliver(target, reversal)
    case = ExceptionCase.objects.get(state="open")
    number = outbound.state_of(entry).receipt_number
    assert (case.rule, case.sentence) == ("not-taken-back", "Po: The target takes no negative postings.")
    assert f"Have record {number} recalled there and delete it" in Hold.objects.get(case=case).sentence
    assert outbound.states([entry, reversal, corrected]) == {
        entry: State.POSTED, reversal: State.REJECTED, corrected: State.READY,
    }  # fmt: skip

    record = {"table": "msdyn_timeentries", "id": number}
    gone = [{"do": "recall", **record}, {"do": "delete", **record}]
    projectoperations.control("projectoperations/seed", {"actions": gone})
    questions.taken_back_there([reversal], by=ana, reason="recalled and deleted")
    deliver(target, corrected)
    act(projectoperations, "approve", "make_actuals")
    deliver(target, corrected)
    assert outbound.states([entry, reversal, corrected]) == {
        entry: State.CANCELLED, reversal: State.CANCELLED, corrected: State.POSTED,
    }  # fmt: skip
    run = statements.reconcile(
        outbound.entity_of(source), AccountingPeriod.objects.get(entity=source.entity, code="2026-10")
    )
    assert run.state == "balanced", list(run.results.values_list("outcome", "reason"))
    assert not ExceptionCase.objects.filter(state="open").exists()
    assert_all_hold()


def test_tables_come_in_as_master_data_and_an_invoice_as_a_bill(
    projectoperations: Bench, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    owns = {"owns": ["customer", "project", "task", "resource"]}
    connection = connect(
        projectoperations, monkeypatch, settings, is_source=True, owner=world.entity("US"), also=owns
    )  # fmt: skip
    for name in ("customers", "projects", "tasks", "employees", "invoices"):
        stream, _ = Stream.objects.get_or_create(connection=connection, name=name, defaults={"every_seconds": 900})
        run = streams.pull(stream.pk)
        assert run is not None
        assert run.state == Run.State.DONE, run.failure
        inbox.take_in_everything(connection.pk)
        failed = InboxMessage.objects.filter(connection=connection, stream=name, state="failed")
        assert list(failed.values_list("external_id", "failure")) == []
    acme = Customer.objects.get(code="AC-1")
    assert acme.name == "Acme Inc"
    assert Project.objects.get(code="Rollout").customer == acme
    bill = InvoiceVersion.objects.get(invoice__external_id=OPEN_INVOICE)
    assert (bill.status, bill.number, bill.total) == ("open", "INV-01", 1100)
