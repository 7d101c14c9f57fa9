"""Change sets through the front door: written in forms, seen with their numbers, decided, applied, undone, found in the inbox."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from portal.models import AccountingPeriod, Alias, ApprovalStep, AuditEvent, EntityGrant, GrantRole, Rate, Role, User
from reconciliation import changes
from reconciliation.changes import Line
from reconciliation.models import ChangeFile, ChangeSet
from reconciliation.views import change_forms
from tests import world
from tests.reconciliation import desk
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm, build

pytestmark = pytest.mark.django_db
PASSWORD = "a long one for tests"


@pytest.fixture
def firm() -> Firm:
    made = build()
    desk.near(made)
    return made


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def controller(firm: Firm, name: str = "cleo") -> User:
    user = world.user(name, GrantRole.CONTROLLER, firm.entity)
    user.set_password(PASSWORD)
    user.save()
    return user


def write(client: Client, firm: Firm, amount: str = "125.00") -> ChangeSet:
    """A draft with one rate, as a person writes it."""
    client.post(reverse("change_new"), {"title": "Another rate", "reason": "agreed by letter"})
    change_set = ChangeSet.objects.latest("pk")
    where = reverse("change_line_new", args=[change_set.pk])
    answer = client.post(where, {"model": "rate", "key": firm.rate.pk, "line_action": "change", "amount": amount})
    assert answer.status_code == 303, answer.content
    return change_set


def page(client: Client, change_set: ChangeSet) -> str:
    return client.get(reverse("change_set", args=[change_set.pk])).content.decode()


def act(client: Client, change_set: ChangeSet, action: str, **more: Any) -> Any:
    return client.post(reverse("change_set", args=[change_set.pk]), {"action": action, **more})


def hidden(text: str) -> dict[str, str]:
    """What the form of a page posts back of what it showed."""
    return dict(re.findall(r'<input type="hidden" name="(hash|fingerprint|seen)" value="(\w*)">', text))


def shown(client: Client, change_set: ChangeSet) -> dict[str, str]:
    """What the confirmation posts back of what it showed."""
    return hidden(client.get(reverse("change_decide", args=[change_set.pk, "approve"])).content.decode())


def agree(client: Client, change_set: ChangeSet, **more: Any) -> Any:
    """Open the confirmation, and press its button."""
    return act(client, change_set, "approve", **shown(client, change_set), **more)


def test_a_record_is_shown_in_a_form_only_to_who_may_propose_a_change_of_it(firm: Firm) -> None:
    gb = world.entity("GB", "GBP")
    theirs = world.connection("gb-books", "netsuite", gb, is_target=True)
    shared = world.connection("group-books", "netsuite", is_target=True)
    grant = EntityGrant.objects.create(user=world.user("gil"), entity=firm.entity, role=GrantRole.AUDITOR)
    cleo = controller(firm)
    EntityGrant.objects.create(user=cleo, entity=gb, role=GrantRole.ANALYST, valid_from=date(2020, 1, 1))

    def status(client: Client, **query: Any) -> int:
        client.post(reverse("change_new"), {"title": "x", "reason": "y"})
        where = reverse("change_line_new", args=[ChangeSet.objects.latest("pk").pk])
        return client.get(where, query).status_code

    analyst = signed_in(desk.analyst(firm))
    assert status(analyst, model="rate", key=firm.rate.pk) == 200
    for query in (
        {"model": "grant"},
        {"model": "grant", "key": grant.pk},
        {"model": "connection", "key": firm.target.pk},
    ):
        assert status(analyst, **query) == 404, query
    configures_here = signed_in(cleo)
    assert status(configures_here, model="connection", key=firm.target.pk) == 200
    assert status(configures_here, model="connection", key=theirs.pk) == 404
    assert status(configures_here, model="connection", key=shared.pk) == 404
    found = configures_here.get(
        reverse("change_line_new", args=[ChangeSet.objects.latest("pk").pk]), {"model": "connection", "find": "books"}
    )
    assert "gb-books" not in found.content.decode()


def test_a_change_is_written_seen_submitted_approved_and_rolled_back(firm: Firm) -> None:
    desk.ready(firm, 4)
    fay, cleo = signed_in(desk.analyst(firm)), signed_in(controller(firm))
    change_set = write(fay, firm)
    text = page(fay, change_set)
    assert "<del>120.00</del>" in text
    assert "<ins>125.00</ins>" in text
    act(fay, change_set, "preview")
    assert "3,840.00 → 4,000.00 USD" in page(fay, change_set)
    assert act(fay, change_set, "submit").status_code == 303
    change_set.refresh_from_db()
    assert "3,840.00 → 4,000.00 USD" in page(cleo, change_set)
    inbox = cleo.get(reverse("approvals")).content.decode()
    assert "Decisions that wait for you" in inbox
    assert "Another rate" in inbox
    confirm = cleo.get(reverse("change_decide", args=[change_set.pk, "approve"])).content.decode()
    assert change_set.content_hash in confirm
    assert "<del>120.00</del>" in confirm
    assert agree(cleo, change_set, comment="read it").status_code == 303
    text = page(fay, change_set)
    assert "Exactly what the dry-run said" in text
    assert Rate.objects.get(pk=firm.rate.pk).amount == 125
    answer = act(fay, change_set, "roll-back", comment="the letter was wrong")
    back = ChangeSet.objects.latest("pk")
    assert answer["Location"] == reverse("change_set", args=[back.pk])
    assert "It undoes" in page(fay, back)


def test_a_record_is_found_however_many_of_other_entities_are_newer(
    firm: Firm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_forms, "LOOKED_AT", 2)
    gb = world.entity("GB", "GBP")
    for number in range(5):
        their_role = world.connection(f"harvest-gb-{number}", "harvest", gb, is_source=True, realm=f"gb-{number}")
        firms.key(their_role, "resource", firms.person(f"gb-{number}", f"Gil {number}", gb, firm.role).pk)
    fay = signed_in(desk.analyst(firm))
    change_set = write(fay, firm)
    found = fay.get(reverse("change_line_new", args=[change_set.pk]), {"model": "crosswalk", "find": "netsuite"})
    assert "netsuite" in found.content.decode().split("the latest that match")[1]
    others = fay.get(reverse("change_line_new", args=[change_set.pk]), {"model": "crosswalk", "find": "harvest"})
    assert "None that you may see" in others.content.decode()


def test_the_form_is_made_from_the_kind_and_says_what_cannot_stand_at_its_field(firm: Firm) -> None:
    fay = signed_in(desk.analyst(firm))
    change_set = write(fay, firm)
    where = reverse("change_line_new", args=[change_set.pk])
    for kind in changes.KINDS:
        answer = fay.get(where, {"model": kind.code, "action": "add"})
        if GrantRole.ANALYST not in kind.proposers:
            assert answer.status_code == 404, kind.code
            continue
        text = answer.content.decode()
        names = {"policy": "policy.rate_tolerance", "calendar": "calendar.weekend"}
        assert all(f'name="{names.get(one.name, one.name)}"' in text for one in kind.columns), kind.code
    found = fay.get(where, {"model": "project", "find": "2213"}).content.decode()
    assert f"?model=project&amp;key={desk.near_id()}" in found
    line = reverse("change_line", args=[change_set.pk, 1])
    seen = hidden(fay.get(line).content.decode())
    answer = fay.post(line, {
        "model": "rate", "key": firm.rate.pk, "line_action": "change", "amount": "12,5", "valid_to": "2025-01-01", **seen,
    })  # fmt: skip
    assert answer.status_code == 422
    text = answer.content.decode()
    assert "is not a decimal number" in text
    assert 'value="12,5"' in text
    assert ChangeSet.objects.get(pk=change_set.pk).lines.get().values == {"amount": "125.00"}
    out = fay.post(line, {"action": "take-out", "model": "rate", **hidden(text)})
    assert out.status_code == 303
    assert not change_set.lines.exists()
    assert act(fay, change_set, "submit").status_code == 422


def test_who_edits_what_somebody_else_wrote_in_meanwhile_overwrites_nothing(firm: Firm) -> None:
    fay, cleo = signed_in(desk.analyst(firm)), signed_in(controller(firm))
    change_set = write(fay, firm)
    line, edit = reverse("change_line", args=[change_set.pk, 1]), reverse("change_edit", args=[change_set.pk])
    opened = {where: hidden(fay.get(where).content.decode()) for where in (line, edit)}
    theirs = {"model": "rate", "key": firm.rate.pk, "line_action": "change", "amount": "130.00"}
    assert cleo.post(line, {**theirs, **opened[line]}).status_code == 303
    answer = fay.post(line, {"action": "take-out", "model": "rate", **opened[line]})
    assert answer.status_code == 422
    assert "Somebody wrote in it since you opened this" in answer.content.decode()
    answer = fay.post(edit, {"title": "Mine", "reason": "mine", **opened[edit]})
    assert answer.status_code == 422
    assert "Somebody wrote in it since you opened this" in answer.content.decode()
    assert fay.post(line, {"action": "take-out", "model": "rate"}).status_code == 422  # it names nothing
    change_set.refresh_from_db()
    assert (change_set.title, change_set.lines.get().values) == ("Another rate", {"amount": "130.00"})


def test_what_was_edited_meanwhile_is_not_approved_and_a_reject_needs_a_word(firm: Firm) -> None:
    fay, cleo = signed_in(desk.analyst(firm)), signed_in(controller(firm))
    change_set = write(fay, firm)
    act(fay, change_set, "submit")
    seen = shown(cleo, change_set)
    edit = reverse("change_edit", args=[change_set.pk])
    opened = hidden(fay.get(edit).content.decode())
    fay.post(edit, {"title": "Another rate", "reason": "another letter", **opened})
    act(fay, change_set, "submit")
    answer = act(cleo, change_set, "approve", **seen)
    assert answer.status_code == 422
    assert "not what you looked at any more" in answer.content.decode()
    assert act(cleo, change_set, "reject", comment="").status_code == 422
    now = ChangeSet.objects.get(pk=change_set.pk).content_hash
    assert act(cleo, change_set, "reject", comment="124, says the letter", hash=now).status_code == 303
    assert "124, says the letter" in page(fay, change_set)
    assert act(fay, change_set, "approve").status_code == 422


def test_a_page_of_numbers_that_were_made_again_since_decides_nothing_and_neither_does_a_form_that_names_none(
    firm: Firm,
) -> None:
    desk.ready(firm, 2)
    fay, cleo = signed_in(desk.analyst(firm)), signed_in(controller(firm))
    change_set = write(fay, firm)
    act(fay, change_set, "submit")
    old = shown(cleo, change_set)
    desk.ready(firm, 3, start=6000)
    assert act(fay, change_set, "preview").status_code == 303
    answer = act(cleo, change_set, "approve", **old)
    assert answer.status_code == 422
    assert "made again since you looked at it" in answer.content.decode()
    now = shown(cleo, change_set)
    assert (old["hash"], old["fingerprint"]) != (now["hash"], now["fingerprint"])
    for action, missing in (("approve", "hash"), ("approve", "fingerprint"), ("reject", "hash")):
        given = {name: value for name, value in now.items() if name != missing}
        answer = act(cleo, change_set, action, comment="no", **given)
        assert (answer.status_code, "did not say what you looked at" in answer.content.decode()) == (422, True)
    assert ChangeSet.objects.get(pk=change_set.pk).state == "submitted"
    assert act(cleo, change_set, "approve", **now).status_code == 303
    assert ChangeSet.objects.get(pk=change_set.pk).state == "applied"


def test_above_the_limit_the_approver_is_asked_to_sign_in_once_more(firm: Firm) -> None:
    desk.ready(firm, 2)
    firm.entity.policy = {"step_up_amount": {"*": "100"}}
    firm.entity.save()
    user = controller(firm)
    fay, cleo = signed_in(desk.analyst(firm)), Client()
    cleo.post(reverse("account_login"), {"login": "cleo", "password": PASSWORD})
    change_set = write(fay, firm)
    act(fay, change_set, "submit")
    assert "You are asked to sign in once more" in page(cleo, change_set)
    answer = agree(cleo, change_set, comment="read the letter twice")
    again = answer["Location"]
    assert again.startswith(reverse("account_reauthenticate"))
    assert "so it asks once more who you are, whenever you signed in" in cleo.get(again).content.decode()
    assert ChangeSet.objects.get(pk=change_set.pk).state == "submitted"
    carried_out = cleo.post(again, {"password": PASSWORD})
    assert carried_out["Location"] == reverse("change_set", args=[change_set.pk])
    done = ChangeSet.objects.get(pk=change_set.pk)
    assert (done.state, done.decided_by, done.comment) == ("applied", user, "read the letter twice")


def test_who_presses_twice_reads_the_result_and_who_may_not_decide_gets_no_form(firm: Firm) -> None:
    desk.ready(firm, 2)
    fay, cleo = signed_in(desk.analyst(firm)), signed_in(controller(firm))
    change_set = write(fay, firm)
    act(fay, change_set, "submit")
    assert act(fay, change_set, "submit").status_code == 303
    where = reverse("change_decide", args=[change_set.pk, "approve"])
    form = fay.get(where).content.decode()
    assert "You wrote in it yourself; somebody else decides." in form
    assert 'value="approve"' not in form
    seen = shown(cleo, change_set)
    assert act(cleo, change_set, "approve", **seen).status_code == 303
    assert act(cleo, change_set, "approve", **seen).status_code == 303
    assert "You have decided so already: it is applied." in page(cleo, change_set)
    assert AuditEvent.objects.filter(action="change.approved").count() == 1
    late = cleo.get(where).content.decode()
    assert "It is applied by cleo. It does not wait for a decision." in late
    assert 'value="approve"' not in late
    text = page(cleo, change_set)
    assert "ready now" not in text
    assert "held now" not in text


def test_a_letter_is_attached_frozen_with_the_change_and_read_by_who_decides(firm: Firm) -> None:
    fay, cleo = signed_in(desk.analyst(firm)), signed_in(controller(firm))
    change_set = write(fay, firm)
    letter = SimpleUploadedFile("letter.pdf", b"%PDF-1.7 agreed at 125")
    assert act(fay, change_set, "attach", file=letter).status_code == 303
    found = ChangeFile.objects.get()
    assert "letter.pdf" in page(cleo, change_set)
    where = reverse("change_file", args=[change_set.pk, found.pk])
    for wrong in (SimpleUploadedFile("page.html", b"<script>"), SimpleUploadedFile("empty.pdf", b""), letter):
        wrong.seek(0)
        assert act(fay, change_set, "attach", file=wrong).status_code == 422
    without = ChangeSet.objects.get(pk=change_set.pk)
    hashed = changes.drafting.hash_of(without)
    assert act(fay, change_set, "submit").status_code == 303
    assert act(fay, change_set, "detach", file=found.pk).status_code == 422
    with pytest.raises(DatabaseError, match="are frozen"), transaction.atomic():
        ChangeFile.objects.filter(pk=found.pk).update(content=b"another letter")
    answer = cleo.get(where)
    assert (answer.content, answer["X-Content-Type-Options"]) == (b"%PDF-1.7 agreed at 125", "nosniff")
    assert answer["Content-Disposition"].startswith("attachment")
    assert AuditEvent.objects.get(action="change.file-read").actor_name == "cleo"
    gb = signed_in(world.user("gus", GrantRole.CONTROLLER, world.entity("GB", "GBP")))
    assert gb.get(where).status_code == 404
    assert agree(cleo, change_set).status_code == 303
    assert ChangeSet.objects.get(pk=change_set.pk).state == "applied"
    assert hashed


def test_who_attaches_a_file_has_written_in_it_and_does_not_decide(firm: Firm) -> None:
    change_set = write(signed_in(desk.analyst(firm)), firm)
    user = controller(firm)
    cleo = signed_in(user)
    before = changes.drafting.hash_of(change_set)
    act(cleo, change_set, "attach", file=SimpleUploadedFile("list.csv", b"a,b"))
    assert changes.drafting.hash_of(change_set) != before
    assert changes.is_editor(change_set, user)
    act(cleo, change_set, "detach", file=ChangeFile.objects.get().pk)
    assert changes.drafting.hash_of(change_set) == before
    act(cleo, change_set, "submit")
    assert "You wrote in it yourself" in agree(cleo, change_set).content.decode()


def test_an_approval_step_is_taken_out_and_an_alias_ends_from_their_pages(firm: Firm) -> None:
    step = ApprovalStep.objects.create(project=firm.project, sequence=7, approver=firm.ana)
    alias = Alias.objects.create(
        kind="project", code="OLD-1", internal_id=firm.project.pk, connection=firm.source, valid_from="2020-01-01"
    )
    fay, cleo = signed_in(desk.analyst(firm)), signed_in(controller(firm))
    shown = fay.get(reverse("master_record", args=["approvalstep", step.pk])).content.decode()
    assert f"model=approval_step&amp;key={step.pk}&amp;action=remove" in shown
    assert "action=end" in fay.get(reverse("master_record", args=["alias", alias.pk])).content.decode()
    begun = fay.post(
        f"{reverse('change_new')}?model=approval_step&key={step.pk}&action=remove",
        {"title": "Ana approves no more", "reason": "she left"},
    )
    form = fay.get(begun["Location"]).content.decode()
    assert 'value="remove" selected' in form
    change_set = ChangeSet.objects.latest("pk")
    where = reverse("change_line_new", args=[change_set.pk])
    for given in (
        {"model": "approval_step", "key": step.pk, "line_action": "remove"},
        {"model": "alias", "key": alias.pk, "line_action": "end", "valid_to": "2026-10-31"},
    ):
        assert fay.post(where, given).status_code == 303
    refused = fay.post(where, {"model": "role", "key": firm.role.pk, "line_action": "remove"})
    assert (refused.status_code, Role.objects.filter(pk=firm.role.pk).exists()) == (422, True)
    assert re.search(r"is named by .*rate.*; change it instead\.", refused.content.decode())
    assert act(fay, change_set, "submit").status_code == 303
    assert agree(cleo, change_set).status_code == 303
    assert not ApprovalStep.objects.filter(pk=step.pk).exists()
    assert str(Alias.objects.get(pk=alias.pk).valid_to) == "2026-10-31"
    assert ApprovalStep.history.filter(id=step.pk, history_type="-").exists()


def test_who_has_neither_password_nor_second_factor_decides_nothing_above_the_limit(firm: Firm) -> None:
    desk.ready(firm, 2)
    firm.entity.policy = {"step_up_amount": {"*": "100"}}
    firm.entity.save()
    user = world.user("cleo", GrantRole.CONTROLLER, firm.entity)
    user.set_unusable_password()
    user.save()
    fay, cleo = signed_in(desk.analyst(firm)), signed_in(user)
    change_set = write(fay, firm)
    act(fay, change_set, "submit")
    answer = agree(cleo, change_set)
    assert answer["Location"] == reverse("change_set", args=[change_set.pk])
    assert "neither a password nor a second factor" in page(cleo, change_set)
    assert ChangeSet.objects.get(pk=change_set.pk).state == "submitted"


def test_an_emergency_is_applied_at_once_and_reviewed_by_another_on_its_page(firm: Firm) -> None:
    controller(firm)
    other = signed_in(controller(firm, "carl"))
    cleo = Client()
    cleo.post(reverse("account_login"), {"login": "cleo", "password": PASSWORD})
    cleo.post(reverse("change_new"), {"title": "Close October", "reason": "wrong postings", "emergency": "on"})
    change_set = ChangeSet.objects.get()
    month = AccountingPeriod.objects.get(entity=firm.entity, code="2026-10")
    where = reverse("change_line_new", args=[change_set.pk])
    cleo.post(where, {"model": "period", "key": month.pk, "line_action": "change", "state": "closing"})
    assert act(cleo, change_set, "emergency").status_code == 422  # nobody lets go what they have not seen
    assert "takes effect at once" in page(cleo, change_set)
    asked = cleo.get(reverse("change_decide", args=[change_set.pk, "emergency"])).content.decode()
    assert "everybody who could have decided is told" in asked
    assert 'name="comment"' not in asked  # its reason is what is kept
    assert 'value="emergency"' not in page(signed_in(desk.analyst(firm)), change_set)
    again = act(cleo, change_set, "emergency", **hidden(page(cleo, change_set)))["Location"]
    assert "Apply at once" not in page(cleo, change_set)
    assert cleo.post(again, {"password": PASSWORD}).status_code == 303  # and it is looked at, as was asked
    month.refresh_from_db()
    assert month.state != "closing"
    text = page(cleo, change_set)
    assert "Would pass" in text
    assert "Apply at once" in text
    assert act(cleo, change_set, "emergency", **hidden(text)).status_code == 303
    month.refresh_from_db()
    assert month.state == "closing"
    assert "Emergency, to review" in other.get(reverse("approvals")).content.decode()
    assert act(other, change_set, "review", comment="right").status_code == 303
    assert "<q>right</q>" in page(cleo, change_set)


def test_the_inbox_says_when_nothing_waits_and_how_much_of_ones_own_does(firm: Firm) -> None:
    analyst = desk.analyst(firm)
    fay, cleo = signed_in(analyst), signed_in(controller(firm))
    change_set = write(fay, firm)
    assert "Nothing waits for you" in cleo.get(reverse("approvals")).content.decode()
    act(fay, change_set, "submit")
    for address in (reverse("approvals"), f"{reverse('changes')}?tab=open"):
        assert "1 of yours waits for" in fay.get(address).content.decode()
    text = cleo.get(f"{reverse('changes')}?tab=open").content.decode()
    assert 'data-shortcut="approve"' in text
    assert 'data-shortcut="approve"' not in fay.get(reverse("changes")).content.decode()


def test_who_holds_no_role_that_proposes_writes_nothing_and_another_entity_sees_nothing(firm: Firm) -> None:
    fay = signed_in(desk.analyst(firm))
    change_set = write(fay, firm)
    auditor = signed_in(world.user("otto", GrantRole.AUDITOR, firm.entity))
    assert auditor.get(reverse("change_new")).status_code == 403
    assert auditor.get(reverse("change_edit", args=[change_set.pk])).status_code == 403
    assert "Another rate" in page(auditor, change_set)
    assert act(auditor, change_set, "submit").status_code == 403
    assert act(auditor, change_set, "preview").status_code == 403
    gb = signed_in(world.user("gus", GrantRole.CONTROLLER, world.entity("GB", "GBP")))
    assert gb.get(reverse("change_set", args=[change_set.pk])).status_code == 404
    assert "Another rate" not in gb.get(reverse("changes")).content.decode()
    where = reverse("change_line_new", args=[change_set.pk])
    assert gb.get(where, {"model": "rate", "key": str(firm.rate.pk)}).status_code == 404


def test_lists_ask_as_often_for_many_change_sets_as_for_few(firm: Firm) -> None:
    analyst, client = desk.analyst(firm), signed_in(controller(firm))

    def some(count: int) -> None:
        for number in range(count):
            line = Line("rate", firm.rate.pk, "change", {"amount": str(200 + number)})
            changes.submit(changes.draft(by=analyst, title=f"{number}", reason="x", lines=[line]), analyst)

    addresses = (reverse("changes"), reverse("approvals"), f"{reverse('changes')}?facet=model")
    some(2)
    few = {address: queries(client, address) for address in addresses}
    some(10)
    assert all(queries(client, address) <= few[address] for address in addresses)


def queries(client: Client, address: str) -> int:
    """How many statements an answer costs, once everything is warm."""
    client.get(address)
    with CaptureQueriesContext(connection) as counted:
        assert client.get(address).status_code == 200
    return len(counted)


def test_a_policy_is_a_form_of_named_settings_and_the_one_that_changes_is_told(firm: Firm) -> None:
    firm.entity.policy = {"day_hours_max": 16, "step_up_amount": {"*": 100_000}}
    firm.entity.save()
    cleo = signed_in(controller(firm))
    cleo.post(reverse("change_new"), {"title": "Rates may differ a little", "reason": "agreed"})
    change_set = ChangeSet.objects.get()
    where = reverse("change_line_new", args=[change_set.pk])
    form = cleo.get(where, {"model": "entity", "key": str(firm.entity.pk)}).content.decode()
    assert 'name="policy.rate_tolerance"' in form
    assert "rate may differ from the agreed one, where the contract states no tolerance." in form
    assert "as by default: hold" in form
    assert "* = 100000" in form
    fields = {
        "model": "entity", "key": firm.entity.pk, "line_action": "change",
        "policy.day_hours_max": "16", "policy.step_up_amount": "* = 100000",
    }  # fmt: skip
    wrong = cleo.post(where, {**fields, "policy.rate_tolerance": "a little", "policy.escalate_days": "soon"})
    assert wrong.status_code == 422
    text = wrong.content.decode()
    assert text.count("; it must be a number that is not negative") == 2  # above the form, and at its field
    assert text.count("; it must be a whole number.") == 2
    given = {
        "policy.rate_tolerance": "1.00",
        "policy.held_back": "ACME = percent 5, days 365",
        "policy.memo_required": "true",
    }
    assert cleo.post(where, {**fields, **given}).status_code == 303
    policy = {
        "day_hours_max": 16, "step_up_amount": {"*": 100_000}, "rate_tolerance": "1.00", "memo_required": True,
        "held_back": {"ACME": {"percent": "5", "days": 365}},
    }  # fmt: skip
    assert change_set.lines.get().values == {"policy": policy}
    told = page(cleo, change_set)
    assert "Policy rate tolerance" in told
    assert "Policy day hours max" not in told


def test_a_project_that_is_added_without_a_status_is_said_to_be_open_on_no_day(firm: Firm) -> None:
    fay = desk.analyst(firm)
    project = {
        "code": "ACM-9",
        "name": "Audit",
        "customer": "ACME",
        "entity": firm.entity.code,
        "billing_model": "time_and_material",
    }
    alone = changes.Line("project", None, "add", project)
    change_set = changes.draft(by=fay, title="A project", reason="signed", lines=[alone])
    client = signed_in(fay)
    assert "ACM-9 has no status, so it is open on no day" in page(client, change_set)
    assert "?model=project_status&amp;action=add" in page(client, change_set)
    status = changes.Line(
        "project_status", None, "add", {"project": "ACM-9", "status": "open", "valid_from": "2026-10-01"}
    )
    changes.edit(change_set, fay, [alone, status])
    assert "has no status" not in page(client, change_set)
