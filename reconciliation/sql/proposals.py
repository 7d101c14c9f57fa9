"""What fixes by hand amount to, as evidence for a rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from portal.sql import execute, rows


def one_at_a_time(code: str) -> None:
    """Let one person at a time propose what a code stands for, until the transaction ends."""
    execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 11))", [code])


def evidence(operation_ids: Sequence[int], cause_ids: Sequence[int]) -> dict[str, Any]:
    """Entries, hours, people, first and last work date, and money by currency of what these operations fixed; two statements.

    Only what one of the causes had stopped is counted, also where another cause took it over; and no row that failed or was
    skipped.
    """
    fixed = (
        "reconciliation_operationrow r JOIN portal_ledgerentry e ON e.id = r.entry_id"
        " WHERE r.operation_id = ANY(%s::bigint[]) AND r.result IN ('pending', 'done')"
        " AND EXISTS (SELECT 1 FROM reconciliation_hold h WHERE h.entry_id = e.id"
        " AND coalesce(h.merged_from_id, h.case_id) = ANY(%s::bigint[]))"
    )
    ids = [list(operation_ids), list(cause_ids)]
    entries, hours, people, first, last = rows(
        "SELECT count(DISTINCT e.document_id), coalesce(sum(e.hours), 0), count(DISTINCT e.resource_id), min(e.work_date),"  # noqa: S608
        f" max(e.work_date) FROM {fixed}",
        ids,
    )[0]
    money = rows(
        f"SELECT r.currency_after, sum(r.amount_after) FROM {fixed} AND r.amount_after IS NOT NULL GROUP BY 1 ORDER BY 1",  # noqa: S608
        ids,
    )
    return {
        "operations": len(operation_ids),
        "entries": entries,
        "hours": str(hours),
        "people": people,
        "first_day": str(first),
        "last_day": str(last),
        "money": {currency: str(amount) for currency, amount in money},
    }
