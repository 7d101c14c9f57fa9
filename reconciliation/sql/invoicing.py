"""The hand-written SQL of invoice proposals: what is left to bill, what counts against limits, and the parts they hold.

The rule here: one statement for everything that is asked at once, whatever the number of entries.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from portal.sql import execute, rows
from reconciliation.sql import numbers
from reconciliation.sql.unbillable import stands_as_its_source_says


class Billable(NamedTuple):
    """Something of a project that is left to bill and sits in no proposal. `left` are hours, or money where `hours` is None."""

    entry_id: int | None
    milestone_id: int | None
    source_id: int | None
    delivered: Decimal
    billed: Decimal
    left: Decimal
    rate: Decimal | None
    amount: Decimal  # of all that was delivered, as priced
    currency: str
    purchase_order_id: int | None
    work_date: date
    person: str
    role: str
    task: str
    what: str  # the memo of hours, the category of an expense, the name of a milestone
    tax_code: str
    hours: Decimal | None
    is_beyond: bool  # the hours that its retainer pays for

    @property
    def key(self) -> int:
        """Its entry; a milestone's key is negative."""
        return self.entry_id or -(self.milestone_id or 0)


def billables(project_id: int, through: date, *, instalments: bool) -> list[Billable]:
    """What of a project may be billed up to a day: posted hours and expenses, signed milestones, a retainer's instalments.

    An instalment is due by its day and needs no signature (`instalments`); a milestone is billed when it is signed. What names
    no purchase order itself is on the one that its contract has in its currency on its day. Work that its source took back or
    changed, or that an open cause stops, is not billed until that is over.
    """
    found = rows(
        f"""
        SELECT e.id, NULL::bigint, e.source_id, d.delivered, coalesce(b.invoiced - b.credited, 0),
               d.delivered - coalesce(b.invoiced - b.credited, 0) - t.taken, e.rate, e.amount, e.currency,
               coalesce(e.purchase_order_id, o.id), e.work_date, coalesce(r.name, ''), coalesce(n.name, ''), coalesce(k.name, ''),
               CASE WHEN e.kind = 'time' THEN e.memo ELSE concat_ws(': ', nullif(e.category, ''), nullif(e.memo, '')) END,
               e.tax_code, e.hours, e.tags @> '["beyond-retainer"]'
          FROM portal_ledgerentry e
          JOIN portal_ledgerstate s ON s.entry_id = e.id AND s.state IN ('posted', 'reconciled')
         CROSS JOIN LATERAL (SELECT coalesce(CASE WHEN e.kind = 'time' THEN e.hours ELSE e.amount END, 0) AS delivered) d
         CROSS JOIN LATERAL (SELECT coalesce(sum(p.quantity), 0) AS taken FROM portal_ledgerentry x
                               JOIN portal_proposalpart p ON p.entry_id = x.id AND p.released_at IS NULL
                              WHERE x.document_id = e.document_id
                                AND (x.id = e.id OR x.version <> e.version OR x.part = e.part)) t
          LEFT JOIN portal_billingbalance b ON b.entry_id = e.id
          LEFT JOIN portal_resource r ON r.id = e.resource_id LEFT JOIN portal_role n ON n.id = e.role_id
          LEFT JOIN portal_task k ON k.id = e.task_id
          LEFT JOIN portal_purchaseorder o ON o.contract_id = e.contract_id AND o.currency = e.currency
               AND e.work_date BETWEEN o.valid_from AND coalesce(o.valid_to, 'infinity')
         WHERE e.project_id = %(project)s AND e.work_date <= %(through)s AND e.kind IN ('time', 'expense')
           AND e.reverses_id IS NULL AND e.is_billable AND NOT e.is_cost_only AND e.amount IS NOT NULL AND e.currency <> ''
           AND d.delivered - coalesce(b.invoiced - b.credited, 0) - t.taken > 0
           AND NOT EXISTS (SELECT 1 FROM portal_ledgerentry v JOIN portal_ledgerstate vs ON vs.entry_id = v.id
                            WHERE v.reverses_id = e.id AND vs.state <> 'cancelled')
           AND NOT EXISTS (SELECT 1 FROM portal_billingbalance x JOIN portal_ledgerentry y ON y.id = x.entry_id
                            WHERE x.document_id = e.document_id AND y.id <> e.id AND x.invoiced > x.credited
                              AND (y.version <> e.version OR y.part = e.part))
           AND {stands_as_its_source_says("e")}
        UNION ALL
        SELECT NULL, m.id, NULL, m.amount, coalesce(b.invoiced - b.credited, 0),
               m.amount - coalesce(b.invoiced - b.credited, 0) - t.taken, NULL, m.amount, m.currency, o.id,
               m.due_on, '', '', '', m.name || ' (' || m.code || ')', '', NULL, false
          FROM portal_milestone m JOIN portal_project j ON j.id = m.project_id
         CROSS JOIN LATERAL (SELECT coalesce(sum(p.quantity), 0) AS taken FROM portal_proposalpart p
                              WHERE p.milestone_id = m.id AND p.released_at IS NULL) t
          LEFT JOIN portal_billingbalance b ON b.milestone_id = m.id
          LEFT JOIN portal_purchaseorder o ON o.contract_id = j.contract_id AND o.currency = m.currency
               AND coalesce(m.signed_on, m.due_on) BETWEEN o.valid_from AND coalesce(o.valid_to, 'infinity')
         WHERE m.project_id = %(project)s AND m.amount > 0
           AND CASE WHEN %(instalments)s THEN m.due_on <= %(through)s ELSE m.signed_on <= %(through)s END
           AND m.amount - coalesce(b.invoiced - b.credited, 0) - t.taken > 0
         ORDER BY 11, 1, 2""",  # noqa: S608
        {"project": project_id, "through": through, "instalments": instalments},
    )
    return [Billable(*row) for row in found]


