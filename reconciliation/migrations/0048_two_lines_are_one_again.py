"""Two migrations that were written beside each other, of other tables each, are followed by whatever comes next."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("reconciliation", "0046_another_choice_about_a_bill"),
        ("reconciliation", "0047_evidence_is_not_emptied"),
    ]

    operations = []
