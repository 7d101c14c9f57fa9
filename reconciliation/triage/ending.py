"""What ends or rises by itself: snoozes and ignores whose time is over, and causes that nobody touches before the books close.

The rule here: it is found by the sweeper, in batches of a fixed number of statements, and leaves history with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from django.db import transaction
from django.urls import reverse

from portal import figures
from portal import sql as portal_sql
from portal.models import LegalEntity, NotificationKind
from portal.notifications import Notice, notify_each
from reconciliation import policies
from reconciliation.sql import cases as case_sql
from reconciliation.sql import triage as sql

BATCH = 500


def awaited_syncs() -> dict[int, datetime]:
    """The connections whose next sync somebody waits for, and since when."""
    return sql.awaited_syncs()


def end_what_is_over(synced: Mapping[int, datetime]) -> int:
    """Bring back what was snoozed or ignored and is due; how many. `synced`: when connections were last read to the end."""
    with transaction.atomic():
        return _bring_back([*sql.over_snoozes(synced, BATCH), *sql.over_ignores(BATCH)])


def _bring_back(found: Sequence[tuple[int, str]]) -> int:
    """Cases back into the queue, each with its reason; those that somebody brought back meanwhile are left."""
    reasons = dict(found)
    rows = [row for row in sql.lock(list(reasons)) if row.aside] if reasons else []
    if rows:
        ids = [row.id for row in rows]
        sql.change(ids, {"aside": [""] * len(ids)})
        sql.end_each(ids, [reasons[one] for one in ids])
        case_sql.remember_each(ids, "~", [f"Back in the queue: {reasons[one]}" for one in ids])
    return len(rows)


def escalate() -> int:
    """Tell leads and controllers of causes that nobody touched though their period ends soon; how many causes."""
    with transaction.atomic():
        _calm_down()
        found = sql.untouched(_patience(), BATCH)
        locked = {row.id for row in sql.lock([one.case_id for one in found])} if found else set()
        found = [one for one in found if one.case_id in locked]
        if found:
            ids = [one.case_id for one in found]
            sql.change(ids, {"escalated_at": [portal_sql.now()] * len(ids)})
            case_sql.remember_each(
                ids,
                "~",
                [
                    f"Escalated: period {one.period} ends {figures.day(one.ends_on)} and nobody touched it"
                    for one in found
                ],
            )
            notify_each(_notices(found))
    return len(found)


def _calm_down() -> None:
    """What somebody touched since is not escalated any more."""
    touched = sql.touched_since_escalation()
    if touched:
        sql.change(touched, {"escalated_at": [None] * len(touched)})
        case_sql.remember(touched, "~", "No longer escalated: somebody is on it")


def _patience() -> list[sql.Patience]:
    found = []
    for entity in LegalEntity.objects.order_by("pk"):
        policy = policies.merged(entity.policy)
        found.append(sql.Patience(entity.pk, policy.escalate_days, policy.escalate_idle_hours, policy.escalate_above))
    return found


def _notices(found: Sequence[sql.Untouched]) -> list[Notice]:
    """To the leads of the team, and to the controllers of the entity: the owner may be away."""
    leads, controllers = sql.leads_and_controllers(
        sorted({one.entity_id for one in found}), sorted({one.team_id for one in found if one.team_id})
    )
    return [
        Notice(
            person_id=person,
            kind=NotificationKind.ESCALATED,
            subject=f"Nobody is on it, and {one.period} ends {figures.day(one.ends_on)}: {one.sentence}",
            url=reverse("cause", args=[one.case_id]),
            entity_id=one.entity_id,
            key=f"escalated:{one.case_id}",
        )
        for one in found
        for person in sorted({*leads.get(one.team_id or 0, ()), *controllers.get(one.entity_id, ())})
    ]
