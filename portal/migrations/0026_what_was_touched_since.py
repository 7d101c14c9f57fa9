"""What was written since a moment is found without reading a whole table; a statement line tells when it last said something else."""

import django.contrib.postgres.indexes
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0025_who_pays_how_much"),
    ]

    operations = [
        migrations.AddField(
            model_name="statementline",
            name="changed_at",
            field=models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
        ),
        migrations.AddIndex(
            model_name="allocation",
            index=django.contrib.postgres.indexes.BrinIndex(
                autosummarize=True, fields=["recorded_at"], name="allocation_by_moment", pages_per_range=32
            ),
        ),
        migrations.AddIndex(
            model_name="expense",
            index=django.contrib.postgres.indexes.BrinIndex(
                autosummarize=True, fields=["recorded_at"], name="expense_by_moment", pages_per_range=32
            ),
        ),
        migrations.AddIndex(
            model_name="invoiceversion",
            index=django.contrib.postgres.indexes.BrinIndex(
                autosummarize=True, fields=["recorded_at"], name="bill_by_moment", pages_per_range=32
            ),
        ),
        migrations.AddIndex(
            model_name="ledgertransition",
            index=django.contrib.postgres.indexes.BrinIndex(
                autosummarize=True, fields=["at"], name="transition_by_moment", pages_per_range=32
            ),
        ),
        migrations.AddIndex(
            model_name="paymentallocation",
            index=django.contrib.postgres.indexes.BrinIndex(
                autosummarize=True, fields=["recorded_at"], name="settlement_by_moment", pages_per_range=32
            ),
        ),
        migrations.AddIndex(
            model_name="paymentversion",
            index=django.contrib.postgres.indexes.BrinIndex(
                autosummarize=True, fields=["recorded_at"], name="payment_by_moment", pages_per_range=32
            ),
        ),
        migrations.AddIndex(
            model_name="statementline",
            index=models.Index(fields=["changed_at"], name="statement_by_change"),
        ),
        migrations.AddIndex(
            model_name="timeentry",
            index=django.contrib.postgres.indexes.BrinIndex(
                autosummarize=True, fields=["recorded_at"], name="time_entry_by_moment", pages_per_range=32
            ),
        ),
    ]
