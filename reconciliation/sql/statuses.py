"""Reading how bills and payments stand for the systems that are told of them.

The rule here: every function asks once for everybody, and says only what the system that keeps the bill states.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from portal.sql import rows
from reconciliation.sql import numbers

Row = tuple[Any, ...]
_SURVIVOR = (
    "WITH RECURSIVE survivor(id, last) AS (SELECT id, id FROM portal_customer WHERE merged_into_id IS NULL"
    " UNION ALL SELECT c.id, s.last FROM portal_customer c JOIN survivor s ON c.merged_into_id = s.id)"
)


def bills(connection_id: int, entities: Sequence[int], ids: Collection[int]) -> list[Row]:
    """(id, entity, kind, number, status, currency, net, total, balance, booked, due, paid, customer, projects, booked in).

    Of bills whose customer is known, drafts left out unless the system was told of them. The balance is the one that is
    stated, else what settlements leave, and nothing
    where a part is paid that nobody names; `paid` is the day of the money that came last, once it is paid in full.
    """
    return rows(
        f"""
        {_SURVIVOR}
        SELECT i.id, i.entity_id, i.kind, coalesce(nullif(c.number, ''), i.external_id), c.status, c.currency, c.net, c.total,
               CASE WHEN c.status IN ('voided', 'deleted') THEN 0
                    WHEN c.balance IS NULL AND c.status = 'part_paid' AND s.settled = 0 THEN NULL
                    ELSE coalesce(c.balance, c.total - s.settled) END,
               c.booked_on, c.due_on, CASE WHEN c.status = 'paid' THEN s.paid_on END, v.last, coalesce(p.codes, ''), k.code
          FROM portal_invoice i
          JOIN portal_invoiceversion c ON c.id = i.current_id
          JOIN portal_invoiceversion a ON a.id = coalesce(i.agreed_id, i.current_id)
          JOIN portal_connection k ON k.id = i.connection_id
          JOIN survivor v ON v.id = coalesce(c.customer_id, a.customer_id)
         CROSS JOIN LATERAL (
               SELECT coalesce(sum(p.amount), 0) AS settled,
                      max(p.booked_on) FILTER (WHERE p.by = 'cash' AND p.amount > 0) AS paid_on
                 FROM portal_paymentallocation p
                WHERE CASE WHEN i.kind = 'invoice' THEN p.invoice_id = i.id
                           ELSE p.credit_version_id IN (SELECT x.id FROM portal_invoiceversion x WHERE x.invoice_id = i.id) END) s
         CROSS JOIN LATERAL (
               SELECT string_agg(DISTINCT j.code, ', ' ORDER BY j.code) AS codes
                 FROM portal_invoiceversion x JOIN portal_invoiceline l ON l.version_id = x.id
                 JOIN portal_allocation y ON y.line_id = l.id
                 LEFT JOIN portal_ledgerentry e ON e.id = y.entry_id LEFT JOIN portal_milestone m ON m.id = y.milestone_id
                 JOIN portal_project j ON j.id = coalesce(e.project_id, m.project_id)
                WHERE x.invoice_id = i.id) p
         WHERE i.id = ANY(%(ids)s::bigint[]) AND i.entity_id = ANY(%(entities)s)
           AND (c.status NOT IN ('draft', 'deleted')
                OR EXISTS (SELECT 1 FROM portal_published b WHERE b.connection_id = %(id)s AND b.kind = 'invoice'
                              AND b.internal_id = i.id))
         ORDER BY i.id""",  # noqa: S608 - our own words
        {"id": connection_id, "entities": list(entities), "ids": numbers(ids)},
    )


def payments(entities: Sequence[int], ids: Collection[int]) -> list[Row]:
    """(id, entity, kind, number, status, currency, amount, booked, customer, booked in) of payments whose customer is known."""
    return rows(
        f"""
        {_SURVIVOR}
        SELECT p.id, p.entity_id, p.kind, coalesce(nullif(c.number, ''), p.external_id), c.status, c.currency, c.amount,
               c.booked_on, v.last, k.code
          FROM portal_payment p
          JOIN portal_paymentversion c ON c.id = p.current_id
          JOIN portal_connection k ON k.id = p.connection_id
          JOIN survivor v ON v.id = coalesce(c.customer_id, (
               SELECT x.customer_id FROM portal_paymentversion x
                WHERE x.payment_id = p.id AND x.customer_id IS NOT NULL ORDER BY x.version DESC LIMIT 1))
         WHERE p.id = ANY(%s::bigint[]) AND p.entity_id = ANY(%s) ORDER BY p.id""",  # noqa: S608 - our own words
        [numbers(ids), list(entities)],
    )


def settled(payment_ids: Collection[int]) -> list[Row]:
    """(payment, invoice, amount) of what payments settle now; nothing left of what was taken back, which is told as well."""
    return rows(
        "SELECT v.payment_id, a.invoice_id, sum(a.amount) FROM portal_paymentallocation a"
        " JOIN portal_paymentversion v ON v.id = a.payment_version_id"
        " WHERE v.payment_id = ANY(%s::bigint[]) AND a.invoice_id IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2",
        [numbers(payment_ids)],
    )


def told(connection_id: int, bill_ids: Collection[int]) -> set[int]:
    """Which of these bills a system is told of."""
    return {
        row[0]
        for row in rows(
            "SELECT internal_id FROM portal_published WHERE connection_id = %s AND kind = 'invoice'"
            " AND internal_id = ANY(%s::bigint[])",
            [connection_id, numbers(bill_ids)],
        )
    }


def concerned(bill_ids: Collection[int], payment_ids: Collection[int]) -> tuple[list[int], list[int]]:
    """The bills and payments whose standing may have moved with these: what pays the bills, and what the payments settle."""
    found = rows(
        "SELECT DISTINCT v.payment_id, a.invoice_id FROM portal_paymentallocation a"
        " JOIN portal_paymentversion v ON v.id = a.payment_version_id"
        " WHERE a.invoice_id IS NOT NULL AND (a.invoice_id = ANY(%s::bigint[]) OR v.payment_id = ANY(%s::bigint[]))",
        [numbers(bill_ids), numbers(payment_ids)],
    )
    credited = rows(
        "SELECT a.invoice_id FROM portal_paymentallocation a JOIN portal_invoiceversion v ON v.id = a.credit_version_id"
        " WHERE v.invoice_id = ANY(%s::bigint[]) AND a.invoice_id IS NOT NULL"
        " UNION SELECT v.invoice_id FROM portal_paymentallocation a JOIN portal_invoiceversion v ON v.id = a.credit_version_id"
        " WHERE a.invoice_id = ANY(%s::bigint[])",
        [numbers(bill_ids), numbers(bill_ids)],
    )
    bill_set = {*bill_ids, *(row[0] for row in credited), *(row[1] for row in found if row[0] in set(payment_ids))}
    return sorted(bill_set), sorted({*payment_ids, *(row[0] for row in found)})


def of_customers(ids: Collection[int]) -> list[int]:
    """The bills of customers and of those that were merged into them."""
    return [
        row[0]
        for row in rows(
            "WITH RECURSIVE family(id) AS (SELECT unnest(%s::bigint[]) UNION SELECT c.id FROM portal_customer c"
            " JOIN family f ON c.merged_into_id = f.id)"
            " SELECT i.id FROM portal_invoice i JOIN portal_invoiceversion v ON v.id = i.current_id"
            " WHERE v.customer_id IN (SELECT id FROM family) ORDER BY 1",
            [numbers(ids)],
        )
    ]


def not_told(connection_id: int, entities: Sequence[int], kinds: Collection[str]) -> tuple[list[int], list[int]]:
    """Bills and payments of some entities that a system was never told of, or that moved within the last two days."""
    query = (
        "SELECT d.id FROM {table} d JOIN {table}version c ON c.id = d.current_id WHERE d.entity_id = ANY(%s)"
        " AND (c.recorded_at > now() - interval '2 days' OR NOT EXISTS (SELECT 1 FROM portal_published b"
        " WHERE b.connection_id = %s AND b.kind = %s AND b.internal_id = d.id)) ORDER BY d.id"
    )
    found = {
        kind: [row[0] for row in rows(query.format(table=table), [list(entities), connection_id, kind])]
        for kind, table in (("invoice", "portal_invoice"), ("payment", "portal_payment"))
        if kind in kinds
    }
    return found.get("invoice", []), found.get("payment", [])
