"""The hand-written SQL of certificates: whether anything under one was touched, and what changed since it was prepared."""

from __future__ import annotations

from datetime import date, datetime

from portal import sql

_WITHIN = "BETWEEN %(start)s AND %(end)s"

_WHO = "coalesce(nullif({0}.resource_name, ''), nullif({0}.resource_code, ''), {0}.resource_key)"

_TOUCHED = f"""
SELECT EXISTS (
    SELECT 1 FROM portal_timeentry v JOIN portal_document d ON d.id = v.document_id
     WHERE v.recorded_at >= %(since)s AND d.entity_id = %(entity)s
       AND EXISTS (SELECT 1 FROM portal_timeentry o WHERE o.document_id = d.id AND o.work_date {_WITHIN})
) OR EXISTS (
    SELECT 1 FROM portal_expense v JOIN portal_document d ON d.id = v.document_id
     WHERE v.recorded_at >= %(since)s AND d.entity_id = %(entity)s
       AND EXISTS (SELECT 1 FROM portal_expense o WHERE o.document_id = d.id AND o.work_date {_WITHIN})
) OR EXISTS (
    SELECT 1 FROM portal_ledgertransition t JOIN portal_ledgerentry e ON e.id = t.entry_id
     WHERE t.at >= %(since)s AND t.to_state <> 'reconciled' AND e.entity_id = %(entity)s
       AND (e.work_date {_WITHIN} OR e.post_on {_WITHIN})
) OR EXISTS (
    SELECT 1 FROM portal_statementline l LEFT JOIN portal_receipt p ON p.connection_id = l.connection_id AND p.number = l.number
      LEFT JOIN portal_ledgerentry e ON e.id = p.entry_id
     WHERE l.changed_at >= %(since)s AND %(entity)s IN (l.entity_id, e.entity_id)
       AND (l.work_date {_WITHIN} OR e.post_on {_WITHIN})
) OR EXISTS (
    SELECT 1 FROM portal_allocation a JOIN portal_ledgerentry e ON e.id = a.entry_id
     WHERE a.recorded_at >= %(since)s AND a.entity_id = %(entity)s AND e.post_on {_WITHIN}
) OR EXISTS (
    SELECT 1 FROM portal_invoiceversion v JOIN portal_invoice i ON i.id = v.invoice_id
     WHERE v.recorded_at >= %(since)s AND i.entity_id = %(entity)s
       AND EXISTS (SELECT 1 FROM portal_invoiceversion o WHERE o.invoice_id = i.id AND o.booked_on {_WITHIN})
) OR EXISTS (
    SELECT 1 FROM portal_invoiceversion v JOIN portal_invoice i ON i.id = v.invoice_id
      JOIN portal_invoiceversion o ON o.invoice_id = i.id JOIN portal_invoiceline l ON l.version_id = o.id
      JOIN portal_allocation a ON a.line_id = l.id
      LEFT JOIN portal_ledgerentry e ON e.id = a.entry_id LEFT JOIN portal_milestone m ON m.id = a.milestone_id
     WHERE v.recorded_at >= %(since)s AND i.entity_id = %(entity)s
       AND (e.post_on {_WITHIN} OR m.signed_on {_WITHIN} OR m.due_on {_WITHIN})
) OR EXISTS (
    SELECT 1 FROM portal_milestone m JOIN portal_project p ON p.id = m.project_id
     WHERE p.entity_id = %(entity)s
       AND (EXISTS (SELECT 1 FROM portal_historicalmilestone h WHERE h.history_date >= %(since)s AND h.id = m.id
                       AND (h.signed_on {_WITHIN} OR h.due_on {_WITHIN} OR m.signed_on {_WITHIN} OR m.due_on {_WITHIN}))
            OR (m.signed_on {_WITHIN} OR m.due_on {_WITHIN})
               AND EXISTS (SELECT 1 FROM portal_allocation a WHERE a.milestone_id = m.id AND a.recorded_at >= %(since)s))
) OR EXISTS (
    SELECT 1 FROM portal_paymentallocation a LEFT JOIN portal_invoice i ON i.id = a.invoice_id
      LEFT JOIN portal_invoiceversion v ON v.id = i.current_id
     WHERE a.recorded_at >= %(since)s AND a.entity_id = %(entity)s AND (a.invoice_id IS NULL OR v.booked_on {_WITHIN})
) OR EXISTS (
    SELECT 1 FROM portal_paymentversion v JOIN portal_payment p ON p.id = v.payment_id
     WHERE v.recorded_at >= %(since)s AND p.entity_id = %(entity)s AND v.booked_on {_WITHIN}
)"""  # noqa: S608


def _day(column: str) -> str:
    """A day as people read it, in SQL."""
    return f"to_char({column}, 'FMDD Mon YYYY')"


def _money(amount: str) -> str:
    """An amount as people read it, in SQL; nothing where there is none."""
    return f"to_char({amount}, 'FM999,999,999,999,990.00')"


