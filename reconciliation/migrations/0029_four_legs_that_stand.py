"""Four legs; what a comparison found stands until a later one finds otherwise. What earlier runs found stays as they found it."""

import django.db.models.deletion
from django.db import migrations, models

LEGACY = """
UPDATE reconciliation_reconciliationresult r SET period_id = u.period_id, ended_run_id = r.run_id,
       subject = coalesce(CASE WHEN r.leg = 'tracker_ledger' THEN r.document_id END, r.entry_id, -r.line_id, r.document_id)
  FROM reconciliation_reconciliationrun u WHERE u.id = r.run_id;
SET CONSTRAINTS ALL IMMEDIATE;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0026_what_was_touched_since"),
        ("reconciliation", "0028_files_of_change_sets"),
    ]

    operations = [
        migrations.CreateModel(
            name="MatchedBucket",
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
                ("bucket", models.BigIntegerField()),
                ("currency", models.CharField(blank=True, max_length=3)),
                ("rows", models.IntegerField()),
                ("hours_left", models.DecimalField(decimal_places=4, max_digits=14)),
                ("hours_right", models.DecimalField(decimal_places=4, max_digits=14)),
                ("amount_left", models.DecimalField(decimal_places=4, max_digits=20)),
                ("amount_right", models.DecimalField(decimal_places=4, max_digits=20)),
                ("digest", models.DecimalField(decimal_places=0, max_digits=24)),
            ],
        ),
        migrations.RemoveConstraint(
            model_name="reconciliationresult",
            name="a_result_is_about_something",
        ),
        migrations.AddField(
            model_name="reconciliationresult",
            name="bill",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="portal.invoice",
            ),
        ),
        migrations.AddField(
            model_name="reconciliationresult",
            name="bill_line",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="portal.invoiceline",
            ),
        ),
        migrations.AddField(
            model_name="reconciliationresult",
            name="dated",
            field=models.DateField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="reconciliationresult",
            name="ended_run",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="ended_results",
                to="reconciliation.reconciliationrun",
            ),
        ),
        migrations.AddField(
            model_name="reconciliationresult",
            name="expected_on",
            field=models.DateField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="reconciliationresult",
            name="payment",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="portal.payment",
            ),
        ),
        migrations.AddField(
            model_name="reconciliationresult",
            name="period",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="portal.accountingperiod",
            ),
        ),
        migrations.AddField(
            model_name="reconciliationresult",
            name="stamp",
            field=models.BigIntegerField(default=0),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="reconciliationresult",
            name="standing",
            field=models.CharField(
                choices=[
                    ("matched", "Matched"),
                    ("suggested", "Suggested"),
                    ("unmatched", "Unmatched"),
                    ("timing", "Timing"),
                ],
                default="unmatched",
                max_length=10,
            ),
        ),
        migrations.AddField(
            model_name="reconciliationresult",
            name="subject",
            field=models.BigIntegerField(default=0),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="reconciliationrun",
            name="basis",
            field=models.CharField(blank=True, max_length=64),
        ),
        migrations.AddField(
            model_name="reconciliationrun",
            name="compared",
            field=models.IntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="reconciliationrun",
            name="seen_until",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name="reconciliationresult",
            name="hours_left",
            field=models.DecimalField(blank=True, decimal_places=4, max_digits=12, null=True),
        ),
        migrations.AlterField(
            model_name="reconciliationresult",
            name="hours_right",
            field=models.DecimalField(blank=True, decimal_places=4, max_digits=12, null=True),
        ),
        migrations.AlterField(
            model_name="reconciliationresult",
            name="leg",
            field=models.CharField(
                choices=[
                    ("tracker_ledger", "Tracker ↔ ledger"),
                    ("ledger_target", "Ledger ↔ ERP"),
                    ("target_invoice", "ERP ↔ invoice"),
                    ("invoice_payment", "Invoice ↔ payment"),
                ],
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="reconciliationresult",
            name="outcome",
            field=models.CharField(
                choices=[
                    ("matched", "Matched"),
                    ("missing_left", "Only on the right"),
                    ("missing_right", "Only on the left"),
                    ("hours_differ", "Hours differ"),
                    ("amount_differs", "Amount differs"),
                    ("date_differs", "Date differs"),
                    ("project_differs", "Project differs"),
                    ("duplicate", "Booked more than once"),
                    ("open", "Waits"),
                ],
                max_length=20,
            ),
        ),
        migrations.RunSQL(LEGACY, migrations.RunSQL.noop),
        migrations.AlterField(
            model_name="reconciliationresult",
            name="period",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="portal.accountingperiod",
            ),
        ),
        migrations.AddConstraint(
            model_name="reconciliationresult",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("document__isnull", False),
                    ("entry__isnull", False),
                    ("line__isnull", False),
                    ("bill__isnull", False),
                    ("payment__isnull", False),
                    _connector="OR",
                ),
                name="a_result_is_about_something",
            ),
        ),
        migrations.AddConstraint(
            model_name="reconciliationresult",
            constraint=models.UniqueConstraint(
                condition=models.Q(("ended_run", None)),
                fields=("period", "leg", "subject"),
                name="a_thing_stands_once_in_a_leg",
            ),
        ),
        migrations.AddField(
            model_name="matchedbucket",
            name="period",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="portal.accountingperiod",
            ),
        ),
        migrations.AddField(
            model_name="matchedbucket",
            name="run",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="reconciliation.reconciliationrun",
            ),
        ),
        migrations.AddConstraint(
            model_name="matchedbucket",
            constraint=models.UniqueConstraint(
                fields=("period", "leg", "bucket", "currency"), name="a_bucket_is_kept_once"
            ),
        ),
    ]
