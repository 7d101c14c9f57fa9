"""What of the milestones of a project month is ready for the invoice, and what is invoiced; an instalment needs no signature."""

from django.db import migrations, models

VIEW = """
CREATE OR REPLACE VIEW reconciliation_projectmonth AS
SELECT (p.id << 32) + ap.id AS id, p.id AS project_id, ap.id AS period_id, said.currency,
       w.entries, w.hours, w.amount, w.blocked, w.under_way, w.amount - w.blocked - w.under_way - w.invoiced AS ready, w.invoiced,
       w.stopped, w.unpriced_hours, w.in_other_currency, m.milestones, m.unsigned,
       m.milestones_ready, m.milestones_invoiced
  FROM portal_project p
  JOIN portal_accountingperiod ap ON ap.entity_id = p.entity_id
  JOIN portal_customer cu ON cu.id = p.customer_id
  LEFT JOIN portal_contract c ON c.id = p.contract_id
  CROSS JOIN LATERAL (SELECT coalesce(c.currency, cu.currency) AS currency) said
  CROSS JOIN LATERAL (
    SELECT count(*) AS entries, coalesce(sum(f.hours), 0) AS hours, coalesce(sum(f.billed), 0) AS amount,
           coalesce(sum(f.billed) FILTER (WHERE f.state IN ('held', 'rejected', 'in_doubt')), 0) AS blocked,
           coalesce(sum(f.billed) FILTER (WHERE f.state IN ('ready', 'sending', 'accepted')), 0) AS under_way,
           coalesce(sum(f.billed * f.share) FILTER (WHERE f.state IN ('posted', 'reconciled')), 0) AS invoiced,
           count(*) FILTER (WHERE f.state IN ('held', 'rejected', 'in_doubt')) AS stopped,
           coalesce(sum(f.hours) FILTER (WHERE f.is_billed AND f.amount IS NULL), 0) AS unpriced_hours,
           count(*) FILTER (WHERE f.is_billed AND f.amount IS NOT NULL AND f.currency <> said.currency) AS in_other_currency
      FROM (SELECT e.hours, e.amount, e.currency, s.state, e.is_billable AND NOT e.is_cost_only AS is_billed,
                   CASE WHEN e.is_billable AND NOT e.is_cost_only AND e.currency = said.currency THEN e.amount END AS billed,
                   coalesce((b.invoiced - b.credited) / nullif(b.delivered, 0), 0) AS share
              FROM portal_ledgerentry e
              JOIN portal_ledgerstate s ON s.entry_id = e.id
              LEFT JOIN portal_billingbalance b ON b.entry_id = e.id
             WHERE e.project_id = p.id AND e.work_date BETWEEN ap.starts_on AND ap.ends_on AND e.reverses_id IS NULL
               AND s.state NOT IN ('cancelled', 'reversed')) f
  ) w
  CROSS JOIN LATERAL (
    SELECT coalesce(sum(t.amount) FILTER (WHERE t.is_here), 0) AS milestones,
           count(*) FILTER (WHERE t.signed_on IS NULL AND NOT t.is_instalment AND t.due_on <= ap.ends_on) AS unsigned,
           coalesce(sum(t.amount - t.billed) FILTER (WHERE t.is_here AND t.delivered_on <= current_date), 0) AS milestones_ready,
           coalesce(sum(t.billed) FILTER (WHERE t.is_here), 0) AS milestones_invoiced
      FROM (SELECT t.amount, t.signed_on, t.due_on, d.is_instalment, d.delivered_on,
                   coalesce(d.delivered_on, t.due_on) BETWEEN ap.starts_on AND ap.ends_on AND t.currency = said.currency AS is_here,
                   coalesce(b.invoiced - b.credited, 0) AS billed
              FROM portal_milestone t LEFT JOIN portal_billingbalance b ON b.milestone_id = t.id
             CROSS JOIN LATERAL (
               SELECT i.is_instalment, CASE WHEN i.is_instalment THEN t.due_on ELSE t.signed_on END AS delivered_on
                 FROM (SELECT coalesce(nullif(p.billing_model, ''), c.billing_model, '') = 'retainer' AS is_instalment) i) d
             WHERE t.project_id = p.id) t
  ) m
 WHERE w.entries > 0 OR m.milestones <> 0
"""
BEFORE = """
DROP VIEW reconciliation_projectmonth;
CREATE VIEW reconciliation_projectmonth AS
SELECT (p.id << 32) + ap.id AS id, p.id AS project_id, ap.id AS period_id, said.currency,
       w.entries, w.hours, w.amount, w.blocked, w.under_way, w.amount - w.blocked - w.under_way - w.invoiced AS ready, w.invoiced,
       w.stopped, w.unpriced_hours, w.in_other_currency, m.milestones, m.unsigned
  FROM portal_project p
  JOIN portal_accountingperiod ap ON ap.entity_id = p.entity_id
  JOIN portal_customer cu ON cu.id = p.customer_id
  LEFT JOIN portal_contract c ON c.id = p.contract_id
  CROSS JOIN LATERAL (SELECT coalesce(c.currency, cu.currency) AS currency) said
  CROSS JOIN LATERAL (
    SELECT count(*) AS entries, coalesce(sum(f.hours), 0) AS hours, coalesce(sum(f.billed), 0) AS amount,
           coalesce(sum(f.billed) FILTER (WHERE f.state IN ('held', 'rejected', 'in_doubt')), 0) AS blocked,
           coalesce(sum(f.billed) FILTER (WHERE f.state IN ('ready', 'sending', 'accepted')), 0) AS under_way,
           coalesce(sum(f.billed * f.share) FILTER (WHERE f.state IN ('posted', 'reconciled')), 0) AS invoiced,
           count(*) FILTER (WHERE f.state IN ('held', 'rejected', 'in_doubt')) AS stopped,
           coalesce(sum(f.hours) FILTER (WHERE f.is_billed AND f.amount IS NULL), 0) AS unpriced_hours,
           count(*) FILTER (WHERE f.is_billed AND f.amount IS NOT NULL AND f.currency <> said.currency) AS in_other_currency
      FROM (SELECT e.hours, e.amount, e.currency, s.state, e.is_billable AND NOT e.is_cost_only AS is_billed,
                   CASE WHEN e.is_billable AND NOT e.is_cost_only AND e.currency = said.currency THEN e.amount END AS billed,
                   coalesce((b.invoiced - b.credited) / nullif(b.delivered, 0), 0) AS share
              FROM portal_ledgerentry e
              JOIN portal_ledgerstate s ON s.entry_id = e.id
              LEFT JOIN portal_billingbalance b ON b.entry_id = e.id
             WHERE e.project_id = p.id AND e.work_date BETWEEN ap.starts_on AND ap.ends_on AND e.reverses_id IS NULL
               AND s.state NOT IN ('cancelled', 'reversed')) f
  ) w
  CROSS JOIN LATERAL (
    SELECT coalesce(sum(t.amount) FILTER (WHERE t.due_on BETWEEN ap.starts_on AND ap.ends_on AND t.currency = said.currency), 0)
               AS milestones,
           count(*) FILTER (WHERE t.signed_on IS NULL AND t.due_on <= ap.ends_on) AS unsigned
      FROM portal_milestone t WHERE t.project_id = p.id
  ) m
 WHERE w.entries > 0 OR m.milestones <> 0
"""


class Migration(migrations.Migration):
    dependencies = [("reconciliation", "0039_milestones_in_the_third_leg")]

    operations = [
        migrations.RunSQL(VIEW, BEFORE),
        migrations.AddField(
            model_name="projectmonth",
            name="milestones_ready",
            field=models.DecimalField(decimal_places=4, max_digits=18),
        ),
        migrations.AddField(
            model_name="projectmonth",
            name="milestones_invoiced",
            field=models.DecimalField(decimal_places=4, max_digits=18),
        ),
    ]
