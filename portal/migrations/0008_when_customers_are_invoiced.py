"""When customers are invoiced and how long they may take to pay; a contract may say otherwise."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0007_notifications"),
    ]

    operations = [
        migrations.AddField(
            model_name="contract",
            name="invoice_day",
            field=models.PositiveSmallIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="contract",
            name="invoice_schedule",
            field=models.CharField(
                blank=True,
                choices=[
                    ("monthly", "Monthly"),
                    ("weekly", "Weekly"),
                    ("milestone", "Per milestone"),
                    ("none", "Never invoiced"),
                ],
                db_default="",
                default="",
                max_length=10,
            ),
        ),
        migrations.AddField(
            model_name="contract",
            name="payment_terms_days",
            field=models.PositiveSmallIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="customer",
            name="invoice_day",
            field=models.PositiveSmallIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="customer",
            name="invoice_schedule",
            field=models.CharField(
                blank=True,
                choices=[
                    ("monthly", "Monthly"),
                    ("weekly", "Weekly"),
                    ("milestone", "Per milestone"),
                    ("none", "Never invoiced"),
                ],
                db_default="",
                default="",
                max_length=10,
            ),
        ),
        migrations.AddField(
            model_name="customer",
            name="payment_terms_days",
            field=models.PositiveSmallIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="historicalcontract",
            name="invoice_day",
            field=models.PositiveSmallIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="historicalcontract",
            name="invoice_schedule",
            field=models.CharField(
                blank=True,
                choices=[
                    ("monthly", "Monthly"),
                    ("weekly", "Weekly"),
                    ("milestone", "Per milestone"),
                    ("none", "Never invoiced"),
                ],
                db_default="",
                default="",
                max_length=10,
            ),
        ),
        migrations.AddField(
            model_name="historicalcontract",
            name="payment_terms_days",
            field=models.PositiveSmallIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="historicalcustomer",
            name="invoice_day",
            field=models.PositiveSmallIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="historicalcustomer",
            name="invoice_schedule",
            field=models.CharField(
                blank=True,
                choices=[
                    ("monthly", "Monthly"),
                    ("weekly", "Weekly"),
                    ("milestone", "Per milestone"),
                    ("none", "Never invoiced"),
                ],
                db_default="",
                default="",
                max_length=10,
            ),
        ),
        migrations.AddField(
            model_name="historicalcustomer",
            name="payment_terms_days",
            field=models.PositiveSmallIntegerField(blank=True, null=True),
        ),
        migrations.AddConstraint(
            model_name="contract",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("invoice_day__isnull", False), ("invoice_day__range", (1, 31)), ("invoice_schedule", "monthly")
                    ),
                    models.Q(
                        ("invoice_day__isnull", False), ("invoice_day__range", (1, 7)), ("invoice_schedule", "weekly")
                    ),
                    models.Q(
                        models.Q(("invoice_schedule__in", ["monthly", "weekly"]), _negated=True), ("invoice_day", None)
                    ),
                    _connector="OR",
                ),
                name="contract_is_invoiced_on_a_day_that_fits_its_schedule",
            ),
        ),
        migrations.AddConstraint(
            model_name="customer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("invoice_day__isnull", False), ("invoice_day__range", (1, 31)), ("invoice_schedule", "monthly")
                    ),
                    models.Q(
                        ("invoice_day__isnull", False), ("invoice_day__range", (1, 7)), ("invoice_schedule", "weekly")
                    ),
                    models.Q(
                        models.Q(("invoice_schedule__in", ["monthly", "weekly"]), _negated=True), ("invoice_day", None)
                    ),
                    _connector="OR",
                ),
                name="customer_is_invoiced_on_a_day_that_fits_its_schedule",
            ),
        ),
    ]
