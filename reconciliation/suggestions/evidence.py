"""What is known about the causes of a page and the records they may mean: one question each, whatever the number of causes.

The rule here: candidates are records of the cause's own entity, so that nobody is shown what they may not see.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import date, timedelta
from typing import NamedTuple

from portal.models import Engagement, Project, ProjectStatus
from reconciliation.models import ExceptionCase
from reconciliation.sql import suggesting
from reconciliation.suggestions.nearness import Candidate, Said

LATELY = timedelta(days=180)  # how far before and after the people's booking is looked at
OPEN = ProjectStatus.Status.OPEN


class Held(NamedTuple):
    """What the entries of one cause have in common."""

    first: date | None
    last: date | None
    people: tuple[int, ...]
    clients: frozenset[str]
    approvers: frozenset[str]


def projects(entities: Collection[int], since: date | None) -> list[Candidate]:
    """Projects of these entities that were open at some time since a day; three statements."""
    found = Project.objects.filter(entity__in=entities).order_by("code").values_list(
        "pk", "entity_id", "code", "name", "customer__name", "manager__username", "manager__first_name",
        "manager__last_name", "manager__email",
    )  # fmt: skip
    days: dict[int, list[tuple[date, date | None]]] = defaultdict(list)
    statuses = ProjectStatus.objects.filter(project__entity__in=entities, status=OPEN).order_by("valid_from")
    for pk, start, end in statuses.values_list("project_id", "valid_from", "valid_to"):
        if since is None or end is None or end >= since:
            days[pk].append((start, end))
    chains: dict[int, set[str]] = defaultdict(set)
    steps = Project.objects.filter(entity__in=entities, approval_chain__isnull=False)
    for pk, code, name in steps.values_list("pk", "approval_chain__approver__code", "approval_chain__approver__name"):
        chains[pk] |= {code.casefold(), name.casefold()}
    return [
        Candidate(pk, entity_id, code, name, client, tuple(days[pk]), frozenset(chains[pk] | _names_of(*manager)))
        for pk, entity_id, code, name, client, *manager in found
        if pk in days
    ]


def _names_of(username: str | None, first: str | None, last: str | None, email: str | None) -> set[str]:
    """How an approver may be named who manages the project; nobody's names where it has no manager."""
    words = (username, f"{first or ''} {last or ''}".strip(), email)
    return {word.casefold() for word in words if word}


def people(entities: Collection[int]) -> list[Candidate]:
    """People with an engagement in these entities, one candidate for each entity they work for."""
    engagements = Engagement.objects.filter(entity__in=entities).order_by("resource__code", "valid_from")
    days: dict[tuple[int, int], list[tuple[date, date | None]]] = defaultdict(list)
    known: dict[int, tuple[str, str]] = {}
    for pk, code, name, entity_id, start, end in engagements.values_list(
        "resource_id", "resource__code", "resource__name", "entity_id", "valid_from", "valid_to"
    ):
        days[pk, entity_id].append((start, end))
        known[pk] = (code, name)
    return [Candidate(pk, entity_id, *known[pk], days=tuple(found)) for (pk, entity_id), found in days.items()]


def held(case_ids: Sequence[int]) -> dict[int, Held]:
    """People, days, clients and approvers of the entries that each cause holds; one statement."""
    return {
        case_id: Held(first, last, tuple(people or ()), _words(clients), _words(approvers))
        for case_id, first, last, people, clients, approvers in suggesting.held(case_ids)
    }


def _words(words: Sequence[str] | None) -> frozenset[str]:
    return frozenset(word for word in words or () if word)


def said(case: ExceptionCase, found: Held | None, booked: dict[int, dict[int, int]]) -> Said:
    """What a cause says, with what its people book otherwise."""
    together: dict[int, int] = defaultdict(int)
    if found is not None:
        for person in found.people:
            for project, count in booked.get(person, {}).items():
                together[project] += count
    code, name = str(case.detail.get("code") or ""), str(case.detail.get("name") or "")
    if found is None:
        return Said(code, name, first=case.oldest_work_date, last=case.oldest_work_date)
    return Said(code, name, found.clients, found.approvers, found.first, found.last, together)


def booked(found: Collection[Held]) -> dict[int, dict[int, int]]:
    """On which projects these people book around the days in question: person → project → entries."""
    everybody = sorted({person for one in found for person in one.people})
    last = max((one.last for one in found if one.last), default=None)
    if not everybody or last is None:
        return {}
    counts: dict[int, dict[int, int]] = defaultdict(dict)
    for person, project, count in suggesting.booked(everybody, last - LATELY, last + LATELY):
        counts[person][project] = count
    return counts
