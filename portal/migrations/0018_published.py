"""Master data as other systems are told it: assignments, records by system with their versions, and who is told."""

import django.contrib.postgres.constraints
import django.db.models.deletion
import django.db.models.functions.comparison
import simple_history.models
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0017_a_void_credit_bills_again"),
    ]

    operations = [
        migrations.AddField(
            model_name="connection",
            name="is_recipient",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name="historicalconnection",
            name="is_recipient",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AlterField(
            model_name="document",
            name="kind",
            field=models.CharField(
                choices=[("time", "Time"), ("expense", "Expense"), ("master", "Master data")], max_length=10
            ),
        ),
        migrations.AlterField(
            model_name="ledgerentry",
            name="kind",
            field=models.CharField(
                choices=[("time", "Time"), ("expense", "Expense"), ("master", "Master data")], max_length=10
            ),
        ),
        migrations.CreateModel(
            name="HistoricalAssignment",
            fields=[
                ("id", models.BigIntegerField(auto_created=True, blank=True, db_index=True, verbose_name="ID")),
                ("valid_from", models.DateField()),
                ("valid_to", models.DateField(blank=True, null=True)),
                ("history_change_reason", models.TextField(null=True)),
                ("history_id", models.AutoField(primary_key=True, serialize=False)),
                ("history_date", models.DateTimeField(db_index=True)),
                (
                    "history_type",
                    models.CharField(choices=[("+", "Created"), ("~", "Changed"), ("-", "Deleted")], max_length=1),
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
                    "project",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="portal.project",
                    ),
                ),
                (
                    "resource",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="portal.resource",
                    ),
                ),
            ],
            options={
                "verbose_name": "historical assignment",
                "verbose_name_plural": "historical assignments",
                "ordering": ("-history_date", "-history_id"),
                "get_latest_by": ("history_date", "history_id"),
            },
            bases=(simple_history.models.HistoricalChanges, models.Model),
        ),
        migrations.CreateModel(
            name="Assignment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("valid_from", models.DateField()),
                ("valid_to", models.DateField(blank=True, null=True)),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="assignments", to="portal.project"
                    ),
                ),
                (
                    "resource",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="assignments", to="portal.resource"
                    ),
                ),
            ],
            options={
                "ordering": ["project", "valid_from"],
                "constraints": [
                    django.contrib.postgres.constraints.ExclusionConstraint(
                        expressions=[
                            (
                                models.Func(
                                    django.db.models.functions.comparison.Coalesce(
                                        models.F("project_id"), models.Value(0), output_field=models.BigIntegerField()
                                    ),
                                    django.db.models.functions.comparison.Coalesce(
                                        models.F("project_id"), models.Value(0), output_field=models.BigIntegerField()
                                    ),
                                    models.Value("[]"),
                                    function="int8range",
                                ),
                                "&&",
                            ),
                            (
                                models.Func(
                                    django.db.models.functions.comparison.Coalesce(
                                        models.F("resource_id"), models.Value(0), output_field=models.BigIntegerField()
                                    ),
                                    django.db.models.functions.comparison.Coalesce(
                                        models.F("resource_id"), models.Value(0), output_field=models.BigIntegerField()
                                    ),
                                    models.Value("[]"),
                                    function="int8range",
                                ),
                                "&&",
                            ),
                            (
                                models.Func(
                                    models.F("valid_from"),
                                    models.F("valid_to"),
                                    models.Value("[]"),
                                    function="daterange",
                                ),
                                "&&",
                            ),
                        ],
                        name="a_person_is_assigned_once_a_day",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Published",
            fields=[
                (
                    "document",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="published",
                        serialize=False,
                        to="portal.document",
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("customer", "Customer"),
                            ("project", "Project"),
                            ("task", "Task"),
                            ("assignment", "Assignment"),
                            ("contract", "Contract"),
                            ("rate", "Rate"),
                        ],
                        max_length=12,
                    ),
                ),
                ("internal_id", models.BigIntegerField()),
                ("title", models.CharField(max_length=300)),
                ("number", models.CharField(blank=True, max_length=200)),
                ("twin", models.JSONField(blank=True, default=dict)),
                ("read_at", models.DateTimeField(blank=True, null=True)),
                ("drift", models.JSONField(blank=True, default=dict)),
                ("drifted_at", models.DateTimeField(blank=True, null=True)),
                ("accepted", models.JSONField(blank=True, default=dict)),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="published",
                        to="portal.connection",
                    ),
                ),
                (
                    "entity",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="published", to="portal.legalentity"
                    ),
                ),
                (
                    "resource",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="portal.resource",
                    ),
                ),
            ],
            options={
                "verbose_name": "published record",
                "ordering": ["connection__code", "kind", "title"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("connection", "kind", "internal_id", "resource"),
                        name="a_record_is_owed_to_a_system_once",
                        nulls_distinct=False,
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="PublishedVersion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("version", models.PositiveIntegerField()),
                ("figures", models.JSONField(default=dict)),
                ("names", models.JSONField(blank=True, default=dict)),
                ("reason", models.CharField(blank=True, max_length=300)),
                ("recorded_at", models.DateTimeField()),
                (
                    "document",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="published_versions",
                        to="portal.document",
                    ),
                ),
            ],
            options={
                "ordering": ["document", "version"],
                "constraints": [
                    models.UniqueConstraint(fields=("document", "version"), name="published_version_is_unique")
                ],
            },
        ),
        migrations.RunSQL(
            "CREATE TRIGGER is_append_only BEFORE UPDATE OR DELETE ON portal_publishedversion"
            " FOR EACH ROW EXECUTE FUNCTION refuse_change();",
            "DROP TRIGGER is_append_only ON portal_publishedversion;",
        ),
    ]
