"""Mail that gathers notices: few, at most once, and never about what the person may no longer see."""

from __future__ import annotations

import smtplib
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.base import BaseEmailBackend
from django.db import connection
from django.test import Client
from django.utils import timezone

from portal import digests
from portal.models import Digest, Notification, NotificationKind, User
from portal.notifications import notify
from tests import world

pytestmark = pytest.mark.django_db
LONG_AGO = timedelta(hours=1)


@pytest.fixture
def us() -> Any:
    return world.entity()


@pytest.fixture
def ana(us: Any) -> User:
    made = world.user("ana", owner=us)
    made.email = "ana@firm.example"
    made.save()
    return made


def told(
    person: User, subject: str, entity: Any, kind: NotificationKind = NotificationKind.ASSIGNED, **more: Any
) -> None:
    notify([person], kind, subject, url="/exceptions/7/", entity=entity, **more)


def wait() -> None:
    """A quarter of an hour and more goes by."""
    Notification.objects.filter(mail_due_at__isnull=False).update(mail_due_at=timezone.now() - LONG_AGO)
    Digest.objects.update(claimed_at=timezone.now() - 2 * LONG_AGO, lease_until=timezone.now() - LONG_AGO)


def deliver() -> list[str]:
    return [digest.state for person in digests.due() if (digest := digests.send(person))]


def test_many_notices_become_one_mail_in_text_and_html_with_links(us: Any, ana: User, settings: Any) -> None:
    settings.SITE_URL = "https://tieout.firm.example"
    for number in range(3):
        told(ana, f"Cause {number} <b>& co", us, note="12 entries")
    told(ana, "Ben asks you", us, NotificationKind.MENTIONED)
    assert digests.due() == [], "they are gathered first"
    wait()
    assert deliver() == ["sent"]
    [sent] = mail.outbox
    assert sent.subject == "Tieout: 4 things concern you — Assigned to me (3), I was mentioned (1)"
    assert sent.to == ["ana@firm.example"]
    assert "Cause 0 <b>& co" in str(sent.body)
    assert "https://tieout.firm.example/exceptions/7/" in str(sent.body)
    assert "https://tieout.firm.example/settings/#notifications" in str(sent.body)
    [html] = [str(part.content) for part in sent.alternatives]  # type: ignore[attr-defined]
    assert "Cause 0 &lt;b&gt;&amp; co" in html
    for remote in ("<img", "<script", "<link", "src=", "style="):
        assert remote not in html
    assert sent.extra_headers["List-Unsubscribe"] == "<https://tieout.firm.example/settings/#notifications>"
    wait()
    assert deliver() == []
    assert len(mail.outbox) == 1


def test_nobody_gets_two_mails_within_a_quarter_of_an_hour(us: Any, ana: User) -> None:
    told(ana, "Late", us, NotificationKind.ESCALATED)
    assert deliver() == ["sent"], "what is escalated does not wait"
    told(ana, "Later", us, NotificationKind.ESCALATED)
    assert deliver() == []
    wait()
    assert deliver() == ["sent"]
    assert [("Later" in str(one.body)) for one in mail.outbox] == [False, True]


def test_what_was_read_on_the_site_is_not_mailed(us: Any, ana: User) -> None:
    told(ana, "Read already", us)
    told(ana, "Not yet", us)
    Notification.objects.filter(subject="Read already").update(read_at=timezone.now())
    wait()
    assert deliver() == ["sent"]
    assert "Read already" not in str(mail.outbox[0].body)


def test_no_word_goes_out_about_an_entity_that_the_person_lost(us: Any, ana: User) -> None:
    gb = world.entity("GB", "GBP")
    ana.grants.create(entity=gb, role="analyst", valid_from="2020-01-01")
    told(ana, "Secret of US", us)
    told(ana, "News of GB", gb)
    ana.grants.filter(entity=us).delete()
    wait()
    assert deliver() == ["sent"]
    assert "Secret" not in str(mail.outbox[0].body)
    ana.grants.all().delete()
    told(ana, "Nothing", gb)
    wait()
    assert deliver() == []


