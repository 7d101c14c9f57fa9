"""A person who asks to be forgotten: pseudonymised by two people, while money, keys and proof stay."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.core.management import CommandError, call_command
from django.db import DatabaseError, IntegrityError, transaction
from django.test import Client
from django.urls import reverse

from integrations import forgetting
from integrations.models import InboxMessage
from integrations.sql import forgetting as forgetting_sql
from portal import audit, canonical, ledger
from portal.models import (
    Alias,
    AuditEvent,
    Document,
    Engagement,
    EntityGrant,
    Erasure,
    ErasureRequest,
    GrantRole,
    LedgerEntry,
    Notification,
    Resource,
    State,
    TimeEntry,
    User,
)
from portal.packs import Range
from portal.records import Reference
from portal.sql import now, rows
from portal.views.pack_parts import forgotten
from reconciliation import onboarding, validation
from reconciliation.models import DismissedMatch, ExceptionCase, RehearsedLine
from tests import world
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm, post
from tests.reconciliation.newcomer import MONTH, bring_in, on_27_november

pytestmark = [pytest.mark.django_db, pytest.mark.case(134)]
__all__ = ["on_27_november"]
ANA = Reference("h-ana", "ana", "Ana Consultant")


@pytest.fixture
def firm() -> Firm:
    return firms.build()


@pytest.fixture
def two(firm: Firm) -> tuple[User, User]:
    return tuple(world.user(name, GrantRole.CONTROLLER, firm.entity) for name in ("cleo", "carl"))  # type: ignore[return-value]


def worked(firm: Firm, external_id: str = "1", **changes: object) -> InboxMessage:
    """Eight approved hours of Ana's, as her tracker says them."""
    message = InboxMessage.objects.create(
        connection=firm.source, stream="time_entries", external_id=external_id, revision="1", received_at=now(),
        payload={"id": external_id, "user": {"name": "Ana Consultant", "email": "ana@firm.example"}, "hours": 8}, state="done",
    )  # fmt: skip
    record = firm.time(external_id, **{"resource": ANA, **changes})
    canonical.take_in(firm.source, [(message.pk, record)])
    validation.admit(list(Document.objects.filter(external_id=external_id).values_list("pk", flat=True)), actor="test")
    return message


def left(firm: Firm) -> None:
    """Ana's engagement is over."""
    Engagement.objects.filter(resource=firm.ana).update(valid_to=date(2026, 10, 31))


def test_names_go_everywhere_and_money_keys_and_proof_stay(firm: Firm, two: tuple[User, User]) -> None:
    firm.ana.email = "ana@firm.example"
    firm.ana.save()
    firms.alias("resource", "A. Consultant", firm.ana.pk, firm.source)
    message = worked(firm)
    entry = LedgerEntry.objects.get()
    post([entry.pk])
    held = worked(firm, "2", hours=Decimal(30))
    stopped = LedgerEntry.objects.latest("pk")
    of_hers = stopped.holds.filter(rule="hours-out-of-range")
    assert "Ana Consultant" in of_hers.get().sentence
    left(firm)
    before = LedgerEntry.objects.filter(pk=entry.pk).values().get()
    digest = Document.objects.get(pk=entry.document_id).content_digest
    with pytest.raises(forgetting.NotForgotten, match="1 entries of Ana Consultant are not booked yet"):
        forgetting.forget(firm.ana, by=two[0], agreed_by=two[1], reason="her letter")
    ledger.cancel([(stopped.pk, stopped.state_row.fence)], State.HELD, actor="test", reason="it was a mistake")
    call_command("forget_person", "ana", by="cleo", agreed_by="carl", reason="Her letter of 2 November")

    found = Resource.objects.get(pk=firm.ana.pk)
    pseudonym = f"P-{found.pk:06d}"
    assert (found.code, found.name, found.email) == (pseudonym, pseudonym, "")
    assert {(v.resource_code, v.resource_name) for v in TimeEntry.objects.all()} == {(pseudonym, pseudonym)}
    assert TimeEntry.objects.first().resource_key == ANA.key  # type: ignore[union-attr]
    assert Alias.objects.get(kind="resource").code == f"{pseudonym}-{Alias.objects.get(kind='resource').pk}"
    for told in (message, held):
        stored = told.payload
        told.refresh_from_db()
        assert told.payload["forgotten"] is True
        assert len(told.payload["sha256"]) == 64
        assert "Ana" not in json.dumps(told.payload), stored
    for model, column in ((Resource.history.model, "name"), (Alias.history.model, "code"), (ExceptionCase, "sentence")):
        assert not model._base_manager.filter(**{f"{column}__contains": "Consultant"}).exists(), model
    assert pseudonym in of_hers.get().sentence
    assert LedgerEntry.objects.filter(pk=entry.pk).values().get() == before
    assert Document.objects.get(pk=entry.document_id).content_digest == digest
    assert audit.verify() == []
    event = AuditEvent.objects.get(action="person.forgotten")
    assert (event.actor, (event.after or {})["agreed_by"], event.object_name) == (two[0], "carl", pseudonym)

    canonical.take_in(firm.source, [(message.pk, firm.time("1", resource=ANA))])  # the tracker says the same once more
    assert TimeEntry.objects.filter(document=entry.document_id).count() == 1
    with pytest.raises(CommandError, match="is forgotten already"):
        call_command("forget_person", pseudonym, by="cleo", agreed_by="carl", reason="again")


