"""A credit that is void is taken back, and no longer counts against what may be credited of the allocation that it named."""

from django.db import migrations

AFTER = """
CREATE OR REPLACE FUNCTION keep_billing_balance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    bad record;
BEGIN
    PERFORM 1 FROM portal_document d
      WHERE d.id IN (SELECT e.document_id FROM fresh f JOIN portal_ledgerentry e ON e.id = f.entry_id)
      ORDER BY d.id FOR NO KEY UPDATE OF d;
    PERFORM 1 FROM portal_ledgerstate s WHERE s.entry_id IN (SELECT entry_id FROM fresh) ORDER BY s.entry_id FOR SHARE OF s;
    PERFORM 1 FROM portal_milestone m WHERE m.id IN (SELECT milestone_id FROM fresh) ORDER BY m.id FOR NO KEY UPDATE OF m;

    SELECT f.id INTO bad FROM fresh f
      LEFT JOIN portal_ledgerentry e ON e.id = f.entry_id
      LEFT JOIN portal_milestone m ON m.id = f.milestone_id LEFT JOIN portal_project p ON p.id = m.project_id
     WHERE f.entity_id IS DISTINCT FROM coalesce(e.entity_id, p.entity_id) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'allocation % is of another entity than what it bills', bad.id USING ERRCODE = 'check_violation';
    END IF;

    SELECT f.entry_id, s.state, e.is_cost_only INTO bad FROM fresh f
      JOIN portal_ledgerentry e ON e.id = f.entry_id JOIN portal_ledgerstate s ON s.entry_id = e.id
     WHERE f.takes_back_id IS NULL AND (s.state NOT IN ('posted', 'reconciled') OR e.reverses_id IS NOT NULL
           OR NOT e.is_billable OR e.is_cost_only
           OR EXISTS (SELECT 1 FROM portal_ledgerentry r JOIN portal_ledgerstate rs ON rs.entry_id = r.id
                       WHERE r.reverses_id = e.id AND rs.state <> 'cancelled')) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'entry % (%) is not to be billed: what is posted, billable and not being reversed is', bad.entry_id, bad.state
            USING ERRCODE = 'check_violation';
    END IF;

    SELECT f.id, a.id AS names INTO bad FROM fresh f JOIN portal_allocation a ON a.id = f.takes_back_id
     WHERE a.entry_id IS DISTINCT FROM f.entry_id OR a.milestone_id IS DISTINCT FROM f.milestone_id OR a.currency <> f.currency
        OR f.quantity * sign(a.quantity) > 0 OR f.amount * sign(a.amount) > 0 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'allocation % is no opposite of allocation %, which it takes back', bad.id, bad.names USING ERRCODE = 'check_violation';
    END IF;

    SELECT f.id INTO bad FROM fresh f JOIN portal_allocation a ON a.id = f.takes_back_id JOIN portal_allocation r ON r.id = a.takes_back_id
     WHERE r.takes_back_id IS NOT NULL LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'allocation % takes back what itself takes a credit back', bad.id USING ERRCODE = 'check_violation';
    END IF;

    SELECT a.id INTO bad FROM portal_allocation a
      JOIN LATERAL (SELECT sum(t.quantity + coalesce(u.quantity, 0)) AS quantity, sum(t.amount + coalesce(u.amount, 0)) AS amount
                      FROM portal_allocation t
                      LEFT JOIN LATERAL (SELECT sum(quantity) AS quantity, sum(amount) AS amount
                                           FROM portal_allocation WHERE takes_back_id = t.id) u ON true
                     WHERE t.takes_back_id = a.id) taken ON true
     WHERE a.id IN (SELECT takes_back_id FROM fresh)
       AND (abs(taken.quantity) > abs(a.quantity) OR abs(taken.amount) > abs(a.amount)) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'more is taken back of allocation % than it holds', bad.id USING ERRCODE = 'check_violation';
    END IF;

    INSERT INTO portal_billingbalance (entity_id, document_id, entry_id, milestone_id, delivered)
    SELECT DISTINCT f.entity_id, e.document_id, f.entry_id, f.milestone_id,
           CASE WHEN f.milestone_id IS NOT NULL THEN m.amount WHEN e.kind = 'time' THEN coalesce(e.hours, 0) ELSE coalesce(e.amount, 0) END
      FROM fresh f LEFT JOIN portal_ledgerentry e ON e.id = f.entry_id LEFT JOIN portal_milestone m ON m.id = f.milestone_id
        ON CONFLICT DO NOTHING;
    UPDATE portal_billingbalance b SET invoiced = b.invoiced + n.invoiced, credited = b.credited + n.credited
      FROM (SELECT entry_id, sum(greatest(quantity, 0)) AS invoiced, sum(greatest(-quantity, 0)) AS credited
              FROM fresh WHERE entry_id IS NOT NULL GROUP BY 1) n WHERE b.entry_id = n.entry_id;
    UPDATE portal_billingbalance b SET invoiced = b.invoiced + n.invoiced, credited = b.credited + n.credited
      FROM (SELECT milestone_id, sum(greatest(quantity, 0)) AS invoiced, sum(greatest(-quantity, 0)) AS credited
              FROM fresh WHERE milestone_id IS NOT NULL GROUP BY 1) n WHERE b.milestone_id = n.milestone_id;

    SELECT f.entry_id, b.entry_id AS other INTO bad FROM fresh f
      JOIN portal_ledgerentry e ON e.id = f.entry_id
      JOIN portal_billingbalance b ON b.document_id = e.document_id AND b.entry_id <> e.id AND b.invoiced > b.credited
      JOIN portal_ledgerentry o ON o.id = b.entry_id
     WHERE f.quantity > 0 AND (o.version <> e.version OR o.part = e.part) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'entry % is not to be billed: its document stands billed as entry %', bad.entry_id, bad.other
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
"""