class Broken(BaseEmailBackend):
    """A mail server that is not there, refuses, or hangs up after it has the text."""

    how: str = ""

    def open(self) -> bool:
        if self.how == "away":
            raise ConnectionRefusedError("nobody there")
        return True

    def send_messages(self, email_messages: Any) -> int:
        if self.how == "refuses":
            raise smtplib.SMTPRecipientsRefused({"ana@firm.example": (550, b"no such person")})
        raise smtplib.SMTPServerDisconnected("the line broke")


@pytest.fixture
def broken(settings: Any) -> Any:
    settings.EMAIL_BACKEND = "tests.portal.test_digests.Broken"
    return Broken


@pytest.mark.parametrize("how", ["away", "refuses"])
def test_what_the_server_did_not_take_goes_into_a_later_mail(
    us: Any, ana: User, broken: Any, settings: Any, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(Broken, "how", how)
    told(ana, "Yours", us)
    wait()
    assert deliver() == ["refused"]
    assert deliver() == [], "and not at once"
    wait()
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    assert deliver() == ["sent"]
    assert "Yours" in str(mail.outbox[0].body)


def test_a_mail_in_doubt_is_never_sent_again_and_the_inbox_says_so(
    us: Any, ana: User, broken: Any, settings: Any
) -> None:
    told(ana, "Yours", us)
    wait()
    assert deliver() == ["in_doubt"]
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    wait()
    assert deliver() == []
    assert mail.outbox == []
    client = Client()
    client.force_login(ana)
    page = client.get("/notifications/").content.decode()
    assert "may not have reached you" in page
    assert "Yours" in page


def test_a_worker_that_dies_while_sending_leaves_a_mail_in_doubt(us: Any, ana: User, monkeypatch: Any) -> None:
    told(ana, "Yours", us)
    wait()

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(digests, "_mail", die)
    with pytest.raises(KeyboardInterrupt):
        digests.send(ana.pk)
    assert digests.recover() == 0, "its lease holds"
    wait()
    assert digests.recover() == 1
    assert Digest.objects.get().state == "in_doubt"
    monkeypatch.undo()
    assert deliver() == []


@pytest.mark.django_db(transaction=True)
def test_of_two_workers_one_sends() -> None:
    us = world.entity()
    ana = world.user("ana", owner=us)
    ana.email = "ana@firm.example"
    ana.save()
    told(ana, "Yours", us)
    wait()
    together = threading.Barrier(2)

    def work() -> None:
        try:
            together.wait()
            digests.send(ana.pk)
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert Digest.objects.get().state == "sent"
    assert len(mail.outbox) == 1


def test_the_bell_counts_and_says_each_notice_once(us: Any, ana: User) -> None:
    client = Client()
    client.force_login(ana)
    told(ana, "Old news", us)
    first = client.get("/notifications/bell/", headers={"HX-Request": "true"})
    assert "1 unread" in first.content.decode()
    assert "HX-Trigger" not in first, "what was there before is counted, not announced"
    told(ana, "Fresh news", us)
    assert "Fresh news" in client.get("/notifications/bell/", headers={"HX-Request": "true"})["HX-Trigger"]
    again = client.get("/notifications/bell/", headers={"HX-Request": "true"})
    assert "HX-Trigger" not in again
    assert "2 unread" in again.content.decode()


def test_a_notice_is_read_when_it_is_opened_or_put_aside(us: Any, ana: User) -> None:
    client = Client()
    client.force_login(ana)
    told(ana, "One", us)
    told(ana, "Two", us)
    one, two = Notification.objects.order_by("pk")
    opened = client.get(f"/notifications/{one.pk}/")
    assert (opened.status_code, opened["Location"]) == (303, "/exceptions/7/")
    client.post("/notifications/", {"action": "read", "selected": two.pk})
    assert not Notification.objects.filter(read_at=None).exists()
    other = world.user("ben", owner=us)
    told(other, "Not yours", us)
    client.post("/notifications/", {"action": "read", "all_matching": "1"})
    client.post("/notifications/", {"action": "read", "selected": Notification.objects.latest("pk").pk})
    assert Notification.objects.filter(read_at=None).count() == 1
