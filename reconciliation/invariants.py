"""What must hold between documents, the ledger and cases at any moment: nothing approved is nowhere."""

from __future__ import annotations

from portal.invariants import Invariant, breaches
from reconciliation.sql import documents, owed

_VERSIONS = """
    SELECT d.id, d.connection_id, d.entity_id, d.kind, v.version, v.status, v.hours AS quantity, v.work_date
      FROM portal_document d JOIN portal_timeentry v ON v.document_id = d.id AND v.version = d.current_version
     WHERE d.kind = 'time'
    UNION ALL
    SELECT d.id, d.connection_id, d.entity_id, d.kind, v.version, v.status, v.amount, v.work_date
      FROM portal_document d JOIN portal_expense v ON v.document_id = d.id AND v.version = d.current_version
     WHERE d.kind = 'expense'"""


def _nothing_approved_is_nowhere() -> list[str]:
    return breaches(
        f"""
        WITH current AS ({_VERSIONS})
        SELECT d.id, d.kind, v.work_date FROM current v JOIN portal_document d ON d.id = v.id
          JOIN portal_connection c ON c.id = v.connection_id
         WHERE v.status = 'approved' AND v.work_date >= coalesce({owed.FIRST_DAY}, DATE '-infinity')
           AND EXISTS (SELECT 1 FROM reconciliation_route r WHERE r.source_id = v.connection_id AND r.kind = v.kind
                          AND r.valid_from <= v.work_date AND (r.valid_to IS NULL OR r.valid_to >= v.work_date))
           AND NOT EXISTS (SELECT 1 FROM portal_ledgerentry e JOIN portal_ledgerstate s ON s.entry_id = e.id
                            WHERE e.document_id = v.id AND s.state <> 'cancelled')
           AND NOT EXISTS (SELECT 1 FROM portal_ledgerentry e JOIN portal_ledgertransition t ON t.entry_id = e.id
                            WHERE e.document_id = v.id AND e.version = v.version AND t.to_state = 'cancelled'
                              AND starts_with(t.reason, '{documents.LEFT_OUT}'))""",  # noqa: S608
        "Document {0} ({1} of {2}) is approved and has a route, and nothing that stands on the ledger is owed for it.",
    )


def _what_is_stopped_has_a_hold() -> list[str]:
    return breaches(
        """
        SELECT s.entry_id, s.state FROM portal_ledgerstate s
         WHERE s.state IN ('held', 'rejected')
           AND NOT EXISTS (SELECT 1 FROM reconciliation_hold h WHERE h.entry_id = s.entry_id AND h.closed_at IS NULL)""",
        "Entry {0} is {1}, and no case says why.",
    )


def _sums_agree() -> list[str]:
    """Per document, what is owed is what stands on the ledger, unless an open hold says what is being done about it."""
    return breaches(
        f"""
        WITH current AS ({_VERSIONS}), booked AS (
            SELECT e.document_id, sum(CASE WHEN e.kind = 'time' THEN e.hours ELSE e.amount END) AS quantity
              FROM portal_ledgerentry e JOIN portal_ledgerstate s ON s.entry_id = e.id
             WHERE s.state <> 'cancelled' GROUP BY e.document_id)
        SELECT v.id, v.status, v.quantity, b.quantity FROM current v JOIN booked b ON b.document_id = v.id
         WHERE b.quantity <> CASE WHEN v.status = 'approved' THEN v.quantity ELSE 0 END
           AND NOT EXISTS (SELECT 1 FROM reconciliation_hold h JOIN portal_ledgerentry e ON e.id = h.entry_id
                            WHERE e.document_id = v.id AND h.closed_at IS NULL)""",  # noqa: S608
        "Document {0} is {1} with {2}, the ledger carries {3} for it, and no case says why.",
    )


def _cases_count_their_holds() -> list[str]:
    return breaches(
        """
        SELECT c.id, c.open_holds, count(h.id) FROM reconciliation_exceptioncase c
          LEFT JOIN reconciliation_hold h ON h.case_id = c.id AND h.closed_at IS NULL
         GROUP BY c.id HAVING c.open_holds <> count(h.id) OR (c.state = 'resolved' AND count(h.id) > 0)""",
        "Case {0} says {1} open holds and has {2}.",
    )


def _absence_is_decided() -> list[str]:
    """What was accepted is cancelled only by a person's question that the target answered with nothing."""
    return breaches(
        """
        SELECT t.entry_id, t.from_state FROM portal_ledgertransition t
         WHERE t.from_state IN ('accepted', 'posted', 'reconciled') AND t.to_state = 'cancelled'
           AND NOT EXISTS (SELECT 1 FROM reconciliation_targetquestion q WHERE q.entry_id = t.entry_id
                              AND q.answer = 'absent' AND q.if_absent <> 'nothing')""",
        "Entry {0} went from {1} to cancelled by nobody's decision.",
    )


def _operations_end() -> list[str]:
    return breaches(
        """
        SELECT o.id, o.total, count(r.id), count(r.id) FILTER (WHERE r.result = 'pending')
          FROM reconciliation_operation o LEFT JOIN reconciliation_operationrow r ON r.operation_id = o.id
         WHERE o.state = 'done' GROUP BY o.id
        HAVING o.total <> count(r.id) OR count(r.id) FILTER (WHERE r.result = 'pending') > 0""",
        "Operation {0} is done with {1} rows frozen, {2} kept, and {3} of them pending.",
    )


INVARIANTS: tuple[Invariant, ...] = (
    Invariant("I4", "Every approved document with a route is on the ledger", _nothing_approved_is_nowhere),
    Invariant("I4", "What is stopped has a case that says why", _what_is_stopped_has_a_hold),
    Invariant("I7", "What was accepted is cancelled by a person's decision only", _absence_is_decided),
    Invariant("I8", "What is owed is what is posted and open, to the cent", _sums_agree),
    Invariant("I15", "A finished operation has a result for every row", _operations_end),
    Invariant("C1", "Cases count their holds", _cases_count_their_holds),
)
