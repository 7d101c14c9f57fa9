"""Fix once, remember: what was mapped by hand is proposed, somebody else agrees, and the code is known from a day on."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse

from portal.models import Alias, AuditEvent, GrantRole, LedgerState, User
from portal.records import Reference
from reconciliation import operations, proposals, triage, validation
from reconciliation.models import ExceptionCase, Operation, Proposal
from tests import world
from tests.reconciliation import desk
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm, build, case, state

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    made = build()
    desk.near(made)
    return made


@pytest.fixture
def fay(firm: Firm) -> User:
    return desk.analyst(firm)


@pytest.fixture
def cleo(firm: Firm) -> User:
    return world.user("cleo", GrantRole.CONTROLLER, firm.entity)


def mapped(user: User, record: int | None = None, **parameters: Any) -> Operation:
    """The mistyped code of the open cause, mapped by hand."""
    operation = operations.plan(
        "map-code", user=user, reason="a typo", case=case("project-unknown", state="open"),
        parameters={"record": record or desk.near_id(), **parameters},
    )  # fmt: skip
    operations.run(operations.confirm(operation, user=user).pk)
    operation.refresh_from_db()
    return operation


def twice(firm: Firm, user: User) -> Proposal:
    desk.mistyped(firm, 3)
    mapped(user)
    desk.mistyped(firm, 2, start=2000)
    mapped(user)
    return Proposal.objects.get()


@pytest.mark.case(126)
def test_the_second_same_fix_proposes_with_its_evidence_and_the_first_does_not(firm: Firm, fay: User) -> None:
    desk.mistyped(firm, 3)
    first = mapped(fay)
    assert not Proposal.objects.exists()
    desk.mistyped(firm, 2, start=2000)
    second = mapped(fay)
    proposal = Proposal.objects.get()
    assert (proposal.code, proposal.internal_id, proposal.state) == (desk.MISTYPED, desk.near_id(), "proposed")
    assert (proposal.operations, proposal.valid_from) == ([first.pk, second.pk], date(2026, 10, 1))
    told = proposal.evidence
    assert (told["operations"], told["entries"], told["people"]) == (2, 5, 3)
    assert told["money"] == {"USD": "2640.0000"}
    assert not Alias.objects.exists()
    desk.mistyped(firm, 1, start=3000)
    third = mapped(fay)
    proposal.refresh_from_db()
    assert Proposal.objects.count() == 1
    assert proposal.operations == [first.pk, second.pk, third.pk]
    assert proposal.evidence["entries"] == 6


def test_the_tick_in_the_drawer_proposes_at_once_and_from_the_day_that_was_said(firm: Firm, fay: User) -> None:
    desk.mistyped(firm, 2)
    mapped(fay, remember=True, valid_from="2026-09-15")
    proposal = Proposal.objects.get()
    assert (proposal.valid_from, proposal.reason, proposal.proposed_by) == (date(2026, 9, 15), "a typo", fay)


def test_causes_that_were_merged_are_remembered_each_by_its_own_code(firm: Firm, fay: User, cleo: User) -> None:
    desk.mistyped(firm, 3)
    desk.mistyped(firm, 2, start=2000, code="ACMSUPPORT")
    into, other = ExceptionCase.objects.order_by("pk")
    triage.merge([other.pk], by=fay, into=into.pk)
    operation = operations.plan(
        "map-code", user=fay, reason="a typo", case=ExceptionCase.objects.get(pk=into.pk),
        parameters={"record": desk.near_id(), "remember": True},
    )  # fmt: skip
    operations.run(operations.confirm(operation, user=fay).pk)
    made = {one.code: one for one in Proposal.objects.all()}
    assert {code: one.evidence["entries"] for code, one in made.items()} == {desk.MISTYPED: 3, "ACMSUPPORT": 2}
    assert {one.internal_id for one in made.values()} == {desk.near_id()}
    proposals.approve(made["ACMSUPPORT"], user=cleo)
    assert firm.admit(firm.time("new", project=Reference("", "ACMSUPPORT", ""), work_date=date(2026, 11, 2))).ready
    assert firm.admit(firm.time("old", project=Reference("", desk.MISTYPED, ""), work_date=date(2026, 11, 2))).held


@pytest.mark.case(19, 28, 127)
def test_approved_it_is_a_dated_alias_with_history_and_exactly_what_it_touches_is_validated_again(
    firm: Firm, fay: User, cleo: User
) -> None:
    proposal = twice(firm, fay)
    waiting = desk.mistyped(firm, 2, start=2500)
    other = desk.mistyped(firm, 1, start=2600, code="LOST-1")
    early = firm.admit(firm.time("early", project=Reference("", desk.MISTYPED, ""), work_date=date(2026, 9, 30))).held
    proposals.approve(proposal, user=cleo, comment="agreed with the PM")
    alias = Alias.objects.get()
    assert (alias.code, alias.internal_id, alias.valid_from, alias.valid_to) == (
        desk.MISTYPED, desk.near_id(), date(2026, 10, 1), None,
    )  # fmt: skip
    assert alias.history.get().history_user == cleo
    assert alias.history.get().history_change_reason.endswith(
        f"(proposal {proposal.pk}) (change set {proposal.change_set_id}, approved by cleo)"
    )
    validation.follow_changes()
    assert {state(entry) for entry in waiting} == {"ready"}
    assert [state(entry) for entry in (*other, *early)] == ["held", "held"]
    assert firm.admit(firm.time("new", project=Reference("", desk.MISTYPED, ""), work_date=date(2026, 11, 2))).ready
    proposal.refresh_from_db()
    assert (proposal.state, proposal.alias, proposal.decided_by) == ("approved", alias, cleo)
    assert AuditEvent.objects.get(action="proposal.approved").reason == "agreed with the PM"


@pytest.mark.case(30)
def test_a_code_that_is_used_again_means_one_record_before_the_day_and_another_from_it_on(
    firm: Firm, fay: User, cleo: User
) -> None:
    old = firms.alias("project", desk.MISTYPED, firm.project.pk, firm.source, valid_to=date(2026, 10, 4))
    firm.admit(firm.time("1", project=Reference("", desk.MISTYPED, ""), work_date=date(2026, 10, 9)))
    mapped(fay, remember=True, valid_from="2026-10-05")
    proposals.approve(Proposal.objects.get(), user=cleo)
    old.refresh_from_db()
    assert old.valid_to == date(2026, 10, 4)
    assert Alias.objects.get(valid_from=date(2026, 10, 5)).internal_id == desk.near_id()


def test_who_proposed_it_does_not_approve_it_and_the_database_says_so_too(firm: Firm, cleo: User) -> None:
    proposal = twice(firm, cleo)
    with pytest.raises(proposals.ProposalRefused, match="somebody else decides"):
        proposals.approve(proposal, user=cleo)
    alias = firms.alias("project", "x", firm.project.pk)
    with pytest.raises(IntegrityError, match="who_decides_did_not_propose"), transaction.atomic():
        Proposal.objects.filter(pk=proposal.pk).update(
            state="approved", decided_by=cleo, decided_at=proposal.proposed_at, alias=alias
        )
    assert Alias.objects.count() == 1


def test_an_analyst_and_another_entitys_controller_do_not_decide(firm: Firm, fay: User) -> None:
    proposal = twice(firm, fay)
    for other in (desk.analyst(firm, "gil"), world.user("gus", GrantRole.CONTROLLER, world.entity("GB", "GBP"))):
        with pytest.raises(PermissionDenied):
            proposals.approve(proposal, user=other)


def test_a_shared_sources_code_is_decided_only_by_who_controls_every_entity(firm: Firm, fay: User, cleo: User) -> None:
    proposal = twice(firm, fay)
    firm.source.entity = None
    firm.source.save()
    with pytest.raises(PermissionDenied):
        proposals.approve(proposal, user=cleo)
    everywhere = world.user("max", GrantRole.CONTROLLER, everywhere=True)
    assert proposals.approve(proposal, user=everywhere).state == "approved"


def test_rejecting_needs_words_and_remembers_nothing(firm: Firm, fay: User, cleo: User) -> None:
    proposal = twice(firm, fay)
    with pytest.raises(proposals.ProposalRefused, match="Say why"):
        proposals.reject(proposal, user=cleo, comment="")
    proposals.reject(proposal, user=cleo, comment="the tracker has been put right")
    assert (proposal.state, Alias.objects.count()) == ("rejected", 0)
    with pytest.raises(proposals.ProposalRefused, match="decided before"):
        proposals.approve(proposal, user=cleo)


def test_who_proposed_it_takes_it_back(firm: Firm, fay: User, cleo: User) -> None:
    proposal = twice(firm, fay)
    with pytest.raises(proposals.ProposalRefused):
        proposals.withdraw(proposal, user=cleo)
    assert proposals.withdraw(proposal, user=fay).state == "withdrawn"


def test_entries_that_name_nothing_propose_nothing(firm: Firm, fay: User) -> None:
    firm.admit(firm.time("1", project=Reference("", "", "")))
    mapped(fay, remember=True)
    assert not Proposal.objects.exists()
    assert LedgerState.objects.filter(state="ready").count() == 1


def test_the_screens_of_a_proposal_show_its_evidence_and_take_the_decision(
    client: Client, firm: Firm, fay: User, cleo: User
) -> None:
    proposal = twice(firm, fay)
    address = reverse("proposal", args=[proposal.pk])
    client.force_login(fay)
    text = client.get(address).content.decode()
    assert "A controller other than fay decides." in text
    assert 'value="approve"' not in text
    assert client.post(address, {"action": "approve"}).status_code == 403
    client.force_login(cleo)
    listed = client.get(reverse("proposals")).content.decode()
    assert desk.MISTYPED in listed
    text = client.get(address).content.decode()
    assert "2,640.00" in text
    assert "Map “ACM-2231” to ACM-2213: 3 entries" in text
    assert client.post(address, {"action": "reject", "comment": ""}).status_code == 422
    assert client.post(address, {"action": "approve", "comment": "yes"}).status_code == 303
    assert "Approved by cleo" in client.get(address).content.decode()
    client.force_login(world.user("gus", GrantRole.CONTROLLER, world.entity("GB", "GBP")))
    assert client.get(address).status_code == 404
    assert desk.MISTYPED not in client.get(reverse("proposals") + "?tab=decided").content.decode()
