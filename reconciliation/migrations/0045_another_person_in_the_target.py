"""Hours that stand for another person in the target than the one for whom they were posted have a name of their own."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("reconciliation", "0044_project_months_in_one_pass")]

    operations = [
        migrations.AlterField(
            model_name="reconciliationresult",
            name="outcome",
            field=models.CharField(
                choices=[
                    ("matched", "Matched"),
                    ("missing_left", "Only on the right"),
                    ("missing_right", "Only on the left"),
                    ("hours_differ", "Hours differ"),
                    ("amount_differs", "Amount differs"),
                    ("date_differs", "Date differs"),
                    ("project_differs", "Project differs"),
                    ("person_differs", "Person differs"),
                    ("duplicate", "Booked more than once"),
                    ("open", "Waits"),
                ],
                max_length=20,
            ),
        ),
    ]
