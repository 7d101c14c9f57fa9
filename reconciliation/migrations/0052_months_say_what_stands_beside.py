"""Project months say themselves what is held out, drafted, on hold, or stands on an invoice that nobody issued or that is gone.

Until now the view said what the ledger says, and whoever showed its rows corrected them; tabs, order and totals did not.
"""

from importlib import import_module

from django.db import migrations

DAYS = """JOIN portal_project j ON j.id = e.project_id
      JOIN portal_accountingperiod ap ON ap.entity_id = j.entity_id AND e.work_date BETWEEN ap.starts_on AND ap.ends_on"""
BILLED = (
    "s.state IN ('posted', 'reconciled') AND e.is_billable AND NOT e.is_cost_only AND e.reverses_id IS NULL"
    " AND e.amount IS NOT NULL"
)

# Posted work that is not to be billed: a cause of its own is open, or a later version of it is held, which replaces it, so that
# its money stands there already. It begins with the open causes, which are few (without OFFSET it begins with all entries).
HELD_OUT = f"""
    SELECT e.id, e.project_id, e.currency, e.work_date, e.hours, e.amount, bool_or(e.id <> h.entry_id) AS is_replaced
      FROM (SELECT entry_id FROM reconciliation_hold WHERE closed_at IS NULL OFFSET 0) h
     CROSS JOIN LATERAL (SELECT document_id, version FROM portal_ledgerentry WHERE id = h.entry_id OFFSET 0) w
     CROSS JOIN LATERAL (
        SELECT e.* FROM portal_ledgerentry e JOIN portal_ledgerstate s ON s.entry_id = e.id
         WHERE e.id = h.entry_id AND {BILLED}
        UNION ALL
        SELECT e.* FROM portal_ledgerentry e JOIN portal_ledgerstate s ON s.entry_id = e.id
         WHERE w.version > 1 AND e.document_id = w.document_id AND e.version < w.version AND e.id <> h.entry_id AND {BILLED}) e
     GROUP BY 1, 2, 3, 4, 5, 6"""  # noqa: S608

