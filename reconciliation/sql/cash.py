"""What cases hold, in money and in money times days; written by the batch that counted them, and once a day for all."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date
from decimal import Decimal

from portal.sql import execute, rows

# The contract's word counts before the customer's; a schedule and its day always come from the same one of the two.
_TOLD = """
    SELECT CASE WHEN coalesce(k.invoice_schedule, '') <> '' THEN k.invoice_schedule
                ELSE coalesce(u.invoice_schedule, '') END AS schedule,
           CASE WHEN coalesce(k.invoice_schedule, '') <> '' THEN k.invoice_day ELSE u.invoice_day END AS day,
           coalesce(k.payment_terms_days, u.payment_terms_days, 0) AS terms"""

_TOTALS = f"""
    INSERT INTO reconciliation_casetotal (case_id, currency, holds, amount, estimate, at_risk)
    SELECT r.case_id, r.currency, sum(r.holds), sum(r.amount), sum(r.estimate), sum(r.billable * d.days)
      FROM reconciliation_casereach r
      LEFT JOIN portal_contract k ON k.id = r.contract_id
      LEFT JOIN portal_customer u ON u.id = r.customer_id
     CROSS JOIN LATERAL ({_TOLD}) told
     CROSS JOIN LATERAL (
           SELECT CASE told.schedule WHEN 'none' THEN 0
                                     WHEN 'weekly' THEN 7 + told.terms
                                     WHEN 'monthly' THEN (%(gaps)s::int[])[told.day] + told.terms
                                     ELSE %(unknown)s + told.terms END AS days
           ) d
     WHERE r.case_id = ANY(%(ids)s::bigint[]) AND r.currency <> ''
     GROUP BY r.case_id, r.currency"""  # noqa: S608


def _latest(code: str, into: str) -> str:
    """What one unit of a currency is worth in another today: the latest rate of the pair, told either way round."""
    told = "FROM portal_exchangerate WHERE currency = {} AND to_currency = {} AND valid_from <= %(today)s"
    last = "ORDER BY valid_from DESC LIMIT 1"
    return f"""
        SELECT factor, valid_from, source FROM (
            (SELECT rate AS factor, valid_from, source, 1 AS turn {told.format(code, into)} {last})
            UNION ALL (SELECT 1 / rate, valid_from, source, 2 {told.format(into, code)} {last})
            UNION ALL SELECT 1, 'infinity'::date, '', 0 WHERE {code} = {into}
        ) either ORDER BY valid_from DESC, turn LIMIT 1"""  # noqa: S608


_LEADING = f"""
    UPDATE reconciliation_exceptioncase c
       SET held_currency = own.currency, held_amount = own.amount, cash_at_risk = own.at_risk, weighed_on = %(today)s,
           compared_in = CASE WHEN whole.is_compared THEN grouped.currency ELSE own.currency END,
           compared_amount = CASE WHEN whole.is_compared THEN whole.amount ELSE own.amount END,
           compared_risk = CASE WHEN whole.is_compared THEN whole.at_risk ELSE own.at_risk END,
           is_apart = grouped.currency <> '' AND NOT whole.is_compared
      FROM unnest(%(ids)s::bigint[]) AS w(id)
      JOIN reconciliation_exceptioncase mine ON mine.id = w.id
      JOIN portal_legalentity entity ON entity.id = mine.entity_id
      LEFT JOIN LATERAL (
           SELECT t.currency, t.amount + t.estimate AS amount, t.at_risk FROM reconciliation_casetotal t
            WHERE t.case_id = w.id AND t.amount + t.estimate <> 0
            ORDER BY t.currency = entity.currency DESC, t.at_risk DESC, t.amount + t.estimate DESC, t.currency LIMIT 1
           ) led ON true
     CROSS JOIN LATERAL (
           SELECT coalesce(led.currency, entity.currency) AS currency, coalesce(led.amount, 0) AS amount,
                  coalesce(led.at_risk, 0) AS at_risk
           ) own
     CROSS JOIN LATERAL (SELECT coalesce(entity.policy ->> 'group_currency', '') AS currency) grouped
     CROSS JOIN LATERAL (
           SELECT grouped.currency <> '' AND coalesce(bool_and(r.factor IS NOT NULL), true) AS is_compared,
                  coalesce(sum((t.amount + t.estimate) * r.factor), 0) AS amount,
                  coalesce(sum(t.at_risk * r.factor), 0) AS at_risk
             FROM reconciliation_casetotal t LEFT JOIN LATERAL ({_latest("t.currency", "grouped.currency")}) r ON true
            WHERE t.case_id = w.id AND (t.amount <> 0 OR t.estimate <> 0 OR t.at_risk <> 0)
           ) whole
     WHERE c.id = w.id"""  # noqa: S608


def weigh(case_ids: Sequence[int], *, today: date, gaps: Sequence[int], unknown: int) -> None:
    """Write the totals of cases and what orders them. `gaps` are the days between the next two runs of each day of a month."""
    told = {"ids": list(case_ids), "gaps": list(gaps), "unknown": unknown, "today": today}
    execute("DELETE FROM reconciliation_casetotal WHERE case_id = ANY(%(ids)s::bigint[])", told)
    execute(_TOTALS, told)
    execute(_LEADING, told)


def not_weighed_on(today: date, limit: int) -> list[int]:
    """Open cases whose cash at risk is of another day."""
    return [
        row[0]
        for row in rows(
            "SELECT id FROM reconciliation_exceptioncase WHERE state = 'open' AND weighed_on IS DISTINCT FROM %s"
            " ORDER BY id LIMIT %s FOR NO KEY UPDATE SKIP LOCKED",
            [today, limit],
        )
    ]


def rates(codes: Collection[str], into: str, today: date) -> list[tuple[str, Decimal, date, str]]:
    """(currency, what a unit of it is worth, from which day, who said so) for those of some currencies that have a rate."""
    found: list[tuple[str, Decimal, date, str]] = rows(
        "SELECT w.code, r.factor, r.valid_from, r.source FROM unnest(%(codes)s::text[]) AS w(code)"  # noqa: S608
        f" CROSS JOIN LATERAL ({_latest('w.code', '%(into)s')}) r WHERE w.code <> %(into)s ORDER BY w.code",
        {"codes": sorted(codes), "into": into, "today": today},
    )
    return found


def of_entities_and_rates(entities: Collection[int], exchange_rates: Collection[int]) -> list[int]:
    """Open cases of these entities, or that hold a currency of which these exchange rates tell."""
    return [
        row[0]
        for row in rows(
            "SELECT c.id FROM reconciliation_exceptioncase c WHERE c.state = 'open' AND (c.entity_id = ANY(%s::bigint[])"
            " OR c.id IN (SELECT t.case_id FROM reconciliation_casetotal t JOIN portal_exchangerate x"
            " ON t.currency IN (x.currency, x.to_currency) WHERE x.id = ANY(%s::bigint[])))"
            " ORDER BY c.id FOR NO KEY UPDATE",
            [list(entities), list(exchange_rates)],
        )
    ]


def of_customers_and_contracts(customers: Collection[int], contracts: Collection[int]) -> list[int]:
    """Open cases that hold work of these customers, or under these contracts."""
    return [
        row[0]
        for row in rows(
            "SELECT c.id FROM reconciliation_exceptioncase c WHERE c.state = 'open' AND c.id IN ("
            "SELECT case_id FROM reconciliation_casereach WHERE customer_id = ANY(%s::bigint[])"
            " UNION SELECT case_id FROM reconciliation_casereach WHERE contract_id = ANY(%s::bigint[]))"
            " ORDER BY c.id FOR NO KEY UPDATE",
            [list(customers), list(contracts)],
        )
    ]
