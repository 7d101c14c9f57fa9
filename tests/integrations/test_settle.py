"""A doubt settled by hand: by a number that the target confirms, or by two people where it can say nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.urls import reverse

from integrations import outbox, registry
from integrations.errors import InDoubt, Unavailable
from integrations.models import Settlement
from integrations.outbox import settlements
from portal import audit, ledger
from portal.models import AuditEvent, Connection, GrantRole, Notification, Receipt, State, User
from tests import world
from tests.integrations import outbound
from tests.integrations.memory_target import BOOKS, Books, fails
from tests.invariants import assert_all_hold

pytestmark = pytest.mark.django_db
BLIND = {"find_by_key": False, "statement": False}


@pytest.fixture(autouse=True)
def _memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.CONNECTORS, "memory", "tests.integrations.memory_target.MemoryTarget")


class Desk:
    """An entry in doubt at a target that can do some things and not others, and two people who may settle it."""

    def __init__(self, *, booked: bool = True, **can: Any) -> None:
        self.erp: Connection = outbound.target(batch_size=1, **can)
        self.books: Books = BOOKS[self.erp.code]
        self.source = outbound.firm(self.erp)
        (self.entry,) = outbound.entries(self.source, 1)
        self.books.faults.append(fails(InDoubt("connection reset"), booked=booked))
        outbox.deliver(self.erp.pk)
        assert self.state == State.IN_DOUBT
        entity = outbound.entity_of(self.source)
        self.fay, self.gil = (world.user(name, GrantRole.ANALYST, entity) for name in ("fay", "gil"))
        self.address = reverse("entry_settle", args=[self.entry])

    @property
    def state(self) -> str:
        return outbound.state_of(self.entry).state

    def post(self, user: User, **data: Any) -> Any:
        """The form, sent by somebody."""
        client = Client()
        client.force_login(user)
        return client.post(self.address, data)

    def open(self) -> Settlement:
        return Settlement.objects.get(confirmed_at=None, dropped_at=None)

    def answer(self, user: User, act: str) -> Any:
        """The second person's answer to what stands open."""
        return self.post(user, act=act, settlement=self.open().pk, why="I see no such record")


# A target that can be asked


def test_the_number_is_asked_for_and_the_entry_is_posted_when_every_figure_is_right() -> None:
    desk = Desk()
    answer = desk.post(desk.fay, number="M-1", reason="found in the time list of that day")
    assert (answer.status_code, answer["Location"]) == (303, reverse("entry", args=[desk.entry]))
    assert desk.state == State.POSTED
    event = AuditEvent.objects.get(action="entry-adopted")
    assert (event.actor_name, event.reason) == ("fay", "found in the time list of that day")
    assert not Settlement.objects.exists()
    assert_all_hold()


def test_a_wrong_number_or_a_target_out_of_reach_changes_nothing_and_says_so() -> None:
    desk = Desk()
    wrong = desk.post(desk.fay, number="M-7", reason="a guess")
    assert wrong.status_code == 422
    assert "holds this entry as M-1, not as M-7" in wrong.content.decode()
    desk.books.find_error = Unavailable("503")
    away = desk.post(desk.fay, number="M-1", reason="found")
    assert away.status_code == 422
    assert "could not be asked, and nothing was changed" in away.content.decode()
    assert "found" in away.content.decode()  # what was typed stays
    assert desk.state == State.IN_DOUBT


def test_a_target_without_look_up_confirms_by_its_statement() -> None:
    desk = Desk(find_by_key=False)
    assert desk.post(desk.fay, verdict="booked", number="M-1", reason="seen").status_code == 303
    assert desk.state == State.POSTED
    assert desk.books.finds == []


def test_a_number_and_a_reason_are_needed() -> None:
    desk = Desk(**BLIND)
    for data in (
        {"verdict": "booked", "number": "", "reason": "x"},
        {"verdict": "booked", "number": "M-1", "reason": " "},
        {},
    ):
        assert desk.post(desk.fay, **data).status_code == 422
    assert not Settlement.objects.exists()


# A target that can say nothing: two people


@pytest.mark.case(125)
def test_where_the_target_can_say_nothing_a_second_person_confirms_the_number() -> None:
    desk = Desk(**BLIND)
    outbox.settle_doubts(desk.erp.pk, [desk.entry])
    desk.post(desk.fay, verdict="booked", number="M-1", reason="seen in the day's list")
    assert desk.state == State.IN_DOUBT
    assert Notification.objects.filter(person=desk.gil, url=desk.address).exists()
    assert desk.answer(desk.fay, "confirm").status_code == 422
    assert desk.state == State.IN_DOUBT
    assert desk.answer(desk.gil, "confirm").status_code == 303
    assert desk.state == State.ACCEPTED  # not posted: nothing was read back
    assert Receipt.objects.get(entry=desk.entry).number == "M-1"
    said = Settlement.objects.get()
    assert (said.by, said.confirmed_by) == (desk.fay, desk.gil)
    actions = AuditEvent.objects.order_by("pk").values_list("action", "actor_name")
    assert list(actions.filter(action__startswith="doubt")) == [
        ("doubt-settled-by-one", "fay"),
        ("doubt-settled-by-two", "gil"),
    ]
    assert audit.verify() == []
    assert not desk.source.source_entries.filter(holds__closed_at=None, holds__isnull=False).exists()


def test_what_two_people_do_not_find_goes_again_under_the_same_key() -> None:
    desk = Desk(booked=False, **BLIND)
    key = desk.books.pushes[0]
    desk.post(desk.fay, verdict="absent", reason="not in the day's list")
    assert desk.answer(desk.gil, "confirm").status_code == 303
    assert desk.state == State.READY
    outbound.make_due([desk.entry])
    outbox.deliver(desk.erp.pk)
    assert desk.books.pushes[-1] == key
    assert len(desk.books.records) == 1


