"""What people write about one entry stays as it was written."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0009_exports"),
        ("reconciliation", "0006_a_row_ends_once"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="EntryComment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                ("text", models.TextField()),
                (
                    "mentions",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=150), blank=True, default=list, size=None
                    ),
                ),
                (
                    "author",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "entry",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="comments", to="portal.ledgerentry"
                    ),
                ),
            ],
            options={
                "ordering": ["entry", "id"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("text", ""), _negated=True), name="a_comment_on_an_entry_says_something"
                    )
                ],
            },
        ),
        migrations.RunSQL(
            "CREATE TRIGGER is_append_only BEFORE UPDATE OR DELETE ON reconciliation_entrycomment"
            " FOR EACH ROW EXECUTE FUNCTION refuse_change()",
            "DROP TRIGGER is_append_only ON reconciliation_entrycomment",
        ),
    ]
