"""The same project months, added up in one pass over the entries of a period instead of project by project."""

from importlib import import_module

from django.db import migrations

# An entry that is neither posted nor reconciled is one of few, and only these are looked up. Conditions on `project_id` and
# `period_id` reach the entries, because everything is grouped by both; conditions on `id` do not.
VIEW = """
CREATE OR REPLACE VIEW reconciliation_projectmonth AS
SELECT (f.project_id << 32) + f.period_id AS id, f.project_id, f.period_id, said.currency,
       sum(f.entries)::bigint AS entries, sum(f.hours) AS hours,
       coalesce(sum(f.amount) FILTER (WHERE f.currency = said.currency), 0) AS amount,
       coalesce(sum(f.blocked) FILTER (WHERE f.currency = said.currency), 0) AS blocked,
       coalesce(sum(f.under_way) FILTER (WHERE f.currency = said.currency), 0) AS under_way,
       coalesce(sum(f.amount - f.blocked - f.under_way - f.invoiced) FILTER (WHERE f.currency = said.currency), 0) AS ready,
       coalesce(sum(f.invoiced) FILTER (WHERE f.currency = said.currency), 0) AS invoiced,
       sum(f.stopped)::bigint AS stopped, sum(f.unpriced_hours) AS unpriced_hours,
       coalesce(sum(f.priced) FILTER (WHERE f.currency <> said.currency), 0)::bigint AS in_other_currency,
       coalesce(sum(f.milestones) FILTER (WHERE f.currency = said.currency), 0) AS milestones,
       sum(f.unsigned)::bigint AS unsigned,
       coalesce(sum(f.milestones_ready) FILTER (WHERE f.currency = said.currency), 0) AS milestones_ready,
       coalesce(sum(f.milestones_invoiced) FILTER (WHERE f.currency = said.currency), 0) AS milestones_invoiced
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
           0::numeric AS milestones, 0::bigint AS unsigned, 0::numeric AS milestones_ready, 0::numeric AS milestones_invoiced
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
           coalesce(sum(t.billed) FILTER (WHERE t.is_here), 0)
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
  ) f
  JOIN portal_project p ON p.id = f.project_id
  JOIN portal_customer cu ON cu.id = p.customer_id
  LEFT JOIN portal_contract c ON c.id = p.contract_id
 CROSS JOIN LATERAL (SELECT coalesce(c.currency, cu.currency) AS currency) said
 GROUP BY f.project_id, f.period_id, said.currency
HAVING sum(f.entries) > 0 OR coalesce(sum(f.milestones) FILTER (WHERE f.currency = said.currency), 0) <> 0
"""


class Migration(migrations.Migration):
    dependencies = [("reconciliation", "0043_the_plan_that_was_agreed_to")]

    operations = [
        migrations.RunSQL(VIEW, import_module("reconciliation.migrations.0040_milestones_of_project_months").VIEW)
    ]
