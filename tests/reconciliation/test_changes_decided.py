"""Deciding on change sets where entries move, reach far or are booked: what was seen is what is done, counted for real."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from portal import audit
from portal.models import (
    AccountingPeriod,
    Alias,
    AuditEvent,
    Customer,
    EntityGrant,
    GrantRole,
    MasterChange,
    Notification,
    User,
)
from reconciliation import changes
from reconciliation.changes import ChangeRefused, Line, drafting, measuring
from reconciliation.models import ChangeSet
from reconciliation.sql import changes as changes_sql
from tests import bills, world
from tests.reconciliation import desk
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm, build, post

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


@pytest.fixture
def zoe(firm: Firm) -> User:
    return world.user("zoe", GrantRole.CONTROLLER, everywhere=True)


def rate_line(firm: Firm, amount: str = "125.00") -> Line:
    return Line("rate", firm.rate.pk, "change", {"amount": amount})


def submitted(by: User, *lines: Line, **more: Any) -> ChangeSet:
    return changes.submit(changes.draft(by=by, title="Another rate", reason="a letter", lines=lines, **more), by)


def page(person: User, change_set: ChangeSet) -> str:
    client = Client()
    client.force_login(person)
    return client.get(reverse("change_set", args=[change_set.pk])).content.decode()


def unrelated_word() -> None:
    """Something else in the master data changed: no figure moves, and the dry-run was made before it."""
    MasterChange.objects.create(
        kind=MasterChange.Kind.CUSTOMER, internal_id=0, changed_at=timezone.now(), handled_at=timezone.now()
    )


def test_what_ends_without_a_day_ends_on_the_day_that_was_shown_however_late_it_is_approved(
    firm: Firm, fay: User, zoe: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    alias = firms.alias("project", desk.MISTYPED, firm.project.pk)
    change_set = submitted(fay, Line("alias", alias.pk, "end"))
    day = timezone.localdate() - timedelta(days=1)
    shown: Any = change_set.lines.get().after
    assert shown["valid_to"] == day.isoformat()
    later = timezone.localdate() + timedelta(days=3)
    monkeypatch.setattr(timezone, "localdate", lambda *_: later)
    changes.apply(changes.approve(change_set, zoe))
    assert change_set.state == "applied", change_set.problem
    assert Alias.objects.get(pk=alias.pk).valid_to == day
    assert change_set.lines.get().values == {}  # what was asked stays as it was asked


def test_booked_entries_are_counted_once_more_when_it_is_applied_and_a_promise_that_was_not_kept_is_told(
    firm: Firm, fay: User, cleo: User
) -> None:
    first, second = desk.ready(firm, 2)
    post([first])
    change_set = changes.approve(submitted(fay, rate_line(firm)), cleo)
    assert (change_set.preview["booked"]["entries"], change_set.preview["repriced"]["entries"]) == (1, 1)
    post([second])  # it went between the approval and the day
    changes.apply(change_set)
    assert (change_set.result["booked"]["entries"], change_set.result["repriced"]["entries"]) == (2, 0)
    told: Any = AuditEvent.objects.get(action="change.came-otherwise")
    assert (told.before["booked"]["entries"], told.after["booked"]["entries"]) == (1, 2)
    assert "This is not what the dry-run said" in page(fay, change_set)
    kept = changes.apply(changes.approve(submitted(fay, rate_line(firm, "126.00")), cleo))
    assert kept.result["booked"]["entries"] == 2
    assert kept.result == kept.preview
    assert "Exactly what the dry-run said" in page(fay, kept)
    assert AuditEvent.objects.filter(action="change.came-otherwise").count() == 1


def test_booked_entries_beyond_those_that_are_looked_at_are_told_and_count_as_above_the_limit(
    firm: Firm, fay: User, cleo: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(desk.ready(firm, 2))
    monkeypatch.setattr(measuring, "MOST_BOOKED", 1)
    change_set = submitted(fay, rate_line(firm))
    booked = change_set.preview["booked"]
    assert (booked["entries"], booked["looked_at"], booked["is_cut"]) == (1, 1, True)
    assert "More booked entries may say something else" in page(fay, change_set)
    with pytest.raises(changes.SignInAgain, match="the older ones were not counted"):
        changes.approve(change_set, cleo)
    assert changes.approve(change_set, cleo, signed_in_again=True).state == "approved"


def test_what_reaches_far_and_moved_is_looked_at_by_a_worker_who_approves_what_says_the_same(
    firm: Firm, fay: User, cleo: User, zoe: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.ready(firm, 2)
    monkeypatch.setattr(drafting, "INLINE", 1)
    change_set = submitted(fay, rate_line(firm))
    changes.run(change_set.pk)
    change_set.refresh_from_db()
    unrelated_word()
    with monkeypatch.context() as patched:
        patched.setattr(measuring, "dry_run", lambda *_args, **_more: pytest.fail("nobody waits for this"))
        changes.approve(change_set, cleo, "read the letter")
        assert (change_set.state, change_set.agreed_by, change_set.decided_by) == ("submitted", cleo, None)
        with pytest.raises(ChangeRefused, match="cleo has agreed"):
            changes.approve(change_set, zoe)
    assert "cleo has agreed. Entries moved" in page(fay, change_set)
    assert [pk for pk, _ in changes.due()] == [change_set.pk]
    changes.run(change_set.pk)
    change_set.refresh_from_db()
    assert (change_set.state, change_set.decided_by, change_set.comment) == ("applied", cleo, "read the letter")
    assert AuditEvent.objects.get(action="change.approved").actor == cleo


def test_what_reaches_far_and_says_something_else_by_then_is_not_approved_and_who_agreed_is_told(
    firm: Firm, fay: User, cleo: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.ready(firm, 2)
    monkeypatch.setattr(drafting, "INLINE", 1)
    change_set = submitted(fay, rate_line(firm))
    changes.run(change_set.pk)
    change_set.refresh_from_db()
    desk.ready(firm, 1, start=6000)
    changes.approve(change_set, cleo)
    changes.run(change_set.pk)
    change_set.refresh_from_db()
    assert (change_set.state, change_set.agreed_by, change_set.decided_by) == ("submitted", None, None)
    assert change_set.preview["repriced"]["entries"] == 3
    told = Notification.objects.get(person=cleo, subject="Look again: Another rate")
    assert "2 entries would have got another price, 3 would now" in told.note
    assert changes.due() == []
    changes.preview(change_set)  # asked for once more, it is left to a worker too
    assert change_set.previewed_at is None
    with pytest.raises(ChangeRefused, match="more open entries than are looked at while you wait"):
        changes.preview(changes.draft(by=fay, title="x", reason="y", lines=[rate_line(firm, "1")]))


def test_what_was_booked_or_billed_since_the_dry_run_is_looked_at_once_more(firm: Firm, fay: User, cleo: User) -> None:
    posted = bills.posted(firm, 2)
    change_set = submitted(fay, rate_line(firm))
    assert (change_set.preview["booked"]["entries"], change_set.preview["booked"]["billed"]) == (2, 0)
    bills.allocate(bills.bill(firm), posted[0])
    with pytest.raises(changes.Moved, match="0 of the booked entries stood on bills, 1 do now"):
        changes.approve(change_set, cleo)
    change_set.refresh_from_db()
    assert change_set.preview["booked"]["billed"] == 1
    bills.posted(firm, 1, first=20)
    with pytest.raises(changes.Moved, match="2 entries would have needed a reversal, 3 would now"):
        changes.approve(change_set, cleo)
    change_set.refresh_from_db()
    assert changes.approve(change_set, cleo).state == "approved"


def test_entries_that_come_in_and_stay_as_they_are_do_not_keep_a_far_reaching_change_from_its_approver(
    firm: Firm, fay: User, cleo: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.ready(firm, 2)
    monkeypatch.setattr(drafting, "INLINE", 1)
    change_set = submitted(fay, Line("project", firm.project.pk, "change", {"name": "Another name"}))
    changes.run(change_set.pk)
    change_set.refresh_from_db()
    assert change_set.preview["still_ready"]["entries"] == 2
    desk.ready(firm, 1, start=6000)  # work comes in all day; nothing happens to it
    changes.approve(change_set, cleo)
    assert change_set.agreed_by == cleo
    changes.run(change_set.pk)
    change_set.refresh_from_db()
    assert (change_set.state, change_set.decided_by) == ("applied", cleo)
    assert change_set.preview["still_ready"]["entries"] == 3


def test_an_emergency_that_reaches_far_is_seen_before_it_goes_and_then_needs_no_second_person(
    firm: Firm, cleo: User, zoe: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.ready(firm, 2)
    monkeypatch.setattr(drafting, "INLINE", 1)
    change_set = changes.draft(by=cleo, title="Now", reason="wrong rate", lines=[rate_line(firm)], emergency=True)
    changes.declare_emergency(change_set, cleo, content=changes.hash_of(change_set), signed_in_again=True)
    assert (change_set.state, change_set.preview) == ("submitted", {})
    assert not changes.may_declare(change_set, cleo)
    assert 'value="emergency"' not in page(cleo, change_set)
    with pytest.raises(ChangeRefused, match="dry-run is not made yet"):
        changes.declare_emergency(change_set, cleo, content=change_set.content_hash, signed_in_again=True)
    changes.run(change_set.pk)
    stale = ChangeSet.objects.get(pk=change_set.pk)
    stale.fingerprint = "another"
    with pytest.raises(changes.Moved):
        changes.declare_emergency(stale, cleo, content=stale.content_hash, signed_in_again=True)
    change_set.refresh_from_db()
    assert 'value="emergency"' in page(cleo, change_set)
    assert 'value="emergency"' not in page(zoe, change_set)
    changes.apply(changes.declare_emergency(change_set, cleo, content=change_set.content_hash, signed_in_again=True))
    assert (change_set.state, change_set.decided_by) == ("applied", None)
    assert change_set.result == change_set.preview
    assert change_set.preview["repriced"]["entries"] == 2


def test_an_emergency_is_seen_before_it_goes_and_goes_only_as_it_was_seen(firm: Firm, cleo: User, zoe: User) -> None:
    desk.ready(firm, 2)
    change_set = changes.draft(by=cleo, title="Now", reason="wrong rate", lines=[rate_line(firm)], emergency=True)
    content = changes.hash_of(change_set)
    changes.declare_emergency(change_set, cleo, content=content, signed_in_again=True)
    assert (change_set.state, change_set.preview["repriced"]["entries"]) == ("draft", 2)
    changes.edit(ChangeSet.objects.get(pk=change_set.pk), cleo, [rate_line(firm, "12.50")])
    with pytest.raises(ChangeRefused, match="not what you looked at any more"):
        changes.declare_emergency(change_set, cleo, content=content, signed_in_again=True)
    change_set.refresh_from_db()
    content = changes.hash_of(change_set)
    changes.declare_emergency(change_set, cleo, content=content, signed_in_again=True)
    desk.ready(firm, 1, start=6000)
    with pytest.raises(changes.Moved, match="2 entries would have got another price, 3 would now"):
        changes.declare_emergency(change_set, cleo, content=content, signed_in_again=True)
    change_set.refresh_from_db()
    assert (change_set.state, change_set.preview["repriced"]["entries"]) == ("draft", 3)
    changes.apply(changes.declare_emergency(change_set, cleo, content=content, signed_in_again=True))
    assert (change_set.state, change_set.result) == ("applied", change_set.preview)


def test_who_declares_an_emergency_that_somebody_else_wrote_is_named_as_who_applied_it(
    firm: Firm, fay: User, cleo: User, zoe: User
) -> None:
    month = AccountingPeriod.objects.get(entity=firm.entity, code="2026-10")
    line = Line("period", month.pk, "change", {"state": "closing"})
    change_set = changes.draft(by=fay, title="Close now", reason="wrong postings", lines=[line], emergency=True)
    changes.apply(desk.declared(change_set, cleo))
    assert change_set.applied_by == cleo
    assert AuditEvent.objects.get(action="change.applied").actor == cleo
    assert month.history.order_by("-history_id")[0].history_user == cleo


def test_a_word_that_drew_its_number_earlier_and_is_committed_later_is_seen(firm: Firm, fay: User, cleo: User) -> None:
    with connection.cursor() as cursor:  # an intake that has not ended yet
        cursor.execute("SELECT nextval(pg_get_serial_sequence('portal_masterchange', 'id'))")
        [number] = cursor.fetchone()
    unrelated_word()
    word = changes_sql.last_word()
    MasterChange.objects.create(
        pk=number, kind=MasterChange.Kind.CUSTOMER, internal_id=0, changed_at=timezone.now(), handled_at=timezone.now()
    )
    assert changes_sql.last_word() != word


def test_a_decision_about_several_entities_is_read_by_who_holds_a_role_in_each_of_them(firm: Firm, zoe: User) -> None:
    gb = world.entity("GB", "GBP")
    theirs = Customer.objects.create(code="HUSH", name="Hush", entity=gb, currency="GBP")
    una = desk.analyst(firm, "una")
    EntityGrant.objects.create(user=una, entity=gb, role=GrantRole.AUDITOR, valid_from=date(2020, 1, 1))
    fay, gil = desk.analyst(firm), world.user("gil", GrantRole.CONTROLLER, gb)
    both = submitted(zoe, rate_line(firm), Line("customer", theirs.pk, "change", {"name": "Hush Ltd"}))
    told = AuditEvent.objects.filter(object_type="changeset", object_id=str(both.pk))
    assert {(event.entity, *event.entities) for event in told} == {(None, firm.entity.pk, gb.pk)}
    assert [told.filter(pk__in=AuditEvent.objects.visible_to(one)).count() for one in (una, fay, gil)] == [2, 0, 0]
    assert "submitted</a> by zoe" in page(una, both)
    assert audit.verify() == []
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("UPDATE portal_auditevent SET entities = %s WHERE id = %s", [[firm.entity.pk], told[0].pk])
        cursor.execute("SET LOCAL session_replication_role = origin")
    assert "was changed after it was written" in audit.verify()[0]