def had(project_id: int) -> list[tuple[int, int, Decimal]]:
    """What customers already have of a project's work, proposed or billed: (entry or negative milestone, customer, how much).

    A bill that came of a draft is its proposal's customer's, whatever key of a customer it states.
    """
    return rows(
        """
        SELECT w.key, w.customer_id, sum(w.quantity) FROM (
            SELECT coalesce(p.entry_id, -p.milestone_id) AS key, i.customer_id, p.quantity
              FROM portal_invoiceproposal i JOIN portal_proposalline l ON l.proposal_id = i.id
              JOIN portal_proposalpart p ON p.line_id = l.id
             WHERE i.project_id = %(project)s AND p.released_at IS NULL
            UNION ALL
            SELECT coalesce(a.entry_id, -a.milestone_id), coalesce(i.customer_id, v.customer_id), a.quantity
              FROM portal_allocation a LEFT JOIN portal_allocation b ON b.id = a.takes_back_id
              LEFT JOIN portal_allocation c ON c.id = b.takes_back_id
              JOIN portal_invoiceline l ON l.id = coalesce(c.line_id, b.line_id, a.line_id)
              JOIN portal_invoiceversion v ON v.id = l.version_id
              LEFT JOIN portal_invoicedraft d ON d.invoice_id = v.invoice_id
              LEFT JOIN portal_invoiceproposal i ON i.id = d.proposal_id
             WHERE a.entry_id IN (SELECT id FROM portal_ledgerentry WHERE project_id = %(project)s)
                OR a.milestone_id IN (SELECT id FROM portal_milestone WHERE project_id = %(project)s)) w
         WHERE w.customer_id IS NOT NULL GROUP BY 1, 2 HAVING sum(w.quantity) > 0""",
        {"project": project_id},
    )


def lock_project(project_id: int) -> None:
    """One person or worker at a time proposes the invoices of a project."""
    rows("SELECT pg_advisory_xact_lock(%s, %s)", [0x70726F70, project_id % 2**31])


def lock_contract(contract_id: int) -> None:
    """One person at a time hands over invoices of a contract, so that what goes on one invoice is seen whole."""
    rows("SELECT pg_advisory_xact_lock(%s, %s)", [0x636F6E74, contract_id % 2**31])