VIEW = f"""
CREATE OR REPLACE VIEW reconciliation_projectmonth AS
SELECT (f.project_id << 32) + f.period_id AS id, f.project_id, f.period_id, said.currency,
       sum(f.entries)::bigint AS entries, sum(f.hours) AS hours,
       coalesce(sum(f.amount) FILTER (WHERE f.currency = said.currency), 0) AS amount,
       coalesce(sum(f.blocked) FILTER (WHERE f.currency = said.currency), 0) AS blocked,
       coalesce(sum(f.under_way) FILTER (WHERE f.currency = said.currency), 0) AS under_way,
       coalesce(sum(f.amount - f.blocked - f.under_way - f.invoiced - f.drafted - f.on_hold)
                FILTER (WHERE f.currency = said.currency), 0) AS ready,
       coalesce(sum(f.invoiced) FILTER (WHERE f.currency = said.currency), 0) AS invoiced,
       sum(f.stopped)::bigint AS stopped, sum(f.unpriced_hours) AS unpriced_hours,
       coalesce(sum(f.priced) FILTER (WHERE f.currency <> said.currency), 0)::bigint AS in_other_currency,
       coalesce(sum(f.milestones) FILTER (WHERE f.currency = said.currency), 0) AS milestones,
       sum(f.unsigned)::bigint AS unsigned,
       coalesce(sum(f.milestones_ready) FILTER (WHERE f.currency = said.currency), 0) AS milestones_ready,
       coalesce(sum(f.milestones_invoiced) FILTER (WHERE f.currency = said.currency), 0) AS milestones_invoiced,
       coalesce(sum(f.drafted) FILTER (WHERE f.currency = said.currency), 0) AS drafted,
       coalesce(sum(f.on_hold) FILTER (WHERE f.currency = said.currency), 0) AS on_hold,
       coalesce(sum(f.gone) FILTER (WHERE f.currency = said.currency), 0) AS gone
  FROM (
    SELECT e.project_id, ap.id AS period_id, e.currency, count(*) AS entries, coalesce(sum(e.hours), 0) AS hours,
           coalesce(sum(e.amount) FILTER (WHERE d.is_billed), 0) AS amount,
           coalesce(sum(e.amount) FILTER (WHERE d.is_billed AND s.state IN ('held', 'rejected', 'in_doubt')), 0) AS blocked,
           coalesce(sum(e.amount) FILTER (WHERE d.is_billed AND s.state IN ('ready', 'sending', 'accepted')), 0) AS under_way,
           coalesce(sum(e.amount * ((b.invoiced - b.credited) / nullif(b.delivered, 0)))
                    FILTER (WHERE d.is_billed AND s.state IS NULL), 0) AS invoiced,
           count(*) FILTER (WHERE s.state IN ('held', 'rejected', 'in_doubt')) AS stopped,
           coalesce(sum(e.hours) FILTER (WHERE d.is_billed AND e.amount IS NULL), 0) AS unpriced_hours,
           count(*) FILTER (WHERE d.is_billed AND e.amount IS NOT NULL) AS priced,
           0::numeric AS milestones, 0::bigint AS unsigned, 0::numeric AS milestones_ready, 0::numeric AS milestones_invoiced,
           0::numeric AS drafted, 0::numeric AS on_hold, 0::numeric AS gone
      FROM portal_accountingperiod ap
      JOIN portal_project p ON p.entity_id = ap.entity_id
      JOIN portal_ledgerentry e ON e.project_id = p.id AND e.work_date BETWEEN ap.starts_on AND ap.ends_on
      LEFT JOIN portal_ledgerstate s ON s.entry_id = e.id AND s.state NOT IN ('posted', 'reconciled')
      LEFT JOIN portal_billingbalance b ON b.entry_id = e.id
     CROSS JOIN LATERAL (SELECT e.is_billable AND NOT e.is_cost_only AS is_billed) d
     WHERE e.reverses_id IS NULL AND coalesce(s.state, '') NOT IN ('cancelled', 'reversed')
     GROUP BY 1, 2, 3
    UNION ALL
    SELECT t.project_id, t.period_id, t.currency, 0, 0, 0, 0, 0, 0, 0, 0, 0,
           coalesce(sum(t.amount) FILTER (WHERE t.is_here), 0),
           count(*) FILTER (WHERE t.signed_on IS NULL AND NOT t.is_instalment AND t.due_on <= t.ends_on),
           coalesce(sum(t.amount - t.billed) FILTER (WHERE t.is_here AND t.delivered_on <= current_date), 0),
           coalesce(sum(t.billed) FILTER (WHERE t.is_here), 0), 0, 0, 0
      FROM (SELECT p.id AS project_id, ap.id AS period_id, ap.ends_on, t.currency, t.amount, t.signed_on, t.due_on,
                   d.is_instalment, d.delivered_on,
                   coalesce(d.delivered_on, t.due_on) BETWEEN ap.starts_on AND ap.ends_on AS is_here,
                   coalesce(b.invoiced - b.credited, 0) AS billed
              FROM portal_accountingperiod ap
              JOIN portal_project p ON p.entity_id = ap.entity_id
              JOIN portal_milestone t ON t.project_id = p.id
              LEFT JOIN portal_contract c ON c.id = p.contract_id
              LEFT JOIN portal_billingbalance b ON b.milestone_id = t.id
             CROSS JOIN LATERAL (
               SELECT i.is_instalment, CASE WHEN i.is_instalment THEN t.due_on ELSE t.signed_on END AS delivered_on
                 FROM (SELECT coalesce(nullif(p.billing_model, ''), c.billing_model, '') = 'retainer' AS is_instalment) i) d) t
     GROUP BY 1, 2, 3
    UNION ALL
    SELECT e.project_id, ap.id, e.currency, 0, coalesce(-sum(e.hours) FILTER (WHERE e.is_replaced AND b.id IS NULL), 0),
           coalesce(-sum(w.rest) FILTER (WHERE e.is_replaced), 0), coalesce(sum(w.rest) FILTER (WHERE NOT e.is_replaced), 0),
           0, 0, count(*) FILTER (WHERE NOT e.is_replaced), 0, 0, 0, 0, 0, 0, 0, 0, 0
      FROM ({HELD_OUT}) e
      {DAYS}
      LEFT JOIN portal_billingbalance b ON b.entry_id = e.id
     CROSS JOIN LATERAL (SELECT e.amount * (1 - coalesce((b.invoiced - b.credited) / nullif(b.delivered, 0), 0)) AS rest) w
     GROUP BY 1, 2, 3
    UNION ALL
    SELECT e.project_id, ap.id, e.currency, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
           coalesce(sum(w.part) FILTER (WHERE i.state = 'handed_over'), 0),
           coalesce(sum(w.part) FILTER (WHERE i.state <> 'handed_over'), 0), 0
      FROM portal_invoiceproposal i
      JOIN portal_proposalline l ON l.proposal_id = i.id
      JOIN portal_proposalpart x ON x.line_id = l.id AND x.released_at IS NULL
      JOIN portal_ledgerentry e ON e.id = x.entry_id
      JOIN portal_ledgerstate s ON s.entry_id = e.id
      {DAYS}
     CROSS JOIN LATERAL (SELECT e.amount * x.quantity / nullif(CASE WHEN e.kind = 'time' THEN e.hours ELSE e.amount END, 0) AS part) w
     WHERE (i.state = 'handed_over' OR l.held_by_id IS NOT NULL) AND {BILLED}
       AND NOT EXISTS (SELECT 1 FROM portal_ledgerentry n JOIN reconciliation_hold h ON h.entry_id = n.id AND h.closed_at IS NULL
                        WHERE n.document_id = e.document_id AND (n.id = e.id OR n.version > e.version))
     GROUP BY 1, 2, 3
    UNION ALL
    SELECT o.project_id, o.period_id, o.currency, 0, 0, 0, 0, 0, coalesce(-sum(o.amount) FILTER (WHERE o.status = 'draft'), 0),
           0, 0, 0, 0, 0, 0, 0, coalesce(sum(o.amount) FILTER (WHERE o.status = 'draft'), 0), 0,
           coalesce(sum(o.amount) FILTER (WHERE o.status = 'deleted'), 0)
      FROM (SELECT e.project_id, ap.id AS period_id, e.currency, v.status, n.id,
                   sum(e.amount * q.stands / nullif(CASE WHEN e.kind = 'time' THEN e.hours ELSE e.amount END, 0)) AS amount
              FROM portal_invoice n
              JOIN portal_invoiceversion v ON v.id = n.current_id
              JOIN portal_invoiceversion u ON u.invoice_id = n.id
              JOIN portal_invoiceline l ON l.version_id = u.id
              JOIN portal_allocation a ON a.line_id = l.id AND a.takes_back_id IS NULL
             CROSS JOIN LATERAL (SELECT a.quantity + coalesce(sum(t.quantity), 0) AS stands FROM portal_allocation t
                                  WHERE t.takes_back_id = a.id) q
              JOIN portal_ledgerentry e ON e.id = a.entry_id
              JOIN portal_ledgerstate s ON s.entry_id = e.id
              {DAYS}
             WHERE (v.status = 'draft' OR v.status = 'deleted' AND n.agreed_id IS DISTINCT FROM n.current_id) AND {BILLED}
             GROUP BY 1, 2, 3, 4, 5 HAVING sum(q.stands) > 0) o
     GROUP BY 1, 2, 3
  ) f
  JOIN portal_project p ON p.id = f.project_id
  JOIN portal_customer cu ON cu.id = p.customer_id
  LEFT JOIN portal_contract c ON c.id = p.contract_id
 CROSS JOIN LATERAL (SELECT coalesce(c.currency, cu.currency) AS currency) said
 GROUP BY f.project_id, f.period_id, said.currency
HAVING sum(f.entries) > 0 OR coalesce(sum(f.milestones) FILTER (WHERE f.currency = said.currency), 0) <> 0
"""  # noqa: S608
BEFORE = import_module("reconciliation.migrations.0044_project_months_in_one_pass").VIEW


class Migration(migrations.Migration):
    dependencies = [
        ("reconciliation", "0051_a_rehearsal_of_nothing_proves_nothing"),
        ("portal", "0037_decisions_by_programs"),
    ]

    operations = [
        migrations.RunSQL(VIEW, f"DROP VIEW reconciliation_projectmonth; {BEFORE}"),
    ]
