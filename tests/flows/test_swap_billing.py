"""Billing moves from Stripe to NetSuite: a route is changed, what is billed stays where it is, and no hour is billed twice."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from integrations import inbox, streams, work
from integrations.connectors.stripe import StripeConnector
from integrations.models import Run, Stream
from integrations.sandbox.server import control, sandbox_server
from integrations.sandbox.stripe.vendor import API_KEY
from portal.models import (
    Allocation,
    Connection,
    Crosswalk,
    Customer,
    GrantRole,
    Invoice,
    InvoiceProposal,
    LedgerState,
    Project,
    State,
    User,
)
from reconciliation import invoicing, publishing
from reconciliation.models import ExceptionCase, Route
from tests import world
from tests.bills import open_hours
from tests.bills import read as accepted
from tests.flows import two_people
from tests.integrations import netsuite_account, outbound, stripe_account
from tests.integrations.stripe_account import Office
from tests.invariants import assert_all_hold

pytestmark = pytest.mark.django_db(transaction=True)

THROUGH = date(2026, 10, 31)
COLUMN = "custcol_tieout_posting"
MOVING = [State.READY, State.SENDING, State.ACCEPTED, State.IN_DOUBT]


@pytest.fixture(scope="module")
def vendors() -> Iterator[str]:
    secrets = {"NETSUITE_KEY": netsuite_account.keys()["PS256"][0], "STRIPE_KEY": API_KEY}
    os.environ.update(secrets)
    with sandbox_server(names=["netsuite", "stripe"]) as base_url:
        yield base_url
    for name in secrets:
        del os.environ[name]


@pytest.fixture
def office(vendors: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Office:
    settings.ALLOW_LOOPBACK = True
    monkeypatch.setattr(StripeConnector, "rate", None)
    control(vendors, "POST", "reset", {})
    return stripe_account.fresh(vendors)


def connect(account: Any, code: str, connector: str, credentials: dict[str, Any], **more: Any) -> Connection:
    made = world.connection(
        code, connector, realm=account.realm, settings=dict(account.settings), credentials=credentials, is_source=True,
        is_biller=True, **more,
    )  # fmt: skip
    Connection.objects.filter(pk=made.pk).update(base_url=account.base_url)
    made.refresh_from_db()
    return made


@pytest.fixture
def netsuite(vendors: str, office: Office) -> Connection:
    """The ERP, in which the hours are booked, without bills of others, and with a period for today."""
    today = timezone.localdate()
    records = {**netsuite_account.SEED["records"], "invoice": [], "creditMemo": [], "customerPayment": []}
    month = {
        "id": "199",
        "periodName": "now",
        "startDate": f"{today:%Y-%m}-01",
        "endDate": f"{today:%Y-%m}-28",
        "isPosting": True,
    }
    records["accountingPeriod"] = [*records["accountingPeriod"], month]
    control(vendors, "POST", "netsuite/seed", {**netsuite_account.SEED, "records": records})
    account = netsuite_account.account(vendors)
    account.settings["posting_column"] = COLUMN  # type: ignore[index]
    return connect(account, "netsuite", "netsuite", {"private_key": {"env": "NETSUITE_KEY"}}, is_target=True)


@pytest.fixture
def source(netsuite: Connection) -> Connection:
    """The tracker of a firm with a project, a manager and a controller."""
    made = outbound.firm(netsuite, keys={"entity": "1", "project": "1514", "resource": "22"})
    project = Project.objects.get()
    project.manager = world.user("mia", GrantRole.PROJECT_MANAGER, made.entity)
    project.save()
    world.user("cora", GrantRole.CONTROLLER, made.entity)
    return made


@pytest.fixture
def stripe(vendors: str, source: Connection) -> Connection:
    """The billing platform, to which the routes lead at first; it is told the customer, and gives it a key."""
    account = stripe_account.account(vendors, provisions=["customer"])
    made = connect(
        account, "stripe", "stripe", {"api_key": {"env": "STRIPE_KEY"}}, owner=source.entity, is_recipient=True
    )
    Route.objects.create(
        entity=outbound.entity_of(source), source=source, target=made, kind="invoice", valid_from=outbound.BEGINNING
    )
    publishing.owe_everything()
    deliver(made)
    erp = source.routes_out.get(kind="time").target
    Crosswalk.objects.create(
        system=erp.connector, realm=erp.realm, kind="customer", external_id="220", internal_id=Customer.objects.get().pk,
        valid_from=outbound.BEGINNING,
    )  # fmt: skip
    return made


def deliver(*connections: Connection) -> None:
    """Workers come by until nothing moves any more."""
    for _ in range(8):
        LedgerState.objects.filter(state__in=MOVING).update(next_attempt_at="2020-01-01T00:00:00Z")
        for connection in connections:
            work.deliver(connection.pk)
        if not LedgerState.objects.filter(state__in=MOVING).exists():
            return


def read(connection: Connection, *names: str) -> None:
    """Bills and payments are read and taken in."""
    for name in names:
        stream, _ = Stream.objects.get_or_create(connection=connection, name=name, defaults={"every_seconds": 900})
        Stream.objects.filter(pk=stream.pk).update(next_due_at=None, usual_volume=0)
        run = streams.pull(stream.pk)
        assert run is not None
        assert run.state == Run.State.DONE, run.failure
    inbox.take_in_everything(connection.pk)


def read_stripe(connection: Connection) -> None:
    read(connection, *StripeConnector.streams)


def proposed() -> InvoiceProposal:
    [proposal] = invoicing.prepare(Project.objects.get(), THROUGH, by=None)
    return proposal


def released(proposal: InvoiceProposal) -> InvoiceProposal:
    return invoicing.release(
        proposal, by=User.objects.get(username="mia"), seen=proposal.content_hash, accepts=accepted(proposal)
    )


def approved(proposal: InvoiceProposal) -> InvoiceProposal:
    return invoicing.approve(
        proposal, by=User.objects.get(username="cora"), seen=proposal.content_hash, accepts=accepted(proposal)
    )


def move(source: Connection, stripe: Connection, netsuite: Connection) -> None:
    """The swap, as two people agree: the old route ended yesterday, the new one begins today. Nothing else is changed."""
    today = timezone.localdate()
    route = Route.objects.get(source=source, kind="invoice", target=stripe)
    two_people.change(
        "NetSuite bills from today on", *two_people.following(route, netsuite.code, today, today - timedelta(days=1))
    )


def states(proposal: InvoiceProposal) -> list[tuple[str, str]]:
    """Which systems the drafts of a proposal are owed to, and where they stand."""
    rows = LedgerState.objects.filter(entry__document__invoice_draft__proposal=proposal)
    return list(rows.values_list("entry__target__code", "state"))


def billed_by(entries: Sequence[int]) -> Counter[str]:
    """How many hours stand billed in which system, net of what was released."""
    found: Counter[str] = Counter()
    for row in Allocation.objects.filter(entry__in=entries).select_related("line__version__invoice__connection"):
        found[row.line.version.invoice.connection.code] += int(row.quantity)
    return +found


@pytest.mark.case(57, 74, 76, 77, 114, 122)
def test_open_proposals_go_to_the_new_system_what_was_billed_stays_and_no_hour_is_billed_twice(
    vendors: str, office: Office, netsuite: Connection, source: Connection, stripe: Connection
) -> None:
    key = Crosswalk.objects.get(system="stripe", kind="customer").external_id
    assert {one["id"]: one["name"] for one in office.inspect()["customers"]}[key] == "Acme"
    first = outbound.entries(source, 2)
    deliver(netsuite)
    billed = approved(released(proposed()))
    deliver(stripe)
    assert states(billed) == [("stripe", State.POSTED)]
    sent = office.calls("POST")
    read_stripe(stripe)
    deliver(stripe)
    assert office.calls("POST") == sent, (
        "our own draft that comes back as a change is known, and nothing is sent for it"
    )
    assert {one["customer"] for one in office.inspect()["invoices"].values()} == {key}
    assert set(open_hours(first).values()) == {Decimal(0)}

    second = outbound.entries(source, 2, start=2)
    deliver(netsuite)
    doubtful = approved(released(proposed()))
    lost = {"vendor": "stripe", "kind": "reset_after", "method": "POST", "body": "tieout_lines"}
    control(vendors, "POST", "faults", [lost])
    work.deliver(stripe.pk)
    assert states(doubtful) == [("stripe", State.IN_DOUBT)]

    third = outbound.entries(source, 2, start=4)
    deliver(netsuite)
    waiting = released(proposed())
    move(source, stripe, netsuite)
    approved(waiting)
    deliver(netsuite, stripe)
    assert states(billed) == [("stripe", State.POSTED)]
    assert states(doubtful) == [("stripe", State.POSTED)], "it is looked up where it may be, and never sent elsewhere"
    assert states(waiting) == [("netsuite", State.POSTED)]

    office.later()
    for invoice in office.inspect()["invoices"]:
        office.do(f"invoices/{invoice}/finalize")
    read_stripe(stripe)
    read(netsuite, "invoices")
    everything = [*first, *second, *third]
    assert billed_by(everything) == {"stripe": 32, "netsuite": 16}
    assert set(open_hours(everything).values()) == {Decimal(0)}
    assert invoicing.prepare(Project.objects.get(), THROUGH, by=None) == []

    office.later()
    paid, void = sorted(office.inspect()["invoices"])
    office.do(f"invoices/{paid}/pay", paid_out_of_band=True)
    office.do(f"invoices/{void}/void")
    read_stripe(stripe)
    assert Invoice.objects.get(external_id=paid).current.status == "paid", (
        "payments still come from where it was billed"
    )
    again = approved(released(proposed()))
    deliver(netsuite, stripe)
    read(netsuite, "invoices")
    assert states(again) == [("netsuite", State.POSTED)]
    assert billed_by(everything) == {"stripe": 16, "netsuite": 32}
    assert set(open_hours(everything).values()) == {Decimal(0)}
    assert len(office.inspect()["invoices"]) == 2
    assert len(control(vendors, "GET", "netsuite/inspect")["invoices"]) == 2
    assert not ExceptionCase.objects.filter(state="open").exists()
    assert_all_hold()
