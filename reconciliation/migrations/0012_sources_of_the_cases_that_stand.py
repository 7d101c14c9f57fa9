"""Cases that stand already get the sources that they hold from, and stay in the order in which they are."""

from django.db import migrations

GONE = "DELETE FROM reconciliation_casereach"
REACH = """
    INSERT INTO reconciliation_casereach
           (case_id, source_id, project_id, contract_id, customer_id, currency, holds, hours, amount, estimate, billable)
    SELECT h.case_id, e.source_id, e.project_id, e.contract_id, coalesce(e.customer_id, p.customer_id), w.currency, count(*),
           coalesce(sum(e.hours), 0), coalesce(sum(e.amount), 0), coalesce(sum(w.guess), 0),
           coalesce(sum(coalesce(e.amount, w.guess)) FILTER (WHERE e.is_billable AND NOT e.is_cost_only), 0)
      FROM reconciliation_hold h
      JOIN portal_ledgerentry e ON e.id = h.entry_id
      LEFT JOIN portal_project p ON p.id = e.project_id
      LEFT JOIN portal_timeentry t ON e.amount IS NULL AND t.document_id = e.document_id AND t.version = e.version
     CROSS JOIN LATERAL (
           SELECT CASE WHEN e.amount IS NULL THEN coalesce((h.detail ->> 'estimate')::numeric, t.hours * t.rate) END AS guess,
                  CASE WHEN e.amount IS NULL AND NOT h.detail ? 'estimate' THEN coalesce(nullif(t.currency, ''), e.currency)
                       ELSE e.currency END AS currency
           ) w
     WHERE h.closed_at IS NULL
     GROUP BY 1, 2, 3, 4, 5, 6"""
COMPARED = """
    UPDATE reconciliation_exceptioncase
       SET compared_in = held_currency, compared_amount = held_amount, compared_risk = cash_at_risk"""


class Migration(migrations.Migration):
    dependencies = [("reconciliation", "0011_compared_in_one_currency")]

    operations = [migrations.RunSQL(statement, migrations.RunSQL.noop) for statement in (GONE, REACH, COMPARED)]
