"""Rules about the calendar: every entity that the entry touches has an accounting period for it, and it is open."""

from __future__ import annotations

from portal.models import State
from reconciliation.facts.calendar import takes_postings
from reconciliation.facts.records import Draft
from reconciliation.facts.tables import Facts
from reconciliation.rules.base import Finding, rule


@rule(
    "period-missing",
    title="No accounting period",
    subject="period",
    waivable=False,
    remedies=("open-period", "post-next-period"),
    cases=(45,),
)
def period_missing(entry: Draft, facts: Facts) -> Finding | None:
    """There is an accounting period for the posting date, and it has begun."""
    day = entry.post_on
    for entity_id in entry.legs:
        period = facts.period_on(entity_id, day)
        if period is not None and period.state != "future":
            continue
        code = facts.entities[entity_id].code
        owner = entry.policy.calendar_owner or f"the controller of {code}"
        if period is None:
            month, state = f"{day:%Y-%m}", f"No accounting period of {code} covers {day}"
        else:
            month, state = period.code, f"Period {period.code} of {code} is not open yet and covers {day}"
        return Finding(
            sentence=f"{state}; {owner} keeps the calendar and must open it.",
            subject_key=f"{code}:{month}",
            cause=f"{code} has no open accounting period {month}; {owner} keeps the calendar.",
            detail={
                "entity_id": entity_id,
                "day": str(day),
                "calendar_owner": owner,
                "period_id": period.id if period else None,
            },
        )
    return None


@rule(
    "period-closed",
    title="Accounting period is closed",
    subject="period",
    waivable=False,
    remedies=("post-next-period", "open-period", "hand-back"),
    cases=(43, 44, 46),
    leaves=frozenset({State.HELD, State.REJECTED}),  # ours, and a target's refusal for the same reason
)
def period_closed(entry: Draft, facts: Facts) -> Finding | None:
    """The period of the posting date takes postings, in every entity that the entry touches."""
    for entity_id in entry.legs:
        period = facts.period_on(entity_id, entry.post_on)
        if period is None or period.state == "future" or takes_postings(period, entry.policy):
            continue
        entity = facts.entities[entity_id]
        following = facts.next_open_period(entity_id, entry.post_on)
        way_out = f"post it on {following.starts_on} in {following.code}" if following else "open the next period"
        return Finding(
            sentence=f"Period {period.code} of {entity.code} is {period.state} for {entry.post_on}; {way_out}, or "
            "re-open the period.",
            subject_key=str(period.id),
            cause=f"Period {period.code} of {entity.code} is {period.state}.",
            detail={
                "period_id": period.id,
                "entity_id": entity_id,
                "next_open_on": str(following.starts_on) if following else None,
            },
        )
    return None
