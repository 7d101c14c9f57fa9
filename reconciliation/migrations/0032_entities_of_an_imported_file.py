"""Which entities the rows of an imported file touch; not known of earlier files, which only who uploaded them reads."""

from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("reconciliation", "0031_no_line_moves_into_a_frozen_change_set")]

    operations = [
        migrations.AddField(
            model_name="masterimport",
            name="reaches",
            field=ArrayField(base_field=models.BigIntegerField(), blank=True, null=True, size=None),
        ),
    ]
