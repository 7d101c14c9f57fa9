"""Two people settle a doubt where the target can say nothing; what was said is evidence."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

HELD_BY_THE_DATABASE = """
CREATE FUNCTION refuse_changed_settlement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'settlement % is evidence and is not deleted', OLD.id USING ERRCODE = 'restrict_violation';
    END IF;
    IF OLD.confirmed_at IS NOT NULL OR OLD.dropped_at IS NOT NULL THEN
        RAISE EXCEPTION 'settlement % is over and is not changed', OLD.id USING ERRCODE = 'restrict_violation';
    END IF;
    IF ROW(NEW.entry_id, NEW.fence, NEW.verdict, NEW.number, NEW.reason, NEW.by_id, NEW.at)
       IS DISTINCT FROM ROW(OLD.entry_id, OLD.fence, OLD.verdict, OLD.number, OLD.reason, OLD.by_id, OLD.at) THEN
        RAISE EXCEPTION 'settlement % says what it says: only its answer is written', OLD.id USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER what_was_said_stays BEFORE UPDATE OR DELETE ON integrations_settlement
    FOR EACH ROW EXECUTE FUNCTION refuse_changed_settlement();
"""
LET_GO = """
DROP TRIGGER what_was_said_stays ON integrations_settlement;
DROP FUNCTION refuse_changed_settlement();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("integrations", "0001_initial"),
        ("portal", "0009_exports"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Settlement",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("fence", models.PositiveIntegerField()),
                (
                    "verdict",
                    models.CharField(
                        choices=[("booked", "It is there, under a number"), ("absent", "It is not there")],
                        max_length=10,
                    ),
                ),
                ("number", models.CharField(blank=True, max_length=120)),
                ("reason", models.TextField()),
                ("at", models.DateTimeField()),
                ("confirmed_at", models.DateTimeField(blank=True, null=True)),
                ("dropped_at", models.DateTimeField(blank=True, null=True)),
                ("dropped_reason", models.TextField(blank=True)),
                (
                    "by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "confirmed_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "dropped_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "entry",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="settlements", to="portal.ledgerentry"
                    ),
                ),
            ],
            options={
                "ordering": ["entry", "id"],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("confirmed_at", None), ("dropped_at", None)),
                        fields=("entry",),
                        name="one_open_settlement_per_entry",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("confirmed_by", None),
                            models.Q(("confirmed_by", models.F("by")), _negated=True),
                            _connector="OR",
                        ),
                        name="a_settlement_takes_two_people",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("confirmed_at", None), ("confirmed_by", None)),
                            models.Q(
                                ("confirmed_at__isnull", False), ("confirmed_by__isnull", False), ("dropped_at", None)
                            ),
                            _connector="OR",
                        ),
                        name="a_confirmation_has_a_person_and_a_time",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("verdict", "booked"), models.Q(("number", ""), _negated=True)),
                            models.Q(("number", ""), ("verdict", "absent")),
                            _connector="OR",
                        ),
                        name="booked_has_a_number_and_absent_has_none",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("reason", ""), _negated=True), name="a_settlement_has_a_reason"
                    ),
                ],
            },
        ),
        migrations.RunSQL(HELD_BY_THE_DATABASE, LET_GO),
    ]
