"""The hand-written SQL of the close: what of a period is held, waits or is in doubt, how fast it goes, and where its money is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from portal import sql

_BOARD = """
SELECT ap.id, e.currency,
       count(*) FILTER (WHERE s.state IN ('held', 'rejected')),
       sum(e.amount) FILTER (WHERE s.state IN ('held', 'rejected')),
       count(*) FILTER (WHERE s.state IN ('held', 'rejected') AND e.amount IS NULL AND NOT e.is_cost_only),
       count(*) FILTER (WHERE s.state IN ('ready', 'sending', 'accepted')),
       sum(e.amount) FILTER (WHERE s.state IN ('ready', 'sending', 'accepted')),
       count(*) FILTER (WHERE s.state = 'in_doubt'), sum(e.amount) FILTER (WHERE s.state = 'in_doubt'),
       count(*) FILTER (WHERE s.state IN ('posted', 'reconciled')),
       count(*) FILTER (WHERE s.state IN ('posted', 'reconciled') AND s.moved_at >= now() - INTERVAL '1 hour')
  FROM portal_accountingperiod ap
  JOIN portal_ledgerentry e ON e.entity_id = ap.entity_id AND e.work_date BETWEEN ap.starts_on AND ap.ends_on
  JOIN portal_ledgerstate s ON s.entry_id = e.id
 WHERE ap.id = ANY(%s::bigint[]) AND e.kind IN ('time', 'expense')
 GROUP BY ap.id, e.currency ORDER BY ap.id, e.currency"""

_WATERFALL = """
WITH worked AS (
    SELECT d.id, v.hours FROM portal_document d
      JOIN portal_timeentry v ON v.document_id = d.id AND v.version = d.current_version
     WHERE d.entity_id = %(entity)s AND d.kind = 'time' AND v.status = 'approved' AND v.work_date BETWEEN %(start)s AND %(end)s
), entries AS (
    SELECT e.id, e.hours, e.amount, e.currency, e.is_billable AND NOT e.is_cost_only AS is_billed, s.state,
           coalesce(b.invoiced - b.credited, 0) / nullif(e.hours, 0) AS share
      FROM portal_ledgerentry e JOIN portal_ledgerstate s ON s.entry_id = e.id
      LEFT JOIN portal_billingbalance b ON b.entry_id = e.id
     WHERE e.entity_id = %(entity)s AND e.kind = 'time' AND e.reverses_id IS NULL AND s.state NOT IN ('cancelled', 'reversed')
       AND e.work_date BETWEEN %(start)s AND %(end)s
), billed AS (
    SELECT a.entry_id, sum(x.amount) FILTER (WHERE f.status NOT IN ('draft', 'voided', 'deleted')) AS stands,
           sum(x.amount * least(1, coalesce(w.paid, 0) / nullif(v.net + v.tax, 0))) AS paid
      FROM entries n JOIN portal_allocation a ON a.entry_id = n.id
     CROSS JOIN LATERAL (SELECT CASE WHEN a.currency = n.currency THEN a.amount ELSE n.amount * a.quantity / nullif(n.hours, 0) END AS amount) x
      LEFT JOIN portal_allocation c ON c.id = a.takes_back_id
     CROSS JOIN LATERAL (SELECT cv.status FROM portal_allocation r JOIN portal_invoiceline rl ON rl.id = r.line_id
                           JOIN portal_invoiceversion ro ON ro.id = rl.version_id JOIN portal_invoice ri ON ri.id = ro.invoice_id
                           JOIN portal_invoiceversion cv ON cv.id = ri.current_id
                          WHERE r.id = coalesce(c.takes_back_id, c.id, a.id)) f
      JOIN portal_invoiceline l ON l.id = a.line_id JOIN portal_invoiceversion o ON o.id = l.version_id
      JOIN portal_invoice i ON i.id = o.invoice_id JOIN portal_invoiceversion v ON v.id = i.current_id
      LEFT JOIN LATERAL (SELECT sum(p.amount) AS paid FROM portal_paymentallocation p
                          WHERE p.invoice_id = i.id AND p.by = 'cash') w ON true
     WHERE n.share <> 0 GROUP BY a.entry_id
)
SELECT w.worked, x.* FROM (SELECT coalesce(sum(hours), 0) AS worked FROM worked) w LEFT JOIN (
    SELECT coalesce(n.currency, ''), coalesce(sum(n.hours), 0),
           coalesce(sum(n.hours) FILTER (WHERE n.state IN ('posted', 'reconciled')), 0),
           coalesce(sum(n.hours) FILTER (WHERE n.state IN ('posted', 'reconciled') AND n.is_billed), 0),
           coalesce(sum(n.amount) FILTER (WHERE n.is_billed), 0),
           coalesce(sum(n.amount) FILTER (WHERE n.is_billed AND n.state IN ('posted', 'reconciled')), 0),
           coalesce(sum(p.stands) FILTER (WHERE n.is_billed AND n.state IN ('posted', 'reconciled')), 0),
           coalesce(sum(p.paid), 0)
      FROM entries n LEFT JOIN billed p ON p.entry_id = n.id GROUP BY 1 ORDER BY 1) x ON true"""  # noqa: E501

_AGES = """
SELECT leg, currency, CASE WHEN age < 15 THEN 0 WHEN age < 30 THEN 1 WHEN age < 60 THEN 2 WHEN age < 90 THEN 3 ELSE 4 END,
       count(*), sum(abs(coalesce(amount_left, 0) - coalesce(amount_right, 0)))
  FROM (SELECT r.*, %(today)s::date - r.dated AS age FROM reconciliation_reconciliationresult r
         WHERE r.period_id = ANY(%(periods)s::bigint[]) AND r.ended_run_id IS NULL AND r.standing <> 'matched') r
 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""


