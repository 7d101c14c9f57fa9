"""What stands on bills although the books take it back: hours whose entry is reversed, or whose source took its word back.

The rule here: a fixed number of statements, whatever the number of bills. What is booked anew with the same to be billed is
nothing that a bill owes; the line bills the new entry then.
"""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from typing import NamedTuple

from portal.sql import rows
from reconciliation.sql import numbers

GONE = ("approval-withdrawn-after-posting", "deleted-at-source")  # the holds of what its source took back

# An entry `n` that bills for entry `e` what that billed: the same work, for the same money, to the same customer, booked later.
BOOKED_ANEW = """n.document_id = e.document_id AND n.id > e.id AND n.reverses_id IS NULL
        AND n.part = e.part AND n.kind = e.kind AND n.project_id IS NOT DISTINCT FROM e.project_id
        AND n.customer_id IS NOT DISTINCT FROM e.customer_id AND n.hours IS NOT DISTINCT FROM e.hours
        AND n.amount IS NOT DISTINCT FROM e.amount AND n.currency = e.currency AND n.entity_id = e.entity_id
        AND n.is_billable AND NOT n.is_cost_only"""


class TakenBack(NamedTuple):
    """One entry that stands on a bill although it is taken back, and what is booked in its place."""

    bill_id: int
    entry_id: int
    document_id: int
    kind: str
    project_id: int | None
    project: str
    quantity: Decimal  # hours that stand billed, or money of an expense
    amount: Decimal
    currency: str
    reversal_id: int | None  # None while its source took it back and nobody has decided yet
    reversal_state: str
    version: int
    successor_id: int | None
    successor_version: int | None
    successor_project_id: int | None
    successor_project: str
    successor_hours: Decimal | None
    successor_amount: Decimal | None  # of all its parts; None where it is not billed
    successor_currency: str


def of_bills(bill_ids: Collection[int]) -> list[TakenBack]:
    """What of bills is to be credited since the books took it back, by bill and entry."""
    found = rows(
        f"""
        WITH RECURSIVE given(id, root, invoice_id) AS (
            SELECT a.id, a.id, v.invoice_id FROM portal_invoiceversion v
              JOIN portal_invoiceline l ON l.version_id = v.id JOIN portal_allocation a ON a.line_id = l.id
             WHERE v.invoice_id = ANY(%(bills)s::bigint[]) AND a.takes_back_id IS NULL AND a.entry_id IS NOT NULL
            UNION ALL SELECT a.id, g.root, g.invoice_id FROM portal_allocation a JOIN given g ON a.takes_back_id = g.id),
        standing AS (
            SELECT g.invoice_id, first.entry_id, first.currency, sum(a.quantity) AS quantity, sum(a.amount) AS amount
              FROM given g JOIN portal_allocation a ON a.id = g.id JOIN portal_allocation first ON first.id = g.root
             GROUP BY 1, 2, 3 HAVING sum(a.quantity) > 0 OR sum(a.amount) > 0)
        SELECT b.invoice_id, e.id, e.document_id, e.kind, e.project_id, coalesce(p.code, ''), b.quantity, b.amount, b.currency,
               r.id, coalesce(r.state, ''), e.version, n.id, n.version, n.project_id, coalesce(q.code, ''), n.hours, n.amount,
               coalesce(n.currency, '')
          FROM standing b JOIN portal_ledgerentry e ON e.id = b.entry_id LEFT JOIN portal_project p ON p.id = e.project_id
          LEFT JOIN LATERAL (
               SELECT x.id, xs.state FROM portal_ledgerentry x JOIN portal_ledgerstate xs ON xs.entry_id = x.id
                WHERE x.reverses_id = e.id AND xs.state <> 'cancelled' ORDER BY x.id DESC LIMIT 1) r ON true
          LEFT JOIN LATERAL (
               SELECT min(x.id) AS id, max(x.version) AS version, min(x.project_id) AS project_id, sum(x.hours) AS hours,
                      sum(x.amount) FILTER (WHERE x.is_billable AND NOT x.is_cost_only) AS amount, min(x.currency) AS currency
                 FROM portal_ledgerentry x JOIN portal_ledgerstate xs ON xs.entry_id = x.id
                WHERE x.document_id = e.document_id AND x.id <> e.id AND x.reverses_id IS NULL
                  AND xs.state NOT IN ('cancelled', 'reversed') AND (x.version > e.version OR x.id > e.id)
                  AND (x.version <> e.version OR x.part = e.part)) n ON true
          LEFT JOIN portal_project q ON q.id = n.project_id
         WHERE (r.id IS NOT NULL OR EXISTS (
                  SELECT 1 FROM reconciliation_hold h
                   WHERE h.entry_id = e.id AND h.closed_at IS NULL AND h.rule = ANY(%(gone)s)))
           AND NOT EXISTS (SELECT 1 FROM portal_ledgerentry n JOIN portal_ledgerstate s ON s.entry_id = n.id
                            WHERE s.state NOT IN ('cancelled', 'reversed') AND {BOOKED_ANEW})
         ORDER BY b.invoice_id, e.id""",  # noqa: S608
        {"bills": numbers(bill_ids), "gone": list(GONE)},
    )
    return [TakenBack(*row) for row in found]


