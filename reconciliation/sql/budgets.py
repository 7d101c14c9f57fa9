"""The hand-written SQL of limits: what stands on bills under contracts and purchase orders, and what proposals take of them.

The rule here: a thing counts once. What a proposal takes and a bill from elsewhere has by now is billed, and not proposed. What
was handed over and is not billed as it was approved is still taken, until its bill is put right or agreed to as it is.
"""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal

from portal.sql import rows
from reconciliation.sql import numbers

Used = tuple[str, Decimal, Decimal]  # of a limit in one currency: billed less credited, and proposed

# Work that names no order, and a milestone, are on the order of their day.
_ORDER = """LEFT JOIN portal_purchaseorder o ON o.contract_id = {contract} AND o.currency = {currency}
                   AND {day} BETWEEN o.valid_from AND coalesce(o.valid_to, 'infinity')"""
# Where several customers share the work of a contract, its orders are its own customer's: what others are billed uses nothing.
_OWN = """AND NOT EXISTS (
           SELECT 1 FROM portal_contract k JOIN portal_customer o1 ON o1.id = k.customer_id
             JOIN portal_invoiceline bl ON bl.id = a.line_id JOIN portal_invoiceversion bv ON bv.id = bl.version_id
             JOIN portal_customer o2 ON o2.id = bv.customer_id
            WHERE k.id = {contract} AND (SELECT count(*) FROM jsonb_object_keys(k.shares)) > 1
              AND coalesce(o1.merged_into_id, o1.id) <> coalesce(o2.merged_into_id, o2.id))"""
_USED = """
SELECT w.id, w.currency, sum(w.billed), sum(w.proposed) FROM (
    SELECT {entry} AS id, a.currency, a.amount AS billed, 0 AS proposed
      FROM portal_ledgerentry e JOIN portal_allocation a ON a.entry_id = e.id {order_of_entry}
     WHERE e.contract_id = ANY(%(contracts)s::bigint[]) {whose_entry}
    UNION ALL
    SELECT {milestone}, a.currency, a.amount, 0
      FROM portal_project j JOIN portal_milestone m ON m.project_id = j.id
      JOIN portal_allocation a ON a.milestone_id = m.id {order_of_milestone}
     WHERE j.contract_id = ANY(%(contracts)s::bigint[]) {whose_milestone}
    UNION ALL
    SELECT i.{limit}, i.currency, 0, p.amount * least(1, greatest(coalesce(open.quantity, p.quantity), 0) / p.quantity)
      FROM portal_invoiceproposal i
      JOIN portal_proposalline l ON l.proposal_id = i.id AND l.held_by_id IS NULL
      JOIN portal_proposalpart p ON p.line_id = l.id AND p.released_at IS NULL
      LEFT JOIN portal_billingbalance x ON x.entry_id = p.entry_id
      LEFT JOIN portal_billingbalance y ON y.milestone_id = p.milestone_id
     CROSS JOIN LATERAL (
        SELECT coalesce(x.delivered - x.invoiced + x.credited, y.delivered - y.invoiced + y.credited) AS quantity) open
     WHERE i.{limit} = ANY(%(limits)s::bigint[])) w
 WHERE w.id = ANY(%(limits)s::bigint[]) GROUP BY 1, 2 ORDER BY 1, 2"""
_OF_CONTRACTS = _USED.format(
    entry="e.contract_id", milestone="j.contract_id", limit="contract_id", order_of_entry="", order_of_milestone="",
    whose_entry="", whose_milestone="",
)  # fmt: skip
_OF_ORDERS = _USED.format(
    entry="coalesce(e.purchase_order_id, o.id)", milestone="o.id", limit="purchase_order_id",
    order_of_entry=_ORDER.format(contract="e.contract_id", currency="e.currency", day="e.work_date"),
    order_of_milestone=_ORDER.format(
        contract="j.contract_id", currency="m.currency", day="coalesce(m.signed_on, m.due_on)"
    ),
    whose_entry=_OWN.format(contract="e.contract_id"), whose_milestone=_OWN.format(contract="j.contract_id"),
)  # fmt: skip


def used_of_contracts(contract_ids: Collection[int]) -> dict[int, list[Used]]:
    """What is billed and proposed under each contract, by currency."""
    return _used(_OF_CONTRACTS, contract_ids, contract_ids)


def used_of_orders(contracts: Collection[int], order_ids: Collection[int]) -> dict[int, list[Used]]:
    """What is billed and proposed on each purchase order of these contracts, by currency."""
    return _used(_OF_ORDERS, contracts, order_ids)


def _used(statement: str, contracts: Collection[int], limits: Collection[int]) -> dict[int, list[Used]]:
    found: dict[int, list[Used]] = {}
    if limits:
        for limit_id, *used in rows(statement, {"contracts": numbers(contracts), "limits": numbers(limits)}):
            found.setdefault(limit_id, []).append((used[0], used[1], used[2]))
    return found