def lock_proposals(
    proposal_ids: Collection[int] = (), *, draft_ids: Collection[int] = (), bill_ids: Collection[int] = ()
) -> None:
    """Lock proposals, or those with lines on some drafts or on the drafts of some bills, in one order, before their parts.

    What is read of them afterwards is what stands; read in the same statement, whom they name would be of before the wait.
    """
    rows(
        "SELECT id FROM portal_invoiceproposal WHERE id = ANY(%s::bigint[])"
        " OR id IN (SELECT proposal_id FROM portal_proposalline WHERE draft_id = ANY(%s::bigint[]))"
        " OR id IN (SELECT l.proposal_id FROM portal_proposalline l JOIN portal_invoicedraft d ON d.document_id = l.draft_id"
        "            WHERE d.invoice_id = ANY(%s::bigint[])) ORDER BY id FOR UPDATE",
        [numbers(proposal_ids), numbers(draft_ids), numbers(bill_ids)],
    )


def give_back(*, proposal_id: int | None = None, line_ids: Collection[int] = ()) -> int:
    """Give back what a proposal, or some lines, still take; how many parts."""
    return execute(
        "UPDATE portal_proposalpart p SET released_at = now() FROM portal_proposalline l WHERE l.id = p.line_id"
        " AND p.released_at IS NULL AND (l.proposal_id = %s OR l.id = ANY(%s::bigint[]))",
        [proposal_id, numbers(line_ids)],
    )


def outside_order(proposal_id: int) -> list[tuple[int, date, date]]:
    """Of what a proposal bills on a purchase order, what is of days on which the order is not valid: (parts, first, last)."""
    return rows(
        """
        SELECT count(*), min(w.day), max(w.day) FROM portal_invoiceproposal i
          JOIN portal_purchaseorder o ON o.id = i.purchase_order_id
          JOIN portal_proposalline l ON l.proposal_id = i.id AND l.held_by_id IS NULL
          JOIN portal_proposalpart p ON p.line_id = l.id
          LEFT JOIN portal_ledgerentry e ON e.id = p.entry_id LEFT JOIN portal_milestone m ON m.id = p.milestone_id
         CROSS JOIN LATERAL (SELECT coalesce(e.work_date, m.signed_on, m.due_on) AS day) w
         WHERE i.id = %s AND w.day NOT BETWEEN o.valid_from AND coalesce(o.valid_to, 'infinity') HAVING count(*) > 0""",
        [proposal_id],
    )


def drawn(project_id: int, currency: str, through: date) -> tuple[Decimal, Decimal, Decimal]:
    """Of a retainer, in one currency: instalments due up to a day, what of them is billed, and the hours worked against it."""
    [row] = rows(
        """
        SELECT coalesce(sum(m.amount), 0), coalesce(sum(b.invoiced - b.credited), 0),
               (SELECT coalesce(sum(e.hours), 0) FROM portal_ledgerentry e JOIN portal_ledgerstate s ON s.entry_id = e.id
                 WHERE e.project_id = %(project)s AND e.kind = 'time' AND e.work_date <= %(through)s AND e.reverses_id IS NULL
                   AND s.state NOT IN ('cancelled', 'reversed'))
          FROM portal_milestone m LEFT JOIN portal_billingbalance b ON b.milestone_id = m.id
         WHERE m.project_id = %(project)s AND m.currency = %(currency)s AND m.due_on <= %(through)s""",
        {"project": project_id, "currency": currency, "through": through},
    )
    return row[0], row[1], row[2]


def billers(entity_id: int, source_ids: Collection[int], day: date) -> list[int]:
    """The systems that bill the work of these sources of an entity; of all of them where none is named."""
    found = rows(
        "SELECT DISTINCT target_id FROM reconciliation_route WHERE entity_id = %(entity)s AND kind = 'invoice'"
        " AND valid_from <= %(day)s AND (valid_to IS NULL OR valid_to >= %(day)s)"
        " AND (cardinality(%(sources)s::bigint[]) = 0 OR source_id = ANY(%(sources)s::bigint[])) ORDER BY 1",
        {"entity": entity_id, "sources": numbers(source_ids), "day": day},
    )
    return [row[0] for row in found]