def test_it_takes_two_people_of_the_entity_an_engagement_that_is_over_and_a_request(
    firm: Firm, two: tuple[User, User]
) -> None:
    cleo, carl = two
    with pytest.raises(forgetting.NotForgotten, match="an engagement that is not over"):
        forgetting.forget(firm.ana, by=cleo, agreed_by=carl, reason="her letter")
    left(firm)
    world.user("gus", GrantRole.CONTROLLER, world.entity("GB", "GBP"))
    for by, agreed_by, reason, words in (
        ("cleo", "cleo", "her letter", "Two people"),
        ("cleo", "carl", " ", "on what request"),
        ("cleo", "gus", "her letter", "needs one of these roles"),
        ("cleo", "nobody", "her letter", "no user"),
    ):
        with pytest.raises(CommandError, match=words):
            call_command("forget_person", "ana", by=by, agreed_by=agreed_by, reason=reason)
    assert Resource.objects.get(pk=firm.ana.pk).name == "Ana Consultant"
    with pytest.raises(IntegrityError, match="nobody_is_forgotten_by_one_person"), transaction.atomic():
        Erasure.objects.create(resource=firm.ana, pseudonym="P", asked_by=cleo, agreed_by=cleo, reason="r", at=now())


def test_evidence_lets_its_names_go_and_nothing_else_and_only_while_somebody_is_forgotten(firm: Firm) -> None:
    worked(firm)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        TimeEntry.objects.update(resource_name="somebody")
    forgetting_sql.allow()
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        TimeEntry.objects.update(resource_name="somebody", hours=1)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        TimeEntry.objects.all().delete()
    assert TimeEntry.objects.update(resource_name="somebody") == 1


def test_the_digest_that_stays_of_a_message_is_that_of_what_it_said(firm: Firm, two: tuple[User, User]) -> None:
    message = worked(firm)
    post(list(LedgerEntry.objects.values_list("pk", flat=True)))
    left(firm)
    with transaction.atomic():
        [(said,)] = rows("SELECT payload::text FROM integrations_inboxmessage WHERE id = %s", [message.pk])
    forgetting.forget(firm.ana, by=two[0], agreed_by=two[1], reason="her letter")
    message.refresh_from_db()
    assert message.payload["sha256"] == hashlib.sha256(said.encode()).hexdigest()


# On screen


