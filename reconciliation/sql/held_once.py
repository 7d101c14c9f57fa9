"""The hand-written SQL of what is held, each entry once by whatever stops it: of a project month, and under several causes.

The rule here: an entry that two causes stop is one entry, and its money is there once.
"""

from __future__ import annotations

from collections.abc import Sequence
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


@dataclass(frozen=True, slots=True)
class Again:
    """What stands under more than one cause, as often as it is counted beyond the first time."""

    currency: str
    entries: int
    hours: Decimal
    amount: Decimal


def again(case_ids: Sequence[int]) -> list[Again]:
    """By currency, how much too much these open causes come to together, since an entry stands under each that stops it.

    Which entries have two open holds is read of their index alone; only those are looked at.
    """
    if len(case_ids) < 2:
        return []
    found = rows(
        """WITH twice AS (
               SELECT entry_id FROM reconciliation_hold WHERE closed_at IS NULL GROUP BY entry_id HAVING count(*) > 1),
           more AS (
               SELECT h.entry_id, count(*) - 1 AS times FROM twice t
                 JOIN reconciliation_hold h ON h.entry_id = t.entry_id AND h.closed_at IS NULL AND h.case_id = ANY(%s::bigint[])
                GROUP BY h.entry_id HAVING count(*) > 1)
           SELECT coalesce(e.currency, ''), sum(m.times), coalesce(sum(m.times * e.hours), 0),
                  coalesce(sum(m.times * e.amount), 0)
             FROM more m JOIN portal_ledgerentry e ON e.id = m.entry_id GROUP BY 1 ORDER BY 1""",
        [list(case_ids)],
    )
    return [Again(currency, int(entries), hours, amount) for currency, entries, hours, amount in found]


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