def sources_of(proposal_id: int) -> list[int]:
    """The sources whose work is on a proposal."""
    found = rows(
        "SELECT DISTINCT e.source_id FROM portal_proposalline l JOIN portal_proposalpart p ON p.line_id = l.id"
        " JOIN portal_ledgerentry e ON e.id = p.entry_id WHERE l.proposal_id = %s ORDER BY 1",
        [proposal_id],
    )
    return [row[0] for row in found]


def projects_with_work(day: date) -> list[int]:
    """Projects of entities that somebody bills through Tieout, with something that is left to bill."""
    found = rows(
        """
        SELECT p.id FROM portal_project p
         WHERE p.entity_id IN (SELECT entity_id FROM reconciliation_route WHERE kind = 'invoice' AND valid_from <= %(day)s
                                  AND (valid_to IS NULL OR valid_to >= %(day)s))
           AND (EXISTS (SELECT 1 FROM portal_ledgerentry e JOIN portal_ledgerstate s ON s.entry_id = e.id
                          LEFT JOIN portal_billingbalance b ON b.entry_id = e.id
                         WHERE e.project_id = p.id AND s.state IN ('posted', 'reconciled') AND e.is_billable
                           AND NOT e.is_cost_only AND e.reverses_id IS NULL
                           AND coalesce(b.delivered - b.invoiced + b.credited, 1) > 0)
                OR EXISTS (SELECT 1 FROM portal_milestone m LEFT JOIN portal_billingbalance b ON b.milestone_id = m.id
                            WHERE m.project_id = p.id AND coalesce(b.delivered - b.invoiced + b.credited, 1) > 0))
         ORDER BY p.id""",
        {"day": day},
    )
    return [row[0] for row in found]


def entries_of(proposal_ids: Collection[int]) -> list[tuple[int, int, int, str, int, bool]]:
    """(proposal, document, entry, state, fence, may be there) of what drafts of proposals have on the ledger, locked."""
    return rows(
        "SELECT d.proposal_id, d.document_id, s.entry_id, s.state, s.fence,"
        " s.may_stand OR s.state <> 'rejected' AND s.body_hash <> '' FROM portal_invoicedraft d"
        " JOIN portal_ledgerentry e ON e.document_id = d.document_id JOIN portal_ledgerstate s ON s.entry_id = e.id"
        " WHERE d.document_id IN (SELECT draft_id FROM portal_proposalline WHERE proposal_id = ANY(%s::bigint[]))"
        " ORDER BY s.entry_id FOR UPDATE OF s",
        [numbers(proposal_ids)],
    )


class Handed(NamedTuple):
    """One part of a line that was handed over: which line of which proposal, what it bills and for how much."""

    key: str
    line_id: int
    draft_id: int | None
    proposal_id: int
    line_quantity: Decimal | None
    entry_id: int | None
    milestone_id: int | None
    quantity: Decimal
    amount: Decimal


def handed(keys: Collection[str]) -> list[Handed]:
    """The parts of lines that were handed over under these keys, in their order."""
    found = rows(
        "SELECT replace(l.key::text, '-', ''), l.id, l.draft_id, l.proposal_id, l.quantity, p.entry_id, p.milestone_id,"
        " p.quantity, p.amount FROM portal_proposalline l JOIN portal_proposalpart p ON p.line_id = l.id"
        " WHERE l.key = ANY(%s::uuid[]) AND l.draft_id IS NOT NULL ORDER BY l.id, p.id",
        [list(keys)],
    )
    return [Handed(*row) for row in found]


