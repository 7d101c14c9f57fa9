"""Certificates of two people that drop by themselves, matches and the rules that find them."""

import django.contrib.postgres.fields
import django.db.models.deletion
import simple_history.models
from django.conf import settings
from django.db import migrations, models

GUARD = """
CREATE FUNCTION reconciliation_certificate_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'Certificate % is evidence and is not deleted.', OLD.id;
    END IF;
    IF OLD.state IN ('dropped', 'withdrawn') THEN
        RAISE EXCEPTION 'Certificate % has ended and stays as it ended.', OLD.id;
    END IF;
    IF (NEW.period_id, NEW.run_id, NEW.books, NEW.totals, NEW.differing, NEW.note, NEW.prepared_by_id, NEW.prepared_at)
       IS DISTINCT FROM (OLD.period_id, OLD.run_id, OLD.books, OLD.totals, OLD.differing, OLD.note, OLD.prepared_by_id, OLD.prepared_at)
       OR OLD.certified_by_id IS NOT NULL AND (NEW.certified_by_id, NEW.certified_at) IS DISTINCT FROM (OLD.certified_by_id, OLD.certified_at)
    THEN
        RAISE EXCEPTION 'What certificate % says is not changed.', OLD.id;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER certificate_stays BEFORE UPDATE OR DELETE ON reconciliation_certificate
    FOR EACH ROW EXECUTE FUNCTION reconciliation_certificate_stays();
"""  # noqa: E501
UNGUARD = (
    "DROP TRIGGER certificate_stays ON reconciliation_certificate; DROP FUNCTION reconciliation_certificate_stays()"
)


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0026_what_was_touched_since"),
        ("reconciliation", "0029_four_legs_that_stand"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="HistoricalMatchingRule",
            fields=[
                ("id", models.BigIntegerField(auto_created=True, blank=True, db_index=True, verbose_name="ID")),
                (
                    "leg",
                    models.CharField(
                        choices=[
                            ("tracker_ledger", "Tracker ↔ ledger"),
                            ("ledger_target", "Ledger ↔ ERP"),
                            ("target_invoice", "ERP ↔ invoice"),
                            ("invoice_payment", "Invoice ↔ payment"),
                        ],
                        max_length=20,
                    ),
                ),
                ("name", models.CharField(max_length=120)),
                ("position", models.PositiveSmallIntegerField(default=10)),
                (
                    "criteria",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(
                            choices=[
                                ("person", "Person"),
                                ("project", "Project"),
                                ("day", "Day"),
                                ("customer", "Customer"),
                                ("amount", "Amount"),
                            ],
                            max_length=10,
                        ),
                        size=None,
                    ),
                ),
                ("hours_tolerance", models.DecimalField(decimal_places=4, default=0, max_digits=8)),
                ("amount_tolerance", models.DecimalField(decimal_places=4, default=0, max_digits=12)),
                ("is_automatic", models.BooleanField(default=False)),
                (
                    "state",
                    models.CharField(
                        choices=[("draft", "Draft"), ("active", "In use"), ("retired", "Retired")],
                        default="draft",
                        max_length=10,
                    ),
                ),
                ("tested", models.JSONField(blank=True, default=dict)),
                ("tested_at", models.DateTimeField(blank=True, null=True)),
                ("history_change_reason", models.TextField(null=True)),
                ("history_id", models.AutoField(primary_key=True, serialize=False)),
                ("history_date", models.DateTimeField(db_index=True)),
                (
                    "history_type",
                    models.CharField(choices=[("+", "Created"), ("~", "Changed"), ("-", "Deleted")], max_length=1),
                ),
                (
                    "activated_by",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
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
                    "made_by",
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
                "verbose_name": "historical matching rule",
                "verbose_name_plural": "historical matching rules",
                "ordering": ("-history_date", "-history_id"),
                "get_latest_by": ("history_date", "history_id"),
            },
            bases=(simple_history.models.HistoricalChanges, models.Model),
        ),
        migrations.CreateModel(
            name="Match",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "leg",
                    models.CharField(
                        choices=[
                            ("tracker_ledger", "Tracker ↔ ledger"),
                            ("ledger_target", "Ledger ↔ ERP"),
                            ("target_invoice", "ERP ↔ invoice"),
                            ("invoice_payment", "Invoice ↔ payment"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[("match", "Belong together"), ("timing", "Still to come")],
                        default="match",
                        max_length=10,
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("suggested", "Suggested"),
                            ("confirmed", "Confirmed"),
                            ("refused", "Refused"),
                            ("broken", "Broken"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "code",
                    models.CharField(
                        choices=[
                            ("exact", "Equal"),
                            ("rounding", "Rounding"),
                            ("fx", "Exchange difference"),
                            ("bank_fee", "Bank fee"),
                            ("timing", "Timing"),
                            ("write_off", "Written off"),
                        ],
                        default="exact",
                        max_length=10,
                    ),
                ),
                ("reason", models.TextField(blank=True)),
                ("items", models.IntegerField()),
                (
                    "subjects",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BigIntegerField(), default=list, size=None
                    ),
                ),
                ("hours_left", models.DecimalField(decimal_places=4, default=0, max_digits=14)),
                ("hours_right", models.DecimalField(decimal_places=4, default=0, max_digits=14)),
                ("amount_left", models.DecimalField(decimal_places=4, default=0, max_digits=20)),
                ("amount_right", models.DecimalField(decimal_places=4, default=0, max_digits=20)),
                ("currency", models.CharField(blank=True, max_length=3)),
                ("expected_on", models.DateField(blank=True, null=True)),
                ("made_at", models.DateTimeField()),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("why", models.TextField(blank=True)),
                (
                    "decided_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "ended_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "period",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="matches",
                        to="portal.accountingperiod",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.AddField(
            model_name="reconciliationresult",
            name="match",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="results",
                to="reconciliation.match",
            ),
        ),
        migrations.CreateModel(
            name="MatchingRule",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "leg",
                    models.CharField(
                        choices=[
                            ("tracker_ledger", "Tracker ↔ ledger"),
                            ("ledger_target", "Ledger ↔ ERP"),
                            ("target_invoice", "ERP ↔ invoice"),
                            ("invoice_payment", "Invoice ↔ payment"),
                        ],
                        max_length=20,
                    ),
                ),
                ("name", models.CharField(max_length=120)),
                ("position", models.PositiveSmallIntegerField(default=10)),
                (
                    "criteria",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(
                            choices=[
                                ("person", "Person"),
                                ("project", "Project"),
                                ("day", "Day"),
                                ("customer", "Customer"),
                                ("amount", "Amount"),
                            ],
                            max_length=10,
                        ),
                        size=None,
                    ),
                ),
                ("hours_tolerance", models.DecimalField(decimal_places=4, default=0, max_digits=8)),
                ("amount_tolerance", models.DecimalField(decimal_places=4, default=0, max_digits=12)),
                ("is_automatic", models.BooleanField(default=False)),
                (
                    "state",
                    models.CharField(
                        choices=[("draft", "Draft"), ("active", "In use"), ("retired", "Retired")],
                        default="draft",
                        max_length=10,
                    ),
                ),
                ("tested", models.JSONField(blank=True, default=dict)),
                ("tested_at", models.DateTimeField(blank=True, null=True)),
                (
                    "activated_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "entity",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="matching_rules",
                        to="portal.legalentity",
                    ),
                ),
                (
                    "made_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "ordering": ["entity", "leg", "position", "id"],
            },
        ),
        migrations.AddField(
            model_name="match",
            name="rule",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="matches",
                to="reconciliation.matchingrule",
            ),
        ),
        migrations.CreateModel(
            name="Certificate",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("prepared", "Prepared"),
                            ("certified", "Certified"),
                            ("dropped", "Dropped"),
                            ("withdrawn", "Withdrawn"),
                        ],
                        default="prepared",
                        max_length=10,
                    ),
                ),
                ("books", models.CharField(max_length=10)),
                ("totals", models.JSONField()),
                ("differing", models.IntegerField()),
                ("note", models.TextField(blank=True)),
                ("prepared_at", models.DateTimeField()),
                ("certified_at", models.DateTimeField(blank=True, null=True)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("why", models.TextField(blank=True)),
                ("delta", models.JSONField(blank=True, default=dict)),
                (
                    "certified_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "ended_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "period",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="certificates",
                        to="portal.accountingperiod",
                    ),
                ),
                (
                    "prepared_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="certificates",
                        to="reconciliation.reconciliationrun",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state__in", ["prepared", "certified"])),
                        fields=("period",),
                        name="a_period_is_certified_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("certified_by", None),
                            models.Q(("certified_by", models.F("prepared_by")), _negated=True),
                            _connector="OR",
                        ),
                        name="who_certifies_did_not_prepare",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("state", "certified"), _negated=True),
                            models.Q(("certified_at__isnull", False), ("certified_by__isnull", False)),
                            _connector="OR",
                        ),
                        name="certified_means_by_two_people",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("ended_at", None), ("state__in", ["prepared", "certified"])),
                            ("ended_at__isnull", False),
                            _connector="OR",
                        ),
                        name="a_certificate_that_ended_says_when",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("differing", 0), models.Q(("note", ""), _negated=True), _connector="OR"),
                        name="open_items_are_certified_with_a_reason",
                    ),
                ],
            },
        ),
        migrations.AddConstraint(
            model_name="matchingrule",
            constraint=models.CheckConstraint(
                condition=models.Q(("criteria", []), _negated=True), name="a_matching_rule_has_a_criterion"
            ),
        ),
        migrations.AddConstraint(
            model_name="matchingrule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "active"), _negated=True),
                    models.Q(("activated_by__isnull", False), ("tested_at__isnull", False)),
                    _connector="OR",
                ),
                name="a_matching_rule_is_tested_before_use",
            ),
        ),
        migrations.AddConstraint(
            model_name="matchingrule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("activated_by", None),
                    models.Q(("activated_by", models.F("made_by")), _negated=True),
                    _connector="OR",
                ),
                name="who_activates_a_matching_rule_did_not_write_it",
            ),
        ),
        migrations.AddIndex(
            model_name="match",
            index=models.Index(fields=["period", "state"], name="match_by_period_and_state"),
        ),
        migrations.AddConstraint(
            model_name="match",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "confirmed"), _negated=True),
                    ("decided_by__isnull", False),
                    ("rule__isnull", False),
                    _connector="OR",
                ),
                name="a_match_is_made_by_a_rule_or_a_person",
            ),
        ),
        migrations.AddConstraint(
            model_name="match",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("kind", "timing"),
                    models.Q(("state", "confirmed"), _negated=True),
                    models.Q(("amount_left", models.F("amount_right")), ("hours_left", models.F("hours_right"))),
                    ("rule__isnull", False),
                    models.Q(("reason", ""), _negated=True),
                    _connector="OR",
                ),
                name="a_match_that_leaves_something_says_why",
            ),
        ),
        migrations.AddConstraint(
            model_name="match",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind", "timing"), _negated=True),
                    models.Q(("expected_on__isnull", False), models.Q(("reason", ""), _negated=True)),
                    _connector="OR",
                ),
                name="timing_says_by_when_and_why",
            ),
        ),
        migrations.RunSQL(GUARD, UNGUARD),
    ]
