"""What people say about a cause, and whom they name: a person after @ is told, if they may read the cause at all."""

from __future__ import annotations

import re

from django.db import transaction
from django.db.models import Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from portal import access
from portal import sql as portal_sql
from portal.models import EntityGrant, GrantRole, NotificationKind, User
from portal.notifications import notify
from reconciliation.models import CaseComment, ExceptionCase
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
    access.require(by, COMMENTERS, case.entity_id)
    text = text.strip()
    if not text or len(text) > LONGEST:
        raise NotPossible("Write something." if not text else f"A comment has at most {LONGEST:,} characters.")
    with transaction.atomic():
        named = list(mentionable(case.entity_id).filter(username__in=set(NAMED.findall(text))))
        made = CaseComment.objects.create(
            case=case, author=by, at=portal_sql.now(), text=text, mentions=[one.username for one in named]
        )
        if named:
            notify(
                named,
                NotificationKind.MENTIONED,
                f"{by.get_full_name() or by.get_username()} mentioned you: {case.sentence}",
                url=f"{reverse('cause', args=[case.pk])}#timeline",
                entity=case.entity_id,
                by=by,
                note=text,
                key=f"comment:{made.pk}",
            )
    return made
