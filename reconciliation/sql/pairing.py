"""The hand-written SQL of matches: what breaks, where everything stands, and which open items belong together by a rule.

The rule here: groups of one and one, one and many or many and many are one thing: the same in every criterion of the rule, with
sums that are equal within its tolerance on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from portal import sql

_KEYS = {
    "person": "coalesce(nullif(l.resource_key, ''), e.target_keys ->> 'resource')",
    "project": "coalesce(nullif(l.project_key, ''), e.target_keys ->> 'project')",
    "day": "coalesce(e.post_on, l.work_date)::text",
    "customer": "coalesce(bv.customer_id, pv.customer_id)::text",
    "amount": "abs(coalesce(r.amount_left, 0) - coalesce(r.amount_right, 0))::text",
}
_JOINS = """reconciliation_reconciliationresult r
  LEFT JOIN portal_ledgerentry e ON e.id = r.entry_id
  LEFT JOIN portal_statementline l ON l.id = r.line_id
  LEFT JOIN portal_invoice b ON b.id = r.bill_id
  LEFT JOIN portal_invoiceversion bv ON bv.id = b.current_id
  LEFT JOIN portal_payment p ON p.id = r.payment_id
  LEFT JOIN portal_paymentversion pv ON pv.id = p.current_id"""
_SUMS = (
    "coalesce(sum(hours_left), 0) AS hours_left, coalesce(sum(hours_right), 0) AS hours_right,"
    " coalesce(sum(amount_left), 0) AS amount_left, coalesce(sum(amount_right), 0) AS amount_right"
)
# A tracker states no money for hours, so on its leg hours alone say what belongs together.
_MONEY_RIGHT = "CASE WHEN r.leg <> 'tracker_ledger' OR r.amount_left IS NOT NULL THEN r.amount_right END"
MOST = 50  # items of one group


@dataclass(frozen=True, slots=True)
class Group:
    """Open items that a rule puts together: their ids and what both sides come to."""

    ids: list[int]
    subjects: list[int]
    currency: str
    hours_left: Decimal
    hours_right: Decimal
    amount_left: Decimal
    amount_right: Decimal
    matches: list[int]  # confirmed matches that its items belong to, for the past


def groups(
    leg: str, criteria: Sequence[str], hours: Decimal, amount: Decimal, *, period_id: int | None = None,
    entity_id: int | None = None, since: date | None = None,
) -> list[Group]:  # fmt: skip
    """What belongs together of a period's open items; or, of an entity's past, of what is open or was matched by people.

    Money comes in another month than its bill, and before the bill is due: there the open items of all periods of the period's
    entity count, and bills that wait for their day.
    """
    is_cash = leg == "invoice_payment"
    keys = ", ".join(f"{_KEYS[name]} AS {name}" for name in criteria)
    known = " AND ".join(f"{name} IS NOT NULL" for name in criteria)
    names = ", ".join(criteria)
    if period_id is not None and is_cash:
        which = (
            "r.period_id IN (SELECT o.id FROM portal_accountingperiod p JOIN portal_accountingperiod o"
            " ON o.entity_id = p.entity_id WHERE p.id = %(period)s) AND r.ended_run_id IS NULL AND r.match_id IS NULL"
            " AND (r.standing = 'unmatched' OR r.outcome = 'open')"
        )
    elif period_id is not None:
        which = (
            "r.period_id = %(period)s AND r.ended_run_id IS NULL AND r.standing = 'unmatched' AND r.match_id IS NULL"
        )
    else:
        which = (
            "r.period_id IN (SELECT id FROM portal_accountingperiod WHERE entity_id = %(entity)s AND ends_on >= %(since)s)"
            " AND (r.ended_run_id IS NULL AND r.standing = 'unmatched' OR r.match_id IN (SELECT id FROM"
            " reconciliation_match WHERE state = 'confirmed' AND kind = 'match' AND decided_by_id IS NOT NULL))"
        )
    statement = f"""
        WITH open AS (
            SELECT r.id, r.subject, r.period_id, r.match_id, r.currency,
                   r.hours_left, r.hours_right, r.amount_left, {_MONEY_RIGHT} AS amount_right, {keys}
              FROM {_JOINS} WHERE r.leg = %(leg)s AND {which}
        ), grouped AS (
            SELECT array_agg(id ORDER BY id) AS ids, array_agg(subject ORDER BY subject) AS subjects, currency, {_SUMS},
                   array_agg(DISTINCT match_id) FILTER (WHERE match_id IS NOT NULL) AS matches
              FROM open WHERE {known} GROUP BY {"" if is_cash else "period_id, "}currency, {names}
            HAVING count(*) BETWEEN 2 AND {MOST}
               AND count(*) FILTER (WHERE coalesce(hours_left, 0) <> 0 OR coalesce(amount_left, 0) <> 0) > 0
               AND count(*) FILTER (WHERE coalesce(hours_right, 0) <> 0 OR coalesce(amount_right, 0) <> 0) > 0
        )
        SELECT ids, subjects, currency, hours_left, hours_right, amount_left, amount_right, coalesce(matches, '{{}}') FROM grouped
         WHERE abs(hours_left - hours_right) <= %(hours)s AND abs(amount_left - amount_right) <= %(amount)s ORDER BY ids"""  # noqa: S608
    told = {
        "leg": leg, "period": period_id, "entity": entity_id, "since": since, "hours": hours, "amount": amount,
    }  # fmt: skip
    return [Group(*row) for row in sql.rows(statement, told)]


def break_what_changed(period_id: int, today: date) -> list[int]:
    """End matches of which an item of the period is found otherwise now, and what was still to come and did not; which."""
    found = sql.rows(
        """UPDATE reconciliation_match m SET state = 'broken', ended_at = now(), why = CASE WHEN m.expected_on < %(today)s
                  THEN 'It was expected by ' || m.expected_on || ' and has not come.' ELSE 'An item of it changed underneath.' END
            WHERE m.state IN ('suggested', 'confirmed')
              AND (m.period_id = %(period)s AND m.expected_on < %(today)s
                   OR m.id IN (SELECT r.match_id FROM reconciliation_reconciliationresult r
                                WHERE r.period_id = %(period)s AND r.match_id IS NOT NULL AND r.ended_run_id IS NOT NULL))
           RETURNING m.id""",
        {"period": period_id, "today": today},
    )
    return [row[0] for row in found]


def periods_of(match_ids: Sequence[int]) -> list[int]:
    """The periods whose open items these matches hold."""
    found = sql.rows(
        "SELECT DISTINCT period_id FROM reconciliation_reconciliationresult"
        " WHERE match_id = ANY(%s::bigint[]) AND ended_run_id IS NULL",
        [list(match_ids)],
    )
    return [row[0] for row in found]


def stand(period_id: int) -> int:
    """Let every open item stand where its outcome and its match put it; how many moved."""
    return sql.execute(
        """UPDATE reconciliation_reconciliationresult r SET standing = w.standing, match_id = w.match_id
             FROM (SELECT r.id, CASE WHEN m.state IN ('suggested', 'confirmed') THEN m.id END AS match_id,
                          CASE WHEN r.outcome = 'matched' THEN 'matched' WHEN r.outcome = 'open' THEN 'timing'
                               WHEN m.state = 'confirmed' AND m.kind = 'match' THEN 'matched'
                               WHEN m.state = 'confirmed' THEN 'timing'
                               WHEN m.state = 'suggested' THEN 'suggested' ELSE 'unmatched' END AS standing
                     FROM reconciliation_reconciliationresult r LEFT JOIN reconciliation_match m ON m.id = r.match_id
                    WHERE r.period_id = %s AND r.ended_run_id IS NULL AND (r.match_id IS NOT NULL OR r.standing = 'suggested'
                          OR r.standing IN ('matched', 'timing') AND r.outcome NOT IN ('matched', 'open'))) w
            WHERE w.id = r.id AND (r.standing, r.match_id) IS DISTINCT FROM (w.standing, w.match_id)""",
        [period_id],
    )


def take(match_id: int, ids: Sequence[int]) -> int:
    """Put open items that no other match has into one, and let them stand so; how many. What another worker holds is left."""
    return sql.execute(
        """UPDATE reconciliation_reconciliationresult r SET match_id = m.id,
                  standing = CASE WHEN r.outcome IN ('matched', 'open') THEN r.standing
                                  WHEN m.state = 'suggested' THEN 'suggested'
                                  WHEN m.kind = 'match' THEN 'matched' ELSE 'timing' END
             FROM reconciliation_match m
            WHERE m.id = %s AND r.id IN (SELECT id FROM reconciliation_reconciliationresult
                                          WHERE id = ANY(%s::bigint[]) AND match_id IS NULL AND ended_run_id IS NULL
                                            FOR UPDATE SKIP LOCKED)""",
        [match_id, list(ids)],
    )


def open_to_bill(ids: Sequence[int]) -> list[int]:
    """Of items of the third leg: those of which something that was delivered is on no bill."""
    found = sql.rows(
        """SELECT r.id FROM reconciliation_reconciliationresult r
             LEFT JOIN portal_ledgerentry e ON e.id = r.entry_id
             LEFT JOIN portal_milestone m ON m.id = r.milestone_id
             LEFT JOIN portal_billingbalance b ON b.entry_id = e.id
             LEFT JOIN portal_billingbalance n ON n.milestone_id = m.id
            WHERE r.id = ANY(%s::bigint[]) AND r.outcome <> 'missing_left'
              AND CASE WHEN m.id IS NOT NULL THEN m.amount > coalesce(n.invoiced - n.credited, 0)
                       WHEN e.kind = 'time' THEN e.hours > coalesce(b.invoiced - b.credited, 0)
                       ELSE e.amount > coalesce(b.invoiced - b.credited, 0) END""",
        [list(ids)],
    )
    return [row[0] for row in found]


def hit_rates(rule_ids: Sequence[int], days: int) -> dict[int, tuple[int, int, int]]:
    """Per rule: what it found in the last days, how much of it people confirmed, and how much they refused or took apart."""
    found = sql.rows(
        "SELECT rule_id, count(*), count(*) FILTER (WHERE state = 'confirmed'),"
        " count(*) FILTER (WHERE state = 'refused' OR state = 'broken' AND ended_by_id IS NOT NULL)"
        " FROM reconciliation_match WHERE rule_id = ANY(%s::bigint[]) AND made_at >= now() - make_interval(days => %s)"
        " GROUP BY rule_id",
        [list(rule_ids), days],
    )
    return {row[0]: (row[1], row[2], row[3]) for row in found}
