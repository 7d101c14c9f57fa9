"""Who has a cause, and the words that people file it under."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import date

from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from portal.models import EntityGrant, NotificationKind, User
from portal.notifications import Notice, notify_each
from reconciliation.models import Decision, ExceptionCase, Team, TeamMember
from reconciliation.sql.triage import CaseRow
from reconciliation.triage.deciding import TRIAGERS, Changes, NotPossible, counted, decide

TAG = re.compile(r"[\w][\w .:/+-]{0,39}")
MOST_TAGS = 12


def assignable(entity_ids: Iterable[int], on: date | None = None) -> QuerySet[User]:
    """The people who may fix in every one of these entities."""
    day, wanted = on or timezone.localdate(), set(entity_ids)
    grants = EntityGrant.objects.filter(Q(valid_to=None) | Q(valid_to__gte=day), valid_from__lte=day, role__in=TRIAGERS)
    everywhere = grants.filter(entity=None).values("user")
    in_each = (
        grants.filter(entity__in=wanted).values("user").annotate(n=Count("entity", distinct=True)).filter(n=len(wanted))
    )
    return User.objects.filter(Q(pk__in=everywhere) | Q(pk__in=in_each.values("user")), is_active=True).order_by(
        "username"
    )


def teams_for(entity_ids: Iterable[int]) -> QuerySet[Team]:
    """The teams that work for every one of these entities."""
    wanted = set(entity_ids)
    covering = (
        Team.objects.filter(entities__in=wanted).annotate(n=Count("entities", distinct=True)).filter(n=len(wanted))
    )
    return Team.objects.filter(pk__in=covering.values("pk"), is_active=True).order_by("name")


def assign(case_ids: Sequence[int], *, by: User, to: User | Team | None, reason: str = "") -> Decision:
    """Give causes to a person, to a team (which then has no single owner yet), or to nobody.

    Raises NotPossible for a person who may not fix in one of the entities, or a team that does not work for it.
    """
    with transaction.atomic():
        cases = ExceptionCase.objects.filter(pk__in=case_ids)
        entities = set(cases.values_list("entity_id", flat=True))
        changes, words = _who(entities, to)
        decision = decide(Decision.Kind.ASSIGN, case_ids, changes, by=by, words=words, reason=reason)
        _tell(decision, to, by)
    return decision


def _who(entities: set[int], to: User | Team | None) -> tuple[Callable[[CaseRow], Changes], str]:
    """What giving causes to somebody changes, and its words."""
    if to is None:
        return lambda _row: {"owner": None, "team": None}, "given to nobody"
    if isinstance(to, Team):
        if not teams_for(entities).filter(pk=to.pk).exists():
            raise NotPossible(f"{to.name} does not work for every entity of these causes; choose another team.")
        return lambda _row: {"owner": None, "team": to.pk}, f"given to the team {to.name}"
    if not assignable(entities).filter(pk=to.pk).exists():
        raise NotPossible(f"{to.get_username()} may not fix in every entity of these causes; choose somebody who may.")
    return lambda _row: {"owner": to.pk}, f"given to {to.get_username()}"


def _tell(decision: Decision, to: User | Team | None, by: User) -> None:
    """One sentence for each entity to each person whose it is now."""
    if to is None:
        return
    people = (
        [to.pk] if isinstance(to, User) else list(TeamMember.objects.filter(team=to).values_list("user_id", flat=True))
    )
    kind = NotificationKind.ASSIGNED if isinstance(to, User) else NotificationKind.TEAM
    whose = "you" if isinstance(to, User) else f"your team {to.name}"
    by_entity: dict[int, list[tuple[int, str]]] = {}
    touched = decision.cases.order_by("case_id").values_list("case_id", "case__entity_id", "case__sentence")
    for case_id, entity_id, sentence in touched:
        by_entity.setdefault(entity_id, []).append((case_id, sentence))
    notify_each(
        [
            Notice(
                person_id=person,
                kind=kind,
                subject=f"Assigned to {whose}: {found[0][1] if len(found) == 1 else counted(len(found))}",
                url=reverse("cause", args=[found[0][0]]) if len(found) == 1 else f"{reverse('exceptions')}?tab=mine",
                entity_id=entity_id,
                key=f"cause:{found[0][0]}" if len(found) == 1 else f"decision:{decision.pk}",
                by_id=by.pk,
            )
            for entity_id, found in sorted(by_entity.items())
            for person in people
        ]
    )


def tag(case_ids: Sequence[int], tags: Sequence[str], *, by: User, remove: Sequence[str] = ()) -> Decision:
    """File causes under more words, and no longer under others. Raises NotPossible for a word that will not do, or too many."""
    wanted = [one.strip().lower() for one in tags if one.strip()]
    gone = {one.strip().lower() for one in remove}
    for one in wanted:
        if not TAG.fullmatch(one):
            raise NotPossible(f"“{one}” is not a tag; up to 40 letters, digits, blanks and .:/+- will do.")
    if not wanted and not gone:
        raise NotPossible("Name a tag.")

    def more(row: CaseRow) -> Changes:
        together = sorted({*(one for one in row.tags if one not in gone), *wanted})
        if len(together) > MOST_TAGS:
            raise NotPossible(f"“{row.sentence}” would have more than {MOST_TAGS} tags; take some away first.")
        return {"tags": together}

    kind = Decision.Kind.TAG if wanted else Decision.Kind.UNTAG
    said = [f"tagged {', '.join(wanted)}"] if wanted else []
    said += [f"no longer tagged {', '.join(sorted(gone))}"] if gone else []
    return decide(kind, case_ids, more, by=by, words=" and ".join(said))


def untag(case_ids: Sequence[int], tags: Sequence[str], *, by: User) -> Decision:
    """Take words away."""
    return tag(case_ids, (), by=by, remove=tags)
