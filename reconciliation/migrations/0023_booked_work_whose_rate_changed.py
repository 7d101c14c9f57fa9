"""Plans of what follows in the books from rates that change in the past; a row of one ends once."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

ENDS_ONCE = """
CREATE FUNCTION refuse_second_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'row % of bundle % has ended as %: a result is not changed', OLD.id, OLD.bundle_id, OLD.result
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER a_row_of_a_bundle_ends_once BEFORE UPDATE ON reconciliation_bundlerow
    FOR EACH ROW WHEN (OLD.result <> 'pending') EXECUTE FUNCTION refuse_second_end();
"""
MAY_END_AGAIN = """
DROP TRIGGER a_row_of_a_bundle_ends_once ON reconciliation_bundlerow;
DROP FUNCTION refuse_second_end;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0020_what_waits_for_approval"),
        ("reconciliation", "0022_how_near_the_best_suggestion_is"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="RateBundle",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("round", models.PositiveSmallIntegerField(default=1)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("planning", "Being planned"),
                            ("planned", "Planned"),
                            ("running", "Being booked"),
                            ("done", "Done"),
                            ("outdated", "Planned on something else"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="planning",
                        max_length=10,
                    ),
                ),
                ("content_hash", models.CharField(max_length=64)),
                ("planned_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField()),
                ("approved_at", models.DateTimeField(blank=True, null=True)),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                ("total", models.PositiveIntegerField(default=0)),
                ("done", models.PositiveIntegerField(default=0)),
                (
                    "approved_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "change_set",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="rate_bundles",
                        to="reconciliation.changeset",
                    ),
                ),
                (
                    "planned_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="BundleRow",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "way",
                    models.CharField(
                        choices=[
                            ("rebook", "Taken back and booked anew"),
                            ("bill", "Stands on a bill"),
                            ("left", "Left as it is"),
                        ],
                        max_length=10,
                    ),
                ),
                ("state", models.CharField(max_length=10)),
                ("hours", models.DecimalField(blank=True, decimal_places=4, max_digits=9, null=True)),
                ("currency", models.CharField(blank=True, max_length=3)),
                ("rate_before", models.DecimalField(blank=True, decimal_places=4, max_digits=18, null=True)),
                ("rate_after", models.DecimalField(blank=True, decimal_places=4, max_digits=18, null=True)),
                ("amount_before", models.DecimalField(blank=True, decimal_places=4, max_digits=18, null=True)),
                ("amount_after", models.DecimalField(blank=True, decimal_places=4, max_digits=18, null=True)),
                (
                    "result",
                    models.CharField(
                        choices=[("pending", "Pending"), ("done", "Done"), ("skipped", "Left"), ("failed", "Failed")],
                        default="pending",
                        max_length=10,
                    ),
                ),
                ("detail", models.TextField(blank=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "document",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="portal.document",
                    ),
                ),
                (
                    "entity",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="portal.legalentity",
                    ),
                ),
                (
                    "entry",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="portal.ledgerentry"
                    ),
                ),
                (
                    "invoice",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="portal.invoice",
                    ),
                ),
                (
                    "rebooked",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="portal.ledgerentry",
                    ),
                ),
                (
                    "reversal",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="portal.ledgerentry",
                    ),
                ),
                (
                    "bundle",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="rows",
                        to="reconciliation.ratebundle",
                    ),
                ),
            ],
            options={
                "ordering": ["bundle", "id"],
            },
        ),
        migrations.CreateModel(
            name="BillDifference",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("currency", models.CharField(max_length=3)),
                ("entries", models.PositiveIntegerField()),
                ("billed", models.DecimalField(decimal_places=4, max_digits=18)),
                ("would_be", models.DecimalField(decimal_places=4, max_digits=18)),
                ("proposed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "entity",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="portal.legalentity"
                    ),
                ),
                (
                    "invoice",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="rate_differences",
                        to="portal.invoice",
                    ),
                ),
                (
                    "bundle",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="bills",
                        to="reconciliation.ratebundle",
                    ),
                ),
            ],
            options={
                "ordering": ["bundle", "invoice"],
            },
        ),
        migrations.AddIndex(
            model_name="ratebundle",
            index=models.Index(
                condition=models.Q(("state__in", ["planning", "planned", "running"])),
                fields=["state"],
                name="bundle_under_way",
            ),
        ),
        migrations.AddConstraint(
            model_name="ratebundle",
            constraint=models.UniqueConstraint(
                fields=("change_set", "round"), name="rounds_of_a_rate_bundle_are_in_order"
            ),
        ),
        migrations.AddConstraint(
            model_name="ratebundle",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("approved_by", None),
                    models.Q(("approved_by", models.F("planned_by")), _negated=True),
                    _connector="OR",
                ),
                name="who_agrees_to_a_bundle_did_not_plan_it",
            ),
        ),
        migrations.AddConstraint(
            model_name="ratebundle",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state__in", ["running", "done"]), _negated=True),
                    models.Q(("approved_at__isnull", False), ("approved_by__isnull", False)),
                    _connector="OR",
                ),
                name="what_is_booked_anew_was_approved",
            ),
        ),
        migrations.AddConstraint(
            model_name="ratebundle",
            constraint=models.CheckConstraint(
                condition=models.Q(("done__lte", models.F("total"))), name="no_row_of_a_bundle_ends_twice"
            ),
        ),
        migrations.AddIndex(
            model_name="bundlerow",
            index=models.Index(
                condition=models.Q(("result", "pending")), fields=["bundle", "entry"], name="bundle_row_to_do"
            ),
        ),
        migrations.AddConstraint(
            model_name="bundlerow",
            constraint=models.UniqueConstraint(
                fields=("bundle", "entry", "invoice"), name="a_bundle_names_an_entry_once", nulls_distinct=False
            ),
        ),
        migrations.AddConstraint(
            model_name="bundlerow",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("finished_at", None), ("result", "pending")),
                    models.Q(models.Q(("result", "pending"), _negated=True), ("finished_at__isnull", False)),
                    _connector="OR",
                ),
                name="a_row_of_a_bundle_has_ended_or_not",
            ),
        ),
        migrations.AddConstraint(
            model_name="bundlerow",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("result", "done"), ("way", "rebook"), _negated=True),
                    models.Q(("rebooked__isnull", False), ("reversal__isnull", False)),
                    _connector="OR",
                ),
                name="what_was_booked_anew_has_its_pair",
            ),
        ),
        migrations.AddConstraint(
            model_name="billdifference",
            constraint=models.UniqueConstraint(
                fields=("bundle", "invoice", "currency"), name="a_bundle_names_a_bill_once"
            ),
        ),
        migrations.RunSQL(ENDS_ONCE, MAY_END_AGAIN),
    ]