def as_person(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def test_a_second_person_agrees_on_screen_to_what_was_counted_and_the_evidence_stays(
    firm: Firm, two: tuple[User, User]
) -> None:
    cleo, carl = two
    carl.set_password("a long enough one")
    carl.save()
    hers, his = as_person(cleo), as_person(carl)
    worked(firm)
    post([LedgerEntry.objects.get().pk])
    form = reverse("forget", args=[firm.ana.pk])
    assert form in hers.get(reverse("master_record", args=["resource", firm.ana.pk])).content.decode()
    early = hers.post(form, {"reason": "letter of 2 November"})
    assert early.status_code == 422
    assert "an engagement that is not over" in early.content.decode()
    left(firm)
    asked = hers.post(form, {"reason": "letter of 2 November"})
    request = ErasureRequest.objects.get()
    page = reverse("erasure", args=[request.pk])
    assert (asked.status_code, asked["Location"]) == (303, page)
    assert "Ana Consultant" in hers.get(form).content.decode(), "nothing was done by counting it"
    assert "waits for a second person already" in hers.post(form, {"reason": "once more"}).content.decode()
    assert page in his.get("/approvals/").content.decode()
    assert page not in hers.get("/approvals/").content.decode()

    def agree(client: Client) -> Any:
        (seen,) = re.findall(r'name="seen" value="([0-9a-f]+)"', client.get(page).content.decode())
        return client.post(page, {"action": "agree", "seen": seen})

    assert "one asks, another agrees" in agree(hers).content.decode()
    assert agree(his)["Location"].startswith(reverse("account_reauthenticate"))
    assert Resource.objects.get(pk=firm.ana.pk).name == "Ana Consultant"
    assert his.post(reverse("account_reauthenticate"), {"password": "a long enough one"}).status_code == 302
    InboxMessage.objects.create(
        connection=firm.source, stream="users", external_id="77", revision="1", received_at=now(), state="done",
        payload={"user": {"name": "Ana Consultant", "email": ""}},
    )  # fmt: skip
    firms.alias("resource", "A. Consultant", firm.ana.pk, firm.source)
    stale = his.post(page, {"action": "agree", "seen": "0" * 16})
    assert "look at it again" in stale.content.decode()
    moved = agree(his)
    request.refresh_from_db()
    if moved.status_code == 422:
        assert "It would do something else by now" in moved.content.decode()
        assert request.state == "waiting"
        moved = agree(his)
    assert moved.status_code == 303
    request.refresh_from_db()
    erasure = Erasure.objects.get()
    assert (request.state, request.decided_by, request.erasure) == ("done", carl, erasure)
    assert (erasure.asked_by, erasure.agreed_by, erasure.counts) == (cleo, carl, request.shown)
    assert Resource.objects.get(pk=firm.ana.pk).name == erasure.pseudonym
    shown = his.get(page).content.decode()
    assert "Ana Consultant" not in shown
    assert f"asked by {cleo}, agreed by {carl}" in shown
    decided = AuditEvent.objects.filter(action__in=["forgetting.asked", "person.forgotten"]).order_by("pk")
    assert list(decided.values_list("action", "actor__username")) == [
        ("forgetting.asked", "cleo"), ("person.forgotten", "carl"),
    ]  # fmt: skip
    assert audit.verify() == []
    today = now().date()
    (told,) = forgotten(Range(carl, [firm.entity], today, today))
    assert told[:4] == (erasure.pseudonym, "letter of 2 November", "cleo", "carl")
    with pytest.raises(DatabaseError), transaction.atomic():
        ErasureRequest.objects.filter(pk=request.pk).update(comment="no")


def test_whoever_a_proposed_rehearsal_or_a_dismissed_match_names_is_forgotten_there_and_nothing_else_of_it_changes(
    on_27_november: None,
) -> None:
    newcomer = bring_in()
    ana, target = newcomer.firm.ana, newcomer.firm.target
    newcomer.take(MONTH)
    (line,) = newcomer.rehearse().lines.all()
    assert line.person == "Ana Consultant"
    onboarding.decide([line.pk], "accepted", by=newcomer.cleo, reason="it was forgotten by hand")
    onboarding.propose(newcomer.onboarding, by=newcomer.cleo, reason="now")
    other = Resource.objects.create(code="anna", name="Anna Other")
    evidence = {"ours": ["ana", "Ana Consultant", ""], "theirs": ["77", "A. Consultant", ""]}
    of = {
        "system": target.connector,
        "realm": target.realm,
        "kind": "resource",
        "reason": "Ana Consultant is another",
        "at": now(),
    }
    hers = DismissedMatch.objects.create(
        **of, internal_id=ana.pk, external_id="77", evidence=evidence, words="Resource ana Ana Consultant and 77 A. Consultant",
        by=newcomer.cleo,
    )  # fmt: skip
    theirs = DismissedMatch.objects.create(
        **of, internal_id=other.pk, external_id=newcomer.key("resource", ana.pk), by=newcomer.cleo,
        evidence={"ours": ["anna", "Anna Other", ""], "theirs": ["8", "A. C. Consultant", ""]},
        words="Resource anna Anna Other and 8 A. C. Consultant",
    )  # fmt: skip
    line.refresh_from_db()
    before = (line.outcome, line.decision, line.decided_by_id, line.number, line.hours_left)
    left(newcomer.firm)
    request = forgetting.ask(ana, by=newcomer.cleo, reason="her letter")
    forgetting.agree(request, by=newcomer.carl, signed_in_again=True)
    pseudonym = Erasure.objects.get().pseudonym
    line.refresh_from_db()
    assert (line.outcome, line.decision, line.decided_by_id, line.number, line.hours_left) == before
    assert line.person == pseudonym
    for one in (hers, theirs):
        one.refresh_from_db()
        assert one.evidence["forgotten"] is True
        assert "Consultant" not in f"{one.words} {one.reason} {one.evidence}"
        assert pseudonym in one.words
    assert "Anna Other" in theirs.words
    forgetting_sql.allow()
    for change in ({"decision": "same"}, {"person": "x", "hours_left": 1}):
        with pytest.raises(DatabaseError, match="are decided"), transaction.atomic():
            RehearsedLine.objects.filter(pk=line.pk).update(**change)


def test_what_the_database_refuses_is_told_and_leaves_nothing_behind(
    firm: Firm, two: tuple[User, User], monkeypatch: pytest.MonkeyPatch
) -> None:
    worked(firm)
    post([LedgerEntry.objects.get().pk])
    left(firm)
    monkeypatch.setattr(forgetting_sql, "allow", lambda: None)  # so that evidence is kept as it is at any other time
    answer = as_person(two[0]).post(reverse("forget", args=[firm.ana.pk]), {"reason": "her letter"})
    assert answer.status_code == 422
    assert "What is kept as proof stands in the way" in answer.content.decode()
    assert not ErasureRequest.objects.exists()


def _told(person: User) -> Any:
    return Notification.objects.filter(person=person).order_by("pk").values_list("subject", flat=True)


def test_who_may_decide_is_asked_and_who_asked_is_told_what_became_of_it_without_a_name(
    firm: Firm, two: tuple[User, User]
) -> None:
    cleo, carl = two
    world.user("otto", GrantRole.AUDITOR, firm.entity)
    left(firm)
    first = forgetting.ask(firm.ana, by=cleo, reason="a letter")
    forgetting.refuse(first, by=carl, comment="The dispute goes on.")
    second = forgetting.ask(firm.ana, by=cleo, reason="a letter")
    forgetting.take_back(second, by=cleo, comment="")
    third = forgetting.ask(firm.ana, by=cleo, reason="a letter")
    forgetting.agree(third, by=carl, signed_in_again=True)
    said = "request {} to forget a person".format
    assert list(_told(cleo)) == [f"Refused by carl: {said(first.pk)}", f"Forgotten by carl: {said(third.pk)}"]
    assert list(_told(carl)) == [
        f"Waits for you: {said(first.pk)}", f"Waits for you: {said(second.pk)}", f"Taken back by cleo: {said(second.pk)}",
        f"Waits for you: {said(third.pk)}",
    ]  # fmt: skip
    told = Notification.objects.get(subject__startswith="Refused")
    assert (told.note, told.url) == ("The dispute goes on.", reverse("erasure", args=[first.pk]))
    assert set(Notification.objects.values_list("person__username", flat=True)) == {"cleo", "carl"}


def test_an_entity_in_which_the_person_turns_out_to_have_worked_is_asked_as_well(
    firm: Firm, two: tuple[User, User]
) -> None:
    cleo, carl = two
    left(firm)
    request = forgetting.ask(firm.ana, by=cleo, reason="a letter")
    britain = world.entity("GB", "GBP")
    Engagement.objects.create(
        resource=firm.ana,
        entity=britain,
        valid_from=date(2025, 1, 1),
        valid_to=date(2025, 6, 30),
        role=Engagement.objects.filter(resource=firm.ana).latest("pk").role,
    )
    with pytest.raises(forgetting.NotForgotten, match="cleo, who asked, is no admin or controller of GB today"):
        forgetting.agree(request, by=carl, signed_in_again=True)
    request.refresh_from_db()
    assert request.entities == [firm.entity.pk], "nothing was kept of what the asker may not ask for"
    of_cleo = EntityGrant.objects.create(
        user=cleo, entity=britain, role=GrantRole.CONTROLLER, valid_from=date(2020, 1, 1)
    )
    with pytest.raises(forgetting.EffectMoved):
        forgetting.agree(request, by=carl, signed_in_again=True)
    of_cleo.delete()
    assert request.entities == sorted([firm.entity.pk, britain.pk])
    with pytest.raises(PermissionDenied):
        forgetting.agree(request, by=carl, signed_in_again=True)
    assert not Erasure.objects.exists()
    assert list(_told(carl)) == [f"Waits for you: request {request.pk} to forget a person"]
    for person in (cleo, carl):
        EntityGrant.objects.create(user=person, entity=britain, role=GrantRole.CONTROLLER, valid_from=date(2020, 1, 1))
    forgetting.agree(request, by=carl, signed_in_again=True)
    assert AuditEvent.objects.get(action="person.forgotten").entities == request.entities


def test_a_request_is_refused_or_taken_back_with_a_word_and_is_nobodys_business_elsewhere(
    firm: Firm, two: tuple[User, User]
) -> None:
    cleo, carl = two
    left(firm)
    request = forgetting.ask(firm.ana, by=cleo, reason="a letter")
    page = reverse("erasure", args=[request.pk])
    stranger = as_person(world.user("gus", GrantRole.CONTROLLER, world.entity("GB", "GBP")))
    assert stranger.get(page).status_code == 404
    assert "Ana" not in stranger.get(reverse("erasures")).content.decode()
    assert stranger.post(reverse("forget", args=[firm.ana.pk]), {"reason": "x"}).status_code == 404
    auditor = as_person(world.user("otto", GrantRole.AUDITOR, firm.entity))
    assert auditor.get(page).status_code == 200
    both = as_person(world.user("greta", GrantRole.AUDITOR, everywhere=True))
    for code, is_listed in (("US", True), ("GB", False)):
        listed = both.get(reverse("erasures"), {"entities": code}).content.decode()
        assert ("Ana Consultant" in listed) == is_listed
    assert auditor.post(page, {"action": "refuse", "comment": "I may not"}).status_code == 403
    assert as_person(world.user("ann", GrantRole.ANALYST, firm.entity)).get(page).status_code == 404
    his, hers = as_person(carl), as_person(cleo)
    assert his.post(page, {"action": "refuse", "comment": ""}).status_code == 422
    assert "Only who asked takes it back" in his.post(page, {"action": "take-back"}).content.decode()
    assert his.post(page, {"action": "refuse", "comment": "The dispute goes on."}).status_code == 303
    assert "The dispute goes on." in hers.get(page).content.decode()
    again = forgetting.ask(firm.ana, by=cleo, reason="a letter")
    assert hers.post(reverse("erasure", args=[again.pk]), {"action": "take-back"}).status_code == 303
    assert list(ErasureRequest.objects.order_by("pk").values_list("state", flat=True)) == ["refused", "withdrawn"]
    assert Resource.objects.get(pk=firm.ana.pk).name == "Ana Consultant"
    third = forgetting.ask(firm.ana, by=cleo, reason="a letter")
    with pytest.raises(IntegrityError, match="who_decides_to_forget_did_not_ask"), transaction.atomic():
        ErasureRequest.objects.filter(pk=third.pk).update(state="refused", decided_by=cleo, decided_at=now())
    with pytest.raises(IntegrityError, match="forgotten_means_carried_out"), transaction.atomic():
        ErasureRequest.objects.filter(pk=third.pk).update(state="done", decided_by=carl, decided_at=now())
