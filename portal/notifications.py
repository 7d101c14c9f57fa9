"""Telling people what concerns them: `notify` for one sentence to some people, `notify_each` for many at once.

The rule here: a notice is a row in the transaction of what it tells of, so what was rolled back is told to nobody. Nobody is
told what they did themselves, what they switched off, or anything of an entity in which they hold no role; an unread notice
with the same `key` is not repeated. E-mail is another matter: `portal.digests` gathers the rows later, never one mail a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from portal import sql
from portal.models import EntityGrant, LegalEntity, Notification, NotificationKind, User

GATHERED = timedelta(minutes=15)  # between two mails to one person, and the longest wait of a notice that goes by them
DAILY_AT = time(7)  # in the installation's zone
URGENT = frozenset({NotificationKind.ESCALATED, NotificationKind.HELD})

OFF, GATHER, DAILY = "off", "gathered", "daily"
MAIL_CHOICES = ((GATHER, "Every 15 minutes, when there is something"), (DAILY, "Once a day, at 07:00"), (OFF, "Never"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One sentence for one person. `url` is a path of this site, and the sentence speaks of `entity_id` alone."""

    person_id: int
    kind: NotificationKind
    subject: str
    url: str
    entity_id: int | None
    note: str = ""
    key: str = ""
    by_id: int | None = None


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person wants to be told, and how."""

    mail: str = GATHER
    urgent_at_once: bool = True
    kinds_off: frozenset[str] = frozenset()

    def due(self, kind: str, now: datetime) -> datetime | None:
        """When a notice of this kind should have reached the person by mail; None when it goes by none."""
        if self.mail == OFF:
            return None
        if self.urgent_at_once and kind in URGENT:
            return now
        return next_daily(now) if self.mail == DAILY else now + GATHERED


def wishes(preferences: dict[str, Any]) -> Wishes:
    """A person's own settings, or the defaults."""
    held = preferences.get("notifications", {})
    mail = held.get("mail", GATHER)
    return Wishes(
        mail if mail in dict(MAIL_CHOICES) else GATHER,
        bool(held.get("urgent_at_once", True)),
        frozenset(held.get("kinds_off", ())) & frozenset(NotificationKind.values),
    )


def notify(
    people: Iterable[User | int],
    kind: NotificationKind,
    subject: str,
    *,
    url: str,
    entity: LegalEntity | int | None,
    by: User | None = None,
    note: str = "",
    key: str = "",
) -> int:
    """Tell some people one sentence; how many were told. Call it inside the transaction of what happened.

    `people` are users or their keys (for a team: its members). `url` is a path of this site, as `reverse` gives it; `entity`
    is the one legal entity that the sentence speaks of, None only when it names nothing of any. `by` did it and is not told.
    `key` names the occasion (`f"cause:{pk}"`): while a notice with it is unread, it is not repeated. For many sentences at
    once use `notify_each`. Two statements, whatever the number of people::

        notify([owner], NotificationKind.ASSIGNED, f"Assigned to you: {case.sentence}",
               url=reverse("cause", args=[case.pk]), entity=case.entity_id, by=user, key=f"cause:{case.pk}")
    """
    entity_id = entity.pk if isinstance(entity, LegalEntity) else entity
    return notify_each(
        [
            Notice(
                person_id=person.pk if isinstance(person, User) else person,
                kind=kind,
                subject=subject,
                url=url,
                entity_id=entity_id,
                note=note,
                key=key,
                by_id=by.pk if by else None,
            )
            for person in people
        ]
    )


def answered(url: str) -> int:
    """What waited for somebody's decision on a page was decided: nobody is reminded of it any more; how many were."""
    waiting = Notification.objects.filter(kind=NotificationKind.APPROVAL, url=url, read_at=None)
    return waiting.update(read_at=sql.now())


def notify_each(notices: Sequence[Notice]) -> int:
    """Tell many sentences to many people, in a fixed number of statements; how many were meant for somebody who may read them."""
    for notice in notices:
        if not notice.url.startswith("/") or notice.url.startswith("//"):
            raise ValueError(f"A notice leads to a page of this site, not to {notice.url!r}.")
    told = _people({notice.person_id for notice in notices})
    now = sql.now()
    rows: dict[object, Notification] = {}
    for number, notice in enumerate(notices):
        person = told.get(notice.person_id)
        if person is None or notice.person_id == notice.by_id or not person.may_read(notice.entity_id):
            continue
        if notice.kind in person.wishes.kinds_off:
            continue
        rows[(notice.person_id, notice.kind, notice.key) if notice.key else number] = Notification(
            person_id=notice.person_id,
            kind=notice.kind,
            entity_id=notice.entity_id,
            subject=notice.subject[:300],
            note=notice.note[:300],
            url=notice.url,
            key=notice.key,
            by_id=notice.by_id,
            at=now,
            mail_due_at=person.wishes.due(notice.kind, now) if person.has_address else None,
        )
    Notification.objects.bulk_create(rows.values(), ignore_conflicts=True, batch_size=2000)
    return len(rows)


def reschedule(person: User) -> None:
    """Let the mail settings that a person just saved hold for what was not mailed yet."""
    held, now = wishes(person.preferences), sql.now()
    waiting = Notification.objects.filter(person=person, digest=None, read_at=None)
    urgent = Q(kind__in=URGENT)
    for rows, kind in ((waiting.filter(urgent), NotificationKind.ESCALATED), (waiting.exclude(urgent), "")):
        due = held.due(kind, now) if person.email else None
        if due is None:
            rows.update(mail_due_at=None)
        else:
            rows.filter(mail_due_at__isnull=False).update(mail_due_at=due)


def next_daily(now: datetime) -> datetime:
    """The next morning's hour of the daily mail."""
    local = timezone.localtime(now)
    today = local.replace(hour=DAILY_AT.hour, minute=DAILY_AT.minute, second=0, microsecond=0)
    return today if local < today else today + timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _Person:
    wishes: Wishes
    has_address: bool
    entities: frozenset[int | None]

    def may_read(self, entity_id: int | None) -> bool:
        return bool(self.entities) and (entity_id is None or None in self.entities or entity_id in self.entities)


def _people(ids: set[int]) -> dict[int, _Person]:
    """The active people among these, with what they wish and the entities in which they hold a role today."""
    if not ids:
        return {}
    day = timezone.localdate()
    grants = EntityGrant.objects.filter(
        Q(valid_to=None) | Q(valid_to__gte=day), user_id__in=ids, user__is_active=True, valid_from__lte=day
    ).values_list("user_id", "entity_id", "user__email", "user__preferences")
    held: dict[int, set[int | None]] = {}
    about: dict[int, tuple[str, dict[str, Any]]] = {}
    for user_id, entity_id, email, preferences in grants:
        held.setdefault(user_id, set()).add(entity_id)
        about[user_id] = (email, preferences)
    return {
        user_id: _Person(wishes(about[user_id][1]), bool(about[user_id][0]), frozenset(entities))
        for user_id, entities in held.items()
    }
