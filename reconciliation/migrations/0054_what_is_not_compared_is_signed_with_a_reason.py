"""A certificate says of every leg that was not compared why its money is accepted without proof; nobody changes that later."""

from django.db import migrations, models

GUARD = """
CREATE OR REPLACE FUNCTION reconciliation_certificate_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'Certificate % is evidence and is not deleted.', OLD.id;
    END IF;
    IF OLD.state IN ('dropped', 'withdrawn') THEN
        RAISE EXCEPTION 'Certificate % has ended and stays as it ended.', OLD.id;
    END IF;
    IF (NEW.period_id, NEW.run_id, NEW.books, NEW.totals, NEW.differing, NEW.note, {new}NEW.prepared_by_id, NEW.prepared_at)
       IS DISTINCT FROM (OLD.period_id, OLD.run_id, OLD.books, OLD.totals, OLD.differing, OLD.note, {old}OLD.prepared_by_id, OLD.prepared_at)
       OR OLD.certified_by_id IS NOT NULL AND (NEW.certified_by_id, NEW.certified_at) IS DISTINCT FROM (OLD.certified_by_id, OLD.certified_at)
    THEN
        RAISE EXCEPTION 'What certificate % says is not changed.', OLD.id;
    END IF;
    RETURN NEW;
END $$;
"""  # noqa: E501


class Migration(migrations.Migration):
    dependencies = [("reconciliation", "0053_whatever_takes_a_second_person")]

    operations = [
        migrations.AddField(
            model_name="certificate", name="uncompared", field=models.JSONField(blank=True, db_default={}, default=dict)
        ),
        migrations.RunSQL(GUARD.format(new="NEW.uncompared, ", old="OLD.uncompared, "), GUARD.format(new="", old="")),
    ]
