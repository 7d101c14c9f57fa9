"""The second leg: what the ledger says was booked against what the target says it has booked, one result an entry or line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import cast

from portal import sql
from reconciliation.sql.legs.keeping import forget, statement, sum_what_is_equal
from reconciliation.sql.legs.touched import SHIFT, Scope
from reconciliation.sql.legs.tracker import RECEIPTED
from reconciliation.sql.legs.wording import amount, day, hours

# Both sides of what is equal without a word. Once an entry was sent its figures never change, nor does the number of its receipt,
# under which one line stands: so a pair is told by the entry's id.
_PAIRS = """
WITH entries AS (
    SELECT e.id, e.target_id, e.kind, s.receipt_number, e.hours, e.amount, e.rate, e.currency, e.post_on, e.target_keys, s.state, s.fence
      FROM portal_ledgerstate s
      JOIN portal_ledgerentry e ON e.id = s.entry_id
     WHERE s.entity_id = %(entity)s AND e.entity_id = %(entity)s AND s.target_id = ANY(%(targets)s) AND s.state = ANY(%(receipted)s)
       AND e.kind IN ('time', 'expense')
       AND e.post_on BETWEEN %(start)s AND %(end)s {left}
), lines AS (
    SELECT id, connection_id, kind, number, hours, amount, rate, currency, work_date, resource_key, project_key
      FROM portal_statementline
     WHERE entity_id = %(entity)s AND connection_id = ANY(%(targets)s) AND work_date BETWEEN %(start)s AND %(end)s AND gone_at IS NULL {right}
), pairs AS (
    SELECT e.id >> {shift} AS bucket, coalesce(e.currency, '') AS currency, e.hours, e.amount AS amount_left, e.amount AS amount_right,
           e.id AS left_id, l.id AS right_id, hashint8extended(e.id, 2) AS digest, CASE WHEN e.state = 'posted' THEN e.fence END AS fence,
           coalesce(e.state <> 'accepted' AND l.work_date = e.post_on AND l.currency IN ('', e.currency)
               AND (l.hours = e.hours OR l.hours IS NULL AND e.hours IS NULL)
               AND (l.amount = e.amount OR l.amount IS NULL AND (l.rate = e.rate OR l.rate IS NULL OR e.rate IS NULL))
               AND (l.resource_key = '' OR coalesce(e.target_keys ->> 'resource', '') IN ('', l.resource_key))
               AND (l.project_key = '' OR coalesce(e.target_keys ->> 'project', '') IN ('', l.project_key)), false) AS is_equal
      FROM entries e
      FULL JOIN lines l ON l.connection_id = e.target_id AND l.kind = e.kind AND l.number = e.receipt_number OFFSET 0
)"""  # noqa: E501 -- OFFSET 0 keeps `is_equal` from being worked out once for each sum of it

_WERE_EQUAL = """
SELECT e.id, coalesce(e.currency, '') AS currency, e.hours AS hours_left, e.hours AS hours_right, e.amount AS amount_left,
       e.amount AS amount_right, hashint8extended(e.id, 2) AS digest FROM portal_ledgerentry e
 WHERE e.id = ANY(ARRAY(SELECT id FROM were))"""

# The entry under whose receipt or key a line stands, whichever legal entity it belongs to.
_SAME = """e.target_id = p.connection_id
           AND (e.id = (SELECT r.entry_id FROM portal_receipt r WHERE r.connection_id = p.connection_id AND r.number = p.number)
                OR e.idempotency_key = CASE WHEN p.key ~ '^[0-9a-f]{32}$' THEN p.key::uuid END)"""

_LEDGER_TARGET = f"""
WITH entries AS (
    SELECT e.id, e.document_id, e.target_id, e.kind, s.receipt_number, e.hours, e.amount, e.rate, e.currency, e.post_on,
           btrim(coalesce(e.target_keys->>'resource', '')) AS person, coalesce(e.target_keys->>'project', '') AS project, s.state, s.fence
      FROM portal_ledgerstate s
      JOIN portal_ledgerentry e ON e.id = s.entry_id
     WHERE s.entity_id = %(entity)s AND e.entity_id = %(entity)s AND s.target_id = ANY(%(targets)s) AND s.state = ANY(%(receipted)s)
       AND e.kind IN ('time', 'expense')
       AND e.post_on BETWEEN %(start)s AND %(end)s {{left}}
), lines AS (
    SELECT id, connection_id, kind, number, key, hours, amount, rate, currency, work_date, btrim(resource_key) AS person_key, project_key
      FROM portal_statementline
     WHERE entity_id = %(entity)s AND connection_id = ANY(%(targets)s) AND work_date BETWEEN %(start)s AND %(end)s AND gone_at IS NULL {{right}}
), pairs AS (
    SELECT e.id AS entry_id, e.document_id, e.target_id, e.kind AS entry_kind, e.receipt_number, e.hours AS left_hours, e.amount AS left_amount,
           e.rate AS left_rate, e.currency AS left_currency, e.post_on, e.person, e.project, e.state, e.fence,
           l.id AS line_id, l.connection_id, l.kind AS line_kind, l.number, l.key, l.hours, l.amount, l.rate, l.currency, l.work_date,
           l.person_key, l.project_key
      FROM entries e
      FULL JOIN lines l ON l.connection_id = e.target_id AND l.kind = e.kind AND l.number = e.receipt_number
), resolved AS (
    SELECT coalesce(p.entry_id, other.id) AS entry_id, coalesce(p.document_id, other.document_id) AS document_id, p.entry_id IS NULL AS is_surplus,
           coalesce(p.target_id, p.connection_id) AS target_id,
           p.line_id IS NULL AS is_missing, other.state AS other_state, other.receipt_number AS other_number,
           p.receipt_number, p.state, p.fence, p.number, coalesce(p.entry_kind, p.line_kind) AS kind,
           coalesce(p.left_hours, other.hours) AS left_hours, coalesce(p.left_amount, other.amount) AS left_amount, p.left_rate,
           coalesce(p.left_currency, other.currency, '') AS left_currency, coalesce(p.post_on, other.post_on) AS post_on, p.person, p.project,
           coalesce(p.line_id, far.id) AS line_id, coalesce(p.hours, far.hours) AS hours, coalesce(p.amount, far.amount) AS amount,
           coalesce(p.rate, far.rate) AS rate, coalesce(p.currency, far.currency, '') AS currency,
           coalesce(p.work_date, far.work_date) AS work_date, coalesce(p.person_key, btrim(far.resource_key), '') AS person_key,
           coalesce(p.project_key, far.project_key, '') AS project_key, far.id IS NOT NULL AS is_far,
           p.line_id IS NULL AND far.id IS NULL AND EXISTS (
               SELECT 1 FROM portal_statementline f WHERE f.connection_id = p.target_id AND f.kind = p.entry_kind
                  AND f.number = p.receipt_number AND f.gone_at IS NULL)
           OR p.entry_id IS NULL AND other.id IS NULL AND EXISTS (SELECT 1 FROM portal_ledgerentry e WHERE {{same}}) AS is_elsewhere
      FROM pairs p
      LEFT JOIN LATERAL (
        SELECT f.* FROM portal_statementline f
         WHERE p.line_id IS NULL AND f.connection_id = p.target_id AND f.kind = p.entry_kind AND f.number = p.receipt_number
           AND f.entity_id = %(entity)s AND f.gone_at IS NULL
      ) far ON p.line_id IS NULL
      LEFT JOIN LATERAL (
        SELECT e.id, e.document_id, e.hours, e.amount, e.currency, e.post_on, s.state, s.receipt_number
          FROM portal_ledgerentry e JOIN portal_ledgerstate s ON s.entry_id = e.id
         WHERE p.entry_id IS NULL AND e.entity_id = %(entity)s AND {{same}}
         ORDER BY (s.receipt_number = p.number) DESC LIMIT 1
      ) other ON p.entry_id IS NULL
), ruled AS (
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
        WHEN person <> '' AND person_key <> '' AND person <> person_key THEN 'person_differs'
        WHEN state = 'accepted' THEN 'open'
        ELSE 'matched' END AS outcome
      FROM resolved
), judged AS (
    SELECT CASE WHEN is_surplus THEN -line_id ELSE entry_id END AS subject, outcome, document_id, entry_id, line_id,
           NULL::bigint AS bill_id, NULL::bigint AS bill_line_id, NULL::bigint AS payment_id,
           CASE WHEN outcome NOT IN ('missing_left', 'duplicate') THEN left_hours END AS hours_left, hours AS hours_right,
           CASE WHEN outcome NOT IN ('missing_left', 'duplicate') THEN left_amount END AS amount_left,
           coalesce(amount, CASE WHEN outcome IN ('matched', 'open', 'date_differs', 'project_differs', 'person_differs') THEN left_amount
                                 ELSE round(rate * hours, 4) END) AS amount_right,
           coalesce(nullif(left_currency, ''), currency) AS currency, coalesce(post_on, work_date) AS dated,
           NULL::date AS expected_on, project_key || work_date || CASE WHEN outcome = 'person_differs' THEN person_key ELSE '' END AS version, fence, state,
           CASE outcome
            WHEN 'matched' THEN ''
            WHEN 'missing_right' THEN 'Receipt ' || receipt_number || CASE WHEN is_elsewhere
                 THEN ' stands in the books of another legal entity.' ELSE ' is not in the statement: it was deleted, or never kept.' END
            WHEN 'missing_left' THEN CASE WHEN is_elsewhere
                 THEN 'Record ' || number || ' was posted for another legal entity, and stands in the books of this one.'
                 WHEN entry_id IS NULL THEN 'Record ' || number || ' was booked in the target without us.'
                 ELSE 'Record ' || number || ' bears our key, while the entry is ' || replace(other_state, '_', ' ') || '.' END
            WHEN 'duplicate' THEN 'Record ' || number || ' bears the same key as ' || other_number || ': booked more than once.'
            WHEN 'open' THEN CASE WHEN is_surplus THEN 'The entry is ' || replace(other_state, '_', ' ') || '; its look-up will adopt record ' || number || '.'
                 ELSE 'Accepted as ' || receipt_number || ', not read back equal yet.' END
            WHEN 'hours_differ' THEN {hours("left_hours")} || ' h were posted, the target holds ' || {hours("hours")} || ' h.'
            WHEN 'amount_differs' THEN CASE WHEN currency <> '' AND currency <> left_currency
                 THEN 'Posted in ' || left_currency || ', the target holds ' || currency || '.'
                 ELSE 'Posted ' || coalesce({amount("CASE WHEN amount IS NULL THEN left_rate ELSE left_amount END", "left_currency")}, '')
                      || ', the target holds ' || {amount("coalesce(amount, rate)", "left_currency")} || CASE WHEN amount IS NULL THEN ' per hour.' ELSE '.' END END
            WHEN 'date_differs' THEN 'Posted on ' || {day("post_on")} || ', the target holds ' || {day("work_date")} || '.'
            WHEN 'project_differs' THEN 'Posted to project ' || project || ', the target holds ' || project_key || '.'
            WHEN 'person_differs' THEN 'Posted for person ' || person || ', the target holds ' || person_key || '.'
           END AS reason
      FROM ruled
)"""  # noqa: E501, S608 -- one statement, read as one


def compare_ledger_with_target(
    run_id: int, scope: Scope, targets: Mapping[int, Decimal], start: date, end: date
) -> None:
    """Find what stands of every receipted entry and of every statement line dated in the closed range.

    `targets` are ids, each with the hours that the target's own unit cannot tell apart.
    """
    leg = "ledger_target"
    told = {
        "run": run_id, "leg": leg, "period": scope.period_id, "entity": scope.entity_id, "targets": list(targets),
        "start": start, "end": end, "receipted": RECEIPTED,
        "tolerances": sql.as_json({str(target): tolerance for target, tolerance in targets.items()}),
    }  # fmt: skip
    if not scope.is_whole:
        scope.of_target()
    if scope.is_idle:
        return
    forget(leg, scope, _WERE_EQUAL)
    left, right = "AND e.id IN (SELECT id FROM {}_left)", "AND id = ANY(ARRAY(SELECT id FROM {}_right))"
    if sum_what_is_equal(
        _PAIRS.format(
            shift=SHIFT,
            left="" if scope.is_whole else left.format("scope"),
            right="" if scope.is_whole else right.format("scope"),
        ),
        told,
        scope,
    ):
        head = _LEDGER_TARGET.format(left=left.format("rest"), right=right.format("rest"), same=_SAME)
        sql.execute(statement(head, settles=True), told)


def targets_of(entity_id: int, start: date, end: date, *, since: datetime | None = None) -> list[int]:
    """The targets that the entity's routes of the range lead to, and its entries; or its entries that moved since a moment."""
    moved = " AND id = ANY(ARRAY(SELECT entry_id FROM portal_ledgertransition WHERE at >= %(since)s))"
    return [
        row[0]
        for row in sql.rows(
            "SELECT target_id FROM reconciliation_route WHERE kind <> 'invoice' AND entity_id = %(entity)s"  # noqa: S608
            " AND valid_from <= %(end)s AND (valid_to IS NULL OR valid_to >= %(start)s)"
            " UNION SELECT DISTINCT target_id FROM portal_ledgerentry WHERE entity_id = %(entity)s"
            f" AND post_on BETWEEN %(start)s AND %(end)s{'' if since is None else moved} ORDER BY 1",
            {"entity": entity_id, "start": start, "end": end, "since": since},
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
