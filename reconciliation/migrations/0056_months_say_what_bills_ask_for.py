"""Project months say what bills ask for, not what the hours on them were worth; what stands on void or deleted bills is beside it."""

from importlib import import_module

from django.db import migrations

_months = import_module("reconciliation.migrations.0052_months_say_what_stands_beside")
BEFORE, BILLED, DAYS, HELD_OUT = _months.VIEW, _months.BILLED, _months.DAYS, _months.HELD_OUT


def _said(name: str, column: str = "") -> str:
    """A sum of what is in the month's currency."""
    return f"coalesce(sum({column or 'f.' + name}) FILTER (WHERE f.currency = said.currency), 0) AS {name}"


# What of entries or milestones stands on bills that ask for nothing: drafts, and those that are void or gone and not let go.
_ASIDE = """
    SELECT a.{key} AS id, n.id AS bill_id, v.status, sum(q.money) AS money
      FROM portal_invoice n
      JOIN portal_invoiceversion v ON v.id = n.current_id
      JOIN portal_invoiceversion u ON u.invoice_id = n.id
      JOIN portal_invoiceline l ON l.version_id = u.id
      JOIN portal_allocation a ON a.line_id = l.id AND a.takes_back_id IS NULL
      JOIN {table} ON {alias}.id = a.{key}
     CROSS JOIN LATERAL (SELECT a.quantity + coalesce(sum(t.quantity + coalesce(g.quantity, 0)), 0) AS quantity,
                                a.amount + coalesce(sum(t.amount + coalesce(g.amount, 0)), 0) AS amount
                           FROM portal_allocation t LEFT JOIN LATERAL (SELECT sum(x.quantity) AS quantity, sum(x.amount) AS amount
                                FROM portal_allocation x WHERE x.takes_back_id = t.id) g ON true WHERE t.takes_back_id = a.id) s
     CROSS JOIN LATERAL (SELECT {worth} AS money) q
     WHERE v.status IN ('draft', 'voided', 'deleted') AND s.quantity > 0
     GROUP BY 1, 2, 3"""
_ENTRIES_ASIDE = _ASIDE.format(
    key="entry_id", table="portal_ledgerentry e", alias="e",
    worth="CASE WHEN e.currency = a.currency THEN s.amount"
    " ELSE e.amount * s.quantity / nullif(CASE WHEN e.kind = 'time' THEN e.hours ELSE e.amount END, 0) END",
)  # fmt: skip
_STONES_ASIDE = _ASIDE.format(
    key="milestone_id", table="portal_milestone m", alias="m",
    worth="CASE WHEN m.currency = a.currency THEN s.amount ELSE s.quantity END",
)  # fmt: skip

