"""What concerns a person: one row a notice, kept in the person's inbox on the site, and gathered into few e-mails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import Q

from portal.models.access import Scope, ScopedQuerySet

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser


class NotificationKind(models.TextChoices):
    """Why a person is told."""

    ASSIGNED = "assigned", "Assigned to me"
    TEAM = "team", "Given to my team"
    MENTIONED = "mentioned", "I was mentioned"
    APPROVAL = "approval", "Waits for my approval"
    FINISHED = "finished", "My operation finished"
    HELD = "held", "My operation is held up"
    ESCALATED = "escalated", "Escalated"
    REGRESSED = "regressed", "Came back on mine"
    EXPORT = "export", "My export is ready"
    REJECTED = "rejected", "A system said what is not taken"
    BILLING = "billing", "A bill of my project moved"


class Digest(models.Model):
    """One e-mail to one person. It is claimed and committed before it is sent, so at most one is ever sent.

    SENDING past its lease means that nobody knows whether it went: it becomes IN_DOUBT and is not sent again, because
    everything in it stands in the person's inbox on the site.
    """

    class State(models.TextChoices):
        """What became of it."""

        SENDING = "sending", "Being sent"
        SENT = "sent", "Sent"
        REFUSED = "refused", "Refused by the mail server"
        IN_DOUBT = "in_doubt", "In doubt"

    person = models.ForeignKey("portal.User", models.CASCADE, related_name="digests")
    state = models.CharField(max_length=10, choices=State.choices, default=State.SENDING)
    claimed_at = models.DateTimeField()
    lease_until = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    notices = models.PositiveIntegerField()
    problem = models.TextField(blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["person", "-claimed_at"], name="digest_by_person")]

    def __str__(self) -> str:
        return f"{self.notices} notices to {self.person}"


class NotificationQuerySet(ScopedQuerySet["Notification"]):
    """Notices are seen by the one person they are for, and only of entities where that person still holds a role."""

    def visible_to(self, user: AbstractBaseUser | AnonymousUser, *, roles: frozenset[str] | None = None) -> Self:
        """The person's own notices."""
        return super().visible_to(user, roles=roles).filter(person_id=user.pk)

    def unread(self) -> Self:
        """Those not yet looked at."""
        return self.filter(read_at=None)


class Notification(models.Model):
    """One thing that one person should know: a sentence about one entity, and the page where it is dealt with.

    `mail_due_at` is when it should reach the person by e-mail at the latest; empty when it goes by no e-mail.
    """

    person = models.ForeignKey("portal.User", models.CASCADE, related_name="notifications")
    kind = models.CharField(max_length=10, choices=NotificationKind.choices)
    entity = models.ForeignKey("portal.LegalEntity", models.CASCADE, null=True, blank=True, related_name="+")
    subject = models.CharField(max_length=300)
    note = models.CharField(max_length=300, blank=True)
    url = models.CharField(max_length=300)
    key = models.CharField(max_length=120, blank=True)
    by = models.ForeignKey("portal.User", models.SET_NULL, null=True, blank=True, related_name="+")
    at = models.DateTimeField()
    read_at = models.DateTimeField(null=True, blank=True)
    mail_due_at = models.DateTimeField(null=True, blank=True)
    digest = models.ForeignKey(Digest, models.PROTECT, null=True, blank=True, related_name="notifications")

    scope = Scope(shared=True)
    objects = NotificationQuerySet.as_manager()

    class Meta:
        ordering = ["-at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["person", "kind", "key"],
                condition=Q(read_at=None) & ~Q(key=""),
                name="an_unread_notice_is_not_repeated",
            ),
        ]
        indexes = [
            models.Index(fields=["person", "-at"], name="notice_by_person"),
            models.Index(fields=["person"], condition=Q(read_at=None), name="notice_unread"),
            models.Index(
                fields=["mail_due_at"],
                condition=Q(digest=None, read_at=None, mail_due_at__isnull=False),
                name="notice_to_mail",
            ),
        ]

    def __str__(self) -> str:
        return self.subject
