"""The starts of calls under an account's rate stand in the database, for all processes."""

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("integrations", "0004_kept_secrets")]

    operations = [
        migrations.CreateModel(
            name="Pace",
            fields=[
                ("account", models.CharField(max_length=64, primary_key=True, serialize=False)),
                (
                    "starts",
                    django.contrib.postgres.fields.ArrayField(base_field=models.DateTimeField(), default=list),
                ),
            ],
        ),
    ]
