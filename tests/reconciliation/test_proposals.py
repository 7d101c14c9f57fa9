"""Fix once, remember: what was mapped by hand is proposed, somebody else agrees, and the code is known from a day on."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse

from integrations import work
from portal.models import Alias, AuditEvent, EntityGrant, GrantRole, LedgerState, User
from portal.records import Reference
from reconciliation import changes, operations, proposals, triage, validation
from reconciliation.changes import Line, applying, drafting
from reconciliation.models import Approval, ChangeSet, ExceptionCase, Operation, Proposal
from reconciliation.views import change_tables, inbox
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


def agreed(proposal: Proposal, user: User, comment: str = "") -> Proposal:
    """Looked at with its dry-run, and approved as it was shown."""
    proposals.look(proposal, user=user)
    return proposals.approve(proposal, user=user, comment=comment)


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
    agreed(made["ACMSUPPORT"], cleo)
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
    agreed(proposal, cleo, "agreed with the PM")
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
    agreed(Proposal.objects.get(), cleo)
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
    assert agreed(proposal, everywhere).state == "approved"


def test_rejecting_needs_words_and_remembers_nothing(firm: Firm, fay: User, cleo: User) -> None:
    proposal = twice(firm, fay)
    with pytest.raises(proposals.ProposalRefused, match="Say why"):
        proposals.reject(proposal, user=cleo, comment="")
    proposals.reject(proposal, user=cleo, comment="the tracker has been put right")
    assert (proposal.state, Alias.objects.count()) == ("rejected", 0)
    with pytest.raises(proposals.ProposalRefused, match="decided before: it is rejected by cleo"):
        proposals.approve(proposal, user=cleo)
    with pytest.raises(proposals.Decided, match="You have decided so already: it is rejected"):
        proposals.reject(proposal, user=cleo, comment="once more")
    dora = world.user("dora", GrantRole.CONTROLLER, firm.entity)
    with pytest.raises(proposals.ProposalRefused, match="rejected by cleo"):
        proposals.reject(proposal, user=dora, comment="as well")


def test_who_proposed_it_takes_it_back(firm: Firm, fay: User, cleo: User) -> None:
    proposal = twice(firm, fay)
    with pytest.raises(proposals.ProposalRefused):
        proposals.withdraw(proposal, user=cleo)
    assert proposals.withdraw(proposal, user=fay).state == "withdrawn"


def test_its_change_set_is_written_in_the_name_of_who_proposed_it_and_the_trail_says_who_looked(
    firm: Firm, fay: User, cleo: User
) -> None:
    proposal = twice(firm, fay)
    with pytest.raises(proposals.ProposalRefused, match="Look at what it would do"):
        proposals.approve(proposal, user=cleo)
    with pytest.raises(PermissionDenied):
        proposals.look(proposal, user=fay)
    agreed(proposal, cleo)
    for action in ("change.drafted", "change.submitted"):
        told = AuditEvent.objects.get(action=action)
        assert told.actor == fay
        assert "[Written in the name of fay, who proposed it, when cleo looked at the proposal.]" in told.reason
    assert AuditEvent.objects.get(action="change.approved").actor == cleo


def test_what_it_would_do_is_looked_at_again_where_that_moved_and_written_anew_where_another_alias_came(
    firm: Firm, fay: User, cleo: User
) -> None:
    proposal = twice(firm, fay)
    desk.mistyped(firm, 2, start=2500)
    proposals.look(proposal, user=cleo)
    first: Any = proposal.change_set
    assert first.preview["passes"]["entries"] == 2
    desk.mistyped(firm, 1, start=2600)
    with pytest.raises(proposals.ProposalRefused, match="2 entries would have passed, 3 would now"):
        proposals.approve(proposal, user=cleo)
    proposal = Proposal.objects.get(pk=proposal.pk)
    seen: Any = proposal.change_set
    assert (seen.pk, seen.preview["passes"]["entries"]) == (first.pk, 3)  # what it says now is kept, to be looked at
    firms.alias("project", desk.MISTYPED, firm.project.pk, firm.source, valid_from=date(2026, 12, 1))
    with pytest.raises(proposals.ProposalRefused, match="Look at what it would do"):
        proposals.approve(proposal, user=cleo)
    assert agreed(proposal, cleo).state == "approved"
    first.refresh_from_db()
    assert first.state == "withdrawn"
    assert Alias.objects.get(internal_id=desk.near_id()).valid_to == date(2026, 11, 30)


def test_one_that_reaches_far_is_looked_at_by_a_worker_and_approved_as_the_worker_ends(
    firm: Firm, fay: User, cleo: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    proposal = twice(firm, fay)
    waiting = desk.mistyped(firm, 3, start=2500)
    monkeypatch.setattr(drafting, "INLINE", 1)
    monkeypatch.setattr(applying, "AT_ONCE", 1)
    proposals.look(proposal, user=cleo)
    change_set: Any = proposal.change_set
    with pytest.raises(proposals.ProposalRefused, match="dry-run is not made yet"):
        proposals.approve(proposal, user=cleo)
    work.change_set(change_set.pk)
    proposal = Proposal.objects.get(pk=proposal.pk)
    proposals.approve(proposal, user=cleo, comment="agreed")
    assert (proposal.state, proposals.is_under_way(proposal)) == ("proposed", True)
    with pytest.raises(proposals.ProposalRefused, match="a worker applies it"):
        proposals.look(proposal, user=cleo)
    work.change_set(change_set.pk)
    proposal.refresh_from_db()
    assert (proposal.state, proposal.decided_by, proposal.comment) == ("approved", cleo, "agreed")
    assert {state(entry) for entry in waiting} == {"ready"}


def test_it_follows_its_change_set_whoever_decides_on_that_page(
    firm: Firm, client: Client, fay: User, cleo: User
) -> None:
    proposal = twice(firm, fay)
    proposals.look(proposal, user=cleo)
    change_set: Any = proposal.change_set
    client.force_login(cleo)
    address = reverse("change_set", args=[change_set.pk])
    assert "code to remember" in client.get(address).content.decode()
    said = {"action": "reject", "hash": change_set.content_hash, "comment": "the tracker is put right"}
    assert client.post(address, said).status_code == 303
    proposal.refresh_from_db()
    assert (proposal.state, proposal.decided_by, proposal.comment) == ("rejected", cleo, "the tracker is put right")


def test_rejected_or_taken_back_its_change_set_goes_with_it(firm: Firm, fay: User, cleo: User) -> None:
    proposal = twice(firm, fay)
    proposals.look(proposal, user=cleo)
    proposals.reject(proposal, user=cleo, comment="no")
    assert (proposal.state, ChangeSet.objects.get().state) == ("rejected", "rejected")
    desk.mistyped(firm, 1, start=4000)
    mapped(fay)
    again = Proposal.objects.get(state="proposed")
    proposals.look(again, user=cleo)
    proposals.withdraw(again, user=fay)
    assert (again.state, ChangeSet.objects.latest("pk").state) == ("withdrawn", "withdrawn")


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
    assert 'value="approve"' not in text  # nobody agrees to what they have not seen
    assert client.post(address, {"action": "approve"}).status_code == 422
    desk.mistyped(firm, 2, start=2500)
    assert client.post(address, {"action": "look"}).status_code == 303
    text = client.get(address).content.decode()
    assert 'Would pass</span><span class="value good">2</span>' in text
    assert client.get(reverse("approvals")).content.decode().count(f">“{desk.MISTYPED}” stands for") == 1
    assert client.post(address, {"action": "approve", "hash": "x", "fingerprint": "y"}).status_code == 422
    seen = dict(re.findall(r'<input type="hidden" name="(hash|fingerprint)" value="(\w*)">', text))
    assert client.post(address, {"action": "approve", "comment": "yes", **seen}).status_code == 303
    assert "Approved by cleo" in client.get(address).content.decode()
    client.force_login(world.user("gus", GrantRole.CONTROLLER, world.entity("GB", "GBP")))
    assert client.get(address).status_code == 404
    assert desk.MISTYPED not in client.get(reverse("proposals") + "?tab=decided").content.decode()


# Where its change set is edited, or touches more


def edited(change_set: ChangeSet, by: User, *lines: Line) -> None:
    """Somebody writes other lines into the change set of a proposal, and submits it again."""
    changes.edit(change_set, by, lines)
    changes.submit(change_set, by)


def other_code(firm: Firm) -> Line:
    values = {"connection": firm.source.code, "kind": "project", "alias": "UNRELATED", "code": firm.project.code}
    return Line("alias", None, "add", {**values, "valid_from": "2026-09-01", "reason": "asked"})


def test_one_whose_change_set_was_edited_to_say_something_else_waits_on_and_stops_no_other(
    firm: Firm, fay: User, cleo: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    proposal = twice(firm, fay)
    proposals.look(proposal, user=cleo)
    change_set: Any = proposal.change_set
    assert not change_tables.waiting_for(cleo).exists()  # it is decided with its proposal
    edited(change_set, fay, Line("rate", firm.rate.pk, "change", {"amount": "125.00"}))
    assert [one.pk for one in change_tables.waiting_for(cleo)] == [change_set.pk]
    edited(change_set, fay, other_code(firm), Line("rate", firm.rate.pk, "change", {"amount": "125.00"}))
    assert [one.pk for one in change_tables.waiting_for(cleo)] == [change_set.pk]
    changes.apply(changes.approve(change_set, cleo, signed_in_again=True))
    assert change_set.state == "applied", change_set.problem
    with monkeypatch.context() as patched:
        patched.setattr(proposals, "follow", lambda _one: 1 / 0)
        proposals.follow_all()
    assert f"change set {change_set.pk} does not follow" in caplog.text
    proposals.follow_all()
    proposal.refresh_from_db()
    assert (proposal.state, proposal.change_set, proposal.alias) == ("proposed", None, None)
    agreed(proposal, cleo)
    made: Any = proposal.alias
    assert (proposal.state, made.code, made.internal_id) == ("approved", desk.MISTYPED, desk.near_id())


def test_its_own_alias_is_taken_from_an_edited_change_set_that_makes_others_first(
    firm: Firm, fay: User, cleo: User
) -> None:
    proposal = twice(firm, fay)
    proposals.look(proposal, user=cleo)
    change_set: Any = proposal.change_set
    [line] = changes.lines_of(list(change_set.lines.all()))
    edited(change_set, fay, other_code(firm), line)
    assert not change_tables.waiting_for(cleo).exists()
    changes.apply(changes.approve(change_set, cleo, signed_in_again=True))
    proposals.follow(change_set)
    proposal.refresh_from_db()
    made: Any = proposal.alias
    assert (proposal.state, made.code) == ("approved", desk.MISTYPED)


def offered(user: User) -> list[Proposal]:
    """What waits for a person in the inbox."""
    return list(Proposal.objects.filter(pk__in=inbox.waiting_keys(user, Approval.Kind.CODE)))


def test_it_is_offered_only_to_who_may_decide_on_what_its_change_set_touches_by_now(
    firm: Firm, client: Client, fay: User, cleo: User
) -> None:
    proposal = twice(firm, fay)
    proposals.look(proposal, user=cleo)
    assert offered(cleo) == [proposal]
    change_set: Any = proposal.change_set
    theirs = world.entity("GB", "GBP")
    EntityGrant.objects.create(user=fay, entity=theirs, role=GrantRole.ANALYST, valid_from=date(2020, 1, 1))
    elsewhere = firms.project("GB-1", theirs, firm.customer, None)
    [line] = changes.lines_of(list(change_set.lines.all()))
    edited(change_set, fay, line, Line("project", elsewhere.pk, "change", {"name": "Another name"}))
    proposal.refresh_from_db()
    assert not proposals.may_decide(proposal, cleo)
    assert offered(cleo) == []
    client.force_login(cleo)
    text = client.get(reverse("proposal", args=[proposal.pk])).content.decode()
    assert 'value="approve"' not in text
    assert "Would pass" not in text


def test_nobody_makes_the_dry_run_again_under_who_agreed_to_the_one_that_stood(
    firm: Firm, client: Client, fay: User, cleo: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    proposal = twice(firm, fay)
    zoe = world.user("zoe", GrantRole.CONTROLLER, firm.entity)
    monkeypatch.setattr(drafting, "INLINE", 1)
    desk.mistyped(firm, 3, start=2500)
    proposals.look(proposal, user=cleo)
    change_set: Any = proposal.change_set
    changes.run(change_set.pk)
    proposal.refresh_from_db()
    desk.mistyped(firm, 2, start=2600)
    proposals.approve(proposal, user=cleo, comment="agreed")
    change_set.refresh_from_db()
    assert change_set.agreed_by == cleo
    client.force_login(zoe)
    address = reverse("proposal", args=[proposal.pk])
    assert 'value="look"' not in client.get(address).content.decode()
    assert client.post(address, {"action": "look"}).status_code == 422
    client.force_login(fay)
    assert client.post(reverse("change_set", args=[change_set.pk]), {"action": "preview"}).status_code == 422
    work.change_set(change_set.pk)
    change_set.refresh_from_db()
    assert (change_set.state, change_set.agreed_by, change_set.decided_by) == ("submitted", None, None)
    assert change_set.preview["passes"]["entries"] == 5
