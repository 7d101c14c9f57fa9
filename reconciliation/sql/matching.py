"""The hand-written SQL of what a comparison tells people: differences by kind, and the causes that are outdated by it."""

from __future__ import annotations

from typing import cast

from portal import sql

RECEIPTED = ["accepted", "posted", "reconciled", "reversed"]


_DIFFERS = "r.ended_run_id IS NULL AND r.standing IN ('unmatched', 'suggested')"


def differing(run_id: int, period_id: int) -> list[tuple[str, str, int, list[int], list[str]]]:
    """What differs in a period, by leg and outcome: how many, which entries in the books are new to it, and the first reasons.

    New is what this run found first. An entry that is not in the books is left out: it is owed all the same, and nothing may
    keep it from going. Nor does a missing bill stop an entry, which is where it should be.
    """
    return cast(
        "list[tuple[str, str, int, list[int], list[str]]]",
        sql.rows(
            f"""SELECT r.leg, r.outcome, count(*)::int,
                       coalesce(array_agg(DISTINCT s.entry_id) FILTER (WHERE s.state = ANY(%(receipted)s)), '{{}}'),
                       (array_agg(r.reason ORDER BY r.id))[1:3]
                  FROM reconciliation_reconciliationresult r
                  LEFT JOIN LATERAL (SELECT entry_id, state FROM portal_ledgerstate WHERE entry_id = r.entry_id AND r.run_id = %(run)s
                                        AND r.leg IN ('tracker_ledger', 'ledger_target') OFFSET 0) s ON true
                 WHERE r.period_id = %(period)s AND {_DIFFERS} GROUP BY r.leg, r.outcome ORDER BY r.leg, r.outcome""",  # noqa: S608, E501
            {"receipted": RECEIPTED, "run": run_id, "period": period_id},
        ),
    )


def outdated_holds(rule: str, prefix: str, period_id: int, ended_by: int | None) -> list[int]:
    """Open holds of this rule's cases whose key begins so, where the entry does not differ that way any more.

    `ended_by` limits them to entries of which that run found something otherwise.
    """
    within = "" if ended_by is None else (
        " AND h.entry_id IN (SELECT entry_id FROM reconciliation_reconciliationresult WHERE ended_run_id = %(ended_by)s)"
    )  # fmt: skip
    return [
        row[0]
        for row in sql.rows(
            "SELECT h.id FROM reconciliation_hold h JOIN reconciliation_exceptioncase c ON c.id = h.case_id"  # noqa: S608
            " WHERE c.rule = %(rule)s AND c.state = 'open' AND starts_with(c.subject_key, %(prefix)s) AND h.closed_at IS NULL"
            f"{within} AND NOT EXISTS (SELECT 1 FROM reconciliation_reconciliationresult r"
            f" WHERE r.period_id = %(period)s AND {_DIFFERS}"
            " AND r.entry_id = h.entry_id AND c.subject_key = %(prefix)s || r.leg || ':' || r.outcome)",
            {"rule": rule, "prefix": prefix, "period": period_id, "ended_by": ended_by},
        )
    ]


def open_keys(rule: str, prefix: str) -> list[str]:
    """The subject keys of this rule's open cases that begin so."""
    return [
        row[0]
        for row in sql.rows(
            "SELECT subject_key FROM reconciliation_exceptioncase"
            " WHERE rule = %s AND state = 'open' AND starts_with(subject_key, %s)",
            [rule, prefix],
        )
    ]
