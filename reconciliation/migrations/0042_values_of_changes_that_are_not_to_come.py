"""Values that were proposed by a change set which was rejected or withdrawn before it was tied to them are asked about again."""

from django.db import migrations

ASK_AGAIN = """
UPDATE portal_rejectedvalue r
   SET state = CASE WHEN EXISTS (
           SELECT FROM portal_rejectedvalue o
            WHERE (o.connection_id, o.kind, o.internal_id, o.field) = (r.connection_id, r.kind, r.internal_id, r.field)
              AND o.id <> r.id AND (o.id > r.id OR o.state = 'open')) THEN 'superseded' ELSE 'open' END,
       decided_by_id = NULL, decided_at = NULL, decision = ''
 WHERE r.state = 'proposed' AND r.id IN (
       SELECT t.rejectedvalue_id FROM reconciliation_changeset_takes_up t
         JOIN reconciliation_changeset c ON c.id = t.changeset_id
        GROUP BY t.rejectedvalue_id HAVING bool_and(c.state IN ('rejected', 'withdrawn')));
"""


class Migration(migrations.Migration):
    dependencies = [("reconciliation", "0041_names_leave_a_rehearsal")]

    operations = [migrations.RunSQL(ASK_AGAIN, migrations.RunSQL.noop)]
