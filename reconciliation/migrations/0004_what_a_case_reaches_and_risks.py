"""What a case reaches and risks is kept beside it, so that the queue orders and filters without looking at its holds."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0008_when_customers_are_invoiced"),
        ("reconciliation", "0003_triage"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="CaseDay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                ("opened", models.PositiveIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="CaseReach",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("currency", models.CharField(blank=True, max_length=3)),
                ("holds", models.PositiveIntegerField()),
                ("hours", models.DecimalField(decimal_places=4, max_digits=18)),
                ("amount", models.DecimalField(decimal_places=4, max_digits=18)),
                ("estimate", models.DecimalField(decimal_places=4, max_digits=18)),
                ("billable", models.DecimalField(decimal_places=4, max_digits=18)),
            ],
        ),
        migrations.AddField(
            model_name="casetotal",
            name="at_risk",
            field=models.DecimalField(db_default=0, decimal_places=4, default=0, max_digits=22),
        ),
        migrations.AddField(
            model_name="casetotal",
            name="estimate",
            field=models.DecimalField(db_default=0, decimal_places=4, default=0, max_digits=18),
        ),
        migrations.AddField(
            model_name="exceptioncase",
            name="cash_at_risk",
            field=models.DecimalField(db_default=0, decimal_places=4, default=0, max_digits=22),
        ),
        migrations.AddField(
            model_name="exceptioncase",
            name="counted_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="exceptioncase",
            name="held_amount",
            field=models.DecimalField(db_default=0, decimal_places=4, default=0, max_digits=18),
        ),
        migrations.AddField(
            model_name="exceptioncase",
            name="held_currency",
            field=models.CharField(blank=True, db_default="", default="", max_length=3),
        ),
        migrations.AddField(
            model_name="exceptioncase",
            name="newest_work_date",
            field=models.DateField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="exceptioncase",
            name="weighed_on",
            field=models.DateField(blank=True, null=True),
        ),
        migrations.AddIndex(
            model_name="exceptioncase",
            index=models.Index(
                condition=models.Q(("state", "open")),
                fields=["held_currency", "-cash_at_risk", "id"],
                name="case_by_risk",
            ),
        ),
        migrations.AddField(
            model_name="caseday",
            name="case",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="days",
                to="reconciliation.exceptioncase",
            ),
        ),
        migrations.AddField(
            model_name="casereach",
            name="case",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="reach",
                to="reconciliation.exceptioncase",
            ),
        ),
        migrations.AddField(
            model_name="casereach",
            name="contract",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="portal.contract",
            ),
        ),
        migrations.AddField(
            model_name="casereach",
            name="customer",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="portal.customer",
            ),
        ),
        migrations.AddField(
            model_name="casereach",
            name="project",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="portal.project",
            ),
        ),
        migrations.AddConstraint(
            model_name="caseday",
            constraint=models.UniqueConstraint(fields=("case", "day"), name="one_count_per_case_and_day"),
        ),
        migrations.AddConstraint(
            model_name="casereach",
            constraint=models.UniqueConstraint(
                fields=("case", "project", "contract", "customer", "currency"),
                name="one_reach_per_case_and_project",
                nulls_distinct=False,
            ),
        ),
    ]