def came(pairs: Collection[tuple[int, int]]) -> None:
    """The bill of a draft has come: (draft, bill). The draft names it, and a proposal whose drafts all have theirs is billed.

    Of several drafts on one bill the first names it; the others are billed once nothing of them is taken any more.
    """
    if not pairs:
        return
    drafts = [draft for draft, _ in pairs]
    execute(
        "UPDATE portal_invoicedraft d SET invoice_id = w.bill FROM ("
        "  SELECT DISTINCT ON (bill) bill, draft FROM unnest(%s::bigint[], %s::bigint[]) WITH ORDINALITY AS g(draft, bill, place)"
        "    JOIN portal_invoicedraft f ON f.document_id = g.draft AND f.invoice_id IS NULL ORDER BY bill, place) w"
        " WHERE d.document_id = w.draft AND NOT EXISTS (SELECT 1 FROM portal_invoicedraft o WHERE o.invoice_id = w.bill)",
        [drafts, [bill for _, bill in pairs]],
    )
    execute(
        "UPDATE portal_invoiceproposal p SET state = 'billed' WHERE p.state = 'handed_over'"
        " AND p.id IN (SELECT proposal_id FROM portal_proposalline WHERE draft_id = ANY(%s))"
        " AND NOT EXISTS (SELECT 1 FROM portal_proposalline l JOIN portal_invoicedraft d ON d.document_id = l.draft_id"
        "                   JOIN portal_proposalpart t ON t.line_id = l.id AND t.released_at IS NULL"
        "                  WHERE l.proposal_id = p.id AND d.invoice_id IS NULL)",
        [drafts],
    )


def became(bill_ids: Collection[int], draft_ids: Collection[int] = ()) -> None:
    """Say of billed proposals what became of their bills: billed while one of these counts, else voided, or deleted.

    A proposal's bills are those that its drafts name and those whose lines bear the key of one of its lines and bill its work.
    """
    execute(
        """
        UPDATE portal_invoiceproposal i SET state = w.state
          FROM (SELECT o.proposal_id, CASE WHEN bool_or(NOT o.is_dead) THEN 'billed' WHEN bool_and(o.is_deleted) THEN 'deleted'
                                           ELSE 'voided' END AS state
                  FROM (SELECT l.proposal_id, v.status = 'deleted' AS is_deleted,
                               v.status = 'voided' OR (v.status = 'deleted' AND n.agreed_id = n.current_id) AS is_dead
                          FROM portal_proposalline l JOIN portal_invoicedraft d ON d.document_id = l.draft_id
                         CROSS JOIN LATERAL (
                               SELECT d.invoice_id AS id WHERE d.invoice_id IS NOT NULL
                                UNION
                               SELECT b.invoice_id FROM portal_proposalpart p
                                 JOIN portal_allocation a ON a.entry_id = p.entry_id OR a.milestone_id = p.milestone_id
                                 JOIN portal_invoiceline x ON x.id = a.line_id
                                      AND lower(x.posting_key) = replace(l.key::text, '-', '')
                                 JOIN portal_invoiceversion b ON b.id = x.version_id
                                WHERE p.line_id = l.id AND a.takes_back_id IS NULL) found
                          JOIN portal_invoice n ON n.id = found.id AND n.kind = 'invoice'
                          JOIN portal_invoiceversion v ON v.id = n.current_id
                         WHERE l.proposal_id IN (
                               SELECT m.proposal_id FROM portal_proposalline m
                                 JOIN portal_invoicedraft e ON e.document_id = m.draft_id
                                WHERE e.invoice_id = ANY(%s::bigint[]) OR e.document_id = ANY(%s::bigint[]))) o
                 GROUP BY 1) w
         WHERE i.id = w.proposal_id AND i.state IN ('billed', 'voided', 'deleted') AND i.state <> w.state""",
        [numbers(bill_ids), numbers(draft_ids)],
    )


def releasers_of(bill_ids: Collection[int]) -> dict[int, set[int]]:
    """Who released the proposals whose drafts came back as these bills, by bill."""
    found: dict[int, set[int]] = {}
    for bill_id, person_id in rows(
        "SELECT DISTINCT d.invoice_id, i.released_by_id FROM portal_invoicedraft d"
        "  JOIN portal_proposalline l ON l.draft_id = d.document_id JOIN portal_invoiceproposal i ON i.id = l.proposal_id"
        " WHERE d.invoice_id = ANY(%s::bigint[]) AND i.released_by_id IS NOT NULL",
        [numbers(bill_ids)],
    ):
        found.setdefault(bill_id, set()).add(person_id)
    return found
