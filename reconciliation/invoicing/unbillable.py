"""What may not be billed any more, in words: the work as people know it, what happened to it, and the case that stops it.

The rule here: a sentence names the person, the day and the case, and never a number of our own that nobody outside knows.
"""

from __future__ import annotations

from collections.abc import Collection

from portal import figures
from portal.models import State
from portal.records import DocumentKind
from reconciliation.rules import BY_CODE
from reconciliation.sql import unbillable as sql
from reconciliation.sql.unbillable import Unbillable

_AT_SOURCE = {
    "deleted-at-source": "deleted",
    "approval-withdrawn-after-posting": "withdrawn",
    "changed-after-posting": "changed",
}
_SAYS = {
    "approved": "changed",
    "draft": "no longer approved",
    "submitted": "no longer approved",
    "rejected": "rejected",
}


def spoilt(draft_ids: Collection[int]) -> dict[int, str]:
    """Drafts with something on them that may not be billed any more, and what, in words."""
    found: dict[int, str] = {}
    for part in sql.on_drafts(draft_ids):
        if part.draft_id is not None:
            found.setdefault(part.draft_id, words(part))
    return found


def words(part: Unbillable) -> str:
    """One part that may not be billed: "Hours of Sarah Wong on 3 Oct 2026: withdrawn at Clockify GB, EX-7"."""
    return f"{_what(part)}: {_why(part)}{f', EX-{part.case_id}' if part.case_id else ''}"


CORRECTED = (
    "No line of an invoice bills less than nothing: have the work itself corrected in its source, and this correction "
    "reversed."
)


def correction(found: sql.TakenOff) -> str:
    """What one booked correction takes off: "2.00 h (240.00 USD) of Sarah Wong on 3 Oct 2026"."""
    money = f"{figures.amount(abs(found.amount), found.currency)} {found.currency}"
    what = f"{figures.hours(abs(found.hours))} h ({money})" if found.hours is not None else f"an expense of {money}"
    return f"{what}{f' of {found.person}' if found.person else ''} on {figures.day(found.work_date)}"


def _what(part: Unbillable) -> str:
    if part.work_date is None:
        return f"Milestone {part.milestone}"
    what = "Hours" if part.kind == DocumentKind.TIME else "An expense"
    return f"{what}{f' of {part.person}' if part.person else ''} on {figures.day(part.work_date)}"


def _why(part: Unbillable) -> str:
    if part.state is not None and part.state not in (State.POSTED, State.RECONCILED):
        return f"{State(part.state).label.lower()} in the books by now"
    if part.is_not_billable:
        return "not billable"
    if part.is_reversed:
        return "its posting is being reversed"
    if part.case_id is not None:
        if part.rule in _AT_SOURCE:
            return f"{_AT_SOURCE[part.rule]} at {part.source}"
        rule = BY_CODE.get(part.rule)
        return f"stopped, {(rule.title if rule else part.rule).lower()}"
    if part.says:
        return f"{_SAYS.get(part.says, part.says)} at {part.source}"
    return "it was changed" if part.is_less else "billed elsewhere by now"
