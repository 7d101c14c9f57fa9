"""Grants leave history from now on, those that stand as they stand; a decision tells as what it was taken and from where."""

import django.db.models.deletion
import django.utils.timezone
import simple_history.models
from django.conf import settings
from django.db import migrations, models

STANDING = """
    INSERT INTO portal_historicalentitygrant (id, role, valid_from, valid_to, entity_id, user_id, history_change_reason,
                                              history_date, history_type)
    SELECT id, role, valid_from, valid_to, entity_id, user_id, 'It stood when the history of grants began.', now(), '+'
      FROM portal_entitygrant"""


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0022_invoice_proposals"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="entitygrant",
            options={"ordering": ["user__username", "role", "pk"], "verbose_name": "grant"},
        ),
        migrations.AddField(
            model_name="auditevent",
            name="address",
            field=models.CharField(blank=True, max_length=60),
        ),
        migrations.AddField(
            model_name="auditevent",
            name="roles",
            field=models.CharField(blank=True, max_length=200),
        ),
        migrations.CreateModel(
            name="HistoricalEntityGrant",
            fields=[
                ("id", models.BigIntegerField(auto_created=True, blank=True, db_index=True, verbose_name="ID")),
                (
                    "role",
                    models.CharField(
                        choices=[
                            ("analyst", "Finance analyst"),
                            ("project_manager", "Project manager"),
                            ("controller", "Controller"),
                            ("admin", "Admin"),
                            ("auditor", "Auditor"),
                        ],
                        max_length=20,
                    ),
                ),
                ("valid_from", models.DateField(default=django.utils.timezone.localdate)),
                ("valid_to", models.DateField(blank=True, null=True)),
                ("history_change_reason", models.TextField(null=True)),
                ("history_id", models.AutoField(primary_key=True, serialize=False)),
                ("history_date", models.DateTimeField(db_index=True)),
                (
                    "history_type",
                    models.CharField(choices=[("+", "Created"), ("~", "Changed"), ("-", "Deleted")], max_length=1),
                ),
                (
                    "entity",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="portal.legalentity",
                    ),
                ),
                (
                    "history_user",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "historical grant",
                "verbose_name_plural": "historical grants",
                "ordering": ("-history_date", "-history_id"),
                "get_latest_by": ("history_date", "history_id"),
            },
            bases=(simple_history.models.HistoricalChanges, models.Model),
        ),
        migrations.RunSQL(STANDING, migrations.RunSQL.noop),
    ]
