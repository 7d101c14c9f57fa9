"""What entries say: what they book, what publications tell, and what invoice drafts hold."""

from __future__ import annotations

from collections.abc import Sequence

from integrations.drafts import Drafted, Line
from integrations.postings import Booked
from integrations.publications import Owed
from portal import sql


def booked_by(entry_ids: Sequence[int]) -> list[Booked]:
    """What entries book."""
    return [
        Booked(*row)
        for row in sql.rows(
            """
            SELECT e.id, replace(e.idempotency_key::text, '-', ''), e.kind, e.post_on, e.hours, e.rate, e.amount, e.currency,
                   e.is_billable, e.is_cost_only, e.memo, e.tax_code, e.receipt_reference, e.target_keys::text,
                   coalesce(r.receipt_number, '')
              FROM portal_ledgerentry e LEFT JOIN portal_ledgerstate r ON r.entry_id = e.reverses_id
             WHERE e.id = ANY(%s)""",
            [list(entry_ids)],
        )
    ]


def owed_by(entry_ids: Sequence[int]) -> list[Owed]:
    """What publications say: each entry's version of its record."""
    return [
        Owed(*row)
        for row in sql.rows(
            """
            SELECT e.id, replace(e.idempotency_key::text, '-', ''), p.kind, e.version, e.entity_id, e.target_keys::text,
                   v.figures::text, p.number, d.external_id
              FROM portal_ledgerentry e
              JOIN portal_published p ON p.document_id = e.document_id
              JOIN portal_document d ON d.id = e.document_id
              JOIN portal_publishedversion v ON v.document_id = e.document_id AND v.version = e.version
             WHERE e.id = ANY(%s)""",
            [list(entry_ids)],
        )
    ]


def drafted_by(entry_ids: Sequence[int]) -> list[Drafted]:
    """What invoice drafts say above their lines, by the entry that owes each."""
    return [
        Drafted(*row)
        for row in sql.rows(
            """
            SELECT e.id, replace(e.idempotency_key::text, '-', ''), e.target_keys::text, d.proposal_id, d.part, d.parts,
                   p.currency, d.dated_on, d.due_on, coalesce(o.number, ''), coalesce((
                       SELECT string_agg(m.memo, E'\\n' ORDER BY j.code) FROM portal_invoiceproposal m
                         JOIN portal_project j ON j.id = m.project_id
                        WHERE m.memo <> '' AND m.id IN (SELECT l.proposal_id FROM portal_proposalline l
                                                         WHERE l.draft_id = d.document_id)
                   ), '')
              FROM portal_ledgerentry e JOIN portal_invoicedraft d ON d.document_id = e.document_id
              JOIN portal_invoiceproposal p ON p.id = d.proposal_id
              LEFT JOIN portal_purchaseorder o ON o.id = p.purchase_order_id
             WHERE e.id = ANY(%s)""",
            [list(entry_ids)],
        )
    ]


def draft_lines(entry_ids: Sequence[int]) -> dict[int, list[Line]]:
    """The lines of invoice drafts in their order, by the entry that owes each draft, with the receipts of what they bill.

    On an invoice over several projects each line says its project.
    """
    found: dict[int, list[Line]] = {}
    for row in sql.rows(
        """
        SELECT e.id, replace(l.key::text, '-', ''),
               CASE WHEN EXISTS (SELECT 1 FROM portal_proposalline x
                                  WHERE x.draft_id = l.draft_id AND x.proposal_id <> l.proposal_id)
                    THEN j.name || ': ' ELSE '' END || l.description, l.quantity, l.unit_price, l.net, l.tax_code,
               coalesce(max(m.code), ''), coalesce(array_agg(s.receipt_number ORDER BY p.id)
                                                   FILTER (WHERE s.receipt_number <> ''), '{}')
          FROM portal_ledgerentry e JOIN portal_proposalline l ON l.draft_id = e.document_id
          JOIN portal_invoiceproposal i ON i.id = l.proposal_id JOIN portal_project j ON j.id = i.project_id
          JOIN portal_proposalpart p ON p.line_id = l.id
          LEFT JOIN portal_milestone m ON m.id = p.milestone_id
          LEFT JOIN portal_ledgerstate s ON s.entry_id = p.entry_id
         WHERE e.id = ANY(%s) GROUP BY e.id, l.id, j.id ORDER BY e.id, j.code, l.proposal_id, l.position""",
        [list(entry_ids)],
    ):
        found.setdefault(row[0], []).append(Line(*row[1:]))
    return found
