"""The hand-written SQL of matching: what was worked against the ledger, and the ledger against what the target says.

The rule here: both sides are whole tables joined in full, so that what is only on one side shows as loudly as what differs.
A difference has a reason in words; what only waits is open, not different.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, cast

from portal import sql
from reconciliation.sql import owed

RECEIPTED = ["accepted", "posted", "reconciled", "reversed"]

_TRACKER_LEDGER = f"""
WITH docs AS (
    SELECT d.id, d.kind, v.version, v.status, v.hours AS quantity, v.hours, NULL::numeric AS amount, '' AS currency, v.work_date,
           {owed.FIRST_DAY} AS cut_over_on
      FROM portal_document d
      JOIN portal_timeentry v ON v.document_id = d.id AND v.version = d.current_version
      JOIN portal_connection c ON c.id = d.connection_id
     WHERE d.entity_id = %(entity)s AND d.kind = 'time' AND v.work_date BETWEEN %(start)s AND %(end)s
    UNION ALL
    SELECT d.id, d.kind, v.version, v.status, v.amount, NULL, v.amount, v.currency, v.work_date, {owed.FIRST_DAY}
      FROM portal_document d
      JOIN portal_expense v ON v.document_id = d.id AND v.version = d.current_version
      JOIN portal_connection c ON c.id = d.connection_id
     WHERE d.entity_id = %(entity)s AND d.kind = 'expense' AND v.work_date BETWEEN %(start)s AND %(end)s
), booked AS (
    SELECT e.document_id, min(e.kind) AS kind, count(*) FILTER (WHERE s.state <> 'cancelled') AS entries,
           count(*) FILTER (WHERE s.state = 'cancelled') AS cancelled,
           count(*) FILTER (WHERE NOT s.state = ANY(%(receipted)s) AND s.state <> 'cancelled') AS pending,
           coalesce(sum(e.hours) FILTER (WHERE s.state <> 'cancelled'), 0) AS hours,
           coalesce(sum(e.amount) FILTER (WHERE s.state <> 'cancelled'), 0) AS amount,
           max(e.currency) FILTER (WHERE s.state <> 'cancelled') AS currency,
           max(e.id) FILTER (WHERE s.state <> 'cancelled') AS entry_id,
           max(e.id) FILTER (WHERE s.state = 'cancelled') AS cancelled_id,
           count(DISTINCT e.currency) FILTER (WHERE s.state <> 'cancelled' AND e.currency <> '') AS currencies,
           string_agg(DISTINCT CASE WHEN e.version <> d.current_version OR e.reverses_id IS NOT NULL
                                    THEN 'version ' || e.version || CASE WHEN e.reverses_id IS NULL THEN '' ELSE '''s reversal' END
                                         || ' is ' || replace(s.state, '_', ' ') END, ', ')
               FILTER (WHERE s.state <> 'cancelled') AS older,
           string_agg(DISTINCT replace(s.state, '_', ' '), ', ') FILTER (WHERE NOT s.state = ANY(%(receipted)s) AND s.state <> 'cancelled')
               AS waiting
      FROM portal_ledgerentry e
      JOIN portal_ledgerstate s ON s.entry_id = e.id
      JOIN portal_document d ON d.id = e.document_id
     WHERE d.entity_id = %(entity)s AND e.work_date BETWEEN %(start)s AND %(end)s
     GROUP BY e.document_id
), held AS (
    SELECT e.document_id, string_agg(DISTINCT h.rule, ', ' ORDER BY h.rule) AS rules
      FROM reconciliation_hold h
      JOIN portal_ledgerentry e ON e.id = h.entry_id
      JOIN portal_document d ON d.id = e.document_id
     WHERE h.closed_at IS NULL AND d.entity_id = %(entity)s AND e.work_date BETWEEN %(start)s AND %(end)s
     GROUP BY e.document_id
), joined AS (
    SELECT coalesce(docs.id, booked.document_id) AS document_id, coalesce(docs.kind, booked.kind) AS kind, docs.status, docs.hours AS left_hours,
           docs.amount AS left_amount, docs.currency AS left_currency, coalesce(docs.quantity, 0) AS quantity, docs.cut_over_on,
           docs.id IS NOT NULL AND docs.status = 'approved' AND (docs.cut_over_on IS NULL OR docs.work_date >= docs.cut_over_on) AS owed,
           docs.id IS NOT NULL AND docs.work_date < docs.cut_over_on AS is_history,
           coalesce(booked.entries, 0) AS entries, coalesce(booked.pending, 0) AS pending, coalesce(booked.cancelled, 0) AS cancelled,
           coalesce(booked.hours, 0) AS hours, coalesce(booked.amount, 0) AS amount, coalesce(booked.currency, '') AS currency,
           coalesce(booked.currencies, 0) AS currencies, booked.entry_id, booked.cancelled_id, booked.older, booked.waiting, held.rules
      FROM docs FULL JOIN booked ON booked.document_id = docs.id
      LEFT JOIN held ON held.document_id = coalesce(docs.id, booked.document_id)
), weighed AS (
    SELECT *, CASE WHEN owed THEN quantity ELSE 0 END AS expected, CASE WHEN kind = 'time' THEN hours ELSE amount END AS on_ledger
      FROM joined
), judged AS (
    SELECT *, CASE
        WHEN entries = 0 AND owed AND cancelled = 0 THEN 'missing_right'
        WHEN entries = 0 THEN 'matched'
        WHEN on_ledger = expected AND kind = 'expense' AND left_currency <> currency AND owed THEN 'amount_differs'
        WHEN on_ledger = expected AND pending = 0 THEN 'matched'
        WHEN on_ledger = expected THEN 'open'
        WHEN expected = 0 AND on_ledger <> 0 THEN 'missing_left'
        WHEN kind = 'time' THEN 'hours_differ'
        ELSE 'amount_differs' END AS outcome
      FROM weighed
)
INSERT INTO reconciliation_reconciliationresult
    (run_id, leg, outcome, document_id, entry_id, line_id, hours_left, hours_right, amount_left, amount_right, currency, reason)
SELECT %(run)s, 'tracker_ledger', outcome, document_id, entry_id, NULL,
       CASE WHEN kind = 'time' THEN CASE WHEN owed THEN left_hours ELSE 0 END END, CASE WHEN kind = 'time' THEN hours END,
       CASE WHEN kind = 'expense' THEN CASE WHEN owed THEN left_amount ELSE 0 END END,
       CASE WHEN currencies <= 1 AND entries > 0 THEN amount END,
       coalesce(nullif(CASE WHEN currencies <= 1 THEN currency ELSE '' END, ''), left_currency, ''),
       CASE
        WHEN outcome = 'missing_right' THEN 'Approved, and no ledger entry exists for it: no route leads it to a target.'
        WHEN outcome = 'missing_left' AND status IS NULL THEN 'Its work date moved to another period while it stands here: ' || coalesce(older, waiting, 'booked') || '.'
        WHEN outcome = 'missing_left' THEN 'It is ' || status || ' at the source, while it stands on the ledger: ' || coalesce(older, waiting, 'booked') || '.'
        WHEN outcome = 'open' THEN coalesce('Held: ' || rules || '.', initcap(waiting) || '.')
        WHEN outcome IN ('hours_differ', 'amount_differs') THEN
             concat_ws(' ', 'The ledger does not add up to the current version:', coalesce(older, waiting, 'it was booked otherwise') || '.', 'Held: ' || rules || '.')
        WHEN is_history AND cut_over_on = DATE '9999-12-31' THEN 'It is being brought in, or was booked before: history, not posted.'
        WHEN is_history THEN 'Before the cut-over on ' || cut_over_on || ': history, not posted.'
        WHEN entries = 0 AND owed THEN coalesce('Cancelled: ' || (SELECT t.reason FROM portal_ledgertransition t
                WHERE t.entry_id = cancelled_id AND t.to_state = 'cancelled' LIMIT 1) || '.', 'Cancelled.')
        WHEN status <> 'approved' THEN 'It is ' || status || ' at the source: nothing is owed.'
        ELSE '' END
  FROM judged
"""  # noqa: E501, S608 -- one statement, read as one

_LEDGER_TARGET = """
WITH entries AS (
    SELECT e.id, e.document_id, e.target_id, e.kind, s.receipt_number, e.hours, e.amount, e.rate, e.currency, e.post_on,
           coalesce(e.target_keys->>'project', '') AS project, s.state
      FROM portal_ledgerstate s
      JOIN portal_ledgerentry e ON e.id = s.entry_id
     WHERE s.entity_id = %(entity)s AND s.target_id = ANY(%(targets)s) AND s.state = ANY(%(receipted)s)
       AND e.post_on BETWEEN %(start)s AND %(end)s
), lines AS (
    SELECT id, connection_id, kind, number, key, hours, amount, rate, currency, work_date, project_key
      FROM portal_statementline
     WHERE entity_id = %(entity)s AND connection_id = ANY(%(targets)s) AND work_date BETWEEN %(start)s AND %(end)s AND gone_at IS NULL
), pairs AS (
    SELECT e.id AS entry_id, e.document_id, e.target_id, e.kind AS entry_kind, e.receipt_number, e.hours AS left_hours, e.amount AS left_amount,
           e.rate AS left_rate, e.currency AS left_currency, e.post_on, e.project, e.state,
           l.id AS line_id, l.connection_id, l.kind AS line_kind, l.number, l.key, l.hours, l.amount, l.rate, l.currency, l.work_date, l.project_key
      FROM entries e
      FULL JOIN lines l ON l.connection_id = e.target_id AND l.kind = e.kind AND l.number = e.receipt_number
), resolved AS (
    SELECT coalesce(p.entry_id, other.id) AS entry_id, coalesce(p.document_id, other.document_id) AS document_id, p.entry_id IS NULL AS is_surplus,
           coalesce(p.target_id, p.connection_id) AS target_id,
           p.line_id IS NULL AS is_missing, other.state AS other_state, other.receipt_number AS other_number,
           p.receipt_number, p.state, p.number, coalesce(p.entry_kind, p.line_kind) AS kind,
           coalesce(p.left_hours, other.hours) AS left_hours, coalesce(p.left_amount, other.amount) AS left_amount, p.left_rate,
           coalesce(p.left_currency, other.currency, '') AS left_currency, coalesce(p.post_on, other.post_on) AS post_on, p.project,
           coalesce(p.line_id, far.id) AS line_id, coalesce(p.hours, far.hours) AS hours, coalesce(p.amount, far.amount) AS amount,
           coalesce(p.rate, far.rate) AS rate, coalesce(p.currency, far.currency, '') AS currency,
           coalesce(p.work_date, far.work_date) AS work_date, coalesce(p.project_key, far.project_key, '') AS project_key,
           far.id IS NOT NULL AS is_far
      FROM pairs p
      LEFT JOIN LATERAL (
        SELECT f.* FROM portal_statementline f
         WHERE p.line_id IS NULL AND f.connection_id = p.target_id AND f.kind = p.entry_kind AND f.number = p.receipt_number AND f.gone_at IS NULL
      ) far ON p.line_id IS NULL
      LEFT JOIN LATERAL (
        SELECT e.id, e.document_id, e.hours, e.amount, e.currency, e.post_on, s.state, s.receipt_number
          FROM portal_ledgerentry e JOIN portal_ledgerstate s ON s.entry_id = e.id
         WHERE p.entry_id IS NULL AND e.target_id = p.connection_id
           AND (e.id = (SELECT r.entry_id FROM portal_receipt r WHERE r.connection_id = p.connection_id AND r.number = p.number)
                OR e.idempotency_key = CASE WHEN p.key ~ '^[0-9a-f]{32}$' THEN p.key::uuid END)
         ORDER BY (s.receipt_number = p.number) DESC LIMIT 1
      ) other ON p.entry_id IS NULL
), judged AS (
    SELECT *, CASE
        WHEN is_missing AND NOT is_far THEN 'missing_right'
        WHEN is_surplus AND entry_id IS NULL THEN 'missing_left'
        WHEN is_surplus AND other_state IN ('sending', 'in_doubt') THEN 'open'
        WHEN is_surplus AND other_number = '' THEN 'missing_left'
        WHEN is_surplus AND other_number <> number THEN 'duplicate'
        WHEN hours <> left_hours AND abs(hours - left_hours) > coalesce((%(tolerances)s::jsonb ->> target_id::text)::numeric, 0) THEN 'hours_differ'
        WHEN amount IS NOT NULL AND left_amount IS NOT NULL AND amount <> left_amount THEN 'amount_differs'
        WHEN amount IS NULL AND rate IS NOT NULL AND left_rate IS NOT NULL AND rate <> left_rate THEN 'amount_differs'
        WHEN currency <> '' AND left_currency <> '' AND currency <> left_currency THEN 'amount_differs'
        WHEN work_date <> post_on THEN 'date_differs'
        WHEN project <> '' AND project_key <> '' AND project <> project_key THEN 'project_differs'
        WHEN state = 'accepted' THEN 'open'
        ELSE 'matched' END AS outcome
      FROM resolved
)
INSERT INTO reconciliation_reconciliationresult
    (run_id, leg, outcome, document_id, entry_id, line_id, hours_left, hours_right, amount_left, amount_right, currency, reason)
SELECT %(run)s, 'ledger_target', outcome, document_id, entry_id, line_id,
       CASE WHEN outcome NOT IN ('missing_left', 'duplicate') THEN left_hours END, hours,
       CASE WHEN outcome NOT IN ('missing_left', 'duplicate') THEN left_amount END,
       coalesce(amount, CASE WHEN outcome IN ('matched', 'open', 'date_differs', 'project_differs') THEN left_amount ELSE round(rate * hours, 4) END),
       coalesce(nullif(left_currency, ''), currency),
       CASE outcome
        WHEN 'matched' THEN ''
        WHEN 'missing_right' THEN 'Receipt ' || receipt_number || ' is not in the statement: it was deleted, or never kept.'
        WHEN 'missing_left' THEN CASE WHEN entry_id IS NULL THEN 'Record ' || number || ' was booked in the target without us.'
             ELSE 'Record ' || number || ' bears our key, while the entry is ' || replace(other_state, '_', ' ') || '.' END
        WHEN 'duplicate' THEN 'Record ' || number || ' bears the same key as ' || other_number || ': booked more than once.'
        WHEN 'open' THEN CASE WHEN is_surplus THEN 'The entry is ' || replace(other_state, '_', ' ') || '; its look-up will adopt record ' || number || '.'
             ELSE 'Accepted as ' || receipt_number || ', not read back equal yet.' END
        WHEN 'hours_differ' THEN 'Hours ' || left_hours || ' were posted, the target holds ' || hours || '.'
        WHEN 'amount_differs' THEN CASE WHEN currency <> '' AND currency <> left_currency
             THEN 'Posted in ' || left_currency || ', the target holds ' || currency || '.'
             ELSE 'Posted ' || coalesce(CASE WHEN amount IS NULL THEN left_rate ELSE left_amount END::text, '') || ', the target holds '
                  || coalesce(amount, rate)::text || CASE WHEN amount IS NULL THEN ' per hour.' ELSE '.' END END
        WHEN 'date_differs' THEN 'Posted on ' || post_on || ', the target holds ' || work_date || '.'
        WHEN 'project_differs' THEN 'Posted to project ' || project || ', the target holds ' || project_key || '.'
       END
  FROM judged
"""  # noqa: E501 -- one statement, read as one


def compare_tracker_with_ledger(run_id: int, entity_id: int, start: date, end: date) -> int:
    """Write one result per document of the entity with a work date in the closed range; how many."""
    return sql.execute(
        _TRACKER_LEDGER, {"run": run_id, "entity": entity_id, "start": start, "end": end, "receipted": RECEIPTED}
    )


def compare_ledger_with_target(
    run_id: int, entity_id: int, targets: Mapping[int, Decimal], start: date, end: date
) -> int:
    """Write one result per receipted entry and per statement line dated in the closed range; how many.

    `targets` are ids, each with the hours that the target's own unit cannot tell apart.
    """
    return sql.execute(
        _LEDGER_TARGET,
        {
            "run": run_id,
            "entity": entity_id,
            "targets": list(targets),
            "start": start,
            "end": end,
            "receipted": RECEIPTED,
            "tolerances": sql.as_json({str(target): tolerance for target, tolerance in targets.items()}),
        },
    )


def totals(run_id: int) -> list[tuple[Any, ...]]:
    """What a run found: (leg, outcome, currency, rows, hours left, hours right, amount left, amount right)."""
    return sql.rows(
        "SELECT leg, outcome, currency, count(*), coalesce(sum(hours_left), 0), coalesce(sum(hours_right), 0),"
        " coalesce(sum(amount_left), 0), coalesce(sum(amount_right), 0)"
        " FROM reconciliation_reconciliationresult WHERE run_id = %s GROUP BY leg, outcome, currency ORDER BY 1, 2, 3",
        [run_id],
    )


def matched_and_posted(run_id: int, after: int, limit: int) -> list[tuple[int, int]]:
    """Entries that the run matched with the target and that are still posted: (id, fence), in id order after an id."""
    return cast(
        "list[tuple[int, int]]",
        sql.rows(
            "SELECT s.entry_id, s.fence FROM reconciliation_reconciliationresult r"
            " JOIN portal_ledgerstate s ON s.entry_id = r.entry_id"
            " WHERE r.run_id = %s AND r.leg = 'ledger_target' AND r.outcome = 'matched' AND s.state = 'posted'"
            " AND s.entry_id > %s ORDER BY s.entry_id LIMIT %s",
            [run_id, after, limit],
        ),
    )


def targets_of(entity_id: int, start: date, end: date) -> list[int]:
    """The targets that the entity's entries or routes of the range lead to."""
    return [
        row[0]
        for row in sql.rows(
            "SELECT target_id FROM reconciliation_route WHERE kind <> 'invoice' AND entity_id = %(entity)s"
            " AND valid_from <= %(end)s AND (valid_to IS NULL OR valid_to >= %(start)s)"
            " UNION SELECT DISTINCT target_id FROM portal_ledgerentry WHERE entity_id = %(entity)s"
            " AND post_on BETWEEN %(start)s AND %(end)s ORDER BY 1",
            {"entity": entity_id, "start": start, "end": end},
        )
    ]


def statement_read_at(entity_id: int, targets: Sequence[int], start: date, end: date) -> datetime | None:
    """When the oldest statement that the comparison uses was read; None when none holds a line."""
    return cast(
        "datetime | None",
        sql.rows(
            "SELECT min(latest) FROM (SELECT max(read_at) AS latest FROM portal_statementline WHERE entity_id = %s"
            " AND connection_id = ANY(%s) AND work_date BETWEEN %s AND %s GROUP BY connection_id) AS reading",
            [entity_id, list(targets), start, end],
        )[0][0],
    )


def differing(run_id: int) -> list[tuple[str, str, int, list[int], list[str]]]:
    """What a run found to differ, by leg and outcome: how many, which entries in the books, and the first reasons.

    An entry that is not in the books is left out: it is owed all the same, and nothing may keep it from going.
    """
    return cast(
        "list[tuple[str, str, int, list[int], list[str]]]",
        sql.rows(
            "SELECT r.leg, r.outcome, count(*)::int,"
            " coalesce(array_agg(DISTINCT s.entry_id) FILTER (WHERE s.state = ANY(%s)), '{}'),"
            " (array_agg(r.reason ORDER BY r.id))[1:3] FROM reconciliation_reconciliationresult r"
            " LEFT JOIN portal_ledgerstate s ON s.entry_id = r.entry_id"
            " WHERE r.run_id = %s AND r.outcome NOT IN ('matched', 'open') GROUP BY r.leg, r.outcome ORDER BY r.leg, r.outcome",
            [RECEIPTED, run_id],
        ),
    )


def outdated_holds(rule: str, prefix: str, run_id: int) -> list[int]:
    """Open holds of this rule's cases whose key begins so, where the run does not find the entry differing that way any more."""
    return [
        row[0]
        for row in sql.rows(
            "SELECT h.id FROM reconciliation_hold h JOIN reconciliation_exceptioncase c ON c.id = h.case_id"
            " WHERE c.rule = %(rule)s AND c.state = 'open' AND starts_with(c.subject_key, %(prefix)s) AND h.closed_at IS NULL"
            " AND NOT EXISTS (SELECT 1 FROM reconciliation_reconciliationresult r WHERE r.run_id = %(run)s"
            " AND r.entry_id = h.entry_id AND c.subject_key = %(prefix)s || r.leg || ':' || r.outcome)",
            {"rule": rule, "prefix": prefix, "run": run_id},
        )
    ]


def open_keys(rule: str, prefix: str) -> list[str]:
    """The subject keys of this rule's open cases that begin so."""
    return [
        row[0]
        for row in sql.rows(
            "SELECT subject_key FROM reconciliation_exceptioncase"
            " WHERE rule = %s AND state = 'open' AND starts_with(subject_key, %s)",
            [rule, prefix],
        )
    ]
