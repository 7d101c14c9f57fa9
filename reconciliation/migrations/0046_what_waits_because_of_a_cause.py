"""Causes that hold no entry count what waits because of them."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("reconciliation", "0045_another_person_in_the_target")]

    operations = [
        migrations.AddField(
            model_name="exceptioncase",
            name="waiting",
            field=models.PositiveIntegerField(default=0, db_default=0),
        ),
    ]
