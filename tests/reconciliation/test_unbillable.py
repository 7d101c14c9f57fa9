"""What stops an invoice: work that its source took back or changed, hours without a rate; and what people are told and accept."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from integrations import outbox, registry
from portal import ledger
from portal.models import AuditEvent, Connection, GrantRole, InvoiceProposal, LedgerState, ProposalState, User
from portal.records import SourceStatus
from reconciliation import invoicing
from reconciliation.models import ExceptionCase, ProjectMonth, Route
from tests import world
from tests.bills import posted
from tests.integrations.memory_biller import BILLS, biller
from tests.reconciliation import firm as firms

pytestmark = pytest.mark.django_db
END = date(2026, 9, 30)


@pytest.fixture
def firm(monkeypatch: pytest.MonkeyPatch) -> firms.Firm:
    monkeypatch.setitem(registry.CONNECTORS, "memory-biller", "tests.integrations.memory_biller.MemoryBiller")
    found = firms.build()
    billing = biller(found.entity)
    Route.objects.create(
        entity=found.entity, source=found.source, target=billing, kind="invoice", valid_from=firms.SINCE
    )
    for kind, pk, theirs in (("customer", found.customer.pk, "C1"), ("project", found.project.pk, "J1")):
        firms.key(billing, kind, pk, theirs)
    found.project.manager = world.user("mia", GrantRole.PROJECT_MANAGER, found.entity)
    found.project.save()
    world.user("fay", GrantRole.ANALYST, found.entity)
    return found


def signed_in(name: str) -> Client:
    client = Client()
    client.force_login(User.objects.get(username=name))
    return client


def does(client: Client, proposal: InvoiceProposal, action: str, **said: Any) -> str:
    """Ask for an action on the proposal's page as it stands there, and confirm it; the page that answers."""
    here = reverse("invoice_proposal", args=[proposal.pk])
    proposal.refresh_from_db()
    said = {"seen": proposal.content_hash, **said}
    asked = client.post(here, {"action": action, **{f"with_{name}": value for name, value in said.items()}})
    said = {"told": asked.context["form"].initial.get("told", ""), "accepts": "on", **said}
    confirmed = client.post(here, {"action": action, "confirmed": asked.context["confirmed"], **said}, follow=True)
    return str(confirmed.content.decode())


def page(client: Client, proposal: InvoiceProposal) -> str:
    return str(client.get(reverse("invoice_proposal", args=[proposal.pk])).content.decode())


def taken_back(firm: firms.Firm, number: str, day: int) -> ExceptionCase:
    """The source withdraws what it had approved and what was posted."""
    firm.admit(firm.time(number, work_date=date(2026, 9, day), status=SourceStatus.WITHDRAWN))
    return ExceptionCase.objects.get(rule="approval-withdrawn-after-posting", state="open")


def changed(firm: firms.Firm, number: str, day: int) -> ExceptionCase:
    """The source changes the hours of what was posted; the later version is held."""
    firm.admit(firm.time(number, work_date=date(2026, 9, day), hours=Decimal(6)))
    return ExceptionCase.objects.get(rule="changed-after-posting", state="open")


@pytest.mark.parametrize(("happens", "word"), [(taken_back, "withdrawn"), (changed, "changed")])
def test_what_its_source_takes_back_or_changes_is_left_out_stops_the_proposal_and_is_billed_once_that_is_over(
    firm: firms.Firm, happens: Any, word: str
) -> None:
    first, second = posted(firm, 2)
    mia = signed_in("mia")
    [proposal] = invoicing.prepare(firm.project, END, by=User.objects.get(username="mia"))
    case = happens(firm, "1", 2)
    said = f"Hours of Ana Consultant on 2 Sep 2026: {word} at {firm.source.name}, EX-{case.pk}"
    assert said in page(mia, proposal)
    refused = does(mia, proposal, "release")
    assert said in refused
    assert "Prepare the proposal anew" in refused
    proposal.refresh_from_db()
    assert proposal.state == ProposalState.OPEN

    [anew] = invoicing.prepare(firm.project, END, by=User.objects.get(username="mia"))
    assert anew.pk == proposal.pk
    assert set(anew.lines.get().parts.values_list("entry_id", flat=True)) == {second}
    assert said not in page(mia, anew)
    assert anew.net == Decimal(960)
    firm.admit(firm.time("1", work_date=date(2026, 9, 2)))  # the source says again what is booked
    assert not ExceptionCase.objects.filter(pk=case.pk, state="open").exists()
    [whole] = invoicing.prepare(firm.project, END, by=User.objects.get(username="mia"))
    assert set(whole.lines.get().parts.values_list("entry_id", flat=True)) == {first, second}


