"""Whose a new cause is: the ordered ownership rules of its entity give it to a team, and the team is told.

The rule here: it happens in the batch that opens the case or finds it back, once for all its cases. A cause that somebody
gave to a team already stays there.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.urls import reverse

from portal.models import NotificationKind
from portal.notifications import Notice, notify_each
from reconciliation.rules import EVERY, theme_of
from reconciliation.sql import cases as case_sql
from reconciliation.sql import triage as sql
from reconciliation.sql.opening import Opened

_THEMES = [(theme_of(rule.code), rule.code) for rule in EVERY]


def give(opened: Iterable[Opened]) -> None:
    """Give cases that are new or back to their teams; their owners are told of those that came back."""
    found = {one.case_id: one for one in opened if one.is_new or one.is_back}
    if not found:
        return
    given = sql.give_by_rule(sorted(found), _THEMES)
    case_sql.remember([one.case_id for one in given], "~", "Given to a team by the ownership rules")
    notices = _to_teams(given)
    back = [case_id for case_id, one in found.items() if one.is_back]
    if back:
        notices += _to_owners(back)
    if notices:
        notify_each(notices)


def _to_teams(given: list[sql.Given]) -> list[Notice]:
    """One sentence for each team and entity, however many causes there are."""
    counts: dict[tuple[int, int], int] = {}
    for one in given:
        counts[one.team_id, one.entity_id] = counts.get((one.team_id, one.entity_id), 0) + 1
    members = sql.members_of(sorted({team_id for team_id, _ in counts})) if counts else {}
    return [
        Notice(
            person_id=user_id,
            kind=NotificationKind.TEAM,
            subject="A new cause is your team's" if count == 1 else f"{count:,} new causes are your team's",
            url=f"{reverse('exceptions')}?tab=mine",
            entity_id=entity_id,
            key=f"team:{team_id}:{entity_id}",
        )
        for (team_id, entity_id), count in counts.items()
        for user_id in members.get(team_id, ())
    ]


def _to_owners(case_ids: list[int]) -> list[Notice]:
    return [
        Notice(
            person_id=owner_id,
            kind=NotificationKind.REGRESSED,
            subject=f"It is back: {sentence}",
            url=reverse("cause", args=[case_id]),
            entity_id=entity_id,
            key=f"cause:{case_id}",
        )
        for case_id, owner_id, entity_id, sentence in sql.owners_of(case_ids)
    ]