BEFORE = """
CREATE OR REPLACE FUNCTION keep_billing_balance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    bad record;
BEGIN
    PERFORM 1 FROM portal_document d
      WHERE d.id IN (SELECT e.document_id FROM fresh f JOIN portal_ledgerentry e ON e.id = f.entry_id)
      ORDER BY d.id FOR NO KEY UPDATE OF d;
    PERFORM 1 FROM portal_ledgerstate s WHERE s.entry_id IN (SELECT entry_id FROM fresh) ORDER BY s.entry_id FOR SHARE OF s;
    PERFORM 1 FROM portal_milestone m WHERE m.id IN (SELECT milestone_id FROM fresh) ORDER BY m.id FOR NO KEY UPDATE OF m;

    SELECT f.id INTO bad FROM fresh f
      LEFT JOIN portal_ledgerentry e ON e.id = f.entry_id
      LEFT JOIN portal_milestone m ON m.id = f.milestone_id LEFT JOIN portal_project p ON p.id = m.project_id
     WHERE f.entity_id IS DISTINCT FROM coalesce(e.entity_id, p.entity_id) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'allocation % is of another entity than what it bills', bad.id USING ERRCODE = 'check_violation';
    END IF;

    SELECT f.entry_id, s.state, e.is_cost_only INTO bad FROM fresh f
      JOIN portal_ledgerentry e ON e.id = f.entry_id JOIN portal_ledgerstate s ON s.entry_id = e.id
     WHERE f.takes_back_id IS NULL AND (s.state NOT IN ('posted', 'reconciled') OR e.reverses_id IS NOT NULL
           OR NOT e.is_billable OR e.is_cost_only
           OR EXISTS (SELECT 1 FROM portal_ledgerentry r JOIN portal_ledgerstate rs ON rs.entry_id = r.id
                       WHERE r.reverses_id = e.id AND rs.state <> 'cancelled')) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'entry % (%) is not to be billed: what is posted, billable and not being reversed is', bad.entry_id, bad.state
            USING ERRCODE = 'check_violation';
    END IF;

    SELECT f.id, a.id AS names INTO bad FROM fresh f JOIN portal_allocation a ON a.id = f.takes_back_id
     WHERE a.entry_id IS DISTINCT FROM f.entry_id OR a.milestone_id IS DISTINCT FROM f.milestone_id OR a.currency <> f.currency
        OR f.quantity * sign(a.quantity) > 0 OR f.amount * sign(a.amount) > 0 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'allocation % is no opposite of allocation %, which it takes back', bad.id, bad.names USING ERRCODE = 'check_violation';
    END IF;

    SELECT a.id INTO bad FROM portal_allocation a
      JOIN LATERAL (SELECT sum(t.quantity) AS quantity, sum(t.amount) AS amount FROM portal_allocation t WHERE t.takes_back_id = a.id) taken ON true
     WHERE a.id IN (SELECT takes_back_id FROM fresh)
       AND (abs(taken.quantity) > abs(a.quantity) OR abs(taken.amount) > abs(a.amount)) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'more is taken back of allocation % than it holds', bad.id USING ERRCODE = 'check_violation';
    END IF;

    INSERT INTO portal_billingbalance (entity_id, document_id, entry_id, milestone_id, delivered)
    SELECT DISTINCT f.entity_id, e.document_id, f.entry_id, f.milestone_id,
           CASE WHEN f.milestone_id IS NOT NULL THEN m.amount WHEN e.kind = 'time' THEN coalesce(e.hours, 0) ELSE coalesce(e.amount, 0) END
      FROM fresh f LEFT JOIN portal_ledgerentry e ON e.id = f.entry_id LEFT JOIN portal_milestone m ON m.id = f.milestone_id
        ON CONFLICT DO NOTHING;
    UPDATE portal_billingbalance b SET invoiced = b.invoiced + n.invoiced, credited = b.credited + n.credited
      FROM (SELECT entry_id, milestone_id, sum(greatest(quantity, 0)) AS invoiced, sum(greatest(-quantity, 0)) AS credited
              FROM fresh GROUP BY 1, 2) n
     WHERE b.entry_id = n.entry_id OR b.milestone_id = n.milestone_id;

    SELECT f.entry_id, b.entry_id AS other INTO bad FROM fresh f
      JOIN portal_ledgerentry e ON e.id = f.entry_id
      JOIN portal_billingbalance b ON b.document_id = e.document_id AND b.entry_id <> e.id AND b.invoiced > b.credited
      JOIN portal_ledgerentry o ON o.id = b.entry_id
     WHERE f.quantity > 0 AND (o.version <> e.version OR o.part = e.part) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'entry % is not to be billed: its document stands billed as entry %', bad.entry_id, bad.other
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("portal", "0016_what_a_credit_names")]

    operations = [migrations.RunSQL(AFTER, BEFORE)]