def test_a_released_proposal_is_stopped_at_approval_and_a_draft_at_the_door(firm: firms.Firm) -> None:
    posted(firm, 2)
    mia, fay = signed_in("mia"), signed_in("fay")
    [proposal] = invoicing.prepare(firm.project, END, by=None)
    does(mia, proposal, "release")
    case = changed(firm, "1", 2)
    said = f"Hours of Ana Consultant on 2 Sep 2026: changed at {firm.source.name}, EX-{case.pk}"
    assert said in page(fay, proposal)
    assert said in does(fay, proposal, "approve")
    proposal.refresh_from_db()
    assert proposal.state == ProposalState.RELEASED
    does(fay, proposal, "send-back", reason="an hour changed")
    invoicing.prepare(firm.project, END, by=None)
    does(mia, proposal, "release")
    does(fay, proposal, "approve")
    proposal.refresh_from_db()
    assert (proposal.state, proposal.net) == (ProposalState.HANDED_OVER, Decimal(960))

    taken_back(firm, "2", 3)
    system = Connection.objects.get(code="billing")
    outbox.deliver(system.pk)
    assert BILLS["billing"].made == []
    assert LedgerState.objects.get(entry__kind="invoice").state == "held"
    stopped = ExceptionCase.objects.get(rule="draft-outdated", state="open").sentence
    assert "Hours of Ana Consultant on 3 Sep 2026: withdrawn" in stopped


def test_an_approved_version_that_is_owed_to_nobody_stops_the_bill_of_the_one_before(firm: firms.Firm) -> None:
    posted(firm, 1)
    [proposal] = invoicing.prepare(firm.project, END, by=None)
    Route.objects.filter(kind="time").update(valid_to=date(2026, 1, 2))
    firm.admit(firm.time("1", work_date=date(2026, 9, 2), hours=Decimal(5)))
    assert f"Hours of Ana Consultant on 2 Sep 2026: changed at {firm.source.name}" in page(signed_in("mia"), proposal)
    assert invoicing.prepare(firm.project, END, by=None) == []


def test_a_version_that_says_nothing_new_about_the_work_stops_nothing(firm: firms.Firm) -> None:
    posted(firm, 1)
    firm.admit(firm.time("1", work_date=date(2026, 9, 2), approved_at=None))
    [proposal] = invoicing.prepare(firm.project, END, by=None)
    assert proposal.net == Decimal(960)


def test_hours_without_a_rate_that_are_held_are_told_and_those_that_nothing_holds_stop_the_bill(
    firm: firms.Firm,
) -> None:
    posted(firm, 1)
    [proposal] = invoicing.prepare(firm.project, END, by=None)
    mia = signed_in("mia")
    assert "no rate" not in page(mia, proposal)
    firm.rate.valid_to = date(2026, 9, 21)
    firm.rate.save()
    [held] = firm.admit(firm.time("10", work_date=date(2026, 9, 22))).held
    assert "8.00 h have no rate and are left out." in page(mia, proposal)
    assert "Say that you have read what does not hold" in does(mia, proposal, "release", accepts="")
    ledger.release([(held, LedgerState.objects.get(entry=held).fence)], actor="test", reason="let go without a rate")
    stops = "8.00 h of ACM-1 in 2026-09 have no rate, so the invoice would lack them."
    assert stops in page(mia, proposal)
    assert stops in does(mia, proposal, "release")
    proposal.refresh_from_db()
    assert proposal.state == ProposalState.OPEN


def test_what_does_not_hold_of_the_month_is_told_before_it_goes_on_and_accepted_by_name(firm: firms.Firm) -> None:
    posted(firm, 1)
    mia, fay = signed_in("mia"), signed_in("fay")
    month = ProjectMonth.objects.get(period__code="2026-09")
    terms = (
        "2026-09, not met: invoice schedule and payment terms are agreed. "
        "Nobody said when it is invoiced and its payment terms."
    )
    prepare = mia.post(reverse("readiness_project", args=[month.pk]), {"action": "prepare"}).content.decode()
    assert terms in prepare
    [proposal] = invoicing.prepare(firm.project, END, by=None)
    assert terms in page(mia, proposal)
    here = reverse("invoice_proposal", args=[proposal.pk])
    asked = mia.post(here, {"action": "release", "with_seen": proposal.content_hash})
    assert terms in asked.content.decode()
    assert "960.00" in asked.content.decode()
    assert "Say that you have read what does not hold" in does(mia, proposal, "release", accepts="")
    assert "changed meanwhile; read it again" in does(mia, proposal, "release", told="another")
    does(mia, proposal, "release")
    does(fay, proposal, "approve")
    proposal.refresh_from_db()
    assert proposal.state == ProposalState.HANDED_OVER
    kept = AuditEvent.objects.filter(action__in=["proposal.released", "proposal.approved"]).order_by("pk")
    assert [(event.after or {})["accepted"] for event in kept] == [[terms], [terms]]
