"""Transitions and receipts name ledger entries that exist, checked once a statement instead of once a row.

A foreign key locks the wide row of the ledger for every row that names it, which cost more than writing the evidence itself.
An entry is never deleted (`sent_figures_are_frozen`) and its id is held by its state row, so that being there when the
evidence is written is enough.
"""

import django.db.models.deletion
from django.db import migrations, models

CHECK = """
CREATE FUNCTION refuse_unknown_entry() RETURNS trigger LANGUAGE plpgsql SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    unknown bigint;
BEGIN
    SELECT f.entry_id INTO unknown FROM fresh f
     WHERE NOT EXISTS (SELECT 1 FROM portal_ledgerentry e WHERE e.id = f.entry_id) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% names ledger entry %, which does not exist', TG_TABLE_NAME, unknown
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER names_a_known_entry AFTER INSERT ON portal_ledgertransition REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_unknown_entry();
CREATE TRIGGER names_a_known_entry AFTER INSERT ON portal_receipt REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_unknown_entry();
"""
NO_CHECK = """
DROP TRIGGER names_a_known_entry ON portal_ledgertransition;
DROP TRIGGER names_a_known_entry ON portal_receipt;
DROP FUNCTION refuse_unknown_entry;
"""


class Migration(migrations.Migration):
    dependencies = [("portal", "0004_entry_by_resource_and_day")]

    operations = [
        migrations.AlterField(
            model_name="ledgertransition",
            name="entry",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="transitions",
                to="portal.ledgerentry",
            ),
        ),
        migrations.AlterField(
            model_name="receipt",
            name="entry",
            field=models.OneToOneField(
                db_constraint=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="receipt",
                to="portal.ledgerentry",
            ),
        ),
        migrations.RunSQL(CHECK, NO_CHECK),
    ]
