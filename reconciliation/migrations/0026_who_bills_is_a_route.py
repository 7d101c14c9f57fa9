"""A route says as well which system bills the customer for the work of a source."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("reconciliation", "0025_mappings_of_large_firms"),
    ]

    operations = [
        migrations.AlterField(
            model_name="historicalroute",
            name="kind",
            field=models.CharField(
                choices=[("time", "Time"), ("expense", "Expense"), ("invoice", "Invoice draft")], max_length=10
            ),
        ),
        migrations.AlterField(
            model_name="route",
            name="kind",
            field=models.CharField(
                choices=[("time", "Time"), ("expense", "Expense"), ("invoice", "Invoice draft")], max_length=10
            ),
        ),
    ]
