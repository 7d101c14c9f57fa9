"""The work of a project in a period, added up from the ledger: what is blocked, under way, ready for the invoice, and invoiced."""

from django.db import migrations, models

VIEW = """
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
    dependencies = [
        ("portal", "0014_nothing_is_billed_twice"),
        ("reconciliation", "0020_nothing_is_owed_before_going_live"),
    ]

    operations = [
        migrations.RunSQL(VIEW, "DROP VIEW reconciliation_projectmonth"),
        migrations.CreateModel(
            name="ProjectMonth",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                (
                    "project",
                    models.ForeignKey(on_delete=models.DO_NOTHING, related_name="months", to="portal.project"),
                ),
                (
                    "period",
                    models.ForeignKey(on_delete=models.DO_NOTHING, related_name="+", to="portal.accountingperiod"),
                ),
                ("currency", models.CharField(max_length=3)),
                ("entries", models.IntegerField()),
                *[
                    (name, models.DecimalField(decimal_places=4, max_digits=18))
                    for name in ("hours", "amount", "blocked", "under_way", "ready", "invoiced")
                ],
                ("stopped", models.IntegerField()),
                ("unpriced_hours", models.DecimalField(decimal_places=4, max_digits=18)),
                ("in_other_currency", models.IntegerField()),
                ("milestones", models.DecimalField(decimal_places=4, max_digits=18)),
                ("unsigned", models.IntegerField()),
            ],
            options={
                "db_table": "reconciliation_projectmonth",
                "ordering": ["-blocked", "project__code"],
                "managed": False,
            },
        ),
    ]
