"""What one person said of an entry in doubt waits for a second one beside everything else that does."""

from django.db import migrations

VIEW = """CREATE OR REPLACE VIEW reconciliation_approvalabove AS
SELECT s.id * 16 + 13 AS id, 'doubt'::text AS kind, s.id::bigint AS key, e.id::bigint AS page,
       'Entry ' || e.id || CASE s.verdict WHEN 'booked' THEN ' is booked as ' || s.number ELSE ' is not booked' END AS title,
       s.reason::text AS reason, over.is_open, (CASE WHEN over.is_open THEN '' ELSE 'approved' END)::text AS outcome,
       e.entity_id::bigint AS entity_id, ARRAY[e.entity_id]::bigint[] AS entities, false AS is_shared,
       CASE WHEN e.amount IS NOT NULL THEN jsonb_build_object(e.currency, e.amount) END AS amounts, e.amount::numeric AS amount, e.currency::text AS currency,
       1::bigint AS entries, s.by_id::bigint AS asked_by_id, s.at::timestamptz AS asked_at,
       s.confirmed_by_id::bigint AS decided_by_id, s.confirmed_at::timestamptz AS decided_at,
       jsonb_build_object('verdict', s.verdict, 'number', s.number, 'target', t.name) AS facts,
       '{}'::bigint[] AS approving, '{}'::bigint[] AS configuring, '{}'::bigint[] AS administering,
       ARRAY[e.entity_id]::bigint[] AS fixing, '{}'::bigint[] AS managing, NULL::bigint AS only_id,
       ARRAY[s.by_id]::bigint[] AS barred
  FROM integrations_settlement s
  JOIN portal_ledgerentry e ON e.id = s.entry_id
  JOIN portal_ledgerstate l ON l.entry_id = e.id
  JOIN portal_connection t ON t.id = e.target_id
 CROSS JOIN LATERAL (SELECT s.confirmed_at IS NULL AS is_open) over
 WHERE s.dropped_at IS NULL AND (s.confirmed_at IS NOT NULL OR (s.fence = l.fence AND l.state = 'in_doubt'))"""

NOTHING = VIEW.replace(" AS\nSELECT", " AS SELECT * FROM (SELECT", 1) + ") said WHERE false"


class Migration(migrations.Migration):
    dependencies = [
        ("integrations", "0006_evidence_is_not_emptied"),
        ("reconciliation", "0053_whatever_takes_a_second_person"),
    ]

    operations = [migrations.RunSQL(VIEW, NOTHING)]
