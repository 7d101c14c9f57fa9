"""A decision about a bill can be refused or withdrawn, and another one made; making anew has a name of its own."""

from importlib import import_module

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

BEFORE = import_module("reconciliation.migrations.0018_decisions_about_bills").KEPT
KEPT = """
CREATE OR REPLACE FUNCTION refuse_other_decision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.approved_at IS NULL AND OLD.outcome = '' AND ROW(NEW.bill_id, NEW.version_id, NEW.choice,
       NEW.reason, NEW.by_id, NEW.at, NEW.needs_approval) IS NOT DISTINCT FROM ROW(OLD.bill_id, OLD.version_id, OLD.choice,
       OLD.reason, OLD.by_id, OLD.at, OLD.needs_approval) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'decision % about a bill stays as it was made', OLD.id USING ERRCODE = 'restrict_violation';
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0032_only_lowering_is_refused"),
        ("reconciliation", "0045_another_person_in_the_target"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="billingdecision",
            name="a_version_of_a_bill_is_decided_once",
        ),
        migrations.AddField(
            model_name="billingdecision",
            name="asked_of",
            field=models.CharField(blank=True, max_length=200),
        ),
        migrations.AddField(
            model_name="billingdecision",
            name="ended_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="billingdecision",
            name="ended_because",
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name="billingdecision",
            name="ended_by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="billingdecision",
            name="escalated_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="billingdecision",
            name="outcome",
            field=models.CharField(
                blank=True, choices=[("refused", "Refused"), ("withdrawn", "Withdrawn")], max_length=10
            ),
        ),
        migrations.AddField(
            model_name="billingdecision",
            name="reminded_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name="billingdecision",
            name="choice",
            field=models.CharField(
                choices=[
                    ("adopt", "Adopt what the system says"),
                    ("restore", "Restore what was agreed"),
                    ("recreate", "Make it anew"),
                    ("correct", "Correct by a credit note"),
                ],
                max_length=10,
            ),
        ),
        migrations.AddConstraint(
            model_name="billingdecision",
            constraint=models.UniqueConstraint(
                condition=models.Q(("outcome", "")), fields=("version",), name="a_version_of_a_bill_is_decided_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="billingdecision",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("ended_at", None), ("ended_because", ""), ("ended_by", None), ("outcome", "")),
                    models.Q(
                        ("approved_at", None),
                        ("ended_at__isnull", False),
                        ("ended_by__isnull", False),
                        models.Q(("outcome", ""), _negated=True),
                        models.Q(("ended_because", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="what_ends_a_decision_has_a_person_and_a_reason",
            ),
        ),
        migrations.AddConstraint(
            model_name="billingdecision",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("outcome", "refused"), _negated=True),
                    models.Q(("ended_by", models.F("by")), _negated=True),
                    _connector="OR",
                ),
                name="who_refuses_a_decision_did_not_make_it",
            ),
        ),
        migrations.RunSQL(
            KEPT, BEFORE.partition("CREATE TRIGGER")[0].replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
        ),
    ]
