"""What people say about a cause, and whom they name: a person after @ is told, if they may read the cause at all."""

from __future__ import annotations

import re

from django.db import transaction
from django.db.models import Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from portal import access
from portal import sql as portal_sql
from portal.models import EntityGrant, GrantRole, LedgerEntry, NotificationKind, User
from portal.notifications import notify
from reconciliation.models import CaseComment, EntryComment, ExceptionCase
from reconciliation.triage.deciding import NotPossible

COMMENTERS = access.EVERYBODY - {GrantRole.AUDITOR}
NAMED = re.compile(r"(?<![\w@.+-])@([\w.+-]*[\w+-])")
LONGEST = 4000


def mentionable(entity_id: int, text: str = "") -> QuerySet[User]:
    """The people who may read an entity's causes, and so may be named there."""
    day = timezone.localdate()
    grants = EntityGrant.objects.filter(
        Q(entity=None) | Q(entity=entity_id), Q(valid_to=None) | Q(valid_to__gte=day), valid_from__lte=day
    )
    people = User.objects.filter(pk__in=grants.values("user"), is_active=True).order_by("username")
    if not text:
        return people
    return people.filter(Q(username__icontains=text) | Q(first_name__icontains=text) | Q(last_name__icontains=text))


def comment(case_id: int, text: str, *, by: User) -> CaseComment:
    """Write a comment; the people named in it are told. Raises NotPossible for an empty or too long one."""
    case = ExceptionCase.objects.visible_to(by).get(pk=case_id)
    text = _said(text, by, case.entity_id)
    with transaction.atomic():
        named = _named(text, case.entity_id)
        made = CaseComment.objects.create(
            case=case, author=by, at=portal_sql.now(), text=text, mentions=[one.username for one in named]
        )
        url = f"{reverse('cause', args=[case.pk])}#timeline"
        _tell(named, case.sentence, url, case.entity_id, by=by, text=text, key=f"comment:{made.pk}")
    return made


def comment_on_entry(entry_id: int, text: str, *, by: User) -> EntryComment:
    """Write a comment on one entry; the people named in it are told. Raises NotPossible for an empty or too long one."""
    entry = LedgerEntry.objects.visible_to(by).get(pk=entry_id)
    text = _said(text, by, entry.entity_id)
    with transaction.atomic():
        named = _named(text, entry.entity_id)
        made = EntryComment.objects.create(
            entry=entry, author=by, at=portal_sql.now(), text=text, mentions=[one.username for one in named]
        )
        url = f"{reverse('entry', args=[entry.pk])}#comments"
        _tell(named, f"entry {entry.pk}", url, entry.entity_id, by=by, text=text, key=f"entry-comment:{made.pk}")
    return made


def _said(text: str, by: User, entity_id: int) -> str:
    access.require(by, COMMENTERS, entity_id)
    text = text.strip()
    if not text or len(text) > LONGEST:
        raise NotPossible("Write something." if not text else f"A comment has at most {LONGEST:,} characters.")
    return text


def _named(text: str, entity_id: int) -> list[User]:
    return list(mentionable(entity_id).filter(username__in=set(NAMED.findall(text))))


def _tell(named: list[User], subject: str, url: str, entity_id: int, *, by: User, text: str, key: str) -> None:
    if named:
        sentence = f"{by.get_full_name() or by.get_username()} mentioned you: {subject}"
        notify(named, NotificationKind.MENTIONED, sentence, url=url, entity=entity_id, by=by, note=text, key=key)