_CHANGED = f"""
SELECT 'Time entry ' || d.external_id || ' of ' || {_WHO.format("was")} || ': '
       || round(was.hours, 2) || ' h on ' || {_day("was.work_date")} || ', ' || was.status || CASE WHEN was.project_code = now_.project_code THEN '' ELSE
          ' (' || was.project_code || ')' END || ' → ' || round(now_.hours, 2) || ' h on ' || {_day("now_.work_date")} || ', ' || now_.status
       || CASE WHEN was.project_code = now_.project_code THEN '' ELSE ' (' || now_.project_code || ')' END
  FROM portal_document d
  JOIN portal_timeentry now_ ON now_.document_id = d.id AND now_.version = d.current_version
  JOIN LATERAL (SELECT o.* FROM portal_timeentry o WHERE o.document_id = d.id AND o.recorded_at < %(since)s
                 ORDER BY o.version DESC LIMIT 1) was ON true
 WHERE d.entity_id = %(entity)s AND now_.recorded_at >= %(since)s AND (was.work_date {_WITHIN} OR now_.work_date {_WITHIN})
UNION ALL
SELECT 'Time entry ' || d.external_id || ' of ' || {_WHO.format("v")} || ' came: ' || round(v.hours, 2) || ' h on ' || {_day("v.work_date")}
  FROM portal_timeentry v JOIN portal_document d ON d.id = v.document_id
 WHERE v.recorded_at >= %(since)s AND v.version = 1 AND d.entity_id = %(entity)s AND v.work_date {_WITHIN}
UNION ALL
SELECT 'Entry ' || e.id || ' of ' || {_day("e.work_date")} || ', ' || coalesce(round(e.hours, 2) || ' h', {_money("e.amount")} || ' ' || e.currency)
       || ': ' || string_agg(coalesce(nullif(t.from_state, ''), 'new') || ' → ' || t.to_state, ', ' ORDER BY t.fence)
  FROM portal_ledgertransition t JOIN portal_ledgerentry e ON e.id = t.entry_id
 WHERE t.at >= %(since)s AND e.entity_id = %(entity)s AND (e.work_date {_WITHIN} OR e.post_on {_WITHIN})
 GROUP BY e.id
UNION ALL
SELECT concat_ws(', ', CASE WHEN r.ended_run_id IS NULL THEN 'Found since: ' ELSE 'No longer: ' END || coalesce(
            nullif(concat_ws(' on ', p.name, {_day("e.work_date")}), ''), 'bill ' || coalesce(nullif(bv.number, ''), b.external_id),
            'payment ' || coalesce(nullif(pv.number, ''), y.external_id), 'record ' || nullif(l.number, ''), 'a milestone'),
          round(coalesce(r.hours_left, r.hours_right), 2) || ' h', {_money("coalesce(r.amount_left, r.amount_right)")} || ' ' || r.currency)
       || ': ' || r.reason
  FROM reconciliation_reconciliationresult r
  LEFT JOIN portal_ledgerentry e ON e.id = r.entry_id LEFT JOIN portal_resource p ON p.id = e.resource_id
  LEFT JOIN portal_invoice b ON b.id = r.bill_id LEFT JOIN portal_invoiceversion bv ON bv.id = b.current_id
  LEFT JOIN portal_payment y ON y.id = r.payment_id LEFT JOIN portal_paymentversion pv ON pv.id = y.current_id
  LEFT JOIN portal_statementline l ON l.id = r.line_id
 WHERE r.period_id = %(period)s AND r.reason <> ''
   AND (r.run_id > %(run)s AND r.ended_run_id IS NULL OR r.run_id <= %(run)s AND r.ended_run_id > %(run)s)
 LIMIT %(most)s"""  # noqa: E501, S608 -- one statement, read as one


def is_touched(entity_id: int, start: date, end: date, since: datetime) -> bool:
    """Whether anything that a period's comparison rests on was written since a moment; its own moves change no result."""
    told = {"entity": entity_id, "start": start, "end": end, "since": since}
    return bool(sql.rows(_TOUCHED, told)[0][0])


def has_waited_in_vain(period_id: int, today: date) -> bool:
    """Whether the day has passed by which something of a period that stands as waiting was to be there."""
    return bool(
        sql.rows(
            """
            SELECT EXISTS (SELECT 1 FROM reconciliation_reconciliationresult r
                             LEFT JOIN reconciliation_match m ON m.id = r.match_id
                            WHERE r.period_id = %s AND r.ended_run_id IS NULL AND r.standing = 'timing'
                              AND coalesce(m.expected_on, r.expected_on) < %s)""",
            [period_id, today],
        )[0][0]
    )


def changed(
    entity_id: int, period_id: int, start: date, end: date, *, since: datetime, after_run: int, most: int
) -> list[str]:
    """What changed under a period since a moment, a sentence each: hours as they were and are, entries' moves, differences."""
    told = {
        "entity": entity_id, "period": period_id, "start": start, "end": end, "since": since, "run": after_run, "most": most,
    }  # fmt: skip
    return [row[0] for row in sql.rows(_CHANGED, told) if row[0]]
