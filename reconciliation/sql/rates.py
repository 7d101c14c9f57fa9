"""Reading what work is to be priced: open entries without a rate, work being corrected at its source, and how people work now."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Any

from portal.sql import execute, rows
from reconciliation.sql import numbers

Row = tuple[Any, ...]


def open_without_rate(entity_ids: Collection[int], limit: int) -> list[int]:
    """Documents of open time that is to be billed and has no agreed rate, the oldest work first."""
    found = rows(
        "SELECT e.document_id FROM portal_ledgerstate s JOIN portal_ledgerentry e ON e.id = s.entry_id"
        " WHERE s.state IN ('held', 'ready', 'rejected') AND s.entity_id = ANY(%s::bigint[]) AND e.kind = 'time'"
        " AND e.reverses_id IS NULL AND e.is_billable AND e.rate IS NULL AND e.project_id IS NOT NULL"
        " GROUP BY e.document_id ORDER BY min(e.work_date), e.document_id LIMIT %s",
        [numbers(entity_ids), limit],
    )
    return [row[0] for row in found]


def reopened(entity_ids: Collection[int], since: date, limit: int) -> list[int]:
    """Documents of billable time since a day that was approved once and is open at its source again, the oldest work first."""
    found = rows(
        "SELECT d.id FROM portal_timeentry t JOIN portal_document d ON d.id = t.document_id AND d.current_version = t.version"
        " WHERE t.work_date >= %s AND t.status IN ('draft', 'submitted') AND t.is_billable"
        " AND d.entity_id = ANY(%s::bigint[]) ORDER BY t.work_date, d.id LIMIT %s",
        [since, numbers(entity_ids), limit],
    )
    return [row[0] for row in found]


def assignments(entity_ids: Collection[int], since: date) -> list[Row]:
    """Who works on what since a day, with how many hours, and the latest rate that those had.

    (source, entity, person, project, task or empty, hours, latest rate, its currency); people, projects and tasks by code.
    """
    return rows(
        """
        SELECT e.source_id, e.entity_id, r.code, p.code, coalesce(t.code, ''), sum(e.hours),
               (array_agg(e.rate ORDER BY e.work_date DESC) FILTER (WHERE e.rate IS NOT NULL))[1],
               (array_agg(e.currency ORDER BY e.work_date DESC) FILTER (WHERE e.rate IS NOT NULL))[1]
          FROM portal_ledgerentry e
          JOIN portal_ledgerstate s ON s.entry_id = e.id AND s.state NOT IN ('cancelled', 'reversed')
          JOIN portal_resource r ON r.id = e.resource_id
          JOIN portal_project p ON p.id = e.project_id
          LEFT JOIN portal_task t ON t.id = e.task_id
         WHERE e.entity_id = ANY(%s::bigint[]) AND e.work_date >= %s AND e.kind = 'time' AND e.is_billable
           AND e.reverses_id IS NULL
         GROUP BY 1, 2, 3, 4, 5 ORDER BY 4, 3, 5, 1""",
        [numbers(entity_ids), since],
    )


def days_of_change(projects: Sequence[str], people: Sequence[str], first: date, last: date) -> list[date]:
    """The days of a range on which a rate, a card, an engagement or a status of these projects and people begins or ended.

    What is for everybody counts for all of them.
    """
    return [
        row[0]
        for row in rows(
            """
            WITH p AS (SELECT id, contract_id, customer_id, entity_id FROM portal_project WHERE code = ANY(%(projects)s)),
                 c AS (SELECT k.id, k.valid_from, k.valid_to FROM portal_ratecard k
                        WHERE k.contract_id IN (SELECT contract_id FROM p) OR k.customer_id IN (SELECT customer_id FROM p)
                           OR k.entity_id IN (SELECT entity_id FROM p)
                           OR (k.contract_id IS NULL AND k.customer_id IS NULL AND k.entity_id IS NULL)),
                 spans AS (SELECT valid_from, valid_to FROM c
                           UNION SELECT r.valid_from, r.valid_to FROM portal_rate r WHERE r.card_id IN (SELECT id FROM c)
                           UNION SELECT g.valid_from, g.valid_to FROM portal_engagement g
                                   JOIN portal_resource o ON o.id = g.resource_id WHERE o.code = ANY(%(people)s)
                           UNION SELECT s.valid_from, s.valid_to FROM portal_projectstatus s
                                  WHERE s.project_id IN (SELECT id FROM p))
            SELECT day FROM (SELECT valid_from AS day FROM spans UNION SELECT valid_to + 1 FROM spans) AS days
             WHERE day BETWEEN %(first)s AND %(last)s ORDER BY day""",
            {"projects": list(projects), "people": list(people), "first": first, "last": last},
        )
    ]


def agreements_of_open_work(entity_ids: Collection[int]) -> tuple[list[int], list[int], list[int]]:
    """The contracts, customers and project entities of the open time of some entities."""
    found = rows(
        "SELECT DISTINCT p.contract_id, p.customer_id, p.entity_id FROM portal_ledgerstate s"
        " JOIN portal_ledgerentry e ON e.id = s.entry_id JOIN portal_project p ON p.id = e.project_id"
        " WHERE s.state IN ('held', 'ready', 'rejected') AND s.entity_id = ANY(%s::bigint[]) AND e.kind = 'time'",
        [numbers(entity_ids)],
    )
    columns = (sorted({row[place] for row in found if row[place] is not None}) for place in range(3))
    contracts, customers, entities = columns
    return contracts, customers, entities


def billed(entry_ids: Collection[int]) -> list[Row]:
    """(entry, invoice, quantity, amount, currency) that stands billed, after what was credited, released and billed again.

    And the quantity and the amount that were billed at first, before any of that.
    """
    return rows(
        """
        WITH RECURSIVE told(id, root) AS (
            SELECT id, id FROM portal_allocation WHERE takes_back_id IS NULL AND entry_id = ANY(%s::bigint[])
            UNION ALL SELECT a.id, t.root FROM portal_allocation a JOIN told t ON a.takes_back_id = t.id)
        SELECT first.entry_id, v.invoice_id, sum(a.quantity), sum(a.amount), first.currency,
               sum(a.quantity) FILTER (WHERE a.id = t.root), sum(a.amount) FILTER (WHERE a.id = t.root)
          FROM told t JOIN portal_allocation a ON a.id = t.id JOIN portal_allocation first ON first.id = t.root
          JOIN portal_invoiceline l ON l.id = first.line_id JOIN portal_invoiceversion v ON v.id = l.version_id
         GROUP BY first.entry_id, v.invoice_id, first.currency HAVING sum(a.quantity) > 0 OR sum(a.amount) > 0
         ORDER BY first.entry_id, v.invoice_id""",
        [numbers(entry_ids)],
    )


def credited_since(bills: Sequence[tuple[int, Any]], entries: Mapping[int, Sequence[int]]) -> dict[int, Any]:
    """What credit notes have taken off each bill for some of its entries since a moment, as amounts above zero; one statement."""
    pairs = [(bill, since, entry) for bill, since in bills for entry in entries.get(bill, ())]
    if not pairs:
        return {}
    found = rows(
        """
        SELECT v.invoice_id, -sum(c.amount)
          FROM unnest(%s::bigint[], %s::timestamptz[], %s::bigint[]) AS w(invoice, since, entry)
          JOIN portal_allocation c ON c.entry_id = w.entry AND c.recorded_at >= w.since
          JOIN portal_allocation b ON b.id = c.takes_back_id AND b.line_id <> c.line_id
          JOIN portal_invoiceline l ON l.id = b.line_id
          JOIN portal_invoiceversion v ON v.id = l.version_id AND v.invoice_id = w.invoice
         GROUP BY 1""",
        [list(column) for column in zip(*pairs, strict=True)],
    )
    return dict(found)


def booked_under(card_ids: Collection[int], since: date, after: int, limit: int) -> list[int]:
    """Receipted or doubtful time that cards may have priced since a day, after an entry, in order; reversals apart."""
    found = rows(
        """
        SELECT e.id FROM portal_ledgerentry e JOIN portal_ledgerstate s ON s.entry_id = e.id
          LEFT JOIN portal_project p ON p.id = e.project_id
         WHERE e.id > %(after)s AND s.state IN ('sending', 'in_doubt', 'accepted', 'posted', 'reconciled')
           AND e.kind = 'time' AND e.reverses_id IS NULL AND e.work_date >= %(since)s
           AND (e.rate_used_id IN (SELECT id FROM portal_rate WHERE card_id = ANY(%(cards)s))
                OR EXISTS (SELECT 1 FROM portal_ratecard r WHERE r.id = ANY(%(cards)s) AND (r.contract_id = p.contract_id
                           OR r.customer_id IN (p.customer_id, e.customer_id) OR r.entity_id = p.entity_id
                           OR (r.contract_id IS NULL AND r.customer_id IS NULL AND r.entity_id IS NULL))))
         ORDER BY e.id LIMIT %(limit)s""",
        {"after": after, "since": since, "cards": list(card_ids), "limit": limit},
    )
    return [row[0] for row in found]


def next_rows(bundle_id: int, limit: int) -> list[int]:
    """The entries of the next rows of a bundle that are to be booked anew, locked until the transaction ends."""
    found = rows(
        "SELECT entry_id FROM reconciliation_bundlerow WHERE bundle_id = %s AND result = 'pending' AND way = 'rebook'"
        " ORDER BY document_id, entry_id LIMIT %s FOR UPDATE",
        [bundle_id, limit],
    )
    return [row[0] for row in found]


def current_entries(document_ids: Sequence[int]) -> list[Row]:
    """(document, entry, state, amount) of the live entries of the current versions, in order; reversals apart."""
    return rows(
        "SELECT e.document_id, e.id, s.state, e.amount FROM portal_ledgerentry e JOIN portal_ledgerstate s ON s.entry_id = e.id"
        " JOIN portal_document d ON d.id = e.document_id AND d.current_version = e.version"
        " WHERE e.document_id = ANY(%s::bigint[]) AND e.reverses_id IS NULL AND s.state <> 'cancelled' ORDER BY e.id",
        [numbers(document_ids)],
    )


def sentences_of(entry_ids: Sequence[int]) -> list[str]:
    """Why entries are held, in words."""
    found = rows(
        "SELECT DISTINCT sentence FROM reconciliation_hold WHERE closed_at IS NULL AND entry_id = ANY(%s::bigint[]) ORDER BY 1",
        [numbers(entry_ids)],
    )
    return [row[0] for row in found]


def documents_on_bills(document_ids: Collection[int]) -> set[int]:
    """Which of these documents have a part that stands on a bill."""
    found = rows(
        "SELECT DISTINCT document_id FROM portal_billingbalance"
        " WHERE document_id = ANY(%s::bigint[]) AND invoiced > credited",
        [numbers(document_ids)],
    )
    return {row[0] for row in found}


def end_rows(bundle_id: int, ended: Sequence[tuple[int, str, str, int | None, int | None]]) -> int:
    """End rows that are pending: (entry, result, detail, reversal, rebooked); how many ended."""
    columns = [[one[place] for one in ended] for place in range(5)]
    return execute(
        """
        UPDATE reconciliation_bundlerow r SET result = n.result, detail = n.detail, reversal_id = n.reversal,
               rebooked_id = n.rebooked, finished_at = now()
          FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::bigint[], %s::bigint[])
               AS n(entry, result, detail, reversal, rebooked)
         WHERE r.bundle_id = %s AND r.entry_id = n.entry AND r.result = 'pending' AND r.way = 'rebook'""",
        [*columns, bundle_id],
    )


def bundles_due() -> list[tuple[int, float]]:
    """Bundles that wait for a worker, with seconds: to be planned, begun once their change set is applied, or gone on with."""
    found = rows(
        "SELECT b.id, extract(epoch FROM now() - coalesce(b.started_at, c.finished_at, b.created_at))"
        "  FROM reconciliation_ratebundle b JOIN reconciliation_changeset c ON c.id = b.change_set_id"
        " WHERE b.state IN ('planning', 'running') OR (b.state = 'planned' AND b.round = 1 AND c.state = 'applied')"
        " ORDER BY b.id"
    )
    return [(pk, float(seconds)) for pk, seconds in found]


def looks_due() -> list[tuple[int, float]]:
    """Applied change sets of rates, with seconds, since whose end, or the end of a plan, nobody looked at what is booked.

    Not while a plan of theirs is under way. Where the outcome of some of it is not known yet, again after an hour.
    """
    found = rows(
        """
        SELECT c.id, extract(epoch FROM now() - greatest(c.finished_at, b.ended))
          FROM reconciliation_changeset c LEFT JOIN reconciliation_ratelook l ON l.change_set_id = c.id
          LEFT JOIN LATERAL (SELECT max(finished_at) AS ended,
                                    bool_or(state = 'running' OR (round = 1 AND state IN ('planning', 'planned'))) AS is_under_way
                               FROM reconciliation_ratebundle WHERE change_set_id = c.id) b ON TRUE
         WHERE c.state = 'applied' AND b.is_under_way IS NOT TRUE
           AND (l.looked_at IS NULL OR l.looked_at < greatest(c.finished_at, b.ended)
                OR (l.waits AND l.looked_at < now() - interval '1 hour'))
           AND EXISTS (SELECT 1 FROM reconciliation_changeline n
                        WHERE n.change_set_id = c.id AND n.model IN ('rate', 'rate_card'))
         ORDER BY c.id"""
    )
    return [(pk, float(seconds)) for pk, seconds in found]


def end_differences(change_set_id: int, asked: Sequence[int], apart: Sequence[int]) -> list[int]:
    """End proposed differences of bills whose work says what is agreed again; the bills.

    Of a difference that an earlier change set brought all booked work was `asked`, none of it is `apart` from what is agreed, and
    nothing was credited or invoiced for it since: what was, is for whoever compares the books with the bills.
    """
    found = rows(
        """
        UPDATE reconciliation_billdifference d SET over_at = now()
          FROM reconciliation_ratebundle b
         WHERE b.id = d.bundle_id AND b.change_set_id <> %(change_set)s AND d.proposed_at IS NOT NULL AND d.over_at IS NULL
           AND d.would_be <> d.billed
           AND EXISTS (SELECT 1 FROM reconciliation_bundlerow r WHERE r.bundle_id = d.bundle_id AND r.invoice_id = d.invoice_id
                          AND r.way = 'bill' AND r.entry_id = ANY(%(asked)s::bigint[]))
           AND NOT EXISTS (SELECT 1 FROM reconciliation_bundlerow r JOIN portal_ledgerstate s ON s.entry_id = r.entry_id
                            WHERE r.bundle_id = d.bundle_id AND r.invoice_id = d.invoice_id AND r.way = 'bill'
                              AND s.state NOT IN ('reversed', 'cancelled')
                              AND (r.entry_id <> ALL(%(asked)s::bigint[]) OR r.entry_id = ANY(%(apart)s::bigint[])))
           AND NOT EXISTS (SELECT 1 FROM portal_allocation a WHERE a.recorded_at >= d.proposed_at AND a.entry_id IN (
                                  SELECT r.entry_id FROM reconciliation_bundlerow r WHERE r.bundle_id = d.bundle_id
                                     AND r.invoice_id = d.invoice_id AND r.way = 'bill'))
        RETURNING d.invoice_id""",
        {"change_set": change_set_id, "asked": numbers(asked), "apart": numbers(apart)},
    )
    return sorted({row[0] for row in found})


def settled_otherwise(entry_ids: Sequence[int], rule: str) -> dict[int, list[tuple[Any, Any]]]:
    """(rate, amount) that entries would have and that is settled beside the books, by entry; of any amount where it is empty.

    The whole of an entry stands on bills and the difference of that rate was proposed for them, or people accepted it as booked.
    """
    found = rows(
        """
        SELECT r.entry_id, r.rate_after, NULL::numeric FROM reconciliation_bundlerow r
          JOIN portal_ledgerentry e ON e.id = r.entry_id
          JOIN portal_billingbalance b ON b.entry_id = e.id AND b.invoiced - b.credited >= e.hours
         WHERE r.entry_id = ANY(%(entries)s::bigint[]) AND r.way = 'bill' AND r.result = 'done'
           AND NOT EXISTS (SELECT 1 FROM reconciliation_billdifference d WHERE d.bundle_id = r.bundle_id
                              AND d.invoice_id = r.invoice_id AND d.over_at IS NOT NULL)
         UNION SELECT h.entry_id, (h.detail->>'rate')::numeric, (h.detail->>'after')::numeric FROM reconciliation_hold h
          WHERE h.entry_id = ANY(%(entries)s::bigint[]) AND h.rule = %(rule)s AND h.outcome = 'waived'""",
        {"entries": numbers(entry_ids), "rule": rule},
    )
    settled: dict[int, list[tuple[Any, Any]]] = {}
    for entry_id, rate, amount in found:
        settled.setdefault(entry_id, []).append((rate, amount))
    return settled