VIEW = f"""
CREATE OR REPLACE VIEW reconciliation_projectmonth AS
SELECT (f.project_id << 32) + f.period_id AS id, f.project_id, f.period_id, said.currency,
       sum(f.entries)::bigint AS entries, sum(f.hours) AS hours, {_said("amount")}, {_said("blocked")}, {_said("under_way")},
       {_said("ready")}, {_said("invoiced")}, sum(f.stopped)::bigint AS stopped, sum(f.unpriced_hours) AS unpriced_hours,
       coalesce(sum(f.priced) FILTER (WHERE f.currency <> said.currency), 0)::bigint AS in_other_currency,
       {_said("milestones")}, sum(f.unsigned)::bigint AS unsigned, {_said("milestones_ready")}, {_said("milestones_invoiced")},
       {_said("drafted")}, {_said("on_hold")}, {_said("gone")}, {_said("off_price")}
  FROM (
    SELECT e.project_id, ap.id AS period_id, e.currency, count(*) AS entries, coalesce(sum(e.hours), 0) AS hours,
           coalesce(sum(e.amount) FILTER (WHERE d.is_billed), 0) AS amount,
           coalesce(sum(e.amount) FILTER (WHERE d.is_billed AND s.state IN ('held', 'rejected', 'in_doubt')), 0) AS blocked,
           coalesce(sum(e.amount) FILTER (WHERE d.is_billed AND s.state IN ('ready', 'sending', 'accepted')), 0) AS under_way,
           coalesce(sum(e.amount - coalesce(w.worth, 0)) FILTER (WHERE d.is_billed AND s.state IS NULL), 0) AS ready,
           coalesce(sum(b.amount) FILTER (WHERE d.is_billed AND s.state IS NULL AND e.amount IS NOT NULL), 0) AS invoiced,
           coalesce(sum(w.worth - b.amount) FILTER (WHERE d.is_billed AND s.state IS NULL), 0) AS off_price,
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
     CROSS JOIN LATERAL (SELECT e.amount * ((b.invoiced - b.credited) / nullif(b.delivered, 0)) AS worth) w
     WHERE e.reverses_id IS NULL AND coalesce(s.state, '') NOT IN ('cancelled', 'reversed')
     GROUP BY 1, 2, 3
    UNION ALL
    SELECT t.project_id, t.period_id, t.currency, 0, 0, 0, 0, 0, 0, 0, coalesce(sum(t.billed - t.asked) FILTER (WHERE t.is_here), 0),
           0, 0, 0, coalesce(sum(t.amount) FILTER (WHERE t.is_here), 0),
           count(*) FILTER (WHERE t.signed_on IS NULL AND NOT t.is_instalment AND t.due_on <= t.ends_on),
           coalesce(sum(t.amount - t.billed) FILTER (WHERE t.is_here AND t.delivered_on <= current_date), 0),
           coalesce(sum(t.asked - t.drafted - t.gone) FILTER (WHERE t.is_here), 0),
           coalesce(sum(t.drafted) FILTER (WHERE t.is_here), 0), 0, coalesce(sum(t.gone) FILTER (WHERE t.is_here), 0)
      FROM (SELECT p.id AS project_id, ap.id AS period_id, ap.ends_on, t.currency, t.amount, t.signed_on, t.due_on,
                   d.is_instalment, d.delivered_on,
                   coalesce(d.delivered_on, t.due_on) BETWEEN ap.starts_on AND ap.ends_on AS is_here,
                   coalesce(b.invoiced - b.credited, 0) AS billed, coalesce(b.amount, 0) AS asked,
                   coalesce(o.drafted, 0) AS drafted, coalesce(o.gone, 0) AS gone
              FROM portal_accountingperiod ap
              JOIN portal_project p ON p.entity_id = ap.entity_id
              JOIN portal_milestone t ON t.project_id = p.id
              LEFT JOIN portal_contract c ON c.id = p.contract_id
              LEFT JOIN portal_billingbalance b ON b.milestone_id = t.id
              LEFT JOIN (SELECT id, sum(money) FILTER (WHERE status = 'draft') AS drafted,
                                sum(money) FILTER (WHERE status <> 'draft') AS gone FROM ({_STONES_ASIDE}) x GROUP BY 1) o ON o.id = t.id
             CROSS JOIN LATERAL (
               SELECT i.is_instalment, CASE WHEN i.is_instalment THEN t.due_on ELSE t.signed_on END AS delivered_on
                 FROM (SELECT coalesce(nullif(p.billing_model, ''), c.billing_model, '') = 'retainer' AS is_instalment) i) d) t
     GROUP BY 1, 2, 3
    UNION ALL
    SELECT e.project_id, ap.id, e.currency, 0, coalesce(-sum(e.hours) FILTER (WHERE e.is_replaced AND b.id IS NULL), 0),
           coalesce(-sum(w.rest) FILTER (WHERE e.is_replaced), 0), coalesce(sum(w.rest) FILTER (WHERE NOT e.is_replaced), 0),
           0, coalesce(-sum(w.rest), 0), 0, 0, count(*) FILTER (WHERE NOT e.is_replaced), 0, 0, 0, 0, 0, 0, 0, 0, 0
      FROM ({HELD_OUT}) e
      {DAYS}
      LEFT JOIN portal_billingbalance b ON b.entry_id = e.id
     CROSS JOIN LATERAL (SELECT e.amount * (1 - coalesce((b.invoiced - b.credited) / nullif(b.delivered, 0), 0)) AS rest) w
     GROUP BY 1, 2, 3
    UNION ALL
    SELECT e.project_id, ap.id, e.currency, 0, 0, 0, 0, 0, coalesce(-sum(w.part), 0), 0, 0, 0, 0, 0, 0, 0, 0, 0,
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
    SELECT e.project_id, ap.id, e.currency, 0, 0, 0, 0, 0, 0, coalesce(-sum(o.money), 0), 0, 0, 0, 0, 0, 0, 0, 0,
           coalesce(sum(o.money) FILTER (WHERE o.status = 'draft'), 0), 0,
           coalesce(sum(o.money) FILTER (WHERE o.status <> 'draft'), 0)
      FROM ({_ENTRIES_ASIDE}) o
      JOIN portal_ledgerentry e ON e.id = o.id
      JOIN portal_ledgerstate s ON s.entry_id = e.id
      {DAYS}
     WHERE {BILLED}
     GROUP BY 1, 2, 3
  ) f
  JOIN portal_project p ON p.id = f.project_id
  JOIN portal_customer cu ON cu.id = p.customer_id
  LEFT JOIN portal_contract c ON c.id = p.contract_id
 CROSS JOIN LATERAL (SELECT coalesce(c.currency, cu.currency) AS currency) said
 GROUP BY f.project_id, f.period_id, said.currency
HAVING sum(f.entries) > 0 OR coalesce(sum(f.milestones) FILTER (WHERE f.currency = said.currency), 0) <> 0
"""  # noqa: S608


class Migration(migrations.Migration):
    dependencies = [
        ("reconciliation", "0055_matches_that_tie_lines_of_bills"),
        ("portal", "0040_what_stands_billed_in_money"),
    ]

    operations = [
        migrations.RunSQL(VIEW, f"DROP VIEW reconciliation_projectmonth; {BEFORE}"),
    ]
