"""The calendar: which entities an entry touches, and the day and period under which it is booked."""

from __future__ import annotations

from collections.abc import Sequence

from reconciliation.facts.records import FOREVER, Draft, Period, Relation
from reconciliation.facts.tables import Facts, by_first
from reconciliation.policies import Policy
from reconciliation.sql import master_data


def load_calendar(facts: Facts, drafts: Sequence[Draft]) -> None:
    """Periods and intercompany relations of every entity that a draft touches; then where each draft is booked."""
    entity_ids = {draft.entity_id for draft in drafts}
    entity_ids |= {draft.project.entity_id for draft in drafts if draft.project}
    entity_ids |= {draft.engagement.entity_id for draft in drafts if draft.engagement}
    first = min(min(draft.work_date, draft.says_post_on or FOREVER) for draft in drafts)
    facts.periods = by_first(master_data.periods(entity_ids, first), Period)
    facts.intercompany = {}
    for relation in (Relation(*row) for row in master_data.intercompany(entity_ids)):
        facts.intercompany.setdefault((relation.provider_id, relation.receiver_id), []).append(relation)
    for draft in drafts:
        draft.legs = _legs(draft)
        place(facts, draft)


def _legs(draft: Draft) -> tuple[int, ...]:
    """The entity that books a draft, then those of its project and of its person where they are others."""
    first = draft.entity_id
    second = draft.project.entity_id if draft.project is not None else first
    third = draft.engagement.entity_id if draft.engagement is not None else first
    if second == first == third:
        return (first,)
    return tuple(dict.fromkeys((first, second, third)))


def place(facts: Facts, draft: Draft) -> None:
    """Set the day and the period that a draft is booked under: its work date, finance's date, or the next open period."""
    day = draft.says_post_on or draft.work_date
    period = facts.period_on(draft.entity_id, day)
    if period is not None and draft.policy.closed_period == "next_open" and not takes_postings(period, draft.policy):
        following = facts.next_open_period(draft.entity_id, day)
        if following is not None:
            period, day = following, following.starts_on
    draft.period, draft.post_on = period, day
    if day != draft.work_date:
        draft.tags.append("late")


def takes_postings(period: Period, policy: Policy) -> bool:
    """Whether a period may be booked into."""
    return period.state == "open" or (period.state == "closing" and policy.post_in_closing)
