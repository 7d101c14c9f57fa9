"""Notices: who is told, who is not, and that nothing is said twice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from portal import notifications
from portal.models import Notification, NotificationKind, User
from portal.notifications import Notice, notify, notify_each
from tests import world

pytestmark = pytest.mark.django_db
ASSIGNED, ESCALATED = NotificationKind.ASSIGNED, NotificationKind.ESCALATED


def person(name: str, owner: Any, **preferences: Any) -> User:
    made = world.user(name, owner=owner)
    made.email, made.preferences = f"{name}@firm.example", {"notifications": preferences}
    made.save()
    return made


def told(user: User) -> list[str]:
    return list(Notification.objects.filter(person=user).order_by("pk").values_list("subject", flat=True))


def test_people_of_the_entity_are_told_and_whoever_did_it_is_not() -> None:
    us = world.entity()
    ana, ben = person("ana", us), person("ben", us)
    assert notify([ana, ben], ASSIGNED, "A cause is yours", url="/exceptions/1/", entity=us, by=ben) == 1
    assert (told(ana), told(ben)) == (["A cause is yours"], [])


def test_nobody_is_told_of_an_entity_in_which_they_hold_no_role() -> None:
    us, gb = world.entity(), world.entity("GB", "GBP")
    ana, gus, all_over = person("ana", us), person("gus", gb), world.user("eve", everywhere=True)
    ended = person("old", us)
    ended.grants.update(valid_to=timezone.localdate() - timedelta(days=1))
    gone = person("gone", us)
    User.objects.filter(pk=gone.pk).update(is_active=False)
    notify([ana, gus, all_over, ended, gone], ASSIGNED, "About US", url="/", entity=us)
    assert [bool(told(one)) for one in (ana, gus, all_over, ended, gone)] == [True, False, True, False, False]


def test_what_was_rolled_back_is_told_to_nobody() -> None:
    us = world.entity()
    ana = person("ana", us)

    def assign_and_fail() -> None:
        with transaction.atomic():
            notify([ana], ASSIGNED, "Never happened", url="/", entity=us)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        assign_and_fail()
    assert told(ana) == []


def test_an_unread_notice_is_not_repeated_and_a_read_one_is() -> None:
    us = world.entity()
    ana = person("ana", us)
    for _ in range(2):
        notify([ana, ana], ASSIGNED, "Yours", url="/", entity=us, key="cause:1")
    assert told(ana) == ["Yours"]
    Notification.objects.update(read_at=timezone.now())
    notify([ana], ASSIGNED, "Yours", url="/", entity=us, key="cause:1")
    assert told(ana) == ["Yours", "Yours"]


def test_a_kind_that_a_person_switched_off_is_not_told() -> None:
    us = world.entity()
    ana = person("ana", us, kinds_off=["assigned", "nonsense"])
    notify([ana], ASSIGNED, "Yours", url="/", entity=us)
    notify([ana], ESCALATED, "Late", url="/", entity=us)
    assert told(ana) == ["Late"]


def test_a_notice_of_a_lost_entity_is_no_longer_seen() -> None:
    us, gb = world.entity(), world.entity("GB", "GBP")
    ana = person("ana", us)
    ana.grants.create(entity=gb, role="analyst", valid_from="2020-01-01")
    notify([ana], ASSIGNED, "About US", url="/", entity=us)
    notify([ana], ASSIGNED, "About GB", url="/", entity=gb)
    ana.grants.filter(entity=us).delete()
    assert [str(one) for one in Notification.objects.visible_to(ana)] == ["About GB"]
    other = person("ben", gb)
    assert not Notification.objects.visible_to(other).exists()


def test_a_notice_leads_to_a_page_of_this_site_only() -> None:
    us = world.entity()
    for url in ("https://evil.example/", "//evil.example/", "exceptions/"):
        with pytest.raises(ValueError, match="page of this site"):
            notify([person(f"p{len(url)}", us)], ASSIGNED, "Look", url=url, entity=us)


def test_a_thousand_notices_take_as_many_statements_as_one() -> None:
    us = world.entity()
    people = [person(f"p{number}", us) for number in range(20)]

    def asked(count: int) -> int:
        with CaptureQueriesContext(connection) as counted:
            notify_each(
                [
                    Notice(person_id=one.pk, kind=ASSIGNED, subject=f"{number}", url="/", entity_id=us.pk)
                    for one in people
                    for number in range(count)
                ]
            )
        return len(counted)

    assert asked(1) == asked(50)
    assert Notification.objects.count() == 20 * 51


def test_mail_is_due_by_what_the_person_wishes() -> None:
    now = timezone.now()
    gathered, daily, never = (
        notifications.wishes({"notifications": {"mail": mail}}) for mail in ("gathered", "daily", "off")
    )
    assert gathered.due(ASSIGNED, now) == now + timedelta(minutes=15)
    assert gathered.due(ESCALATED, now) == now
    due = daily.due(ASSIGNED, now)
    assert due is not None
    assert (due.hour, due.minute) == (7, 0)
    assert timedelta(0) < due - now <= timedelta(days=1)
    assert never.due(ESCALATED, now) is None
    assert notifications.wishes({"notifications": {"mail": "by pigeon"}}).mail == "gathered"


def test_new_mail_settings_hold_for_what_was_not_mailed_yet() -> None:
    us = world.entity()
    ana = person("ana", us)
    notify([ana], ASSIGNED, "Yours", url="/", entity=us)
    notify([ana], ESCALATED, "Late", url="/", entity=us)
    ana.preferences = {"notifications": {"mail": "daily", "urgent_at_once": False}}
    notifications.reschedule(ana)
    assert {one.mail_due_at.hour for one in Notification.objects.all() if one.mail_due_at} == {7}
    ana.preferences = {"notifications": {"mail": "off"}}
    notifications.reschedule(ana)
    assert set(Notification.objects.values_list("mail_due_at", flat=True)) == {None}


def test_somebody_without_an_address_gets_notices_and_no_mail() -> None:
    us = world.entity()
    ana = world.user("ana", owner=us)
    notify([ana], ASSIGNED, "Yours", url="/", entity=us)
    assert Notification.objects.get().mail_due_at is None