def bills_of(document_ids: Collection[int]) -> list[int]:
    """The bills on which something of these documents stands, or ever stood."""
    found = rows(
        "SELECT DISTINCT v.invoice_id FROM portal_billingbalance b JOIN portal_allocation a ON a.entry_id = b.entry_id"
        " JOIN portal_invoiceline l ON l.id = a.line_id JOIN portal_invoiceversion v ON v.id = l.version_id"
        " WHERE b.document_id = ANY(%s::bigint[]) AND a.takes_back_id IS NULL ORDER BY 1",
        [numbers(document_ids)],
    )
    return [row[0] for row in found]


class OnBill(NamedTuple):
    """What of some entries' documents stands on one bill."""

    bill_id: int
    number: str
    entries: int
    quantity: Decimal
    amount: Decimal
    currency: str


def on_bills(entry_ids: Collection[int]) -> tuple[int, list[OnBill]]:
    """How many of these entries have something of their document on a bill, and what stands on which."""
    found = rows(
        """
        WITH RECURSIVE asked AS (
            SELECT DISTINCT e.document_id FROM portal_ledgerentry e WHERE e.id = ANY(%(entries)s::bigint[])),
        given(id, root, document_id) AS (
            SELECT a.id, a.id, b.document_id FROM asked q JOIN portal_billingbalance b ON b.document_id = q.document_id
              JOIN portal_allocation a ON a.entry_id = b.entry_id
             WHERE b.invoiced > b.credited AND a.takes_back_id IS NULL
            UNION ALL SELECT a.id, g.root, g.document_id FROM portal_allocation a JOIN given g ON a.takes_back_id = g.id),
        standing AS (
            SELECT g.document_id, v.invoice_id, first.currency, sum(a.quantity) AS quantity, sum(a.amount) AS amount
              FROM given g JOIN portal_allocation a ON a.id = g.id JOIN portal_allocation first ON first.id = g.root
              JOIN portal_invoiceline l ON l.id = first.line_id JOIN portal_invoiceversion v ON v.id = l.version_id
             GROUP BY 1, 2, 3 HAVING sum(a.quantity) > 0 OR sum(a.amount) > 0)
        SELECT i.id, coalesce(nullif(c.number, ''), i.external_id), array_agg(o.ids), sum(s.quantity), sum(s.amount), s.currency
          FROM standing s JOIN portal_invoice i ON i.id = s.invoice_id JOIN portal_invoiceversion c ON c.id = i.current_id
         CROSS JOIN LATERAL (
               SELECT string_agg(e.id::text, ' ') AS ids FROM portal_ledgerentry e
                WHERE e.document_id = s.document_id AND e.id = ANY(%(entries)s::bigint[])) o
         GROUP BY i.id, c.number, i.external_id, s.currency ORDER BY i.id, s.currency""",
        {"entries": numbers(entry_ids)},
    )
    ids = [{one for some in row[2] for one in some.split()} for row in found]
    return len(set().union(*ids)), [
        OnBill(row[0], row[1], len(of), *row[3:]) for row, of in zip(found, ids, strict=True)
    ]


def bills_booked_anew(entry_ids: Collection[int]) -> list[int]:
    """The bills on which stands what some entries were booked anew for: the same work in the place of what was reversed."""
    found = rows(
        f"""
        SELECT DISTINCT v.invoice_id FROM portal_ledgerentry n
          JOIN portal_billingbalance b ON b.document_id = n.document_id AND b.entry_id < n.id AND b.invoiced > b.credited
          JOIN portal_ledgerentry e ON e.id = b.entry_id AND {BOOKED_ANEW}
          JOIN portal_ledgerstate es ON es.entry_id = e.id AND es.state = 'reversed'
          JOIN portal_allocation a ON a.entry_id = e.id AND a.takes_back_id IS NULL
          JOIN portal_invoiceline l ON l.id = a.line_id JOIN portal_invoiceversion v ON v.id = l.version_id
         WHERE n.id = ANY(%s::bigint[]) ORDER BY 1""",  # noqa: S608
        [numbers(entry_ids)],
    )
    return [row[0] for row in found]


def not_taken_whole(connection_id: int) -> list[int]:
    """Bills of a connection of which a line could not be taken, or that bill an entry in whose place the same was booked anew."""
    found = rows(
        f"""
        SELECT c.subject_key::bigint FROM reconciliation_exceptioncase c
         WHERE c.state = 'open' AND c.connection_id = %(connection)s AND c.subject_type = 'bill'
           AND c.rule IN ('hour-billed-twice', 'billed-line-unknown', 'billed-work-taken-back')
        UNION
        SELECT DISTINCT v.invoice_id FROM portal_billingbalance b
          JOIN portal_ledgerstate es ON es.entry_id = b.entry_id AND es.state = 'reversed'
          JOIN portal_ledgerentry e ON e.id = b.entry_id
          JOIN portal_allocation a ON a.entry_id = e.id AND a.takes_back_id IS NULL
          JOIN portal_invoiceline l ON l.id = a.line_id JOIN portal_invoiceversion v ON v.id = l.version_id
          JOIN portal_invoice i ON i.id = v.invoice_id AND i.connection_id = %(connection)s
          JOIN portal_ledgerentry n ON {BOOKED_ANEW}
          JOIN portal_ledgerstate ns ON ns.entry_id = n.id AND ns.state IN ('posted', 'reconciled')
         WHERE b.invoiced > b.credited ORDER BY 1""",  # noqa: S608
        {"connection": connection_id},
    )
    return [row[0] for row in found]