def test_what_the_statement_shows_cannot_be_said_to_be_absent() -> None:
    desk = Desk(find_by_key=False)
    answer = desk.post(desk.fay, verdict="absent", reason="not in the list")
    assert answer.status_code == 422
    assert "shows it as record M-1; settle it by that number" in answer.content.decode()


def test_a_second_person_who_does_not_find_it_so_leaves_the_entry_in_doubt() -> None:
    desk = Desk(**BLIND)
    desk.post(desk.fay, verdict="booked", number="M-1", reason="seen")
    desk.answer(desk.gil, "take-back")
    assert desk.state == State.IN_DOUBT
    assert Settlement.objects.get().dropped_reason == "I see no such record"
    desk.post(desk.gil, verdict="booked", number="M-2", reason="seen")
    assert desk.open().by == desk.gil


def test_the_database_itself_holds_that_they_are_two_and_that_what_was_said_stays() -> None:
    desk = Desk(**BLIND)
    desk.post(desk.fay, verdict="booked", number="M-1", reason="seen")
    said = desk.open()

    def refused(**values: Any) -> None:
        with pytest.raises(IntegrityError), transaction.atomic():
            Settlement.objects.filter(pk=said.pk).update(**values)

    refused(confirmed_by=desk.fay, confirmed_at=said.at)
    refused(number="M-2")
    refused(reason="another")
    with pytest.raises(IntegrityError), transaction.atomic():
        Settlement.objects.filter(pk=said.pk).delete()
    desk.answer(desk.gil, "confirm")
    refused(dropped_at=said.at)


def test_a_word_about_an_entry_that_moved_since_counts_no_more() -> None:
    desk = Desk(**BLIND)
    desk.post(desk.fay, verdict="absent", reason="not there")
    said = desk.open()
    fence = outbound.state_of(desk.entry).fence
    ledger.retry([(desk.entry, fence)], from_state=State.IN_DOUBT, after_seconds=0, actor="x", reason="sent again")
    with pytest.raises(outbox.NotConfirmed, match="only one in doubt"):
        settlements.confirm(said.pk, desk.gil)
    answer = desk.post(desk.gil, act="confirm", settlement=said.pk)
    assert answer.status_code == 422
    assert "There is no doubt to settle" in answer.content.decode()


def test_only_analysts_and_controllers_of_the_entity_settle() -> None:
    desk = Desk(**BLIND)
    entity = outbound.entity_of(desk.source)
    for role in (GrantRole.PROJECT_MANAGER, GrantRole.AUDITOR, GrantRole.ADMIN):
        person = world.user(f"p-{role}", role, entity)
        assert desk.post(person, verdict="absent", reason="x").status_code == 403
    foreign = world.user("eve", GrantRole.CONTROLLER, world.entity("GB", "GBP"))
    assert desk.post(foreign, verdict="absent", reason="x").status_code == 404
    assert not Settlement.objects.exists()
    elsewhere = Client()
    elsewhere.force_login(foreign)
    assert elsewhere.get(desk.address).status_code == 404


def test_the_banner_tells_the_second_person_what_was_said() -> None:
    desk = Desk(**BLIND)
    desk.post(desk.fay, verdict="booked", number="M-1", reason="seen")
    client = Client()
    client.force_login(desk.gil)
    text = client.get(reverse("entry", args=[desk.entry])).content.decode()
    assert "fay says that it is booked as M-1; a second person has to confirm it." in text
    page = client.get(desk.address).content.decode()
    assert "I looked, and it is so" in page
    assert "it is not posted, because nothing was read back" in page


@pytest.mark.django_db(transaction=True)
def test_two_people_confirm_at_once_while_a_colleague_takes_it_back_and_one_thing_happens() -> None:
    desk = Desk(**BLIND)
    hal = world.user("hal", GrantRole.CONTROLLER, outbound.entity_of(desk.source))
    said = settlements.say(desk.entry, "booked", desk.fay, "seen", number="M-1")
    came: list[str] = []
    gate = threading.Barrier(3)

    def act(do: Callable[[], None], name: str) -> None:
        gate.wait()
        try:
            do()
            came.append(name)
        except outbox.NotConfirmed:
            pass
        finally:
            connection.close()

    acts = [
        (lambda: settlements.confirm(said.pk, desk.gil), "confirmed"),
        (lambda: settlements.confirm(said.pk, hal), "confirmed"),
        (lambda: settlements.take_back(said.pk, hal, "no"), "dropped"),
    ]
    threads = [threading.Thread(target=act, args=one) for one in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(came) == 1
    assert desk.state == (State.ACCEPTED if came == ["confirmed"] else State.IN_DOUBT)
    assert Receipt.objects.count() == (came == ["confirmed"])
    assert desk.books.hours() == Decimal(8)


@pytest.mark.django_db(transaction=True)
def test_a_look_up_that_settles_while_a_person_names_the_number_books_it_once() -> None:
    desk = Desk()
    gate = threading.Barrier(2)
    outcomes: list[str] = []

    def act(do: Callable[[], object]) -> None:
        gate.wait()
        try:
            do()
            outcomes.append("done")
        except outbox.NotConfirmed as refusal:
            outcomes.append(str(refusal))
        finally:
            connection.close()

    threads = [
        threading.Thread(target=act, args=[lambda: outbox.check_now([desk.entry])]),
        threading.Thread(target=act, args=[lambda: outbox.adopt(desk.entry, "M-1", desk.fay, "found")]),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outbox.check_now([desk.entry])
    assert desk.state == State.POSTED
    assert Receipt.objects.count() == 1
    assert desk.books.by_key().most_common(1)[0][1] == 1
    assert_all_hold()
