"""The first leg: what was worked against what is on the ledger, one result a document.

A difference has a reason in words; what only waits is open, not different.
"""

from __future__ import annotations

from datetime import date

from portal import sql
from reconciliation.sql import owed
from reconciliation.sql.legs.keeping import forget, statement, sum_what_is_equal
from reconciliation.sql.legs.touched import SHIFT, Scope
from reconciliation.sql.legs.wording import day

RECEIPTED = ["accepted", "posted", "reconciled", "reversed"]

# Hours of which one entry stands, of the version that stands, as they were worked. Its figures never change, so two ids tell it.
_PAIRS = f"""
WITH docs AS (
    SELECT d.id, d.current_version AS version, v.hours, v.status = 'approved' AND coalesce(v.work_date >= c.first_day, true) AND n.id IS NULL AS is_owed
      FROM portal_document d
      JOIN portal_timeentry v ON v.document_id = d.id AND v.version = d.current_version
      JOIN ({owed.FIRST_DAYS}) c ON c.id = d.connection_id
      LEFT JOIN reconciliation_bookedbefore n ON n.document_id = d.id
     WHERE d.entity_id = %(entity)s AND d.kind = 'time' AND v.work_date BETWEEN %(start)s AND %(end)s {{docs}}
    UNION ALL
    SELECT d.id, d.current_version, NULL, false
      FROM portal_document d
      JOIN portal_expense v ON v.document_id = d.id AND v.version = d.current_version
     WHERE d.entity_id = %(entity)s AND d.kind = 'expense' AND v.work_date BETWEEN %(start)s AND %(end)s {{docs}}
), booked AS (
    SELECT e.document_id, count(*) AS entries, min(e.version) AS version, min(e.hours) AS hours, min(e.amount) AS amount,
           min(e.currency) AS currency, min(e.id) AS entry_id, bool_and(e.reverses_id IS NULL AND s.state = ANY(%(receipted)s)) AS is_booked
      FROM portal_ledgerentry e
      JOIN portal_ledgerstate s ON s.entry_id = e.id
      JOIN portal_document d ON d.id = e.document_id
     WHERE d.entity_id = %(entity)s AND e.kind IN ('time', 'expense') AND e.work_date BETWEEN %(start)s AND %(end)s {{entries}}
     GROUP BY e.document_id
), pairs AS (
    SELECT docs.id >> {SHIFT} AS bucket, coalesce(b.currency, '') AS currency, docs.hours, NULL::numeric AS amount_left, b.amount AS amount_right,
           coalesce(docs.id, b.document_id) AS left_id, NULL::bigint AS right_id, hashint8extended(b.entry_id, docs.id) AS digest, NULL::int AS fence,
           coalesce(docs.is_owed AND b.entries = 1 AND b.is_booked AND b.version = docs.version AND b.hours = docs.hours, false) AS is_equal
      FROM docs FULL JOIN booked b ON b.document_id = docs.id OFFSET 0
)"""  # noqa: E501, S608 -- one statement, read as one

# What was summed of a document of which still one entry stands: an entry of the days never leaves them.
_WERE_EQUAL = """SELECT e.document_id AS id, coalesce(e.currency, '') AS currency, e.hours AS hours_left, e.hours AS hours_right,
       NULL::numeric AS amount_left, e.amount AS amount_right, hashint8extended(e.id, e.document_id) AS digest
  FROM portal_ledgerentry e WHERE e.document_id = ANY(ARRAY(SELECT id FROM were)) AND e.kind IN ('time', 'expense') AND e.work_date BETWEEN %(start)s AND %(end)s"""  # noqa: E501

