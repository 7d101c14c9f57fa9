"""Booked entries at other rates than are agreed by now, and what would stop them from being booked anew; nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from portal.ledger import Figures
from reconciliation.facts import Standing, standing_entry
from reconciliation.sql import documents
from reconciliation.validation.batches import one_batch
from reconciliation.validation.rechecking import assess

# What booking anew decides: the posted version is taken out, and the agreed rate holds whatever the source states.
DECIDED = frozenset({"changed-after-posting", "rate-mismatch"})


@dataclass(slots=True)
class Otherwise:
    """One booked entry that would be booked at another rate or amount by today's facts, and what would stop that."""

    entry: Standing
    figures: Figures
    is_being_reversed: bool
    stopped_by: str  # the sentence of the first rule that would hold it; empty where none would


def booked_at_other_rates(entry_ids: Sequence[int]) -> list[Otherwise]:
    """Booked entries whose rate, amount or currency would be another by today's facts.

    Entries of an earlier version are another matter: what replaces them is open, and priced with the rest. Limits are asked
    when the new version is admitted.
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
    return found
