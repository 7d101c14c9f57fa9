"""A sum of what matched says whom it holds, and holds nothing else. Those of earlier releases say nothing, until the next run."""

from django.db import migrations, models

COUNTED = """ALTER TABLE reconciliation_matchedbucket ADD CONSTRAINT a_sum_counts_whom_it_holds CHECK (
    (equal = 0 AND judged = 0)
    OR (equal & judged = 0 AND rows = bit_count(equal::bit(64)) + bit_count(judged::bit(64))))"""


class Migration(migrations.Migration):
    dependencies = [("reconciliation", "0048_two_lines_are_one_again")]

    operations = [
        migrations.AddField("matchedbucket", "equal", models.BigIntegerField(default=0)),
        migrations.AddField("matchedbucket", "judged", models.BigIntegerField(default=0)),
        migrations.RunSQL(
            COUNTED, "ALTER TABLE reconciliation_matchedbucket DROP CONSTRAINT a_sum_counts_whom_it_holds"
        ),
    ]
