"""The hand-written SQL of what is held of a project month, each entry once by whatever stops it.

The rule here: an entry that two causes stop is one entry, and its money is there once.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from portal.sql import rows


@dataclass(frozen=True, slots=True)
class Held:
    """Entries that exactly these rules stop, and what of them is billable in the month's currency."""

    rules: tuple[str, ...]
    entries: int
    amount: Decimal


def of_month(month: Any) -> list[Held]:
    """What is held of a project month by all the rules that stop an entry of it."""
    told = {"project": month.project_id, "period": month.period_id, "currency": month.currency}
    found = rows(
        """SELECT rules, count(*), coalesce(sum(amount), 0)
              FROM (SELECT e.id, array_agg(DISTINCT h.rule ORDER BY h.rule) AS rules,
                           min(e.amount) FILTER (
                               WHERE e.is_billable AND NOT e.is_cost_only AND e.currency = %(currency)s) AS amount
                      FROM (SELECT entry_id, rule FROM reconciliation_hold WHERE closed_at IS NULL AND case_id IN (
                                   SELECT case_id FROM reconciliation_casereach WHERE project_id = %(project)s)) h
                     CROSS JOIN LATERAL (SELECT * FROM portal_ledgerentry WHERE id = h.entry_id OFFSET 0) e
                      JOIN portal_accountingperiod ap ON ap.id = %(period)s AND e.work_date BETWEEN ap.starts_on AND ap.ends_on
                     WHERE e.project_id = %(project)s GROUP BY e.id) one
             GROUP BY rules ORDER BY rules""",
        told,
    )
    return [Held(tuple(rules), entries, amount) for rules, entries, amount in found]
