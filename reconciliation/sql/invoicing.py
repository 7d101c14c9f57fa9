"""The hand-written SQL of invoice proposals: what is left to bill, what spoils a draft, and the parts that proposals hold.

The rule here: one statement for everything that is asked at once, whatever the number of entries.
"""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from typing import NamedTuple

from portal.sql import rows
from reconciliation.sql import numbers

# Of a part: what is left to bill of what it is about, were its own proposal not there; and why it may not be billed at all.
_WRONG = """
    SELECT l.draft_id, l.proposal_id, p.id, CASE
             WHEN e.id IS NOT NULL AND s.state NOT IN ('posted', 'reconciled')
               THEN 'entry ' || e.id || ' is ' || replace(s.state, '_', ' ')
             WHEN e.id IS NOT NULL AND (NOT e.is_billable OR e.is_cost_only) THEN 'entry ' || e.id || ' is not billable'
             WHEN EXISTS (SELECT 1 FROM portal_ledgerentry r JOIN portal_ledgerstate rs ON rs.entry_id = r.id
                           WHERE r.reverses_id = e.id AND rs.state <> 'cancelled') THEN 'entry ' || e.id || ' is being reversed'
             WHEN m.id IS NOT NULL AND m.amount < p.quantity THEN 'milestone ' || m.code || ' was changed'
             ELSE CASE WHEN e.id IS NOT NULL THEN 'entry ' || e.id ELSE 'milestone ' || m.code END
                  || ' is billed elsewhere by now' END
      FROM portal_proposalpart p JOIN portal_proposalline l ON l.id = p.line_id
      LEFT JOIN portal_ledgerentry e ON e.id = p.entry_id LEFT JOIN portal_ledgerstate s ON s.entry_id = e.id
      LEFT JOIN portal_milestone m ON m.id = p.milestone_id
      LEFT JOIN portal_billingbalance b ON b.entry_id = e.id OR b.milestone_id = m.id
     WHERE p.released_at IS NULL
       AND (s.state NOT IN ('posted', 'reconciled') OR NOT e.is_billable OR e.is_cost_only
            OR m.amount < p.quantity OR b.delivered - b.invoiced + b.credited < p.quantity
            OR EXISTS (SELECT 1 FROM portal_ledgerentry r JOIN portal_ledgerstate rs ON rs.entry_id = r.id
                        WHERE r.reverses_id = e.id AND rs.state <> 'cancelled'))"""


def spoilt(draft_ids: Collection[int]) -> dict[int, str]:
    """Drafts with something on them that may not be billed any more, and what, in words."""
    found = rows(f"{_WRONG} AND l.draft_id = ANY(%s::bigint[]) ORDER BY p.id DESC", [numbers(draft_ids)])
    return {row[0]: row[3] for row in found}


class Spoilt(NamedTuple):
    """One part of a proposal that may not be billed any more, and why."""

    part_id: int
    why: str


def spoilt_parts(proposal_id: int) -> list[Spoilt]:
    """What of a proposal may not be billed any more."""
    found = rows(f"{_WRONG} AND l.proposal_id = %s ORDER BY p.id", [proposal_id])
    return [Spoilt(row[2], row[3]) for row in found]


ZERO = Decimal(0)
