"""A person is pseudonymised by two people; evidence lets its names be taken out for that, and nothing else."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

TABLES = ("portal_timeentry", "portal_expense")
LET_NAMES_GO = """
CREATE FUNCTION refuse_change_but_of_names() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    names constant text[] := ARRAY['resource_code', 'resource_name', 'approver_code', 'approver_name'];
BEGIN
    IF TG_OP = 'UPDATE' AND current_setting('tieout.forgetting', true) = 'on'
       AND to_jsonb(NEW) - names = to_jsonb(OLD) - names THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION '% is append-only: row % is evidence and is neither changed nor deleted', TG_TABLE_NAME, OLD.id
        USING ERRCODE = 'restrict_violation';
END $$;
""" + "\n".join(
    f"DROP TRIGGER is_append_only ON {table}; CREATE TRIGGER is_append_only BEFORE UPDATE OR DELETE ON {table}"
    " FOR EACH ROW EXECUTE FUNCTION refuse_change_but_of_names();"
    for table in TABLES
)
KEEP_NAMES = (
    "\n".join(
        f"DROP TRIGGER is_append_only ON {table}; CREATE TRIGGER is_append_only BEFORE UPDATE OR DELETE ON {table}"
        " FOR EACH ROW EXECUTE FUNCTION refuse_change();"
        for table in TABLES
    )
    + "DROP FUNCTION refuse_change_but_of_names;"
)


class Migration(migrations.Migration):
    dependencies = [("portal", "0023_who_may_do_what_has_a_history")]

    operations = [
        migrations.CreateModel(
            name="Erasure",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("pseudonym", models.CharField(max_length=60)),
                ("reason", models.TextField()),
                ("at", models.DateTimeField()),
                ("counts", models.JSONField(default=dict)),
                (
                    "agreed_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "asked_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "resource",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="erasure", to="portal.resource"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("asked_by", models.F("agreed_by")), _negated=True),
                        name="nobody_is_forgotten_by_one_person",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("reason", ""), _negated=True), name="an_erasure_names_its_request"
                    ),
                ],
            },
        ),
        migrations.RunSQL(LET_NAMES_GO, KEEP_NAMES),
    ]
