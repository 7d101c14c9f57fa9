"""A plan that was refused keeps by whom and when, and stands with what else was decided."""

from importlib import import_module

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

EARLIER = import_module("reconciliation.migrations.0053_whatever_takes_a_second_person")
OTHERS = [arm for arm in EARLIER.KINDS if "reconciliation_ratebundle x" not in arm]
WAITS, DECIDED = (arm for arm in EARLIER.KINDS if "reconciliation_ratebundle x" in arm)


def told(arm):
    """What was decided of plans, with the refused ones."""
    for before, after in (
        ("x.round > 1 AND x.approved_by_id IS NOT NULL", "x.round > 1 AND coalesce(x.approved_by_id, x.refused_by_id) IS NOT NULL"),
        ("x.approved_by_id AS decided_by_id", "coalesce(x.approved_by_id, x.refused_by_id) AS decided_by_id"),
        ("x.approved_at AS decided_at", "coalesce(x.approved_at, x.refused_at) AS decided_at"),
        ("'approved' AS outcome", "CASE WHEN x.refused_by_id IS NULL THEN 'approved' ELSE 'refused' END AS outcome"),
    ):  # fmt: skip
        assert arm.count(before) == 1, before
        arm = arm.replace(before, after)
    return arm


def view(arms):
    """The list of what takes a second person, of these kinds."""
    return "CREATE OR REPLACE VIEW reconciliation_approval AS {} UNION ALL SELECT * FROM reconciliation_approvalabove".format(
        " UNION ALL ".join(EARLIER.typed(arm) for arm in arms)
    )


# Plans that were refused before this and wait to be planned again.
REFUSED = """
UPDATE reconciliation_ratebundle b SET refused_by_id = e.actor_id, refused_at = e.at
  FROM (SELECT DISTINCT ON (object_id) object_id, actor_id, at FROM portal_auditevent
         WHERE action = 'rates.refused' AND object_type = 'ratebundle' AND actor_id IS NOT NULL ORDER BY object_id, id DESC) e
 WHERE b.state = 'cancelled' AND b.approved_by_id IS NULL AND e.object_id = b.id::text AND e.actor_id <> b.planned_by_id"""


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("reconciliation", "0058_project_months_period_by_period"),
    ]

    operations = [
        migrations.AddField(
            model_name="ratebundle",
            name="refused_by",
            field=models.ForeignKey(
                blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="ratebundle", name="refused_at", field=models.DateTimeField(blank=True, null=True)
        ),
        migrations.RunSQL(REFUSED, migrations.RunSQL.noop),
        # The checks of the rows just written come due before the table is altered again.
        migrations.RunSQL("SET CONSTRAINTS ALL IMMEDIATE", migrations.RunSQL.noop),
        migrations.AddConstraint(
            model_name="ratebundle",
            constraint=models.CheckConstraint(
                condition=models.Q(refused_by=None, refused_at=None)
                | models.Q(refused_by__isnull=False, refused_at__isnull=False, approved_by=None, state="cancelled")
                & ~models.Q(refused_by=models.F("planned_by")),
                name="a_refused_bundle_was_refused_by_another_person",
            ),
        ),
        migrations.RunSQL(view([*OTHERS, WAITS, told(DECIDED)]), view(EARLIER.KINDS)),
    ]  # fmt: skip
