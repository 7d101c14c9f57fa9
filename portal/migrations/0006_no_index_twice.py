"""References that begin another index of their table need none of their own: each cost a write of every row."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0005_evidence_names_entries_that_exist"),
    ]

    operations = [
        migrations.AlterField(
            model_name="document",
            name="connection",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="documents",
                to="portal.connection",
            ),
        ),
        migrations.AlterField(
            model_name="expense",
            name="document",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="expenses",
                to="portal.document",
            ),
        ),
        migrations.AlterField(
            model_name="ledgerentry",
            name="entity",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="entries",
                to="portal.legalentity",
            ),
        ),
        migrations.AlterField(
            model_name="ledgerentry",
            name="project",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="entries",
                to="portal.project",
            ),
        ),
        migrations.AlterField(
            model_name="ledgerentry",
            name="target",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="target_entries",
                to="portal.connection",
            ),
        ),
        migrations.AlterField(
            model_name="receipt",
            name="connection",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="receipts",
                to="portal.connection",
            ),
        ),
        migrations.AlterField(
            model_name="timeentry",
            name="document",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="time_entries",
                to="portal.document",
            ),
        ),
    ]
