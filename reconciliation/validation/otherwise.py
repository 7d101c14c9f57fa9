"""Booked entries at other rates than are agreed by now, and what would stop them from being booked anew; nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from portal.ledger import Figures
from reconciliation.facts import Standing, standing_entry
from reconciliation.sql import documents
from reconciliation.validation.admission import standing_of
from reconciliation.validation.batches import one_batch
from reconciliation.validation.rechecking import assess

# What booking anew decides: the posted version is taken out, and the agreed rate holds whatever the source states.
EARLIER = "A later version of these hours waits; reverse this one, or credit it first where it is billed, and that one follows."
DECIDED = frozenset({"changed-after-posting", "rate-mismatch"})


@dataclass(slots=True)
class Otherwise:
    """One booked entry that would be booked at another rate or amount by today's facts, and what would stop that."""

    entry: Standing
    figures: Figures
    is_being_reversed: bool
    stopped_by: str  # the sentence of the first rule that would hold it; empty where none would
    is_earlier: bool = False  # a later version of its document waits, and the figures are what that one would book


def booked_at_other_rates(entry_ids: Sequence[int]) -> list[Otherwise]:
    """Booked entries whose rate, amount or currency would be another by today's facts.

    An entry of an earlier version is one where the version that waits in its place has another rate: that one is open, and
    priced with the rest. Limits are asked when the new version is admitted.
    """
    with one_batch():
        assessed = assess([standing_entry(row) for row in documents.entries(entry_ids)])
    found = []
    for case in assessed.cases:
        entry, figures = case.entry, case.figures
        if (entry.rate, entry.amount, entry.currency) == (figures.rate, figures.amount, figures.currency):
            continue
        standing = case.judged.draft.standing
        stops = [finding.sentence for rule, finding in case.judged.findings if rule.code not in DECIDED]
        found.append(
            Otherwise(entry, figures, any(other.reverses_id == entry.id for other in standing), next(iter(stops), ""))
        )
    return [*found, *_earlier([entry for entry in assessed.outdated if entry.reverses_id is None])]


def _earlier(outdated: Sequence[Standing]) -> list[Otherwise]:
    """Booked entries of earlier versions whose successors, which wait, have another rate by today's facts."""
    if not outdated:
        return []
    versions = {entry.document_id: entry.version for entry in outdated}
    standing = standing_of(sorted(versions))
    waiting = [entry for there in standing.values() for entry in there.open if not entry.reverses_id]
    with one_batch():
        later = {case.entry.document_id: case.figures for case in assess(waiting).cases} if waiting else {}
    found = []
    for entry in outdated:
        figures = later.get(entry.document_id)
        if figures is None or (entry.rate, entry.currency) == (figures.rate, figures.currency):
            continue
        if any(one.reverses_id == entry.id for one in standing[entry.document_id].reversals):
            continue  # it is being taken back, and the later version follows
        found.append(Otherwise(entry, figures, is_being_reversed=False, stopped_by=EARLIER, is_earlier=True))
    return found