@dataclass(frozen=True, slots=True)
class Stand:
    """What of one period, in one currency, is not through yet, and how many entries got through in the last hour.

    An amount is None where no entry of it has a price; `held_unpriced` counts those without one among the held.
    """

    period_id: int
    currency: str
    held: int
    held_amount: Decimal | None
    held_unpriced: int
    waiting: int
    waiting_amount: Decimal | None
    in_doubt: int
    in_doubt_amount: Decimal | None
    through: int
    last_hour: int


@dataclass(frozen=True, slots=True)
class Amounts:
    """The hours of one period that are priced in one currency, and their money from the price to the payment."""

    currency: str
    on_ledger: Decimal
    posted: Decimal
    billable: Decimal
    priced: Decimal
    posted_amount: Decimal
    invoiced: Decimal
    paid: Decimal


@dataclass(frozen=True, slots=True)
class Waterfall:
    """One period from the worked hour to the paid amount, by work date: hours of all currencies, and the money of each."""

    worked: Decimal
    amounts: Sequence[Amounts]

    @property
    def on_ledger(self) -> Decimal:
        """Hours on the ledger."""
        return sum((one.on_ledger for one in self.amounts), Decimal(0))

    @property
    def posted(self) -> Decimal:
        """Hours that stand in the books."""
        return sum((one.posted for one in self.amounts), Decimal(0))

    @property
    def billable(self) -> Decimal:
        """Hours in the books that are billed by the hour."""
        return sum((one.billable for one in self.amounts), Decimal(0))


def board(period_ids: Sequence[int]) -> list[Stand]:
    """Where periods stand, by currency; one statement."""
    return [Stand(*row) for row in sql.rows(_BOARD, [list(period_ids)])]


def waterfall(entity_id: int, start: date, end: date) -> Waterfall:
    """How much of the work of some days came how far."""
    found = sql.rows(_WATERFALL, {"entity": entity_id, "start": start, "end": end})
    return Waterfall(found[0][0], [Amounts(*row[1:]) for row in found if row[1] is not None])


def ages(period_ids: Sequence[int], today: date) -> list[tuple[str, str, int, int, Decimal]]:
    """(leg, currency, bucket, rows, amount) of what is open or waits; buckets begin at 0, 15, 30, 60 and 90 days."""
    return sql.rows(_AGES, {"periods": list(period_ids), "today": today})
