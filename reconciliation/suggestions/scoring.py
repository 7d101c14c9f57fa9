"""How near the best suggestion of each open cause is, kept with the cause, so that the whole queue can be found by it.

The rule here: what is kept is what the queue's row shows. It is told anew when the cause holds other entries or when projects or
people changed since, a few causes at a time and with a fixed number of statements; until then the last score stands.
"""

from __future__ import annotations

from datetime import datetime

from django.db.models import F, Q

from portal.models import Engagement, Project, ProjectStatus
from reconciliation.models import ExceptionCase
from reconciliation.sql import suggesting
from reconciliation.suggestions.nearness import NEAR
from reconciliation.suggestions.offering import NAMING, Suggestion, of

AT_ONCE = 100  # causes that are scored in one go, a second or two of work
SCORED = (
    *sorted(NAMING),
    "project-closed",
)  # rules whose way out is a record that has to be near; for others the rule decides
NEAR_ENOUGH = Q(rule__in=SCORED, best_score__gte=NEAR)


def score_stale(limit: int = AT_ONCE) -> int:
    """Score the open causes whose score is of other entries or records than stand now, those never scored first; how many."""
    changed = _records_changed_at()
    stale = Q(best_score=None) | ~Q(scored_for=F("counted_at"))
    if changed is not None:
        stale |= Q(scored_with=None) | ~Q(scored_with=changed)
    open_cases = ExceptionCase.objects.filter(stale, state=ExceptionCase.State.OPEN, rule__in=SCORED)
    found = list(open_cases.order_by(F("scored_with").asc(nulls_first=True), "pk")[:limit])
    if found:
        offered = of(found)
        suggesting.keep_scores([(case.pk, best_of(offered[case.pk]), case.counted_at) for case in found], changed)
    return len(found)


def best_of(offered: list[Suggestion]) -> int:
    """The score of the best record that is offered, of 100; one that master data itself names is certain, and none is 0."""
    return max((100 if one.score is None else one.score for one in offered if one.values), default=0)


def _records_changed_at() -> datetime | None:
    """When a project, its status or an engagement last changed."""
    latest = [
        model.history.order_by("-history_id").values_list("history_date", flat=True).first()
        for model in (Project, ProjectStatus, Engagement)
    ]
    return max((moment for moment in latest if moment is not None), default=None)
