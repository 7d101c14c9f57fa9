"""E-mails that gather a person's notices: at most one in a quarter of an hour, or one a day.

The rule here: at most once. A mail is claimed and committed, sent outside any transaction, and marked. What the server refused
goes into a later mail. What was claimed and never marked (the worker died, the line broke after the text was handed over) is in
doubt and is not sent again: everything in it stands in the person's inbox on the site, which says that a mail may be missing.
A notice of an entity that the person lost, and one that was read on the site meanwhile, is never mailed.
"""

from __future__ import annotations

import logging
import smtplib
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.core.mail import EmailMultiAlternatives, get_connection
from django.db import transaction
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone

from portal import sql
from portal.models import Digest, Notification, NotificationKind, User
from portal.notifications import GATHERED

log = logging.getLogger(__name__)

LEASE = timedelta(minutes=5)
SHOWN = 40  # notices of one mail; the rest are on the site
LONGEST_WAIT = timedelta(hours=6)  # after refusals in a row


class NotSent(Exception):
    """The mail server did not take the mail; it certainly was not sent."""


def due() -> list[int]:
    """The people to whom a mail is due now, and who got none within the last quarter of an hour."""
    return [
        row[0]
        for row in sql.rows(
            """SELECT DISTINCT n.person_id FROM portal_notification n
                WHERE n.mail_due_at <= now() AND n.digest_id IS NULL AND n.read_at IS NULL
                  AND NOT EXISTS (SELECT FROM portal_digest d
                                   WHERE d.person_id = n.person_id AND d.state <> 'refused' AND d.claimed_at > now() - %s)
                ORDER BY 1""",
            [GATHERED],
        )
    ]


def send(person_id: int) -> Digest | None:
    """Gather what waits for one person into a mail and send it; None when nothing is left to say."""
    claimed = _claim(person_id)
    if claimed is None:
        return None
    digest, notices = claimed
    try:
        _mail(digest, notices)
    except NotSent as refusal:
        _refused(digest, str(refusal))
    except (OSError, smtplib.SMTPException) as error:
        _end(digest, Digest.State.IN_DOUBT, f"The line broke while it was handed over: {error}")
        log.warning("digest %s to person %s is in doubt: %s", digest.pk, person_id, error)
    else:
        _end(digest, Digest.State.SENT)
    return digest


def recover() -> int:
    """Say of every mail that was claimed and never marked that it is in doubt; how many."""
    return Digest.objects.filter(state=Digest.State.SENDING, lease_until__lt=sql.now()).update(
        state=Digest.State.IN_DOUBT, ended_at=sql.now(), problem="Whoever sent it ended before saying whether it went."
    )


def _claim(person_id: int) -> tuple[Digest, list[Notification]] | None:
    """Put what may be told into a mail of its own, committed before it is sent. One worker at a time per person."""
    with transaction.atomic():
        person = User.objects.select_for_update(no_key=True).get(pk=person_id)
        if person_id not in due():
            return None
        waiting = Notification.objects.filter(
            person=person, digest=None, read_at=None, mail_due_at__isnull=False
        ).order_by("at", "id")
        notices = list(Notification.objects.visible_to(person).filter(pk__in=waiting.values("pk")).order_by("at", "id"))
        if not notices or not person.email:
            waiting.update(mail_due_at=None)
            return None
        now = sql.now()
        digest = Digest.objects.create(person=person, claimed_at=now, lease_until=now + LEASE, notices=len(notices))
        Notification.objects.filter(pk__in=[one.pk for one in notices]).update(digest=digest)
        waiting.filter(digest=None).update(mail_due_at=None)  # of entities that the person lost
    return digest, notices


def _mail(digest: Digest, notices: Sequence[Notification]) -> None:
    """Hand the mail to the server. Raises NotSent when it certainly was not taken."""
    message = compose(digest, notices)
    line = get_connection()
    try:
        line.open()
    except (OSError, smtplib.SMTPException) as error:
        raise NotSent(f"The mail server could not be reached: {error}") from error
    message.connection = line
    try:
        message.send()
    except (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused) as error:
        raise NotSent(f"The mail server refused it: {error}") from error
    finally:
        line.close()


def compose(digest: Digest, notices: Sequence[Notification]) -> EmailMultiAlternatives:
    """The mail: plain text and simple HTML, with links to the site and nothing from elsewhere."""
    kinds = Counter(notice.kind for notice in notices)
    context = {
        "person": digest.person,
        "site": settings.SITE_URL.rstrip("/"),
        "groups": [
            (kind.label, [notice for notice in notices[:SHOWN] if notice.kind == kind])
            for kind in NotificationKind
            if any(notice.kind == kind for notice in notices[:SHOWN])
        ],
        "more": len(notices) - SHOWN,
        "inbox": reverse("notifications"),
        "settings": f"{reverse('settings')}#notifications",
    }
    things = "1 thing concerns you" if len(notices) == 1 else f"{len(notices)} things concern you"
    what = ", ".join(f"{NotificationKind(kind).label} ({count})" for kind, count in kinds.most_common(3))
    message = EmailMultiAlternatives(
        subject=f"Tieout: {things} — {what}",
        body=render_to_string("mail/digest.txt", context),
        from_email=settings.DEFAULT_FROM_EMAIL,
        to=[digest.person.email],
        headers={
            "Message-ID": f"<digest-{digest.pk}@{settings.SITE_URL.partition('://')[2].partition(':')[0].strip('/')}>",
            "Auto-Submitted": "auto-generated",
            "List-Unsubscribe": f"<{context['site']}{context['settings']}>",
        },
    )
    message.attach_alternative(render_to_string("mail/digest.html", context), "text/html")
    return message


def _end(digest: Digest, state: str, problem: str = "") -> None:
    digest.state, digest.problem, digest.ended_at = state, problem[:1000], timezone.now()
    digest.save(update_fields=["state", "problem", "ended_at"])


def _refused(digest: Digest, problem: str) -> None:
    """Let the notices go into a later mail, the later the more often it was refused in a row."""
    with transaction.atomic():
        _end(digest, Digest.State.REFUSED, problem)
        since = Digest.objects.filter(person=digest.person_id, state=Digest.State.SENT).order_by("-pk").first()
        refusals = Digest.objects.filter(
            person=digest.person_id, state=Digest.State.REFUSED, pk__gt=since.pk if since else 0
        ).count()
        wait = min(GATHERED * 2 ** min(refusals - 1, 10), LONGEST_WAIT)
        digest.notifications.update(digest=None, mail_due_at=timezone.now() + wait)
    log.warning("digest %s was not sent: %s", digest.pk, problem)
