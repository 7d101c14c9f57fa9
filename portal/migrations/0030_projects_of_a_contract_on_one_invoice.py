"""A contract may ask for one invoice over all its projects; each of them is released by its own manager all the same."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("portal", "0029_a_billed_milestone_keeps_what_is_billed")]

    operations = [
        migrations.AddField(
            model_name=name,
            name="one_invoice",
            field=models.BooleanField(db_default=False, default=False),
        )
        for name in ("contract", "historicalcontract")
    ]
