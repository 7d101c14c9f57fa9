"""Rules about the hours themselves: a sensible number, at most a day's worth, each worked once and by one tool's word."""

from __future__ import annotations

from decimal import Decimal

from reconciliation.facts.load import SENT
from reconciliation.facts.records import Draft, Other
from reconciliation.facts.tables import Facts
from reconciliation.pricing import figure
from reconciliation.rules.base import TIME, Finding, rule, who


@rule(
    "hours-out-of-range",
    title="Hours are zero, negative or too many",
    subject="source",
    remedies=("hand-back", "waive"),
    cases=(9,),
    kinds=TIME,
)
def hours_out_of_range(entry: Draft, facts: Facts) -> Finding | None:
    """An entry has more than no hours and no more than the policy lets one entry have."""
    hours = entry.hours
    if hours is not None and 0 < hours <= entry.policy.hours_max:
        return None
    stated = figure(hours or Decimal(0))
    way_out = "name the entry that it corrects in a waiver, or hand it back" if hours and hours < 0 else "hand it back"
    return Finding(
        sentence=f"{stated} hours of {who(entry)} on {entry.work_date}; expected are more than 0 and at most "
        f"{figure(entry.policy.hours_max)}; {way_out}.",
        subject_key=str(entry.source_id),
        cause=f"Entries of {entry.source.name} have hours that are zero, negative or above {figure(entry.policy.hours_max)}.",
        detail={"value": stated},
        connection_id=entry.source_id,
    )


@rule(
    "day-over-limit",
    title="More hours than a day has",
    subject="person_day",
    remedies=("hand-back", "waive"),
    cases=(9,),
    kinds=TIME,
)
def day_over_limit(entry: Draft, facts: Facts) -> Finding | None:
    """All hours of one person on one day, over all sources, fit into the day."""
    if len(entry.others) < 2 or entry.resource is None:
        return None
    total = Decimal(0)
    for other in entry.others:
        total += other.hours
    limit = entry.policy.day_hours_max
    if total <= limit:
        return None
    return Finding(
        sentence=f"{who(entry)} has {figure(total)} hours on {entry.work_date} in {len(entry.others)} entries; a day has at most "
        f"{figure(limit)}; hand the wrong one back.",
        subject_key=f"{entry.resource.id}:{entry.work_date}",
        cause=f"{who(entry)} has {figure(total)} hours on {entry.work_date}.",
        detail={
            "resource_id": entry.resource.id,
            "value": str(total),
            "expected": str(limit),
            "documents": [other.document_id for other in entry.others],
        },
    )


@rule(
    "worked-on-day-off",
    title="Worked on a day off",
    subject="calendar",
    remedies=("waive", "make-non-billable", "hand-back"),
    cases=(115,),
    kinds=TIME,
)
def worked_on_day_off(entry: Draft, facts: Facts) -> Finding | None:
    """Where the policy asks for somebody's word: the day is worked in the calendar of the entity that employs the person."""
    wanted = entry.policy.days_off
    if wanted == "accept" or entry.resource is None or (wanted == "hold_billable" and not entry.is_billable):
        return None
    employer = facts.entities[entry.engagement.entity_id if entry.engagement is not None else entry.entity_id]
    off = employer.calendar.day_off(entry.work_date)
    if not off:
        return None
    day = f"{entry.work_date:%A} {entry.work_date}"
    return Finding(
        sentence=f"{who(entry)} worked {figure(entry.hours or Decimal(0))} hours on {day}, a {off} in the calendar of "
        f"{employer.code}; say that it was agreed, make it non-billable, or hand it back.",
        subject_key=f"{employer.code}:{entry.work_date}",
        cause=f"Hours were worked on {day}, a {off} in the calendar of {employer.code} ({employer.name}).",
        detail={
            "value": str(entry.work_date),
            "day_off": off,
            "employer": employer.code,
            "resource_id": entry.resource.id,
        },
    )


@rule(
    "overlap",
    title="Intervals of one person overlap",
    subject="person_day",
    remedies=("hand-back", "waive"),
    cases=(8,),
    kinds=TIME,
)
def overlap(entry: Draft, facts: Facts) -> Finding | None:
    """Nobody works on two things at once, unless neither is billed or the policy allows it."""
    starts, ends = entry.starts_at, entry.ends_at
    if (
        starts is None
        or ends is None
        or len(entry.others) < 2
        or entry.policy.overlaps_allowed
        or entry.resource is None
    ):
        return None
    for other in entry.others:
        if other.document_id == entry.document_id or other.starts_at is None or other.ends_at is None:
            continue
        if starts < other.ends_at and other.starts_at < ends and (entry.says_billable or other.is_billable):
            break
    else:
        return None
    return Finding(
        sentence=f"{who(entry)} worked {starts:%H:%M} to {ends:%H:%M} and, on entry {other.external_id}, "
        f"{other.starts_at:%H:%M} to {other.ends_at:%H:%M} UTC on {entry.work_date}; correct one of them at its source.",
        subject_key=f"{entry.resource.id}:{entry.work_date}",
        cause=f"Intervals of {who(entry)} overlap on {entry.work_date}.",
        detail={"resource_id": entry.resource.id, "documents": [entry.document_id, other.document_id]},
    )


@rule(
    "duplicate-suspected",
    title="The same work from two tools",
    subject="person",
    remedies=("same-work", "waive", "hand-back"),
    cases=(6,),
    kinds=TIME,
)
def duplicate_suspected(entry: Draft, facts: Facts) -> Finding | None:
    """No two documents report the same work: the same provenance, or the same person, day, project, hours and text.

    The later document waits, unless the earlier one can still be stopped and the later one cannot.
    """
    if len(entry.others) < 2 or entry.resource is None:
        return None
    for other in entry.others:
        if other.document_id != entry.document_id and _is_first(entry, other) and _same_work(entry, other):
            break
    else:
        return None
    return Finding(
        sentence=f"{figure(entry.whole_hours or Decimal(0))} hours of {who(entry)} on {entry.work_date} are already reported as "
        f"entry {other.external_id}; link them as the same work, or waive with the reason why both are right.",
        subject_key=str(entry.resource.id),
        cause=f"Work of {who(entry)} seems to be reported twice.",
        subject_type="resource",
        detail={"resource_id": entry.resource.id, "document_id": other.document_id, "provenance": entry.provenance},
    )


def _is_first(entry: Draft, other: Other) -> bool:
    return other.state in SENT or other.document_id < entry.document_id


def _same_work(entry: Draft, other: Other) -> bool:
    if entry.provenance and (entry.provenance in (other.provenance, other.external_id)):
        return True
    if other.provenance and other.provenance == entry.external_id:
        return True
    if other.source_id == entry.source_id and not entry.policy.duplicates_within_source:
        return False
    return (
        other.hours == entry.whole_hours
        and other.text == entry.text
        and other.project_id == (entry.project.id if entry.project is not None else None)
    )
