"""Several customers may pay for one contract's work, each so many per cent."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0024_a_person_may_be_forgotten"),
    ]

    operations = [
        migrations.AddField(
            model_name="contract",
            name="shares",
            field=models.JSONField(blank=True, db_default=models.Value({}, models.JSONField()), default=dict),
        ),
        migrations.AddField(
            model_name="historicalcontract",
            name="shares",
            field=models.JSONField(blank=True, db_default=models.Value({}, models.JSONField()), default=dict),
        ),
    ]
