from django.db import migrations, models

_SENT_AND_NOT_ASKED = """
    UPDATE portal_ledgerstate s SET may_stand = true
     WHERE s.state IN ('in_doubt', 'sending') OR s.state IN ('held', 'ready', 'rejected') AND s.body_hash <> '' AND EXISTS (
           SELECT 1 FROM portal_attemptline l JOIN portal_attempt a ON a.id = l.attempt_id AND a.purpose = 'push'
            WHERE l.entry_id = s.entry_id AND l.outcome NOT IN ('accepted', 'rejected', 'unsent')
              AND NOT EXISTS (SELECT 1 FROM portal_attemptline f JOIN portal_attempt b ON b.id = f.attempt_id
                               WHERE f.entry_id = s.entry_id AND b.purpose = 'find' AND f.outcome = 'absent' AND b.id > a.id))"""


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0041_refunds_are_found_by_their_id"),
    ]

    operations = [
        migrations.AddField(
            model_name="ledgerstate",
            name="may_stand",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.RunSQL(_SENT_AND_NOT_ASKED, migrations.RunSQL.noop),
        migrations.AddConstraint(
            model_name="ledgerstate",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "cancelled"), _negated=True), ("may_stand", False), _connector="OR"
                ),
                name="cancelled_means_nothing_may_stand",
            ),
        ),
    ]
