"""The third leg, what the target has booked against what was invoiced, and the fourth, what was invoiced against what was paid.

The rule here: the figures are those of the systems that keep the bills; what is invoiced of an hour is what the billing balance
says, which the database keeps, less what stands on a draft, or on a bill that its system voided or deleted: nothing asks for that
money, whether or not somebody has decided yet what holds. What is not due yet waits, with the day by which it should be there. A
milestone that was delivered stands here as booked work does.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from portal import sql
from reconciliation.sql.legs.keeping import forget, statement, sum_what_is_equal
from reconciliation.sql.legs.touched import MILESTONES, SHIFT, Scope
from reconciliation.sql.legs.wording import amount, day, hours, money

_NO_BILL = "('draft', 'voided', 'deleted')"

# When an hour or a milestone should be on a bill: by the contract's schedule, else the customer's; thirty days after the period's
# end where neither says one.
_EXPECTED = """CASE told.schedule
        WHEN 'none' THEN NULL
        WHEN 'weekly' THEN {day} + 7
        WHEN 'monthly' THEN (SELECT min(day)::date FROM generate_series(%(end)s::date + 1, %(end)s::date + 62, INTERVAL '1 day') AS day
              WHERE extract(day FROM day) = least(told.day, extract(day FROM date_trunc('month', day) + INTERVAL '1 month - 1 day')))
        ELSE %(end)s::date + 30 END"""  # noqa: E501
_TOLD = """CROSS JOIN LATERAL (
        SELECT CASE WHEN coalesce(k.invoice_schedule, '') <> '' THEN k.invoice_schedule ELSE coalesce(u.invoice_schedule, '') END AS schedule,
               CASE WHEN coalesce(k.invoice_schedule, '') <> '' THEN k.invoice_day ELSE u.invoice_day END AS day) told"""  # noqa: E501

# What still counts as billed by drafts, and by bills that are void or gone: until a person decides, its hours are not open again.
_LOST = """
    SELECT a.{key} AS id, sum(a.quantity + coalesce(t.quantity, 0)) AS quantity, sum(a.amount + coalesce(t.amount, 0)) AS amount,
           string_agg(DISTINCT CASE WHEN a.quantity + coalesce(t.quantity, 0) <> 0
                      THEN 'Invoice ' || coalesce(nullif(v.number, ''), i.external_id) || ', which is '
                           || CASE c.status WHEN 'draft' THEN 'a draft' WHEN 'voided' THEN 'void' ELSE 'gone from its system' END END,
                      ' and ') AS bills, bool_and(c.status = 'draft') AS is_draft
      FROM portal_invoice i
      JOIN portal_invoiceversion c ON c.id = i.current_id AND c.status IN ('draft', 'voided', 'deleted')
      JOIN portal_invoiceversion v ON v.invoice_id = i.id
      JOIN portal_invoiceline l ON l.version_id = v.id
      JOIN portal_allocation a ON a.line_id = l.id AND a.takes_back_id IS NULL
      LEFT JOIN LATERAL (SELECT sum(b.quantity + coalesce(u.quantity, 0)) AS quantity, sum(b.amount + coalesce(u.amount, 0)) AS amount
                           FROM portal_allocation b LEFT JOIN portal_allocation u ON u.takes_back_id = b.id
                          WHERE b.takes_back_id = a.id) t ON true
     WHERE i.entity_id = %(entity)s AND i.kind = 'invoice' AND a.{key} IS NOT NULL
     GROUP BY a.{key} HAVING sum(a.quantity + coalesce(t.quantity, 0)) <> 0"""  # noqa: E501

# A milestone is delivered when it is signed, an instalment of a retainer on its day. What is billed before counts by its due day.
_STONES = f"""
    SELECT m.id, m.code, m.amount AS delivered, m.currency, w.day, coalesce(w.day, m.due_on) AS dated,
           coalesce(b.invoiced - b.credited - coalesce(g.quantity, 0), 0) AS billed, x.amount - coalesce(g.amount, 0) AS billed_amount,
           x.currency AS billed_in, g.bills AS lost, g.is_draft, coalesce(x.is_price_credited, false) AS is_price_credited, w.is_instalment,
           {_EXPECTED.format(day="coalesce(w.day, m.due_on)")} AS due_on
      FROM portal_milestone m
      JOIN portal_project j ON j.id = m.project_id
      JOIN portal_customer u ON u.id = j.customer_id
      LEFT JOIN portal_contract k ON k.id = j.contract_id
      LEFT JOIN portal_billingbalance b ON b.milestone_id = m.id
      LEFT JOIN ({_LOST.format(key="milestone_id")}) g ON g.id = m.id
      LEFT JOIN LATERAL (SELECT sum(a.amount) AS amount, min(a.currency) AS currency, bool_or(a.quantity = 0) AS is_price_credited
                           FROM portal_allocation a WHERE a.milestone_id = m.id) x ON b.id IS NOT NULL
     CROSS JOIN LATERAL (
        SELECT o.is_instalment, CASE WHEN o.is_instalment THEN CASE WHEN m.due_on <= %(today)s THEN m.due_on END ELSE m.signed_on END AS day
          FROM (SELECT coalesce(coalesce(nullif(j.billing_model, ''), k.billing_model) = 'retainer', false) AS is_instalment) o) w
     {_TOLD}
     WHERE j.entity_id = %(entity)s AND m.amount > 0 AND coalesce(w.day, m.due_on) BETWEEN %(start)s AND %(end)s
       AND (w.day IS NOT NULL OR b.invoiced > b.credited) {{stones}}"""  # noqa: E501, S608

# Work that stands whole on bills, at its price. Its figures never change, so the entry's id tells it.
_PAIRS = f"""
WITH lost AS MATERIALIZED ({_LOST.format(key="entry_id")}
), entries AS (
    SELECT e.id, e.kind, e.hours, e.amount, e.currency, s.state, b.invoiced - b.credited AS billed, b.delivered
      FROM portal_ledgerstate s
      JOIN portal_ledgerentry e ON e.id = s.entry_id
      LEFT JOIN portal_billingbalance b ON b.entry_id = e.id AND b.entity_id = %(entity)s
     WHERE s.entity_id = %(entity)s AND e.entity_id = %(entity)s AND e.post_on BETWEEN %(start)s AND %(end)s AND e.kind IN ('time', 'expense')
       AND e.reverses_id IS NULL AND e.is_billable AND NOT e.is_cost_only AND coalesce(e.amount, 0) <> 0
       AND (s.state IN ('posted', 'reconciled') OR b.invoiced > b.credited) {{left}}
), money AS (
    SELECT a.entry_id, sum(a.amount) AS amount, min(a.currency) AS currency, bool_or(a.quantity = 0) AS is_price_credited
      FROM portal_allocation a WHERE a.entity_id = %(entity)s AND a.entry_id IN (SELECT id FROM entries WHERE billed <> 0) {{money}}
     GROUP BY a.entry_id
), pairs AS (
    SELECT e.id >> {SHIFT} AS bucket, coalesce(e.currency, '') AS currency, e.hours, e.amount AS amount_left, e.amount AS amount_right,
           e.id AS left_id, NULL::bigint AS right_id, hashint8extended(e.id, 3) AS digest, NULL::int AS fence,
           coalesce(e.state IN ('posted', 'reconciled') AND e.billed = e.delivered AND e.delivered = CASE WHEN e.kind = 'time' THEN e.hours ELSE e.amount END
               AND m.amount = e.amount AND m.currency = e.currency AND NOT m.is_price_credited AND g.id IS NULL, false) AS is_equal
      FROM entries e LEFT JOIN money m ON m.entry_id = e.id LEFT JOIN lost g ON g.id = e.id OFFSET 0
)"""  # noqa: E501, S608 -- one statement, read as one

_WERE_EQUAL = """
SELECT e.id, coalesce(e.currency, '') AS currency, e.hours AS hours_left, e.hours AS hours_right, e.amount AS amount_left,
       e.amount AS amount_right, hashint8extended(e.id, 3) AS digest FROM portal_ledgerentry e
 WHERE e.id = ANY(ARRAY(SELECT id FROM were))"""

# What is tied to a line of a bill, on whichever version of it; the hours are asked of lines alone that do not tie.
_TIED = """FROM portal_invoiceversion av JOIN portal_invoiceline al ON al.version_id = av.id AND al.key = l.key
                           JOIN portal_allocation a ON a.line_id = al.id {}
                          WHERE av.invoice_id = i.id {}"""

# The word of people that a bill holds as its system has it: what it bills at another price than was booked is agreed.
_ADOPTED = """SELECT d.version_id FROM reconciliation_billingdecision d
               WHERE d.choice = 'adopt' AND d.outcome = '' AND (d.approved_at IS NOT NULL OR NOT d.needs_approval)"""

# OFFSET 0 lets the database begin with the work that is to be judged, however much more is joined with it.
_TARGET_INVOICE = f"""
WITH lost AS MATERIALIZED ({_LOST.format(key="entry_id")}
), entries AS (
    SELECT e.id, e.document_id, e.kind, e.hours, e.amount, e.currency, e.post_on, s.state,
           coalesce(b.invoiced - b.credited - coalesce(g.quantity, 0), 0) AS billed, g.amount AS lost_amount, g.bills AS lost, g.is_draft,
           said.status AS said,
           CASE WHEN e.kind = 'time' THEN e.hours ELSE e.amount END AS delivered,
           {_EXPECTED.format(day="e.post_on")} AS due_on
      FROM (SELECT * FROM portal_ledgerentry e
             WHERE e.entity_id = %(entity)s AND e.post_on BETWEEN %(start)s AND %(end)s AND e.kind IN ('time', 'expense')
               AND e.reverses_id IS NULL AND e.is_billable AND NOT e.is_cost_only AND coalesce(e.amount, 0) <> 0 {{left}} OFFSET 0) e
      JOIN portal_ledgerstate s ON s.entry_id = e.id
      LEFT JOIN portal_billingbalance b ON b.entry_id = e.id AND b.entity_id = %(entity)s
      LEFT JOIN lost g ON g.id = e.id
      LEFT JOIN LATERAL (SELECT coalesce(t.status, x.status) AS status FROM portal_document d
                           LEFT JOIN portal_timeentry t ON t.document_id = d.id AND t.version = d.current_version
                           LEFT JOIN portal_expense x ON x.document_id = d.id AND x.version = d.current_version
                          WHERE d.id = e.document_id AND d.current_version > e.version OFFSET 0) said ON said.status <> 'approved'
      LEFT JOIN portal_contract k ON k.id = e.contract_id
      LEFT JOIN portal_customer u ON u.id = e.customer_id
     {_TOLD}
     WHERE s.state IN ('posted', 'reconciled') OR b.invoiced > b.credited
), money AS (
    SELECT a.entry_id, sum(a.amount) AS amount, min(a.currency) AS currency, bool_or(a.quantity = 0) AS is_price_credited,
           bool_or(a.cause_id IN ({_ADOPTED})) AS is_adopted
      FROM portal_allocation a WHERE a.entry_id IN (SELECT id FROM entries WHERE billed <> 0 OR lost IS NOT NULL) GROUP BY a.entry_id
), loose AS (
    SELECT l.id, i.id AS bill_id, i.kind, v.number, v.booked_on, v.currency, l.position, w.net - tied.amount AS net, tied.amount <> 0 AS is_rest,
           CASE WHEN i.kind = 'credit_note' THEN -1 ELSE 1 END
           * CASE WHEN tied.amount <> 0 AND worked.hours = 0 OR l.posting_key || l.posting_number = '' THEN NULL  -- of no unit that we know
                  ELSE l.quantity - CASE WHEN tied.amount = 0 THEN 0 ELSE abs(worked.hours) END END AS quantity
      FROM portal_invoice i
      JOIN portal_invoiceversion v ON v.id = coalesce(i.agreed_id, i.current_id)
      JOIN portal_invoiceversion c ON c.id = i.current_id
      JOIN portal_invoiceline l ON l.version_id = v.id
     CROSS JOIN LATERAL (SELECT CASE WHEN i.kind = 'credit_note' THEN -l.net ELSE l.net END AS net) w
     CROSS JOIN LATERAL (SELECT coalesce(sum(a.amount), 0) AS amount {_TIED.format("", "")}) tied
     CROSS JOIN LATERAL (SELECT coalesce(sum(a.quantity) FILTER (WHERE te.kind = 'time'), 0) AS hours {_TIED.format("LEFT JOIN portal_ledgerentry te ON te.id = a.entry_id", "AND w.net <> tied.amount")}) worked
     WHERE i.entity_id = %(entity)s AND v.booked_on BETWEEN %(start)s AND %(end)s AND c.status NOT IN {_NO_BILL} AND w.net <> tied.amount {{right}}
), stones AS MATERIALIZED ({_STONES}
), weighed AS (
    SELECT e.id AS subject, e.*, m.currency AS billed_in, m.amount - coalesce(e.lost_amount, 0) AS billed_amount, coalesce(m.is_price_credited, false) AS is_price_credited,
           coalesce(m.is_adopted, false) AS is_adopted,
           CASE WHEN e.state NOT IN ('posted', 'reconciled') THEN 'missing_left'
                WHEN e.billed < e.delivered AND (e.lost IS NULL OR e.is_draft) AND (e.due_on IS NULL OR e.due_on >= %(today)s) THEN 'open'
                WHEN e.billed = 0 THEN 'missing_right'
                WHEN e.billed < e.delivered THEN CASE WHEN e.kind = 'time' THEN 'hours_differ' ELSE 'amount_differs' END
                WHEN m.currency <> e.currency THEN 'amount_differs'
                WHEN m.amount <> e.amount AND NOT m.is_price_credited AND NOT m.is_adopted THEN 'amount_differs'
                ELSE 'matched' END AS outcome
      FROM entries e LEFT JOIN money m ON m.entry_id = e.id
), judged AS (
    SELECT subject, outcome, document_id, id AS entry_id, NULL::bigint AS line_id, NULL::bigint AS bill_id, NULL::bigint AS bill_line_id,
           NULL::bigint AS payment_id, CASE WHEN outcome <> 'missing_left' THEN hours END AS hours_left,
           CASE WHEN kind = 'time' THEN billed END AS hours_right, CASE WHEN outcome <> 'missing_left' THEN amount END AS amount_left,
           CASE WHEN billed = 0 THEN 0 WHEN billed_in = currency THEN billed_amount END AS amount_right, currency, post_on AS dated,
           CASE WHEN outcome IN ('open', 'missing_right', 'hours_differ') OR billed < delivered THEN due_on END AS expected_on, ''::text AS version,
           CASE WHEN is_draft AND outcome IN ('open', 'missing_right', 'hours_differ', 'amount_differs')
                THEN 'It stands on ' || lost || ': nobody has issued it, so nothing asks for its money yet.'
                WHEN lost IS NOT NULL AND outcome IN ('missing_right', 'hours_differ', 'amount_differs')
                THEN 'It stood on ' || lost || '; nobody asks for its money, and what holds is to be decided there.'
                WHEN said IS NOT NULL AND outcome IN ('open', 'missing_right')
                THEN CASE WHEN billed = 0 THEN 'Not invoiced' ELSE 'Invoiced in part' END || '; its source says by now that it is ' || said || '.'
                ELSE CASE outcome
            WHEN 'missing_left' THEN 'It is invoiced, while its entry is ' || replace(state, '_', ' ') || '.'
            WHEN 'open' THEN CASE WHEN billed = 0 THEN 'Not invoiced yet' ELSE 'Invoiced in part' END
                 || coalesce('; the bill is expected by ' || {day("due_on")}, '; its contract says no day') || '.'
            WHEN 'missing_right' THEN 'Not invoiced, and the bill was expected by ' || {day("due_on")} || '.'
            WHEN 'hours_differ' THEN {hours("delivered")} || ' h are booked and ' || {hours("billed")} || ' h invoiced; the rest was expected by ' || {day("due_on")} || '.'
            WHEN 'amount_differs' THEN CASE WHEN billed_in <> currency THEN 'Booked in ' || currency || ', invoiced in ' || billed_in || '.'
                 ELSE 'Booked with ' || {money("amount")} || ', invoiced with ' || {money("coalesce(billed_amount, 0)")} || '.' END
            ELSE CASE WHEN is_price_credited THEN 'Credited in price; its hours stay invoiced.'
                      WHEN billed_amount <> amount THEN 'Booked with ' || {money("amount")} || ' and invoiced with ' || {money("billed_amount")} || ', as its bill was adopted.'
                      ELSE '' END END END AS reason
      FROM weighed
    UNION ALL
    SELECT {MILESTONES} + id, o.outcome, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
           CASE WHEN o.outcome <> 'missing_left' THEN delivered END,
           CASE WHEN billed = 0 THEN 0 WHEN billed_in = currency THEN billed_amount END, currency, dated,
           CASE WHEN o.outcome IN ('open', 'missing_right') OR billed < delivered THEN due_on END, 'milestone ' || id,
           CASE WHEN is_draft AND o.outcome IN ('open', 'missing_right', 'amount_differs')
                THEN 'Milestone ' || code || ' stands on ' || lost || ': nobody has issued it, so nothing asks for its money yet.'
                WHEN lost IS NOT NULL AND o.outcome IN ('missing_right', 'amount_differs')
                THEN 'Milestone ' || code || ' stood on ' || lost || '; nobody asks for its money, and what holds is to be decided there.' ELSE CASE o.outcome
            WHEN 'missing_left' THEN 'Milestone ' || code || CASE WHEN is_instalment THEN ' is invoiced ahead of its day, ' || {day("dated")} || '.'
                 ELSE ' is invoiced, while it is not delivered: nobody signed it.' END
            WHEN 'open' THEN 'Milestone ' || code || ' is delivered since ' || {day("day")} || CASE WHEN billed = 0 THEN ' and not invoiced yet' ELSE ' and invoiced in part' END
                 || coalesce('; the bill is expected by ' || {day("due_on")}, '; its contract says no day') || '.'
            WHEN 'missing_right' THEN 'Milestone ' || code || ' is not invoiced, and the bill was expected by ' || {day("due_on")} || '.'
            WHEN 'amount_differs' THEN CASE
                 WHEN billed < delivered THEN 'Milestone ' || code || ' comes to ' || {money("delivered")} || ', of which ' || {money("billed")} || ' are invoiced; the rest was expected by ' || {day("due_on")} || '.'
                 WHEN billed_in <> currency THEN 'Milestone ' || code || ' is agreed in ' || currency || ', invoiced in ' || billed_in || '.'
                 ELSE 'Milestone ' || code || ' comes to ' || {money("delivered")} || ', invoiced with ' || {money("coalesce(billed_amount, 0)")} || '.' END
            ELSE CASE WHEN is_price_credited THEN 'Credited in price; the milestone stays invoiced.' ELSE '' END END END
      FROM stones CROSS JOIN LATERAL (
        SELECT CASE WHEN day IS NULL THEN 'missing_left'
                    WHEN billed < delivered AND (lost IS NULL OR is_draft) AND (due_on IS NULL OR due_on >= %(today)s) THEN 'open'
                    WHEN billed = 0 THEN 'missing_right'
                    WHEN billed < delivered OR billed_in <> currency THEN 'amount_differs'
                    WHEN billed_amount <> delivered AND NOT is_price_credited THEN 'amount_differs'
                    ELSE 'matched' END AS outcome) o
    UNION ALL
    SELECT -id, 'missing_left', NULL, NULL, NULL, bill_id, id, NULL, NULL, quantity, NULL, net, currency, booked_on, NULL, '',
           CASE WHEN kind = 'credit_note' THEN 'Line ' || position || ' of credit note ' || number || ' gives back '
                     || CASE WHEN is_rest THEN {money("abs(net)")} || ' of what is not known here.' ELSE 'nothing that is known here.' END
                ELSE 'Line ' || position || ' of invoice ' || number || ' bills '
                     || CASE WHEN is_rest THEN {money("net")} || ' beside what was delivered.' ELSE 'nothing that was delivered.' END END
      FROM loose
)"""  # noqa: E501, S608 -- one statement, read as one

# What stands in the books or was delivered, whatever is known of bills.
_TO_BE_BILLED = f"""
WITH stones AS MATERIALIZED ({_STONES.format(stones="")})
SELECT currency, sum(hours), sum(amount) FROM (
    SELECT e.currency, e.hours, e.amount
      FROM portal_ledgerstate s JOIN portal_ledgerentry e ON e.id = s.entry_id
     WHERE s.entity_id = %(entity)s AND e.post_on BETWEEN %(start)s AND %(end)s AND e.kind IN ('time', 'expense')
       AND e.reverses_id IS NULL AND e.is_billable AND NOT e.is_cost_only AND coalesce(e.amount, 0) <> 0
       AND s.state IN ('posted', 'reconciled')
    UNION ALL SELECT currency, 0, delivered FROM stones WHERE day IS NOT NULL) w
 GROUP BY currency ORDER BY currency"""  # noqa: S608

_INVOICE_PAYMENT = f"""
WITH bills AS (
    SELECT i.id, v.number, v.currency, v.booked_on, coalesce(v.due_on, v.booked_on + 30) AS due_on, v.status, v.balance,
           CASE WHEN v.status IN {_NO_BILL} THEN 0 ELSE v.total END AS owed, coalesce(w.paid, 0) AS paid
      FROM portal_invoice i
      JOIN portal_invoiceversion v ON v.id = i.current_id
      LEFT JOIN LATERAL (SELECT sum(a.amount) AS paid FROM portal_paymentallocation a WHERE a.invoice_id = i.id) w ON true
     WHERE i.entity_id = %(entity)s AND i.kind = 'invoice' AND v.booked_on BETWEEN %(start)s AND %(end)s
       AND (v.status NOT IN {_NO_BILL} OR coalesce(w.paid, 0) <> 0) {{left}}
), cash AS (
    SELECT p.id, v.number, v.currency, v.booked_on, left_.unapplied, coalesce(w.unknown, 0) AS unknown, w.keys
      FROM portal_payment p
      JOIN portal_paymentversion v ON v.id = p.current_id
      LEFT JOIN LATERAL (
        SELECT sum(a.amount) AS applied, sum(a.amount) FILTER (WHERE a.invoice_id IS NULL) AS unknown,
               coalesce(bool_or(iv.currency <> v.currency), FALSE) AS across,
               string_agg(DISTINCT a.invoice_key, ', ') FILTER (WHERE a.invoice_id IS NULL) AS keys
          FROM portal_paymentallocation a JOIN portal_paymentversion o ON o.id = a.payment_version_id
          LEFT JOIN portal_invoice i ON i.id = a.invoice_id LEFT JOIN portal_invoiceversion iv ON iv.id = i.current_id
         WHERE o.payment_id = p.id) w ON true
     CROSS JOIN LATERAL (SELECT coalesce(v.unapplied, CASE WHEN w.across THEN 0
                                                           ELSE greatest(v.amount - coalesce(w.applied, 0), 0) END) AS unapplied) left_
     WHERE p.entity_id = %(entity)s AND p.kind = 'payment' AND v.booked_on BETWEEN %(start)s AND %(end)s AND v.status = 'received'
       AND left_.unapplied + coalesce(w.unknown, 0) <> 0 {{right}}
), weighed AS (
    SELECT *, CASE WHEN paid = owed THEN 'matched'
                   WHEN owed = 0 THEN 'missing_left'
                   WHEN paid > owed THEN 'amount_differs'
                   WHEN due_on >= %(today)s THEN 'open'
                   WHEN paid = 0 THEN 'missing_right'
                   ELSE 'amount_differs' END AS outcome
      FROM bills
), judged AS (
    SELECT id AS subject, outcome, NULL::bigint AS document_id, NULL::bigint AS entry_id, NULL::bigint AS line_id, id AS bill_id,
           NULL::bigint AS bill_line_id, NULL::bigint AS payment_id, NULL::numeric AS hours_left, NULL::numeric AS hours_right,
           owed AS amount_left, paid AS amount_right, currency, due_on AS dated,
           CASE WHEN paid < owed THEN due_on END AS expected_on, number AS version,
           CASE outcome WHEN 'matched' THEN ''
            WHEN 'missing_left' THEN 'Invoice ' || number || ' is ' || status || ', and ' || {money("paid")} || ' stand on it.'
            ELSE CASE WHEN paid > owed THEN 'Invoice ' || number || ' is overpaid by ' || {money("paid - owed")} || '.'
                      WHEN paid = 0 THEN 'Invoice ' || number || ' is not paid; due on ' || {day("due_on")} || '.'
                      ELSE 'Invoice ' || number || ' is paid with ' || {amount("paid")} || ' of ' || {money("owed")} || '; due on ' || {day("due_on")} || '.' END
                 || CASE WHEN owed - paid <> balance THEN ' Its system says that ' || {money("balance")} || ' are left.' ELSE '' END
           END AS reason
      FROM weighed
    UNION ALL
    SELECT -id, 'missing_left', NULL, NULL, NULL, NULL, NULL, id, NULL, NULL, NULL, unapplied + unknown, currency, booked_on, NULL, '',
           concat_ws(' ', CASE WHEN unapplied <> 0 THEN 'Payment ' || number || ' has ' || {money("unapplied")} || ' applied to no bill.' END,
                     CASE WHEN unknown <> 0 THEN 'Payment ' || number || ' pays bills that are not known here: ' || keys || '.' END)
      FROM cash
)"""  # noqa: E501, S608 -- one statement, read as one


def takes_in_bills(entity_id: int) -> bool:
    """Whether any bill of an entity was ever taken in: before that, there is nothing to compare with."""
    return bool(sql.rows("SELECT EXISTS (SELECT 1 FROM portal_invoice WHERE entity_id = %s)", [entity_id])[0][0])


def to_be_billed(entity_id: int, start: date, end: date, today: date) -> list[tuple[str, Decimal, Decimal]]:
    """What of a closed range is to be billed by what stands in the books, by currency: (currency, hours, amount)."""
    found = sql.rows(_TO_BE_BILLED, {"entity": entity_id, "start": start, "end": end, "today": today})
    return [(currency, Decimal(hours or 0), amount) for currency, hours, amount in found]


def compare_target_with_bills(run_id: int, scope: Scope, start: date, end: date) -> None:
    """The third leg: what was booked or delivered in the closed range against what is invoiced, and lines that bill nothing."""
    leg = "target_invoice"
    told = _told(run_id, leg, scope, start, end)
    if not scope.is_whole:
        scope.of_bills(start, end)
    if scope.is_idle:
        return
    forget(leg, scope, _WERE_EQUAL)
    touched = "AND {} IN (SELECT id FROM scope_left)"
    sum_what_is_equal(
        _PAIRS.format(
            left="" if scope.is_whole else touched.format("e.id"),
            money="" if scope.is_whole else touched.format("a.entry_id"),
        ),
        told,
        scope,
    )
    head = _TARGET_INVOICE.format(
        left="AND e.id IN (SELECT id FROM rest_left)",
        right="" if scope.is_whole else "AND l.id IN (SELECT id FROM scope_right)",
        stones="" if scope.is_whole else touched.format(f"{MILESTONES} + m.id"),
    )
    sql.execute(statement(head), told)


def compare_bills_with_payments(run_id: int, scope: Scope, start: date, end: date) -> None:
    """The fourth leg: invoices booked in the closed range against what settles them, and payments that settle nothing."""
    leg = "invoice_payment"
    left, right = "AND i.id IN (SELECT id FROM scope_left)", "AND p.id IN (SELECT id FROM scope_right)"
    if not scope.is_whole:
        scope.of_payments()
    if scope.is_idle:
        return
    forget(leg, scope)
    head = _INVOICE_PAYMENT.format(left="" if scope.is_whole else left, right="" if scope.is_whole else right)
    sql.execute(statement(head), _told(run_id, leg, scope, start, end))


def _told(run_id: int, leg: str, scope: Scope, start: date, end: date) -> dict[str, object]:
    return {
        "run": run_id, "leg": leg, "period": scope.period_id, "entity": scope.entity_id, "start": start, "end": end,
        "today": scope.today,
    }  # fmt: skip
