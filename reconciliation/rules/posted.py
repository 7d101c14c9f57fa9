"""The rule about what stands in the books already: a new version goes only when the old one was taken out."""

from __future__ import annotations

from decimal import Decimal

from reconciliation.facts.load import SENT
from reconciliation.facts.records import Draft
from reconciliation.facts.tables import Facts
from reconciliation.pricing import figure
from reconciliation.rules.base import Finding, rule


@rule(
    "changed-after-posting",
    title="Changed after posting",
    subject="project",
    waivable=False,
    remedies=("reverse-and-rebook", "check-in-target", "hand-back"),
    cases=(16, 18, 51, 55),
)
def changed_after_posting(entry: Draft, facts: Facts) -> Finding | None:
    """Nothing else of the document stands, or may stand, in the target's books: another version, or the same under another key.

    While the reversal of the posted version is on its way, the new one waits for its receipt.
    """
    if not entry.standing:
        return None
    reversed_by = {other.reverses_id: other for other in entry.standing if other.reverses_id is not None}
    booked = [
        other
        for other in entry.standing
        if other.reverses_id is None
        and other.state in SENT
        and (other.version != entry.version or (entry.entry_id and other.part == entry.part))
    ]
    if not booked:
        return None
    open_ones = [other for other in booked if other.id not in reversed_by]
    if not open_ones:
        entry.waits_on = f"reversal:{reversed_by[booked[0].id].id}"
        return None
    hours = (entry.whole_hours or Decimal(0)) - sum((other.hours or Decimal(0) for other in booked), Decimal(0))
    money = (entry.amount or Decimal(0)) - sum((other.amount or Decimal(0) for other in booked), Decimal(0))
    delta = f"{hours:+f} hours, {money:+f} {entry.currency}" if entry.kind == "time" else f"{money:+f} {entry.currency}"
    flips = [other for other in booked if other.is_billable != entry.is_billable]
    posted = booked[-1]
    project_id = posted.project_id or (entry.project.id if entry.project else 0)
    code = facts.projects[project_id].code if project_id in facts.projects else "a project"
    was = (
        f"{figure(posted.hours or posted.amount or Decimal(0))} {'hours' if entry.kind == 'time' else posted.currency}"
    )
    return Finding(
        sentence=f"Version {entry.version} replaces version {posted.version}, which is {posted.state.replace('_', ' ')} with "
        f"{was} ({delta}{', billable changed' if flips else ''}); reverse it and book the new version.",
        subject_key=str(project_id),
        cause=f"Entries on {code} were changed at the source after posting.",
        detail={
            "posted": [other.id for other in open_ones],
            "hours": str(hours),
            "amount": str(money),
            "currency": entry.currency,
            "billable_changed": bool(flips),
            "needs": ["project_manager", "controller"] if flips else ["controller"],
        },
    )