_TRACKER_LEDGER = f"""
WITH docs AS (
    SELECT d.id, d.kind, v.version, v.status, v.hours AS quantity, v.hours, NULL::numeric AS amount, '' AS currency, v.work_date,
           {owed.FIRST_DAY} AS cut_over_on
      FROM portal_document d
      JOIN portal_timeentry v ON v.document_id = d.id AND v.version = d.current_version
      JOIN portal_connection c ON c.id = d.connection_id
     WHERE d.entity_id = %(entity)s AND d.kind = 'time' AND v.work_date BETWEEN %(start)s AND %(end)s {{docs}}
    UNION ALL
    SELECT d.id, d.kind, v.version, v.status, v.amount, NULL, v.amount, v.currency, v.work_date, {owed.FIRST_DAY}
      FROM portal_document d
      JOIN portal_expense v ON v.document_id = d.id AND v.version = d.current_version
      JOIN portal_connection c ON c.id = d.connection_id
     WHERE d.entity_id = %(entity)s AND d.kind = 'expense' AND v.work_date BETWEEN %(start)s AND %(end)s {{docs}}
), booked AS (
    SELECT e.document_id, min(e.kind) AS kind, min(e.work_date) AS work_date, count(*) FILTER (WHERE s.state <> 'cancelled') AS entries,
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
     WHERE d.entity_id = %(entity)s AND e.kind IN ('time', 'expense') AND e.work_date BETWEEN %(start)s AND %(end)s {{entries}}
     GROUP BY e.document_id
), held AS (
    SELECT e.document_id, string_agg(DISTINCT h.rule, ', ' ORDER BY h.rule) AS rules
      FROM reconciliation_hold h
      JOIN portal_ledgerentry e ON e.id = h.entry_id
      JOIN portal_document d ON d.id = e.document_id
     WHERE h.closed_at IS NULL AND d.entity_id = %(entity)s AND e.work_date BETWEEN %(start)s AND %(end)s {{entries}}
     GROUP BY e.document_id
), joined AS (
    SELECT coalesce(docs.id, booked.document_id) AS document_id, coalesce(docs.kind, booked.kind) AS kind, docs.status, docs.hours AS left_hours,
           docs.amount AS left_amount, docs.currency AS left_currency, coalesce(docs.quantity, 0) AS quantity, docs.cut_over_on,
           docs.id IS NOT NULL AND docs.status = 'approved' AND (docs.cut_over_on IS NULL OR docs.work_date >= docs.cut_over_on) AS owed,
           docs.id IS NOT NULL AND docs.work_date < docs.cut_over_on AS is_history,
           coalesce(docs.work_date, booked.work_date) AS dated, docs.version,
           coalesce(booked.entries, 0) AS entries, coalesce(booked.pending, 0) AS pending, coalesce(booked.cancelled, 0) AS cancelled,
           coalesce(booked.hours, 0) AS hours, coalesce(booked.amount, 0) AS amount, coalesce(booked.currency, '') AS currency,
           coalesce(booked.currencies, 0) AS currencies, booked.entry_id, booked.cancelled_id, booked.older, booked.waiting, held.rules
      FROM docs FULL JOIN booked ON booked.document_id = docs.id
      LEFT JOIN held ON held.document_id = coalesce(docs.id, booked.document_id)
), weighed AS (
    SELECT *, CASE WHEN owed THEN quantity ELSE 0 END AS expected, CASE WHEN kind = 'time' THEN hours ELSE amount END AS on_ledger
      FROM joined
), ruled AS (
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
), judged AS (
    SELECT document_id AS subject, outcome, document_id, entry_id, NULL::bigint AS line_id, NULL::bigint AS bill_id,
           NULL::bigint AS bill_line_id, NULL::bigint AS payment_id,
           CASE WHEN kind = 'time' THEN CASE WHEN owed THEN left_hours ELSE 0 END END AS hours_left,
           CASE WHEN kind = 'time' THEN hours END AS hours_right,
           CASE WHEN kind = 'expense' THEN CASE WHEN owed THEN left_amount ELSE 0 END END AS amount_left,
           CASE WHEN currencies <= 1 AND entries > 0 THEN amount END AS amount_right,
           coalesce(nullif(CASE WHEN currencies <= 1 THEN currency ELSE '' END, ''), left_currency, '') AS currency,
           dated, NULL::date AS expected_on, version,
           CASE
            WHEN outcome = 'missing_right' THEN 'Approved, and no ledger entry exists for it: no route leads it to a target.'
            WHEN outcome = 'missing_left' AND status IS NULL THEN 'Its work date moved to another period while it stands here: ' || coalesce(older, waiting, 'booked') || '.'
            WHEN outcome = 'missing_left' THEN 'It is ' || status || ' at the source, while it stands on the ledger: ' || coalesce(older, waiting, 'booked') || '.'
            WHEN outcome = 'open' THEN coalesce('Held: ' || rules || '.', initcap(waiting) || '.')
            WHEN outcome IN ('hours_differ', 'amount_differs') THEN
                 concat_ws(' ', 'The ledger does not add up to the current version:', coalesce(older, waiting, 'it was booked otherwise') || '.', 'Held: ' || rules || '.')
            WHEN is_history AND cut_over_on = DATE '9999-12-31' THEN 'It is being brought in, or was booked before: history, not posted.'
            WHEN is_history THEN 'Before the cut-over on ' || {day("cut_over_on")} || ': history, not posted.'
            WHEN entries = 0 AND owed THEN coalesce('Cancelled: ' || (SELECT t.reason FROM portal_ledgertransition t
                    WHERE t.entry_id = cancelled_id AND t.to_state = 'cancelled' LIMIT 1) || '.', 'Cancelled.')
            WHEN status <> 'approved' THEN 'It is ' || status || ' at the source: nothing is owed.'
            ELSE '' END AS reason
      FROM ruled
)"""  # noqa: E501, S608 -- one statement, read as one


def compare_tracker_with_ledger(run_id: int, scope: Scope, start: date, end: date) -> None:
    """Find what stands of every document of the entity with a work date in the closed range."""
    leg = "tracker_ledger"
    told = {
        "run": run_id, "leg": leg, "period": scope.period_id, "entity": scope.entity_id, "start": start, "end": end,
        "receipted": RECEIPTED,
    }  # fmt: skip
    if not scope.is_whole:
        scope.of_tracker(start, end)
    if scope.is_idle:
        return
    forget(leg, scope, _WERE_EQUAL, start=start, end=end)
    docs, entries = "AND d.id IN (SELECT id FROM {}_left)", "AND e.document_id IN (SELECT id FROM {}_left)"
    if sum_what_is_equal(
        _PAIRS.format(
            docs="" if scope.is_whole else docs.format("scope"),
            entries="" if scope.is_whole else entries.format("scope"),
        ),
        told,
        scope,
    ):
        sql.execute(statement(_TRACKER_LEDGER.format(docs=docs.format("rest"), entries=entries.format("rest"))), told)
