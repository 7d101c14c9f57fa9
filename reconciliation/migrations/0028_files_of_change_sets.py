"""Files that speak for a change set are frozen with it."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

FREEZE = """
CREATE FUNCTION keep_change_file() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    parent bigint := CASE WHEN TG_OP = 'INSERT' THEN NEW.change_set_id ELSE OLD.change_set_id END;
BEGIN
    PERFORM FROM reconciliation_changeset WHERE id = parent AND state = 'draft' FOR NO KEY UPDATE;
    IF NOT FOUND OR TG_OP = 'UPDATE' THEN
        RAISE EXCEPTION 'the files of change set % are frozen', parent
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'files_of_a_change_set_are_frozen_with_it';
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER change_file_is_frozen BEFORE INSERT OR UPDATE OR DELETE ON reconciliation_changefile
    FOR EACH ROW EXECUTE FUNCTION keep_change_file();
"""
LET_GO = "DROP TRIGGER change_file_is_frozen ON reconciliation_changefile; DROP FUNCTION keep_change_file;"


class Migration(migrations.Migration):
    dependencies = [
        ("reconciliation", "0027_mappings_are_kept"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ChangeFile",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=200)),
                ("digest", models.CharField(max_length=64)),
                ("size", models.PositiveIntegerField()),
                ("content", models.BinaryField()),
                ("added_at", models.DateTimeField()),
                (
                    "added_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "change_set",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="files", to="reconciliation.changeset"
                    ),
                ),
            ],
            options={
                "ordering": ["pk"],
                "constraints": [
                    models.UniqueConstraint(fields=("change_set", "digest"), name="a_file_is_attached_once"),
                    models.CheckConstraint(condition=models.Q(("size__gt", 0)), name="an_attached_file_says_something"),
                ],
            },
        ),
        migrations.RunSQL(FREEZE, LET_GO),
    ]
