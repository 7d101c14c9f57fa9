"""A match of the third leg names the allocations that it wrote, so that it can be taken apart."""

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("reconciliation", "0054_what_is_not_compared_is_signed_with_a_reason")]

    operations = [
        migrations.AddField(
            model_name="match",
            name="allocations",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.BigIntegerField(), db_default=[], default=list, size=None
            ),
        ),
    ]
